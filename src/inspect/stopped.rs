//! A goroutine that waits, copied without stopping anything.
//!
//! I1. Its park word has a sequence that is never used again (`goroutine::park`, I1). If the word says "parked" with the same sequence
//!     before and after a copy was made, the goroutine was parked all the time: its stack and its saved registers did not change,
//!     and what it waits for was alive.
//! I2. The copy is the kernel's (`sys::mem::peek`), so memory that goes away meanwhile is no fault, and the look at the word
//!     after it says that the copy is worth nothing.

use super::unwind;
use crate::goroutine::Goroutine;
use crate::goroutine::waits::Waits;
use crate::stack;
use crate::sys::mem;
use std::sync::atomic::{AtomicU64, Ordering, fence};

/// What a switch saves.
#[derive(Clone, Copy, Default)]
pub struct Registers {
    /// Where the return address is.
    pub rsp: u64,
    /// Callee-saved, as all that follow.
    pub rbx: u64,
    /// See there.
    pub rbp: u64,
    /// See there.
    pub r12: u64,
    /// See there.
    pub r13: u64,
    /// See there.
    pub r14: u64,
    /// See there.
    pub r15: u64,
}

impl Registers {
    /// By DWARF's numbers, behind the call that left the stack. `rip`: its return address.
    pub fn in_caller(&self, rip: u64) -> unwind::Registers {
        let mut all = unwind::Registers::default();
        (all[3], all[6], all[unwind::RSP], all[unwind::RIP]) = (self.rbx, self.rbp, self.rsp + 8, rip);
        all[12..16].copy_from_slice(&[self.r12, self.r13, self.r14, self.r15]);
        all
    }
}

/// Below where a goroutine went on to another segment lies the address after its call of goroutine_more_stack_prologue: the link comes back through the
/// `ret` there (`asm/x86_64_sysv_growth.S`), also if the function has gone on in another one by then.
pub const LINK_RETURN: usize = 8;

/// What was seen.
pub enum Seen {
    /// It is over, and was so at the first look or at the last.
    Gone,
    /// It runs, or is about to.
    Moves,
    /// It waits.
    Parked(Stopped),
}

/// A parked goroutine at one moment.
pub struct Stopped {
    /// Of the park.
    pub sequence: u64,
    /// Saved.
    pub registers: Registers,
    /// Its stack from `registers.rsp` up, or as much of it as lies on the segment that it runs on.
    pub words: Vec<u64>,
    /// The segments before that one, and its own stack, from where it went on to another one, LINK_RETURN included.
    pub outer: Vec<Vec<u64>>,
    /// Where each of those begins.
    pub outer_lows: Vec<u64>,
    /// For what.
    pub waits: Waits,
    /// Where the C frames of its thread begin that are live under it: see the header. 0: it called no C on this thread.
    pub native_stack: u64,
}

/// A field that its owner writes plainly.
///
/// # Safety
/// A word of a control block.
unsafe fn racily(word: *const u64) -> u64 {
    // SAFETY: the caller's promise; control blocks stay mapped.
    unsafe { AtomicU64::from_ptr(word.cast_mut()) }.load(Ordering::Relaxed)
}

/// # Safety
/// `g` is a control block.
unsafe fn is(g: *const Goroutine, id: u64) -> bool {
    // SAFETY: control blocks stay mapped.
    unsafe { (*g).id.load(Ordering::Acquire) == id && (*g).is_ours() }
}

/// Looks at goroutine `id`.
///
/// # Safety
/// `g` is a control block.
pub unsafe fn look(g: *const Goroutine, id: u64) -> Seen {
    // SAFETY: the caller's promise.
    unsafe { look_at(g, id, true) }
}

/// The same, without its stack.
///
/// # Safety
/// As [`look`].
pub unsafe fn glance(g: *const Goroutine, id: u64) -> Seen {
    // SAFETY: the caller's promise.
    unsafe { look_at(g, id, false) }
}

unsafe fn look_at(g: *const Goroutine, id: u64, with_stack: bool) -> Seen {
    // SAFETY: control blocks stay mapped.
    unsafe {
        if !is(g, id) {
            return Seen::Gone;
        }
        let Some(sequence) = (*g).park.parked() else {
            return if is(g, id) { Seen::Moves } else { Seen::Gone };
        };
        let registers = Registers {
            rsp: racily(&raw const (*g).rsp),
            rbx: racily(&raw const (*g).rbx),
            rbp: racily(&raw const (*g).rbp),
            r12: racily(&raw const (*g).r12),
            r13: racily(&raw const (*g).r13),
            r14: racily(&raw const (*g).r14),
            r15: racily(&raw const (*g).r15),
        };
        let native_stack = racily(&raw const (*g).native_stack);
        let waits = Waits(racily((&raw const (*g).next).cast()));
        let mut parts = if with_stack {
            copy(g, registers.rsp as usize)
        } else {
            Some(vec![(0, Vec::new())])
        };
        fence(Ordering::Acquire); // the copy before the second look (I1)
        if !is(g, id) {
            return Seen::Gone;
        }
        let Some(parts) = parts.as_mut().filter(|_| (*g).park.parked() == Some(sequence)) else {
            return Seen::Moves;
        };
        let (_, words) = parts.remove(0);
        let (outer_lows, outer) = std::mem::take(parts).into_iter().unzip();
        Seen::Parked(Stopped {
            sequence,
            registers,
            words,
            outer,
            outer_lows,
            waits,
            native_stack,
        })
    }
}

/// Its stack from `sp` up, part by part, each with its first address, the innermost first. None: it moved meanwhile.
///
/// # Safety
/// `g` is a control block.
unsafe fn copy(g: *const Goroutine, sp: usize) -> Option<Vec<(u64, Vec<u64>)>> {
    const MOST: usize = 64; // each is several times as large as the one before
    let part = |low: usize, bounds: stack::Bounds| {
        // SAFETY: the caller's promise.
        let lowest = unsafe { stack::event::lowest(g, bounds) };
        let inside = (lowest..=bounds.top).contains(&low) && low.is_multiple_of(8);
        let mut words = vec![0; if inside { (bounds.top - low) / 8 } else { 0 }];
        (inside && mem::peek_words(low, &mut words)).then_some((low as u64, words))
    };
    let (mut low, mut parts) = (sp, Vec::new());
    // SAFETY: control blocks stay mapped, and so do the headers of segments; what lies between is copied by the kernel (I2).
    unsafe {
        let mut segment = racily((&raw const (*g).segment).cast()) as *mut stack::Segment;
        while !segment.is_null() && parts.len() < MOST {
            if stack::segment::around(segment as usize) != Some(segment) {
                return None;
            }
            parts.push(part(low, stack::segment::bounds_of_segment(segment))?);
            low = (racily(&raw const (*segment).sp) as usize).wrapping_sub(LINK_RETURN);
            segment = racily((&raw const (*segment).prev).cast()) as *mut stack::Segment;
        }
        parts.push(part(low, stack::bounds_of(g))?);
    }
    Some(parts)
}
