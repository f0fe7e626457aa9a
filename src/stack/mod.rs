//! Stacks: where they lie, what guards them, who keeps the spare ones.
//!
//! A stack of class `k` is `1 << k` bytes at a multiple of `1 << k`:
//!
//! ```text
//!   base                                                                   base + (1 << k)
//!   | guard 64 KiB | ... grows down, committed by the kernel page by page ... | colour | control block | colour' |
//!                  ^ low (lowest usable)                                  rsp ^        ^ 320 B
//! ```
//!
//! A goroutine that outgrows its stack goes on on linked segments (`segment`).
//!
//! The control block is shifted by one of 16 colours of 64 B, so that the hot lines of many goroutines do not fall into
//! the same cache set. The page it shares with the first frames is the only one that a small goroutine commits.
//!
//! I1. Slabs are never unmapped: a control block's address stays readable for the life of the process.
//! I2. `region_class` of an address inside a slab never changes.

mod crash;
pub mod event;
pub mod growth;
pub mod learn;
pub mod overflow;
pub mod own_code;
mod pool;
pub mod segment;
mod slab;

pub use pool::{Cache, acquire, counts, free_all, give_back, hold_pools, let_go_of_pools, reset_pools, trim};
pub use segment::{Segment, give_back_all, running, segments_of};
pub use slab::{
    CLASS_MAX, CLASS_MIN, REGION_SHIFT, REGIONS, classify, classify_segment, for_each, for_each_stopped,
    valgrind_stack_reset,
};

use crate::abi::GOROUTINE_STACK_RESERVE;
use crate::goroutine::Goroutine;
use std::ffi::c_void;
use std::mem::size_of;

/// Inaccessible bytes below every stack: wider than any frame without stack probes may be.
pub const GUARD: usize = 64 << 10;
/// Stack that a prologue check leaves to the library: GOROUTINE_STACK_RESERVE, and as much again.
pub const LIMIT: u64 = 2 * GOROUTINE_STACK_RESERVE;
/// Of control blocks.
pub const COLOURS: usize = 16;

/// Where the stack around a control block lies.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Lowest address of the reservation; the guard starts here.
    pub base: usize,
    /// Lowest usable address.
    pub low: usize,
    /// The control block; frames lie below.
    pub top: usize,
    /// One past the highest address.
    pub end: usize,
}

/// The class (log2 of the bytes) for a request; None: too large.
pub fn class_for(bytes: u64) -> Option<u8> {
    let class = bytes
        .checked_next_power_of_two()?
        .trailing_zeros()
        .max(u32::from(CLASS_MIN)) as u8;
    (class <= CLASS_MAX).then_some(class)
}

/// Bounds of the stack of this class that contains `address`.
pub fn bounds(address: usize, class: u8) -> Bounds {
    let base = address & !((1 << class) - 1);
    let end = base + (1 << class);
    let colour = (base >> class) % COLOURS;
    Bounds {
        base,
        low: base + GUARD,
        top: end - colour * 64 - size_of::<Goroutine>(),
        end,
    }
}

/// Bounds of a goroutine's stack.
pub fn bounds_of(g: *const Goroutine) -> Bounds {
    bounds(
        g as usize,
        classify(g as usize).expect("a control block outside every slab"),
    )
}

/// The control block of the stack at `base`.
pub fn control_block(base: usize, class: u8) -> *mut Goroutine {
    bounds(base, class).top as *mut Goroutine
}

/// Whether `address` is that of a control block, in use or not. Any value may be asked about.
pub fn is_control_block(address: u64) -> bool {
    classify(address as usize).is_some_and(|class| bounds(address as usize, class).top == address as usize)
}

unsafe extern "C" {
    static goroutine_asan_unpoison: Option<unsafe extern "C" fn(base: *const c_void, bytes: usize)>;
}

/// Frames of this stack, and of its segments, were abandoned, not returned from: in a program with AddressSanitizer their marks go, or the next
/// goroutine here would be blamed for them.
///
/// # Safety
/// Nobody runs on the stack; or the caller does, and accepts that its live frames lose their marks, too.
#[cold]
pub unsafe fn forget_frames(g: *const Goroutine) {
    // SAFETY: the caller's promise; its chain.
    unsafe {
        let own = bounds_of(g);
        forget_range(own.low, own.top);
        let mut segment = (*g).segment;
        while !segment.is_null() {
            let b = segment::bounds_of_segment(segment);
            forget_range(b.low, b.top);
            segment = (*segment).prev;
        }
    }
}

/// The same for the frames below `here`.
///
/// # Safety
/// `here` is in what the goroutine runs on, and nobody will return to a frame below.
#[cold]
pub unsafe fn forget_frames_below(g: *const Goroutine, here: usize) {
    // SAFETY: the caller's promise.
    unsafe { forget_range(running(g).low, here) };
}

/// # Safety
/// A range of a stack whose frames may lose their marks.
pub(crate) unsafe fn forget_range(low: usize, high: usize) {
    // SAFETY: the sanitizer's own function, or None; the caller's promise.
    unsafe {
        if let Some(unpoison) = goroutine_asan_unpoison {
            unpoison(low as *const c_void, high - low);
        }
    }
}
