//! The demonstration: functions compiled by Cranelift at run time, run as goroutines.
//!
//! The same workload and table as `demo/hand/main.c`: 100,000 goroutines (or as many as the first argument says)
//! wait at a gate, sleep on timers at the same time, then each awaits another one's promise. Their values come
//! together in one `goroutine_promise_all`, and are checked. Then one worker runs the measures of time. Exit status
//! 1: something was wrong.

mod code;
mod foreign;
mod runtime;

use code::{BATCH_MAX, Code, VARIANTS, WITNESS, WITNESSED, factor, sum_of_calls};
use foreign::Seen;
use runtime::*;
use std::ffi::{CStr, c_void};
use std::io::{IsTerminal, Write, stderr};
use std::ptr::{null, null_mut};
use std::time::Instant;

const ROUNDS: usize = 9;
const SEED: u64 = 7;
const CALLS: u64 = 1_000_000;

fn check(good: bool, what: &str) {
    if !good {
        eprintln!("wrong: {what}");
        std::process::exit(1);
    }
}

fn check_ok(status: Status, what: &str) {
    // SAFETY: the name of any status is a string that lives as long as the library.
    let name = unsafe { CStr::from_ptr(goroutine_status_name(status)) };
    check(status == OK, &format!("{what}: {}", name.to_string_lossy()));
}

/// Memory in use and the page tables for it.
fn memory_bytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = |name| {
        status.lines().find_map(|l| {
            l.strip_prefix(name)?
                .trim()
                .strip_suffix(" kB")?
                .parse::<f64>()
                .ok()
        })
    };
    match (kib("VmRSS:"), kib("VmPTE:")) {
        (Some(resident), Some(tables)) => (resident + tables) * 1024.0,
        _ => {
            check(false, "no VmRSS and VmPTE in /proc/self/status");
            0.0
        }
    }
}

fn progress(what: &str, done: u64, n: usize) {
    if stderr().is_terminal() {
        let _ = write!(stderr(), "\r\x1b[K{what} {done} of {n}");
    }
}

fn progress_end() {
    if stderr().is_terminal() {
        let _ = write!(stderr(), "\r\x1b[K");
    }
}

fn stats() -> Stats {
    let mut stats = Stats {
        size: size_of::<Stats>() as u32,
        ..Default::default()
    };
    // SAFETY: the struct says its size.
    check_ok(
        unsafe { goroutine_runtime_stats(&mut stats) },
        "goroutine_runtime_stats",
    );
    stats
}

struct Peak {
    /// Most in timers at one time.
    asleep: u64,
    /// Each, at most.
    bytes: f64,
}

fn run_tasks(code: &Code, promises: &mut [*mut Promise]) -> Peak {
    let mut peak = Peak {
        asleep: 0,
        bytes: 0.0,
    };
    let n = promises.len() - 1;
    let before = memory_bytes();
    // SAFETY: the functions are emitted for this; `promises` stays in place, and each has one reference of ours.
    unsafe {
        let gate = goroutine_promise_new();
        promises[0] = gate;
        check(!gate.is_null(), "goroutine_promise_new");
        for (i, promise) in promises.iter_mut().enumerate().skip(1) {
            *promise = goroutine_spawn(code.tasks[i % VARIANTS], i as *mut c_void);
            check(!promise.is_null(), "goroutine_spawn");
            if i % 10_000 == 0 {
                progress("spawned", i as u64, n);
            }
        }
        let all = goroutine_promise_all(promises[1..].as_ptr(), n);
        check(!all.is_null(), "goroutine_promise_all");
        check_ok(
            goroutine_promise_resolve(gate, SEED as *mut c_void),
            "goroutine_promise_resolve",
        );

        let mut array = null_mut();
        loop {
            let now = stats();
            peak.asleep = peak.asleep.max(now.timers);
            peak.bytes = peak.bytes.max((memory_bytes() - before) / n as f64);
            progress("finished", now.finished, n);
            match goroutine_promise_await(all, 5_000_000, &mut array) {
                ETIMEDOUT => {}
                status => break check_ok(status, "the tasks"),
            }
        }
        progress_end();
        let got = std::slice::from_raw_parts(array.cast::<u64>(), n);
        let mut want = vec![SEED; n + 1];
        for i in 1..=n {
            want[i] = factor(i % VARIANTS)
                .wrapping_mul(want[i / 2])
                .wrapping_add(i as u64);
        }
        check(got == &want[1..], "a goroutine's value");
        goroutine_promise_release(all);
        for &mut promise in promises {
            goroutine_promise_release(promise);
        }
    }
    peak
}

fn yield_ns(code: &Code) -> f64 {
    const EACH: usize = 1_000_000;
    let start = Instant::now();
    // SAFETY: the function is emitted for this.
    unsafe {
        let two = [(); 2].map(|()| goroutine_spawn(code.yielder, EACH as *mut c_void));
        for promise in two {
            let mut value = null_mut();
            check_ok(
                goroutine_promise_await_take(promise, FOREVER, &mut value),
                "a yielder",
            );
            check(value as usize == EACH, "a yielder's value");
        }
    }
    start.elapsed().as_nanos() as f64 / (2 * EACH) as f64
}

fn batch_ns(code: &Code, batch: u64) -> f64 {
    let rounds = 400_000 / batch;
    let spawn = Spawn {
        size: size_of::<Spawn>() as u32,
        flags: 0,
        function: code.batches, // a goroutine that starts with three arguments in registers
        int_args: [rounds, batch, code.odd as usize as u64, 0, 0, 0],
    };
    let (mut promise, mut sum) = (null_mut(), null_mut());
    let start = Instant::now();
    // SAFETY: the struct says its size; the function is emitted for these arguments.
    unsafe {
        check_ok(goroutine_spawn_with(&spawn, &mut promise), "goroutine_spawn_with");
        check_ok(
            goroutine_promise_await_take(promise, FOREVER, &mut sum),
            "the batches",
        );
    }
    let took = start.elapsed();
    check(sum as u64 == rounds * batch * batch, "the sum of the batches"); // the first k odd numbers: k * k
    took.as_nanos() as f64 / (rounds * batch) as f64
}

/// 64 goroutines make 1,000 calls each of C that looks where it is: each on one thread, on its native stack.
fn run_witnesses(code: &Code) {
    let mut all: Vec<Seen> = (0..64).map(|_| Seen::default()).collect();
    let promises: Vec<_> = (all.iter_mut())
        // SAFETY: the function is emitted for this; `all` outlives the goroutines.
        .map(|seen| unsafe { goroutine_spawn(code.witness, std::ptr::from_mut(seen).cast()) })
        .collect();
    for promise in promises {
        let mut sum = null_mut();
        // SAFETY: the promise is ours, or null, which is refused.
        let status = unsafe { goroutine_promise_await_take(promise, FOREVER, &mut sum) };
        check_ok(status, "a witness");
        check(
            sum as u64 == WITNESSED * (2.0 * WITNESS) as u64,
            "a witness's sum",
        );
    }
    for seen in all {
        check(seen.calls == WITNESSED, "the calls of a witness");
        check(seen.moved == 0, "a bound goroutine's thread");
        check(seen.wrong == 0, "a bound call's stack");
    }
}

fn call_ns(function: GoroutineFn, want: u64) -> f64 {
    let start = Instant::now();
    let mut sum = null_mut();
    // SAFETY: the function is emitted for this.
    unsafe {
        let promise = goroutine_spawn(function, CALLS as *mut c_void);
        check_ok(
            goroutine_promise_await_take(promise, FOREVER, &mut sum),
            "the calls of C",
        );
    }
    let took = start.elapsed();
    check(sum as u64 == want, "the sum of the calls of C");
    took.as_nanos() as f64 / CALLS as f64
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let n = std::env::args()
        .nth(1)
        .map_or(Ok(100_000), |n| n.parse())
        .unwrap_or(0);
    check(n > 0, "usage: demo-cranelift [goroutines]");
    // Written, so that it is not counted as the goroutines' memory.
    let mut promises = vec![std::ptr::dangling_mut(); n + 1];
    let code = code::emit(promises.as_ptr());

    // SAFETY: no pointer is passed but to a config that says its size; every goroutine has ended at each shutdown.
    unsafe {
        check_ok(goroutine_runtime_start(null()), "goroutine_runtime_start");
        let workers = stats().workers;
        let peak = run_tasks(&code, &mut promises);
        check_ok(goroutine_runtime_shutdown(FOREVER), "goroutine_runtime_shutdown");

        let mut config = Config::default();
        goroutine_config_init_sized(&mut config, size_of::<Config>());
        config.workers = 1;
        check_ok(goroutine_runtime_start(&config), "goroutine_runtime_start");
        run_witnesses(&code);
        let (mut spawn, mut one, mut yields) = (vec![], vec![], vec![]);
        let ways = [
            ("ns per C call, on the goroutine's stack", code.calls_direct),
            ("ns per C call, bound, in line", code.calls_bound),
            ("ns per C call, leaf, in line", code.calls_leaf),
            (
                "ns per C call, bound, execute_ffi_call",
                code.calls_through_library,
            ),
        ];
        let mut calls = ways.map(|_| vec![]);
        let want = sum_of_calls(CALLS);
        for round in 0..ROUNDS {
            progress("round", round as u64 + 1, ROUNDS);
            spawn.push(batch_ns(&code, BATCH_MAX));
            one.push(batch_ns(&code, 1));
            yields.push(yield_ns(&code));
            for (call, (_, function)) in calls.iter_mut().zip(ways) {
                call.push(call_ns(function, want));
            }
        }
        progress_end();
        check_ok(goroutine_runtime_shutdown(FOREVER), "goroutine_runtime_shutdown");

        println!(
            "Cranelift's JIT: all values right; {workers} workers, the times with 1, medians of {ROUNDS}"
        );
        println!("  goroutines                                 {n:10}");
        println!("  of them asleep in timers at once           {:10}", peak.asleep);
        println!("  bytes each (VmRSS + VmPTE), at most        {:10.0}", peak.bytes);
        println!(
            "  ns per spawn: 100 spawned, run, awaited    {:10.1}",
            median(spawn)
        );
        println!(
            "  ns per await: spawn one, await it          {:10.1}",
            median(one)
        );
        println!(
            "  ns per yield, between 2                    {:10.1}",
            median(yields)
        );
        for (call, (name, _)) in calls.into_iter().zip(ways) {
            println!("  {name:<43}{:10.1}", median(call));
        }
    }
}
