//! The library as a contestant: the exported C functions, called from Rust.

mod bind;
mod calls;
mod company;
mod growth;
mod held;
mod latency;
mod lateness;
mod learn;
mod tasks;
mod trace;
mod waiting;
mod world;

use goroutine::abi::*;
use goroutine::capi::goroutine::*;
use goroutine::capi::promise::*;
use goroutine::capi::runtime::*;
use goroutine::promise::Promise;
use std::collections::HashMap;
use std::ffi::{CStr, c_void};
use std::io::Write;
use std::time::Duration;

/// About this long per round.
const ROUND: Duration = Duration::from_millis(80);

/// Answers until the end.
pub fn contest() {
    // SAFETY: a NUL-terminated string of the library's.
    let version = unsafe { CStr::from_ptr(goroutine_version()) };
    println!("ready goroutine {}", version.to_string_lossy());
    let mut sizes = HashMap::<String, u64>::new();
    for line in std::io::stdin().lines() {
        let Ok(line) = line else { break };
        let mut words = line.split_whitespace();
        let Some(row) = words.next() else { continue };
        if row == "quit" {
            break;
        }
        let argument = words.next().and_then(|w| w.parse().ok());
        let answer = answer(row, argument, &mut sizes).unwrap_or_else(|| "unsupported".into());
        println!("{row} {answer}");
        let _ = std::io::stdout().flush();
    }
}

fn answer(row: &str, argument: Option<u64>, sizes: &mut HashMap<String, u64>) -> Option<String> {
    Some(match row {
        "lone_sleeper" => lateness::lone_sleeper(),
        "sleep_lateness" => lateness::sleep_lateness(argument.unwrap_or(3)),
        "timer_among" => lateness::timer_among(),
        "latency_ordinary" => latency::latency(0),
        "latency_priority" => latency::latency(GOROUTINE_SPAWN_PRIORITY),
        "interval" => lateness::interval(argument.unwrap_or(3)),
        "held_nothing" => held::held(held::Lock::Nothing),
        "held_mutex" => held::mutex(),
        "held_ultrascript" => held::ultrascript(),
        "during_nothing" => company::sleepers_during(company::Call::Nothing),
        "during_bound" => company::sleepers_during(company::Call::Bound),
        "during_blocking" => company::sleepers_during(company::Call::Blocking),
        "many_bound" => company::many_bound(argument?),
        "memory" => company::memory(),
        "poll" => world::poll(),
        "world_loops" => world::loops(),
        "world_parked" => world::parked(),
        "bind_alone" => bind::alone(),
        "bind_loaded" => bind::loaded(),
        "bind_thread" => bind::thread(),
        _ if calls::is_one(row) => calls::round(row)?,
        _ if growth::is_one(row) => growth::round(row)?,
        _ if row.starts_with("learn_") => learn::row(row)?,
        _ if row.starts_with("trace_") => trace::row(row)?,
        _ => {
            let round = tasks::round_of(row)?;
            let n = *sizes.entry(row.into()).or_insert_with(|| size(round));
            format!("{:.2}", on_goroutine(round, n).as_nanos() as f64 / n as f64)
        }
    })
}

/// Runs `n` operations on the main goroutine and gives the time they took.
type Round = fn(n: u64) -> Duration;

fn size(round: Round) -> u64 {
    let mut n = 10_000;
    loop {
        let took = on_goroutine(round, n);
        if took > ROUND / 2 {
            return (n as f64 * ROUND.as_secs_f64() / took.as_secs_f64()) as u64 / 1000 * 1000 + 1000;
        }
        n *= 4;
    }
}

fn on_goroutine(round: Round, n: u64) -> Duration {
    run(move || round(n))
}

/// Runs `f` on a goroutine of its own, and waits for it.
fn run<T>(f: impl FnOnce() -> T) -> T {
    spawn_on(0, f)
}

/// The same, with a stack of its own size; 0: the default.
fn spawn_on<T>(stack_bytes: u64, f: impl FnOnce() -> T) -> T {
    struct Job<F, T>(Option<F>, Option<T>);
    unsafe extern "C" fn body<F: FnOnce() -> T, T>(job: *mut c_void) -> *mut c_void {
        // SAFETY: the caller waits for us.
        let job = unsafe { &mut *job.cast::<Job<F, T>>() };
        job.1 = job.0.take().map(|f| f());
        std::ptr::null_mut()
    }
    fn start<F: FnOnce() -> T, T>(stack_bytes: u64, job: &mut Job<F, T>) -> *mut Promise {
        let argument = std::ptr::from_mut(job).cast::<c_void>();
        if stack_bytes == 0 {
            return spawn(body::<F, T>, argument);
        }
        let mut promise = std::ptr::null_mut();
        // SAFETY: a request that is all zero but for what is set; the caller keeps the argument.
        unsafe {
            let mut request: GoroutineSpawn = std::mem::zeroed();
            request.size = size_of::<GoroutineSpawn>() as u32;
            request.r#fn = body::<F, T> as *mut c_void;
            request.int_args[0] = argument as u64;
            request.stack_bytes = stack_bytes;
            assert_eq!(goroutine_spawn_with(&request, &mut promise), GOROUTINE_OK);
        }
        promise
    }
    let mut job = Job(Some(f), None);
    join(start(stack_bytes, &mut job));
    job.1.expect("it ran")
}

/// A goroutine, for [`join`]: until then `argument` is in use.
fn spawn(f: unsafe extern "C" fn(*mut c_void) -> *mut c_void, argument: *mut c_void) -> *mut Promise {
    // SAFETY: the caller keeps the argument.
    let promise = unsafe { goroutine_spawn(Some(f), argument) };
    assert!(!promise.is_null());
    promise
}

/// Waits for a goroutine.
fn join(promise: *mut Promise) {
    // SAFETY: the promise of a spawn, consumed here.
    let status = unsafe { goroutine_promise_await_take(promise, GOROUTINE_FOREVER, std::ptr::null_mut()) };
    assert_eq!(status, GOROUTINE_OK);
}

unsafe extern "C" fn identity(arg: *mut c_void) -> *mut c_void {
    arg
}

/// The least that p of them are not above, in us, of ns.
fn percentiles(mut late: Vec<u32>) -> String {
    late.sort_unstable();
    let at = |q: f64| f64::from(late[((late.len() - 1) as f64 * q) as usize]) / 1000.0;
    format!("{:.2} {:.2}", at(0.5), at(0.99))
}

/// The same, and the most.
fn percentiles_and_most(late: Vec<u32>) -> String {
    let most = f64::from(late.iter().copied().max().unwrap_or(0)) / 1000.0;
    format!("{} {most:.2}", percentiles(late))
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}
