//! How much stack the goroutines that are spawned at one place use, so that it is there before the next of them runs
//! (GOROUTINE_CONFIG_LEARN_STACKS).
//!
//! A stack's pages come one fault at a time, when they are first touched. Where goroutines use many, all of them can come
//! with one system call (MADV_POPULATE_WRITE), at about half the price. How many they use is learned from samples, for each function and each
//! place that spawns it: the same function may go deep with what one place gives it, and not with another's.
//!
//! | | what | what it costs |
//! |---|---|---|
//! | one spawn in 64, one in 8 of a kind that is not known yet | a sample: the stack it gets is emptied, but for the page of its control block | a `madvise`, and the faults |
//! | a sample ends | how many pages are there (`mincore`), from the top without a gap: its mark | a `mincore` of 64 pages; more, if it used more |
//! | another spawn | if all of the last four marks of its kind are above what its stack is known to have: the difference comes | a look; a `madvise` once for each stack |
//!
//! L1. What comes is the least of four marks: pages that each of the last four samples used. One that goes deep once in a while costs the others
//!     no memory.
//! L2. `Goroutine::learned` counts the pages below the control block's that are known to be there. It lives in that page, so it is 0 in a stack
//!     that is new or was trimmed.
//! L3. All of it is a guess. A wrong one costs memory until the next trim, or faults.
//! L4. A kind of goroutines is one word, of its function and of `Goroutine::site`, mixed; no kind is 0. Two that mix to the same are one kind (L3). What
//!     the library spawns itself has no site: all timers are one kind.
//!
//! Rejected: filling the caches' stacks in batches: a call costs 1 % of what its pages do, and a cached stack may go to another kind. Rejected:
//! `predict`'s table, whose lock a bind can afford, but no spawn. Linked segments are not learned: they come after a fault's worth of work anyway.

use super::bounds;
use crate::goroutine::Goroutine;
use crate::sys::mem::{self, PAGE};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Samples: one in so many, a power of two, of a kind that is known ...
const SELDOM: u32 = 64;
/// ... and of one that is not.
const OFTEN: u32 = 8;
/// More pages of a stack are left to faults.
const PAGES_MAX: usize = 1024;
/// Pages that are looked at in one call.
const LOOK: usize = 64;

/// Places that a kind may be at.
const WAYS: usize = 4;
const LINES_BITS: u32 = 8;
/// In `learned`: the goroutine is a sample.
const SAMPLE: u32 = 1 << 31;

/// What is known of one kind. The two words are not one: who gets a place anew may be taken for its predecessor for a moment (L3).
struct Known {
    /// 0: nothing.
    kind: AtomicU64,
    /// The last four marks, in pages and one more; 0: none yet.
    marks: AtomicU64,
}

type Line = [Known; WAYS];
static TABLE: [Line; 1 << LINES_BITS] = [const {
    [const {
        Known {
            kind: AtomicU64::new(0),
            marks: AtomicU64::new(0),
        }
    }; WAYS]
}; 1 << LINES_BITS];
/// Set under the runtime's start lock, before there are workers.
static ON: AtomicBool = AtomicBool::new(false);

/// A runtime starts: what was known is forgotten. False: this kernel cannot (before Linux 5.14).
pub fn start(on: bool) -> bool {
    if on && !mem::can_populate() {
        return false;
    }
    ON.store(on, Ordering::Relaxed);
    if on {
        for known in TABLE.iter().flatten() {
            known.kind.store(0, Ordering::Relaxed);
            known.marks.store(0, Ordering::Relaxed);
        }
    }
    true
}

/// Whether anything is learned.
pub fn is_on() -> bool {
    ON.load(Ordering::Relaxed)
}

fn hash(word: u64) -> u64 {
    word.wrapping_mul(0x9E37_79B9_7F4A_7C15) // Fibonacci hashing: the upper bits of the product
}

/// L4. One of the two words has its bits spread, so that addresses that are close to each other do not cancel out.
fn kind_of(function: u64, site: u64) -> u64 {
    (hash(function) ^ site).max(1)
}

fn line(kind: u64) -> &'static Line {
    &TABLE[(hash(kind) >> (64 - LINES_BITS)) as usize]
}

fn find(kind: u64) -> Option<&'static Known> {
    line(kind)
        .iter()
        .find(|known| known.kind.load(Ordering::Relaxed) == kind)
}

/// The pages that each of the last four samples used (L1). None: there were not so many.
fn wanted(marks: u64) -> Option<usize> {
    let least = (0..4).map(|i| marks >> (16 * i) & 0xffff).min().unwrap_or(0);
    least.checked_sub(1).map(|pages| pages as usize)
}

/// One of `kind` used so many pages.
fn note(kind: u64, pages: usize) {
    let known = find(kind).unwrap_or_else(|| {
        // A place that nobody has, or anybody's: kinds that are spawned often come back soon.
        let line = line(kind);
        let free = line.iter().find(|known| known.kind.load(Ordering::Relaxed) == 0);
        let known = free.unwrap_or(&line[(hash(kind) as usize >> 8) % WAYS]);
        known.marks.store(0, Ordering::Relaxed);
        known.kind.store(kind, Ordering::Relaxed);
        known
    });
    let mark = pages.min(PAGES_MAX) as u64 + 1;
    let _ = known
        .marks
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |marks| {
            Some(marks << 16 | mark)
        });
}

/// `g` is about to become a goroutine of `function`, spawned at `site`; function 0: of nobody's. `dice`: the caller's, any number at first.
///
/// # Safety
/// The stack is the caller's, and nobody runs on it.
#[cold]
pub unsafe fn prepare(g: *mut Goroutine, class: u8, function: u64, site: u64, dice: &mut u32) {
    // What repeats itself in step with a count would always be met at the same place.
    *dice = dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    let top = g as usize & !(PAGE - 1);
    let low = bounds(g as usize, class).low;
    // SAFETY: the caller's promise; the range is below the page of the control block, above the guard.
    unsafe {
        (*g).learned &= !SAMPLE;
        if function == 0 {
            return;
        }
        let wanted =
            find(kind_of(function, site)).and_then(|known| wanted(known.marks.load(Ordering::Relaxed)));
        let one_in = if wanted.is_some() { SELDOM } else { OFTEN };
        if *dice >> 16 & (one_in - 1) == 0 {
            mem::discard(&[libc::iovec {
                iov_base: low as *mut _,
                iov_len: top - low,
            }]);
            (*g).learned = SAMPLE;
            return;
        }
        let wanted = wanted.unwrap_or(0).min((top - low) / PAGE);
        if wanted > (*g).learned as usize {
            let from = top - wanted * PAGE;
            if mem::populate(from, wanted * PAGE) {
                (*g).learned = wanted as u32;
            }
        }
    }
}

/// The stack of `g` comes back.
///
/// # Safety
/// As [`prepare`]; the control block is as the last goroutine left it.
#[cold]
pub unsafe fn look_back(g: *mut Goroutine, class: u8) {
    // SAFETY: the caller's promise.
    unsafe {
        if (*g).learned & SAMPLE == 0 {
            return;
        }
        let top = g as usize & !(PAGE - 1);
        let pages = pages_below(top, bounds(g as usize, class).low);
        (*g).learned = pages as u32;
        note(kind_of((*g).entry_fn, (*g).site), pages);
    }
}

/// It did not begin, so it is no sample.
///
/// # Safety
/// As [`prepare`].
pub unsafe fn forget(g: *mut Goroutine) {
    // SAFETY: the caller's promise.
    unsafe { (*g).learned &= !SAMPLE };
}

/// How many pages are there below `top`, without a gap.
fn pages_below(top: usize, low: usize) -> usize {
    let mut there = [0u8; LOOK];
    let mut pages = 0;
    while pages < PAGES_MAX {
        let end = top - pages * PAGE;
        let n = ((end - low) / PAGE).min(LOOK);
        if n == 0 || !mem::is_there(end - n * PAGE, &mut there[..n]) {
            break;
        }
        let run = there[..n].iter().rev().take_while(|page| **page & 1 != 0).count();
        pages += run;
        if run < n {
            break;
        }
    }
    pages
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;

    /// There is one table.
    static TURN: Mutex<()> = Mutex::new(());

    #[test]
    fn what_comes_is_the_least_of_four_marks() {
        let _turn = TURN.lock();
        let kind = 0x1000;
        for (mark, expected) in [
            (30, None),
            (25, None),
            (26, None),
            (40, Some(25)),
            (26, Some(25)),
            (26, Some(26)),
        ] {
            note(kind, mark);
            let marks = find(kind).expect("it is there").marks.load(Ordering::Relaxed);
            assert_eq!(wanted(marks), expected, "after {mark}");
        }
        note(kind, 0);
        let marks = find(kind).expect("it is there").marks.load(Ordering::Relaxed);
        assert_eq!(wanted(marks), Some(0), "one that used nothing counts");
    }

    #[test]
    fn more_kinds_than_places_forget_each_other() {
        let _turn = TURN.lock();
        for kind in 1..100_000u64 {
            note(kind << 20, 7);
        }
        let last = find(99_999 << 20).expect("the last one has a place");
        assert_eq!(last.marks.load(Ordering::Relaxed), 8);
    }

    #[test]
    fn a_function_at_two_sites_is_two_kinds() {
        let _turn = TURN.lock();
        let (function, sites) = (0x5555_5555_1000, [0x5555_5555_2000, 0x5555_5555_2010]);
        assert_ne!(kind_of(function, sites[0]), kind_of(function, sites[1]));
        assert_ne!(kind_of(function, sites[0]), kind_of(sites[0], function));
        assert_ne!(kind_of(0, 0), 0, "0 is no kind");
        for _ in 0..4 {
            note(kind_of(function, sites[0]), 30);
            note(kind_of(function, sites[1]), 2);
        }
        for (site, expected) in sites.into_iter().zip([30, 2]) {
            let known = find(kind_of(function, site)).expect("it is there");
            assert_eq!(wanted(known.marks.load(Ordering::Relaxed)), Some(expected));
        }
    }

    #[test]
    fn a_mark_is_what_was_touched_without_a_gap() {
        let bytes = 256 * PAGE;
        let base = mem::reserve(bytes, PAGE).expect("address space") as usize;
        let top = base + bytes;
        assert_eq!(pages_below(top, base), 0);
        for page in (1..=100).chain([102]) {
            // SAFETY: in the mapping.
            unsafe { ((top - page * PAGE) as *mut u8).write(1) };
        }
        assert_eq!(pages_below(top, base), 100);
        assert!(mem::populate(base, bytes));
        assert_eq!(pages_below(top, base), 256);
        // SAFETY: nobody uses it any more.
        unsafe { mem::release(base as *mut u8, bytes) };
    }
}
