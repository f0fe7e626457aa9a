//! Conditions: until somebody says that something changed.

use crate::abi::*;
use crate::ops::condition::{self, GoroutineCondition};
use crate::ops::mutex::GoroutineMutex;

/// Makes a condition.
/// Context:   T, G.
/// Parks:     never.
/// Ownership: the caller passes it to goroutine_condition_free.
/// Returns:   a condition; NULL when out of memory.
/// Since:     ABI 1.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub extern "C" fn goroutine_condition_new() -> *mut GoroutineCondition {
    realign!(inner::new)
}

/// Unlocks `mutex` (however often its owner locked it), waits for a signal, and locks it as before, also when the wait ended otherwise, and
/// however long that takes. No signal between the unlock and the wait is missed. Whoever gets the mutex in between may change things again:
/// look whether what is waited for is there. A time-out or a cancel that comes after the signal is too late: it is GOROUTINE_OK.
/// Context:   T, G. On a plain thread it blocks the thread.
/// Parks:     the goroutine, not its thread. It may resume on another thread.
/// Ownership: borrows `condition` and `mutex`.
/// Returns:   with the mutex locked: GOROUTINE_OK, GOROUTINE_EOWNERDEAD (a signal, and goroutine_mutex_lock said so), GOROUTINE_EAGAIN (a
/// time-out of 0), GOROUTINE_ETIMEDOUT, GOROUTINE_ECANCELED, GOROUTINE_ENOMEM. GOROUTINE_EPERM (the caller does not have the mutex),
/// GOROUTINE_EINVAL (NULL).
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_condition_wait(
    condition: *mut GoroutineCondition,
    mutex: *mut GoroutineMutex,
    timeout_ns: u64,
) -> GoroutineStatus {
    realign!(inner::wait)
}

/// Wakes the first who waits, if anybody does. With or without the mutex.
/// Context:   T, G.
/// Parks:     never.
/// Ownership: borrows `condition`.
/// Returns:   GOROUTINE_OK, GOROUTINE_EINVAL (NULL).
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_condition_signal(condition: *mut GoroutineCondition) -> GoroutineStatus {
    realign!(inner::signal)
}

/// Wakes all who wait.
/// Context:   T, G.
/// Parks:     never.
/// Ownership: borrows `condition`.
/// Returns:   GOROUTINE_OK, GOROUTINE_EINVAL (NULL).
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_condition_broadcast(
    condition: *mut GoroutineCondition,
) -> GoroutineStatus {
    realign!(inner::broadcast)
}

/// Frees it.
/// Context:   T, G.
/// Parks:     never.
/// Ownership: consumes `condition`.
/// Returns:   GOROUTINE_OK (also for NULL), GOROUTINE_EBUSY: somebody waits on it; nothing happened. Those that were signalled do not wait
/// any more, also while they are about to take the mutex again.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_condition_free(condition: *mut GoroutineCondition) -> GoroutineStatus {
    realign!(inner::free)
}

mod inner {
    use super::*;

    pub extern "C" fn new() -> *mut GoroutineCondition {
        condition::new()
    }

    pub unsafe extern "C" fn wait(
        condition: *mut GoroutineCondition,
        mutex: *mut GoroutineMutex,
        timeout_ns: u64,
    ) -> GoroutineStatus {
        // SAFETY: the caller's promise.
        match unsafe { (condition.as_ref(), mutex.as_ref()) } {
            (Some(condition), Some(mutex)) => condition.wait(mutex, timeout_ns),
            _ => GOROUTINE_EINVAL,
        }
    }

    pub unsafe extern "C" fn signal(condition: *mut GoroutineCondition) -> GoroutineStatus {
        // SAFETY: the caller's promise.
        let condition = unsafe { condition.as_ref() };
        condition
            .map(GoroutineCondition::signal)
            .map_or(GOROUTINE_EINVAL, |()| GOROUTINE_OK)
    }

    pub unsafe extern "C" fn broadcast(condition: *mut GoroutineCondition) -> GoroutineStatus {
        // SAFETY: the caller's promise.
        let condition = unsafe { condition.as_ref() };
        condition
            .map(GoroutineCondition::broadcast)
            .map_or(GOROUTINE_EINVAL, |()| GOROUTINE_OK)
    }

    pub unsafe extern "C" fn free(condition: *mut GoroutineCondition) -> GoroutineStatus {
        if condition.is_null() {
            return GOROUTINE_OK;
        }
        // SAFETY: the caller's promise.
        unsafe { condition::free(condition) }
    }
}
