//! Timer slots: 64 bytes each, in a table that only grows, found by number.
//!
//! A table and not a pointer, because ids come from anywhere at any time: a slot's number is always safe to look up.

use super::state::{GENERATION_BITS, TimerWord};
use crate::abi::GoroutineSpawn;
use crate::sys::mutex::Mutex;
use std::cell::UnsafeCell;
use std::ffi::c_void;
use std::sync::atomic::{AtomicPtr, Ordering};

const CHUNK: usize = 4096;
const CHUNKS: usize = 4096;
const SLOT_BITS: u32 = 24;

/// What happens when it is due.
#[derive(Clone, Copy)]
pub enum Target {
    /// Ready this park with a time-out.
    Park {
        /// Whose.
        g: *mut crate::goroutine::Goroutine,
        /// Which.
        sequence: u64,
    },
    /// Run a function in a goroutine of its own.
    Call {
        /// The function.
        f: u64,
        /// Its argument.
        arg: *mut c_void,
    },
}

/// What only some timers have.
pub struct Options {
    /// How to spawn, if not plainly; `fn` and rdi are replaced.
    pub spawn: Option<GoroutineSpawn>,
    /// Its name, owned.
    pub name: Option<std::ffi::CString>,
    /// Called once at the end.
    pub drop: crate::abi::GoroutineDropFn,
    /// Does not keep the program alive.
    pub unref: bool,
}

/// The fields that `TimerWord` guards (its I3).
pub struct Fields {
    /// When it is due, CLOCK_MONOTONIC.
    pub deadline: u64,
    /// 0: once.
    pub period: u64,
    /// What happens.
    pub target: Target,
    /// Rare things.
    pub options: Option<Box<Options>>,
    /// In which wheel: a worker's index, or SHARED.
    pub wheel: u16,
    /// Where in the wheel.
    pub bucket: u16,
    /// Where in the bucket.
    pub index: u32,
}

/// One timer.
#[repr(C, align(64))]
pub struct Slot {
    /// Its state.
    pub word: TimerWord,
    fields: UnsafeCell<Fields>,
}
const _: () = assert!(std::mem::size_of::<Slot>() == 64);

impl Slot {
    /// # Safety
    /// `TimerWord` I3: the caller owns the fields now.
    #[inline(always)]
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn fields(&self) -> &mut Fields {
        // SAFETY: the caller's promise.
        unsafe { &mut *self.fields.get() }
    }
    /// The wheel it was put into last. Any thread, after it saw the slot armed: it does not change while it is.
    pub fn wheel(&self) -> u16 {
        // SAFETY: written before the arming that the caller has acquired.
        unsafe { (&raw const (*self.fields.get()).wheel).read_volatile() }
    }
    /// Whether it calls a function, or else readies a park. What it says of a use that is over does not matter.
    pub fn is_call(&self) -> bool {
        // SAFETY: as above; plain data.
        let target = unsafe { (&raw const (*self.fields.get()).target).read_volatile() };
        matches!(target, Target::Call { .. })
    }
    /// Whether it is periodic; as [`Slot::wheel`].
    pub fn is_periodic(&self) -> bool {
        // SAFETY: as above.
        unsafe { (&raw const (*self.fields.get()).period).read_volatile() != 0 }
    }
}

static TABLE: [AtomicPtr<Slot>; CHUNKS] = [const { AtomicPtr::new(std::ptr::null_mut()) }; CHUNKS];

/// The spare slots.
pub struct Spare {
    free: Vec<u32>,
    chunks: usize,
}
static SPARE: Mutex<Spare> = Mutex::new(Spare {
    free: Vec::new(),
    chunks: 0,
});

/// The lock, to be held across fork.
pub fn spare() -> &'static Mutex<Spare> {
    &SPARE
}

/// In a child of fork: the armed timers belong to a runtime that is gone, and their slots with them.
pub fn forget_all() {
    for chunk in &TABLE {
        let first = chunk.load(Ordering::Acquire);
        if first.is_null() {
            return;
        }
        for i in 0..CHUNK {
            // SAFETY: inside the chunk. The slot goes to no free list: it is lost.
            let _ = unsafe { (*first.add(i)).word.forget() };
        }
    }
}

/// # Safety
/// No timer is armed, and nobody will call anything here.
pub unsafe fn free_all() {
    let layout = std::alloc::Layout::array::<Slot>(CHUNK).expect("a small constant");
    let mut spare = SPARE.lock();
    spare.free = Vec::new();
    for place in &TABLE[..std::mem::take(&mut spare.chunks)] {
        let chunk = place.swap(std::ptr::null_mut(), Ordering::AcqRel);
        // SAFETY: allocated so by `take`; the caller's promise. (The options of a timer go when it ends.)
        unsafe { std::alloc::dealloc(chunk.cast(), layout) };
    }
}

/// The slot of a number that came from `take`.
#[inline(always)]
pub fn slot(number: u32) -> &'static Slot {
    let chunk = TABLE[number as usize / CHUNK].load(Ordering::Acquire);
    // SAFETY: numbers come from `take` (or were checked by `lookup`), after their chunk was made; chunks stay.
    unsafe { &*chunk.add(number as usize % CHUNK) }
}

/// The public id of an armed slot.
#[inline(always)]
pub fn id(number: u32, generation: u64) -> i64 {
    (generation << SLOT_BITS) as i64 | i64::from(number)
}

/// Slot and generation of an id that somebody passed in; None: no such id can exist.
pub fn lookup(id: i64) -> Option<(u32, u64)> {
    let number = id as u32 & ((1 << SLOT_BITS) - 1);
    let generation = (id as u64) >> SLOT_BITS;
    let known = id > 0
        && generation >> GENERATION_BITS == 0
        && !TABLE[number as usize / CHUNK].load(Ordering::Acquire).is_null();
    known.then_some((number, generation))
}

/// Moves up to `count` free slot numbers to `out`. False: out of memory, or 16,777,216 slots are in use.
pub fn take(count: usize, out: &mut Vec<u32>) -> bool {
    let mut spare = SPARE.lock();
    if spare.free.is_empty() {
        if spare.chunks == CHUNKS {
            return false;
        }
        let layout = std::alloc::Layout::array::<Slot>(CHUNK).expect("a small constant");
        // SAFETY: the layout is not empty.
        let chunk = unsafe { std::alloc::alloc(layout) }.cast::<Slot>();
        if chunk.is_null() {
            return false;
        }
        for i in 0..CHUNK {
            let fields = UnsafeCell::new(Fields {
                deadline: 0,
                period: 0,
                target: Target::Call {
                    f: 0,
                    arg: std::ptr::null_mut(),
                },
                options: None,
                wheel: 0,
                bucket: 0,
                index: 0,
            });
            // SAFETY: inside the chunk.
            unsafe {
                chunk.add(i).write(Slot {
                    word: TimerWord::new(),
                    fields,
                })
            };
        }
        let first = (spare.chunks * CHUNK) as u32;
        TABLE[spare.chunks].store(chunk, Ordering::Release);
        spare.chunks += 1;
        spare.free.extend((first..first + CHUNK as u32).rev());
    }
    let keep = spare.free.len().saturating_sub(count);
    out.extend(spare.free.drain(keep..));
    true
}

/// Free slot numbers come back.
pub fn give_back(numbers: impl Iterator<Item = u32>) {
    SPARE.lock().free.extend(numbers);
}

/// Every slot that was ever made.
pub fn for_each(mut f: impl FnMut(&'static Slot)) {
    for (chunk, first) in TABLE.iter().zip((0u32..).step_by(CHUNK)) {
        if chunk.load(Ordering::Acquire).is_null() {
            break;
        }
        (first..first + CHUNK as u32).for_each(|number| f(slot(number)));
    }
}

/// Ids of the armed timers that call a function. Those started meanwhile may be missing.
pub fn armed_calls() -> Vec<i64> {
    let mut ids = Vec::new();
    for (chunk, first) in TABLE.iter().zip((0u32..).step_by(CHUNK)) {
        if chunk.load(Ordering::Acquire).is_null() {
            break;
        }
        for number in first..first + CHUNK as u32 {
            let timer = slot(number);
            if let Some(generation) = timer.word.armed() {
                // A slot that is reused meanwhile gives an id that is stale, which a stop answers with Nothing.
                if timer.is_call() {
                    ids.push(id(number, generation));
                }
            }
        }
    }
    ids
}
