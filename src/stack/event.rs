//! An overflow that the language hears of: the config's `stack_overflow` callback, on reserve pages of the stack that ran out.
//!
//! ```text
//!   base                        low
//!   | guard ... | reserve 16 KiB | ... frames, the last of which hit the guard |
//!               | <- callback  E |
//! ```
//!
//! The signal handler runs nothing of the program's. It opens the reserve, writes the registers of the fault there (E, an [`Event`]), and has the
//! thread go on in `goroutine_asm_overflow`, which calls the callback: an ordinary function on the goroutine's stack, whose caller is, as far
//! as unwinders know, the instruction that faulted. No live frame has anything in the reserve: what it had stored there would have faulted.
//!
//! R1. `Goroutine::reserve` is the address above the open reserve, 0: it is closed. It is the goroutine's own, its handler's included.
//! R2. It closes once nobody runs there: when execution resumes where the callback says (off the stack), when the goroutine ends, or when somebody
//!     has thrown and the first code that runs elsewhere tells us (`__cxa_begin_catch`, by way of `__cxa_get_globals`; `goroutine_ffi_landed`).
//!     Who went on from there on another segment returns, so as long as the chain has a link to it somebody runs there, wherever `sp` is.
//!     A goroutine that overflows while it is open gets the report and the signal.

use super::own_code::{Owner, is_own_code, owner};
use super::{Bounds, forget_range, running, slab};
use crate::abi::{GOROUTINE_OVERFLOW_RESERVE, GoroutineContext, GoroutineStackOverflowFn};
use crate::code::place;
use crate::context::tls;
use crate::goroutine::{EXTRAS, Goroutine};
use crate::sys::report::Line;
use std::ffi::c_void;
use std::mem::size_of;
use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};

const RESERVE: usize = GOROUTINE_OVERFLOW_RESERVE as usize;

/// What the assembly finds at `rsp`.
#[repr(C, align(64))]
pub struct Event {
    /// Where it happened; the callback may edit it.
    pub(crate) at: GoroutineContext,
    pub(crate) callback: usize,
    pub(crate) callback_arg: *mut c_void,
    pub(crate) g: *mut Goroutine,
    pub(crate) address: usize,
    /// `at` as it was.
    before: GoroutineContext,
}

static CALLBACK: AtomicUsize = AtomicUsize::new(0);
static CALLBACK_ARG: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());

/// At a start. None: every overflow is reported, and goes on as a signal.
pub fn set_callback(f: GoroutineStackOverflowFn, arg: *mut c_void) {
    CALLBACK_ARG.store(arg, Ordering::Relaxed);
    CALLBACK.store(f.map_or(0, |f| f as usize), Ordering::Release);
}

/// Why an overflow is not one for the callback.
pub(super) enum WhyNot {
    /// There is none.
    NoCallback,
    /// The guard is another goroutine's.
    OfAnother,
    /// The goroutine called C, or was called back by it.
    Foreign,
    /// The reserve is open (R2).
    NotOver,
    /// The guard is of a stack of the goroutine's on which it does not run.
    Elsewhere,
    /// Whose code it is.
    Code(Owner),
    /// The kernel does not give the reserve.
    NoReserve,
}

impl WhyNot {
    /// For the report of an overflow at `rip`; None: there is nothing to say. Async-signal-safe as far as `code::place` is.
    pub(super) fn line(&self, rip: u64) -> Option<Line> {
        let mut line = Line::new();
        line.text("stack_overflow was not called: ");
        if let Self::Code(_) = self {
            line.text("rip ").hex(rip);
            place::name(&mut line, rip as usize, rip as usize);
        }
        line.text(match self {
            Self::NoCallback => return None,
            Self::OfAnother => "the guard is not that of the goroutine that runs",
            Self::Foreign => "C frames are live (foreign code, or a callback from it)",
            Self::NotOver => "the goroutine's overflow before is not over, its reserve is in use",
            Self::Elsewhere => "the guard is of a stack that the goroutine does not run on",
            Self::Code(Owner::Program) => {
                " is in code that is not registered (goroutine_code_register, GOROUTINE_CONFIG_OWN_CODE)"
            }
            Self::Code(Owner::Library) => " is in a shared object's code, which may hold a lock",
            Self::Code(Owner::Us) => " is in libgoroutine's code, which may hold a lock",
            Self::NoReserve => "the kernel did not give its reserve (GOROUTINE_OVERFLOW_RESERVE)",
        });
        Some(line)
    }
}

unsafe extern "C" {
    fn goroutine_asm_overflow();
}

/// In the signal handler: if the overflow of `g`, between `b`, at `address`, is one for the callback, the handler is to return, and the
/// thread goes on there. `rip` and `rsp` are those of the code that overflowed. Err: it is not, and nothing was done.
///
/// # Safety
/// `context` is the fault's.
pub(super) unsafe fn begin(
    g: *mut Goroutine,
    b: Bounds,
    address: usize,
    (rip, rsp): (u64, u64),
    context: *mut libc::ucontext_t,
) -> Result<(), WhyNot> {
    let callback = CALLBACK.load(Ordering::Acquire);
    if callback == 0 {
        return Err(WhyNot::NoCallback);
    }
    if g != tls::current() {
        return Err(WhyNot::OfAnother);
    }
    // SAFETY: the running goroutine.
    unsafe {
        let has_c_frames = (*g).foreign_sp != 0 || tls::scheduler_sp() != tls::base_sp();
        if (*g).reserve != 0 {
            return Err(WhyNot::NotOver);
        }
        if has_c_frames {
            return Err(WhyNot::Foreign);
        }
        if running(g).base != b.base {
            return Err(WhyNot::Elsewhere);
        }
        if !is_own_code(rip as usize) {
            return Err(WhyNot::Code(owner(rip as usize)));
        }
        if !slab::guard_open(b.low - RESERVE, RESERVE) {
            return Err(WhyNot::NoReserve);
        }
        (*g).reserve = b.low as u64;
        (*g).spawn_flags |= EXTRAS; // its end closes it
        let event = (b.low - size_of::<Event>()) as *mut Event;
        (*event).at = registers(&*context, b, rip, rsp);
        (*event).before = (*event).at;
        (*event).callback = callback;
        (*event).callback_arg = CALLBACK_ARG.load(Ordering::Relaxed);
        (*event).g = g;
        (*event).address = address;
        let gregs = &mut (*context).uc_mcontext.gregs;
        gregs[libc::REG_RIP as usize] = goroutine_asm_overflow as *const () as i64;
        gregs[libc::REG_RSP as usize] = event as i64;
        gregs[libc::REG_EFL as usize] &= !(1 << 10); // the direction flag, as at any call
    }
    Ok(())
}

/// # Safety
/// The kernel's.
unsafe fn registers(context: &libc::ucontext_t, b: Bounds, rip: u64, rsp: u64) -> GoroutineContext {
    let get = |register: libc::c_int| context.uc_mcontext.gregs[register as usize] as u64;
    GoroutineContext {
        rax: get(libc::REG_RAX),
        rbx: get(libc::REG_RBX),
        rcx: get(libc::REG_RCX),
        rdx: get(libc::REG_RDX),
        rsi: get(libc::REG_RSI),
        rdi: get(libc::REG_RDI),
        rbp: get(libc::REG_RBP),
        r8: get(libc::REG_R8),
        r9: get(libc::REG_R9),
        r10: get(libc::REG_R10),
        r11: get(libc::REG_R11),
        r12: get(libc::REG_R12),
        r13: get(libc::REG_R13),
        r14: get(libc::REG_R14),
        r15: get(libc::REG_R15),
        rsp,
        rip,
        rflags: get(libc::REG_EFL),
        // SAFETY: the kernel's FXSAVE image; it always saves one on x86-64.
        xmm_state: unsafe { *context.uc_mcontext.fpregs.cast::<[u8; 512]>() },
        stack_base: b.low as *mut c_void,
        stack_top: b.top as *mut c_void,
        stack_size: b.top - b.low,
        guard_page: b.base as *mut c_void,
    }
}

impl Event {
    /// Whether the callback said where to go on.
    pub fn is_edited(&self) -> bool {
        let bytes = |context: &GoroutineContext| {
            // SAFETY: plain data without padding (abi::context asserts its size).
            unsafe { *std::ptr::from_ref(context).cast::<[u8; size_of::<GoroutineContext>()]>() }
        };
        bytes(&self.at) != bytes(&self.before)
    }
}

/// The lowest address that `g` may run at between `b`: with its reserve open, that is there.
///
/// # Safety
/// `g` is a control block. (Of one that runs elsewhere it says what was so a moment ago.)
pub unsafe fn lowest(g: *const Goroutine, b: Bounds) -> usize {
    // SAFETY: control blocks stay mapped.
    let end = unsafe { AtomicU64::from_ptr((&raw const (*g).reserve).cast_mut()) }.load(Ordering::Relaxed);
    if end == b.low as u64 {
        b.low - RESERVE
    } else {
        b.low
    }
}

/// Closes the reserve.
///
/// # Safety
/// `g` is the caller's, off its stack; nobody returns to what is there.
#[cold]
pub unsafe fn close(g: *mut Goroutine) {
    // SAFETY: the caller's promise, R1, R2.
    unsafe {
        let end = (*g).reserve as usize;
        if end != 0 {
            forget_range(end - RESERVE, end);
            slab::guard_close(end - RESERVE, RESERVE);
            (*g).reserve = 0;
        }
    }
}

/// The same, unless `sp` is still there, or on a segment to which somebody went on from there.
///
/// # Safety
/// `g` is the running goroutine, at `sp`.
#[cold]
pub unsafe fn close_unless_at(g: *mut Goroutine, sp: usize) {
    // SAFETY: the caller's promise; the chain is the goroutine's own.
    unsafe {
        let end = (*g).reserve as usize;
        let is_there = |sp: usize| (end.saturating_sub(RESERVE)..end).contains(&sp);
        let mut segment = (*g).segment;
        while !segment.is_null() && !is_there((*segment).sp as usize) {
            segment = (*segment).prev;
        }
        if segment.is_null() && !is_there(sp) {
            close(g);
        }
    }
}

/// Somebody asks for the exceptions of a goroutine whose reserve is open, perhaps from where it was caught.
///
/// # Safety
/// Called by the assembly on the running goroutine, at `sp`.
pub unsafe extern "C" fn on_exceptions_with_reserve(g: *mut Goroutine, sp: usize) {
    let errno = tls::errno();
    // SAFETY: as above.
    unsafe { close_unless_at(g, sp) };
    tls::set_errno(errno);
}
