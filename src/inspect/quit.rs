//! SIGQUIT makes a dump, on request: GOROUTINE_SIGQUIT=1 in the environment of a start.
//!
//! The handler runs on a thread of the program's (ours block the signal), sets a flag and wakes the monitor, which writes the dump to
//! stderr. A handler that was there before runs, too; without one the signal no longer ends the process.

use crate::sched::runtime;
use std::cell::UnsafeCell;
use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicBool, Ordering};

static WANTED: AtomicBool = AtomicBool::new(false);
static INSTALLED: AtomicBool = AtomicBool::new(false);

struct Previous(UnsafeCell<libc::sigaction>);
// SAFETY: written under the runtime's start lock before the handler is there, read by the handler.
unsafe impl Sync for Previous {}
// SAFETY: an all-zero sigaction is SIG_DFL without flags.
static PREVIOUS: Previous = Previous(UnsafeCell::new(unsafe { std::mem::zeroed() }));

/// Takes the signal if that is wanted. Under the runtime's start lock.
pub fn install() {
    let wanted = std::env::var_os("GOROUTINE_SIGQUIT").is_some_and(|value| !value.is_empty() && value != "0");
    if !wanted || INSTALLED.load(Ordering::Acquire) {
        return;
    }
    // SAFETY: a zeroed sigaction is valid; `on_quit` has the SA_SIGINFO signature; PREVIOUS is ours to write now.
    unsafe {
        libc::sigaction(libc::SIGQUIT, std::ptr::null(), PREVIOUS.0.get());
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_quit as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
        INSTALLED.store(true, Ordering::Release);
        libc::sigaction(libc::SIGQUIT, &action, std::ptr::null_mut());
    }
}

/// Gives it back, unless somebody has put another handler on top of ours: that one may call ours for ever.
pub fn uninstall() {
    if !INSTALLED.load(Ordering::Acquire) {
        return;
    }
    // SAFETY: reads and writes the disposition only.
    unsafe {
        let mut now: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGQUIT, std::ptr::null(), &mut now);
        if now.sa_sigaction == on_quit as *const () as usize {
            libc::sigaction(libc::SIGQUIT, PREVIOUS.0.get(), std::ptr::null_mut());
            INSTALLED.store(false, Ordering::Release);
        }
    }
}

/// Whether somebody may call our handler.
pub fn is_installed() -> bool {
    INSTALLED.load(Ordering::Acquire)
}

/// The monitor looks.
pub fn serve() {
    if WANTED.load(Ordering::Relaxed) && WANTED.swap(false, Ordering::AcqRel) {
        let _ = super::dump::dump(2); // there is nowhere to say that stderr cannot be written
    }
}

unsafe extern "C" fn on_quit(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    WANTED.store(true, Ordering::Release);
    if let Some(runtime) = runtime::enter() {
        runtime.wake_monitor(); // atomics, and a futex call
    }
    // SAFETY: written before we were installed; its own flags say which signature it has.
    unsafe {
        let previous = *PREVIOUS.0.get();
        match previous.sa_sigaction {
            libc::SIG_DFL | libc::SIG_IGN => {}
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
