//! Surplus becomes visible: half a private queue moves to the global one, and a sleeper is woken.

use super::run_queue::KEEP_ALL;
use super::worker::{Worker, bump};
use crate::goroutine::Runnable;
use crate::sync::fence_seq_cst;
use std::sync::atomic::Ordering;

/// Most goroutines published at a time.
const SHARE: usize = 64;

/// A push said that somebody may be idle. The owner only.
#[cold]
pub fn share(worker: &Worker) {
    let runtime = worker.runtime();
    if !runtime.idle.any() {
        // Nobody is. Store, fence, look again: an idle worker joins the set before it lowers `share_above`, so either
        // it does that after our store, or we see it here.
        worker.queue.share_above.store(KEEP_ALL, Ordering::SeqCst);
        fence_seq_cst();
        if runtime.idle.any() {
            worker.queue.share_above.store(0, Ordering::SeqCst);
        }
        return;
    }
    let Some(sleeper) = runtime.idle.claim() else { return };
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
