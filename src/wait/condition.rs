//! Waiting, without a mutex, for somebody to say that something changed.
//!
//! ```text
//!   who waits                                                   who signals
//!   1. joins the queue, not parked yet      (has the mutex)     takes the first in the queue:
//!   2. gives the mutex up                                         parked: claims it (`queue`)
//!   3. parks, if it was not signalled meanwhile                   not parked yet: marks it (TOLD), it will not park
//!   4. takes the mutex again, however long that takes
//! ```
//!
//! I1. The mark and the party are read and written under the condition's lock.
//! I2. A signal goes to one who had given up the mutex, or was about to, when it came; to the first of them. One that was told and does
//!     not take it (it was cancelled before it parked) passes it on.

use super::queue::{Claimed, Sleeper, WaitQueue, Waiter, chain_claimed};
use crate::sync::{Guarded, SpinLock, mutated};
use std::ptr::null_mut;

/// How far one who waits has come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Step 1.
    Joined,
    /// Signalled before step 3, and out of the queue.
    Told,
    /// Step 3.
    Parked,
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

enum Told<P> {
    Nobody,
    Unparked,
    Claimed(*mut ConditionWaiter<P>, Claimed<P>),
}

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
    /// `waiter` is Joined; it stays in place until it was told, claimed or left.
    pub unsafe fn join(&self, waiter: *mut ConditionWaiter<P>) {
        // SAFETY: we hold the lock; the caller's promise.
        self.locked(|waiters| unsafe { waiters.join(waiter) });
    }

    /// Step 3, as `party`. False: it was told.
    ///
    /// # Safety
    /// `waiter` has joined.
    #[must_use]
    pub unsafe fn park(&self, waiter: *mut ConditionWaiter<P>, party: P) -> bool {
        // SAFETY: I1; the caller's promise.
        self.locked(|_| unsafe {
            if (*waiter).what == Stage::Told && !mutated!("condition_parks_though_told") {
                return false;
            }
            (*waiter).party = party;
            (*waiter).what = Stage::Parked;
            true
        })
    }

    /// Its wait ended otherwise: out of the queue. True: it was told, and has to pass that on (I2).
    ///
    /// # Safety
    /// `waiter` has joined, and is alive.
    #[must_use]
    pub unsafe fn leave(&self, waiter: *mut ConditionWaiter<P>) -> bool {
        // SAFETY: we hold the lock; the caller's promise.
        self.locked(|waiters| unsafe {
            waiters.leave(waiter);
            (*waiter).what == Stage::Told && !mutated!("condition_keeps_the_signal")
        })
    }

    /// Tells the first `most` who wait. Gives those that are to be woken, chained.
    #[must_use]
    pub fn tell(&self, most: usize) -> *mut ConditionWaiter<P> {
        self.locked(|waiters| {
            let mut woken = null_mut();
            let mut end = &raw mut woken;
            for _ in 0..most {
                // SAFETY: we hold the lock.
                unsafe {
                    match Self::tell_first(waiters) {
                        Told::Nobody => break,
                        Told::Unparked => {}
                        Told::Claimed(waiter, claimed) => end = chain_claimed(end, waiter, claimed),
                    }
                }
            }
            woken
        })
    }

    /// Under the lock. Those whose wait is over already stay for themselves to leave.
    unsafe fn tell_first(waiters: &mut WaitQueue<P, Stage>) -> Told<P> {
        // SAFETY: the caller's promise.
        unsafe {
            if let Some((waiter, claimed)) = waiters.claim_first_if(|w| w.what == Stage::Parked) {
                return Told::Claimed(waiter, claimed);
            }
            // The first that is not parked, if all before it are over.
            let mut waiter = waiters.first();
            while !waiter.is_null() && (*waiter).what == Stage::Parked {
                waiter = (*waiter).following();
            }
            if waiter.is_null() || mutated!("condition_tells_the_parked_only") {
                return Told::Nobody;
            }
            waiters.leave(waiter);
            (*waiter).what = Stage::Told;
            Told::Unparked
        }
    }

    /// Whether nobody waits.
    pub fn is_idle(&self) -> bool {
        self.locked(|waiters| waiters.is_empty())
    }
}
