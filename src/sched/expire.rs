//! Due timers become runnable goroutines. Whoever has a wheel's gate may do it: its owner, or an idle worker.

use super::park;
use super::runtime::Runtime;
use super::spawn;
use super::worker::Worker;
use crate::abi::GOROUTINE_ETIMEDOUT;
use crate::goroutine::Runnable;
use crate::goroutine::park::Ready;
use crate::timer::slot::{self, Target, slot};
use crate::timer::{OUT, Wheel};
use std::sync::atomic::Ordering;

/// Most timers taken from a wheel in one go, so that the gate is not held for long.
const BATCH: usize = 256;

/// What came out of a wheel.
pub struct Due {
    /// Goroutines whose time has come.
    pub ready: Vec<Runnable>,
    /// Slots of functions to call.
    calls: Vec<u32>,
    /// Slots that are free again.
    free: Vec<u32>,
}

impl Due {
    /// Nothing.
    pub const fn new() -> Self {
        Self {
            ready: Vec::new(),
            calls: Vec::new(),
            free: Vec::new(),
        }
    }
    /// Whether nothing came out.
    pub fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.calls.is_empty() && self.free.is_empty()
    }
}

/// Takes what is due out of a wheel.
///
/// # Safety
/// The caller has exclusive access to the wheel.
pub unsafe fn collect(wheel: &mut Wheel, now: u64, due: &mut Due) {
    for _ in 0..BATCH {
        let Some(number) = wheel.pop_due(now) else {
            return;
        };
        let timer = slot(number);
        if !timer.word.fire() {
            // Stopped by somebody who could not reach the wheel: its number is on its way to the wheel's owner, who
            // must find it gone (`Worker::stopped`), so the slot is freed there.
            // SAFETY: the slot came out of a wheel that we have.
            unsafe { timer.fields() }.bucket = OUT;
            continue;
        }
        // SAFETY: TimerWord I3: it is FIRING, so it is ours.
        let fields = unsafe { timer.fields() };
        match fields.target {
            Target::Park { g, sequence } => {
                // SAFETY: control blocks stay mapped; the winner of the word owns the goroutine.
                unsafe {
                    match (*g).park.ready(sequence) {
                        Ready::Won => {
                            (*g).wake_status = GOROUTINE_ETIMEDOUT;
                            due.ready.push(Runnable(g));
                        }
                        Ready::Early => {
                            (*g).wake_status = GOROUTINE_ETIMEDOUT;
                            (*g).park.early_done(sequence);
                        }
                        Ready::Lost => {}
                    }
                }
                if timer.word.free() {
                    due.free.push(number);
                }
            }
            Target::Call { .. } => due.calls.push(number),
        }
    }
}

/// Queues on `worker`, which the caller holds, what came out of any wheel. Not inside a gate.
///
/// # Safety
/// The calling thread holds `worker`.
pub unsafe fn dispatch(worker: &Worker, due: &mut Due) {
    // SAFETY: the caller's promise.
    unsafe {
        for g in due.ready.drain(..) {
            park::queue_expired(worker, g.0);
        }
        for number in due.calls.drain(..) {
            spawn::timer_call(worker, number);
        }
        let spare = &mut worker.local().timer_slots;
        spare.append(&mut due.free);
        if spare.len() > 2048 {
            slot::give_back(spare.drain(..1024));
        }
    }
}

/// The owner expires its own wheel. Gives whether anything came out.
///
/// # Safety
/// The calling thread holds `worker`.
pub unsafe fn own(worker: &Worker, now: u64) -> bool {
    let mut due = Due::new();
    worker.queue.enter();
    // SAFETY: inside the gate.
    unsafe {
        let wheel = &mut worker.gated().wheel;
        drain_stopped(worker, wheel, &mut due);
        collect(wheel, now, &mut due);
        worker.next_due.store(wheel.next_due(), Ordering::Release);
    }
    worker.queue.leave();
    let any = !due.is_empty();
    // SAFETY: the caller's promise.
    unsafe { dispatch(worker, &mut due) };
    any
}

/// Timers that other threads stopped leave the wheel.
///
/// # Safety
/// Inside the gate of `worker`.
unsafe fn drain_stopped(worker: &Worker, wheel: &mut Wheel, due: &mut Due) {
    while let Some(number) = worker.stopped.pop() {
        // SAFETY: TimerWord I3: STOPPED, and it lies (or lay) in this wheel.
        unsafe {
            if slot(number).fields().bucket != OUT {
                wheel.remove(number);
            }
        }
        if slot(number).word.free() {
            due.free.push(number);
        }
    }
}

/// A visitor expires somebody else's wheel, and queues what comes out on its own worker.
///
/// # Safety
/// The calling thread holds `mine`, and is in no gate.
pub unsafe fn visit(mine: &Worker, other: &Worker, now: u64) -> bool {
    let mut due = Due::new();
    other.queue.visit(|_| {
        // SAFETY: inside the gate of `other`.
        unsafe {
            let wheel = &mut other.gated().wheel;
            drain_stopped(other, wheel, &mut due);
            collect(wheel, now, &mut due);
            other.next_due.store(wheel.next_due(), Ordering::Release);
        }
    });
    let any = !due.is_empty();
    // SAFETY: the caller's promise.
    unsafe { dispatch(mine, &mut due) };
    any
}

/// How many timers are armed in a worker's wheel, once those that were stopped have left it. None: its gate is taken. Any thread.
pub fn armed(worker: &Worker) -> Option<usize> {
    let mut due = Due::new();
    let armed = worker.queue.visit(|_| {
        // SAFETY: inside the gate.
        unsafe {
            let wheel = &mut worker.gated().wheel;
            drain_stopped(worker, wheel, &mut due);
            wheel.len()
        }
    });
    slot::give_back(due.free.drain(..));
    armed
}

/// A worker expires the wheel of the plain threads, if nobody else is at it.
///
/// # Safety
/// As [`visit`].
pub unsafe fn shared(mine: &Worker, runtime: &Runtime, now: u64) -> bool {
    let mut due = Due::new();
    if let Some(mut wheel) = runtime.shared_wheel.try_lock() {
        // SAFETY: the lock gives exclusive access.
        unsafe { collect(&mut wheel, now, &mut due) };
        runtime.shared_due.store(wheel.next_due(), Ordering::SeqCst);
    }
    let any = !due.is_empty();
    // SAFETY: the caller's promise.
    unsafe { dispatch(mine, &mut due) };
    any
}
