//! Jobs of foreign code: loads, one at a time, and calls that an event loop wants done elsewhere.
//!
//! A job that was accepted runs, also when a shutdown begins: the shutdown waits for it, because nobody can be told that it did not
//! run, and a call into C cannot be taken back. It waits for the servers, which are jobs of the pool; `crew`, C1: while there is a
//! job there is a server.

use crate::abi::*;
use crate::goroutine::FORKS;
use crate::sched::jobs::{Counted, Queue, Work};
use crate::sched::pool::Job;
use crate::sched::runtime;
use std::ffi::c_void;
use std::sync::atomic::Ordering;

/// One at a time: dlopen is serialised anyway, and so is the look at the signal handlers around it.
pub static LOADS: Queue<Counted<Job>> = Queue::new(1);
/// As many at a time as the pool has threads.
pub static CALLS: Queue<Counted<Call>> = Queue::new(u32::MAX);

/// Calls that may wait for a thread.
const CALLS_WAITING: usize = 65_536;

/// What foreign calls call.
pub type CFunction = unsafe extern "C" fn(args: *mut c_void) -> *mut c_void;

/// A foreign function and its argument.
pub struct Call {
    /// What to call.
    pub function: CFunction,
    /// What it is given.
    pub args: *mut c_void,
    /// Called after it, with the same thread.
    pub done: GoroutineFfiDoneFn,
    /// What `done` is given.
    pub arg: *mut c_void,
}
// SAFETY: the pointers are the caller's to share: that is what it asks for.
unsafe impl Send for Call {}

impl Work for Call {
    fn run(self) {
        let forks = FORKS.load(Ordering::Relaxed);
        // SAFETY: the caller's function and argument; we are on a native stack.
        unsafe {
            let result = (self.function)(self.args);
            runtime::returned_from_c(forks);
            if let Some(done) = self.done {
                done(self.arg, result);
                runtime::returned_from_c(forks);
            }
        }
    }
}

/// Where the arguments of calls that have not begun lie.
pub fn for_each_root(show: &mut dyn FnMut(*mut *mut c_void)) {
    CALLS.lock().lock().for_each(|Counted { job, .. }| {
        show(&raw mut job.args);
        show(&raw mut job.arg);
    });
}

/// `goroutine_ffi_call_async`.
pub fn call_async(call: Call) -> GoroutineStatus {
    match runtime::enter_or_start() {
        Ok(runtime) => CALLS.submit(&runtime, CALLS_WAITING, call),
        Err(status) => status,
    }
}
