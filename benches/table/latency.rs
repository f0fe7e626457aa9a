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
            let share = workers.parse::<f64>().unwrap();
            for (label, numbers, divisor) in [
                (label, 0..4, 1.0),
                ("the same in CPU time per worker", 4..8, share),
                ("turns of one of the 1,000, least / most", 8..10, 1.0),
            ] {
                row(
                    label,
                    results.iter().map(|of| {
                        let numbers = numbers.clone().filter_map(|i| figure(of, |n| n[i]));
                        let texts = numbers.map(|f| format!("{:.0}", f.median / divisor));
                        texts.collect::<Vec<_>>().join(" / ")
                    }),
                );
            }
        }
    }
}
