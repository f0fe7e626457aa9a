//! Running a program's main function as a goroutine.

use crate::abi::*;
use crate::promise::Outcome;
use crate::sched::{runtime, spawn};
use std::ffi::c_void;

/// Runs `f(arg)`, then waits until nothing is left that keeps the program alive. GOROUTINE_EDEADLK: all that is left is asleep for good, as
/// `runtime::wait` has it, perhaps `f`, too. `site`: as `spawn::init`.
///
/// # Safety
/// `f` is a GoroutineFn. Not on a goroutine.
pub unsafe fn run(f: u64, arg: *mut c_void, site: u64) -> Result<Outcome, GoroutineStatus> {
    // SAFETY: the caller's promise.
    let promise = unsafe { spawn::plain(f, arg, true, site) }?;
    // `f` is among what keeps the program alive; and who waits for that is told of a deadlock.
    let watched = runtime::enter().is_some_and(|runtime| runtime.reports_deadlocks());
    let mut status = if watched {
        runtime::wait(u64::MAX)
    } else {
        GOROUTINE_OK
    };
    let mut outcome = Err(GOROUTINE_EDEADLK);
    if status != GOROUTINE_EDEADLK {
        // SAFETY: we have a reference.
        outcome = super::promise::wait(unsafe { &*promise }, GOROUTINE_FOREVER);
        status = runtime::wait(u64::MAX);
    }
    // SAFETY: ours.
    unsafe { super::promise::release(promise) };
    if status == GOROUTINE_EDEADLK {
        Err(status)
    } else {
        outcome
    }
}
