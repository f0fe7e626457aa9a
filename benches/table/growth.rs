//! The table of stack growth.

use crate::contestant::{Contestant, measure, start};
use crate::report::{figure, head, names, rounds, row};

/// All of it.
pub fn table() {
    let mut all: Vec<Contestant> = start("1", &[]);
    let note = format!(
        "ns of the same emitted code without, with, the difference: median (spread) of {} rounds",
        rounds()
    );
    head("stack growth", &note, names(&all));
    for (name, label) in [
        (
            "growth_check",
            "a prologue check, per call of a Fibonacci recursion",
        ),
        (
            "growth_cross",
            "a crossing and back, warm, the call followed by the body",
        ),
        ("growth_cross_paired", "the same, the call followed by a `ret`"),
        (
            "growth_deep",
            "per frame, 100,000 deep: one large stack, and one that grows",
        ),
    ] {
        let results = measure(&mut all, name, rounds(), true);
        row(
            label,
            results.iter().map(|of| {
                match (
                    figure(of, |n| n[0]),
                    figure(of, |n| n[1]),
                    figure(of, |n| n[1] - n[0]),
                ) {
                    (Some(without), Some(with), Some(over)) => format!(
                        "{:.2} {:.2} {:+.2} ({:.2}) {:.2}x",
                        without.median,
                        with.median,
                        over.median,
                        over.spread,
                        with.median / without.median
                    ),
                    _ => "-".into(),
                }
            }),
        );
    }
}
