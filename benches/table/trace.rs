//! The table of traces.

use crate::contestant::{measure, start};
use crate::report::{figure, head, names, rounds, row};

/// All of it.
pub fn table() {
    let mut all = start("1", &[]);
    head(
        "a trace, yields between 2, one worker",
        "CPU time, ns, nothing lost: medians of rounds",
        names(&all),
    );
    let results = measure(&mut all, "trace_yield", rounds(), false);
    for (i, label) in [
        "a yield, not traced",
        "traced, a thread's first 65,536 events",
        "traced, later ones",
        "an event (a yield is two), the first 65,536",
        "an event, later ones",
    ]
    .iter()
    .enumerate()
    {
        let of = |rounds| figure(rounds, |n| n[i]);
        row(
            label,
            results.iter().map(|rounds| match of(rounds) {
                Some(of) => format!("{:.1} ({:.1})", of.median, of.spread),
                None => "-".into(),
            }),
        );
    }
}
