//! Conditions. `wait::condition` is the protocol; here the mutex is given up and taken again around it.

use super::mutex::Mutex;
use super::object::{free_object, new_object};
use super::wait::{wait, wake_chain};
use crate::abi::*;
use crate::context::tls;
use crate::goroutine::Goroutine;
use crate::goroutine::waits::{Kind, Waits};
use crate::sched::park;
use crate::wait::Party;
use crate::wait::condition::{self, ConditionWaiter, Stage};
use crate::wait::thread::ThreadWait;

type Protocol = condition::Condition<Party>;

/// A condition. Opaque.
pub struct GoroutineCondition {
    protocol: Protocol,
}
/// The name inside the library.
pub use GoroutineCondition as Condition;

/// `goroutine_condition_new`.
pub fn new() -> *mut Condition {
    new_object(Condition {
        protocol: Protocol::new(),
    })
}

/// `goroutine_condition_free`.
///
/// # Safety
/// `condition` came from [`new`]; after GOROUTINE_OK nobody uses it.
pub unsafe fn free(condition: *mut Condition) -> GoroutineStatus {
    // SAFETY: the caller's promise.
    unsafe {
        if !(*condition).protocol.is_idle() {
            return GOROUTINE_EBUSY;
        }
        free_object(condition);
    }
    GOROUTINE_OK
}

impl Condition {
    /// `goroutine_condition_wait`.
    pub fn wait(&self, mutex: &Mutex, timeout_ns: u64) -> GoroutineStatus {
        if !mutex.is_owned() {
            return GOROUTINE_EPERM;
        }
        if timeout_ns == 0 {
            return GOROUTINE_EAGAIN;
        }
        let deadline = park::deadline_after(timeout_ns);
        let mut waiter = ConditionWaiter::new(Stage::new());
        let word = ThreadWait::new();
        let place = &raw mut waiter;
        // SAFETY: the waiter stays in place until it was told, claimed or left.
        unsafe {
            self.protocol.join(place);
            let depth = mutex.unlock_all();
            let waits = Waits::on(Kind::Condition, self);
            let mut status = wait(&word, deadline, waits, move |party| Protocol::park(place, party));
            if status != GOROUTINE_OK && !self.protocol.leave(place) {
                status = GOROUTINE_OK; // it was told before
            }
            lock_again(mutex, depth, status)
        }
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
        // SAFETY: claimed for us, and no lock is held.
        unsafe { wake_chain(self.protocol.tell(most), GOROUTINE_OK) };
    }
}

/// Step 4: no cancel ends it.
unsafe fn lock_again(mutex: &Mutex, depth: u32, status: GoroutineStatus) -> GoroutineStatus {
    let g = tls::current();
    // SAFETY: the running goroutine, if any.
    let locked = unsafe {
        if !g.is_null() {
            Goroutine::disable_cancel(g);
        }
        let locked = mutex.lock_to_depth(depth);
        if !g.is_null() {
            Goroutine::enable_cancel(g);
        }
        locked
    };
    if status == GOROUTINE_OK { locked } else { status }
}
