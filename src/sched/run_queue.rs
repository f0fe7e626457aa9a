//! A worker's private run queue, and the gate through which others get at it.
//!
//! The owner (the thread that holds the worker) pushes and pops with plain loads and stores. Whoever else wants
//! something of a worker (a thief its goroutines, an idle worker its due timers) takes the worker's *gate*:
//!
//! ```text
//!   owner                                  visitor
//!   busy = 1                               poll |= VISIT            (one visitor at a time: who sets the bit)
//!   -- light fence (compiler only) --      -- heavy fence (membarrier) --
//!   poll & VISIT ? busy = 0, wait          busy ? wait for 0 (or give up: poll &= !VISIT)
//!   ... the queue is the owner's ...       ... the queue is the visitor's ...
//!   busy = 0             (Release)         poll &= !VISIT           (Release)
//! ```
//!
//! `busy` is a word of its own: entering and leaving are plain stores, which nothing waits for. (As a bit of `head` it made
//! every section wait for the one before: a load that must get its value from a store that is still under way.)
//!
//! I1 (exclusion). This is Dekker's argument: the heavy fence falls somewhere in the owner's program order. If before
//!    the load of `poll`, the owner sees VISIT and keeps out. If after it, the store `busy = 1` is visible to the
//!    visitor, who keeps out until it is 0 again. So owner and visitor are never both inside.
//! I2 (left stacks only). `busy` stays set from before a goroutine enters the queue until its stack has been left (the
//!    yield in asm/ clears it after it changed rsp; everything else pushes goroutines whose stacks were left before).
//!    So what a visitor takes may run at once.
//! I3 (nobody is stranded). An owner that never comes back (an endless loop in user code) has busy = 0, so a visitor
//!    gets everything it has queued.
//!
//! Sharing. `share_above` is how many goroutines an owner may keep to itself: `KEEP_ALL` while nobody is idle, 0 while
//! somebody is. A worker that goes idle lowers it everywhere, fences heavily, and only then looks at the queues a last
//! time (sched::idle). The owner's push stores `tail`, then loads `share_above`, inside one busy section: either the
//! idle worker sees busy or the goroutine, or the owner sees 0 and wakes somebody. No fence is on the owner's side.
//!
//! Rejected: Chase-Lev deques (a full fence per pop, and LIFO order starves goroutines that yield); a lock per queue
//! (10 ns per switch).

use crate::sync::{AtomicU32, Guarded, Ordering, backoff, fence_heavy, fence_light, mutated};

/// Bit of `poll`: a visitor wants or has the gate.
pub const POLL_VISIT: u32 = 1;
/// Bit of `poll`: a timer is due, says the monitor.
pub const POLL_TIMER: u32 = 2;
/// Bit of `poll`: something waits in the urgent lane or the inbox.
pub const POLL_URGENT: u32 = 4;
/// Bit of `poll`: the running goroutine must not go through the shared ring (it is pinned, or prioritized).
pub const POLL_APART: u32 = 8;
/// Bit of `poll`: the runtime is stopping.
pub const POLL_STOP: u32 = 16;
/// Bit of `poll`: `native_stack` of the running goroutine is set, and must not be when another thread runs it (`bind`, I1).
pub const POLL_NATIVE: u32 = 32;
/// Bit of `poll`: a spinner found that this worker has more than it gets done, and would like half.
pub const POLL_SHARE: u32 = 64;
/// Bit of `poll`: the world is being stopped, or was (`world`).
pub const POLL_WORLD: u32 = 128;
/// Bit of `poll`: a trace runs, and yields are to be seen (`trace`).
pub const POLL_TRACE: u32 = 256;
/// Bit of `poll`: another worker's goroutines wait much longer for their turns: take some (`level`).
pub const POLL_LEVEL: u32 = 512;

/// `share_above` while nobody is idle.
pub const KEEP_ALL: u32 = u32::MAX;

/// How often a visitor looks for `busy` to go back to 0 before it gives up: an owner inside holds it for nanoseconds,
/// unless the kernel descheduled it there.
const VISIT_PATIENCE: u32 = if cfg!(loom) { 2 } else { 2000 };

/// The words of one queue. Written by the owner unless said otherwise.
#[repr(C)]
pub struct RunQueue<T: Copy> {
    /// 1: the owner is inside. Read by visitors.
    pub(crate) busy: AtomicU32,
    /// POLL_* bits. Written by anybody (atomic or/and), read by the owner inside every busy section.
    pub(crate) poll: AtomicU32,
    /// Count of pops; index = head & mask. Read by thieves to see progress.
    pub(crate) head: AtomicU32,
    /// Count of pushes. Read by thieves for the length.
    pub(crate) tail: AtomicU32,
    /// Slots - 1, a power of two minus one.
    pub(crate) mask: AtomicU32,
    /// Written by idle workers (low) and by the owner (high, then it looks at the idle set again).
    pub(crate) share_above: AtomicU32,
    /// The ring; read by the assembly.
    pub(crate) slots: *mut T,
    /// Under loom, every access to the ring goes through here too and is checked for races.
    guard: Guarded<()>,
}

// SAFETY: I1 orders all accesses to `slots`; the rest is atomics.
unsafe impl<T: Copy + Send> Sync for RunQueue<T> {}
// SAFETY: as above.
unsafe impl<T: Copy + Send> Send for RunQueue<T> {}

/// What a push found.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pushed {
    /// Nothing to do.
    Kept,
    /// Somebody is idle: share.
    Share,
}

impl<T: Copy> RunQueue<T> {
    /// An empty queue with room for `slots`, a power of two.
    pub fn new(slots: u32) -> Self {
        debug_assert!(slots.is_power_of_two());
        Self {
            busy: AtomicU32::new(0),
            poll: AtomicU32::new(0),
            head: AtomicU32::new(0),
            tail: AtomicU32::new(0),
            mask: AtomicU32::new(slots - 1),
            share_above: AtomicU32::new(KEEP_ALL),
            slots: ring(slots),
            guard: Guarded::new(()),
        }
    }

    // ---- owner ----

    /// The owner goes in. Does not nest.
    #[inline(always)]
    pub fn enter(&self) {
        self.busy.store(1, Ordering::Relaxed);
        if !mutated!("gate_without_light_fence") {
            fence_light(); // I1; partner: fence_heavy in visit
        }
        if self.poll.load(Ordering::Acquire) & POLL_VISIT != 0 {
            self.enter_slow();
        }
    }

    #[cold]
    fn enter_slow(&self) {
        let mut round = 0;
        loop {
            self.leave();
            while self.poll.load(Ordering::Acquire) & POLL_VISIT != 0 {
                backoff(&mut round);
            }
            self.busy.store(1, Ordering::Relaxed);
            fence_light();
            if self.poll.load(Ordering::Acquire) & POLL_VISIT == 0 {
                return;
            }
        }
    }

    /// The owner goes out. Release: what it did is visible to the next visitor, who acquires `busy`.
    #[inline(always)]
    pub fn leave(&self) {
        self.busy.store(0, Ordering::Release);
    }

    /// Whether the owner is inside; for visitors and idle workers. Acquire: partner of `leave`.
    #[inline]
    pub fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Acquire) != 0
    }

    /// Count of pops: how others see progress.
    #[inline]
    pub fn pops(&self) -> u32 {
        self.head.load(Ordering::Relaxed)
    }

    /// Count of pushes.
    #[inline]
    pub fn pushes(&self) -> u32 {
        self.tail.load(Ordering::Relaxed)
    }

    /// How many are queued. Exact for the owner, a hint for others.
    #[inline(always)]
    pub fn len(&self) -> u32 {
        self.tail
            .load(Ordering::Relaxed)
            .wrapping_sub(self.head.load(Ordering::Relaxed))
    }

    /// Whether nothing is queued; as [`RunQueue::len`].
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Owner: adds one at the end.
    #[inline(always)]
    pub fn push(&self, item: T) -> Pushed {
        self.enter();
        let tail = self.tail.load(Ordering::Relaxed);
        let length = tail.wrapping_sub(self.head.load(Ordering::Relaxed));
        if length > self.mask.load(Ordering::Relaxed) {
            self.grow();
        }
        // SAFETY: I1: we are inside; grow made room.
        unsafe { self.put(tail, item) };
        self.tail.store(tail.wrapping_add(1), Ordering::Relaxed);
        let share = length >= self.share_above.load(Ordering::Relaxed);
        self.leave();
        if share { Pushed::Share } else { Pushed::Kept }
    }

    /// Owner: takes the oldest.
    #[inline(always)]
    pub fn pop(&self) -> Option<T> {
        self.enter();
        // SAFETY: we are inside.
        let item = unsafe { self.pop_inside() };
        self.leave();
        item
    }

    /// The same in a section that the owner is in.
    ///
    /// # Safety
    /// Inside the gate.
    #[inline(always)]
    pub unsafe fn pop_inside(&self) -> Option<T> {
        let head = self.head.load(Ordering::Relaxed);
        if head == self.tail.load(Ordering::Relaxed) {
            return None;
        }
        // SAFETY: I1, and it is not empty.
        let item = unsafe { self.get(head) };
        self.head.store(head.wrapping_add(1), Ordering::Relaxed);
        Some(item)
    }

    /// Owner, after a park: goes out of the section that the park was in, with the oldest, if nothing is up. A bit that comes after the look
    /// at `poll` is seen in the next section; a visitor waits for the end of this one, as of any (I1).
    ///
    /// # Safety
    /// Inside the gate.
    #[inline(always)]
    pub unsafe fn leave_with_next(&self, looks_around: bool) -> Option<T> {
        if mutated!("leaves_before_it_pops") {
            self.leave();
        }
        let next = if !looks_around && self.poll.load(Ordering::Relaxed) == 0 {
            // SAFETY: the caller's promise.
            unsafe { self.pop_inside() }
        } else {
            None
        };
        self.leave();
        next
    }

    /// Owner: shows those at `places`, as far as there are any, to `look`; the oldest is at 0.
    pub fn peek(&self, places: std::ops::Range<u32>, mut look: impl FnMut(T)) {
        self.enter();
        let head = self.head.load(Ordering::Relaxed);
        for i in places.start..self.len().min(places.end) {
            // SAFETY: I1: we are inside, and i < len.
            look(unsafe { self.get(head.wrapping_add(i)) });
        }
        self.leave();
    }

    /// Owner: moves up to `out.len()`, at most half, the oldest first. For sharing out.
    pub fn take_half(&self, out: &mut [T]) -> usize {
        self.enter();
        // SAFETY: I1: we are inside.
        let n = unsafe { self.take(out) };
        self.leave();
        n
    }

    // ---- visitors ----

    /// A visitor's turn inside the gate. None: another visitor is there, or the owner does not come out.
    pub fn visit<R>(&self, f: impl FnOnce(&Self) -> R) -> Option<R> {
        if self.poll.fetch_or(POLL_VISIT, Ordering::AcqRel) & POLL_VISIT != 0 {
            return None;
        }
        if !mutated!("visit_without_heavy_fence") {
            fence_heavy(); // I1; partner: fence_light in enter
        }
        let mut patience = VISIT_PATIENCE;
        let result = loop {
            if !self.is_busy() {
                break Some(f(self));
            }
            if patience == 0 {
                break None;
            }
            patience -= 1;
            #[cfg(loom)]
            loom::thread::yield_now();
            #[cfg(not(loom))]
            std::hint::spin_loop();
        };
        self.poll.fetch_and(!POLL_VISIT, Ordering::Release);
        result
    }

    /// A thief takes up to `out.len()`, at most half rounded up, the oldest first.
    pub fn steal(&self, out: &mut [T]) -> Option<usize> {
        // SAFETY: I1: inside visit.
        self.visit(|queue| unsafe { queue.take(out) })
    }

    /// Owner: takes up to `loot.len()` from `victim`, at most half rounded up, the oldest first, and queues them here. `more`: takes others there, of
    /// another queue behind the same gate, into what is left of `loot`. Gives how many of each; None as for [`RunQueue::visit`].
    #[inline]
    pub fn rob(
        &self,
        victim: &Self,
        loot: &mut [T],
        more: impl FnOnce(&mut [T]) -> usize,
    ) -> Option<(usize, usize)> {
        let taken = victim.visit(|queue| {
            // SAFETY: I1: inside visit.
            let n = unsafe { queue.take(loot) };
            if mutated!("rob_is_in_two_gates") {
                loot[..n].iter().for_each(|&item| _ = self.push(item));
            }
            (n, more(&mut loot[n..]))
        })?;
        // Our own gate is entered only now: two workers that rob each other must not wait for each other.
        if !mutated!("rob_is_in_two_gates") {
            loot[..taken.0].iter().for_each(|&item| _ = self.push(item));
        }
        Some(taken)
    }

    // ---- inside the gate ----

    /// # Safety
    /// Inside the gate.
    pub(crate) unsafe fn take(&self, out: &mut [T]) -> usize {
        let n = self.len().div_ceil(2).min(out.len() as u32);
        let head = self.head.load(Ordering::Relaxed);
        for i in 0..n {
            // SAFETY: inside the gate, and i < len.
            out[i as usize] = unsafe { self.get(head.wrapping_add(i)) };
        }
        self.head.store(head.wrapping_add(n), Ordering::Relaxed);
        n as usize
    }

    #[inline(always)]
    fn slot(&self, at: u32) -> usize {
        (at & self.mask.load(Ordering::Relaxed)) as usize
    }

    #[inline(always)]
    unsafe fn put(&self, at: u32, item: T) {
        // SAFETY: the caller is inside the gate and `at` masked is in the ring.
        unsafe { self.guard.with(|_| self.slots.add(self.slot(at)).write(item)) }
    }

    #[inline(always)]
    unsafe fn get(&self, at: u32) -> T {
        // SAFETY: as put; the slot was written.
        unsafe { self.guard.with(|_| self.slots.add(self.slot(at)).read()) }
    }

    /// Inside the gate: twice the room.
    #[cold]
    fn grow(&self) {
        let old_slots = self.mask.load(Ordering::Relaxed) + 1;
        let slots = old_slots
            .checked_mul(2)
            .filter(|&n| n <= 1 << 29)
            .expect("over 2^29 runnable goroutines");
        let new = ring::<T>(slots);
        let mut at = self.head.load(Ordering::Relaxed);
        while at != self.tail.load(Ordering::Relaxed) {
            // SAFETY: inside the gate; both indices are in their rings.
            unsafe { new.add((at & (slots - 1)) as usize).write(self.get(at)) };
            at = at.wrapping_add(1);
        }
        let this = std::ptr::from_ref(self).cast_mut();
        // SAFETY: inside the gate nobody else reads `slots`; the old ring came from `ring`.
        unsafe {
            let old = (*this).slots;
            (&raw mut (*this).slots).write(new);
            free_ring(old, old_slots);
        }
        self.mask.store(slots - 1, Ordering::Relaxed);
    }
}

impl<T: Copy> Drop for RunQueue<T> {
    fn drop(&mut self) {
        // SAFETY: allocated by `ring` with this many slots.
        unsafe { free_ring(self.slots, self.mask.load(Ordering::Relaxed) + 1) };
    }
}

fn ring<T>(slots: u32) -> *mut T {
    Box::into_raw(Box::<[T]>::new_uninit_slice(slots as usize)).cast()
}

/// # Safety
/// `slots` came from [`ring`] with this length.
unsafe fn free_ring<T>(slots: *mut T, length: u32) {
    // SAFETY: the caller's promise; T is Copy, so nothing is dropped.
    drop(unsafe {
        Box::from_raw(std::ptr::slice_from_raw_parts_mut(
            slots.cast::<std::mem::MaybeUninit<T>>(),
            length as usize,
        ))
    });
}
