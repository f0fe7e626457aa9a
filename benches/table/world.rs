//! The table of slices and of a stopped world.

use crate::contestant::{Contestant, measure, start};
use crate::report::{figure, head, names, row};

/// All of it.
pub fn table() {
    show("a stopped world, two workers", &mut start("2", &[]));
    show("a stopped world, eight workers", &mut start("8", &[]));
}

fn show(title: &str, all: &mut [Contestant]) {
    head(title, "medians of 3 rounds", names(all));
    for (name, label) in [
        (
            "poll",
            "an iteration of an empty emitted loop / the same with a poll, ns",
        ),
        (
            "world_loops",
            "1,000 stops of 8 emitted loops, us: p50 / p99 / most",
        ),
        (
            "world_parked",
            "100,000 parked, us: stop / all ranges / all roots",
        ),
    ] {
        let results = measure(all, name, 3, true);
        row(
            label,
            results.iter().map(|rounds| {
                let count = rounds.first().map_or(0, Vec::len);
                let numbers = (0..count).filter_map(|i| figure(rounds, |n| n[i]));
                numbers
                    .map(|f| format!("{:.2}", f.median))
                    .collect::<Vec<_>>()
                    .join(" / ")
            }),
        );
    }
}
