//! What is printed: Markdown, so that rows can be copied as they are.

use crate::contestant::{Contestant, Rounds};
use std::io::Write;
use std::process::Command;

/// A median, and how far apart the least and the most are.
#[derive(Clone, Copy)]
pub struct Figure {
    pub median: f64,
    pub spread: f64,
}

/// Of what `number` makes of each round. None: there was no round.
pub fn figure(rounds: &Rounds, number: impl Fn(&[f64]) -> f64) -> Option<Figure> {
    let mut all: Vec<f64> = rounds.iter().map(|round| number(round)).collect();
    all.sort_by(f64::total_cmp);
    Some(Figure {
        median: *all.get(all.len() / 2)?,
        spread: all.last()? - all.first()?,
    })
}

/// A title, and the head of a table.
pub fn head<'a>(title: &str, note: &str, columns: impl Iterator<Item = &'a str>) {
    println!("\n**{title}**. {note}\n");
    print!("| {:52} |", "");
    let mut width = 0;
    for column in columns {
        print!(" {column:22} |");
        width += 1;
    }
    println!(
        "\n|{}|{}",
        "-".repeat(54),
        format!("{}|", "-".repeat(24)).repeat(width)
    );
}

/// A row.
pub fn row(label: &str, cells: impl Iterator<Item = String>) {
    print!("| {label:52} |");
    cells.for_each(|cell| print!(" {cell:22} |"));
    println!();
    let _ = std::io::stdout().flush();
}

pub fn names(all: &[Contestant]) -> impl Iterator<Item = &str> {
    all.iter().map(|contestant| contestant.name.as_str())
}

/// A figure beside the one that it is compared with.
pub fn beside(of: Option<Figure>, ours: Option<Figure>, is_ours: bool) -> String {
    match (of, ours) {
        (None, _) => "-".into(),
        (Some(it), Some(ours)) if !is_ours => {
            format!(
                "{:.1} ({:.1}) {:.1}x",
                it.median,
                it.spread,
                it.median / ours.median
            )
        }
        (Some(it), _) => format!("{:.2} ({:.2})", it.median, it.spread),
    }
}

/// How many rounds a row has.
pub fn rounds() -> usize {
    std::env::var("GOROUTINE_BENCH_ROUNDS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(9)
}

/// What was measured, and on what.
pub fn machine() -> String {
    let commit = Command::new("git")
        .args(["describe", "--always", "--dirty", "--exclude=*"])
        .output();
    let commit = commit.map_or("?".into(), |o| {
        String::from_utf8_lossy(&o.stdout).trim().to_string()
    });
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let of_cpu = |key: &str| {
        let line = cpuinfo.lines().find_map(|l| l.strip_prefix(key));
        line.unwrap_or("?")
            .trim_start_matches(['\t', ' ', ':'])
            .to_string()
    };
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "libgoroutine {} at {commit}, {} (model {}), {} CPUs, Linux {}",
        env!("CARGO_PKG_VERSION"),
        of_cpu("model name"),
        of_cpu("model\t"),
        std::thread::available_parallelism().map_or(0, usize::from),
        kernel.trim(),
    )
}
