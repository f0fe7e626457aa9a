//! A worker keeps the stay of the last call on a descriptor: mostly the next call on it is the same goroutine's, which goes on with that stay. So a request
//! that is read and answered enters and leaves its descriptor once, and nothing right after a system call waits for what the kernel wrote.
//!
//! ```text
//!   the worker                                   who closes the descriptor, and found users in it
//!   a call ends:                                 1. CLOSING is set (`netpoll::descriptor`, I3)
//!     a. inside the gate: keeps the stay         2. -- heavy fence --
//!     b. -- light fence --                       3. each worker that keeps one of it: takes the gate, and takes it
//!     c. CLOSING? then it leaves after all       4. leaves for that worker; the last one goes on with the end
//!   a call begins:
//!     inside the gate: takes what it kept; another descriptor's it leaves first
//! ```
//!
//! I1. A kept stay is one user of its descriptor, so the generation goes on. It is one thread's to leave: who took it, inside the gate.
//! I2. No close waits for a worker that keeps a stay and computes. This is Dekker's argument (`run_queue`, I1): the heavy fence falls somewhere in the
//!     worker's program order. If before c, that sees CLOSING; if after it, 3 sees what a kept. In between a call is under way, which comes to a.
//! I3. A worker that ends keeps none.

use super::run_queue::RunQueue;
use crate::netpoll::descriptor::Descriptor;
use crate::sync::{AtomicPtr, AtomicU32, Ordering, backoff, fence_heavy, fence_light, mutated};
use crate::wait::queue::Sleeper;
use std::ptr::null_mut;

/// See the module's head. Written inside the gate; `fd` and `drained` by the owner alone.
pub struct Kept<P: Sleeper> {
    descriptor: AtomicPtr<Descriptor<P>>,
    fd: AtomicU32,
    drained: AtomicU32,
}

/// What was kept.
pub struct Stayed<P: Sleeper> {
    /// Entered, and to be left.
    pub descriptor: *const Descriptor<P>,
    /// Its number.
    pub fd: i32,
    /// The readiness from before a read that took all there was, which the descriptor was not told yet; 0: none.
    pub drained: u32,
}

impl<P: Sleeper> Kept<P> {
    /// Nothing.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self {
            descriptor: AtomicPtr::new(null_mut()),
            fd: AtomicU32::new(0),
            drained: AtomicU32::new(0),
        }
    }

    /// Owner: whether it is a stay of this one. (It may be taken at any time.)
    #[inline(always)]
    pub fn is_of(&self, descriptor: *const Descriptor<P>) -> bool {
        std::ptr::eq(self.descriptor.load(Ordering::Relaxed), descriptor)
    }

    /// Owner: `drained` of a stay of this one; 0, too: it keeps none.
    #[inline(always)]
    pub fn drained(&self, descriptor: *const Descriptor<P>) -> u32 {
        if self.is_of(descriptor) {
            self.drained.load(Ordering::Relaxed)
        } else {
            0
        }
    }

    /// Owner: the descriptor is told of `drained` now.
    #[inline(always)]
    pub fn is_told(&self) {
        self.drained.store(0, Ordering::Relaxed);
    }

    /// Owner, outside the gate: what it keeps is the caller's. None: it keeps none.
    #[inline(always)]
    pub fn take<T: Copy>(&self, gate: &RunQueue<T>) -> Option<Stayed<P>> {
        if self.is_of(null_mut()) {
            return None;
        }
        gate.enter();
        let taken = self.taken();
        gate.leave();
        taken
    }

    /// Inside the gate.
    #[inline(always)]
    fn taken(&self) -> Option<Stayed<P>> {
        let descriptor = self.descriptor.load(Ordering::Relaxed);
        self.descriptor.store(null_mut(), Ordering::Relaxed);
        (!descriptor.is_null()).then(|| Stayed {
            descriptor,
            fd: self.fd.load(Ordering::Relaxed) as i32,
            drained: self.drained.load(Ordering::Relaxed),
        })
    }

    /// Owner, outside the gate: keeps it. False: it is the caller's to leave, for another one is kept, or it is being closed.
    #[inline(always)]
    #[must_use]
    pub fn keep<T: Copy>(
        &self,
        gate: &RunQueue<T>,
        descriptor: &Descriptor<P>,
        fd: i32,
        drained: u32,
    ) -> bool {
        gate.enter();
        let mut keeps = self.is_of(null_mut());
        if keeps {
            self.fd.store(fd as u32, Ordering::Relaxed);
            self.drained.store(drained, Ordering::Relaxed);
            let at = std::ptr::from_ref(descriptor).cast_mut();
            self.descriptor.store(at, Ordering::Relaxed);
            if !mutated!("kept_without_light_fence") {
                fence_light(); // I2; partner: `before_take_from`
            }
            if descriptor.is_closing() && !mutated!("kept_though_it_closes") {
                self.descriptor.store(null_mut(), Ordering::Relaxed);
                keeps = false;
            }
        }
        gate.leave();
        keeps
    }

    /// Step 2.
    pub fn before_take_from() {
        if !mutated!("taken_back_without_heavy_fence") {
            fence_heavy(); // I2; partner: the light fence in `keep`
        }
    }

    /// Step 3: takes it if it is a stay of this one.
    pub fn take_from<T: Copy>(
        &self,
        gate: &RunQueue<T>,
        descriptor: *const Descriptor<P>,
    ) -> Option<Stayed<P>> {
        let mut round = 0;
        while self.is_of(descriptor) {
            if mutated!("taken_back_past_the_gate") {
                return self.taken();
            }
            if let Some(taken) = gate.visit(|_| self.is_of(descriptor).then(|| self.taken()).flatten()) {
                return taken;
            }
            backoff(&mut round); // its owner is inside, or another visitor
        }
        None
    }
}
