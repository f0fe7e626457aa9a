//! How late what sleeps is.

use super::percentiles;
use goroutine::abi::*;
use goroutine::capi::goroutine::*;
use goroutine::capi::promise::*;
use goroutine::capi::timer::*;
use std::ffi::c_void;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Sleeps so many ns, and says by how many more.
pub fn late_by(ns: u64) -> u32 {
    let start = Instant::now();
    // SAFETY: callable anywhere.
    unsafe { goroutine_sleep(ns) };
    (start.elapsed().as_nanos() as u64).saturating_sub(ns) as u32
}

pub fn lone_sleeper() -> String {
    unsafe extern "C" fn parked(forever: *mut c_void) -> *mut c_void {
        // SAFETY: the promise outlives us.
        unsafe { goroutine_promise_await(forever.cast(), GOROUTINE_FOREVER, std::ptr::null_mut()) };
        std::ptr::null_mut()
    }
    unsafe extern "C" fn sleeper(late: *mut c_void) -> *mut c_void {
        // SAFETY: the caller waits for us.
        let late = unsafe { &mut *late.cast::<Vec<u32>>() };
        for _ in 0..1000 {
            late.push(late_by(1_000_000));
        }
        std::ptr::null_mut()
    }
    let mut late: Vec<u32> = Vec::with_capacity(1000);
    // SAFETY: every promise is consumed; `late` outlives the sleeper.
    unsafe {
        let forever = goroutine_promise_new();
        let others: Vec<_> = (0..10_000)
            .map(|_| goroutine_spawn(Some(parked), forever.cast()))
            .collect();
        let p = goroutine_spawn(Some(sleeper), (&raw mut late).cast());
        goroutine_promise_await_take(p, GOROUTINE_FOREVER, std::ptr::null_mut());
        goroutine_promise_resolve(forever, std::ptr::null_mut());
        for p in others {
            goroutine_promise_await_take(p, GOROUTINE_FOREVER, std::ptr::null_mut());
        }
        goroutine_promise_release(forever);
    }
    percentiles(late)
}

pub fn sleep_lateness(seconds: u64) -> String {
    struct Sleeper {
        until: Instant,
        late: Vec<u32>,
    }
    unsafe extern "C" fn body(sleeper: *mut c_void) -> *mut c_void {
        // SAFETY: ours until we return; the caller waits.
        let sleeper = unsafe { &mut *sleeper.cast::<Sleeper>() };
        while Instant::now() < sleeper.until {
            sleeper.late.push(late_by(10_000_000));
        }
        std::ptr::null_mut()
    }
    unsafe extern "C" fn all(seconds: *mut c_void) -> *mut c_void {
        let until = Instant::now() + Duration::from_secs(seconds as u64);
        let capacity = seconds as usize * 100 + 8;
        let mut sleepers: Vec<Sleeper> = (0..10_000)
            .map(|_| Sleeper {
                until,
                late: Vec::with_capacity(capacity),
            })
            .collect();
        let mut next = Instant::now();
        let mut promises = Vec::with_capacity(sleepers.len());
        for sleeper in &mut sleepers {
            while Instant::now() < next {
                std::hint::spin_loop();
            }
            next += Duration::from_micros(1);
            // SAFETY: the sleeper outlives its goroutine.
            promises.push(unsafe { goroutine_spawn(Some(body), std::ptr::from_mut(sleeper).cast()) });
        }
        for p in promises {
            // SAFETY: ours.
            unsafe { goroutine_promise_await_take(p, GOROUTINE_FOREVER, std::ptr::null_mut()) };
        }
        Box::into_raw(Box::new(
            sleepers.into_iter().flat_map(|s| s.late).collect::<Vec<u32>>(),
        ))
        .cast()
    }
    let mut result = std::ptr::null_mut();
    // SAFETY: `all` gives a boxed vector.
    unsafe {
        let p = goroutine_spawn(Some(all), seconds as *mut c_void);
        goroutine_promise_await_take(p, GOROUTINE_FOREVER, &mut result);
        percentiles(*Box::from_raw(result.cast::<Vec<u32>>()))
    }
}

fn now_ns() -> u64 {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// When the callback of `record` ran.
static RAN_AT: AtomicU64 = AtomicU64::new(0);

/// A timer falls due every 2 ms while 100,000 regular goroutines yield all the time.
pub fn timer_among() -> String {
    static STOP: AtomicBool = AtomicBool::new(false);
    unsafe extern "C" fn runnable(arg: *mut c_void) -> *mut c_void {
        while !STOP.load(Ordering::Relaxed) {
            // SAFETY: callable anywhere.
            unsafe { goroutine_yield() };
        }
        arg
    }
    unsafe extern "C" fn record(arg: *mut c_void) -> *mut c_void {
        RAN_AT.store(now_ns(), Ordering::Release);
        arg
    }
    STOP.store(false, Ordering::Relaxed);
    let mut late = Vec::with_capacity(500);
    // SAFETY: plain calls; every promise is consumed.
    unsafe {
        let all: Vec<_> = (0..100_000)
            .map(|_| goroutine_spawn(Some(runnable), std::ptr::null_mut()))
            .collect();
        for _ in 0..500 {
            RAN_AT.store(0, Ordering::Relaxed);
            let due = now_ns() + 2_000_000;
            goroutine_timer_start(2_000_000, 0, Some(record), std::ptr::null_mut());
            while RAN_AT.load(Ordering::Acquire) == 0 {
                std::thread::sleep(Duration::from_micros(100)); // this thread has no worker
            }
            late.push(RAN_AT.load(Ordering::Relaxed).saturating_sub(due) as u32);
        }
        STOP.store(true, Ordering::Relaxed);
        for p in all {
            goroutine_promise_await_take(p, GOROUTINE_FOREVER, std::ptr::null_mut());
        }
    }
    percentiles(late)
}

/// How far each beat of an interval is behind its place on the grid of whole periods since the start. A drift would spread
/// these over the whole period. (Beats that a busy machine makes too late are left out, not caught up.)
pub fn interval(seconds: u64) -> String {
    const PERIOD: u64 = 1_000_000;
    static BEATS: Mutex<Vec<u64>> = Mutex::new(Vec::new());
    unsafe extern "C" fn beat(arg: *mut c_void) -> *mut c_void {
        BEATS.lock().unwrap().push(now_ns());
        arg
    }
    BEATS.lock().unwrap().clear();
    let start = now_ns();
    // SAFETY: plain calls.
    unsafe {
        let timer = goroutine_timer_start(PERIOD, PERIOD, Some(beat), std::ptr::null_mut());
        std::thread::sleep(Duration::from_secs(seconds));
        goroutine_timer_stop(timer);
    }
    let beats = BEATS.lock().unwrap();
    percentiles(beats.iter().map(|at| ((at - start) % PERIOD) as u32).collect())
}
