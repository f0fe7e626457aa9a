//! Who runs goroutines, and who stands, while the world is stopped.
//!
//! Every thread that may run goroutines says in a word of its own, its *stand*, whether it does so now. Between goroutines it goes out
//! to wait (for work, for a wake, for an order), and comes in again; it looks at the world's word each time it came in. A goroutine in foreign
//! code does not look: C runs on. It counts as standing as long as its `foreign_sp` says so, and it looks at `preempt` when it comes back.
//!
//! ```text
//!   a thread                          foreign code returns              the stopper
//!   1. stand = IN                     1. foreign_sp = 0                 a. word = STOPS
//!   -- light fence --                 -- (program order) --             b. preempt = 1 of each goroutine that runs
//!   2. word ? STOPS: stand = OUT,     2. preempt ? waits as the         -- heavy fence --
//!      waits, begins again               thread does                    c. each thread is OUT, or its goroutine is the one of b
//!   3. runs goroutines                                                     and its foreign_sp is not 0 ? all stand. else again from b
//! ```
//!
//! I1. This is Dekker's argument (`run_queue`, I1), twice. If c finds a thread OUT, it comes in after the fence, so 2 sees STOPS. If c finds a
//!     goroutine in foreign code whose `preempt` was raised in b, it comes back after the fence, and sees it. Nothing of it is a fence on
//!     their side, so emitted code needs none.
//! I2. `preempt` is lowered by its own goroutine alone, by an exchange (AcqRel), after which it looks at the word: whoever took away what
//!     b raised has acquired a, and waits.
//! I3. c looks at the goroutine of b, and at no other that may run there by then: that one's `preempt` may not be raised.
//! I4. OUT is stored with Release and read with Acquire: what the thread and its goroutines wrote is visible to the stopper. The start stores RUNS
//!     with Release, and whoever waited acquires it: what the stopper wrote (a moved object's new address) is visible to them. A goroutine
//!     that was in C all the time has met `preempt`, and looks at the word (I2).
//! I5. Whoever goes out looks at the word after it, and if the world is being stopped counts an arrival. So the stopper, which read
//!     the count before c, does not sleep past the last one: either c sees OUT, or the count has changed.
//! I6. A worker that yields by the short way looks at one word of its own, in which the stopper raises a bit after a. Its owner lowers it, having
//!     looked at the world's word, and then looks again: whoever stops finds the bit raised, or somebody who will see STOPS.
//! I7. Others raise `preempt`, too, by plain stores: what they store over may be b's. Whoever takes that away need not have acquired a, but it is as
//!     in I1: if it comes back after the fence it sees STOPS, and if before, c sees that it did; then b raises it again.

use crate::sync::{AtomicU32, Ordering, fence_heavy, fence_light, mutated};

const RUNS: u32 = 0;
/// The value of the world's word that threads sleep on.
pub const STOPS: u32 = 1;

/// See the module's head.
pub struct WorldWord {
    /// RUNS or STOPS. Written by the stopper; read by everybody.
    word: AtomicU32,
    /// Counted up by those who go out while the world is being stopped; read by the stopper, who sleeps on it.
    arrivals: AtomicU32,
}

impl WorldWord {
    /// It runs.
    #[cfg(not(loom))]
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self {
            word: AtomicU32::new(RUNS),
            arrivals: AtomicU32::new(0),
        }
    }
    /// It runs.
    #[cfg(loom)]
    pub fn new() -> Self {
        Self {
            word: AtomicU32::new(RUNS),
            arrivals: AtomicU32::new(0),
        }
    }

    /// Step a. One at a time.
    pub fn stop(&self) {
        self.word.store(STOPS, Ordering::SeqCst);
    }

    /// I4; partner: `stops`.
    pub fn start(&self) {
        self.word.store(RUNS, Ordering::Release);
    }

    /// Whether it is stopped, or about to be.
    #[inline(always)]
    pub fn stops(&self) -> bool {
        self.word.load(Ordering::Acquire) == STOPS
    }

    /// I6: brings the owner of `poll` to where it looks. After `stop`.
    pub fn raise(&self, poll: &AtomicU32, bit: u32) {
        poll.fetch_or(bit, Ordering::SeqCst);
    }

    /// I6: by the owner, which has looked. It does not stop for itself: `is_mine`.
    pub fn lower(&self, poll: &AtomicU32, bit: u32, is_mine: impl FnOnce() -> bool) {
        poll.fetch_and(!bit, Ordering::SeqCst);
        if self.stops() && !is_mine() && !mutated!("world_lowers_unseen") {
            poll.fetch_or(bit, Ordering::SeqCst);
        }
    }

    /// I5: read before [`all_stand`].
    pub fn arrivals(&self) -> u32 {
        self.arrivals.load(Ordering::SeqCst)
    }

    /// I5.
    pub fn arrive(&self) {
        self.arrivals.fetch_add(1, Ordering::SeqCst);
    }

    /// What threads sleep on while it stops.
    #[cfg(not(loom))]
    pub fn futex(&self) -> &AtomicU32 {
        &self.word
    }

    /// What the stopper sleeps on.
    #[cfg(not(loom))]
    pub fn arrivals_futex(&self) -> &AtomicU32 {
        &self.arrivals
    }
}

const OUT: u32 = 0;
const IN: u32 = 1;

/// A thread's word: written by it alone, read by the stopper. All zeros is one that is out.
#[repr(transparent)]
pub struct Stand(AtomicU32);

impl Stand {
    /// Of a thread that runs no goroutine.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self(AtomicU32::new(OUT))
    }

    /// Steps 1 and 2. False: the world stops, and the thread is out (again).
    #[inline]
    #[must_use]
    pub fn come_in(&self, world: &WorldWord) -> bool {
        self.0.store(IN, Ordering::Relaxed);
        if !mutated!("world_comes_in_without_fence") {
            fence_light(); // I1; partner: fence_heavy in `all_stand`
        }
        if !world.stops() || mutated!("world_comes_in_unseen") {
            return true;
        }
        self.0.store(OUT, Ordering::Release); // I4
        false
    }

    /// No goroutine runs here from now on. True: somebody waits for that, `arrive`.
    #[inline]
    #[must_use]
    pub fn go_out(&self, world: &WorldWord) -> bool {
        let order = if mutated!("world_goes_out_relaxed") {
            Ordering::Relaxed
        } else {
            Ordering::Release // I4; partner: `is_out`
        };
        self.0.store(OUT, order);
        fence_light(); // I5; partner: fence_heavy in `all_stand`
        world.stops()
    }

    /// The stopper's own thread is in, whatever the word says.
    #[cfg(not(loom))]
    pub fn stay_in(&self) {
        self.0.store(IN, Ordering::Relaxed);
    }

    /// Whether no goroutine runs there.
    pub fn is_out(&self) -> bool {
        self.0.load(Ordering::Acquire) == OUT
    }
}

/// A thread, as the stopper sees it.
pub trait Runner {
    /// Names the goroutine that runs there.
    type Current: Copy;
    /// Its stand.
    fn stand(&self) -> &Stand;
    /// Raises `preempt` of the goroutine that runs there now; None: none does, the thread is between two.
    fn raise(&self) -> Option<Self::Current>;
    /// Whether that goroutine still runs there, and is in foreign code.
    fn is_foreign(&self, current: Self::Current) -> bool;
}

/// Steps b and c. Whether none of them runs a goroutine, or will, until the start.
#[must_use]
pub fn all_stand<R: Runner>(runners: &[R]) -> bool {
    // Nobody is trusted before the fence: who is OUT now may have come in before it could see STOPS.
    let raised: Vec<_> = runners.iter().map(Runner::raise).collect();
    if !mutated!("world_stopped_without_fence") {
        fence_heavy(); // I1; partners: fence_light in `come_in` and `go_out`, program order in emitted code
    }
    let mut stand = runners.iter().zip(raised).map(|(runner, raised)| {
        runner.stand().is_out()
            || match raised {
                Some(current) => runner.is_foreign(current),
                None => false,
            }
    });
    stand.all(|stands| stands)
}
