//! The library's own locks: a word and a futex.
//!
//! Not parking_lot's, whose waiters stand in a table of the process: a child of fork has that table with the parent's waiters in it, wakes those in
//! place of its own, and waits for ever. Here the kernel has the waiters, and a child has none. Nor std's, which a child can't take from a thread
//! that it has not (`force_unlock`).
//!
//! The protocol is `sync::sleep_lock`.
//!
//! ThreadSanitizer looks away from who holds one (`sanitize`): it does not see what orders them, and would take what the library moves about with memcpy
//! for races.

use super::futex;
use crate::sanitize;
use crate::sync::sleep_lock::{FREE, Word};
use parking_lot::lock_api;
use std::sync::atomic::{AtomicU32, Ordering};

/// Looks before it sleeps: most are held for a few instructions.
const LOOKS: u32 = 100;

impl Word for AtomicU32 {
    const LOOKS: u32 = LOOKS;

    #[inline]
    fn replace(&self, from: u32, to: u32) -> bool {
        self.compare_exchange(from, to, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }
    #[inline]
    fn swap(&self, to: u32) -> u32 {
        AtomicU32::swap(self, to, Ordering::AcqRel)
    }
    fn is(&self, value: u32) -> bool {
        self.load(Ordering::Relaxed) == value
    }
    fn sleep_while(&self, value: u32) {
        futex::wait(self, value, u64::MAX);
    }
    fn wake_one(&self) {
        futex::wake(self, 1);
    }
}

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
        self.0.hold();
        sanitize::begin_looking_away();
    }
    #[inline]
    fn try_lock(&self) -> bool {
        let held = self.0.try_hold();
        if held {
            sanitize::begin_looking_away();
        }
        held
    }
    #[inline]
    unsafe fn unlock(&self) {
        sanitize::end_looking_away();
        self.0.let_go();
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
}

#[cfg(all(test, not(loom)))]
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
