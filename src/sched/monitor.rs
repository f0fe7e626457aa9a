//! The monitor thread: it watches the workers while any of them runs, and sleeps when none does.
//!
//! Everything here is a backstop with a bound of one tick (a doze, just after all were idle). What must be prompt is prompt without it.
//!
//! A tick is longer while all is calm (`Pace`): a server whose workers wait for the network over and over does for itself what the monitor
//! would do, and each tick costs it two switches of threads. The bound of what begins then is the longer tick.
//!
//! - a due timer whose worker does not look (its goroutine computes): raise POLL_TIMER, and wake a sleeper to take it;
//! - long queues and short ones, while nobody sleeps: level them (`level`);
//! - work that waits while somebody sleeps (a thief found it not worth taking a moment ago): wake a sleeper;
//! - a worker in a blocking call that lasts: take it away (`blocking`);
//! - a goroutine that has run for its slice while others wait: ask it to give way (`preempt`);
//! - threads that will be needed: make them (`predict`), at once when asked;
//! - goroutines that wait for a thread, and threads that could not be made: see to it, and report;
//! - threads that wait for quiescence;
//! - when parks and turns began (`since`), and dumps that a signal asked for: see to it;
//! - waits for descriptors that last (`netpoll::lasting`);
//! - stacks that nobody wanted for a second: give their memory back.

use super::blocking;
use super::level::Lengths;
use super::preempt;
use super::run_queue::POLL_TIMER;
use super::runtime::Runtime;
use crate::netpoll::lasting::Lasting;
use crate::stack;
use crate::sync::fence_seq_cst;
use crate::sys::futex;
use crate::sys::time::now_ns;
use std::sync::atomic::{AtomicU32, Ordering};

/// While workers run.
const TICK_NS: u64 = 500_000;
/// While all is calm ...
const CALM_NS: u64 = 2_000_000;
/// ... for so many ticks.
const CALM_AFTER: u32 = 16;
/// For so many more ...
const CALMER_AFTER: u32 = CALM_AFTER + 64;
/// ... and then.
const CALMER_NS: u64 = 5_000_000;
/// A worker that ran dry so recently does not compute,
const DRY_NS: u64 = 10_000_000;
/// nor does one with so many turns since the last tick.
const MANY_TURNS: u32 = 16;
/// While no worker computes, one of them comes to look at the poller, or the monitor does after so long.
const POLLED_NS: u64 = 5_000_000;
/// After they all slept for a tick: a worker that wakes for a moment need not wake us, too.
const DOZE_NS: u64 = 1_000_000;
/// While goroutines wait for threads, or a thread is missing, at least so often.
const TROUBLED_NS: u64 = 1_000_000_000;
/// So many dozes, then it sleeps until it is woken.
const DOZES: u32 = 100;
const TRIM_EVERY_NS: u64 = 1_000_000_000;
const TRIM_BATCH: usize = 16_384;
/// Between two looks at waits that last.
const LASTING_EVERY_NS: u64 = 1_000_000_000;

const AWAKE: u32 = 0;
const ASLEEP: u32 = 1;
const STOP: u32 = 2;

/// Its state.
pub struct Monitor(AtomicU32);

impl Monitor {
    /// Awake.
    pub fn new() -> Self {
        Self(AtomicU32::new(AWAKE))
    }
    /// Ends the thread.
    pub fn stop(&self) {
        self.0.store(STOP, Ordering::SeqCst);
        futex::wake(&self.0, 1);
    }
}

impl Runtime {
    /// The monitor is to look at the pool.
    pub fn call_monitor(&self) {
        self.wake_monitor();
    }

    /// The monitor is to make threads (`predict`): at once, not at its next tick. It does not sleep, or is not to: who asks
    /// asked for them while holding a worker.
    pub fn call_for_threads(&self) {
        futex::wake(&self.monitor.0, 1);
    }

    /// A worker starts to run.
    #[inline]
    pub fn wake_monitor(&self) {
        if self.monitor.0.load(Ordering::SeqCst) == ASLEEP
            && self
                .monitor
                .0
                .compare_exchange(ASLEEP, AWAKE, Ordering::SeqCst, Ordering::SeqCst)
                .is_ok()
        {
            futex::wake(&self.monitor.0, 1);
        }
    }

    /// Whether all workers sleep.
    pub fn all_idle(&self) -> bool {
        self.workers.iter().all(|w| self.idle.contains(w.index))
    }

    /// Some: they all slept at one moment, and also at every moment between two looks that gave the same.
    pub fn all_idle_since(&self) -> Option<u64> {
        self.idle.all_since(self.workers.len())
    }
}

/// The thread's loop.
pub fn run(runtime: &'static Runtime) {
    let word = &runtime.monitor.0;
    let mut dozes = 0;
    let mut next_trim = now_ns() + TRIM_EVERY_NS;
    let mut trimming = true;
    let mut lasting = Lasting::default();
    let mut next_lasting = now_ns() + LASTING_EVERY_NS;
    let mut some_last = true;
    let mut calls = vec![blocking::Seen::default(); runtime.workers.len()];
    let mut heads = vec![0u32; runtime.workers.len()];
    let mut slices = vec![preempt::Seen::default(); runtime.workers.len()];
    let mut lengths = Lengths::default();
    let mut pace = Pace::new(runtime);
    while word.load(Ordering::Acquire) != STOP {
        let idle = runtime.all_idle();
        let now = now_ns();
        if runtime.pool.troubled.load(Ordering::SeqCst) {
            runtime.pool.look_after(runtime, now);
        }
        if now >= next_trim {
            next_trim = now + TRIM_EVERY_NS;
            let changed = stack::trim(TRIM_BATCH) + stack::segment::trim(TRIM_BATCH);
            trimming = changed != 0 || !idle;
        }
        runtime.note_times(now);
        pace.look(runtime, now);
        let next_look = crate::inspect::deadlock::serve(runtime, now);
        crate::inspect::quit::serve();
        if now >= next_lasting {
            next_lasting = now + LASTING_EVERY_NS;
            some_last = runtime.look_at_lasting_waits(&mut lasting);
        }
        runtime.poll_from_monitor(pace.polls_may_wait(now));
        if !idle {
            dozes = 0;
            some_last = true; // who runs may begin to wait
            let woke = watch(runtime, now, &mut heads);
            for (worker, call) in runtime.workers.iter().zip(&mut calls) {
                blocking::look(runtime, worker, now, call);
            }
            lengths.look(runtime, now);
            for (worker, slice) in runtime.workers.iter().zip(&mut slices) {
                preempt::look(runtime, worker, now, slice);
            }
            wait(runtime, AWAKE, now + pace.tick_ns(runtime, now, woke));
        } else if dozes < DOZES || trimming {
            dozes += 1;
            wait(runtime, AWAKE, now + DOZE_NS);
        } else {
            // Asleep first, then one more look: a worker that wakes looks at the word after it left the idle set.
            if word
                .compare_exchange(AWAKE, ASLEEP, Ordering::SeqCst, Ordering::SeqCst)
                .is_err()
            {
                continue;
            }
            fence_seq_cst();
            runtime.note_times(now);
            runtime.poll_from_monitor(false); // the last worker may have found the poller held, by us
            let troubled = runtime.pool.troubled.load(Ordering::SeqCst);
            let some_last = some_last && runtime.net.poller().is_some();
            let slept = runtime.all_idle();
            if slept {
                let until = if troubled { now + TROUBLED_NS } else { u64::MAX };
                wait(
                    runtime,
                    ASLEEP,
                    (if some_last { next_lasting.min(until) } else { until }).min(next_look),
                );
            }
            let by_itself = word
                .compare_exchange(ASLEEP, AWAKE, Ordering::SeqCst, Ordering::SeqCst)
                .is_ok();
            if !(slept && by_itself && some_last) {
                dozes = 0;
                trimming = true;
            }
        }
    }
}

/// Until `deadline`, or until the state is not `state` any more; meanwhile makes the threads that it is asked for. (Nothing
/// else: who looks twice at a call wants a tick between.)
fn wait(runtime: &'static Runtime, state: u32, deadline: u64) {
    loop {
        if runtime.pool.wants_ahead() {
            runtime.pool.make_ahead(runtime);
        }
        futex::wait(&runtime.monitor.0, state, deadline);
        if !runtime.pool.wants_ahead() || now_ns() >= deadline {
            return;
        }
    }
}

/// How long the next tick is.
///
/// All is calm if each worker slept, ran dry or took many turns lately, so that none computes; if none made a blocking call since the last tick (one may
/// last, and is to be noticed); if no timer falls due before the next tick would end (a worker may compute then); and if nobody had to be woken.
///
/// Many turns count because a worker that never runs dry is not made to compute by that: it serves connections faster than they wait, and were
/// the monitor to take edges from the poller for it all the time, it would never look there itself, for all at once.
struct Pace {
    workers: Vec<Lively>,
    calm: u32,
    /// All slept, ran dry or took many turns since the last tick.
    lively: bool,
    /// `Net::turns`, and when that was seen to have changed.
    polls: u32,
    polled: u64,
}

/// What was seen of a worker.
#[derive(Clone, Default)]
struct Lively {
    /// Times it ran dry.
    searches: u64,
    turns: u32,
    /// When it was seen not to compute.
    at: u64,
    /// Its last blocking call.
    call: u64,
}

impl Pace {
    fn new(runtime: &Runtime) -> Self {
        Self {
            workers: vec![Lively::default(); runtime.workers.len()],
            calm: 0,
            lively: false,
            polls: 0,
            polled: 0,
        }
    }

    fn look(&mut self, runtime: &Runtime, now: u64) {
        self.lively = true;
        for (worker, seen) in runtime.workers.iter().zip(&mut self.workers) {
            let searches = worker.counts.searches.load(Ordering::Relaxed);
            let turns = worker.turns();
            let many = turns.wrapping_sub(seen.turns) >= MANY_TURNS;
            if many || searches != seen.searches || runtime.idle.contains(worker.index) {
                seen.at = now;
            }
            (seen.searches, seen.turns) = (searches, turns);
            self.lively &= seen.at == now;
        }
        let polls = runtime.net.turns();
        if polls != self.polls {
            (self.polls, self.polled) = (polls, now);
        }
    }

    /// Who is ready would hardly run earlier if the monitor took its edge now.
    fn polls_may_wait(&self, now: u64) -> bool {
        self.lively && now - self.polled < POLLED_NS
    }

    fn tick_ns(&mut self, runtime: &Runtime, now: u64, woke: bool) -> u64 {
        let troubled = runtime.pool.troubled.load(Ordering::Relaxed);
        let due = runtime.earliest_due();
        let mut calm = !woke && !troubled && due > now + CALM_NS;
        for (worker, seen) in runtime.workers.iter().zip(&mut self.workers) {
            let call = worker.call.last();
            calm &= now - seen.at <= DRY_NS && call == seen.call;
            seen.call = call;
        }
        self.calm = if calm { self.calm.saturating_add(1) } else { 0 };
        match self.calm {
            ..=CALM_AFTER => TICK_NS,
            CALMER_AFTER.. if due > now + CALMER_NS => CALMER_NS,
            _ => CALM_NS,
        }
    }
}

/// Gives whether somebody had to be woken.
fn watch(runtime: &Runtime, now: u64, heads: &mut [u32]) -> bool {
    let mut wake = !runtime.global.is_empty() || runtime.shared_due.load(Ordering::Relaxed) <= now;
    // All are busy, and would look there only every so many turns: the next turn of each, then.
    let look = !runtime.global.is_empty();
    let shared_is_due = runtime.shared_due.load(Ordering::Relaxed) <= now;
    for (worker, head) in runtime.workers.iter().zip(heads) {
        // Also of one that sleeps: who slept for its timers may have been woken for something else.
        let is_due = shared_is_due || worker.next_due.load(Ordering::Relaxed) <= now;
        wake |= is_due;
        if runtime.idle.contains(worker.index) {
            continue;
        }
        if is_due || look {
            worker.queue.poll.fetch_or(POLL_TIMER, Ordering::AcqRel);
        }
        let now_at = worker.queue.pops();
        let length = worker.load();
        wake |= length > 1 || (length == 1 && now_at == *head);
        *head = now_at;
    }
    wake &= runtime.idle.any();
    if wake {
        runtime.wake_one();
    }
    if runtime.has_waiters() {
        runtime.check_quiescent();
    }
    wake
}
