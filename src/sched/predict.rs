//! Which functions' goroutines bind, so that a thread is there before the next of them does.
//!
//! A goroutine that binds leaves its worker to a spare thread. If there is none, one has to be made, on its way to its first
//! call. So where a goroutine of a function binds whose goroutines nearly all do, threads are made ahead, by the monitor:
//! one more than are needed now, and one for each goroutine like it that is about to begin on the same worker.
//!
//! What is known about a function is learned where goroutines are slow anyway, so that one that never binds pays nothing,
//! neither at its spawn nor at its end:
//!
//! | what happens | what it tells | what it costs |
//! |---|---|---|
//! | a goroutine binds | goroutines of its function do | a lookup, at a bind |
//! | every 64th turn of a worker (`turn`) | one that has not begun is a sample: SAMPLED, and EXTRAS | a look, every 64 turns |
//! | a sample binds | that they do | as any bind |
//! | a sample ends, and never did | that they do not | a lookup, where EXTRAS sends it anyway |
//!
//! Q1. The first few binds of a function count though they are no samples: until one is seen to end without a bind, who
//!     binds is believed to do so always.
//! Q2. All of it is a guess. A wrong one costs a thread that nobody takes, until it has been idle for `ffi_threads_idle_ns`; the
//!     accounts (`ledger`) do not depend on it.

use super::runtime::Runtime;
use super::worker::{TURNS, Worker};
use crate::context::Entry;
use crate::goroutine::{EXTRAS, Goroutine, Runnable, SAMPLED};
use crate::sys::mutex::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// Functions that share a place in the table: as many as fit a cache line.
const WAYS: usize = 4;
const LINES: usize = 16;
/// Binds that count without being samples (Q1).
const TAKEN_ON_TRUST: u16 = 4;
/// A function that bound so often is believed.
const ENOUGH: u16 = 2;
/// Nearly always: at least so many binds for each end without one.
const NEARLY_ALWAYS: u16 = 8;
/// Counts are halved at this sum: what a function did long ago counts for less.
const FORGETS_AT: u16 = 64;
/// How many that are about to begin are looked at.
pub const LOOK_AHEAD: u32 = 8;

#[derive(Clone, Copy, Default)]
struct Known {
    /// 0: nothing.
    function: u64,
    bound: u16,
    unbound: u16,
}

impl Known {
    fn binds(&self) -> bool {
        self.bound >= ENOUGH && self.bound >= self.unbound.saturating_mul(NEARLY_ALWAYS)
    }

    fn forget_some(&mut self) {
        if self.bound + self.unbound >= FORGETS_AT {
            self.bound /= 2;
            self.unbound /= 2;
        }
    }
}

/// What is known about functions: a small table that forgets.
#[derive(Default)]
struct Table([[Known; WAYS]; LINES]);

impl Table {
    fn line(&mut self, function: u64) -> &mut [Known; WAYS] {
        // Fibonacci hashing: the upper bits of the product.
        &mut self.0[(function.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 60) as usize % LINES]
    }

    fn find(&mut self, function: u64) -> Option<&mut Known> {
        self.line(function).iter_mut().find(|k| k.function == function)
    }

    /// A goroutine of `function` bound. Whether they nearly always do.
    fn bound(&mut self, function: u64, sampled: bool) -> bool {
        if let Some(known) = self.find(function) {
            if sampled || known.bound < TAKEN_ON_TRUST {
                known.bound += 1;
                known.forget_some();
            }
            return known.binds();
        }
        let least = (self.line(function).iter_mut())
            .min_by_key(|k| k.bound)
            .expect("a line has places");
        if least.bound > 1 {
            least.bound -= 1; // who comes often enough gets the place of who does not
            return false;
        }
        *least = Known {
            function,
            bound: 1,
            unbound: 0,
        };
        false
    }

    /// A sample of `function` ended, and never bound.
    fn unbound(&mut self, function: u64) {
        if let Some(known) = self.find(function) {
            known.unbound += 1;
            known.forget_some();
        }
    }

    fn binds(&mut self, function: u64) -> bool {
        self.find(function).is_some_and(|known| known.binds())
    }
}

/// See the module's head.
pub struct Predictor {
    table: Mutex<Table>,
    is_on: bool,
    /// Something was learned: samples are worth taking.
    has_learned: AtomicBool,
}

impl Predictor {
    /// Knows nothing. Off: learns nothing either.
    pub fn new(is_on: bool) -> Self {
        Self {
            table: Mutex::default(),
            is_on,
            has_learned: AtomicBool::new(false),
        }
    }
}

/// Whether its function is the program's, and which.
unsafe fn function_of(g: *const Goroutine) -> Option<u64> {
    // SAFETY: the caller owns g. With EXTRAS line 4 of the control block holds something.
    let (function, is_ours) = unsafe {
        (
            (*g).entry_fn,
            (*g).spawn_flags & EXTRAS != 0 && (*g).end.is_some(), // a timer's, a `then`'s: the same for all of them
        )
    };
    (function != 0 && !is_ours).then_some(function)
}

/// `g` binds, and will leave `worker`. How many threads there should be beyond those that are needed then.
///
/// # Safety
/// The calling thread holds `worker`; `g` was just left, and is the caller's.
pub unsafe fn binds(runtime: &Runtime, worker: &Worker, g: *mut Goroutine) -> u32 {
    let predictor = &runtime.predictor;
    // SAFETY: the caller's promise.
    let function = unsafe {
        let sampled = (*g).spawn_flags & SAMPLED != 0;
        (*g).spawn_flags &= !SAMPLED;
        match function_of(g) {
            Some(function) if predictor.is_on => {
                if !predictor.has_learned.load(Ordering::Relaxed) {
                    predictor.has_learned.store(true, Ordering::Relaxed);
                }
                predictor
                    .table
                    .lock()
                    .bound(function, sampled)
                    .then_some(function)
            }
            _ => None,
        }
    };
    if function.is_none() {
        return 0;
    }
    let mut next = [0; LOOK_AHEAD as usize];
    let mut seen = 0;
    worker.queue.peek(0..LOOK_AHEAD, |queued| {
        // SAFETY: inside the gate nobody takes what is queued, so nobody runs it.
        if let Some(function) = unsafe { about_to_begin(queued) } {
            next[seen] = function;
            seen += 1;
        }
    });
    if seen == 0 {
        return 1;
    }
    let mut table = predictor.table.lock();
    1 + next[..seen].iter().filter(|&&f| table.binds(f)).count() as u32
}

/// The function of a goroutine that has not begun.
unsafe fn about_to_begin(g: Runnable) -> Option<u64> {
    // SAFETY: the caller's promise: nobody runs it. At its `rsp` lies where it goes on.
    unsafe {
        let at = *((*g.0).rsp as *const u64);
        let begins = at == Entry::Plain.address() || at == Entry::Full.address();
        begins.then(|| function_of(g.0)).flatten()
    }
}

/// A 64th turn: one that is queued is a sample, if it has not begun. Which one changes from time to time: what repeats itself in
/// step with the turns would otherwise always be met at the same place.
///
/// # Safety
/// The calling thread holds `worker`.
#[cold]
pub unsafe fn sample(worker: &Worker, turn: u32) {
    let length = worker.queue.len();
    if length == 0 || !worker.runtime().predictor.has_learned.load(Ordering::Relaxed) {
        return;
    }
    let place = (turn / TURNS).wrapping_mul(0x9E37_79B9) >> 28;
    let place = place.min(length - 1);
    worker.queue.peek(place..place + 1, |g| {
        // SAFETY: inside the gate nobody takes what is queued. Line 4 of a goroutine without EXTRAS is empty, and so is an
        // end with nothing to do.
        unsafe {
            if about_to_begin(g).is_some() {
                (*g.0).spawn_flags |= EXTRAS | SAMPLED;
            }
        }
    });
}

/// A goroutine with EXTRAS is over, and was not bound.
///
/// # Safety
/// `g` is over and the caller's.
#[cold]
pub unsafe fn ended(worker: &Worker, g: *const Goroutine) {
    // SAFETY: the caller's promise.
    unsafe {
        if (*g).spawn_flags & SAMPLED != 0 {
            worker.runtime().predictor.table.lock().unbound((*g).entry_fn);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_believed_after_its_second_bind() {
        let mut table = Table::default();
        assert!(!table.binds(7));
        table.bound(7, false);
        assert!(!table.binds(7));
        table.bound(7, false);
        assert!(table.binds(7));
        assert!(!table.binds(8));
    }

    #[test]
    fn a_sample_that_never_bound_ends_the_belief_until_many_did() {
        let mut table = Table::default();
        for _ in 0..1000 {
            table.bound(7, false); // Q1: only the first few count
        }
        table.unbound(7);
        assert!(!table.binds(7));
        for _ in 0..1000 {
            table.bound(7, false);
        }
        assert!(!table.binds(7));
        for _ in 0..4 {
            table.bound(7, true);
        }
        assert!(table.binds(7));
    }

    #[test]
    fn what_was_long_ago_counts_for_less() {
        let mut table = Table::default();
        table.bound(7, true);
        for _ in 0..10_000 {
            table.unbound(7);
        }
        let mut n = 0;
        while !table.binds(7) {
            table.bound(7, true);
            n += 1;
        }
        assert!(n < 1000, "{n}");
        for _ in 0..10_000 {
            table.bound(7, true);
        }
        let known = *table.find(7).expect("it is there");
        assert!(known.bound + known.unbound <= FORGETS_AT);
    }

    #[test]
    fn one_in_ten_is_not_nearly_always() {
        let mut table = Table::default();
        for i in 0..10_000 {
            if i % 10 == 0 {
                table.bound(7, true);
            } else {
                table.unbound(7);
            }
        }
        assert!(!table.binds(7));
    }

    #[test]
    fn functions_that_bind_often_get_the_place_of_those_that_do_not() {
        let mut table = Table::default();
        for function in 1..=10_000 {
            table.bound(function, false);
            table.bound(function, false);
        }
        for _ in 0..100 {
            table.bound(77, false);
        }
        assert!(table.binds(77));
        let known = table.0.iter().flatten().filter(|k| k.function != 0).count();
        assert!(known > LINES * WAYS / 2, "{known}");
    }
}
