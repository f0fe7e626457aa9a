//! Memory for promises: 64-byte blocks that are never unmapped, so a use after the last release is found, not crashed on.

use super::object::Promise;
use crate::context::tls;
use parking_lot::Mutex;
use std::alloc::{Layout, alloc_zeroed};
use std::sync::atomic::{AtomicU64, Ordering};

const BATCH: usize = 64;
const CACHE_MAX: usize = 512;

/// The spare blocks, and where all blocks are.
pub struct Spare {
    blocks: Vec<*mut Promise>,
    /// Every chunk of BATCH blocks: what nobody points to any more is found here, by us and by leak checkers.
    chunks: Vec<*mut Promise>,
}
// SAFETY: blocks in the pool belong to the pool.
unsafe impl Send for Spare {}
static SPARE: Mutex<Spare> = Mutex::new(Spare {
    blocks: Vec::new(),
    chunks: Vec::new(),
});

/// The lock, to be held across fork.
pub fn spare() -> &'static Mutex<Spare> {
    &SPARE
}

static MADE: AtomicU64 = AtomicU64::new(0);

/// Fills `out` with at least one block if there is memory.
#[cold]
pub fn refill(out: &mut Vec<*mut Promise>) {
    let mut spare = SPARE.lock();
    let keep = spare.blocks.len().saturating_sub(BATCH);
    out.extend(spare.blocks.drain(keep..));
    if out.is_empty() {
        if spare.chunks.try_reserve(1).is_err() {
            return;
        }
        let layout = Layout::array::<Promise>(BATCH).expect("a small constant");
        // SAFETY: the layout is not empty. Zeros: refs 0, so a stray use is found.
        let chunk = unsafe { alloc_zeroed(layout) }.cast::<Promise>();
        if chunk.is_null() {
            return;
        }
        spare.chunks.push(chunk);
        drop(spare);
        MADE.fetch_add(BATCH as u64, Ordering::Relaxed);
        // SAFETY: inside the chunk.
        out.extend((0..BATCH).map(|i| unsafe { chunk.add(i) }));
    }
}

/// A block for whoever calls; null: out of memory.
#[inline]
pub fn take_one() -> *mut Promise {
    let worker = tls::worker();
    if worker.is_null() {
        let mut some = Vec::new();
        refill(&mut some);
        let one = some.pop().unwrap_or(std::ptr::null_mut());
        give_back(some.into_iter());
        return one;
    }
    // SAFETY: this thread holds the worker, and nothing here parks.
    take_from(unsafe { &mut (*worker).local().promises })
}

/// A block from a worker's cache; null: out of memory.
#[inline(always)]
pub fn take_from(cache: &mut Vec<*mut Promise>) -> *mut Promise {
    match cache.pop() {
        Some(promise) => promise,
        None => {
            refill(cache);
            cache.pop().unwrap_or(std::ptr::null_mut())
        }
    }
}

/// A block comes back.
#[inline(always)]
pub fn put(promise: *mut Promise) {
    let worker = tls::worker();
    if worker.is_null() {
        return put_shared(promise);
    }
    // SAFETY: as above.
    let cache = unsafe { &mut (*worker).local().promises };
    if cache.len() == cache.capacity() {
        make_room(cache);
    }
    cache.push(promise);
}

#[cold]
fn put_shared(promise: *mut Promise) {
    give_back(std::iter::once(promise));
}

/// A cache grows up to CACHE_MAX, then gives a batch away.
#[cold]
fn make_room(cache: &mut Vec<*mut Promise>) {
    if cache.len() < CACHE_MAX {
        cache.reserve_exact(CACHE_MAX - cache.len());
    } else {
        give_back(cache.drain(..BATCH));
    }
}

/// Blocks come back to the shared pool.
pub fn give_back(promises: impl Iterator<Item = *mut Promise>) {
    SPARE.lock().blocks.extend(promises);
}

/// Every block, spare ones included. No lock is held meanwhile: `f` may release, and blocks made since may be left out.
pub fn for_each(mut f: impl FnMut(&Promise)) {
    let chunk = |i: usize| SPARE.lock().chunks.get(i).copied();
    for chunk in (0..).map_while(chunk) {
        for i in 0..BATCH {
            // SAFETY: inside the chunk, which stays mapped.
            f(unsafe { &*chunk.add(i) });
        }
    }
}

/// (blocks made, spare in the shared pool).
pub fn counts() -> (u64, u64) {
    (MADE.load(Ordering::Relaxed), SPARE.lock().blocks.len() as u64)
}
