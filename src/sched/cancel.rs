//! Stopping goroutines from outside: a flag, and a wake if it is parked.
//!
//! The parking side stores WAITING, then loads the flag, with only a light fence between (`park`). So this side
//! stores the flag, fences heavily, and looks at the word. A goroutine that was in the middle of a park on some worker
//! then shows as `busy` there: its join is still running on its stack, so nobody may ready it yet: look again later.

use super::park;
use super::runtime::Runtime;
use crate::abi::*;
use crate::goroutine::Goroutine;
use crate::promise::Promise;
use crate::stack;
use crate::sync::{backoff, fence_heavy};
use std::sync::atomic::Ordering;

/// `goroutine_cancel`.
pub fn cancel(promise: &Promise, runtime: &Runtime) -> GoroutineStatus {
    if !promise.is_of_goroutine() || !promise.is_ours() {
        return GOROUTINE_EINVAL;
    }
    // While the promise is held pending its goroutine cannot end.
    let raised = promise.with_goroutine(raise);
    if raised.is_none() {
        return GOROUTINE_EALREADY;
    }
    fence_heavy();
    wake(promise, runtime);
    GOROUTINE_OK
}

/// The same for goroutines' promises of this process, as many as there are: with one fence.
pub fn cancel_all<'a>(promises: impl Iterator<Item = &'a Promise> + Clone, runtime: &Runtime) {
    for promise in promises.clone() {
        promise.with_goroutine(raise);
    }
    fence_heavy();
    for promise in promises {
        wake(promise, runtime);
    }
}

/// After the flag and the heavy fence: ends a park of its goroutine, if it is in one.
fn wake(promise: &Promise, runtime: &Runtime) {
    let mut round = 0;
    loop {
        let found = promise.with_goroutine(|g| {
            // SAFETY: it cannot end, so it is the goroutine of this promise.
            unsafe { attempt(g, runtime) }
        });
        match found {
            // Queueing takes no lock of ours, but it may wake a thread: outside the promise's lock.
            Some(Attempt::Wake(ticket)) => {
                park::ready(ticket, GOROUTINE_ECANCELED);
                return;
            }
            Some(Attempt::Done) | None => return,
            Some(Attempt::Again) => backoff(&mut round),
        }
    }
}

enum Attempt {
    /// Not parked: it sees the flag when it parks. Or it does not want to be woken.
    Done,
    /// Perhaps inside the join step of a park, with its stack still in use.
    Again,
    Wake(GoroutineTicket),
}

fn raise(g: *mut Goroutine) {
    // SAFETY: control blocks stay mapped, and both words are atomic.
    unsafe {
        (*g).flags.fetch_or(GOROUTINE_FLAG_CANCEL, Ordering::SeqCst);
        (*g).preempt.store(1, Ordering::SeqCst);
    }
}

/// After the flag and the heavy fence. The sequence is read once: what was parked then had its gate busy before, so an
/// open gate afterwards means that this very join is over.
unsafe fn attempt(g: *mut Goroutine, runtime: &Runtime) -> Attempt {
    // SAFETY: control blocks stay mapped. `cancel_disabled` and `last_worker` were written before the park word.
    unsafe {
        let Some(sequence) = (*g).park.parked() else {
            return Attempt::Done;
        };
        if (&raw const (*g).cancel_disabled).read_volatile() != 0 {
            return Attempt::Done;
        }
        let worker = (&raw const (*g).last_worker).read_volatile() as usize;
        if runtime.workers[worker].queue.is_busy() {
            return Attempt::Again;
        }
        Attempt::Wake(GoroutineTicket {
            goroutine: g as u64,
            sequence,
        })
    }
}

impl Runtime {
    /// Every goroutine is asked to stop, every timer is stopped. Called again and again by a shutdown: nothing new starts.
    pub(super) fn cancel_everything(&self) {
        super::timers::stop_all();
        crate::ops::async_op::cancel_all();
        crate::ops::lane::close_all();
        let mut alive = Vec::new();
        stack::for_each(|g| {
            // SAFETY: control blocks stay mapped. The flag on a goroutine that ends meanwhile harms nobody: no
            // goroutine starts any more.
            if unsafe { (*g).id() != 0 && (*g).is_ours() } {
                raise(g);
                alive.push(g);
            }
        });
        fence_heavy();
        for g in alive {
            // SAFETY: as above; a stale ticket does nothing. Again: the shutdown comes again.
            if let Attempt::Wake(ticket) = unsafe { attempt(g, self) } {
                park::ready(ticket, GOROUTINE_ECANCELED);
            }
        }
    }
}
