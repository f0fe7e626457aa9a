//! Between two goroutines: what the assembly calls on the thread's stack, and what it gets to run next.

use super::bind;
use super::expire;
use super::level;
use super::native;
use super::predict;
use super::run_queue::{POLL_APART, POLL_LEVEL, POLL_SHARE, POLL_TIMER, POLL_TRACE, POLL_URGENT, POLL_WORLD};
use super::search;
use super::share;
use super::worker::{TURNS, Worker, bump};
use super::world;
use crate::abi::*;
use crate::code::place;
use crate::context::{note_control_words, tls};
use crate::goroutine::{self, EXTRAS, Exceptions, Goroutine, Runnable};
use crate::promise::Outcome;
use crate::sanitize;
use crate::stack;
use crate::sys::report::{Line, fatal_line};
use crate::sys::time::now_ns;
use crate::trace::{self, Cause};
use std::ffi::c_void;
use std::sync::atomic::Ordering;

/// Urgent goroutines in a row before a regular one gets its turn.
const URGENT_STREAK: u32 = 16;
/// Most goroutines moved from the global queue in one look.
const GLOBAL_BATCH: usize = 64;

/// Whether a goroutine stays out of the shared ring.
#[inline(always)]
fn is_apart(g: Runnable) -> bool {
    // SAFETY: the caller owns the goroutine.
    unsafe { (*g.0).spawn_flags & (GOROUTINE_SPAWN_PINNED | GOROUTINE_SPAWN_PRIORITY) != 0 }
}

/// The next goroutine for this worker; sleeps while there is none. Null: the runtime stops.
///
/// # Safety
/// On the thread's stack; the thread holds `worker`.
#[inline]
pub unsafe fn next(worker: &Worker) -> *mut Goroutine {
    // SAFETY: the caller's promise.
    unsafe {
        match pick(worker) {
            Some(g) => g.0,
            None => search::search(worker, false).map_or(std::ptr::null_mut(), |g| g.0),
        }
    }
}

/// As [`next`], for one who is inside the gate, and leaves it: nearly always there is something in the ring, and nothing is up.
///
/// # Safety
/// As [`next`]; inside the gate.
#[inline(always)]
pub unsafe fn next_inside(worker: &Worker) -> *mut Goroutine {
    // SAFETY: the caller's promise.
    unsafe {
        let local = worker.local();
        let turn = local.turn.wrapping_add(1);
        // (POLL_APART is set when `local.apart` is.)
        if let Some(g) = worker.queue.leave_with_next(turn.is_multiple_of(TURNS)) {
            local.turn = turn;
            return g.0;
        }
        next_with_care(worker)
    }
}

#[inline(never)]
unsafe fn next_with_care(worker: &Worker) -> *mut Goroutine {
    // SAFETY: the caller's promise.
    unsafe { next(worker) }
}

/// What is runnable here, without asking others. What it gives runs next: the ring holds only goroutines that may be
/// shared, the others come from the lanes.
///
/// # Safety
/// As [`next`].
#[inline]
pub unsafe fn pick(worker: &Worker) -> Option<Runnable> {
    // SAFETY: the caller's promise.
    let local = unsafe { worker.local() };
    local.turn = local.turn.wrapping_add(1);
    if local.turn % TURNS == 0 || worker.queue.poll.load(Ordering::Relaxed) & !(POLL_APART | POLL_TRACE) != 0
    {
        // SAFETY: as above.
        if let Some(g) = unsafe { pick_with_care(worker) } {
            // SAFETY: as above.
            unsafe { set_apart(worker, is_apart(g)) };
            return Some(g);
        }
    }
    if local.apart {
        // SAFETY: as above.
        unsafe { set_apart(worker, false) };
    }
    worker.queue.pop()
}

/// A turn on which the clock, the urgent lane and the other queues are looked at. None: take from the private queue.
#[cold]
unsafe fn pick_with_care(worker: &Worker) -> Option<Runnable> {
    // SAFETY: the caller holds the worker.
    unsafe {
        if worker.queue.poll.load(Ordering::Relaxed) & POLL_WORLD != 0 {
            world::pause_worker(worker);
        }
        let local = worker.local();
        let poll = worker.queue.poll.load(Ordering::Acquire);
        if poll & POLL_SHARE != 0 {
            share::share_as_asked(worker);
        }
        if poll & POLL_LEVEL != 0 {
            level::level(worker);
        }
        if poll & POLL_TIMER != 0 || local.turn.is_multiple_of(TURNS) {
            look(worker);
        }
        if poll & POLL_URGENT != 0 {
            while let Some(g) = worker.inbox.pop() {
                local.pinned.push_back(g);
            }
        }
        if local.urgent_streak < URGENT_STREAK
            && let Some(g) = take_urgent(worker)
        {
            local.urgent_streak += 1;
            return Some(g);
        }
        local.urgent_streak = 0;
        if worker.queue.is_empty() {
            return take_urgent(worker);
        }
        if local.turn.is_multiple_of(TURNS) {
            predict::sample(worker, local.turn);
        }
        None
    }
}

unsafe fn take_urgent(worker: &Worker) -> Option<Runnable> {
    // SAFETY: the caller holds the worker.
    let local = unsafe { worker.local() };
    // Urgent and pinned goroutines take turns, so that neither waits for ever.
    let urgent = worker.urgent_len.load(Ordering::Relaxed) != 0;
    let g = if urgent && (local.pinned.is_empty() || local.urgent_streak % 2 == 0) {
        worker.pop_urgent().or_else(|| local.pinned.pop_front()) // a thief may have emptied the lane
    } else {
        local.pinned.pop_front()
    };
    if g.is_none() {
        // Nothing is left: yields may go the short way again. Clear first, then look again: a push sets the bit after
        // it pushed.
        worker.queue.poll.fetch_and(!POLL_URGENT, Ordering::SeqCst);
        if !worker.inbox.is_empty() || worker.urgent_len.load(Ordering::SeqCst) != 0 {
            worker.queue.poll.fetch_or(POLL_URGENT, Ordering::SeqCst);
        }
    }
    g
}

/// Looks at the clock and the queues that belong to nobody.
///
/// # Safety
/// As [`next`].
pub unsafe fn look(worker: &Worker) {
    let runtime = worker.runtime();
    worker.lone_turns.store(TURNS as i32, Ordering::Relaxed);
    worker.queue.poll.fetch_and(!POLL_TIMER, Ordering::AcqRel);
    // SAFETY: the caller holds the worker.
    unsafe {
        let own_due = worker.next_due.load(Ordering::Relaxed);
        let shared_due = runtime.shared_due.load(Ordering::Relaxed);
        if own_due != u64::MAX || shared_due != u64::MAX {
            let now = now_ns();
            if own_due <= now {
                expire::own(worker, now);
            }
            if shared_due <= now {
                expire::shared(worker, runtime, now);
            }
        }
        if !worker.stopped.is_empty() {
            expire::own(worker, 0);
        }
        from_global(worker);
    }
}

/// Moves a fair share of the global queue here. Gives whether there was something.
///
/// # Safety
/// As [`next`].
pub unsafe fn from_global(worker: &Worker) -> bool {
    let runtime = worker.runtime();
    let length = runtime.global.len();
    if length == 0 {
        return false;
    }
    let mut any = false;
    for _ in 0..(length / runtime.workers.len() + 1).min(GLOBAL_BATCH) {
        let Some(g) = runtime.global.pop() else { break };
        any = true;
        // SAFETY: the caller holds the worker; what was in the global queue is ours now. No sharing: it was shared.
        unsafe {
            if (*g.0).spawn_flags & GOROUTINE_SPAWN_PRIORITY != 0 {
                worker.enqueue_urgent(g.0);
            } else {
                let _ = worker.queue.push(g);
            }
        }
    }
    any
}

/// While a goroutine runs that must not go through the shared ring, yields take the long way.
#[cold]
unsafe fn set_apart(worker: &Worker, apart: bool) {
    // SAFETY: the caller holds the worker.
    let local = unsafe { worker.local() };
    if local.apart == apart {
        return;
    }
    local.apart = apart;
    if apart {
        worker.queue.poll.fetch_or(POLL_APART, Ordering::AcqRel);
    } else {
        worker.queue.poll.fetch_and(!POLL_APART, Ordering::AcqRel);
    }
}

/// The long way of a yield.
///
/// # Safety
/// Called by the assembly: `g` was just left.
pub unsafe extern "C" fn on_yield(g: *mut Goroutine, _: *mut c_void) -> *mut Goroutine {
    // SAFETY: the thread holds a worker; g's stack was left.
    unsafe {
        trace::yields(g);
        if (*g).native_stack != 0 && bind::keeps_thread(g) {
            world::pause();
            std::thread::yield_now();
            return g;
        }
        let worker = &*tls::worker();
        // The assembly comes here on every TURNS-th pop, too, and that is this worker's turn to look around.
        let local = worker.local();
        if worker.queue.pops() % TURNS == TURNS - 1 || worker.lone_turns.load(Ordering::Relaxed) < 0 {
            local.turn = local
                .turn
                .wrapping_sub(local.turn % TURNS)
                .wrapping_add(TURNS - 1);
        }
        if (*g).spawn_flags & (GOROUTINE_SPAWN_PINNED | GOROUTINE_SPAWN_PRIORITY) != 0 {
            (*g).last_worker = worker.index as u16;
            worker.enqueue(g);
        } else if worker.queue.is_empty() {
            look(worker);
            let _ = worker.queue.push(Runnable(g)); // alone: nothing to share with a sleeper
        } else {
            worker.enqueue(g);
        }
        next(worker)
    }
}

/// A goroutine's function returned `value`.
///
/// # Safety
/// Called by the assembly: `g` was left for ever.
pub unsafe extern "C" fn on_finish(g: *mut Goroutine, value: *mut c_void) -> *mut Goroutine {
    let status = GOROUTINE_OK;
    // SAFETY: as above.
    unsafe {
        if (*g).native_stack != 0 {
            return finish_native(g, Outcome { value, status });
        }
        finish(g, Outcome { value, status })
    }
}

/// `goroutine_exit`: the status is in `wake_status`.
///
/// # Safety
/// Called by the assembly: `g` was left for ever.
pub unsafe extern "C" fn on_exit(g: *mut Goroutine, value: *mut c_void) -> *mut Goroutine {
    // SAFETY: as above.
    unsafe {
        stack::forget_frames(g);
        (*g).exceptions.caught = std::ptr::null_mut(); // it may have been in a `catch` block
        (*g).exceptions.uncaught = 0;
        let status = (*g).wake_status;
        if (*g).native_stack != 0 {
            if (*g).foreign_sp != 0 {
                world::pause(); // C ends it, which counted as standing
            }
            return finish_native(g, Outcome { value, status });
        }
        finish(g, Outcome { value, status })
    }
}

/// An exception got to the first frame of a goroutine: nothing there catches it. What threw it goes on as it does at the end of any
/// stack (C++: std::terminate, which names the exception); here is said whose stack it was. A forced unwind would go on to end the
/// thread under the scheduler.
///
/// # Safety
/// Called by the unwinder, as the personality of that frame.
pub unsafe extern "C" fn on_exception_at_base(
    _version: i32,
    actions: i32,
    _class: u64,
    _exception: *mut c_void,
    _context: *mut c_void,
) -> i32 {
    const SEARCH_PHASE: i32 = 1;
    const FORCE_UNWIND: i32 = 8;
    const CONTINUE_UNWIND: i32 = 8;
    if actions & (SEARCH_PHASE | FORCE_UNWIND) != 0 {
        // SAFETY: never null.
        let g = unsafe { &*tls::current_or_dummy() };
        let forced = actions & FORCE_UNWIND != 0;
        let mut line = Line::new();
        line.text(if forced {
            "fatal: pthread_exit, or a cancelled pthread, unwound goroutine "
        } else {
            "nothing catches an exception that is about to leave goroutine "
        });
        // SAFETY: the running goroutine's name does not change.
        unsafe { line.dec(g.id()).name(g.name.load(Ordering::Relaxed)) };
        place::spawned_at(&mut line, g.site);
        if forced {
            fatal_line(&mut line);
        }
        line.emit();
    }
    CONTINUE_UNWIND
}

/// In a program with AddressSanitizer somebody asks for the exceptions of `g`, perhaps to throw one. The sanitizer takes the marks off all frames
/// of a thread's stack then, for it does not see which ones are unwound; that this is a stack it does not know. And if the goroutine's
/// reserve is open, what is said there ([`stack::event`], R2).
///
/// # Safety
/// Called by the assembly on the running goroutine, at `sp`.
pub unsafe extern "C" fn on_exceptions_sanitized(g: *mut Goroutine, sp: usize) -> *mut Exceptions {
    // SAFETY: the running goroutine; without their marks its frames are as good as before.
    unsafe {
        stack::forget_frames(g);
        if (*g).reserve != 0 {
            stack::event::on_exceptions_with_reserve(g, sp);
        }
        &raw mut (*g).exceptions
    }
}

/// The end of a goroutine that called C since it came to this thread.
#[cold]
unsafe fn finish_native(g: *mut Goroutine, outcome: Outcome) -> *mut Goroutine {
    if world::is_stopped_by(g) {
        crate::sys::report::fatal("a goroutine ended that had stopped the world, and did not start it again");
    }
    // SAFETY: g is over and ours; if it keeps its thread, it is bound to it.
    unsafe {
        if let Some(next) = native::over(g, outcome.value, outcome.status) {
            next
        } else if bind::keeps_thread(g) {
            bind::finish(g, outcome)
        } else {
            finish(g, outcome)
        }
    }
}

#[inline(always)]
unsafe fn finish(g: *mut Goroutine, outcome: Outcome) -> *mut Goroutine {
    let worker = tls::worker();
    if worker.is_null() {
        crate::sys::report::fatal(
            "a goroutine ended on a thread without a worker: did it return in a child of fork?",
        );
    }
    // SAFETY: g is over and ours; the thread holds the worker.
    unsafe {
        let worker = &*worker;
        let runtime = worker.runtime();
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
                    trace::ready(ready.0, Cause::Somebody);
                    worker.enqueue(ready.0);
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
            if (*g).spawn_flags & GOROUTINE_SPAWN_PINNED != 0 {
                worker.pinned.fetch_sub(1, Ordering::Relaxed);
            }
            predict::ended(worker, g);
            goroutine::free_name(g);
            stack::give_back_all(g);
        }
        let daemon = (*g).spawn_flags & GOROUTINE_SPAWN_DAEMON != 0;
        trace::ends(g, outcome.status);
        (*g).id.store(0, Ordering::Release);
        let local = worker.local();
        let class = (*g).class;
        if class == local.stacks.class() {
            local.stacks.push(g);
        } else {
            stack::give_back(g, class);
        }
        bump(
            if daemon {
                &worker.counts.daemons_closed
            } else {
                &worker.counts.closed
            },
            1,
        );
        next(worker)
    }
}

/// `goroutine_safepoint` and `_full`: the registers of the goroutine are in `context`, on its stack.
///
/// # Safety
/// Called by the assembly on the goroutine's stack (or a plain thread's).
pub unsafe extern "C" fn on_safepoint_full(context: *mut GoroutineContext) {
    let g = tls::current();
    if g.is_null() {
        return;
    }
    // SAFETY: g is the running goroutine; the context lives until we return.
    unsafe {
        super::roots::describe_stack(g, &mut *context);
        (*g).context = context;
        safepoint(g);
        (*g).context = std::ptr::null_mut();
    }
}

/// Gives way if somebody asked for it, and waits where the world stops.
///
/// # Safety
/// `g` is the running goroutine.
pub unsafe fn safepoint(g: *mut Goroutine) {
    // SAFETY: the caller's promise.
    unsafe {
        if (*g).preempt.swap(0, Ordering::AcqRel) == 0 {
            return;
        }
        let waited = world::wait_here(g); // `world_word`, I2
        let done = native::is_native(g) && native::look(g);
        if !done && !waited {
            crate::context::yield_here();
        }
    }
}
