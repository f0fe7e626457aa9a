//! Tracing: what goroutines and threads do, as it happens, into a file that trace viewers open. docs/tracing.md is for its users.
//!
//! ```text
//!   a thread of the library, or a plain one          gr-trace, while a trace runs
//!   event -> the thread's ring (`ring`)   ------->   merged by time (`writer`) -> slices and flows (`story`)
//!                                                                              -> JSON (`json`) -> the file
//! ```
//!
//! | file | what |
//! |---|---|
//! | `ring` | from one thread to the writer, without waiting (model-checked) |
//! | `event` | what is recorded |
//! | `rings` | whose ring is whose: made at a thread's first event, bigger where it records much, given up at its end |
//! | `session` | start and stop |
//! | `writer` | the thread: it reads the rings, and puts what it read in order |
//! | `story` | what the events of a goroutine and of a thread say together |
//! | `symbols` | names of functions |
//! | `json` | the file's format |
//!
//! While no trace runs, each place that records costs a look at one word, `goroutine_tracing`, beside words that the switch of goroutines
//! reads anyway, and a branch that is never taken; a yield's short way does not have even that (POLL_TRACE sends yields the long
//! way while a trace runs). `scheduler` calls down here, and nothing here calls up.
//!
//! The same looks serve sanitizers (`sanitize`), which want to know of much the same moments: they are told of them here.
//!
//! T1. The word is the number of the trace that runs, or 0, but for the bit of `sanitize`. A thread's ring is good for the trace whose number stands beside it in the
//!     thread's block, so one comparison tells both whether the thread has a ring and whether it may use it.
//! T2. An event may come late: its thread saw the word, and was held up. It goes to the thread's own ring, which lives until the
//!     thread closes it, and the next trace drops what is older than itself.

pub mod event;
mod json;
pub mod ring;
mod rings;
mod session;
mod story;
mod symbols;
mod writer;

pub use event::Cause;
pub use rings::forget_in_child;
pub use session::{Totals, end, forget, is_off, lock, start, stop, totals};

use crate::abi::GoroutineStatus;
use crate::goroutine::Goroutine;
use crate::goroutine::waits;
use crate::sanitize;
use crate::sys::clock::ticks;
use event::{Kind, Record};
use ring::Pushed;
use rings::ThreadRing;
use std::ffi::CStr;
use std::sync::atomic::{AtomicU32, Ordering};

unsafe extern "C" {
    /// T1. In the assembly's data.
    static goroutine_tracing: AtomicU32;
}

/// The number of the trace that runs; 0: none.
#[inline(always)]
fn number() -> u32 {
    // SAFETY: an atomic word.
    unsafe { goroutine_tracing.load(Ordering::Relaxed) & !sanitize::PRESENT }
}

/// Whether a trace runs, or there is a sanitizer. A trace may end, or begin, at any moment.
#[inline(always)]
pub fn is_on() -> bool {
    sanitize::is_watched()
}

/// What is mostly so comes first, and is all that is here: neither a call nor a frame.
#[cold]
#[inline(never)]
fn record(kind: Kind, detail: u64, subject: u64, more: u64) {
    if let Some(ring) = rings::own_or_none(number())
        && ring.by_counter
    {
        let record = Record::new(ticks(), kind, detail, subject, more);
        // SAFETY: the calling thread's ring.
        if unsafe { ring.ring.push_at_once(record) } {
            return;
        }
    }
    record_slowly(kind, detail, subject, more);
}

#[cold]
#[inline(never)]
fn record_slowly(kind: Kind, detail: u64, subject: u64, more: u64) {
    if let Some(ring) = rings::own(number()) {
        let record = Record::new(ring.now(), kind, detail, subject, more);
        // SAFETY: the calling thread's ring.
        let pushed = unsafe { ring.ring.push(record) };
        if pushed != Pushed::Kept {
            fills(ring, pushed);
        }
    }
}

/// Somebody should read.
fn fills(ring: &ThreadRing, pushed: Pushed) {
    if pushed == Pushed::Filling {
        rings::grow(ring, number());
    }
    session::call_writer();
}

/// `g` runs on this thread from now on. The assembly asks first whether a trace runs.
///
/// # Safety
/// Called by the assembly on the thread's stack; `g` is the goroutine that comes.
pub unsafe extern "C" fn on_traced_run(g: *mut Goroutine) {
    // SAFETY: the caller's promise.
    unsafe {
        record(Kind::Run, 0, (*g).id(), (*g).entry_fn);
        if sanitize::is_present() {
            sanitize::enter(g);
        }
    }
}

unsafe fn nothing(_: *mut Goroutine) {}

/// Each with what sanitizers are to know after it.
macro_rules! recorders {
    ($($(#[$doc:meta])* $name:ident($($argument:ident: $type:ty),*) => $kind:ident($detail:expr, $more:expr) $then:path;)*) => {
        $(
            $(#[$doc])*
            ///
            /// # Safety
            /// `g` is the caller's, or runs here.
            #[inline(always)]
            pub unsafe fn $name(g: *const Goroutine $(, $argument: $type)*) {
                #[cold]
                #[inline(never)]
                unsafe fn cold(g: *const Goroutine $(, $argument: $type)*) {
                    // SAFETY: the caller's promise.
                    unsafe {
                        record(Kind::$kind, $detail, (*g).id(), $more);
                        if sanitize::is_present() {
                            $then(g.cast_mut());
                        }
                    }
                }
                if is_on() {
                    // SAFETY: the caller's promise.
                    unsafe { cold(g $(, $argument)*) };
                }
            }
        )*
    };
}

recorders! {
    /// It waits for something that it noted not.
    parks_for(kind: waits::Kind) => Park(kind as u64, 0) sanitize::leave;
    /// It lets others run.
    yields() => Yield(0, 0) sanitize::leave;
    /// It is over.
    ends(status: GoroutineStatus) => End(u64::from(status as u32), 0) nothing;
    /// It is runnable again.
    ready(cause: Cause) => Ready(cause as u64, 0) sanitize::publish;
    /// This thread is its own.
    bind() => Bind(0, 0) nothing;
    /// And is not any more.
    unbind() => Unbind(0, 0) sanitize::leave;
    /// It calls C.
    calls(kind: u32, function: u64) => Call(u64::from(kind), function) nothing;
    /// C has returned.
    returns() => Return(0, 0) nothing;
    /// A timer fired, and it runs `function` for it.
    fires(function: u64) => TimerFire(0, function) nothing;
}

/// It waits for what it noted.
///
/// # Safety
/// `g` is about to park, on this thread.
#[inline(always)]
pub unsafe fn parks(g: *const Goroutine) {
    #[cold]
    #[inline(never)]
    unsafe fn cold(g: *const Goroutine) {
        // SAFETY: the caller's promise.
        unsafe {
            let kind = Goroutine::noted_waits(g).kind().unwrap_or(waits::Kind::Ticket);
            record(Kind::Park, kind as u64, (*g).id(), 0);
            if sanitize::is_present() {
                if kind == waits::Kind::Ticket {
                    sanitize::leave_for_callback(g.cast_mut());
                } else {
                    sanitize::leave(g.cast_mut());
                }
            }
        }
    }
    if is_on() {
        // SAFETY: the caller's promise.
        unsafe { cold(g) };
    }
}

/// `g` was spawned by whoever runs here.
///
/// # Safety
/// `g` is the caller's.
#[inline(always)]
pub unsafe fn spawns(g: *const Goroutine) {
    if is_on() {
        // SAFETY: the caller's promise.
        unsafe { spawns_cold(g) };
    }
}

#[cold]
#[inline(never)]
unsafe fn spawns_cold(g: *const Goroutine) {
    const SITE: u64 = (1 << 56) - 1;
    // SAFETY: the caller's promise. Its name is read only if it may have one: otherwise that line is not written.
    unsafe {
        record(Kind::Spawn, (*g).site & SITE, (*g).id(), (*g).entry_fn);
        sanitize::spawned(g.cast_mut());
        if (*g).spawn_flags & crate::goroutine::EXTRAS != 0 {
            let name = (*g).name.load(Ordering::Relaxed);
            if !name.is_null() {
                names(g, sanitize::look_away(|| CStr::from_ptr(name)));
            }
        }
    }
}

unsafe fn names(g: *const Goroutine, name: &CStr) {
    let Some(ring) = rings::own(number()) else { return };
    let bytes = &name.to_bytes()[..name.to_bytes().len().min(64)];
    let mut records = [Record::text([0; 32]); 3];
    // SAFETY: the caller's promise.
    records[0] = Record::new(
        ring.now(),
        Kind::Name,
        bytes.len() as u64,
        unsafe { (*g).id() },
        0,
    );
    let mut count = 1;
    for part in bytes.chunks(32) {
        let mut text = [0; 32];
        text[..part.len()].copy_from_slice(part);
        records[count] = Record::text(text);
        count += 1;
    }
    // SAFETY: the calling thread's ring.
    let pushed = unsafe { ring.ring.push_all(&records[..count]) };
    if pushed != Pushed::Kept {
        fills(ring, pushed);
    }
}

/// This thread holds worker `number`.
#[inline(always)]
pub fn takes_worker(number: usize) {
    if is_on() {
        record(Kind::Take, 0, number as u64, 0);
    }
}

/// Worker `number` goes to another thread; `retaken`: from a long blocking call.
#[inline(always)]
pub fn hands_off(number: usize, retaken: bool) {
    if is_on() {
        record(Kind::HandOff, u64::from(retaken), number as u64, 0);
    }
}

/// A timer was started.
#[inline(always)]
pub fn starts_timer(id: i64, delay_ns: u64) {
    if is_on() && id > 0 {
        record(Kind::TimerStart, 0, id as u64, delay_ns);
    }
}

/// A timer was stopped.
#[inline(always)]
pub fn stops_timer(id: i64) {
    if is_on() {
        record(Kind::TimerStop, 0, id as u64, 0);
    }
}
