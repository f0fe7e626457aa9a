//! Address space for stacks, and the map from addresses to stack classes.
//!
//! Slabs are 64 MiB (or one stack, where that is larger), aligned to themselves. `REGIONS` has a byte per 64 MiB of the
//! 47-bit user address space: the class of the stacks there, 0 for none, with `SEGMENT` that of linked segments. It is 2 MiB of
//! zero pages, of which a process touches one or two; a signal handler reads it without a lock.

use super::GUARD;
use crate::goroutine::Goroutine;
use crate::sys::{mem, report::Line};
use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};

/// Smallest stack: 128 KiB, half of it guard.
pub const CLASS_MIN: u8 = 17;
/// Largest stack: 1 GiB.
pub const CLASS_MAX: u8 = 30;

/// A region is 64 MiB.
pub const REGION_SHIFT: u32 = 26;
const REGIONS_COUNT: usize = 1 << (47 - REGION_SHIFT);
/// Classes, by region.
pub static REGIONS: [AtomicU8; REGIONS_COUNT] = [const { AtomicU8::new(0) }; REGIONS_COUNT];
/// The first region that is not 0, and one past the last: widened before a region is given its class.
static FIRST: AtomicUsize = AtomicUsize::new(REGIONS_COUNT);
static END: AtomicUsize = AtomicUsize::new(0);
/// Set when the kernel has no MADV_GUARD_INSTALL: then a guard is a mapping of its own.
static NO_GUARD_ADVICE: AtomicBool = AtomicBool::new(false);

/// In a byte of `REGIONS`: linked segments, which have no control block.
const SEGMENT: u8 = 0x80;

#[inline]
fn region(address: usize) -> u8 {
    // Acquire: pairs with the Release in Slab::new; the class comes with a mapped slab.
    REGIONS
        .get(address >> REGION_SHIFT)
        .map_or(0, |region| region.load(Ordering::Acquire))
}

/// The class of the stacks around `address`; None: none of ours. Async-signal-safe.
#[inline]
pub fn classify(address: usize) -> Option<u8> {
    let class = region(address);
    (class != 0 && class & SEGMENT == 0).then_some(class)
}

/// The same for linked segments.
pub fn classify_segment(address: usize) -> Option<u8> {
    let class = region(address);
    (class & SEGMENT != 0).then_some(class & !SEGMENT)
}

/// A run of stacks of one class that are not handed out yet.
pub struct Slab {
    start: usize,
    next: usize,
    end: usize,
    class: u8,
}

impl Slab {
    /// Reserves address space for stacks. None: there is none.
    pub fn new(class: u8) -> Option<Self> {
        Self::of(class, class)
    }

    /// The same for linked segments.
    pub fn of_segments(class: u8) -> Option<Self> {
        Self::of(class, class | SEGMENT)
    }

    fn of(class: u8, mark: u8) -> Option<Self> {
        let bytes = (1usize << REGION_SHIFT).max(1 << class);
        let base = mem::reserve(bytes, bytes)? as usize;
        FIRST.fetch_min(base >> REGION_SHIFT, Ordering::Release);
        END.fetch_max((base + bytes) >> REGION_SHIFT, Ordering::Release);
        for region in &REGIONS[base >> REGION_SHIFT..(base + bytes) >> REGION_SHIFT] {
            region.store(mark, Ordering::Release);
        }
        Some(Self {
            start: base,
            next: base,
            end: base + bytes,
            class,
        })
    }

    /// Puts guards below up to `count` stacks and hands them out; fewer at the end of the slab.
    /// None: no guard could be made.
    pub fn carve(&mut self, count: usize, out: &mut Vec<*mut Goroutine>) -> Option<usize> {
        let class = self.class;
        self.carve_bases(count, |base| out.push(super::control_block(base, class)))
    }

    /// The same, with the lowest address of each.
    pub fn carve_bases(&mut self, count: usize, mut out: impl FnMut(usize)) -> Option<usize> {
        let count = count.min((self.end - self.next) >> self.class);
        let bases = (0..count).map(|i| self.next + (i << self.class));
        let ranges: Vec<libc::iovec> = bases
            .clone()
            .map(|b| libc::iovec {
                iov_base: b as *mut _,
                iov_len: GUARD,
            })
            .collect();
        // SAFETY: the ranges are in this slab, below stacks that nobody has yet.
        let guarded = unsafe {
            (!NO_GUARD_ADVICE.load(Ordering::Relaxed) && mem::guard_install(&ranges)) || {
                NO_GUARD_ADVICE.store(true, Ordering::Relaxed);
                ranges
                    .iter()
                    .all(|r| mem::guard_protect(r.iov_base.cast(), r.iov_len))
            }
        };
        if !guarded {
            Line::new()
                .text("no guard for another stack: this kernel has no MADV_GUARD_INSTALL (Linux 6.13), so each guard ")
                .text("takes a mapping, and vm.max_map_count is reached")
                .emit();
            return None;
        }
        for base in bases {
            valgrind_stack_register(base + GUARD, base + (1 << self.class));
            out(base);
        }
        self.next += count << self.class;
        Some(count)
    }

    /// The lowest addresses of those that were handed out.
    pub fn carved(&self) -> impl Iterator<Item = usize> + use<> {
        (self.start..self.next).step_by(1 << self.class)
    }

    /// Whether all stacks are handed out.
    pub fn is_spent(&self) -> bool {
        self.next == self.end
    }
}

/// Makes a part of a guard usable. False: it cannot be. Async-signal-safe.
///
/// # Safety
/// The range is in a guard.
pub unsafe fn guard_open(start: usize, bytes: usize) -> bool {
    // SAFETY: the caller's promise.
    unsafe { mem::guard_remove(start as *mut u8, bytes, NO_GUARD_ADVICE.load(Ordering::Relaxed)) }
}

/// And a guard again. What was there is gone.
///
/// # Safety
/// As [`guard_open`], and nobody uses it.
pub unsafe fn guard_close(start: usize, bytes: usize) {
    let range = libc::iovec {
        iov_base: start as *mut _,
        iov_len: bytes,
    };
    // SAFETY: the caller's promise.
    let closed = unsafe {
        if NO_GUARD_ADVICE.load(Ordering::Relaxed) {
            mem::discard(&[range]);
            mem::guard_protect(start as *mut u8, bytes)
        } else {
            mem::guard_install(&[range])
        }
    };
    if !closed {
        crate::sys::report::fatal("cannot make the guard of a stack whole again");
    }
}

/// Every slab: where, how large, its mark.
fn slabs(mut f: impl FnMut(usize, usize, u8)) {
    let mut region = FIRST.load(Ordering::Acquire);
    let end = END.load(Ordering::Acquire);
    while region < end {
        let mark = REGIONS[region].load(Ordering::Acquire);
        if mark == 0 {
            region += 1;
            continue;
        }
        let bytes = (1usize << REGION_SHIFT).max(1 << (mark & !SEGMENT));
        f(region << REGION_SHIFT, bytes, mark);
        region += bytes >> REGION_SHIFT;
    }
}

/// Every control block that was ever touched, in use or not. For reports: not fast.
pub fn for_each(mut f: impl FnMut(*mut Goroutine)) {
    slabs(|base, bytes, mark| {
        let blocks = if mark & SEGMENT == 0 { bytes >> mark } else { 0 };
        for i in 0..blocks {
            f(super::control_block(base + (i << mark), mark));
        }
    });
}

/// The same while the world is stopped, for whoever looks at what a goroutine has saved, and where its stack is live: when it is called with one,
/// these lines are on their way. (What such a look takes is a few misses of the cache, one after the other.)
pub fn for_each_stopped(mut f: impl FnMut(*mut Goroutine)) {
    const AHEAD: usize = 16;
    const LINE: usize = 64;
    const STACK_LINES: usize = 6;
    let fetch = |address: usize| {
        // SAFETY: any address may be named.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address as *const i8) };
    };
    let mut next: [*mut Goroutine; AHEAD] = [null_mut(); AHEAD];
    let mut step = |i: usize, new: *mut Goroutine| {
        let due = std::mem::replace(&mut next[i % AHEAD], new);
        let g = next[(i + AHEAD / 2) % AHEAD];
        if !new.is_null() {
            (0..4).for_each(|line| fetch(new as usize + line * LINE));
        }
        if !g.is_null() {
            // SAFETY: a control block; whatever is there.
            let rsp = unsafe { (&raw const (*g).rsp).read_volatile() } as usize;
            (0..STACK_LINES).for_each(|line| fetch(rsp + line * LINE));
        }
        if !due.is_null() {
            f(due);
        }
    };
    let mut i = 0;
    for_each(|g| {
        step(i, g);
        i += 1;
    });
    (i..i + AHEAD).for_each(|i| step(i, null_mut()));
}

/// # Safety
/// Nobody has a stack, and nobody will ask for one or about one.
pub unsafe fn free_all() {
    // SAFETY: the caller's promise.
    slabs(|base, bytes, _| unsafe { mem::release(base as *mut u8, bytes) });
}

/// Tells valgrind that this is a stack, so that it understands a switch to it.
fn valgrind_stack_register(low: usize, high: usize) {
    const STACK_REGISTER: u64 = 0x1501;
    valgrind(STACK_REGISTER, low as u64, high as u64 - 1);
}

/// Tells memcheck that nothing on this stack is given back, as it believes of what earlier frames used: it sees stacks
/// change only through rsp. For who writes there from another stack.
pub fn valgrind_stack_reset(low: usize, top: usize) {
    const MAKE_MEM_UNDEFINED: u64 = 0x4d43_0001;
    valgrind(MAKE_MEM_UNDEFINED, low as u64, (top - low) as u64);
}

/// A client request; a few no-ops anywhere but under valgrind.
#[inline(always)]
fn valgrind(request: u64, a: u64, b: u64) {
    let request = [request, a, b, 0, 0, 0];
    // SAFETY: valgrind's documented client request; the rotations add up to 128 and leave rdi as it was.
    unsafe {
        std::arch::asm!(
            "rol rdi, 3", "rol rdi, 13", "rol rdi, 61", "rol rdi, 51", "xchg rbx, rbx",
            in("rax") request.as_ptr(), inout("rdx") 0u64 => _, inout("rdi") 0u64 => _, options(nostack));
    }
}
