//! Waiting for time to pass.

use crate::abi::*;
use crate::context::{tls, yield_here};
use crate::goroutine::Goroutine;
use crate::goroutine::waits::{Kind, Waits};
use crate::sched::park;
use crate::sys::time::sleep_until;
use std::ptr::null_mut;

/// Parks the goroutine, or blocks a plain thread, for `ns`.
pub fn sleep(ns: u64) -> GoroutineStatus {
    let g = tls::current();
    if ns == 0 {
        // SAFETY: callable anywhere; g is the running goroutine, if any.
        unsafe {
            yield_here();
            return if g.as_ref().is_some_and(Goroutine::is_cancelled) {
                GOROUTINE_ECANCELED
            } else {
                GOROUTINE_OK
            };
        }
    }
    let deadline = park::deadline_after(ns);
    if g.is_null() {
        sleep_until(deadline);
        return GOROUTINE_OK;
    }
    // SAFETY: on a goroutine.
    match unsafe { park::park(Waits::number(Kind::Sleep, deadline), None, null_mut(), deadline) } {
        GOROUTINE_ETIMEDOUT => GOROUTINE_OK, // which is what it waited for
        status => status,
    }
}
