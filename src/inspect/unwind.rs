//! The frames of a goroutine that is parked, from a copy of its stack: by frame pointers where a compiler registered the code so,
//! else by unwind tables.
//!
//! The usual unwinders walk the stack they run on. This one reads registers from an array and memory through a function, and knows as much
//! of DWARF as compilers and hand-written assembly use.

use crate::abi::GOROUTINE_CODE_FRAME_POINTER;
use crate::code;
use crate::code::cfi::{self, Fde, Reader};
use crate::stack;
use crate::sys::mem;
use std::ffi::c_void;
use std::ops::Range;

/// Most frames of a backtrace: a stack of the default size holds no more, with 16 bytes each.
pub const FRAMES_MAX: usize = 1 << 14;

/// Most times that it goes on on another kind of stack, each a foreign call or a callback.
const CROSSINGS_MAX: usize = 32;

const RBP: usize = 6;
/// DWARF's number.
pub const RSP: usize = 7;
/// See there.
pub const RIP: usize = 16;
const COUNT: usize = 17;
/// rbx, rbp and r12 to r15, by DWARF's numbers.
pub const CALLEE_SAVED: [usize; 6] = [3, RBP, 12, 13, 14, 15];

unsafe extern "C" {
    /// libgcc's: the entry of the unwind tables for this address, also of tables that were registered; null: none.
    fn _Unwind_Find_FDE(pc: *const c_void, bases: *mut [usize; 3]) -> *const u8;
}

/// By DWARF's numbers.
pub type Registers = [u64; COUNT];

#[derive(Clone, Copy)]
enum Rule<'a> {
    Same,
    Undefined,
    Offset(i64),
    Value(i64),
    Register(usize),
    Expression(&'a [u8]),
    ValueExpression(&'a [u8]),
}

#[derive(Clone, Copy)]
enum Cfa<'a> {
    Offset(usize, i64),
    Expression(&'a [u8]),
}

#[derive(Clone, Copy)]
struct Row<'a> {
    cfa: Cfa<'a>,
    rules: [Rule<'a>; COUNT],
}

/// The return addresses, innermost first. `read` gives a word of memory. `interrupted`: the first is where it was, anywhere, and not after a call.
pub fn backtrace(
    mut registers: Registers,
    mut interrupted: bool,
    read: &dyn Fn(u64) -> Option<u64>,
) -> Vec<u64> {
    let (mut frames, mut crossings) = (Vec::new(), 0);
    while frames.len() < FRAMES_MAX && registers[RIP] != 0 {
        frames.push(registers[RIP]);
        let below = registers[RSP];
        match step(&registers, interrupted, read) {
            Some(next) if next[RSP] > below => registers = next,
            // From C on a thread's stack to the language on a goroutine's, or back.
            Some(next) if crossings < CROSSINGS_MAX && is_goroutines(next[RSP]) != is_goroutines(below) => {
                crossings += 1;
                registers = next;
            }
            _ => break,
        }
        interrupted = false;
    }
    frames
}

fn is_goroutines(address: u64) -> bool {
    stack::classify(address as usize).is_some() || stack::segment::around(address as usize).is_some()
}

/// Whether `pc` is where a function goes for more stack: its frame is not made yet, or will be made when it has come back.
fn is_more(f: Range<usize>, pc: usize) -> bool {
    let (from, to) = (
        f.start.max(pc.saturating_sub(cfi::MORE_BYTES)),
        f.end.min(pc + cfi::MORE_BYTES),
    );
    let mut bytes = [0; 2 * cfi::MORE_BYTES];
    let around = &mut bytes[..to - from];
    mem::peek(from, around) && cfi::mores(around).any(|more| more.contains(&(pc - from)))
}

/// Where the return address is, above `rsp`, of a function with a frame pointer that was interrupted before it had made its frame, or
/// after it had given it up. None: it has it.
fn without_frame(f: &code::Function, pc: u64) -> Option<u64> {
    const PUSH_RBP: u8 = 0x55;
    const RET: u8 = 0xC3;
    const MOVES: [[u8; 3]; 2] = [[0x48, 0x89, 0xE5], [0x48, 0x8B, 0xEC]]; // mov rbp, rsp
    let (mut bytes, pc) = ([0; 4], pc as usize);
    let before = usize::from(pc != f.start);
    let end = 1 + (f.end - pc).min(3);
    if is_more(f.start..f.end, pc) {
        return Some(0);
    }
    if !mem::peek(pc - before, &mut bytes[1 - before..end]) {
        return None;
    }
    match bytes {
        [_, PUSH_RBP, ..] if pc - f.start <= 4 => Some(0), // after an endbr64, perhaps
        [_, RET, ..] => Some(0),
        [PUSH_RBP, a, b, c] if MOVES.contains(&[a, b, c]) => Some(8),
        _ => None,
    }
}

/// Whether a function with a frame pointer that calls from `pc` has made its frame: `push rbp; mov rbp, rsp` was found before the call, as GDB's
/// table has it. (A prologue's call of goroutine_more_stack_prologue, say, comes before it.)
fn has_frame(f: &code::Function, pc: usize) -> bool {
    let mut head = vec![0; (pc - f.start).min(cfi::PROLOGUE_WITHIN)];
    mem::peek(f.start, &mut head) && cfi::prologue(&head).is_some()
}

/// Whether what is known of the frame that goes on at `rip` holds behind a call: a table, but not of a signal's frame, or a frame pointer.
fn is_certain(rip: u64) -> bool {
    let pc = rip as usize - 1;
    let by_rbp = |f: &code::Function| (f.flags & GOROUTINE_CODE_FRAME_POINTER != 0).then(|| has_frame(f, pc));
    match code::with(pc, by_rbp).flatten() {
        Some(has_frame) => has_frame,
        None => table(pc, |fde| !fde.is_signal) == Some(true),
    }
}

/// Whether `rip` is in a goroutine's first function, above which there is nothing.
fn is_base(rip: u64) -> bool {
    unsafe extern "C" {
        static goroutine_asm_entry: u8;
        static goroutine_asm_entry_full: u8;
    }
    let bases = [
        &raw const goroutine_asm_entry,
        &raw const goroutine_asm_entry_full,
    ];
    table(rip as usize - 1, |fde| bases.contains(&(fde.pc as *const u8))) == Some(true)
}

/// Calls `f` with the entry of the unwind tables for `pc`; None: there is none that we know.
fn table<R>(pc: usize, f: impl FnOnce(&Fde) -> R) -> Option<R> {
    let mut bases = [0; 3];
    // SAFETY: any address may be asked about. What is found is a table's entry, in an object that is loaded while its code is on a stack,
    // or of registered code, and stays until we are through. (Of a copied stack, code may be unregistered by now.)
    code::hold(|| unsafe {
        let entry = _Unwind_Find_FDE(pc as *const c_void, &raw mut bases);
        Some(f(&cfi::at(entry.as_ref()?)?))
    })
}

/// Every return address of a goroutine whose stack is in `parts` (its first address, its words), the innermost first; `read` knows what is elsewhere.
/// None: it did not come to the goroutine's base by frames on these alone, each told of by a table or by a frame pointer, so there may be others.
pub fn returns(
    mut registers: Registers,
    parts: &[(u64, &[u64])],
    read: &dyn Fn(u64) -> Option<u64>,
) -> Option<Vec<u64>> {
    let within =
        |(low, words): (u64, &[u64]), address: u64| low < address && address <= low + words.len() as u64 * 8;
    let (mut at, mut returns) = (0, Vec::new());
    loop {
        let rip = registers[RIP];
        returns.push(rip);
        if rip == 0 {
            return None;
        }
        if is_base(rip) {
            return (at + 1 == parts.len()).then_some(returns);
        }
        if !is_certain(rip) {
            return None;
        }
        let below = registers[RSP];
        registers = step(&registers, false, read)?;
        let above = registers[RSP];
        if !within(parts[at], above) || above <= below {
            // Through a link: A lies above F there, and F is where the part begins.
            at += 1;
            let &(low, _) = parts.get(at)?;
            if above != low + 16 {
                return None;
            }
        }
    }
}

/// The caller's registers; None: this is the last frame, or nothing says where the next one is.
pub fn step(
    registers: &Registers,
    interrupted: bool,
    read: &dyn Fn(u64) -> Option<u64>,
) -> Option<Registers> {
    let pc = registers[RIP] - u64::from(!interrupted); // in the call, not after it
    let by_rbp = |f: &code::Function| {
        (f.flags & GOROUTINE_CODE_FRAME_POINTER != 0).then(|| {
            if interrupted {
                without_frame(f, pc)
            } else {
                is_more(f.start..f.end, pc as usize).then_some(0)
            }
        })
    };
    if let Some(no_frame) = code::with(pc as usize, by_rbp).flatten() {
        let mut caller = *registers;
        if let Some(above) = no_frame {
            let rsp = registers[RSP];
            if above != 0 {
                caller[RBP] = read(rsp)?;
            }
            caller[RIP] = read(rsp.wrapping_add(above))?;
            caller[RSP] = rsp.wrapping_add(above + 8);
            return Some(caller);
        }
        let rbp = registers[RBP];
        caller[RBP] = read(rbp)?;
        caller[RIP] = read(rbp.wrapping_add(8))?;
        caller[RSP] = rbp.wrapping_add(16);
        return Some(caller);
    }
    table(pc as usize, |fde| apply(&row(fde, pc)?, fde, registers, read)).flatten()
}

/// How the caller's registers follow from a frame's where compiled code makes a call: the CFA is a register and an offset, and what was saved lies
/// at offsets from it, the return address below it.
#[derive(Clone, Copy, Default)]
pub struct Plain {
    register: u8,
    offset: i32,
    /// Of CALLEE_SAVED; 0: unchanged.
    saved: [i32; 6],
}

impl Plain {
    /// What the tables say of a frame that goes on at `rip`; None: it is not that simple, or there is none.
    pub fn at(rip: u64) -> Option<Self> {
        let mut bases = [0; 3];
        // SAFETY: as in `table`, of the library's own code.
        let (fde, row) = unsafe {
            let entry = _Unwind_Find_FDE((rip - 1) as *const c_void, &raw mut bases);
            let fde = cfi::at(entry.as_ref()?)?;
            (fde, row(&fde, rip - 1)?)
        };
        let Cfa::Offset(register, offset) = row.cfa else {
            return None;
        };
        let mut plain = Self {
            register: register as u8,
            offset: i32::try_from(offset).ok()?,
            saved: [0; 6],
        };
        for (i, rule) in row.rules.iter().enumerate() {
            let place = CALLEE_SAVED.iter().position(|&r| r == i);
            match (*rule, place) {
                (Rule::Same, _) if i != RIP => {}
                (Rule::Offset(-8), None) if i == RIP && fde.return_register as usize == RIP => {}
                (Rule::Offset(offset), Some(place)) => plain.saved[place] = i32::try_from(offset).ok()?,
                _ => return None,
            }
        }
        Some(plain)
    }

    /// The caller's.
    ///
    /// # Safety
    /// `registers` are those of a frame that the tables are right about, on a stack that stands.
    pub unsafe fn step(&self, registers: &mut Registers) {
        let cfa = registers[usize::from(self.register)].wrapping_add_signed(self.offset.into());
        // SAFETY: the caller's promise.
        let read = |offset: i32| unsafe { *(cfa.wrapping_add_signed(offset.into()) as *const u64) };
        for (register, offset) in CALLEE_SAVED.into_iter().zip(self.saved) {
            if offset != 0 {
                registers[register] = read(offset);
            }
        }
        registers[RIP] = read(-8);
        registers[RSP] = cfa;
    }
}

fn apply(
    row: &Row,
    fde: &Fde,
    registers: &Registers,
    read: &dyn Fn(u64) -> Option<u64>,
) -> Option<Registers> {
    let cfa = match row.cfa {
        Cfa::Offset(register, offset) => registers[register].wrapping_add_signed(offset),
        Cfa::Expression(e) => evaluate(e, None, registers, read)?,
    };
    let mut caller = *registers;
    caller[RSP] = cfa;
    for (i, rule) in row.rules.iter().enumerate() {
        caller[i] = match *rule {
            Rule::Same => continue,
            Rule::Undefined if i == fde.return_register as usize => return None,
            Rule::Undefined => 0,
            Rule::Offset(offset) => read(cfa.wrapping_add_signed(offset))?,
            Rule::Value(offset) => cfa.wrapping_add_signed(offset),
            Rule::Register(other) => registers[other],
            Rule::Expression(e) => read(evaluate(e, Some(cfa), registers, read)?)?,
            Rule::ValueExpression(e) => evaluate(e, Some(cfa), registers, read)?,
        };
    }
    Some(caller)
}

/// What the table says at `pc`.
fn row<'a>(fde: &Fde<'a>, pc: u64) -> Option<Row<'a>> {
    let mut row = Row {
        cfa: Cfa::Offset(RSP, 8),
        rules: [Rule::Same; COUNT],
    };
    run(&mut row, fde, fde.initial, &[Rule::Same; COUNT], u64::MAX)?;
    let initial = row.rules;
    run(&mut row, fde, fde.program, &initial, pc)?;
    Some(row)
}

fn run<'a>(
    row: &mut Row<'a>,
    fde: &Fde<'a>,
    program: &'a [u8],
    initial: &[Rule<'a>; COUNT],
    pc: u64,
) -> Option<()> {
    let mut r = Reader(program);
    let mut at = fde.pc;
    let mut remembered = Vec::new();
    let scaled = |n: i64| n.wrapping_mul(fde.data_align);
    while let Some(op) = r.u8() {
        let low = usize::from(op & 0x3F);
        // Rules of registers that are not kept (vectors) are read over.
        let set = |row: &mut Row<'a>, register: u64, rule| {
            if let Some(place) = row.rules.get_mut(register as usize) {
                *place = rule;
            }
        };
        let mut advance = |by: u64| {
            at = at.wrapping_add(by.wrapping_mul(fde.code_align));
            at > pc
        };
        let over = match op {
            0x40..=0x7F => advance(low as u64),
            0x80..=0xBF => {
                set(row, low as u64, Rule::Offset(scaled(r.uleb()? as i64)));
                false
            }
            0xC0..=0xFF => {
                set(row, low as u64, *initial.get(low).unwrap_or(&Rule::Same));
                false
            }
            0x00 => false,
            0x02 => advance(r.unsigned(1)?),
            0x03 => advance(r.unsigned(2)?),
            0x04 => advance(r.unsigned(4)?),
            _ => {
                run_long(op, row, &mut r, initial, &mut remembered, fde.data_align)?;
                false
            }
        };
        if over {
            return Some(());
        }
    }
    Some(())
}

/// The instructions that move no address and are longer than a byte and a number.
fn run_long<'a>(
    op: u8,
    row: &mut Row<'a>,
    r: &mut Reader<'a>,
    initial: &[Rule<'a>; COUNT],
    remembered: &mut Vec<Row<'a>>,
    data_align: i64,
) -> Option<()> {
    let kept = |register: u64| (register < COUNT as u64).then_some(register as usize);
    match op {
        0x0A => remembered.push(*row),
        0x0B => *row = remembered.pop()?,
        0x0C | 0x12 => {
            let register = kept(r.uleb()?)?;
            let offset = if op == 0x0C {
                r.uleb()? as i64
            } else {
                r.sleb()? * data_align
            };
            row.cfa = Cfa::Offset(register, offset);
        }
        0x0D | 0x0E | 0x13 => {
            let Cfa::Offset(register, offset) = row.cfa else {
                return None;
            };
            row.cfa = match op {
                0x0D => Cfa::Offset(kept(r.uleb()?)?, offset),
                0x0E => Cfa::Offset(register, r.uleb()? as i64),
                _ => Cfa::Offset(register, r.sleb()? * data_align),
            };
        }
        0x0F => {
            let n = r.uleb()? as usize;
            row.cfa = Cfa::Expression(r.take(n)?);
        }
        0x2E => drop(r.uleb()?), // the size of arguments, for exceptions
        0x05..=0x09 | 0x10 | 0x11 | 0x14..=0x16 => {
            let register = r.uleb()? as usize;
            let rule = match op {
                0x05 => Rule::Offset((r.uleb()? as i64).wrapping_mul(data_align)),
                0x11 => Rule::Offset(r.sleb()?.wrapping_mul(data_align)),
                0x14 => Rule::Value((r.uleb()? as i64).wrapping_mul(data_align)),
                0x15 => Rule::Value(r.sleb()?.wrapping_mul(data_align)),
                0x06 => *initial.get(register).unwrap_or(&Rule::Same),
                0x07 => Rule::Undefined,
                0x08 => Rule::Same,
                0x09 => Rule::Register(kept(r.uleb()?)?),
                _ => {
                    let n = r.uleb()? as usize;
                    let e = r.take(n)?;
                    if op == 0x10 {
                        Rule::Expression(e)
                    } else {
                        Rule::ValueExpression(e)
                    }
                }
            };
            if let Some(place) = row.rules.get_mut(register) {
                *place = rule;
            }
        }
        _ => return None,
    }
    Some(())
}

/// A DWARF expression, as far as call frame information uses them.
fn evaluate(
    expression: &[u8],
    first: Option<u64>,
    registers: &Registers,
    read: &dyn Fn(u64) -> Option<u64>,
) -> Option<u64> {
    let mut r = Reader(expression);
    let mut stack: Vec<u64> = first.into_iter().collect();
    while let Some(op) = r.u8() {
        let value = match op {
            0x06 => read(stack.pop()?)?,
            0x08 => r.unsigned(1)?,
            0x09 => r.signed(1)? as u64,
            0x0A => r.unsigned(2)?,
            0x0B => r.signed(2)? as u64,
            0x0C => r.unsigned(4)?,
            0x0D => r.signed(4)? as u64,
            0x0E | 0x0F | 0x03 => r.unsigned(8)?,
            0x10 => r.uleb()?,
            0x11 => r.sleb()? as u64,
            0x12 => *stack.last()?,
            0x13 => {
                stack.pop()?;
                continue;
            }
            0x23 => stack.pop()?.wrapping_add(r.uleb()?),
            0x1A | 0x1C | 0x1E | 0x21 | 0x22 | 0x24..=0x27 | 0x29..=0x2E => {
                let b = stack.pop()?;
                let a = stack.pop()?;
                match op {
                    0x1A => a & b,
                    0x1C => a.wrapping_sub(b),
                    0x1E => a.wrapping_mul(b),
                    0x21 => a | b,
                    0x22 => a.wrapping_add(b),
                    0x24 => a.checked_shl(b as u32).unwrap_or(0),
                    0x25 => a.checked_shr(b as u32).unwrap_or(0),
                    0x26 => (a as i64 >> (b & 63)) as u64,
                    0x27 => a ^ b,
                    0x29 => u64::from(a == b),
                    0x2A => u64::from(a as i64 >= b as i64),
                    0x2B => u64::from(a as i64 > b as i64),
                    0x2C => u64::from(a as i64 <= b as i64),
                    0x2D => u64::from((a as i64) < b as i64),
                    _ => u64::from(a != b),
                }
            }
            0x30..=0x4F => u64::from(op - 0x30),
            0x70..=0x80 => registers[usize::from(op - 0x70)].wrapping_add_signed(r.sleb()?),
            _ => return None,
        };
        stack.push(value);
    }
    stack.pop()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// mov rax, fs:[..]; cmp rsp, [rax]; jb more; push rbp; mov rbp, rsp; (300 bytes); leave; ret; more: ...; (a landing pad in the frame)
    fn function(call: &[u8], after: &[u8]) -> (Vec<u8>, Range<usize>) {
        let mut code = b"\x64\x48\x8B\x04\x25\0\0\0\0\x48\x3B\x20\x0F\x82\0\0\0\0\x55\x48\x89\xE5".to_vec();
        code.extend([0x90; 300]);
        code.extend(b"\xC9\xC3");
        let more = code.len();
        code.extend(b"\x41\xBA\x40\0\0\0\x41\xBB\0\0\0\0");
        code.extend(call);
        code.extend(after);
        let end = code.len();
        code.extend([0x90; 4]);
        (code, more..end)
    }

    #[test]
    fn a_function_has_no_frame_where_it_goes_for_more_stack() {
        for (call, after) in [
            (&b"\xE8\0\0\0\0"[..], &b"\xC3\xE9\0\0\0\0"[..]),
            (b"\xFF\x15\0\0\0\0", b"\xC3\xEB\0"),
            (b"\xFF\x15\0\0\0\0", b"\xE9\0\0\0\0"),
        ] {
            let (code, more) = function(call, after);
            let program = cfi::with_frame_pointer(&code);
            let start = code.as_ptr() as usize;
            let fde = Fde::called(start as u64, code.len() as u64, &program);
            let f = start..start + code.len();
            for at in 0..code.len() {
                let row = row(&fde, (start + at) as u64).unwrap();
                let has_frame = at >= 22 && !more.contains(&at);
                let above = if at == 19 || at == 20 || at == 21 { 16 } else { 8 };
                match row.cfa {
                    Cfa::Offset(RBP, 16) => assert!(has_frame, "byte {at} has no frame"),
                    Cfa::Offset(RSP, n) => assert!(!has_frame && n == above, "byte {at}: rsp + {n}"),
                    _ => panic!("byte {at}"),
                }
                assert_eq!(
                    matches!(row.rules[RBP], Rule::Same),
                    !has_frame && above == 8,
                    "byte {at}"
                );
                assert_eq!(is_more(f.clone(), start + at), more.contains(&at), "byte {at}");
            }
        }
    }
}
