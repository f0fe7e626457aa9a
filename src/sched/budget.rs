//! Calls that need not wait, and when they give way all the same.
//!
//! A goroutine whose reads always find something never parks: nobody else would run on its worker, and it would not see that it is
//! cancelled. So each such call begins here, with two questions:
//!
//! - does somebody want the goroutine to give way (`preempt`: a cancel, a shutdown), or was it cancelled before? Both words are on the line of its header
//!   that emitted code reads, too;
//! - are the worker's [`CALLS`] used up? They are counted per worker, not per goroutine, so that many who make few calls each give way as one does
//!   who makes many.
//!
//! I1. It is asked before the call is made. So GOROUTINE_ECANCELED never stands for something that was read or written.
//! I2. It is asked after the descriptor was entered. Whoever runs meanwhile may close it, and find that this call had begun: it ends with
//!     GOROUTINE_EBADF, and does not read from the next file with the number.

use crate::abi::*;
use crate::context::{tls, yield_here};
use std::sync::atomic::Ordering;

/// So many calls, then a yield: a call is some 0.3 us and more, a yield to nobody 5 ns.
pub const CALLS: u32 = 64;

/// Before a call that may not wait: whether to [`give_way`] first.
#[inline(always)]
pub fn is_up() -> bool {
    let g = tls::current_or_dummy();
    // SAFETY: never null; outside goroutines it is a stand-in whose words are 0.
    let wanted = unsafe {
        (*g).preempt.load(Ordering::Relaxed) | ((*g).flags.load(Ordering::Relaxed) & GOROUTINE_FLAG_CANCEL)
    };
    if wanted != 0 {
        return true;
    }
    let worker = tls::worker();
    if worker.is_null() {
        return false;
    }
    // SAFETY: the thread holds the worker.
    let left = unsafe { &mut (*worker).local().calls_left };
    *left -= 1;
    *left == 0
}

/// Gives way. Err: the goroutine was cancelled, and the call is not to be made.
#[cold]
#[inline(never)]
pub fn give_way() -> Result<(), GoroutineStatus> {
    let worker = tls::worker();
    let mut spent = false;
    if !worker.is_null() {
        // SAFETY: the thread holds the worker.
        let left = unsafe { &mut (*worker).local().calls_left };
        if *left == 0 {
            (spent, *left) = (true, CALLS);
        }
    }
    let g = tls::current();
    if g.is_null() {
        return Ok(()); // a callback of the library's on its worker's thread
    }
    // SAFETY: the running goroutine.
    unsafe {
        if (*g).preempt.load(Ordering::Relaxed) != 0 {
            super::safepoint(g);
        } else if spent || (*g).is_cancelled() {
            yield_here(); // also in a loop of calls that all fail
        }
        if (*g).is_cancelled() {
            return Err(GOROUTINE_ECANCELED);
        }
    }
    Ok(())
}
