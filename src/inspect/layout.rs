//! What a debugger needs to find goroutines in a process or a core file, whatever it knows of our types: tools/gdb/goroutine-gdb.py.
//!
//! One exported table of words, so that it is found in a stripped library, too. Only ever added to: word 0 says how many there are.

use crate::context::tls;
use crate::goroutine::{FORKS, Goroutine};
use crate::ops::mutex::WORD;
use crate::ops::rwlock;
use crate::promise::{SETTLER, SETTLER_MASK};
use crate::sched::Worker;
use crate::stack;
use std::mem::{offset_of, size_of};
use std::sync::atomic::{AtomicU64, Ordering};

/// A word: a number, or an address.
#[repr(C)]
union Word {
    number: u64,
    address: *const (),
}

const fn number(number: usize) -> Word {
    Word {
        number: number as u64,
    }
}

/// See the module's head.
#[repr(C)]
pub struct Layout {
    words: [Word; WORDS],
    /// From `fs` to the word of the running goroutine; the worker's comes next. 0 before a start.
    tls_offset: AtomicU64,
    more: [Word; MORE],
}
// SAFETY: constants, and an atomic.
unsafe impl Sync for Layout {}

const WORDS: usize = 26;
const MORE: usize = 4;

/// What debuggers read.
#[unsafe(no_mangle)]
#[used]
pub static goroutine_debug_layout: Layout = Layout {
    words: [
        number(WORDS + 1 + MORE),
        Word {
            address: stack::REGIONS.as_ptr().cast(),
        },
        number(stack::REGIONS.len()),
        number(stack::REGION_SHIFT as usize),
        number(stack::COLOURS),
        number(size_of::<Goroutine>()),
        Word {
            address: (&raw const FORKS).cast(),
        },
        number(offset_of!(Goroutine, forks)),
        number(offset_of!(Goroutine, id)),
        number(offset_of!(Goroutine, flags)),
        number(offset_of!(Goroutine, foreign_sp)),
        number(offset_of!(Goroutine, park)),
        number(offset_of!(Goroutine, next)),
        number(offset_of!(Goroutine, spawn_flags)),
        number(offset_of!(Goroutine, entry_fn)),
        number(offset_of!(Goroutine, name)),
        number(offset_of!(Goroutine, rsp)),
        number(offset_of!(Goroutine, rbx)),
        number(offset_of!(Goroutine, rbp)),
        number(offset_of!(Goroutine, r12)),
        number(offset_of!(Goroutine, r13)),
        number(offset_of!(Goroutine, r14)),
        number(offset_of!(Goroutine, r15)),
        number(offset_of!(Worker, index)),
        number(WORD),
        number(crate::wait::lock::NUMBER_SHIFT as usize),
    ],
    tls_offset: AtomicU64::new(0),
    more: [
        number(offset_of!(Goroutine, site)),
        number(rwlock::WRITER),
        number(SETTLER),
        number(SETTLER_MASK),
    ],
};

/// At a start: what only a running process knows. (And a use, so that no linker leaves the table out.)
pub fn complete() {
    let offset = i64::from(tls::offset()) as u64;
    std::hint::black_box(&goroutine_debug_layout)
        .tls_offset
        .store(offset, Ordering::Relaxed);
}
