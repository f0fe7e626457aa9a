//! What the Rust peers share: the protocol, the size of a round, the gate of
//! the yield rows and the percentiles. `benches/peers/README.md` has the
//! protocol.

use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// Tasks spawned before they are awaited.
pub const BATCH: u64 = 100;
/// Tasks in the two lateness rows.
pub const PARKED: u64 = 10_000;

const ROUND: Duration = Duration::from_millis(80);

/// What a row measured.
pub enum Answer {
    /// So many operations took so long.
    Ops(Duration, u64),
    /// How late sleepers woke, in ns.
    Late(Vec<u32>),
    Unsupported,
}

pub struct Request<'a> {
    pub row: &'a str,
    /// The operations to run at least.
    pub n: u64,
    /// How long `sleep_lateness` runs.
    pub time: Duration,
}

/// The number of workers, from the command line.
pub fn workers() -> usize {
    match std::env::args().nth(1).map(|a| a.parse()) {
        None => 1,
        Some(Ok(n)) if n > 0 => n,
        _ => {
            eprintln!("usage: peer [workers]");
            std::process::exit(2);
        }
    }
}

/// Answers requests until `quit` or the end of stdin.
pub fn serve(name: &str, version: &str, mut run: impl FnMut(&Request) -> Answer) {
    println!("ready {name} {version}");
    let mut sizes = HashMap::new();
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("stdin");
        let mut words = line.split_whitespace();
        let Some(row) = words.next() else { continue };
        if row == "quit" {
            break;
        }
        let seconds = words.next().and_then(|w| w.parse().ok());
        let seconds = seconds.filter(|s| *s > 0.0).unwrap_or(3.0);
        let time = Duration::from_secs_f64(seconds);
        match round(&mut sizes, row, time, &mut run) {
            Answer::Ops(took, ops) => println!("{row} {:.2}", took.as_nanos() as f64 / ops as f64),
            Answer::Late(late) => println!("{row} {}", percentiles(late)),
            Answer::Unsupported => println!("{row} unsupported"),
        }
        std::io::stdout().flush().expect("stdout");
    }
}

/// Runs a row once. Its first call warms the row up and finds how many
/// operations fill `ROUND`.
fn round(
    sizes: &mut HashMap<String, u64>,
    row: &str,
    time: Duration,
    run: &mut impl FnMut(&Request) -> Answer,
) -> Answer {
    if let Some(&n) = sizes.get(row) {
        return run(&Request { row, n, time });
    }
    let mut n = 1000;
    loop {
        match run(&Request { row, n, time }) {
            Answer::Ops(took, _) if took < ROUND / 4 => n *= 4,
            Answer::Ops(took, ops) => {
                n = (ops as f64 * ROUND.as_secs_f64() / took.as_secs_f64()).max(1.0) as u64;
                sizes.insert(row.to_string(), n);
                return run(&Request { row, n, time });
            }
            other => return other,
        }
    }
}

fn percentiles(mut late: Vec<u32>) -> String {
    late.sort_unstable();
    let us = |p: usize| late[late.len() * p / 100] as f64 / 1e3;
    format!("{:.2} {:.2}", us(50), us(99))
}

/// By how many ns more than `nap` it took since `before`.
pub fn late(before: Instant, nap: Duration) -> u32 {
    before
        .elapsed()
        .saturating_sub(nap)
        .as_nanos()
        .min(u32::MAX as u128) as u32
}

/// Holds the tasks of a yield row until all of them run: the last one to come
/// starts the clock and the last one to leave stops it, so that no spawn is in
/// the time.
pub struct Gate {
    tasks: usize,
    passed: AtomicUsize,
    begin: Instant,
    start: AtomicU64,
    took: AtomicU64,
}

impl Gate {
    pub fn new(tasks: usize) -> Gate {
        Gate {
            tasks,
            passed: AtomicUsize::new(0),
            begin: Instant::now(),
            start: AtomicU64::new(0),
            took: AtomicU64::new(0),
        }
    }

    fn now(&self) -> u64 {
        self.begin.elapsed().as_nanos() as u64
    }

    pub fn arrive(&self) {
        if self.passed.fetch_add(1, SeqCst) + 1 == self.tasks {
            self.start.store(self.now(), SeqCst);
            self.passed.fetch_add(1, SeqCst);
        }
    }

    /// Whether to yield once more before the timed loop.
    pub fn closed(&self) -> bool {
        self.passed.load(SeqCst) <= self.tasks
    }

    pub fn leave(&self) {
        if self.passed.fetch_add(1, SeqCst) == 2 * self.tasks {
            self.took.store(self.now() - self.start.load(SeqCst), SeqCst);
        }
    }

    pub fn took(&self) -> Duration {
        Duration::from_nanos(self.took.load(SeqCst))
    }
}
