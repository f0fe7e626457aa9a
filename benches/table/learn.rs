//! The table of learned stacks.

use crate::contestant::{measure, start};
use crate::report::{figure, head, names, row};

/// All of it.
pub fn table() {
    let mut all = start("1", &[]);
    head(
        "learned stacks, one worker",
        "ns without and with the flag: medians of 3 rounds",
        names(&all),
    );
    for (name, label) in [
        (
            "learn_deep",
            "100 KiB used, 1,000 live, stacks without memory; each",
        ),
        ("learn_small", "spawn, run, finish; 100 awaited at a time"),
    ] {
        let results = measure(&mut all, name, 3, false);
        row(
            label,
            results
                .iter()
                .map(|of| match (figure(of, |n| n[0]), figure(of, |n| n[1])) {
                    (Some(without), Some(with)) => format!(
                        "{:.1} {:.1} {:.2}x",
                        without.median,
                        with.median,
                        with.median / without.median
                    ),
                    _ => "-".into(),
                }),
        );
    }
}
