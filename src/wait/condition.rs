//! Waiting, without a mutex, for somebody to say that something changed.
//!
//! ```text
//!   who waits                                                   who signals
//!   1. joins the queue                      (has the mutex)     takes the first in the queue:
//!   2. gives the mutex up                                         PARKED: claims it (`queue`)
//!   3. parks, if it was not told meanwhile                        JOINED: tells it, it will not park
//!   4. takes the mutex again, however long that takes
//! ```
//!
//! A word in the waiter says how far its owner has come:
//!
//! | state | who changes it |
//! |---|---|
//! | JOINED | whoever wins: a signal to TOLD, the owner to PARKED (step 3), or to GONE if it does not get there (it is cancelled) |
//! | PARKED, GONE, TOLD | nobody. PARKED's wait is decided by the claim |
//!
//! I1. The queue is read and written under the condition's lock. The party is written before PARKED (Release), and read after it (Acquire).
//! I2. A signal goes to one who had given up the mutex, or was about to, when it came; to the first of them. It takes it: a time-out or
//!     a cancel that comes after TOLD, or after the claim, is too late.
//! I3. TOLD is the signal's last touch of the waiter, which is out of the queue then; and its owner does not come back to the
//!     condition. So whoever finds the queue empty (under the lock) may free it, also while those it told are still on their way
//!     to the mutex. C++ says so of its condition variables.

use super::queue::{Sleeper, WaitQueue, Waiter, chain_claimed};
use crate::sync::{AtomicU32, Guarded, Ordering, SpinLock, mutated};
use std::ptr::null_mut;

const JOINED: u32 = 0;
const PARKED: u32 = 1;
const GONE: u32 = 2;
const TOLD: u32 = 3;

/// How far one who waits has come.
pub struct Stage(AtomicU32);

impl Stage {
    /// Before step 1.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self(AtomicU32::new(JOINED))
    }

    /// Out of JOINED. AcqRel: the party, and what the owner did before, for who signals; what that one did before TOLD for the owner.
    #[inline(always)]
    fn advance(&self, to: u32) -> bool {
        self.0
            .compare_exchange(JOINED, to, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// Acquire: partner of `advance`.
    #[inline(always)]
    fn is(&self, state: u32) -> bool {
        self.0.load(Ordering::Acquire) == state
    }
}

/// One who waits.
pub type ConditionWaiter<P> = Waiter<P, Stage>;

/// See the module's head.
pub struct Condition<P: Sleeper> {
    lock: SpinLock,
    waiters: Guarded<WaitQueue<P, Stage>>,
}

// SAFETY: I1; waiters are woken on behalf of their owners from any thread.
unsafe impl<P: Sleeper> Sync for Condition<P> {}
// SAFETY: as above.
unsafe impl<P: Sleeper> Send for Condition<P> {}

impl<P: Sleeper> Condition<P> {
    /// Nobody waits.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self {
            lock: SpinLock::new(),
            waiters: Guarded::new(WaitQueue::new()),
        }
    }

    fn locked<R>(&self, f: impl FnOnce(&mut WaitQueue<P, Stage>) -> R) -> R {
        self.lock.lock();
        // SAFETY: we hold the lock.
        let result = unsafe { self.waiters.with(f) };
        self.lock.unlock();
        result
    }

    /// Step 1.
    ///
    /// # Safety
    /// `waiter` is new; it stays in place until it was told, claimed or left.
    pub unsafe fn join(&self, waiter: *mut ConditionWaiter<P>) {
        // SAFETY: we hold the lock; the caller's promise.
        self.locked(|waiters| unsafe { waiters.join(waiter) });
    }

    /// Step 3, as `party`. False: it was told.
    ///
    /// # Safety
    /// `waiter` has joined, and is the caller's.
    #[inline(always)]
    #[must_use]
    pub unsafe fn park(waiter: *mut ConditionWaiter<P>, party: P) -> bool {
        // SAFETY: the caller's promise; until PARKED nobody else looks at the party.
        unsafe {
            (*waiter).party = party;
            (*waiter).what.advance(PARKED) || mutated!("condition_parks_though_told")
        }
    }

    /// Its wait ended otherwise: out of the queue. False: it was told before (I2), and the condition may be gone (I3).
    ///
    /// # Safety
    /// `waiter` has joined, is the caller's, and was not claimed.
    #[must_use]
    pub unsafe fn leave(&self, waiter: *mut ConditionWaiter<P>) -> bool {
        // SAFETY: the caller's promise.
        let stage = unsafe { &(*waiter).what };
        let told = if mutated!("condition_leaves_without_cas") {
            stage.is(TOLD)
        } else {
            !stage.advance(GONE) && stage.is(TOLD)
        };
        if !told {
            // SAFETY: we hold the lock; the caller's promise.
            self.locked(|waiters| unsafe { waiters.leave(waiter) });
        }
        !told
    }

    /// Tells the first `most` who wait. Gives those that are to be woken, chained. Those whose wait is over already stay for
    /// themselves to leave.
    #[must_use]
    pub fn tell(&self, most: usize) -> *mut ConditionWaiter<P> {
        self.locked(|waiters| {
            let mut woken = null_mut();
            let mut end = &raw mut woken;
            let mut left = most;
            let mut waiter = waiters.first();
            while left != 0 && !waiter.is_null() {
                // SAFETY: we hold the lock; linked, so alive (`queue`, I4), and not looked at again once it was told (I3).
                unsafe {
                    let following = (*waiter).following();
                    if Self::tell_unparked(waiters, waiter) {
                        left -= 1;
                    } else if (*waiter).what.is(PARKED)
                        && let Some(claimed) = waiters.claim(waiter)
                    {
                        end = chain_claimed(end, waiter, claimed);
                        left -= 1;
                    }
                    waiter = following;
                }
            }
            woken
        })
    }

    /// # Safety
    /// Under the lock; `waiter` is linked.
    #[inline(always)]
    unsafe fn tell_unparked(waiters: &mut WaitQueue<P, Stage>, waiter: *mut ConditionWaiter<P>) -> bool {
        // SAFETY: the caller's promise. Nearly always it is parked: a look is cheaper than a CAS in vain.
        unsafe {
            (*waiter).what.is(JOINED)
                && !mutated!("condition_tells_the_parked_only")
                && waiters.leave_if(waiter, || (*waiter).what.advance(TOLD))
        }
    }

    /// Whether nobody waits, and whoever was here is done with it (I3).
    pub fn is_idle(&self) -> bool {
        self.locked(|waiters| waiters.is_empty())
    }

    /// For a model, in place of freeing it: who touches it now waits for ever.
    #[cfg(all(test, loom))]
    pub fn poison(&self) {
        self.lock.lock();
    }
}
