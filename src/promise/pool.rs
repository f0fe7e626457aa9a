//! Memory for promises: 64-byte blocks that are never unmapped, so a use after the last release is found, not crashed on.

use super::object::Promise;
use crate::context::tls;
use crate::sanitize;
use crate::sys::mutex::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

const BATCH: usize = 64;
/// Blocks that are reserved together, 1 MiB of them: calloc maps so much, so their pages are committed as blocks are made.
const CHUNK: usize = 16384;
const CACHE_MAX: usize = 512;

/// The spare blocks, and where all blocks are.
pub struct Spare {
    blocks: Vec<*mut Promise>,
    /// Every chunk as calloc gave it: a block that nobody points to any more is found here, by us and by leak checkers.
    chunks: Vec<*mut u8>,
    /// How many blocks of the last chunk were made.
    made: usize,
}
// SAFETY: blocks in the pool belong to the pool.
unsafe impl Send for Spare {}
static SPARE: Mutex<Spare> = Mutex::new(Spare {
    blocks: Vec::new(),
    chunks: Vec::new(),
    made: CHUNK,
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
    if !out.is_empty() || (spare.made == CHUNK && !spare.add_chunk()) {
        return;
    }
    let chunk = blocks(*spare.chunks.last().expect("added, or used before"));
    // SAFETY: inside the chunk, of which nobody has these.
    out.extend((spare.made..spare.made + BATCH).map(|i| unsafe { chunk.add(i) }));
    spare.made += BATCH;
    MADE.fetch_add(BATCH as u64, Ordering::Relaxed);
}

/// The first block of a chunk.
fn blocks(chunk: *mut u8) -> *mut Promise {
    chunk
        .map_addr(|a| a.next_multiple_of(align_of::<Promise>()))
        .cast()
}

impl Spare {
    /// False: out of memory.
    fn add_chunk(&mut self) -> bool {
        if self.chunks.try_reserve(1).is_err() {
            return false;
        }
        // Not alloc_zeroed, which writes the zeros where more than malloc's alignment is asked for. One more, for that.
        // SAFETY: not empty, and no overflow. Zeros: refs 0, so a stray use is found.
        let memory = unsafe { libc::calloc(CHUNK + 1, size_of::<Promise>()) }.cast::<u8>();
        if memory.is_null() {
            return false;
        }
        self.chunks.push(memory);
        self.made = 0;
        true
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
    sanitize::look_away(|| SPARE.lock().blocks.extend(promises));
}

/// In a child of fork: nobody is in the middle of a promise.
///
/// # Safety
/// No other thread is there, and the lock is free.
pub unsafe fn forget_holders() {
    // SAFETY: the caller's promise.
    for_each(|promise| unsafe { promise.cell.forget_holder() });
}

/// Every block, spare ones included. No lock is held meanwhile: `f` may release, and blocks made since may be left out.
pub fn for_each(mut f: impl FnMut(&Promise)) {
    let chunk = |i: usize| {
        let spare = SPARE.lock();
        let is_last = i + 1 == spare.chunks.len();
        let chunk = spare.chunks.get(i).copied()?;
        Some((blocks(chunk), if is_last { spare.made } else { CHUNK }))
    };
    for (chunk, made) in (0..).map_while(chunk) {
        for i in 0..made {
            // SAFETY: inside the chunk, which stays mapped.
            f(unsafe { &*chunk.add(i) });
        }
    }
}

/// # Safety
/// Nobody has a promise any more, and nobody will ask for one.
pub unsafe fn free_all() {
    let mut spare = SPARE.lock();
    spare.blocks = Vec::new();
    for chunk in std::mem::take(&mut spare.chunks) {
        // SAFETY: from calloc; the caller's promise.
        unsafe { libc::free(chunk.cast()) };
    }
}

/// (blocks made, spare in the shared pool).
pub fn counts() -> (u64, u64) {
    (MADE.load(Ordering::Relaxed), SPARE.lock().blocks.len() as u64)
}
