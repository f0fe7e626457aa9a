//! How many threads serve a queue of jobs.
//!
//! A job may block for ever, so no job may wait for another one's thread while there could be one more thread. And
//! a burst of short jobs should not start as many threads as it has jobs. So threads are started one at a time: a submit
//! asks for one when none is on its way, and one that arrives and leaves jobs behind asks for the next. Until that has arrived
//! (some 20 us) those that are there have run the short jobs.
//!
//! ```text
//!   submit                            server
//!   push                              arrived: starting = false
//!   none starting, below the limit?   pop; jobs left, none starting, below the limit? start one
//!     start one                       nothing to pop: servers -= 1, leave
//! ```
//!
//! Everything happens under one lock, the caller's, and a start happens while it is held, so that:
//!
//! C1. Jobs are there => there is a server, and it looks again before it leaves.
//! C2. Jobs are there, and a thread could be had => one is starting, or all `limit` serve.
//!
//! Only the first server may be refused, and the job with it (C1). A later one is owed to jobs that were accepted: it is on its way
//! from then on, though it may have to wait in turn for a thread.

use crate::sync::mutated;
use std::collections::VecDeque;

/// What a start is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    /// Nobody serves. It may fail.
    First,
    /// Accepted jobs wait for it. It may come late, and cannot fail.
    Owed,
}

/// The queue and who serves it.
pub struct Crew<J> {
    jobs: VecDeque<J>,
    servers: u32,
    starting: bool,
    limit: u32,
}

/// Why a job was not taken.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused<E> {
    /// As many jobs wait as may.
    Full,
    /// Nobody serves, and no thread could be started.
    NoThread(E),
}

impl<J> Crew<J> {
    /// Nobody serves yet; at most `limit` will.
    pub const fn new(limit: u32) -> Self {
        Self {
            jobs: VecDeque::new(),
            servers: 0,
            starting: false,
            limit,
        }
    }

    /// One more job. `start` starts a thread that will call [`Crew::arrived`]; Err only for [`Start::First`].
    pub fn submit<E>(
        &mut self,
        job: J,
        most: usize,
        start: impl FnOnce(Start) -> Result<(), E>,
    ) -> Result<(), Refused<E>> {
        if self.jobs.len() >= most {
            return Err(Refused::Full);
        }
        self.start_one(start).map_err(Refused::NoThread)?; // C1: nobody serves, and nothing is queued
        self.jobs.push_back(job);
        Ok(())
    }

    /// A thread that was started is there.
    pub fn arrived(&mut self) {
        self.starting = false;
    }

    /// A server's next job. None: it has left.
    #[must_use]
    pub fn next<E>(&mut self, start: impl FnOnce(Start) -> Result<(), E>) -> Option<J> {
        let Some(job) = self.jobs.pop_front() else {
            if !mutated!("crew_leaves_uncounted") {
                self.servers -= 1;
            }
            return None;
        };
        if !self.jobs.is_empty() && !mutated!("crew_starts_no_more") {
            let _ = self.start_one(start); // owed: the caller serves
        }
        Some(job)
    }

    /// Takes the first job out that `is` says; None: it has begun, or was never there.
    pub fn withdraw(&mut self, is: impl Fn(&J) -> bool) -> Option<J> {
        let at = self.jobs.iter().position(is)?;
        self.jobs.remove(at) // C1 speaks of fewer jobs now
    }

    /// Those that have not begun.
    pub fn for_each(&mut self, f: impl FnMut(&mut J)) {
        self.jobs.iter_mut().for_each(f);
    }

    fn start_one<E>(&mut self, start: impl FnOnce(Start) -> Result<(), E>) -> Result<(), E> {
        if !self.starting && self.servers < self.limit {
            start(if self.servers == 0 {
                Start::First
            } else {
                Start::Owed
            })?;
            self.starting = true;
            self.servers += 1;
        }
        Ok(())
    }

    /// In a child of fork: the servers are gone, and the jobs are the parent's.
    pub fn forget_all(&mut self) {
        // Not dropped: what they own is in use in the parent's half of the memory.
        std::mem::forget(std::mem::take(&mut self.jobs));
        self.servers = 0;
        self.starting = false;
    }
}
