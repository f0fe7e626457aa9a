//! Waiting for time to pass.

use crate::abi::*;
use crate::context::tls;
use crate::sched::park;
use crate::sys::time::sleep_until;
use std::ptr::null_mut;

/// Parks the goroutine, or blocks a plain thread, for `ns`.
pub fn sleep(ns: u64) -> GoroutineStatus {
    let deadline = park::deadline_after(ns);
    if tls::current().is_null() {
        sleep_until(deadline);
        return GOROUTINE_OK;
    }
    // SAFETY: on a goroutine.
    match unsafe { park::park(None, null_mut(), deadline) } {
        GOROUTINE_ETIMEDOUT => GOROUTINE_OK, // which is what it waited for
        status => status,
    }
}
