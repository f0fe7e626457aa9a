//! What it costs to be stoppable, and to stop.

use super::{join, median, percentiles_and_most, run, spawn};
use crate::emit::{Way, emitted, polls_until};
use goroutine::abi::*;
use goroutine::capi::promise::*;
use goroutine::capi::world::*;
use goroutine::goroutine::Goroutine;
use std::ffi::c_void;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// An emitted loop of two instructions, and the same with a poll of `preempt`, ns per iteration.
pub fn poll() -> String {
    const TIMES: u64 = 4_000_000; // below a slice
    run(|| {
        let once = |way| {
            let start = Instant::now();
            // SAFETY: these call nothing.
            unsafe { emitted(way)(TIMES, null(), null_mut(), null()) };
            start.elapsed().as_nanos() as f64 / TIMES as f64
        };
        let rounds = 15;
        let both: Vec<_> = (0..rounds)
            .map(|_| (once(Way::Empty), once(Way::Polls)))
            .collect();
        let (without, with): (Vec<_>, Vec<_>) = both.into_iter().unzip();
        format!("{:.3} {:.3}", median(without), median(with))
    })
}

fn stop() -> u32 {
    let start = Instant::now();
    assert_eq!(goroutine_world_stop(20_000_000_000), GOROUTINE_OK);
    start.elapsed().as_nanos() as u32
}

/// From a plain thread, while 8 goroutines are in emitted loops that poll: us, p50, p99, most.
pub fn loops() -> String {
    let quit = AtomicBool::new(false);
    let all: Vec<_> = (0..8)
        .map(|_| spawn(polls_until().expect("code"), (&raw const quit).cast_mut().cast()))
        .collect();
    std::thread::sleep(Duration::from_millis(20));
    let stops = (0..1000).map(|_| {
        let took = stop();
        goroutine_world_start();
        std::thread::sleep(Duration::from_micros(500));
        took
    });
    let answer = percentiles_and_most(stops.collect());
    quit.store(true, Ordering::Relaxed);
    all.into_iter().for_each(join);
    answer
}

unsafe extern "C" fn waits(gate: *mut c_void) -> *mut c_void {
    // SAFETY: the promise outlives us.
    unsafe { goroutine_promise_await(gate.cast(), GOROUTINE_FOREVER, null_mut()) };
    null_mut()
}

/// With 100,000 parked: a stop, a look at all ranges, and at all roots; us, the median of each.
pub fn parked() -> String {
    unsafe extern "C" fn range(
        arg: *mut c_void,
        _: *const Goroutine,
        _: *const GoroutineContext,
        _: *const c_void,
        _: *const c_void,
    ) {
        // SAFETY: a count.
        unsafe { *arg.cast::<u64>() += 1 };
    }
    unsafe extern "C" fn root(arg: *mut c_void, _: *mut *mut c_void) {
        // SAFETY: a count.
        unsafe { *arg.cast::<u64>() += 1 };
    }
    let (mut stops, mut ranges, mut roots) = (Vec::new(), Vec::new(), Vec::new());
    // SAFETY: every promise is consumed.
    unsafe {
        let gate = goroutine_promise_new();
        let all: Vec<_> = (0..100_000).map(|_| spawn(waits, gate.cast())).collect();
        std::thread::sleep(Duration::from_millis(300));
        for _ in 0..15 {
            let mut count = 0u64;
            stops.push(f64::from(stop()) / 1000.0);
            let start = Instant::now();
            goroutine_world_for_each(Some(range), (&raw mut count).cast());
            ranges.push(start.elapsed().as_nanos() as f64 / 1000.0);
            let start = Instant::now();
            goroutine_world_for_each_root(Some(root), (&raw mut count).cast());
            roots.push(start.elapsed().as_nanos() as f64 / 1000.0);
            goroutine_world_start();
            assert!(count >= 400_000);
            std::thread::sleep(Duration::from_millis(1));
        }
        goroutine_promise_resolve(gate, null_mut());
        all.into_iter().for_each(join);
        goroutine_promise_release(gate);
    }
    format!("{:.2} {:.0} {:.0}", median(stops), median(ranges), median(roots))
}
