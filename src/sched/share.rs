//! Surplus becomes visible: half a private queue moves to the global one, and a sleeper is woken.

use super::worker::{Worker, bump};
use crate::goroutine::Runnable;

/// Most goroutines published at a time.
const SHARE: usize = 64;

/// A push said that somebody may be idle. The owner only.
#[cold]
pub fn share(worker: &Worker) {
    let runtime = worker.runtime();
    let Some(sleeper) = runtime.idle.share(&worker.queue) else {
        return;
    };
    if worker.queue.len() > 1 {
        let mut some = [Runnable(std::ptr::null_mut()); SHARE];
        let n = worker.queue.take_half(&mut some);
        for &g in &some[..n] {
            runtime.global.push(g);
        }
        bump(&worker.counts.published, 1);
    }
    runtime.wake(sleeper);
}
