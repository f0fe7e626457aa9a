//! The registers of a goroutine that waits in a call of the library, as they are in the innermost frame outside it.
//!
//! A switch saves what the library's own frames have in the callee-saved registers. What they keep for their caller lies on the stack, where the
//! unwind tables say. So nothing is paid for it but here:
//!
//! ```text
//!   language code              call goroutine_promise_await         its registers are what is looked for
//!   the exported entry         call Rust          frame_is_last     a `nop` behind the call: its caller is outside (R2)
//!   Rust functions             ...                                  any number, also none
//!   the innermost of them      call goroutine_asm_park   inside     the same: the goroutine has left the stack inside (R1)
//! ```
//!
//! R1. Language code also calls what leaves the stack at once, goroutine_yield. Then it goes on at an address that has no mark, and nothing is
//!     to be looked for. All calls in the library that leave the stack have one (`context::goroutine_asm_park`, `yield_here`, asm/).
//! R2. Every way into the library that may leave the stack passes a mark that says so: the exported entries' (`capi`), or one in asm/. Where one
//!     such frame calls another (`goroutine_ffi_call`), the outer one's mark says that it is the library's, too.
//! R3. Marks are looked for in the object that the library is in, and nowhere else: emitted code may lie at the end of what can be read.
//!     In a program that the library is linked into, that is the program's code, too, in which nobody has these bytes behind a call.
//!
//! The tables are read once for each place. Rejected: addresses of the library's own code, for it knows none where it is linked into a program;
//! registers written down at each switch, which is all that a switch costs.

use crate::context::{MARK_INSIDE, MARK_LAST};
use crate::goroutine::Goroutine;
use crate::inspect::unwind::{self, CALLEE_SAVED, Plain, RIP, RSP, Registers};
use crate::sys::library;
use std::ops::Range;

/// More frames of the library than there are.
const FRAMES_MAX: usize = 64;
/// `nop dword ptr [rax + displacement]`.
const NOP: [u8; 3] = [0x0F, 0x1F, 0x80];
const MARK_BYTES: usize = NOP.len() + 4;
const PLACES: usize = 256;

/// What lies behind a call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    None,
    Inside,
    Last,
}

/// The same, and how to get to the caller from there.
#[derive(Clone, Copy, Default)]
struct Place {
    rip: u64,
    step: Plain,
}

/// Places that have been met. Of the library's own code, which stays what it is.
#[derive(Default)]
pub struct Places {
    known: Vec<Place>,
    /// Where marks may be (R3).
    code: Range<u64>,
}

/// Where a goroutine waits.
pub enum Waits {
    /// In code of its own, which has left the stack: with the registers that were saved.
    Outside,
    /// In the library, called with these registers.
    Inside(Registers),
    /// In the library, and nobody has called it, or there are no unwind tables.
    Alone,
}

/// What lies behind the call that returns to `rip`. `code`: the library's.
fn mark(code: &Range<u64>, rip: u64) -> Mark {
    if rip < code.start || rip + MARK_BYTES as u64 > code.end {
        return Mark::None;
    }
    // SAFETY: code of a loaded object.
    let bytes = unsafe { *(rip as *const [u8; MARK_BYTES]) };
    let (nop, displacement) = bytes.split_at(NOP.len());
    match u32::from_le_bytes(displacement.try_into().expect("4 bytes")) {
        MARK_INSIDE if nop == NOP => Mark::Inside,
        MARK_LAST if nop == NOP => Mark::Last,
        _ => Mark::None,
    }
}

/// Of the backtrace of one that waits, innermost first: the first frame outside the library. None: it has none, or there are no unwind tables.
pub fn first_outside(frames: &[u64]) -> Option<u64> {
    let code = library::code();
    let first = *frames.first()?;
    if mark(&code, first) == Mark::None {
        return Some(first); // R1
    }
    (frames.windows(2))
        .find(|pair| mark(&code, pair[0]) == Mark::Last && mark(&code, pair[1]) == Mark::None)
        .map(|pair| pair[1]) // R2
}

impl Places {
    /// None.
    pub const fn new() -> Self {
        Self {
            known: Vec::new(),
            code: 0..0,
        }
    }

    /// Before the first look.
    pub fn prepare(&mut self) {
        if self.known.is_empty() {
            self.known = vec![Place::default(); PLACES];
            self.code = library::code();
        }
    }

    fn mark(&self, rip: u64) -> Mark {
        mark(&self.code, rip)
    }

    /// The registers with which it called the library.
    ///
    /// # Safety
    /// `g` stands, has begun, and was left by a switch. [`Self::prepare`] was called.
    pub unsafe fn look(&mut self, g: &Goroutine) -> Waits {
        let mut at: Registers = Registers::default();
        for (register, value) in CALLEE_SAVED
            .into_iter()
            .zip([g.rbx, g.rbp, g.r12, g.r13, g.r14, g.r15])
        {
            at[register] = value;
        }
        at[RSP] = g.rsp + 8;
        // SAFETY: the caller's promise.
        at[RIP] = unsafe { *(g.rsp as *const u64) };
        let mut mark = self.mark(at[RIP]);
        if mark == Mark::None {
            return Waits::Outside; // R1
        }
        for _ in 0..FRAMES_MAX {
            // SAFETY: a frame of the library's, on a stack that stands.
            if !unsafe { self.step(&mut at) } {
                break;
            }
            let was_last = mark == Mark::Last;
            mark = self.mark(at[RIP]);
            if was_last && mark == Mark::None {
                return Waits::Inside(at); // R2
            }
        }
        Waits::Alone
    }

    /// To the caller's frame. False: it has none.
    ///
    /// # Safety
    /// `at` are the registers in a frame of the library's, on a stack that stands.
    unsafe fn step(&mut self, at: &mut Registers) -> bool {
        let rip = at[RIP];
        let place = &mut self.known[(rip.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as usize];
        if place.rip != rip {
            let Some(step) = Plain::at(rip) else {
                // SAFETY: as above.
                let read = |address: u64| Some(unsafe { *(address as *const u64) });
                return match unwind::step(at, false, &read) {
                    Some(caller) => {
                        *at = caller;
                        true
                    }
                    None => false,
                };
            };
            *place = Place { rip, step };
        }
        // SAFETY: the caller's promise.
        unsafe { place.step.step(at) };
        true
    }
}
