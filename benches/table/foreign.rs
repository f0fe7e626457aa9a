//! The tables of foreign calls.

use crate::contestant::{Contestant, Rounds, measure, start};
use crate::report::{Figure, figure, head, names, rounds, row};

const CALLS: &[(&str, &str)] = &[
    ("call_bound", "bound (`execute_ffi_call`)"),
    ("call_leaf", "leaf (`goroutine_ffi_call_leaf`)"),
    ("call_inline", "bound, inline sequence"),
    ("call_inline_leaf", "leaf, inline sequence"),
    ("call_blocking", "blocking (`goroutine_ffi_call_blocking`), short"),
    ("call_checked", "bound, checked (`goroutine_ffi_call`)"),
    ("call_lane", "lane (`goroutine_ffi_lane_call`)"),
    ("call_hop", "a hop to a thread: mutex and condition variable"),
];

/// All of them.
pub fn tables() {
    {
        let mut all = start("1", &["cgo"]);
        calls("one worker", &mut all, CALLS);
        first_calls(&mut all[..1]);
        during(&mut all);
    }
    {
        let mut all = start("2", &["cgo"]);
        calls("two workers", &mut all, &[CALLS[0], CALLS[6], CALLS[7]]);
        many_bound(&mut all);
    }
    memory(&mut start("1", &[])); // a fresh process
}

/// A call less the direct call of the same round.
fn over_direct(rounds: &Rounds) -> Option<Figure> {
    figure(rounds, |n| n[1] - n[0])
}

fn calls(workers: &str, all: &mut [Contestant], calls: &[(&str, &str)]) {
    let note = format!(
        "ns over a direct call through a pointer, median (spread) of {} interleaved rounds; x: times our bound call",
        rounds()
    );
    head(&format!("foreign calls, {workers}"), &note, names(all));
    let results: Vec<_> = calls
        .iter()
        .map(|(name, _)| measure(all, name, rounds(), true))
        .collect();
    let ours = over_direct(&results[0][0]);
    let direct = |rounds: &Rounds| {
        figure(rounds, |n| n[0]).map_or("-".into(), |f| format!("{:.2} ({:.2})", f.median, f.spread))
    };
    row("(a direct call, ns)", results[0].iter().map(direct));
    for ((_, label), results) in calls.iter().zip(&results) {
        let cell = |(i, rounds)| match (over_direct(rounds), ours) {
            (None, _) => "-".into(),
            (Some(it), Some(ours)) if i != 0 => {
                let times = it.median / ours.median;
                format!("{:+.1} ({:.1}) {times:.1}x", it.median, it.spread)
            }
            // No -0.00.
            (Some(it), _) => format!(
                "{:+.2} ({:.2})",
                (it.median * 100.0).round() / 100.0 + 0.0,
                it.spread
            ),
        };
        row(label, results.iter().enumerate().map(cell));
    }
}

fn first_calls(all: &mut [Contestant]) {
    head(
        "first call of a goroutine, one worker",
        "ns, median (spread)",
        names(all),
    );
    let cell = |f: Option<Figure>| f.map_or("-".into(), |f| format!("{:.0} ({:.0})", f.median, f.spread));
    let alone = measure(all, "bind_alone", rounds(), true);
    row(
        "a spare thread is parked, no other work",
        alone.iter().map(|r| cell(figure(r, |n| n[0]))),
    );
    row(
        "and giving the thread back (unbind)",
        alone.iter().map(|r| cell(figure(r, |n| n[1]))),
    );
    let loaded = measure(all, "bind_loaded", rounds(), true);
    row(
        "a spare thread is parked, other work is queued",
        loaded.iter().map(|r| cell(figure(r, |n| n[0]))),
    );
    row(
        "FUTEX_WAKE of a thread that sleeps",
        loaded.iter().map(|r| cell(figure(r, |n| n[1]))),
    );
    let thread = measure(all, "bind_thread", rounds(), true);
    row(
        "no spare thread: one is made",
        thread.iter().map(|r| cell(figure(r, |n| n[0]))),
    );
}

fn during(all: &mut [Contestant]) {
    let note = "Lateness of 1,000 goroutines that sleep 1 ms over and over, us, p50 / p99";
    head(
        "one worker while a goroutine is in C for 100 ms",
        note,
        names(all),
    );
    for (name, label) in [
        ("during_nothing", "it sleeps, too"),
        ("during_bound", "a bound call"),
        ("during_blocking", "a blocking call"),
    ] {
        let results = measure(all, name, rounds().div_ceil(3), false);
        row(
            label,
            results
                .iter()
                .map(|r| match (figure(r, |n| n[0]), figure(r, |n| n[1])) {
                    (Some(p50), Some(p99)) => format!("{:.0} / {:.0}", p50.median, p99.median),
                    _ => "-".into(),
                }),
        );
    }
}

fn many_bound(all: &mut [Contestant]) {
    let note = "ns per call, of CPU time, and (of wall-clock time), all together";
    head(
        "bound goroutines that call all the time, two workers",
        note,
        names(all),
    );
    for goroutines in [1, 2, 4, 8, 16, 32, 64] {
        let results = measure(all, &format!("many_bound {goroutines}"), rounds(), true);
        row(
            &format!("{goroutines} at once"),
            results
                .iter()
                .map(|r| match (figure(r, |n| n[1]), figure(r, |n| n[0])) {
                    (Some(cpu), Some(wall)) => format!("{:.2} ({:.2})", cpu.median, wall.median),
                    _ => "-".into(),
                }),
        );
    }
}

fn memory(all: &mut [Contestant]) {
    head(
        "100,000 parked goroutines and 1,000 bound ones",
        "At the same time",
        names(all),
    );
    let results = measure(all, "memory", 1, false);
    for (i, label) in [
        "a parked goroutine, bytes (VmRSS + VmPTE)",
        "a bound one, parked after its first call, bytes",
        "CPU time of all of them in 5 s, ms",
    ]
    .into_iter()
    .enumerate()
    {
        row(
            label,
            results
                .iter()
                .map(|r| figure(r, |n| n[i]).map_or("-".into(), |f| format!("{}", f.median))),
        );
    }
}
