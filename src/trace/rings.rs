//! Whose ring is whose. A thread makes its ring at its first event of a trace, without a lock: a mapping, and one word in a list that the
//! writer empties. It keeps it until it ends, over all traces; a key's destructor says that it ended. The memory goes back when the
//! writer, or the next one, finds that, or with the runtime.

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

/// Events that a ring holds: 2 MiB, which the kernel commits as they are written.
const SLOTS: u32 = 1 << 16;
/// In front of them.
const HEAD_BYTES: usize = mem::PAGE;
const BYTES: usize = HEAD_BYTES + SLOTS as usize * size_of::<Record>();
const _: () = assert!(size_of::<ThreadRing>() <= HEAD_BYTES);

/// A thread's ring.
pub struct ThreadRing {
    /// See there.
    pub ring: Ring<Record>,
    /// The thread's number for the kernel ...
    pub thread: u32,
    /// ... and its name.
    pub name: [u8; 16],
    /// The last trace for which the thread recorded something, and what the ring had lost before that. Written by the thread, the
    /// number last (Release); read by the writer (Acquire).
    used_for: AtomicU32,
    lost_before: AtomicU64,
    /// Whether times are counter ticks.
    by_counter: bool,
    /// Those that came before it, while it is in `ARRIVED`.
    next: *mut ThreadRing,
}

impl ThreadRing {
    /// Now, as it is recorded.
    #[inline(always)]
    pub fn now(&self) -> u64 {
        if self.by_counter { ticks() } else { now_ns() }
    }

    /// How many events of trace `number` it lost.
    pub fn lost(&self, number: u32) -> u64 {
        if self.used_for.load(Ordering::Acquire) != number {
            return 0;
        }
        self.ring.lost() - self.lost_before.load(Ordering::Relaxed)
    }
}

/// Rings that no writer has: new ones, and all between two traces.
static ARRIVED: AtomicPtr<ThreadRing> = AtomicPtr::new(null_mut());
/// A thread's ring is good if the trace that stands beside it is a later one than this: rings of earlier runtimes, or of the parent of
/// a fork, are gone.
static FORGOTTEN: AtomicU32 = AtomicU32::new(0);
/// The key, and 1 added to it; 0: none.
static KEY: AtomicU64 = AtomicU64::new(0);
/// Events for which no ring could be made.
static HOMELESS: AtomicU64 = AtomicU64::new(0);

/// The calling thread's ring for trace `number`. None: no trace, or no memory.
#[inline(always)]
pub fn own(number: u32) -> Option<&'static ThreadRing> {
    let (ring, of) = tls::trace_ring();
    if of == number as usize {
        // SAFETY: T1; null while there is none, for trace 0.
        return unsafe { (ring as *const ThreadRing).as_ref() };
    }
    own_slow(number)
}

#[cold]
#[inline(never)]
fn own_slow(number: u32) -> Option<&'static ThreadRing> {
    if number == 0 {
        return None;
    }
    let (old, of) = tls::trace_ring();
    let mut ring = old as *mut ThreadRing;
    if ring.is_null() || of as u32 <= FORGOTTEN.load(Ordering::Acquire) {
        ring = make()?;
    }
    tls::set_trace_ring(ring as usize, number as usize);
    // SAFETY: it lives until its thread ends, or the runtime does, after which its number is not good any more. It is this thread's.
    unsafe {
        (*ring)
            .lost_before
            .store((*ring).ring.begin_anew(), Ordering::Relaxed);
        (*ring).used_for.store(number, Ordering::Release);
        Some(&*ring)
    }
}

fn make() -> Option<*mut ThreadRing> {
    let Some(base) = mem::reserve(BYTES, mem::PAGE) else {
        HOMELESS.fetch_add(1, Ordering::Relaxed);
        return None;
    };
    let ring = base.cast::<ThreadRing>();
    let mut name = [0; 16];
    // SAFETY: fresh memory, big enough; zeros are an event like any other. PR_GET_NAME writes 16 bytes.
    unsafe {
        libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr());
        ring.write(ThreadRing {
            ring: Ring::new(base.add(HEAD_BYTES).cast::<Guarded<Record>>(), SLOTS),
            thread: libc::syscall(libc::SYS_gettid) as u32,
            name,
            used_for: AtomicU32::new(0),
            lost_before: AtomicU64::new(0),
            by_counter: clock::is_invariant(),
            next: null_mut(),
        });
        if let Some(key) = key() {
            libc::pthread_setspecific(key, ring.cast());
        }
        arrive(ring);
    }
    Some(ring)
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

/// Takes those that have come, all at once: so no word ever comes back that somebody else still looks at.
pub fn arrived() -> Vec<*mut ThreadRing> {
    let mut rings = Vec::new();
    let mut ring = ARRIVED.swap(null_mut(), Ordering::AcqRel);
    while !ring.is_null() {
        rings.push(ring);
        // SAFETY: what was in the list is ours now.
        ring = unsafe { (*ring).next };
    }
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
    unsafe { libc::munmap(ring.cast(), BYTES) };
}

/// Between two traces its thread keeps the ring, not the memory. (If the thread writes a late event just now, that is lost, or is there: it
/// is dropped anyway.)
///
/// # Safety
/// The caller has it, and took all events that count.
pub unsafe fn rest(ring: *mut ThreadRing) {
    let slots = libc::iovec {
        // SAFETY: inside the mapping.
        iov_base: unsafe { ring.cast::<u8>().add(HEAD_BYTES) }.cast(),
        iov_len: BYTES - HEAD_BYTES,
    };
    // SAFETY: the caller's promise.
    unsafe { mem::discard(&[slots]) };
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

/// In a child of fork: no trace runs, and the rings are the parent's.
///
/// # Safety
/// The only thread.
pub unsafe fn forget_in_child() {
    ARRIVED.store(null_mut(), Ordering::Relaxed);
    // SAFETY: the caller's promise.
    let last = unsafe { super::session::forget_in_child() };
    FORGOTTEN.store(last, Ordering::Relaxed);
    if let Some(key) = key() {
        // SAFETY: our key.
        unsafe { libc::pthread_setspecific(key, std::ptr::null()) };
    }
}
