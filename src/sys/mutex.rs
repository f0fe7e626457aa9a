//! The library's own locks: a word and a futex.
//!
//! Not parking_lot's, whose waiters stand in a table of the process: a child of fork has that table with the parent's waiters in it, wakes those in
//! place of its own, and waits for ever. Here the kernel has the waiters, and a child has none.
//!
//! ```text
//!   lock     FREE -> HELD; or else, again and again: swap in WAITED, and sleep unless it was FREE
//!   unlock   swap in FREE; it was WAITED: wake one
//! ```
//! ThreadSanitizer looks away from who holds one (`sanitize`): it does not see what orders them, and would take what the library moves about with memcpy
//! for races.
//!
//! Who was woken does not know whether others sleep, so it holds the lock as WAITED: its unlock wakes another one, perhaps for nothing.

use super::futex;
use crate::sanitize;
use parking_lot::lock_api;
use std::sync::atomic::{AtomicU32, Ordering};

const FREE: u32 = 0;
const HELD: u32 = 1;
const WAITED: u32 = 2;
/// Looks before it sleeps: most are held for a few instructions.
const LOOKS: u32 = 100;

/// See the module's head.
pub struct RawMutex(AtomicU32);

/// A value under such a lock.
pub type Mutex<T> = lock_api::Mutex<RawMutex, T>;

// SAFETY: who takes the word from FREE holds the lock (Acquire), and nobody else does until it stores FREE (Release).
unsafe impl lock_api::RawMutex for RawMutex {
    #[allow(clippy::declare_interior_mutable_const)] // that is what it is for
    const INIT: Self = Self(AtomicU32::new(FREE));
    type GuardMarker = lock_api::GuardSend;

    #[inline]
    fn lock(&self) {
        if !self.take() {
            self.lock_slow();
        }
        sanitize::begin_looking_away();
    }
    #[inline]
    fn try_lock(&self) -> bool {
        let taken = self.take();
        if taken {
            sanitize::begin_looking_away();
        }
        taken
    }
    #[inline]
    unsafe fn unlock(&self) {
        sanitize::end_looking_away();
        if self.0.swap(FREE, Ordering::Release) == WAITED {
            futex::wake(&self.0, 1);
        }
    }
}

impl RawMutex {
    /// In a child of fork, whose only thread holds it: free, and nobody waits for it.
    ///
    /// # Safety
    /// As said.
    pub unsafe fn reset(&self) {
        sanitize::end_looking_away();
        self.0.store(FREE, Ordering::Release);
    }

    #[inline]
    fn take(&self) -> bool {
        (self.0)
            .compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    #[cold]
    fn lock_slow(&self) {
        for _ in 0..LOOKS {
            if self.0.load(Ordering::Relaxed) == FREE && self.take() {
                return;
            }
            std::hint::spin_loop();
        }
        while self.0.swap(WAITED, Ordering::Acquire) != FREE {
            futex::wait(&self.0, WAITED, u64::MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_and_nobody_sleeps_for_ever() {
        static COUNT: Mutex<u64> = Mutex::new(0);
        let threads: Vec<_> = (0..8)
            .map(|_| {
                std::thread::spawn(|| {
                    for i in 0..20_000 {
                        let mut count = COUNT.lock();
                        let before = *count;
                        if i % 1000 == 0 {
                            std::thread::yield_now();
                        }
                        *count = before + 1;
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().expect("it does not panic");
        }
        assert_eq!(*COUNT.lock(), 160_000);
    }
}
