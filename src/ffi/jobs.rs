//! Jobs for threads of the pool: loads, one at a time, and calls that an event loop wants done elsewhere.
//!
//! A job that was accepted runs, also when a shutdown begins: the shutdown waits for it, because nobody can be told that it did not
//! run, and a call into C cannot be taken back. It waits for the servers, which are jobs of the pool; `crew`, C1: while there is a
//! job there is a server.

use super::crew::{Crew, Refused, Start};
use crate::abi::*;
use crate::context::restore_control_words;
use crate::goroutine::FORKS;
use crate::sched::Runtime;
use crate::sched::pool::Job;
use crate::sched::runtime::{self, Inside};
use parking_lot::Mutex;
use std::ffi::c_void;
use std::sync::atomic::Ordering;

/// A queue of jobs.
pub struct Queue(Mutex<Crew<Job>>);

/// One at a time: dlopen is serialised anyway, and so is the look at the signal handlers around it.
pub static LOADS: Queue = Queue(Mutex::new(Crew::new(1)));
/// As many at a time as the pool has threads.
static CALLS: Queue = Queue(Mutex::new(Crew::new(u32::MAX)));

/// Calls that may wait for a thread.
const CALLS_WAITING: usize = 65_536;

/// The locks, to be held across fork.
pub fn locks() -> [&'static Mutex<Crew<Job>>; 2] {
    [&LOADS.0, &CALLS.0]
}

/// In a child of fork: the jobs are the parent's.
///
/// # Safety
/// The locks are held by the calling thread.
pub unsafe fn forget_all() {
    for lock in locks() {
        // SAFETY: the caller's promise.
        unsafe { (*lock.data_ptr()).forget_all() };
    }
}

impl Queue {
    /// Accepts a job that keeps the program alive until it ran. At most `most` wait for a thread.
    pub fn submit(
        &'static self,
        inside: &Inside,
        most: usize,
        job: impl FnOnce() + Send + 'static,
    ) -> GoroutineStatus {
        let runtime = inside.shared();
        // A shutdown that begins now counts what lives again when we are not inside any more (or a goroutine that lives).
        if runtime.is_stopping() {
            return GOROUTINE_ESHUTDOWN;
        }
        runtime.foreign.async_opened.fetch_add(1, Ordering::SeqCst);
        let job = Box::new(move || {
            job();
            over(runtime);
        });
        let accepted = self.0.lock().submit(job, most, |why| self.start(runtime, why));
        let status = match accepted {
            Ok(()) => return GOROUTINE_OK,
            Err(Refused::NoThread(status)) => status,
            Err(Refused::Full) => GOROUTINE_EAGAIN,
        };
        over(runtime);
        status
    }

    fn start(&'static self, runtime: &'static Runtime, why: Start) -> Result<(), GoroutineStatus> {
        let server: Job = Box::new(move || self.serve(runtime));
        match why {
            Start::First => runtime.run_also_when_stopping(server),
            Start::Owed => {
                runtime.run_in_turn(server);
                Ok(())
            }
        }
    }

    fn serve(&'static self, runtime: &'static Runtime) {
        self.0.lock().arrived();
        loop {
            let job = self.0.lock().next(|why| self.start(runtime, why));
            match job {
                Some(job) => {
                    job();
                    // SAFETY: a job of the pool runs where its thread schedules. The next one is a stranger.
                    unsafe { restore_control_words() };
                }
                None => return,
            }
        }
    }
}

/// One thing less that keeps the program alive.
fn over(runtime: &Runtime) {
    runtime.foreign.async_closed.fetch_add(1, Ordering::SeqCst);
    runtime.closed_from_outside();
}

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

impl Call {
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

/// `goroutine_ffi_call_async`.
pub fn call_async(call: Call) -> GoroutineStatus {
    match runtime::enter_or_start() {
        Ok(runtime) => CALLS.submit(&runtime, CALLS_WAITING, move || call.run()),
        Err(status) => status,
    }
}
