//! OS threads: every thread of the library is made here, in one way.
//!
//! - a stack, 8 MiB by default, that `pthread_getattr_np` describes: libraries ask for their thread's bounds. It is the C library's, but in a child of
//!   fork under ThreadSanitizer (`OwnStack`);
//! - asynchronous signals blocked for life, but for a configured set, because no handler may run on a goroutine's stack and
//!   hosts' handlers often lack SA_ONSTACK; the synchronous ones (SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS) stay open.
//!   Neither mask nor name ever changes: any of them may become the thread of a bound goroutine;
//! - an alternate signal stack of 64 KiB;
//! - a name; timer slack of 1 ns, so that a sleep is as exact as the kernel can.

use crate::abi::GoroutineThreadFn;
use crate::context::tls;
use crate::sys::cpu::Cpus;
use crate::sys::mem;
use std::ffi::{CStr, CString, c_void};
use std::mem::MaybeUninit;
use std::ops::Range;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

/// A thread's stack, unless configured otherwise.
pub const STACK_BYTES: usize = 8 << 20;
/// What the library needs itself on a thread's stack: the scheduler's frames, callbacks of the configuration, a backtrace.
pub const STACK_BYTES_MIN: usize = 256 << 10;
const SIGNAL_STACK_BYTES: usize = 64 << 10;

/// What the threads of a runtime have in common.
#[derive(Clone, Copy)]
pub struct Settings {
    /// Where they run; None: where the thread does that makes them.
    pub cpus: Option<Cpus>,
    /// Bytes of stack.
    pub stack_bytes: usize,
    /// Asynchronous signals that stay open: bit n - 1 is signal n.
    pub open_signals: u64,
    /// They run on the thread, first and last.
    pub hooks: [(GoroutineThreadFn, *mut c_void); 2],
}
// SAFETY: plain data; the callbacks and their arguments are the caller's to share.
unsafe impl Send for Settings {}
// SAFETY: as above.
unsafe impl Sync for Settings {}

/// The library's record of one of its threads.
pub struct Thread {
    name: CString,
    body: Option<Box<dyn FnOnce() + Send>>,
    hooks: [(GoroutineThreadFn, *mut c_void); 2],
    /// Of the thread that started it.
    creator_mask: libc::sigset_t,
    /// What the scheduler keeps about it; null: nothing. Set by the thread itself.
    pub seat: AtomicPtr<c_void>,
    /// Its stack, without the guard; empty: not known. Set by the thread itself, first.
    stack: Range<usize>,
}

/// Threads that have not yet run the first of their hooks, or are in the last.
static IN_HOOKS: AtomicU32 = AtomicU32::new(0);

/// Whether a thread is in a hook, or about to run its first: it may do anything there, and nothing else tells of it.
pub fn any_in_hooks() -> bool {
    IN_HOOKS.load(Ordering::SeqCst) != 0
}

/// In a child of fork: there are no such threads.
pub fn forget_hooks() {
    IN_HOOKS.store(0, Ordering::Relaxed);
}

/// A thread to join.
pub struct Handle {
    id: libc::pthread_t,
    stack: Option<OwnStack>,
}
// SAFETY: the id of a thread; any thread may join it, and then has its stack.
unsafe impl Send for Handle {}

/// A stack that is not the C library's, for ThreadSanitizer in a child of fork (`sanitize::forks`): there the C library gives out the stacks of
/// the parent's threads once more, and with them their ids.
#[derive(Clone, Copy)]
struct OwnStack {
    start: *mut u8,
    bytes: usize,
    /// Of them the thread has so many, above a guard.
    used: usize,
}

impl OwnStack {
    const GUARD: usize = mem::PAGE;
    /// What is left free at the end, so that no id of the C library's, nor of a process before this one, is there: ids lie near the end, at multiples of 64.
    const GRAIN: usize = 64;

    fn new(bytes: usize, forks: u32) -> Option<OwnStack> {
        let whole = Self::GUARD + bytes + mem::PAGE;
        let start = mem::reserve(whole, mem::PAGE)?;
        let stack = OwnStack {
            start,
            bytes: whole,
            used: bytes + mem::PAGE / 2 - forks as usize % 31 * Self::GRAIN,
        };
        // SAFETY: just made; nobody has it yet.
        unsafe {
            if !mem::guard_protect(start, Self::GUARD) {
                stack.release();
                return None;
            }
        }
        Some(stack)
    }

    /// # Safety
    /// As `pthread_attr_setstack`: of one thread.
    unsafe fn set_attributes(&self, attributes: *mut libc::pthread_attr_t) {
        // SAFETY: the caller's promise; inside the mapping.
        unsafe { libc::pthread_attr_setstack(attributes, self.start.add(Self::GUARD).cast(), self.used) };
    }

    /// # Safety
    /// Nobody is on it.
    unsafe fn release(self) {
        // SAFETY: the caller's promise.
        unsafe { mem::release(self.start, self.bytes) };
    }
}

/// Starts a thread. Err: the errno of pthread_create.
pub fn start(name: &str, settings: &Settings, body: impl FnOnce() + Send + 'static) -> Result<Handle, i32> {
    let name = CString::new(name).expect("names have no NUL");
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    let mut id = MaybeUninit::<libc::pthread_t>::uninit();
    let mut old_mask = MaybeUninit::<libc::sigset_t>::uninit();
    let blocked = blocked_signals(settings.open_signals);
    let stack = match crate::sanitize::forks() {
        0 => None,
        forks => Some(OwnStack::new(settings.stack_bytes, forks).ok_or(libc::ENOMEM)?),
    };
    // SAFETY: with a null set the mask is only read.
    let creator_mask = unsafe {
        libc::pthread_sigmask(libc::SIG_SETMASK, std::ptr::null(), old_mask.as_mut_ptr());
        old_mask.assume_init()
    };
    let thread = Box::into_raw(Box::new(Thread {
        name,
        body: Some(Box::new(body)),
        hooks: settings.hooks,
        creator_mask,
        seat: AtomicPtr::new(null_mut()),
        stack: 0..0,
    }));
    IN_HOOKS.fetch_add(1, Ordering::SeqCst);
    // SAFETY: initialised before use, in this order; the new thread inherits the mask and takes over the record.
    let result = unsafe {
        libc::pthread_attr_init(attributes.as_mut_ptr());
        match &stack {
            Some(stack) => stack.set_attributes(attributes.as_mut_ptr()),
            None => _ = libc::pthread_attr_setstacksize(attributes.as_mut_ptr(), settings.stack_bytes),
        }
        if let Some(cpus) = settings.cpus {
            cpus.set_attributes(attributes.as_mut_ptr());
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, &blocked, null_mut());
        let result = libc::pthread_create(id.as_mut_ptr(), attributes.as_ptr(), thread_main, thread.cast());
        libc::pthread_sigmask(libc::SIG_SETMASK, &creator_mask, null_mut());
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
        result
    };
    if result != 0 {
        IN_HOOKS.fetch_sub(1, Ordering::SeqCst);
        // SAFETY: no thread took them over.
        unsafe {
            drop(Box::from_raw(thread));
            stack.inspect(|stack| stack.release());
        }
        return Err(result);
    }
    // SAFETY: pthread_create succeeded.
    let id = unsafe { id.assume_init() };
    Ok(Handle { id, stack })
}

impl Handle {
    /// Waits for its end, until `deadline_ns` on CLOCK_MONOTONIC. False: it still runs, and may be joined later.
    pub fn join_until(&self, deadline_ns: u64) -> bool {
        let mut delay = 20_000;
        loop {
            // SAFETY: the thread is joinable, and joined once: the caller forgets the handle after true.
            if unsafe { libc::pthread_tryjoin_np(self.id, null_mut()) } == 0 {
                // SAFETY: the thread's alone, which is over.
                unsafe { self.stack.inspect(|stack| stack.release()) };
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

/// The calling thread's number for the kernel.
pub fn id() -> u32 {
    // SAFETY: always callable.
    unsafe { libc::syscall(libc::SYS_gettid) as u32 }
}

/// In a child of fork, on the image of one of our threads: the signals that our creator had open are open again.
pub fn restore_mask() {
    let thread = tls::thread();
    if !thread.is_null() {
        // SAFETY: the record of this thread, copied with the process.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &(*thread).creator_mask, null_mut()) };
    }
}

/// The stack of the calling thread, if it is one of ours. (C code on it may run on others, of its own.) In signal handlers, too.
pub fn stack() -> Range<usize> {
    let thread = tls::thread();
    if thread.is_null() {
        return 0..0;
    }
    // SAFETY: the record of this thread, which outlives its body, and is written before that.
    unsafe { (*thread).stack.clone() }
}

/// What the system says of it.
fn own_stack() -> Range<usize> {
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    let (mut low, mut bytes) = (null_mut(), 0);
    // SAFETY: initialised by the first call, if that gives 0.
    unsafe {
        if libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) != 0 {
            return 0..0;
        }
        libc::pthread_attr_getstack(attributes.as_ptr(), &mut low, &mut bytes);
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
    }
    low as usize..low as usize + bytes
}

/// What the scheduler keeps about the calling thread; null: it is not one of ours, or has nothing.
#[inline]
pub fn seat() -> *mut c_void {
    let thread = tls::thread();
    if thread.is_null() {
        return null_mut();
    }
    // SAFETY: the record of this thread, which outlives its body.
    unsafe { (*thread).seat.load(Ordering::Relaxed) }
}

/// The calling thread, one of ours, notes what the scheduler keeps about it.
pub fn set_seat(seat: *mut c_void) {
    // SAFETY: as above.
    unsafe { (*tls::thread()).seat.store(seat, Ordering::Relaxed) };
}

/// Another name for the calling thread: its first 15 bytes.
pub fn rename(name: &CStr) {
    // SAFETY: PR_SET_NAME reads up to 16 bytes of a string.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}

/// Whether a signal may interrupt threads of the library: it has no handler, or one that runs on the alternate stack.
pub fn may_stay_open(signal: i32) -> bool {
    // SAFETY: reads a disposition.
    unsafe {
        let mut now: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &mut now) != 0
            || matches!(now.sa_sigaction, libc::SIG_DFL | libc::SIG_IGN)
            || now.sa_flags & libc::SA_ONSTACK != 0
    }
}

/// Every signal but the synchronous ones and those that stay open.
fn blocked_signals(open: u64) -> libc::sigset_t {
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
        for signal in (1..=64).filter(|n| open & 1 << (n - 1) != 0) {
            libc::sigdelset(&mut set, signal);
        }
        set
    }
}

extern "C" fn thread_main(record: *mut c_void) -> *mut c_void {
    let record: *mut Thread = record.cast();
    // SAFETY: `start` gave us the record; the alternate stack is ours until the end of this function.
    unsafe {
        libc::pthread_setname_np(libc::pthread_self(), (*record).name.as_ptr());
        libc::prctl(libc::PR_SET_TIMERSLACK, 1, 0, 0, 0);
        let signal_stack = mem::reserve(SIGNAL_STACK_BYTES, mem::PAGE);
        if let Some(base) = signal_stack {
            let stack = libc::stack_t {
                ss_sp: base.cast(),
                ss_flags: 0,
                ss_size: SIGNAL_STACK_BYTES,
            };
            libc::sigaltstack(&stack, null_mut());
        }
        (*record).stack = own_stack();
        tls::set_thread(record);
        crate::context::init_control_words();
        let [(first, first_arg), (last, last_arg)] = (*record).hooks;
        if let Some(first) = first {
            first(first_arg);
        }
        IN_HOOKS.fetch_sub(1, Ordering::SeqCst);
        if let Some(body) = (*record).body.take() {
            body();
        }
        if let Some(last) = last {
            IN_HOOKS.fetch_add(1, Ordering::SeqCst);
            last(last_arg);
            IN_HOOKS.fetch_sub(1, Ordering::SeqCst);
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
