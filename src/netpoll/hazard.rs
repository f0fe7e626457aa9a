//! Calls on a descriptor that cost no locked instruction: a worker names it in its hazard (a hazard pointer) for the time of a system call, and is no user.
//!
//! Most descriptors are used by the goroutines of one worker, for a long time. One that has had [`EARNED`] calls in a row from the same worker is *biased* to
//! it: that worker names it from then on, all others go on as users. So a close has one hazard to look at, and most have none.
//!
//! ```text
//!   the worker it is biased to                         who closes it
//!   H1  hazard = the descriptor                        E1  CLOSING                            (a change in one step)
//!   -- light fence (compiler only) --                  E2  users ? the last of them goes on with E2
//!   H2  closing, or not biased to me ? H4              -- heavy fence (membarrier), unless the worker is his own --
//!   H3  ... the system call ...                        E3  the hazard names it ? the worker goes on with E2, after H5
//!   H4  hazard = 0                   (Release)         E4  becomes its one user, if there is none (in one step): he ends it
//!   -- light fence (compiler only) --
//!   H5  closing ? goes on with E2
//! ```
//!
//! A worker that may have to wait before H4, or runs another goroutine before it, first becomes a user (H3').
//!
//! I1. This is Dekker's argument (`sched::run_queue`, I1), twice. At H2 the worker sees CLOSING and makes no call, or E3 sees the hazard. And if E3 saw it,
//!     H5 sees CLOSING: somebody goes on with the end. That it is several is harmless: E4 lets one through. Each goes on for the generation in which it saw
//!     CLOSING, and for no later one.
//! I2. E2, E3 and E4 see all that are in a call. While CLOSING is set nobody becomes a user but the worker itself (H3'), which is one before it clears its
//!     hazard: E3 sees the hazard, or the number of users at E4 is not that of E2.
//! I3. A hazard is its worker's, and a worker is held by one thread at a time: its own close has no H1 to H4 beside it, and needs no fence.
//! I4. The bias is given by the worker itself, in the step in which it becomes a user, and goes with the generation. A generation that ends unseen
//!     (`Descriptor::begin_at`) hands it on, for the worker may be in a call; if that call has to wait, it is a user of the new one from H3' on.
//!
//! Rejected: to give it to the first worker that comes, for then each short connection that changed its worker costs a heavy fence at its close; hazards
//! that are not cleared until the worker's next call, for then a close must take them back, also while a runtime starts or ends (and an echo
//! took no less time).

use crate::sync::{AtomicPtr, Ordering, fence_light, mutated};
use std::ptr::{from_ref, null_mut};

/// How many workers have one. (The bias has seven bits; later workers are users, always.)
#[cfg(not(loom))]
pub const HAZARDS: usize = 127;
#[cfg(loom)]
pub const HAZARDS: usize = 2;

/// After how many calls in a row: a heavy fence at its end is less than a hundredth of what they cost.
#[cfg(not(loom))]
pub const EARNED: u32 = 256;
#[cfg(loom)]
pub const EARNED: u32 = 0;

/// One worker's. On a line of its own: it is written at each call.
#[cfg_attr(not(loom), repr(align(64)))]
pub struct Hazard {
    /// A descriptor, or null. Written by its worker.
    names: AtomicPtr<()>,
    /// From 1 on.
    number: u32,
}

impl Hazard {
    /// Of worker `number - 1`.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Whether its worker is in no call. The worker asks.
    #[inline(always)]
    pub fn is_free(&self) -> bool {
        self.names.load(Ordering::Relaxed).is_null()
    }

    /// H1.
    #[inline(always)]
    pub(super) fn name<D>(&self, descriptor: &D) {
        self.names
            .store(from_ref(descriptor).cast_mut().cast(), Ordering::Relaxed);
        if !mutated!("hazard_without_light_fence") {
            fence_light(); // I1; partner: fence_heavy in Descriptor::begin_end
        }
    }

    /// H4.
    #[inline(always)]
    pub(super) fn clear(&self) {
        self.names.store(null_mut(), Ordering::Release); // partner: E3
        if !mutated!("hazard_left_without_light_fence") {
            fence_light(); // I1; partner: as above
        }
    }

    /// E3.
    pub(super) fn is_of<D>(&self, descriptor: &D) -> bool {
        std::ptr::eq(self.names.load(Ordering::Acquire), from_ref(descriptor).cast()) // partner: H4
    }
}

/// Those of all workers.
pub struct Hazards([Hazard; HAZARDS]);

impl Hazards {
    /// Nobody is in a call.
    #[cfg(not(loom))]
    const fn new() -> Self {
        let mut all = [const {
            Hazard {
                names: AtomicPtr::new(null_mut()),
                number: 0,
            }
        }; HAZARDS];
        let mut i = 0;
        while i < HAZARDS {
            all[i].number = i as u32 + 1;
            i += 1;
        }
        Self(all)
    }

    /// Nobody is in a call.
    #[cfg(loom)]
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self(std::array::from_fn(|i| Hazard {
            names: AtomicPtr::new(null_mut()),
            number: i as u32 + 1,
        }))
    }

    /// That of this worker. None: it has none.
    pub fn of(&self, worker: usize) -> Option<&Hazard> {
        self.0.get(worker)
    }

    /// By its number.
    pub(super) fn numbered(&self, number: u32) -> &Hazard {
        &self.0[number as usize - 1]
    }

    /// In a child of fork, alone: the parent's workers are not there.
    #[cfg(not(loom))]
    pub fn forget(&self) {
        for hazard in &self.0 {
            hazard.clear();
        }
    }
}

/// Of this process. (Not a runtime's: descriptors outlive it.)
#[cfg(not(loom))]
pub static OF_WORKERS: Hazards = Hazards::new();
