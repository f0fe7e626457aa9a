//! Settling promises from anywhere, and waiting for them.

use super::combinator;
use super::wait::wait_thread as wait_thread_on;
use crate::abi::*;
use crate::context::{goroutine_asm_call, tls};
use crate::goroutine::Goroutine;
use crate::goroutine::waits::{Kind, Waits};
use crate::promise::cell::Waiter;
use crate::promise::{Outcome, Owner, Promise, PromiseWaiter, Settled, pool};
use crate::sched::{bind, park, runtime, spawn};
use crate::wait::thread::ThreadWait;
use std::ffi::c_void;
use std::sync::atomic::Ordering;

/// Settles a promise and queues whom that wakes. False: it was settled before.
pub fn settle(promise: &Promise, outcome: Outcome) -> bool {
    let mut settled = Settled::new();
    let first = promise.settle(outcome, &mut settled);
    // SAFETY: no lock is held.
    unsafe { settled.run_operations() };
    queue(settled);
    first
}

/// Queues whom a settling woke.
pub fn queue(settled: Settled) {
    for g in settled.ready {
        // SAFETY: the list owned it.
        unsafe { park::queue(g.0) };
    }
}

/// One reference less; reports a failure that nobody looked at.
///
/// # Safety
/// The caller had a reference.
#[inline(always)]
pub unsafe fn release(promise: *const Promise) {
    // SAFETY: the caller's promise.
    if let Some(unseen) = unsafe { Promise::release(promise) } {
        report(unseen);
    }
}

#[cold]
fn report(unseen: Outcome) {
    match runtime::enter() {
        // SAFETY: no goroutine is named.
        Some(runtime) => unsafe { runtime.unhandled(std::ptr::null(), unseen) },
        None if unseen.status == GOROUTINE_ECANCELED => {} // by a shutdown, most likely
        None => runtime::report_unhandled(0, unseen, None),
    }
}

/// Reports the failures of handles that nobody has looked at, unless somebody had cancelled them. Goroutines may still run, and
/// give handles back meanwhile.
pub fn report_handles() {
    pool::for_each(|promise| {
        if promise.is_handle()
            && let Some(unseen) = promise.unseen()
            && unseen.status != GOROUTINE_ECANCELED
        {
            report(unseen);
        }
    });
}

/// Gives back every handle that nobody did, after `report_handles`.
pub fn release_handles() {
    pool::for_each(|promise| {
        if promise.take_handle() {
            // SAFETY: the handle's reference, which is nobody else's now.
            let _reported = unsafe { Promise::release(promise) };
        }
    });
}

/// The outcome, waiting for it if need be. Err: why not (time-out, cancelled, ...).
#[inline(always)]
pub fn wait(promise: &Promise, timeout_ns: u64) -> Result<Outcome, GoroutineStatus> {
    match promise.outcome() {
        Some(outcome) => {
            if outcome.status != GOROUTINE_OK {
                promise.observe();
            }
            Ok(outcome)
        }
        None => wait_pending(promise, timeout_ns),
    }
}

#[inline(never)]
fn wait_pending(promise: &Promise, timeout_ns: u64) -> Result<Outcome, GoroutineStatus> {
    if timeout_ns == 0 {
        return Err(GOROUTINE_EAGAIN);
    }
    promise.observe();
    let deadline = park::deadline_after(timeout_ns);
    let g = tls::current();
    if g.is_null() {
        wait_thread(promise, deadline)
    } else {
        wait_goroutine(promise, g, deadline)
    }
}

struct Join {
    promise: *const Promise,
    waiter: PromiseWaiter,
}

fn wait_goroutine(promise: &Promise, g: *mut Goroutine, deadline: u64) -> Result<Outcome, GoroutineStatus> {
    let mut join = Join {
        promise,
        waiter: Waiter::new(Owner::Goroutine { g, sequence: 0 }),
    };
    // SAFETY: on a goroutine; `join` stays in place until the park is over and the waiter left.
    let status = unsafe {
        if bind::is_bound(g) && deadline == u64::MAX {
            (*g).waits_for
                .store(std::ptr::from_ref(promise).cast_mut(), Ordering::Release);
        }
        let status = park::park(
            Waits::on(Kind::Promise, promise),
            Some(join_promise),
            (&raw mut join).cast(),
            deadline,
        );
        if bind::is_bound(g) {
            (*g).waits_for.store(std::ptr::null_mut(), Ordering::Relaxed);
        }
        status
    };
    if status != GOROUTINE_OK {
        // SAFETY: it joined, or was never linked; then leave only says so.
        let _ = unsafe { promise.cell.leave(&raw mut join.waiter) };
    }
    match promise.outcome() {
        // Settled at the last moment counts, except for who was told to stop.
        Some(outcome) if status != GOROUTINE_ECANCELED => Ok(outcome),
        _ => Err(status),
    }
}

/// # Safety
/// The join step of a park: `arg` is a `Join` on g's stack.
unsafe fn join_promise(g: *mut Goroutine, sequence: u64, arg: *mut c_void) -> bool {
    // SAFETY: the caller's promise; the promise is borrowed by the waiting caller.
    unsafe {
        let join = arg.cast::<Join>();
        (*join).waiter.owner = Owner::Goroutine { g, sequence };
        (*(*join).promise).cell.join(&raw mut (*join).waiter)
    }
}

fn wait_thread(promise: &Promise, deadline: u64) -> Result<Outcome, GoroutineStatus> {
    let word = ThreadWait::new();
    let mut waiter = PromiseWaiter::new(Owner::Thread(&raw const word));
    let place = &raw mut waiter;
    // SAFETY: the waiter stays in place until it left, or was woken under the lock that `leave` takes.
    let status = unsafe {
        let status = wait_thread_on(&word, deadline, 0, || promise.cell.join(place));
        // Also when woken: the waker is done with it once the lock is ours.
        let _ = promise.cell.leave(place);
        status
    };
    promise.outcome().ok_or(if status == GOROUTINE_OK {
        GOROUTINE_ETIMEDOUT
    } else {
        status
    })
}

/// Where promises' values lie, and what waits for promises. `round`: of this look at the world.
///
/// # Safety
/// The world is stopped.
pub unsafe fn for_each_root(round: u64, show: &mut dyn FnMut(*mut *mut c_void)) {
    pool::for_each(|promise| {
        if !promise.is_alive() {
            return;
        }
        promise.cell.look(|what| match what {
            Ok(outcome) => {
                show(&raw mut outcome.value);
                if promise.drops_with(combinator::free_values) {
                    // SAFETY: an array of a combination.
                    unsafe { combinator::for_each_element(outcome.value, show) };
                }
            }
            Err(waiting) => {
                for owner in waiting {
                    if let &Owner::Operation { run, data, .. } = owner {
                        // SAFETY: linked, so what waits is alive.
                        unsafe { of_operation(run, data, round, show) };
                    }
                }
            }
        });
    });
}

type Run = unsafe fn(waiter: *mut PromiseWaiter, settled: &mut Settled);

/// # Safety
/// `data` is `run`'s, and alive.
unsafe fn of_operation(run: Run, data: *mut c_void, round: u64, show: &mut dyn FnMut(*mut *mut c_void)) {
    // SAFETY: the caller's promise.
    unsafe {
        if std::ptr::fn_addr_eq(run, run_then as Run) {
            show(&raw mut (*data.cast::<Then>()).arg);
        } else {
            combinator::for_each_unfinished(run, data, round, show);
        }
    }
}

/// Where a `then`'s argument lies, if `f` is the function of its goroutine and `arg` what that will get.
///
/// # Safety
/// The goroutine has not begun.
pub unsafe fn then_argument(f: u64, arg: *mut c_void) -> Option<*mut *mut c_void> {
    // SAFETY: the caller's promise.
    (f == then_body as *const () as u64).then(|| unsafe { &raw mut (*arg.cast::<Then>()).arg })
}

/// The same, of a timer that tries again.
///
/// # Safety
/// The timer has not fired.
pub unsafe fn then_again_argument(f: u64, arg: *mut c_void) -> Option<*mut *mut c_void> {
    // SAFETY: the caller's promise.
    (f == then_again as *const () as u64).then(|| unsafe { &raw mut (*arg.cast::<Then>()).arg })
}

struct Then {
    promise: *const Promise,
    f: unsafe extern "C" fn(*mut c_void, GoroutineStatus, *mut c_void),
    arg: *mut c_void,
    /// Of the call.
    site: u64,
    waiter: PromiseWaiter,
}

/// `goroutine_promise_then`: the callback is an operation of the promise; its goroutine is spawned when it settles.
/// If there is no memory for a goroutine then, a timer tries again until there is.
pub fn then(
    promise: &Promise,
    f: unsafe extern "C" fn(*mut c_void, GoroutineStatus, *mut c_void),
    arg: *mut c_void,
    site: u64,
) -> GoroutineStatus {
    drop(match runtime::enter_or_start() {
        Ok(inside) => inside,
        Err(status) => return status,
    });
    promise.observe();
    promise.retain();
    let then = Box::into_raw(Box::new(Then {
        promise,
        f,
        arg,
        site,
        waiter: Waiter::new(Owner::Operation {
            run: run_then,
            data: std::ptr::null_mut(),
            index: 0,
        }),
    }));
    // SAFETY: `then` lives until its goroutine frees it.
    unsafe {
        (*then).waiter.owner = Owner::Operation {
            run: run_then,
            data: then.cast(),
            index: 0,
        };
        if !promise.cell.join(&raw mut (*then).waiter) {
            start_then(then);
        }
    }
    GOROUTINE_OK
}

unsafe fn run_then(waiter: *mut PromiseWaiter, _: &mut Settled) {
    // SAFETY: handed up by settle; data is the Then around it.
    unsafe {
        if let Owner::Operation { data, .. } = (*waiter).owner {
            start_then(data.cast());
        }
    }
}

unsafe fn start_then(then: *mut Then) {
    const RETRY_NS: u64 = 1_000_000;
    let f = then_body as *const () as u64;
    // SAFETY: then_body has the type of a GoroutineFn.
    match unsafe { spawn::internal(f, then.cast(), then_end, (*then).site) } {
        Ok(()) => {}
        Err(GOROUTINE_ENOMEM) => {
            let target = crate::timer::slot::Target::Call {
                f: then_again as *const () as u64,
                arg: then.cast(),
            };
            let request = crate::sched::timers::Request {
                delay: RETRY_NS,
                period: 0,
                target,
                options: None,
            };
            if crate::sched::timers::start(request) < 0 {
                crate::sys::report::fatal("no memory for a goroutine, nor for a timer to try again later");
            }
        }
        // Shutting down: like everything else that has not started, it does not.
        // SAFETY: nobody else has it.
        Err(_) => unsafe { then_end(then.cast()) },
    }
}

unsafe extern "C" fn then_body(then: *mut c_void) -> *mut c_void {
    // SAFETY: the block stays until then_end.
    unsafe {
        let then = &*then.cast::<Then>();
        let outcome = (*then.promise).outcome().expect("a then runs after the settling");
        goroutine_asm_call(
            then.f as usize,
            then.arg as usize,
            outcome.status as usize,
            outcome.value as usize,
        );
    }
    std::ptr::null_mut()
}

/// Its goroutine is over, also by goroutine_exit; or it never started.
unsafe fn then_end(then: *mut c_void) {
    // SAFETY: start_then gave it to that goroutine alone.
    unsafe { release(Box::from_raw(then.cast::<Then>()).promise) };
}

/// A timer's way to try again.
unsafe extern "C" fn then_again(then: *mut c_void) -> *mut c_void {
    // SAFETY: start_then gave it to the timer alone.
    unsafe { start_then(then.cast()) };
    std::ptr::null_mut()
}
