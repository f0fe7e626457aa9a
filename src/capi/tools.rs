//! Tools for language runtimes: emitted code by name, and goroutines looked at from outside.

use crate::abi::*;
use crate::code;
use crate::inspect::{dump, live};
use crate::sys::report::{wrong_element, wrong_field};

/// Tells the library about `n` functions in memory, so that everybody who meets their addresses knows them: goroutine_dump and the library's
/// reports by name, debuggers through GDB's JIT interface, perf with GOROUTINE_PERF_MAP=1 in the environment
/// (/tmp/perf-PID.map, which stays there), and the unwinder that C++ throws with, if they have tables (`eh_frame`).
/// All or none of them are registered. Many functions in one call are cheaper than one by one, for debuggers most of all, but either way the
/// cost is about n log n. The functions of one call may be in any order, and may share one `eh_frame`, which may describe nothing else. No two registered functions may overlap.
///
/// `eh_frame` is a section of that name (DWARF call frame information; the zero word at its end may be missing), with addresses absolute or relative to
/// where they are; libgcc's unwinder is told, and nobody else tells it of other code in the same pages. With GOROUTINE_CODE_FRAME_POINTER dumps walk the function's frames
/// by rbp, and debuggers are given a table that says so. With neither, a backtrace ends at the function.
/// The code itself stays where it is and as it is until it is unregistered, or the process ends.
/// In a program that has an LLVM or V8 linked into the same object as the static library, GDB finds only theirs.
/// Context:   T, G. It needs no runtime.
/// Parks:     never.
/// Ownership: everything but the code is copied.
/// Output:    `ids` (may be NULL): for goroutine_code_unregister, one for each; above 0, never reused.
/// Returns:   GOROUTINE_OK, GOROUTINE_EALREADY (a function overlaps one that is registered), GOROUTINE_EINVAL (NULL, with `n` not 0; a wrong
/// `size`, an unknown flag; no name, no code, a pointer without a size or the other way round; two of them overlap; an `eh_frame` that is damaged, is of another
/// kind, or speaks of other code). But for GOROUTINE_OK, a line on stderr says which of them, which field, and why, or the name of the registered function.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_code_register(
    codes: *const GoroutineCode,
    n: usize,
    ids: *mut u64,
) -> GoroutineStatus {
    realign!(inner::code_register)
}

/// Forgets a registered function, once no goroutine is in it or will return to it. Then its memory may be used for something else. The caller
/// sees to it first that nobody calls it any more.
///
/// Each goroutine must be seen without it once, at a moment when it is parked, or over: one that computes without ever parking lets this
/// time out. So does one that is parked and will return to it. Of a parked goroutine the return addresses count, as long as its frames are known
/// up to where it began: each is of C or C++ with unwind tables, or of a registered function with a table or with GOROUTINE_CODE_FRAME_POINTER, whose
/// `push rbp; mov rbp, rsp` is in its first 64 bytes and before the call. Of a goroutine where that is not so (also while C that it called waits for a
/// callback of its) every word on its stacks counts that could be a return address into the function, also one that an earlier
/// goroutine left on that stack: such a word can let this time out until the goroutine goes on or ends. The function's first address
/// never counts. Threads that run no goroutine, and stacks that a program made itself, are not looked at.
/// Context:   T, G.
/// Parks:     the goroutine, not its thread, as goroutine_sleep does, while it is not the time yet.
/// Returns:   GOROUTINE_OK; GOROUTINE_EAGAIN (`timeout_ns` 0) and GOROUTINE_ETIMEDOUT (still registered: some goroutine is in it, or was not
/// seen without it); GOROUTINE_EDEADLK (the calling goroutine is; or the caller has stopped the world, and would wait for
/// somebody who stands), GOROUTINE_ECANCELED, GOROUTINE_EALREADY (another call waits for it), GOROUTINE_EINVAL (no such id).
/// Since:     ABI 1.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub extern "C" fn goroutine_code_unregister(id: u64, timeout_ns: u64) -> GoroutineStatus {
    realign!(inner::code_unregister)
}

/// Writes what every goroutine does: its id and name; whether it runs (on which worker and thread), is runnable, or is parked, for how long, and for
/// what (with the holder of a mutex, and the goroutine whose promise it is); the function it began in, and where it was
/// spawned; whether it is bound, a daemon, pinned; and of a parked one
/// the backtrace, through emitted code that was registered. A backtrace of more than 100 frames is cut: the innermost 90, `... N more frames`, the
/// outermost 10; of one of 16,384 and more only the innermost 90, and how many more there are at least. Nothing stops for it: each goroutine is described as it was at a
/// moment of its own. Times are what was seen by a thread that looks now and then: at least that long.
/// With GOROUTINE_DUMP_SIGNAL=N in the environment when the runtime starts, N a signal that nobody uses, goroutines that run have frames, too
/// (docs/inspect.md); each is waited for 50 ms at most, and all of them 500.
///
/// With GOROUTINE_SIGQUIT=1 in the environment when the runtime starts, SIGQUIT (ctrl-\\) makes the library write this to stderr. A handler that
/// the program had installed before runs, too; without one the signal no longer ends the process.
/// Context:   T, G. It blocks the thread as write(2) does.
/// Parks:     never.
/// Output:    text on `fd`, about 100 bytes for a goroutine and 60 for a frame.
/// Returns:   GOROUTINE_OK (also without a runtime), or the negative errno of write(2): GOROUTINE_EBADF, GOROUTINE_EAGAIN, GOROUTINE_EPIPE, ...
/// Since:     ABI 1.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub extern "C" fn goroutine_dump(fd: i32) -> GoroutineStatus {
    realign!(inner::dump)
}

mod inner {
    use super::*;

    pub unsafe extern "C" fn code_register(
        codes: *const GoroutineCode,
        n: usize,
        ids: *mut u64,
    ) -> GoroutineStatus {
        if n == 0 {
            return GOROUTINE_OK;
        }
        if codes.is_null() {
            return wrong_field("codes", "is NULL");
        }
        // SAFETY: the caller's promise: each says its size, which is that of all, and so many bytes are there.
        unsafe {
            let stride = (*codes).size as usize;
            let each = (0..n).map(|i| codes.byte_add(i * stride).read());
            if stride < GOROUTINE_CODE_BYTES {
                return wrong_element("codes", 0, "size", "is out of range");
            }
            if let Some(i) = each.clone().position(|code| code.size as usize != stride) {
                return wrong_element("codes", i, "size", "is not that of codes[0]");
            }
            code::register(&each.collect::<Vec<_>>(), ids)
        }
    }

    pub extern "C" fn dump(fd: i32) -> GoroutineStatus {
        dump::dump(fd).err().unwrap_or(GOROUTINE_OK)
    }

    pub extern "C" fn code_unregister(id: u64, timeout_ns: u64) -> GoroutineStatus {
        let here = 0u8;
        live::unregister(id, timeout_ns, (&raw const here) as usize)
    }
}
