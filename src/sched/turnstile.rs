//! Plain threads come and go while a shutdown wants the place empty.
//!
//! ```text
//!   a plain thread                        the shutdown
//!   inside += 1                           closed = 1
//!   closed ? inside -= 1, refuse          wait until inside is 0
//!   ... uses the runtime ...              ... frees the runtime ...
//!   inside -= 1
//! ```
//!
//! I1. Both sides store, then load (SeqCst): either the thread sees `closed`, or the shutdown sees it inside.
//!
//! One word holds both, so each side is a single atomic and the order between them is the order of the word.

use crate::sync::{AtomicU32, Ordering, mutated};

const CLOSED: u32 = 1 << 31;

/// Closed at first.
pub struct Turnstile(AtomicU32);

impl Turnstile {
    /// Closed.
    #[cfg(not(loom))]
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self(AtomicU32::new(CLOSED))
    }
    /// Closed.
    #[cfg(loom)]
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self(AtomicU32::new(CLOSED))
    }
    /// Comes in. False: closed. Acquire: sees what `open` published.
    #[must_use]
    pub fn enter(&self) -> bool {
        if mutated!("turnstile_looks_first") {
            let open = self.0.load(Ordering::Acquire) & CLOSED == 0;
            self.0.fetch_add(u32::from(open), Ordering::Acquire);
            return open;
        }
        if self.0.fetch_add(1, Ordering::Acquire) & CLOSED == 0 {
            return true;
        }
        self.leave();
        false
    }
    /// Goes out. Release: the shutdown sees what was done inside.
    pub fn leave(&self) {
        self.0.fetch_sub(1, Ordering::Release);
    }
    /// In a child of fork: closed, and whoever was inside is gone.
    pub fn reset(&self) {
        self.0.store(CLOSED, Ordering::Release);
    }
    /// From now on threads may come in.
    pub fn open(&self) {
        self.0.fetch_and(!CLOSED, Ordering::Release);
    }
    /// From now on nobody new comes in.
    pub fn close(&self) {
        self.0.fetch_or(CLOSED, Ordering::AcqRel);
    }
    /// Whether the last one is out (and those that were refused).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.load(Ordering::Acquire) & !CLOSED == 0
    }
}
