//! How a goroutine waits, and how it is readied.
//!
//! A park leaves the goroutine's stack, then, on the thread's stack and inside the worker's gate:
//!
//! ```text
//!   1. arm the time-out         in the own wheel: only the gate's holder can fire it, so not before step 4
//!   2. word = WAITING
//!   3. -- light fence --  cancelled? then ready ourselves, and go on running
//!   4. join the list of what we wait for        (from here on anybody may ready us)
//! ```
//!
//! I1. Nothing can ready the goroutine before 4, so what 4 needs may lie on its stack: time-outs need the gate, and
//!     a canceller, after its heavy fence, waits until the gate of the goroutine's worker is open (`sched::cancel`); if
//!     it does not find the goroutine parked then, step 3 sees its flag.
//! I2. After 4 nothing of the goroutine or its stack is touched.
//!
//! A commit callback that is not ours may take long and may call back into the library, so it runs outside the gate, in
//! the state COMMITTING (`goroutine::park`).

use super::bind;
use super::runtime::{self, Runtime};
use super::timers;
use super::turn;
use super::worker::Worker;
use crate::abi::*;
use crate::context::{goroutine_asm_call, goroutine_asm_park, tls};
use crate::goroutine::park::Ready;
use crate::goroutine::waits::{Kind, Waits};
use crate::goroutine::{Goroutine, Runnable};
use crate::sanitize;
use crate::sync::fence_light;
use crate::sys::time;
use crate::timer::slot::Target;
use crate::trace::{self, Cause};
use std::ffi::c_void;
use std::sync::atomic::Ordering;

/// The deadline of a time-out that begins now; GOROUTINE_FOREVER gives `u64::MAX`, never.
#[inline]
pub fn deadline_after(timeout_ns: u64) -> u64 {
    if timeout_ns == GOROUTINE_FOREVER {
        return u64::MAX;
    }
    let worker = tls::worker();
    if worker.is_null() {
        time::deadline_after(timeout_ns)
    } else {
        // SAFETY: the thread holds the worker.
        unsafe { (*worker).local().clock.base() }.saturating_add(timeout_ns)
    }
}

/// Step 4. False: no need to wait.
pub type Join = unsafe fn(g: *mut Goroutine, sequence: u64, arg: *mut c_void) -> bool;

/// The same, compiled into the park: nobody calls it on the way. It is copied off the goroutine's stack first (I2).
pub trait Joins: Copy {
    /// # Safety
    /// Step 4.
    unsafe fn join(self, g: *mut Goroutine, sequence: u64) -> bool;
}

/// What is called.
#[derive(Clone, Copy)]
struct Called {
    join: Option<Join>,
    arg: *mut c_void,
}

impl Joins for Called {
    #[inline(always)]
    unsafe fn join(self, g: *mut Goroutine, sequence: u64) -> bool {
        // SAFETY: the caller's promise.
        self.join
            .is_none_or(|join| unsafe { join(g, sequence, self.arg) })
    }
}

struct Request<J> {
    join: J,
    deadline: u64,
    /// The armed time-out's id, 0 for none.
    timer: i64,
}

/// Waits until readied, cancelled, or `deadline` (CLOCK_MONOTONIC, `u64::MAX`: never) passes. Gives the ready's status,
/// GOROUTINE_ECANCELED, GOROUTINE_ETIMEDOUT or GOROUTINE_ENOMEM; GOROUTINE_OK when `join` gave false.
///
/// # Safety
/// On a goroutine. `arg` is what `join` wants.
pub unsafe fn park(waits: Waits, join: Option<Join>, arg: *mut c_void, deadline: u64) -> GoroutineStatus {
    // SAFETY: the caller's promise.
    unsafe { park_joining(tls::current(), deadline, waits, Called { join, arg }) }
}

/// The same.
///
/// # Safety
/// `g` is the running goroutine; `join` is as step 4 wants it.
#[inline(always)]
pub unsafe fn park_joining<J: Joins>(
    g: *mut Goroutine,
    deadline: u64,
    waits: Waits,
    join: J,
) -> GoroutineStatus {
    // SAFETY: on a goroutine.
    unsafe {
        if (*g).is_cancelled() {
            crate::context::yield_here(); // a loop of calls that all fail must not keep the worker
            return GOROUTINE_ECANCELED;
        }
        Goroutine::note_waits(g, waits);
        let mut request = Request {
            join,
            deadline,
            timer: 0,
        };
        goroutine_asm_park(on_park::<J>, (&raw mut request).cast());
        let status = (*g).wake_status;
        if request.timer != 0 {
            timers::disarm(request.timer); // fired or not: a ready may pass any status
        }
        status
    }
}

unsafe extern "C" fn on_park<J: Joins>(g: *mut Goroutine, request: *mut c_void) -> *mut Goroutine {
    // SAFETY: the assembly left g's stack; the request lies there and lives until g runs again (I1). The thread holds
    // its worker, or is g's.
    unsafe {
        let request = &mut *request.cast::<Request<J>>();
        let deadline = request.deadline;
        trace::parks(g);
        if (*g).native_stack != 0 && bind::keeps_thread(g) {
            if deadline != u64::MAX {
                Goroutine::note_timed(g);
            }
            let join = (&raw mut request.join).cast();
            return bind::park_joining(g, deadline, Some(join_of::<J>), join);
        }
        let worker = &*tls::worker();
        let sequence = worker.next_sequence();
        (*g).last_worker = worker.index as u16;
        let armed = deadline == u64::MAX || {
            // The slot is taken outside the gate: that may lock and allocate.
            timers::reserve(worker)
        };
        if !armed {
            (*g).wake_status = GOROUTINE_ENOMEM;
            return g;
        }
        worker.queue.enter();
        if deadline != u64::MAX {
            Goroutine::note_timed(g);
            request.timer = timers::arm_inside(worker, deadline, Target::Park { g, sequence });
        }
        (*g).park.wait(sequence);
        fence_light(); // I1; partner: the heavy fence in sched::cancel
        let stay = if (*g).is_cancelled() {
            (*g).wake_status = GOROUTINE_ECANCELED;
            false
        } else {
            (*g).wake_status = GOROUTINE_OK;
            let join = request.join;
            join.join(g, sequence)
        };
        if !stay && (*g).park.ready(sequence) == Ready::Won {
            worker.queue.leave();
            return g;
        }
        turn::next_inside(worker)
    }
}

/// # Safety
/// `join` is a `J` on g's stack.
unsafe fn join_of<J: Joins>(g: *mut Goroutine, sequence: u64, join: *mut c_void) -> bool {
    // SAFETY: the caller's promise.
    unsafe { (*join.cast::<J>()).join(g, sequence) }
}

struct Commit {
    f: unsafe extern "C" fn(GoroutineTicket, *mut c_void) -> bool,
    arg: *mut c_void,
    deadline: u64,
    timer: i64,
}

/// # Safety
/// The callback and its argument are the user's.
unsafe fn call_commit(commit: &Commit, ticket: GoroutineTicket) -> bool {
    let (goroutine, sequence) = (ticket.goroutine as usize, ticket.sequence as usize); // two registers, as the ABI says
    // SAFETY: the caller's promise. Only the low byte of a returned `bool` is defined.
    unsafe { goroutine_asm_call(commit.f as usize, goroutine, sequence, commit.arg as usize) as u8 != 0 }
}

/// `goroutine_park`: as [`park`], with the user's commit.
///
/// # Safety
/// As [`park`].
pub unsafe fn park_with(
    f: unsafe extern "C" fn(GoroutineTicket, *mut c_void) -> bool,
    arg: *mut c_void,
    deadline: u64,
) -> GoroutineStatus {
    let g = tls::current();
    // SAFETY: as in park.
    unsafe {
        if (*g).is_cancelled() {
            crate::context::yield_here();
            return GOROUTINE_ECANCELED;
        }
        Goroutine::note_waits(g, Waits::on(Kind::Ticket, f as *const c_void));
        let mut commit = Commit {
            f,
            arg,
            deadline,
            timer: 0,
        };
        goroutine_asm_park(on_commit, (&raw mut commit).cast());
        let status = (*g).wake_status;
        if commit.timer != 0 {
            timers::disarm(commit.timer);
        }
        status
    }
}

unsafe extern "C" fn on_commit(g: *mut Goroutine, commit: *mut c_void) -> *mut Goroutine {
    // SAFETY: as on_park; in COMMITTING nobody runs g, so its stack stays.
    unsafe {
        let commit = &mut *commit.cast::<Commit>();
        trace::parks(g);
        if (*g).native_stack != 0 && bind::keeps_thread(g) {
            return bind::park_bound(g, commit.deadline, |sequence| {
                let ticket = GoroutineTicket {
                    goroutine: g as u64,
                    sequence,
                };
                call_commit(commit, ticket)
            });
        }
        let worker = &*tls::worker();
        let sequence = worker.next_sequence();
        (*g).last_worker = worker.index as u16;
        if commit.deadline != u64::MAX && !timers::reserve(worker) {
            (*g).wake_status = GOROUTINE_ENOMEM;
            return g;
        }
        (*g).wake_status = GOROUTINE_OK;
        (*g).park.commit(sequence);
        if commit.deadline != u64::MAX {
            worker.queue.enter();
            commit.timer = timers::arm_inside(worker, commit.deadline, Target::Park { g, sequence });
            worker.queue.leave();
        }
        fence_light(); // partner: the heavy fence in sched::cancel
        let ticket = GoroutineTicket {
            goroutine: g as u64,
            sequence,
        };
        let mut waits = true;
        if (*g).is_cancelled() {
            if (*g).park.ready(sequence) == Ready::Early {
                (*g).wake_status = GOROUTINE_ECANCELED;
                (*g).park.early_done(sequence);
            }
        } else {
            waits = call_commit(commit, ticket);
            if !waits && (*g).park.ready(sequence) == Ready::Early {
                (*g).park.early_done(sequence);
            }
        }
        // The callback may have called the library: the worker is the thread's, read again.
        if (*g).park.committed(sequence) {
            return turn::next(&*tls::worker());
        }
        if !waits {
            (*g).wake_status = GOROUTINE_OK; // what it did counts, also if a cancel or the time-out came meanwhile
        }
        g
    }
}

/// Readies the park of a ticket. False: stale, or somebody was faster.
pub fn ready(ticket: GoroutineTicket, status: GoroutineStatus) -> bool {
    if !crate::stack::is_control_block(ticket.goroutine) {
        return false;
    }
    let g = ticket.goroutine as *mut Goroutine;
    // SAFETY: control blocks stay mapped; the winner of the word owns the goroutine.
    unsafe {
        if !(*g).is_ours() {
            return false;
        }
        match (*g).park.ready(ticket.sequence) {
            Ready::Lost => false,
            Ready::Early => {
                sanitize::released(g);
                (*g).wake_status = status;
                (*g).park.early_done(ticket.sequence);
                true
            }
            Ready::Won => {
                (*g).wake_status = status;
                queue(g);
                true
            }
        }
    }
}

/// Queues a goroutine that is ours: on this thread's worker, or from a plain thread on the global queue.
///
/// # Safety
/// `g` is the caller's to queue.
#[inline]
pub unsafe fn queue(g: *mut Goroutine) {
    // SAFETY: the caller's promise.
    if unsafe { !(*g).is_ours() } {
        return; // a promise from before a fork was settled
    }
    // SAFETY: as above.
    unsafe { queue_ours(g) };
}

/// The same, where it is known that the goroutine is this process's.
///
/// # Safety
/// As [`queue`].
#[inline(always)]
pub unsafe fn queue_ours(g: *mut Goroutine) {
    // SAFETY: the caller's promise.
    unsafe { trace::ready(g, Cause::Somebody) };
    let worker = tls::worker();
    if worker.is_null() {
        // SAFETY: the caller's promise.
        return unsafe { queue_from_thread(g) };
    }
    // SAFETY: this thread holds the worker.
    unsafe { (*worker).enqueue(g) };
}

#[cold]
unsafe fn queue_from_thread(g: *mut Goroutine) {
    // SAFETY: the caller's promise.
    if unsafe { (*g).spawn_flags } & GOROUTINE_SPAWN_BOUND != 0 {
        // SAFETY: as above.
        return unsafe { bind::wake(g) };
    }
    // A goroutine that waits keeps its runtime from ending, so there is one.
    match runtime::enter_to_end() {
        Some(runtime) => runtime.queue_from_outside(Runnable(g)),
        None => unreachable!("a runtime ended with a parked goroutine in it"),
    }
}

/// A time-out or a sleep is over: the goroutine goes before regular work.
///
/// # Safety
/// The calling thread holds `worker`; `g` is the caller's to queue.
pub unsafe fn queue_expired(worker: &Worker, g: *mut Goroutine) {
    // SAFETY: the caller's promise.
    unsafe {
        trace::ready(g, Cause::Time);
        if (*g).spawn_flags & GOROUTINE_SPAWN_PINNED != 0 {
            worker.enqueue(g);
        } else {
            worker.enqueue_urgent(g);
        }
    }
}

impl Runtime {
    /// From a thread without a worker.
    pub fn queue_from_outside(&self, g: Runnable) {
        // SAFETY: the caller owned the goroutine.
        if unsafe { (*g.0).spawn_flags } & GOROUTINE_SPAWN_PINNED != 0 {
            // SAFETY: as above.
            return unsafe { self.deliver_pinned(g.0) };
        }
        self.global.push(g);
        self.wake_one();
    }

    /// To the one worker that may run it.
    ///
    /// # Safety
    /// `g` is the caller's to queue.
    pub unsafe fn deliver_pinned(&self, g: *mut Goroutine) {
        // SAFETY: the caller's promise.
        let index = unsafe { (*g).last_worker } as usize;
        let worker = &self.workers[index];
        worker.inbox.push(Runnable(g));
        worker
            .queue
            .poll
            .fetch_or(super::run_queue::POLL_URGENT, Ordering::SeqCst);
        crate::sync::fence_seq_cst();
        if self.idle.claim_one(index) {
            self.wake(index);
        }
    }
}
