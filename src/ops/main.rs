//! Running a program's main function as a goroutine.

use crate::abi::*;
use crate::promise::Outcome;
use crate::sched::{runtime, spawn};
use std::ffi::c_void;

/// Runs `f(arg)`, then waits until nothing is left that keeps the program alive.
///
/// # Safety
/// `f` is a GoroutineFn. Not on a goroutine.
pub unsafe fn run(f: u64, arg: *mut c_void, site: u64) -> Result<Outcome, GoroutineStatus> {
    // SAFETY: the caller's promise.
    let promise = unsafe { spawn::plain(f, arg, true, site) }?;
    // SAFETY: we have a reference.
    let outcome = super::promise::wait(unsafe { &*promise }, GOROUTINE_FOREVER);
    // SAFETY: ours.
    unsafe { super::promise::release(promise) };
    runtime::wait(u64::MAX);
    outcome
}
