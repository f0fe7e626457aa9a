//! Foreign calls among many: bound goroutines side by side, others that go on meanwhile, and what each takes.

use super::calls::function;
use super::{ROUND, join, percentiles, spawn};
use crate::emit::{Way, emitted};
use goroutine::abi::*;
use goroutine::capi::ffi::*;
use goroutine::capi::goroutine::goroutine_sleep;
use goroutine::capi::promise::*;
use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Barrier, Mutex};
use std::time::{Duration, Instant};

// ---- side by side ----

/// So many bound goroutines call all the time: ns of wall-clock time per call of any, and of CPU time.
pub fn many_bound(goroutines: u64) -> String {
    struct Shared {
        arrived: AtomicU64,
        begin: Barrier,
        stop: AtomicBool,
        calls: AtomicU64,
    }
    unsafe extern "C" fn body(shared: *mut c_void) -> *mut c_void {
        const CHUNK: u64 = 10_000;
        let code = emitted(Way::Three);
        // SAFETY: the caller waits for us. The goroutine is bound: it may block its thread.
        unsafe {
            let shared = &*shared.cast::<Shared>();
            assert_eq!(goroutine_ffi_bind(), GOROUTINE_OK);
            shared.arrived.fetch_add(1, Ordering::Relaxed);
            shared.begin.wait();
            let mut calls = 0;
            while !shared.stop.load(Ordering::Relaxed) {
                code(CHUNK, function(), null_mut(), execute_ffi_call as *const c_void);
                calls += CHUNK;
            }
            shared.calls.fetch_add(calls, Ordering::Relaxed);
        }
        null_mut()
    }
    let shared = Shared {
        arrived: AtomicU64::new(0),
        begin: Barrier::new(goroutines as usize + 1),
        stop: AtomicBool::new(false),
        calls: AtomicU64::new(0),
    };
    let argument = std::ptr::from_ref(&shared).cast_mut().cast();
    let all: Vec<_> = (0..goroutines).map(|_| spawn(body, argument)).collect();
    while shared.arrived.load(Ordering::Relaxed) != goroutines {
        std::thread::sleep(Duration::from_millis(1));
    }
    let (start, cpu) = (Instant::now(), cpu_ns()); // before any of them can call
    shared.begin.wait();
    std::thread::sleep(ROUND * 2);
    shared.stop.store(true, Ordering::Relaxed);
    all.into_iter().for_each(join);
    let (wall, cpu) = (start.elapsed().as_nanos() as f64, (cpu_ns() - cpu) as f64);
    let calls = shared.calls.load(Ordering::Relaxed) as f64;
    format!("{:.3} {:.3}", wall / calls, cpu / calls)
}

/// CPU time of this process.
fn cpu_ns() -> u64 {
    let mut t = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: writes the struct.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut t) };
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}

// ---- others meanwhile ----

/// What happens while others sleep.
#[derive(Clone, Copy)]
pub enum Call {
    Nothing,
    Bound,
    Blocking,
}

const SLEEPERS: usize = 1000;
const SLEEP: Duration = Duration::from_millis(1);
const CALL: Duration = Duration::from_millis(100);

/// 1,000 goroutines sleep 1 ms over and over, and another one is in a C function for 100 ms, five times: how late the sleepers
/// are that fall due meanwhile.
pub fn sleepers_during(call: Call) -> String {
    struct Sleeper {
        begun: Instant,
        /// When it fell due, in ns since then, and how late it was.
        sleeps: Vec<(u64, u32)>,
    }
    static STOP: AtomicBool = AtomicBool::new(false);
    static WINDOWS: Mutex<Vec<(Instant, Instant)>> = Mutex::new(Vec::new());
    unsafe extern "C" fn sleeps(sleeper: *mut c_void) -> *mut c_void {
        // SAFETY: ours until we return; the caller waits.
        let sleeper = unsafe { &mut *sleeper.cast::<Sleeper>() };
        while !STOP.load(Ordering::Relaxed) {
            let due = sleeper.begun.elapsed() + SLEEP;
            // SAFETY: callable anywhere.
            unsafe { goroutine_sleep(SLEEP.as_nanos() as u64) };
            let late = sleeper.begun.elapsed().saturating_sub(due);
            sleeper
                .sleeps
                .push((due.as_nanos() as u64, late.as_nanos() as u32));
        }
        null_mut()
    }
    unsafe extern "C" fn in_c(arg: *mut c_void) -> *mut c_void {
        std::thread::sleep(CALL);
        arg
    }
    unsafe extern "C" fn calls(call: *mut c_void) -> *mut c_void {
        let in_c = in_c as *mut c_void;
        // SAFETY: the caller waits for us.
        let call = unsafe { *call.cast::<Call>() };
        for _ in 0..5 {
            // SAFETY: plain calls.
            unsafe { goroutine_sleep(20_000_000) };
            let start = Instant::now();
            // SAFETY: as above.
            unsafe {
                match call {
                    Call::Nothing => _ = goroutine_sleep(CALL.as_nanos() as u64),
                    Call::Bound => _ = execute_ffi_call(null_mut(), in_c, null_mut()),
                    Call::Blocking => _ = goroutine_ffi_call_blocking(in_c, null_mut()),
                }
            }
            WINDOWS.lock().unwrap().push((start, Instant::now()));
        }
        STOP.store(true, Ordering::Relaxed);
        null_mut()
    }
    STOP.store(false, Ordering::Relaxed);
    WINDOWS.lock().unwrap().clear();
    let begun = Instant::now();
    let mut sleepers: Vec<Sleeper> = (0..SLEEPERS)
        .map(|_| Sleeper {
            begun,
            sleeps: Vec::with_capacity(2000),
        })
        .collect();
    let mut call = call;
    let mut all = Vec::new();
    for sleeper in &mut sleepers {
        all.push(spawn(sleeps, std::ptr::from_mut(sleeper).cast()));
        std::thread::sleep(Duration::from_micros(1)); // or they fall due in a herd
    }
    all.push(spawn(calls, std::ptr::from_mut(&mut call).cast()));
    all.into_iter().for_each(join);
    let windows = WINDOWS.lock().unwrap();
    let inside = |due: u64| {
        let at = begun + Duration::from_nanos(due);
        windows.iter().any(|&(start, end)| (start..end).contains(&at))
    };
    let all = sleepers.iter().flat_map(|sleeper| &sleeper.sleeps);
    percentiles(all.filter(|(due, _)| inside(*due)).map(|s| s.1).collect())
}

// ---- what each takes ----

/// 100,000 parked goroutines and 1,000 bound ones that have made a call, at the same time: bytes (resident, and page tables) of
/// one of each, and the ms of CPU time that all of them take in 5 s.
pub fn memory() -> String {
    const PARKED: u64 = 100_000;
    const BOUND: u64 = 1000;
    static BEGUN: AtomicU64 = AtomicU64::new(0);
    unsafe extern "C" fn parks(gate: *mut c_void) -> *mut c_void {
        BEGUN.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the promise outlives us.
        unsafe { goroutine_promise_await(gate.cast(), GOROUTINE_FOREVER, null_mut()) };
        null_mut()
    }
    unsafe extern "C" fn bound(gate: *mut c_void) -> *mut c_void {
        // SAFETY: the function does nothing; the gate is the caller's.
        unsafe {
            execute_ffi_call(null_mut(), function(), null_mut());
            parks(gate)
        }
    }
    let begun = |n| {
        while BEGUN.load(Ordering::Relaxed) != n {
            std::thread::sleep(Duration::from_millis(1));
        }
        memory_bytes()
    };
    let mut all = Vec::with_capacity((PARKED + BOUND) as usize);
    BEGUN.store(0, Ordering::Relaxed);
    // SAFETY: all are awaited; the gate outlives them.
    unsafe {
        let gate = goroutine_promise_new();
        let start = memory_bytes();
        all.extend((0..PARKED).map(|_| spawn(parks, gate.cast())));
        let middle = begun(PARKED);
        all.extend((0..BOUND).map(|_| spawn(bound, gate.cast())));
        let end = begun(PARKED + BOUND);
        std::thread::sleep(Duration::from_secs(2)); // it settles
        let cpu = cpu_ns();
        std::thread::sleep(Duration::from_secs(5));
        let cpu = cpu_ns() - cpu;
        goroutine_promise_resolve(gate, null_mut());
        all.into_iter().for_each(join);
        goroutine_promise_release(gate);
        let (parked, bound) = ((middle - start) / PARKED, (end - middle) / BOUND);
        format!("{parked} {bound} {:.2}", cpu as f64 / 1e6)
    }
}

/// VmRSS and VmPTE of this process.
fn memory_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("proc is mounted");
    let of = |key| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        line.and_then(|kib| kib.trim().strip_suffix(" kB")?.parse::<u64>().ok())
    };
    (of("VmRSS:").expect("it is there") + of("VmPTE:").expect("it is there")) * 1024
}
