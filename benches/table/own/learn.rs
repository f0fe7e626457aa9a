//! Stacks that are there before they are used (GOROUTINE_CONFIG_LEARN_STACKS), and what it costs those who use little.

use super::{join, median, run, spawn};
use goroutine::abi::*;
use goroutine::capi::goroutine::*;
use goroutine::capi::promise::*;
use goroutine::capi::runtime::*;
use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

const LIVE: usize = 1000;
const USED: usize = 100 << 10;
const STACK: usize = 256 << 10;
const GUARD: usize = 64 << 10;

static STARTED: AtomicUsize = AtomicUsize::new(0);
static STACKS: Mutex<Vec<usize>> = Mutex::new(Vec::new());

#[inline(never)]
fn touch() {
    let mut room = [const { std::mem::MaybeUninit::<u8>::uninit() }; USED];
    for i in (0..USED).step_by(4096).rev() {
        std::hint::black_box(&mut room)[i].write(1);
    }
}

unsafe extern "C" fn deep(gate: *mut c_void) -> *mut c_void {
    // SAFETY: the running goroutine; the gate outlives it.
    unsafe {
        touch();
        STACKS
            .lock()
            .unwrap()
            .push(goroutine_current() as usize & !(STACK - 1));
        STARTED.fetch_add(1, Ordering::Relaxed);
        goroutine_promise_await(gate.cast(), GOROUTINE_FOREVER, null_mut());
    }
    null_mut()
}

/// A thousand at a time, on stacks without memory: ns from the first spawn until all wait, per goroutine.
fn burst() -> f64 {
    run(|| {
        STARTED.store(0, Ordering::Relaxed);
        // SAFETY: the promise is released after all who use it.
        let gate = unsafe { goroutine_promise_new() };
        let start = Instant::now();
        let all: Vec<_> = (0..LIVE).map(|_| spawn(deep, gate.cast())).collect();
        while STARTED.load(Ordering::Relaxed) != LIVE {
            // SAFETY: on a goroutine.
            unsafe { goroutine_yield() };
        }
        let took = start.elapsed().as_nanos() as f64 / LIVE as f64;
        // SAFETY: as above.
        unsafe { goroutine_promise_resolve(gate, null_mut()) };
        all.into_iter().for_each(join);
        // SAFETY: as above.
        unsafe { goroutine_promise_release(gate) };
        took
    })
}

/// All of them are free: their memory goes, as in a trim.
fn empty() {
    for base in STACKS.lock().unwrap().drain(..) {
        // SAFETY: a free stack of the default class; its pool knows it by its address.
        unsafe { libc::madvise((base + GUARD) as *mut c_void, STACK - GUARD, libc::MADV_DONTNEED) };
    }
}

fn small() -> f64 {
    const N: u64 = 200_000;
    let took = super::on_goroutine(super::tasks::round_of("spawn_batch").expect("it is there"), N);
    took.as_nanos() as f64 / N as f64
}

fn restart(flags: u32) {
    // SAFETY: no goroutine is left.
    unsafe {
        let _ = goroutine_runtime_shutdown(10_000_000_000);
        let mut config = std::mem::zeroed();
        goroutine_config_init_sized(&mut config, size_of::<GoroutineConfig>());
        config.flags = flags;
        config.workers = 1;
        assert_eq!(goroutine_runtime_start(&config), GOROUTINE_OK);
    }
}

fn both(one: impl Fn() -> f64) -> String {
    let [without, with] = [0, GOROUTINE_CONFIG_LEARN_STACKS].map(|flags| {
        restart(flags);
        one(); // it learns
        empty();
        let all = (0..5).map(|_| {
            let took = one();
            empty();
            took
        });
        median(all.collect())
    });
    restart(0);
    format!("{without:.1} {with:.1}")
}

/// ns per goroutine, without and with the flag.
pub fn row(name: &str) -> Option<String> {
    Some(match name {
        "learn_deep" => both(burst),
        "learn_small" => both(small),
        _ => return None,
    })
}
