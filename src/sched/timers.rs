//! Arming and stopping timers. A timer lies in the wheel of the worker that started it; plain threads share one.

use super::expire;
use super::runtime::{self, Runtime};
use super::worker::{Worker, bump};
use crate::abi::*;
use crate::context::{goroutine_asm_call, note_control_words, tls};
use crate::goroutine::Goroutine;
use crate::sanitize;
use crate::sys::time::now_ns;
use crate::timer::slot::{self, Options, Target, slot};
use crate::timer::state::Stop;
use crate::timer::{OUT, SHARED};
use crate::trace;
use std::ffi::c_void;
use std::sync::atomic::Ordering;

const SLOTS: usize = 64;

/// Makes sure that the next `arm_inside` has a slot. False: out of memory.
///
/// # Safety
/// The calling thread holds `worker`.
#[inline(always)]
pub unsafe fn reserve(worker: &Worker) -> bool {
    // SAFETY: the caller's promise.
    let spare = unsafe { &mut worker.local().timer_slots };
    !spare.is_empty() || slot::take(SLOTS, spare)
}

/// Arms a one-shot timer in the worker's own wheel; gives its id.
///
/// # Safety
/// The calling thread holds `worker`, is inside its gate, and `reserve` said yes.
#[inline]
pub unsafe fn arm_inside(worker: &Worker, deadline: u64, target: Target) -> i64 {
    // SAFETY: the caller's promise; the slot is free, so ours.
    unsafe {
        let number = worker.local().timer_slots.pop().expect("reserve said yes");
        put(worker, number, deadline, 0, target, None)
    }
}

/// # Safety
/// As [`arm_inside`]; the slot is the caller's.
#[inline]
unsafe fn put(
    worker: &Worker,
    number: u32,
    deadline: u64,
    period: u64,
    target: Target,
    options: Option<Box<Options>>,
) -> i64 {
    let timer = slot(number);
    // SAFETY: the caller's promise.
    unsafe {
        let fields = timer.fields();
        fields.deadline = deadline;
        fields.period = period;
        fields.target = target;
        fields.options = options;
        fields.wheel = worker.index as u16;
        let generation = timer.word.arm();
        worker.gated().wheel.insert_fields(number, fields);
        if deadline < worker.next_due.load(Ordering::Relaxed) {
            worker.next_due.store(deadline, Ordering::Release);
        }
        slot::id(number, generation)
    }
}

/// A one-shot time-out of a park is not needed any more. It may have fired.
///
/// # Safety
/// On a thread that holds a worker.
pub unsafe fn disarm(id: i64) {
    if let Some((number, generation)) = slot::lookup(id)
        && slot(number).word.stop(generation, || false) == Stop::Unarmed
    {
        // SAFETY: the caller's promise.
        unlink(unsafe { (*tls::worker()).runtime() }, number);
    }
}

/// A stopped slot leaves its wheel: at once if the wheel is ours, else its owner does it at its next look.
#[inline]
fn unlink(runtime: &Runtime, number: u32) {
    let timer = slot(number);
    let wheel = timer.wheel();
    let worker = tls::worker();
    // SAFETY: the calling thread holds the worker, if any; inside its gate the wheel is ours.
    unsafe {
        if !worker.is_null() && (*worker).index == usize::from(wheel) {
            let worker = &*worker;
            worker.queue.enter();
            // Ours could have been emptied by a visitor that found the slot stopped.
            if timer.fields().bucket != OUT {
                worker.gated().wheel.remove_fields(number, timer.fields());
            }
            worker.queue.leave();
            if timer.word.free() {
                worker.local().timer_slots.push(number);
            }
            return;
        }
    }
    if wheel == SHARED {
        let mut shared = runtime.shared_wheel.lock();
        // SAFETY: the lock is held.
        if unsafe { timer.fields() }.bucket != OUT {
            shared.remove(number);
        }
        drop(shared);
        if timer.word.free() {
            slot::give_back(std::iter::once(number));
        }
    } else {
        runtime.workers[usize::from(wheel)].stopped.push(number);
    }
}

/// What a public timer is made of.
pub struct Request {
    /// From now, ns.
    pub delay: u64,
    /// 0: once.
    pub period: u64,
    /// The function and its argument.
    pub target: Target,
    /// Rare things.
    pub options: Option<Box<Options>>,
}

/// Starts a public timer. Gives its id, or a negative status.
#[inline]
pub fn start(request: Request) -> i64 {
    sanitize::released(&raw const sanitize::TIMERS);
    let worker = tls::worker();
    if worker.is_null() {
        return start_outside(request);
    }
    // SAFETY: the calling thread holds the worker, and nothing here parks.
    unsafe {
        let worker = &*worker;
        let deadline = worker.local().clock.base().saturating_add(request.delay);
        if worker.runtime().is_stopping() {
            return i64::from(GOROUTINE_ESHUTDOWN);
        }
        if !reserve(worker) {
            return i64::from(GOROUTINE_ENOMEM);
        }
        let counts = &worker.counts;
        bump(
            if is_unref(&request.options) {
                &counts.unref_opened
            } else {
                &counts.timers_opened
            },
            1,
        );
        let number = worker.local().timer_slots.pop().expect("reserved above");
        worker.queue.enter();
        let id = put(
            worker,
            number,
            deadline,
            request.period,
            request.target,
            request.options,
        );
        worker.queue.leave();
        trace::starts_timer(id, request.delay);
        id
    }
}

#[cold]
fn start_outside(request: Request) -> i64 {
    let runtime = match runtime::enter_or_start() {
        Ok(runtime) => runtime,
        Err(status) => return i64::from(status),
    };
    if runtime.is_stopping() {
        return i64::from(GOROUTINE_ESHUTDOWN);
    }
    let mut one = Vec::with_capacity(1);
    if !slot::take(1, &mut one) {
        return i64::from(GOROUTINE_ENOMEM);
    }
    let counts = &runtime.foreign;
    let opened = if is_unref(&request.options) {
        &counts.unref_opened
    } else {
        &counts.timers_opened
    };
    opened.fetch_add(1, Ordering::AcqRel);
    let deadline = now_ns().saturating_add(request.delay);
    let id = put_shared(
        &runtime,
        one[0],
        deadline,
        request.period,
        request.target,
        request.options,
    );
    trace::starts_timer(id, request.delay);
    id
}

fn put_shared(
    runtime: &Runtime,
    number: u32,
    deadline: u64,
    period: u64,
    target: Target,
    options: Option<Box<Options>>,
) -> i64 {
    let mut wheel = runtime.shared_wheel.lock();
    let timer = slot(number);
    // SAFETY: the slot is free, so ours; the lock is held.
    let fields = unsafe { timer.fields() };
    fields.deadline = deadline;
    fields.period = period;
    fields.target = target;
    fields.options = options;
    fields.wheel = SHARED;
    let generation = timer.word.arm();
    wheel.insert(number);
    runtime.shared_due.store(wheel.next_due(), Ordering::SeqCst);
    drop(wheel);
    look_at_shared(runtime, deadline);
    slot::id(number, generation)
}

/// `goroutine_timer_stop`.
#[inline]
pub fn stop(id: i64) -> bool {
    let Some((number, generation)) = slot::lookup(id) else {
        return false;
    };
    // A plain thread stays inside until the end is counted.
    let Some(runtime) = runtime::enter_to_end() else {
        return false;
    };
    let timer = slot(number);
    if !timer.is_call() {
        return false; // a made-up id that hits a sleep or a time-out
    }
    match timer.word.stop(generation, || timer.is_periodic()) {
        Stop::Nothing => false,
        Stop::LastRun => true, // the firing goroutine ends it
        Stop::Unarmed => {
            trace::stops_timer(id);
            // SAFETY: we won the stop: options and target are ours; place and wheel belong to the wheel.
            let (options, arg) = unsafe {
                let fields = timer.fields();
                let Target::Call { f, arg } = fields.target else {
                    return false;
                };
                let no_arg = std::ptr::null_mut(); // no collector is to find it here: it may lie in the wheel for long
                fields.target = Target::Call { f, arg: no_arg };
                (fields.options.take(), arg)
            };
            unlink(&runtime, number);
            close(&runtime, options, arg);
            true
        }
    }
}

/// Where the arguments of timers lie, with the timers' functions. The world is stopped.
pub fn for_each_argument(mut show: impl FnMut(u64, *mut *mut c_void)) {
    slot::for_each(|timer| {
        if !timer.word.is_used() || !timer.is_call() {
            return;
        }
        // SAFETY: in use, and those who would use the fields stand. (A plain thread may be starting or stopping this one: then it is plain
        // data that was there before, or comes after.)
        let fields = unsafe { timer.fields() };
        if let Target::Call { f, arg } = &mut fields.target {
            show(*f, arg);
        }
        if let Some(spawn) = fields.options.as_mut().and_then(|options| options.spawn.as_mut()) {
            for word in spawn.user.iter_mut().chain([&mut spawn.rbx]) {
                show(0, std::ptr::from_mut(word).cast());
            }
        }
    });
}

fn is_unref(options: &Option<Box<Options>>) -> bool {
    options.as_ref().is_some_and(|o| o.unref)
}

/// The end of a public timer: its `drop` runs, and it keeps the program alive no more.
fn close(runtime: &Runtime, options: Option<Box<Options>>, arg: *mut c_void) {
    let unref = is_unref(&options);
    if let Some(drop_arg) = options.and_then(|o| o.drop) {
        // SAFETY: the caller of goroutine_timer_start_with gave it for this argument; it runs once.
        unsafe { goroutine_asm_call(drop_arg as usize, arg as usize, 0, 0) };
        note_control_words();
    }
    let worker = tls::worker();
    if worker.is_null() {
        let counts = &runtime.foreign;
        if unref {
            &counts.unref_closed
        } else {
            &counts.timers_closed
        }
        .fetch_add(1, Ordering::AcqRel);
        runtime.closed_from_outside();
        return;
    }
    // SAFETY: the calling thread holds the worker.
    let counts = unsafe { &(*worker).counts };
    bump(
        if unref {
            &counts.unref_closed
        } else {
            &counts.timers_closed
        },
        1,
    );
}

/// What a firing slot says about the goroutine to spawn for it.
///
/// # Safety
/// The slot is FIRING, and the caller's.
pub unsafe fn spawn_options(number: u32) -> Option<(GoroutineSpawn, *const std::ffi::c_char)> {
    // SAFETY: the caller's promise.
    let options = unsafe { slot(number).fields() }.options.as_ref()?;
    let name = options.name.as_ref().map_or(std::ptr::null(), |n| n.as_ptr());
    options.spawn.map(|s| (s, name))
}

/// For a trace: `g` is about to start for a firing slot.
///
/// # Safety
/// As [`spawn_options`]; `g` is the caller's.
#[inline(always)]
pub unsafe fn trace_firing(g: *const Goroutine, number: u32) {
    if trace::is_on() {
        // SAFETY: the caller's promise.
        unsafe {
            if let Target::Call { f, .. } = slot(number).fields().target {
                trace::fires(g, f);
            }
        }
    }
}

/// The body of the goroutine that a due timer starts. Its end, however it comes about, is [`finish`].
///
/// # Safety
/// Runs in a goroutine; `number` is a FIRING slot that belongs to it.
pub unsafe extern "C" fn body(number: *mut c_void) -> *mut c_void {
    let timer = slot(number as usize as u32);
    // SAFETY: TimerWord I3: FIRING, so the fields are ours.
    let target = unsafe { timer.fields() }.target;
    if let Target::Call { f, arg } = target {
        // A stop that came between the firing and now wins: periodic timers "will not run again".
        if !timer.word.is_stopped() {
            sanitize::acquired(&raw const sanitize::TIMERS);
            // SAFETY: the caller of goroutine_timer_start gave the function, a GoroutineFn, and its argument.
            unsafe { goroutine_asm_call(f as usize, arg as usize, 0, 0) };
        }
    }
    std::ptr::null_mut()
}

/// The goroutine of a firing timer is over: the next period, or the end of the timer.
///
/// # Safety
/// `number` is a FIRING slot that belongs to the caller.
pub unsafe fn finish(number: *mut c_void) {
    let number = number as usize as u32;
    let timer = slot(number);
    let worker = tls::worker();
    if worker.is_null() {
        // SAFETY: the caller's promise.
        return unsafe { finish_outside(number) };
    }
    // SAFETY: the caller's promise: FIRING, or STOPPED while firing.
    unsafe {
        let worker = &*worker;
        let period = timer.fields().period;
        let Target::Call { arg, .. } = timer.fields().target else {
            return;
        };
        if period != 0 && !worker.runtime().is_stopping() {
            let fields = timer.fields();
            next_period(fields);
            fields.wheel = worker.index as u16;
            let deadline = fields.deadline;
            worker.queue.enter();
            let again = timer.word.rearm();
            if again {
                worker.gated().wheel.insert(number);
                if deadline < worker.next_due.load(Ordering::Relaxed) {
                    worker.next_due.store(deadline, Ordering::Release);
                }
            }
            worker.queue.leave();
            if again {
                return;
            }
        }
        let options = timer.fields().options.take();
        if timer.word.free() {
            worker.local().timer_slots.push(number);
        }
        close(worker.runtime(), options, arg);
    }
}

/// [`finish`] of a goroutine that is bound: the next period is in the shared wheel.
///
/// # Safety
/// As [`finish`].
#[cold]
unsafe fn finish_outside(number: u32) {
    let timer = slot(number);
    // A goroutine that ends keeps its runtime from ending.
    let runtime = runtime::enter_to_end().expect("a runtime ended with a goroutine in it");
    // SAFETY: the caller's promise: FIRING, or STOPPED while firing.
    unsafe {
        let fields = timer.fields();
        let Target::Call { arg, .. } = fields.target else {
            return;
        };
        if fields.period != 0 && !runtime.is_stopping() {
            next_period(fields);
            let mut wheel = runtime.shared_wheel.lock();
            fields.wheel = SHARED;
            let deadline = fields.deadline;
            if timer.word.rearm() {
                wheel.insert(number);
                runtime.shared_due.store(wheel.next_due(), Ordering::SeqCst);
                drop(wheel);
                return look_at_shared(&runtime, deadline);
            }
        }
        let options = timer.fields().options.take();
        if timer.word.free() {
            slot::give_back(std::iter::once(number));
        }
        close(&runtime, options, arg);
    }
}

/// On the grid of the first deadline, so that an interval never drifts; missed beats are left out.
fn next_period(fields: &mut slot::Fields) {
    let missed = now_ns().saturating_sub(fields.deadline) / fields.period;
    fields.deadline = fields
        .deadline
        .saturating_add((missed + 1).saturating_mul(fields.period));
}

/// A timer was put into the shared wheel: a sleeper that sleeps longer must look again; running workers look by themselves.
fn look_at_shared(runtime: &Runtime, deadline: u64) {
    crate::sync::fence_seq_cst();
    if deadline < runtime.sleeping_until.load(Ordering::SeqCst) {
        runtime.wake_one();
    }
}

/// There was no memory for a goroutine: the timer stays due, and fires when there is.
///
/// # Safety
/// The calling thread holds `worker`; the slot is FIRING and the caller's.
pub unsafe fn postpone(worker: &Worker, number: u32) {
    const RETRY_NS: u64 = 1_000_000;
    let timer = slot(number);
    // SAFETY: the caller's promise.
    unsafe {
        timer.fields().wheel = worker.index as u16;
        let deadline = now_ns() + RETRY_NS;
        // The grid of an interval is kept: `finish` counts from the deadline, which moves by less than a period then.
        timer.fields().deadline = deadline;
        worker.queue.enter();
        let again = timer.word.rearm();
        if again {
            worker.gated().wheel.insert(number);
            worker.next_due.store(
                deadline.min(worker.next_due.load(Ordering::Relaxed)),
                Ordering::Release,
            );
        }
        worker.queue.leave();
        if !again {
            let Target::Call { arg, .. } = timer.fields().target else {
                return;
            };
            let options = timer.fields().options.take();
            if timer.word.free() {
                worker.local().timer_slots.push(number);
            }
            close(worker.runtime(), options, arg);
        }
    }
}

/// How many timers are armed, for stats. A worker that does not come out of its gate (its thread is not running) is asked again
/// for a while, and then left out.
pub fn pending(runtime: &Runtime) -> u64 {
    const TRIES: u32 = 100;
    let mut pending = runtime.shared_wheel.lock().len();
    for worker in &runtime.workers {
        pending += (0..TRIES)
            .find_map(|_| {
                let armed = expire::armed(worker);
                if armed.is_none() {
                    std::thread::yield_now();
                }
                armed
            })
            .unwrap_or(0);
    }
    pending as u64
}

/// At shutdown: every public timer that is armed is stopped.
pub fn stop_all() {
    for id in slot::armed_calls() {
        stop(id);
    }
}
