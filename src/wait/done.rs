//! One thing that somebody else does: a system call on another thread, or in the kernel. One waits for it, who has begun it.
//!
//! ```text
//!   who waits                                     who does it
//!   1. hands it over                              a. does it
//!   2. parks; under the lock: done? else leaves   b. under the lock: writes what came of it, claims who waits
//!      its name                                   c. wakes whom it claimed
//!   3. woken, or told to give up: under the lock
//!      takes its name back, and looks
//! ```
//!
//! I1. It is done once. Whoever sees that under the lock (3) knows that the other side touches this place no more: b is its last
//!     touch, and c uses the claimed name only. So it may lie on the stack of who waits, who leaves after he saw it done.
//! I2. Who waits is woken if he left his name before b, and sees it done in 2 if not: one of the two.
//! I3. A claim that loses (a cancel was faster) wakes nobody: who waits goes on by himself, and comes to 3.

use super::queue::{Claimed, Sleeper};
use crate::goroutine::park::Ready;
use crate::sync::{Guarded, SpinLock, mutated};

struct State<P, T> {
    result: Option<T>,
    waits: Option<P>,
}

/// See the module's head.
pub struct Done<P, T> {
    lock: SpinLock,
    state: Guarded<State<P, T>>,
}

// SAFETY: `state` is touched under the lock only; whoever waits is woken on his behalf from any thread.
unsafe impl<P, T: Send> Sync for Done<P, T> {}

impl<P: Sleeper, T: Copy> Done<P, T> {
    /// Not done yet.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self {
            lock: SpinLock::new(),
            state: Guarded::new(State {
                result: None,
                waits: None,
            }),
        }
    }

    fn locked<R>(&self, f: impl FnOnce(&mut State<P, T>) -> R) -> R {
        self.lock.lock();
        // SAFETY: we hold the lock.
        let result = unsafe { self.state.with(f) };
        self.lock.unlock();
        result
    }

    /// Step 2. False: no need to wait.
    #[must_use]
    pub fn join(&self, party: P) -> bool {
        self.locked(|state| {
            if state.result.is_some() && !mutated!("done_joined_without_a_look") {
                return false;
            }
            state.waits = Some(party);
            true
        })
    }

    /// Step 3. None: not done yet.
    #[must_use]
    pub fn leave(&self) -> Option<T> {
        self.locked(|state| {
            state.waits = None;
            state.result
        })
    }

    /// Step b, once. Some: to be woken, by that name alone.
    pub fn finish(&self, result: T) -> Option<Claimed<P>> {
        if mutated!("done_is_said_too_late") {
            let claimed = self.locked(Self::claim);
            self.locked(|state| state.result = Some(result));
            return claimed;
        }
        self.locked(|state| {
            state.result = Some(result);
            Self::claim(state)
        })
    }

    fn claim(state: &mut State<P, T>) -> Option<Claimed<P>> {
        let party = state.waits.take()?;
        let claim = party.claim();
        let early = claim == Ready::Early;
        (claim != Ready::Lost).then_some(Claimed { party, early })
    }
}
