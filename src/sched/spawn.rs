//! How a goroutine starts.

use super::bind::{self, Start};
use super::runtime::{self, Runtime};
use super::timers;
use super::worker::{Worker, bump, foreign_id};
use crate::abi::*;
use crate::context::{Entry, INITIAL_FCW, INITIAL_MXCSR, return_address, tls};
use crate::goroutine::{EXTRAS, FORKS, Goroutine, Runnable, copy_name};
use crate::promise::{Promise, pool};
use crate::stack::{self, LIMIT};
use crate::sys::report::{out_of_range, wrong_field};
use crate::trace;
use std::ffi::{c_char, c_void};
use std::mem::size_of;
use std::sync::atomic::{AtomicU32, Ordering};

const FLAGS: u32 =
    GOROUTINE_SPAWN_BOUND | GOROUTINE_SPAWN_PRIORITY | GOROUTINE_SPAWN_DAEMON | GOROUTINE_SPAWN_PINNED;
const STACK_ARGS_MAX: u64 = 65_536;

/// Writes the control block of a goroutine that is about to start: `f(arg)`, no promise, no flags. `site`: the code that wants it, for
/// reports; 0: none.
///
/// # Safety
/// `g` is a control block of this class that belongs to the caller.
#[inline(always)]
pub(super) unsafe fn init(g: *mut Goroutine, class: u8, id: u64, f: u64, arg: u64, site: u64) {
    let base = g as u64 & !((1 << class) - 1);
    // SAFETY: the caller's promise. The page may hold anything in lines 1 to 3, so all that is ever read there is written
    // but for `context`, `native_stack` and `foreign_sp`, which are 0 whenever a goroutine is over, and `next`. Line 4 is
    // empty (`EXTRAS`, `native`).
    unsafe {
        let block = &mut *g;
        block.stack_limit = base + stack::GUARD as u64 + LIMIT;
        block.site = site;
        block.preempt = AtomicU32::new(0);
        block.flags = AtomicU32::new(0);
        block.user = [0; 3];
        block.promise = std::ptr::null_mut();
        block.last_worker = 0;
        block.class = class;
        block.held = 0;
        block.spawn_flags = 0;
        block.forks = FORKS.load(Ordering::Relaxed);
        block.entry_fn = f;
        block.rsp = g as u64 - 16;
        block.rbx = 0;
        block.rbp = 0;
        block.r12 = 0;
        block.r13 = 0;
        block.r14 = 0;
        block.r15 = 0;
        block.mxcsr = INITIAL_MXCSR;
        block.fcw = INITIAL_FCW;
        block.errno = 0;
        (g as *mut [u64; 2]).sub(1).write([Entry::Plain.address(), arg]);
        // Release, and last: who finds it looks at the rest (`sched::roots`), also while C code spawns in a stopped world.
        block.id.store(id, Ordering::Release);
    }
}

/// What the library does when the goroutine is over, or would have been.
///
/// # Safety
/// `g` was just initialised.
unsafe fn at_end(g: *mut Goroutine, end: unsafe fn(arg: *mut c_void), arg: *mut c_void) {
    // SAFETY: the caller's promise.
    unsafe {
        (*g).spawn_flags |= EXTRAS;
        (*g).entry_arg = arg as u64;
        (*g).end = Some(end);
    }
}

/// # Safety
/// `g` was just initialised; `name` is null or a string.
unsafe fn set_name(g: *mut Goroutine, name: *const c_char) {
    // SAFETY: the caller's promise.
    unsafe {
        if !name.is_null() {
            (*g).spawn_flags |= EXTRAS;
            (*g).name.store(copy_name(name), Ordering::Release); // partner: `name_of`
        }
    }
}

/// A goroutine of the library's own: `f(arg)`, and `end(arg)` off its stack when it is over, however that comes about.
///
/// # Safety
/// `f` is a GoroutineFn. `site`: as [`init`].
pub unsafe fn internal(
    f: u64,
    arg: *mut c_void,
    end: unsafe fn(arg: *mut c_void),
    site: u64,
) -> Result<(), GoroutineStatus> {
    let runtime = runtime::enter_or_start()?;
    if runtime.is_stopping() {
        return Err(GOROUTINE_ESHUTDOWN);
    }
    let worker = tls::worker();
    // SAFETY: the thread holds its worker, if any; the stack is ours from a pool.
    unsafe {
        let g = if worker.is_null() {
            stack::acquire(runtime.class, f, site)
        } else {
            (*worker).local().stacks.pop(f, site)
        };
        let g = g.ok_or(GOROUTINE_ENOMEM)?;
        let id = if worker.is_null() {
            foreign_id()
        } else {
            (*worker).next_id()
        };
        init(g, runtime.class, id, f, arg as u64, site);
        at_end(g, end, arg);
        launch(g, &runtime);
    }
    Ok(())
}

/// `f(arg)` in a goroutine of the default kind; with a promise if `promised`. The promise is null if not. `site`: as [`init`].
///
/// # Safety
/// `f` is a function of type GoroutineFn.
#[inline(always)]
pub unsafe fn plain(
    f: u64,
    arg: *mut c_void,
    promised: bool,
    site: u64,
) -> Result<*mut Promise, GoroutineStatus> {
    let worker = tls::worker();
    if worker.is_null() {
        // SAFETY: the caller's promise.
        return unsafe { plain_outside(f, arg, promised, site) };
    }
    // SAFETY: the calling thread holds the worker; nothing here parks. The stack is ours from the pool.
    unsafe {
        let worker = &*worker;
        if worker.runtime().is_stopping() {
            return Err(GOROUTINE_ESHUTDOWN);
        }
        let local = worker.local();
        let Some(g) = local.stacks.pop(f, site) else {
            return Err(GOROUTINE_ENOMEM);
        };
        let class = local.stacks.class();
        init(g, class, worker.next_id(), f, arg as u64, site);
        let mut promise = std::ptr::null_mut();
        if promised {
            promise = pool::take_from(&mut local.promises);
            if promise.is_null() {
                discard(g, class);
                return Err(GOROUTINE_ENOMEM);
            }
            Promise::init(promise, None, g);
            (*g).promise = promise;
        }
        bump(&worker.counts.opened, 1);
        trace::spawns(g);
        if worker.queue.push(Runnable(g)) == super::run_queue::Pushed::Share {
            super::share::share(worker);
        }
        Ok(promise)
    }
}

#[cold]
unsafe fn plain_outside(
    f: u64,
    arg: *mut c_void,
    promised: bool,
    site: u64,
) -> Result<*mut Promise, GoroutineStatus> {
    let runtime = runtime::enter_or_start()?;
    if runtime.is_stopping() {
        return Err(GOROUTINE_ESHUTDOWN);
    }
    let class = runtime.class;
    let g = stack::acquire(class, f, site).ok_or(GOROUTINE_ENOMEM)?;
    // SAFETY: the stack is ours from the pool.
    unsafe {
        init(g, class, foreign_id(), f, arg as u64, site);
        if promised && !give_promise(g) {
            discard(g, class);
            return Err(GOROUTINE_ENOMEM);
        }
        let promise = (*g).promise;
        launch(g, &runtime);
        Ok(promise)
    }
}

/// # Safety
/// `g` is the caller's and not started.
unsafe fn give_promise(g: *mut Goroutine) -> bool {
    let promise = pool::take_one();
    if promise.is_null() {
        return false;
    }
    // SAFETY: the caller's promise.
    unsafe {
        Promise::init(promise, None, g);
        (*g).promise = promise;
    }
    true
}

/// It does not start after all: not in use, and its stack goes back.
///
/// # Safety
/// `g` is the caller's and not started.
#[cold]
unsafe fn discard(g: *mut Goroutine, class: u8) {
    // SAFETY: the caller's promise.
    unsafe {
        (*g).id.store(0, Ordering::Release);
        stack::learn::forget(g);
        stack::give_back(g, class);
    }
}

/// Counts it and queues it, from any thread.
///
/// A shutdown that begins after our look at its phase counts again once the last plain thread is out, so it sees what we
/// opened, and cancels it.
///
/// # Safety
/// `g` is ready to run and the caller's.
unsafe fn launch(g: *mut Goroutine, runtime: &Runtime) {
    // SAFETY: the caller's promise; the thread holds its worker, if any.
    unsafe {
        count_opened(g, runtime);
        trace::spawns(g);
        let worker = tls::worker();
        if worker.is_null() {
            runtime.queue_from_outside(Runnable(g));
        } else {
            (*worker).enqueue(g);
        }
    }
}

/// # Safety
/// As [`launch`].
unsafe fn count_opened(g: *mut Goroutine, runtime: &Runtime) {
    // SAFETY: the caller's promise; the thread holds its worker, if any.
    unsafe {
        let daemon = (*g).spawn_flags & GOROUTINE_SPAWN_DAEMON != 0;
        let worker = tls::worker();
        if worker.is_null() {
            let counts = &runtime.foreign;
            if daemon {
                &counts.daemons_opened
            } else {
                &counts.opened
            }
            .fetch_add(1, Ordering::AcqRel);
        } else {
            let counts = &(*worker).counts;
            bump(
                if daemon {
                    &counts.daemons_opened
                } else {
                    &counts.opened
                },
                1,
            );
        }
    }
}

/// Refuses flags and sizes that no runtime accepts.
pub fn check(request: &GoroutineSpawn) -> Result<(), GoroutineStatus> {
    if request.flags & !FLAGS != 0 {
        return Err(out_of_range("flags"));
    }
    if request.stack_bytes != 0 && stack::class_for(request.stack_bytes).is_none() {
        return Err(out_of_range("stack_bytes"));
    }
    Ok(())
}

/// `goroutine_spawn_with`.
///
/// # Safety
/// `request` is valid for its `size`; what it points to is readable.
pub unsafe fn with(
    request: &GoroutineSpawn,
    promised: bool,
    site: u64,
) -> Result<*mut Promise, GoroutineStatus> {
    let short = request.size as usize == GOROUTINE_SPAWN_BYTES_MIN;
    if !short && (request.size as usize) < GOROUTINE_SPAWN_BYTES {
        return Err(wrong_field(
            "size",
            "is not that of a GoroutineSpawn: see goroutine_spawn_init",
        ));
    }
    check(request)?;
    let from_context = !short && !request.context.is_null();
    if request.r#fn.is_null() && !from_context {
        return Err(wrong_field("fn", "is NULL"));
    }
    if !short && request.stack_args_count > STACK_ARGS_MAX {
        return Err(out_of_range("stack_args_count"));
    }
    if !short && request.stack_args.is_null() && request.stack_args_count != 0 {
        return Err(wrong_field("stack_args", "is NULL"));
    }
    let runtime = runtime::enter_or_start()?;
    if runtime.is_stopping() {
        return Err(GOROUTINE_ESHUTDOWN);
    }
    let class = if short || request.stack_bytes == 0 {
        runtime.class
    } else {
        match stack::class_for(request.stack_bytes) {
            Some(class) if class <= runtime.class_max => class,
            _ => {
                return Err(wrong_field(
                    "stack_bytes",
                    "is above the config's stack_bytes_max",
                ));
            }
        }
    };
    let start = if request.flags & GOROUTINE_SPAWN_BOUND == 0 {
        Start::Unbound
    } else {
        bind::start_bound(runtime.shared())?
    };
    let worker = tls::worker();
    // SAFETY: the thread holds its worker, if any; the stack is ours from a pool; its size was checked below.
    unsafe {
        let g = if !worker.is_null() && (*worker).local().stacks.class() == class {
            (*worker).local().stacks.pop(request.r#fn as u64, site)
        } else {
            stack::acquire(class, request.r#fn as u64, site)
        };
        let Some(g) = g else {
            bind::give_up(runtime.shared(), start);
            return Err(GOROUTINE_ENOMEM);
        };
        let bounds = stack::bounds_of(g);
        let id = if worker.is_null() {
            foreign_id()
        } else {
            (*worker).next_id()
        };
        init(g, class, id, request.r#fn as u64, request.int_args[0], site);
        let needed = if short {
            0
        } else {
            request.stack_args_count as usize * 8
        } + 4096
            + LIMIT as usize;
        if needed > bounds.top - bounds.low || (promised && !give_promise(g)) {
            discard(g, class);
            bind::give_up(runtime.shared(), start);
            return Err(if needed > bounds.top - bounds.low {
                wrong_field("stack_args_count", "is more than the stack has room for")
            } else {
                GOROUTINE_ENOMEM
            });
        }
        (*g).spawn_flags |= request.flags & !GOROUTINE_SPAWN_BOUND;
        if start != Start::Unbound {
            (*g).spawn_flags &= !GOROUTINE_SPAWN_PINNED; // it gets a thread of its own
        } else if request.flags & GOROUTINE_SPAWN_PINNED != 0 {
            (*g).spawn_flags |= EXTRAS; // its end looks
            (*g).last_worker = if worker.is_null() {
                runtime.next_pin() as u16
            } else {
                (*worker).index as u16
            };
            let worker = &runtime.workers[usize::from((*g).last_worker)];
            worker.pinned.fetch_add(1, Ordering::Relaxed);
        }
        stack::valgrind_stack_reset(bounds.low, bounds.top);
        fill(g, request, short, from_context);
        let promise = (*g).promise;
        if start == Start::Unbound {
            launch(g, &runtime);
        } else {
            count_opened(g, &runtime);
            trace::spawns(g);
            bind::launch_bound(runtime.shared(), g, start);
        }
        Ok(promise)
    }
}

/// Registers, stack arguments and options of the request.
unsafe fn fill(g: *mut Goroutine, request: &GoroutineSpawn, short: bool, from_context: bool) {
    // SAFETY: the caller checked that the stack has room; g is its own.
    unsafe {
        let mut sp = g as u64;
        let entry;
        if from_context {
            sp -= size_of::<GoroutineContext>() as u64;
            sp &= !15;
            let copy = sp as *mut GoroutineContext;
            copy.write(*request.context);
            if (*copy).rsp == 0 {
                // Our own stack: a return from there ends the goroutine.
                sp -= 8; // rsp at 8 mod 16, as after a call
                *(sp as *mut u64) = return_address();
                (*copy).rsp = sp;
                sp = (sp - 256) & !15; // below what restore_context stages
            }
            entry = Entry::Context;
            (*g).entry_arg = copy as u64;
        } else {
            let count = if short { 0 } else { request.stack_args_count };
            sp = (sp - count * 8) & !15;
            if count != 0 {
                std::ptr::copy_nonoverlapping(request.stack_args, sp as *mut u64, count as usize);
            }
            sp -= 64;
            let fp_args = if short { [0.0; 8] } else { request.fp_args };
            (sp as *mut [f64; 8]).write(fp_args);
            sp -= 48;
            (sp as *mut [u64; 6]).write(request.int_args);
            entry = Entry::Full;
        }
        sp -= 8;
        (sp as *mut u64).write(entry.address());
        (*g).rsp = sp;
        if short {
            return;
        }
        (*g).rbx = request.rbx;
        (*g).rbp = request.rbp;
        (*g).r12 = request.r12;
        (*g).r13 = request.r13;
        (*g).r14 = request.r14;
        (*g).r15 = request.r15;
        (*g).user = request.user;
        set_name(g, request.name);
    }
}

/// A due timer's goroutine, before regular work. If there is no memory for it now, the timer stays due.
///
/// # Safety
/// The calling thread holds `worker`; the slot is FIRING and the caller's.
pub unsafe fn timer_call(worker: &Worker, number: u32) {
    let runtime = worker.runtime();
    // SAFETY: the caller's promise.
    unsafe {
        if runtime.is_stopping() {
            return timers::finish(number as usize as *mut c_void);
        }
        let options = timers::spawn_options(number);
        let class = options
            .and_then(|(s, _)| {
                (s.stack_bytes != 0)
                    .then(|| stack::class_for(s.stack_bytes))
                    .flatten()
            })
            .unwrap_or(runtime.class);
        let local = worker.local();
        let f = timers::body as *const () as u64;
        let stack = if class == local.stacks.class() {
            local.stacks.pop(f, 0)
        } else {
            stack::acquire(class, f, 0)
        };
        let Some(g) = stack else {
            return timers::postpone(worker, number);
        };
        init(g, class, worker.next_id(), f, u64::from(number), 0);
        (*g).spawn_flags |= GOROUTINE_SPAWN_PRIORITY;
        at_end(g, timers::finish, number as usize as *mut c_void);
        if let Some((s, name)) = options {
            (*g).user = s.user;
            (*g).rbx = s.rbx;
            set_name(g, name);
        }
        bump(&worker.counts.opened, 1);
        trace::spawns(g);
        timers::trace_firing(g, number);
        worker.enqueue_urgent(g);
    }
}
