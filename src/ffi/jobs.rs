//! Jobs for threads of the pool: loads, one at a time, and calls that an event loop wants done elsewhere.
//!
//! A job that was accepted runs, also when a shutdown begins: the shutdown waits for it (`Runtime::jobs`), because nobody
//! can be told that it did not run, and a call into C cannot be taken back.

use super::crew::{Crew, Refused};
use crate::abi::*;
use crate::sched::runtime::{self, Runtime};
use parking_lot::Mutex;
use std::ffi::c_void;
use std::sync::atomic::Ordering;

type Job = Box<dyn FnOnce() + Send>;

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
    /// Accepts a job. `keeps_alive`: the program does not end before it ran.
    pub fn submit(
        &'static self,
        runtime: &Runtime,
        keeps_alive: bool,
        most: usize,
        job: impl FnOnce() + Send + 'static,
    ) -> GoroutineStatus {
        // The caller is a goroutine, or inside: a shutdown that begins now counts again when it is not any more.
        runtime.jobs.fetch_add(1, Ordering::SeqCst);
        if keeps_alive {
            runtime.foreign.async_opened.fetch_add(1, Ordering::SeqCst);
        }
        let accepted = if runtime.is_stopping() {
            Err(GOROUTINE_ESHUTDOWN)
        } else {
            let job = Box::new(move || {
                job();
                over(keeps_alive);
            });
            self.0
                .lock()
                .submit(job, most, || self.start())
                .map_err(|refused| match refused {
                    Refused::Full => GOROUTINE_EAGAIN,
                    Refused::NoThread(status) => status,
                })
        };
        match accepted {
            Ok(()) => GOROUTINE_OK,
            Err(status) => {
                over(keeps_alive);
                status
            }
        }
    }

    fn start(&'static self) -> Result<(), GoroutineStatus> {
        run_on_pool(Box::new(|| self.serve()))
    }

    fn serve(&'static self) {
        self.0.lock().arrived();
        loop {
            let job = self.0.lock().next(|| self.start());
            match job {
                Some(job) => job(),
                None => return,
            }
        }
    }
}

/// A job is done, or was refused. The runtime is there: it waits for its jobs, and for its threads.
fn over(kept_alive: bool) {
    let Some(runtime) = runtime::enter_to_end() else {
        return;
    };
    if kept_alive {
        runtime.foreign.async_closed.fetch_add(1, Ordering::SeqCst);
        runtime.closed_from_outside();
    }
    runtime.jobs.fetch_sub(1, Ordering::SeqCst);
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
        // SAFETY: the caller's function and argument; we are on a native stack.
        unsafe {
            let result = (self.function)(self.args);
            if let Some(done) = self.done {
                done(self.arg, result);
            }
        }
    }
}

/// `goroutine_ffi_call_async`.
pub fn call_async(call: Call) -> GoroutineStatus {
    match runtime::enter_or_start() {
        Ok(runtime) => CALLS.submit(&runtime, true, CALLS_WAITING, move || call.run()),
        Err(status) => status,
    }
}

fn run_on_pool(f: Job) -> Result<(), GoroutineStatus> {
    crate::thread::start("gr-ffi", [(None, std::ptr::null_mut()); 2], f)
        .map(drop)
        .map_err(|_| GOROUTINE_EFFITHREADS)
}
