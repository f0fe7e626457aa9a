//! `make bench`: one table, the library and its peers interleaved in one run.
//!
//! Every contestant is a process that answers `row` lines on its standard input with one round of that row (see
//! peers/README.md). The library's own is this program, started again as `--contestant`; it calls the exported C functions.
//! Per row: 9 rounds (`GOROUTINE_BENCH_ROUNDS`), each round asks every contestant once, in turn. Median, and spread (max-min).

use std::ffi::c_void;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use goroutine::abi::*;
use goroutine::capi::goroutine::*;
use goroutine::capi::promise::*;
use goroutine::capi::runtime::*;
use goroutine::capi::timer::*;

#[path = "rows/sync.rs"]
mod sync_rows;

const ROWS: &[(&str, &str)] = &[
    ("switch", "raw switch, one way, ns"),
    ("yield_2", "yield between 2, ns"),
    ("yield_1000", "yield among 1,000, ns"),
    ("spawn_batch", "spawn, run, finish; 100 awaited at a time, ns"),
    ("spawn_await", "spawn one, await it, ns"),
    ("timer_0", "start and stop a timer, ns"),
    ("timer_1m", "the same, 1,000,000 pending, ns"),
];
const PEERS: &[&str] = &["go", "tokio", "may", "boost-fiber", "boost-context", "corosensei"];

struct Contestant {
    name: String,
    child: Child,
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Contestant {
    fn start(name: &str, mut command: Command) -> Option<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        let ask = child.stdin.take()?;
        let mut answers = BufReader::new(child.stdout.take()?);
        let mut ready = String::new();
        answers.read_line(&mut ready).ok()?;
        let version = ready.trim().strip_prefix("ready ")?;
        eprintln!("contestant: {version}");
        Some(Self {
            name: name.into(),
            child,
            ask,
            answers,
        })
    }

    /// The numbers of one round; None: it does not do that.
    fn round(&mut self, row: &str) -> Option<Vec<f64>> {
        writeln!(self.ask, "{row}").ok()?;
        self.ask.flush().ok()?;
        let mut line = String::new();
        self.answers.read_line(&mut line).ok()?;
        line.split_whitespace()
            .skip(1)
            .map(|word| word.parse().ok())
            .collect()
    }
}

impl Drop for Contestant {
    fn drop(&mut self) {
        let _ = writeln!(self.ask, "quit");
        let _ = self.ask.flush();
        let _ = self.child.wait();
    }
}

fn contestants(workers: &str, peers: &[&str]) -> Vec<Contestant> {
    let mut all = Vec::new();
    let mut own = Command::new(std::env::current_exe().expect("this program has a path"));
    own.arg("--contestant").env("GOROUTINE_WORKERS", workers);
    all.extend(Contestant::start("ours", own));
    for peer in peers {
        let path = format!("{}/target/peers/bin/peer-{peer}", env!("CARGO_MANIFEST_DIR"));
        if !std::path::Path::new(&path).exists() {
            println!("{peer}: skipped (not installed: make deps-bench)");
            continue;
        }
        let mut command = Command::new(path);
        command.arg(workers);
        match Contestant::start(peer, command) {
            Some(contestant) => all.push(contestant),
            None => println!("{peer}: skipped (does not start)"),
        }
    }
    all
}

fn median(mut of: Vec<f64>) -> (f64, f64) {
    of.sort_by(f64::total_cmp);
    (of[of.len() / 2], of[of.len() - 1] - of[0])
}

fn rounds() -> usize {
    std::env::var("GOROUTINE_BENCH_ROUNDS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(9)
}

/// One row: the median and the spread of each number, per contestant.
fn measure(all: &mut [Contestant], row: &str, rounds: usize) -> Vec<Option<Vec<(f64, f64)>>> {
    let mut results: Vec<Vec<Vec<f64>>> = vec![Vec::new(); all.len()];
    for round in 0..=rounds {
        for (contestant, results) in all.iter_mut().zip(&mut results) {
            // corosensei resumes coroutines in turn, without a scheduler: only its switch compares.
            if contestant.name == "corosensei" && row != "switch" {
                continue;
            }
            if let Some(numbers) = contestant.round(row).filter(|n| !n.is_empty())
                && round != 0
            {
                results.push(numbers); // round 0 warms up
            }
        }
    }
    let columns = |rounds: Vec<Vec<f64>>| {
        let width = rounds.first()?.len();
        Some(
            (0..width)
                .map(|i| median(rounds.iter().map(|r| r[i]).collect()))
                .collect(),
        )
    };
    results.into_iter().map(columns).collect()
}

fn print_table(title: &str, all: &mut [Contestant], rows: &[(&str, &str)]) {
    println!(
        "\n{title}: median (spread) of {} interleaved rounds; x: times ours",
        rounds()
    );
    print!("{:46}", "");
    all.iter().for_each(|c| print!("{:>22}", c.name));
    println!();
    for (row, label) in rows {
        let results = measure(all, row, rounds());
        print!("{label:46}");
        let ours = results[0].as_ref().map(|n| n[0].0);
        for (i, result) in results.iter().enumerate() {
            let cell = match (result, ours) {
                (None, _) => "-".into(),
                (Some(n), Some(ours)) if i != 0 => {
                    format!("{:.1} ({:.1}) {:.1}x", n[0].0, n[0].1, n[0].0 / ours)
                }
                (Some(n), _) => format!("{:.2} ({:.2})", n[0].0, n[0].1),
            };
            print!("{cell:>22}");
        }
        println!();
        let _ = std::io::stdout().flush();
    }
}

fn print_lateness(all: &mut [Contestant]) {
    println!("\nlateness in us, p50/p99; 2 workers");
    for (row, label, rounds) in [
        ("lone_sleeper", "one 1 ms sleeper among 10,000 parked", 3),
        (
            "sleep_lateness 10",
            "10,000 that sleep 10 ms over and over, 10 s",
            1,
        ),
        ("timer_among", "a due timer among 100,000 runnable", 3),
        ("interval 10", "an interval of 1 ms for 10 s, behind its grid", 1),
    ] {
        let results = measure_cold(all, row, rounds);
        print!("{label:46}");
        for (contestant, result) in all.iter().zip(results) {
            let cell = result.map_or("-".into(), |n: Vec<(f64, f64)>| {
                format!("{:.1}/{:.1}", n[0].0, n[1].0)
            });
            print!("{:>22}", format!("{} {cell}", contestant.name));
        }
        println!();
    }
}

/// As `measure`, without a round to warm up.
fn measure_cold(all: &mut [Contestant], row: &str, rounds: usize) -> Vec<Option<Vec<(f64, f64)>>> {
    all.iter_mut()
        .map(|contestant| {
            let numbers: Vec<Vec<f64>> = (0..rounds).filter_map(|_| contestant.round(row)).collect();
            let width = numbers.first().map_or(0, Vec::len);
            (width == 2).then(|| {
                (0..2)
                    .map(|i| median(numbers.iter().map(|n| n[i]).collect()))
                    .collect()
            })
        })
        .collect()
}

fn main() {
    if std::env::args().any(|a| a == "--contestant") {
        return contest();
    }
    let commit = Command::new("git")
        .args(["rev-parse", "--short", "HEAD"])
        .output();
    let commit = commit.map_or("?".into(), |o| {
        String::from_utf8_lossy(&o.stdout).trim().to_string()
    });
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpuinfo
        .lines()
        .find_map(|l| l.strip_prefix("model name"))
        .unwrap_or("?")
        .trim_start_matches(['\t', ' ', ':']);
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    println!(
        "libgoroutine {} at {commit}, {cpu}, {cpus} CPUs",
        env!("CARGO_PKG_VERSION")
    );
    {
        let mut one = contestants("1", PEERS);
        print_table("one worker", &mut one, ROWS);
        print_table("one worker, waiting for each other", &mut one, sync_rows::ROWS);
    }
    let several = &["go", "tokio", "may", "boost-fiber"];
    let mut two = contestants("2", several);
    print_table("two workers", &mut two, &[ROWS[3], ROWS[4]]);
    print_table("two workers, waiting for each other", &mut two, sync_rows::ROWS);
    drop(two);
    print_lateness(&mut contestants("2", &["go"]));
}

// ---- the library as a contestant ----

/// About this long per round.
const ROUND: Duration = Duration::from_millis(80);

fn contest() {
    // SAFETY: a NUL-terminated string of the library's.
    let version = unsafe { std::ffi::CStr::from_ptr(goroutine_version()) };
    println!("ready goroutine {}", version.to_string_lossy());
    let mut sizes = std::collections::HashMap::<String, u64>::new();
    for line in std::io::stdin().lines() {
        let Ok(line) = line else { break };
        let mut words = line.split_whitespace();
        let Some(row) = words.next() else { continue };
        if row == "quit" {
            break;
        }
        let argument = words.next().and_then(|w| w.parse().ok()).unwrap_or(3);
        let answer = match row {
            "lone_sleeper" => lone_sleeper(),
            "sleep_lateness" => sleep_lateness(argument),
            "timer_among" => timer_among(),
            "interval" => interval(argument),
            _ => match round_of(row) {
                None => "unsupported".into(),
                Some(round) => {
                    let n = *sizes.entry(row.into()).or_insert_with(|| size(round));
                    format!("{:.2}", on_goroutine(round, n).as_nanos() as f64 / n as f64)
                }
            },
        };
        println!("{row} {answer}");
        let _ = std::io::stdout().flush();
    }
}

/// Runs `n` operations on the main goroutine and gives the time they took.
type Round = fn(n: u64) -> Duration;

fn round_of(row: &str) -> Option<Round> {
    Some(match row {
        // The switch that goroutines use is the yield, with its look at the queue: that is what is compared.
        "switch" => |n| yields(2, n),
        "yield_2" => |n| yields(2, n),
        "yield_1000" => |n| yields(1000, n),
        "spawn_batch" => spawn_batch,
        "spawn_await" => spawn_await,
        "timer_0" => timers,
        "timer_1m" => timers_among_a_million,
        _ => return sync_rows::round_of(row),
    })
}

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
    struct Job(Round, u64, Duration);
    unsafe extern "C" fn body(job: *mut c_void) -> *mut c_void {
        // SAFETY: the caller waits for us.
        let job = unsafe { &mut *job.cast::<Job>() };
        job.2 = job.0(job.1);
        std::ptr::null_mut()
    }
    let mut job = Job(round, n, Duration::ZERO);
    // SAFETY: the job outlives the run.
    unsafe {
        let p = goroutine_spawn(Some(body), (&raw mut job).cast());
        goroutine_promise_await_take(p, GOROUTINE_FOREVER, std::ptr::null_mut());
    }
    job.2
}

unsafe extern "C" fn identity(arg: *mut c_void) -> *mut c_void {
    arg
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

fn percentiles(mut late: Vec<u32>) -> String {
    late.sort_unstable();
    let at = |q: f64| f64::from(late[((late.len() - 1) as f64 * q) as usize]) / 1000.0;
    format!("{:.2} {:.2}", at(0.5), at(0.99))
}

fn lone_sleeper() -> String {
    unsafe extern "C" fn parked(forever: *mut c_void) -> *mut c_void {
        // SAFETY: the promise outlives us.
        unsafe { goroutine_promise_await(forever.cast(), GOROUTINE_FOREVER, std::ptr::null_mut()) };
        std::ptr::null_mut()
    }
    unsafe extern "C" fn sleeper(late: *mut c_void) -> *mut c_void {
        // SAFETY: the caller waits for us.
        let late = unsafe { &mut *late.cast::<Vec<u32>>() };
        for _ in 0..1000 {
            let start = Instant::now();
            // SAFETY: callable anywhere.
            unsafe { goroutine_sleep(1_000_000) };
            late.push((start.elapsed().as_nanos() as u64).saturating_sub(1_000_000) as u32);
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

fn sleep_lateness(seconds: u64) -> String {
    struct Sleeper {
        until: Instant,
        late: Vec<u32>,
    }
    unsafe extern "C" fn body(sleeper: *mut c_void) -> *mut c_void {
        // SAFETY: ours until we return; the caller waits.
        let sleeper = unsafe { &mut *sleeper.cast::<Sleeper>() };
        while Instant::now() < sleeper.until {
            let start = Instant::now();
            // SAFETY: callable anywhere.
            unsafe { goroutine_sleep(10_000_000) };
            sleeper
                .late
                .push((start.elapsed().as_nanos() as u64).saturating_sub(10_000_000) as u32);
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
fn timer_among() -> String {
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
fn interval(seconds: u64) -> String {
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
