//! Semaphores. `wait::permits` is the protocol.

use super::object::{free_object, new_object};
use super::wait::{wait, wake_chain};
use crate::abi::*;
use crate::goroutine::waits::{Kind, Waits};
use crate::sanitize;
use crate::sched::park;
use crate::wait::Party;
use crate::wait::permits::{PermitWaiter, Permits};
use crate::wait::thread::ThreadWait;

/// A semaphore. Opaque.
pub struct GoroutineSemaphore {
    permits: Permits<Party>,
}
/// The name inside the library.
pub use GoroutineSemaphore as Semaphore;

/// `goroutine_semaphore_new`.
pub fn new(permits: u32) -> *mut Semaphore {
    new_object(Semaphore {
        permits: Permits::new(permits),
    })
}

/// `goroutine_semaphore_free`.
///
/// # Safety
/// `semaphore` came from [`new`]; after GOROUTINE_OK nobody uses it.
pub unsafe fn free(semaphore: *mut Semaphore) -> GoroutineStatus {
    // SAFETY: the caller's promise.
    unsafe {
        if !(*semaphore).permits.is_idle() {
            return GOROUTINE_EBUSY;
        }
        free_object(semaphore);
    }
    GOROUTINE_OK
}

impl Semaphore {
    /// `goroutine_semaphore_acquire`.
    #[inline(always)]
    pub fn acquire(&self, n: u32, timeout_ns: u64) -> GoroutineStatus {
        if self.permits.try_take(n) {
            sanitize::acquired(self);
            return GOROUTINE_OK;
        }
        let status = acquire_in_line(&self.permits, n, timeout_ns, Waits::on(Kind::Semaphore, self));
        sanitize::acquired(self);
        status
    }

    /// `goroutine_semaphore_release`.
    #[inline(always)]
    pub fn release(&self, n: u32) -> GoroutineStatus {
        sanitize::released(self);
        release(&self.permits, n, u32::MAX)
    }
}

/// Waits in line for `n` permits.
#[inline(never)]
pub(super) fn acquire_in_line(
    permits: &Permits<Party>,
    n: u32,
    timeout_ns: u64,
    waits: Waits,
) -> GoroutineStatus {
    if timeout_ns == 0 {
        return GOROUTINE_EAGAIN;
    }
    let mut waiter = PermitWaiter::new(n);
    let word = ThreadWait::new();
    let place = &raw mut waiter;
    // SAFETY: the waiter stays in place until it was granted or left.
    unsafe {
        let status = wait(&word, park::deadline_after(timeout_ns), waits, move |party| {
            (*place).party = party;
            permits.join(place)
        });
        if status != GOROUTINE_OK {
            wake_chain(permits.leave(place), GOROUTINE_OK);
        }
        status
    }
}

/// Gives `n` permits back, of which there are `most`.
#[inline(always)]
pub(super) fn release(permits: &Permits<Party>, n: u32, most: u32) -> GoroutineStatus {
    match permits.give(n, most) {
        Some(granted) => {
            // SAFETY: claimed for us, and no lock is held.
            unsafe { wake_chain(granted, GOROUTINE_OK) };
            GOROUTINE_OK
        }
        None => GOROUTINE_EINVAL,
    }
}
