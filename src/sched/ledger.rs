//! Who has which thread: the pool's accounts, without threads in them. Everything here happens under the pool's lock.
//!
//! A thread of the pool holds a worker, or serves a permit (a bound goroutine, a job), or is in a blocking call from which the worker
//! was retaken, or is spare.
//!
//! I1. Permits: at most `max`, but for those taken "anyway" (who parks with C frames live cannot wait), which are counted.
//!     Calls: at most as many, of their own, so that goroutines that stay bound for ever do not make blocking calls delay others.
//! I2. `threads >= permits + calls + workers`, counting threads that are about to be made. So each worker that waits without a
//!     thread has a spare one, or one on its way to rest, and handing a worker over never has to make a thread. When a
//!     thread cannot be made `is_short` says so until one was.
//! I3. First come, first served: nobody is admitted while somebody waits. A permit that is given back goes to the first who
//!     waits, and with it, if the thread is free, too, the thread.
//! I4. An order goes to a spare thread, or it is pending and the next thread that rests takes it. Both happen under the
//!     lock, so no order waits while a thread rests.
//! I5. A thread that is made ahead, before anybody needs it, counts once it is there: nobody relies on one that cannot be made in the end.
//!     (One that somebody needs counts while it is being made, because who needs it gives its permit back if it cannot be.)

use crate::sync::mutated;
use std::collections::VecDeque;

/// What a thread without a worker is busy with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Serves {
    /// Nothing.
    Nothing,
    /// A bound goroutine, or a job.
    Permit,
    /// A blocking call from which the worker was retaken.
    Call,
}

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
    calls: usize,
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
            calls: 0,
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

    /// A worker may be retaken from a call.
    #[must_use]
    pub fn admit_call(&mut self) -> bool {
        let free = self.calls < self.max;
        self.calls += usize::from(free);
        free
    }

    /// The thread in a call goes on with a bound goroutine.
    pub fn call_becomes_permit(&mut self) {
        self.calls -= 1;
        self.permits += 1;
    }

    /// A thread serves nothing any more. It ends, or takes a worker: it does not rest with [`Ledger::rest`].
    pub fn release(&mut self, served: Serves) {
        match served {
            Serves::Nothing => {}
            Serves::Permit => self.permits -= 1,
            Serves::Call => self.calls -= 1,
        }
    }

    fn needed(&self) -> usize {
        self.permits + self.calls + self.workers
    }

    /// Whether a thread is missing (I2). None is any more once the pool stops: nobody is bound then, and no worker has work.
    pub fn is_short(&self) -> bool {
        !self.stopping && self.threads < self.needed()
    }

    /// Threads beyond those that are needed.
    pub fn surplus(&self) -> usize {
        self.threads.saturating_sub(self.needed())
    }

    /// A thread is to be made ahead (I5), unless there are `n` beyond those that are needed, or as many as serve all workers and
    /// permits.
    pub fn is_missing_ahead(&self, n: usize) -> bool {
        !self.stopping && self.threads < self.needed() + n && self.threads < self.workers + self.max
    }

    /// Somebody is about to make a thread: it counts.
    pub fn expect_thread(&mut self) {
        self.threads += 1;
    }

    /// It could not be made; or it ends.
    pub fn thread_gone(&mut self) {
        self.threads -= 1;
    }

    /// Whether a thread waits for an order.
    pub fn has_spare(&self) -> bool {
        !self.spares.is_empty()
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

    /// A thread has nothing to do any more.
    pub fn rest(&mut self, seat: S, served: Serves, claim: impl FnMut(W) -> Option<O>) -> Rest<O> {
        self.release(served);
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
        let surplus = self.spares.len() > keep
            && (self.threads > self.needed() || mutated!("ledger_dismisses_the_needed"));
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

    /// (threads, of them spare, serving permits, in calls).
    pub fn counts(&self) -> (usize, usize, usize, usize) {
        (self.threads, self.spares.len(), self.permits, self.calls)
    }

    /// Those who wait.
    pub fn waiting(&self) -> impl Iterator<Item = &W> {
        self.waiting.iter()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn none_is_missing_once_it_stops() {
        let mut ledger = Ledger::<u32, u32, u32>::new(1, 4);
        ledger.expect_thread();
        assert!(matches!(ledger.rest(7, Serves::Nothing, Some), Rest::Wait));
        assert_eq!(ledger.stop(), [7]);
        ledger.thread_gone(); // it retires
        assert!(!ledger.is_short());
        assert!(!ledger.is_missing_ahead(1));
    }
}
