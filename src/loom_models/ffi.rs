//! Foreign code: the crew of servers of a queue of jobs.

use super::model;
use crate::sched::crew::{Crew, Start};
use crate::sync::{AtomicU32, Ordering};
use loom::sync::{Arc, Mutex, Notify};
use loom::thread;

const WAITS_FOR_OTHER: u32 = 1000;
const OTHER: u32 = 100;

struct CrewAtWork {
    crew: Mutex<Crew<u32>>,
    ran: AtomicU32,
    other_ran: Notify,
    threads: Mutex<Vec<thread::JoinHandle<()>>>,
    /// Servers that are owed come once there is a thread.
    late: bool,
    thread_is_free: Notify,
}

impl CrewAtWork {
    fn new(limit: u32) -> Arc<Self> {
        Self::with(limit, false)
    }

    fn with(limit: u32, late: bool) -> Arc<Self> {
        Arc::new(Self {
            late,
            thread_is_free: Notify::new(),
            crew: Mutex::new(Crew::new(limit)),
            ran: AtomicU32::new(0),
            other_ran: Notify::new(),
            threads: Mutex::new(Vec::new()),
        })
    }
}

fn submit(at: &Arc<CrewAtWork>, job: u32) {
    let accepted = at.crew.lock().unwrap().submit(job, 8, |why| start(at, why));
    assert_eq!(accepted, Ok(()));
}

fn start(at: &Arc<CrewAtWork>, why: Start) -> Result<(), ()> {
    let here = at.clone();
    let server = thread::spawn(move || {
        if here.late && why == Start::Owed {
            here.thread_is_free.wait();
        }
        serve(&here);
    });
    at.threads.lock().unwrap().push(server);
    Ok(())
}

fn serve(at: &Arc<CrewAtWork>) {
    at.crew.lock().unwrap().arrived();
    loop {
        let job = at.crew.lock().unwrap().next(|why| start(at, why));
        match job {
            None => return,
            Some(WAITS_FOR_OTHER) => at.other_ran.wait(),
            Some(OTHER) => at.other_ran.notify(),
            Some(_) => {}
        }
        at.ran.fetch_add(job.unwrap(), Ordering::AcqRel);
    }
}

/// Joins every server, also those that servers start. Gives the sum of the jobs that ran.
fn join_all(at: &Arc<CrewAtWork>) -> u32 {
    loop {
        let server = at.threads.lock().unwrap().pop();
        match server {
            Some(server) => server.join().unwrap(),
            None => return at.ran.load(Ordering::Acquire),
        }
    }
}

/// A crew of servers: every accepted job runs, whoever submits it while the last server leaves.
#[test]
fn loom_crew_each_job_runs() {
    for limit in 1..=2 {
        model(move || {
            let crew = CrewAtWork::new(limit);
            let other = {
                let crew = crew.clone();
                thread::spawn(move || submit(&crew, 1))
            };
            submit(&crew, 10);
            other.join().unwrap();
            assert_eq!(join_all(&crew), 11);
        });
    }
}

/// C2: a job that waits for a later one does not keep it from running.
#[test]
fn loom_crew_a_blocked_job_holds_up_nobody() {
    model(|| {
        let crew = CrewAtWork::new(2);
        submit(&crew, WAITS_FOR_OTHER);
        submit(&crew, OTHER);
        assert_eq!(join_all(&crew), WAITS_FOR_OTHER + OTHER);
    });
}

/// C2 with no thread to be had: the second server waits in turn for one, and once there is one, the job that needs it runs.
#[test]
fn loom_crew_an_owed_server_may_come_late() {
    model(|| {
        let crew = CrewAtWork::with(2, true);
        submit(&crew, WAITS_FOR_OTHER);
        submit(&crew, OTHER);
        crew.thread_is_free.notify();
        assert_eq!(join_all(&crew), WAITS_FOR_OTHER + OTHER);
    });
}
