//! What a start is told (`GoroutineConfig`) and what a running runtime tells (`GoroutineStats`).

use super::{GoroutineContext, GoroutineStatus};
use crate::goroutine::Goroutine;
use core::ffi::{c_char, c_void};

/// Config flag: all code on goroutine stacks is the language's own.
pub const GOROUTINE_CONFIG_OWN_CODE: u32 = 1;
/// Config flag: install no signal handlers.
pub const GOROUTINE_CONFIG_NO_SIGNAL_HANDLERS: u32 = 2;
/// Config flag: report goroutines that wait for each other on stderr, within a second (by looking several times a second; channels and
/// readers-writer locks remember who used them). When all are asleep for good, goroutine_runtime_wait and goroutine_runtime_run give GOROUTINE_EDEADLK.
pub const GOROUTINE_CONFIG_DEADLOCK_REPORT: u32 = 4;
/// Config flag: learn from samples how much stack the goroutines use that are spawned of one function at one place (where the call of the spawn
/// returns to), and have it there before the next one runs, so that it does not take a page fault for each page. Linux 5.14; before that the start
/// gives GOROUTINE_ENOSYS.
pub const GOROUTINE_CONFIG_LEARN_STACKS: u32 = 8;
/// Config flag: make no threads ahead for functions whose goroutines nearly always bind.
pub const GOROUTINE_CONFIG_NO_PREDICTION: u32 = 16;
/// Config flag: files are read and written by threads, not by the kernel's io_uring. GOROUTINE_IO_URING=0 in the environment sets it, too.
pub const GOROUTINE_CONFIG_NO_IO_URING: u32 = 32;

/// Words of `ffi_cpus`.
pub const GOROUTINE_CPUS_WORDS: usize = 16;

/// `ffi_exhausted`: wait for a thread, first come first served.
pub const GOROUTINE_FFI_WAIT: u32 = 0;
/// `ffi_exhausted`: run the call without binding.
pub const GOROUTINE_FFI_UNBOUND: u32 = 1;
/// `ffi_exhausted`: fail with `GOROUTINE_EFFITHREADS`.
pub const GOROUTINE_FFI_FAIL: u32 = 2;
/// `ffi_release`: a thread that is given back serves again.
pub const GOROUTINE_FFI_REUSE: u32 = 0;
/// `ffi_release`: a thread that is given back ends: after a bound goroutine, a blocking call that took long, loads, and calls of
/// goroutine_ffi_call_async, of which it may run several in a row.
pub const GOROUTINE_FFI_RETIRE: u32 = 1;

/// The stack of `g`, the running goroutine, has overflowed in the language's own code: registered code, or with `GOROUTINE_CONFIG_OWN_CODE` the
/// program itself and code that no loaded object maps; with no C frames live. It runs on `GOROUTINE_OVERFLOW_RESERVE` bytes of the same stack,
/// and may edit `at` (execution resumes there), throw, or return: that ends the goroutine, whose promise settles with
/// `GOROUTINE_ESTACKOVERFLOW`. Otherwise, and without one, an overflow is reported on stderr, and the SIGSEGV goes on. A language that throws
/// in a way of its own calls `goroutine_ffi_landed` where it caught: that makes the reserve ready for another time. It must not park.
pub type GoroutineStackOverflowFn = Option<
    unsafe extern "C" fn(
        g: *mut Goroutine,
        fault_address: *mut c_void,
        at: *mut GoroutineContext,
        arg: *mut c_void,
    ),
>;
/// A failure nobody looked at: a promise-less goroutine's (`g` set), or a rejected promise's that was
/// released unobserved (`g` NULL).
pub type GoroutineUnhandledFn = Option<
    unsafe extern "C" fn(g: *const Goroutine, status: GoroutineStatus, reason: *mut c_void, arg: *mut c_void),
>;
/// A foreign call could not bind.
pub type GoroutineFfiFailedFn =
    Option<unsafe extern "C" fn(g: *mut Goroutine, status: GoroutineStatus, arg: *mut c_void)>;
/// A goroutine ended; runs off its stack.
pub type GoroutineEndFn = Option<unsafe extern "C" fn(g: *mut Goroutine, arg: *mut c_void)>;
/// A thread of the library starts, stops, or is about to sleep.
pub type GoroutineThreadFn = Option<unsafe extern "C" fn(arg: *mut c_void)>;
/// The library found something that cannot go on; `message` is what it also writes to stderr. `abort` follows.
pub type GoroutineFatalFn = Option<unsafe extern "C" fn(message: *const c_char, arg: *mut c_void)>;

/// How to run. Fill with `goroutine_config_init`, then change what you need.
#[repr(C)]
#[derive(Clone, Copy)]
#[allow(missing_docs)] // each `…_arg` goes to the callback before it
pub struct GoroutineConfig {
    /// Bytes of this struct that the caller knows.
    pub size: u32,
    /// `GOROUTINE_CONFIG_*`.
    pub flags: u32,
    /// Workers; 0: as many as the CPU affinity and the cgroup quota allow. At most 256.
    pub workers: u32,
    /// Must be 0.
    pub reserved: u32,
    /// Bytes reserved per goroutine, guard included, rounded up to a power of two, at least 128 KiB; 0: 256 KiB.
    pub stack_bytes: u64,
    /// The largest reservation that a spawn may ask for, and the most that any goroutine may grow to (goroutine_more_stack); 0: 1 GiB.
    pub stack_bytes_max: u64,
    /// Most threads for bound goroutines, and as many for blocking calls that last; 0: 1,000.
    pub ffi_threads_max: u32,
    /// How many of them to start at once, and to keep.
    pub ffi_threads_prestart: u32,
    /// `GOROUTINE_FFI_WAIT`, `_UNBOUND` or `_FAIL`.
    pub ffi_exhausted: u32,
    /// `GOROUTINE_FFI_REUSE` or `_RETIRE`.
    pub ffi_release: u32,
    pub stack_overflow: GoroutineStackOverflowFn,
    pub stack_overflow_arg: *mut c_void,
    pub unhandled: GoroutineUnhandledFn,
    pub unhandled_arg: *mut c_void,
    pub ffi_failed: GoroutineFfiFailedFn,
    pub ffi_failed_arg: *mut c_void,
    pub goroutine_end: GoroutineEndFn,
    pub goroutine_end_arg: *mut c_void,
    pub thread_start: GoroutineThreadFn,
    pub thread_start_arg: *mut c_void,
    pub thread_stop: GoroutineThreadFn,
    pub thread_stop_arg: *mut c_void,
    pub idle: GoroutineThreadFn,
    pub idle_arg: *mut c_void,
    pub fatal: GoroutineFatalFn,
    pub fatal_arg: *mut c_void,
    /// Bytes of stack of every thread of the library, on which foreign calls run; 0: 8 MiB. At least 256 KiB are taken.
    pub thread_stack_bytes: u64,
    /// Asynchronous signals that threads of the library do not block: bit n - 1 is signal n. Their handlers need
    /// SA_ONSTACK, or the start gives GOROUTINE_EINVAL.
    pub signals_open: u64,
    /// How long a spare thread waits before it ends, unless it is one of the last few; 0: 10 s.
    pub ffi_threads_idle_ns: u64,
    /// The CPUs for threads that serve bound goroutines, lanes and other calls on the library's own threads, while they do so:
    /// bit n % 64 of word n / 64 is CPU n. All 0: any. Those that the process may not use do not count; if none is left,
    /// the start gives GOROUTINE_EINVAL. A thread that serves no more has the CPUs again that it had before.
    pub ffi_cpus: [u64; GOROUTINE_CPUS_WORDS],
    /// 1: each of these threads on one CPU of them (of all, if `ffi_cpus` is 0), the one with the fewest.
    pub ffi_cpus_spread: u32,
    /// Must be 0.
    pub reserved_too: u32,
}

// SAFETY: plain data; the callbacks and their arguments are the caller's to share, as the header says.
unsafe impl Send for GoroutineConfig {}
// SAFETY: as above.
unsafe impl Sync for GoroutineConfig {}

/// Counters of a running runtime. Each is exact; together they are not one moment's picture.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
pub struct GoroutineStats {
    /// Bytes of this struct that the caller knows.
    pub size: u32,
    /// Workers.
    pub workers: u32,
    /// Goroutines ever spawned.
    pub spawned: u64,
    /// Goroutines ended.
    pub finished: u64,
    /// Goroutines that exist now, daemons included.
    pub live: u64,
    /// Timers armed now, those of sleeps and time-outs included.
    pub timers: u64,
    /// Async operations pending.
    pub async_operations: u64,
    /// Goroutines taken from another worker.
    pub stolen: u64,
    /// Times a worker went to sleep.
    pub sleeps: u64,
    /// Times a sleeping worker was woken for work.
    pub wakes: u64,
    /// Times a long queue was shared out.
    pub published: u64,
    /// OS threads of the library.
    pub threads: u64,
    /// Stacks reserved.
    pub stacks: u64,
    /// Stacks in the shared pools; workers keep up to 256 more each.
    pub stacks_free: u64,
    /// Stacks whose memory was given back by the background trim.
    pub stacks_trimmed: u64,
    /// Promises that exist now, and up to 512 spare ones per worker.
    pub promises: u64,
    /// Threads that wait for a goroutine to bind, or for a worker.
    pub ffi_threads_idle: u64,
    /// Most scheduling threads there ever were at a time.
    pub ffi_threads_peak: u64,
    /// Threads taken now: by bound goroutines, by calls that the library runs on threads of its own, and by long blocking calls.
    pub ffi_bound: u64,
    /// Times a goroutine was bound.
    pub ffi_bindings: u64,
    /// Of them because it parked with C frames live: beyond `ffi_threads_max` if need be.
    pub ffi_bindings_on_the_spot: u64,
    /// Calls that went through the library while their goroutines were bound; counted when the binding ends.
    pub ffi_calls: u64,
    /// Times a worker went on on another thread.
    pub ffi_hand_offs: u64,
    /// Times somebody waited for a thread, because `ffi_threads_max` were taken.
    pub ffi_waits: u64,
    /// Times a goroutine was not bound for that reason, or for want of memory.
    pub ffi_refused: u64,
    /// Threads taken without waiting, by bindings and by calls on the library's own threads: there was one in reserve ...
    pub ffi_spares_ready: u64,
    /// ... or one had to be made.
    pub ffi_spares_missed: u64,
    /// Times a worker was taken away from a long blocking call.
    pub ffi_retaken: u64,
    /// Events in the file of the last trace that ended ...
    pub trace_events: u64,
    /// ... and events of it that were dropped, because nobody got to them in time.
    pub trace_lost: u64,
    /// Linked segments reserved.
    pub segments: u64,
    /// Of them in the shared pool; goroutines that grew keep one or so more each.
    pub segments_free: u64,
    /// Times a goroutine took one from there.
    pub segments_taken: u64,
    /// Times the memory of one was given back by the background trim.
    pub segments_trimmed: u64,
    /// Times a goroutine that had run for 10 ms while others waited was asked to give way (`preempt` in its header).
    pub preempted: u64,
    /// Of them how many did not look within another 10 ms: they do not poll.
    pub preempt_ignored: u64,
    /// The id of the last one of those; 0: none.
    pub preempt_ignored_by: u64,
    /// Times the world was stopped, in this process.
    pub world_stops: u64,
    /// The id of the goroutine that kept goroutine_world_stop from succeeding, the last time that timed out; 0: none, or code between two goroutines.
    pub world_held_up_by: u64,
}
