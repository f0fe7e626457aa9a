//! What every goroutine does, as text: `goroutine_dump`.
//!
//! Nothing stops for it. So each goroutine is told of as it was at a moment of its own, and one that ended meanwhile is left out. What
//! is said of a parked one is all of one moment (`stopped`, I1).

use super::asked::{self, Asked};
use super::live::all;
use super::stopped::{self, Seen, Stopped};
use super::unwind;
use crate::abi::*;
use crate::code;
use crate::goroutine::waits::Kind;
use crate::goroutine::{Goroutine, name_of, site_of};
use crate::netpoll::table;
use crate::ops::{mutex, rwlock};
use crate::promise::Promise;
use crate::sched::{Runtime, Worker, runtime};
use crate::sys::{mem, time::now_ns};
use std::ffi::{CStr, c_void};
use std::fmt::Write as _;
use std::sync::atomic::Ordering;

/// A thread of the library, a moment ago.
struct Thread {
    id: u32,
    runs: u64,
    worker: Option<usize>,
    bound: u64,
}

/// Writes it to `fd`. Err: the negative errno of write(2).
pub fn dump(fd: i32) -> Result<(), GoroutineStatus> {
    let runtime = runtime::enter();
    let threads = runtime.as_deref().map(threads).unwrap_or_default();
    let mut all = all();
    all.sort_unstable_by_key(|&(_, id)| id);
    let mut text = String::new();
    let workers = runtime.as_deref().map_or(0, |r| r.workers.len());
    let _ = writeln!(
        text,
        "goroutine: dump of process {}: {} goroutines, {workers} workers, {} threads",
        std::process::id(),
        all.len(),
        threads.len(),
    );
    let mut patience = asked::PATIENCE_OF_DUMP_NS;
    for (g, id) in all {
        // SAFETY: a control block.
        unsafe { describe(&mut text, g, id, runtime.as_deref(), &threads, &mut patience) };
        if text.len() > 1 << 16 {
            write_all(fd, &text)?;
            text.clear();
        }
    }
    text.push_str("goroutine: end of dump\n");
    write_all(fd, &text)
}

fn write_all(fd: i32, text: &str) -> Result<(), GoroutineStatus> {
    let mut bytes = text.as_bytes();
    while !bytes.is_empty() {
        // SAFETY: the bytes are there.
        let n = unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
        if n >= 0 {
            bytes = &bytes[n as usize..];
        } else {
            let errno = std::io::Error::last_os_error()
                .raw_os_error()
                .unwrap_or(libc::EIO);
            if errno != libc::EINTR {
                return Err(-errno);
            }
        }
    }
    Ok(())
}

fn threads(runtime: &Runtime) -> Vec<Thread> {
    let base = runtime.workers.as_ptr() as u64;
    let index = |worker: u64| {
        let i = worker.checked_sub(base)? as usize / size_of::<Worker>();
        (i < runtime.workers.len()).then_some(i)
    };
    let mut threads = Vec::new();
    runtime.pool.for_each(|seat| {
        if let Some((runs, worker)) = seat.runs() {
            threads.push(Thread {
                id: seat.thread_id.load(Ordering::Relaxed),
                runs,
                worker: index(worker),
                bound: seat.goroutine.load(Ordering::Acquire) as u64,
            });
        }
    });
    threads
}

/// One goroutine: a line of what it does, a line of where it comes from, its frames.
///
/// # Safety
/// `g` is a control block.
unsafe fn describe(
    text: &mut String,
    g: *mut Goroutine,
    id: u64,
    runtime: Option<&Runtime>,
    threads: &[Thread],
    patience: &mut u64,
) {
    // SAFETY: the caller's promise; what is read is only printed.
    unsafe {
        let seen = stopped::look(g, id);
        if matches!(seen, Seen::Gone) {
            return;
        }
        let (name, site) = (name_of(g, id), site_of(g, id));
        let (flags, spawn_flags) = (
            (*g).flags.load(Ordering::Relaxed),
            (&raw const (*g).spawn_flags).read_volatile(),
        );
        let entry = (&raw const (*g).entry_fn).read_volatile();
        let in_foreign = (&raw const (*g).foreign_sp).read_volatile() != 0;
        let runs = threads.iter().find(|t| t.runs == g as u64);
        let bound = threads.iter().find(|t| t.bound == g as u64);
        let _ = write!(text, "\ngoroutine {id}");
        if !name.is_empty() {
            let _ = write!(text, " \"{}\"", name.to_string_lossy());
        }
        match &seen {
            Seen::Parked(stopped) => waiting(text, stopped, runtime),
            _ => running(text, runs, runtime, in_foreign, flags),
        }
        let _ = write!(text, "\n    began in {}", symbol(entry, entry));
        if let Some(thread) = bound {
            let _ = write!(text, ", bound to thread {}", thread.id);
        } else if flags & GOROUTINE_FLAG_ATTACHED != 0 {
            text.push_str(", of a thread of the program's");
        }
        for (flag, word) in [
            (GOROUTINE_SPAWN_DAEMON, ", daemon"),
            (GOROUTINE_SPAWN_PRIORITY, ", priority"),
            (GOROUTINE_SPAWN_PINNED, ", pinned"),
        ] {
            if spawn_flags & flag != 0 {
                text.push_str(word);
            }
        }
        if flags & GOROUTINE_FLAG_CANCEL != 0 {
            text.push_str(", told to stop");
        }
        text.push('\n');
        if site != 0 {
            let _ = writeln!(text, "    spawned at {}", symbol(site, site - 1));
        }
        if let Seen::Parked(stopped) = &seen {
            list(text, &frames(stopped), false);
        } else if let Some(thread) = runs.filter(|_| asked::is_installed()) {
            asking(text, id, thread, patience);
        }
    }
}

/// A backtrace. Of a long one the innermost and the outermost frames: where it is, and who called. `interrupted`: as for [`unwind::backtrace`].
fn list(text: &mut String, frames: &[u64], interrupted: bool) {
    const SHOWN: usize = 100;
    const OUTERMOST: usize = 10;
    let show = |text: &mut String, range: std::ops::Range<usize>| {
        for i in range {
            let (pc, after_call) = (frames[i], i != 0 || !interrupted);
            let _ = writeln!(text, "    #{i:<2} {}", symbol(pc, pc - u64::from(after_call)));
        }
    };
    let n = frames.len();
    if n <= SHOWN {
        return show(text, 0..n);
    }
    show(text, 0..SHOWN - OUTERMOST);
    if n < unwind::FRAMES_MAX {
        let _ = writeln!(text, "    ... {} more frames", n - SHOWN);
        show(text, n - OUTERMOST..n);
    } else {
        let _ = writeln!(text, "    ... at least {} more frames", n - (SHOWN - OUTERMOST));
    }
}

/// The frames of goroutine `id`, which `thread` runs, or why there are none. `patience`: how long all of the dump may still wait.
fn asking(text: &mut String, id: u64, thread: &Thread, patience: &mut u64) {
    let began = now_ns();
    let asked = if *patience == 0 {
        Asked::Silent
    } else {
        asked::ask(thread.id)
    };
    *patience = patience.saturating_sub(now_ns() - began);
    let why_not = match asked {
        Asked::Answered(answer) if answer.id == id && !answer.between => {
            let frames = unwind::backtrace(answer.registers, true, &|address| answer.word(address));
            list(text, &frames, true);
            return;
        }
        Asked::Answered(answer) if answer.id == id => {
            "its thread is between two goroutines, or on a stack of foreign code's own"
        }
        Asked::Answered(_) => "its thread runs another one by now",
        Asked::Silent => "its thread did not answer in time",
        Asked::Blocks => "its thread blocks the signal of GOROUTINE_DUMP_SIGNAL",
        Asked::Gone => "its thread is over",
    };
    let _ = writeln!(text, "    no frames: {why_not}");
}

fn running(
    text: &mut String,
    runs: Option<&Thread>,
    runtime: Option<&Runtime>,
    in_foreign: bool,
    flags: u32,
) {
    let what = if in_foreign { "is in foreign code" } else { "runs" };
    match runs {
        Some(Thread {
            id, worker: Some(i), ..
        }) => {
            let _ = write!(text, " {what} on worker {i}, thread {id}");
            if let Some(runtime) = runtime {
                lasting(text, runtime.running_for(&runtime.workers[*i]));
            }
        }
        Some(thread) => {
            let _ = write!(text, " {what} on thread {}", thread.id);
        }
        None if in_foreign || flags & GOROUTINE_FLAG_ATTACHED != 0 => {
            let _ = write!(text, " {what}");
        }
        None => text.push_str(" is runnable"),
    }
}

fn lasting(text: &mut String, ns: u64) {
    const MS: u64 = 1_000_000;
    let ms = ns / MS;
    let _ = match ms {
        0 => Ok(()),
        1..1000 => write!(text, ", for {ms} ms"),
        1000..120_000 => write!(text, ", for {}.{} s", ms / 1000, ms / 100 % 10),
        _ => write!(text, ", for {} min", ms / 60_000),
    };
}

fn waiting(text: &mut String, stopped: &Stopped, runtime: Option<&Runtime>) {
    text.push_str(" is parked");
    if let Some(runtime) = runtime {
        lasting(text, runtime.parked_for(stopped.sequence));
    }
    text.push_str(": ");
    text.push_str(&what(stopped));
}

/// What a parked goroutine waits for, in words. If it is still parked afterwards, all of it is true of that moment.
pub fn what(stopped: &Stopped) -> String {
    let waits = stopped.waits;
    let object = waits.object();
    let Some(kind) = waits.kind() else {
        return "waits".into();
    };
    match kind {
        Kind::Ticket => format!("waits for its ticket, committed by {}", symbol(object, object)),
        Kind::Sleep if object == (1 << 56) - 1 => "sleeps for ever".into(),
        Kind::Sleep => {
            let mut left = String::new();
            lasting(&mut left, object.saturating_sub(now_ns()));
            format!("sleeps{}", left.trim_start_matches(','))
        }
        Kind::Mutex => format!("waits for mutex {object:#x}{}", holder(object)),
        Kind::RwLock => format!("waits for readers-writer lock {object:#x}{}", writer(object)),
        Kind::ReadLock => format!("waits to read readers-writer lock {object:#x}{}", writer(object)),
        Kind::Once => format!("waits for a once, of mutex {object:#x}{}", holder(object)),
        Kind::Semaphore => format!("waits for semaphore {object:#x}"),
        Kind::WaitGroup => format!("waits for wait group {object:#x}"),
        Kind::Condition => format!("waits for condition {object:#x}"),
        Kind::Send => format!("sends to channel {object:#x}"),
        Kind::Receive => format!("receives from channel {object:#x}"),
        Kind::Select => "selects".into(),
        Kind::Promise => format!("awaits promise {object:#x}{}", settler(object)),
        Kind::Descriptor => match table::number_of(object as usize) {
            Some(fd) => format!("waits for descriptor {fd}"),
            None => "waits for a descriptor".into(),
        },
        Kind::File => "waits for a file operation".into(),
        Kind::Lane => format!("waits for its call on lane {object:#x}"),
        Kind::Thread => "waits for a thread to bind to".into(),
        Kind::Worker => "waits for a worker".into(),
        Kind::Callback => "waits for the next callback".into(),
    }
}

fn holder(mutex: u64) -> String {
    held_by(mutex::owner_of(mutex as usize))
}

fn writer(lock: u64) -> String {
    held_by(rwlock::writer_of(lock as usize))
}

fn held_by(holder: Option<mutex::Holder>) -> String {
    match holder {
        Some(mutex::Holder::Goroutine(id)) => format!(", held by goroutine {id}"),
        Some(mutex::Holder::Thread) => ", held by a thread of the program's".into(),
        None => String::new(),
    }
}

fn settler(promise: u64) -> String {
    // SAFETY: promises' memory is never unmapped; one that is not this one any more is only printed.
    let g = unsafe { (*(promise as *const Promise)).settler() };
    // SAFETY: a control block, or null.
    match unsafe { g.as_ref() } {
        Some(g) => format!(" of goroutine {}", g.id()),
        None => String::new(),
    }
}

/// The return addresses of a parked goroutine, innermost first, FRAMES_MAX at most.
pub fn frames(stopped: &Stopped) -> Vec<u64> {
    let r = &stopped.registers;
    let Some(&rip) = stopped.words.first() else {
        return Vec::new();
    };
    let registers = r.in_caller(rip);
    let end = r.rsp + stopped.words.len() as u64 * 8;
    unwind::backtrace(registers, false, &|address| {
        if (r.rsp..end).contains(&address) && address % 8 == 0 {
            stopped.words.get((address - r.rsp) as usize / 8).copied()
        } else {
            mem::peek_word(address as usize) // C frames below a callback lie on the thread's stack
        }
    })
}

/// An address with what lies there. `inside`: in the same instruction, or in the call before it.
pub fn symbol(address: u64, inside: u64) -> String {
    let mut name = code::NAME_BUFFER;
    if let Some((n, offset)) = code::describe(inside as usize, &mut name) {
        let name = String::from_utf8_lossy(&name[..n]).into_owned();
        return format!("{address:#018x} {name}+{:#x}", offset as u64 + (address - inside));
    }
    // SAFETY: all zeros are valid; any address may be asked about, and the strings live as long as the object, which is loaded.
    unsafe {
        let mut found: libc::Dl_info = std::mem::zeroed();
        if libc::dladdr(inside as *const c_void, &mut found) == 0 || found.dli_fname.is_null() {
            return format!("{address:#018x}");
        }
        let path = CStr::from_ptr(found.dli_fname).to_string_lossy();
        let object = path.rsplit('/').next().unwrap_or_default();
        if found.dli_sname.is_null() {
            return format!("{address:#018x} {object}+{:#x}", address - found.dli_fbase as u64);
        }
        let name = CStr::from_ptr(found.dli_sname).to_string_lossy();
        format!(
            "{address:#018x} {name}+{:#x} ({object})",
            address - found.dli_saddr as u64
        )
    }
}
