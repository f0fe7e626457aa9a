//! The lock around a queue: a spin lock that costs the one worker that uses it no locked instruction.
//!
//! Most objects are used by the goroutines of one worker, which never run at the same time. So an object belongs to the first worker that
//! uses it (it is *biased*), until somebody else comes:
//!
//! ```text
//!   the worker it is biased to               somebody else
//!   busy = 1                                 takes the spin lock
//!   -- light fence --                        bias = ENDING
//!   bias still ours? then it is inside       -- heavy fence --
//!   ... the queue ...                        waits for busy = 0
//!   busy = 0            (Release)            bias = SHARED, for ever: from now on the spin lock is all there is
//! ```
//!
//! I1. This is Dekker's argument (`sched::run_queue`, I1): the worker sees ENDING and keeps out, or the other one sees `busy`.
//! I2. The bias is given with the spin lock held, once, from UNDECIDED; SHARED is for ever. So whoever has seen SHARED may use the spin lock,
//!     and what it guards, without another look.
//! I3. A worker is held by one thread at a time, and nothing parks inside, so no two of its goroutines are inside at once. From one
//!     thread to the next a worker goes with everything that was written.
//! I4. `mode` is the holder's: how it came in.
//! I5. A bias may also be suspended (`hold_up`): ENDING and the fence, as above, but with the spin lock held all the time; then it is as before, or
//!     was not decided on, and only then the spin lock is free. So nobody sees ENDING that has the spin lock.
//!
//! Taking a bias away costs a heavy fence, microseconds. So there is a budget (`may_bias`): a program whose objects go from worker to worker
//! pays for the first few, and then its objects are shared from the start.

use crate::sync::{
    AtomicU32, AtomicU64, Guarded, Ordering, SpinLock, backoff, fence_heavy, fence_light, mutated,
};

const UNDECIDED: u64 = 1;
const ENDING: u64 = 2;
const SHARED: u64 = 3;
/// The token of a thread without a worker: no bias.
const NOBODY: u64 = 0;

/// See the module's head.
pub struct BiasedLock {
    spin: SpinLock,
    /// 1: the worker it is biased to is inside, or looks whether it may. Written by that worker.
    busy: AtomicU32,
    /// SHARED, UNDECIDED, ENDING, or a worker's token.
    bias: AtomicU64,
    /// Whether the holder has the spin lock (I4).
    mode: Guarded<bool>,
}

impl BiasedLock {
    /// Free, and nobody's.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self {
            spin: SpinLock::new(),
            busy: AtomicU32::new(0),
            bias: AtomicU64::new(UNDECIDED),
            mode: Guarded::new(false),
        }
    }

    /// The worker's way in. False: it is not biased to it.
    #[inline(always)]
    #[must_use]
    pub fn enter(&self) -> bool {
        let me = token();
        if self.bias.load(Ordering::Relaxed) != me {
            return false;
        }
        self.busy.store(1, Ordering::Relaxed);
        if !mutated!("bias_without_light_fence") {
            fence_light(); // I1; partner: fence_heavy in take_away
        }
        if self.bias.load(Ordering::Acquire) == me {
            return true;
        }
        self.leave();
        false
    }

    /// And out. Release: partner of the look at `busy` in `take_away`.
    #[inline(always)]
    pub fn leave(&self) {
        self.busy.store(0, Ordering::Release);
    }

    /// Whoever sees true has nothing to do with a bias (I2).
    #[inline(always)]
    pub fn is_shared(&self) -> bool {
        self.bias.load(Ordering::Acquire) == SHARED
    }

    /// Takes it, one way or the other.
    #[inline(always)]
    pub fn lock(&self) {
        let spins = !self.enter();
        if spins {
            self.lock_shared();
        }
        // SAFETY: I4: we hold it.
        unsafe { self.mode.with(|mode| *mode = spins) };
    }

    #[inline(never)]
    fn lock_shared(&self) {
        self.spin.lock();
        match self.bias.load(Ordering::Relaxed) {
            SHARED => {}
            UNDECIDED => {
                let me = token();
                let bias = if me != NOBODY && may_bias() { me } else { SHARED };
                self.bias.store(bias, Ordering::Release);
            }
            _ => self.take_away(),
        }
    }

    #[cold]
    fn take_away(&self) {
        let first = if mutated!("bias_shared_before_it_ended") {
            SHARED
        } else {
            ENDING
        };
        self.bias.store(first, Ordering::SeqCst);
        if !mutated!("bias_without_heavy_fence") {
            fence_heavy(); // I1; partner: fence_light in enter
        }
        let mut round = 0;
        while self.busy.load(Ordering::Acquire) != 0 {
            backoff(&mut round);
        }
        self.bias.store(SHARED, Ordering::Release); // partner: is_shared
        was_taken_away();
    }

    /// The holder's.
    #[inline(always)]
    pub fn unlock(&self) {
        // SAFETY: I4: we hold it.
        if unsafe { self.mode.with(|mode| *mode) } {
            self.spin.unlock();
        } else {
            self.leave();
        }
    }

    /// For one who looks at many: takes the locks of all, and keeps their workers out, with one heavy fence. Gives each with whose it was, for
    /// [`BiasedLock::wait_until_out`], and [`BiasedLock::let_go_on`] (I5).
    pub fn hold_up<T>(all: impl Iterator<Item = T>, lock_of: impl Fn(&T) -> &Self) -> Vec<(T, u64)> {
        let stop = |one: T| {
            let bias = lock_of(&one).stop();
            (one, bias)
        };
        let held = all.map(stop).collect();
        if !mutated!("bias_holds_up_without_heavy_fence") {
            fence_heavy(); // I1; partner: fence_light in enter
        }
        held
    }

    fn stop(&self) -> u64 {
        self.spin.lock();
        let bias = self.bias.load(Ordering::Relaxed);
        if bias != SHARED && bias != UNDECIDED && !mutated!("bias_holds_up_nobody") {
            self.bias.store(ENDING, Ordering::SeqCst);
        }
        bias
    }

    /// It is held.
    pub fn wait_until_out(&self) {
        let mut round = 0;
        while self.busy.load(Ordering::Acquire) != 0 && !mutated!("bias_holds_up_without_waiting") {
            backoff(&mut round);
        }
    }

    /// It is not any more, and biased as before. (A worker that met ENDING waits for the spin lock, and takes its own bias away.)
    pub fn let_go_on(&self, bias: u64) {
        if mutated!("bias_given_back_after_the_lock") {
            self.spin.unlock();
            return self.bias.store(bias, Ordering::Release);
        }
        let given_back = if mutated!("bias_given_back_relaxed") {
            Ordering::Relaxed
        } else {
            Ordering::Release // partner: the second look of enter
        };
        self.bias.store(bias, given_back);
        self.spin.unlock();
    }

    /// It is biased to the caller's worker afterwards, or shared: for words that are changed without the lock.
    #[cold]
    pub fn decide(&self) {
        self.lock();
        self.unlock();
    }
}

#[cfg(not(loom))]
mod program {
    use super::{NOBODY, Ordering};
    use crate::context::tls;
    use std::sync::atomic::AtomicU64 as Counter;

    /// Biases that may be taken away for nothing in return; then one per so many objects that keep theirs.
    const FREE: u64 = 64;
    const PER: u64 = 64;
    static GIVEN: Counter = Counter::new(0);
    static TAKEN: Counter = Counter::new(0);

    /// The worker that the thread holds. (An address is not used for two workers at a time, and what an old one guarded was done
    /// before it ended.)
    #[inline(always)]
    pub fn token() -> u64 {
        tls::worker() as u64
    }

    pub fn may_bias() -> bool {
        let given = GIVEN.fetch_add(1, Ordering::Relaxed);
        TAKEN.load(Ordering::Relaxed) <= FREE + given / PER
    }

    pub fn was_taken_away() {
        TAKEN.fetch_add(1, Ordering::Relaxed);
    }

    const _: () = assert!(NOBODY == 0); // null
}
#[cfg(not(loom))]
use program::{may_bias, token, was_taken_away};

/// In a model each thread is a worker if it says so.
#[cfg(loom)]
pub mod model {
    loom::thread_local! {
        static TOKEN: std::cell::Cell<u64> = std::cell::Cell::new(0);
    }
    /// The calling thread's.
    pub fn token() -> u64 {
        TOKEN.with(std::cell::Cell::get)
    }
    /// It is this worker's from now on.
    pub fn be_worker(token: u64) {
        TOKEN.with(|t| t.set(token));
    }
    pub(super) fn may_bias() -> bool {
        true
    }
    pub(super) fn was_taken_away() {}
}
#[cfg(loom)]
use model::{may_bias, token, was_taken_away};
