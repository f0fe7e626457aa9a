//! How long a goroutine that was readied waits while others compute.

use super::{join, run, spawn};
use goroutine::abi::*;
use goroutine::capi::goroutine::*;
use goroutine::promise::Promise;
use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

const BUSY: usize = 1000;
const WAITING: usize = 50;
const SAMPLES: usize = 3000;

static QUIT: AtomicBool = AtomicBool::new(false);
static BEGUN: AtomicU32 = AtomicU32::new(0);
static LATE: Mutex<Vec<u32>> = Mutex::new(Vec::new());
/// The same in CPU time of the process.
static LATE_CPU: Mutex<Vec<u32>> = Mutex::new(Vec::new());
static TURNS: [AtomicU32; BUSY] = [const { AtomicU32::new(0) }; BUSY];

fn cpu_ns() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: a plain call.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[derive(Default)]
struct Target {
    parked: Mutex<Option<GoroutineTicket>>,
    /// When, and how much CPU time the process had used.
    readied: Mutex<Option<(Instant, u64)>>,
}

/// 50 us of work between two yields.
unsafe extern "C" fn computes(index: *mut c_void) -> *mut c_void {
    BEGUN.fetch_add(1, Ordering::Relaxed);
    while !QUIT.load(Ordering::Relaxed) {
        let start = Instant::now();
        while start.elapsed() < Duration::from_micros(50) {
            std::hint::spin_loop();
        }
        TURNS[index as usize].fetch_add(1, Ordering::Relaxed);
        // SAFETY: callable anywhere.
        unsafe { goroutine_yield() };
    }
    null_mut()
}

unsafe extern "C" fn parked(ticket: GoroutineTicket, target: *mut c_void) -> bool {
    // SAFETY: the target outlives its goroutine.
    let target = unsafe { &*target.cast::<Target>() };
    *target.parked.lock().unwrap() = Some(ticket);
    true
}

unsafe extern "C" fn waits(target: *mut c_void) -> *mut c_void {
    // SAFETY: as above.
    unsafe {
        let at = &*target.cast::<Target>();
        while !QUIT.load(Ordering::Relaxed) {
            goroutine_park(Some(parked), target, GOROUTINE_FOREVER);
            let readied = at.readied.lock().unwrap().take();
            if let Some((at, cpu)) = readied {
                LATE_CPU.lock().unwrap().push((cpu_ns() - cpu) as u32);
                LATE.lock().unwrap().push(at.elapsed().as_nanos() as u32);
            }
        }
    }
    null_mut()
}

fn start(target: &Target, flags: u32) -> *mut Promise {
    let mut promise = null_mut();
    // SAFETY: a request that is all zero but for what is set.
    unsafe {
        let mut request: GoroutineSpawn = std::mem::zeroed();
        request.size = size_of::<GoroutineSpawn>() as u32;
        request.r#fn = waits as *const () as *mut c_void;
        request.int_args[0] = std::ptr::from_ref(target) as u64;
        request.flags = flags;
        assert_eq!(goroutine_spawn_with(&request, &mut promise), GOROUTINE_OK);
    }
    promise
}

/// p50, p99, p99.9 and the most, us, of goroutines with these flags that a plain thread readies; the same in CPU time of the process; the
/// least and the most turns of those that compute.
pub fn latency(flags: u32) -> String {
    QUIT.store(false, Ordering::Relaxed);
    BEGUN.store(0, Ordering::Relaxed);
    LATE.lock().unwrap().clear();
    LATE_CPU.lock().unwrap().clear();
    run(|| ());
    let targets: Vec<Target> = (0..WAITING).map(|_| Target::default()).collect();
    let waiting: Vec<_> = targets.iter().map(|target| start(target, flags)).collect();
    let busy: Vec<_> = (0..BUSY).map(|i| spawn(computes, i as *mut c_void)).collect();
    while BEGUN.load(Ordering::Relaxed) != BUSY as u32 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let before = TURNS.each_ref().map(|turns| turns.load(Ordering::Relaxed));
    let mut next = 0;
    while LATE.lock().unwrap().len() < SAMPLES {
        std::thread::sleep(Duration::from_micros(1000));
        next = (next + 1) % WAITING;
        ready(&targets[next]);
    }
    let turns = TURNS
        .iter()
        .zip(before)
        .map(|(turns, before)| turns.load(Ordering::Relaxed) - before);
    let turns: Vec<u32> = turns.collect();
    QUIT.store(true, Ordering::Relaxed);
    busy.into_iter().for_each(join);
    for (target, promise) in targets.iter().zip(waiting) {
        // SAFETY: the promise is ours.
        while unsafe {
            (*promise
                .cast::<AtomicU32>()
                .byte_add(GOROUTINE_PROMISE_OFFSET_STATE))
            .load(Ordering::Acquire)
        } == 0
        {
            ready(target);
            std::thread::sleep(Duration::from_micros(100));
        }
        join(promise);
    }
    let (least, most) = (turns.iter().min().unwrap(), turns.iter().max().unwrap());
    format!("{} {} {least} {most}", percentiles(&LATE), percentiles(&LATE_CPU))
}

fn percentiles(late: &Mutex<Vec<u32>>) -> String {
    let mut late = std::mem::take(&mut *late.lock().unwrap());
    late.sort_unstable();
    let at = |q: f64| f64::from(late[((late.len() - 1) as f64 * q) as usize]) / 1000.0;
    format!("{:.1} {:.1} {:.1} {:.1}", at(0.5), at(0.99), at(0.999), at(1.0))
}

fn ready(target: &Target) {
    if let Some(ticket) = target.parked.lock().unwrap().take() {
        *target.readied.lock().unwrap() = Some((Instant::now(), cpu_ns()));
        // SAFETY: any ticket may be readied.
        unsafe { goroutine_ready(ticket, GOROUTINE_OK) };
    }
}
