//! Readers-writer locks: a reader takes one permit, a writer all of them. Since permits are given in order, a writer that waits keeps later
//! readers out, and starves no less than they do.

use super::mutex::Me;
use super::object::{free_object, new_object};
use super::semaphore::{acquire_in_line, release};
use crate::abi::*;
use crate::goroutine::waits::{Kind, Waits};
use crate::sanitize;
use crate::wait::Party;
use crate::wait::permits::Permits;
use std::sync::atomic::{AtomicU64, Ordering};

/// So many readers at a time.
const ALL: u32 = 1 << 30;

/// A readers-writer lock. Opaque.
pub struct GoroutineRwLock {
    permits: Permits<Party>,
    /// The writer's number (`Me`), 0: none. Written by the writer; others only compare it with their own.
    writer: AtomicU64,
}
/// The name inside the library.
pub use GoroutineRwLock as RwLock;

/// `goroutine_rwlock_new`.
pub fn new() -> *mut RwLock {
    new_object(RwLock {
        permits: Permits::new(ALL),
        writer: AtomicU64::new(0),
    })
}

/// `goroutine_rwlock_free`.
///
/// # Safety
/// `lock` came from [`new`]; after GOROUTINE_OK nobody uses it.
pub unsafe fn free(lock: *mut RwLock) -> GoroutineStatus {
    // SAFETY: the caller's promise.
    unsafe {
        if !(*lock).permits.is_idle() || (*lock).permits.free() != ALL {
            return GOROUTINE_EBUSY;
        }
        free_object(lock);
    }
    GOROUTINE_OK
}

impl RwLock {
    fn is_writer(&self) -> bool {
        let writer = self.writer.load(Ordering::Relaxed);
        writer != 0 && writer == Me::new().number
    }

    fn take(&self, n: u32, timeout_ns: u64) -> GoroutineStatus {
        if self.permits.try_take(n) {
            return GOROUTINE_OK;
        }
        if self.is_writer() {
            return GOROUTINE_EDEADLK;
        }
        acquire_in_line(&self.permits, n, timeout_ns, Waits::on(Kind::RwLock, self))
    }

    /// `goroutine_rwlock_read_lock`.
    pub fn read_lock(&self, timeout_ns: u64) -> GoroutineStatus {
        let status = self.take(1, timeout_ns);
        sanitize::acquired(self);
        status
    }

    /// `goroutine_rwlock_write_lock`.
    pub fn write_lock(&self, timeout_ns: u64) -> GoroutineStatus {
        let status = self.take(ALL, timeout_ns);
        if status == GOROUTINE_OK {
            self.writer.store(Me::new().number, Ordering::Relaxed);
            sanitize::acquired(self);
            sanitize::acquired(sanitize::back(self));
        }
        status
    }

    /// `goroutine_rwlock_read_unlock`.
    pub fn read_unlock(&self) -> GoroutineStatus {
        if self.writer.load(Ordering::Relaxed) != 0 {
            return GOROUTINE_EPERM; // nobody reads
        }
        sanitize::released(sanitize::back(self));
        match release(&self.permits, 1, ALL) {
            GOROUTINE_OK => GOROUTINE_OK,
            _ => GOROUTINE_EPERM,
        }
    }

    /// `goroutine_rwlock_write_unlock`.
    pub fn write_unlock(&self) -> GoroutineStatus {
        if !self.is_writer() {
            return GOROUTINE_EPERM;
        }
        self.writer.store(0, Ordering::Relaxed);
        sanitize::released(self);
        release(&self.permits, ALL, ALL)
    }
}
