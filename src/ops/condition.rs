//! Conditions: waiting, without the mutex, for somebody to say that something changed.
//!
//! ```text
//!   who waits                                                   who signals
//!   1. joins the queue, not parked yet      (has the mutex)     takes the first in the queue:
//!   2. gives the mutex up                                         parked: claims it (`wait::queue`)
//!   3. parks, if it was not signalled meanwhile                   not parked yet: marks it (TOLD), it will not park
//!   4. takes the mutex again, however long that takes
//! ```
//!
//! I1. The mark and the party are read and written under the condition's lock.
//! I2. A signal goes to one who had given up the mutex, or was about to, when it came; to the first of them. One that was told and does
//!     not take it (it was cancelled before it parked) passes it on.

use super::mutex::Mutex;
use super::object::{free_object, new_object};
use super::wait::{wait, wake_chain};
use crate::abi::*;
use crate::context::tls;
use crate::sched::park;
use crate::sync::{Guarded, SpinLock};
use crate::wait::queue::chain_claimed;
use crate::wait::thread::ThreadWait;
use crate::wait::{Claimed, Party, WaitQueue, Waiter};
use std::ptr::null_mut;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Joined,
    Told,
    Parked,
}

/// A condition. Opaque.
pub struct GoroutineCondition {
    lock: SpinLock,
    waiters: Guarded<WaitQueue<Party, Stage>>,
}
/// The name inside the library.
pub use GoroutineCondition as Condition;
// SAFETY: I1.
unsafe impl Sync for Condition {}

/// `goroutine_condition_new`.
pub fn new() -> *mut Condition {
    new_object(Condition {
        lock: SpinLock::new(),
        waiters: Guarded::new(WaitQueue::new()),
    })
}

/// `goroutine_condition_free`.
///
/// # Safety
/// `condition` came from [`new`]; after GOROUTINE_OK nobody uses it.
pub unsafe fn free(condition: *mut Condition) -> GoroutineStatus {
    // SAFETY: the caller's promise.
    unsafe {
        if !(*condition).locked(|waiters| waiters.is_empty()) {
            return GOROUTINE_EBUSY;
        }
        free_object(condition);
    }
    GOROUTINE_OK
}

impl Condition {
    fn locked<R>(&self, f: impl FnOnce(&mut WaitQueue<Party, Stage>) -> R) -> R {
        self.lock.lock();
        // SAFETY: we hold the lock.
        let result = unsafe { self.waiters.with(f) };
        self.lock.unlock();
        result
    }

    /// `goroutine_condition_wait`.
    pub fn wait(&self, mutex: &Mutex, timeout_ns: u64) -> GoroutineStatus {
        if !mutex.is_owned() {
            return GOROUTINE_EPERM;
        }
        if timeout_ns == 0 {
            return GOROUTINE_EAGAIN;
        }
        let deadline = park::deadline_after(timeout_ns);
        let mut waiter = Waiter::new(Stage::Joined);
        let word = ThreadWait::new();
        let place = &raw mut waiter;
        // SAFETY: the waiter stays in place until it was told, claimed or left.
        unsafe {
            self.locked(|waiters| waiters.join(place));
            let depth = mutex.unlock_all();
            let status = wait(&word, deadline, move |party| {
                self.locked(|_| {
                    if (*place).what == Stage::Told {
                        return false;
                    }
                    (*place).party = party;
                    (*place).what = Stage::Parked;
                    true
                })
            });
            if status != GOROUTINE_OK && self.leave(place) == Stage::Told {
                self.signal(); // I2
            }
            self.lock_again(mutex, depth, status)
        }
    }

    unsafe fn leave(&self, waiter: *mut Waiter<Party, Stage>) -> Stage {
        self.locked(|waiters| {
            // SAFETY: it was meant for this queue, and is alive.
            unsafe {
                waiters.leave(waiter);
                (*waiter).what
            }
        })
    }

    /// Step 4: no cancel ends it.
    unsafe fn lock_again(&self, mutex: &Mutex, depth: u32, status: GoroutineStatus) -> GoroutineStatus {
        let g = tls::current();
        // SAFETY: the running goroutine, if any.
        let locked = unsafe {
            if !g.is_null() {
                (*g).cancel_disabled += 1;
            }
            let locked = mutex.lock_to_depth(depth);
            if !g.is_null() {
                (*g).cancel_disabled -= 1;
            }
            locked
        };
        if status == GOROUTINE_OK { locked } else { status }
    }

    /// `goroutine_condition_signal`.
    pub fn signal(&self) {
        self.tell(1);
    }

    /// `goroutine_condition_broadcast`.
    pub fn broadcast(&self) {
        self.tell(usize::MAX);
    }

    fn tell(&self, most: usize) {
        let woken = self.locked(|waiters| {
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
        });
        // SAFETY: claimed for us, and no lock is held.
        unsafe { wake_chain(woken, GOROUTINE_OK) };
    }

    /// Under the lock. Those whose wait is over already stay for themselves to leave.
    unsafe fn tell_first(waiters: &mut WaitQueue<Party, Stage>) -> Told {
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
            if waiter.is_null() {
                return Told::Nobody;
            }
            waiters.leave(waiter);
            (*waiter).what = Stage::Told;
            Told::Unparked
        }
    }
}

enum Told {
    Nobody,
    Unparked,
    Claimed(*mut Waiter<Party, Stage>, Claimed<Party>),
}
