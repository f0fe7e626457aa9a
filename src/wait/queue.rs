//! A queue of those who wait for one thing, first come, first served. It belongs to an object and is guarded by its lock.
//!
//! ```text
//!   who waits                                      who grants (under the object's lock)
//!   1. links its waiter   (under the lock)         a. claims the first that can be claimed: ONE CAS, on the word
//!   2. parks                                          that a time-out and a cancel must win, too
//!   3. woken: granted, or timed out, or cancelled  b. unlinks it, writes what it gets      c. wakes it
//!   4. not granted: takes its waiter out (under the lock)
//! ```
//!
//! I1. The queue and the links of its waiters are read and written under the object's lock only.
//! I2. A wait ends in one way: the claim, the time-out and the cancel are CASes on the same word, and one of them wins. So what was
//!     granted is never lost, and what was not granted was never taken.
//! I3. A claimed waiter is the granter's until it wakes its owner. One that could not be claimed stays linked, until its
//!     owner takes it out in 4: so an object whose queue is empty, seen under its lock, has nobody who will come back to it,
//!     and may be freed.
//! I4. The waiter lies on its owner's stack and leaves the queue before the owner goes on: by b or 4.
//!
//! A waiter may be one of several of the same wait, in different queues (a select): the claim is one for all of them.

use crate::goroutine::park::Ready;
use crate::sync::{backoff, mutated};
use std::ptr::null_mut;

/// Somebody who waits, or will.
pub trait Sleeper: Copy {
    /// In place of one who has not begun.
    const NOBODY: Self;
    /// One caller per wait does not get `Ready::Lost`, and then decides what becomes of it.
    fn claim(self) -> Ready;
}

/// A place in a queue. `T` says what for.
pub struct Waiter<P, T> {
    next: *mut Waiter<P, T>,
    previous: *mut Waiter<P, T>,
    linked: bool,
    /// Of one in a chain: as in [`Claimed`].
    early: bool,
    /// Who; set when it joins.
    pub party: P,
    /// What for.
    pub what: T,
}

impl<P: Sleeper, T> Waiter<P, T> {
    /// Not linked.
    #[inline(always)]
    pub const fn new(what: T) -> Self {
        Self {
            next: null_mut(),
            previous: null_mut(),
            linked: false,
            early: false,
            party: P::NOBODY,
            what,
        }
    }

    /// Step a. None: its wait is over otherwise.
    #[inline(always)]
    fn claim(&self) -> Option<Claimed<P>> {
        let party = self.party;
        let claim = party.claim();
        if claim == Ready::Lost && !mutated!("grant_to_who_gave_up") {
            return None;
        }
        let early = claim == Ready::Early;
        Some(Claimed { party, early })
    }
}

impl<P, T> Waiter<P, T> {
    /// For its owner, whose wait is over and was not granted: whether it has a queue to leave. (Only a claim unlinks one that
    /// is not its owner, and that was not.) If it never joined the object may be gone.
    #[inline(always)]
    pub fn is_linked(&self) -> bool {
        self.linked
    }

    /// The one behind it in its queue, under the lock.
    pub fn following(&self) -> *mut Self {
        self.next
    }
}

/// A wait that the holder decided. To be woken, once no lock is held.
#[must_use]
#[derive(Clone, Copy)]
pub struct Claimed<P> {
    /// Whose.
    pub party: P,
    /// Its thread is still in the middle of parking, and looks again (`goroutine::park`).
    pub early: bool,
}

/// See the module's head.
pub struct WaitQueue<P, T> {
    first: *mut Waiter<P, T>,
    last: *mut Waiter<P, T>,
}

impl<P: Sleeper, T> WaitQueue<P, T> {
    /// Nobody.
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self {
            first: null_mut(),
            last: null_mut(),
        }
    }

    /// Nobody is linked.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.first.is_null()
    }

    /// Step 1.
    ///
    /// # Safety
    /// Under the object's lock; `waiter` is not linked, and stays in place until it was claimed or taken out.
    #[inline(always)]
    pub unsafe fn join(&mut self, waiter: *mut Waiter<P, T>) {
        // SAFETY: I1, and the caller's promise; the last one is linked, so it is alive (I4).
        unsafe {
            (*waiter).linked = true;
            (*waiter).next = null_mut();
            (*waiter).previous = self.last;
            if self.last.is_null() {
                self.first = waiter;
            } else {
                (*self.last).next = waiter;
            }
        }
        self.last = waiter;
    }

    /// Step 1, for one that was first already: in front of all but those for whom `comes_first` is true, who are in front.
    ///
    /// # Safety
    /// As [`WaitQueue::join`].
    pub unsafe fn join_in_front(
        &mut self,
        waiter: *mut Waiter<P, T>,
        comes_first: impl Fn(&Waiter<P, T>) -> bool,
    ) {
        let (mut previous, mut next) = (null_mut::<Waiter<P, T>>(), self.first);
        // SAFETY: as in `join`.
        unsafe {
            while !next.is_null() && comes_first(&*next) {
                previous = next;
                next = (*next).next;
            }
            (*waiter).linked = true;
            (*waiter).previous = previous;
            (*waiter).next = next;
            if previous.is_null() {
                self.first = waiter;
            } else {
                (*previous).next = waiter;
            }
            if next.is_null() {
                self.last = waiter;
            } else {
                (*next).previous = waiter;
            }
        }
    }

    /// Step 4, or nothing if it is not linked. Gives whether it was.
    ///
    /// # Safety
    /// Under the object's lock; `waiter` is alive, and in no other queue.
    #[inline(always)]
    pub unsafe fn leave(&mut self, waiter: *mut Waiter<P, T>) -> bool {
        // SAFETY: I1.
        unsafe {
            if !(*waiter).linked {
                return false;
            }
            (*waiter).linked = false;
            self.bypass((*waiter).previous, (*waiter).next);
        }
        true
    }

    /// As [`WaitQueue::leave`], if it `goes`, which is the last touch of it: its owner may go on at once, and it be gone.
    ///
    /// # Safety
    /// Under the object's lock; `waiter` is linked here.
    #[inline(always)]
    pub unsafe fn leave_if(&mut self, waiter: *mut Waiter<P, T>, goes: impl FnOnce() -> bool) -> bool {
        // SAFETY: I1.
        unsafe {
            if mutated!("leaves_after_it_went") {
                let gone = goes();
                backoff(&mut 0); // where the owner may go on
                return gone && self.leave(waiter);
            }
            let (previous, next) = ((*waiter).previous, (*waiter).next);
            let gone = goes();
            if gone {
                self.bypass(previous, next);
            }
            gone
        }
    }

    /// Takes out what is between these two.
    #[inline(always)]
    unsafe fn bypass(&mut self, previous: *mut Waiter<P, T>, next: *mut Waiter<P, T>) {
        // SAFETY: I1; neighbours are linked, so they are alive (I4).
        unsafe {
            if previous.is_null() {
                self.first = next;
            } else {
                (*previous).next = next;
            }
            if next.is_null() {
                self.last = previous;
            } else {
                (*next).previous = previous;
            }
        }
    }

    /// Steps a and b: the first that can be claimed, unlinked. The waiter is the caller's until it wakes its owner (I3).
    ///
    /// # Safety
    /// Under the object's lock.
    #[inline(always)]
    pub unsafe fn claim_first(&mut self) -> Option<(*mut Waiter<P, T>, Claimed<P>)> {
        // SAFETY: the caller's promise.
        unsafe { self.claim_first_if(|_| true) }
    }

    /// The same, but gives up at the first that could be claimed and that `fits` does not want: nobody is overtaken.
    ///
    /// # Safety
    /// As [`WaitQueue::claim_first`].
    #[inline(always)]
    pub unsafe fn claim_first_if(
        &mut self,
        fits: impl Fn(&Waiter<P, T>) -> bool,
    ) -> Option<(*mut Waiter<P, T>, Claimed<P>)> {
        let mut waiter = self.first;
        while !waiter.is_null() {
            // SAFETY: linked, so alive (I4); I1.
            unsafe {
                if !fits(&*waiter) {
                    return None;
                }
                if let Some(claimed) = self.claim(waiter) {
                    return Some((waiter, claimed));
                }
                waiter = (*waiter).next; // it is on its way out (I3)
            }
        }
        None
    }

    /// Steps a and b for this one. None: its wait is over otherwise.
    ///
    /// # Safety
    /// Under the object's lock; `waiter` is linked here, and its party is set.
    #[inline(always)]
    pub unsafe fn claim(&mut self, waiter: *mut Waiter<P, T>) -> Option<Claimed<P>> {
        // SAFETY: linked, so alive (I4); I1.
        unsafe {
            let claimed = (*waiter).claim()?;
            self.leave(waiter);
            Some(claimed)
        }
    }

    /// All that can be claimed, the first first, chained: see [`next_claimed`].
    ///
    /// # Safety
    /// As [`WaitQueue::claim_first`].
    pub unsafe fn claim_all(&mut self) -> *mut Waiter<P, T> {
        let mut chain = null_mut();
        let mut end: *mut *mut Waiter<P, T> = &raw mut chain;
        // SAFETY: the caller's promise; what is in the chain is ours (I3).
        unsafe {
            while let Some((waiter, claimed)) = self.claim_first() {
                end = chain_claimed(end, waiter, claimed);
            }
        }
        chain
    }

    /// The first one, whatever became of its wait; null: none.
    pub fn first(&self) -> *mut Waiter<P, T> {
        self.first
    }
}

/// A [`WaitQueue`] in eight bytes, where an object has several and no room: the first one's `previous` is the last one.
pub struct ShortQueue<P, T> {
    first: *mut Waiter<P, T>,
}

impl<P: Sleeper, T> ShortQueue<P, T> {
    /// Nobody.
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self { first: null_mut() }
    }

    /// Nobody is linked.
    pub fn is_empty(&self) -> bool {
        self.first.is_null()
    }

    /// The first one, whatever became of its wait; null: none.
    pub fn first(&self) -> *mut Waiter<P, T> {
        self.first
    }

    /// Step 1.
    ///
    /// # Safety
    /// As [`WaitQueue::join`].
    pub unsafe fn join(&mut self, waiter: *mut Waiter<P, T>) {
        // SAFETY: I1, and the caller's promise; the first and the last are linked, so they are alive (I4).
        unsafe {
            (*waiter).linked = true;
            (*waiter).next = null_mut();
            if self.first.is_null() {
                (*waiter).previous = waiter;
                self.first = waiter;
            } else {
                let last = (*self.first).previous;
                (*waiter).previous = last;
                (*last).next = waiter;
                (*self.first).previous = waiter;
            }
        }
    }

    /// Step 4, or nothing if it is not linked.
    ///
    /// # Safety
    /// As [`WaitQueue::leave`].
    pub unsafe fn leave(&mut self, waiter: *mut Waiter<P, T>) {
        // SAFETY: I1; neighbours are linked, so they are alive (I4).
        unsafe {
            if !(*waiter).linked {
                return;
            }
            (*waiter).linked = false;
            let (previous, next) = ((*waiter).previous, (*waiter).next);
            if waiter == self.first {
                self.first = next;
            } else {
                (*previous).next = next;
            }
            // Whoever keeps the way to the one before it: the next one, or the first, for the last one.
            let keeper = if next.is_null() { self.first } else { next };
            if !keeper.is_null() {
                (*keeper).previous = previous;
            }
        }
    }

    /// Steps a and b for this one. None: its wait is over otherwise.
    ///
    /// # Safety
    /// As [`WaitQueue::claim`].
    pub unsafe fn claim(&mut self, waiter: *mut Waiter<P, T>) -> Option<Claimed<P>> {
        // SAFETY: linked, so alive (I4); I1.
        unsafe {
            let claimed = (*waiter).claim()?;
            self.leave(waiter);
            Some(claimed)
        }
    }
}

/// Adds one to the end of a chain. Gives the new end.
///
/// # Safety
/// `end` is the end of a chain of the caller's, `waiter` is claimed for it.
#[inline(always)]
pub unsafe fn chain_claimed<P: Sleeper, T>(
    end: *mut *mut Waiter<P, T>,
    waiter: *mut Waiter<P, T>,
    claimed: Claimed<P>,
) -> *mut *mut Waiter<P, T> {
    // SAFETY: the caller's promise; what is claimed is its (I3).
    unsafe {
        (*waiter).early = claimed.early;
        (*waiter).next = null_mut();
        *end = waiter;
        &raw mut (*waiter).next
    }
}

/// Takes the first off a chain that [`WaitQueue::claim_all`] gave. It is to be woken, and its waiter is not touched again.
///
/// # Safety
/// The chain is the caller's.
pub unsafe fn next_claimed<P: Sleeper, T>(
    chain: &mut *mut Waiter<P, T>,
) -> Option<(*mut Waiter<P, T>, Claimed<P>)> {
    let waiter = *chain;
    // SAFETY: claimed, so ours (I3).
    let first = unsafe { waiter.as_ref() }?;
    *chain = first.next;
    let (party, early) = (first.party, first.early);
    Some((waiter, Claimed { party, early }))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{ShortQueue, Sleeper, Waiter};
    use crate::goroutine::park::Ready;

    #[derive(Clone, Copy)]
    struct Willing(bool);
    impl Sleeper for Willing {
        const NOBODY: Self = Self(true);
        fn claim(self) -> Ready {
            if self.0 { Ready::Won } else { Ready::Lost }
        }
    }

    /// Joins, leaves and claims at random, compared with a list.
    #[test]
    fn short_queue_keeps_the_order() {
        const N: usize = 9;
        let mut all: Vec<_> = (0..N).map(Waiter::<Willing, usize>::new).collect();
        let at: Vec<*mut Waiter<Willing, usize>> = all.iter_mut().map(|waiter| &raw mut *waiter).collect();
        let mut queue = ShortQueue::new();
        let mut shall: Vec<usize> = Vec::new();
        let mut random = 88_172_645_463_325_252u64;
        for _ in 0..20_000 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let i = (random >> 8) as usize % N;
            let waiter = at[i];
            let is_in = shall.iter().position(|&other| other == i);
            // SAFETY: one thread; they stay in place.
            unsafe {
                match (random % 3, is_in) {
                    (0, None) => {
                        (*waiter).party = Willing(random & 128 != 0);
                        queue.join(waiter);
                        shall.push(i);
                    }
                    (1, _) => {
                        queue.leave(waiter);
                        shall.retain(|&other| other != i);
                    }
                    (2, Some(place)) => {
                        let claimed = queue.claim(waiter).is_some();
                        assert_eq!(claimed, (*waiter).party.0);
                        if claimed {
                            shall.remove(place);
                        }
                    }
                    _ => {}
                }
                let mut is = Vec::new();
                let mut waiter = queue.first();
                while !waiter.is_null() {
                    is.push((*waiter).what);
                    waiter = (*waiter).following();
                }
                assert_eq!(is, shall);
                assert_eq!(queue.is_empty(), shall.is_empty());
            }
        }
    }
}
