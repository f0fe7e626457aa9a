//! A line on stderr about a signal that is about to end the process, if a goroutine ran into it: which one, where, and what it was about.
//!
//! ```text
//! goroutine: goroutine 17 "fetch", worker 2: SIGSEGV at 0x10, rip 0x7f5c3a1052d4 (parse+0x44 in libhtml.so),
//! spawned at 0x55d0c81f2a9e (serve+0x6e in httpd)
//! ```
//!
//! Only where nobody handles the signal (`overflow`): a program with a handler of its own hears of it as without us. Async-signal-safe as
//! far as a crash allows: no allocation, no lock of ours. `dladdr`, for code that nobody registered, takes the loader's lock, which the
//! crashed thread may hold itself (it is recursive), and no other holds while it waits for us.

use super::running;
use crate::code::place;
use crate::context::tls;
use crate::sys::report::Line;
use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicBool, Ordering};

/// One line per process: a crash may crash again, or others at the same time.
static SAID: AtomicBool = AtomicBool::new(false);

/// Says it, unless no goroutine runs here.
///
/// # Safety
/// `context` is the signal's.
pub unsafe fn say(signal: c_int, info: &libc::siginfo_t, context: *mut c_void) {
    let g = tls::current();
    if g.is_null() || SAID.swap(true, Ordering::Relaxed) {
        return;
    }
    // SAFETY: the caller's promise; the running goroutine, whose name does not change; the thread holds its worker.
    unsafe {
        let registers = &(*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs;
        let rip = registers[libc::REG_RIP as usize] as u64;
        let rsp = registers[libc::REG_RSP as usize] as usize;
        let mut line = Line::new();
        line.text("goroutine ").dec((*g).id());
        line.name((*g).name.load(Ordering::Relaxed));
        match tls::worker().as_ref() {
            Some(worker) => line.text(", worker ").dec(worker.index as u64),
            None => line.text(", on a thread of its own"),
        };
        let stack = running(g);
        if !(stack.base..stack.end).contains(&rsp) {
            line.text(", in foreign code");
        }
        line.text(": ").text(name_of(signal));
        if info.si_code <= 0 {
            line.text(" sent by process ").dec(info.si_pid() as u64);
        } else if matches!(signal, libc::SIGSEGV | libc::SIGBUS) {
            line.text(" at ").hex(info.si_addr() as u64);
        }
        line.text(", rip ").hex(rip);
        place::name(&mut line, rip as usize, rip as usize);
        place::spawned_at(&mut line, (*g).site);
        line.emit();
    }
}

fn name_of(signal: c_int) -> &'static str {
    match signal {
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGILL => "SIGILL",
        libc::SIGABRT => "SIGABRT",
        _ => "a signal",
    }
}
