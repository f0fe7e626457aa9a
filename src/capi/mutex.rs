//! Mutexes: one owner at a time, a goroutine or a plain thread.

use crate::abi::*;
use crate::ops::mutex::{self, GoroutineMutex};
use core::ptr::null_mut;

/// Makes a mutex. Who unlocks it hands it to the first who waits: first come, first served, and nobody overtakes those who wait.
/// Its owner is the goroutine that locked it (on whatever thread it runs then), or the plain thread. With
/// GOROUTINE_MUTEX_RECURSIVE its owner may lock it again, and unlocks it as often.
///
/// A goroutine that ends while it holds the mutex (also by goroutine_exit, or cancelled) gives it up: the next one to lock it, perhaps one
/// who waits, gets GOROUTINE_EOWNERDEAD, and has the lock. A plain thread that ends so leaves it locked for ever, and
/// nobody else can unlock it: where it may end early (pthread_exit, a cancel), unlock it in a handler of pthread_cleanup_push.
/// In a child of fork the mutexes of its parent are not to be used.
/// Context:   T, G.
/// Parks:     never.
/// Ownership: the caller passes it to goroutine_mutex_free.
/// Returns:   a mutex; NULL when out of memory, or a flag is unknown.
/// Since:     ABI 1.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub extern "C" fn goroutine_mutex_new(flags: u32) -> *mut GoroutineMutex {
    realign!(inner::new)
}

/// Locks it; waits while somebody else has it.
/// Context:   T, G. On a plain thread it blocks the thread.
/// Parks:     the goroutine, not its thread. It may resume on another thread.
/// Ownership: borrows `mutex`.
/// Returns:   with the lock: GOROUTINE_OK, GOROUTINE_EOWNERDEAD (its last owner ended with it). Without: GOROUTINE_EAGAIN (a time-out
/// of 0; a recursive one is locked 2^32 times), GOROUTINE_ETIMEDOUT, GOROUTINE_ECANCELED, GOROUTINE_EDEADLK (the caller has it, and it
/// is not recursive), GOROUTINE_ENOMEM, GOROUTINE_EINVAL (NULL).
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_mutex_lock(
    mutex: *mut GoroutineMutex,
    timeout_ns: u64,
) -> GoroutineStatus {
    realign!(inner::lock)
}

/// goroutine_mutex_lock with a time-out of 0. It may come before the first who waits, if that one was handed the mutex and has not run since;
/// that one is in front again then, and nobody comes before it a second time. (So std::lock gets on.)
/// Context:   T, G.
/// Parks:     never.
/// Ownership: borrows `mutex`.
/// Returns:   as goroutine_mutex_lock.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_mutex_try_lock(mutex: *mut GoroutineMutex) -> GoroutineStatus {
    realign!(inner::try_lock)
}

/// Unlocks it, and hands it to the first who waits.
/// Context:   T, G.
/// Parks:     never.
/// Ownership: borrows `mutex`.
/// Returns:   GOROUTINE_OK, GOROUTINE_EPERM (the caller does not have it), GOROUTINE_EINVAL (NULL).
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_mutex_unlock(mutex: *mut GoroutineMutex) -> GoroutineStatus {
    realign!(inner::unlock)
}

/// Whether the caller has it. NULL: false.
/// Context:   T, G, R.
/// Parks:     never.
/// Ownership: borrows `mutex`.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_mutex_is_owned(mutex: *const GoroutineMutex) -> bool {
    realign!(inner::is_owned)
}

/// Frees it.
/// Context:   T, G.
/// Parks:     never.
/// Ownership: consumes `mutex`.
/// Returns:   GOROUTINE_OK (also for NULL), GOROUTINE_EBUSY: somebody has it, waits for it, or will lock it again after
/// goroutine_condition_wait; nothing happened.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_mutex_free(mutex: *mut GoroutineMutex) -> GoroutineStatus {
    realign!(inner::free)
}

mod inner {
    use super::*;

    pub extern "C" fn new(flags: u32) -> *mut GoroutineMutex {
        if flags & !GOROUTINE_MUTEX_RECURSIVE != 0 {
            return null_mut();
        }
        mutex::new(flags & GOROUTINE_MUTEX_RECURSIVE != 0)
    }

    pub unsafe extern "C" fn lock(mutex: *mut GoroutineMutex, timeout_ns: u64) -> GoroutineStatus {
        // SAFETY: the caller's promise.
        unsafe { mutex.as_ref() }.map_or(GOROUTINE_EINVAL, |mutex| mutex.lock(timeout_ns))
    }

    pub unsafe extern "C" fn try_lock(mutex: *mut GoroutineMutex) -> GoroutineStatus {
        // SAFETY: the caller's promise.
        unsafe { mutex.as_ref() }.map_or(GOROUTINE_EINVAL, |mutex| mutex.lock(0))
    }

    pub unsafe extern "C" fn unlock(mutex: *mut GoroutineMutex) -> GoroutineStatus {
        // SAFETY: the caller's promise.
        unsafe { mutex.as_ref() }.map_or(GOROUTINE_EINVAL, GoroutineMutex::unlock)
    }

    pub unsafe extern "C" fn is_owned(mutex: *const GoroutineMutex) -> bool {
        // SAFETY: the caller's promise.
        unsafe { mutex.as_ref() }.is_some_and(GoroutineMutex::is_owned)
    }

    pub unsafe extern "C" fn free(mutex: *mut GoroutineMutex) -> GoroutineStatus {
        if mutex.is_null() {
            return GOROUTINE_OK;
        }
        // SAFETY: the caller's promise.
        unsafe { mutex::free(mutex) }
    }
}
