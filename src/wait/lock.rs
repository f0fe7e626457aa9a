//! A lock that is handed on: who unlocks gives it to the first who waits.
//!
//! One word: the owner's number, 0 for free, WAITERS (somebody who can still be granted it may be queued), and HANDED (the owner was
//! granted it in the queue, and has not run since).
//!
//! | transition | who | how |
//! |---|---|---|
//! | free -> owner | anybody | CAS |
//! | owner -> owner with WAITERS | one who joins | CAS, under the queue's lock |
//! | owner -> free | the owner, nobody waits | CAS |
//! | owner with WAITERS -> next owner HANDED, or free | the owner | store, under the queue's lock |
//! | owner HANDED -> owner | the same, once it runs | store, under the queue's lock |
//! | owner HANDED -> a thief | one who only tries | store, under the queue's lock |
//!
//! I1. The word is free only while nobody waits (who could be granted it). So nobody overtakes those in the queue (but for I4), and
//!     nobody starves: first come, first served. A lock that may be snatched lets its owner take it again and again while the queue
//!     waits for a turn of the scheduler, and needs a second mode against that (Go's "starvation mode"). Handing it
//!     on costs a switch per contended unlock, and a switch is cheap here.
//! I2. WAITERS is set and the queue joined in one critical section; the owner that finds it set takes the same lock. So who
//!     joins is found by the owner, or finds the word free.
//!     The worker that the queue's lock is biased to (`biased`) does so with plain stores; all others take the bias away first.
//! I3. The last touch of an owner that unlocks is its CAS, or the unlock of the queue's lock. Who frees the object takes that
//!     lock first.
//! I4. Who only tries may take the lock from an owner that has not run since it was granted it, which then queues up again in front of
//!     all others (but of those who were robbed before it), and nobody takes it from that one again. Until then it is in no queue,
//!     and counted in `robbed`. Without this, goroutines that lock one of several and try the others (std::lock, std::scoped_lock)
//!     can go in circles for ever: each time, what one tries has just been handed to one who sleeps. With it, a try on a lock that
//!     nobody is using fails only after a theft, and the thief got on.

use super::biased::BiasedLock;
use super::queue::{Claimed, Sleeper, WaitQueue, Waiter};
use crate::sync::{AtomicU32, AtomicU64, Guarded, Ordering, mutated};

const FREE: u64 = 0;
const WAITERS: u64 = 1;
/// In the word; and in a waiter's number: it may be robbed (I4).
pub const HANDED: u64 = 2;
/// Above these bits the owner has a number of its own.
pub const NUMBER_SHIFT: u32 = 2;

/// What one gets that asks for it.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Take {
    /// The lock.
    Taken,
    /// The lock, whose last owner ended with it.
    Orphaned,
    /// Nothing.
    Held,
}

/// See the module's head. Numbers are not 0, and their lowest `NUMBER_SHIFT` bits are.
pub struct Lock<P: Sleeper> {
    word: AtomicU64,
    /// Around `waiters`.
    lock: BiasedLock,
    /// 1: an owner ended with it, and nobody has been told. Written before the word becomes free, taken by the next owner.
    orphaned: AtomicU32,
    waiters: Guarded<WaitQueue<P, u64>>,
    /// Those that were robbed and have not come back (I4). Under the queue's lock.
    robbed: Guarded<u32>,
}

// SAFETY: the table and I1 to I3; waiters are woken on behalf of their owners from any thread.
unsafe impl<P: Sleeper> Sync for Lock<P> {}
// SAFETY: as above.
unsafe impl<P: Sleeper> Send for Lock<P> {}

impl<P: Sleeper> Lock<P> {
    /// Where the word is, for who reads it from outside.
    #[cfg(not(loom))]
    pub const WORD: usize = std::mem::offset_of!(Self, word);

    /// Whose it is by that word.
    #[cfg(not(loom))]
    pub fn owner_in(word: u64) -> u64 {
        word & !(WAITERS | HANDED)
    }

    /// Free.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self {
            word: AtomicU64::new(FREE),
            lock: BiasedLock::new(),
            orphaned: AtomicU32::new(0),
            waiters: Guarded::new(WaitQueue::new()),
            robbed: Guarded::new(0),
        }
    }

    /// Whose it is; 0: nobody's.
    #[inline(always)]
    pub fn owner(&self) -> u64 {
        self.word.load(Ordering::Relaxed) & !(WAITERS | HANDED)
    }

    /// Whether somebody is queued for it, as a hint.
    #[inline]
    pub fn has_waiters(&self) -> bool {
        self.word.load(Ordering::Relaxed) & WAITERS != 0
    }

    /// Takes it if it is free. Acquire: partner of `release`.
    #[inline(always)]
    pub fn try_take(&self, me: u64) -> Take {
        loop {
            if self.lock.enter() {
                let take = if self.word.load(Ordering::Relaxed) == FREE {
                    self.word.store(me, Ordering::Relaxed);
                    self.took()
                } else {
                    Take::Held
                };
                self.lock.leave();
                return take;
            }
            if self.lock.is_shared() {
                return self.try_take_shared(me);
            }
            self.lock.decide();
        }
    }

    /// With the lock, or when it is shared.
    #[inline(always)]
    fn try_take_shared(&self, me: u64) -> Take {
        match self
            .word
            .compare_exchange(FREE, me, Ordering::Acquire, Ordering::Relaxed)
        {
            Ok(_) => self.took(),
            Err(_) => Take::Held,
        }
    }

    /// The caller has it.
    #[inline(always)]
    fn took(&self) -> Take {
        if self.orphaned.load(Ordering::Relaxed) != 0 {
            self.orphaned.store(0, Ordering::Relaxed);
            return Take::Orphaned;
        }
        Take::Taken
    }

    /// Queues up for it. Anything but Held: it was free, is the caller's now, and the waiter was not touched.
    ///
    /// # Safety
    /// `waiter.what` is `me` and HANDED, and its party is set; it stays in place until it was granted the lock or left.
    #[inline(always)]
    pub unsafe fn join(&self, waiter: *mut Waiter<P, u64>, me: u64) -> Take {
        // SAFETY: the caller's promise; it is linked under the lock.
        unsafe { self.join_by(me, || {}, |waiters| waiters.join(waiter)) }
    }

    /// The same for one that was robbed, and has no HANDED: in front of all but those who were robbed before it (I4).
    ///
    /// # Safety
    /// As [`Lock::join`].
    #[cold]
    #[inline(never)]
    pub unsafe fn join_again(&self, waiter: *mut Waiter<P, u64>, me: u64) -> Take {
        // SAFETY: as in `join`.
        unsafe {
            self.join_by(
                me,
                || self.comes_back(waiter),
                |waiters| waiters.join_in_front(waiter, |other| other.what & HANDED == 0),
            )
        }
    }

    /// `at_once` and `link` are under the queue's lock.
    #[inline(always)]
    unsafe fn join_by(
        &self,
        me: u64,
        at_once: impl FnOnce(),
        link: impl FnOnce(&mut WaitQueue<P, u64>),
    ) -> Take {
        self.lock.lock();
        at_once();
        let take = loop {
            let word = self.word.load(Ordering::Relaxed);
            if word == FREE {
                match self.try_take_shared(me) {
                    Take::Held => continue,
                    take => break take,
                }
            }
            if word & WAITERS != 0
                || mutated!("lock_joins_silently")
                || self
                    .word
                    .compare_exchange(word, word | WAITERS, Ordering::Relaxed, Ordering::Relaxed)
                    .is_ok()
            {
                // SAFETY: we hold the lock; the caller's promise.
                unsafe { self.waiters.with(link) };
                break Take::Held;
            }
        };
        self.lock.unlock();
        take
    }

    /// Under the queue's lock: if it was robbed, it is in the queue again, or has the lock, or has given up.
    #[inline(always)]
    unsafe fn comes_back(&self, waiter: *const Waiter<P, u64>) {
        // SAFETY: the caller's promise.
        unsafe {
            if (*waiter).what & HANDED == 0 {
                self.robbed.with(|robbed| *robbed -= 1);
            }
        }
    }

    /// Not granted: out of the queue.
    ///
    /// # Safety
    /// `waiter` was meant for this lock, and is alive.
    pub unsafe fn leave(&self, waiter: *mut Waiter<P, u64>) {
        // SAFETY: the caller's; the lock is there for one that was robbed, too.
        unsafe {
            if (*waiter).is_linked() {
                self.lock.lock();
                self.waiters.with(|waiters| waiters.leave(waiter));
                self.lock.unlock();
            } else if (*waiter).what & HANDED == 0 {
                self.lock.lock();
                self.comes_back(waiter);
                self.lock.unlock();
            }
        }
    }

    /// It was granted in the queue: whether it is the caller's still (I4).
    #[inline]
    #[must_use]
    pub fn confirm(&self, me: u64) -> bool {
        self.lock.lock();
        let word = self.word.load(Ordering::Relaxed);
        let mine = word & !(WAITERS | HANDED) == me;
        if mine {
            // The word is the owner's to change, and those who join hold the lock. Acquire came with the wake.
            self.word.store(word & !HANDED, Ordering::Relaxed);
        }
        self.lock.unlock();
        mine || mutated!("lock_trusts_the_grant")
    }

    /// Takes it from an owner that has not run since it was granted it (I4).
    #[cold]
    #[must_use]
    pub fn rob(&self, me: u64) -> bool {
        if self.word.load(Ordering::Relaxed) & HANDED == 0 {
            return false;
        }
        self.lock.lock();
        // Acquire: partner of `hand_on`.
        let word = self.word.load(Ordering::Acquire);
        let handed = word & HANDED != 0;
        if handed {
            self.word.store(me | word & WAITERS, Ordering::Relaxed);
            // SAFETY: we hold the lock.
            unsafe { self.robbed.with(|robbed| *robbed += 1) };
        }
        self.lock.unlock();
        handed
    }

    /// Gives it up. Some: it went to that one, who is to be woken.
    #[inline(always)]
    pub fn release(&self, me: u64) -> Option<Claimed<P>> {
        loop {
            if self.lock.enter() {
                let alone = self.word.load(Ordering::Relaxed) == me;
                if alone {
                    self.word.store(FREE, Ordering::Relaxed);
                }
                self.lock.leave();
                if alone {
                    return None;
                }
                break;
            }
            if self.lock.is_shared() {
                // Release: partner of `try_take_shared`.
                if self
                    .word
                    .compare_exchange(me, FREE, Ordering::Release, Ordering::Relaxed)
                    .is_ok()
                {
                    return None;
                }
                break;
            }
            self.lock.decide();
        }
        self.lock.lock();
        let next = self.hand_on();
        self.lock.unlock();
        next
    }

    /// The owner ended with it: the next one is told. As `release`.
    pub fn abandon(&self, me: u64) -> Option<Claimed<P>> {
        self.lock.lock();
        let mut next = None;
        if self.owner() == me {
            self.orphaned.store(1, Ordering::Relaxed); // published by the word, or not needed
            next = self.hand_on();
            if next.is_some() {
                self.orphaned.store(0, Ordering::Relaxed);
                // It is told, so it keeps it.
                let word = self.word.load(Ordering::Relaxed);
                self.word.store(word & !HANDED, Ordering::Release);
            }
        }
        self.lock.unlock();
        next
    }

    /// Under the queue's lock: the word is the owner's alone to change (I2).
    #[inline(always)]
    fn hand_on(&self) -> Option<Claimed<P>> {
        // SAFETY: we hold the lock. A claimed waiter is ours.
        unsafe {
            self.waiters.with(|waiters| match waiters.claim_first() {
                None => {
                    self.word.store(FREE, Ordering::Release);
                    None
                }
                Some((waiter, claimed)) => {
                    let more = !waiters.is_empty() && !mutated!("lock_forgets_the_others");
                    self.word
                        .store((*waiter).what | if more { WAITERS } else { 0 }, Ordering::Release);
                    Some(claimed)
                }
            })
        }
    }

    /// Whether nobody has it and nobody waits or was robbed, and whoever was here is done with it.
    pub fn is_idle(&self) -> bool {
        self.lock.lock();
        // SAFETY: we hold the lock.
        let idle = unsafe {
            self.owner() == FREE
                && self.waiters.with(|waiters| waiters.is_empty())
                && self.robbed.with(|robbed| *robbed == 0)
        };
        self.lock.unlock();
        idle
    }
}
