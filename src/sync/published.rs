//! What readers find without a lock, and a writer replaces and frees: the readers are counted, and it is the writer who waits.
//!
//! ```text
//!   a reader, in a signal handler perhaps             the writer, one at a time
//!   P1  readers += 1                (Acquire)         W1  at = the new one         (Release)
//!   P2  loads `at`                  (Acquire)         W2  readers += 0, again until that gives 0   (AcqRel)
//!   P3  ... reads ...                                 W3  frees the old one
//!   P4  readers -= 1                (Release)
//! ```
//!
//! I1. W2 changes nothing, but it is a change to the processor and to the language: each P1 comes before or after it, in the one order that
//!     changes of a word have. After it: P1 acquires what W2 has released, so P2 loads what W1 stored, or what came later. Before it: so did
//!     its P4, for there were none; W2 acquires what P4 has released, so its P3 is over. (A load in place of W2 takes SeqCst in all four.)
//! I2. A reader takes no lock and waits for nobody, so a signal handler may be one: also one that interrupts a reader, which the count has
//!     twice then, or the writer, in the middle of its wait or before W1.
//! I3. The writer waits until it has seen nobody: readers are short.
//!
//! What is found elsewhere, without `at`, may be held the same way: who frees it takes it out of where it is found, in place of W1
//! ([`Published::hold`], [`Published::withdraw`]). Where that is has its own order.

use super::{AtomicPtr, AtomicU32, Ordering, backoff, mutated};
use std::ptr::null_mut;

/// See the module's head.
pub struct Published<T> {
    /// Readers on their way. Written by each.
    readers: AtomicU32,
    /// What they find; null: nothing. Written by the writer.
    at: AtomicPtr<T>,
}

impl<T> Published<T> {
    /// Nothing.
    #[cfg(not(loom))]
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self {
            readers: AtomicU32::new(0),
            at: AtomicPtr::new(null_mut()),
        }
    }
    /// Nothing.
    #[cfg(loom)]
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self {
            readers: AtomicU32::new(0),
            at: AtomicPtr::new(null_mut()),
        }
    }

    // ---- readers ----

    /// Calls `f`, which must be short: what it finds stays (I1). Async-signal-safe if `f` is.
    #[inline]
    pub fn hold<R>(&self, f: impl FnOnce() -> R) -> R {
        let counts = if mutated!("published_counts_relaxed") {
            Ordering::Relaxed
        } else {
            Ordering::Acquire // partner: W2 in wait
        };
        let is_over = if mutated!("published_over_relaxed") {
            Ordering::Relaxed
        } else {
            Ordering::Release // partner: W2 in wait
        };
        self.readers.fetch_add(1, counts);
        let result = f();
        self.readers.fetch_sub(1, is_over);
        result
    }

    /// Calls `f` with what there is. As [`Published::hold`].
    #[inline]
    pub fn with<R>(&self, f: impl FnOnce(Option<&T>) -> R) -> R {
        let load = || self.at.load(Ordering::Acquire); // partner: W1 in replace
        if mutated!("published_loads_before_it_counts") {
            let early = load();
            // SAFETY: it is not safe.
            return self.hold(|| f(unsafe { early.as_ref() }));
        }
        // SAFETY: I1.
        self.hold(|| f(unsafe { load().as_ref() }))
    }

    // ---- the writer ----

    /// What there is.
    ///
    /// # Safety
    /// There is no other writer as long as it is used.
    pub unsafe fn now(&self) -> Option<&T> {
        // SAFETY: the caller's promise: nobody frees it.
        unsafe { self.at.load(Ordering::Relaxed).as_ref() }
    }

    /// Readers find `new` from here on. Gives what they found, which is the caller's: nobody reads it any more, nor what is reached by it
    /// alone.
    ///
    /// # Safety
    /// There is no other writer; `new` is null, or stays until it is given back here.
    pub unsafe fn replace(&self, new: *mut T) -> *mut T {
        if mutated!("published_waits_before_it_replaces") {
            self.wait();
            return self.at.swap(new, Ordering::AcqRel);
        }
        let old = self.at.swap(new, Ordering::AcqRel); // partner: P2 in with
        self.wait();
        old
    }

    /// W2: until nobody reads what could be found before the call, and no longer is.
    fn wait(&self) {
        let mut round = 0;
        if mutated!("published_only_looks") {
            while self.readers.load(Ordering::SeqCst) != 0 {
                backoff(&mut round);
            }
            return;
        }
        while self.readers.fetch_add(0, Ordering::AcqRel) != 0 {
            backoff(&mut round);
        }
    }

    /// For what is found elsewhere: `take_out` sees to it that it no longer is, and when this returns nobody reads it any more.
    pub fn withdraw(&self, take_out: impl FnOnce()) {
        if mutated!("published_withdraws_after_the_wait") {
            self.wait();
            return take_out();
        }
        take_out();
        self.wait();
    }

    /// In a child of fork: who read in the parent is not here.
    pub fn forget_readers(&self) {
        self.readers.store(0, Ordering::Relaxed);
    }
}
