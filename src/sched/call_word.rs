//! A worker in a blocking call: its thread may come back in a moment, or the monitor takes the worker away.
//!
//! One word per worker: the number of the call, and a state. Only the worker's holder enters.
//!
//! ```text
//!   the holder                           the monitor
//!   1. n = number + 1; word = (n, IN)    a. sees (n, IN)
//!   2. the call, without the worker      b. a tick later sees (n, IN) again
//!   3. CAS (n, IN) -> (n, OUT)           c. CAS (n, IN) -> (n, RETAKEN)
//!      won: holds the worker again          won: the worker is the monitor's to give away
//!      lost: has none
//! ```
//!
//! I1. Of 3 and c exactly one wins. Numbers only grow, so a CAS never meets a later call, whoever holds the worker then.
//! I2. 1 is a Release store: who wins c (Acquire) sees all that the holder did with the worker. c releases it in turn to whoever
//!     is given the worker (`pool`), and the holder that lost touches it no more.
//! I3. A call that was seen once is left alone: only one that lasts from tick to tick is worth a switch of threads.

use crate::sync::{AtomicU64, Ordering, mutated};

const STATES: u64 = 3;
const OUT: u64 = 0;
const IN: u64 = 1;
const RETAKEN: u64 = 2;

/// See the module's head.
pub struct CallWord(AtomicU64);

impl CallWord {
    /// In no call.
    pub fn new() -> Self {
        Self(AtomicU64::new(OUT))
    }

    /// Step 1. Gives the call, for [`CallWord::exit`].
    #[inline(always)]
    pub fn enter(&self) -> u64 {
        let call = ((self.0.load(Ordering::Relaxed) >> 2) + 1) << 2 | IN;
        self.0.store(call, Ordering::Release);
        call
    }

    /// Step 3. False: the worker was taken away. Relaxed when it fails: then nothing of the worker is looked at.
    #[inline(always)]
    #[must_use]
    pub fn exit(&self, call: u64) -> bool {
        if mutated!("call_exits_without_cas") {
            self.0.store(call & !STATES | OUT, Ordering::Release);
            return true;
        }
        self.0
            .compare_exchange(call, call & !STATES | OUT, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    /// Step a: the call that it is in.
    pub fn seen(&self) -> Option<u64> {
        let word = self.0.load(Ordering::Relaxed);
        (word & STATES == IN).then_some(word)
    }

    /// Step c. True: the worker is the caller's.
    #[must_use]
    pub fn retake(&self, call: u64) -> bool {
        if mutated!("call_retaken_whatever_its_number") {
            let word = self.0.load(Ordering::Acquire);
            return word & STATES == IN
                && self
                    .0
                    .compare_exchange(
                        word,
                        word & !STATES | RETAKEN,
                        Ordering::AcqRel,
                        Ordering::Relaxed,
                    )
                    .is_ok();
        }
        self.0
            .compare_exchange(
                call,
                call & !STATES | RETAKEN,
                Ordering::AcqRel,
                Ordering::Relaxed,
            )
            .is_ok()
    }
}

impl Default for CallWord {
    fn default() -> Self {
        Self::new()
    }
}
