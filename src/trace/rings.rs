//! Whose ring is whose. A thread makes a ring at its first event of a trace, without a lock: a mapping, and one word in a list that the
//! writer empties. Where it fills that faster than the writer reads, it goes on in a big one, and closes the first.
//!
//! ```text
//!   first event of a trace          half full: 512 events, unread
//!   no ring ------------> small: 32 KiB ------------> big: 2 MiB    closed: at the thread's end, by a key's destructor;
//!                            |                         |            at its first event of the next trace
//!                            `-----------> closed <----'            freed: when a writer finds that, or with the runtime
//! ```
//!
//! R1. All memory of a ring is there before its first event (`make`), for a page fault costs as much as fifty events, and two megabytes cost their
//!     clearing. Of big rings some are ready before anybody wants one (`SPARES`): who starts a trace makes them, and the writer makes the
//!     next. Who finds none makes its own. Where the kernel gives huge pages, a big ring is one.
//! R2. Threads that record little have little: no matter how long a trace, one that the writer keeps up with stays in its small ring.
//! R3. A thread has one ring that is not closed. What it closed has all its earlier events, and none is missing at its end: it is left
//!     when it just had room. The writer gets to know the later ring later, and reads both on one track.
//!
//! Rejected: a chunk of the ring ahead, by the thread (at 4 KiB a page still 7 ns per event) or by the writer (late where CPUs are scarce); all of a big
//! ring at a thread's first event (a thousand threads that call C now and then would have 2 GiB); big rings for all workers when a
//! trace starts (those that idle never use them).

use super::event::Record;
use super::ring::Ring;
use crate::context::tls;
use crate::sync::Guarded;
use crate::sys::clock::{self, ticks};
use crate::sys::mem;
use crate::sys::time::now_ns;
use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

/// Events that a small ring holds: 32 KiB. So many in 5 ms, of which half, is what the writer keeps up with.
const SMALL: u32 = 1 << 10;
/// A big one: 2 MiB, a huge page.
const BIG: u32 = 1 << 16;
/// A ring's head is in the page before its slots.
const HEAD_BYTES: usize = mem::PAGE;
const _: () = assert!(size_of::<ThreadRing>() <= HEAD_BYTES);

/// A thread's ring.
pub struct ThreadRing {
    /// See there.
    pub ring: Ring<Record>,
    /// The thread's number for the kernel ...
    pub thread: u32,
    /// ... and its name.
    pub name: [u8; 16],
    /// The thread had another one before.
    pub goes_on: bool,
    /// The trace for which the thread records in it. (T2: an event may come later.)
    trace: u32,
    /// Whether times are counter ticks.
    pub by_counter: bool,
    /// What is mapped for it.
    mapping: (*mut u8, usize),
    /// Its slots.
    slots: libc::iovec,
    /// Those that came before it, while it is in `ARRIVED`.
    next: *mut ThreadRing,
}

impl ThreadRing {
    /// Now, as it is recorded.
    pub fn now(&self) -> u64 {
        if self.by_counter { ticks() } else { now_ns() }
    }

    /// How many events of trace `number` it lost.
    pub fn lost(&self, number: u32) -> u64 {
        if self.trace == number { self.ring.lost() } else { 0 }
    }
}

/// Big rings that are ready, and nobody's. Whoever takes one out with a swap has it. Filled by who starts a trace and then by its writer, emptied at its
/// end; in between threads take.
static SPARES: [AtomicPtr<ThreadRing>; SPARES_MAX] = [const { AtomicPtr::new(null_mut()) }; SPARES_MAX];
/// 8 MiB, and a millisecond of a start at most.
const SPARES_MAX: usize = 4;
/// Rings that no writer has: new ones, and all between two traces.
static ARRIVED: AtomicPtr<ThreadRing> = AtomicPtr::new(null_mut());
/// A thread's ring is good if the trace that stands beside it is a later one than this: rings of earlier runtimes, or of the parent of
/// a fork, are gone.
static FORGOTTEN: AtomicU32 = AtomicU32::new(0);
/// The key, and 1 added to it; 0: none.
static KEY: AtomicU64 = AtomicU64::new(0);
/// Events for which no ring could be made.
static HOMELESS: AtomicU64 = AtomicU64::new(0);

/// The calling thread's ring for trace `number`, if it has one.
#[inline(always)]
pub fn own_or_none(number: u32) -> Option<&'static ThreadRing> {
    let (ring, of) = tls::trace_ring();
    if of != number as usize {
        return None;
    }
    // SAFETY: T1; null while there is none, for trace 0.
    unsafe { (ring as *const ThreadRing).as_ref() }
}

/// The calling thread's ring for trace `number`. None: no trace, or no memory.
pub fn own(number: u32) -> Option<&'static ThreadRing> {
    own_or_none(number).or_else(|| make_own(number))
}

#[cold]
#[inline(never)]
fn make_own(number: u32) -> Option<&'static ThreadRing> {
    if number == 0 {
        return None;
    }
    keeps_errno(|| {
        let Some(ring) = make(SMALL) else {
            HOMELESS.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        // SAFETY: just made; this thread's.
        unsafe { go_on_in(ring, number) };
        // SAFETY: it lives until its thread ends, or the runtime does, after which its number is not good any more. It is this thread's.
        Some(unsafe { &*ring })
    })
}

/// The calling thread's ring is half full: it goes on in a big one, if there is memory, and if the ring is not big already.
#[cold]
#[inline(never)]
pub fn grow(from: &ThreadRing, number: u32) {
    let is_big = from.slots.iov_len > SMALL as usize * size_of::<Record>();
    if is_big || from.trace != number {
        return;
    }
    keeps_errno(|| {
        if let Some(ring) = take_spare().or_else(|| make(BIG)) {
            // SAFETY: the caller's from here on; R3: `from` has room, so nothing is missing at its end.
            unsafe { go_on_in(ring, number) };
        }
    });
}

/// Tracing is asked for in the middle of calls that give errors there.
fn keeps_errno<T>(f: impl FnOnce() -> T) -> T {
    // SAFETY: the calling thread's errno.
    unsafe {
        let errno = *libc::__errno_location();
        let result = f();
        *libc::__errno_location() = errno;
        result
    }
}

/// The calling thread records in `ring` from now on, for trace `number`.
///
/// # Safety
/// The ring is the caller's, new, and known to nobody else.
unsafe fn go_on_in(ring: *mut ThreadRing, number: u32) {
    let (old, of) = tls::trace_ring();
    let old = old as *mut ThreadRing;
    let had_one = !old.is_null() && of as u32 > FORGOTTEN.load(Ordering::Acquire);
    // SAFETY: the caller's promise. PR_GET_NAME writes 16 bytes. The old ring is this thread's, which writes no more into it.
    unsafe {
        libc::prctl(libc::PR_GET_NAME, (*ring).name.as_mut_ptr());
        (*ring).thread = libc::syscall(libc::SYS_gettid) as u32;
        (*ring).goes_on = had_one;
        (*ring).trace = number;
        if let Some(key) = key() {
            libc::pthread_setspecific(key, ring.cast());
        }
        tls::set_trace_ring(ring as usize, number as usize);
        arrive(ring);
        if had_one {
            (*old).ring.close();
        }
    }
}

/// A ring of `count` slots, whose memory is there (R1).
fn make(count: u32) -> Option<*mut ThreadRing> {
    let bytes = count as usize * size_of::<Record>();
    // A big one's slots are at a multiple of their size, so its head is at the end of as many bytes before them.
    let (align, before) = if count == BIG {
        (bytes, bytes)
    } else {
        (mem::PAGE, HEAD_BYTES)
    };
    let base = mem::reserve(before + bytes, align)?;
    // SAFETY: fresh memory, big enough; zeros are an event like any other.
    unsafe {
        let slots = base.add(before);
        if count == BIG {
            mem::advise_huge(slots as usize, bytes);
        }
        mem::commit(slots as usize - HEAD_BYTES, HEAD_BYTES + bytes);
        let ring = slots.sub(HEAD_BYTES).cast::<ThreadRing>();
        ring.write(ThreadRing {
            ring: Ring::new(slots.cast::<Guarded<Record>>(), count),
            thread: 0,
            name: [0; 16],
            goes_on: false,
            trace: 0,
            by_counter: clock::is_invariant(),
            mapping: (base, before + bytes),
            slots: libc::iovec {
                iov_base: slots.cast(),
                iov_len: bytes,
            },
            next: null_mut(),
        });
        Some(ring)
    }
}

/// Sees to it that `count` big rings are ready, as far as there is memory. Nobody else does so at the same time.
pub fn make_spares(count: usize) {
    for spare in SPARES.iter().take(count) {
        if spare.load(Ordering::Relaxed).is_null()
            && let Some(ring) = make(BIG)
        {
            spare.store(ring, Ordering::Release); // partner: the swap in `take_spare`
        }
    }
}

fn take_spare() -> Option<*mut ThreadRing> {
    let mut rings = SPARES
        .iter()
        .map(|spare| spare.swap(null_mut(), Ordering::Acquire));
    rings.find(|ring| !ring.is_null())
}

/// None is wanted any more. (Nobody fills them: the writer is the caller, or gone.)
pub fn free_spares() {
    while let Some(ring) = take_spare() {
        // SAFETY: nobody's but ours.
        unsafe { free(ring) };
    }
}

/// # Safety
/// The ring is the caller's to give, and in no list.
unsafe fn arrive(ring: *mut ThreadRing) {
    let mut first = ARRIVED.load(Ordering::Relaxed);
    loop {
        // SAFETY: the caller's promise; nobody else reads `next` yet.
        unsafe { (*ring).next = first };
        match ARRIVED.compare_exchange_weak(first, ring, Ordering::AcqRel, Ordering::Relaxed) {
            Ok(_) => return,
            Err(now) => first = now,
        }
    }
}

/// Takes those that have come, all at once: so no word ever comes back that somebody else still looks at. The first to come is the first.
pub fn arrived() -> Vec<*mut ThreadRing> {
    let mut rings = Vec::new();
    let mut ring = ARRIVED.swap(null_mut(), Ordering::AcqRel);
    while !ring.is_null() {
        rings.push(ring);
        // SAFETY: what was in the list is ours now.
        ring = unsafe { (*ring).next };
    }
    rings.reverse();
    rings
}

/// A writer leaves them for the next one.
///
/// # Safety
/// The caller has them, all of them.
pub unsafe fn leave(rings: Vec<*mut ThreadRing>) {
    for ring in rings {
        // SAFETY: the caller's promise.
        unsafe { arrive(ring) };
    }
}

/// Its thread is gone, and so is the ring.
///
/// # Safety
/// The caller has it, and `take` said that it is closed; or no thread of any kind uses it any more.
pub unsafe fn free(ring: *mut ThreadRing) {
    // SAFETY: the caller's promise; `make` mapped it, and nothing in it is to be dropped.
    unsafe {
        let (base, bytes) = (*ring).mapping;
        mem::release(base, bytes);
    }
}

/// Its trace is over, so no event in it counts any more: its thread keeps the ring, not the memory. (If the thread writes a late event just now
/// (T2), that is lost, or is there: it is dropped anyway. It costs a page, not a huge one.)
///
/// # Safety
/// The caller has it, and took all events that count.
pub unsafe fn rest(ring: *mut ThreadRing) {
    // SAFETY: the caller's promise.
    unsafe {
        let slots = (*ring).slots;
        mem::advise_small(slots.iov_base as usize, slots.iov_len);
        mem::discard(&[slots]);
    }
}

fn key() -> Option<libc::pthread_key_t> {
    match KEY.load(Ordering::Acquire) {
        0 => None,
        key => Some((key - 1) as libc::pthread_key_t),
    }
}

/// Before the first event of a trace. False: there are no keys left.
#[must_use]
pub fn make_key() -> bool {
    if KEY.load(Ordering::Acquire) != 0 {
        return true;
    }
    let mut key = 0;
    // SAFETY: the destructor stays as long as the key (`forget`).
    if unsafe { libc::pthread_key_create(&mut key, Some(on_thread_end)) } != 0 {
        return false;
    }
    KEY.store(u64::from(key) + 1, Ordering::Release);
    true
}

unsafe extern "C" fn on_thread_end(ring: *mut c_void) {
    // Another destructor may record something after this: that makes another ring.
    tls::set_trace_ring(0, 0);
    // SAFETY: the key's values are rings of their threads.
    unsafe { (*ring.cast::<ThreadRing>()).ring.close() };
}

/// Events for which there was no memory.
pub fn homeless() -> u64 {
    HOMELESS.load(Ordering::Relaxed)
}

/// The runtime ends: nobody records, and no trace runs; `last` was the number of the last one.
///
/// # Safety
/// As it says.
pub unsafe fn forget(last: u32) {
    FORGOTTEN.store(last, Ordering::Release);
    if let Some(key) = key() {
        KEY.store(0, Ordering::Release);
        // SAFETY: our key. No destructor runs any more, so the library may be unloaded.
        unsafe { libc::pthread_key_delete(key) };
    }
    for ring in arrived() {
        // SAFETY: the caller's promise.
        unsafe { free(ring) };
    }
}

/// In a child of fork: no trace runs, and the rings are the parent's, but for those that nobody has.
///
/// # Safety
/// The only thread.
pub unsafe fn forget_in_child() {
    ARRIVED.store(null_mut(), Ordering::Relaxed);
    free_spares();
    // SAFETY: the caller's promise.
    let last = unsafe { super::session::forget_in_child() };
    FORGOTTEN.store(last, Ordering::Relaxed);
    if let Some(key) = key() {
        // SAFETY: our key.
        unsafe { libc::pthread_setspecific(key, std::ptr::null()) };
    }
}
