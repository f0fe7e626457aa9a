//! Conditions: waiting, without the mutex, for somebody to say that something changed.
//!
//! ```text
//!   who waits                                                   who signals
//!   1. joins the queue, JOINED              (has the mutex)     takes the first in the queue:
//!   2. gives the mutex up                                         PARKED: claims it (`wait::queue`)
//!   3. parks: JOINED -> PARKED, or it was told meanwhile           JOINED -> TELLING, unlinks it, TOLD: it will not park
//!   4. takes the mutex again, however long that takes
//! ```
//!
//! I1. The stage leaves JOINED by a CAS. The party is written before PARKED (Release), and read after it (Acquire).
//! I2. A signal goes to one who had given up the mutex, or was about to, when it came; to the first of them. One that was told has it,
//!     also if it was cancelled after that, and before it parked; one that was cancelled before it came joins nothing.
//! I3. TOLD is the signaller's last touch of the waiter, and one that was told does not touch the condition again: after the signal
//!     nobody waits on it, and it may be freed. The others are linked, or were claimed.

use super::mutex::Mutex;
use super::object::{free_object, new_object};
use super::wait::{wait, wake_chain};
use crate::abi::*;
use crate::context::{goroutine_asm_yield, tls};
use crate::goroutine::Goroutine;
use crate::sched::park;
use crate::sync::{AtomicU32, Guarded, Ordering, SpinLock, backoff};
use crate::wait::queue::chain_claimed;
use crate::wait::thread::ThreadWait;
use crate::wait::{Claimed, Party, WaitQueue, Waiter};
use std::ptr::null_mut;

/// How far one is that waits. See the module's head.
struct Stage(AtomicU32);

const JOINED: u32 = 0;
const TELLING: u32 = 1;
const TOLD: u32 = 2;
const PARKED: u32 = 3;
/// Its wait is over, and it did not park: it is about to leave.
const GONE: u32 = 4;

impl Stage {
    /// JOINED becomes `to`, or it stays what it is. Gives what it was. Release and Acquire: I1.
    fn leave_joined(&self, to: u32) -> u32 {
        match self
            .0
            .compare_exchange(JOINED, to, Ordering::AcqRel, Ordering::Acquire)
        {
            Ok(stage) | Err(stage) => stage,
        }
    }

    /// The owner's: JOINED becomes `to`, PARKED or GONE. False: it was told; the signaller is done with it, and so are we with the
    /// condition (I3).
    fn go_on(&self, to: u32) -> bool {
        let mut round = 0;
        let stage = self.leave_joined(to);
        if stage == TELLING {
            while self.0.load(Ordering::Acquire) == TELLING {
                backoff(&mut round); // a few instructions of the signaller
            }
        }
        stage == JOINED || stage == PARKED
    }

    fn is_parked(&self) -> bool {
        self.0.load(Ordering::Acquire) == PARKED
    }
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
        if is_cancelled() {
            // It takes nobody's signal.
            let depth = mutex.unlock_all();
            // SAFETY: on a goroutine.
            unsafe {
                goroutine_asm_yield();
                return Self::lock_again(mutex, depth, GOROUTINE_ECANCELED);
            }
        }
        let deadline = park::deadline_after(timeout_ns);
        let mut waiter = Waiter::new(Stage(AtomicU32::new(JOINED)));
        let word = ThreadWait::new();
        let place = &raw mut waiter;
        // SAFETY: the waiter stays in place until it was told, claimed or left.
        unsafe {
            self.locked(|waiters| waiters.join(place));
            let depth = mutex.unlock_all();
            let mut status = wait(&word, deadline, move |party| {
                (*place).party = party;
                (*place).what.go_on(PARKED)
            });
            if status != GOROUTINE_OK {
                if (*place).what.go_on(GONE) {
                    self.locked(|waiters| waiters.leave(place));
                } else {
                    status = GOROUTINE_OK; // I2
                }
            }
            Self::lock_again(mutex, depth, status)
        }
    }

    /// Step 4: no cancel ends it.
    unsafe fn lock_again(mutex: &Mutex, depth: u32, status: GoroutineStatus) -> GoroutineStatus {
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
        // SAFETY: the caller's promise; who is linked is alive, and what was claimed is ours.
        unsafe {
            let mut waiter = waiters.first();
            while !waiter.is_null() {
                if (*waiter).what.leave_joined(TELLING) == JOINED {
                    waiters.leave(waiter);
                    (*waiter).what.0.store(TOLD, Ordering::Release); // I3; partner: go_on
                    return Told::Unparked;
                }
                if (*waiter).what.is_parked()
                    && let Some(claimed) = waiters.claim(waiter)
                {
                    return Told::Claimed(waiter, claimed);
                }
                waiter = (*waiter).following();
            }
            Told::Nobody
        }
    }
}

/// Whether the caller is a goroutine that was asked to stop.
fn is_cancelled() -> bool {
    // SAFETY: the running goroutine, if any.
    unsafe { tls::current().as_ref() }.is_some_and(Goroutine::is_cancelled)
}

enum Told {
    Nobody,
    Unparked,
    Claimed(*mut Waiter<Party, Stage>, Claimed<Party>),
}
