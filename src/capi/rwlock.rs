//! Readers-writer locks: many readers, or one writer.

use crate::abi::*;
use crate::ops::rwlock::{self, GoroutineRwLock};

/// Makes a readers-writer lock. First come, first served: while a writer waits, later readers wait behind it; so one who reads must not
/// read-lock it again. A goroutine that ends while it holds it leaves it locked.
/// Context:   T, G.
/// Parks:     never.
/// Ownership: the caller passes it to goroutine_rwlock_free.
/// Returns:   a lock; NULL when out of memory.
/// Since:     ABI 1.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub extern "C" fn goroutine_rwlock_new() -> *mut GoroutineRwLock {
    realign!(inner::new)
}

/// Locks it for reading, together with up to 2^30 others; waits for a writer, and for those who came before.
/// Context:   T, G. On a plain thread it blocks the thread.
/// Parks:     the goroutine, not its thread. It may resume on another thread.
/// Ownership: borrows `lock`.
/// Returns:   GOROUTINE_OK, GOROUTINE_EAGAIN, GOROUTINE_ETIMEDOUT, GOROUTINE_ECANCELED, GOROUTINE_EDEADLK (the caller is the writer),
/// GOROUTINE_ENOMEM, GOROUTINE_EINVAL (NULL).
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_rwlock_read_lock(
    lock: *mut GoroutineRwLock,
    timeout_ns: u64,
) -> GoroutineStatus {
    realign!(inner::read_lock)
}

/// Unlocks it for one who reads. (Readers are not known by name: it is not checked who.)
/// Context:   T, G.
/// Parks:     never.
/// Ownership: borrows `lock`.
/// Returns:   GOROUTINE_OK, GOROUTINE_EPERM (nobody reads), GOROUTINE_EINVAL (NULL).
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_rwlock_read_unlock(lock: *mut GoroutineRwLock) -> GoroutineStatus {
    realign!(inner::read_unlock)
}

/// Locks it for writing, alone.
/// Context:   T, G. On a plain thread it blocks the thread.
/// Parks:     the goroutine, not its thread. It may resume on another thread.
/// Ownership: borrows `lock`.
/// Returns:   as goroutine_rwlock_read_lock.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_rwlock_write_lock(
    lock: *mut GoroutineRwLock,
    timeout_ns: u64,
) -> GoroutineStatus {
    realign!(inner::write_lock)
}

/// Unlocks it for its writer.
/// Context:   T, G.
/// Parks:     never.
/// Ownership: borrows `lock`.
/// Returns:   GOROUTINE_OK, GOROUTINE_EPERM (the caller is not the writer), GOROUTINE_EINVAL (NULL).
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_rwlock_write_unlock(lock: *mut GoroutineRwLock) -> GoroutineStatus {
    realign!(inner::write_unlock)
}

/// Frees it.
/// Context:   T, G.
/// Parks:     never.
/// Ownership: consumes `lock`.
/// Returns:   GOROUTINE_OK (also for NULL), GOROUTINE_EBUSY: somebody has it or waits for it; nothing happened.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_rwlock_free(lock: *mut GoroutineRwLock) -> GoroutineStatus {
    realign!(inner::free)
}

mod inner {
    use super::*;

    pub extern "C" fn new() -> *mut GoroutineRwLock {
        rwlock::new()
    }

    pub unsafe extern "C" fn read_lock(lock: *mut GoroutineRwLock, timeout_ns: u64) -> GoroutineStatus {
        // SAFETY: the caller's promise.
        unsafe { lock.as_ref() }.map_or(GOROUTINE_EINVAL, |lock| lock.read_lock(timeout_ns))
    }

    pub unsafe extern "C" fn read_unlock(lock: *mut GoroutineRwLock) -> GoroutineStatus {
        // SAFETY: the caller's promise.
        unsafe { lock.as_ref() }.map_or(GOROUTINE_EINVAL, |lock| lock.read_unlock())
    }

    pub unsafe extern "C" fn write_lock(lock: *mut GoroutineRwLock, timeout_ns: u64) -> GoroutineStatus {
        // SAFETY: the caller's promise.
        unsafe { lock.as_ref() }.map_or(GOROUTINE_EINVAL, |lock| lock.write_lock(timeout_ns))
    }

    pub unsafe extern "C" fn write_unlock(lock: *mut GoroutineRwLock) -> GoroutineStatus {
        // SAFETY: the caller's promise.
        unsafe { lock.as_ref() }.map_or(GOROUTINE_EINVAL, |lock| lock.write_unlock())
    }

    pub unsafe extern "C" fn free(lock: *mut GoroutineRwLock) -> GoroutineStatus {
        if lock.is_null() {
            return GOROUTINE_OK;
        }
        // SAFETY: the caller's promise.
        unsafe { rwlock::free(lock) }
    }
}
