//! Surplus becomes visible: a sleeper is woken, and of a long queue a part moves to the global one.

use super::worker::{Worker, bump};
use crate::goroutine::Runnable;

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
        let mut some = [Runnable(std::ptr::null_mut()); SHARE];
        let n = worker.queue.take_half(&mut some);
        for &g in &some[..n] {
            runtime.global.push(g);
        }
        bump(&worker.counts.published, 1);
    }
    runtime.wake(sleeper);
}
