//! Foreign calls in line, as docs/jit.md has them: the goroutine has a thread, so calling C is changing the stack, and
//! nothing of the library is entered.
//!
//! Cranelift's IR has no word for the stack pointer. So the sequence is a small function of its own for each C function,
//! written here byte by byte, which emitted code calls as if it were that function: with its signature, so the
//! arguments are in their registers already, integers and floating-point numbers, and those on the stack are copied.
//!
//! ```text
//!   the goroutine's stack                    the thread's native stack
//!   frames of emitted code                   (scheduler)
//!   stack arguments   -------- copied ---->  stack arguments   16-aligned
//!   return address                           return address
//!   rbx, r13          <- foreign_sp          frames of C
//! ```
//!
//! A collector that stops this goroutine in C finds its stack from `foreign_sp` up. Values that Cranelift keeps in r12, r14, r15
//! or rbp are where C has saved them; a compiler with moving references spills them before the call.

use crate::runtime as rt;

/// Which of the classes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// On the goroutine's own thread, from the first call to its end.
    Bound,
    /// On whichever thread runs the goroutine.
    Leaf,
}

const EQUAL: u8 = 4;
const NOT_EQUAL: u8 = 5;
const NOT_SIGN: u8 = 9;
const INTEGERS: u8 = 6;
const FLOATS: u8 = 8;
/// Room for all argument registers, and 8 bytes so that rsp is 0 mod 16.
const SPILL: u8 = 8 * (INTEGERS + FLOATS) + 8;

/// The code of a function with the signature of `callee`, which has so many words of arguments on the stack.
pub fn thunk(kind: Kind, callee: *const u8, stack_words: u32) -> Vec<u8> {
    let mut e = Bytes(Vec::new());
    e.put(&[0x53, 0x41, 0x55]); // push rbx; push r13: rsp is 8 mod 16
    e.put(&[0x64, 0x48, 0x8B, 0x1C, 0x25]); // mov rbx, fs:[current]
    // SAFETY: it only tells an offset.
    e.put(&unsafe { rt::goroutine_tls_offset() }.to_le_bytes());
    match kind {
        Kind::Bound => e.put(&[0xF6, 0x43, rt::OFFSET_FLAGS, rt::FLAG_BOUND]), // test byte [rbx + 20], 1
        Kind::Leaf => e.put(&[0x48, 0x83, 0x7B, rt::OFFSET_NATIVE_STACK, 0]),  // cmp qword [rbx + 24], 0
    }
    let slow = e.jump_if(EQUAL);
    let call = e.here();
    e.put(&[0x49, 0x89, 0xE5]); // mov r13, rsp
    e.put(&[0x48, 0x89, 0x63, rt::OFFSET_FOREIGN_SP]); // mov [rbx + 64], rsp
    e.put(&[0x48, 0x8B, 0x63, rt::OFFSET_NATIVE_STACK]); // mov rsp, [rbx + 24]: 16-aligned
    if !stack_words.is_multiple_of(2) {
        e.put(&[0x48, 0x83, 0xEC, 8]); // sub rsp, 8
    }
    for word in (0..stack_words).rev() {
        e.put(&[0x41, 0xFF, 0xB5]); // push qword [r13 + disp32], above r13, rbx and the return address
        e.put(&(24 + 8 * word).to_le_bytes());
    }
    e.call(callee);
    e.put(&[0x4C, 0x89, 0xEC]); // mov rsp, r13
    e.put(&[0x48, 0xC7, 0x43, rt::OFFSET_FOREIGN_SP, 0, 0, 0, 0]); // mov qword [rbx + 64], 0
    e.put(&[0x83, 0x7B, rt::OFFSET_PREEMPT as u8, 0]); // cmp dword [rbx + 16], 0
    let safepoint = e.jump_if(NOT_EQUAL);
    let done = e.here();
    e.put(&[0x41, 0x5D, 0x5B, 0xC3]); // pop r13; pop rbx; ret

    // Binds, or gets a native stack, without a change to the arguments. It may park, but the goroutine's header stays where it is.
    e.land(slow);
    e.put(&[0x48, 0x83, 0xEC, SPILL]); // sub rsp, SPILL
    e.arguments(0x89, 0x11);
    match kind {
        Kind::Bound => e.call(rt::goroutine_ffi_bind as *const u8),
        Kind::Leaf => e.call(rt::goroutine_ffi_prepare as *const u8),
    }
    e.arguments(0x8B, 0x10);
    e.put(&[0x48, 0x83, 0xC4, SPILL]); // add rsp, SPILL
    e.put(&[0x85, 0xC0]); // test eax, eax
    let again = e.jump_if(NOT_SIGN);
    e.land_at(again, call);
    e.put(&[0x89, 0xC7, 0x31, 0xF6]); // mov edi, eax; xor esi, esi
    e.call(rt::goroutine_exit as *const u8); // it does not come back
    e.put(&[0x0F, 0x0B]); // ud2

    e.land(safepoint); // the result is in rax or xmm0
    e.put(&[0x48, 0x83, 0xEC, 24, 0x48, 0x89, 0x04, 0x24]); // sub rsp, 24; mov [rsp], rax
    e.put(&[0xF2, 0x0F, 0x11, 0x44, 0x24, 8]); // movsd [rsp + 8], xmm0
    e.call(rt::goroutine_safepoint as *const u8);
    e.put(&[0xF2, 0x0F, 0x10, 0x44, 0x24, 8]); // movsd xmm0, [rsp + 8]
    e.put(&[0x48, 0x8B, 0x04, 0x24, 0x48, 0x83, 0xC4, 24]); // mov rax, [rsp]; add rsp, 24
    e.put(&[0xE9]);
    let back = e.displacement();
    e.land_at(back, done);
    e.0
}

struct Bytes(Vec<u8>);

impl Bytes {
    fn put(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
    }

    fn here(&self) -> usize {
        self.0.len()
    }

    /// mov rax, function; call rax: it may be out of a rel32's reach.
    fn call(&mut self, function: *const u8) {
        self.put(&[0x48, 0xB8]);
        self.put(&(function as u64).to_le_bytes());
        self.put(&[0xFF, 0xD0]);
    }

    /// A jump whose target comes later: gives its displacement's place.
    fn jump_if(&mut self, condition: u8) -> usize {
        self.put(&[0x0F, 0x80 | condition]);
        self.displacement()
    }

    fn displacement(&mut self) -> usize {
        self.put(&[0; 4]);
        self.here() - 4
    }

    fn land(&mut self, jump: usize) {
        self.land_at(jump, self.here());
    }

    fn land_at(&mut self, jump: usize, target: usize) {
        let distance = target as i32 - (jump as i32 + 4);
        self.0[jump..jump + 4].copy_from_slice(&distance.to_le_bytes());
    }

    /// All argument registers to or from the stack: the opcodes of mov and movsd say which way.
    fn arguments(&mut self, mov: u8, movsd: u8) {
        // rdi rsi rdx rcx r8 r9: REX prefix, number
        let integers = [(0x48, 7), (0x48, 6), (0x48, 2), (0x48, 1), (0x4C, 0), (0x4C, 1)];
        for (at, (prefix, register)) in (0..).step_by(8).zip(integers) {
            self.put(&[prefix, mov, 0x44 | register << 3, 0x24, at]);
        }
        for xmm in 0..FLOATS {
            self.put(&[0xF2, 0x0F, movsd, 0x44 | xmm << 3, 0x24, 8 * (INTEGERS + xmm)]);
        }
    }
}

/// C that is called: six integers in registers, two numbers in floating-point registers, two integers on the stack. Each counts
/// differently, so that a lost or swapped one changes the sum.
#[allow(clippy::too_many_arguments)]
pub extern "C" fn mix(a: u64, b: u64, c: u64, d: u64, e: u64, f: u64, x: f64, y: f64, g: u64, h: u64) -> u64 {
    let sum = [b, c, d, e, f, g, h]
        .iter()
        .fold(a, |sum, n| sum.wrapping_mul(31).wrapping_add(*n));
    sum.wrapping_add((x * 1009.0 + y) as u64)
}

/// The same, called through the library: one pointer, everything in memory.
pub unsafe extern "C" fn mix_in_memory(p: *const [u64; 10]) -> u64 {
    // SAFETY: the emitted code wrote ten words there.
    let [a, b, c, d, e, f, x, y, g, h] = unsafe { *p };
    mix(a, b, c, d, e, f, f64::from_bits(x), f64::from_bits(y), g, h)
}

/// What C saw of its thread.
#[repr(C)]
#[derive(Default)]
pub struct Seen {
    pub thread: u64,
    pub calls: u64,
    /// Calls on another thread than the one before.
    pub moved: u64,
    /// Calls that were not on a native stack, or not bound.
    pub wrong: u64,
}

/// C that looks where it is; three words on the stack.
#[allow(clippy::too_many_arguments)]
pub unsafe extern "C" fn sees(
    seen: *mut Seen,
    b: u64,
    c: u64,
    d: u64,
    e: u64,
    f: u64,
    x: f64,
    g: u64,
    h: u64,
    i: u64,
) -> f64 {
    // SAFETY: the emitted code passes a Seen that the caller keeps; the header of the running goroutine is readable.
    unsafe {
        let seen = &mut *seen;
        let g0 = rt::goroutine_current().cast::<u8>();
        let thread = rt::pthread_self();
        if seen.calls != 0 && seen.thread != thread {
            seen.moved += 1;
        }
        let foreign_sp = *g0.add(rt::OFFSET_FOREIGN_SP.into()).cast::<u64>();
        let bound = *g0.add(rt::OFFSET_FLAGS.into()) & rt::FLAG_BOUND != 0;
        seen.wrong += u64::from(foreign_sp == 0 || !bound);
        seen.thread = thread;
        seen.calls += 1;
    }
    (b + 2 * c + 3 * d + 4 * e + 5 * f + 6 * g + 7 * h + 8 * i) as f64 + x
}
