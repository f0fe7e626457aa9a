//! Who polls: which thread waits for edges of descriptors, and when.
//!
//! One at a time holds the poller: a worker that sleeps (then its time-out is the next timer, as for any sleeper), one that looks whether
//! there is something to do, or the monitor, once a tick while nobody else does.
//!
//! ```text
//!   a worker that goes to sleep                   somebody without a worker who waits for a descriptor
//!   1. is in the idle set (`idle`)                1. made the poller, or found it
//!   2. fence                                      2. fence
//!   3. there is a poller, nobody holds it: hold   3. nobody holds it: wake one of the idle set
//! ```
//!
//! I1. While a goroutine waits for a descriptor somebody holds the poller, or a worker has a thread and will look before it sleeps, or
//!     3 on the right wakes one that does. A worker that loses its thread counts "nobody polls" as work (`search::has_work`).
//! I2. Who sleeps in the poller says so in its `sleeping` word (POLLING), so that a claimer ends the right kind of sleep.

use super::runtime::Runtime;
use super::worker::Worker;
use crate::abi::{GOROUTINE_SPAWN_BOUND, GoroutineStatus};
use crate::goroutine::{ReadyList, Runnable};
use crate::netpoll::Poller;
use crate::sync::fence_seq_cst;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

/// `sleeping` of a worker that sleeps in the poller.
pub const POLLING: u32 = 3;

/// The poller of a runtime, once somebody waited for a descriptor.
pub struct Net {
    poller: AtomicPtr<Poller>,
    held: AtomicBool,
}

/// The poller, held by the calling thread.
pub struct Held<'r> {
    net: &'r Net,
    poller: &'r Poller,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.net.held.store(false, Ordering::SeqCst);
    }
}

impl Held<'_> {
    /// Waits for edges until `deadline` or a wake.
    pub fn wait(&self, deadline: u64, ready: &mut ReadyList) -> usize {
        self.poller.wait(deadline, ready)
    }
}

impl Net {
    /// None yet.
    pub const fn new() -> Self {
        Self {
            poller: AtomicPtr::new(null_mut()),
            held: AtomicBool::new(false),
        }
    }

    /// The poller, if there is one.
    #[inline]
    pub fn poller(&self) -> Option<&Poller> {
        // SAFETY: once there it stays as long as this.
        unsafe { self.poller.load(Ordering::SeqCst).as_ref() }
    }

    /// The same, made if need be. Err: a negative errno.
    pub fn poller_or_new(&self) -> Result<&Poller, GoroutineStatus> {
        if let Some(poller) = self.poller() {
            return Ok(poller);
        }
        let made = Poller::new().map_err(|error| -error.raw_os_error().unwrap_or(libc::ENOMEM))?;
        let made = Box::into_raw(Box::new(made));
        let won = (self.poller)
            .compare_exchange(null_mut(), made, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok();
        if !won {
            // SAFETY: nobody else has it.
            drop(unsafe { Box::from_raw(made) });
        }
        Ok(self.poller().expect("just made"))
    }

    /// Whether there is a poller that nobody holds.
    #[inline]
    pub fn is_unheld(&self) -> bool {
        self.poller().is_some() && !self.held.load(Ordering::SeqCst)
    }

    /// Holds it. None: there is none, or somebody does.
    #[inline]
    pub fn hold(&self) -> Option<Held<'_>> {
        let poller = self.poller()?;
        let free = !self.held.load(Ordering::Relaxed)
            && (self.held)
                .compare_exchange(false, true, Ordering::SeqCst, Ordering::SeqCst)
                .is_ok();
        free.then(|| Held { net: self, poller })
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        let poller = *self.poller.get_mut();
        if !poller.is_null() {
            // SAFETY: ours, and nobody uses it any more.
            drop(unsafe { Box::from_raw(poller) });
        }
    }
}

/// Queues on `worker` whom an edge woke.
///
/// # Safety
/// The calling thread holds `worker`.
pub unsafe fn dispatch(worker: &Worker, ready: ReadyList) {
    for g in ready {
        // SAFETY: the caller's promise; the list owned it.
        unsafe { worker.enqueue(g.0) };
    }
}

/// Takes what has happened by now, without waiting. Gives whether somebody can go on.
///
/// # Safety
/// The calling thread holds `worker`.
pub unsafe fn look(worker: &Worker) -> bool {
    let Some(held) = worker.runtime().net.hold() else {
        return false;
    };
    let mut ready = ReadyList::new();
    let edges = held.wait(0, &mut ready);
    drop(held);
    // SAFETY: the caller's promise.
    unsafe { dispatch(worker, ready) };
    edges != 0
}

impl Runtime {
    /// The monitor's look, while workers run and none of them polls.
    pub fn poll_from_monitor(&self) {
        let Some(held) = self.net.hold() else {
            return;
        };
        let mut ready = ReadyList::new();
        held.wait(0, &mut ready);
        drop(held);
        for Runnable(g) in ready {
            // SAFETY: the list owned it.
            unsafe {
                if (*g).spawn_flags & GOROUTINE_SPAWN_BOUND != 0 {
                    super::bind::wake(g);
                } else {
                    self.queue_from_outside(Runnable(g));
                }
            }
        }
    }

    /// A thread without a worker is about to wait for a descriptor: right column, 2 and 3.
    pub fn see_that_somebody_polls(&self) {
        fence_seq_cst();
        if self.net.is_unheld() {
            self.wake_one();
        }
    }
}
