//! Permits that are taken some at a time and given back: a semaphore, and, with all of them for a writer, a readers-writer lock.
//!
//! One word: the free permits, and WAITERS.
//!
//! | transition | who | how |
//! |---|---|---|
//! | n -> n - k, nobody waits | anybody | CAS |
//! | n -> n + k, nobody waits | anybody | CAS |
//! | to and from WAITERS, and everything while it is set | whoever has the queue's lock | store (CAS to set it) |
//!
//! I1. While WAITERS is set nobody takes permits but through the queue: first come, first served. One who wants many is not overtaken by
//!     those who want few: they would starve it.
//! I2. Whatever may let the first in line go on (permits come back, one before it leaves) looks at the line under the lock.
//! I3. The last touch of one who gives back is its CAS, or the unlock of the queue's lock. Who frees the object takes that lock first.

use super::queue::{Sleeper, WaitQueue, Waiter, chain_claimed};
use crate::sync::{AtomicU64, Guarded, Ordering, SpinLock, mutated};
use std::ptr::null_mut;

const WAITERS: u64 = 1 << 32;

/// One in line, for so many.
pub type PermitWaiter<P> = Waiter<P, u32>;

/// See the module's head.
pub struct Permits<P: Sleeper> {
    word: AtomicU64,
    lock: SpinLock,
    waiters: Guarded<WaitQueue<P, u32>>,
}

// SAFETY: the table and I1 to I3; waiters are woken on behalf of their owners from any thread.
unsafe impl<P: Sleeper> Sync for Permits<P> {}
// SAFETY: as above.
unsafe impl<P: Sleeper> Send for Permits<P> {}

impl<P: Sleeper> Permits<P> {
    /// So many are free.
    pub fn new(free: u32) -> Self {
        Self {
            word: AtomicU64::new(u64::from(free)),
            lock: SpinLock::new(),
            waiters: Guarded::new(WaitQueue::new()),
        }
    }

    /// How many are free, as a hint.
    #[inline(always)]
    pub fn free(&self) -> u32 {
        self.word.load(Ordering::Relaxed) as u32
    }

    /// Takes `n`, if they are free and nobody waits. Acquire: partner of `give`.
    #[inline(always)]
    #[must_use]
    pub fn try_take(&self, n: u32) -> bool {
        let mut word = self.word.load(Ordering::Relaxed);
        while word & WAITERS == 0 && word >= u64::from(n) {
            match self
                .word
                .compare_exchange(word, word - u64::from(n), Ordering::Acquire, Ordering::Relaxed)
            {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
        false
    }

    /// Gets in line. False: they were free, and are taken.
    ///
    /// # Safety
    /// `waiter.what` is how many, and its party is set; it stays in place until it was granted them or left.
    #[inline]
    pub unsafe fn join(&self, waiter: *mut PermitWaiter<P>) -> bool {
        self.lock.lock();
        // SAFETY: the caller's.
        let n = unsafe { (*waiter).what };
        let waits = loop {
            if self.try_take(n) {
                break false;
            }
            let word = self.word.load(Ordering::Relaxed);
            if word & WAITERS == 0 && word >= u64::from(n) {
                continue;
            }
            // Set by CAS: whoever gives back without the lock must see it, or be seen.
            if word & WAITERS != 0
                || self
                    .word
                    .compare_exchange(word, word | WAITERS, Ordering::Relaxed, Ordering::Relaxed)
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

    /// Not granted: out of the line. Gives those who can go on now that it is gone (I2), chained.
    ///
    /// # Safety
    /// `waiter` was meant for this line, and is alive.
    #[must_use]
    pub unsafe fn leave(&self, waiter: *mut PermitWaiter<P>) -> *mut PermitWaiter<P> {
        // SAFETY: the caller's.
        if unsafe { !(*waiter).is_linked() } {
            return null_mut();
        }
        self.lock.lock();
        // SAFETY: we hold the lock.
        unsafe { self.waiters.with(|waiters| waiters.leave(waiter)) };
        let granted = if mutated!("permits_leave_without_a_look") {
            null_mut()
        } else {
            self.grant(0)
        };
        self.lock.unlock();
        granted
    }

    /// Gives `n` back. None: there would be more than `most`. Gives those who can go on, chained.
    #[inline(always)]
    pub fn give(&self, n: u32, most: u32) -> Option<*mut PermitWaiter<P>> {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            if u64::from(word as u32) + u64::from(n) > u64::from(most) {
                return None;
            }
            if word & WAITERS == 0 {
                match self.word.compare_exchange(
                    word,
                    word + u64::from(n),
                    Ordering::Release,
                    Ordering::Relaxed,
                ) {
                    Ok(_) => return Some(null_mut()),
                    Err(now) => word = now,
                }
                continue;
            }
            self.lock.lock();
            word = self.word.load(Ordering::Relaxed);
            // Looked at again: another one may have given meanwhile, or the last one in line may have left.
            let fits = u64::from(word as u32) + u64::from(n) <= u64::from(most);
            if word & WAITERS != 0 && fits {
                let granted = self.grant(n);
                self.lock.unlock();
                return Some(granted);
            }
            self.lock.unlock();
        }
    }

    /// Under the lock: `n` more, and the first in line get theirs. If WAITERS is not set there is nobody in line, `n` is 0, and others
    /// may take and give meanwhile.
    fn grant(&self, n: u32) -> *mut PermitWaiter<P> {
        if self.word.load(Ordering::Relaxed) & WAITERS == 0 {
            return null_mut();
        }
        let mut free = self.free() + n;
        // SAFETY: we hold the lock.
        unsafe {
            self.waiters.with(|waiters| {
                let mut granted = null_mut();
                let mut end = &raw mut granted;
                while let Some((waiter, claimed)) = waiters.claim_first_if(|w| w.what <= free) {
                    free -= (*waiter).what;
                    end = chain_claimed(end, waiter, claimed);
                }
                let waits = if waiters.is_empty() { 0 } else { WAITERS };
                self.word.store(u64::from(free) | waits, Ordering::Release);
                granted
            })
        }
    }

    /// Whether nobody is in line, and whoever was here is done with it.
    pub fn is_idle(&self) -> bool {
        self.lock.lock();
        // SAFETY: we hold the lock.
        let idle = unsafe { self.waiters.with(|waiters| waiters.is_empty()) };
        self.lock.unlock();
        idle
    }
}
