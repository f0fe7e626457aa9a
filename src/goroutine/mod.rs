//! The control block of a goroutine. It lies at the top of the goroutine's own stack (`stack::layout`), so it costs no
//! page of its own, and stays mapped for the life of the process: a stale ticket may always look at its park word.
//!
//! | bytes | lines | what |
//! |---|---|---|
//! | 0-63 | 1 | header for emitted code |
//! | 64-127 | 2 | park word, links, entry, where it was spawned |
//! | 128-191 | 3 | everything a switch saves |
//! | 192-255 | 4 | name, what to do at the end: of few goroutines |
//! | 256-319 | 5 | the C++ runtime's exceptions, linked segments, sanitizers: of goroutines that throw, or outgrow their stack |
//!
//! A switch touches line 3, and the line of the stack that the call itself writes.
//!
//! Ownership: whoever runs, has queued, or has won the park word (`park`, I3) of a goroutine owns its control block.
//! Fields that others read are atomics and say so.

pub mod call_word;
pub mod park;
pub mod thread_word;
pub mod waits;

use crate::promise::Promise;
use crate::sanitize;
use call_word::LentCall;
use park::ParkWord;
use std::ffi::{CStr, CString, c_char, c_void};
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering, fence};
use thread_word::ThreadWord;
use waits::Waits;

/// See the module's head. Opaque to C but for its first 128 bytes (`GOROUTINE_OFFSET_*`).
#[repr(C, align(64))]
pub struct Goroutine {
    /// Lowest address a prologue may reach.
    pub(crate) stack_limit: u64,
    /// 0 in a control block that is not in use. Written at spawn and end; shutdown reads it from elsewhere.
    pub(crate) id: AtomicU64,
    /// Raised by whoever wants it to give way (a cancel, a shutdown), cleared by the owner.
    pub(crate) preempt: AtomicU32,
    /// GOROUTINE_FLAG_*; the cancel bit is set by others.
    pub(crate) flags: AtomicU32,
    pub(crate) native_stack: u64,
    pub(crate) context: *mut crate::abi::GoroutineContext,
    pub(crate) user: [u64; 3],

    pub(crate) foreign_sp: u64,
    /// Where the call returns to that spawned it; 0: the library itself did. For reports, and for `stack::learn`: written at spawn, read racily.
    pub(crate) site: u64,
    pub(crate) park: ParkWord,
    /// The promise of its result, which it settles; null: nobody asked for one.
    pub(crate) promise: *mut Promise,
    /// Link in a ReadyList; of a parked goroutine what it waits for (`waits`).
    pub(crate) next: *mut Goroutine,
    /// Index of the worker it ran on last.
    pub(crate) last_worker: u16,
    /// Class of its stack.
    pub(crate) class: u8,
    /// Mutexes that it holds, 255: or more (`ops::mutex`). Its own.
    pub(crate) held: u8,
    /// What the park returns; written by the winner of the park word.
    pub(crate) wake_status: i32,
    /// GOROUTINE_SPAWN_* it was spawned with, `EXTRAS`, and the bits below it.
    pub(crate) spawn_flags: u32,
    /// FORKS when it was spawned.
    pub(crate) forks: u32,
    pub(crate) entry_fn: u64,

    /// Of a stopped goroutine: the address it continues at is at `[rsp]`.
    pub(crate) rsp: u64,
    pub(crate) rbx: u64,
    pub(crate) rbp: u64,
    pub(crate) r12: u64,
    pub(crate) r13: u64,
    pub(crate) r14: u64,
    pub(crate) r15: u64,
    pub(crate) mxcsr: u32,
    pub(crate) fcw: u16,
    /// errno, or `ERRNO_WIDE`.
    pub(crate) errno: u16,

    /// malloc'ed copy, or null. The goroutine's own, until its end; others read it with `name_of`.
    pub(crate) name: AtomicPtr<c_char>,
    /// Called with `entry_arg` when it is over, off its stack: for the library's own goroutines. Or None.
    pub(crate) end: Option<unsafe fn(arg: *mut c_void)>,
    pub(crate) entry_arg: u64,
    /// Of a bound goroutine: where its thread waits while it is parked (`thread_word`).
    pub(crate) thread_word: ThreadWord,
    /// Calls of the bound goroutine that the library saw.
    pub(crate) calls: u32,
    /// The promise that a bound goroutine awaits, or awaited last, without a time-out. For reports: read racily.
    pub(crate) waits_for: AtomicPtr<Promise>,
    /// Depth of goroutine_cancel_disable. Its own; who would cancel it reads it while it is parked.
    pub(crate) cancel_disabled: u32,
    /// Its goroutine-local values (`ops::local`), 0: none. Its own.
    pub(crate) locals: u32,
    /// The worker that it gave up for a blocking call (`sched::blocking`).
    pub(crate) lent: *mut c_void,
    /// The call it lent it for: set while it is in a blocking call and has no worker.
    pub(crate) lent_call: LentCall,

    /// Zero whenever a goroutine is over: a function that returns has left its `catch` blocks, and `on_exit` sees to the
    /// others. So no spawn writes it, and a goroutine without exceptions never touches the line.
    pub(crate) exceptions: Exceptions,
    /// The linked segment that it runs on, or null: on its own stack. Null whenever it is over, as the next one (`EXTRAS`).
    pub(crate) segment: *mut crate::stack::Segment,
    /// Segments that it left and may want again, the next one first (`Segment::below`), or null.
    pub(crate) spare: *mut crate::stack::Segment,
    /// The end of the open reserve below its stack (`stack::event`), or 0.
    pub(crate) reserve: u64,
    /// Of the stack, not of the goroutine: what `stack::learn` knows about it (L2). No spawn writes it.
    pub(crate) learned: u32,
    /// errno, when it does not fit `errno`.
    pub(crate) errno_wide: i32,
    /// AddressSanitizer's stand-in for the stack, while somebody else runs, and ThreadSanitizer's name for the goroutine; or null
    /// (`sanitize`). The first one outlives the goroutine.
    pub(crate) fake_stack: *mut c_void,
    pub(crate) fiber: *mut c_void,
}

/// C++'s `__cxa_eh_globals`, as the Itanium ABI lays it out: what `throw;` and `std::uncaught_exceptions()` go by. Its own
/// runtime keeps one per thread; here each goroutine has one (`capi::cxx`).
#[repr(C)]
pub struct Exceptions {
    /// The stack of exceptions that are being handled.
    pub(crate) caught: *mut c_void,
    /// How many are on their way to a handler.
    pub(crate) uncaught: u32,
}

/// In `spawn_flags`: line 4 of the control block holds something, or its end has more to see to (mutexes, locals, segments, being pinned). Most goroutines never touch that line: its `name`,
/// `end` and `cancel_disabled` are empty from one goroutine to the next.
pub const EXTRAS: u32 = 1 << 30;

/// In `spawn_flags`: bound because C frames are live, not because it wants to be; it is unbound when the outermost one
/// returns.
pub const ON_THE_SPOT: u32 = 1 << 29;

/// In `spawn_flags`: C frames were jumped over.
pub const FOREIGN_DISCARDED: u32 = 1 << 27;

/// In `spawn_flags`, with `EXTRAS`: whether it binds is taken for a sample of its function's (`sched::predict`).
pub const SAMPLED: u32 = 1 << 28;

use crate::abi as a;
use std::mem::{offset_of, size_of};
const _: () = assert!(offset_of!(Goroutine, stack_limit) == a::GOROUTINE_OFFSET_STACK_LIMIT);
const _: () = assert!(offset_of!(Goroutine, id) == a::GOROUTINE_OFFSET_ID);
const _: () = assert!(offset_of!(Goroutine, preempt) == a::GOROUTINE_OFFSET_PREEMPT);
const _: () = assert!(offset_of!(Goroutine, flags) == a::GOROUTINE_OFFSET_FLAGS);
const _: () = assert!(offset_of!(Goroutine, native_stack) == a::GOROUTINE_OFFSET_NATIVE_STACK);
const _: () = assert!(offset_of!(Goroutine, context) == a::GOROUTINE_OFFSET_CONTEXT);
const _: () = assert!(offset_of!(Goroutine, user) == a::GOROUTINE_OFFSET_USER);
const _: () = assert!(offset_of!(Goroutine, foreign_sp) == a::GOROUTINE_OFFSET_FOREIGN_SP);
const _: () = assert!(offset_of!(Goroutine, rsp) == a::GOROUTINE_HEADER_BYTES);
const _: () = assert!(offset_of!(Goroutine, exceptions) == 256);
const _: () = assert!(size_of::<Goroutine>() == 320);

impl Goroutine {
    /// It is about to wait.
    ///
    /// # Safety
    /// `g` is the running goroutine.
    #[inline(always)]
    pub unsafe fn note_waits(g: *mut Self, waits: Waits) {
        // SAFETY: its own; a store for those who look from outside.
        unsafe { AtomicU64::from_ptr((&raw mut (*g).next).cast()).store(waits.0, Ordering::Relaxed) };
    }

    /// What it noted.
    ///
    /// # Safety
    /// `g` is a control block. Of a goroutine that is not parked it says nothing.
    pub unsafe fn noted_waits(g: *const Self) -> Waits {
        // SAFETY: as above.
        Waits(unsafe { AtomicU64::from_ptr((&raw mut (*g.cast_mut()).next).cast()).load(Ordering::Relaxed) })
    }

    /// The same, with a time-out: after [`Goroutine::note_waits`].
    ///
    /// # Safety
    /// `g` is about to park, on this thread.
    pub unsafe fn note_timed(g: *mut Self) {
        // SAFETY: as above.
        unsafe {
            let word = AtomicU64::from_ptr((&raw mut (*g).next).cast());
            word.store(Waits(word.load(Ordering::Relaxed)).timed().0, Ordering::Relaxed);
        }
    }

    /// It is not to be cancelled, until as many [`Goroutine::enable_cancel`].
    ///
    /// # Safety
    /// `g` is the running goroutine.
    #[inline]
    pub unsafe fn disable_cancel(g: *mut Self) {
        // SAFETY: its own.
        unsafe {
            (*g).cancel_disabled += 1;
            (*g).spawn_flags |= EXTRAS; // it may end so
        }
    }

    /// Ends a [`Goroutine::disable_cancel`].
    ///
    /// # Safety
    /// As there.
    #[inline]
    pub unsafe fn enable_cancel(g: *mut Self) {
        // SAFETY: its own.
        unsafe { (*g).cancel_disabled -= 1 };
    }

    /// Its id; 0: not in use, or the dummy.
    #[inline(always)]
    pub fn id(&self) -> u64 {
        self.id.load(Ordering::Relaxed)
    }

    /// Whether somebody asked it to stop and it lets itself be stopped.
    #[inline(always)]
    pub fn is_cancelled(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & a::GOROUTINE_FLAG_CANCEL != 0 && self.cancel_disabled == 0
    }
}

/// In `errno`: look at `errno_wide`.
pub const ERRNO_WIDE: u16 = u16::MAX;

/// How often this process is a child of fork of one that had loaded the library. Goroutines of the parents are still in
/// memory, and promises and tickets may name them; nothing of this process may run them.
pub static FORKS: AtomicU32 = AtomicU32::new(0);

impl Goroutine {
    /// Whether it is one of this process, not of a parent's runtime.
    #[inline(always)]
    pub fn is_ours(&self) -> bool {
        self.forks == FORKS.load(Ordering::Relaxed)
    }
}

/// A pointer to a goroutine that its holder may queue or run.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Runnable(pub *mut Goroutine);
// SAFETY: holding one is owning the goroutine (module head), and stacks may run on any thread.
unsafe impl Send for Runnable {}
// SAFETY: a copy is inert until its holder uses it.
unsafe impl Sync for Runnable {}

/// Goroutines that became runnable, oldest first, linked through their control blocks: what drivers hand up.
pub struct ReadyList {
    first: *mut Goroutine,
    last: *mut Goroutine,
}

impl ReadyList {
    /// Nobody.
    pub const fn new() -> Self {
        Self {
            first: std::ptr::null_mut(),
            last: std::ptr::null_mut(),
        }
    }
    /// Whether nobody is in it.
    pub fn is_empty(&self) -> bool {
        self.first.is_null()
    }
    /// Adds one.
    ///
    /// # Safety
    /// The caller owns `g` and gives it up.
    pub unsafe fn push(&mut self, g: *mut Goroutine) {
        // SAFETY: the caller's promise; `last` is owned by this list.
        unsafe {
            (*g).next = std::ptr::null_mut();
            if self.first.is_null() {
                self.first = g;
            } else {
                (*self.last).next = g;
            }
        }
        self.last = g;
    }
}

impl Default for ReadyList {
    fn default() -> Self {
        Self::new()
    }
}

impl Iterator for ReadyList {
    type Item = Runnable;
    #[inline]
    fn next(&mut self) -> Option<Runnable> {
        let g = self.first;
        if g.is_null() {
            return None;
        }
        // SAFETY: the list owns its members.
        self.first = unsafe { (*g).next };
        Some(Runnable(g))
    }
}

/// Bytes of a name that are kept.
const NAME_MAX: usize = 63;

/// How many threads look at another goroutine's name. They announce themselves before they load it, and who frees it looks for them
/// after it took it away (SeqCst, all four): so either they find nothing, or it waits for them. Reset in a child of fork.
static NAME_READERS: AtomicU32 = AtomicU32::new(0);

/// In a child of fork, whose parent may have been in `name_of`.
pub fn forget_name_readers() {
    NAME_READERS.store(0, Ordering::Relaxed);
}

/// A C string of the library's own, freed with [`free_name`].
///
/// # Safety
/// `name` is null or NUL-terminated.
pub unsafe fn copy_name(name: *const c_char) -> *mut c_char {
    if name.is_null() {
        return std::ptr::null_mut();
    }
    // SAFETY: the caller's promise. Null when out of memory: a goroutine without a name.
    sanitize::look_away(|| unsafe { libc::strndup(name, NAME_MAX) })
}

/// # Safety
/// `g` is over and the caller's.
#[cold]
pub unsafe fn free_name(g: *mut Goroutine) {
    // SAFETY: the caller's promise.
    let name = unsafe { &(*g).name };
    if name.load(Ordering::Relaxed).is_null() {
        return;
    }
    let name = name.swap(std::ptr::null_mut(), Ordering::SeqCst);
    while NAME_READERS.load(Ordering::SeqCst) != 0 {
        std::thread::yield_now(); // it copies a few bytes
    }
    // SAFETY: the name came from `copy_name`, and nobody else has it any more.
    sanitize::look_away(|| unsafe { libc::free(name.cast()) });
}

/// Where the goroutine `id` was spawned, for a report; 0: by the library, or it is not `id` any more.
///
/// # Safety
/// `g` is a control block.
pub unsafe fn site_of(g: *const Goroutine, id: u64) -> u64 {
    // SAFETY: control blocks stay mapped. It is written before the id is, and not again until that goroutine is over.
    unsafe {
        let site = (&raw const (*g).site).read_volatile();
        fence(Ordering::Acquire);
        if (*g).id.load(Ordering::Relaxed) == id {
            site
        } else {
            0
        }
    }
}

/// The name of a goroutine that may end meanwhile, for a report; empty: it has none, or is not `id` any more.
///
/// # Safety
/// `g` is a control block.
pub unsafe fn name_of(g: *const Goroutine, id: u64) -> CString {
    NAME_READERS.fetch_add(1, Ordering::SeqCst);
    // SAFETY: control blocks stay mapped; a name that is there now is not freed before we are done.
    let name = unsafe {
        let name = (*g).name.load(Ordering::SeqCst);
        if name.is_null() {
            CString::default()
        } else {
            sanitize::look_away(|| CStr::from_ptr(name).to_owned())
        }
    };
    NAME_READERS.fetch_sub(1, Ordering::Release);
    // Its name comes after its id, and goes before it.
    // SAFETY: as above.
    if unsafe { (*g).id() } == id {
        name
    } else {
        CString::default()
    }
}
