//! Waiting for edges of descriptors: what the holder of the poller does (`net`), and who is seen to be one.
//!
//! A worker that sleeps in the poller says so in its `sleeping` word (POLLING), so that whoever claims it ends the right kind of sleep.

use super::net;
use super::runtime::Runtime;
use super::worker::Worker;
use crate::abi::{GOROUTINE_SPAWN_BOUND, GoroutineStatus};
use crate::goroutine::{ReadyList, Runnable};
use crate::netpoll::Poller;
use crate::netpoll::lasting::Lasting;
use crate::trace::{self, Cause};

/// `sleeping` of a worker that sleeps in the poller.
pub const POLLING: u32 = 3;

/// The poller of a runtime.
pub type Net = net::Net<Poller>;

impl Net {
    /// The poller, made if need be. Err: a negative errno.
    pub fn poller_for_wait(&self) -> Result<&Poller, GoroutineStatus> {
        self.poller_or_new(|| Poller::new().map_err(|error| -error.raw_os_error().unwrap_or(libc::ENOMEM)))
    }
}

/// Queues on `worker` whom an edge woke.
///
/// # Safety
/// The calling thread holds `worker`.
pub unsafe fn dispatch(worker: &Worker, ready: ReadyList) {
    for g in ready {
        // SAFETY: the caller's promise; the list owned it.
        unsafe {
            trace::ready(g.0, Cause::Descriptor);
            worker.enqueue(g.0);
        }
    }
}

/// Takes what has happened by now, without waiting. Gives whether there was anything.
///
/// # Safety
/// The calling thread holds `worker`.
pub unsafe fn look(worker: &Worker) -> bool {
    let Some(held) = worker.runtime().net.hold() else {
        return false;
    };
    let mut ready = ReadyList::new();
    let edges = held.poller.wait(0, &mut ready);
    drop(held);
    // SAFETY: the caller's promise.
    unsafe { dispatch(worker, ready) };
    edges != 0
}

impl Runtime {
    /// A thread without a worker is about to wait for a descriptor.
    pub fn see_that_somebody_polls(&self) {
        if let Some(index) = self.net.claim_one_to_poll(&self.idle) {
            self.wake(index);
        }
    }

    /// The monitor's part, each tick.
    pub fn poll_from_monitor(&self, may_wait: bool) {
        let mut ready = ReadyList::new();
        let woken = self.net.watch(&self.idle, may_wait, |poller| {
            poller.wait(0, &mut ready);
        });
        if let Some(index) = woken {
            self.wake(index);
        }
        self.queue_all_from_outside(ready);
    }

    /// The monitor's part, about once a second. Gives whether it is to come again, whatever happens.
    pub fn look_at_lasting_waits(&self, lasting: &mut Lasting) -> bool {
        let mut ready = ReadyList::new();
        let Some(poller) = self.net.poller() else {
            return false;
        };
        let again = lasting.look(poller, &mut ready);
        self.queue_all_from_outside(ready);
        again
    }

    fn queue_all_from_outside(&self, ready: ReadyList) {
        for Runnable(g) in ready {
            // SAFETY: the list owned it.
            unsafe {
                trace::ready(g, Cause::Descriptor);
                if (*g).spawn_flags & GOROUTINE_SPAWN_BOUND != 0 {
                    super::bind::wake(g);
                } else {
                    self.queue_from_outside(Runnable(g));
                }
            }
        }
    }
}
