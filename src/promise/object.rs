//! The promise object: what C sees of it, who waits on it, how it ends.

use super::cell::{Cell, Settling, Waiter, Waiters};
use super::pool;
use crate::abi::*;
use crate::context::{goroutine_asm_call, note_control_words};
use crate::goroutine::park::Ready;
use crate::goroutine::{FORKS, Goroutine, ReadyList};
use crate::sanitize;
use crate::sys::{futex, report};
use crate::wait::thread::ThreadWait;
use std::ffi::c_void;
use std::mem::offset_of;
use std::sync::atomic::{AtomicPtr, Ordering};

/// Who waits.
pub enum Owner {
    /// A parked goroutine.
    Goroutine {
        /// Whose control block.
        g: *mut Goroutine,
        /// The park.
        sequence: u64,
    },
    /// A plain thread.
    Thread(*const ThreadWait),
    /// An operation: `run` is called once, after the lock was given back, with the waiter itself.
    Operation {
        /// What to do.
        run: unsafe fn(waiter: *mut PromiseWaiter, settled: &mut Settled),
        /// For `run`.
        data: *mut c_void,
        /// For `run`.
        index: usize,
    },
}

impl Owner {
    /// In place of one who has not begun to wait.
    pub const NOBODY: Self = Self::Goroutine {
        g: std::ptr::null_mut(),
        sequence: 0,
    };
}

/// A waiter of a promise.
pub type PromiseWaiter = Waiter<Owner>;

/// What settling brought about.
pub struct Settled {
    /// Goroutines to queue.
    pub ready: ReadyList,
    operations: *mut PromiseWaiter,
    operations_last: *mut PromiseWaiter,
}

impl Settled {
    /// Nothing yet.
    pub const fn new() -> Self {
        Self {
            ready: ReadyList::new(),
            operations: std::ptr::null_mut(),
            operations_last: std::ptr::null_mut(),
        }
    }
    /// Runs operations until none is left; they may settle more promises. A loop, so chains of any length are fine.
    ///
    /// # Safety
    /// No lock is held.
    #[inline]
    pub unsafe fn run_operations(&mut self) {
        while !self.operations.is_null() {
            let waiter = self.operations;
            // SAFETY: an operation that was handed up stays alive until its `run` was called.
            unsafe {
                self.operations = *(*waiter).chain();
                if let Owner::Operation { run, .. } = (*waiter).owner {
                    run(waiter, self);
                }
            }
        }
    }
}

impl Default for Settled {
    fn default() -> Self {
        Self::new()
    }
}

/// What a promise was settled with.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Outcome {
    /// The value, or the reason.
    pub value: *mut c_void,
    /// GOROUTINE_OK, GOROUTINE_EREJECTED, or the goroutine's own negative status.
    pub status: GoroutineStatus,
}
// SAFETY: a word that its users share as they agreed.
unsafe impl Send for Outcome {}

/// Somebody has looked at the outcome, or will.
const OBSERVED: u32 = 1;
/// A goroutine settles it, nobody else may.
const OF_GOROUTINE: u32 = 2;
/// The bits in between, below the cell's own: FORKS when it was made.
const FORKS_SHIFT: u32 = 2;
const FORKS_MASK: u32 = 0xFF_FFFF << FORKS_SHIFT;
/// The lowest bit of `goroutine`: one reference is a handle's, that somebody may never give back. Not in `flags`, whose
/// writers would lose it: here only the handle's owner writes, first before anybody else has the promise.
const HANDLE: usize = 1;

#[inline(always)]
fn forks_now() -> u32 {
    FORKS.load(Ordering::Relaxed) << FORKS_SHIFT & FORKS_MASK
}

/// See the module's head.
#[repr(C, align(64))]
pub struct GoroutinePromise {
    pub(crate) cell: Cell<Owner, Outcome>,
    drop_value: GoroutineDropFn,
    /// The goroutine that will settle it, valid while pending; and HANDLE.
    goroutine: AtomicPtr<Goroutine>,
}
/// The name inside the library.
pub use GoroutinePromise as Promise;

const _: () = assert!(std::mem::size_of::<Promise>() == 64);
const _: () = assert!(offset_of!(Promise, cell) == 0);

/// Where [`Promise::settler`] is, for debuggers (null where anybody may settle it) ...
pub const SETTLER: usize = offset_of!(Promise, goroutine);
/// ... in these bits.
pub const SETTLER_MASK: usize = !HANDLE;

impl Promise {
    /// A pending promise with one reference, the caller's; null: out of memory.
    pub fn new(drop_value: GoroutineDropFn) -> *mut Self {
        let p = pool::take_one();
        if !p.is_null() {
            // SAFETY: fresh from the pool, 64 bytes, ours.
            unsafe { Self::init(p, drop_value, std::ptr::null_mut()) };
        }
        p
    }

    /// Pending, one reference. `goroutine`: who will settle it, and has none; or null.
    ///
    /// # Safety
    /// `p` came from the pool and is the caller's.
    #[inline(always)]
    pub unsafe fn init(p: *mut Self, drop_value: GoroutineDropFn, goroutine: *mut Goroutine) {
        let flags = if goroutine.is_null() { 0 } else { OF_GOROUTINE } | forks_now();
        // SAFETY: the caller's promise.
        unsafe {
            p.write(Self {
                cell: Cell::new(Outcome {
                    value: std::ptr::null_mut(),
                    status: GOROUTINE_OK,
                }),
                drop_value,
                goroutine: AtomicPtr::new(goroutine),
            });
            (*p).cell.flags.store(flags, Ordering::Relaxed);
        }
    }

    /// Whether a goroutine settles it.
    pub fn is_of_goroutine(&self) -> bool {
        self.cell.flags.load(Ordering::Relaxed) & OF_GOROUTINE != 0
    }

    /// The goroutine that will settle it, or has: for reports. Null: anybody may.
    pub fn settler(&self) -> *mut Goroutine {
        if self.is_of_goroutine() {
            self.goroutine.load(Ordering::Relaxed).map_addr(|a| a & !HANDLE)
        } else {
            std::ptr::null_mut()
        }
    }

    /// Whether it was made in this process, and not before a fork: otherwise who settles it is gone, perhaps in the middle
    /// of that, with the lock in its hands.
    #[inline(always)]
    pub fn is_ours(&self) -> bool {
        self.cell.flags.load(Ordering::Relaxed) & FORKS_MASK == forks_now()
    }

    /// Somebody takes note of the outcome: it will not be reported as unhandled.
    #[inline(always)]
    pub fn observe(&self) {
        // No atomic or: this is the only bit that changes after `init`, and everybody sets it.
        self.cell.flags.store(
            self.cell.flags.load(Ordering::Relaxed) | OBSERVED,
            Ordering::Relaxed,
        );
    }

    /// Whether somebody has a reference, or it will be settled by its goroutine.
    pub fn is_alive(&self) -> bool {
        let is_kept = self.cell.refs.load(Ordering::Relaxed) != 0;
        is_kept || (self.is_of_goroutine() && self.cell.state() == GOROUTINE_PROMISE_PENDING)
    }

    /// Whether its value is dropped so.
    pub fn drops_with(&self, drop_value: unsafe extern "C" fn(*mut c_void)) -> bool {
        self.drop_value
            .is_some_and(|f| std::ptr::fn_addr_eq(f, drop_value))
    }

    /// The outcome, once settled.
    #[inline(always)]
    pub fn outcome(&self) -> Option<Outcome> {
        let (_, outcome) = self.cell.settled()?;
        sanitize::acquired(self);
        Some(outcome)
    }

    /// Its goroutine ended: settles it, and ends it if nobody has a reference. `woke` is called if somebody waited, after the
    /// lock was given back. Gives an outcome that nobody will look at and that is a failure.
    ///
    /// # Safety
    /// The caller is the goroutine's end.
    #[inline(always)]
    #[must_use]
    pub unsafe fn settle_own(&self, outcome: Outcome, woke: impl FnOnce(Settled)) -> Option<Outcome> {
        let mut settled = None;
        let settling = self.cell.settle(state_of(outcome), outcome, |waiters| {
            hand_out(waiters, settled.insert(Settled::new()));
        });
        if let Some(settled) = settled {
            woke(settled);
        }
        match settling {
            Settling::Orphan => self.end(),
            first => {
                debug_assert!(first == Settling::First, "only its goroutine settles it");
                None
            }
        }
    }

    /// Settles it; what that wakes is added to `settled`. False: it was settled before. The caller has a reference.
    #[must_use]
    pub fn settle(&self, outcome: Outcome, settled: &mut Settled) -> bool {
        sanitize::released(self);
        let settling = self
            .cell
            .settle(state_of(outcome), outcome, |waiters| hand_out(waiters, settled));
        settling != Settling::Late
    }

    /// The value will not be dropped with the promise: it is somebody else's. Before settling, by who settles.
    ///
    /// # Safety
    /// Only the one who will settle it, and before that.
    pub unsafe fn keep_value(&self) {
        // SAFETY: read at the end only, which comes after the settling.
        unsafe { (&raw const self.drop_value).cast_mut().write(None) };
    }

    /// Runs `f` on the goroutine that will settle this promise, which cannot end meanwhile. None: settled already.
    pub fn with_goroutine<R>(&self, f: impl FnOnce(*mut Goroutine) -> R) -> Option<R> {
        self.cell
            .if_pending(|| f(self.goroutine.load(Ordering::Relaxed).map_addr(|a| a & !HANDLE)))
    }

    /// The caller's reference is a handle's from now on.
    pub fn set_handle(&self) {
        let goroutine = self.goroutine.load(Ordering::Relaxed);
        self.goroutine
            .store(goroutine.map_addr(|a| a | HANDLE), Ordering::Relaxed);
    }

    /// Whether one reference was a handle's. It no longer is: the caller gives it back.
    #[must_use]
    pub fn take_handle(&self) -> bool {
        let goroutine = self.goroutine.load(Ordering::Relaxed);
        self.is_handle()
            && self
                .goroutine
                .compare_exchange(
                    goroutine,
                    goroutine.map_addr(|a| a & !HANDLE),
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                )
                .is_ok()
    }

    /// Whether it is alive, of this process, and one reference is a handle's.
    pub fn is_handle(&self) -> bool {
        self.cell.refs.load(Ordering::Relaxed) != 0
            && self.is_ours()
            && self.goroutine.load(Ordering::Relaxed).addr() & HANDLE != 0
    }

    /// A failure that nobody has looked at so far. It only looks: whoever has no reference must not write.
    #[must_use]
    pub fn unseen(&self) -> Option<Outcome> {
        let outcome = self.outcome()?;
        let seen = self.cell.flags.load(Ordering::Relaxed) & OBSERVED != 0;
        (outcome.status != GOROUTINE_OK && !seen).then_some(outcome)
    }

    /// Ends the process with a line if nobody has a reference: a use after the last release.
    #[inline(always)]
    pub fn check_alive(&self, caller: &str) {
        if self.cell.refs.load(Ordering::Relaxed) == 0 {
            dead(self, caller);
        }
    }

    /// One more reference.
    pub fn retain(&self) {
        if self.cell.refs.fetch_add(1, Ordering::Relaxed) == 0 {
            dead(self, "goroutine_promise_retain");
        }
    }

    /// One reference less. Gives an outcome that nobody looked at and that is a failure.
    ///
    /// # Safety
    /// The caller had a reference.
    #[inline(always)]
    #[must_use]
    pub unsafe fn release(this: *const Self) -> Option<Outcome> {
        // SAFETY: pool memory is never unmapped: also a wrong pointer to a dead promise is answered.
        let promise = unsafe { &*this };
        let refs = promise.cell.refs.load(Ordering::Acquire);
        if refs == 1 {
            // Ours is the last reference: nobody else can make one more, so no atomic is needed.
            promise.cell.refs.store(0, Ordering::Relaxed);
            return promise.last_reference_dropped();
        }
        if refs == 0 {
            dead(promise, "goroutine_promise_release");
        }
        // AcqRel: what other holders did is visible to who ends it.
        if promise.cell.refs.fetch_sub(1, Ordering::AcqRel) == 1 {
            promise.last_reference_dropped()
        } else {
            None
        }
    }

    #[inline(always)]
    fn last_reference_dropped(&self) -> Option<Outcome> {
        if !self.is_ours() {
            return None; // its memory stays behind, like all that the parent's goroutines had
        }
        if !self.is_of_goroutine() {
            self.cell.settled_and_done(); // who settles a plain promise has a reference, or should have
        } else if !self.cell.abandon() {
            return None; // its goroutine ends it
        }
        self.end()
    }

    #[inline(always)]
    fn end(&self) -> Option<Outcome> {
        let mut unseen = None;
        if self.cell.state() == GOROUTINE_PROMISE_REJECTED || self.drop_value.is_some() {
            unseen = self.end_with_care();
        }
        pool::put(std::ptr::from_ref(self).cast_mut());
        unseen
    }

    #[cold]
    fn end_with_care(&self) -> Option<Outcome> {
        let outcome = self.outcome()?;
        if let Some(drop_value) = self.drop_value {
            // SAFETY: the creator gave the function for this value; nobody else has the promise any more.
            unsafe { goroutine_asm_call(drop_value as usize, outcome.value as usize, 0, 0) };
            note_control_words();
        }
        self.unseen()
    }
}

#[inline(always)]
fn state_of(outcome: Outcome) -> u32 {
    if outcome.status == GOROUTINE_OK {
        GOROUTINE_PROMISE_RESOLVED
    } else {
        GOROUTINE_PROMISE_REJECTED
    }
}

/// Under the cell's lock: goroutines and operations into `settled`, threads are woken.
fn hand_out(waiters: Waiters<Owner>, settled: &mut Settled) {
    for waiter in waiters {
        // SAFETY: under the lock the waiter is alive (cell, I2), and its owner's fields were set before it joined.
        unsafe {
            match (*waiter).owner {
                Owner::Goroutine { g, sequence } => match (*g).park.ready(sequence) {
                    Ready::Won => {
                        (*g).wake_status = GOROUTINE_OK;
                        settled.ready.push(g);
                    }
                    Ready::Early => {
                        (*g).wake_status = GOROUTINE_OK;
                        (*g).park.early_done(sequence);
                    }
                    Ready::Lost => {}
                },
                Owner::Thread(word) => {
                    if (*word).claim() {
                        let address: *const _ = (*word).futex();
                        (*word).done(GOROUTINE_OK);
                        futex::wake(address, 1);
                    }
                }
                Owner::Operation { .. } => {
                    *(*waiter).chain() = std::ptr::null_mut();
                    if settled.operations.is_null() {
                        settled.operations = waiter;
                    } else {
                        *(*settled.operations_last).chain() = waiter;
                    }
                    settled.operations_last = waiter;
                }
            }
        }
    }
}

#[cold]
fn dead(promise: &Promise, what: &str) -> ! {
    let mut line = report::Line::new();
    line.text("fatal: ")
        .text(what)
        .text(" of a promise that has no reference left, at ");
    report::fatal_line(line.hex(std::ptr::from_ref(promise) as u64))
}
