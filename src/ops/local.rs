//! Goroutine-local values: a word per key, dropped when the goroutine ends.
//!
//! A goroutine that has any has a block of them; most have none, so the control block holds the block's number only. Blocks lie in a
//! table that grows by chunks and never shrinks; a block is its goroutine's alone, from the number's coming to its going.
//!
//! So there is no handshake between threads, and no model: numbers and keys are given out under one lock, and what everybody reads without it
//! (how many keys there are, where a chunk is) is written once and published by a store (Release).

use crate::abi::*;
use crate::context::{goroutine_asm_call, note_control_words, tls};
use crate::goroutine::{EXTRAS, Goroutine};
use crate::sys::mutex::Mutex;
use crate::sys::report;
use std::cell::UnsafeCell;
use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering};

const KEYS: usize = 1024;
const CHUNK: usize = 1024;
const CHUNKS: usize = 16 * 1024;

/// Values by key; as long as the highest key that was set.
type Block = UnsafeCell<Vec<*mut c_void>>;

/// Keys given out. Release, after the key's `drop`.
static COUNT: AtomicU32 = AtomicU32::new(0);
/// What drops a key's values, 0: nothing does. Written once, before the key is given out.
static DROPS: [AtomicUsize; KEYS] = [const { AtomicUsize::new(0) }; KEYS];
static TABLE: [AtomicPtr<Block>; CHUNKS] = [const { AtomicPtr::new(null_mut()) }; CHUNKS];
static SPARE: Mutex<Spare> = Mutex::new(Spare {
    numbers: Vec::new(),
    next: 1,
});

/// Numbers of blocks that nobody has.
pub struct Spare {
    numbers: Vec<u32>,
    next: u32,
}

/// The lock, to be held across fork.
pub fn spare() -> &'static Mutex<Spare> {
    &SPARE
}

/// # Safety
/// No goroutine has values, and nobody will ask for any.
pub unsafe fn free_all() {
    let mut spare = SPARE.lock();
    spare.numbers = Vec::new();
    for place in &TABLE {
        let chunk = place.swap(null_mut(), Ordering::AcqRel);
        if !chunk.is_null() {
            // SAFETY: a leaked Vec of so many, of which nobody has one; the caller's promise.
            drop(unsafe { Vec::from_raw_parts(chunk, CHUNK, CHUNK) });
        }
    }
}

impl Spare {
    fn take(&mut self) -> Option<u32> {
        if let Some(number) = self.numbers.pop() {
            return Some(number);
        }
        let number = self.next;
        let chunk = TABLE.get(number as usize / CHUNK)?;
        if chunk.load(Ordering::Relaxed).is_null() {
            let mut blocks = Vec::new();
            blocks.try_reserve_exact(CHUNK).ok()?;
            blocks.resize_with(CHUNK, || Block::new(Vec::new()));
            // Release: who gets a number of it, by whatever way, finds the chunk.
            chunk.store(blocks.leak().as_mut_ptr(), Ordering::Release);
        }
        // Room to take it back, when nobody can be told that there is none.
        let taken = self.next as usize;
        self.numbers.try_reserve(taken + 1).ok()?;
        self.next += 1;
        Some(number)
    }
}

/// # Safety
/// `number` is the caller's goroutine's, and no other reference to its block is live.
unsafe fn block<'a>(number: u32) -> &'a mut Vec<*mut c_void> {
    let chunk = TABLE[number as usize / CHUNK].load(Ordering::Acquire);
    // SAFETY: the number was given out, so the chunk is there; the caller's promise.
    unsafe { &mut *(*chunk.add(number as usize % CHUNK)).get() }
}

/// `goroutine_local_key`. None: there are no more.
pub fn key(drop_value: GoroutineDropFn) -> Option<u32> {
    let _one_at_a_time = SPARE.lock();
    let count = COUNT.load(Ordering::Relaxed);
    let place = DROPS.get(count as usize)?;
    place.store(drop_value.map_or(0, |f| f as usize), Ordering::Relaxed);
    COUNT.store(count + 1, Ordering::Release);
    Some(count + 1)
}

fn index(key: u32) -> Option<usize> {
    (key != 0 && key <= COUNT.load(Ordering::Acquire)).then(|| key as usize - 1)
}

/// `goroutine_local_set`.
///
/// # Safety
/// What drops the key's values may be called with this one.
pub unsafe fn set(key: u32, value: *mut c_void) {
    let g = tls::current();
    let Some(index) = index(key) else { return };
    // SAFETY: the running goroutine's.
    unsafe {
        if !g.is_null() && !set_at(g, index, value) {
            report::fatal("no memory for a goroutine-local value");
        }
    }
}

/// # Safety
/// `g` is the running goroutine.
unsafe fn set_at(g: *mut Goroutine, index: usize, value: *mut c_void) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        if (*g).locals == 0 {
            if value.is_null() {
                return true;
            }
            let Some(number) = SPARE.lock().take() else {
                return false;
            };
            (*g).locals = number;
            (*g).spawn_flags |= EXTRAS; // its end looks
        }
        let values = block((*g).locals);
        if values.len() <= index {
            if values.try_reserve(index + 1 - values.len()).is_err() {
                return false;
            }
            values.resize(index + 1, null_mut());
        }
        values[index] = value;
        true
    }
}

/// `goroutine_local_get`.
pub fn get(key: u32) -> *mut c_void {
    let g = tls::current();
    // SAFETY: the running goroutine's.
    unsafe {
        if g.is_null() || (*g).locals == 0 || key == 0 {
            return null_mut();
        }
        block((*g).locals)
            .get(key as usize - 1)
            .copied()
            .unwrap_or(null_mut())
    }
}

/// Where its values lie.
///
/// # Safety
/// `number` is that of a goroutine that stands, or runs here.
pub unsafe fn for_each_value(number: u32, show: &mut dyn FnMut(*mut *mut c_void)) {
    // SAFETY: the caller's promise.
    for value in unsafe { block(number) } {
        show(value);
    }
}

/// Its goroutine is over.
///
/// # Safety
/// `g` is over and the caller's. No lock is held.
#[cold]
pub unsafe fn drop_all(g: *mut Goroutine) {
    // SAFETY: the caller's promise; the functions and values are the user's.
    unsafe {
        let number = std::mem::take(&mut (*g).locals);
        let values = std::mem::take(block(number));
        for (index, &value) in values.iter().enumerate() {
            let drop_value = DROPS[index].load(Ordering::Relaxed);
            if !value.is_null() && drop_value != 0 {
                goroutine_asm_call(drop_value, value as usize, 0, 0);
            }
        }
        note_control_words();
        SPARE.lock().numbers.push(number);
    }
}
