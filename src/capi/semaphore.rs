//! Semaphores: so many at a time.

use crate::abi::*;
use crate::ops::semaphore::{self, GoroutineSemaphore};

/// Makes a semaphore with so many permits. First come, first served: who waits for many is not overtaken by those who want few.
/// Context:   T, G.
/// Parks:     never.
/// Ownership: the caller passes it to goroutine_semaphore_free.
/// Returns:   a semaphore; NULL when out of memory.
/// Since:     ABI 1.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub extern "C" fn goroutine_semaphore_new(permits: u32) -> *mut GoroutineSemaphore {
    realign!(inner::new)
}

/// Takes `n` permits, all at once; waits until they are free.
/// Context:   T, G. On a plain thread it blocks the thread.
/// Parks:     the goroutine, not its thread. It may resume on another thread.
/// Ownership: borrows `semaphore`.
/// Returns:   GOROUTINE_OK, GOROUTINE_EAGAIN, GOROUTINE_ETIMEDOUT, GOROUTINE_ECANCELED, GOROUTINE_ENOMEM, GOROUTINE_EINVAL (NULL).
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_semaphore_acquire(
    semaphore: *mut GoroutineSemaphore,
    n: u32,
    timeout_ns: u64,
) -> GoroutineStatus {
    realign!(inner::acquire)
}

/// Gives `n` permits back, or makes so many more. Anybody may.
/// Context:   T, G.
/// Parks:     never.
/// Ownership: borrows `semaphore`.
/// Returns:   GOROUTINE_OK, GOROUTINE_EINVAL (NULL; there would be over 2^32 - 1 free ones: nothing happened).
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_semaphore_release(
    semaphore: *mut GoroutineSemaphore,
    n: u32,
) -> GoroutineStatus {
    realign!(inner::release)
}

/// Frees it.
/// Context:   T, G.
/// Parks:     never.
/// Ownership: consumes `semaphore`.
/// Returns:   GOROUTINE_OK (also for NULL), GOROUTINE_EBUSY: somebody waits on it; nothing happened.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_semaphore_free(semaphore: *mut GoroutineSemaphore) -> GoroutineStatus {
    realign!(inner::free)
}

mod inner {
    use super::*;

    pub extern "C" fn new(permits: u32) -> *mut GoroutineSemaphore {
        semaphore::new(permits)
    }

    pub unsafe extern "C" fn acquire(
        semaphore: *mut GoroutineSemaphore,
        n: u32,
        timeout_ns: u64,
    ) -> GoroutineStatus {
        // SAFETY: the caller's promise.
        unsafe { semaphore.as_ref() }.map_or(GOROUTINE_EINVAL, |semaphore| semaphore.acquire(n, timeout_ns))
    }

    pub unsafe extern "C" fn release(semaphore: *mut GoroutineSemaphore, n: u32) -> GoroutineStatus {
        // SAFETY: the caller's promise.
        unsafe { semaphore.as_ref() }.map_or(GOROUTINE_EINVAL, |semaphore| semaphore.release(n))
    }

    pub unsafe extern "C" fn free(semaphore: *mut GoroutineSemaphore) -> GoroutineStatus {
        if semaphore.is_null() {
            return GOROUTINE_OK;
        }
        // SAFETY: the caller's promise.
        unsafe { semaphore::free(semaphore) }
    }
}
