//! Where the thread of a bound goroutine waits while the goroutine is parked.
//!
//! A bound goroutine is readied by waking its thread. Who does that has won the park word (`park`, I3), so there is one
//! at a time.
//!
//! ```text
//!   its thread                                     who readies it
//!   1. word = RUNNING
//!   2. the park word becomes WAITING               a. wins the park word, writes the status
//!   3. looks for READY for a moment                b. swaps in READY
//!   4. RUNNING -> ASLEEP by CAS, sleeps on it      c. it was ASLEEP: wakes the address
//! ```
//!
//! I1. After b the goroutine may run, end, and its control block serve another one: c uses the address only, and who waits
//!     there looks again.
//! I2. 1 comes before 2, so b of this park comes after it, and the one of the park before was seen.

use crate::sync::{AtomicU32, Ordering, mutated};

const RUNNING: u32 = 0;
const READY: u32 = 1;
/// The value that the thread sleeps on.
pub const ASLEEP: u32 = 2;

/// See the module's head.
#[repr(transparent)]
pub struct ThreadWord(AtomicU32);

impl ThreadWord {
    /// Of a goroutine that runs.
    pub fn new() -> Self {
        Self(AtomicU32::new(RUNNING))
    }

    /// Step 1. Relaxed: the park word's Release publishes it.
    pub fn prepare(&self) {
        self.0.store(RUNNING, Ordering::Relaxed);
    }

    /// Step b. True: the thread sleeps; wake it. Release: it sees the status.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.0.swap(READY, Ordering::AcqRel) == ASLEEP
    }

    /// Whether b has come. Acquire: the partner of `ready`.
    pub fn is_ready(&self) -> bool {
        self.0.load(Ordering::Acquire) == READY
    }

    /// Step 4. False: b was faster.
    #[must_use]
    pub fn fall_asleep(&self) -> bool {
        if mutated!("thread_word_sleeps_without_cas") {
            self.0.store(ASLEEP, Ordering::Release);
            return true;
        }
        self.0
            .compare_exchange(RUNNING, ASLEEP, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// What the kernel looks at.
    #[cfg(not(loom))]
    pub fn futex(&self) -> &AtomicU32 {
        &self.0
    }
}

impl Default for ThreadWord {
    fn default() -> Self {
        Self::new()
    }
}
