//! The table of wake latency under load.

use crate::contestant::{measure, start};
use crate::report::{figure, head, names, row};

/// All of it.
pub fn table() {
    for workers in ["1", "2"] {
        let mut all = start(workers, &[]);
        head(
            &format!("wake latency, {workers} workers"),
            "1,000 goroutines compute 50 us between yields; us, p50 / p99 / p99.9 / most",
            names(&all),
        );
        for (name, label) in [
            ("latency_ordinary", "an ordinary goroutine"),
            ("latency_priority", "with GOROUTINE_SPAWN_PRIORITY"),
        ] {
            let results = measure(&mut all, name, 1, false);
            row(
                label,
                results.iter().map(|of| {
                    let numbers = (0..4).filter_map(|i| figure(of, |n| n[i]));
                    numbers
                        .map(|f| format!("{:.0}", f.median))
                        .collect::<Vec<_>>()
                        .join(" / ")
                }),
            );
        }
    }
}
