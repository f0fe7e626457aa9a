//! Blocking calls: a goroutine gives its worker up for the time, and mostly finds it untouched when it comes back.
//!
//! The protocol is `call_word`'s. A short call goes through goroutine_asm_blocking_call alone; what is here is for the others. During the
//! call the thread's block has no worker, so whatever C does with the library is done the way of a plain thread, and nothing here
//! depends on whether the worker is still there.
//!
//! The monitor looks every 0.5 ms while any worker is not idle, and one in a call is not: so it is never asleep then (who makes
//! a worker leave the idle set wakes it), and a call is retaken between its first and its second look, within 1 ms; within 2.5 ms if it is the
//! first one after a calm time (`monitor`), in which the looks are 2 ms apart.

use super::bind::{self, sit_down_on_the_spot};
use super::exhausted;
use super::ledger::Serves;
use super::pool::{self, Admission, Seat};
use super::runtime::Runtime;
use super::search;
use super::worker::Worker;
use super::world;
use crate::context::{goroutine_asm_park, tls};
use crate::goroutine::Goroutine;
use crate::goroutine::waits::Kind;
use crate::trace;
use std::ffi::c_void;
use std::sync::atomic::Ordering;

/// Before a blocking call: the thread's worker may be taken away from now on.
///
/// # Safety
/// `g` is the running goroutine and not bound.
#[inline]
pub unsafe fn enter(g: *mut Goroutine) {
    let worker = tls::worker();
    tls::set_worker(std::ptr::null_mut());
    // SAFETY: the caller's promise: an unbound goroutine's thread holds a worker. Not touched after `enter`.
    unsafe {
        (*g).lent = worker.cast();
        (*worker).call.enter(&(*g).lent_call);
    }
}

/// After it. If the worker is gone: who `stays` on the thread, because of C frames, is bound from now on (permits do not
/// matter); otherwise the goroutine parks until a worker has it.
///
/// # Safety
/// `g` is the goroutine of the matching [`enter`], running, or just left if it stays.
#[inline]
pub unsafe fn exit(g: *mut Goroutine, stays: bool) {
    // SAFETY: the caller's promise. Workers live as long as their runtime.
    unsafe {
        let worker = (*g).lent.cast::<Worker>();
        if (*worker).call.exit(&(*g).lent_call) {
            tls::set_worker(worker);
        } else {
            retaken(g, stays);
        }
    }
}

#[cold]
unsafe fn retaken(g: *mut Goroutine, stays: bool) {
    let seat = Seat::current().expect("workers are held by scheduling threads");
    // SAFETY: the caller's promise.
    unsafe {
        if stays {
            pool::count(&seat.runtime.pool.tally.on_the_spot);
            seat.runtime.pool.call_becomes_permit();
            sit_down_on_the_spot(g, seat);
            seat.pin();
        } else {
            seat.serve(Serves::Call);
            seat.is_given_back();
            goroutine_asm_park(on_retaken, std::ptr::null_mut());
        }
    }
}

unsafe extern "C" fn on_retaken(g: *mut Goroutine, _: *mut c_void) -> *mut Goroutine {
    let seat = Seat::current().expect("the thread has not changed");
    // SAFETY: the assembly left g's stack; the thread has no worker, and was counted by the monitor.
    unsafe {
        trace::parks_for(g, Kind::Worker);
        bind::without_worker(g, seat)
    }
}

/// What the monitor saw of a worker.
#[derive(Clone, Default)]
pub struct Seen {
    /// The call that it was in; 0: none.
    call: u64,
    /// When it was seen first; or, if it could not be retaken, since when something could run on the worker.
    since: u64,
}

/// The monitor's look at one worker.
pub fn look(runtime: &'static Runtime, worker: &'static Worker, now: u64, seen: &mut Seen) {
    let call = worker.call.seen().unwrap_or(0);
    if call == 0 || call != seen.call {
        *seen = Seen { call, since: now };
        return;
    }
    if world::stops() {
        return; // there is nothing that could run on it
    }
    if worker.pinned.load(Ordering::Relaxed) != 0 {
        return; // they stay with their thread, and so does it (`bind`, I3)
    }
    match runtime.pool.admit_call(runtime) {
        Admission::Granted => {}
        Admission::NoThread => return,
        Admission::Full => {
            if !search::has_work_waiting(runtime, worker, now) {
                seen.since = now;
            } else if now.saturating_sub(seen.since) >= exhausted::PATIENCE_NS {
                exhausted::say_calls(&runtime.pool);
            }
            return;
        }
    }
    if !worker.call.retake(call) {
        runtime.pool.release(runtime, Serves::Call);
        return;
    }
    pool::count(&runtime.pool.tally.retaken);
    trace::hands_off(worker.index, true);
    // SAFETY: the retake made it ours.
    unsafe { pool::hand_over(runtime, worker) };
}
