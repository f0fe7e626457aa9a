//! What a trace records: the first events of threads that have recorded nothing yet, and later ones.

use super::{identity, join, median, run, spawn};
use goroutine::abi::*;
use goroutine::capi::ffi::*;
use goroutine::capi::goroutine::*;
use goroutine::capi::runtime::*;
use goroutine::capi::trace::*;
use std::ffi::c_void;
use std::ptr::null_mut;
use std::time::Duration;

/// Of one burst. A pause in which the file is written follows, so that nothing is lost.
const EVENTS: usize = 16_384;
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

/// What is done so often, and how many events it is.
struct Loop {
    events: usize,
    body: fn(n: usize),
}

fn loop_of(row: &str) -> Option<Loop> {
    let of = |events, body| Some(Loop { events, body });
    match row {
        "trace_yield" => of(2, |n| {
            let half = (n / 2) as *mut c_void;
            let other = spawn(yields, half);
            // SAFETY: on a goroutine.
            unsafe { yields(half) };
            join(other);
        }),
        "trace_spawn" => of(6, |n| {
            for _ in 0..n {
                join(spawn(identity, null_mut()));
            }
        }),
        "trace_leaf" => of(2, |n| {
            for _ in 0..n {
                // SAFETY: it takes anything.
                unsafe { goroutine_ffi_call_leaf(identity as *mut c_void, null_mut()) };
            }
        }),
        "trace_blocking" => of(2, |n| {
            for _ in 0..n {
                // SAFETY: it takes anything.
                unsafe { goroutine_ffi_call_blocking(identity as *mut c_void, null_mut()) };
            }
        }),
        _ => None,
    }
}

/// CPU time of the one worker, in ns for each of what it does.
fn burst(of: &Loop) -> f64 {
    run(|| {
        let n = EVENTS / of.events;
        let start = cpu_ns();
        (of.body)(n);
        (cpu_ns() - start) / n as f64
    })
}

/// A trace: of the first bursts the mean, of the later ones the median. None: something was lost, the machine is busy with other things.
fn trace(of: &Loop) -> Option<[f64; 2]> {
    // SAFETY: a file that takes everything; the runtime runs.
    unsafe { assert_eq!(goroutine_trace_start(c"/dev/null".as_ptr()), GOROUTINE_OK) };
    let burst = |_| {
        std::thread::sleep(Duration::from_millis(20));
        burst(of)
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

/// ns: not traced; traced, first and later; and per event, which is a part of the difference.
pub fn row(name: &str) -> Option<String> {
    let of = loop_of(name)?;
    let without = median((0..20).map(|_| burst(&of)).collect());
    let traces: Vec<_> = (0..2 * TRACES).filter_map(|_| trace(&of)).take(TRACES).collect();
    if traces.len() < TRACES {
        return None;
    }
    let [first, later] = [0, 1].map(|i| median(traces.iter().map(|of| of[i]).collect()));
    let event = |took: f64| (took - without) / of.events as f64;
    Some(format!(
        "{without:.1} {first:.1} {later:.1} {:.1} {:.1}",
        event(first),
        event(later)
    ))
}
