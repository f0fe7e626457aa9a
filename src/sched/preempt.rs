//! Slices: a goroutine that has run for 10 ms while others wait for its worker is asked to give way.
//!
//! Asking is `preempt` in its header, which emitted code polls in its loops; nobody is interrupted. The monitor notices by words that a worker writes
//! anyway (`Mark`), so a switch pays nothing for it; only of a worker whose words have not changed for a slice it looks who runs there.
//!
//! A goroutine that has been asked, and a slice later still runs there and still has not looked, does not poll. It is counted, once for as long
//! as it goes on, and named (`running`). C under a leaf call is not blamed: it cannot look. Nor is one whose thread had no CPU since.

use super::run_queue::POLL_URGENT;
use super::runtime::Runtime;
use super::search;
use super::worker::Worker;
use super::world;
use crate::goroutine::Goroutine;
use crate::sys::time::now_ns;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// How long a goroutine may run while others wait.
pub const SLICE_NS: u64 = 10_000_000;

/// What is known about who runs on a worker. Written by the monitor, read by anybody.
#[derive(Default)]
pub struct Slice {
    /// Since when the worker has not switched; 0: it had, a tick ago.
    since: AtomicU64,
    /// Who was asked; 0: nobody.
    asked: AtomicU64,
    /// It did not look for a slice.
    ignored: AtomicBool,
}

/// Counters.
#[derive(Default)]
pub struct Tally {
    /// Goroutines that were asked.
    pub asked: AtomicU64,
    /// Of them those that did not look.
    pub ignored: AtomicU64,
    /// The last one of those.
    pub ignored_by: AtomicU64,
}

/// Words that change with each switch on a worker, or nearly.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Mark {
    pops: u32,
    lone_turns: i32,
    searches: u64,
}

/// The monitor's memory of a worker.
#[derive(Clone, Default)]
pub struct Seen {
    mark: Mark,
    since: u64,
    /// When it is worth a look again.
    next: u64,
    asked: Asked,
    /// CPU time of its thread when it was asked.
    cpu: u64,
}

/// The goroutine that was asked, in the stretch between two switches in which it was.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Asked {
    g: usize,
    id: u64,
    park: Option<u64>,
    blamed: bool,
}

/// The monitor's look at one worker, every tick.
pub fn look(runtime: &Runtime, worker: &Worker, now: u64, seen: &mut Seen) {
    let slice = &runtime.slices[worker.index];
    let mark = Mark {
        pops: worker.queue.pops(),
        lone_turns: worker.lone_turns.load(Ordering::Relaxed),
        searches: worker.counts.searches.load(Ordering::Relaxed),
    };
    if mark != seen.mark || runtime.idle.contains(worker.index) {
        *seen = Seen {
            mark,
            since: now,
            next: now + SLICE_NS,
            asked: Asked::default(),
            cpu: 0,
        };
        slice.forget();
        return;
    }
    slice.since.store(seen.since, Ordering::Relaxed);
    if now < seen.next || world::stops() {
        return;
    }
    seen.next = now + SLICE_NS;
    let waits = worker.queue.poll.load(Ordering::Relaxed) & POLL_URGENT != 0;
    if waits || search::has_work_waiting(runtime, worker, now) {
        ask(runtime, worker, seen);
    }
}

impl Slice {
    fn forget(&self) {
        self.since.store(0, Ordering::Relaxed);
        self.asked.store(0, Ordering::Relaxed);
        self.ignored.store(false, Ordering::Relaxed);
    }
}

#[cold]
fn ask(runtime: &Runtime, worker: &Worker, seen: &mut Seen) {
    let Some((g, cpu)) = world::running_with_cpu(worker) else {
        return;
    };
    let slice = &runtime.slices[worker.index];
    // SAFETY: control blocks stay mapped; one that ends meanwhile yields once too often, whoever it is by then.
    let (id, park, polls, in_c) = unsafe {
        let in_c = (&raw const (*g).foreign_sp).read_volatile() != 0;
        let polls = (*g).preempt.swap(1, Ordering::AcqRel) == 0;
        ((*g).id(), (*g).park.parked(), polls, in_c)
    };
    let now_asked = Asked {
        g: g as usize,
        id,
        park,
        blamed: seen.asked.blamed,
    };
    if now_asked != seen.asked {
        // Somebody else, or for the first time.
        runtime.preempts.asked.fetch_add(1, Ordering::Relaxed);
        seen.asked = Asked {
            blamed: false,
            ..now_asked
        };
        seen.cpu = cpu;
        slice.asked.store(id, Ordering::Relaxed);
        slice.ignored.store(false, Ordering::Relaxed);
    } else if !polls && !in_c && !seen.asked.blamed && cpu.saturating_sub(seen.cpu) >= SLICE_NS / 2 {
        seen.asked.blamed = true;
        slice.ignored.store(true, Ordering::Relaxed);
        runtime.preempts.ignored_by.store(id, Ordering::Relaxed);
        runtime.preempts.ignored.fetch_add(1, Ordering::Relaxed);
    }
}

/// Who runs on a worker.
#[derive(Clone, Copy, Debug)]
pub struct Running {
    /// Of the worker.
    pub worker: usize,
    /// The goroutine's id; 0: none runs there now.
    pub goroutine: u64,
    /// Its control block, which stays mapped; for `name_of`.
    pub block: *const Goroutine,
    /// For how long at least, ns, as the monitor has seen it; 0: it has switched within a tick.
    pub for_ns: u64,
    /// It was asked to give way, and did not look for a slice.
    pub ignores: bool,
}

/// Who runs on each worker, as of a moment ago. For reports.
pub fn running(runtime: &Runtime) -> Vec<Running> {
    let now = now_ns();
    let mut all = Vec::with_capacity(runtime.workers.len());
    for (worker, slice) in runtime.workers.iter().zip(&runtime.slices) {
        let block = world::running_on(worker).unwrap_or(std::ptr::null_mut());
        // SAFETY: null, or a control block.
        let goroutine = unsafe { block.as_ref() }.map_or(0, Goroutine::id);
        let since = slice.since.load(Ordering::Relaxed);
        let is_asked = goroutine != 0 && slice.asked.load(Ordering::Relaxed) == goroutine;
        all.push(Running {
            worker: worker.index,
            goroutine,
            block,
            for_ns: if since == 0 { 0 } else { now.saturating_sub(since) },
            ignores: is_asked && slice.ignored.load(Ordering::Relaxed),
        });
    }
    all
}
