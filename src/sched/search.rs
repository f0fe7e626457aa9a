//! A worker has nothing: where it looks, how long it spins, how it goes to sleep.

use super::expire;
use super::idle::last_look;
use super::poll::{self, POLLING};
use super::run_queue::KEEP_ALL;
use super::runtime::Runtime;
use super::turn;
use super::worker::{Worker, bump};
use super::world;
use crate::context::note_control_words;
use crate::goroutine::{ReadyList, Runnable};
use crate::sys::futex;
use crate::sys::time::now_ns;
use std::sync::atomic::Ordering;

/// How long a spinner looks around before it sleeps: a few times what waking it would cost.
const SPIN_NS: u64 = 20_000;
/// Moving goroutines to another worker costs both sides some microseconds (cold caches; a thief's heavy fence is an
/// interrupt on top, 2 us on bare metal, 10 and more in some virtual machines). It is worth it if the owner would not get to
/// them itself within this time.
const WORTH_NS: u64 = 8_000;
/// How long a victim may neither have begun nor queued anything before a thief comes.
const PATIENCE_NS: u64 = 4_000;
/// How long it may queue without beginning any. (Of a long queue it gives a part away by itself: `share`.)
const BURST_NS: u64 = 16_000;
/// Between two looks of a spinner: each takes the victim's hottest line away from it for a moment. A time, not a count of
/// `pause` instructions: one takes 40 cycles on some CPUs, 140 on others.
const LOOK_NS: u64 = 700;
/// Looks before a queue that stays long counts as one that does not get shorter: a burst of spawns comes and goes.
const LOOKS: u32 = 8;
/// Most goroutines taken from a victim.
pub const LOOT: usize = 256;
/// `share_above` grows with searches that found nothing worth it: 0, 1, 3, 7 ... this. The monitor covers the rest.
const SHARE_ABOVE_MAX: u32 = 255;

/// Something to run; None: the runtime stops. `spinning`: the worker was claimed, and counts as a spinner.
///
/// # Safety
/// On the thread's stack; the thread holds `worker`.
#[cold]
pub unsafe fn search(worker: &Worker, mut spinning: bool) -> Option<Runnable> {
    let runtime = worker.runtime();
    bump(&worker.counts.searches, 1);
    loop {
        // SAFETY: the caller's promise, here and below.
        unsafe {
            if runtime.is_stopped() {
                if spinning {
                    runtime.idle.stop_spinning();
                }
                return None;
            }
            turn::look(worker);
            let mut found = turn::pick(worker);
            if found.is_none() && poll::look(worker) {
                found = turn::pick(worker);
            }
            if found.is_none() && (spinning || runtime.idle.start_spinning()) {
                spinning = true;
                found = spin(worker);
            }
            if spinning {
                // The last spinner that found work sees to it that somebody looks for more.
                if runtime.idle.stop_spinning() && found.is_some() {
                    runtime.wake_one_if_work(worker.index);
                }
            }
            if found.is_some() {
                worker.local().fruitless = 0;
                return found;
            }
            spinning = sleep(worker);
        }
    }
}

/// What a spinner has seen of another worker's queue.
struct Seen {
    start: u64,
    looks: u32,
    /// Pops when it began to look.
    pops_at_start: u32,
    pops: u32,
    pushes: u32,
    /// When either of them was last seen to have changed.
    changed: u64,
    /// The first look that found a pop: from here on its pace counts.
    began: Option<(u64, u32)>,
    /// Shortest and longest length.
    least: u32,
    most: u32,
}

impl Seen {
    fn new(worker: &Worker, now: u64) -> Self {
        Self {
            start: now,
            looks: 0,
            pops_at_start: worker.queue.pops(),
            pops: worker.queue.pops(),
            pushes: worker.queue.pushes(),
            changed: now,
            began: None,
            least: u32::MAX,
            most: 0,
        }
    }

    /// One more look.
    fn look(&mut self, worker: &Worker, now: u64) -> Verdict {
        let length = worker.load();
        let (pops, pushes) = (worker.queue.pops(), worker.queue.pushes());
        self.looks += 1;
        self.least = self.least.min(length);
        self.most = self.most.max(length);
        if (pops, pushes) != (self.pops, self.pushes) {
            (self.pops, self.pushes, self.changed) = (pops, pushes, now);
        }
        if length == 0 {
            return Verdict::Wait;
        }
        let waited = now - self.start;
        if now - self.changed >= PATIENCE_NS || (pops == self.pops_at_start && waited >= BURST_NS) {
            return Verdict::Rob;
        }
        if pops == self.pops_at_start {
            return Verdict::Wait; // in a burst of spawns, maybe
        }
        let (began, pops_then) = *self.began.get_or_insert((now, pops));
        let moved = u64::from(pops.wrapping_sub(pops_then));
        // It would need too long at the pace we saw, or it has more than it gets done: its queue stays as long as it is
        // (goroutines that yield all the time).
        if (moved != 0 && u64::from(length) * (now - began) / moved >= WORTH_NS)
            || (self.looks >= LOOKS && waited >= WORTH_NS && self.least > self.most / 2)
        {
            // Who is asked gives of its ring only.
            if worker.queue.len() > 1 {
                Verdict::Ask
            } else {
                Verdict::Rob
            }
        } else {
            Verdict::Wait
        }
    }
}

/// What to do about a worker that has something.
enum Verdict {
    /// It gets to it by itself.
    Wait,
    /// It has too much, and takes a goroutine every now and then: it sees POLL_SHARE when it takes the next, and gives
    /// half away. That costs nobody an interrupt.
    Ask,
    /// It computes, or only queues: it would not see a request.
    Rob,
}

/// Looks at everything again and again for a while.
unsafe fn spin(worker: &Worker) -> Option<Runnable> {
    let runtime = worker.runtime();
    let start = now_ns();
    let mut seen: Vec<Seen> = runtime.workers.iter().map(|w| Seen::new(w, start)).collect();
    loop {
        // SAFETY: the caller holds the worker.
        unsafe {
            if !runtime.global.is_empty() || !worker.inbox.is_empty() {
                turn::look(worker);
                if let Some(g) = turn::pick(worker) {
                    return Some(g);
                }
            }
            let now = now_ns();
            if worker.next_due.load(Ordering::Relaxed) <= now
                || runtime.shared_due.load(Ordering::Relaxed) <= now
            {
                turn::look(worker);
                if let Some(g) = turn::pick(worker) {
                    return Some(g);
                }
            }
            for (other, seen) in runtime.workers.iter().zip(&mut seen) {
                if other.index == worker.index {
                    continue;
                }
                match seen.look(other, now) {
                    Verdict::Wait => {}
                    Verdict::Ask => other.ask_to_share(),
                    Verdict::Rob => {
                        if rob(worker, other, LOOT) {
                            return turn::pick(worker);
                        }
                    }
                }
                if other.next_due.load(Ordering::Relaxed) <= now.saturating_sub(WORTH_NS)
                    && expire::visit(worker, other, now)
                    && let Some(g) = turn::pick(worker)
                {
                    return Some(g);
                }
            }
            if now - start >= SPIN_NS || runtime.is_stopped() {
                return None;
            }
        }
        let next_look = now_ns() + LOOK_NS;
        while now_ns() < next_look {
            std::hint::spin_loop();
        }
    }
}

/// Takes half of what another worker has, or `most`. False: nothing, or it could not be reached now.
///
/// # Safety
/// The calling thread holds `worker`; at most LOOT.
pub unsafe fn rob(worker: &Worker, victim: &Worker, most: usize) -> bool {
    let mut loot = [Runnable(std::ptr::null_mut()); LOOT];
    let loot = &mut loot[..most];
    let more = |loot: &mut [Runnable]| {
        // SAFETY: inside the victim's gate.
        let urgent = unsafe { &mut victim.gated().urgent };
        let m = urgent.len().div_ceil(2).min(loot.len());
        for (place, g) in loot.iter_mut().zip(urgent.drain(..m)) {
            *place = g;
        }
        victim.urgent_len.store(urgent.len() as u32, Ordering::Relaxed);
        m
    };
    let Some((regular, urgent)) = worker.queue.rob(&victim.queue, loot, more) else {
        return false;
    };
    for g in &loot[regular..regular + urgent] {
        // SAFETY: the caller holds the worker; the loot is ours.
        unsafe { worker.enqueue_urgent(g.0) };
    }
    bump(&worker.counts.stolen, (regular + urgent) as u64);
    regular + urgent != 0
}

/// Whether a thread that takes `worker` finds something to do, or to wait for: timers count.
///
/// # Safety
/// The calling thread holds `worker`, or just did and nobody else does.
pub unsafe fn has_work(worker: &Worker) -> bool {
    // SAFETY: the caller's promise.
    let local = unsafe { worker.local() };
    worker.load() != 0 || !local.pinned.is_empty() || has_work_outside(worker.runtime(), worker)
}

/// The part of it that anybody may ask about.
pub fn has_work_outside(runtime: &Runtime, worker: &Worker) -> bool {
    !runtime.global.is_empty()
        || !worker.inbox.is_empty()
        || runtime.earliest_due() < runtime.sleeping_until.load(Ordering::SeqCst)
        || runtime.net.is_unheld()
}

/// Whether something could run on a worker whose thread is busy, or a hint of it. Anybody asks.
pub fn has_work_waiting(runtime: &Runtime, worker: &Worker, now: u64) -> bool {
    worker.load() != 0
        || worker.next_due.load(Ordering::Relaxed) <= now
        || !worker.inbox.is_empty()
        || !runtime.global.is_empty()
}

/// Goes to sleep as `idle` describes. Gives whether it was claimed, and so counts as a spinner.
unsafe fn sleep(worker: &Worker) -> bool {
    let runtime = worker.runtime();
    // SAFETY: the caller holds the worker.
    let local = unsafe { worker.local() };
    if let Some(idle) = runtime.config.idle {
        // SAFETY: the configured function and its argument. Before the last look: it may make work.
        unsafe { idle(runtime.config.idle_arg) };
        note_control_words();
    }
    worker.sleeping.store(1, Ordering::SeqCst);
    let share_above = SHARE_ABOVE_MAX.min((1 << local.fruitless.min(16)) - 1);
    let mut work_elsewhere = false;
    runtime.idle.announce(
        worker.index,
        runtime.workers.iter().map(|w| &w.queue),
        share_above,
        runtime.workers.len() == 1,
    );
    let mut work_here = !runtime.global.is_empty() || !worker.inbox.is_empty() || runtime.is_stopped();
    for other in &runtime.workers {
        let shown = last_look(&other.queue).map(|n| n + other.urgent_len.load(Ordering::Relaxed));
        work_here |= shown.is_none();
        work_elsewhere |= other.index != worker.index && shown.is_some_and(|n| n > share_above);
    }
    if work_elsewhere && local.fruitless < 4 {
        // Look once more, with a spinner's eyes. Each fruitless look makes the next sleep easier: the monitor watches.
        local.fruitless += 1;
        work_here = true;
    }
    work_here |= worker.load() != 0 || !local.pinned.is_empty();
    if work_here {
        let claimed = !leave(worker);
        runtime.wake_monitor();
        return claimed;
    }
    if runtime.has_waiters() {
        runtime.check_quiescent();
    }
    local.fruitless += 1;
    bump(&worker.counts.sleeps, 1);
    let claimed = loop {
        // The earliest timer of anybody. If another sleeper waits for it already, we need not.
        let due = runtime.earliest_due();
        let deadline = if due < runtime.sleeping_until.load(Ordering::SeqCst) {
            runtime.sleeping_until.store(due, Ordering::SeqCst);
            due
        } else {
            u64::MAX
        };
        world::go_out();
        let ready = doze(worker, deadline);
        world::come_in();
        if deadline != u64::MAX {
            // Whoever sleeps next takes the earliest timer over. Lowered meanwhile by another: still a sleeper's.
            let _ = runtime.sleeping_until.compare_exchange(
                deadline,
                u64::MAX,
                Ordering::SeqCst,
                Ordering::SeqCst,
            );
        }
        let has_work = !ready.is_empty();
        let claimed = worker.sleeping.load(Ordering::Acquire) == 0;
        let awake =
            claimed || has_work || deadline != u64::MAX && now_ns() >= deadline || runtime.is_stopped();
        if awake {
            let claimed = claimed || !leave(worker);
            // SAFETY: the caller holds the worker.
            unsafe { poll::dispatch(worker, ready) };
            break claimed;
        }
    };
    if claimed {
        bump(&worker.counts.wakes, 1);
    }
    runtime.wake_monitor();
    claimed
}

/// Sleeps once, in the poller if nobody else does, until it is claimed, `deadline`, an edge, or for no reason. Gives whom an edge woke.
fn doze(worker: &Worker, deadline: u64) -> ReadyList {
    let mut ready = ReadyList::new();
    let Some(held) = worker.runtime().net.hold() else {
        futex::wait(&worker.sleeping, 1, deadline);
        return ready;
    };
    let change = |from, to| {
        (worker.sleeping)
            .compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok()
    };
    // (A failure means that it was claimed.)
    if change(1, POLLING) {
        held.poller.wait(deadline, &mut ready);
        let _ = change(POLLING, 1);
    }
    ready
}

/// Out of the idle set. False: somebody claimed us first; their wake is consumed here.
fn leave(worker: &Worker) -> bool {
    let idle = &worker.runtime().idle;
    idle.leave_awake(worker.index, &worker.sleeping)
}

const _: () = assert!(SHARE_ABOVE_MAX < KEEP_ALL);
