//! Who has which thread: the pool's accounts, without threads in them. Everything here happens under the pool's lock.
//!
//! A thread of the pool holds a worker, or serves a permit (a bound goroutine, a job, a goroutine whose worker was retaken
//! during a blocking call), or is spare.
//!
//! I1. Permits: at most `max`, but for those taken "anyway" (who parks with C frames live cannot wait), which are counted.
//! I2. `threads >= permits + workers`, counting threads that are about to be made. So each worker that waits without a
//!     thread has a spare one, or one on its way to rest, and handing a worker over never has to make a thread. When a
//!     thread cannot be made `is_short` says so until one was.
//! I3. First come, first served: nobody is admitted while somebody waits. A permit that is given back goes to the first who
//!     waits, and with it, if the thread is free, too, the thread.
//! I4. An order goes to a spare thread, or it is pending and the next thread that rests takes it. Both happen under the
//!     lock, so no order waits while a thread rests.

use crate::sync::mutated;
use std::collections::VecDeque;

/// What a thread that comes to rest does.
#[must_use]
pub enum Rest<O> {
    /// This.
    Take(O),
    /// It is spare now, and waits for an order.
    Wait,
    /// It is not needed any more, and not counted.
    End,
}

/// See the module's head. `S` names a thread, `O` is an order for one, `W` somebody who waits for a permit.
pub struct Ledger<S, O, W> {
    /// The warmest last.
    spares: Vec<S>,
    pending: VecDeque<O>,
    waiting: VecDeque<W>,
    threads: usize,
    permits: usize,
    workers: usize,
    max: usize,
    stopping: bool,
}

impl<S: Copy + PartialEq, O, W> Ledger<S, O, W> {
    /// Of a pool that begins with a thread for each of its workers.
    pub fn new(workers: usize, max: usize) -> Self {
        Self {
            spares: Vec::new(),
            pending: VecDeque::new(),
            waiting: VecDeque::new(),
            threads: workers,
            permits: 0,
            workers,
            max,
            stopping: false,
        }
    }

    /// A permit, if there is one and nobody waits for it (I3).
    #[must_use]
    pub fn admit(&mut self) -> bool {
        let free = self.permits < self.max;
        let first = self.waiting.is_empty() || mutated!("ledger_overtakes");
        if free && first {
            self.permits += 1;
        }
        free && first
    }

    /// A permit for who cannot wait (I1).
    pub fn admit_anyway(&mut self) {
        self.permits += 1;
    }

    /// A permit comes back. Its thread ends or keeps a worker: it does not rest with [`Ledger::rest`].
    pub fn release(&mut self) {
        self.permits -= 1;
    }

    /// Whether a thread is missing (I2).
    pub fn is_short(&self) -> bool {
        self.threads < self.permits + self.workers
    }

    /// Somebody is about to make a thread: it counts.
    pub fn expect_thread(&mut self) {
        self.threads += 1;
    }

    /// It could not be made; or it ends.
    pub fn thread_gone(&mut self) {
        self.threads -= 1;
    }

    /// An order that has its permit, or needs none. Some: hand it to that thread (I4).
    #[must_use]
    pub fn give(&mut self, order: O) -> Option<(S, O)> {
        match self.spares.pop() {
            Some(seat) => Some((seat, order)),
            None => {
                self.pending.push_back(order);
                None
            }
        }
    }

    /// Whether there is a permit.
    pub fn has_permit(&self) -> bool {
        self.permits < self.max
    }

    /// Somebody waits for a permit.
    pub fn wait(&mut self, who: W) {
        self.waiting.push_back(who);
    }

    /// Whether somebody waits, or has waited and gave up.
    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The first who waits, and still does, gets a permit if there is one. `claim` makes it an order; None: it gave up.
    pub fn admit_waiting(&mut self, mut claim: impl FnMut(W) -> Option<O>) -> Option<O> {
        while self.permits < self.max {
            if let Some(order) = claim(self.waiting.pop_front()?) {
                self.permits += 1;
                return Some(order);
            }
        }
        None
    }

    /// A thread has nothing to do. `released`: it served a permit until now.
    pub fn rest(&mut self, seat: S, released: bool, claim: impl FnMut(W) -> Option<O>) -> Rest<O> {
        if released {
            self.permits -= 1;
        }
        if let Some(order) = self.pending.pop_front() {
            return Rest::Take(order);
        }
        if !mutated!("ledger_forgets_who_waits")
            && let Some(order) = self.admit_waiting(claim)
        {
            return Rest::Take(order);
        }
        if self.stopping {
            self.threads -= 1;
            return Rest::End;
        }
        self.spares.push(seat);
        Rest::Wait
    }

    /// A spare thread has waited for long. True: it is not needed any more and not counted. At least `keep` spares stay.
    #[must_use]
    pub fn dismiss(&mut self, seat: S, keep: usize) -> bool {
        let surplus = self.spares.len() > keep && self.threads > self.permits + self.workers;
        let Some(at) = self.spares.iter().position(|&s| s == seat).filter(|_| surplus) else {
            return false; // also if an order is on its way to it
        };
        self.spares.remove(at);
        self.threads -= 1;
        true
    }

    /// No order comes any more. Gives the spares, which are not counted any more; the others end when they rest.
    pub fn stop(&mut self) -> Vec<S> {
        self.stopping = true;
        self.threads -= self.spares.len();
        std::mem::take(&mut self.spares)
    }

    /// (threads, of them spare, permits given).
    pub fn counts(&self) -> (usize, usize, usize) {
        (self.threads, self.spares.len(), self.permits)
    }

    /// Those who wait.
    pub fn waiting(&self) -> impl Iterator<Item = &W> {
        self.waiting.iter()
    }
}
