//! Spare stacks: a cache per worker in front of one pool per class.
//!
//! LIFO everywhere: the stack used last is the warmest. Nothing is trimmed when a stack comes back; `trim` gives memory
//! back later, for stacks that nobody wanted for a while, and moves them to `cold`.

use super::slab::{CLASS_MAX, CLASS_MIN, Slab};
use super::{bounds_of, learn};
use crate::goroutine::Goroutine;
use crate::sys::mem;
use crate::sys::mutex::Mutex;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

/// Stacks carved, and moved between cache and pool, at a time.
const BATCH: usize = 64;
/// Most stacks in a worker's cache.
const CACHE_MAX: usize = 256;
/// Spare stacks per class that keep their memory whatever happens.
const WARM: usize = 1024;

struct Pool {
    /// The warmest at the back.
    warm: VecDeque<*mut Goroutine>,
    cold: Vec<*mut Goroutine>,
    slab: Option<Slab>,
    /// Fewest warm stacks since the last trim: so many, nobody wanted.
    low_water: usize,
    /// For `learn`.
    dice: u32,
}
// SAFETY: stacks in a pool belong to the pool.
unsafe impl Send for Pool {}

const CLASSES: usize = (CLASS_MAX - CLASS_MIN + 1) as usize;
static POOLS: [Mutex<Pool>; CLASSES] = [const {
    Mutex::new(Pool {
        warm: VecDeque::new(),
        cold: Vec::new(),
        slab: None,
        low_water: 0,
        dice: 0,
    })
}; CLASSES];
static CARVED: AtomicU64 = AtomicU64::new(0);
static TRIMMED: AtomicU64 = AtomicU64::new(0);

impl Pool {
    /// Moves up to `count` stacks to `out`, at least one if there is any way.
    fn take(&mut self, class: u8, count: usize, out: &mut Vec<*mut Goroutine>) -> bool {
        if self.warm.is_empty() && self.cold.is_empty() {
            if self.slab.as_ref().is_none_or(Slab::is_spent) {
                self.slab = Slab::new(class);
            }
            // Large stacks one at a time: 64 of a GiB each would be a lot of address space for one goroutine.
            let wanted = if class > 22 { 1 } else { count };
            let carved = self
                .slab
                .as_mut()
                .and_then(|slab| slab.carve(wanted, out))
                .unwrap_or(0);
            CARVED.fetch_add(carved as u64, Ordering::Relaxed);
            return carved != 0;
        }
        for _ in 0..count {
            let Some(stack) = self.warm.pop_back().or_else(|| self.cold.pop()) else {
                break;
            };
            out.push(stack);
        }
        self.low_water = self.low_water.min(self.warm.len());
        true
    }
}

fn pool(class: u8) -> &'static Mutex<Pool> {
    &POOLS[(class - CLASS_MIN) as usize]
}

/// One stack from the shared pool, for a goroutine of `function`, or 0, that is spawned at `site`. None: out of address space or guards.
pub fn acquire(class: u8, function: u64, site: u64) -> Option<*mut Goroutine> {
    let mut one = Vec::with_capacity(1);
    let mut dice = {
        let mut pool = pool(class).lock();
        pool.take(class, 1, &mut one);
        pool.dice = pool.dice.wrapping_add(0x9E37_79B9);
        pool.dice
    };
    let g = one.pop()?;
    if learn::is_on() {
        // SAFETY: it is in no pool any more, and nobody's yet.
        unsafe { learn::prepare(g, class, function, site, &mut dice) };
    }
    Some(g)
}

/// A stack comes back to the shared pool.
///
/// # Safety
/// Nobody runs on it, and nobody else will give it back.
pub unsafe fn give_back(g: *mut Goroutine, class: u8) {
    if learn::is_on() {
        // SAFETY: the caller's promise.
        unsafe { learn::look_back(g, class) };
    }
    pool(class).lock().warm.push_back(g);
}

/// A worker's own spare stacks, of the default class.
///
/// Where something is learned (`learn`), each stack takes the long way, in and out: `stacks` is always empty and always full then,
/// so that who learns nothing pays nothing for it.
pub struct Cache {
    stacks: Vec<*mut Goroutine>,
    /// Most of them: CACHE_MAX, or 0.
    most: usize,
    class: u8,
    /// Where something is learned: the stacks.
    learning: Vec<*mut Goroutine>,
    dice: u32,
}

impl Cache {
    /// Empty.
    pub fn new(class: u8) -> Self {
        Self {
            stacks: Vec::with_capacity(CACHE_MAX),
            most: if learn::is_on() { 0 } else { CACHE_MAX },
            class,
            learning: Vec::new(),
            dice: 0,
        }
    }
    /// The class of its stacks.
    #[inline(always)]
    pub fn class(&self) -> u8 {
        self.class
    }
    /// The warmest, for a goroutine of `function`, spawned at `site`. None: out of address space or guards.
    #[inline(always)]
    pub fn pop(&mut self, function: u64, site: u64) -> Option<*mut Goroutine> {
        let g = match self.stacks.pop() {
            Some(g) => {
                // SAFETY: no stack is there. So no test is left on this way.
                unsafe { std::hint::assert_unchecked(!g.is_null()) };
                g
            }
            None => self.refill(function, site),
        };
        (!g.is_null()).then_some(g)
    }
    #[cold]
    #[inline(never)]
    fn refill(&mut self, function: u64, site: u64) -> *mut Goroutine {
        if self.most != 0 {
            pool(self.class).lock().take(self.class, BATCH, &mut self.stacks);
            return self.stacks.pop().unwrap_or(std::ptr::null_mut());
        }
        if self.learning.is_empty() {
            pool(self.class)
                .lock()
                .take(self.class, BATCH, &mut self.learning);
        }
        let Some(g) = self.learning.pop() else {
            return std::ptr::null_mut();
        };
        // SAFETY: it was in the cache, and is nobody's yet.
        unsafe { learn::prepare(g, self.class, function, site, &mut self.dice) };
        g
    }
    /// Keeps it for the next goroutine.
    ///
    /// # Safety
    /// As [`give_back`]; the stack is of this cache's class.
    #[inline(always)]
    pub unsafe fn push(&mut self, g: *mut Goroutine) {
        if self.stacks.len() == self.most {
            // SAFETY: the caller's promise.
            unsafe { self.push_with_care(g) };
        } else {
            self.stacks.push(g);
        }
    }
    #[cold]
    #[inline(never)]
    unsafe fn push_with_care(&mut self, g: *mut Goroutine) {
        let stacks = if self.most == 0 {
            // SAFETY: the caller's promise.
            unsafe { learn::look_back(g, self.class) };
            &mut self.learning
        } else {
            &mut self.stacks
        };
        if stacks.len() == CACHE_MAX {
            // The coldest ones go, in the order they came.
            pool(self.class).lock().warm.extend(stacks.drain(..BATCH));
        }
        stacks.push(g);
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        let mut pool = pool(self.class).lock();
        pool.warm.extend(self.stacks.drain(..));
        pool.warm.extend(self.learning.drain(..));
    }
}

/// Gives back the memory of at most `most` stacks that nobody wanted since the last call. Returns how many.
/// A few at a time: while their memory goes they are in no pool, and a burst would have to carve others.
pub fn trim(most: usize) -> usize {
    let mut trimmed = 0;
    for class in CLASS_MIN..=CLASS_MAX {
        let mut surplus = {
            let mut pool = pool(class).lock();
            let unwanted = pool.low_water.min(pool.warm.len());
            pool.low_water = pool.warm.len();
            unwanted.saturating_sub(WARM).min(most - trimmed)
        };
        while surplus != 0 {
            let victims: Vec<*mut Goroutine> = {
                let mut pool = pool(class).lock();
                let n = surplus.min(BATCH).min(pool.warm.len());
                pool.low_water = pool.low_water.saturating_sub(n);
                pool.warm.drain(..n).collect()
            };
            if victims.is_empty() {
                break;
            }
            let range = |&g: &*mut Goroutine| {
                let b = bounds_of(g);
                // SAFETY: a control block. What a sanitizer keeps there stays.
                let end = if unsafe { (*g).fake_stack }.is_null() {
                    b.end
                } else {
                    b.top & !(mem::PAGE - 1)
                };
                libc::iovec {
                    iov_base: b.low as *mut _,
                    iov_len: end - b.low,
                }
            };
            let ranges: Vec<libc::iovec> = victims.iter().map(range).collect();
            // SAFETY: the victims are in no pool and run nowhere.
            unsafe { mem::discard(&ranges) };
            surplus -= victims.len();
            trimmed += victims.len();
            pool(class).lock().cold.extend(victims);
        }
    }
    TRIMMED.fetch_add(trimmed as u64, Ordering::Relaxed);
    trimmed
}

/// (carved, spare in the pools, trimmed so far).
pub fn counts() -> (u64, u64, u64) {
    let spare = POOLS
        .iter()
        .map(|p| p.lock())
        .map(|p| (p.warm.len() + p.cold.len()) as u64)
        .sum();
    (
        CARVED.load(Ordering::Relaxed),
        spare,
        TRIMMED.load(Ordering::Relaxed),
    )
}

/// # Safety
/// Nobody has a stack, and nobody will ask for one or about one.
pub unsafe fn free_all() {
    for pool in &POOLS {
        let mut pool = pool.lock();
        (pool.warm, pool.cold, pool.slab) = (VecDeque::new(), Vec::new(), None);
    }
    // SAFETY: the caller's promise.
    unsafe {
        super::segment::forget_pools();
        super::slab::free_all();
    }
}

/// Before fork: so that no ghost holds a pool in the child.
pub fn hold_pools() {
    POOLS.iter().for_each(|pool| std::mem::forget(pool.lock()));
}

/// After fork, on both sides.
///
/// # Safety
/// `hold_pools` was called on this thread.
pub unsafe fn let_go_of_pools() {
    // SAFETY: the caller's promise.
    POOLS.iter().for_each(|pool| unsafe { pool.force_unlock() });
}

/// In the child: free, and nobody waits for them.
///
/// # Safety
/// As [`let_go_of_pools`], and no other thread is there.
pub unsafe fn reset_pools() {
    for pool in &POOLS {
        // SAFETY: the caller's promise.
        unsafe { pool.raw().reset() };
    }
}
