//! Tables for the unwinder that C++ and Rust throw with, libgcc's.
//!
//! | libgcc | keeps its tables in | so |
//! |---|---|---|
//! | before 13 | a list, which each throw walks | neighbours share a table (`tables`) |
//! | from 13 on | a tree of ranges, which must not overlap at any time | each function has a table of its own, from its registration to its end |
//!
//! In a tree one table cannot take the place of another without an instant in which neither is there; in a list it can. Whoever unwinds reads an entry after
//! the look-up, without a lock, so entries stay as long as their function.
//!
//! I1. The list's own record of a table (`struct object`) is read after the look-up, too: whether addresses are absolute, and relative to what. So its memory is
//!     never used for something else, unless all functions of the table are gone: no throw is on its way from them then. Zeros say `absolute`.

use super::cfi::{Fde, Table};
use super::tables::{List, Piece, Tables};
use crate::sys::mem;
use std::alloc::{Layout, handle_alloc_error};
use std::collections::BTreeMap;
use std::ffi::c_void;
use std::ops::Range;

unsafe extern "C" {
    fn __register_frame(table: *const c_void);
    fn __deregister_frame(table: *const c_void);
    fn __register_frame_info_table(tables: *const c_void, record: *mut c_void);
    fn __deregister_frame_info(table: *const c_void) -> *mut c_void;
    fn _Unwind_Find_FDE(pc: *const c_void, bases: *mut [usize; 3]) -> *const u8;
}

/// What the unwinder knows of registered code.
pub enum Unwinder {
    /// It was not looked at which one it is.
    Unknown,
    /// Before 13.
    List(Tables<Libgcc>),
    /// From 13 on: by first address.
    Tree(BTreeMap<usize, Own>),
}

impl Unwinder {
    /// Adds functions, in the order of their addresses. Under the registry's lock, as everything here.
    pub fn add(&mut self, pieces: impl Iterator<Item = Piece>) {
        match self {
            Self::Unknown => {
                *self = if remembers_ranges() {
                    Self::Tree(BTreeMap::new())
                } else {
                    Self::List(Tables::new(Libgcc::new()))
                };
                self.add(pieces);
            }
            Self::List(tables) => forget(tables.add(pieces)),
            Self::Tree(tables) => {
                let pieces: Vec<Piece> = pieces.collect();
                // The last one first: libgcc 13.1 to 14.2 look in the wrong part of the tree where one function has the place of several that are
                // gone and were the first of their part (GCC bug 119151). From high to low that is rarer.
                tables.extend(
                    pieces
                        .into_iter()
                        .rev()
                        .map(|piece| (piece.start(), Own::new(piece))),
                );
            }
        }
    }

    /// The function that begins there is gone.
    pub fn remove(&mut self, start: usize) {
        match self {
            Self::Unknown => {}
            Self::List(tables) => forget(tables.remove(start)),
            Self::Tree(tables) => drop(tables.remove(&start)),
        }
    }
}

/// Entries that the list has given back.
fn forget(gone: Vec<Piece>) {
    if !gone.is_empty() {
        super::MAP.withdraw(|| ()); // a dump may have found one before
    }
}

/// Whether it keeps ranges, as trees do: then it does not see that an entry covers more than when it was registered. (LLVM's libunwind, which
/// takes entries one by one, does not see it either.)
fn remembers_ranges() -> bool {
    static CODE: [u8; 32] = [0; 32];
    let start = CODE.as_ptr() as usize;
    let mut table = Table::default();
    table.add(&Fde::called(start as u64, 16, &[]), false);
    let piece = Piece::new(start, start + 16, &table.finish()).expect("an entry");
    let mut bases = [0; 3];
    // SAFETY: a well-formed table with its end, which stays until it is taken back; any address may be asked about.
    let found = unsafe {
        __register_frame(piece.entries().cast());
        piece.cover(32);
        let found = _Unwind_Find_FDE(CODE.as_ptr().add(24).cast(), &raw mut bases);
        piece.cover(16);
        __deregister_frame(piece.entries().cast());
        found
    };
    !piece.has(found)
}

/// A table of a function's own.
pub struct Own(Piece);

impl Own {
    fn new(piece: Piece) -> Self {
        // SAFETY: a well-formed table with its end, in memory that stays until it is taken back.
        unsafe { __register_frame(piece.entries().cast()) };
        Self(piece)
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // (A dump may have found it.)
        // SAFETY: registered, once.
        super::MAP.withdraw(|| unsafe { __deregister_frame(self.0.entries().cast()) });
    }
}

/// libgcc's list.
pub struct Libgcc {
    records: Records,
}

/// Tables of functions, which are one for the list.
pub struct Joined {
    /// Ends with a null pointer.
    tables: Box<[*const u64]>,
    record: usize,
}

/// A table without entries, whose address is not a multiple of 16: libgcc takes back nothing whose first 32 bits are 0.
#[repr(C, align(16))]
struct Nothing(u64, u64);
static NOTHING: Nothing = Nothing(0, 0);

impl Libgcc {
    const fn new() -> Self {
        Self {
            records: Records::new(),
        }
    }
}

impl List for Libgcc {
    type Table = Joined;

    unsafe fn put(&mut self, entries: &mut dyn Iterator<Item = *const u64>) -> Joined {
        let joined = Joined {
            tables: std::iter::once(&raw const NOTHING.1)
                .chain(entries)
                .chain([std::ptr::null()])
                .collect(),
            record: self.records.make(),
        };
        // SAFETY: well-formed tables with their ends, by the caller's promise, and a record by I1.
        unsafe { __register_frame_info_table(joined.tables.as_ptr().cast(), joined.record as *mut c_void) };
        joined
    }

    fn take(&mut self, table: Joined, is_over: bool) {
        // SAFETY: registered, once.
        let take_back = || unsafe {
            __deregister_frame_info(table.tables.as_ptr().cast());
        };
        if is_over {
            super::MAP.withdraw(take_back); // a dump may be on its way from it to an entry
            self.records.free.push(table.record);
        } else {
            take_back();
            self.records.abandon(table.record);
        }
    }

    fn sort(&mut self, pc: usize) {
        let mut bases = [0; 3];
        // SAFETY: any address may be asked about. It looks at the table that was put last first.
        unsafe { _Unwind_Find_FDE(pc as *const c_void, &raw mut bases) };
    }
}

/// Room for libgcc's `struct object`: 48 bytes.
const RECORD_BYTES: usize = 64;
/// What is reserved at once.
const RECORDS_BYTES: usize = 1 << 18;
const RECORDS_IN_PAGE: u8 = (mem::PAGE / RECORD_BYTES) as u8;

/// Memory for I1: what was abandoned costs address space only.
struct Records {
    /// Of tables that are over.
    free: Vec<usize>,
    /// Not used yet.
    fresh: Range<usize>,
    /// How many were abandoned in a page, where some are not.
    abandoned: BTreeMap<usize, u8>,
}

impl Records {
    const fn new() -> Self {
        Self {
            free: Vec::new(),
            fresh: 0..0,
            abandoned: BTreeMap::new(),
        }
    }

    fn make(&mut self) -> usize {
        if let Some(record) = self.free.pop() {
            return record;
        }
        if self.fresh.is_empty() {
            let start = mem::reserve(RECORDS_BYTES, mem::PAGE);
            let start = start.unwrap_or_else(|| handle_alloc_error(Layout::new::<[u8; RECORDS_BYTES]>()));
            self.fresh = start as usize..start as usize + RECORDS_BYTES;
        }
        let record = self.fresh.start;
        self.fresh.start += RECORD_BYTES;
        record
    }

    fn abandon(&mut self, record: usize) {
        let page = record & !(mem::PAGE - 1);
        let abandoned = self.abandoned.entry(page).or_default();
        *abandoned += 1;
        if *abandoned == RECORDS_IN_PAGE {
            self.abandoned.remove(&page);
            // SAFETY: memory of ours that is only read from now on, and may be zeros (I1).
            unsafe {
                mem::discard(&[libc::iovec {
                    iov_base: page as *mut c_void,
                    iov_len: mem::PAGE,
                }]);
            }
        }
    }
}
