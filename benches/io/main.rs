//! `make bench-io`: TCP and HTTP servers on the library and on its peers, interleaved in one run.
//!
//! Every contestant is a server, a process of its own (`contestant`), with clients of its own (`load.c`), whose connections stay open through
//! all rounds: who is not asked is idle. Servers have CPU 0 and clients CPU 1, unless the title says otherwise. Per row: 9 rounds
//! (`GOROUTINE_BENCH_ROUNDS`) of a second (`GOROUTINE_BENCH_IO_MS`), each round asks every contestant once, in turn. Median, and spread
//! (max-min). With arguments, only the tables whose names they are: `cargo bench --bench io -- echo`.
//!
//! CPU time is that of all threads and processes of the server, in user and kernel mode, over the measured time only: what the kernel does for
//! a packet that the server sends is in it, also the part that the client's side of the connection takes.

mod contestant;
mod process;
#[path = "../table/report.rs"]
#[allow(dead_code)]
mod report;
mod shared;

use contestant::{Contestant, EPOLL, GO, Kind, MAY, NGINX, NODE, OURS, Rounds, Server, TOKIO, skipped};
use process::Usage;
use report::{Figure, figure, head, machine, names, rounds, row};
use std::time::Duration;

const SERVER: &[usize] = &[0];
const CLIENT: &[usize] = &[1];
const BOTH: &[usize] = &[0, 1];
/// Connections of the tables of requests.
const CONNECTIONS: usize = 100;
const WARM_MS: u64 = 200;
/// Connections of the table of many; fewer if a process may not have so many descriptors.
const MANY: usize = 100_000;
/// Descriptors that a server keeps for other things.
const SPARE: usize = 2_000;

const ECHO: &[&Server] = &[&OURS[0], &EPOLL, &GO[0], &TOKIO[0], &MAY];
const HTTP: &[&Server] = &[&OURS[1], &GO[1], &TOKIO[1], &NGINX, &NODE];

/// What the first word of an argument may be, and what it prints.
const TABLES: &[(&str, fn())] = &[
    ("echo", || {
        requests("TCP echo of 128 bytes", ECHO, 1, SERVER, CLIENT)
    }),
    ("http", || {
        requests("HTTP hello, keep-alive", HTTP, 1, SERVER, CLIENT)
    }),
    ("calls", || {
        system_calls("TCP echo of 128 bytes", ECHO);
        system_calls("HTTP hello, keep-alive", HTTP);
    }),
    ("two", || {
        let echo = &[&OURS[0], &GO[0], &TOKIO[0], &MAY];
        requests(
            "TCP echo, two workers, with the client on both CPUs",
            echo,
            2,
            BOTH,
            BOTH,
        );
        let http = &[&OURS[1], &GO[1], &TOKIO[1], &NGINX];
        requests(
            "HTTP hello, two workers, with the client on both CPUs",
            http,
            2,
            BOTH,
            BOTH,
        );
    }),
    ("many", || {
        many(&[ECHO, HTTP].concat());
    }),
    ("shared", || {
        shared::print(ms());
    }),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    println!("{}", machine());
    // 100,000 goroutines are many, with or without descriptors enough.
    let chosen = |name: &str| (arguments.iter()).any(|a| a == name || (name == "shared" && a == "many"));
    let all = !TABLES.iter().any(|(name, _)| chosen(name));
    for (name, print) in TABLES {
        if all || chosen(name) {
            print();
        }
    }
}

/// How long a round is.
fn ms() -> u64 {
    let ms = std::env::var("GOROUTINE_BENCH_IO_MS");
    ms.ok().and_then(|ms| ms.parse().ok()).unwrap_or(1000)
}

/// Those that are here, each with its connections.
fn start(servers: &[&Server], workers: usize, on: &[usize], clients_on: &[usize]) -> Vec<Contestant> {
    let mut all = Vec::new();
    for server in servers {
        let Some(mut contestant) = Contestant::start(server, workers, on) else {
            continue;
        };
        if contestant.connect(CONNECTIONS, clients_on) {
            all.push(contestant);
        } else {
            skipped(server.name, "it does not take the connections");
        }
    }
    all
}

fn requests(title: &str, servers: &[&Server], workers: usize, on: &[usize], clients_on: &[usize]) {
    let mut all = start(servers, workers, on, clients_on);
    let note = format!(
        "{CONNECTIONS} connections. Median (spread) of {} interleaved rounds of {} ms; x: times ours",
        rounds(),
        ms()
    );
    let mut results: Vec<Rounds> = all.iter().map(|_| Rounds::new()).collect();
    for _ in 0..rounds() {
        for (contestant, results) in all.iter_mut().zip(&mut results) {
            results.extend(
                contestant
                    .run(CONNECTIONS, WARM_MS, ms())
                    .map(|run| run.numbers()),
            );
        }
    }
    head(title, &note, names(&all));
    for (i, label) in [
        "CPU time of the server per request, us",
        "requests per second",
        "latency, median, us",
        "latency, 99 of 100, us",
    ]
    .into_iter()
    .enumerate()
    {
        let figures: Vec<_> = results.iter().map(|rounds| figure(rounds, |n| n[i])).collect();
        row(
            label,
            figures
                .iter()
                .enumerate()
                .map(|(at, &of)| times(of, figures[0], at == 0)),
        );
    }
}

/// A figure beside the one that it is compared with.
fn times(of: Option<Figure>, ours: Option<Figure>, is_ours: bool) -> String {
    let places = |n: f64| if n < 100.0 { 2 } else { 0 };
    match (of, ours) {
        (None, _) => "-".into(),
        (Some(it), Some(ours)) if !is_ours => {
            let places = places(it.median);
            let x = it.median / ours.median;
            format!("{:.places$} ({:.places$}) {x:.2}x", it.median, it.spread)
        }
        (Some(it), _) => {
            let places = places(it.median);
            format!("{:.places$} ({:.places$})", it.median, it.spread)
        }
    }
}

fn system_calls(title: &str, servers: &[&Server]) {
    let mut all = start(servers, 1, SERVER, CLIENT);
    let title = format!("{title}: system calls");
    let note = format!(
        "{CONNECTIONS} connections; strace -c counts. Median of {} rounds",
        rounds().div_ceil(3)
    );
    head(&title, &note, names(&all));
    let mut results: Vec<Rounds> = all.iter().map(|_| Rounds::new()).collect();
    for _ in 0..rounds().div_ceil(3) {
        for (contestant, results) in all.iter_mut().zip(&mut results) {
            let calls = contestant.system_calls(|it| it.run(CONNECTIONS, 0, ms()).map(|run| run.requests));
            results.extend(calls.map(|calls| vec![calls]));
        }
    }
    let figures = results.iter().map(|rounds| figure(rounds, |n| n[0]));
    row(
        "system calls of the server per request",
        figures.map(|of| of.map_or("-".into(), |it| format!("{:.3}", it.median))),
    );
}

/// Each with a goroutine, or what the contestant has for it. One contestant after the other: two would not have descriptors enough.
fn many(servers: &[&Server]) {
    let connections = MANY.min(process::descriptors().saturating_sub(SPARE));
    let title = format!("{connections} connections in one process");
    let note = format!(
        "Memory without the kernel's; {} rounds of {} ms with 1 of 100 active, in turn with {CONNECTIONS} active of {CONNECTIONS}",
        rounds(),
        ms()
    );
    let labels = [
        "private memory, bytes per connection",
        "the same, after a request on each",
        "page tables, bytes per connection",
        "CPU time in 5 s, all idle, ms",
        "the same, the next 5 s",
        "context switches in those",
        "1 of 100 active: latency, median, us",
        "1 of 100 active: latency, 99 of 100, us",
        "... times that with 100 connections",
        "1 of 100 active: CPU time per request, us",
        "... times that with 100 connections",
    ];
    let columns: Vec<_> = servers
        .iter()
        .filter_map(|server| Some((server, of_many(server, connections)?)))
        .collect();
    head(&title, &note, columns.iter().map(|(server, _)| label(server)));
    for (i, label) in labels.into_iter().enumerate() {
        row(
            label,
            columns.iter().map(|(_, numbers)| {
                let places = if i >= 8 { 2 } else { 0 };
                numbers[i].map_or("-".into(), |n| format!("{n:.places$}"))
            }),
        );
    }
}

fn label(server: &Server) -> &'static str {
    match (server.name, server.kind) {
        ("ours", Kind::Echo) => "ours, echo",
        ("ours", Kind::Http) => "ours, HTTP",
        (name, _) => name,
    }
}

/// What `many` prints of one contestant. None: it is skipped.
fn of_many(server: &Server, connections: usize) -> Option<[Option<f64>; 11]> {
    let mut few = Contestant::start(server, 1, SERVER)?;
    let mut many = Contestant::start(server, 1, SERVER)?;
    if !few.connect(CONNECTIONS, CLIENT) || !many.connect(connections, CLIENT) {
        skipped(server.name, "it does not take the connections");
        return None;
    }
    let per = |bytes: f64| bytes / connections as f64;
    std::thread::sleep(Duration::from_secs(1)); // until it has accepted the last one
    let fresh: Usage = many.usage().since(many.before);
    if !many.touch() {
        skipped(server.name, "a connection gets no answer");
        return None;
    }
    std::thread::sleep(Duration::from_secs(1)); // until it is idle
    let quiet = many.usage();
    let touched = quiet.since(many.before);
    std::thread::sleep(Duration::from_secs(5));
    let settled = many.usage();
    let idle = settled.since(quiet);
    std::thread::sleep(Duration::from_secs(5));
    let longer = many.usage().since(settled);
    let mut of_few = Rounds::new();
    let mut of_many = Rounds::new();
    for _ in 0..rounds() {
        of_few.extend(few.run(CONNECTIONS, WARM_MS, ms()).map(|run| run.numbers()));
        of_many.extend(
            many.run(connections / 100, WARM_MS, ms())
                .map(|run| run.numbers()),
        );
    }
    let median = |rounds: &Rounds, i: usize| figure(rounds, |n| n[i]).map(|figure| figure.median);
    let ratio = |i: usize| Some(median(&of_many, i)? / median(&of_few, i)?);
    Some([
        Some(per(fresh.private)),
        Some(per(touched.private)),
        Some(per(touched.page_tables)),
        Some(idle.cpu_ns / 1e6),
        Some(longer.cpu_ns / 1e6),
        Some(longer.switches),
        median(&of_many, 2),
        median(&of_many, 3),
        ratio(3),
        median(&of_many, 0),
        ratio(0),
    ])
}
