//! A count that some wait to see at 0: a wait group.
//!
//! One word: the count, and WAITERS.
//!
//! I1. WAITERS is set, and the queue joined, under the lock, and only while the count is not 0. The step to 0 that finds WAITERS is made
//!     under the lock, too, together with the claim of all who wait. So nobody waits at 0.
//! I2. A step's last touch is its CAS, or the unlock of the lock, which who frees the object takes first. One who finds 0 without the
//!     lock may free it: the step to 0 was a CAS that was the last touch, or the lock is still held.

use super::queue::{Sleeper, WaitQueue, Waiter};
use crate::sync::{AtomicU64, Guarded, Ordering, SpinLock, mutated};
use std::ptr::null_mut;

const WAITERS: u64 = 1 << 32;

/// One who waits.
pub type CountWaiter<P> = Waiter<P, ()>;

/// See the module's head.
pub struct Count<P: Sleeper> {
    word: AtomicU64,
    lock: SpinLock,
    waiters: Guarded<WaitQueue<P, ()>>,
}

// SAFETY: I1 and I2; waiters are woken on behalf of their owners from any thread.
unsafe impl<P: Sleeper> Sync for Count<P> {}
// SAFETY: as above.
unsafe impl<P: Sleeper> Send for Count<P> {}

impl<P: Sleeper> Count<P> {
    /// 0.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self {
            word: AtomicU64::new(0),
            lock: SpinLock::new(),
            waiters: Guarded::new(WaitQueue::new()),
        }
    }

    /// How many are left, as a hint.
    pub fn left(&self) -> u32 {
        self.word.load(Ordering::Relaxed) as u32
    }

    /// Whether it is 0. Acquire: partner of `add`.
    #[inline(always)]
    pub fn is_zero(&self) -> bool {
        self.word.load(Ordering::Acquire) as u32 == 0
    }

    /// Adds `n`. None: it would be below 0, or over 2^31. Gives all who waited, chained, if it is 0 now.
    #[inline(always)]
    pub fn add(&self, n: i32) -> Option<*mut CountWaiter<P>> {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            let count = i64::from(word as u32) + i64::from(n);
            if !(0..=i64::from(i32::MAX)).contains(&count) {
                return None;
            }
            if count == 0 && word & WAITERS != 0 && !mutated!("count_reaches_zero_unlocked") {
                self.lock.lock();
                let woken = self.reach_zero(word);
                self.lock.unlock();
                if let Some(chain) = woken {
                    return Some(chain);
                }
                word = self.word.load(Ordering::Relaxed);
                continue;
            }
            let next = word & WAITERS | count as u64;
            match self
                .word
                .compare_exchange(word, next, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => return Some(null_mut()),
                Err(now) => word = now,
            }
        }
    }

    /// Under the lock.
    fn reach_zero(&self, word: u64) -> Option<*mut CountWaiter<P>> {
        self.word
            .compare_exchange(word, 0, Ordering::AcqRel, Ordering::Relaxed)
            .ok()?;
        // SAFETY: we hold the lock.
        Some(unsafe { self.waiters.with(|waiters| waiters.claim_all()) })
    }

    /// Gets in line. False: it is 0.
    ///
    /// # Safety
    /// The waiter's party is set; it stays in place until it was woken or left.
    pub unsafe fn join(&self, waiter: *mut CountWaiter<P>) -> bool {
        self.lock.lock();
        let waits = loop {
            let word = self.word.load(Ordering::Acquire);
            if word as u32 == 0 {
                break false;
            }
            if self
                .word
                .compare_exchange(word, word | WAITERS, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
            {
                // SAFETY: we hold the lock; the caller's promise.
                unsafe { self.waiters.with(|waiters| waiters.join(waiter)) };
                break true;
            }
        };
        self.lock.unlock();
        waits
    }

    /// Not woken: out of the line.
    ///
    /// # Safety
    /// `waiter` was meant for this line, and is alive.
    pub unsafe fn leave(&self, waiter: *mut CountWaiter<P>) {
        // SAFETY: the caller's.
        if unsafe { !(*waiter).is_linked() } {
            return;
        }
        self.lock.lock();
        // SAFETY: we hold the lock.
        unsafe { self.waiters.with(|waiters| waiters.leave(waiter)) };
        self.lock.unlock();
    }

    /// Whether nobody is in line, and whoever was here is done with it.
    pub fn is_idle(&self) -> bool {
        self.lock.lock();
        // SAFETY: we hold the lock.
        let idle = unsafe { self.waiters.with(|waiters| waiters.is_empty()) };
        self.lock.unlock();
        idle
    }

    /// The same, at 0: in this order. The step to 0 may still be under the lock (WAITERS stays when those who waited have left), and
    /// taking the lock afterwards waits for its end (I2).
    pub fn is_over(&self) -> bool {
        if mutated!("count_looks_at_the_line_first") {
            return self.is_idle() && self.is_zero();
        }
        self.is_zero() && self.is_idle()
    }

    /// For a model.
    #[cfg(all(test, loom))]
    pub fn is_locked(&self) -> bool {
        self.lock.is_locked()
    }
}
