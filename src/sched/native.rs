//! C under a goroutine: which native stack it runs on, how it calls back, and what becomes of it when somebody jumps out.
//! The picture, and the invariants N1 to N4, are in asm/x86_64_sysv_foreign.S.
//!
//! The `native_stack` of a bound goroutine is set for as long as it is bound. That of another one is set by its first foreign
//! call since it came to this thread, and cleared when it leaves it (`bind::keeps_thread`): storing it on every switch would cost
//! each of them a cache line. In between
//!
//! N5. the worker's POLL_NATIVE is set, so no yield takes the short way, which knows nothing of this.
//! N6. a goroutine with C frames live never changes its thread. Who must wait then is bound on the spot: without asking
//!     the pool whether it may, for nobody could wait for the answer. Its `preempt` has it look, when C returns, whether
//!     those were the last C frames, and then it is unbound ([`look`]).
//!
//! In a blocking call the goroutine has no worker: TLS says so, and so everything that C does in the library is what a plain thread
//! would do. A callback gets the worker back first, and lets go of it again at its end.

use super::pool::Seat;
use super::run_queue::POLL_NATIVE;
use super::{attach, bind, blocking, world};
use crate::abi::*;
use crate::context::{goroutine_asm_call, tls};
use crate::goroutine::{FOREIGN_DISCARDED, Goroutine, ON_THE_SPOT};
use crate::sanitize;
use crate::stack;
use crate::trace;
use std::ffi::c_void;
use std::sync::atomic::Ordering;

/// Whether the running goroutine has C frames that somebody will return to.
///
/// # Safety
/// `g` is the running goroutine, or the one whose stack was just left.
pub unsafe fn frames_live(g: *const Goroutine) -> bool {
    // SAFETY: the caller's promise.
    tls::scheduler_sp() != tls::base_sp() || unsafe { (*g).foreign_sp } != 0
}

/// Whether it has a native stack.
///
/// # Safety
/// As [`frames_live`].
pub unsafe fn is_native(g: *const Goroutine) -> bool {
    // SAFETY: the caller's promise.
    unsafe { (*g).native_stack != 0 }
}

/// The running goroutine may call C from now on (N5).
///
/// # Safety
/// `g` is the running goroutine.
pub unsafe fn prepare(g: *mut Goroutine) {
    // SAFETY: the caller's promise. Without a native stack it is not bound, and its thread holds a worker.
    unsafe {
        if (*g).native_stack == 0 {
            (*g).native_stack = tls::scheduler_sp() as u64;
            raise_poll();
        }
    }
}

unsafe fn raise_poll() {
    // SAFETY: the caller's thread holds a worker. Relaxed: the owner alone reads this bit.
    unsafe {
        (*tls::worker())
            .queue
            .poll
            .fetch_or(POLL_NATIVE, Ordering::Relaxed)
    };
}

unsafe fn clear_poll() {
    // SAFETY: as above.
    unsafe {
        (*tls::worker())
            .queue
            .poll
            .fetch_and(!POLL_NATIVE, Ordering::Relaxed)
    };
}

/// The goroutine has C frames live, and keeps its thread for good (N6).
///
/// # Safety
/// `g` is the running goroutine, on its own stack or in C.
pub unsafe fn keep_thread(g: *mut Goroutine) {
    // SAFETY: the caller's promise.
    unsafe {
        if (*g).lent_call.is_lent() {
            take_back_worker(g);
        }
        if !bind::is_bound(g) {
            bind::bind_here(g);
        }
        (*g).spawn_flags &= !ON_THE_SPOT;
    }
}

/// C frames of `g` were jumped over: whatever they held or had begun stays with this thread, so the goroutine keeps the
/// thread, and it serves nobody after that.
unsafe fn discarded(g: *mut Goroutine) {
    let here = std::hint::black_box(&g) as *const _ as usize;
    // SAFETY: the caller's promise: `g` is the running goroutine.
    unsafe {
        stack::segment::settle(g, here); // a callback that was jumped over may have been on a linked segment
        (*g).spawn_flags &= !FOREIGN_DISCARDED;
        keep_thread(g);
    }
    retire_thread();
}

fn retire_thread() {
    if let Some(seat) = Seat::current() {
        seat.retire();
    }
}

/// A goroutine with a native stack is over. Some: what runs next; None: it ends as any other.
///
/// # Safety
/// On the thread's stack; `g` was left for ever.
#[cold]
pub unsafe fn over(g: *mut Goroutine, value: *mut c_void, status: GoroutineStatus) -> Option<*mut Goroutine> {
    // SAFETY: the caller's promise.
    unsafe {
        if (*g).lent_call.is_lent() {
            take_back_worker(g);
        }
        if (*g).foreign_sp != 0 || (*g).spawn_flags & FOREIGN_DISCARDED != 0 {
            // C itself called goroutine_exit, or frames of it were jumped over.
            if !bind::is_bound(g) {
                bind::bind_on_the_spot(g);
            }
            retire_thread();
        }
        (*g).foreign_sp = 0;
        (*g).spawn_flags &= !FOREIGN_DISCARDED;
        attach::is_attached(g).then(|| attach::over(g, value, status))
    }
}

/// Ends the part of a blocking call that runs without the worker, with C frames live, or given up just now: if the worker is
/// gone, the goroutine goes on without one (N6).
unsafe fn take_back_worker(g: *mut Goroutine) {
    // SAFETY: the caller's promise: `g` runs here, or was just left, and is in a blocking call.
    unsafe {
        blocking::exit(g, true);
        if !bind::is_bound(g) {
            raise_poll();
        }
    }
}

/// `preempt` was set: whether a foreign call had set it, and all is done.
///
/// # Safety
/// `g` is the running goroutine, and has a native stack.
#[cold]
pub unsafe fn look(g: *mut Goroutine) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        if (*g).spawn_flags & FOREIGN_DISCARDED != 0 {
            discarded(g);
        }
        if (*g).spawn_flags & ON_THE_SPOT == 0 {
            return false;
        }
        if !frames_live(g) {
            let _ = bind::unbind(g); // it can only fail for C frames
        }
        true // else `preempt` is set again when they return
    }
}

/// A foreign call returned, and `preempt` is set.
///
/// # Safety
/// Called by the assembly on the stack of the running goroutine, or its image in a child of fork.
pub unsafe extern "C" fn on_ffi_return() {
    let g = tls::current();
    if !g.is_null() {
        // SAFETY: as above.
        unsafe { super::safepoint(g) };
    }
}

/// A trace runs, or there is a sanitizer, and `g` is about to call C, bound or as a leaf.
///
/// # Safety
/// Called by the assembly on the stack of `g`, the running goroutine.
pub unsafe extern "C" fn on_traced_call(g: *const Goroutine, f: *const c_void) {
    // SAFETY: as above.
    unsafe {
        let kind = if bind::is_bound(g) {
            GOROUTINE_FFI_BOUND
        } else {
            GOROUTINE_FFI_LEAF
        };
        trace::calls(g, kind, f as u64);
        sanitize::calls(g.cast_mut());
    }
}

/// C has returned.
///
/// # Safety
/// As [`on_traced_call`], or on the goroutine's image in a child of fork.
pub unsafe extern "C" fn on_traced_return(g: *const Goroutine) {
    // SAFETY: as above.
    unsafe {
        sanitize::returns(g.cast_mut());
        trace::returns(g);
    }
}

/// Before a blocking call of `f` that does not go the short way: gives `g` back, with a native stack and without its worker.
/// `f` is null if C that was called back from goes on.
///
/// # Safety
/// Called by the assembly on the stack of `g`, which is not bound.
pub unsafe extern "C" fn on_blocking_enter(g: *mut Goroutine, f: *const c_void) -> *mut Goroutine {
    // SAFETY: as above.
    unsafe {
        if !f.is_null() {
            trace::calls(g, GOROUTINE_FFI_BLOCKING, f as u64);
        }
        if (*g).native_stack == 0 {
            (*g).native_stack = tls::scheduler_sp() as u64;
        } else {
            clear_poll();
        }
        blocking::enter(g);
        sanitize::calls(g);
    }
    g
}

/// After one that does not come back the short way. errno is what the call left there, whatever the way back did and wherever it
/// ends.
///
/// # Safety
/// Called by the assembly on the stack of `g`, the running goroutine, or its image in a child of fork.
pub unsafe extern "C" fn on_blocking_exit(g: *mut Goroutine) {
    // SAFETY: as above.
    unsafe { sanitize::returns(g) };
    if g != tls::current_or_dummy() {
        return; // a child of fork: there is no worker to take back
    }
    let errno = tls::errno();
    // SAFETY: as above.
    unsafe {
        trace::returns(g);
        // Over whose C frames somebody jumped keeps the thread, whether there is a worker for it or not: see `discarded`.
        let stays = frames_live(g) || (*g).spawn_flags & FOREIGN_DISCARDED != 0;
        if (*g).lent_call.is_lent() {
            if stays {
                take_back_worker(g);
            } else {
                (*g).native_stack = 0;
                blocking::exit(g, false);
            }
        }
        if (*g).preempt.load(Ordering::Relaxed) != 0 {
            super::safepoint(g);
        }
    }
    tls::set_errno(errno);
}

/// A callback out of a blocking call: `f(a, b)` with a worker, or, if that is gone by now, as a bound goroutine.
///
/// # Safety
/// Called by the assembly on the goroutine's stack.
pub unsafe extern "C" fn on_callback_in_blocking(a: usize, b: usize, f: usize) -> usize {
    // SAFETY: as above. The goroutine has C frames live, so it is on this thread afterwards, too.
    unsafe {
        let g = tls::current();
        take_back_worker(g);
        let result = goroutine_asm_call(f, a, b, 0);
        let is_running = g == tls::current_or_dummy(); // or a child of fork: there is no worker to let go of
        if is_running && !bind::is_bound(g) {
            on_blocking_enter(g, std::ptr::null());
        }
        result
    }
}

/// Any callback while a trace runs, or with a sanitizer: `f(a, b)`.
///
/// # Safety
/// Called by the assembly on the goroutine's stack.
pub unsafe extern "C" fn on_callback_watched(a: usize, b: usize, f: usize) -> usize {
    // SAFETY: as above. The goroutine has C frames live, so it is on this thread afterwards, too.
    unsafe {
        let g = tls::current();
        sanitize::returns(g);
        let result = if (*g).lent_call.is_lent() {
            on_callback_in_blocking(a, b, f)
        } else {
            goroutine_asm_call(f, a, b, 0)
        };
        sanitize::calls(g);
        result
    }
}

/// `goroutine_ffi_landed`: C frames were jumped over, and the stacks are right again. Below `live` the goroutine's has only
/// dead frames.
///
/// # Safety
/// Called by the assembly on a stack of `g`, the running goroutine.
pub unsafe extern "C" fn on_landed(g: *mut Goroutine, live: usize) {
    // SAFETY: as above.
    unsafe {
        sanitize::landed(g);
        stack::forget_frames_below(g, live);
        if (*g).foreign_sp == 0 && (*g).preempt.load(Ordering::Relaxed) != 0 {
            world::wait_here(g); // it was in foreign code, and counted as standing
        }
        discarded(g);
    }
}

/// `goroutine_ffi_landed` of a goroutine that has linked segments, or an open reserve: `sp` is where it landed. Some of them may have been left, too.
///
/// # Safety
/// Called by the assembly on a stack of `g`, the running goroutine.
pub unsafe extern "C" fn on_landed_among_segments(g: *mut Goroutine, sp: usize) {
    // SAFETY: as above; N4: what is read of the list is live, but for the outermost dead record, which is whole.
    unsafe {
        let own = stack::bounds_of(g);
        let on_stack = (own.base..own.end).contains(&sp) || stack::segment::around(sp).is_some();
        let mut frame = tls::base_sp() as *mut usize;
        let mut foreign_sp = if on_stack { 0 } else { (*g).foreign_sp };
        let mut jumped = on_stack && (*g).foreign_sp != 0;
        loop {
            let record = *frame.add(1) as *const usize;
            if record.is_null() {
                break;
            }
            let inner = *record as *mut usize;
            let is_dead = if on_stack {
                stack::segment::is_deeper(g, record as usize, sp)
            } else {
                (inner as usize) < sp
            };
            if is_dead {
                if !on_stack {
                    foreign_sp = *record.add(2) as u64; // as it was in the C code that called it back
                }
                jumped = true;
                *frame.add(1) = 0;
                break;
            }
            frame = inner;
        }
        stack::segment::settle(g, if on_stack { sp } else { foreign_sp as usize });
        stack::event::close_unless_at(g, if on_stack { sp } else { foreign_sp as usize });
        if jumped {
            tls::set_scheduler_sp(frame as usize);
            (*g).foreign_sp = foreign_sp;
            (*g).native_stack = frame as u64;
            on_landed(g, if on_stack { sp } else { foreign_sp as usize });
        }
    }
}
