//! Surplus becomes visible: a sleeper is woken, and of a long queue a part moves to the global one.

use super::run_queue::POLL_SHARE;
use super::worker::{Worker, bump};
use crate::goroutine::Runnable;
use std::sync::atomic::Ordering;

/// From this length on the sleeper finds half of it, up to SHARE, in the global queue; of a shorter one it may take some
/// through the gate, once it sees that the owner does not get to them soon.
const LONG: u32 = 256;
/// Most goroutines published at a time.
const SHARE: usize = 64;

/// A push said that somebody may be idle. The owner only.
#[cold]
pub fn share(worker: &Worker) {
    let runtime = worker.runtime();
    let Some(sleeper) = runtime.idle.share(&worker.queue) else {
        return;
    };
    if worker.queue.len() >= LONG {
        publish(worker);
    }
    runtime.wake(sleeper);
}

fn publish(worker: &Worker) {
    let mut some = [Runnable(std::ptr::null_mut()); SHARE];
    let n = worker.queue.take_half(&mut some);
    for &g in &some[..n] {
        worker.runtime().global.push(g);
    }
    bump(&worker.counts.published, 1);
}

/// The owner saw POLL_SHARE. Nothing is lost if who asked is gone: whoever finds nothing looks at the global queue.
#[cold]
pub fn share_as_asked(worker: &Worker) {
    let runtime = worker.runtime();
    worker.queue.poll.fetch_and(!POLL_SHARE, Ordering::AcqRel);
    if runtime.idle.is_spinning() && worker.queue.len() > 1 {
        publish(worker);
        runtime.wake_one();
    }
}

impl Worker {
    /// A spinner would like some of this worker's queue.
    pub(crate) fn ask_to_share(&self) {
        if self.queue.poll.load(Ordering::Relaxed) & POLL_SHARE == 0 {
            self.queue.poll.fetch_or(POLL_SHARE, Ordering::AcqRel);
        }
    }
}
