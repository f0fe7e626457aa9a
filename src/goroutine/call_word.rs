//! A worker in a blocking call: its thread may come back in a moment, or the monitor takes the worker away.
//!
//! Calls are numbered, and no two calls of any workers have the same number. The worker has the number of its last call and the monitor's
//! claim to it; that the call is over is said in a word of the goroutine's own, because the worker may be somebody else's by then.
//!
//! ```text
//!   the holder                              the monitor
//!   1. lent = n, number = n   (Release)     a. sees number = n, and n in the borrower's `lent`   (Acquire)
//!   2. the call, without the worker         b. a tick later sees the same
//!   3. lent = 0                             c. claim = (n, CLAIMED)
//!   -- light fence (compiler only) --       -- heavy fence (membarrier) --
//!   4. claim < n ? holds the worker again   d. lent = n ? else it leaves it alone
//!   5. else CAS (n, CLAIMED) -> (n, KEPT)   e. CAS (n, CLAIMED) -> (n, RETAKEN)
//!      won: holds the worker again             won: the worker is the monitor's to give away
//!      lost: has none
//! ```
//!
//! I1. One of the two has the worker afterwards. This is Dekker's argument (`run_queue`, I1): if d still sees n, then 4 sees the claim,
//!     and of 5 and e exactly one wins. If d sees 0, e does not happen.
//! I2. 1 is a Release store: who wins e saw it in a, and with it all that the holder did with the worker. e releases it in turn to
//!     whoever is given the worker (`pool`), and the holder that lost touches nothing of it but the claim.
//! I3. Numbers of a worker only grow, and a later one is claimed only when the earlier call is over or its worker was retaken. So in 4 a
//!     claim of a later number says that this one was retaken, and one of an earlier number says nothing.
//! I4. A call that was seen once is left alone: only one that lasts from tick to tick is worth a switch of threads, and a membarrier.
//!
//! A call that turns out short takes no atomic instruction: 1, 3 and 4 are plain loads and stores, written out in
//! goroutine_asm_blocking_call. One that lasts costs a membarrier when it is taken away, next to the wake of a thread. Rejected: one
//! word {number, state} that the holder leaves with a CAS: it waits for every store before it, and took half of the whole call.

use crate::sync::{AtomicPtr, AtomicU64, Ordering, fence_heavy, fence_light, mutated};

/// In the low bits of a claim.
const CLAIMED: u64 = 1;
const RETAKEN: u64 = 2;
const KEPT: u64 = 3;

const STATE_BITS: u32 = 2;
const INDEX_BITS: u32 = 8;
/// From a worker's call to its next one.
pub const STEP: u64 = 1 << (STATE_BITS + INDEX_BITS);

/// The call for which a goroutine lent its worker, or 0. The goroutine's own; the monitor reads it.
#[repr(transparent)]
pub struct LentCall(AtomicU64);

impl LentCall {
    /// None.
    pub fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Whether the worker is lent now. Only the goroutine itself asks.
    #[inline(always)]
    pub fn is_lent(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }
}

impl Default for LentCall {
    fn default() -> Self {
        Self::new()
    }
}

/// The worker's part. See the module's head.
#[repr(C)]
pub struct CallWord {
    /// Of its last call. Written by the holder, read by the monitor.
    number: AtomicU64,
    /// Whose that call is. Control blocks stay mapped. Written by the holder, before `number`; read by the monitor, after it.
    borrower: AtomicPtr<LentCall>,
    /// A number and a state. Written by the monitor; in step 5 by the holder.
    claim: AtomicU64,
}

impl CallWord {
    /// For the assembly.
    pub const NUMBER: usize = std::mem::offset_of!(CallWord, number);
    /// For the assembly.
    pub const BORROWER: usize = std::mem::offset_of!(CallWord, borrower);
    /// For the assembly.
    pub const CLAIM: usize = std::mem::offset_of!(CallWord, claim);

    /// Of a worker that was in no call.
    pub fn new(index: usize) -> Self {
        debug_assert!(index < 1 << INDEX_BITS);
        Self {
            // Not 0: that is what `lent` says when a call is over. Nobody enters this one.
            number: AtomicU64::new(STEP | (index as u64) << STATE_BITS),
            borrower: AtomicPtr::new(std::ptr::null_mut()),
            claim: AtomicU64::new(0),
        }
    }

    /// Step 1. The holder's.
    #[inline]
    pub fn enter(&self, lent: &LentCall) {
        let number = self.number.load(Ordering::Relaxed) + STEP;
        lent.0.store(number, Ordering::Relaxed);
        self.borrower
            .store(std::ptr::from_ref(lent).cast_mut(), Ordering::Relaxed);
        self.number.store(number, Ordering::Release);
    }

    /// Steps 3 to 5. False: the worker was taken away.
    #[inline]
    #[must_use]
    pub fn exit(&self, lent: &LentCall) -> bool {
        let number = lent.0.load(Ordering::Relaxed);
        lent.0.store(0, Ordering::Relaxed);
        if !mutated!("call_exit_without_fence") {
            fence_light(); // I1; partner: fence_heavy in `retake`
        }
        let claim = self.claim.load(Ordering::Relaxed);
        if mutated!("call_exit_overlooks_later_claims") && claim > number + STEP {
            return true;
        }
        claim < number || self.keep(number)
    }

    /// Step 5. Relaxed: the holder gets back what it had.
    #[cold]
    fn keep(&self, number: u64) -> bool {
        if mutated!("call_kept_without_asking") {
            return true;
        }
        self.claim
            .compare_exchange(
                number | CLAIMED,
                number | KEPT,
                Ordering::Relaxed,
                Ordering::Relaxed,
            )
            .is_ok()
    }

    /// The number of its last call: another one if there was a call meanwhile.
    pub fn last(&self) -> u64 {
        self.number.load(Ordering::Relaxed)
    }

    /// Steps a and b: the call that it is in, if the worker was not retaken from it.
    pub fn seen(&self) -> Option<u64> {
        let number = self.number.load(Ordering::Acquire); // I2; partner: the store in `enter`
        let retaken =
            self.claim.load(Ordering::Relaxed) == number | RETAKEN && !mutated!("call_retaken_again");
        (!retaken && self.is_in(number)).then_some(number)
    }

    /// Whether the call of this number goes on. If the borrower is that of a later call, its word has another number.
    fn is_in(&self, number: u64) -> bool {
        let borrower = self.borrower.load(Ordering::Relaxed);
        // SAFETY: a goroutine's word, which stays mapped.
        !borrower.is_null() && unsafe { &*borrower }.0.load(Ordering::Relaxed) == number
    }

    /// Steps c to e, for a call that [`CallWord::seen`] gave. True: the worker is the caller's.
    #[must_use]
    pub fn retake(&self, number: u64) -> bool {
        self.claim.store(number | CLAIMED, Ordering::Relaxed);
        if !mutated!("call_retaken_without_fence") {
            fence_heavy();
        }
        if !mutated!("call_retaken_when_over") && !self.is_in(number) {
            return false;
        }
        self.claim
            .compare_exchange(
                number | CLAIMED,
                number | RETAKEN,
                Ordering::Release, // I2
                Ordering::Relaxed,
            )
            .is_ok()
    }
}
