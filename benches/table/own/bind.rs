//! What the first foreign call of a goroutine costs: it becomes the owner of its thread.

use super::calls::function;
use super::{join, median, run, spawn};
use goroutine::abi::*;
use goroutine::capi::ffi::*;
use goroutine::capi::goroutine::*;
use goroutine::capi::runtime::*;
use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Instant;

/// A thread has gone to sleep for certain after so long.
const NAP_NS: u64 = 200_000;

fn first_call() {
    // SAFETY: the function does nothing.
    unsafe { execute_ffi_call(null_mut(), function(), null_mut()) };
}

fn unbind() {
    // SAFETY: no C frame is live.
    assert_eq!(unsafe { goroutine_ffi_unbind() }, GOROUTINE_OK);
}

fn nap() {
    // SAFETY: callable anywhere.
    assert_eq!(unsafe { goroutine_sleep(NAP_NS) }, GOROUTINE_OK);
}

/// ns that `f` takes, and two looks at the clock.
fn time(f: impl FnOnce()) -> f64 {
    let start = Instant::now();
    f();
    start.elapsed().as_nanos() as f64
}

/// What `time` gives for nothing.
fn clock() -> f64 {
    median((0..1001).map(|_| time(|| ())).collect())
}

fn stats() -> GoroutineStats {
    let mut stats = GoroutineStats {
        size: size_of::<GoroutineStats>() as u32,
        ..GoroutineStats::default()
    };
    // SAFETY: writes the struct.
    assert_eq!(unsafe { goroutine_runtime_stats(&mut stats) }, GOROUTINE_OK);
    stats
}

/// A spare thread is parked, and the worker has nothing else to do: the ns of the first call, and of the unbind.
pub fn alone() -> String {
    run(|| {
        let clock = clock();
        let (firsts, unbinds): (Vec<f64>, Vec<f64>) =
            (0..5000).map(|_| (time(first_call), time(unbind))).unzip();
        format!("{:.1} {:.1}", median(firsts) - clock, median(unbinds) - clock)
    })
}

/// A spare thread is parked, and another goroutine is runnable on the only worker, which therefore needs that thread. The ns of the
/// first call, and of a FUTEX_WAKE of another thread that sleeps.
pub fn loaded() -> String {
    static STOP: AtomicBool = AtomicBool::new(false);
    unsafe extern "C" fn runnable(arg: *mut c_void) -> *mut c_void {
        while !STOP.load(Ordering::Relaxed) {
            // SAFETY: callable anywhere.
            unsafe { goroutine_yield() };
        }
        arg
    }
    STOP.store(false, Ordering::Relaxed);
    let sleeper = Sleeper::start();
    let other = spawn(runnable, null_mut());
    let answer = run(|| {
        let clock = clock();
        first_call(); // if there is no spare thread yet, this makes it
        unbind();
        let before = stats();
        let (mut firsts, mut wakes) = (Vec::new(), Vec::new());
        for _ in 0..100 {
            nap();
            firsts.push(time(first_call));
            unbind();
            nap();
            let mut slept = false;
            let took = time(|| slept = sleeper.wake());
            wakes.extend(slept.then_some(took)); // on a busy machine it may not have come to sleep yet
        }
        let after = stats();
        assert_eq!(after.ffi_spares_missed, before.ffi_spares_missed);
        assert!(after.ffi_hand_offs - before.ffi_hand_offs >= 100); // it did have work for the spare thread
        format!("{:.1} {:.1}", median(firsts) - clock, median(wakes) - clock)
    });
    STOP.store(true, Ordering::Relaxed);
    join(other);
    answer
}

/// No spare thread is there, and one is made: in a runtime of its own, whose threads end when they are given back. ns.
pub fn thread() -> String {
    // SAFETY: no goroutine is left, and nothing of the library's is in use.
    unsafe {
        assert_eq!(goroutine_runtime_shutdown(GOROUTINE_FOREVER), GOROUTINE_OK);
        let mut config: GoroutineConfig = std::mem::zeroed();
        goroutine_config_init_sized(&mut config, size_of::<GoroutineConfig>());
        config.workers = std::env::var("GOROUTINE_WORKERS").map_or(0, |n| n.parse().unwrap());
        config.ffi_release = GOROUTINE_FFI_RETIRE;
        assert_eq!(goroutine_runtime_start(&config), GOROUTINE_OK);
    }
    let answer = run(|| {
        let firsts = (0..200).map(|_| {
            let first = time(first_call);
            unbind();
            nap();
            first
        });
        format!("{:.1}", median(firsts.collect()))
    });
    // SAFETY: as above.
    unsafe {
        assert_eq!(goroutine_runtime_shutdown(GOROUTINE_FOREVER), GOROUTINE_OK);
        assert_eq!(goroutine_runtime_start(std::ptr::null()), GOROUTINE_OK);
    }
    answer
}

/// A thread that sleeps on a futex until it is woken, again and again, as a spare one does.
struct Sleeper {
    word: Arc<AtomicU32>,
    thread: Option<std::thread::JoinHandle<()>>,
}

const ASLEEP: u32 = 0;
const AWAKE: u32 = 1;
const END: u32 = 2;

impl Sleeper {
    fn start() -> Self {
        let word = Arc::new(AtomicU32::new(ASLEEP));
        let its = word.clone();
        let thread = std::thread::spawn(move || {
            while its.load(Ordering::Acquire) != END {
                let _ = its.compare_exchange(AWAKE, ASLEEP, Ordering::SeqCst, Ordering::SeqCst);
                futex(&its, libc::FUTEX_WAIT, ASLEEP);
            }
        });
        Self {
            word,
            thread: Some(thread),
        }
    }

    /// Whether it was asleep.
    fn wake(&self) -> bool {
        self.word.store(AWAKE, Ordering::Release);
        futex(&self.word, libc::FUTEX_WAKE, 1) == 1
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.word.store(END, Ordering::SeqCst);
        futex(&self.word, libc::FUTEX_WAKE, 1);
        let _ = self.thread.take().expect("not joined yet").join();
    }
}

fn futex(word: &AtomicU32, operation: i32, value: u32) -> i64 {
    let none = std::ptr::null::<libc::timespec>();
    // SAFETY: the word outlives the call.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            operation | libc::FUTEX_PRIVATE_FLAG,
            value,
            none,
        )
    }
}
