//! Memory that its user takes up and leaves, again and again, without an atomic instruction, while somebody else may give it back to the kernel.
//!
//! ```text
//!   the user                                          the trimmer, one at a time
//!   C1  state = BUSY                                  T1  USED -> IDLE (in one step); if it is IDLE, untouched since the last time:
//!   -- light fence (compiler only) --                 T2  claimed = 1
//!   C2  claimed ? waits for 0, and again from C1      -- heavy fence (membarrier) --
//!   C3  ... the memory ...                            T3  still IDLE ? discards the memory, IDLE -> COLD (in one step)
//!   C4  state = USED                (Release)         T4  claimed = 0        (Release)
//! ```
//!
//! | state | the memory is | from it leads |
//! |---|---|---|
//! | IDLE | nobody's; not touched since T1, or new | C1; T3 to COLD |
//! | BUSY | the user's | C4; C5 |
//! | USED | nobody's; it was BUSY since T1 | C1; T1 to IDLE |
//! | COLD | nobody's, and the kernel's | C1 |
//! | LEFT | the user's, who gave it up and still runs there (C5) | C1; C6, which is C4 once it runs elsewhere |
//!
//! I1. This is Dekker's argument (`sched::run_queue`, I1): the user sees `claimed` and keeps out until T4, or the trimmer sees BUSY, or what came
//!     after it, at T3. Nobody but the trimmer makes it IDLE, so IDLE at T3 means untouched since T1.
//! I2. What the user did until C4 comes before the discard, for T1 acquires C4; and the discard comes before C3, for C2 acquires T4.
//! I3. Of LEFT and BUSY the trimmer takes nothing, however long they last.
//!
//! C1, C2 and C4 are instructions of the assembly (`asm/x86_64_sysv_growth.S`); the models run their twins here.

use super::{AtomicU32, Ordering, backoff, fence_heavy, fence_light, mutated};

/// In `state`; zeroed memory is IDLE.
const IDLE: u32 = 0;
/// In `state`.
pub const BUSY: u32 = 1;
/// In `state`.
pub const USED: u32 = 2;
const COLD: u32 = 3;
const LEFT: u32 = 4;

/// The words of one piece of memory. All zero: nobody's.
#[repr(C)]
pub struct Claim {
    /// Written by the user, and by the trimmer, from USED to IDLE and from IDLE to COLD only.
    pub(crate) state: AtomicU32,
    /// 1: the memory is about to go. Written by the trimmer.
    pub(crate) claimed: AtomicU32,
}

/// What the trimmer found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Seen {
    /// It is in use, or its memory has gone.
    Nothing,
    /// It was used since the last look.
    Used,
    /// It was not.
    Unused,
}

impl Claim {
    /// Nobody's.
    #[cfg(loom)]
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self {
            state: AtomicU32::new(IDLE),
            claimed: AtomicU32::new(0),
        }
    }

    // ---- the user ----

    /// A plain store. In a model it is an exchange, whose place among the trimmer's changes loom knows: nothing comes between what a change in
    /// one step has read and what it has written, in the language too, but loom lets a plain store do so.
    fn store(&self, state: u32, order: Ordering) {
        #[cfg(loom)]
        self.state.swap(state, order);
        #[cfg(not(loom))]
        self.state.store(state, order);
    }

    /// C1 and C2. False: not now ([`Claim::await_unclaimed`]), and then again.
    #[must_use]
    pub fn take_up(&self) -> bool {
        self.store(BUSY, Ordering::Relaxed);
        if !mutated!("claim_without_light_fence") {
            fence_light(); // I1; partner: fence_heavy in trim
        }
        self.claimed.load(Ordering::Acquire) == 0 || mutated!("claim_is_not_seen") // partner: T4
    }

    /// Until the trimmer is through with it.
    pub fn await_unclaimed(&self) {
        let mut round = 0;
        while self.claimed.load(Ordering::Acquire) != 0 {
            backoff(&mut round); // partner: T4
        }
    }

    /// C4: the user does not run there, and nobody will want what is there.
    pub fn leave(&self) {
        let left = if mutated!("claim_left_relaxed") {
            Ordering::Relaxed
        } else {
            Ordering::Release // partner: T1
        };
        self.store(USED, left);
    }

    /// C5: nobody will want what is there, but the user still runs there.
    pub fn leave_behind(&self) {
        if mutated!("claim_left_behind_is_used") {
            return self.leave();
        }
        self.store(LEFT, Ordering::Relaxed);
    }

    /// C6: if the user has left it behind: it runs elsewhere now.
    pub fn is_left_for_good(&self) {
        if self.state.load(Ordering::Relaxed) == LEFT {
            self.leave();
        }
    }

    /// Whether the user has it. The user asks.
    pub fn is_busy(&self) -> bool {
        self.state.load(Ordering::Relaxed) == BUSY
    }

    // ---- the trimmer ----

    /// T1.
    pub fn look(&self) -> Seen {
        match self.state.load(Ordering::Relaxed) {
            USED => {
                // Acquire: partner: C4.
                let _ = (self.state).compare_exchange(USED, IDLE, Ordering::Acquire, Ordering::Relaxed);
                Seen::Used
            }
            IDLE => Seen::Unused,
            _ => Seen::Nothing,
        }
    }

    /// T2 to T4 for several, which were Unused, with one fence. `discard` gives a piece's memory back. Gives how many it was called for.
    pub fn trim<'a, A: 'a>(
        pieces: impl Iterator<Item = &'a A> + Clone,
        claim_of: impl Fn(&A) -> &Claim,
        discard: impl Fn(&A),
    ) -> usize {
        for piece in pieces.clone() {
            claim_of(piece).claimed.store(1, Ordering::Relaxed);
        }
        if !mutated!("claim_without_heavy_fence") {
            fence_heavy(); // I1; partner: fence_light in take_up, C1 and C2 in asm/
        }
        let mut discarded = 0;
        for piece in pieces {
            let claim = claim_of(piece);
            if mutated!("claim_ends_before_the_discard") {
                claim.claimed.store(0, Ordering::Release);
            }
            if claim.state.load(Ordering::Relaxed) == IDLE || mutated!("claim_without_another_look") {
                discard(piece);
                // (Its user may be waiting for us: BUSY stays.)
                let _ = (claim.state).compare_exchange(IDLE, COLD, Ordering::Relaxed, Ordering::Relaxed);
                discarded += 1;
            }
            claim.claimed.store(0, Ordering::Release); // partner: C2
        }
        discarded
    }

    /// In a child of fork: the parent's trimmer has no claim here.
    pub fn forget(&self) {
        self.claimed.store(0, Ordering::Relaxed);
    }

    /// Whether its memory has gone.
    #[cfg(test)]
    pub fn is_cold(&self) -> bool {
        self.state.load(Ordering::Relaxed) == COLD
    }
}
