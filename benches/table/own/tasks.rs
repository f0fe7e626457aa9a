//! Spawns, switches, timers.

use super::{Round, identity};
use goroutine::abi::*;
use goroutine::capi::goroutine::*;
use goroutine::capi::promise::*;
use goroutine::capi::timer::*;
use std::ffi::c_void;
use std::time::{Duration, Instant};

/// The operation of a row.
pub fn round_of(row: &str) -> Option<Round> {
    Some(match row {
        // The switch that goroutines use is the yield, with its look at the queue: that is what is compared.
        "switch" => |n| yields(2, n),
        "yield_2" => |n| yields(2, n),
        "yield_1000" => |n| yields(1000, n),
        "spawn_batch" => spawn_batch,
        "spawn_await" => spawn_await,
        "timer_0" => timers,
        "timer_1m" => timers_among_a_million,
        _ => return super::waiting::round_of(row),
    })
}

fn yields(goroutines: u64, n: u64) -> Duration {
    unsafe extern "C" fn body(turns: *mut c_void) -> *mut c_void {
        for _ in 0..turns as usize {
            // SAFETY: callable anywhere.
            unsafe { goroutine_yield() };
        }
        turns
    }
    let start = Instant::now();
    let turns = (n / goroutines) as *mut c_void;
    // SAFETY: plain calls; every promise is consumed.
    unsafe {
        let promises: Vec<_> = (0..goroutines)
            .map(|_| goroutine_spawn(Some(body), turns))
            .collect();
        for p in promises {
            goroutine_promise_await_take(p, GOROUTINE_FOREVER, std::ptr::null_mut());
        }
    }
    start.elapsed()
}

fn spawn_batch(n: u64) -> Duration {
    let start = Instant::now();
    let mut sum = 0usize;
    for _ in 0..n / 100 {
        // SAFETY: as above.
        unsafe {
            let mut promises = [std::ptr::null_mut(); 100];
            for (i, p) in promises.iter_mut().enumerate() {
                *p = goroutine_spawn(Some(identity), i as *mut c_void);
            }
            for p in promises {
                let mut value = std::ptr::null_mut();
                goroutine_promise_await_take(p, GOROUTINE_FOREVER, &mut value);
                sum += value as usize;
            }
        }
    }
    assert_eq!(sum as u64, n / 100 * 4950);
    start.elapsed()
}

fn spawn_await(n: u64) -> Duration {
    let start = Instant::now();
    for i in 0..n {
        // SAFETY: as above.
        unsafe {
            let mut value = std::ptr::null_mut();
            let p = goroutine_spawn(Some(identity), i as *mut c_void);
            goroutine_promise_await_take(p, GOROUTINE_FOREVER, &mut value);
            assert_eq!(value as u64, i);
        }
    }
    start.elapsed()
}

const HOUR: u64 = 3_600_000_000_000;

fn timers(n: u64) -> Duration {
    let start = Instant::now();
    for _ in 0..n {
        // SAFETY: plain calls.
        unsafe {
            let id = goroutine_timer_start(HOUR, 0, Some(identity), std::ptr::null_mut());
            assert!(goroutine_timer_stop(id));
        }
    }
    start.elapsed()
}

fn timers_among_a_million(n: u64) -> Duration {
    static PENDING: std::sync::Mutex<Vec<i64>> = std::sync::Mutex::new(Vec::new());
    let mut pending = PENDING.lock().expect("nobody panics with it");
    if pending.is_empty() {
        // SAFETY: plain calls. Over 1..3600 s: none fires during a run of this program's length but the first few.
        pending.extend((0..1_000_000u64).map(|i| unsafe {
            goroutine_timer_start(
                600_000_000_000 + i * 3_000_000,
                0,
                Some(identity),
                std::ptr::null_mut(),
            )
        }));
    }
    timers(n)
}
