//! The handler of signals that a crash sends: it knows a stack's guard from any other bad address, and whose crash it is.
//!
//! A fault in the guard of the running goroutine's stack is an overflow: an event for the language (`event`), or it is reported, then
//! the signal goes on as if we were not there. Everything else goes to the handler that was installed before ours, unseen. If that is none, so that the signal ends the process, a line says
//! first which goroutine it was (`crash`).
//! It runs on the thread's alternate stack, takes no lock and allocates nothing.

use super::{Bounds, GUARD, bounds, classify, crash, event, segment};
use crate::code;
use crate::context::tls;
use crate::goroutine::Goroutine;
use crate::sanitize;
use crate::sys::report::Line;
use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicBool, Ordering};

/// Of these the first two may be a guard's.
const SIGNALS: [c_int; 5] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGILL,
    libc::SIGABRT,
];
const MAY_BE_GUARDS: usize = 2;

struct Previous(std::cell::UnsafeCell<[libc::sigaction; SIGNALS.len()]>);
// SAFETY: written under the runtime's start lock while INSTALLED is false, read by the handler after that.
unsafe impl Sync for Previous {}
static PREVIOUS: Previous =
    // SAFETY: an all-zero sigaction is SIG_DFL without flags.
    Previous(std::cell::UnsafeCell::new(unsafe { std::mem::zeroed() }));
static INSTALLED: AtomicBool = AtomicBool::new(false);
/// Whether a report may name environment variables: they count for no runtime that was given a config.
static BY_ENVIRONMENT: AtomicBool = AtomicBool::new(false);

/// Takes the signals; `uninstall` gives them back. `by_environment`: variables say how large stacks are, for the runtime was started without a
/// config. Under the runtime's start lock.
pub fn install(by_environment: bool) {
    BY_ENVIRONMENT.store(by_environment, Ordering::Relaxed);
    if INSTALLED.load(Ordering::Acquire) {
        return;
    }
    // The unwinder allocates when it is used first: not in a handler, please.
    let mut warm = [std::ptr::null_mut::<c_void>(); 2];
    // SAFETY: the array has room for two.
    unsafe { libc::backtrace(warm.as_mut_ptr(), 2) };
    for (i, signal) in SIGNALS.into_iter().enumerate() {
        // SAFETY: a zeroed sigaction is valid; `on_fault` has the SA_SIGINFO signature; PREVIOUS is ours to write now.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = on_fault as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
            libc::sigaction(signal, &action, &mut (*PREVIOUS.0.get())[i]);
        }
    }
    INSTALLED.store(true, Ordering::Release);
}

/// Puts the previous handlers back, where ours are still the installed ones. Under the runtime's start lock.
pub fn uninstall() {
    if !INSTALLED.load(Ordering::Acquire) {
        return;
    }
    let mut ours_everywhere = true;
    for (i, signal) in SIGNALS.into_iter().enumerate() {
        // SAFETY: reads and writes dispositions only.
        unsafe {
            let mut now: libc::sigaction = std::mem::zeroed();
            libc::sigaction(signal, std::ptr::null(), &mut now);
            if now.sa_sigaction == on_fault as *const () as usize {
                libc::sigaction(signal, &(*PREVIOUS.0.get())[i], std::ptr::null_mut());
            } else {
                ours_everywhere = false; // somebody installed after us and may chain to us
            }
        }
    }
    INSTALLED.store(!ours_everywhere, Ordering::Release);
}

/// Whether somebody may call our handlers.
pub fn is_installed() -> bool {
    INSTALLED.load(Ordering::Acquire)
}

unsafe extern "C" fn on_fault(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes a valid siginfo for these signals.
    let address = unsafe { (*info).si_addr() } as usize;
    let mut reported = false;
    let may_be_guards = SIGNALS[..MAY_BE_GUARDS].contains(&signal);
    // A guard belongs to the goroutine above it, whoever ran into it: say so also when a stray pointer did.
    if let Some((g, b)) = guarded(address).filter(|_| may_be_guards) {
        // SAFETY: the kernel's ucontext.
        unsafe {
            let at = Place::of(context);
            // (The alternate stack is the thread's, and not ordered between its goroutines.)
            let begun = sanitize::look_away(|| event::begin(g, b, address, (at.rip, at.rsp), context.cast()));
            let Err(why_not) = begun else {
                return;
            };
            report(g, b, address, at, &why_not);
            reported = true;
        }
    }
    forward(signal, info, context, reported);
}

/// Whose guard `address` is in, and the bounds above it.
fn guarded(address: usize) -> Option<(*mut Goroutine, Bounds)> {
    let (g, b) = if let Some(class) = classify(address) {
        let b = bounds(address, class);
        (b.top as *mut Goroutine, b)
    } else {
        let segment = segment::around(address)?;
        // SAFETY: headers stay mapped. One that never was on a chain has no goroutine, and is nobody's.
        unsafe { ((*segment).g, segment::bounds_of_segment(segment)) }
    };
    (address < b.base + GUARD && !g.is_null()).then_some((g, b))
}

unsafe extern "C" {
    fn goroutine_asm_no_more_stack();
}

/// Where the code was that has no stack left.
#[derive(Clone, Copy)]
struct Place {
    rip: u64,
    rsp: u64,
    /// Its check had found out, and there was no more.
    checked: bool,
}

impl Place {
    /// # Safety
    /// `context` is a ucontext.
    unsafe fn of(context: *mut c_void) -> Self {
        // SAFETY: the caller's promise.
        let registers = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
        let (rip, rsp) = (
            registers[libc::REG_RIP as usize] as u64,
            registers[libc::REG_RSP as usize] as u64,
        );
        if rip != goroutine_asm_no_more_stack as *const () as u64 {
            let checked = false;
            return Self { rip, rsp, checked };
        }
        Self {
            // SAFETY: there it has called the library, which touched the guard in its place.
            rip: unsafe { *(rsp as *const u64) },
            rsp: rsp + 8,
            checked: true,
        }
    }
}

/// What happens next is what would have happened without us.
fn forward(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void, reported: bool) {
    let i = SIGNALS.iter().position(|&s| s == signal).unwrap_or(0);
    // SAFETY: written before the handler was installed; the action's own flags say which signature it has.
    unsafe {
        let previous = (*PREVIOUS.0.get())[i];
        match previous.sa_sigaction {
            libc::SIG_IGN if (*info).si_code <= 0 => {} // sent by kill(2), and ignored
            libc::SIG_DFL | libc::SIG_IGN => {
                if !reported {
                    crash::say(signal, &*info, context);
                }
                // Ignoring a fault loops for ever; the kernel kills for it, and so do we: the instruction runs again.
                let mut default: libc::sigaction = std::mem::zeroed();
                default.sa_sigaction = libc::SIG_DFL;
                libc::sigaction(signal, &default, std::ptr::null_mut());
                if (*info).si_code <= 0 {
                    libc::raise(signal); // sent by kill(2): nothing runs again
                }
            }
            f if previous.sa_flags & libc::SA_SIGINFO != 0 => {
                let f: unsafe extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) =
                    std::mem::transmute(f);
                f(signal, info, context);
            }
            f => {
                let f: unsafe extern "C" fn(c_int) = std::mem::transmute(f);
                f(signal);
            }
        }
    }
}

fn report(g: *mut Goroutine, b: Bounds, address: usize, at: Place, why_not: &event::WhyNot) {
    let current = tls::current();
    // SAFETY: control blocks stay mapped (stack, I1); the id and name of the running goroutine do not change, and
    // another one's are only printed.
    let (id, name) = unsafe { ((*g).id(), (*g).name.load(Ordering::Relaxed)) };
    let mut line = Line::new();
    if g == current {
        line.text("stack overflow: goroutine ").dec(id);
    } else {
        line.text("fault in the stack guard of goroutine ").dec(id);
    }
    if g == current {
        // SAFETY: a name lives as long as its goroutine.
        unsafe { line.name(name) };
    }
    line.text(", stack ")
        .hex(b.low as u64)
        .text("-")
        .hex(b.top as u64);
    line.text(" (")
        .dec((b.top - b.low) as u64)
        .text(" bytes), fault address ")
        .hex(address as u64);
    line.text(", rip ").hex(at.rip).text(", rsp ").hex(at.rsp);
    if g != current {
        line.text(", in ");
        // SAFETY: as above.
        match unsafe { current.as_ref() } {
            Some(running) => line.text("goroutine ").dec(running.id()),
            None => line.text("no goroutine"),
        };
    }
    if g == current {
        let by_environment = BY_ENVIRONMENT.load(Ordering::Relaxed);
        line.text(if at.checked {
            if by_environment {
                " (more: stack_bytes_max, GOROUTINE_STACK_BYTES_MAX)"
            } else {
                " (more: stack_bytes_max)"
            }
        } else if b.top != g as usize {
            " (a linked segment: more is for functions with a prologue check)"
        } else if by_environment {
            " (more: stack_bytes, GOROUTINE_STACK_BYTES)"
        } else {
            " (more: stack_bytes)"
        });
        // SAFETY: the running goroutine.
        code::place::spawned_at(&mut line, unsafe { (*g).site });
    }
    line.emit();
    if let Some(mut line) = why_not.line(at.rip) {
        line.emit();
    }
    let mut frames = [std::ptr::null_mut::<c_void>(); 48];
    // SAFETY: the array has room; backtrace_symbols_fd does not allocate.
    unsafe {
        let n = libc::backtrace(frames.as_mut_ptr(), frames.len() as c_int);
        libc::backtrace_symbols_fd(frames.as_ptr(), n, 2);
        for &frame in &frames[..n.max(0) as usize] {
            name_emitted(frame as usize);
        }
    }
}

/// What `backtrace_symbols_fd` cannot know. A frame's address comes after its call.
fn name_emitted(address: usize) {
    let mut name = code::NAME_BUFFER;
    if let Some((bytes, offset)) = code::describe(address.wrapping_sub(1), &mut name) {
        let mut line = Line::new();
        line.hex(address as u64).text(" is ").raw(&name[..bytes]);
        line.text("+").hex(offset as u64 + 1).emit();
    }
}
