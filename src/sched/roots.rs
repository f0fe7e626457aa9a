//! What a collector is shown of a stopped world: the live stacks. (What the library keeps for goroutines is `ops::roots`'.)
//!
//! A goroutine's ranges, the innermost first:
//!
//! | the goroutine | its own stack, live from | its thread's native stack |
//! |---|---|---|
//! | has not begun | nothing: its arguments are roots | - |
//! | is parked, queued, or waits at a safepoint | its saved `rsp` | C frames below callbacks: from `native_stack` to where the thread schedules |
//! | is in foreign code | `foreign_sp`, as it was at the stop (`world`, W2) | the same; the C code that runs now cannot be shown |
//! | has stopped the world | its `rsp` | the same; from its `rsp`, if C of its calls |
//!
//! Whatever lies below is dead, or of the library. Of one that waits in the library that has its frames in the first range, and what these have
//! in registers is a last one: it may be all that points to a buffer that they fill. The registers that are shown are its caller's (`registers`).

use super::registers::Waits;
use super::world::{self, Held};
use crate::abi::GoroutineContext;
use crate::context::{Entry, tls};
use crate::goroutine::Goroutine;
use crate::inspect::unwind::{self, RIP, RSP};
use crate::stack;
use std::ffi::c_void;
use std::mem::offset_of;

/// The callee-saved registers of who calls, as the entry pushes them.
#[repr(C)]
pub struct Caller {
    r15: u64,
    r14: u64,
    r13: u64,
    r12: u64,
    rbx: u64,
    rbp: u64,
    rip: u64,
}

/// `goroutine_world_for_each`'s.
pub type Visit = unsafe extern "C" fn(
    arg: *mut c_void,
    g: *const Goroutine,
    registers: *const GoroutineContext,
    low: *const c_void,
    high: *const c_void,
);

/// Whether a goroutine that does not run has not begun either.
///
/// # Safety
/// `g` is a control block in use whose goroutine stands.
pub unsafe fn entry_of(g: *const Goroutine) -> Option<Entry> {
    // SAFETY: the address where it goes on lies at its rsp.
    let next = unsafe { *((*g).rsp as *const u64) };
    [Entry::Plain, Entry::Full, Entry::Context]
        .into_iter()
        .find(|entry| entry.address() == next)
}

/// Calls `visit` for every live range. The calling thread has stopped the world.
///
/// # Safety
/// `visit` may be called so.
pub unsafe fn for_each(visit: Visit, arg: *mut c_void, caller: &Caller) {
    let current = tls::current();
    // SAFETY: an all-zero context is valid.
    let mut at: GoroutineContext = unsafe { std::mem::zeroed() };
    world::with_held(|held| {
        stack::for_each_stopped(|g| {
            // SAFETY: control blocks stay mapped; one that is in use belongs to a goroutine that stands, or is the caller.
            unsafe {
                if (*g).id() != 0 && (*g).is_ours() {
                    show(g, held, &mut at, (g == current).then_some(caller), visit, arg);
                }
            }
        });
    });
}

/// # Safety
/// `g` stands, or is the caller.
unsafe fn show(
    g: *mut Goroutine,
    held: &mut Held,
    at: &mut GoroutineContext,
    caller: Option<&Caller>,
    visit: Visit,
    arg: *mut c_void,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut native_stack = (*g).native_stack;
        let low;
        let mut registers = std::ptr::from_ref(at);
        let mut is_inside = false;
        if let Some(caller) = caller {
            registers_of_caller(caller, at);
            low = at.rsp;
            if (*g).foreign_sp != 0 {
                native_stack = at.rsp; // C of its calls, on the native stack
            }
        } else if let Some(foreign) = held.foreign(g) {
            forget(at);
            at.rsp = foreign.sp;
            low = foreign.sp;
            native_stack = foreign.native_stack;
        } else {
            if entry_of(g).is_some() {
                return;
            }
            low = (*g).rsp;
            if (*g).context.is_null() {
                is_inside = registers_of_stopped(&*g, held, at);
            } else {
                registers = (*g).context;
            }
        }
        describe_stack(g, at);
        let low = if (*g).foreign_sp != 0 && caller.is_some() {
            (*g).foreign_sp
        } else {
            low
        };
        stack::segments_of(g, low as usize, |low, high| {
            visit(arg, g, registers, low as *const c_void, high as *const c_void);
            registers = std::ptr::null();
        });
        if native_stack != 0
            && let Some(base) = held.base_above(native_stack)
            && base as u64 != native_stack
        {
            visit(
                arg,
                g,
                registers,
                native_stack as *const c_void,
                base as *const c_void,
            );
        }
        if is_inside {
            let saved = &raw const (*g).rbx;
            visit(arg, g, std::ptr::null(), saved.cast(), saved.add(SAVED).cast());
        }
    }
}

/// rbx, rbp and r12 to r15 of a stopped goroutine: so many words from its `rbx`.
const SAVED: usize = 6;
const _: () = assert!(offset_of!(Goroutine, r15) == offset_of!(Goroutine, rbx) + 8 * (SAVED - 1));

fn registers_of_caller(caller: &Caller, at: &mut GoroutineContext) {
    at.r15 = caller.r15;
    at.r14 = caller.r14;
    at.r13 = caller.r13;
    at.r12 = caller.r12;
    at.rbx = caller.rbx;
    at.rbp = caller.rbp;
    at.rip = caller.rip;
    at.rsp = std::ptr::from_ref(caller) as u64 + std::mem::size_of::<Caller>() as u64;
}

/// Of its innermost frame outside the library. Whether it is inside.
///
/// # Safety
/// It stands, and has begun.
unsafe fn registers_of_stopped(g: &Goroutine, held: &mut Held, at: &mut GoroutineContext) -> bool {
    // SAFETY: the caller's promise.
    match unsafe { held.places.look(g) } {
        Waits::Outside => {
            at.r15 = g.r15;
            at.r14 = g.r14;
            at.r13 = g.r13;
            at.r12 = g.r12;
            at.rbx = g.rbx;
            at.rbp = g.rbp;
            // SAFETY: the caller's promise.
            at.rip = unsafe { *(g.rsp as *const u64) };
            at.rsp = g.rsp + 8;
            return false;
        }
        Waits::Inside(caller) => {
            [at.rbx, at.rbp, at.r12, at.r13, at.r14, at.r15] =
                unwind::CALLEE_SAVED.map(|register| caller[register]);
            at.rip = caller[RIP];
            at.rsp = caller[RSP];
        }
        Waits::Alone => {
            forget(at);
            at.rsp = g.rsp + 8;
        }
    }
    true
}

fn forget(at: &mut GoroutineContext) {
    (at.r15, at.r14, at.r13, at.r12, at.rbx, at.rbp, at.rip) = (0, 0, 0, 0, 0, 0, 0);
}

/// Where the stack lies.
///
/// # Safety
/// `g` runs here, or stands.
pub unsafe fn describe_stack(g: *const Goroutine, at: &mut GoroutineContext) {
    // SAFETY: the caller's promise.
    let bounds = unsafe { stack::running(g) };
    at.stack_base = bounds.low as *mut c_void;
    at.stack_top = bounds.top as *mut c_void;
    at.stack_size = bounds.top - bounds.low;
    at.guard_page = bounds.base as *mut c_void;
}
