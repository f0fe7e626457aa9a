//! Mutexes: owned by a goroutine or a plain thread, plain or recursive.
//!
//! `wait::lock` is the protocol. This file adds who the owner is, how often it has it, and what happens when a goroutine ends with it.
//!
//! I1. An owner's number is its goroutine's id or its thread's number, shifted: neither is ever reused, so an owner that is gone is
//!     never mistaken for another one.
//! I2. `depth` is the owner's.
//! I3. A goroutine counts the mutexes it holds. At its end, should there be any, every mutex is looked at (`orphan_all`): that is the
//!     price of a rare mistake, and nothing but the count is paid before. A plain thread that ends with a mutex is not noticed.
//! I4. Who waits for a condition will come back, and counts in `waits` meanwhile. Only the owner writes it: it counts itself before it
//!     gives the mutex up, and takes that back once it has it again. Who frees it looks before and after it saw that nobody has it: a
//!     wait that ended before the first look had the mutex by then, and one that began since changes the second.

use super::object::{free_object, new_object};
use super::wait::{wait, wake_one};
use crate::abi::*;
use crate::context::tls;
use crate::goroutine::waits::{Kind, Waits};
use crate::goroutine::{EXTRAS, Goroutine};
use crate::sanitize;
use crate::sched::park;
use crate::sys::mem;
use crate::sys::mutex::Mutex as Guard;
use crate::wait::lock::{HANDED, Lock, NUMBER_SHIFT, Take};
use crate::wait::thread::ThreadWait;
use crate::wait::{Party, Waiter};
use std::cell::Cell;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU64, Ordering, fence};

/// In `waits`.
const BEGUN_SHIFT: u32 = 32;

/// How often one who finds it locked looks again before it parks, where others may run meanwhile.
const SPINS: u32 = 60;

/// A mutex. Opaque.
pub struct GoroutineMutex {
    lock: Lock<Party>,
    /// How often its owner has taken it, but for the first time (I2).
    depth: Cell<u32>,
    recursive: bool,
    /// What it is part of: who waits for it waits for that.
    kind: Kind,
    /// Waits for a condition that were begun with it, above BEGUN_SHIFT, and those of them that have not locked it again, below (I4).
    waits: AtomicU64,
    /// Where it is in `ALL`; under that lock.
    index: Cell<usize>,
}
/// The name inside the library.
pub use GoroutineMutex as Mutex;
// SAFETY: `depth` is the owner's (I2).
unsafe impl Sync for Mutex {}

/// Every mutex there is, in no order.
static ALL: Guard<All> = Guard::new(All(Vec::new()));
/// For the fork handlers.
#[derive(Default)]
pub struct All(Vec<*const Mutex>);
// SAFETY: addresses; each is in the list while the mutex lives.
unsafe impl Send for All {}

/// The lock, to be held across fork.
pub fn all() -> &'static Guard<All> {
    &ALL
}

/// Of a goroutine; even above the shift, where those of threads are odd.
#[inline(always)]
fn number_of(id: u64) -> u64 {
    id << 1 << NUMBER_SHIFT
}

/// Who calls.
#[derive(Clone, Copy)]
pub(super) struct Me {
    /// As `wait::lock` wants it, and never another's (I1).
    pub(super) number: u64,
    /// Null on a plain thread.
    g: *mut Goroutine,
}

impl Me {
    #[inline(always)]
    pub(super) fn new() -> Self {
        let g = tls::current();
        if g.is_null() {
            return Self {
                number: (tls::number() << 1 | 1) << NUMBER_SHIFT,
                g,
            };
        }
        // SAFETY: the running goroutine.
        let number = number_of(unsafe { (*g).id() });
        Self { number, g }
    }

    /// Whether anybody can run while it does.
    fn has_others(self) -> bool {
        let worker = tls::worker();
        // SAFETY: the thread holds the worker, if any.
        worker.is_null() || unsafe { (*worker).runtime().workers.len() > 1 }
    }

    /// It has one more, this one.
    #[inline(always)]
    fn got(self, mutex: &Mutex) {
        sanitize::acquired(mutex);
        if !self.g.is_null() {
            // SAFETY: the running goroutine.
            unsafe {
                (*self.g).held = (*self.g).held.saturating_add(1);
                (*self.g).spawn_flags |= EXTRAS; // its end looks
            }
        }
    }

    /// It has one less, without this one. After 255 it is not known how many.
    #[inline(always)]
    fn gave(self, mutex: &Mutex) {
        sanitize::released(mutex);
        if !self.g.is_null() {
            // SAFETY: the running goroutine.
            unsafe {
                if (*self.g).held != u8::MAX {
                    (*self.g).held = (*self.g).held.saturating_sub(1);
                }
            }
        }
    }
}

/// Who has a mutex.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Holder {
    /// The goroutine with this id.
    Goroutine(u64),
    /// Some plain thread.
    Thread,
}

impl Holder {
    /// By the number of a `Me`, or 0.
    pub(super) fn of(number: u64) -> Option<Self> {
        match number >> NUMBER_SHIFT {
            0 => None,
            n if n & 1 == 0 => Some(Self::Goroutine(n >> 1)),
            _ => Some(Self::Thread),
        }
    }
}

/// Where its owner is written.
pub const WORD: usize = std::mem::offset_of!(Mutex, lock) + Lock::<Party>::WORD;

/// Who has the mutex at `address`, which may not be there any more: it means nothing then. None: nobody.
pub fn owner_of(address: usize) -> Option<Holder> {
    Holder::of(Lock::<Party>::owner_in(mem::peek_word(address + WORD)?))
}

/// `goroutine_mutex_new`.
pub fn new(recursive: bool) -> *mut Mutex {
    new_as(recursive, Kind::Mutex)
}

/// Part of something of this kind.
pub(super) fn new_as(recursive: bool, kind: Kind) -> *mut Mutex {
    let mut all = ALL.lock();
    if all.0.try_reserve(1).is_err() {
        return null_mut();
    }
    let mutex = new_object(Mutex {
        lock: Lock::new(),
        depth: Cell::new(0),
        recursive,
        kind,
        waits: AtomicU64::new(0),
        index: Cell::new(all.0.len()),
    });
    if !mutex.is_null() {
        all.0.push(mutex);
    }
    mutex
}

/// `goroutine_mutex_free`.
///
/// # Safety
/// `mutex` came from [`new`]; after GOROUTINE_OK nobody uses it.
pub unsafe fn free(mutex: *mut Mutex) -> GoroutineStatus {
    // SAFETY: the caller's promise.
    unsafe {
        if !(*mutex).is_idle() {
            return GOROUTINE_EBUSY;
        }
        let mut all = ALL.lock();
        let index = (*mutex).index.get();
        all.0.swap_remove(index);
        if let Some(&moved) = all.0.get(index) {
            (*moved).index.set(index);
        }
        drop(all);
        free_object(mutex);
    }
    GOROUTINE_OK
}

impl Mutex {
    /// `goroutine_mutex_lock`.
    #[inline(always)]
    pub fn lock(&self, timeout_ns: u64) -> GoroutineStatus {
        let me = Me::new();
        match self.lock.try_take(me.number) {
            Take::Taken => {
                me.got(self);
                GOROUTINE_OK
            }
            Take::Orphaned => {
                me.got(self);
                GOROUTINE_EOWNERDEAD
            }
            Take::Held => self.lock_held(me, timeout_ns),
        }
    }

    #[inline(never)]
    fn lock_held(&self, me: Me, timeout_ns: u64) -> GoroutineStatus {
        if self.lock.owner() == me.number {
            return self.lock_again();
        }
        if timeout_ns == 0 {
            if !self.lock.rob(me.number) {
                return GOROUTINE_EAGAIN;
            }
            me.got(self);
            return GOROUTINE_OK;
        }
        let mut take = self.spin(me);
        let mut status = GOROUTINE_OK;
        if take == Take::Held {
            let deadline = park::deadline_after(timeout_ns);
            // SAFETY: as `join` and `join_again` want it.
            let join = |lock: &Lock<Party>, place, me| unsafe { lock.join(place, me) };
            (take, status) = self.wait_in_line(me, deadline, HANDED, join);
            if take == Take::Held && status == GOROUTINE_OK && !self.lock.confirm(me.number) {
                (take, status) = self.wait_again(me, deadline);
            }
            if take == Take::Held && status != GOROUTINE_OK && status != GOROUTINE_EOWNERDEAD {
                return status;
            }
        }
        me.got(self);
        if take == Take::Orphaned {
            GOROUTINE_EOWNERDEAD
        } else {
            status
        }
    }

    /// It was robbed, and never will be again.
    #[cold]
    #[inline(never)]
    fn wait_again(&self, me: Me, deadline: u64) -> (Take, GoroutineStatus) {
        // SAFETY: as `join_again` wants it.
        let join = |lock: &Lock<Party>, place, me| unsafe { lock.join_again(place, me) };
        let (take, status) = self.wait_in_line(me, deadline, 0, join);
        if take == Take::Held && status == GOROUTINE_OK {
            let kept = self.lock.confirm(me.number);
            debug_assert!(kept, "only one with HANDED is robbed");
        }
        (take, status)
    }

    /// Until it was granted, or free, or the wait ended otherwise. `handed`: HANDED, or 0 for one that was robbed, as `join` wants it.
    #[inline(always)]
    fn wait_in_line(
        &self,
        me: Me,
        deadline: u64,
        handed: u64,
        join: impl Fn(&Lock<Party>, *mut Waiter<Party, u64>, u64) -> Take + Copy,
    ) -> (Take, GoroutineStatus) {
        let mut take = Take::Held;
        let mut waiter = Waiter::new(me.number | handed);
        let word = ThreadWait::new();
        let (place, result) = (&raw mut waiter, &raw mut take);
        // SAFETY: the waiter stays in place until it was granted the lock or left.
        unsafe {
            let status = wait(&word, deadline, Waits::on(self.kind, self), move |party| {
                (*place).party = party;
                match join(&self.lock, place, me.number) {
                    Take::Held => true,
                    taken => {
                        *result = taken;
                        false
                    }
                }
            });
            if status != GOROUTINE_OK && status != GOROUTINE_EOWNERDEAD {
                self.lock.leave(place);
            }
            (take, status)
        }
    }

    #[cold]
    fn lock_again(&self) -> GoroutineStatus {
        if !self.recursive {
            return GOROUTINE_EDEADLK;
        }
        match self.depth.get().checked_add(1) {
            Some(depth) => {
                self.depth.set(depth);
                GOROUTINE_OK
            }
            None => GOROUTINE_EAGAIN,
        }
    }

    /// The owner may be about to unlock, on another thread. Not past those who queue.
    fn spin(&self, me: Me) -> Take {
        if me.has_others() {
            for _ in 0..SPINS {
                if self.lock.has_waiters() {
                    break;
                }
                if self.lock.owner() == 0 {
                    match self.lock.try_take(me.number) {
                        Take::Held => {}
                        taken => return taken,
                    }
                }
                std::hint::spin_loop();
            }
        }
        Take::Held
    }

    /// `goroutine_mutex_unlock`.
    #[inline(always)]
    pub fn unlock(&self) -> GoroutineStatus {
        let me = Me::new();
        if self.lock.owner() != me.number {
            return GOROUTINE_EPERM;
        }
        let depth = self.depth.get();
        if depth != 0 {
            self.depth.set(depth - 1);
            return GOROUTINE_OK;
        }
        me.gave(self);
        if let Some(next) = self.lock.release(me.number) {
            // SAFETY: it was granted the lock, and no lock of ours is held.
            unsafe { wake_one(next, GOROUTINE_OK) };
        }
        GOROUTINE_OK
    }

    /// Unlocks it however often its owner, the caller, has locked it, who will call `lock_to_depth`. Gives how often more than once.
    pub(super) fn unlock_all(&self) -> u32 {
        let depth = self.depth.replace(0);
        let waits = self.waits.load(Ordering::Relaxed);
        // Published by the unlock (I4).
        self.waits
            .store(waits.wrapping_add((1 << BEGUN_SHIFT) + 1), Ordering::Relaxed);
        self.unlock();
        depth
    }

    /// The other way round. No cancel ends it, so the caller has the lock.
    pub(super) fn lock_to_depth(&self, depth: u32) -> GoroutineStatus {
        let status = self.lock(GOROUTINE_FOREVER);
        self.depth.set(depth);
        // Release: who sees this in `is_idle` sees that we have the lock (I4).
        self.waits
            .store(self.waits.load(Ordering::Relaxed) - 1, Ordering::Release);
        status
    }

    /// Whether nobody has it, waits for it, or will lock it again after a wait for a condition (I4).
    fn is_idle(&self) -> bool {
        let before = self.waits.load(Ordering::Acquire);
        if before & ((1 << BEGUN_SHIFT) - 1) != 0 || !self.lock.is_idle() {
            return false;
        }
        fence(Ordering::Acquire); // with the look at the lock: what its last owner did before it gave it up
        self.waits.load(Ordering::Relaxed) == before
    }

    /// `goroutine_mutex_is_owned`.
    pub fn is_owned(&self) -> bool {
        self.lock.owner() == Me::new().number
    }
}

/// A goroutine ended that holds mutexes.
///
/// # Safety
/// `g` is over and the caller's.
#[cold]
pub unsafe fn orphan_all(g: *mut Goroutine) {
    // SAFETY: the caller's promise.
    let me = number_of(unsafe { (*g).id() });
    let mut woken = Vec::new();
    {
        let all = ALL.lock();
        for &mutex in &all.0 {
            // SAFETY: in the list, so alive; if it is the ended goroutine's, nobody else changes `depth`.
            unsafe {
                if (*mutex).lock.owner() == me {
                    (*mutex).depth.set(0);
                    sanitize::released(mutex);
                    woken.extend((*mutex).lock.abandon(me));
                }
            }
        }
    }
    for next in woken {
        // SAFETY: as in unlock.
        unsafe { wake_one(next, GOROUTINE_EOWNERDEAD) };
    }
}
