//! What the assembly of a link asks for when its short way is not open (`asm/x86_64_sysv_growth.S`).

use super::segment::{ARGS_MAX, around, give_back_spares, leave, running, settle, take};
use crate::context::tls;
use crate::goroutine::{EXTRAS, Goroutine};
use crate::sys::report::fatal;
use std::ffi::c_void;

/// The short way is open now.
pub const LINK: usize = 0;
/// There is room after all: go on where you are.
pub const STAY: usize = 1;

/// What `goroutine_more_stack` asks for: any segment will do.
pub const LEAST: usize = 4096;

/// The check of a function failed that was called at `sp`. `needed` is what it wants for its frame and its `args` bytes of stack arguments.
/// Gives LINK, STAY, or there is no more: an address in the guard below. errno is left alone.
///
/// # Safety
/// Called by the assembly, on the stack of the thread that runs a goroutine.
pub unsafe extern "C" fn on_more_stack(needed: usize, args: usize, sp: usize) -> usize {
    let g = tls::current();
    if args > ARGS_MAX || needed < args {
        fatal("goroutine_more_stack_prologue: more than 32,768 bytes of stack arguments");
    }
    let errno = tls::errno();
    // SAFETY: the running goroutine.
    let answer = unsafe { find(g, needed as u64, sp) };
    tls::set_errno(errno);
    answer
}

unsafe fn find(g: *mut Goroutine, needed: u64, sp: usize) -> usize {
    // SAFETY: the caller's promise.
    unsafe {
        let limit = (*g).stack_limit;
        settle(g, sp); // emitted code may have jumped out of a segment
        if (*g).stack_limit != limit && sp as u64 > (*g).stack_limit.saturating_add(needed) {
            return STAY;
        }
        if let Some(spare) = (*g).spare.as_ref()
            && needed > spare.room
        {
            give_back_spares(g);
        }
        if (*g).spare.is_null() {
            let Some(segment) = take(g, needed) else {
                return running(g).base;
            };
            (*g).spare = segment;
            (*g).spawn_flags |= EXTRAS; // its end gives them back
        }
        (*(*g).spare).claim.await_unclaimed();
    }
    LINK
}

/// A segment is left, and the goroutine has a spare already.
///
/// # Safety
/// Called by the assembly, on the segment that is left.
pub unsafe extern "C" fn on_surplus(g: *mut Goroutine) {
    // SAFETY: the running goroutine; it runs on none of its spares.
    unsafe { give_back_spares(g) };
}

unsafe extern "C" {
    fn _Unwind_GetCFA(context: *mut c_void) -> usize;
}

/// An exception passes a link: what it leaves is not where the goroutine runs any more.
///
/// # Safety
/// Called by the unwinder, as the personality of the link's frame.
pub unsafe extern "C" fn on_unwind_through_link(
    _version: i32,
    actions: i32,
    _class: u64,
    _exception: *mut c_void,
    context: *mut c_void,
) -> i32 {
    const CLEANUP_PHASE: i32 = 2;
    const CONTINUE_UNWIND: i32 = 8;
    if actions & CLEANUP_PHASE != 0 {
        // SAFETY: as the unwinder says: rsp in the link's frame.
        let sp = unsafe { _Unwind_GetCFA(context) };
        if let Some(segment) = around(sp) {
            let here = std::hint::black_box(&sp) as *const _ as usize;
            // SAFETY: the link's arguments, or its header, are there.
            unsafe { leave(segment, here) };
        }
    }
    CONTINUE_UNWIND
}
