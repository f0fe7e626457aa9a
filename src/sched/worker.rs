//! A worker: the right to run goroutines, with everything that goes with it. One thread at a time holds it.
//!
//! | part | who touches it | how |
//! |---|---|---|
//! | `queue` | owner; visitors through its gate | `run_queue` |
//! | `gated` | owner between enter and leave; visitors inside visit | the same gate |
//! | `local` | the owner alone | plainly |
//! | the rest | anybody | atomics and concurrent queues |

use super::order::Order;
use super::run_queue::{KEEP_ALL, POLL_URGENT, Pushed, RunQueue};
use super::runtime::Runtime;
use crate::abi::{GOROUTINE_SPAWN_BOUND, GOROUTINE_SPAWN_PINNED, GOROUTINE_SPAWN_PRIORITY};
use crate::goroutine::call_word::CallWord;
use crate::goroutine::{Goroutine, Runnable};
use crate::netpoll::hazard::{self, Hazard};
use crate::promise::Promise;
use crate::stack;
use crate::sys::clock::Clock;
use crate::timer::{self, Wheel};
use crossbeam_queue::SegQueue;
use std::cell::UnsafeCell;
use std::collections::VecDeque;
use std::mem::offset_of;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};

/// A worker looks at the clock and the other queues every so many turns; a power of two.
pub const TURNS: u32 = 64;
const RING_SLOTS: u32 = 256;
const IDS: u64 = 1024;
const SEQUENCE_BITS: u32 = 53;

/// In `spawn_flags`: it does not go through the ring. GOROUTINE_SPAWN_BOUND there means that it is bound now.
pub const APART: u32 = GOROUTINE_SPAWN_BOUND | GOROUTINE_SPAWN_PINNED | GOROUTINE_SPAWN_PRIORITY;

/// Under the gate.
pub struct Gated {
    /// Goroutines that go before regular ones: timers' and PRIORITY ones.
    pub urgent: VecDeque<Runnable>,
    /// Its timers.
    pub wheel: Wheel,
}

/// The owner's own.
pub struct Local {
    /// Spare stacks.
    pub stacks: stack::Cache,
    /// Spare promises.
    pub promises: Vec<*mut Promise>,
    /// Spare timer slots.
    pub timer_slots: Vec<u32>,
    next_id: u64,
    ids_end: u64,
    /// Written by the owner; for reports others read it.
    next_sequence: AtomicU64,
    /// Turns so far.
    pub turn: u32,
    /// Calls that need not wait until one gives way (`budget`).
    pub calls_left: u32,
    /// Urgent goroutines run since the last regular one.
    pub urgent_streak: u32,
    /// Whether POLL_APART is set.
    pub apart: bool,
    /// Pinned goroutines that are runnable here.
    pub pinned: VecDeque<Runnable>,
    /// Searches in a row that found nothing.
    pub fruitless: u32,
    /// For deadlines.
    pub clock: Clock,
}

/// Counts that only the owner writes, and anybody adds up.
#[derive(Default)]
pub struct Counts {
    /// Goroutines spawned ...
    pub opened: AtomicU64,
    /// ... and ended, but for daemons.
    pub closed: AtomicU64,
    /// Daemons spawned ...
    pub daemons_opened: AtomicU64,
    /// ... and ended.
    pub daemons_closed: AtomicU64,
    /// Public timers started ...
    pub timers_opened: AtomicU64,
    /// ... and over, with any run of theirs, but for unreferenced ones.
    pub timers_closed: AtomicU64,
    /// Unreferenced timers started ...
    pub unref_opened: AtomicU64,
    /// ... and over.
    pub unref_closed: AtomicU64,
    /// Async operations begun ...
    pub async_opened: AtomicU64,
    /// ... and completed or cancelled.
    pub async_closed: AtomicU64,
    /// Goroutines taken from others.
    pub stolen: AtomicU64,
    /// Times it ran dry ...
    pub searches: AtomicU64,
    /// ... and slept.
    pub sleeps: AtomicU64,
    /// Times it was woken for work.
    pub wakes: AtomicU64,
    /// Times it shared its queue out.
    pub published: AtomicU64,
}

/// Adds to a counter that only the calling thread writes: no locked instruction.
/// Release: who reads the count also sees what was counted.
#[inline(always)]
pub fn bump(counter: &AtomicU64, n: u64) {
    counter.store(counter.load(Ordering::Relaxed) + n, Ordering::Release);
}

/// See the module's head.
#[repr(C, align(128))]
pub struct Worker {
    /// First: the assembly addresses it.
    pub(crate) queue: RunQueue<Runnable>,
    /// Counted down by yields that find an empty queue.
    pub(crate) lone_turns: AtomicI32,
    /// Length of `gated.urgent`; written under the gate, read by anybody as a hint.
    pub(crate) urgent_len: AtomicU32,
    /// Its number.
    pub(crate) index: usize,
    pub(crate) runtime: *const Runtime,
    local: UnsafeCell<Local>,
    gated: UnsafeCell<Gated>,
    pub(crate) counts: Counts,
    /// Never later than its wheel's earliest deadline. Written under the gate.
    pub(crate) next_due: AtomicU64,
    /// Timers of its wheel that others stopped: take them out.
    pub(crate) stopped: SegQueue<u32>,
    /// Pinned goroutines that others readied.
    pub(crate) inbox: SegQueue<Runnable>,
    /// What to take on POLL_LEVEL.
    pub(crate) order: Order,
    /// 1: asleep or about to be; others set 0 and wake. OWNERLESS: see there.
    pub(crate) sleeping: AtomicU32,
    /// Goroutines that are pinned to it, whether they have begun or not. Counted up before one is queued, so who finds the worker in a
    /// blocking call counts all that ran on its thread.
    pub(crate) pinned: AtomicU32,
    /// Its blocking calls.
    pub(crate) call: CallWord,
    /// For calls on descriptors that are biased to it.
    pub(crate) hazard: Option<&'static Hazard>,
}

// SAFETY: the table in the module's head.
unsafe impl Sync for Worker {}
// SAFETY: as above.
unsafe impl Send for Worker {}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);
/// Where each worker number's sequences go on, over restarts.
static SEQUENCES: [AtomicU64; super::idle::MAX_WORKERS] =
    [const { AtomicU64::new(1) }; super::idle::MAX_WORKERS];

impl Worker {
    pub(crate) const QUEUE: usize = offset_of!(Worker, queue);
    pub(crate) const QUEUE_BUSY: usize = offset_of!(RunQueue<Runnable>, busy);
    pub(crate) const QUEUE_POLL: usize = offset_of!(RunQueue<Runnable>, poll);
    pub(crate) const QUEUE_HEAD: usize = offset_of!(RunQueue<Runnable>, head);
    pub(crate) const QUEUE_TAIL: usize = offset_of!(RunQueue<Runnable>, tail);
    pub(crate) const QUEUE_MASK: usize = offset_of!(RunQueue<Runnable>, mask);
    pub(crate) const QUEUE_SLOTS: usize = offset_of!(RunQueue<Runnable>, slots);

    pub(crate) fn new(index: usize, class: u8, now: u64) -> Self {
        Self {
            queue: RunQueue::new(RING_SLOTS),
            lone_turns: AtomicI32::new(TURNS as i32),
            urgent_len: AtomicU32::new(0),
            index,
            runtime: std::ptr::null(),
            local: UnsafeCell::new(Local {
                stacks: stack::Cache::new(class),
                promises: Vec::new(),
                timer_slots: Vec::new(),
                next_id: 0,
                ids_end: 0,
                next_sequence: AtomicU64::new(SEQUENCES[index].load(Ordering::Relaxed)),
                turn: 0,
                calls_left: super::budget::CALLS,
                urgent_streak: 0,
                apart: false,
                pinned: VecDeque::new(),
                fruitless: 0,
                clock: Clock::new(),
            }),
            gated: UnsafeCell::new(Gated {
                urgent: VecDeque::new(),
                wheel: Wheel::new(now),
            }),
            counts: Counts::default(),
            next_due: AtomicU64::new(u64::MAX),
            stopped: SegQueue::new(),
            inbox: SegQueue::new(),
            order: Order::new(),
            sleeping: AtomicU32::new(0),
            pinned: AtomicU32::new(0),
            call: CallWord::new(index),
            hazard: hazard::OF_WORKERS.of(index),
        }
    }

    #[inline(always)]
    pub(crate) fn runtime(&self) -> &'static Runtime {
        // SAFETY: set before the worker's thread started; a runtime outlives its threads.
        unsafe { &*self.runtime }
    }

    /// # Safety
    /// The calling thread holds this worker, and no other reference from `local` is live.
    #[inline(always)]
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn local(&self) -> &mut Local {
        // SAFETY: the caller's promise.
        unsafe { &mut *self.local.get() }
    }

    /// # Safety
    /// The caller is inside the gate, and no other reference from `gated` is live.
    #[inline(always)]
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn gated(&self) -> &mut Gated {
        // SAFETY: the caller's promise.
        unsafe { &mut *self.gated.get() }
    }

    /// The next goroutine id.
    ///
    /// # Safety
    /// As [`Worker::local`].
    #[inline(always)]
    pub(crate) unsafe fn next_id(&self) -> u64 {
        // SAFETY: the caller's promise.
        let local = unsafe { self.local() };
        if local.next_id == local.ids_end {
            local.next_id = NEXT_ID.fetch_add(IDS, Ordering::Relaxed);
            local.ids_end = local.next_id + IDS;
        }
        local.next_id += 1;
        local.next_id - 1
    }

    /// The next park's sequence: 9 bits of worker, 53 bits of count (over a year of parking without a pause).
    ///
    /// # Safety
    /// As [`Worker::local`].
    #[inline(always)]
    pub(crate) unsafe fn next_sequence(&self) -> u64 {
        // SAFETY: the caller's promise.
        let local = unsafe { self.local() };
        let next = local.next_sequence.load(Ordering::Relaxed) + 1;
        local.next_sequence.store(next, Ordering::Relaxed);
        (self.index as u64) << SEQUENCE_BITS | next
    }

    /// Changes with every goroutine that it turns to, for whoever asks.
    pub(crate) fn turns(&self) -> u32 {
        // SAFETY: a word that the owner writes plainly, read as one; no reference is made.
        let turn = unsafe { (&raw const (*self.local.get()).turn).read_volatile() };
        turn.wrapping_add(self.queue.pops())
    }

    /// The last park's sequence, for whoever asks.
    pub(crate) fn last_sequence(&self) -> u64 {
        // SAFETY: an atomic; no reference to what is around it is made.
        let last = unsafe { AtomicU64::from_ptr((&raw mut (*self.local.get()).next_sequence).cast()) };
        (self.index as u64) << SEQUENCE_BITS | last.load(Ordering::Relaxed)
    }

    /// Queues a goroutine that is ours. The owner only.
    ///
    /// # Safety
    /// The calling thread holds this worker; `g` is the caller's to queue.
    #[inline(always)]
    pub(crate) unsafe fn enqueue(&self, g: *mut Goroutine) {
        // SAFETY: the caller's promise.
        unsafe {
            if (*g).spawn_flags & APART != 0 {
                return self.enqueue_apart(g);
            }
            if self.queue.push(Runnable(g)) == Pushed::Share {
                super::share::share(self);
            }
        }
    }

    #[cold]
    unsafe fn enqueue_apart(&self, g: *mut Goroutine) {
        // SAFETY: the caller's promise.
        unsafe {
            if (*g).spawn_flags & GOROUTINE_SPAWN_BOUND != 0 {
                return super::bind::wake(g);
            }
            if (*g).spawn_flags & GOROUTINE_SPAWN_PINNED == 0 {
                return self.enqueue_urgent(g);
            }
            if (*g).last_worker as usize == self.index {
                self.local().pinned.push_back(Runnable(g));
                self.queue.poll.fetch_or(POLL_URGENT, Ordering::AcqRel);
            } else {
                self.runtime().deliver_pinned(g);
            }
        }
    }

    /// Queues before regular goroutines.
    ///
    /// # Safety
    /// As [`Worker::enqueue`].
    pub(crate) unsafe fn enqueue_urgent(&self, g: *mut Goroutine) {
        self.queue.enter();
        // SAFETY: inside the gate.
        unsafe { self.push_urgent(Runnable(g)) };
        self.queue.leave();
        if self.queue.share_above.load(Ordering::Relaxed) != KEEP_ALL {
            super::share::share(self);
        }
    }

    /// # Safety
    /// Inside the gate.
    pub(crate) unsafe fn push_urgent(&self, g: Runnable) {
        // SAFETY: the caller's promise.
        let urgent = unsafe { &mut self.gated().urgent };
        urgent.push_back(g);
        self.urgent_len.store(urgent.len() as u32, Ordering::Relaxed);
        if urgent.len() == 1 {
            self.queue.poll.fetch_or(POLL_URGENT, Ordering::AcqRel);
        }
    }

    /// The owner takes the oldest urgent goroutine.
    pub(crate) fn pop_urgent(&self) -> Option<Runnable> {
        self.queue.enter();
        // SAFETY: inside the gate.
        let urgent = unsafe { &mut self.gated().urgent };
        let g = urgent.pop_front();
        self.urgent_len.store(urgent.len() as u32, Ordering::Relaxed);
        self.queue.leave();
        g
    }

    /// How many goroutines are runnable here; a hint for others. (Its two words may be read on either side of a push and
    /// a pop: no more than none, then.)
    pub(crate) fn load(&self) -> u32 {
        self.queue_len() + self.urgent_len.load(Ordering::Relaxed)
    }

    /// Those in the ring alone.
    pub(crate) fn queue_len(&self) -> u32 {
        (self.queue.len() as i32).max(0) as u32
    }

    /// In a child of fork: no sequence of the parent's is used again, so its tickets stay stale.
    ///
    /// # Safety
    /// The worker's thread is gone.
    pub(crate) unsafe fn keep_sequences(&self) {
        // SAFETY: the caller's promise.
        let next = unsafe { (*self.local.get()).next_sequence.load(Ordering::Relaxed) };
        SEQUENCES[self.index].store(next, Ordering::Relaxed);
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let local = self.local.get_mut();
        SEQUENCES[self.index].store(*local.next_sequence.get_mut(), Ordering::Relaxed);
        let wheel = &mut self.gated.get_mut().wheel;
        while let Some(number) = self.stopped.pop() {
            // SAFETY: it lies in this wheel, or is out of it; nobody else has the wheel any more.
            if unsafe { timer::slot::slot(number).fields() }.bucket != timer::OUT {
                wheel.remove(number);
            }
            if timer::slot::slot(number).word.free() {
                local.timer_slots.push(number);
            }
        }
        local.timer_slots.extend(wheel.take_all());
        timer::slot::give_back(local.timer_slots.drain(..));
        crate::promise::pool::give_back(local.promises.drain(..));
    }
}

/// The next sequence for a park on a thread without a worker.
pub fn foreign_sequence() -> u64 {
    (super::idle::MAX_WORKERS as u64) << SEQUENCE_BITS | NEXT_SEQUENCE.fetch_add(1, Ordering::Relaxed)
}
static NEXT_SEQUENCE: AtomicU64 = AtomicU64::new(1);

/// The last of them.
pub fn foreign_sequences() -> u64 {
    (super::idle::MAX_WORKERS as u64) << SEQUENCE_BITS | (NEXT_SEQUENCE.load(Ordering::Relaxed) - 1)
}

/// Of which worker a sequence is; MAX_WORKERS: of none.
pub fn sequence_index(sequence: u64) -> usize {
    (sequence >> SEQUENCE_BITS) as usize
}

/// An id for a goroutine that a plain thread spawns.
pub fn foreign_id() -> u64 {
    NEXT_ID.fetch_add(1, Ordering::Relaxed)
}
