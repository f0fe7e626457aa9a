//! Foreign libraries: loaded and called away from the caller's thread. docs/foreign-runtimes.md says when that matters.

use crate::abi::*;
use crate::ffi::{error, jobs, load};
use core::ffi::{c_char, c_int, c_void};

/// Loads a library as dlopen does, on a thread of the library's own: with a native stack and asynchronous signals blocked, which threads
/// that the library makes inherit. Signal handlers of the process that only got SA_ONSTACK added meanwhile get their old
/// flags back, but for the signals that Go's threads keep unblocked (docs/foreign-runtimes.md). Loads run one at a time. Starts
/// the runtime if it never was.
/// Context:   T, G.
/// Parks:     the goroutine, or blocks the thread, until the load is over. There is no time-out, and a cancel waits: a library
/// cannot be half loaded. A constructor of the library may load others, but must not wait for another thread that does.
/// Ownership: `handle` is dlopen's; dlclose takes it.
/// Output:    `*handle`, on GOROUTINE_OK only. `path` NULL: the program itself. `flags` 0: RTLD_NOW.
/// Returns:   GOROUTINE_OK, GOROUTINE_EFFILOAD (goroutine_ffi_error tells why), GOROUTINE_EFFITHREADS, GOROUTINE_ENOMEM,
/// GOROUTINE_ESHUTDOWN, GOROUTINE_EINVAL (`handle` NULL), GOROUTINE_EDEADLK (a goroutine on the thread of a constructor).
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says. The library's constructors run.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_ffi_load(
    path: *const c_char,
    flags: c_int,
    handle: *mut *mut c_void,
) -> GoroutineStatus {
    realign!(inner::load)
}

/// The address of a symbol, as dlsym gives it. `handle` NULL: among what the program and its libraries export. The foreign calls call a
/// `void *f(void *)`; for a function of another kind (`double cos(double)`) write such a one around it, with a struct for what
/// goes in and out, or emit the call in line (docs/jit.md).
/// Context:   T, G.
/// Parks:     the goroutine, or blocks the thread, while a load is under way. No time-out, as goroutine_ffi_load.
/// Output:    `*address`, on GOROUTINE_OK only. It may be NULL for a weak symbol.
/// Returns:   GOROUTINE_OK, GOROUTINE_EFFILOAD (goroutine_ffi_error tells why), GOROUTINE_EFFITHREADS, GOROUTINE_ENOMEM,
/// GOROUTINE_ESHUTDOWN, GOROUTINE_EINVAL (`name` or `address` NULL), GOROUTINE_EDEADLK as goroutine_ffi_load.
/// Since:     ABI 1.
///
/// # Safety
/// `handle` came from goroutine_ffi_load or dlopen, and was not closed. Other pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_ffi_symbol(
    handle: *mut c_void,
    name: *const c_char,
    address: *mut *mut c_void,
) -> GoroutineStatus {
    realign!(inner::symbol)
}

/// What the loader said when goroutine_ffi_load or goroutine_ffi_symbol last failed for the calling goroutine, or
/// plain thread; NULL: neither did. A success leaves it as it is.
/// Context:   T, G.
/// Parks:     never.
/// Ownership: the library's. The text stays until the same goroutine or thread fails to load again, or ends.
/// Since:     ABI 1.
///
/// # Safety
/// None.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_ffi_error() -> *const c_char {
    realign!(inner::error)
}

/// Calls `function(args)` on a thread of the pool for foreign calls, in its native stack, then, on the same thread, `done(arg, result)`: for a
/// thread that must not wait, such as a host's event loop, to which `done` posts the result. Both are called as plain C on no
/// goroutine; they may block, and may call the library as any plain thread does, but for goroutine_runtime_run, _wait, _shutdown and _release, which
/// would wait for this very call (GOROUTINE_EDEADLK). Calls start in order and run side by side, as many as the pool
/// has threads; further ones wait, at most 65,536. A pending call keeps the program alive; a shutdown waits for it. Starts the
/// runtime if it never was.
/// Context:   T, G.
/// Parks:     never.
/// Ownership: borrows `args` and `arg` until `done`, which runs exactly once if this returns GOROUTINE_OK, else never.
/// `done` may be NULL.
/// Returns:   GOROUTINE_OK, GOROUTINE_EAGAIN (too many wait: try again when some are done), GOROUTINE_EFFITHREADS,
/// GOROUTINE_ENOMEM, GOROUTINE_ESHUTDOWN, GOROUTINE_EINVAL (`function` NULL).
/// Since:     ABI 1.
///
/// # Safety
/// `function` is a C function that takes `args`, and `done` one that takes `arg`; both may run on any thread.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_ffi_call_async(
    function: *mut c_void,
    args: *mut c_void,
    done: GoroutineFfiDoneFn,
    arg: *mut c_void,
) -> GoroutineStatus {
    realign!(inner::call_async)
}

mod inner {
    use super::*;

    pub unsafe extern "C" fn load(
        path: *const c_char,
        flags: c_int,
        handle: *mut *mut c_void,
    ) -> GoroutineStatus {
        if handle.is_null() {
            return GOROUTINE_EINVAL;
        }
        // SAFETY: the caller's promise.
        unsafe { store(load::load(path, flags), handle) }
    }

    pub unsafe extern "C" fn symbol(
        handle: *mut c_void,
        name: *const c_char,
        address: *mut *mut c_void,
    ) -> GoroutineStatus {
        if name.is_null() || address.is_null() {
            return GOROUTINE_EINVAL;
        }
        // SAFETY: the caller's promise.
        unsafe { store(load::symbol(handle, name), address) }
    }

    unsafe fn store(result: Result<*mut c_void, GoroutineStatus>, to: *mut *mut c_void) -> GoroutineStatus {
        match result {
            Ok(value) => {
                // SAFETY: not NULL; the caller's promise.
                unsafe { *to = value };
                GOROUTINE_OK
            }
            Err(status) => status,
        }
    }

    pub unsafe extern "C" fn error() -> *const c_char {
        error::get()
    }

    pub unsafe extern "C" fn call_async(
        function: *mut c_void,
        args: *mut c_void,
        done: GoroutineFfiDoneFn,
        arg: *mut c_void,
    ) -> GoroutineStatus {
        if function.is_null() {
            return GOROUTINE_EINVAL;
        }
        // SAFETY: the caller promises that it is such a function.
        let function = unsafe { core::mem::transmute::<*mut c_void, jobs::CFunction>(function) };
        jobs::call_async(jobs::Call {
            function,
            args,
            done,
            arg,
        })
    }
}
