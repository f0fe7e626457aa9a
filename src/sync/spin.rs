//! A lock for critical sections of a few dozen instructions that never park, allocate or enter the kernel.
//! It spins, then gives its time slice away: on an overloaded machine the holder may have been descheduled.

use super::{AtomicU32, Ordering};

/// Waits a little longer each round; after some rounds lets another thread run.
#[inline]
pub fn backoff(round: &mut u32) {
    #[cfg(loom)]
    {
        let _ = round;
        loom::thread::yield_now();
    }
    #[cfg(not(loom))]
    {
        if *round < 6 {
            for _ in 0..(1 << *round) {
                std::hint::spin_loop();
            }
            *round += 1;
        } else {
            std::thread::yield_now();
        }
    }
}

/// 0 free, 1 held.
pub struct SpinLock(AtomicU32);

impl SpinLock {
    /// A free lock.
    #[cfg(not(loom))]
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self(AtomicU32::new(0))
    }
    /// A free lock.
    #[cfg(loom)]
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self(AtomicU32::new(0))
    }
    /// Acquire pairs with the Release in [`SpinLock::unlock`].
    #[inline(always)]
    pub fn lock(&self) {
        if self
            .0
            .compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed)
            .is_err()
        {
            self.lock_slow();
        }
    }
    #[cold]
    fn lock_slow(&self) {
        let mut round = 0;
        loop {
            if self.0.load(Ordering::Relaxed) == 0
                && self
                    .0
                    .compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed)
                    .is_ok()
            {
                return;
            }
            backoff(&mut round);
        }
    }
    /// Until it is free; what the last holder did is visible then.
    #[inline(always)]
    pub fn wait(&self) {
        let mut round = 0;
        while self.0.load(Ordering::Acquire) != 0 {
            backoff(&mut round);
        }
    }
    /// A look.
    pub fn is_locked(&self) -> bool {
        self.0.load(Ordering::Acquire) != 0
    }
    /// Only the holder.
    #[inline(always)]
    pub fn unlock(&self) {
        self.0.store(0, Ordering::Release);
    }
}
