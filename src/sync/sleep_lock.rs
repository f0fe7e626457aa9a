//! A lock of one word whose waiters sleep: the protocol, over anything that can be slept on.
//!
//! ```text
//!   hold     FREE -> HELD; or else, again and again: swap in WAITED, and sleep unless it was FREE
//!   let go   swap in FREE; it was WAITED: wake one
//! ```
//! Who was woken does not know whether others sleep, so it holds the lock as WAITED: its `let_go` wakes another one, perhaps for nothing.

use super::mutated;

/// Nobody holds it.
pub const FREE: u32 = 0;
const HELD: u32 = 1;
const WAITED: u32 = 2;

/// A word to sleep on: this one's, or a model's.
pub trait Word {
    /// How often to look before it sleeps.
    const LOOKS: u32;
    /// Acquire if it was `from`, and is `to`.
    fn replace(&self, from: u32, to: u32) -> bool;
    /// Acquire and Release.
    fn swap(&self, to: u32) -> u32;
    /// A look.
    fn is(&self, value: u32) -> bool;
    /// Until it is not `value`, or a wake, or for no reason.
    fn sleep_while(&self, value: u32);
    /// One of those who sleep.
    fn wake_one(&self);

    /// Takes the lock if it is free.
    #[inline]
    fn try_hold(&self) -> bool {
        self.replace(FREE, HELD)
    }

    /// Takes the lock.
    #[inline]
    fn hold(&self) {
        if !self.try_hold() {
            self.hold_slowly();
        }
    }

    /// See there.
    #[cold]
    fn hold_slowly(&self) {
        for _ in 0..Self::LOOKS {
            if self.is(FREE) && self.try_hold() {
                return;
            }
            std::hint::spin_loop();
        }
        while self.swap(WAITED) != FREE {
            self.sleep_while(WAITED);
            if mutated!("mutex_woken_forgets_the_others") && self.try_hold() {
                return;
            }
        }
    }

    /// Gives it back.
    #[inline]
    fn let_go(&self) {
        if self.swap(FREE) == WAITED && !mutated!("mutex_wakes_nobody") {
            self.wake_one();
        }
    }
}
