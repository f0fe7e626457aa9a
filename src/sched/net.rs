//! Who holds the poller: one thread at a time waits for edges of descriptors.
//!
//! ```text
//!   a worker that goes to sleep            a thread without a worker            the monitor, each tick
//!   1. joins the idle set                  that waits for a descriptor          a. nobody holds it, somebody is idle: wakes one
//!   2. fence                               1. the poller is there               b. nobody is idle, and nobody held it since the last
//!   3. there is a poller, and nobody       2. fence                                tick (for longer, if goroutines come and go on each
//!      holds it: holds it, sleeps in it    3. nobody holds it: wakes one           worker): holds it, looks, lets go, then fence, and a.
//! ```
//!
//! I1. While a goroutine waits for a descriptor, somebody holds the poller who will have another look, or a worker is awake that comes to 3 before it sleeps.
//!     A worker that finds it held for a moment only (by another worker's look, by the monitor's) sleeps without it: the other worker comes to 3 itself, and
//!     the monitor looks at the idle set after it let go.
//! I2. A worker that loses its thread counts a poller that nobody holds as work (`search::has_work`).

use super::idle::Idle;
use crate::sync::{AtomicPtr, AtomicU32, Ordering, fence_seq_cst, mutated};
use std::ptr::null_mut;

/// In `turns`.
const HELD: u32 = 1;

/// A poller, once there is one, and whether somebody holds it.
pub struct Net<P> {
    poller: AtomicPtr<P>,
    /// Odd while somebody holds it. Whoever holds it counts up, and again when it lets go.
    turns: AtomicU32,
    /// `turns` when the monitor last looked; its own.
    watched: AtomicU32,
}

/// The poller, held by the calling thread.
pub struct Held<'r, P> {
    net: &'r Net<P>,
    /// What is held.
    pub poller: &'r P,
}

impl<P> Drop for Held<'_, P> {
    fn drop(&mut self) {
        self.net.turns.fetch_add(1, Ordering::SeqCst);
    }
}

impl<P> Net<P> {
    /// None yet.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self {
            poller: AtomicPtr::new(null_mut()),
            turns: AtomicU32::new(0),
            watched: AtomicU32::new(0),
        }
    }

    /// The poller, if there is one.
    #[inline]
    pub fn poller(&self) -> Option<&P> {
        // SAFETY: once there it stays as long as this.
        unsafe { self.poller.load(Ordering::SeqCst).as_ref() }
    }

    /// The same, made if need be.
    pub fn poller_or_new<E>(&self, make: impl FnOnce() -> Result<P, E>) -> Result<&P, E> {
        if let Some(poller) = self.poller() {
            return Ok(poller);
        }
        let made = Box::into_raw(Box::new(make()?));
        let won = (self.poller)
            .compare_exchange(null_mut(), made, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok();
        if !won {
            // SAFETY: nobody else has it.
            drop(unsafe { Box::from_raw(made) });
        }
        Ok(self.poller().expect("just made"))
    }

    /// Whether there is a poller that nobody holds.
    #[inline]
    pub fn is_unheld(&self) -> bool {
        self.poller().is_some() && self.turns.load(Ordering::SeqCst) & HELD == 0
    }

    /// Holds it. None: there is none, or somebody does.
    #[inline]
    pub fn hold(&self) -> Option<Held<'_, P>> {
        let poller = self.poller()?;
        let turns = self.turns.load(Ordering::Relaxed);
        let free = mutated!("two_hold_the_poller")
            || turns & HELD == 0
                && (self.turns)
                    .compare_exchange(turns, turns.wrapping_add(1), Ordering::SeqCst, Ordering::SeqCst)
                    .is_ok();
        free.then(|| Held { net: self, poller })
    }

    /// A thread without a worker is about to wait for a descriptor, or has let go of the poller: whom to wake, if anybody, so that
    /// somebody polls.
    #[must_use]
    pub fn claim_one_to_poll(&self, idle: &Idle) -> Option<usize> {
        if mutated!("nobody_is_woken_to_poll") {
            return None;
        }
        fence_seq_cst(); // partner: the fence in `Idle::announce`
        if self.is_unheld() { idle.claim() } else { None }
    }

    /// Changes whenever somebody holds it or lets go.
    pub fn turns(&self) -> u32 {
        self.turns.load(Ordering::Relaxed)
    }

    /// The monitor's column; `look` is done with the poller held, if at all, and not while `may_wait`. Gives whom to wake.
    #[must_use]
    pub fn watch(&self, idle: &Idle, may_wait: bool, look: impl FnOnce(&P)) -> Option<usize> {
        if !self.is_unheld() {
            return None;
        }
        if idle.any() {
            return idle.claim(); // it polls before it sleeps again
        }
        let turns = self.turns.load(Ordering::SeqCst);
        if self.watched.swap(turns, Ordering::Relaxed) != turns {
            return None; // the workers see to it themselves
        }
        if may_wait {
            return None;
        }
        let held = self.hold()?;
        look(held.poller);
        drop(held);
        self.watched.store(turns.wrapping_add(2), Ordering::Relaxed);
        if mutated!("monitor_lets_go_and_leaves") {
            return None;
        }
        self.claim_one_to_poll(idle)
    }
}

impl<P> Drop for Net<P> {
    fn drop(&mut self) {
        let poller = self.poller.load(Ordering::Relaxed);
        if !poller.is_null() {
            // SAFETY: ours, and nobody uses it any more.
            drop(unsafe { Box::from_raw(poller) });
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// The monitor looks when nobody else did since it last asked, and only then.
    #[test]
    fn monitor_looks_after_a_tick_without_a_look() {
        let net = Net::<u32>::new();
        let idle = Idle::new(0);
        let watch = |net: &Net<u32>, may_wait| {
            let mut looked = false;
            let _ = net.watch(&idle, may_wait, |_| looked = true);
            looked
        };
        let looked = |net: &Net<u32>| watch(net, false);
        assert!(!looked(&net), "there is no poller");
        let _ = net.poller_or_new(|| Ok::<u32, ()>(1));
        assert!(looked(&net));
        assert!(!watch(&net, true), "that can wait");
        assert!(looked(&net), "its own look is nobody else's");
        drop(net.hold());
        assert!(!looked(&net), "somebody looked");
        assert!(looked(&net), "nobody did any more");
        let held = net.hold();
        assert!(held.is_some() && !looked(&net), "somebody holds it");
        drop(held);
        assert!(!looked(&net) && looked(&net));
    }
}
