//! All threads for foreign calls are taken, and goroutines wait for one: what the monitor says about it.
//!
//! - At once, when the wait can never end: every thread is held by a bound goroutine that awaits, without a time-out, the promise
//!   of a goroutine that waits for a thread, or of another holder. (What goroutines between them wait for is not known;
//!   such a chain is found by the second report.)
//! - When no thread was given back for 10 s.
//! - When as many blocking calls last as may be retaken, and one more has kept its worker, and what is runnable there, for 10 s.
//!
//! Each is said once until a thread is given back. Nothing is done about it: the program may yet cancel somebody.

use super::pool::{Pool, Waiting};
use crate::goroutine::Goroutine;
use crate::sys::report::Line;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

pub const PATIENCE_NS: u64 = 10_000_000_000;
/// Goroutines that a report names.
const NAMED: usize = 8;

/// What was said.
#[derive(Default)]
pub struct Said {
    deadlock: AtomicBool,
    patience: AtomicBool,
    calls: AtomicBool,
    /// When a permit was given back last, or the first who waits began to.
    since_ns: AtomicU64,
}

impl Said {
    /// Something happened that may end the wait.
    pub fn start_anew(&self, now: u64) {
        self.since_ns.store(now, Ordering::Relaxed);
        self.deadlock.store(false, Ordering::Relaxed);
        self.patience.store(false, Ordering::Relaxed);
    }

    /// A call whose worker was retaken is over: the next one may have its place.
    pub fn call_over(&self) {
        self.calls.store(false, Ordering::Relaxed);
    }
}

/// Looks, and says what is new. Called by the monitor while somebody waits, or a thread is missing.
pub fn look(pool: &Pool, now: u64) {
    let said = &pool.said;
    let mut waiting = 0;
    pool.for_each_waiting(|who| waiting += u64::from(waits(who)));
    if waiting == 0 {
        return;
    }
    if !said.deadlock.load(Ordering::Relaxed)
        && let Some(holders) = deadlock(pool)
    {
        said.deadlock.store(true, Ordering::Relaxed);
        let mut line = Line::new();
        line.text("deadlock: every thread for foreign calls is held by a goroutine that waits for one which waits for such a thread:");
        for (holder, target) in holders.iter().take(NAMED) {
            line.text(" ").dec(*holder).text(" for ").dec(*target).text(",");
        }
        line.text(" ")
            .dec(holders.len() as u64)
            .text(" in all; ffi_threads_max is too low, or one of them should not be bound");
        line.emit();
    }
    let waited = now.saturating_sub(said.since_ns.load(Ordering::Relaxed));
    if waited >= PATIENCE_NS && !said.patience.swap(true, Ordering::Relaxed) {
        let ((_, _, permits, _), _) = pool.counts();
        let mut line = Line::new();
        line.dec(waiting)
            .text(" wait for a thread for foreign calls, ")
            .dec(permits as u64);
        line.text(" are taken, and none was given back for 10 s").emit();
    }
}

/// A call has kept its worker for long, and no more may be retaken.
pub fn say_calls(pool: &Pool) {
    if !pool.said.calls.swap(true, Ordering::Relaxed) {
        let ((_, _, _, calls), _) = pool.counts();
        let mut line = Line::new();
        line.dec(calls as u64)
            .text(" blocking calls are under way, as many as ffi_threads_max allows: one more has kept its worker for 10 s from goroutines that could run")
            .emit();
    }
}

/// Whether it still does. One that gave up (cancelled) stays in the list.
fn waits(who: &Waiting) -> bool {
    match who {
        // SAFETY: control blocks stay mapped.
        Waiting::Parked { g, sequence } => unsafe { (**g).park.parked() == Some(*sequence) },
        Waiting::Fresh(_) | Waiting::Job(_) => true,
    }
}

/// (holder, whom it waits for) of every thread, if all of them wait like that. Mostly the first one does not.
fn deadlock(pool: &Pool) -> Option<Vec<(u64, u64)>> {
    let mut pairs: Vec<(*mut Goroutine, *mut Goroutine)> = Vec::new();
    pool.all(|seat| {
        let holder = seat.goroutine.load(Ordering::Acquire);
        holder.is_null()
            || awaited_by(holder)
                .map(|target| pairs.push((holder, target)))
                .is_some()
    })
    .then_some(())?;
    let ((_, _, permits, _), _) = pool.counts();
    if pairs.len() < permits {
        return None; // a job, or a call whose worker was retaken, holds one: it ends by itself
    }
    let mut waiting: Vec<*mut Goroutine> = Vec::new();
    pool.for_each_waiting(|who| match who {
        Waiting::Parked { g, .. } | Waiting::Fresh(g) if waits(who) => waiting.push(*g),
        _ => {}
    });
    let stuck = |target| waiting.contains(&target) || pairs.iter().any(|&(holder, _)| holder == target);
    // SAFETY: control blocks stay mapped.
    let id = |g: *mut Goroutine| unsafe { (*g).id() };
    (!waiting.is_empty() && pairs.iter().all(|&(_, target)| stuck(target))).then(|| {
        pairs
            .iter()
            .map(|&(holder, target)| (id(holder), id(target)))
            .collect()
    })
}

/// The goroutine whose promise a parked one awaits without a time-out.
fn awaited_by(holder: *mut Goroutine) -> Option<*mut Goroutine> {
    // SAFETY: control blocks and promises stay mapped; what is read counts only if the park has not changed.
    unsafe {
        let sequence = (*holder).park.parked()?;
        let promise = (*holder).waits_for.load(Ordering::Acquire).as_ref()?;
        let target = promise.with_goroutine(|g| g)?;
        ((*holder).park.parked() == Some(sequence)).then_some(target)
    }
}
