//! The monitor tells a worker's owner to take goroutines from another worker (`level`): one word for what, and a bit of the queue's `poll`.
//!
//! ```text
//!   the monitor                                       the owner, when it sees the bit
//!   O1  what = (from, count)                          O3  poll &= !LEVEL            (Acquire)
//!   O2  poll |= LEVEL         (Release)               O4  takes what is in `what`, and leaves 0 there
//! ```
//!
//! I1. The last order is heeded: O3 acquires O2, so O4 finds that order, or a later one, whose O2 raises the bit again. (Looked at before the
//!     bit is lowered, it could be an older one, and the bit of the last one would be gone.)
//! I2. None is heeded twice: O4 leaves 0. An order may be found before its O2: the bit that this raises leads to nothing.
//! I3. An order is not heeded if a later one comes first: that one was made of later notes.
//! I4. What is taken is on no queue while its new owner carries it (`RunQueue::rob`). Who has it is neither idle nor standing, so nobody takes the
//!     world for quiet or stopped meanwhile. Workers live as long as their runtime, so `from` is always one; if its thread is away, its gate is open.

use super::run_queue::POLL_LEVEL;
use crate::sync::{AtomicU32, Ordering, mutated};

/// From whom (its number << 16), and how many; 0: nothing.
pub struct Order(AtomicU32);

impl Order {
    /// None.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// The monitor's. Both are less than 1 << 16.
    pub fn give(&self, poll: &AtomicU32, from: usize, count: u32) {
        let what = (from as u32) << 16 | count;
        if mutated!("order_raises_the_bit_first") {
            poll.fetch_or(POLL_LEVEL, Ordering::Release);
            self.0.swap(what, Ordering::Relaxed);
            return;
        }
        self.0.swap(what, Ordering::Relaxed); // (a store would do; loom knows the place of an exchange: `sync::claim`)
        poll.fetch_or(POLL_LEVEL, Ordering::Release); // partner: take
    }

    /// The owner's. None: it was found before.
    pub fn take(&self, poll: &AtomicU32) -> Option<(usize, usize)> {
        let swap = || self.0.swap(0, Ordering::Relaxed);
        let early = mutated!("order_looked_at_too_early").then(swap);
        poll.fetch_and(!POLL_LEVEL, Ordering::Acquire); // partner: give
        let what = match early {
            Some(early) => early,
            None if mutated!("order_stays") => self.0.load(Ordering::Relaxed),
            None => swap(),
        };
        (what != 0).then_some(((what >> 16) as usize, (what & 0xffff) as usize))
    }
}
