//! Stopping the world: no goroutine runs, so that a collector may look at all of them. The protocol is `world_word`'s; here is who takes
//! part, and where they wait.
//!
//! | who | stands when |
//! |---|---|
//! | a thread with a worker | it sleeps for work, or met POLL_WORLD at a yield or a park |
//! | a bound goroutine's thread | the goroutine is parked, or met the stop at a park or a yield |
//! | a thread without either | always: jobs are foreign code |
//! | a goroutine at a safepoint | its thread waits in place, having left the goroutine's stack (`wait_here`): nothing is queued, nothing is bound |
//! | a goroutine in foreign code | always; when C returns, calls back, lands or ends it, that one waits first |
//! | a thread that the library did not make | it is in no callback; one that begins waits first |
//! | plain threads | they are not stopped: what they spawn and ready waits with all others |
//!
//! The stopper is one thread, or one goroutine, which keeps its thread: between the stop and the start it cannot park (`is_mine`).
//!
//! W1. A thread is in THREADS before it comes in for the first time, and until it has gone out for the last time. So the stopper, who holds
//!     that lock while it looks, sees every thread that may run goroutines, and its block does not go away meanwhile.
//! W2. When all stand, what the stopper notes about goroutines in foreign code (HELD) is what counts until the start: such a goroutine may
//!     come back meanwhile and change `foreign_sp` and its saved registers on its way to where it waits, but nothing above the noted
//!     `foreign_sp` of its stack.
//! W3. Nothing of the library that others need is held while a thread stands: no lock, no gate. In foreign code anything of C's may be held
//!     (malloc's lock, say), but there the holder goes on.

use super::native;
use super::registers::Places;
use super::run_queue::POLL_WORLD;
use super::runtime::Runtime;
use super::worker::Worker;
use super::world_word::{Runner, STOPS, Stand, WorldWord, all_stand};
use crate::context::{goroutine_asm_park, tls};
use crate::goroutine::Goroutine;
use crate::sync::Ordering;
use crate::sys::futex;
use crate::sys::mutex::Mutex;
use crate::sys::time::{self, now_ns};
use crate::thread;
use std::cell::Cell;
use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize};

/// How long the stopper looks for arrivals before it sleeps: longer, and it keeps a CPU from those it waits for.
const SPIN_NS: u64 = 10_000;
/// Its first sleep without an arrival, and its longest: a goroutine that calls C says so to nobody.
const NAP_NS: u64 = 50_000;
const NAP_MAX_NS: u64 = 1_000_000;

static WORLD: WorldWord = WorldWord::new();
/// Blocks of the threads that may run goroutines (W1).
static THREADS: Mutex<Vec<Member>> = Mutex::new(Vec::new());
/// The thread block of who has stopped the world, or is about to; 0: nobody.
static STOPPER: AtomicUsize = AtomicUsize::new(0);
/// The goroutine that has; null: a plain thread, or nobody.
static STOPPER_GOROUTINE: AtomicPtr<Goroutine> = AtomicPtr::new(null_mut());
static HELD: Mutex<Held> = Mutex::new(Held {
    foreign: Vec::new(),
    bases: Vec::new(),
    places: Places::new(),
});

/// How often the world was stopped.
pub static STOPS_MADE: AtomicU64 = AtomicU64::new(0);
/// The goroutine that kept a stop from succeeding, the last time one timed out; 0: none.
pub static HELD_UP_BY: AtomicU64 = AtomicU64::new(0);

/// A thread that may run goroutines.
#[derive(Clone, Copy)]
pub struct Member {
    block: tls::Remote,
    /// The kernel's name of it.
    tid: i32,
    /// Where its stack ends, below; 0: it is not one of ours.
    low: usize,
}

/// What holds while the world is stopped (W2).
pub struct Held {
    /// Goroutines in foreign code, by address.
    foreign: Vec<Foreign>,
    /// Where threads schedule when no callback is live, sorted, and where their stacks end.
    bases: Vec<(usize, usize)>,
    /// For the registers of those that are parked.
    pub places: Places,
}

/// A goroutine that was in foreign code when the world was stopped.
#[derive(Clone, Copy)]
pub struct Foreign {
    g: usize,
    /// Where its live stack begins.
    pub sp: u64,
    /// Its native stack, but for the C code that runs.
    pub native_stack: u64,
}

impl Held {
    /// What is noted about a goroutine; None: it was not in foreign code.
    pub fn foreign(&self, g: *const Goroutine) -> Option<Foreign> {
        let at = self.foreign.binary_search_by_key(&(g as usize), |f| f.g).ok()?;
        Some(self.foreign[at])
    }
    /// Where C frames end that begin at `native_stack`. None: they are on a stack that C code has made for itself.
    pub fn base_above(&self, native_stack: u64) -> Option<usize> {
        let native_stack = native_stack as usize;
        let at = self.bases.partition_point(|&(base, _)| base < native_stack);
        (self.bases.get(at))
            .filter(|&&(_, low)| low <= native_stack)
            .map(|&(base, _)| base)
    }
}

// ---- a thread ----

fn stand<'a>() -> &'a Stand {
    tls::Remote(tls::block()).stand()
}

/// The calling thread may run goroutines some day (W1).
pub fn enlist() {
    // SAFETY: no memory is passed.
    let tid = unsafe { libc::syscall(libc::SYS_gettid) } as i32;
    let block = tls::Remote(tls::block());
    let low = thread::stack().start;
    THREADS.lock().push(Member { block, tid, low });
}

/// It will not any more. It is out.
pub fn dismiss() {
    let me = tls::Remote(tls::block());
    let mut threads = THREADS.lock();
    if let Some(at) = threads.iter().position(|thread| thread.block == me) {
        threads.swap_remove(at);
    }
}

/// Whether the calling thread may run goroutines now.
pub fn is_in() -> bool {
    !stand().is_out()
}

/// The calling thread is about to run goroutines: waits out a stopped world.
#[inline]
pub fn come_in() {
    while !stand().come_in(&WORLD) && wait_out() {}
}

/// It runs none from now on.
#[inline]
pub fn go_out() {
    if stand().go_out(&WORLD) {
        arrive();
    }
}

#[cold]
fn arrive() {
    WORLD.arrive();
    futex::wake(WORLD.arrivals_futex(), 1);
}

/// Until the world runs. False: it was stopped by the calling thread itself, which goes on.
#[cold]
fn wait_out() -> bool {
    if is_mine() {
        stand().stay_in();
        return false;
    }
    arrive();
    while WORLD.stops() {
        futex::wait(WORLD.futex(), STOPS, u64::MAX);
    }
    true
}

/// Between two goroutines, on the thread's stack: waits if the world stops.
#[inline(always)]
pub fn pause() {
    if WORLD.stops() {
        pause_now();
    }
}

#[cold]
fn pause_now() {
    if !is_mine() {
        go_out();
        come_in();
    }
}

/// The owner of a worker met POLL_WORLD.
#[cold]
pub fn pause_worker(worker: &Worker) {
    pause();
    WORLD.lower(&worker.queue.poll, POLL_WORLD, is_mine);
}

// ---- a goroutine ----

/// Waits if the world stops, in place: its registers are saved, its stack is left, its thread waits with it. Gives whether it did.
///
/// # Safety
/// `g` is the running goroutine.
#[inline]
pub unsafe fn wait_here(g: *mut Goroutine) -> bool {
    let waits = WORLD.stops() && !is_mine();
    if waits {
        // SAFETY: the caller's promise.
        unsafe { wait_here_now(g) };
    }
    waits
}

#[cold]
unsafe fn wait_here_now(_: *mut Goroutine) {
    unsafe extern "C" fn on_wait(g: *mut Goroutine, _: *mut c_void) -> *mut Goroutine {
        pause_now();
        g
    }
    // SAFETY: on a goroutine, which goes on on this thread.
    unsafe { goroutine_asm_park(on_wait, null_mut()) };
}

/// C calls language code back, and `preempt` of its goroutine is set: waits out a stopped world. errno is C's.
///
/// # Safety
/// Called by the assembly on the stack of the running goroutine.
pub unsafe extern "C" fn on_callback_asked() {
    let errno = tls::errno();
    let g = tls::current();
    if !g.is_null() {
        // SAFETY: as above.
        unsafe { wait_here(g) };
    }
    tls::set_errno(errno);
}

// ---- the stopper ----

/// The goroutine that runs on the thread that holds `worker`, as of a moment ago. None: no goroutine, or no thread.
pub fn running_on(worker: *const Worker) -> Option<*mut Goroutine> {
    running_with_cpu(worker).map(|(g, _)| g)
}

/// The same, with the CPU time that the thread has had, ns: one that waits for a CPU does not run.
pub fn running_with_cpu(worker: *const Worker) -> Option<(*mut Goroutine, u64)> {
    let threads = THREADS.lock(); // it does not end meanwhile
    let holder = threads.iter().find(|thread| thread.block.worker() == worker)?;
    let g = holder.block.current();
    (!g.is_null()).then(|| (g, time::thread_cpu_ns(holder.tid)))
}

/// Whether the world is stopped, or about to be.
pub fn stops() -> bool {
    WORLD.stops()
}

/// Whether the calling thread has stopped it: it must not wait for anybody, for nobody runs.
#[inline]
pub fn is_mine() -> bool {
    STOPPER.load(Ordering::Relaxed) == tls::block() // its own store, or somebody else's
}

/// Whether `g`, which is this thread's, has.
pub fn is_stopped_by(g: *const Goroutine) -> bool {
    is_mine() && STOPPER_GOROUTINE.load(Ordering::Relaxed).cast_const() == g
}

/// A thread, in one look of the stopper.
struct Thread {
    block: tls::Remote,
    /// What was found in foreign code.
    foreign: Cell<Option<Foreign>>,
}

impl Runner for Thread {
    type Current = *mut Goroutine;

    fn stand(&self) -> &Stand {
        self.block.stand()
    }

    fn raise(&self) -> Option<*mut Goroutine> {
        let g = self.block.current();
        // SAFETY: control blocks stay mapped. To one that has just been left it does no harm: it yields once more.
        (!g.is_null()).then(|| unsafe {
            (*g).preempt.store(1, Ordering::SeqCst);
            g
        })
    }

    /// W2: what is noted is read after the fence, when `preempt` keeps it so.
    fn is_foreign(&self, g: *mut Goroutine) -> bool {
        // SAFETY: control blocks stay mapped. Aligned words, which the goroutine may be changing.
        let read = |word: *const u64| unsafe { AtomicU64::from_ptr(word.cast_mut()) }.load(Ordering::Acquire);
        // SAFETY: as above.
        let (sp, native_stack) = unsafe {
            (
                read(&raw const (*g).foreign_sp),
                read(&raw const (*g).native_stack),
            )
        };
        self.foreign.set((sp != 0).then_some(Foreign {
            g: g as usize,
            sp,
            native_stack,
        }));
        sp != 0 && self.block.current() == g
    }
}

/// Whether all stand; then it is noted what they stand in. With the one who keeps them from it, if it is known.
fn look() -> Result<(), u64> {
    let me = tls::Remote(tls::block());
    let threads = THREADS.lock();
    let runners: Vec<Thread> = (threads.iter().filter(|thread| thread.block != me))
        .map(|&Member { block, .. }| Thread {
            block,
            foreign: Cell::new(None),
        })
        .collect();
    if !all_stand(&runners) {
        let runs = |t: &Thread| {
            let g = t.block.current();
            // SAFETY: null, or a control block.
            let id = unsafe { g.as_ref() }.map_or(0, Goroutine::id);
            (!t.stand().is_out() && t.foreign.get().is_none() && id != 0).then_some(id)
        };
        return Err(runners.iter().find_map(runs).unwrap_or(0));
    }
    let mut held = HELD.lock();
    let out = |t: &&Thread| t.stand().is_out();
    held.foreign = (runners.iter().filter(|t| !out(t)).filter_map(|t| t.foreign.get())).collect();
    held.foreign.sort_unstable_by_key(|f| f.g);
    held.bases = threads.iter().map(|t| (t.block.base_sp(), t.low)).collect();
    held.bases.sort_unstable();
    held.places.prepare();
    Ok(())
}

/// Stops the world, until `deadline`; the caller has its turn. `runtime`: the running one. False: it runs on.
pub fn stop(runtime: Option<&Runtime>, deadline: u64) -> bool {
    let g = tls::current();
    if !g.is_null() {
        // SAFETY: the running goroutine. From here on whatever would take it off its thread looks first (`bind::keeps_thread`).
        unsafe { native::prepare(g) };
    }
    STOPPER_GOROUTINE.store(g, Ordering::Relaxed);
    STOPPER.store(tls::block(), Ordering::Relaxed);
    WORLD.stop();
    for worker in runtime.iter().flat_map(|runtime| &runtime.workers) {
        WORLD.raise(&worker.queue.poll, POLL_WORLD);
    }
    let mut nap = NAP_NS;
    loop {
        let arrivals = WORLD.arrivals(); // I5
        let Err(runs) = look() else {
            STOPS_MADE.fetch_add(1, Ordering::Relaxed);
            return true;
        };
        let now = now_ns();
        if now >= deadline {
            HELD_UP_BY.store(runs, Ordering::Relaxed);
            start();
            return false;
        }
        while WORLD.arrivals() == arrivals && now_ns() < now + SPIN_NS {
            std::hint::spin_loop();
        }
        if WORLD.arrivals() == arrivals {
            futex::wait(
                WORLD.arrivals_futex(),
                arrivals,
                deadline.min(now + SPIN_NS + nap),
            );
            nap = (nap * 2).min(NAP_MAX_NS);
        }
    }
}

/// The stopper lets it go on. Workers take the bit back themselves (`pause_worker`); `preempt` of goroutines that had come nowhere near
/// a safepoint stays raised: they yield once more.
pub fn start() {
    STOPPER.store(0, Ordering::Relaxed);
    HELD.lock().foreign.clear();
    WORLD.start();
    futex::wake(WORLD.futex(), i32::MAX);
}

/// What was noted when the world stopped. The caller has stopped it.
pub fn with_held<R>(f: impl FnOnce(&mut Held) -> R) -> R {
    debug_assert!(is_mine());
    f(&mut HELD.lock())
}

// ---- fork ----

/// The lock, to be held across fork.
pub fn threads() -> &'static Mutex<Vec<Member>> {
    &THREADS
}

/// The other lock.
pub fn held() -> &'static Mutex<Held> {
    &HELD
}

/// In a child of fork: the world runs, and nobody is in it.
///
/// # Safety
/// The only thread; it holds both locks.
pub unsafe fn forget_all() {
    // SAFETY: the caller's promise.
    unsafe {
        (*THREADS.data_ptr()).clear();
        (*HELD.data_ptr()).foreign.clear();
    }
    STOPPER.store(0, Ordering::Relaxed);
    WORLD.start();
    let _ = stand().go_out(&WORLD);
}
