//! The table of exceptions through emitted code (`throws.cpp`): registered with the library, and function by function with libgcc.

use crate::report::{Figure, figure, head, row};
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const ROUNDS: usize = 3;
/// As the program has them, and as the table has them.
const WAYS: [(&str, &str); 3] = [
    ("batch", "ours, all at once"),
    ("single", "ours, one by one"),
    ("own", "__register_frame each"),
];
const FIGURES: [&str; 4] = [
    "a throw through one frame, ns",
    "to register a function, ns",
    "memory of a function, bytes",
    "to unregister a function, ns",
];

/// All of it. Without a C++ compiler, a line that says so.
pub fn table() {
    let Some(program) = compiled() else {
        println!("throws: skipped (no C++ compiler, or it does not compile)");
        return;
    };
    head(
        "exceptions through registered code",
        "medians of 3 rounds, and spread; libgcc before version 13 walks a list of tables, later ones have a tree",
        WAYS.iter().map(|(_, title)| *title),
    );
    for n in ["1", "10000", "100000"] {
        let mut results = vec![Vec::new(); WAYS.len()];
        for _ in 0..ROUNDS {
            for ((way, _), results) in WAYS.iter().zip(&mut results) {
                results.extend(round(&program, way, n));
            }
        }
        for (i, what) in FIGURES.iter().enumerate() {
            let cell = |Figure { median, spread }| format!("{median:.0} ({spread:.0})");
            let cells = results.iter().map(|of| figure(of, |numbers| numbers[i]));
            row(&format!("{n}: {what}"), cells.map(|f| f.map_or("-".into(), cell)));
        }
    }
}

fn compiled() -> Option<String> {
    let (program, lib) = (
        format!("{ROOT}/target/bench-throws"),
        format!("{ROOT}/target/release"),
    );
    let done = Command::new(std::env::var("CXX").unwrap_or_else(|_| "c++".into()))
        .args(["-O2", "-std=c++17", "-Wall", "-Wextra", "-pthread", "-I"])
        .arg(format!("{ROOT}/include"))
        .arg(format!("{ROOT}/benches/table/throws.cpp"))
        .args(["-o", &program, "-L", &lib, "-lgoroutine"])
        .arg(format!("-Wl,-rpath,{lib}"))
        .output()
        .ok()?;
    eprint!("{}", String::from_utf8_lossy(&done.stderr));
    done.status.success().then_some(program)
}

/// None: it failed.
fn round(program: &str, way: &str, n: &str) -> Option<Vec<f64>> {
    let done = Command::new(program).args([way, n]).output().ok()?;
    let text = String::from_utf8(done.stdout).ok()?;
    let numbers: Option<Vec<f64>> = text.split_whitespace().map(|word| word.parse().ok()).collect();
    numbers.filter(|numbers| done.status.success() && numbers.len() == FIGURES.len())
}
