//! Queues of jobs, and the threads of the pool that serve them (`crew`).
//!
//! Two kinds of queue. Foreign code's jobs run on threads that count among those of `ffi_threads_max`, and wait for them as a bound
//! goroutine does. The library's own jobs, files and names, are served by a few threads beyond that number: they are not refused,
//! and goroutines that are bound for ever do not keep files from being read.

use super::crew::{Crew, Refused, Start};
use super::pool::Job;
use super::runtime::{Inside, Runtime};
use crate::abi::*;
use crate::context::restore_control_words;
use crate::sanitize;
use crate::sys::mutex::Mutex;
use std::sync::atomic::Ordering;

/// Something to do on a thread of the pool.
pub trait Work: Send + 'static {
    /// On that thread's native stack.
    fn run(self);
}

impl Work for Job {
    fn run(self) {
        self();
    }
}

/// A queue of jobs.
pub struct Queue<J> {
    crew: Mutex<Crew<J>>,
    /// Its servers count beyond `ffi_threads_max`.
    beyond: bool,
}

impl<J: Work> Queue<J> {
    /// At most `limit` servers, of the threads for foreign code.
    pub const fn new(limit: u32) -> Self {
        Self {
            crew: Mutex::new(Crew::new(limit)),
            beyond: false,
        }
    }

    /// At most `limit` servers, beyond `ffi_threads_max`.
    pub const fn beyond(limit: u32) -> Self {
        Self {
            crew: Mutex::new(Crew::new(limit)),
            beyond: true,
        }
    }

    /// The lock, to be held across fork.
    pub fn lock(&self) -> &Mutex<Crew<J>> {
        &self.crew
    }

    /// In a child of fork: the jobs are the parent's.
    ///
    /// # Safety
    /// The lock is held by the calling thread.
    pub unsafe fn forget_all(&self) {
        // SAFETY: the caller's promise.
        unsafe { (*self.crew.data_ptr()).forget_all() };
    }

    /// Accepts a job; the runtime does not end before it ran. At most `most` wait for a thread. Of a queue with threads beyond the
    /// others' only [`Refused::Full`].
    pub fn push(
        &'static self,
        runtime: &'static Runtime,
        most: usize,
        job: J,
    ) -> Result<(), Refused<GoroutineStatus>> {
        sanitize::released(self);
        self.crew.lock().submit(job, most, |why| self.start(runtime, why))
    }

    /// Takes the first job out that `is` says. None: it has begun.
    pub fn withdraw(&self, is: impl Fn(&J) -> bool) -> Option<J> {
        self.crew.lock().withdraw(is)
    }

    fn start(&'static self, runtime: &'static Runtime, why: Start) -> Result<(), GoroutineStatus> {
        let server: Job = Box::new(move || self.serve(runtime));
        match why {
            _ if self.beyond => runtime.run_anyway(server),
            Start::First => return runtime.run_also_when_stopping(server),
            Start::Owed => runtime.run_in_turn(server),
        }
        Ok(())
    }

    fn serve(&'static self, runtime: &'static Runtime) {
        self.crew.lock().arrived();
        loop {
            let job = self.crew.lock().next(|why| self.start(runtime, why));
            match job {
                Some(job) => {
                    sanitize::acquired(self);
                    job.run();
                    // SAFETY: a job of the pool runs where its thread schedules. The next one is a stranger.
                    unsafe { restore_control_words() };
                }
                None => return,
            }
        }
    }
}

/// A job that keeps the program alive until it ran.
pub struct Counted<J> {
    /// The job.
    pub job: J,
    runtime: &'static Runtime,
}

impl<J: Work> Work for Counted<J> {
    fn run(self) {
        self.job.run();
        over(self.runtime);
    }
}

impl<J: Work> Queue<Counted<J>> {
    /// Accepts a job. At most `most` wait for a thread.
    pub fn submit(&'static self, inside: &Inside, most: usize, job: J) -> GoroutineStatus {
        let runtime = inside.shared();
        // A shutdown that begins now counts what lives again when we are not inside any more (or a goroutine that lives).
        if runtime.is_stopping() {
            return GOROUTINE_ESHUTDOWN;
        }
        runtime.foreign.async_opened.fetch_add(1, Ordering::SeqCst);
        let status = match self.push(runtime, most, Counted { job, runtime }) {
            Ok(()) => return GOROUTINE_OK,
            Err(Refused::NoThread(status)) => status,
            Err(Refused::Full) => GOROUTINE_EAGAIN,
        };
        over(runtime);
        status
    }
}

/// One thing less that keeps the program alive.
fn over(runtime: &Runtime) {
    sanitize::release_ends();
    runtime.foreign.async_closed.fetch_add(1, Ordering::SeqCst);
    runtime.closed_from_outside();
}
