//! Async operations: what somebody else will complete.

use crate::abi::*;
use crate::ops::async_op;
use core::ffi::c_void;

/// Begins an operation that keeps the program alive until it is completed or cancelled. `user` is for reports (of a later version).
/// Context:   T, G.
/// Parks:     never.
/// Returns:   an id (above 0, below 2^53, never reused), or GOROUTINE_EINVAL, GOROUTINE_ENOMEM, GOROUTINE_ESHUTDOWN.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_async_begin(kind: GoroutineAsyncType, user: *mut c_void) -> i64 {
    realign!(inner::async_begin)
}

/// Completes an operation, once, from any thread. The last 65,536 results wait for a late await.
/// Context:   T, G.
/// Parks:     never.
/// Returns:   GOROUTINE_OK, GOROUTINE_EALREADY (completed or cancelled before), GOROUTINE_EINVAL (no such id was given out).
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_async_complete(id: i64, result: *mut c_void) -> GoroutineStatus {
    realign!(inner::async_complete)
}

/// Cancels an operation: whoever awaits it gets GOROUTINE_ECANCELED.
/// Context:   T, G.
/// Parks:     never.
/// Returns:   as goroutine_async_complete.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_async_cancel(id: i64) -> GoroutineStatus {
    realign!(inner::async_cancel)
}

/// Waits for an operation. The first successful await forgets it.
/// Context:   T, G.
/// Parks:     the goroutine, not its thread. On a plain thread it blocks the thread.
/// Output:    `*result` (may be NULL), on GOROUTINE_OK.
/// Returns:   GOROUTINE_OK, GOROUTINE_ECANCELED (it, or the caller, was cancelled), GOROUTINE_EAGAIN, GOROUTINE_ETIMEDOUT,
/// GOROUTINE_EALREADY (awaited before), GOROUTINE_EINVAL.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_async_await(
    id: i64,
    timeout_ns: u64,
    result: *mut *mut c_void,
) -> GoroutineStatus {
    realign!(inner::async_await)
}

mod inner {
    use super::*;

    pub unsafe extern "C" fn async_begin(kind: GoroutineAsyncType, user: *mut c_void) -> i64 {
        async_op::begin(kind, user)
    }

    pub unsafe extern "C" fn async_complete(id: i64, result: *mut c_void) -> GoroutineStatus {
        async_op::end(id, GOROUTINE_OK, result)
    }

    pub unsafe extern "C" fn async_cancel(id: i64) -> GoroutineStatus {
        async_op::end(id, GOROUTINE_ECANCELED, core::ptr::null_mut())
    }

    pub unsafe extern "C" fn async_await(
        id: i64,
        timeout_ns: u64,
        result: *mut *mut c_void,
    ) -> GoroutineStatus {
        match async_op::wait(id, timeout_ns) {
            Ok(value) => {
                if !result.is_null() {
                    // SAFETY: the caller's promise.
                    unsafe { *result = value };
                }
                GOROUTINE_OK
            }
            Err(status) => status,
        }
    }
}
