//! Threads that the library did not make, and that call language code: each gets a goroutine of its own, bound to it, with its
//! own stack and id, from its first callback until it ends (or the runtime does).
//!
//! ```text
//!   the thread's stack                        the goroutine's
//!   frames of C                               (empty between two callbacks)
//!   goroutine_asm_thread_run      ---------> function
//!   scheduling, while it is parked                 C that it calls runs below `thread_run`, as anywhere
//! ```
//!
//! So a callback is a goroutine's whole life on a thread that schedules nobody else: `thread_run` returns when it is over. Callbacks
//! inside that one find the goroutine running, and are those of any bound goroutine.
//!
//! Between callbacks the thread is a plain one, and the goroutine's id is out of sight (0): a shutdown neither cancels
//! nor waits for it. During a callback it counts as a daemon, so a shutdown cancels it and waits; a thread of the host begins no
//! other then.
//!
//! The same serves threads of the library that run no goroutine: C code of `goroutine_ffi_call_async`, or a callback of the
//! configuration.
//!
//! Seats. A thread finds its seat through a pthread key, whose destructor frees it. A shutdown deletes the key, so that the
//! library may be unloaded, and takes the stacks of all seats. It leaves the seats themselves allocated: a thread that is
//! in the destructor at that moment finds by the seat's address that it is not on the list any more, so no other seat
//! may ever have that address. Destructors of others that call back after ours get a goroutine for each callback. (Known: a thread whose
//! very first callback comes in the C library's last round of destructors leaves its goroutine until the shutdown.)

use super::bind;
use super::runtime::{self, Inside};
use super::spawn;
use super::worker::foreign_id;
use super::world;
use crate::abi::*;
use crate::context::{goroutine_asm_leave, goroutine_asm_thread_run, tls};
use crate::goroutine::waits::Kind;
use crate::goroutine::{ERRNO_WIDE, Goroutine};
use crate::promise::Outcome;
use crate::stack;
use crate::sys::mutex::Mutex;
use crate::sys::report;
use crate::trace;
use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::atomic::Ordering;

/// A thread's goroutine, between callbacks.
pub struct Seat {
    g: *mut Goroutine,
    /// Of its stack.
    class: u8,
    id: u64,
}

/// Seats of all threads, and the key they are found by.
pub struct Seats {
    key: Option<libc::pthread_key_t>,
    all: Vec<*mut Seat>,
    /// Those whose stacks a shutdown took.
    left: Vec<*mut Seat>,
}
// SAFETY: a seat is its thread's; a shutdown takes those that are not in use, and the runtime is theirs no more.
unsafe impl Send for Seats {}

static SEATS: Mutex<Seats> = Mutex::new(Seats {
    key: None,
    all: Vec::new(),
    left: Vec::new(),
});

/// What a callback left.
struct Run {
    outcome: Outcome,
}

/// `goroutine_callback_run` on a thread that runs no goroutine.
///
/// # Safety
/// Called by the assembly. `f` is a GoroutineFn, which may clobber any register.
pub unsafe extern "C" fn on_callback_of_thread(f: u64, arg: *mut c_void, site: u64) -> *mut c_void {
    // SAFETY: the caller's promise, and see the module's head.
    unsafe {
        let inside = match runtime::enter_or_start() {
            Ok(inside) => inside,
            Err(status) => return refuse(None, status),
        };
        // A job of ours that a shutdown waits for may still call back; others could do so for ever.
        if inside.is_stopping() && bind::runtime_of_thread().is_none() {
            return refuse(Some(&inside), GOROUTINE_ESHUTDOWN);
        }
        let Some(seat) = take(&inside) else {
            return refuse(Some(&inside), GOROUTINE_ENOMEM);
        };
        inside.foreign.daemons_opened.fetch_add(1, Ordering::AcqRel);
        drop(inside); // what is open keeps the runtime
        let mut run = Run {
            outcome: Outcome {
                value: null_mut(),
                status: GOROUTINE_OK,
            },
        };
        arm(&*seat, f, arg, site, &raw mut run);
        // A thread of ours may be in the middle of something.
        let (worker, sp, base) = (tls::worker(), tls::scheduler_sp(), tls::base_sp());
        tls::set_worker(null_mut());
        // A thread of the pool between two goroutines is in the world already; one with a job is listed, and out.
        let was_in = world::is_in();
        let is_listed = was_in || bind::runtime_of_thread().is_some();
        if !is_listed {
            world::enlist();
        }
        world::come_in();
        goroutine_asm_thread_run(start, (*seat).g.cast());
        let errno = tls::errno(); // the callback's; what follows may wait for a lock
        if !was_in {
            world::go_out();
        }
        if !is_listed {
            world::dismiss();
        }
        tls::set_worker(worker);
        tls::set_scheduler_sp(sp);
        tls::set_base_sp(base);
        let Run { outcome } = run;
        let Some(inside) = runtime::enter_to_end() else {
            unreachable!("a runtime ended with a callback in it");
        };
        let value = if outcome.status == GOROUTINE_OK {
            outcome.value
        } else {
            inside.unhandled((*seat).g, outcome);
            null_mut()
        };
        put_back(seat);
        inside.foreign.daemons_closed.fetch_add(1, Ordering::AcqRel);
        drop(inside);
        tls::set_errno(errno);
        value
    }
}

/// The language code cannot run.
unsafe fn refuse(inside: Option<&Inside>, status: GoroutineStatus) -> *mut c_void {
    match inside.map(|inside| (inside.config.ffi_failed, inside.config.ffi_failed_arg)) {
        // SAFETY: the configured function and its argument.
        Some((Some(failed), failed_arg)) => unsafe { failed(null_mut(), status, failed_arg) },
        _ => {
            let mut line = report::Line::new();
            line.text("goroutine_callback_run: ")
                .raw(describe(status).map_or(c"?", |(name, _)| name).to_bytes())
                .text(": the callback was not run");
            line.emit();
        }
    }
    null_mut()
}

/// The calling thread's seat, a new one if it has none. It is in use from now on.
unsafe fn take(inside: &Inside) -> Option<*mut Seat> {
    let key = key()?;
    // SAFETY: the key's values are seats. It is of this runtime, as the key is.
    unsafe {
        let seat = libc::pthread_getspecific(key).cast::<Seat>();
        if !seat.is_null() {
            libc::pthread_setspecific(key, std::ptr::null());
            return Some(seat);
        }
    }
    let g = stack::acquire(inside.class, 0, 0)?;
    let seat = Box::into_raw(Box::new(Seat {
        g,
        class: inside.class,
        id: foreign_id(),
    }));
    // SAFETY: a stack of a pool is the caller's.
    unsafe {
        (*g).user = [0; 3];
        (*g).held = 0;
    }
    SEATS.lock().all.push(seat);
    Some(seat)
}

/// It is not in use any more. If the thread has got another one meanwhile (a callback inside a callback of the library's),
/// that one will do. While the thread ends there is none to keep it for: the destructor may not come again.
unsafe fn put_back(seat: *mut Seat) {
    // SAFETY: the seat is the calling thread's.
    unsafe {
        (*(*seat).g).id.store(0, Ordering::Release);
        let kept = !tls::is_ending()
            && key().is_some_and(|key| {
                libc::pthread_getspecific(key).is_null() && libc::pthread_setspecific(key, seat.cast()) == 0
            });
        if !kept {
            end_seat(seat);
        }
    }
}

fn key() -> Option<libc::pthread_key_t> {
    let mut seats = SEATS.lock();
    if seats.key.is_none() {
        let mut key = 0;
        // SAFETY: the destructor stays as long as the key (`end_all`).
        if unsafe { libc::pthread_key_create(&mut key, Some(end)) } == 0 {
            seats.key = Some(key);
        }
    }
    seats.key
}

/// A thread ends, and so does its goroutine. Other destructors may call back after this one, with a goroutine for each such callback.
unsafe extern "C" fn end(seat: *mut c_void) {
    tls::set_ending();
    // SAFETY: the key's values are seats.
    unsafe { end_seat(seat.cast()) };
}

/// # Safety
/// The seat is the calling thread's.
unsafe fn end_seat(seat: *mut Seat) {
    let mut seats = SEATS.lock();
    let Some(at) = seats.all.iter().position(|&s| s == seat) else {
        return; // a shutdown was faster
    };
    seats.all.swap_remove(at);
    drop(seats);
    // SAFETY: it was on the list, so it is still ours.
    unsafe {
        let seat = Box::from_raw(seat);
        let inside = runtime::enter();
        farewell(&seat, inside.as_ref().map(|inside| &inside.config));
        drop(inside);
        stack::give_back(seat.g, seat.class);
    }
}

unsafe fn farewell(seat: &Seat, config: Option<&GoroutineConfig>) {
    // SAFETY: the configured function and its argument; the goroutine is the caller's.
    unsafe {
        (*seat.g).id.store(seat.id, Ordering::Relaxed);
        trace::ends(seat.g, GOROUTINE_OK);
        crate::ops::leave_behind(seat.g);
        if let Some(config) = config
            && let Some(f) = config.goroutine_end
        {
            f(seat.g, config.goroutine_end_arg);
        }
        (*seat.g).id.store(0, Ordering::Release);
    }
}

/// A shutdown: no callback is live, and none can begin. See the module's head.
pub fn end_all(config: &GoroutineConfig) {
    let (key, all) = {
        let mut seats = SEATS.lock();
        let all = std::mem::take(&mut seats.all);
        seats.left.extend(&all);
        (seats.key.take(), all)
    };
    // SAFETY: nobody else has the seats any more.
    unsafe {
        if let Some(key) = key {
            libc::pthread_key_delete(key);
        }
        for seat in all {
            farewell(&*seat, Some(config));
            stack::give_back((*seat).g, (*seat).class);
        }
    }
}

/// Goroutines of threads that are in no callback now: what they keep from one to the next. The world is stopped.
pub fn for_each_out(mut f: impl FnMut(*mut Goroutine)) {
    for &seat in &SEATS.lock().all {
        // SAFETY: on the list, so alive. One whose callback begins waits for the start.
        unsafe {
            if (*(*seat).g).id() == 0 {
                f((*seat).g);
            }
        }
    }
}

/// For the fork handlers.
pub fn seats() -> &'static Mutex<Seats> {
    &SEATS
}

/// In a child of fork: the other threads are gone, and this one starts afresh.
///
/// # Safety
/// The only thread; nobody holds the lock but a ghost.
pub unsafe fn forget_all() {
    // SAFETY: the caller's promise.
    let seats = unsafe { &mut *SEATS.data_ptr() };
    seats.all.clear();
    if let Some(key) = seats.key {
        // SAFETY: our key.
        unsafe { libc::pthread_setspecific(key, std::ptr::null()) };
    }
}

/// Makes its goroutine start with `f(arg)`, bound to this thread.
unsafe fn arm(seat: &Seat, f: u64, arg: *mut c_void, site: u64, run: *mut Run) {
    // SAFETY: the seat is the calling thread's, and its stack is empty.
    unsafe {
        let g = seat.g;
        let (user, held) = ((*g).user, (*g).held);
        spawn::init(g, seat.class, seat.id, f, arg as u64, site);
        (*g).cancel_disabled = 0;
        (*g).user = user;
        (*g).held = held;
        (*g).entry_arg = run as u64;
        (*g).spawn_flags = GOROUTINE_SPAWN_BOUND;
        (*g).flags
            .store(GOROUTINE_FLAG_BOUND | GOROUTINE_FLAG_ATTACHED, Ordering::Relaxed);
        let errno = tls::errno(); // errno is the thread's, and this goroutine is the thread
        (*g).errno_wide = errno;
        (*g).errno = u16::try_from(errno).unwrap_or(ERRNO_WIDE);
    }
}

unsafe extern "C" fn start(_: *mut Goroutine, g: *mut c_void) -> *mut Goroutine {
    let g = g.cast::<Goroutine>();
    // SAFETY: `arm` made it ready; sched_sp is where this function was called from.
    unsafe { (*g).native_stack = tls::scheduler_sp() as u64 };
    g
}

/// Whether `g` stands for a thread.
///
/// # Safety
/// `g` is a control block.
pub unsafe fn is_attached(g: *const Goroutine) -> bool {
    // SAFETY: the caller's promise.
    unsafe { (*g).flags.load(Ordering::Relaxed) & GOROUTINE_FLAG_ATTACHED != 0 }
}

/// The callback is over: nothing runs next, so `thread_run` returns, the outermost one if C frames are given up.
///
/// # Safety
/// On the thread's stack; `g` was left for ever, and is attached to this thread.
pub unsafe fn over(g: *mut Goroutine, value: *mut c_void, status: GoroutineStatus) -> *mut Goroutine {
    unsafe extern "C" fn nothing(_: *mut Goroutine, _: *mut c_void) -> *mut Goroutine {
        null_mut()
    }
    // SAFETY: the caller's promise; `run` lives until thread_run has returned.
    unsafe {
        trace::parks_for(g, Kind::Callback);
        (*((*g).entry_arg as *mut Run)).outcome = Outcome { value, status };
        stack::give_back_all(g);
        (*g).native_stack = 0;
        if tls::scheduler_sp() != tls::base_sp() {
            tls::set_scheduler_sp(tls::base_sp());
            goroutine_asm_leave(nothing, null_mut());
        }
    }
    null_mut()
}
