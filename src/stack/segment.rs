//! Linked segments: how a stack grows without anything on it moving.
//!
//! A function whose prologue check fails goes on on another piece of memory, a segment, and its `ret` comes back from there
//! (`asm/x86_64_sysv_growth.S`). A segment of class `k` is `1 << k` bytes at a multiple of that:
//!
//! ```text
//!   base                                                                                  base + (1 << k)
//!   | guard 64 KiB | ... grows down ... frames | return address of the link | arguments | header 128 B |
//!                  ^ low                                                                ^
//! ```
//!
//! Each is several times as large as the one before, so the deeper a recursion is, the rarer are its crossings, and segments that
//! come and go at one boundary are paid for by the frames that filled the one before. A goroutine that leaves a segment keeps it
//! as its spare; the spare that it had before goes to the pool. So a loop at a boundary takes and gives nothing.
//!
//! S1. A segment is a goroutine's (on the chain that begins at `Goroutine::segment`, or among its spares, from `spare` on through
//!     `below`), or the pool's. Only the goroutine changes its own, or who ends it.
//! S2. The chain is the order of the calls: `sp` of a segment is on the one that `prev` names, on the goroutine's own stack for NULL.
//! S3. `stack_limit` is that of the segment at the head of the chain.
//! S4. The memory of a segment on a chain is its goroutine's: `trim` may take that of any other one, but of one that was left behind (S5). Its
//!     header stays. That takes no atomic instruction of who crosses (`sync::claim`): a goroutine takes a segment up when it crosses, and leaves it when it returns.
//! S5. An unwinder takes segments off the chain one after the other, and runs on the one that was thrown from until it is through, which may
//!     take seconds. That one is left behind, and its memory stays until the goroutine crosses or unwinds again, is over, or gives it back.

use super::slab::Slab;
use super::{Bounds, GUARD, classify_segment, forget_range};
use crate::goroutine::Goroutine;
use crate::sanitize;
use crate::sync::claim::{Claim, Seen};
use crate::sys::mem;
use crate::sys::mutex::Mutex;
use std::mem::size_of;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of the sequence, as powers of two: 64 KiB beside the guard, 512 KiB, 4 MiB, 32 MiB, 256 MiB, and more of those.
const CLASSES: [u8; 5] = [17, 19, 22, 25, 28];
/// Most bytes of stack arguments: unwinders find the header from anywhere in its 64 KiB (`asm/`).
pub const ARGS_MAX: usize = 32 << 10;
/// Small segments carved at a time.
const BATCH: usize = 16;
/// Segments that `trim` claims at a time: who wants one of them waits for it.
const CLAIMS: usize = 64;

/// The header of a segment. The first line is all that a crossing touches.
#[repr(C, align(64))]
pub struct Segment {
    /// Where the return address of the function that crossed lies, on the segment before.
    pub(crate) sp: u64,
    pub(crate) g: *mut Goroutine,
    /// The segment before; null: the goroutine's own stack.
    pub(crate) prev: *mut Segment,
    /// `stack_limit` there.
    pub(crate) limit_before: u64,
    pub(crate) limit: u64,
    /// Most bytes of frame and arguments that fit.
    pub(crate) room: u64,
    /// The next of the spares.
    pub(crate) below: *mut Segment,
    /// Whose its memory is. The user is the goroutine that has it, the trimmer `trim`.
    pub(crate) claim: Claim,
    /// Bytes of the goroutine's stack up to here, guards included.
    total: u64,
    class: u8,
}
const HEADER: usize = 128;
const _: () = assert!(size_of::<Segment>() == HEADER);

struct Pool {
    /// The warmest at the back.
    spare: Vec<*mut Segment>,
    slabs: Vec<Slab>,
    /// Where the next `trim` goes on, by number.
    looked: usize,
}
// SAFETY: segments in a pool belong to the pool.
unsafe impl Send for Pool {}

static POOLS: [Mutex<Pool>; CLASSES.len()] = [const {
    Mutex::new(Pool {
        spare: Vec::new(),
        slabs: Vec::new(),
        looked: 0,
    })
}; CLASSES.len()];
static CARVED: AtomicU64 = AtomicU64::new(0);
static TAKEN: AtomicU64 = AtomicU64::new(0);
static TRIMMED: AtomicU64 = AtomicU64::new(0);
/// Most bytes of one goroutine's stack: the config's `stack_bytes_max`.
static BYTES_MAX: AtomicU64 = AtomicU64::new(0);

/// At a start.
pub fn set_bytes_max(bytes: u64) {
    BYTES_MAX.store(bytes, Ordering::Relaxed);
}

fn pool(class: u8) -> &'static Mutex<Pool> {
    let i = CLASSES.iter().position(|&c| c == class);
    &POOLS[i.expect("the class of a segment")]
}

fn header(base: usize, class: u8) -> *mut Segment {
    (base + (1 << class) - HEADER) as *mut Segment
}

/// The bounds of a segment; its header is its top.
///
/// # Safety
/// A header.
pub unsafe fn bounds_of_segment(segment: *const Segment) -> Bounds {
    let end = segment as usize + HEADER;
    // SAFETY: the caller's promise; the class never changes.
    let base = end - (1usize << unsafe { (*segment).class });
    Bounds {
        base,
        low: base + GUARD,
        top: segment as usize,
        end,
    }
}

/// The header of the segment around `address`; None: there is none. Async-signal-safe.
pub fn around(address: usize) -> Option<*mut Segment> {
    classify_segment(address).map(|class| header(address & !((1 << class) - 1), class))
}

/// Bounds of what the goroutine runs on: its segment, or its own stack.
///
/// # Safety
/// `g` is the running goroutine, or one that is stopped.
pub unsafe fn running(g: *const Goroutine) -> Bounds {
    // SAFETY: the caller's promise.
    unsafe {
        if (*g).segment.is_null() {
            super::bounds_of(g)
        } else {
            bounds_of_segment((*g).segment)
        }
    }
}

/// The live ranges of a goroutine's stack, the innermost first: of what it runs on, from `sp` up, and of each that it came from. `sp` is
/// the `rsp` of a stopped goroutine, the `foreign_sp` of one in foreign code.
///
/// # Safety
/// As [`running`]; of a stopped goroutine nobody changes the chain.
pub unsafe fn segments_of(g: *const Goroutine, sp: usize, mut f: impl FnMut(usize, usize)) {
    // SAFETY: the caller's promise; S2.
    unsafe {
        let (mut low, mut segment) = (sp, (*g).segment);
        while !segment.is_null() {
            f(low, segment as usize);
            low = (*segment).sp as usize;
            segment = (*segment).prev;
        }
        f(low, super::bounds_of(g).top);
    }
}

/// A segment for what comes next: at least `needed` bytes of frames and arguments fit. None: beyond the maximum, or out of memory.
///
/// # Safety
/// `g` is the running goroutine.
pub(super) unsafe fn take(g: *mut Goroutine, needed: u64) -> Option<*mut Segment> {
    // SAFETY: the caller's promise.
    let (total, last) = unsafe {
        match (*g).segment.as_ref() {
            None => (1 << (*g).class, None),
            Some(s) => (s.total, CLASSES.iter().position(|&c| c == s.class)),
        }
    };
    let left = BYTES_MAX.load(Ordering::Relaxed).saturating_sub(total);
    let next = last.map_or(0, |i| (i + 1).min(CLASSES.len() - 1));
    let fits = |class: &&u8| 1 << **class <= left && needed <= room(**class);
    // The next size or, for a large frame, a larger one; near the maximum a smaller one.
    let class = CLASSES[next..]
        .iter()
        .find(fits)
        .or_else(|| CLASSES[..next].iter().rev().find(fits))?;
    let segment = acquire(*class)?;
    // SAFETY: it is ours from the pool.
    unsafe {
        (*segment).g = g;
        (*segment).total = total + (1 << class);
    }
    TAKEN.fetch_add(1, Ordering::Relaxed);
    Some(segment)
}

const fn room(class: u8) -> u64 {
    // The limit is as far above the lowest address as on any stack; what the link itself stores is small.
    (1 << class) - (GUARD + HEADER) as u64 - super::LIMIT - 64
}

fn acquire(class: u8) -> Option<*mut Segment> {
    let mut pool = pool(class).lock();
    if let Some(segment) = pool.spare.pop() {
        sanitize::acquired(segment);
        return Some(segment);
    }
    if pool.slabs.last().is_none_or(Slab::is_spent) {
        let slab = Slab::of_segments(class)?;
        pool.slabs.push(slab);
    }
    let Pool { spare, slabs, .. } = &mut *pool;
    let count = if class == CLASSES[0] { BATCH } else { 1 };
    let carved = slabs.last_mut()?.carve_bases(count, |base| {
        let segment = header(base, class);
        // SAFETY: fresh memory of ours, all zero.
        unsafe {
            (*segment).limit = (base + GUARD) as u64 + super::LIMIT;
            (*segment).room = room(class);
            (*segment).class = class;
        }
        spare.push(segment);
    })?;
    CARVED.fetch_add(carved as u64, Ordering::Relaxed);
    spare.pop()
}

/// # Safety
/// The caller gives it up.
unsafe fn give_back(segment: *mut Segment) {
    // SAFETY: the caller's promise.
    let class = unsafe {
        (*segment).below = null_mut();
        (*segment).claim.leave();
        (*segment).class
    };
    sanitize::released(segment);
    pool(class).lock().spare.push(segment);
}

/// The spares go to the pool.
///
/// # Safety
/// `g` is the running goroutine, or over and the caller's; nobody runs on a spare.
#[cold]
pub(super) unsafe fn give_back_spares(g: *mut Goroutine) {
    // SAFETY: the caller's promise, S1.
    unsafe {
        while let Some(segment) = (*g).spare.as_mut() {
            (*g).spare = segment.below;
            give_back(segment);
        }
    }
}

/// It is over, and all of its segments go to the pool, its reserve closes: its function may have been left from anywhere (`goroutine_exit`).
///
/// # Safety
/// `g` is over and the caller's, off its stack.
#[inline(never)]
pub unsafe fn give_back_all(g: *mut Goroutine) {
    // SAFETY: the caller's promise.
    unsafe {
        if !(*g).segment.is_null() || !(*g).spare.is_null() || (*g).reserve != 0 {
            abandon(g);
        }
    }
}

#[cold]
unsafe fn abandon(g: *mut Goroutine) {
    // SAFETY: as above.
    unsafe {
        super::event::close(g);
        let mut at = (*g).segment;
        while !at.is_null() {
            let b = bounds_of_segment(at);
            forget_range(b.low, b.top);
            at = unlink(g, 0);
        }
        give_back_spares(g);
    }
}

/// The segment at the head of the chain becomes the first of the spares: nobody will return to a frame on it.
///
/// It does not go to the pool here: an unwinder may run on the one that was left first (S5), and reads the headers of the others.
///
/// # Safety
/// `g` is the running goroutine, at `here`, or over and the caller's, and has a segment. Gives the one that comes next.
unsafe fn unlink(g: *mut Goroutine, here: usize) -> *mut Segment {
    // SAFETY: the caller's promise; S1 to S3.
    unsafe {
        let segment = (*g).segment;
        (*g).segment = (*segment).prev;
        (*g).stack_limit = (*segment).limit_before;
        (*segment).below = (*g).spare;
        (*g).spare = segment;
        if around(here) == Some(segment) {
            (*segment).claim.leave_behind(); // S5
        } else {
            (*segment).claim.leave();
        }
        (*g).segment
    }
}

/// Somebody left frames without returning from them, and runs at `sp` now: what lies deeper is dead. An address on no segment of the
/// goroutine's, and not on its own stack, says nothing.
///
/// # Safety
/// `g` is the running goroutine.
pub unsafe fn settle(g: *mut Goroutine, sp: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut segment = (*g).segment;
        let on = around(sp).unwrap_or(null_mut());
        while !segment.is_null() && segment != on {
            segment = (*segment).prev;
        }
        let own = super::bounds_of(g);
        if segment.is_null() && !(own.base..own.end).contains(&sp) {
            return;
        }
        let mut at = (*g).segment;
        while at != segment {
            let b = bounds_of_segment(at);
            forget_range(b.low, b.top);
            at = unlink(g, sp);
        }
        runs_at(g, sp);
    }
}

/// An unwinder, or who was called by it, runs at `here`, and takes this segment off the chain of the running goroutine, with all that are deeper.
///
/// # Safety
/// A header.
pub(super) unsafe fn leave(segment: *mut Segment, here: usize) {
    // SAFETY: the goroutine that runs on it, or its image in a child of fork; S5.
    unsafe {
        if !(*segment).claim.is_busy() {
            return; // it was settled before
        }
        let g = (*segment).g;
        runs_at(g, here);
        let mut at = (*g).segment;
        while at != segment {
            at = unlink(g, here);
        }
        unlink(g, here);
    }
}

/// The goroutine runs at `here`, so on none of the other segments that were left behind (S5).
unsafe fn runs_at(g: *mut Goroutine, here: usize) {
    // SAFETY: its spares.
    unsafe {
        let mut spare = (*g).spare;
        while !spare.is_null() {
            if Some(spare) != around(here) {
                (*spare).claim.is_left_for_good();
            }
            spare = (*spare).below;
        }
    }
}

/// Whether the address `a` is deeper on the goroutine's stack than `b`, which is that of a live frame. What lies on no segment of the chain
/// is dead, and deeper than anything.
///
/// # Safety
/// `g` is the running goroutine; both are, or were, on its stack.
pub unsafe fn is_deeper(g: *const Goroutine, a: usize, b: usize) -> bool {
    let (of_a, of_b) = (around(a), around(b));
    if of_a == of_b {
        return a < b;
    }
    // Its place on the chain, from the head on; its own stack comes last.
    let place = |of: Option<*mut Segment>| {
        let Some(of) = of else { return usize::MAX };
        // SAFETY: the caller's promise.
        let (mut segment, mut place) = (unsafe { (*g).segment }, 1);
        while segment != of {
            if segment.is_null() {
                return 0;
            }
            // SAFETY: as above.
            segment = unsafe { (*segment).prev };
            place += 1;
        }
        place
    };
    place(of_a) < place(of_b)
}

/// Gives back the memory of segments, of goroutines' spares and of the pool, that were on no chain since the last call; looks at no more than
/// `most`. Gives how many it changed: 0 means that there is nothing to come back for.
pub fn trim(most: usize) -> usize {
    let mut changed = 0;
    for (pool, class) in POOLS.iter().zip(CLASSES) {
        let mut unused = Vec::new();
        {
            let mut pool = pool.lock();
            let all: Vec<usize> = pool.slabs.iter().flat_map(Slab::carved).collect();
            let from = if pool.looked < all.len() { pool.looked } else { 0 };
            for &base in all.iter().skip(from).take(most) {
                let segment = header(base, class);
                // SAFETY: headers stay mapped and are written before they are handed out.
                match unsafe { (*segment).claim.look() } {
                    Seen::Used => changed += 1,
                    Seen::Unused => unused.push(segment),
                    Seen::Nothing => {}
                }
            }
            pool.looked = from + most;
        }
        // SAFETY: as above.
        changed += unused
            .chunks(CLAIMS)
            .map(|some| unsafe { discard(some) })
            .sum::<usize>();
    }
    changed
}

/// The memory of all that are on no chain, at once: at a shutdown.
pub fn trim_all() {
    while trim(usize::MAX >> 1) != 0 {}
}

/// # Safety
/// Headers.
unsafe fn discard(segments: &[*mut Segment]) -> usize {
    fn claim(segment: &*mut Segment) -> &Claim {
        // SAFETY: the caller's promise; headers stay.
        unsafe { &(**segment).claim }
    }
    let discarded = Claim::trim(segments.iter(), claim, |&segment| {
        // SAFETY: as above; S4: the memory is nobody's.
        unsafe {
            let b = bounds_of_segment(segment);
            mem::discard(&[libc::iovec {
                iov_base: b.low as *mut _,
                iov_len: b.end - mem::PAGE - b.low,
            }]);
        }
    });
    TRIMMED.fetch_add(discarded as u64, Ordering::Relaxed);
    discarded
}

/// (carved, spare in the pools, taken from there so far, trimmed so far).
pub fn counts() -> (u64, u64, u64, u64) {
    (
        CARVED.load(Ordering::Relaxed),
        POOLS.iter().map(|p| p.lock().spare.len() as u64).sum(),
        TAKEN.load(Ordering::Relaxed),
        TRIMMED.load(Ordering::Relaxed),
    )
}

/// # Safety
/// Nobody has a segment, and nobody will ask for one. (Their memory goes with the other slabs'.)
pub unsafe fn forget_pools() {
    for pool in &POOLS {
        let mut pool = pool.lock();
        (pool.spare, pool.slabs) = (Vec::new(), Vec::new());
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

/// In the child: free, and nobody waits for them. What the parent's `trim` had claimed is nobody's claim any more.
///
/// # Safety
/// As [`let_go_of_pools`], and no other thread is there.
pub unsafe fn reset_pools() {
    for (pool, class) in POOLS.iter().zip(CLASSES) {
        // SAFETY: the caller's promise.
        unsafe {
            pool.raw().reset();
            for base in (*pool.data_ptr()).slabs.iter().flat_map(Slab::carved) {
                (*header(base, class)).claim.forget();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// There is one trimmer at a time, and who counts its calls is alone.
    static TRIMS: Mutex<()> = Mutex::new(());

    fn block() -> *mut Goroutine {
        let g = super::super::acquire(17, 0, 0).expect("a stack");
        // SAFETY: ours from the pool.
        unsafe {
            (*g).class = 17;
            (*g).stack_limit = 1;
            (*g).segment = null_mut();
            (*g).spare = null_mut();
            (*g).reserve = 0;
        }
        g
    }

    /// As the assembly does it.
    unsafe fn link(g: *mut Goroutine, segment: *mut Segment, sp: usize) {
        // SAFETY: the caller's.
        unsafe {
            assert!((*segment).claim.take_up());
            (*segment).sp = sp as u64;
            (*segment).prev = (*g).segment;
            (*segment).limit_before = (*g).stack_limit;
            (*g).stack_limit = (*segment).limit;
            (*g).segment = segment;
        }
    }

    #[test]
    fn segments_grow_to_the_maximum_and_all_come_back() {
        set_bytes_max(1 << 30);
        let g = block();
        // SAFETY: the block is ours.
        unsafe {
            let own = super::super::bounds_of(g);
            let mut sp = own.top - 64;
            let mut bytes = 1 << 17;
            let mut links = 0;
            while let Some(segment) = take(g, 1000) {
                let b = bounds_of_segment(segment);
                assert!(
                    b.low.is_multiple_of(mem::PAGE)
                        && around(b.low) == Some(segment)
                        && around(b.base) == Some(segment)
                );
                link(g, segment, sp);
                sp = b.top - 256;
                bytes += b.end - b.base;
                links += 1;
                assert_eq!((*g).stack_limit, b.low as u64 + super::super::LIMIT);
            }
            assert!(bytes <= 1 << 30 && bytes > (1 << 30) - (1 << 19), "{bytes}");
            let mut ranges = Vec::new();
            segments_of(g, sp, |low, high| ranges.push((low, high)));
            assert_eq!(ranges.len(), links + 1);
            assert_eq!(ranges[links], (own.top - 64, own.top));
            assert!(ranges[..links].iter().all(|&(low, high)| high - low == 256));
            let first = ranges[links - 1].0;
            assert!(
                is_deeper(g, sp, first)
                    && is_deeper(g, first, own.top - 64)
                    && !is_deeper(g, own.top - 64, first)
            );
            settle(g, 0x1000); // on none of them
            assert_eq!((*g).segment as usize, ranges[0].1);
            settle(g, first);
            assert_eq!((*g).segment as usize, ranges[links - 1].1);
            settle(g, own.top - 64);
            assert!((*g).segment.is_null());
            assert_eq!((*g).stack_limit, 1);
            give_back_all(g);
            assert!((*g).spare.is_null());
            super::super::give_back(g, 17);
        }
    }

    #[test]
    fn a_large_frame_gets_a_large_segment() {
        set_bytes_max(1 << 30);
        let g = block();
        // SAFETY: the block is ours.
        unsafe {
            let segment = take(g, 3 << 20).expect("there is room");
            assert_eq!((*segment).class, 22);
            assert!(take(g, 1 << 28).is_none());
            set_bytes_max((1 << 17) + (1 << 17));
            assert!(take(g, 1 << 18).is_none());
            let small = take(g, 100).expect("the last one");
            assert_eq!((*small).class, 17);
            set_bytes_max(1 << 30);
            give_back(segment);
            give_back(small);
            super::super::give_back(g, 17);
        }
    }

    #[test]
    fn memory_goes_after_a_while_but_never_from_under_a_goroutine() {
        let _alone = TRIMS.lock();
        assert!(crate::sys::membarrier::register());
        set_bytes_max(1 << 30);
        let g = block();
        // SAFETY: the block is ours.
        unsafe {
            let segment = take(g, 20 << 20).expect("there is room");
            let b = bounds_of_segment(segment);
            let word = b.low as *mut u64;
            link(g, segment, 0);
            *word = 7;
            for _ in 0..3 {
                trim(usize::MAX >> 1);
            }
            assert_eq!(*word, 7);
            unlink(g, 0);
            trim(usize::MAX >> 1); // it was in use until now
            assert_eq!(*word, 7);
            trim(usize::MAX >> 1);
            assert_eq!(*word, 0);
            assert!((*segment).claim.is_cold());
            give_back_all(g);
            super::super::give_back(g, 17);
        }
    }

    #[test]
    fn an_unwinder_keeps_the_segment_that_it_runs_on() {
        let _alone = TRIMS.lock();
        assert!(crate::sys::membarrier::register());
        set_bytes_max(1 << 30);
        let g = block();
        // SAFETY: the block is ours.
        unsafe {
            let segments: [_; 2] = std::array::from_fn(|_| {
                let segment = take(g, 100).expect("there is room");
                link(g, segment, 0);
                segment
            });
            let words = segments.map(|segment| {
                let word = bounds_of_segment(segment).low as *mut u64;
                *word = 7;
                word
            });
            let here = words[1] as usize;
            leave(segments[1], here);
            leave(segments[0], here);
            assert!((*g).segment.is_null());
            for _ in 0..3 {
                trim(usize::MAX >> 1);
            }
            assert_eq!(words.map(|word| *word), [0, 7]);
            settle(g, super::super::bounds_of(g).top - 64); // it runs on its own stack again
            for _ in 0..2 {
                trim(usize::MAX >> 1);
            }
            assert_eq!(*words[1], 0);
            give_back_all(g);
            super::super::give_back(g, 17);
        }
    }
}
