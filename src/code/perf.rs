//! perf's map of emitted code, /tmp/perf-PID.map: a line for each function. On request, because it stays after the program:
//! GOROUTINE_PERF_MAP=1 in the environment.
//!
//! The file is only ever added to. Where code was unregistered and other code has its place, it names both, and perf takes one.

use super::Function;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;

/// The file of this process, once it is open.
#[derive(Default)]
pub struct Map {
    of: u32,
    file: Option<File>,
}

impl Map {
    /// Not open.
    pub const fn new() -> Self {
        Self { of: 0, file: None }
    }

    /// Whether `add` wants all functions, not only the new ones: the file is not open yet, or is the parent's.
    pub fn is_fresh(&self) -> bool {
        self.of != std::process::id()
    }

    /// Adds them, if it is wanted. A file that cannot be written is nobody's error but perf's: it then shows no names.
    pub fn add<'a>(&mut self, functions: impl Iterator<Item = &'a Function>) {
        if self.is_fresh() {
            self.of = std::process::id();
            self.file = is_wanted().then(open).flatten();
        }
        let Some(file) = &mut self.file else { return };
        let mut text = String::new();
        for f in functions {
            let name = f.name.to_string_lossy().replace(['\n', '\r'], " ");
            let _ = writeln!(text, "{:x} {:x} {name}", f.start, f.end - f.start);
        }
        let _ = file.write_all(text.as_bytes());
    }
}

fn is_wanted() -> bool {
    std::env::var_os("GOROUTINE_PERF_MAP").is_some_and(|value| !value.is_empty() && value != "0")
}

/// /tmp is everybody's: not through somebody else's link.
fn open() -> Option<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(format!("/tmp/perf-{}.map", std::process::id()))
        .ok()
}
