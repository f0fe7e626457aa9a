//! The word of a timer slot: which use of the slot it is (generation), and how far that use has come.
//!
//! | from | to | who |
//! |---|---|---|
//! | FREE | ARMED | who took the slot from a free list |
//! | ARMED | FIRING | the driver, when it is due: it owns the target now |
//! | ARMED | STOPPED | `stop`: the timer will not fire; the slot still lies in its wheel |
//! | FIRING | ARMED | the driver, for the next period |
//! | FIRING | STOPPED | `stop` of a periodic timer: it will not run again |
//! | FIRING, STOPPED | FREE, next generation | who took it out of the wheel, or whose firing is over |
//!
//! I1. One of fire and stop wins per arming: both are a CAS from ARMED.
//! I2. An id is (generation, slot). A slot whose generations are used up is never used again, so an id never repeats.
//! I3. Between arming and FREE the slot's other fields belong to the wheel it lies in; while FIRING, to who fires it.

use crate::sync::{AtomicU64, Ordering, mutated};

const FREE: u64 = 0;
const ARMED: u64 = 1;
const FIRING: u64 = 2;
const STOPPED: u64 = 3;

/// Bits of a generation: with 24 bits of slot they make an id below 2^53.
pub const GENERATION_BITS: u32 = if cfg!(loom) { 3 } else { 29 };

/// What a stop found.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// It will not fire; its wheel must let go of it.
    Unarmed,
    /// It is firing now, and will not again. Only of periodic timers.
    LastRun,
    /// It fired, was stopped before, or never was.
    Nothing,
}

/// See the module's head.
pub struct TimerWord(AtomicU64);

impl TimerWord {
    /// Free, generation 1: no id is 0.
    #[cfg(not(loom))]
    pub const fn new() -> Self {
        Self(AtomicU64::new(1 << 2 | FREE))
    }
    /// Free, generation 1.
    #[cfg(loom)]
    pub fn new() -> Self {
        Self(AtomicU64::new(1 << 2 | FREE))
    }

    /// The owner of a free slot arms it. Returns the generation. Release: the fields are visible to who fires or stops.
    #[inline(always)]
    pub fn arm(&self) -> u64 {
        let generation = self.0.load(Ordering::Relaxed) >> 2;
        self.0.store(generation << 2 | ARMED, Ordering::Release);
        generation
    }

    /// The driver: it is due. False: it was stopped (I1).
    #[inline]
    #[must_use]
    pub fn fire(&self) -> bool {
        let word = self.0.load(Ordering::Relaxed);
        word & 3 == ARMED
            && self
                .0
                .compare_exchange(word, word & !3 | FIRING, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
    }

    /// The driver: the next period. False: it was stopped meanwhile.
    #[must_use]
    pub fn rearm(&self) -> bool {
        let word = self.0.load(Ordering::Relaxed);
        word & 3 == FIRING
            && self
                .0
                .compare_exchange(word, word & !3 | ARMED, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
    }

    /// Anybody who knows the id. `periodic` is asked only while the slot is in the use that the id names.
    #[inline]
    pub fn stop(&self, generation: u64, periodic: impl Fn() -> bool) -> Stop {
        loop {
            let word = self.0.load(Ordering::Acquire);
            if word >> 2 != generation {
                return Stop::Nothing;
            }
            let result = match word & 3 {
                ARMED => Stop::Unarmed,
                FIRING if periodic() => Stop::LastRun,
                _ => return Stop::Nothing,
            };
            if mutated!("stop_without_cas") {
                self.0.store(word & !3 | STOPPED, Ordering::Release);
                return result;
            }
            if self
                .0
                .compare_exchange(word, word & !3 | STOPPED, Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
            {
                return result;
            }
        }
    }

    /// Whether a stop came: asked by who holds the slot.
    pub fn is_stopped(&self) -> bool {
        self.0.load(Ordering::Acquire) & 3 == STOPPED
    }

    /// Ends the use, if it is in use, whatever was going on.
    pub fn forget(&self) -> bool {
        self.0.load(Ordering::Relaxed) & 3 != FREE && self.free()
    }

    /// Whether the slot is in use.
    pub fn is_used(&self) -> bool {
        self.0.load(Ordering::Acquire) & 3 != FREE
    }

    /// The generation, if armed now.
    pub fn armed(&self) -> Option<u64> {
        let word = self.0.load(Ordering::Acquire);
        (word & 3 == ARMED).then_some(word >> 2)
    }

    /// Ends the use. False: the slot's generations are used up; forget it (I2).
    #[inline]
    #[must_use]
    pub fn free(&self) -> bool {
        debug_assert!(
            self.0.load(Ordering::Relaxed) & 3 != FREE,
            "a timer slot is freed twice"
        );
        let next = (self.0.load(Ordering::Relaxed) >> 2) + 1;
        if next >> GENERATION_BITS != 0 {
            return false; // stays FIRING or STOPPED, in a generation whose ids are answered with Nothing
        }
        self.0.store(next << 2 | FREE, Ordering::Release);
        true
    }
}

#[cfg(not(loom))]
impl Default for TimerWord {
    fn default() -> Self {
        Self::new()
    }
}
