//! Once: the first who asks does it, the others wait for that.

use crate::abi::*;
use crate::ops::once::{self, GoroutineOnce};
use core::ffi::c_void;

/// Makes one that has not run.
/// Context:   T, G.
/// Parks:     never.
/// Ownership: the caller passes it to goroutine_once_free.
/// Returns:   a once; NULL when out of memory.
/// Since:     ABI 1.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub extern "C" fn goroutine_once_new() -> *mut GoroutineOnce {
    realign!(inner::new)
}

/// Runs `f(arg)` on the calling goroutine or thread, unless that was done before; if somebody is about to, waits for it. (It may clobber
/// registers.) If a goroutine ends within `f`, the next one runs it anew.
/// Context:   T, G. On a plain thread it blocks the thread.
/// Parks:     the goroutine, not its thread. It may resume on another thread.
/// Ownership: borrows `once`.
/// Output:    `*result` (may be NULL): what `f` returned when it ran, for every caller; on GOROUTINE_OK.
/// Returns:   GOROUTINE_OK: it has run. GOROUTINE_EDEADLK (called within `f`), GOROUTINE_EAGAIN, GOROUTINE_ETIMEDOUT, GOROUTINE_ECANCELED,
/// GOROUTINE_ENOMEM, GOROUTINE_EINVAL (NULL).
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_once_run(
    once: *mut GoroutineOnce,
    f: GoroutineFn,
    arg: *mut c_void,
    timeout_ns: u64,
    result: *mut *mut c_void,
) -> GoroutineStatus {
    realign!(inner::run)
}

/// Frees it.
/// Context:   T, G.
/// Parks:     never.
/// Ownership: consumes `once`.
/// Returns:   GOROUTINE_OK (also for NULL), GOROUTINE_EBUSY: it runs, or somebody waits; nothing happened.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_once_free(once: *mut GoroutineOnce) -> GoroutineStatus {
    realign!(inner::free)
}

mod inner {
    use super::*;

    pub extern "C" fn new() -> *mut GoroutineOnce {
        once::new()
    }

    pub unsafe extern "C" fn run(
        once: *mut GoroutineOnce,
        f: GoroutineFn,
        arg: *mut c_void,
        timeout_ns: u64,
        result: *mut *mut c_void,
    ) -> GoroutineStatus {
        // SAFETY: the caller's promise.
        unsafe {
            let (Some(once), Some(f)) = (once.as_ref(), f) else {
                return GOROUTINE_EINVAL;
            };
            match once.run(f as usize, arg, timeout_ns) {
                Ok(value) => {
                    if !result.is_null() {
                        *result = value;
                    }
                    GOROUTINE_OK
                }
                Err(status) => status,
            }
        }
    }

    pub unsafe extern "C" fn free(once: *mut GoroutineOnce) -> GoroutineStatus {
        if once.is_null() {
            return GOROUTINE_OK;
        }
        // SAFETY: the caller's promise.
        unsafe { once::free(once) }
    }
}
