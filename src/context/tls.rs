//! The thread block of the assembly: current goroutine, worker, scheduler stack, thread, errno.
//!
//! A goroutine may continue on another thread after any park. So every access is one `asm!` that reads through `fs`
//! anew: the compiler cannot keep an address or a value from before the park.

use crate::goroutine::Goroutine;
use crate::sched::Worker;
use crate::sched::world_word::Stand;
use crate::thread::Thread;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Byte offsets in the thread block; `asm/` takes them from here.
pub const CURRENT: usize = 0;
/// The worker that this thread holds, or null.
pub const WORKER: usize = 8;
/// Where scheduling runs, and foreign calls start: rsp inside `goroutine_asm_thread_run`, or inside the innermost callback.
pub const SCHED_SP: usize = 16;
/// The library's record of this thread, or null on threads it did not make.
pub const THREAD: usize = 24;
/// What `SCHED_SP` is while no callback is live.
pub const BASE_SP: usize = 32;
/// The thread's number, once somebody asked for it.
pub const NUMBER: usize = 40;
/// State of the thread's random numbers.
pub const RANDOM: usize = 48;
/// 1: the thread ends; its thread-specific destructors run.
pub const ENDING: usize = 56;
/// The thread's ring for traces ...
pub const TRACE_RING: usize = 64;
/// ... and the trace it is good for (`trace`, T1).
pub const TRACE_NUMBER: usize = 72;
/// Whether goroutines may run here now (`sched::world_word`): a `Stand`.
pub const STAND: usize = 80;

macro_rules! read {
    ($offset:expr) => {{
        let value: usize;
        // SAFETY: reads the calling thread's own block.
        unsafe {
            std::arch::asm!(
                "mov {v}, qword ptr [rip + goroutine_tls@GOTTPOFF]",
                "mov {v}, fs:[{v} + {o}]",
                v = out(reg) value, o = const $offset, options(nostack, preserves_flags));
        }
        value
    }};
}

macro_rules! write {
    ($offset:expr, $value:expr) => {{
        // SAFETY: writes the calling thread's own block.
        unsafe {
            std::arch::asm!(
                "mov {t}, qword ptr [rip + goroutine_tls@GOTTPOFF]",
                "mov fs:[{t} + {o}], {v}",
                t = out(reg) _, v = in(reg) $value, o = const $offset, options(nostack, preserves_flags));
        }
    }};
}

/// The control block that emitted code sees: the dummy outside goroutines, never null.
#[inline(always)]
pub fn current_or_dummy() -> *mut Goroutine {
    read!(CURRENT) as *mut Goroutine
}

/// The running goroutine; null outside.
#[inline(always)]
pub fn current() -> *mut Goroutine {
    let g = current_or_dummy();
    // SAFETY: never null, and the id of a running goroutine does not change.
    if unsafe { (*g).id() } == 0 {
        std::ptr::null_mut()
    } else {
        g
    }
}

/// The worker that this thread holds; null: none.
#[inline(always)]
pub fn worker() -> *mut Worker {
    read!(WORKER) as *mut Worker
}

/// Where this thread schedules: the lowest address of its own stack that is not in use, however many C frames are live
/// above. 0 on a thread that never scheduled.
#[inline(always)]
pub fn scheduler_sp() -> usize {
    read!(SCHED_SP)
}

/// Only to where a frame of `goroutine_asm_thread_run`, or one of the same layout, lies.
pub fn set_scheduler_sp(sp: usize) {
    write!(SCHED_SP, sp);
}

/// Where it schedules when no callback is live.
#[inline(always)]
pub fn base_sp() -> usize {
    read!(BASE_SP)
}

/// As [`set_scheduler_sp`].
pub fn set_base_sp(sp: usize) {
    write!(BASE_SP, sp);
}

/// Whether the thread's destructors have begun to run.
pub fn is_ending() -> bool {
    read!(ENDING) != 0
}

/// They have.
pub fn set_ending() {
    write!(ENDING, 1usize);
}

/// The thread's ring for traces, and the number of the trace that it is good for; zeros: none.
#[inline(always)]
pub fn trace_ring() -> (usize, usize) {
    (read!(TRACE_RING), read!(TRACE_NUMBER))
}

/// Another one.
pub fn set_trace_ring(ring: usize, number: usize) {
    write!(TRACE_RING, ring);
    write!(TRACE_NUMBER, number);
}

/// Another thread's block. Its words are read while that thread writes them: what they say was so a moment ago.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Remote(pub usize);

impl Remote {
    fn read(self, offset: usize) -> usize {
        // SAFETY: whoever made it sees to it that the thread lives (`sched::world`); an aligned word of its block.
        unsafe { AtomicUsize::from_ptr((self.0 + offset) as *mut usize) }.load(Ordering::Acquire)
    }
    /// The goroutine that runs there; null: none.
    pub fn current(self) -> *mut Goroutine {
        let g = self.read(CURRENT) as *mut Goroutine;
        if g == dummy() { std::ptr::null_mut() } else { g }
    }
    /// The worker that it holds, or null.
    pub fn worker(self) -> *const Worker {
        self.read(WORKER) as *const Worker
    }
    /// Where it schedules when no callback is live.
    pub fn base_sp(self) -> usize {
        self.read(BASE_SP)
    }
    /// Whether goroutines may run there.
    pub fn stand<'a>(self) -> &'a Stand {
        // SAFETY: as above; zero is a `Stand` that is out.
        unsafe { &*((self.0 + STAND) as *const Stand) }
    }
}

/// errno of the thread this runs on now.
pub fn errno() -> i32 {
    let value: i32;
    // SAFETY: errno lies at this distance from `fs` on every thread (`context::init`).
    unsafe {
        std::arch::asm!(
            "mov {t}, qword ptr [rip + goroutine_errno_offset]",
            "mov {v:e}, dword ptr fs:[{t}]",
            t = out(reg) _, v = out(reg) value, options(nostack, preserves_flags));
    }
    value
}

/// The other way round.
pub fn set_errno(value: i32) {
    // SAFETY: as above.
    unsafe {
        std::arch::asm!(
            "mov {t}, qword ptr [rip + goroutine_errno_offset]",
            "mov dword ptr fs:[{t}], {v:e}",
            t = out(reg) _, v = in(reg) value, options(nostack, preserves_flags));
    }
}

/// The library's record of this thread; null: not ours.
#[inline(always)]
pub fn thread() -> *mut Thread {
    read!(THREAD) as *mut Thread
}

/// This thread's number: from 1 on, never reused. For a thread outside goroutines.
#[inline(always)]
pub fn number() -> u64 {
    match read!(NUMBER) {
        0 => first_number(),
        number => number as u64,
    }
}

#[cold]
fn first_number() -> u64 {
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    write!(NUMBER, number);
    number as u64
}

/// A random number; not for secrets. (splitmix64.)
#[inline]
pub fn random() -> u64 {
    let seed = match read!(RANDOM) {
        0 => number().wrapping_mul(0xD1B5_4A32_D192_ED03),
        seed => seed as u64,
    };
    let next = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    write!(RANDOM, next as usize);
    let mixed = (next ^ next >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ mixed >> 31
}

/// The goroutine that was just left runs on, without the assembly's help.
pub fn set_current(g: *mut Goroutine) {
    write!(CURRENT, g);
}

/// This thread takes a worker, or (null) gives it up.
pub fn set_worker(worker: *mut Worker) {
    write!(WORKER, worker);
}

/// Once per thread of the library.
pub fn set_thread(thread: *mut Thread) {
    write!(THREAD, thread);
}

/// In a child of fork: nobody is anybody any more.
pub fn reset() {
    write!(CURRENT, dummy());
    write!(WORKER, 0usize);
    write!(THREAD, 0usize);
}

/// The stand-in for a goroutine outside goroutines.
pub fn dummy() -> *mut Goroutine {
    let address: *mut Goroutine;
    // SAFETY: takes an address.
    unsafe {
        std::arch::asm!("lea {}, [rip + goroutine_dummy]", out(reg) address, options(nomem, nostack, preserves_flags))
    };
    address
}

/// Where this thread's block is: for others, who may read it while the thread is there ([`Remote`]). It names the thread as long as that lives.
pub fn block() -> usize {
    let address: usize;
    // SAFETY: every thread's block has its own address in its first word at `fs`.
    unsafe {
        std::arch::asm!(
            "mov {v}, qword ptr [rip + goroutine_tls@GOTTPOFF]",
            "add {v}, fs:[0]",
            v = out(reg) address, options(nostack));
    }
    address
}

const _: () = assert!(WORKER == CURRENT + 8); // `Seat::runs` reads both at once

/// Distance from `fs` to the current-goroutine word: the same on every thread while the library is loaded.
pub fn offset() -> i32 {
    let offset: i64;
    // SAFETY: reads a GOT entry.
    unsafe {
        std::arch::asm!("mov {}, qword ptr [rip + goroutine_tls@GOTTPOFF]", out(reg) offset, options(nostack, preserves_flags))
    };
    offset as i32 + CURRENT as i32
}
