//! Stopping the world, for collectors.

use crate::abi::*;
use crate::goroutine::Goroutine;
use crate::ops::{roots, world};
use crate::sched;
use crate::sched::roots::Caller;
use core::ffi::c_void;

/// Gets a live range of a stopped world. See goroutine_world_for_each.
pub type GoroutineRangeFn = Option<
    unsafe extern "C" fn(
        arg: *mut c_void,
        g: *const Goroutine,
        registers: *const GoroutineContext,
        low: *const c_void,
        high: *const c_void,
    ),
>;

/// Gets a word that the library keeps for goroutines. See goroutine_world_for_each_root.
pub type GoroutineRootFn = Option<unsafe extern "C" fn(arg: *mut c_void, slot: *mut *mut c_void)>;

/// Stops every goroutine but the caller: no language code runs until goroutine_world_start. Goroutines stop where they park or yield, and
/// where they find `preempt` set (goroutine_safepoint); those in foreign code count as stopped, and stop when C returns, calls back, or
/// ends them. So does a thread that the library did not make, when it calls back. Plain threads are not stopped: what they spawn and ready
/// waits for the start. Code of the library's callers that runs between goroutines (commit, `drop` and other callbacks) is waited for.
///
/// Until the start the caller must wait for nobody: what would park it, or block its thread in the library, gives GOROUTINE_EPERM instead.
/// malloc and C's other locks are free to use: no goroutine stops inside the C library, and C code that holds one of its locks goes on.
/// Context:   T, G.
/// Parks:     while somebody else has stopped the world: stoppers take turns.
/// Returns:   GOROUTINE_OK, GOROUTINE_ETIMEDOUT (a goroutine did not stop: the world runs on, and the stats say who it was), GOROUTINE_EAGAIN
/// (a time-out of 0), GOROUTINE_ECANCELED (while it waited for its turn), GOROUTINE_EDEADLK (the caller has stopped it already),
/// GOROUTINE_ENOMEM.
/// Since:     ABI 1.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub extern "C" fn goroutine_world_stop(timeout_ns: u64) -> GoroutineStatus {
    realign!(inner::world_stop)
}

/// The world goes on. Nothing happens unless the calling goroutine or thread has stopped it.
/// Context:   T, G.
/// Parks:     never.
/// Since:     ABI 1.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub extern "C" fn goroutine_world_start() {
    realign!(inner::world_start)
}

/// Calls `f(arg, g, registers, low, high)` for every live range of every goroutine's stack, `low` to below `high`, while the caller has the
/// world stopped; otherwise it does nothing. The innermost range of a goroutine comes first, and with it its registers; they are NULL with its
/// further ranges: outer parts of the stack, and of C code that waits for a callback to return, the part of its thread's stack. The caller, if it
/// is a goroutine, is among them. One that has not begun has no range (its arguments are roots: goroutine_world_for_each_root).
///
/// Registers are those of the innermost frame outside the library, and `rip` is where its call comes back to: at goroutine_safepoint_full all of them;
/// of one that waits in any other call, and of the caller, `rip`, `rsp` and the callee-saved ones, the rest is 0. Frames of the library that it waits in
/// lie in the first range, below `rsp`; what these have in callee-saved registers is a last range of 48 bytes, in the control block: it may be all that
/// points to a buffer that was passed. Of a goroutine in foreign code `rsp` alone is known, the rest is 0: references are spilled before the call. So it is
/// of one in which no code but the library's is live, or for which there are no unwind tables. The stacks of C code that runs cannot be shown, nor those that C code has made for itself
/// (fibers, coroutines).
/// Context:   T, G. `f` is C code: it keeps the callee-saved registers, and does not use the library.
/// Parks:     never.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_world_for_each(f: GoroutineRangeFn, arg: *mut c_void) {
    core::arch::naked_asm!(
        ".cfi_startproc",
        "push rbp",
        ".cfi_def_cfa_offset 16",
        ".cfi_offset rbp, -16",
        "mov rbp, rsp",
        ".cfi_def_cfa_register rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "mov rdx, rsp", // a Caller
        "and rsp, -16",
        "call {f}",
        "leave",
        ".cfi_def_cfa rsp, 8",
        "ret",
        ".cfi_endproc",
        f = sym inner::world_for_each)
}

/// Calls `f(arg, slot)` for every word that the library keeps for goroutines, while the caller has the world stopped; otherwise it does
/// nothing. `f` may write `*slot`: whoever gets the word finds what it wrote. These are: the `user` words and the goroutine-local values; the
/// arguments, stack arguments and registers of goroutines that have not begun; the arguments of timers, of promises' callbacks, of async
/// operations, and of asynchronous foreign calls that have not begun; the values of promises, what combinations have gathered, and the reasons that groups
/// keep; every aligned word of the values in channels. Words that are no pointers are among them, and NULLs.
/// Context:   T, G. `f` is C code: it keeps the callee-saved registers, and does not use the library.
/// Parks:     never.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_world_for_each_root(f: GoroutineRootFn, arg: *mut c_void) {
    realign!(inner::world_for_each_root)
}

mod inner {
    use super::*;

    pub extern "C" fn world_stop(timeout_ns: u64) -> GoroutineStatus {
        world::stop(timeout_ns)
    }

    pub extern "C" fn world_start() {
        world::start();
    }

    pub unsafe extern "C" fn world_for_each(f: GoroutineRangeFn, arg: *mut c_void, caller: *const Caller) {
        if let Some(f) = f
            && sched::world::is_mine()
        {
            // SAFETY: the caller's promise; the entry pushed the registers.
            unsafe { sched::roots::for_each(f, arg, &*caller) };
        }
    }

    pub unsafe extern "C" fn world_for_each_root(f: GoroutineRootFn, arg: *mut c_void) {
        if let Some(f) = f
            && sched::world::is_mine()
        {
            // SAFETY: the caller's promise.
            unsafe { roots::for_each(&mut |slot| f(arg, slot)) };
        }
    }
}
