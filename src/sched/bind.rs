//! Bound goroutines: one goroutine, one OS thread, no worker.
//!
//! Binding moves nothing. The goroutine stays on the thread it is on, which is its own from then on, and the thread's
//! *worker* goes to another one (`pool::hand_off`). So a bound goroutine runs with no worker in its thread's block, in
//! parallel with all workers, and everything it does to others goes the way of a plain thread: spawns and readied goroutines
//! go to the global queue.
//!
//! - Parked, its thread waits (`goroutine::thread_word`), with a time-out of its own: no timer is armed. It is never in a
//!   queue: who readies it wakes its thread (`wake`). All places that queue a goroutine look at `spawn_flags` for the kinds
//!   that stay out of the ring, and GOROUTINE_SPAWN_BOUND there means: bound now.
//! - The park word stays COMMITTING while the join step runs (`goroutine::park`): there is no worker's gate to hold.
//! - At its end, or when it unbinds, the thread rests in the pool (`pool`), or ends if what C left in it must not meet
//!   strangers.
//!
//! I1. `native_stack` is set exactly while the thread may not be given away without a look: the goroutine is bound, or C
//!     frames are live on the thread, or a leaf call was made since the goroutine was resumed. So a park tests this one
//!     word, and finds out more only if it is set (`keeps_thread`).
//! I2. With C frames live the goroutine cannot leave the thread, and the thread cannot run others: it is bound on the spot.
//! I3. A worker that has pinned goroutines keeps its thread: who binds there moves, and no blocking call gives the worker up
//!     (`blocking::look`). I2 goes first: with somebody's C frames live on the thread it is the worker that moves, pinned goroutines and
//!     all. A goroutine that is bound is not pinned any more; one that was, and is bound on the spot, stays bound.

use super::ledger::Serves;
use super::park::{self, Join};
use super::pool::{self, Admission, Order, Seat, Waiting};
use super::predict;
use super::run_queue::POLL_NATIVE;
use super::runtime::Runtime;
use super::turn;
use super::worker::{Worker, foreign_sequence};
use super::world;
use crate::abi::*;
use crate::context::{goroutine_asm_leave, goroutine_asm_park, note_control_words, tls};
use crate::goroutine::park::Ready;
use crate::goroutine::waits::{Kind, Waits};
use crate::goroutine::{self, EXTRAS, Goroutine, ON_THE_SPOT, Runnable, SAMPLED};
use crate::promise::Outcome;
use crate::sanitize;
use crate::stack;
use crate::sync::fence_light;
use crate::sys::futex;
use crate::sys::time::now_ns;
use crate::trace::{self, Cause};
use std::ffi::c_void;
use std::sync::atomic::Ordering;

/// How long the thread of a parked goroutine looks for its wake before it sleeps: about what waking it costs.
pub const SPIN_NS: u64 = 4_000;

/// Whether `g` is bound.
///
/// # Safety
/// `g` is a control block.
#[inline]
pub unsafe fn is_bound(g: *const Goroutine) -> bool {
    // SAFETY: the caller's promise.
    unsafe { (*g).flags.load(Ordering::Relaxed) & GOROUTINE_FLAG_BOUND != 0 }
}

// ---- bind ----

struct Request {
    status: GoroutineStatus,
    full: bool,
}

/// Binds the running goroutine. It may park, for a thread (GOROUTINE_FFI_WAIT). Ok also if it is bound.
/// Err: GOROUTINE_EFFITHREADS, GOROUTINE_ENOMEM, GOROUTINE_ECANCELED.
///
/// # Safety
/// `g` is the running goroutine, on its own stack.
pub unsafe fn bind(g: *mut Goroutine) -> Result<(), GoroutineStatus> {
    // SAFETY: the caller's promise, here and below.
    unsafe {
        if is_bound(g) {
            (*g).spawn_flags &= !ON_THE_SPOT; // from now on because it wants to
            return Ok(());
        }
        loop {
            let mut request = Request {
                status: GOROUTINE_OK,
                full: false,
            };
            goroutine_asm_park(on_bind, (&raw mut request).cast());
            if !request.full {
                return match request.status {
                    GOROUTINE_OK => Ok(()),
                    status => Err(status),
                };
            }
            let status = park::park(
                Waits::number(Kind::Thread, 0),
                Some(join_waiting),
                std::ptr::null_mut(),
                u64::MAX,
            );
            if status != GOROUTINE_OK {
                return Err(status);
            }
            if is_bound(g) {
                return Ok(()); // on a thread that somebody gave back
            }
        }
    }
}

/// With a spare thread, and nothing for the worker to do: no system call, no allocation, 8 atomic instructions (the pool's lock 2,
/// counters 2, the goroutine's flags 1, the worker's way into the idle set 3). With work for it: the lock and a counter in place of the
/// idle set, and one FUTEX_WAKE.
unsafe extern "C" fn on_bind(g: *mut Goroutine, request: *mut c_void) -> *mut Goroutine {
    // SAFETY: the assembly left g's stack; the request lies there until g runs again. An unbound goroutine's thread holds
    // a worker and has a seat.
    unsafe {
        let request = &mut *request.cast::<Request>();
        if sanitize::is_watched() {
            sanitize::leave(g); // threads may be made here, on the thread's stack
        }
        let worker = &*tls::worker();
        let runtime = worker.runtime();
        let seat = Seat::current().expect("workers are held by scheduling threads");
        request.status = match runtime.pool.admit(runtime) {
            Admission::Granted => GOROUTINE_OK,
            Admission::NoThread => GOROUTINE_ENOMEM,
            Admission::Full if runtime.config.ffi_exhausted == GOROUTINE_FFI_WAIT => {
                request.full = true;
                return g;
            }
            Admission::Full => GOROUTINE_EFFITHREADS,
        };
        if request.status != GOROUTINE_OK {
            pool::count(&runtime.pool.tally.refused);
            return g;
        }
        forget_native(g, worker);
        // Before the worker is given away: the monitor does not fall asleep while it is held.
        let ahead = predict::binds(runtime, worker, g);
        let missing = ahead != 0 && runtime.pool.want_ahead(ahead);
        let itself = u32::from((*g).spawn_flags & GOROUTINE_SPAWN_PINNED != 0);
        if worker.pinned.load(Ordering::Relaxed) > itself {
            // The thread stays with the worker (I3): g moves instead.
            trace::parks_for(g, Kind::Thread);
            runtime.pool.give(Order::Goroutine(g));
            if missing {
                runtime.call_for_threads();
            }
            return turn::next(worker);
        }
        sit_down(g, seat);
        pool::hand_off(runtime);
        if missing {
            runtime.call_for_threads();
        }
        seat.pin(); // it may have to move: the worker does not wait for that
        g
    }
}

/// The join step of a park for a permit. False: there is one now.
unsafe fn join_waiting(g: *mut Goroutine, sequence: u64, _: *mut c_void) -> bool {
    // SAFETY: inside a park of g: the thread holds a worker.
    let runtime = unsafe { (*tls::worker()).runtime() };
    runtime
        .pool
        .wait_if_full(runtime, Waiting::Parked { g, sequence })
}

/// `g` is bound to the calling thread from now on, which is to `pin` itself once it holds no worker.
///
/// # Safety
/// `g` is the caller's and not running; the thread is `seat`'s, and has a permit for it.
pub unsafe fn sit_down(g: *mut Goroutine, seat: &Seat) {
    pool::count(&seat.runtime.pool.tally.bindings);
    seat.serve(Serves::Permit);
    seat.goroutine.store(g, Ordering::Release);
    // SAFETY: the caller's promise. A pinned goroutine's last worker is the one it is pinned to.
    unsafe {
        trace::bind(g);
        if (*g).spawn_flags & GOROUTINE_SPAWN_PINNED != 0 {
            let worker = &seat.runtime.workers[usize::from((*g).last_worker)];
            worker.pinned.fetch_sub(1, Ordering::Relaxed);
        }
        (*g).flags.fetch_or(GOROUTINE_FLAG_BOUND, Ordering::Relaxed);
        (*g).spawn_flags = (*g).spawn_flags & !(GOROUTINE_SPAWN_PINNED | SAMPLED) | GOROUTINE_SPAWN_BOUND;
        (*g).native_stack = tls::scheduler_sp() as u64;
        (*g).calls = 0;
        (*g).waits_for.store(std::ptr::null_mut(), Ordering::Relaxed);
    }
}

/// The same, because C frames are live: until they are gone, or for good if `g` was never to change its thread (I3).
///
/// # Safety
/// As [`sit_down`].
pub unsafe fn sit_down_on_the_spot(g: *mut Goroutine, seat: &Seat) {
    // SAFETY: the caller's promise.
    unsafe {
        let was_pinned = (*g).spawn_flags & GOROUTINE_SPAWN_PINNED != 0;
        sit_down(g, seat);
        if !was_pinned {
            (*g).spawn_flags |= ON_THE_SPOT;
        }
    }
}

/// It is no more: the other half of [`sit_down`]. The permit stays with the thread until it rests.
///
/// # Safety
/// As [`sit_down`].
unsafe fn stand_up(g: *mut Goroutine, seat: &Seat) {
    // SAFETY: the caller's promise.
    unsafe {
        trace::unbind(g);
        let calls = u64::from((*g).calls);
        seat.runtime.pool.tally.calls.fetch_add(calls, Ordering::Relaxed);
        (*g).flags.fetch_and(!GOROUTINE_FLAG_BOUND, Ordering::Relaxed);
        (*g).spawn_flags &= !(GOROUTINE_SPAWN_BOUND | ON_THE_SPOT);
        (*g).native_stack = 0;
    }
    seat.goroutine.store(std::ptr::null_mut(), Ordering::Release);
    seat.is_given_back();
}

/// Binds `g` where it is, whatever the limit says: C frames of its are live on the thread (I2).
///
/// # Safety
/// `g` is the calling thread's goroutine, unbound, and the thread holds its worker. On the thread's stack.
pub unsafe fn bind_on_the_spot(g: *mut Goroutine) {
    // SAFETY: the caller's promise.
    unsafe {
        let worker = &*tls::worker();
        let runtime = worker.runtime();
        let seat = Seat::current().expect("workers are held by scheduling threads");
        pool::count(&runtime.pool.tally.on_the_spot);
        forget_native(g, worker);
        runtime.pool.admit_anyway(runtime);
        sit_down_on_the_spot(g, seat);
        pool::hand_off(runtime);
        seat.pin();
    }
}

/// [`bind_on_the_spot`] from the goroutine's own stack, which may be too small for it.
///
/// # Safety
/// `g` is the running goroutine, on its own stack, unbound.
pub unsafe fn bind_here(g: *mut Goroutine) {
    unsafe extern "C" fn on_bind_here(g: *mut Goroutine, _: *mut c_void) -> *mut Goroutine {
        // SAFETY: the assembly left g's stack.
        unsafe {
            sanitize::leave(g);
            bind_on_the_spot(g);
        }
        g
    }
    // SAFETY: the caller's promise.
    unsafe {
        debug_assert!(!is_bound(g));
        goroutine_asm_park(on_bind_here, std::ptr::null_mut());
    }
}

// ---- what a scheduler function asks first ----

/// `native_stack` is set: whether the thread is `g`'s (I1, I2). If not, `native_stack` is 0 again.
///
/// # Safety
/// On the thread's stack, `g` was just left.
#[cold]
pub unsafe fn keeps_thread(g: *mut Goroutine) -> bool {
    // SAFETY: the caller's promise; an unbound goroutine's thread holds its worker and has a seat.
    unsafe {
        if is_bound(g) || world::is_mine() {
            return true;
        }
        let seat = Seat::current().expect("workers are held by scheduling threads");
        if seat.has_c_frames() {
            bind_on_the_spot(g);
            return true;
        }
        forget_native(g, &*tls::worker());
        false
    }
}

/// # Safety
/// `g` is the caller's; the thread holds `worker`.
unsafe fn forget_native(g: *mut Goroutine, worker: &Worker) {
    // SAFETY: the caller's promise.
    unsafe {
        if (*g).native_stack != 0 {
            (*g).native_stack = 0;
            worker.queue.poll.fetch_and(!POLL_NATIVE, Ordering::AcqRel);
        }
    }
}

// ---- park and wake ----

/// Parks a bound goroutine: `commit(sequence)` is the join step, false: no need to wait.
///
/// # Safety
/// On the thread's stack, `g` was just left and is bound.
pub unsafe fn park_bound(
    g: *mut Goroutine,
    deadline: u64,
    commit: impl FnOnce(u64) -> bool,
) -> *mut Goroutine {
    let sequence = foreign_sequence();
    // SAFETY: the caller's promise; in COMMITTING nobody runs g.
    unsafe {
        if world::is_mine() {
            (*g).wake_status = GOROUTINE_EPERM; // who would wake it stands
            return g;
        }
        (*g).thread_word.prepare();
        (*g).wake_status = GOROUTINE_OK;
        (*g).park.commit(sequence);
        fence_light(); // partner: the heavy fence in sched::cancel
        let mut waits = true;
        if (*g).is_cancelled() {
            if (*g).park.ready(sequence) == Ready::Early {
                (*g).wake_status = GOROUTINE_ECANCELED;
                (*g).park.early_done(sequence);
            }
        } else {
            waits = commit(sequence);
            if !waits && (*g).park.ready(sequence) == Ready::Early {
                (*g).park.early_done(sequence);
            }
        }
        if (*g).park.committed(sequence) {
            wait(g, sequence, deadline);
        } else if !waits {
            (*g).wake_status = GOROUTINE_OK; // what the commit did counts, also if a cancel came meanwhile
        }
    }
    world::pause();
    g
}

/// [`park_bound`] with a join step of the library's own.
///
/// # Safety
/// As [`park_bound`]; `arg` is what `join` wants.
pub unsafe fn park_joining(
    g: *mut Goroutine,
    deadline: u64,
    join: Option<Join>,
    arg: *mut c_void,
) -> *mut Goroutine {
    // SAFETY: the caller's promise.
    unsafe {
        park_bound(g, deadline, |sequence| {
            join.is_none_or(|join| join(g, sequence, arg))
        })
    }
}

/// Until somebody readied it, or the deadline.
unsafe fn wait(g: *mut Goroutine, sequence: u64, mut deadline: u64) {
    // SAFETY: g is this thread's; the word is in its control block.
    let word = unsafe { &(*g).thread_word };
    let pool = Seat::current().map(|seat| &seat.runtime.pool);
    if let Some(pool) = pool
        && pool.start_spinning()
    {
        let end = now_ns() + SPIN_NS;
        while !word.is_ready() && now_ns() < end {
            std::hint::spin_loop();
        }
        pool.stop_spinning();
    }
    if !word.fall_asleep() {
        return;
    }
    if let Some(seat) = Seat::current()
        && seat.runtime.pool.troubled.load(Ordering::SeqCst)
    {
        seat.runtime.call_monitor(); // perhaps the last one that could give a thread back
    }
    world::go_out();
    while !word.is_ready() {
        futex::wait(word.futex(), goroutine::thread_word::ASLEEP, deadline);
        if deadline != u64::MAX && !word.is_ready() && now_ns() >= deadline {
            // SAFETY: g's own park word.
            unsafe {
                if (*g).park.ready(sequence) == Ready::Won {
                    (*g).wake_status = GOROUTINE_ETIMEDOUT;
                    break;
                }
            }
            deadline = u64::MAX; // somebody won, and is about to say so
        }
    }
    world::come_in();
}

/// A bound goroutine was readied: its thread goes on.
///
/// # Safety
/// `g` is bound and the caller's.
pub unsafe fn wake(g: *mut Goroutine) {
    // SAFETY: the caller's promise; control blocks stay mapped. After `ready` only the address is used.
    unsafe {
        let word = &raw const (*g).thread_word;
        if (*word).ready() {
            futex::wake((*word).futex(), 1);
        }
    }
}

// ---- unbind and end ----

/// The running goroutine gives its thread back and goes on on a worker. Err: GOROUTINE_EPERM with C frames live. Ok also if
/// it is not bound.
///
/// # Safety
/// `g` is the running goroutine, on its own stack.
pub unsafe fn unbind(g: *mut Goroutine) -> Result<(), GoroutineStatus> {
    // SAFETY: the caller's promise.
    unsafe {
        if !is_bound(g) {
            return Ok(());
        }
        if Seat::current().is_none_or(Seat::has_c_frames) {
            return Err(GOROUTINE_EPERM);
        }
        goroutine_asm_park(on_unbind, std::ptr::null_mut());
    }
    Ok(())
}

unsafe extern "C" fn on_unbind(g: *mut Goroutine, _: *mut c_void) -> *mut Goroutine {
    let seat = Seat::current().expect("unbind looked");
    // SAFETY: the assembly left g's stack; it is bound to this thread.
    unsafe {
        stand_up(g, seat);
        without_worker(g, seat)
    }
}

/// `g` is unbound and ready, and the thread has no worker, and something to give back. What runs next here.
///
/// # Safety
/// On the thread's stack; `g` is the caller's.
pub unsafe fn without_worker(g: *mut Goroutine, seat: &'static Seat) -> *mut Goroutine {
    let runtime = seat.runtime;
    // SAFETY: the caller's promise.
    unsafe {
        if !seat.retires()
            && (*g).spawn_flags & GOROUTINE_SPAWN_PRIORITY == 0
            && let Some(worker) = runtime.claim_ownerless()
        {
            if runtime.pool.release_if_unwanted(seat.served()) {
                // A worker without work, and this is work: no thread needs to be woken.
                seat.serve(Serves::Nothing);
                pool::adopt(worker);
                return g;
            }
            runtime.pool.give(Order::Worker {
                worker,
                claimed: false,
            });
        }
        trace::ready(g, Cause::Worker);
        runtime.queue_from_outside(Runnable(g));
        pool::next_of_thread()
    }
}

/// A bound goroutine is over (`turn::finish`, without a worker).
///
/// # Safety
/// On the thread's stack, `g` was left for ever and is bound to this thread.
pub unsafe fn finish(g: *mut Goroutine, outcome: Outcome) -> *mut Goroutine {
    let Some(seat) = Seat::current() else {
        crate::sys::report::fatal("a goroutine ended on a thread that only borrowed it");
    };
    let runtime = seat.runtime;
    // SAFETY: g is over and ours.
    unsafe {
        if (*g).spawn_flags & EXTRAS != 0 {
            sanitize::over(g);
            crate::ops::leave_behind(g);
            if let Some(end) = (*g).end.take() {
                end((*g).entry_arg as *mut c_void);
                note_control_words();
            }
        }
        let promise = (*g).promise;
        if !promise.is_null() {
            let unseen = (*promise).settle_own(outcome, |mut settled| {
                settled.run_operations();
                for ready in settled.ready {
                    park::queue(ready.0);
                }
            });
            if let Some(unseen) = unseen {
                runtime.unhandled(g, unseen);
            }
        } else if outcome.status != GOROUTINE_OK {
            runtime.unhandled(g, outcome);
        }
        if let Some(end) = runtime.config.goroutine_end {
            end(g, runtime.config.goroutine_end_arg);
            note_control_words();
        }
        if (*g).spawn_flags & EXTRAS != 0 {
            goroutine::free_name(g);
            stack::give_back_all(g);
        }
        let daemon = (*g).spawn_flags & GOROUTINE_SPAWN_DAEMON != 0;
        trace::ends(g, outcome.status);
        stand_up(g, seat);
        (*g).foreign_sp = 0;
        (*g).id.store(0, Ordering::Release);
        stack::give_back(g, (*g).class);
        let counts = &runtime.foreign;
        if daemon {
            &counts.daemons_closed
        } else {
            &counts.closed
        }
        .fetch_add(1, Ordering::AcqRel);
        runtime.closed_from_outside();
        if seat.has_c_frames() {
            // Given up with the goroutine. Away from them, to where the thread began.
            seat.retire();
            tls::set_scheduler_sp(seat.base_sp());
            goroutine_asm_leave(on_frames_given_up, std::ptr::null_mut());
        }
        pool::next_of_thread()
    }
}

unsafe extern "C" fn on_frames_given_up(_: *mut Goroutine, _: *mut c_void) -> *mut Goroutine {
    // SAFETY: on the thread's stack, where it began.
    unsafe { pool::next_of_thread() }
}

// ---- bound from the start ----

/// How a goroutine with GOROUTINE_SPAWN_BOUND gets its thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    /// It has a permit.
    Thread,
    /// It waits for one.
    Later,
    /// It runs unbound (GOROUTINE_FFI_UNBOUND).
    Unbound,
}

/// Whether a goroutine can start bound. Err: GOROUTINE_EFFITHREADS, GOROUTINE_ENOMEM.
pub fn start_bound(runtime: &'static Runtime) -> Result<Start, GoroutineStatus> {
    match runtime.pool.admit(runtime) {
        Admission::Granted => Ok(Start::Thread),
        Admission::NoThread => Err(GOROUTINE_ENOMEM),
        Admission::Full => {
            if runtime.config.ffi_exhausted == GOROUTINE_FFI_WAIT {
                return Ok(Start::Later);
            }
            pool::count(&runtime.pool.tally.refused);
            if runtime.config.ffi_exhausted == GOROUTINE_FFI_UNBOUND {
                Ok(Start::Unbound)
            } else {
                Err(GOROUTINE_EFFITHREADS)
            }
        }
    }
}

/// The goroutine of a [`start_bound`] starts.
///
/// # Safety
/// `g` is ready to run, counted, and the caller's; `start` is not Unbound.
pub unsafe fn launch_bound(runtime: &'static Runtime, g: *mut Goroutine, start: Start) {
    match start {
        Start::Thread => runtime.pool.give(Order::Goroutine(g)),
        _ => runtime.pool.wait_in_turn(runtime, Waiting::Fresh(g)),
    }
}

/// The goroutine of a [`start_bound`] does not start.
pub fn give_up(runtime: &'static Runtime, start: Start) {
    if start == Start::Thread {
        runtime.pool.release(runtime, Serves::Permit);
    }
}

/// Whether the calling thread is one that a shutdown waits for: it must not wait for a shutdown.
pub fn is_on_our_thread() -> bool {
    !tls::worker().is_null() || !tls::current().is_null() || Seat::current().is_some()
}

/// The runtime of the calling thread, if it is one of the pool's.
#[inline]
pub fn runtime_of_thread() -> Option<&'static Runtime> {
    Seat::current().map(|seat| seat.runtime)
}
