//! Wait groups: until a count is 0.

use crate::abi::*;
use crate::ops::wait_group::{self, GoroutineWaitGroup};

/// Makes a wait group with a count of 0.
/// Context:   T, G.
/// Parks:     never.
/// Ownership: the caller passes it to goroutine_wait_group_free.
/// Returns:   a wait group; NULL when out of memory.
/// Since:     ABI 1.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub extern "C" fn goroutine_wait_group_new() -> *mut GoroutineWaitGroup {
    realign!(inner::new)
}

/// Adds `n`, which may be negative, to the count. All who wait go on when it becomes 0.
/// Context:   T, G.
/// Parks:     never.
/// Ownership: borrows `group`.
/// Returns:   GOROUTINE_OK, GOROUTINE_EINVAL (NULL; the count would be below 0 or over 2^31 - 1: nothing happened).
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_wait_group_add(group: *mut GoroutineWaitGroup, n: i32) -> GoroutineStatus {
    realign!(inner::add)
}

/// goroutine_wait_group_add of -1.
/// Context:   T, G.
/// Parks:     never.
/// Ownership: borrows `group`.
/// Returns:   as goroutine_wait_group_add.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_wait_group_done(group: *mut GoroutineWaitGroup) -> GoroutineStatus {
    realign!(inner::done)
}

/// Waits until the count is 0.
/// Context:   T, G. On a plain thread it blocks the thread.
/// Parks:     the goroutine, not its thread. It may resume on another thread.
/// Ownership: borrows `group`.
/// Returns:   GOROUTINE_OK, GOROUTINE_EAGAIN, GOROUTINE_ETIMEDOUT, GOROUTINE_ECANCELED, GOROUTINE_ENOMEM, GOROUTINE_EINVAL (NULL).
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_wait_group_wait(
    group: *mut GoroutineWaitGroup,
    timeout_ns: u64,
) -> GoroutineStatus {
    realign!(inner::wait)
}

/// Frees it.
/// Context:   T, G.
/// Parks:     never.
/// Ownership: consumes `group`.
/// Returns:   GOROUTINE_OK (also for NULL), GOROUTINE_EBUSY: somebody waits on it; nothing happened.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_wait_group_free(group: *mut GoroutineWaitGroup) -> GoroutineStatus {
    realign!(inner::free)
}

mod inner {
    use super::*;

    pub extern "C" fn new() -> *mut GoroutineWaitGroup {
        wait_group::new()
    }

    pub unsafe extern "C" fn add(group: *mut GoroutineWaitGroup, n: i32) -> GoroutineStatus {
        // SAFETY: the caller's promise.
        unsafe { group.as_ref() }.map_or(GOROUTINE_EINVAL, |group| group.add(n))
    }

    pub unsafe extern "C" fn done(group: *mut GoroutineWaitGroup) -> GoroutineStatus {
        // SAFETY: the caller's promise.
        unsafe { group.as_ref() }.map_or(GOROUTINE_EINVAL, |group| group.add(-1))
    }

    pub unsafe extern "C" fn wait(group: *mut GoroutineWaitGroup, timeout_ns: u64) -> GoroutineStatus {
        // SAFETY: the caller's promise.
        unsafe { group.as_ref() }.map_or(GOROUTINE_EINVAL, |group| group.wait(timeout_ns))
    }

    pub unsafe extern "C" fn free(group: *mut GoroutineWaitGroup) -> GoroutineStatus {
        if group.is_null() {
            return GOROUTINE_OK;
        }
        // SAFETY: the caller's promise.
        unsafe { wait_group::free(group) }
    }
}
