//! Waiting in line, as a goroutine or as a plain thread: what every verb of the synchronization objects is made of.

use crate::abi::*;
use crate::context::tls;
use crate::goroutine::waits::Waits;
use crate::goroutine::{Goroutine, ReadyList};
use crate::sched::{park, world};
use crate::sync::backoff;
use crate::sys::futex;
use crate::sys::time::now_ns;
use crate::wait::thread::{ThreadWait, WAITING};
use crate::wait::{Claimed, Party, Waiter, next_claimed, wake};

/// How long a plain thread looks for its grant before it sleeps: about what waking it costs.
const SPIN_NS: u64 = 4_000;

/// The join step of a wait: false if there is no need to wait.
pub trait Join: Copy {
    /// # Safety
    /// Off the stack of the one who waits, which stays in place until somebody can ready `party`.
    unsafe fn join(self, party: Party) -> bool;
}

impl<F: FnOnce(Party) -> bool + Copy> Join for F {
    #[inline(always)]
    unsafe fn join(self, party: Party) -> bool {
        self(party)
    }
}

/// Waits until somebody ends the wait that `join` put into some queue, or `deadline`. `join` runs off the goroutine's stack, and gives
/// false if there is no need to wait: then this is GOROUTINE_OK. A time-out and a cancel leave the waiter where it is: the
/// caller takes it out. `waits`: for reports.
///
/// # Safety
/// What `join` queues, and `word` (a plain thread's), stay in place until it was granted or taken out.
#[inline(always)]
pub unsafe fn wait(word: &ThreadWait, deadline: u64, waits: Waits, join: impl Join) -> GoroutineStatus {
    let g = tls::current_or_dummy();
    // SAFETY: the caller's promise; never null.
    unsafe {
        if (*g).id() == 0 {
            return wait_thread(word, deadline, SPIN_NS, move || join.join(Party::Thread(word)));
        }
        park::park_joining(g, deadline, waits, AsGoroutine(join))
    }
}

#[derive(Clone, Copy)]
struct AsGoroutine<J>(J);

impl<J: Join> park::Joins for AsGoroutine<J> {
    #[inline(always)]
    unsafe fn join(self, g: *mut Goroutine, sequence: u64) -> bool {
        // SAFETY: the caller's promise.
        unsafe { self.0.join(Party::Goroutine { g, sequence }) }
    }
}

/// The part of a plain thread.
///
/// # Safety
/// As [`wait`].
#[inline(never)]
pub unsafe fn wait_thread(
    word: &ThreadWait,
    deadline: u64,
    spin_ns: u64,
    join: impl FnOnce() -> bool,
) -> GoroutineStatus {
    if world::is_mine() {
        return GOROUTINE_EPERM; // who would wake it stands
    }
    if !join() {
        return GOROUTINE_OK;
    }
    let spin_end = if spin_ns == 0 { 0 } else { now_ns() + spin_ns };
    while spin_end != 0 && now_ns() < spin_end {
        if let Some(status) = word.result() {
            return status;
        }
        std::hint::spin_loop();
    }
    loop {
        futex::wait(word.futex(), WAITING, deadline);
        if let Some(status) = word.result() {
            return status;
        }
        if deadline != u64::MAX && now_ns() >= deadline && word.give_up() {
            return GOROUTINE_ETIMEDOUT;
        }
        let mut round = 0;
        while word.is_claimed() {
            backoff(&mut round); // a few instructions of the one who grants
        }
    }
}

/// Wakes one, and queues it.
///
/// # Safety
/// As [`wake`].
#[inline(always)]
pub unsafe fn wake_one(claimed: Claimed<Party>, status: GoroutineStatus) {
    // SAFETY: the caller's promise; what was claimed is ours (`Party::claim`).
    unsafe { wake(claimed, status, |g| park::queue_ours(g)) };
}

/// Wakes all in a chain.
///
/// # Safety
/// As [`wake`], for each.
#[inline(always)]
pub unsafe fn wake_chain<T>(mut chain: *mut Waiter<Party, T>, status: GoroutineStatus) {
    if chain.is_null() {
        return;
    }
    let mut ready = ReadyList::new();
    // SAFETY: the caller's promise.
    unsafe {
        while let Some((_, claimed)) = next_claimed(&mut chain) {
            wake(claimed, status, |g| ready.push(g));
        }
    }
    queue(ready);
}

/// Queues whom a grant woke.
#[inline(always)]
pub fn queue(ready: ReadyList) {
    for g in ready {
        // SAFETY: the list owned it.
        unsafe { park::queue(g.0) };
    }
}
