//! Yields that a trace records: the first events of threads that have recorded nothing yet, and later ones.

use super::{join, median, run, spawn};
use goroutine::abi::*;
use goroutine::capi::goroutine::*;
use goroutine::capi::runtime::*;
use goroutine::capi::trace::*;
use std::ffi::c_void;
use std::time::Duration;

/// Of one burst, by two goroutines: 16,384 events. A pause in which the file is written follows, so that nothing is lost.
const YIELDS: usize = 8192;
/// Bursts in which a ring of 65,536 events is new.
const FIRST: usize = 4;
const LATER: usize = 8;
/// Traces of a round.
const TRACES: usize = 5;

fn cpu_ns() -> f64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: fills in what it is given.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

unsafe extern "C" fn yields(n: *mut c_void) -> *mut c_void {
    for _ in 0..n as usize {
        // SAFETY: on a goroutine.
        unsafe { goroutine_yield() };
    }
    n
}

/// CPU time of the one worker, in ns per yield.
fn burst() -> f64 {
    run(|| {
        let half = (YIELDS / 2) as *mut c_void;
        let other = spawn(yields, half);
        let start = cpu_ns();
        // SAFETY: it does nothing else.
        unsafe { yields(half) };
        let took = cpu_ns() - start;
        join(other);
        took / YIELDS as f64
    })
}

/// A trace: of the first bursts the mean, of the later ones the median. None: something was lost, the machine is busy with other things.
fn trace() -> Option<[f64; 2]> {
    // SAFETY: a file that takes everything; the runtime runs.
    unsafe { assert_eq!(goroutine_trace_start(c"/dev/null".as_ptr()), GOROUTINE_OK) };
    let burst = |_| {
        std::thread::sleep(Duration::from_millis(20));
        burst()
    };
    let first: f64 = (0..FIRST).map(burst).sum();
    let later = (0..LATER).map(burst).collect();
    // SAFETY: fills in what it is given.
    unsafe {
        assert_eq!(goroutine_trace_stop(), GOROUTINE_OK);
        let mut stats = std::mem::zeroed();
        goroutine_stats_init_sized(&mut stats, size_of::<GoroutineStats>());
        assert_eq!(goroutine_runtime_stats(&mut stats), GOROUTINE_OK);
        (stats.trace_lost == 0).then(|| [first / FIRST as f64, median(later)])
    }
}

/// ns per yield: not traced; traced, first and later; and per event, which is half of the difference.
pub fn row() -> Option<String> {
    let without = median((0..20).map(|_| burst()).collect());
    let traces: Vec<_> = (0..2 * TRACES).filter_map(|_| trace()).take(TRACES).collect();
    if traces.len() < TRACES {
        return None;
    }
    let [first, later] = [0, 1].map(|i| median(traces.iter().map(|of| of[i]).collect()));
    let event = |of: f64| (of - without) / 2.0;
    Some(format!(
        "{without:.1} {first:.1} {later:.1} {:.1} {:.1}",
        event(first),
        event(later)
    ))
}
