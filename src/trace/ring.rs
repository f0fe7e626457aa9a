//! A ring of events: one thread writes, the trace's writer reads when it gets to it. Who writes never waits: what finds no room is
//! counted and dropped, and the count goes in front of the next event that finds room.
//!
//! ```text
//!   producer (the thread)                          consumer (the trace's writer), late or not at all
//!   room?  tail - head < slots                     closed (Acquire)
//!     by its own copy of head; if that            tail   (Acquire)
//!     says no: head (Acquire)                     reads slots head .. tail
//!   writes slot tail                               head = tail (Release)
//!   tail + 1 (Release)
//!   at its end: closed = 1 (Release)
//! ```
//!
//! I1. Slots in head..tail are the consumer's, all others the producer's. A slot changes hands with the word that says so, each a
//!     Release that the other side acquires before it touches the slot.
//! I2. Each event is in the ring, or in `lost`. What was lost is told in place: before the next event that finds room comes one that
//!     says how many are missing (`Event::lost`). What nothing follows is in the count alone.
//! I3. Who finds `closed` and then reads up to `tail` has everything: `closed` is looked at first, and nothing is written after it.
//! I4. Events of one push become visible together, or are dropped together.
//!
//! No instruction of the producer's is a locked one; while there is room it loads and stores its own line, the slot, and `tail`.
//!
//! Rejected: writing over the oldest (a reader must find out what was torn, and what one wants to see is what led to the flood);
//! a ring for all (a locked instruction per event, and a line that every CPU fights for).

use crate::sync::{AtomicU32, AtomicU64, Guarded, Ordering, mutated};

/// What can be in a ring.
pub trait Event: Copy {
    /// Says that `count` events are missing before `next`.
    fn lost(count: u32, next: &Self) -> Self;
}

/// The producer's own.
struct Own {
    tail: u32,
    /// The tail up to which nobody needs to be asked: as far as there is room for sure, but no further than a part of the ring, so that the
    /// producer looks now and then how full it is.
    limit: u32,
    /// Events that were dropped since the last one that was not.
    missing: u32,
}

/// See the module's head.
#[repr(C, align(128))]
pub struct Ring<T: Event> {
    own: Guarded<Own>,
    /// Written by the producer, Release; read by the consumer, Acquire.
    tail: AtomicU32,
    /// All events that were ever dropped. Written by the producer; read by anybody, as a number.
    lost: AtomicU64,
    /// 1: the producer is gone. Written by it, Release; read by the consumer, Acquire.
    closed: AtomicU32,
    slots: *const Guarded<T>,
    mask: u32,
    apart: Apart,
    /// Written by the consumer, Release; read by the producer, Acquire.
    head: AtomicU32,
    /// The same, the consumer's own. (It does not read `head`: loom, which looks for others that touched a word before a store by the last
    /// one alone, would not try the producer's look at it on both sides of the store.)
    taken: Guarded<u32>,
}

/// The consumer's word has a line of its own.
#[repr(align(128))]
struct Apart;

// SAFETY: I1.
unsafe impl<T: Event> Sync for Ring<T> {}
// SAFETY: I1.
unsafe impl<T: Event> Send for Ring<T> {}

/// What became of a push.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pushed {
    /// It is in the ring.
    Kept,
    /// It is, and the ring is half full: somebody should read.
    Filling,
    /// There was no room.
    Lost,
}

impl<T: Event> Ring<T> {
    /// An empty ring in `count` slots, a power of two, which stay as long as it does.
    pub fn new(slots: *const Guarded<T>, count: u32) -> Self {
        debug_assert!(count.is_power_of_two());
        Self {
            own: Guarded::new(Own {
                tail: 0,
                limit: 0,
                missing: 0,
            }),
            tail: AtomicU32::new(0),
            lost: AtomicU64::new(0),
            closed: AtomicU32::new(0),
            slots,
            mask: count - 1,
            apart: Apart,
            head: AtomicU32::new(0),
            taken: Guarded::new(0),
        }
    }

    // ---- producer ----

    /// Adds an event, if it is known that there is room. False: it is not added, and [`push`](Self::push) looks.
    ///
    /// # Safety
    /// The producer's alone.
    #[inline(always)]
    pub unsafe fn push_at_once(&self, event: T) -> bool {
        // SAFETY: the caller's promise: `own` is the producer's. (Nothing here takes the event's address: in registers, it goes to its slot in
        // single stores. Put together in memory first, it would be read back in wider pieces than it was written, which costs a stall.)
        unsafe {
            self.own.with(|own| {
                if own.limit == own.tail {
                    return false;
                }
                if mutated!("trace_shows_before_it_writes") {
                    self.tail.store(own.tail.wrapping_add(1), Ordering::Release);
                }
                self.put(own, event);
                self.tail.store(own.tail, Ordering::Release); // I1; partner: the load in `take`
                true
            })
        }
    }

    /// Adds an event.
    ///
    /// # Safety
    /// The producer's alone.
    pub unsafe fn push(&self, event: T) -> Pushed {
        // SAFETY: the caller's promise.
        unsafe {
            if self.push_at_once(event) {
                Pushed::Kept
            } else {
                self.push_all(&[event])
            }
        }
    }

    /// Adds events that belong together (I4), fewer than half the slots.
    ///
    /// # Safety
    /// The producer's alone.
    pub unsafe fn push_all(&self, events: &[T]) -> Pushed {
        let count = events.len() as u32;
        // SAFETY: the caller's promise: `own` is the producer's.
        unsafe {
            self.own.with(|own| {
                let mut pushed = Pushed::Kept;
                if own.limit.wrapping_sub(own.tail) < count {
                    pushed = self.make_room(own, events[0], count);
                    if pushed == Pushed::Lost {
                        return pushed;
                    }
                }
                if mutated!("trace_shows_many_before_it_writes") {
                    self.tail.store(own.tail.wrapping_add(count), Ordering::Release);
                }
                for &event in events {
                    self.put(own, event);
                }
                self.tail.store(own.tail, Ordering::Release); // I1; partner: the load in `take`
                pushed
            })
        }
    }

    /// Whether there is room for `count` events, and for one that says what was lost before them, which is put there.
    #[cold]
    #[inline(never)]
    unsafe fn make_room(&self, own: &mut Own, first: T, count: u32) -> Pushed {
        let slots = self.mask + 1;
        let used = own.tail.wrapping_sub(self.head.load(Ordering::Acquire)); // I1; partner: the store in `take`
        let needed = count + u32::from(own.missing != 0);
        if slots - used < needed {
            own.missing = own.missing.saturating_add(1);
            own.limit = own.tail; // the next one comes here, too
            let lost = self.lost.load(Ordering::Relaxed) + 1;
            self.lost.store(lost, Ordering::Relaxed);
            return Pushed::Lost;
        }
        if own.missing != 0 {
            if !mutated!("trace_forgets_what_it_lost") {
                // SAFETY: room for it, too, was found above.
                unsafe { self.put(own, T::lost(own.missing, &first)) };
            }
            own.missing = 0;
        }
        let left = slots - used - (needed - count);
        own.limit = own.tail.wrapping_add(left.min((slots / 4).max(count)));
        if used >= slots / 2 {
            Pushed::Filling
        } else {
            Pushed::Kept
        }
    }

    #[inline(always)]
    unsafe fn put(&self, own: &mut Own, event: T) {
        // SAFETY: I1: the slot is the producer's, and inside the ring.
        unsafe { (*self.slots.add((own.tail & self.mask) as usize)).with(|slot| *slot = event) };
        own.tail = own.tail.wrapping_add(1);
    }

    /// The producer writes no more.
    ///
    /// # Safety
    /// The producer's alone, its last act.
    pub unsafe fn close(&self) {
        self.closed.store(1, Ordering::Release); // I3
    }

    // ---- consumer ----

    /// Gives what is there to `f`, the oldest first. True: the producer is gone, and that was all.
    ///
    /// # Safety
    /// The consumer's alone.
    pub unsafe fn take(&self, mut f: impl FnMut(T)) -> bool {
        let mut closed = self.closed.load(Ordering::Acquire) != 0; // I3: first
        let tail = self.tail.load(Ordering::Acquire); // I1; partner: the store in `push_all`
        // SAFETY: the caller's promise: `taken` is the consumer's.
        let mut head = unsafe { self.taken.with(|taken| std::mem::replace(taken, tail)) };
        if mutated!("trace_gives_back_before_it_reads") {
            self.head.store(tail, Ordering::Release);
        }
        while head != tail {
            // SAFETY: I1: in head..tail.
            f(unsafe { (*self.slots.add((head & self.mask) as usize)).with(|slot| *slot) });
            head = head.wrapping_add(1);
            if head & (self.mask >> 3) == 0 {
                self.head.store(head, Ordering::Release); // a part of it: who waits for nobody finds room sooner
            }
        }
        self.head.store(head, Ordering::Release); // I1; partner: the load in `make_room`
        if mutated!("trace_asks_for_the_end_last") {
            closed = self.closed.load(Ordering::Acquire) != 0;
        }
        closed
    }

    /// How many events were dropped so far.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    struct Number(i64);
    impl Event for Number {
        fn lost(count: u32, _: &Self) -> Self {
            Number(-i64::from(count))
        }
    }

    fn taken(ring: &Ring<Number>) -> Vec<i64> {
        let mut taken = Vec::new();
        // SAFETY: this thread is both.
        unsafe { ring.take(|n| taken.push(n.0)) };
        taken
    }

    #[test]
    fn what_finds_no_room_is_counted_in_its_place() {
        let slots: Vec<Guarded<Number>> = (0..8).map(|_| Guarded::new(Number(0))).collect();
        let ring = Ring::new(slots.as_ptr(), 8);
        // SAFETY: this thread is both.
        unsafe {
            for n in 1..=8 {
                assert_ne!(ring.push(Number(n)), Pushed::Lost);
            }
            for n in 9..=11 {
                assert_eq!(ring.push(Number(n)), Pushed::Lost);
            }
            assert_eq!(taken(&ring), [1, 2, 3, 4, 5, 6, 7, 8]);
            assert_ne!(ring.push(Number(12)), Pushed::Lost);
            assert_eq!(taken(&ring), [-3, 12]);
            assert_eq!(ring.lost(), 3);
        }
    }

    #[test]
    fn what_belongs_together_is_dropped_together() {
        let slots: Vec<Guarded<Number>> = (0..8).map(|_| Guarded::new(Number(0))).collect();
        let ring = Ring::new(slots.as_ptr(), 8);
        // SAFETY: this thread is both.
        unsafe {
            for n in 1..=6 {
                assert_ne!(ring.push(Number(n)), Pushed::Lost);
            }
            assert_eq!(ring.push_all(&[Number(7), Number(8), Number(9)]), Pushed::Lost);
            // One is missing now, and where it is must be said: there are two places left, for that and for this one.
            assert_ne!(ring.push(Number(10)), Pushed::Lost);
            assert_eq!(taken(&ring), [1, 2, 3, 4, 5, 6, -1, 10]);
        }
    }

    #[test]
    fn who_fills_half_of_it_says_so() {
        let slots: Vec<Guarded<Number>> = (0..64).map(|_| Guarded::new(Number(0))).collect();
        let ring = Ring::new(slots.as_ptr(), 64);
        // SAFETY: this thread is both.
        let filling = unsafe {
            (0..64)
                .filter(|&n| ring.push(Number(n)) == Pushed::Filling)
                .collect::<Vec<_>>()
        };
        assert_eq!(filling, [32, 48]);
    }
}
