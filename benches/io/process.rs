//! What the kernel says of processes that are not ours.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// It will run on these CPUs only, and end with this program.
pub fn pin(command: &mut Command, cpus: &[usize]) {
    let cpus = cpus.to_vec();
    // SAFETY: between fork and exec only system calls are made.
    unsafe {
        command.pre_exec(move || {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            cpus.iter().for_each(|&cpu| libc::CPU_SET(cpu, &mut set));
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
            match libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        });
    }
}

/// Asks it to end, as one asks a server, and sees that it does.
pub fn end(child: &mut Child) {
    // SAFETY: a plain system call; the child was not waited for, so the number is its own.
    unsafe { libc::kill(child.id() as i32, libc::SIGTERM) };
    let start = Instant::now();
    while let Ok(None) = child.try_wait() {
        if start.elapsed() > Duration::from_secs(5) {
            let _ = child.kill();
            let _ = child.wait();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A process and those that it started.
pub fn with_children(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(other) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        let stat = std::fs::read_to_string(format!("/proc/{other}/stat")).unwrap_or_default();
        // PID (NAME) STATE PARENT ...: the name may hold anything.
        let parent = stat
            .rsplit_once(')')
            .and_then(|(_, rest)| rest.split_whitespace().nth(1));
        if parent.and_then(|parent| parent.parse().ok()) == Some(pid) {
            all.push(other);
        }
    }
    all
}

/// What a process takes.
#[derive(Clone, Copy, Default)]
pub struct Usage {
    /// Bytes of memory that is its alone.
    pub private: f64,
    /// Bytes of its page tables.
    pub page_tables: f64,
    /// CPU time of all its threads, also those that ended.
    pub cpu_ns: f64,
    /// Context switches of the threads that it has.
    pub switches: f64,
}

impl Usage {
    pub fn of(pid: u32) -> Self {
        let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task"));
        let switches = tasks.into_iter().flatten().flatten().map(|task| {
            let status = std::fs::read_to_string(task.path().join("status")).unwrap_or_default();
            number(&status, "voluntary_ctxt_switches:") + number(&status, "nonvoluntary_ctxt_switches:")
        });
        Self {
            private: 1024.0 * (number(&rollup, "Private_Clean:") + number(&rollup, "Private_Dirty:")),
            page_tables: 1024.0 * number(&status, "VmPTE:"),
            cpu_ns: cpu_ns(pid),
            switches: switches.sum(),
        }
    }

    pub fn plus(self, other: Self) -> Self {
        Self {
            private: self.private + other.private,
            page_tables: self.page_tables + other.page_tables,
            cpu_ns: self.cpu_ns + other.cpu_ns,
            switches: self.switches + other.switches,
        }
    }

    pub fn since(self, before: Self) -> Self {
        Self {
            private: self.private - before.private,
            page_tables: self.page_tables - before.page_tables,
            cpu_ns: self.cpu_ns - before.cpu_ns,
            switches: self.switches - before.switches,
        }
    }
}

/// Of the line that begins with `key`.
fn number(text: &str, key: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or(0.0)
}

fn cpu_ns(pid: u32) -> f64 {
    // SAFETY: both live through the calls.
    unsafe {
        let mut clock = 0;
        let mut time: libc::timespec = std::mem::zeroed();
        let found = libc::clock_getcpuclockid(pid as i32, &mut clock) == 0;
        assert!(
            found && libc::clock_gettime(clock, &mut time) == 0,
            "the server has ended"
        );
        time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
    }
}

/// strace, which counts the system calls of processes.
pub struct Counting {
    strace: Child,
    // Kept, for strace would end by SIGPIPE.
    lines: BufReader<std::process::ChildStderr>,
}

impl Counting {
    /// None: there is no strace, or it may not.
    pub fn start(pids: &[u32]) -> Option<Self> {
        let mut command = Command::new("strace");
        command.args(["-f", "-c"]);
        pids.iter().for_each(|pid| {
            command.args(["-p", &pid.to_string()]);
        });
        let mut strace = command.stderr(Stdio::piped()).spawn().ok()?;
        let mut lines = BufReader::new(strace.stderr.take()?);
        for _ in pids {
            let mut line = String::new();
            lines.read_line(&mut line).ok()?;
            if !line.contains("attached") {
                eprint!("{line}");
                end(&mut strace);
                return None;
            }
        }
        Some(Self { strace, lines })
    }

    /// How many there were.
    pub fn stop(mut self) -> Option<f64> {
        // SAFETY: a plain system call; strace was not waited for.
        unsafe { libc::kill(self.strace.id() as i32, libc::SIGINT) };
        let mut total = None;
        for line in self.lines.lines().map_while(Result::ok) {
            // % time, seconds, usecs/call, calls, errors, "total"
            let words: Vec<&str> = line.split_whitespace().collect();
            if words.last() == Some(&"total") {
                total = words.get(3).and_then(|calls| calls.parse().ok());
            }
        }
        let _ = self.strace.wait();
        total
    }
}

/// Most descriptors of a process.
pub fn descriptors() -> usize {
    // SAFETY: the limit lives through the call.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        limit.rlim_max.min(usize::MAX as u64) as usize
    }
}
