//! Call frame information (DWARF 5, 6.4, with what the LSB adds for .eh_frame): read where it lies, written anew.
//!
//! A table that is copied elsewhere has its addresses relative to the wrong place, so it is taken apart and written with absolute ones.
//! Encodings relative to text or data, which need a base that only the linker knows, are not accepted.

use std::ops::Range;

/// How addresses are written.
const ABSOLUTE: u8 = 0;
const OMITTED: u8 = 0xFF;

/// One entry of the tables, for a range of code, with what it shares with others of its unit.
#[derive(Clone, Copy)]
pub struct Fde<'a> {
    /// First address.
    pub pc: u64,
    /// Bytes of code.
    pub bytes: u64,
    /// Factors of advances and offsets.
    pub code_align: u64,
    /// See there.
    pub data_align: i64,
    /// The register that stands for the return address.
    pub return_register: u64,
    /// The frame is that of a signal handler's caller: its pc is where it was interrupted.
    pub is_signal: bool,
    /// The personality function, or 0.
    pub personality: u64,
    /// Its data, or 0.
    pub lsda: u64,
    /// The unit's instructions.
    pub initial: &'a [u8],
    /// The entry's.
    pub program: &'a [u8],
}

impl<'a> Fde<'a> {
    /// Of a function whose frame begins at rsp + 8 when it is called, where the return address is, and goes on as the program says.
    pub fn called(pc: u64, bytes: u64, program: &'a [u8]) -> Self {
        const INITIAL: &[u8] = &[0x0C, 7, 8, 0x80 | 16, 1];
        Self {
            pc,
            bytes,
            code_align: 1,
            data_align: -8,
            return_register: 16,
            is_signal: false,
            personality: 0,
            lsda: 0,
            initial: INITIAL,
            program,
        }
    }
}

/// Reads from the front of a slice; None at its end.
#[derive(Clone, Copy)]
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    /// So many bytes.
    pub fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (front, back) = self.0.split_at_checked(n)?;
        self.0 = back;
        Some(front)
    }
    /// A byte.
    pub fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|b| b[0])
    }
    /// Little endian, zero-extended.
    pub fn unsigned(&mut self, bytes: usize) -> Option<u64> {
        let mut word = [0; 8];
        word[..bytes].copy_from_slice(self.take(bytes)?);
        Some(u64::from_le_bytes(word))
    }
    /// Little endian, sign-extended.
    pub fn signed(&mut self, bytes: usize) -> Option<i64> {
        let shift = 64 - 8 * bytes as u32;
        Some((self.unsigned(bytes)? << shift) as i64 >> shift)
    }
    /// LEB128.
    pub fn uleb(&mut self) -> Option<u64> {
        let (mut value, mut shift) = (0u64, 0);
        loop {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7F).checked_shl(shift).unwrap_or(0);
            shift += 7;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
    }
    /// The same, signed.
    pub fn sleb(&mut self) -> Option<i64> {
        let (mut value, mut shift) = (0u64, 0);
        loop {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7F).checked_shl(shift).unwrap_or(0);
            shift += 7;
            if byte & 0x80 == 0 {
                if byte & 0x40 != 0 && shift < 64 {
                    value |= u64::MAX << shift;
                }
                return Some(value as i64);
            }
        }
    }
    /// Up to a NUL, which is skipped.
    pub fn string(&mut self) -> Option<&'a [u8]> {
        let n = self.0.iter().position(|&b| b == 0)?;
        let text = self.take(n)?;
        self.u8()?;
        Some(text)
    }

    /// An address in this encoding, 0: none.
    ///
    /// # Safety
    /// An indirect one is a valid pointer.
    unsafe fn address(&mut self, encoding: u8) -> Option<u64> {
        if encoding == OMITTED {
            return Some(0);
        }
        let here = self.0.as_ptr() as u64;
        let raw = match encoding & 0x0F {
            0x0 | 0x4 | 0xC => self.unsigned(8)?,
            0x1 => self.uleb()?,
            0x2 => self.unsigned(2)?,
            0x3 => self.unsigned(4)?,
            0x9 => self.sleb()? as u64,
            0xA => self.signed(2)? as u64,
            0xB => self.signed(4)? as u64,
            _ => return None,
        };
        let address = match encoding & 0x70 {
            _ if raw == 0 => return Some(0),
            0x00 => raw,
            0x10 => raw.wrapping_add(here),
            _ => return None,
        };
        if encoding & 0x80 == 0 {
            return Some(address);
        }
        // SAFETY: the caller's promise.
        Some(unsafe { (address as *const u64).read_unaligned() })
    }
}

/// What the entries of a unit share.
#[derive(Clone, Copy)]
struct Cie<'a> {
    code_align: u64,
    data_align: i64,
    return_register: u64,
    is_signal: bool,
    augmented: bool,
    pointer_encoding: u8,
    lsda_encoding: u8,
    personality: u64,
    initial: &'a [u8],
}

/// `body` comes after the id.
///
/// # Safety
/// As [`walk`].
unsafe fn cie(body: &[u8]) -> Option<Cie<'_>> {
    let mut r = Reader(body);
    let version = r.u8()?;
    if version != 1 && version != 3 && version != 4 {
        return None;
    }
    let augmentation = r.string()?;
    if version == 4 && r.take(2)? != [8, 0] {
        return None; // addresses of 8 bytes, no segments
    }
    let (code_align, data_align) = (r.uleb()?, r.sleb()?);
    let return_register = if version == 1 {
        u64::from(r.u8()?)
    } else {
        r.uleb()?
    };
    let mut cie = Cie {
        code_align,
        data_align,
        return_register,
        is_signal: false,
        augmented: false,
        pointer_encoding: ABSOLUTE,
        lsda_encoding: OMITTED,
        personality: 0,
        initial: &[],
    };
    if let Some((b'z', letters)) = augmentation.split_first() {
        cie.augmented = true;
        let n = r.uleb()? as usize;
        let mut data = Reader(r.take(n)?);
        for letter in letters {
            match letter {
                b'R' => cie.pointer_encoding = data.u8()?,
                b'L' => cie.lsda_encoding = data.u8()?,
                b'S' => cie.is_signal = true,
                b'P' => {
                    let encoding = data.u8()?;
                    // SAFETY: the caller's promise.
                    cie.personality = unsafe { data.address(encoding) }?;
                }
                _ => return None,
            }
        }
    } else if !augmentation.is_empty() {
        return None;
    }
    cie.initial = r.0;
    Some(cie)
}

/// # Safety
/// As [`walk`].
unsafe fn fde<'a>(cie: Cie<'a>, body: &'a [u8]) -> Option<Fde<'a>> {
    let mut r = Reader(body);
    // SAFETY: the caller's promise.
    unsafe {
        let pc = r.address(cie.pointer_encoding)?;
        let bytes = r.address(cie.pointer_encoding & 0x0F)?;
        let mut lsda = 0;
        if cie.augmented {
            let n = r.uleb()? as usize;
            lsda = Reader(r.take(n)?).address(cie.lsda_encoding)?;
        }
        Some(Fde {
            pc,
            bytes,
            code_align: cie.code_align,
            data_align: cie.data_align,
            return_register: cie.return_register,
            is_signal: cie.is_signal,
            personality: cie.personality,
            lsda,
            initial: cie.initial,
            program: r.0,
        })
    }
}

/// The entry at `address`, of a table that a linker wrote. None: not what we know.
///
/// # Safety
/// There is one, in memory that stays.
pub unsafe fn at<'a>(address: *const u8) -> Option<Fde<'a>> {
    // SAFETY: the caller's promise: its length comes first, then the way back to its unit.
    unsafe {
        let body = |at: *const u8| {
            let n = at.cast::<u32>().read_unaligned() as usize;
            (n != 0xFFFF_FFFF && n >= 4).then(|| std::slice::from_raw_parts(at.add(8), n - 4))
        };
        let back = address.add(4).cast::<u32>().read_unaligned() as usize;
        fde(cie(body(address.add(4).sub(back))?)?, body(address)?)
    }
}

/// Calls `f` for each entry. False: the table is not well-formed, or something in it is not what we know.
///
/// # Safety
/// Where addresses in it are indirect, they are valid.
pub unsafe fn walk<'a>(table: &'a [u8], mut f: impl FnMut(Fde<'a>) -> bool) -> bool {
    let mut at = 0;
    let body = |at: usize| -> Option<(u64, &'a [u8], usize)> {
        let mut r = Reader(table.get(at..)?);
        let n = r.unsigned(4)? as usize;
        if n == 0 {
            return Some((0, &[], 0));
        }
        let mut all = Reader(r.take(n)?); // (64-bit DWARF, 0xFFFF_FFFF, is longer than any table here)
        let id = all.unsigned(4)?;
        Some((id, all.0, n))
    };
    while at + 4 <= table.len() {
        let Some((id, rest, n)) = body(at) else {
            return false;
        };
        if n == 0 {
            return true; // the end, also when more is there
        }
        if id == 0 {
            // SAFETY: the caller's promise.
            if unsafe { cie(rest) }.is_none() {
                return false;
            }
        } else {
            let unit = (at + 4).checked_sub(id as usize).and_then(body);
            // SAFETY: the caller's promise.
            let entry = unsafe {
                match unit {
                    Some((0, unit, 1..)) => cie(unit).and_then(|cie| fde(cie, rest)),
                    _ => None,
                }
            };
            if !entry.is_some_and(&mut f) {
                return false;
            }
        }
        at += 4 + n;
    }
    at == table.len()
}

/// A table under construction.
#[derive(Default)]
pub struct Table {
    bytes: Vec<u8>,
    /// The last unit, and what is in it: entries that came together mostly share it.
    unit: Option<(usize, Vec<u8>)>,
}

impl Table {
    /// Adds an entry, with absolute addresses. `handles`: with its personality; else without.
    pub fn add(&mut self, fde: &Fde, handles: bool) {
        let with_handler = handles && fde.personality != 0;
        let mut unit = vec![0, 0, 0, 0, 1];
        unit.extend(if fde.is_signal { &b"zRS"[..] } else { b"zR" });
        unit.extend(if with_handler { &b"PL\0"[..] } else { b"\0" });
        uleb(&mut unit, fde.code_align);
        sleb(&mut unit, fde.data_align);
        unit.push(fde.return_register as u8);
        if with_handler {
            unit.extend([11, ABSOLUTE, ABSOLUTE]);
            unit.extend(fde.personality.to_le_bytes());
            unit.push(ABSOLUTE);
        } else {
            unit.extend([1, ABSOLUTE]);
        }
        unit.extend(fde.initial);
        if self.unit.as_ref().is_none_or(|(_, last)| *last != unit) {
            let at = self.put(&unit);
            self.unit = Some((at, unit));
        }
        let unit_at = self.unit.as_ref().map_or(0, |(at, _)| *at);
        let mut entry = ((self.bytes.len() + 4 - unit_at) as u32).to_le_bytes().to_vec();
        entry.extend(fde.pc.to_le_bytes());
        entry.extend(fde.bytes.to_le_bytes());
        if with_handler {
            entry.push(8);
            entry.extend(fde.lsda.to_le_bytes());
        } else {
            entry.push(0);
        }
        entry.extend(fde.program);
        self.put(&entry);
    }

    /// Gives where it lies.
    fn put(&mut self, body: &[u8]) -> usize {
        let at = self.bytes.len();
        let padded = (body.len() + 4).next_multiple_of(8) - 4; // with its length field a multiple of 8
        self.bytes.extend((padded as u32).to_le_bytes());
        self.bytes.extend(body);
        self.bytes.resize(at + 4 + padded, 0); // DW_CFA_nop
        at
    }

    /// The table, with its end; empty if nothing was added.
    pub fn finish(mut self) -> Vec<u8> {
        if !self.bytes.is_empty() {
            self.bytes.extend([0; 4]);
        }
        self.bytes
    }
}

fn uleb(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

fn sleb(to: &mut Vec<u8>, mut value: i64) {
    while !(-0x40..0x40).contains(&value) {
        to.push(value as u8 & 0x7F | 0x80);
        value >>= 7;
    }
    to.push(value as u8 & 0x7F);
}

/// Bytes of a function that its `push rbp; mov rbp, rsp` is looked for in.
pub const PROLOGUE_WITHIN: usize = 64;

/// Where `push rbp; mov rbp, rsp` is in these first bytes of a function.
pub fn prologue(head: &[u8]) -> Option<usize> {
    const PROLOGUES: [&[u8]; 2] = [b"\x55\x48\x89\xE5", b"\x55\x48\x8B\xEC"];
    head.windows(4).position(|bytes| PROLOGUES.contains(&bytes))
}

/// The most bytes of a `more:` sequence.
pub const MORE_BYTES: usize = 24;

/// Where this code goes for more stack, as docs/jit.md writes it, each from its `mov r10d` to its end: there the function has no frame.
pub fn mores(code: &[u8]) -> impl Iterator<Item = Range<usize>> {
    (0..code.len()).filter_map(|start| {
        let more = &code[start..];
        let is_loads = matches!(more, [0x41, 0xBA, _, _, _, _, 0x41, 0xBB, ..]);
        let mut bytes = match more.get(12..)? {
            [0xE8, ..] if is_loads => 17,       // call goroutine_more_stack_prologue
            [0xFF, 0x15, ..] if is_loads => 18, // the same, through a word
            _ => return None,
        };
        bytes += usize::from(more.get(bytes) == Some(&0xC3));
        bytes += match more.get(bytes) {
            Some(0xE9) => 5, // jmp body
            Some(0xEB) => 2,
            _ => 0,
        };
        Some(start..start + bytes.min(more.len()))
    })
}

/// For a function with frame pointers and without a table: `push rbp; mov rbp, rsp` somewhere in its first instructions, if they are
/// found. The entry is right from there on, up to its last instructions, and in `more:` behind them.
pub fn with_frame_pointer(code: &[u8]) -> Vec<u8> {
    const DEF_CFA: u8 = 0x0C;
    const OFFSET_RBP: u8 = 0x80 | 6;
    const SAME_VALUE: u8 = 0x08;
    const REMEMBER: u8 = 0x0A;
    const RESTORE: u8 = 0x0B;
    let prologue = prologue(&code[..code.len().min(PROLOGUE_WITHIN)]);
    let mut program = Vec::new();
    let mut at = 0;
    if let Some(push) = prologue {
        advance(&mut program, &mut at, push + 1);
        program.extend([DEF_CFA, 7, 16, OFFSET_RBP, 2]);
        advance(&mut program, &mut at, push + 4);
    }
    program.extend([DEF_CFA, 6, 16, OFFSET_RBP, 2]);
    if prologue.is_none() {
        return program;
    }
    let behind = at;
    for more in mores(code).filter(|more| more.start >= behind) {
        advance(&mut program, &mut at, more.start);
        program.extend([REMEMBER, DEF_CFA, 7, 8, SAME_VALUE, 6]);
        advance(&mut program, &mut at, more.end);
        program.push(RESTORE);
    }
    program
}

/// The rows that follow hold from `to` on.
fn advance(program: &mut Vec<u8>, at: &mut usize, to: usize) {
    match to - *at {
        0 => {}
        by @ 1..=0xFF => program.extend([0x02, by as u8]),
        by => {
            program.push(0x04);
            program.extend((by as u32).to_le_bytes());
        }
    }
    *at = to;
}
