//! The smallest ELF image that names functions: for GDB, which reads it from our memory.
//!
//! It is a relocatable object whose sections have addresses already, as JIT compilers hand them over: one section without contents for
//! each stretch of code (never for what lies between: that may be another image's), the symbols, and the unwind table.

use super::Function;
use super::cfi::{Fde, Table, with_frame_pointer};
use crate::abi::GOROUTINE_CODE_FRAME_POINTER;

const HEADER_BYTES: usize = 64;
const SECTION_BYTES: usize = 64;
/// Functions that lie closer than this are one stretch: compilers align them.
const GAP: usize = 16;
/// Section numbers from here on mean something else.
const SECTIONS_MAX: usize = 0xFF00;

const PROGBITS: u32 = 1;
const SYMTAB: u32 = 2;
const STRTAB: u32 = 3;
const NOBITS: u32 = 8;
const ALLOC: u64 = 2;
const EXECINSTR: u64 = 4;

/// Names of the sections, with their NULs; the offsets are below.
const SECTION_NAMES: &[u8] = b"\0.text\0.eh_frame\0.symtab\0.strtab\0.shstrtab\0";
const TEXT: u32 = 1;
const EH_FRAME: u32 = 7;
const SYMTAB_NAME: u32 = 17;
const STRTAB_NAME: u32 = 25;
const SHSTRTAB_NAME: u32 = 33;

#[derive(Default)]
struct Image {
    bytes: Vec<u8>,
    sections: Vec<[u64; 8]>,
}

impl Image {
    fn put(&mut self, contents: &[u8]) -> u64 {
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        let at = self.bytes.len() as u64;
        self.bytes.extend(contents);
        at
    }

    fn section(&mut self, kind: &Kind, flags: u64, address: u64, at: u64, bytes: u64) {
        let pair = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        self.sections.push([
            pair(kind.name, kind.kind),
            flags,
            address,
            at,
            bytes,
            pair(kind.link, kind.info),
            1,
            kind.entry_bytes,
        ]);
    }
}

/// What a section is.
#[derive(Default)]
struct Kind {
    name: u32,
    kind: u32,
    /// The section that its words speak of.
    link: u32,
    info: u32,
    entry_bytes: u64,
}

/// An image for these, in the order of their addresses.
pub fn image(functions: &[&Function]) -> Vec<u8> {
    let mut image = Image::default();
    image.bytes.resize(HEADER_BYTES, 0);
    image.sections.push([0; 8]);
    let mut names = vec![0u8];
    let mut symbols = vec![0u8; 24];
    let mut table = Table::default();
    let mut stretch: Option<(usize, usize)> = None;
    for f in functions {
        match &mut stretch {
            Some((_, end)) if f.start - *end < GAP => *end = f.end,
            _ => {
                close(&mut image, stretch);
                stretch = Some((f.start, f.end));
            }
        }
        let (start, _) = stretch.unwrap_or_default();
        symbols.extend((names.len() as u32).to_le_bytes());
        symbols.extend([0x12, 0]); // global, a function
        symbols.extend((image.sections.len() as u16).to_le_bytes()); // of the stretch that is open
        symbols.extend(((f.start - start) as u64).to_le_bytes());
        symbols.extend(((f.end - f.start) as u64).to_le_bytes());
        names.extend(f.name.to_bytes_with_nul());
        add_frames(&mut table, f);
    }
    close(&mut image, stretch);
    let table = table.finish();
    if !table.is_empty() {
        let at = image.put(&table);
        // Its addresses are absolute, so where it lies is of no interest, but no code may lie there.
        image.section(&of(EH_FRAME, PROGBITS), ALLOC, at, at, table.len() as u64);
    }
    let symtab = Kind {
        link: image.sections.len() as u32 + 1, // the names come next
        info: 1,                               // the first global one
        entry_bytes: 24,
        ..of(SYMTAB_NAME, SYMTAB)
    };
    for (kind, contents) in [
        (symtab, &symbols[..]),
        (of(STRTAB_NAME, STRTAB), &names[..]),
        (of(SHSTRTAB_NAME, STRTAB), SECTION_NAMES),
    ] {
        let at = image.put(contents);
        image.section(&kind, 0, 0, at, contents.len() as u64);
    }
    finish(image)
}

fn of(name: u32, kind: u32) -> Kind {
    Kind {
        name,
        kind,
        ..Kind::default()
    }
}

fn close(image: &mut Image, stretch: Option<(usize, usize)>) {
    if let Some((start, end)) = stretch {
        let bytes = (end - start) as u64;
        image.section(&of(TEXT, NOBITS), ALLOC | EXECINSTR, start as u64, 0, bytes);
    }
}

/// What debuggers unwind by: the table that came with it, or what frame pointers say.
fn add_frames(table: &mut Table, f: &Function) {
    for fde in &f.frames {
        table.add(&fde.view(), false);
    }
    if f.frames.is_empty() && f.flags & GOROUTINE_CODE_FRAME_POINTER != 0 {
        // SAFETY: the code is there while it is registered.
        let code = unsafe { std::slice::from_raw_parts(f.start as *const u8, f.end - f.start) };
        let (pc, bytes) = (f.start as u64, code.len() as u64);
        table.add(&Fde::called(pc, bytes, &with_frame_pointer(code)), false);
    }
}

fn finish(mut image: Image) -> Vec<u8> {
    let count = image.sections.len();
    debug_assert!(count < SECTIONS_MAX);
    let headers: Vec<u8> = (image.sections.iter().flatten())
        .flat_map(|word| word.to_le_bytes())
        .collect();
    let at = image.put(&headers);
    let header = &mut image.bytes[..HEADER_BYTES];
    header[..20].copy_from_slice(b"\x7FELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x01\0\x3E\0"); // 64 bits, little endian, relocatable, x86-64
    header[20] = 1;
    header[40..48].copy_from_slice(&at.to_le_bytes());
    header[52] = HEADER_BYTES as u8;
    header[58] = SECTION_BYTES as u8;
    header[60..62].copy_from_slice(&(count as u16).to_le_bytes());
    header[62..64].copy_from_slice(&(count as u16 - 1).to_le_bytes());
    image.bytes
}
