//! Loading a library on a thread of ours, and leaving the host's signal handlers as they were.
//!
//! A library with a runtime inside (Go's `c-shared`) changes the process when it is loaded: it adds SA_ONSTACK to the flags of every
//! handler that it finds, because its own threads run on small stacks, and its threads inherit the mask of the thread that loads. A host may
//! depend on its flags: JavaScriptCore suspends its threads with a signal whose handler checks that it runs on the
//! thread's own stack, and tries for ever when it does not (docs/foreign-runtimes.md). So:
//!
//! 1. dlopen runs on a thread of the pool: asynchronous signals are blocked there, and so on the threads that it makes.
//! 2. Every action is read before and after it. Where only SA_ONSTACK was added, the old action is put back.
//! 3. Loads come one at a time (`jobs::LOADS`), so that no load takes another one's changes for the host's.
//!
//! That is right because the library's code then runs on threads with those signals blocked only: its own, which inherit the
//! mask, and ours. Signals that Go's threads unblock for themselves are the exception: there the flag stays, or a host's handler
//! would run on a goroutine's stack of Go's.
//!
//! Rejected: wrapping `sigaction` (Go enters the kernel itself); loading in the caller and blocking its signals meanwhile
//! (the alternate stack of the caller decides which handlers a library believes to be right).

use super::{error, jobs};
use crate::abi::*;
use crate::context::tls;
use crate::goroutine::Goroutine;
use crate::ops::promise as ops;
use crate::promise::{Outcome, Promise};
use crate::sched::runtime;
use crate::sys::signal::{self, Action, SIGNALS};
use std::ffi::{CStr, CString, c_int, c_void};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Unblocked by every thread of Go for itself (`_SigUnblock` in its runtime/sigtab_linux_generic.go, Go 1.19 to 1.27):
/// SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV, SIGSTKFLT, SIGCHLD, SIGPROF, and 32 to 34, which C libraries use.
const OPEN_IN_GO: [usize; 11] = [4, 5, 7, 8, 11, 16, 17, 27, 32, 33, 34];

/// The thread that is inside a load; 0: none. A library's constructor may load another library.
static LOADER: AtomicUsize = AtomicUsize::new(0);

/// In a child of fork: no load is under way, but perhaps in this very thread.
pub fn forget_loader() {
    // SAFETY: always callable.
    let here = unsafe { libc::pthread_self() } as usize;
    let _ = LOADER.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |loader| {
        (loader != here).then_some(0)
    });
}

/// dlopen. `path` null: the program itself; `flags` 0: RTLD_NOW. What went wrong is in `error::get`.
///
/// # Safety
/// `path` is null or NUL-terminated; the library's constructors may run.
pub unsafe fn load(path: *const libc::c_char, flags: c_int) -> Result<*mut c_void, GoroutineStatus> {
    let flags = if flags == 0 { libc::RTLD_NOW } else { flags };
    // SAFETY: the caller's promise.
    unsafe { on_loader(move || open(path, flags)) }
}

/// dlsym. `handle` null: what the program and its libraries export.
///
/// # Safety
/// `handle` came from `load` (or dlopen), `name` is NUL-terminated.
pub unsafe fn symbol(handle: *mut c_void, name: *const libc::c_char) -> Result<*mut c_void, GoroutineStatus> {
    let find = move || {
        // SAFETY: the caller's promise; dlerror before it, because null may be a symbol's value.
        unsafe {
            libc::dlerror();
            let address = libc::dlsym(handle, name);
            if address.is_null() {
                said().map_or(Ok(address), Err)
            } else {
                Ok(address)
            }
        }
    };
    if tls::current().is_null() {
        return find().map_err(refused);
    }
    // SAFETY: the caller's promise. It waits for a load that is under way, and needs more stack than a goroutine should give.
    unsafe { on_loader(find) }
}

/// Runs `f` on the thread for loads and waits for it. That cannot be cut short: the library would be half loaded.
///
/// # Safety
/// What `f` borrows lives until it has run.
unsafe fn on_loader<F>(f: F) -> Result<*mut c_void, GoroutineStatus>
where
    F: FnOnce() -> Result<*mut c_void, CString>,
{
    // SAFETY: always callable.
    if LOADER.load(Ordering::Relaxed) == unsafe { libc::pthread_self() } as usize {
        // A constructor loads; as a goroutine it would wait for the thread that it is on.
        return if tls::current().is_null() {
            f().map_err(refused)
        } else {
            Err(GOROUTINE_EDEADLK)
        };
    }
    let promise = Promise::new(None);
    if promise.is_null() {
        return Err(GOROUTINE_ENOMEM);
    }
    let mut result = Err(CString::default());
    let job = Load {
        promise,
        f,
        result: &raw mut result,
    };
    // SAFETY: both references are ours: one is the job's.
    unsafe {
        (*promise).observe();
        (*promise).retain();
    }
    let status = match runtime::enter_or_start() {
        // SAFETY: the job lives on: we wait for it below.
        Ok(runtime) => jobs::LOADS.submit(&runtime, usize::MAX, unsafe { Box::new(erase(job)) }),
        Err(status) => status,
    };
    if status == GOROUTINE_OK {
        wait(promise);
    } else {
        // SAFETY: the job's reference; it will not run.
        unsafe { ops::release(promise) };
    }
    // SAFETY: ours.
    unsafe { ops::release(promise) };
    if status == GOROUTINE_OK {
        result.map_err(refused)
    } else {
        Err(status)
    }
}

struct Load<F> {
    promise: *mut Promise,
    f: F,
    result: *mut Result<*mut c_void, CString>,
}

/// # Safety
/// Who made the job waits until it has settled the promise.
unsafe fn erase<F>(job: Load<F>) -> impl FnOnce() + Send + 'static
where
    F: FnOnce() -> Result<*mut c_void, CString>,
{
    struct Sent(*mut dyn FnOnce());
    // SAFETY: handed over, not shared.
    unsafe impl Send for Sent {}
    let f: Box<dyn FnOnce() + '_> = Box::new(move || {
        let Load { promise, f, result } = job;
        // SAFETY: the waiter's place, until the promise is settled; the reference is the job's.
        unsafe {
            *result = f();
            ops::settle(
                &*promise,
                Outcome {
                    value: null_mut(),
                    status: GOROUTINE_OK,
                },
            );
            ops::release(promise);
        }
    });
    // SAFETY: only the lifetime changes, as the caller promises.
    let sent =
        Sent(unsafe { std::mem::transmute::<*mut (dyn FnOnce() + '_), *mut dyn FnOnce()>(Box::into_raw(f)) });
    move || {
        let sent = sent;
        // SAFETY: from the box above, once.
        unsafe { Box::from_raw(sent.0)() }
    }
}

/// Without a time-out, and not to be cancelled.
fn wait(promise: *const Promise) {
    let g = tls::current();
    // SAFETY: the running goroutine, if any; the promise is the caller's.
    unsafe {
        if !g.is_null() {
            Goroutine::disable_cancel(g);
        }
        while ops::wait(&*promise, GOROUTINE_FOREVER).is_err() {} // a woken thread that found no outcome
        if !g.is_null() {
            Goroutine::enable_cancel(g);
        }
    }
}

/// Keeps the loader's words for `goroutine_ffi_error`.
fn refused(words: CString) -> GoroutineStatus {
    error::set(&words);
    GOROUTINE_EFFILOAD
}

/// What dlerror says.
fn said() -> Option<CString> {
    // SAFETY: the text is this thread's until the next call of the loader.
    unsafe {
        let words = libc::dlerror();
        (!words.is_null()).then(|| CStr::from_ptr(words).to_owned())
    }
}

fn open(path: *const libc::c_char, flags: c_int) -> Result<*mut c_void, CString> {
    // SAFETY: always callable.
    let outer = LOADER.swap(unsafe { libc::pthread_self() } as usize, Ordering::Relaxed);
    let before: [Action; SIGNALS + 1] = std::array::from_fn(signal::get);
    // SAFETY: `load`'s caller promised that the path is one.
    let handle = unsafe { libc::dlopen(path, flags) };
    let words = if handle.is_null() { said() } else { None };
    for (signal, old) in before.iter().enumerate().skip(1) {
        restore(signal, old);
    }
    LOADER.store(outer, Ordering::Relaxed);
    if handle.is_null() {
        return Err(words.unwrap_or_else(|| c"the loader gave no reason".to_owned()));
    }
    Ok(handle)
}

/// Puts an action back where only SA_ONSTACK was added.
fn restore(signal: usize, old: &Action) {
    let changed = old.with(libc::SA_ONSTACK);
    let is_none = matches!(old.handler, libc::SIG_DFL | libc::SIG_IGN);
    if is_none || *old == changed || OPEN_IN_GO.contains(&signal) || signal::get(signal) != changed {
        return;
    }
    let found = signal::replace(signal, old);
    if found != changed {
        signal::replace(signal, &found); // another thread of the host was quicker
    }
}
