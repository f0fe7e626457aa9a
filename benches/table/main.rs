//! `make bench`: the library and its peers, interleaved in one run.
//!
//! Every contestant is a process (`contestant`); the library's own calls the exported C functions (`own`). Per row: 9 rounds
//! (`GOROUTINE_BENCH_ROUNDS`), each round asks every contestant once, in turn. Median, and spread (max-min).
//! With arguments, only the tables whose names they are: `cargo bench --bench table -- foreign`.

mod contestant;
mod emit;
mod foreign;
mod growth;
mod latency;
mod learn;
mod own;
mod report;
mod throws;
mod trace;
mod world;

use contestant::{Contestant, measure, start};
use report::{beside, figure, head, machine, names, rounds, row};

const ROWS: &[(&str, &str)] = &[
    ("switch", "raw switch, one way, ns"),
    ("yield_2", "yield between 2, ns"),
    ("yield_1000", "yield among 1,000, ns"),
    ("spawn_batch", "spawn, run, finish; 100 awaited at a time, ns"),
    ("spawn_await", "spawn one, await it, ns"),
    ("timer_0", "start and stop a timer, ns"),
    ("timer_1m", "the same, 1,000,000 pending, ns"),
];
/// Goroutines that wait for each other.
const WAITING: &[(&str, &str)] = &[
    ("mutex", "mutex, lock and unlock, nobody else, ns"),
    ("mutex_1000", "mutex, 1,000 contend and yield inside, ns"),
    ("channel_pingpong", "unbuffered channels, there and back, ns"),
    ("channel_128", "channel of 128, one sends, one receives, ns"),
    ("select_4", "receive by select from 4 channels, ns"),
];
const PEERS: &[&str] = &["go", "tokio", "may", "boost-fiber", "boost-context", "corosensei"];

/// What the first word of an argument may be, and what it prints.
const TABLES: &[(&str, fn())] = &[
    ("one", || {
        tasks("one worker", &mut start("1", PEERS), ROWS);
    }),
    ("two", || {
        let peers = &["go", "tokio", "may", "boost-fiber"];
        tasks("two workers", &mut start("2", peers), &[ROWS[3], ROWS[4]]);
    }),
    ("waiting", || {
        tasks(
            "waiting for each other, one worker",
            &mut start("1", &["go"]),
            WAITING,
        );
        tasks(
            "waiting for each other, two workers",
            &mut start("2", &["go"]),
            WAITING,
        );
    }),
    ("lateness", || {
        lateness(&mut start("2", &["go"]));
        held(&mut start("1", &["go"]));
    }),
    ("foreign", foreign::tables),
    ("growth", growth::table),
    ("latency", latency::table),
    ("learn", learn::table),
    ("trace", trace::table),
    ("throws", throws::table),
    ("world", world::table),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|a| a == "--contestant") {
        return own::contest();
    }
    println!("{}", machine());
    let chosen = |name: &str| arguments.iter().any(|a| a == name);
    let all = !TABLES.iter().any(|(name, _)| chosen(name));
    for (name, print) in TABLES {
        if all || chosen(name) {
            print();
        }
    }
}

fn tasks(title: &str, all: &mut [Contestant], rows: &[(&str, &str)]) {
    let note = format!(
        "Median (spread) of {} interleaved rounds; x: times ours",
        rounds()
    );
    head(title, &note, names(all));
    for (name, label) in rows {
        let figures: Vec<_> = measure(all, name, rounds(), true)
            .iter()
            .map(|rounds| figure(rounds, |n| n[0]))
            .collect();
        let cells = figures.iter().enumerate();
        row(label, cells.map(|(i, &of)| beside(of, figures[0], i == 0)));
    }
}

fn lateness(all: &mut [Contestant]) {
    head("lateness, two workers", "us, p50 / p99", names(all));
    for (name, label, rounds) in [
        ("lone_sleeper", "one 1 ms sleeper among 10,000 parked", 3),
        (
            "sleep_lateness 10",
            "10,000 that sleep 10 ms over and over, 10 s",
            1,
        ),
        ("timer_among", "a due timer among 100,000 runnable", 3),
        ("interval 10", "an interval of 1 ms for 10 s, behind its grid", 1),
    ] {
        let results = measure(all, name, rounds, false);
        row(
            label,
            results.iter().map(|rounds| match figure(rounds, |n| n[0]) {
                None => "-".into(),
                Some(p50) => {
                    let p99 = figure(rounds, |n| n[1]).map_or(0.0, |f| f.median);
                    format!("{:.1} / {:.1}", p50.median, p99)
                }
            }),
        );
    }
}

/// A lock parks goroutines and not the worker: what sleeps meanwhile is as late as without it.
fn held(all: &mut [Contestant]) {
    head(
        "a lock held over 50 ms, one worker",
        "10 goroutines sleep 1 ms over and over, late by us: p50 / p99 / most",
        names(all),
    );
    for (name, label) in [
        ("held_nothing", "no lock: 101 goroutines sleep 50 ms"),
        ("held_mutex", "a mutex, that 100 contend for"),
        ("held_ultrascript", "UltraScript's lock, that 100 contend for"),
    ] {
        let results = measure(all, name, 5, true);
        row(
            label,
            results.iter().map(|rounds| {
                let most = rounds.iter().map(|n| n[2]).reduce(f64::max);
                match (figure(rounds, |n| n[0]), figure(rounds, |n| n[1]), most) {
                    (Some(p50), Some(p99), Some(most)) => {
                        format!("{:.1} / {:.1} / {most:.1}", p50.median, p99.median)
                    }
                    _ => "-".into(),
                }
            }),
        );
    }
}
