//! A worker keeps the stay of the last call on a descriptor: mostly the next call on it is the same goroutine's, which goes on with that stay. So a request
//! that is read and answered enters and leaves its descriptor once, and nothing right after a system call waits for what the kernel wrote.
//!
//! ```text
//!   the worker, inside its gate                  who closes the descriptor, and found users in it
//!   a call ends:                                 1. CLOSING is set (`netpoll::descriptor`, I3)
//!     a. keeps the stay                          2. -- heavy fence --
//!     b. -- light fence --                       3. each worker that keeps one of it: inside its gate, leaves for it;
//!     c. CLOSING? then it leaves after all          the last one goes on with the end
//!   a call begins:
//!     d. it is one of the same descriptor, and not CLOSING: goes on with it
//!     e. of another one: leaves that, by a CAS that CLOSING fails
//! ```
//!
//! I1. A kept stay is one user of its descriptor, so the generation goes on. Who takes it out of its place does so inside the gate, and leaves it there, too, but
//!     for d: so who has been in the gate after it set CLOSING knows that all that is left are calls under way.
//! I2. No close waits for a worker that keeps a stay and computes. This is Dekker's argument (`run_queue`, I1): the heavy fence falls somewhere in the
//!     worker's program order. If before c, that sees CLOSING; if after it, 3 sees what a kept. In between a call is under way, which comes to a.
//! I3. A stay of what is being closed is left to who closes it: no call on one descriptor makes the end of another.
//! I4. A worker that ends keeps none.

use super::run_queue::RunQueue;
use crate::netpoll::descriptor::{Descriptor, READ};
use crate::sync::{AtomicPtr, AtomicU64, Ordering, backoff, fence_heavy, fence_light, mutated};
use crate::wait::queue::Sleeper;
use std::ptr::null_mut;

/// See the module's head. Written inside the gate; `drained` by the owner alone.
pub struct Kept<P: Sleeper> {
    descriptor: AtomicPtr<Descriptor<P>>,
    /// The readiness from before a read that took all there was, which the descriptor was not told yet; 0: none.
    drained: AtomicU64,
}

impl<P: Sleeper> Kept<P> {
    /// Nothing.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self {
            descriptor: AtomicPtr::new(null_mut()),
            drained: AtomicU64::new(0),
        }
    }

    /// Whether it is a stay of this one. (It may be taken at any time.)
    #[inline(always)]
    pub fn is_of(&self, descriptor: *const Descriptor<P>) -> bool {
        std::ptr::eq(self.descriptor.load(Ordering::Relaxed), descriptor)
    }

    /// Owner: what the descriptor was not told yet, as far as a stay of it is kept; 0: nothing.
    #[inline(always)]
    pub fn drained(&self, descriptor: *const Descriptor<P>) -> u64 {
        if self.is_of(descriptor) {
            self.drained.load(Ordering::Relaxed)
        } else {
            0
        }
    }

    /// Owner: the descriptor is told of it now.
    #[inline(always)]
    pub fn is_told(&self) {
        self.drained.store(0, Ordering::Relaxed);
    }

    /// Owner, outside the gate, before a call on this one (d, e). Gives `drained` of the stay that is the caller's now. None: it has none.
    #[inline(always)]
    pub fn go_on<T: Copy>(&self, gate: &RunQueue<T>, descriptor: &Descriptor<P>) -> Option<u64> {
        if self.is_of(null_mut()) {
            return None;
        }
        gate.enter();
        let mut drained = None;
        if !self.is_of(descriptor) {
            self.leave();
        } else if !descriptor.is_closing() {
            self.forget();
            drained = Some(self.drained.load(Ordering::Relaxed));
        }
        gate.leave();
        drained
    }

    /// Owner, outside the gate: the stay of this one is left, if one is kept.
    pub fn let_go<T: Copy>(&self, gate: &RunQueue<T>, descriptor: &Descriptor<P>) {
        if self.is_of(descriptor) {
            gate.enter();
            if self.is_of(descriptor) {
                self.leave();
            }
            gate.leave();
        }
    }

    /// Inside the gate (e).
    #[inline(always)]
    fn leave(&self) {
        // SAFETY: descriptors stay.
        let Some(kept) = (unsafe { self.descriptor.load(Ordering::Relaxed).as_ref() }) else {
            return;
        };
        let drained = self.drained.load(Ordering::Relaxed);
        if drained != 0 {
            kept.drained(READ, drained);
        }
        if kept.leave_unless_closing() {
            self.forget();
        }
    }

    /// Inside the gate.
    #[inline(always)]
    fn forget(&self) {
        self.descriptor.store(null_mut(), Ordering::Relaxed);
    }

    /// Owner, outside the gate: keeps it (a to c). False: it is the caller's to leave, for another one is kept, or it is being closed.
    #[inline(always)]
    #[must_use]
    pub fn keep<T: Copy>(&self, gate: &RunQueue<T>, descriptor: &Descriptor<P>, drained: u64) -> bool {
        gate.enter();
        let mut keeps = self.is_of(null_mut());
        if keeps {
            self.drained.store(drained, Ordering::Relaxed);
            let at = std::ptr::from_ref(descriptor).cast_mut();
            self.descriptor.store(at, Ordering::Relaxed);
            if !mutated!("kept_without_light_fence") {
                fence_light(); // I2; partner: `before_take_back`
            }
            if descriptor.is_closing() && !mutated!("kept_though_it_closes") {
                self.forget();
                keeps = false;
            }
        }
        gate.leave();
        keeps
    }

    /// The owner ends, and nobody else is there. Gives the descriptor that it was the last user of, if it is being closed.
    pub fn end(&self) -> Option<*const Descriptor<P>> {
        let kept = self.descriptor.swap(null_mut(), Ordering::Relaxed);
        // SAFETY: descriptors stay.
        unsafe { kept.as_ref() }.and_then(|kept| kept.leave().then_some(std::ptr::from_ref(kept)))
    }

    /// Step 2.
    pub fn before_take_back() {
        if !mutated!("taken_back_without_heavy_fence") {
            fence_heavy(); // I2; partner: the light fence in `keep`
        }
    }

    /// Step 3, or, if not `closes`, for one who wants no users there, but has not set CLOSING. True: the caller was the last user, and goes on with the end.
    #[must_use]
    pub fn take_back<T: Copy>(&self, gate: &RunQueue<T>, descriptor: &Descriptor<P>, closes: bool) -> bool {
        let take_back = || {
            if !self.is_of(descriptor) {
                return false;
            }
            if closes {
                self.forget();
                return descriptor.leave();
            }
            self.leave();
            false
        };
        let mut round = 0;
        while self.is_of(descriptor) {
            if mutated!("taken_back_past_the_gate") {
                return take_back();
            }
            if let Some(last) = gate.visit(|_| take_back()) {
                return last;
            }
            backoff(&mut round); // its owner is inside, or another visitor
        }
        false
    }
}
