//! Foreign calls: C code under goroutines, and language code under C.

use crate::abi::*;
use crate::context::{
    goroutine_asm_blocking_call, goroutine_asm_callback_run, goroutine_asm_ffi_blocking,
    goroutine_asm_ffi_bound_slow, goroutine_asm_ffi_checked, goroutine_asm_ffi_landed,
    goroutine_asm_ffi_leaf_slow, goroutine_asm_native_call, tls,
};
use crate::goroutine::Goroutine;
use crate::ops::ffi;
use crate::sched::{bind, native};
use core::ffi::c_void;
use core::mem::offset_of;

/// The leaf call's fast path, here and not behind a jump: a jump is a fifth of what the call costs. rdi = function, rsi = argument.
macro_rules! leaf {
    () => {
        core::arch::naked_asm!(
            ".cfi_startproc",
            "mov r8, [rip + goroutine_tls@GOTTPOFF]",
            "mov rax, fs:[r8 + {current}]",
            "mov rdx, rsi",
            "mov rsi, rdi",
            "cmp qword ptr [rax + {native_stack}], 0",
            "je {slow}", // outside a goroutine, or its first call since it came to this thread
            "cmp qword ptr [rax + {foreign_sp}], 0",
            "jne {slow}", // called by C: we are on the native stack
            "test rsi, rsi",
            "jnz {call}",
            "jmp {slow}",
            ".cfi_endproc",
            current = const tls::CURRENT,
            native_stack = const offset_of!(Goroutine, native_stack),
            foreign_sp = const offset_of!(Goroutine, foreign_sp),
            call = sym goroutine_asm_native_call,
            slow = sym goroutine_asm_ffi_leaf_slow)
    };
}

/// Calls `ffi_function(args)` on the native stack of an OS thread that belongs to the goroutine: its first such call binds
/// it, and from then on all its calls are made by that thread, until it ends or calls goroutine_ffi_unbind. `current` is the
/// running goroutine, or NULL. On a plain thread, and from C code that was called this way, it is a plain call.
/// Context:   T, G.
/// Parks:     the first call may wait for a thread (`ffi_exhausted`), and so may any call when a stop was asked for.
/// Returns:   what the function returned. NULL if it was not called, for which the config's `ffi_failed` gets the reason:
/// GOROUTINE_EFFITHREADS, GOROUTINE_ENOMEM, GOROUTINE_ECANCELED, GOROUTINE_EINVAL (NULL, or another goroutine).
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn execute_ffi_call(
    current: *mut Goroutine,
    ffi_function: *mut c_void,
    args: *mut c_void,
) -> *mut c_void {
    core::arch::naked_asm!(
        ".cfi_startproc",
        "mov r8, [rip + goroutine_tls@GOTTPOFF]",
        "mov rax, fs:[r8 + {current}]",
        "test byte ptr [rax + {flags}], {bound}",
        "jz {slow}", // not bound yet, or outside a goroutine
        "cmp qword ptr [rax + {foreign_sp}], 0",
        "jne {slow}", // called by C: we are on the native stack
        "test rsi, rsi",
        "jz {slow}",
        "cmp rdi, rax",
        "je {call}",
        "test rdi, rdi",
        "jz {call}",
        "jmp {slow}", // `current` is another one
        ".cfi_endproc",
        current = const tls::CURRENT,
        flags = const offset_of!(Goroutine, flags),
        bound = const GOROUTINE_FLAG_BOUND,
        foreign_sp = const offset_of!(Goroutine, foreign_sp),
        call = sym goroutine_asm_native_call,
        slow = sym goroutine_asm_ffi_bound_slow)
}

/// The slow path of execute_ffi_call, for emitted code that has the fast one in line: binds the goroutine if it is not bound
/// yet, then calls.
/// Context:   T, G.
/// Parks:     as execute_ffi_call.
/// Returns:   as execute_ffi_call.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn migrate_to_ffi_thread(
    current: *mut Goroutine,
    ffi_function: *mut c_void,
    args: *mut c_void,
) -> *mut c_void {
    jump!(goroutine_asm_ffi_bound_slow)
}

/// Whether a goroutine has an OS thread of its own.
/// Context:   T, G, R, S.
/// Returns:   that; false for NULL.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn is_goroutine_ffi_bound(g: *const Goroutine) -> bool {
    realign!(inner::is_bound)
}

/// The same as goroutine_ffi_call_leaf.
/// Context:   T, G.
/// Parks:     as goroutine_ffi_call_leaf.
/// Returns:   as goroutine_ffi_call_leaf.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn call_c_function_safely(function: *mut c_void, args: *mut c_void) -> *mut c_void {
    leaf!()
}

/// Calls `function(args)` on the native stack of whichever thread runs the goroutine. For functions that return soon
/// and do not care which thread it is: other goroutines of this worker wait meanwhile. On a plain thread it is a plain call.
/// Context:   T, G.
/// Parks:     only after the call, when a stop was asked for.
/// Returns:   what the function returned; NULL for NULL.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_ffi_call_leaf(function: *mut c_void, args: *mut c_void) -> *mut c_void {
    leaf!()
}

/// The same for functions that may take long: other goroutines go on on another thread, if they would have to wait, after 0.5 to
/// 1 ms. So a burst of them begins at one per worker and millisecond: for calls that are known to wait, bound goroutines begin sooner.
/// A bound goroutine has no worker to spare, and just calls.
/// Context:   T, G.
/// Parks:     after the call, until there is a worker for it. It may resume on another thread.
/// Returns:   what the function returned; NULL for NULL.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_ffi_call_blocking(
    function: *mut c_void,
    args: *mut c_void,
) -> *mut c_void {
    core::arch::naked_asm!(
        ".cfi_startproc",
        "mov r8, [rip + goroutine_tls@GOTTPOFF]",
        "cmp dword ptr [rip + goroutine_tracing], 0",
        "jne {slow}",
        "mov r9, fs:[r8 + {worker}]",
        "mov rax, fs:[r8 + {current}]",
        "test r9, r9",
        "jz {slow}", // it has no worker to let go of: bound, or in such a call, or a plain thread
        "test rdi, rdi",
        "jz {slow}",
        "cmp qword ptr [rax + {id}], 0",
        "je {slow}", // a callback of the scheduler's
        "cmp qword ptr [rax + {native_stack}], 0",
        "je {call}",
        "jmp {slow}", // it has called C since it came to this thread, or was called by C
        ".cfi_endproc",
        worker = const tls::WORKER,
        current = const tls::CURRENT,
        id = const offset_of!(Goroutine, id),
        native_stack = const offset_of!(Goroutine, native_stack),
        call = sym goroutine_asm_blocking_call,
        slow = sym goroutine_asm_ffi_blocking)
}

/// Calls `function(args)` as `kind` says (GOROUTINE_FFI_BOUND, _LEAF, _BLOCKING), and says whether it was called.
/// Context:   T, G.
/// Parks:     as the function of that kind.
/// Output:    `*result` (may be NULL): what the function returned.
/// Returns:   GOROUTINE_OK; GOROUTINE_EINVAL, and for GOROUTINE_FFI_BOUND GOROUTINE_EFFITHREADS, GOROUTINE_ENOMEM, GOROUTINE_ECANCELED.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_ffi_call(
    kind: u32,
    function: *mut c_void,
    args: *mut c_void,
    result: *mut *mut c_void,
) -> GoroutineStatus {
    jump!(goroutine_asm_ffi_checked)
}

/// Gives the running goroutine the thread it is on, for good, as its first execute_ffi_call would: for emitted code that makes
/// its calls in line. It gets another thread if it had to wait for one, or if others are pinned to its worker (GOROUTINE_SPAWN_PINNED),
/// whose thread this is then. If it was pinned itself, it is not any more.
/// Context:   G.
/// Parks:     it may wait for a thread (`ffi_exhausted`). It may resume on another thread.
/// Returns:   GOROUTINE_OK, also if it was bound; GOROUTINE_EFFITHREADS, GOROUTINE_ENOMEM, GOROUTINE_ECANCELED, GOROUTINE_ENOTGOROUTINE.
/// Since:     ABI 1.
///
/// # Safety
/// Callable anywhere.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_ffi_bind() -> GoroutineStatus {
    realign!(inner::bind)
}

/// Gives the thread back: the goroutine goes on on a worker.
/// Context:   G.
/// Parks:     until there is a worker for it. It resumes on another thread.
/// Returns:   GOROUTINE_OK, also if it was not bound; GOROUTINE_EPERM (C frames are live, or the thread is not the
/// library's); GOROUTINE_ENOTGOROUTINE.
/// Since:     ABI 1.
///
/// # Safety
/// Callable anywhere.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_ffi_unbind() -> GoroutineStatus {
    realign!(inner::unbind)
}

/// Sets `native_stack` for leaf calls in line, until the goroutine parks: the slow path of emitted code that finds it 0.
/// Context:   T, G.
/// Parks:     never.
/// Returns:   GOROUTINE_OK; GOROUTINE_ENOTGOROUTINE: there is none, call directly.
/// Since:     ABI 1.
///
/// # Safety
/// Callable anywhere.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_ffi_prepare() -> GoroutineStatus {
    realign!(inner::prepare)
}

/// Called by C code: runs `f(arg)` as the language's code, on the stack of the goroutine whose foreign call the C code is
/// in. There it may do what any goroutine may. If it parks, its thread waits with it, for the C frames are
/// the thread's. From a blocking call it gets a worker first. On a thread without a goroutine, whether the library made
/// it or not, it gets one of its own, which the thread keeps until it ends, and which blocks the thread when it parks.
/// C++ exceptions must not leave `f`. goroutine_exit in it ends the goroutine and abandons the C frames; on a thread of its own
/// it ends the outermost callback, which gives NULL unless the status is GOROUTINE_OK.
/// Context:   T, G.
/// Parks:     if `f` does. It resumes on the same thread.
/// Stack:     128 bytes of each.
/// Returns:   what `f` returned; NULL for NULL, and (`ffi_failed`, or a line on stderr) when the runtime is out of memory or shut down: on a
///            thread that the library did not make as soon as a shutdown has begun, unless it is inside a callback.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_callback_run(f: GoroutineFn, arg: *mut c_void) -> *mut c_void {
    jump!(goroutine_asm_callback_run)
}

/// To be called first, before anything else is, where a longjmp or a C++ exception has landed that came out of C code called by
/// this goroutine, or out of a callback. Jumps within one stretch of C code need nothing. The goroutine keeps its thread from
/// then on, which ends with it: nobody knows what the abandoned C code held. Does nothing if there was no such jump. Likewise where code goes
/// on that a `stack_overflow` callback sent there, or that caught what it threw in a way of its own: the reserve is ready for another time, and nothing
/// is bound by that.
/// Context:   T, G.
/// Parks:     never.
/// Since:     ABI 1.
///
/// # Safety
/// Callable anywhere.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_ffi_landed() {
    jump!(goroutine_asm_ffi_landed)
}

mod inner {
    use super::*;

    pub unsafe extern "C" fn is_bound(g: *const Goroutine) -> bool {
        // SAFETY: the caller's promise.
        !g.is_null() && unsafe { bind::is_bound(g) }
    }

    pub unsafe extern "C" fn bind() -> GoroutineStatus {
        let g = tls::current();
        if g.is_null() {
            return GOROUTINE_ENOTGOROUTINE;
        }
        // SAFETY: the running goroutine.
        status(unsafe { ffi::bind(g) })
    }

    pub unsafe extern "C" fn unbind() -> GoroutineStatus {
        let g = tls::current();
        if g.is_null() {
            return GOROUTINE_ENOTGOROUTINE;
        }
        // SAFETY: the running goroutine.
        status(unsafe { ffi::unbind(g) })
    }

    pub unsafe extern "C" fn prepare() -> GoroutineStatus {
        let g = tls::current();
        if g.is_null() {
            return GOROUTINE_ENOTGOROUTINE;
        }
        // SAFETY: the running goroutine.
        unsafe { native::prepare(g) };
        GOROUTINE_OK
    }

    fn status(result: Result<(), GoroutineStatus>) -> GoroutineStatus {
        result.err().unwrap_or(GOROUTINE_OK)
    }
}
