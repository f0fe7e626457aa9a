//! Who sleeps, who spins, and who wakes whom.
//!
//! The danger is a lost wake-up: work arrives just as the last worker goes to sleep. The order that prevents it:
//!
//! ```text
//!   a worker that finds nothing                    somebody who made work visible
//!   1. joins the idle set                          1. stores the work
//!   2. asks every owner to share (share_above)     2. (a full fence, or the gate's light one)
//!   3. heavy fence                                 3. looks: spinners? idle set / share_above?
//!   4. looks at every queue once more              4. claims one of the set and wakes it
//!   5. sleeps on its own word
//! ```
//!
//! I1. Either 4 on the left sees the work, or 3 on the right sees the idle worker (or that it should share).
//! I2. Being in the set and being claimed exclude each other: a claim clears the bit with an atomic and, and only
//!     the winner wakes. A worker that leaves by itself clears its own bit the same way, and when it loses, it was
//!     claimed: the wake is on its way and counts as received.
//!     Whoever takes a worker out of the set, a stop included, does that before it sets the worker's word to 0: who finds itself out waits for the 0.
//! I3. A spinner looks at every queue after it has stopped counting as one (the left column), so who relied on a spinner
//!     is covered by 4. The claimer counts its wakee as a spinner before it wakes it: one wake per burst.
//! I4. A worker without a thread (`pool`) is in the set, too, and claimed like one that sleeps. If none is there for it, the claimer
//!     takes back that it counts as a spinner, and claims again: it looks at the queues only when a thread has come. It has not asked anybody to share and
//!     fenced fully only, not heavily: who makes work with a full fence sees it, or is seen by its second look; what
//!     owners push with a light one waits for its owner, or for the monitor's next look.

use super::run_queue::{KEEP_ALL, RunQueue};
use crate::sync::{AtomicU32, AtomicU64, Ordering, backoff, fence_heavy, fence_seq_cst, mutated};

const WORDS: usize = if cfg!(loom) { 1 } else { 4 };
/// Most workers.
pub const MAX_WORKERS: usize = WORDS * 64;

/// `sleeping` of a worker that no thread holds: who claims it sets 0 and gives it to one.
pub const OWNERLESS: u32 = 2;

/// What became of an attempt to take a worker without a thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Taken {
    /// It is the caller's.
    Yes,
    /// It has a thread, or somebody was faster.
    No,
    /// It has a thread that sleeps, and was claimed: wake it.
    Asleep,
}

/// The idle set and the count of spinners.
pub struct Idle {
    set: [AtomicU64; WORDS],
    spinning: AtomicU32,
    spinners_max: u32,
    /// How often a worker has joined the set, counted before it does: for who asks whether any left it meanwhile.
    joins: AtomicU64,
}

impl Idle {
    /// Nobody is idle. `spinners_max` 0: nobody ever spins.
    pub fn new(spinners_max: u32) -> Self {
        Self {
            set: std::array::from_fn(|_| AtomicU64::new(0)),
            spinning: AtomicU32::new(0),
            spinners_max,
            joins: AtomicU64::new(0),
        }
    }

    fn join(&self, worker: usize) {
        if mutated!("joins_are_counted_late") {
            self.set[worker / 64].fetch_or(1 << (worker % 64), Ordering::SeqCst);
        }
        self.joins.fetch_add(1, Ordering::Relaxed); // published by the bit
        self.set[worker / 64].fetch_or(1 << (worker % 64), Ordering::SeqCst);
    }

    /// Some: the first `workers` were all in the set at one moment, and, if a later call gives the same, all the time between: so often has any joined
    /// it, and one that has left joins again.
    pub fn all_since(&self, workers: usize) -> Option<u64> {
        let joins = self.joins.load(Ordering::SeqCst);
        let all = (0..workers).all(|worker| self.contains(worker));
        let same = mutated!("all_are_looked_at_once") || self.joins.load(Ordering::SeqCst) == joins;
        (all && same).then_some(joins)
    }

    /// Steps 1 to 3. What follows is the last look ([`last_look`]), then sleep. `alone`: there are no other owners, so nobody relies on the
    /// heavy fence: those who make work without owning a queue have fenced fully.
    pub fn announce<'q, T: Copy + 'q>(
        &self,
        worker: usize,
        queues: impl Iterator<Item = &'q RunQueue<T>>,
        share_above: u32,
        alone: bool,
    ) {
        self.join(worker);
        if !mutated!("announce_without_fence") {
            fence_seq_cst(); // partner: the fence in `share`, between raising a hint and looking at the set
        }
        for queue in queues {
            // Looked at first: the word lies in its owner's hottest line.
            if queue.share_above.load(Ordering::Relaxed) != share_above {
                queue.share_above.store(share_above, Ordering::SeqCst);
            }
        }
        if !alone && !mutated!("idle_without_heavy_fence") {
            fence_heavy(); // I1; partners: the light fence in RunQueue::enter, the full one before `claim`
        }
    }

    /// A worker loses its thread, and waits in the set for one. True: work came meanwhile, and the worker is the caller's
    /// again. False: whoever claims it finds OWNERLESS in `sleeping`, and a thread for it (I4).
    #[must_use]
    pub fn abandon(&self, worker: usize, sleeping: &AtomicU32, has_work: impl FnOnce() -> bool) -> bool {
        sleeping.store(OWNERLESS, Ordering::SeqCst);
        self.join(worker);
        fence_seq_cst(); // partner: the full fence before `claim`
        if mutated!("abandon_without_second_look") || !has_work() || !self.leave(worker) {
            return false;
        }
        sleeping.store(0, Ordering::SeqCst);
        true
    }

    /// Leaves by itself. False: it was claimed, and counts as a spinner now (I2).
    #[must_use]
    pub fn leave(&self, worker: usize) -> bool {
        let bit = 1 << (worker % 64);
        self.set[worker / 64].fetch_and(!bit, Ordering::SeqCst) & bit != 0
    }

    /// As [`Idle::leave`], and a claim's wake has come then. `sleeping`: the worker's word.
    #[must_use]
    pub fn leave_awake(&self, worker: usize, sleeping: &AtomicU32) -> bool {
        let by_itself = self.leave(worker);
        if !by_itself {
            let mut round = 0;
            while sleeping.load(Ordering::Acquire) != 0 {
                backoff(&mut round); // the claimer is a few instructions away from its wake
            }
        }
        sleeping.store(0, Ordering::Relaxed);
        by_itself
    }

    /// The workers are to leave their loops, which they have been told; whoever sleeps on its word is to be woken.
    pub fn stop(&self, worker: usize, sleeping: &AtomicU32) {
        if mutated!("stop_wakes_first") {
            sleeping.store(0, Ordering::SeqCst);
        }
        let _ = self.leave(worker);
        if !mutated!("stop_wakes_first") {
            sleeping.store(0, Ordering::SeqCst); // I2: now
        }
    }

    /// Whether anybody sleeps or is about to.
    #[inline]
    pub fn any(&self) -> bool {
        self.set.iter().any(|word| word.load(Ordering::SeqCst) != 0)
    }

    /// Whether this worker does.
    pub fn contains(&self, worker: usize) -> bool {
        self.set[worker / 64].load(Ordering::SeqCst) & 1 << (worker % 64) != 0
    }

    /// Right column, 3 and 4: the worker to wake, if one is needed. It counts as a spinner (I3).
    /// The caller has made its work visible, and fenced.
    #[must_use]
    pub fn claim(&self) -> Option<usize> {
        if self.spinning.load(Ordering::SeqCst) != 0 || !self.any() {
            return None;
        }
        // One claimer at a time goes on; another one finds the wakee spinning.
        if self
            .spinning
            .compare_exchange(0, 1, Ordering::SeqCst, Ordering::SeqCst)
            .is_err()
        {
            return None;
        }
        for (i, word) in self.set.iter().enumerate() {
            let mut bits = word.load(Ordering::SeqCst);
            while bits != 0 {
                let bit = bits & bits.wrapping_neg();
                if word.fetch_and(!bit, Ordering::SeqCst) & bit != 0 {
                    return Some(i * 64 + bit.trailing_zeros() as usize);
                }
                bits = word.load(Ordering::SeqCst);
            }
        }
        // The set emptied meanwhile: those who left look again by themselves, and so must whoever relied on us.
        self.stop_spinning();
        None
    }

    /// The owner of `queue` was told to share. Whom to wake, if anybody is idle and nobody spins. If nobody is idle it may
    /// keep everything to itself again.
    #[must_use]
    pub fn share<T: Copy>(&self, queue: &RunQueue<T>) -> Option<usize> {
        if self.any() {
            return self.claim();
        }
        // Store, fence, look again: an idle worker joins the set before it lowers `share_above`, so either it does that
        // after our store, or we see it here.
        queue.share_above.store(KEEP_ALL, Ordering::SeqCst);
        fence_seq_cst();
        if self.any() && !mutated!("share_without_second_look") {
            queue.share_above.store(0, Ordering::SeqCst);
            return self.claim();
        }
        None
    }

    /// This very worker, if it sleeps: for work that only it may run. It counts as a spinner.
    #[must_use]
    pub fn claim_one(&self, worker: usize) -> bool {
        self.spinning.fetch_add(1, Ordering::SeqCst);
        let won = self.leave(worker);
        if !won {
            self.spinning.fetch_sub(1, Ordering::SeqCst);
        }
        won
    }

    /// A thread without a worker would take this one, if it waits without a thread. Taken or asleep, it counts as a spinner.
    #[must_use]
    pub fn take_ownerless(&self, worker: usize, sleeping: &AtomicU32) -> Taken {
        if sleeping.load(Ordering::SeqCst) != OWNERLESS || !self.claim_one(worker) {
            return Taken::No;
        }
        // Between the two it may have been claimed, found a thread, and fallen asleep on that.
        if sleeping.load(Ordering::SeqCst) != OWNERLESS && !mutated!("ownerless_taken_unseen") {
            return Taken::Asleep;
        }
        sleeping.store(0, Ordering::SeqCst);
        Taken::Yes
    }

    /// A worker that found nothing wants to spin a little. False: enough do, or spinning is no use here.
    #[must_use]
    pub fn start_spinning(&self) -> bool {
        if self.spinning.fetch_add(1, Ordering::SeqCst) < self.spinners_max {
            return true;
        }
        self.spinning.fetch_sub(1, Ordering::SeqCst);
        false
    }

    /// Whether anybody looks for work; a hint.
    pub fn is_spinning(&self) -> bool {
        self.spinning.load(Ordering::Relaxed) != 0
    }

    /// A spinner stops. True: it was the last one, so if it stops because it found work, it sees to it that somebody
    /// else looks for more ([`Idle::claim`]).
    pub fn stop_spinning(&self) -> bool {
        let last = self.spinning.fetch_sub(1, Ordering::SeqCst) == 1;
        fence_seq_cst();
        last
    }
}

/// Step 4 for one queue: how much it shows. None: its owner is inside and does not come out, so it may show more in a
/// moment: look again.
pub fn last_look<T: Copy>(queue: &RunQueue<T>) -> Option<u32> {
    const PATIENCE: u32 = if cfg!(loom) { 4 } else { 64 };
    if !mutated!("last_look_ignores_busy") {
        let mut patience = PATIENCE;
        while queue.is_busy() {
            if patience == 0 {
                return None;
            }
            patience -= 1;
            #[cfg(loom)]
            loom::thread::yield_now();
            #[cfg(not(loom))]
            std::hint::spin_loop();
        }
    }
    Some(queue.len())
}
