//! What sanitizers are told: a program of a user that is built with AddressSanitizer or ThreadSanitizer sees the stacks of goroutines as
//! what they are. docs/sanitizers.md is for its users. The library itself is not instrumented, and needs no build of its own: the sanitizer's
//! functions are weak symbols, which the loader finds in the program, or not.
//!
//! AddressSanitizer wants to know on which stack a thread is: its bounds, and the fake stack on which it keeps the locals of frames
//! (detect_stack_use_after_return). ThreadSanitizer wants to know which goroutine runs (a fiber, to it), and what orders two of them:
//!
//! | edge | told where |
//! |---|---|
//! | spawn or ready -> the goroutine goes on | [`spawned`], [`publish`]; [`enter`] |
//! | park -> its commit callback | [`leave_for_callback`] |
//! | end of a goroutine -> the next one on its stack | [`over`]; [`spawned`], [`enter`] |
//! | the same -> who awaits it, or waits for all | [`over`]; `Promise::outcome`, `runtime::wait` and `shutdown` |
//! | C on a thread's stack -> the next goroutine's C there, and the thread's end | [`returns`], [`leave`]; [`calls`], [`end_scheduling`] |
//!
//! and what the objects add: an operation that orders others after its caller says [`released`] of its object, before, and one that orders
//! its caller after others says [`acquired`], after. Where the two directions differ (who sent a value comes before who received it; who
//! received it before the next who finds room) the second one is of [`back`].
//!
//! ThreadSanitizer is told to look away where the library uses memory in ways that are ordered by atomics which it does not see: on the
//! thread's stack, while values go through channels, and in the library's allocator. And errno is the thread's, and every goroutine's: who
//! sees two of them there sees no race.
//!
//! Nothing is paid without a sanitizer. `goroutine_tracing` is not zero with one, as while a trace runs; so every yield goes the long way, and
//! everything here hangs on looks at that word that traces need anyway, or on `EXTRAS`. (What `ops` adds, and a callback, have a look of
//! their own: a comparison with memory, and a branch that is never taken.)
//!
//! I1. A switch is told between the last instruction of user code on the one stack and the first on the other, both halves at once: the
//!     sanitizers note what they are told, and do not look at rsp. What runs meanwhile is the library.
//! I2. A goroutine is left before anybody else may run it: so `leave` comes before it is queued, or joins a list.
//! I3. C code under a goroutine is on another stack, and is the same goroutine: AddressSanitizer sees the thread's stack, ThreadSanitizer
//!     no change. An attached goroutine (`sched::attach`) is its thread, to ThreadSanitizer.

use crate::abi::GOROUTINE_FLAG_ATTACHED;
use crate::goroutine::{EXTRAS, FORKS, Goroutine};
use crate::stack;
use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::{c_char, c_int, c_uint, c_void};
use std::io::Write;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU32, Ordering};

/// In `goroutine_tracing`: there is a sanitizer.
pub const PRESENT: u32 = 1 << 31;
/// Ends of goroutines come before the return of who waits for all.
static ENDS: u8 = 0;
/// Starts of timers come before what they run. (One for all: who may run at the same time is rarely told apart by a timer.)
pub static TIMERS: u8 = 0;
/// What is written to a descriptor comes before what is read from one. (ThreadSanitizer itself takes all sockets for one.)
pub static DESCRIPTORS: u8 = 0;
/// For `__tsan_switch_to_fiber`: the switch itself orders nothing. Else all that run on one thread would be ordered.
const NO_SYNC: c_uint = 1;

/// The assembly's table of weak symbols.
#[repr(C)]
struct Table {
    start_switch_fiber:
        Option<unsafe extern "C" fn(fake: *mut *mut c_void, low: *const c_void, bytes: usize)>,
    finish_switch_fiber: Option<
        unsafe extern "C" fn(fake: *mut c_void, low_before: *mut *const c_void, bytes_before: *mut usize),
    >,
    current_fiber: Option<unsafe extern "C" fn() -> *mut c_void>,
    create_fiber: Option<unsafe extern "C" fn(flags: c_uint) -> *mut c_void>,
    destroy_fiber: Option<unsafe extern "C" fn(fiber: *mut c_void)>,
    switch_to_fiber: Option<unsafe extern "C" fn(fiber: *mut c_void, flags: c_uint)>,
    set_fiber_name: Option<unsafe extern "C" fn(fiber: *mut c_void, name: *const c_char)>,
    acquire: Option<unsafe extern "C" fn(address: *const c_void)>,
    release: Option<unsafe extern "C" fn(address: *const c_void)>,
    ignore_begin: Option<unsafe extern "C" fn()>,
    ignore_end: Option<unsafe extern "C" fn()>,
    benign_race: Option<BenignRace>,
}

type BenignRace = unsafe extern "C" fn(
    file: *const c_char,
    line: c_int,
    address: *const c_void,
    bytes: usize,
    what: *const c_char,
);

unsafe extern "C" {
    static goroutine_sanitizer: Table;
    /// `trace`, T1.
    static goroutine_tracing: AtomicU32;
}

/// AddressSanitizer's.
#[derive(Clone, Copy)]
struct Address {
    start: unsafe extern "C" fn(fake: *mut *mut c_void, low: *const c_void, bytes: usize),
    finish: unsafe extern "C" fn(fake: *mut c_void, low_before: *mut *const c_void, bytes_before: *mut usize),
}

fn address() -> Option<Address> {
    // SAFETY: written by the loader.
    let table = unsafe { &goroutine_sanitizer };
    Some(Address {
        start: table.start_switch_fiber?,
        finish: table.finish_switch_fiber?,
    })
}

/// What is known of a thread: by a key of pthreads, for the assembly's block is short of room.
struct Here {
    /// The goroutine on whose stack AddressSanitizer takes the thread to be; null: on its own.
    on_stack: *mut Goroutine,
    /// Its own stack, while it is on another, and the fake one.
    low: *const c_void,
    bytes: usize,
    fake_stack: *mut c_void,
    /// The goroutine that ThreadSanitizer takes to run; null: the thread.
    runs: *mut Goroutine,
    /// The thread, to ThreadSanitizer, which looks away while no goroutine runs; null: it does not schedule.
    fiber: *mut c_void,
}

/// Made when the library is loaded, if there is a sanitizer; before that nobody asks.
static KEY: AtomicU32 = AtomicU32::new(0);

/// ThreadSanitizer's.
#[derive(Clone, Copy)]
struct Threads {
    current: unsafe extern "C" fn() -> *mut c_void,
    create: unsafe extern "C" fn(flags: c_uint) -> *mut c_void,
    destroy: unsafe extern "C" fn(fiber: *mut c_void),
    switch: unsafe extern "C" fn(fiber: *mut c_void, flags: c_uint),
    set_name: unsafe extern "C" fn(fiber: *mut c_void, name: *const c_char),
    acquire: unsafe extern "C" fn(address: *const c_void),
    release: unsafe extern "C" fn(address: *const c_void),
    ignore_begin: unsafe extern "C" fn(),
    ignore_end: unsafe extern "C" fn(),
}

fn threads() -> Option<Threads> {
    // SAFETY: written by the loader.
    let table = unsafe { &goroutine_sanitizer };
    Some(Threads {
        current: table.current_fiber?,
        create: table.create_fiber?,
        destroy: table.destroy_fiber?,
        switch: table.switch_to_fiber?,
        set_name: table.set_fiber_name?,
        acquire: table.acquire?,
        release: table.release?,
        ignore_begin: table.ignore_begin?,
        ignore_end: table.ignore_end?,
    })
}

/// Whether ThreadSanitizer is there.
pub fn orders() -> bool {
    threads().is_some()
}

fn here() -> &'static mut Here {
    let key = KEY.load(Ordering::Relaxed);
    // SAFETY: the calling thread's; nobody parks while he has it, and no function here calls another with it in hand.
    unsafe {
        let mut place = libc::pthread_getspecific(key).cast::<Here>();
        if place.is_null() {
            place = Box::into_raw(Box::new(Here {
                on_stack: null_mut(),
                low: std::ptr::null(),
                bytes: 0,
                fake_stack: null_mut(),
                runs: null_mut(),
                fiber: null_mut(),
            }));
            libc::pthread_setspecific(key, place.cast());
        }
        &mut *place
    }
}

/// The name of the calling thread's stack, for [`acquire`] and [`release`].
fn stack_here() -> *const u8 {
    (&raw const *here()).cast()
}

/// A thread ends. Its last destructors may ask again, and find that nothing is known.
unsafe extern "C" fn forget(here: *mut c_void) {
    // SAFETY: the key's values are such.
    drop(unsafe { Box::from_raw(here.cast::<Here>()) });
}

/// The library is unloaded, and `forget` with it.
pub fn delete_key() {
    if is_watched() && is_present() {
        // SAFETY: our key; nobody uses it any more.
        unsafe { libc::pthread_key_delete(KEY.load(Ordering::Relaxed)) };
    }
}

/// Whether `goroutine_tracing` is set. Two instructions: the compiler would go to the word by way of the global offset table, and have it
/// in a register.
#[inline(always)]
pub fn is_watched() -> bool {
    // SAFETY: reads a word.
    unsafe {
        std::arch::asm!(
            "cmp dword ptr [rip + goroutine_tracing], 0",
            "jne {on}",
            on = label { return true },
            options(nostack, readonly));
    }
    false
}

/// The loader runs it, before anybody can call the library: sanitizers are told from here on, if there are any.
#[used]
#[unsafe(link_section = ".init_array")]
static LOAD: extern "C" fn() = load;

extern "C" fn load() {
    let mut key = 0;
    // SAFETY: the destructor stays as long as the key (`delete_key`); an atomic word.
    unsafe {
        let present = address().is_some() || threads().is_some();
        if present && libc::pthread_key_create(&mut key, Some(forget)) == 0 {
            KEY.store(key, Ordering::Relaxed);
            goroutine_tracing.fetch_or(PRESENT, Ordering::SeqCst);
        }
    }
}

/// Whether there is one, where `goroutine_tracing` is not zero.
#[inline(always)]
pub fn is_present() -> bool {
    // SAFETY: an atomic word.
    unsafe { goroutine_tracing.load(Ordering::Relaxed) & PRESENT != 0 }
}

// ---- goroutines ----

/// `g` was spawned.
///
/// # Safety
/// `g` is the caller's.
#[cold]
pub unsafe fn spawned(g: *mut Goroutine) {
    let Some(threads) = threads() else { return };
    // SAFETY: the caller's promise.
    unsafe {
        if !(*g).fiber.is_null() {
            (threads.destroy)((*g).fiber); // of one that never began
        }
        make_fiber(threads, g);
        (threads.release)(g.cast());
    }
}

unsafe fn make_fiber(threads: Threads, g: *mut Goroutine) {
    // SAFETY: the caller's promise. A number has 20 digits at most.
    unsafe {
        let mut name = [0; 32];
        let _ = write!(&mut name[..], "goroutine {}", (*g).id());
        (*g).fiber = (threads.create)(0);
        (threads.set_name)((*g).fiber, name.as_ptr().cast());
    }
}

/// `g` may run elsewhere from now on, after all that the caller did.
///
/// # Safety
/// `g` is the caller's.
#[cold]
pub unsafe fn publish(g: *mut Goroutine) {
    release(g.cast());
}

/// `g` goes on on this thread.
///
/// # Safety
/// On the thread's stack; `g` is the caller's to run.
#[cold]
pub unsafe fn enter(g: *mut Goroutine) {
    // SAFETY: the caller's promise.
    unsafe {
        if is_present() {
            (*g).spawn_flags |= EXTRAS; // its end comes by `over`
            to_stack_of(g);
            run(g);
        }
    }
}

/// `g` does not run here any more.
///
/// # Safety
/// On the thread's stack; `g` was just left (I2).
#[cold]
pub unsafe fn leave(g: *mut Goroutine) {
    // SAFETY: the caller's promise.
    unsafe {
        if is_present() {
            to_own_stack(g);
            stop_running(g);
        }
    }
}

/// The same, and a callback of the user's is called for it there.
///
/// # Safety
/// As [`leave`].
#[cold]
pub unsafe fn leave_for_callback(g: *mut Goroutine) {
    release(g.cast());
    // SAFETY: the caller's promise.
    unsafe { leave(g) };
    acquire(g.cast());
}

/// The same for ever.
///
/// # Safety
/// As [`leave`].
#[cold]
pub unsafe fn over(g: *mut Goroutine) {
    // SAFETY: the caller's promise.
    unsafe {
        if !(*g).promise.is_null() {
            release((*g).promise.cast());
        }
        release(&raw const ENDS);
        release(g.cast());
        leave(g);
        let has_segments = !(*g).segment.is_null() || !(*g).spare.is_null();
        if (*g).held != 0 || has_segments {
            acquire(g.cast()); // its mutexes and segments are given up here
        }
        if let Some(threads) = threads()
            && !(*g).fiber.is_null()
        {
            (threads.destroy)(std::mem::replace(&mut (*g).fiber, null_mut()));
        }
    }
}

/// `g` is about to call C on the thread's stack (I3). It may be there already.
///
/// # Safety
/// `g` is the running goroutine.
pub unsafe fn calls(g: *mut Goroutine) {
    if is_watched() && is_present() {
        acquire(stack_here());
        // SAFETY: the caller's promise.
        unsafe { to_own_stack(g) };
    }
}

/// C returned to `g`, or calls it back. It may be there already.
///
/// # Safety
/// As [`calls`].
pub unsafe fn returns(g: *mut Goroutine) {
    if is_watched() && is_present() {
        release(stack_here());
        // SAFETY: the caller's promise.
        unsafe { to_stack_of(g) };
    }
}

/// C frames, or those of a callback, were jumped over: `foreign_sp` says where `g` is now.
///
/// # Safety
/// As [`calls`].
pub unsafe fn landed(g: *mut Goroutine) {
    // SAFETY: the caller's promise.
    unsafe {
        if (*g).foreign_sp == 0 {
            returns(g);
        } else {
            calls(g);
        }
    }
}

// ---- threads ----

/// How many forks lie behind this process, where ThreadSanitizer has to do with its threads; else 0. To it (die_after_fork=0) those of the parent are
/// there still, and it ends a process in which a new one has the `pthread_t` of one of them (`thread::OwnStack`). It looks at nothing there.
pub fn forks() -> u32 {
    if orders() {
        FORKS.load(Ordering::Relaxed)
    } else {
        0
    }
}

/// The calling thread schedules from now on.
pub fn begin_scheduling() {
    let Some(threads) = threads().filter(|_| is_present()) else {
        return;
    };
    // SAFETY: the sanitizer's functions.
    unsafe {
        if let Some(benign_race) = goroutine_sanitizer.benign_race {
            let (file, what) = (c"src/sanitize.rs".as_ptr(), c"errno of a goroutine".as_ptr());
            benign_race(file, 0, libc::__errno_location().cast(), size_of::<c_int>(), what);
        }
        here().fiber = (threads.current)();
        (threads.release)(stack_here().cast()); // its thread-local variables are new
        (threads.release)(back(stack_here()).cast());
        (threads.ignore_begin)();
    }
}

/// It does not any more.
pub fn end_scheduling() {
    let Some(threads) = threads().filter(|_| is_present()) else {
        return;
    };
    let here = here();
    here.fiber = null_mut();
    // SAFETY: the sanitizer's functions.
    unsafe {
        (threads.ignore_end)();
        (threads.acquire)((&raw const *here).cast()); // what goroutines left in thread-local variables
    }
}

/// Calls `f`, which is not the library's, in between.
pub fn pause_scheduling(f: impl FnOnce()) {
    let Some(threads) = threads().filter(|_| is_present()) else {
        return f();
    };
    // SAFETY: the sanitizer's functions.
    unsafe {
        (threads.ignore_end)();
        f();
        (threads.ignore_begin)();
    }
}

/// Calls `f`, whose memory ThreadSanitizer does not understand. It may park.
pub fn look_away<R>(f: impl FnOnce() -> R) -> R {
    let Some(threads) = threads() else { return f() };
    // SAFETY: the sanitizer's functions.
    unsafe {
        (threads.ignore_begin)();
        let result = f();
        (threads.ignore_end)();
        result
    }
}

/// As [`look_away`], until [`end_looking_away`] on the same goroutine or thread.
#[inline(always)]
pub fn begin_looking_away() {
    if is_watched() {
        ignore(true);
    }
}

/// See [`begin_looking_away`].
#[inline(always)]
pub fn end_looking_away() {
    if is_watched() {
        ignore(false);
    }
}

#[cold]
#[inline(never)]
fn ignore(begin: bool) {
    if let Some(threads) = threads() {
        // SAFETY: the sanitizer's functions.
        unsafe {
            if begin {
                (threads.ignore_begin)()
            } else {
                (threads.ignore_end)()
            }
        }
    }
}

/// The library's allocator: the system's.
struct Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

// SAFETY: the system's.
unsafe impl GlobalAlloc for Allocator {
    #[inline(always)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise, here and below.
        unsafe {
            if is_watched() {
                look_away(|| System.alloc(layout))
            } else {
                System.alloc(layout)
            }
        }
    }

    #[inline(always)]
    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe {
            if is_watched() {
                look_away(|| System.dealloc(place, layout));
            } else {
                System.dealloc(place, layout);
            }
        }
    }

    #[inline(always)]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe {
            if is_watched() {
                look_away(|| System.alloc_zeroed(layout))
            } else {
                System.alloc_zeroed(layout)
            }
        }
    }

    #[inline(always)]
    unsafe fn realloc(&self, place: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        // SAFETY: as above.
        unsafe {
            if is_watched() {
                look_away(|| System.realloc(place, layout, bytes))
            } else {
                System.realloc(place, layout, bytes)
            }
        }
    }
}

// ---- objects ----

/// What the caller did comes before what those do who will say [`acquired`] of the same object.
#[inline(always)]
pub fn released<T>(object: *const T) {
    if is_watched() {
        release(object.cast());
    }
}

/// The other half.
#[inline(always)]
pub fn acquired<T>(object: *const T) {
    if is_watched() {
        acquire(object.cast());
    }
}

/// The object in its other direction.
pub fn back<T>(object: *const T) -> *const u8 {
    object.cast::<u8>().wrapping_add(8)
}

/// The caller ends something that is waited for.
pub fn release_ends() {
    released(&raw const ENDS);
}

/// Everybody's end, for who waited for all.
pub fn acquire_ends() {
    acquired(&raw const ENDS);
}

#[cold]
#[inline(never)]
fn release(address: *const u8) {
    if let Some(threads) = threads() {
        // SAFETY: the sanitizer's function, which takes the address for a name.
        unsafe { (threads.release)(address.cast()) };
    }
}

#[cold]
#[inline(never)]
fn acquire(address: *const u8) {
    if let Some(threads) = threads() {
        // SAFETY: as above.
        unsafe { (threads.acquire)(address.cast()) };
    }
}

// ---- told ----

/// The thread is on the stack of `g`.
unsafe fn to_stack_of(g: *mut Goroutine) {
    let Some(address) = address() else { return };
    let here = here();
    if here.on_stack == g {
        return;
    }
    debug_assert!(here.on_stack.is_null());
    here.on_stack = g;
    // SAFETY: the caller's promise; I1.
    unsafe {
        let b = stack::running(g);
        let low = stack::event::lowest(g, b);
        (address.start)(&raw mut here.fake_stack, low as *const c_void, b.top - low);
        (address.finish)((*g).fake_stack, &raw mut here.low, &raw mut here.bytes);
    }
}

/// And on its own again, if it was on that of `g`.
unsafe fn to_own_stack(g: *mut Goroutine) {
    let Some(address) = address() else { return };
    let here = here();
    if here.on_stack.is_null() || here.on_stack != g {
        return;
    }
    here.on_stack = null_mut();
    // SAFETY: the caller's promise; I1.
    unsafe {
        (address.start)(&raw mut (*g).fake_stack, here.low, here.bytes);
        (address.finish)(here.fake_stack, null_mut(), null_mut());
    }
}

/// `g` runs on the thread.
unsafe fn run(g: *mut Goroutine) {
    let Some(threads) = threads() else { return };
    let here = here();
    // SAFETY: the caller's promise.
    unsafe {
        if here.runs == g || (*g).flags.load(Ordering::Relaxed) & GOROUTINE_FLAG_ATTACHED != 0 {
            return; // I3
        }
        debug_assert!(here.runs.is_null() && !here.fiber.is_null());
        here.runs = g;
        if (*g).fiber.is_null() {
            make_fiber(threads, g);
        }
        (threads.switch)((*g).fiber, NO_SYNC);
        (threads.acquire)(g.cast());
        (threads.acquire)(back(&raw const *here).cast()); // the thread's beginning, when its thread-local variables were made
    }
}

/// And does not any more, if it did.
unsafe fn stop_running(g: *mut Goroutine) {
    let Some(threads) = threads() else { return };
    let here = here();
    if !here.runs.is_null() && here.runs == g {
        here.runs = null_mut();
        // SAFETY: a thread that runs goroutines has a fiber.
        unsafe {
            (threads.release)((&raw const *here).cast());
            (threads.switch)(here.fiber, NO_SYNC);
        }
    }
}
