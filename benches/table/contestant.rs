//! Contestants: processes that answer `row` lines on their standard input with one round of that row (see
//! ../peers/README.md). The library's own is this program, started again as `--contestant`.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// One of them, running.
pub struct Contestant {
    pub name: String,
    child: Child,
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// The numbers of each round that a contestant answered.
pub type Rounds = Vec<Vec<f64>>;

impl Contestant {
    fn start(name: &str, mut command: Command) -> Option<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        let ask = child.stdin.take()?;
        let mut answers = BufReader::new(child.stdout.take()?);
        let mut ready = String::new();
        answers.read_line(&mut ready).ok()?;
        let version = ready.trim().strip_prefix("ready ")?;
        eprintln!("contestant: {version}");
        Some(Self {
            name: name.into(),
            child,
            ask,
            answers,
        })
    }

    /// The numbers of one round; None: it does not do that.
    fn round(&mut self, row: &str) -> Option<Vec<f64>> {
        writeln!(self.ask, "{row}").ok()?;
        self.ask.flush().ok()?;
        let mut line = String::new();
        self.answers.read_line(&mut line).ok()?;
        let numbers: Option<Vec<f64>> = line
            .split_whitespace()
            .skip(1)
            .map(|word| word.parse().ok())
            .collect();
        numbers.filter(|n| !n.is_empty())
    }
}

impl Drop for Contestant {
    fn drop(&mut self) {
        let _ = writeln!(self.ask, "quit");
        let _ = self.ask.flush();
        let _ = self.child.wait();
    }
}

/// The library, with so many workers, and those of the peers that are there.
pub fn start(workers: &str, peers: &[&str]) -> Vec<Contestant> {
    let mut all = Vec::new();
    let mut own = Command::new(std::env::current_exe().expect("this program has a path"));
    own.arg("--contestant").env("GOROUTINE_WORKERS", workers);
    all.extend(Contestant::start("ours", own));
    for peer in peers {
        let path = format!("{}/target/peers/bin/peer-{peer}", env!("CARGO_MANIFEST_DIR"));
        if !Path::new(&path).exists() {
            println!("{peer}: skipped (not built: `make deps-bench` says why)");
            continue;
        }
        let mut command = Command::new(path);
        command.arg(workers);
        match Contestant::start(peer, command) {
            Some(contestant) => all.push(contestant),
            None => println!("{peer}: skipped (does not start)"),
        }
    }
    all
}

/// Rounds of one row, each asks every contestant once, in turn. With `warm`, after a round that does not count.
pub fn measure(all: &mut [Contestant], row: &str, rounds: usize, warm: bool) -> Vec<Rounds> {
    let mut results: Vec<Rounds> = vec![Vec::new(); all.len()];
    for round in 0..rounds + usize::from(warm) {
        for (contestant, results) in all.iter_mut().zip(&mut results) {
            // corosensei resumes coroutines in turn, without a scheduler: only its switch compares.
            if contestant.name == "corosensei" && row != "switch" {
                continue;
            }
            if let Some(numbers) = contestant.round(row)
                && (round != 0 || !warm)
            {
                results.push(numbers);
            }
        }
    }
    results
}
