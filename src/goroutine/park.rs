//! The park word: who may ready a goroutine, and when.
//!
//! One 64-bit word per control block: a sequence number (62 bits) and a state (2 bits).
//!
//! | state | meaning | who may change it |
//! |---|---|---|
//! | RUNNING | runs or is queued; or was readied early and its status is being written | its own thread |
//! | COMMITTING | its stack has been left, a commit callback runs | its thread to WAITING; a ready to READIED, "early" |
//! | WAITING | parked; its stack has been left | whoever wins the CAS to READIED owns the goroutine |
//! | READIED | somebody won | its own thread, when it runs again |
//!
//! I1. A sequence number is used once in the process (each worker draws from a range of its own), so a stale ticket
//!     never matches, also not after the control block was trimmed to zeros or serves another goroutine.
//! I2. COMMITTING and WAITING are stored after the goroutine's stack was left. So the winner may run it at once, on any
//!     thread; an early winner leaves that to the parking thread, which is about to look.
//! I3. Exactly one `ready` wins per park: losers (time-out, cancel, a second ready) do nothing.
//!
//! COMMITTING is for callbacks that are not ours: while it lasts nobody runs the goroutine, so the callback's argument
//! may lie on its stack. The library's own parks hold the worker's gate instead (`sched::park`), and save the CAS.

use crate::sync::{AtomicU64, Ordering, backoff, mutated};

const STATES: u64 = 3;
const RUNNING: u64 = 0;
const WAITING: u64 = 1;
const READIED: u64 = 2;
const COMMITTING: u64 = 3;

/// What a ready achieved.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ready {
    /// The ticket is stale, or somebody was faster.
    Lost,
    /// The goroutine is yours to queue.
    Won,
    /// Yours to say why it wakes: write the status, then call [`ParkWord::early_done`]. The parking thread runs it.
    Early,
}

/// The word itself.
#[repr(transparent)]
pub struct ParkWord(AtomicU64);

impl ParkWord {
    /// Of a goroutine that is about to run for the first time.
    pub fn new() -> Self {
        Self(AtomicU64::new(RUNNING))
    }

    /// The goroutine's stack is left; from now on a ticket with `sequence` readies it.
    /// Release: the saved registers are visible to who wins [`ParkWord::ready`] (Acquire).
    #[inline(always)]
    pub fn wait(&self, sequence: u64) {
        self.0.store(sequence << 2 | WAITING, Ordering::Release);
    }

    /// As [`ParkWord::wait`], but a ready is early until [`ParkWord::committed`].
    pub fn commit(&self, sequence: u64) {
        self.0.store(sequence << 2 | COMMITTING, Ordering::Release);
    }

    /// The callback is over: wait for real. False: somebody was early, the status is written, run it.
    #[must_use]
    pub fn committed(&self, sequence: u64) -> bool {
        let committing = sequence << 2 | COMMITTING;
        if mutated!("committed_without_cas") {
            self.0.store(sequence << 2 | WAITING, Ordering::Release);
            return true;
        }
        if self
            .0
            .compare_exchange(
                committing,
                sequence << 2 | WAITING,
                Ordering::AcqRel,
                Ordering::Acquire,
            )
            .is_ok()
        {
            return true;
        }
        let mut round = 0;
        while self.0.load(Ordering::Acquire) & STATES != READIED {
            backoff(&mut round); // two instructions of the early winner
        }
        false
    }

    /// One caller per park does not lose.
    #[inline(always)]
    pub fn ready(&self, sequence: u64) -> Ready {
        loop {
            let word = self.0.load(Ordering::Relaxed);
            if word >> 2 != sequence {
                return Ready::Lost;
            }
            let (to, result) = match word & STATES {
                WAITING => (READIED, Ready::Won),
                COMMITTING => (RUNNING, Ready::Early),
                _ => return Ready::Lost,
            };
            if mutated!("ready_without_cas") {
                self.0.store(sequence << 2 | to, Ordering::Release);
                return result;
            }
            // AcqRel: we see the saved registers; a later waiter of this word sees our loss or win.
            if self
                .0
                .compare_exchange(word, sequence << 2 | to, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
            {
                return result;
            }
        }
    }

    /// The early winner has written the status.
    pub fn early_done(&self, sequence: u64) {
        self.0.store(sequence << 2 | READIED, Ordering::Release);
    }

    /// The sequence of the present park, if any.
    #[inline]
    #[must_use]
    pub fn parked(&self) -> Option<u64> {
        let word = self.0.load(Ordering::Acquire);
        (word & STATES == WAITING || word & STATES == COMMITTING).then_some(word >> 2)
    }

    /// Whether the park with this sequence is beyond any commit callback, and nobody was early.
    #[inline]
    #[must_use]
    pub fn is_waiting(&self, sequence: u64) -> bool {
        self.0.load(Ordering::Acquire) == sequence << 2 | WAITING
    }
}

impl Default for ParkWord {
    fn default() -> Self {
        Self::new()
    }
}
