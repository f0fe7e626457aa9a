//! Descriptors by number. The table only grows, so looking up is always safe; chunks are made when a number in them is first used.

use super::descriptor::Descriptor;
use crate::wait::Party;
use std::alloc::{Layout, alloc};
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

/// Descriptors that are made together.
pub const CHUNK: usize = 1024;
const CHUNKS: usize = 8192;
/// No chunk from here on was made.
static END: AtomicUsize = AtomicUsize::new(0);

static TABLE: [AtomicPtr<Descriptor<Party>>; CHUNKS] =
    [const { AtomicPtr::new(std::ptr::null_mut()) }; CHUNKS];

/// The descriptor `fd`, 0 to 8,388,607. None: another number, or out of memory.
#[inline]
pub fn descriptor(fd: i32) -> Option<&'static Descriptor<Party>> {
    let number = usize::try_from(fd).ok()?;
    let place = TABLE.get(number / CHUNK)?;
    let mut chunk = place.load(Ordering::Acquire);
    if chunk.is_null() {
        END.fetch_max(number / CHUNK + 1, Ordering::Relaxed);
        chunk = make(place)?;
    }
    // SAFETY: inside the chunk; chunks stay.
    Some(unsafe { &*chunk.add(number % CHUNK) })
}

/// How many chunks there may be.
pub fn chunks() -> usize {
    END.load(Ordering::Relaxed)
}

/// The descriptors of one chunk. None: nobody has used any of them.
pub fn chunk(number: usize) -> Option<&'static [Descriptor<Party>]> {
    let chunk = TABLE.get(number)?.load(Ordering::Acquire);
    // SAFETY: so many were made; chunks stay.
    (!chunk.is_null()).then(|| unsafe { std::slice::from_raw_parts(chunk, CHUNK) })
}

#[cold]
fn make(place: &AtomicPtr<Descriptor<Party>>) -> Option<*mut Descriptor<Party>> {
    let layout = Layout::array::<Descriptor<Party>>(CHUNK).expect("a small constant");
    // SAFETY: the layout is not empty; each place is written before the chunk is published.
    unsafe {
        let chunk = alloc(layout).cast::<Descriptor<Party>>();
        if chunk.is_null() {
            return None;
        }
        for i in 0..CHUNK {
            chunk.add(i).write(Descriptor::new());
        }
        match place.compare_exchange(std::ptr::null_mut(), chunk, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Some(chunk),
            Err(other) => {
                std::alloc::dealloc(chunk.cast(), layout);
                Some(other)
            }
        }
    }
}

/// The number of the descriptor at `address`, for reports.
pub fn number_of(address: usize) -> Option<i32> {
    const BYTES: usize = size_of::<Descriptor<Party>>();
    TABLE.iter().enumerate().find_map(|(i, place)| {
        let chunk = place.load(Ordering::Acquire) as usize;
        let offset = address.checked_sub(chunk)?;
        (chunk != 0 && offset < CHUNK * BYTES).then_some((i * CHUNK + offset / BYTES) as i32)
    })
}

/// In a child of fork: nobody uses them or waits for them.
///
/// # Safety
/// No other thread is there.
pub unsafe fn forget_all() {
    super::hazard::OF_WORKERS.forget();
    for place in &TABLE {
        let chunk = place.load(Ordering::Acquire);
        if !chunk.is_null() {
            for i in 0..CHUNK {
                // SAFETY: inside the chunk; the caller's promise.
                unsafe { (*chunk.add(i)).forget() };
            }
        }
    }
}

/// # Safety
/// Nobody uses a descriptor, or will.
pub unsafe fn free_all() {
    let layout = Layout::array::<Descriptor<Party>>(CHUNK).expect("a small constant");
    for place in &TABLE {
        let chunk = place.swap(std::ptr::null_mut(), Ordering::AcqRel);
        if !chunk.is_null() {
            // SAFETY: allocated so by `make`; the caller's promise.
            unsafe { std::alloc::dealloc(chunk.cast(), layout) };
        }
    }
}

const _: () = assert!(std::mem::size_of::<Descriptor<Party>>() == 64);
