//! The table of traces.

use crate::contestant::{measure, start};
use crate::report::{figure, head, rounds, row};

/// All of it.
pub fn table() {
    let mut all = start("1", &[]);
    head(
        "traces, one worker",
        "CPU time, ns, nothing lost: medians (spreads) of rounds. First: a thread's first 65,536 events",
        ["no trace", "first", "later", "an event, first", "an event, later"].into_iter(),
    );
    for (name, label) in [
        ("trace_yield", "yield between 2 (2 events)"),
        ("trace_spawn", "spawn one, await it (6 events)"),
        ("trace_leaf", "leaf call (2 events)"),
        ("trace_blocking", "blocking call, short (2 events)"),
    ] {
        let results = measure(&mut all, name, rounds(), false);
        let cell = |i: usize| match figure(&results[0], |n| n[i]) {
            Some(of) => format!("{:.1} ({:.1})", of.median, of.spread),
            None => "-".into(),
        };
        row(label, (0..5).map(cell));
    }
}
