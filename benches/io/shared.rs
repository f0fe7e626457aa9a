//! More goroutines than a process may have descriptors: they wait for shared ones (`shared_goroutine.c`).

use crate::contestant::{Rounds, compiled, skipped};
use crate::process;
use crate::report::{figure, head, rounds, row};
use std::process::{Command, Stdio};

const IDLE_MS: u64 = 5_000;

/// Goroutines, how many of them wait for the same descriptor, how many messages are under way.
type Crowd = (usize, usize, usize);
/// The first is the figure of many; the two others are alike but for who else waits, and cost the same if that does not count.
const CROWDS: &[Crowd] = &[(100_000, 20, 1_000), (20, 20, 10), (20_000, 20_000, 10)];

struct Measured {
    name: String,
    /// Memory and page tables per goroutine; CPU time and context switches while idle.
    idle: Vec<f64>,
    /// Reads, CPU time, latency's median and 99 of 100.
    rounds: Rounds,
}

/// What a row is called, and what it says of a crowd.
type Row = (&'static str, fn(&Measured) -> f64);
/// ... and of a round.
type RoundRow = (&'static str, fn(&[f64]) -> f64);

/// Prints the table.
pub fn print(ms: u64) {
    let all: Vec<_> = CROWDS.iter().filter_map(|&crowd| measure(crowd, ms)).collect();
    let note = format!(
        "Unix socketpairs, one worker; messages of 8 bytes from a plain thread on another CPU. Median (spread) of {} rounds of {ms} ms",
        rounds()
    );
    head(
        "Goroutines that share descriptors",
        &note,
        all.iter().map(|it| it.name.as_str()),
    );
    let idle: [Row; 4] = [
        ("private memory, bytes per goroutine", |it| it.idle[0]),
        ("page tables, bytes per goroutine", |it| it.idle[1]),
        ("CPU time in 5 s, all idle, ms", |it| it.idle[2] / 1e6),
        ("context switches in that time", |it| it.idle[3]),
    ];
    for (label, of) in idle {
        row(label, all.iter().map(|it| format!("{:.0}", of(it))));
    }
    let busy: [RoundRow; 3] = [
        ("CPU time of the worker per read, us", |n| n[1] / n[0] / 1e3),
        ("latency, median, us", |n| n[2] / 1e3),
        ("latency, 99 of 100, us", |n| n[3] / 1e3),
    ];
    for (label, of) in busy {
        row(
            label,
            all.iter().map(|it| {
                figure(&it.rounds, of).map_or("-".into(), |it| format!("{:.2} ({:.2})", it.median, it.spread))
            }),
        );
    }
}

/// None: it is skipped.
fn measure((goroutines, per, active): Crowd, ms: u64) -> Option<Measured> {
    let name = format!("{goroutines} on {}, {active} active", goroutines / per);
    if goroutines / per * 2 + 100 > process::descriptors() {
        skipped(&name, "the limit of descriptors");
        return None;
    }
    let lib = concat!(env!("CARGO_MANIFEST_DIR"), "/target/release");
    let libraries = ["-L", lib, "-lgoroutine", "-pthread", &format!("-Wl,-rpath,{lib}")].map(String::from);
    let program = compiled("shared_goroutine", &libraries)?;
    let numbers = [
        goroutines as u64,
        per as u64,
        active as u64,
        IDLE_MS,
        ms,
        rounds() as u64,
    ];
    let mut command = Command::new(program);
    command.args(numbers.map(|n| n.to_string()));
    process::pin(&mut command, &[0, 1]);
    let output = command.stderr(Stdio::inherit()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let numbers: Vec<f64> = text
        .split_whitespace()
        .skip(1)
        .filter_map(|word| word.parse().ok())
        .collect();
    if !output.status.success() || numbers.len() != 4 + 4 * rounds() {
        skipped(&name, "it fails");
        return None;
    }
    let (idle, busy) = numbers.split_at(4);
    Some(Measured {
        name,
        idle: idle.to_vec(),
        rounds: busy.chunks(4).map(<[f64]>::to_vec).collect(),
    })
}
