//! OS threads: every thread of the library is made here, in one way.
//!
//! - a stack of 8 MiB that `pthread_getattr_np` describes;
//! - asynchronous signals blocked for life, because no handler may run on a goroutine's stack and hosts' handlers often
//!   lack SA_ONSTACK; the synchronous ones (SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS) stay open;
//! - an alternate signal stack of 64 KiB;
//! - a name; timer slack of 1 ns, so that a sleep is as exact as the kernel can.

use crate::abi::GoroutineThreadFn;
use crate::context::tls;
use std::ffi::{CString, c_void};
use std::mem::MaybeUninit;
use std::ptr::null_mut;

const STACK_BYTES: usize = 8 << 20;
const SIGNAL_STACK_BYTES: usize = 64 << 10;

/// The library's record of one of its threads.
pub struct Thread {
    name: CString,
    body: Option<Box<dyn FnOnce() + Send>>,
    hooks: [(GoroutineThreadFn, *mut c_void); 2],
    /// Of the thread that started it.
    creator_mask: libc::sigset_t,
}

/// A thread to join.
pub struct Handle(libc::pthread_t);

/// Starts a thread. `hooks` run on it, first and last. Err: the errno of pthread_create.
pub fn start(
    name: &str,
    hooks: [(GoroutineThreadFn, *mut c_void); 2],
    body: impl FnOnce() + Send + 'static,
) -> Result<Handle, i32> {
    let name = CString::new(name).expect("names have no NUL");
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    let mut id = MaybeUninit::<libc::pthread_t>::uninit();
    let mut old_mask = MaybeUninit::<libc::sigset_t>::uninit();
    let blocked = asynchronous_signals();
    // SAFETY: with a null set the mask is only read.
    let creator_mask = unsafe {
        libc::pthread_sigmask(libc::SIG_SETMASK, std::ptr::null(), old_mask.as_mut_ptr());
        old_mask.assume_init()
    };
    let thread = Box::into_raw(Box::new(Thread {
        name,
        body: Some(Box::new(body)),
        hooks,
        creator_mask,
    }));
    // SAFETY: initialised before use, in this order; the new thread inherits the mask and takes over the record.
    let result = unsafe {
        libc::pthread_attr_init(attributes.as_mut_ptr());
        libc::pthread_attr_setstacksize(attributes.as_mut_ptr(), STACK_BYTES);
        libc::pthread_sigmask(libc::SIG_SETMASK, &blocked, null_mut());
        let result = libc::pthread_create(id.as_mut_ptr(), attributes.as_ptr(), main, thread.cast());
        libc::pthread_sigmask(libc::SIG_SETMASK, &creator_mask, null_mut());
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
        result
    };
    if result != 0 {
        // SAFETY: no thread took it over.
        drop(unsafe { Box::from_raw(thread) });
        return Err(result);
    }
    // SAFETY: pthread_create succeeded.
    Ok(Handle(unsafe { id.assume_init() }))
}

impl Handle {
    /// Waits for its end, until `deadline_ns` on CLOCK_MONOTONIC. False: it still runs, and may be joined later.
    pub fn join_until(&self, deadline_ns: u64) -> bool {
        let mut delay = 20_000;
        loop {
            // SAFETY: the thread is joinable, and joined once: the caller forgets the handle after true.
            if unsafe { libc::pthread_tryjoin_np(self.0, null_mut()) } == 0 {
                return true;
            }
            let now = crate::sys::time::now_ns();
            if now >= deadline_ns {
                return false;
            }
            crate::sys::time::sleep_until(deadline_ns.min(now + delay));
            delay = (delay * 2).min(1_000_000);
        }
    }
}

/// In a child of fork, on the image of one of our threads: the signals that our creator had open are open again.
pub fn restore_mask() {
    let thread = tls::thread();
    if !thread.is_null() {
        // SAFETY: the record of this thread, copied with the process.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &(*thread).creator_mask, null_mut()) };
    }
}

fn asynchronous_signals() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigfillset initialises it.
    unsafe {
        libc::sigfillset(set.as_mut_ptr());
        let mut set = set.assume_init();
        for signal in [
            libc::SIGSEGV,
            libc::SIGBUS,
            libc::SIGFPE,
            libc::SIGILL,
            libc::SIGTRAP,
            libc::SIGSYS,
        ] {
            libc::sigdelset(&mut set, signal);
        }
        set
    }
}

extern "C" fn main(record: *mut c_void) -> *mut c_void {
    let record: *mut Thread = record.cast();
    // SAFETY: `start` gave us the record; the alternate stack is ours until the end of this function.
    unsafe {
        libc::pthread_setname_np(libc::pthread_self(), (*record).name.as_ptr());
        libc::prctl(libc::PR_SET_TIMERSLACK, 1, 0, 0, 0);
        let signal_stack = crate::sys::mem::reserve(SIGNAL_STACK_BYTES, crate::sys::mem::PAGE);
        if let Some(base) = signal_stack {
            let stack = libc::stack_t {
                ss_sp: base.cast(),
                ss_flags: 0,
                ss_size: SIGNAL_STACK_BYTES,
            };
            libc::sigaltstack(&stack, null_mut());
        }
        tls::set_thread(record);
        let [(first, first_arg), (last, last_arg)] = (*record).hooks;
        if let Some(first) = first {
            first(first_arg);
        }
        if let Some(body) = (*record).body.take() {
            body();
        }
        if let Some(last) = last {
            last(last_arg);
        }
        tls::set_thread(null_mut());
        if let Some(base) = signal_stack {
            let off = libc::stack_t {
                ss_sp: null_mut(),
                ss_flags: libc::SS_DISABLE,
                ss_size: 0,
            };
            libc::sigaltstack(&off, null_mut());
            libc::munmap(base.cast(), SIGNAL_STACK_BYTES);
        }
        drop(Box::from_raw(record));
    }
    null_mut()
}
