//! The protocol of a channel: a ring of values, those who wait to send, those who wait to receive, one lock around them.
//!
//! | ring | senders wait | receivers wait |
//! |---|---|---|
//! | neither full nor empty | no | no |
//! | full (without a buffer: always) | perhaps | no, unless it is empty, too |
//! | empty | no, unless it is full, too | perhaps |
//!
//! I1. Everything but `ready` is read and written under the lock.
//! I2. A value goes from hand to hand where somebody waits: the one who comes claims the one who waits (`queue`), and from then on has
//!     that one's place to itself until it wakes it. So the copy needs no lock, and the value is in one place at any time.
//! I3. First come, first served: a value goes into the ring only if no receiver waits; a sender who waits puts its value into the ring
//!     as soon as there is room, and not earlier than those before it.
//! I4. `ready` says what was possible when the lock was last given back, or will be when it is given back after a join. It is a hint
//!     that saves the lock: to believe that nothing is possible is right at some moment of the call, and nobody parks without having
//!     looked again under the lock. There, as long as nobody but those who join wrote, it is no hint: what it does not say is not possible.
//! I5. `closed` is set once. It is looked at in the critical section that joins a queue, and whoever closes claims, in the one that
//!     sets it, all who wait. So nobody waits on a closed channel.

use super::biased::BiasedLock;
use super::queue::{Claimed, Sleeper, WaitQueue, Waiter};
use crate::sync::{AtomicU32, Guarded, Ordering, mutated};
use std::ptr::null_mut;

/// Where a value lies.
pub trait Place: Copy {
    /// Slot `index` of the ring that begins here.
    ///
    /// # Safety
    /// There is one.
    unsafe fn slot(self, index: usize, bytes: usize) -> Self;
    /// # Safety
    /// Both places are the caller's; `to` may be a place for values that nobody wants.
    unsafe fn copy(from: Self, to: Self, bytes: usize);
}

/// What one who waits wants to send, or where it wants to receive.
#[derive(Clone, Copy)]
pub struct Offer<T> {
    /// Of the value.
    pub place: T,
    /// Of a select: where it learns which of its cases it was; else null.
    pub chosen: *mut usize,
    /// Which one.
    pub index: usize,
}

/// One in line.
pub type ChannelWaiter<P, T> = Waiter<P, Offer<T>>;

struct Inner<P, T> {
    head: usize,
    length: usize,
    closed: bool,
    senders: WaitQueue<P, Offer<T>>,
    receivers: WaitQueue<P, Offer<T>>,
}

/// Something can be received, or will never be.
pub const RECEIVE: u32 = 1;
/// Something can be sent, or will never be.
pub const SEND: u32 = 2;

/// See the module's head.
pub struct Channel<P: Sleeper, T: Place> {
    lock: BiasedLock,
    /// RECEIVE, SEND (I4). Written under the lock.
    ready: AtomicU32,
    bytes: usize,
    capacity: usize,
    ring: T,
    inner: Guarded<Inner<P, T>>,
}

// SAFETY: I1 and I2; waiters are woken on behalf of their owners from any thread.
unsafe impl<P: Sleeper, T: Place> Sync for Channel<P, T> {}
// SAFETY: as above.
unsafe impl<P: Sleeper, T: Place> Send for Channel<P, T> {}

/// One who waited, and was claimed: to be told once the lock is given back.
#[must_use]
pub struct Handed<P, T> {
    claimed: Claimed<P>,
    offer: Offer<T>,
    copy: Option<(T, T)>,
}

impl<P, T: Place> Handed<P, T> {
    /// Moves the value (I2). Gives whom to wake.
    ///
    /// # Safety
    /// The lock is given back. `bytes` are the channel's.
    #[inline(always)]
    pub unsafe fn finish(self, bytes: usize) -> Claimed<P> {
        // SAFETY: I2: both places are ours; `chosen` lies beside the waiter's.
        unsafe {
            if let Some((from, to)) = self.copy {
                T::copy(from, to, bytes);
            }
            if !self.offer.chosen.is_null() {
                *self.offer.chosen = self.offer.index;
            }
        }
        self.claimed
    }
}

/// What came of a try.
#[must_use]
pub enum Step<P, T> {
    /// Into the ring, or out of it; nobody waited.
    Done,
    /// Done, and that one is to be told.
    Handed(Handed<P, T>),
    /// The channel is closed (and drained).
    Closed,
    /// Not possible now.
    NotYet,
}

impl<P: Sleeper, T: Place> Channel<P, T> {
    /// Open and empty. `ring` has `capacity` slots of `bytes`.
    pub fn new(bytes: usize, capacity: usize, ring: T) -> Self {
        Self {
            lock: BiasedLock::new(),
            ready: AtomicU32::new(if capacity == 0 { 0 } else { SEND }),
            bytes,
            capacity,
            ring,
            inner: Guarded::new(Inner {
                head: 0,
                length: 0,
                closed: false,
                senders: WaitQueue::new(),
                receivers: WaitQueue::new(),
            }),
        }
    }

    /// Of a value.
    #[inline(always)]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// RECEIVE, SEND: a hint (I4).
    #[inline(always)]
    pub fn ready(&self) -> u32 {
        self.ready.load(Ordering::Relaxed)
    }

    /// For several steps in one critical section, and for several channels: in the order of their addresses.
    #[inline(always)]
    pub fn lock(&self) {
        self.lock.lock();
    }

    /// # Safety
    /// The caller holds the lock.
    #[inline(always)]
    pub unsafe fn unlock(&self) {
        // SAFETY: the caller's promise.
        unsafe {
            self.inner.with(|inner| {
                let receive = inner.length != 0 || !inner.senders.is_empty() || inner.closed;
                let send = inner.length < self.capacity || !inner.receivers.is_empty() || inner.closed;
                self.ready.store(
                    (u32::from(receive) * RECEIVE) | (u32::from(send) * SEND),
                    Ordering::Relaxed,
                );
            });
        }
        self.lock.unlock();
    }

    /// As [`Channel::unlock`], after nothing, or nothing but joins.
    ///
    /// # Safety
    /// The caller holds the lock.
    #[inline(always)]
    pub unsafe fn unlock_joined(&self) {
        self.lock.unlock();
    }

    /// Whether a send, or a receive, is worth a try: nothing has changed since the lock was last given back (I4).
    ///
    /// # Safety
    /// The caller holds the lock, and has not done anything with it but join.
    #[inline(always)]
    pub unsafe fn is_possible(&self, sends: bool) -> bool {
        self.ready() & if sends { SEND } else { RECEIVE } != 0
    }

    /// Sends what is at `value`.
    ///
    /// # Safety
    /// The caller holds the lock; the value is its own, until `Handed::finish` if it comes to that.
    #[inline(always)]
    pub unsafe fn send(&self, value: T) -> Step<P, T> {
        // SAFETY: I1.
        unsafe { self.inner.with(|inner| self.send_inside(inner, value)) }
    }

    #[inline(always)]
    unsafe fn send_inside(&self, inner: &mut Inner<P, T>, value: T) -> Step<P, T> {
        // SAFETY: as `send`.
        unsafe {
            if inner.closed {
                return Step::Closed;
            }
            if let Some((waiter, claimed)) = inner.receivers.claim_first() {
                let offer = (*waiter).what;
                let copy = Some((value, offer.place));
                return Step::Handed(Handed { claimed, offer, copy });
            }
            if inner.length < self.capacity {
                T::copy(value, self.slot(inner.head + inner.length), self.bytes);
                inner.length += 1;
                return Step::Done;
            }
            Step::NotYet
        }
    }

    /// Receives into `place`.
    ///
    /// # Safety
    /// As [`Channel::send`].
    #[inline(always)]
    pub unsafe fn receive(&self, place: T) -> Step<P, T> {
        // SAFETY: I1.
        unsafe { self.inner.with(|inner| self.receive_inside(inner, place)) }
    }

    #[inline(always)]
    unsafe fn receive_inside(&self, inner: &mut Inner<P, T>, place: T) -> Step<P, T> {
        // SAFETY: as `receive`.
        unsafe {
            if inner.length != 0 {
                T::copy(self.slot(inner.head), place, self.bytes);
                inner.head = self.wrap(inner.head + 1);
                inner.length -= 1;
                let Some((waiter, claimed)) = inner.senders.claim_first() else {
                    return Step::Done;
                };
                let offer = (*waiter).what; // I3: there is room for it now
                T::copy(offer.place, self.slot(inner.head + inner.length), self.bytes);
                inner.length += 1;
                return Step::Handed(Handed {
                    claimed,
                    offer,
                    copy: None,
                });
            }
            if let Some((waiter, claimed)) = inner.senders.claim_first() {
                let offer = (*waiter).what;
                let copy = Some((offer.place, place));
                return Step::Handed(Handed { claimed, offer, copy });
            }
            if inner.closed { Step::Closed } else { Step::NotYet }
        }
    }

    /// Gets in line to send, after `send` gave NotYet in the same critical section.
    ///
    /// # Safety
    /// The caller holds the lock; the waiter's party and offer are set, and it stays in place until it was claimed or left.
    #[inline(always)]
    pub unsafe fn join_senders(&self, waiter: *mut ChannelWaiter<P, T>) {
        // SAFETY: I1, and the caller's promise.
        unsafe { self.inner.with(|inner| inner.senders.join(waiter)) };
        self.can_now(RECEIVE);
    }

    /// The same, to receive.
    ///
    /// # Safety
    /// As [`Channel::join_senders`].
    #[inline(always)]
    pub unsafe fn join_receivers(&self, waiter: *mut ChannelWaiter<P, T>) {
        // SAFETY: I1, and the caller's promise.
        unsafe { self.inner.with(|inner| inner.receivers.join(waiter)) };
        self.can_now(SEND);
    }

    /// Under the lock: the other side finds us.
    #[inline(always)]
    fn can_now(&self, what: u32) {
        if !mutated!("join_says_nothing") {
            self.ready.store(self.ready() | what, Ordering::Relaxed);
        }
    }

    /// The join step of one who waits for this channel alone: takes the lock, then what has become possible, or in line (NotYet; the
    /// waiter is left alone then).
    ///
    /// # Safety
    /// As [`Channel::join_senders`], and [`Channel::send`].
    #[inline(always)]
    pub unsafe fn step_or_join(&self, sends: bool, waiter: *mut ChannelWaiter<P, T>) -> Step<P, T> {
        self.lock();
        // SAFETY: we hold the lock; the caller's promise.
        unsafe {
            if self.is_possible(sends) {
                let place = (*waiter).what.place;
                let step = if sends {
                    self.send(place)
                } else {
                    self.receive(place)
                };
                if !matches!(step, Step::NotYet) {
                    self.unlock();
                    return step;
                }
                // Those it found had given up. `ready` is what it is without them when they leave.
            }
            if sends {
                self.join_senders(waiter);
            } else {
                self.join_receivers(waiter);
            }
            self.unlock_joined();
        }
        Step::NotYet
    }

    /// Out of the line, if it is in it.
    ///
    /// # Safety
    /// `waiter` was meant for the senders of this channel, or for the receivers, and is alive.
    #[inline(always)]
    pub unsafe fn leave(&self, waiter: *mut ChannelWaiter<P, T>, sends: bool) {
        // SAFETY: the caller's.
        if unsafe { !(*waiter).is_linked() } {
            return;
        }
        self.lock();
        // SAFETY: I1.
        unsafe {
            self.inner.with(|inner| {
                if sends {
                    inner.senders.leave(waiter)
                } else {
                    inner.receivers.leave(waiter)
                }
            });
            self.unlock();
        }
    }

    /// Closes it. None: it was closed before. Else all who waited, claimed and chained.
    pub fn close(&self) -> Option<[*mut ChannelWaiter<P, T>; 2]> {
        self.lock();
        // SAFETY: I1.
        unsafe {
            let waiting = self.inner.with(|inner| {
                if inner.closed {
                    return None;
                }
                inner.closed = true;
                if mutated!("close_forgets_senders") {
                    return Some([inner.receivers.claim_all(), null_mut()]);
                }
                Some([inner.receivers.claim_all(), inner.senders.claim_all()])
            });
            self.unlock();
            waiting
        }
    }

    /// Whether nobody is in line, and whoever was here is done with it.
    pub fn is_idle(&self) -> bool {
        self.lock();
        // SAFETY: I1.
        unsafe {
            let idle = self
                .inner
                .with(|inner| inner.senders.is_empty() && inner.receivers.is_empty());
            self.unlock();
            idle
        }
    }

    /// The lock, for one who looks at many channels.
    pub fn lock_of_all(&self) -> &BiasedLock {
        &self.lock
    }

    /// Where the values in the ring lie.
    ///
    /// # Safety
    /// The caller holds the lock.
    pub unsafe fn for_each_value(&self, mut f: impl FnMut(T)) {
        // SAFETY: I1.
        unsafe {
            self.inner.with(|inner| {
                (0..inner.length).for_each(|i| f(self.slot(inner.head + i)));
            });
        }
    }

    /// The ring, to be freed.
    pub fn ring(&self) -> T {
        self.ring
    }

    /// Of the ring.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    #[inline(always)]
    fn wrap(&self, index: usize) -> usize {
        if index >= self.capacity {
            index - self.capacity
        } else {
            index
        }
    }

    #[inline(always)]
    unsafe fn slot(&self, index: usize) -> T {
        // SAFETY: below twice the capacity.
        unsafe { self.ring.slot(self.wrap(index), self.bytes) }
    }
}
