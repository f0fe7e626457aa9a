//! The protocol of settling: one word of state, one list of waiters, one lock around both.
//!
//! | state | value | waiters |
//! |---|---|---|
//! | 0 pending | not yet | may join and leave |
//! | 1 resolved, 2 rejected | written | none, for ever |
//!
//! I1. `value` and `status` are written before `state` leaves 0 (Release), and never again: who loads a state other than 0
//!     (Acquire) reads them without the lock. Emitted code does so.
//! I2. The list is read and written under the lock only. A waiter lies on its owner's stack or in an operation; while
//!     it is linked its owner waits. `settle` unlinks every waiter and hands each out *under the lock*, so an owner
//!     that finds itself unlinked (also under the lock) knows that nobody will touch the waiter again.
//! I3. So each waiter that joined is handed out once, or left by itself, never both.
//! I4. A settler needs no reference of its own. Who drops the last one calls `abandon`: while pending it leaves word under
//!     the lock, and the settler, who reads that under the lock, ends the cell; once settled it waits for the lock to be
//!     free, after which the settler never touches the cell again, and ends it itself. Exactly one of the two ends it.
//!
//! The lock is held for a handful of instructions per waiter; nothing parks or allocates under it. Waking a plain thread is
//! one futex call under it.

use crate::sync::{AtomicU32, Guarded, Ordering, SpinLock, mutated};
use std::ptr::null_mut;

/// One that waits. `T` says how to wake it.
pub struct Waiter<T> {
    next: *mut Waiter<T>,
    previous: *mut Waiter<T>,
    linked: bool,
    /// For whoever settles.
    pub owner: T,
}

impl<T> Waiter<T> {
    /// A model's way to use the memory again.
    #[cfg(all(test, loom))]
    pub fn touch(&mut self) {
        self.next = null_mut();
    }

    /// For whoever `settle` handed the waiter to: a link to chain those it cannot finish under the lock.
    pub fn chain(&mut self) -> &mut *mut Waiter<T> {
        debug_assert!(!self.linked);
        &mut self.next
    }
}

impl<T> Waiter<T> {
    /// Not linked.
    pub const fn new(owner: T) -> Self {
        Self {
            next: null_mut(),
            previous: null_mut(),
            linked: false,
            owner,
        }
    }
}

/// Those who waited when a cell was settled, unlinked one by one; to be used up under the lock.
pub struct Waiters<T>(*mut Waiter<T>);

impl<T> Iterator for Waiters<T> {
    type Item = *mut Waiter<T>;
    fn next(&mut self) -> Option<*mut Waiter<T>> {
        if self.0.is_null() {
            return None;
        }
        let waiter = self.0;
        // SAFETY: I2: the lock is held; linked waiters are alive.
        unsafe {
            self.0 = (*waiter).next;
            (*waiter).linked = false;
        }
        Some(waiter)
    }
}

/// Those who wait, under the lock.
pub struct Waiting<'a, T>(*mut Waiter<T>, std::marker::PhantomData<&'a T>);

impl<'a, T> Iterator for Waiting<'a, T> {
    type Item = &'a T;
    fn next(&mut self) -> Option<&'a T> {
        // SAFETY: I2: the lock is held; linked waiters are alive.
        unsafe {
            let waiter = self.0.as_ref()?;
            self.0 = waiter.next;
            Some(&waiter.owner)
        }
    }
}

struct List<T> {
    first: *mut Waiter<T>,
    last: *mut Waiter<T>,
}

/// State, value and waiters of a promise.
#[repr(C)]
pub struct Cell<T, V> {
    state: AtomicU32,
    /// Reference count of the promise around it: here because the layout is frozen.
    pub refs: AtomicU32,
    value: Guarded<V>,
    lock: SpinLock,
    /// For the promise around it.
    pub flags: AtomicU32,
    waiters: Guarded<List<T>>,
}

// SAFETY: I1 and I2 order every access; waiters are woken on behalf of their owners from any thread.
unsafe impl<T, V: Send> Sync for Cell<T, V> {}
// SAFETY: as above.
unsafe impl<T, V: Send> Send for Cell<T, V> {}

/// Not settled.
pub const PENDING: u32 = 0;
/// Bit of `flags`: nobody has a reference any more. Written under the lock.
const ABANDONED: u32 = 1 << 31;

/// What came of a settling.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Settling {
    /// It was settled before.
    Late,
    /// Done.
    First,
    /// Done, and nobody will ever look: the settler ends it (I4).
    Orphan,
}

impl<T, V: Copy> Cell<T, V> {
    /// Pending, one reference.
    pub fn new(value: V) -> Self {
        Self {
            state: AtomicU32::new(PENDING),
            refs: AtomicU32::new(1),
            value: Guarded::new(value),
            lock: SpinLock::new(),
            flags: AtomicU32::new(0),
            waiters: Guarded::new(List {
                first: null_mut(),
                last: null_mut(),
            }),
        }
    }

    /// For a model.
    #[cfg(all(test, loom))]
    pub fn is_locked(&self) -> bool {
        self.lock.is_locked()
    }

    /// The state.
    #[inline(always)]
    pub fn state(&self) -> u32 {
        self.state.load(Ordering::Acquire)
    }

    /// The state and the value, once settled.
    #[inline(always)]
    pub fn settled(&self) -> Option<(u32, V)> {
        let state = self.state.load(Ordering::Acquire); // I1; partner: settle
        // SAFETY: I1: no longer written.
        (state != PENDING).then(|| (state, unsafe { self.value.with(|v| *v) }))
    }

    /// Settles. If anybody waits, `wake` is called, under the lock, with those who do, in the order they joined.
    #[inline(always)]
    pub fn settle(&self, state: u32, value: V, wake: impl FnOnce(Waiters<T>)) -> Settling {
        self.lock.lock();
        if self.state.load(Ordering::Relaxed) != PENDING {
            self.lock.unlock();
            return Settling::Late;
        }
        // SAFETY: I1: pending, and we hold the lock.
        unsafe { self.value.with(|v| *v = value) };
        self.state.store(state, Ordering::Release);
        // SAFETY: I2: we hold the lock.
        let first = unsafe { self.waiters.with(|list| list.first) };
        if mutated!("settle_wakes_unlocked") {
            self.lock.unlock();
        }
        if !first.is_null() {
            // SAFETY: I2: as above.
            unsafe {
                self.waiters
                    .with(|list| (list.first, list.last) = (null_mut(), null_mut()))
            };
            wake(Waiters(first));
        }
        let orphan = self.flags.load(Ordering::Relaxed) & ABANDONED != 0;
        if !mutated!("settle_wakes_unlocked") {
            self.lock.unlock();
        }
        if orphan { Settling::Orphan } else { Settling::First }
    }

    /// Whoever is in the middle of settling it is done with it when this returns.
    #[inline(always)]
    pub fn settled_and_done(&self) {
        self.lock.wait();
    }

    /// The last reference is gone, the settler has none (I4). True: the caller ends it; false: the settler will.
    #[inline]
    #[must_use]
    pub fn abandon(&self) -> bool {
        if self.state.load(Ordering::Acquire) != PENDING {
            if !mutated!("abandon_without_waiting") {
                self.lock.wait();
            }
            return true;
        }
        self.lock.lock();
        let pending = self.state.load(Ordering::Relaxed) == PENDING;
        if pending {
            self.flags
                .store(self.flags.load(Ordering::Relaxed) | ABANDONED, Ordering::Relaxed);
        }
        self.lock.unlock();
        !pending
    }

    /// Joins the waiters. False: it is settled, and the waiter was not touched.
    ///
    /// # Safety
    /// `waiter` stays valid until `settle` handed it out or `leave` returned.
    #[inline]
    #[must_use]
    pub unsafe fn join(&self, waiter: *mut Waiter<T>) -> bool {
        self.lock.lock();
        let pending = self.state.load(Ordering::Relaxed) == PENDING;
        if pending {
            // SAFETY: I2: we hold the lock.
            unsafe {
                self.waiters.with(|list| {
                    (*waiter).linked = true;
                    (*waiter).next = null_mut();
                    (*waiter).previous = list.last;
                    if list.last.is_null() {
                        list.first = waiter;
                    } else {
                        (*list.last).next = waiter;
                    }
                    list.last = waiter;
                });
            }
        }
        self.lock.unlock();
        pending
    }

    /// Leaves. False: `settle` was faster, and is done with the waiter.
    ///
    /// # Safety
    /// `waiter` was passed to `join` of this cell, which returned true.
    #[must_use]
    pub unsafe fn leave(&self, waiter: *mut Waiter<T>) -> bool {
        self.lock.lock();
        // SAFETY: I2: we hold the lock; neighbours are linked, so they are alive.
        let linked = unsafe {
            self.waiters.with(|list| {
                if !(*waiter).linked {
                    return false;
                }
                (*waiter).linked = false;
                let (next, previous) = ((*waiter).next, (*waiter).previous);
                if previous.is_null() {
                    list.first = next;
                } else {
                    (*previous).next = next;
                }
                if next.is_null() {
                    list.last = previous;
                } else {
                    (*next).previous = previous;
                }
                true
            })
        };
        self.lock.unlock();
        linked
    }

    /// Whether it is settled and done with, the place of its value; else who waits. Under the lock: `f` settles nothing.
    pub fn look(&self, f: impl FnOnce(Result<&mut V, Waiting<'_, T>>)) {
        self.lock.lock();
        // SAFETY: I2: we hold the lock. I1: once settled nobody else writes the value; the caller's business is to read it elsewhere.
        unsafe {
            if self.state.load(Ordering::Relaxed) == PENDING {
                let first = self.waiters.with(|list| list.first);
                f(Err(Waiting(first, std::marker::PhantomData)));
            } else {
                self.value.with(|value| f(Ok(value)));
            }
        }
        self.lock.unlock();
    }

    /// In a child of fork: who held the lock is not there, and may have been in the middle of the list. Nobody waits any more then.
    ///
    /// # Safety
    /// No other thread is there.
    pub unsafe fn forget_holder(&self) {
        if !self.lock.is_locked() {
            return;
        }
        if self.state.load(Ordering::Relaxed) == PENDING {
            let nobody = |list: &mut List<T>| (list.first, list.last) = (null_mut(), null_mut());
            // SAFETY: I2: the lock is held, by nobody else.
            unsafe { self.waiters.with(nobody) };
        }
        self.lock.unlock();
    }

    /// Runs `f` unless settled; until it returns nobody can settle. `f` is a few instructions.
    pub fn if_pending<R>(&self, f: impl FnOnce() -> R) -> Option<R> {
        self.lock.lock();
        let result = (self.state.load(Ordering::Relaxed) == PENDING).then(f);
        self.lock.unlock();
        result
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn who_held_it_in_the_parent_is_forgotten_and_so_are_those_who_waited() {
        let cell = Cell::<u32, u32>::new(0);
        let mut waiter = Waiter::new(1);
        // SAFETY: it stays until nobody knows it.
        assert!(unsafe { cell.join(&raw mut waiter) });
        let in_the_middle = || {
            // SAFETY: there is one thread.
            unsafe { cell.forget_holder() };
            assert!(!cell.lock.is_locked());
            cell.look(|what| assert_eq!(what.err().map(Iterator::count), Some(0)));
        };
        assert!(cell.if_pending(in_the_middle).is_some());
    }
}
