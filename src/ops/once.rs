//! Once: a function that runs for the first who asks, while the others wait. `wait::once` says when.
//!
//! It is a mutex around the run. So one that asks within the run gets GOROUTINE_EDEADLK, and if the goroutine that runs it ends meanwhile,
//! the next in line, which gets the mutex as an orphan, runs it anew.

use super::mutex::Mutex;
use super::object::{free_object, new_object};
use crate::abi::*;
use crate::context::goroutine_asm_call;
use crate::goroutine::waits::Kind;
use crate::sanitize;
use crate::wait::once;
use std::ffi::c_void;
use std::ptr::null_mut;

/// See the module's head. Opaque.
pub struct GoroutineOnce {
    mutex: *mut Mutex,
    protocol: once::Once<c_void>,
}
/// The name inside the library.
pub use GoroutineOnce as Once;

/// `goroutine_once_new`.
pub fn new() -> *mut Once {
    let mutex = super::mutex::new_as(false, Kind::Once);
    if mutex.is_null() {
        return null_mut();
    }
    let once = new_object(Once {
        mutex,
        protocol: once::Once::new(),
    });
    if once.is_null() {
        // SAFETY: ours alone.
        unsafe { super::mutex::free(mutex) };
    }
    once
}

/// `goroutine_once_free`.
///
/// # Safety
/// `once` came from [`new`]; after GOROUTINE_OK nobody uses it.
pub unsafe fn free(once: *mut Once) -> GoroutineStatus {
    // SAFETY: the caller's promise.
    unsafe {
        let status = super::mutex::free((*once).mutex);
        if status == GOROUTINE_OK {
            free_object(once);
        }
        status
    }
}

impl Once {
    /// `goroutine_once_run`.
    ///
    /// # Safety
    /// `f` is a GoroutineFn, to be called with `arg`.
    #[inline(always)]
    pub unsafe fn run(
        &self,
        f: usize,
        arg: *mut c_void,
        timeout_ns: u64,
    ) -> Result<*mut c_void, GoroutineStatus> {
        if let Some(value) = self.protocol.get() {
            sanitize::acquired(self);
            return Ok(value);
        }
        // SAFETY: the caller's promise.
        unsafe { self.run_first(f, arg, timeout_ns) }
    }

    #[inline(never)]
    unsafe fn run_first(
        &self,
        f: usize,
        arg: *mut c_void,
        timeout_ns: u64,
    ) -> Result<*mut c_void, GoroutineStatus> {
        // SAFETY: the mutex lives as long as we do; the caller's promise.
        unsafe {
            match (*self.mutex).lock(timeout_ns) {
                GOROUTINE_OK | GOROUTINE_EOWNERDEAD => {}
                status => return Err(status),
            }
            let value = self
                .protocol
                .get_or_make(|| goroutine_asm_call(f, arg as usize, 0, 0) as *mut c_void);
            sanitize::released(self);
            (*self.mutex).unlock(); // the last touch
            Ok(value)
        }
    }
}
