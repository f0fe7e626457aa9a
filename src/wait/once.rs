//! A value that the first who asks makes, under a lock that its user brings.
//!
//! I1. `done` is set once, under the lock, after the value (Release). Who sees it (Acquire) has the value without the lock.
//! I2. Who has the lock looks again before it makes the value: the lock's last owner may have made it.
//! I3. Under the lock it gives the value too: giving the lock back is the last touch, and who takes the lock then may free it.

use crate::sync::{AtomicPtr, AtomicU32, Ordering, mutated};
use std::ptr::null_mut;

/// See the module's head.
pub struct Once<T> {
    /// 1: the value is there. Written under the lock.
    done: AtomicU32,
    /// Written once, before `done`.
    value: AtomicPtr<T>,
}

impl<T> Once<T> {
    /// Nobody has asked.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self {
            done: AtomicU32::new(0),
            value: AtomicPtr::new(null_mut()),
        }
    }

    /// The value, if it was made.
    #[inline(always)]
    pub fn get(&self) -> Option<*mut T> {
        // Acquire: partner of `get_or_make`. The value has not changed since.
        (self.done.load(Ordering::Acquire) == 1).then(|| self.value.load(Ordering::Relaxed))
    }

    /// The caller has the lock.
    #[inline(always)]
    pub fn get_or_make(&self, make: impl FnOnce() -> *mut T) -> *mut T {
        if !mutated!("once_without_second_look")
            && let Some(value) = self.get()
        {
            return value;
        }
        let value = make();
        if mutated!("once_done_before_the_value") {
            self.done.store(1, Ordering::Release);
        }
        self.value.store(value, Ordering::Relaxed);
        self.done.store(1, Ordering::Release); // I1
        value
    }
}
