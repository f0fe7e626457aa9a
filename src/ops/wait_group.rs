//! Wait groups. `wait::count` is the protocol.

use super::object::{free_object, new_object};
use super::wait::{wait, wake_chain};
use crate::abi::*;
use crate::goroutine::waits::{Kind, Waits};
use crate::sanitize;
use crate::sched::park;
use crate::wait::Party;
use crate::wait::count::{Count, CountWaiter};
use crate::wait::thread::ThreadWait;

/// A wait group. Opaque.
pub struct GoroutineWaitGroup {
    count: Count<Party>,
}
/// The name inside the library.
pub use GoroutineWaitGroup as WaitGroup;

/// `goroutine_wait_group_new`.
pub fn new() -> *mut WaitGroup {
    new_object(WaitGroup::empty())
}

/// `goroutine_wait_group_free`.
///
/// # Safety
/// `group` came from [`new`]; after GOROUTINE_OK nobody uses it.
pub unsafe fn free(group: *mut WaitGroup) -> GoroutineStatus {
    // SAFETY: the caller's promise.
    unsafe {
        if !(*group).count.is_idle() {
            return GOROUTINE_EBUSY;
        }
        free_object(group);
    }
    GOROUTINE_OK
}

impl WaitGroup {
    pub(super) fn empty() -> Self {
        Self { count: Count::new() }
    }

    /// See [`Count::left`].
    pub(super) fn left(&self) -> u32 {
        self.count.left()
    }

    /// See [`Count::is_over`].
    pub(super) fn is_over(&self) -> bool {
        self.count.is_over()
    }

    /// `goroutine_wait_group_add`, `goroutine_wait_group_done`.
    #[inline(always)]
    pub fn add(&self, n: i32) -> GoroutineStatus {
        sanitize::released(self);
        match self.count.add(n) {
            Some(woken) => {
                // SAFETY: claimed for us, and no lock is held.
                unsafe { wake_chain(woken, GOROUTINE_OK) };
                GOROUTINE_OK
            }
            None => GOROUTINE_EINVAL,
        }
    }

    /// `goroutine_wait_group_wait`.
    #[inline(always)]
    pub fn wait(&self, timeout_ns: u64) -> GoroutineStatus {
        if self.count.is_zero() {
            sanitize::acquired(self);
            return GOROUTINE_OK;
        }
        if timeout_ns == 0 {
            return GOROUTINE_EAGAIN;
        }
        self.wait_in_line(timeout_ns)
    }

    #[inline(never)]
    fn wait_in_line(&self, timeout_ns: u64) -> GoroutineStatus {
        let mut waiter = CountWaiter::new(());
        let word = ThreadWait::new();
        let place = &raw mut waiter;
        // SAFETY: the waiter stays in place until it was woken or left.
        unsafe {
            let waits = Waits::on(Kind::WaitGroup, self);
            let status = wait(&word, park::deadline_after(timeout_ns), waits, move |party| {
                (*place).party = party;
                self.count.join(place)
            });
            if status != GOROUTINE_OK {
                self.count.leave(place);
            }
            sanitize::acquired(self);
            status
        }
    }
}
