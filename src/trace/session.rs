//! Start and stop: one trace at a time.
//!
//! ```text
//!   Off --start--> Starting --> On --stop--> Stopping --> Off
//! ```
//!
//! The word that has threads record (`goroutine_tracing`, T1) is set and cleared by who starts and stops. The lock is held for a few
//! instructions only, and while a thread is made: the file and the writer are waited for without it, so a fork is not held up.

use super::json::Json;
use super::writer::Moment;
use super::{goroutine_tracing, rings, writer};
use crate::abi::*;
use crate::sanitize;
use crate::sys::futex;
use crate::sys::mutex::Mutex;
use crate::sys::time::now_ns;
use crate::thread::{self, Handle, Settings};
use std::ffi::{CStr, OsStr};
use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering};

/// What the writer and who stops it have in common.
pub struct Shared {
    stops: AtomicBool,
    /// The first error of the file, an errno; 0: none.
    error: AtomicI32,
}

/// A trace that runs.
struct Running {
    thread: Handle,
    shared: Arc<Shared>,
}

enum State {
    Off,
    Starting,
    On(Running),
    /// Somebody waits for the writer, and has it; or nobody does, after a time-out.
    Stopping(Option<Running>),
}

/// See the module's head.
pub struct Session {
    state: State,
    /// The file of the trace, for a child of fork to close.
    file: i32,
    /// Exits are looked after.
    at_exit: bool,
}

static SESSION: Mutex<Session> = Mutex::new(Session {
    state: State::Off,
    file: -1,
    at_exit: false,
});
/// The number of the last trace that began.
static NUMBER: AtomicU32 = AtomicU32::new(0);
/// 1: the writer sleeps, or is about to. Who sets it to 0 wakes it.
static ASLEEP: AtomicU32 = AtomicU32::new(0);
/// Of the last trace that ended.
static EVENTS: AtomicU64 = AtomicU64::new(0);
static LOST: AtomicU64 = AtomicU64::new(0);

/// How long a process that exits waits for the file.
const EXIT_NS: u64 = 2_000_000_000;

/// What became of the last trace.
#[derive(Clone, Copy)]
pub struct Totals {
    /// Events in the file.
    pub events: u64,
    /// Events that found no room.
    pub lost: u64,
}

/// Of the last trace that ended.
pub fn totals() -> Totals {
    Totals {
        events: EVENTS.load(Ordering::Acquire),
        lost: LOST.load(Ordering::Acquire),
    }
}

fn set_number(number: u32) {
    let with = |word| Some(word & sanitize::PRESENT | number);
    // SAFETY: an atomic word.
    let _ = unsafe { goroutine_tracing.fetch_update(Ordering::SeqCst, Ordering::SeqCst, with) };
}

/// A ring is half full, or full: the writer is to look.
#[cold]
pub fn call_writer() {
    if ASLEEP.load(Ordering::Relaxed) != 0 && ASLEEP.swap(0, Ordering::Relaxed) != 0 {
        futex::wake(&ASLEEP, 1);
    }
}

/// Begins a trace into `path`. The writer is made with `settings`; `workers`: how many threads may soon record much.
pub fn start(path: &CStr, settings: &Settings, workers: usize) -> GoroutineStatus {
    {
        let mut session = SESSION.lock();
        if !matches!(session.state, State::Off) {
            return GOROUTINE_EALREADY;
        }
        session.state = State::Starting;
    }
    let status = begin(path, settings, workers);
    if status != GOROUTINE_OK {
        rings::free_spares();
        SESSION.lock().state = State::Off;
    }
    status
}

fn begin(path: &CStr, settings: &Settings, workers: usize) -> GoroutineStatus {
    let file = match open(path) {
        Ok(file) => file,
        Err(error) => return -error.raw_os_error().unwrap_or(libc::EIO),
    };
    if !rings::make_key() {
        return GOROUTINE_ENOMEM;
    }
    rings::make_spares(workers);
    let shared = Arc::new(Shared {
        stops: AtomicBool::new(false),
        error: AtomicI32::new(0),
    });
    let mut session = SESSION.lock();
    session.file = file.as_raw_fd();
    if !session.at_exit {
        session.at_exit = true;
        // SAFETY: the function stays as long as the library, with which the C library forgets it.
        unsafe { libc::atexit(on_exit) };
    }
    let start = Moment::now();
    // What happens from here on is recorded, and waits for the writer.
    let number = NUMBER.fetch_add(1, Ordering::SeqCst) + 1;
    set_number(number);
    let writers = shared.clone();
    match thread::start("gr-trace", settings, move || {
        writer::run(Json::new(file), &writers, number, start, workers)
    }) {
        Ok(thread) => {
            session.state = State::On(Running { thread, shared });
            GOROUTINE_OK
        }
        Err(_) => {
            set_number(0);
            session.file = -1;
            GOROUTINE_ENOMEM
        }
    }
}

/// A pipe that nobody reads is refused (ENXIO), not waited for.
fn open(path: &CStr) -> std::io::Result<File> {
    let file = (OpenOptions::new().write(true).create(true).truncate(true))
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(OsStr::from_bytes(path.to_bytes()))?;
    // SAFETY: our descriptor.
    unsafe {
        let flags = libc::fcntl(file.as_raw_fd(), libc::F_GETFL);
        if flags < 0 || libc::fcntl(file.as_raw_fd(), libc::F_SETFL, flags & !libc::O_NONBLOCK) < 0 {
            return Err(std::io::Error::last_os_error());
        }
    }
    Ok(file)
}

/// Ends the trace that runs: waits until its file is complete. GOROUTINE_EALREADY: none runs, or somebody stops it already;
/// or the negative errno of the first write that failed.
pub fn stop() -> GoroutineStatus {
    let running = {
        let mut session = SESSION.lock();
        if !matches!(session.state, State::On(_)) {
            return GOROUTINE_EALREADY;
        }
        take(&mut session)
    };
    running.map_or(GOROUTINE_EALREADY, |running| finish(running, u64::MAX))
}

/// Ends it if one runs, until `deadline` (CLOCK_MONOTONIC): also one that somebody gave up to stop. False: the file is not complete yet.
/// Nobody starts one meanwhile.
pub fn end(deadline: u64) -> bool {
    let running = take(&mut SESSION.lock());
    running.is_none_or(|running| finish(running, deadline) != GOROUTINE_ETIMEDOUT)
}

/// The trace is the caller's to finish. None: there is none, or another has it.
fn take(session: &mut Session) -> Option<Running> {
    match std::mem::replace(&mut session.state, State::Stopping(None)) {
        State::On(running) => {
            set_number(0);
            Some(running)
        }
        State::Stopping(running) => running,
        other => {
            session.state = other;
            None
        }
    }
}

fn finish(running: Running, deadline: u64) -> GoroutineStatus {
    running.shared.stops.store(true, Ordering::Release);
    ASLEEP.store(0, Ordering::SeqCst);
    futex::wake(&ASLEEP, 1);
    if !running.thread.join_until(deadline) {
        SESSION.lock().state = State::Stopping(Some(running));
        return GOROUTINE_ETIMEDOUT;
    }
    SESSION.lock().state = State::Off;
    -running.shared.error.load(Ordering::Acquire)
}

/// Whether there is no trace, not even one that is being stopped.
pub fn is_off() -> bool {
    matches!(SESSION.lock().state, State::Off)
}

/// The runtime is gone: nobody records any more, and no trace runs.
///
/// # Safety
/// As it says.
pub unsafe fn forget() {
    // SAFETY: the caller's promise.
    unsafe { rings::forget(NUMBER.load(Ordering::SeqCst)) };
}

/// A process that never shuts down has its trace all the same.
extern "C" fn on_exit() {
    let _ = end(now_ns() + EXIT_NS);
}

/// For the fork handlers.
pub fn lock() -> &'static Mutex<Session> {
    &SESSION
}

/// In a child of fork, which has no trace. Gives the number of the last one.
///
/// # Safety
/// The only thread; nobody holds the lock but a ghost.
pub unsafe fn forget_in_child() -> u32 {
    set_number(0);
    // SAFETY: the caller's promise. The writer's thread is gone: its handle is forgotten, not joined.
    unsafe {
        let session = &mut *SESSION.data_ptr();
        std::mem::forget(std::mem::replace(&mut session.state, State::Off));
        if session.file >= 0 {
            libc::close(session.file);
            session.file = -1;
        }
    }
    NUMBER.load(Ordering::SeqCst)
}

impl Shared {
    /// Whether the trace ends.
    pub fn stops(&self) -> bool {
        self.stops.load(Ordering::Acquire)
    }

    /// Until `deadline`, or somebody calls.
    pub fn sleep(&self, deadline: u64) {
        ASLEEP.store(1, Ordering::SeqCst);
        if !self.stops() {
            futex::wait(&ASLEEP, 1, deadline);
        }
        ASLEEP.store(0, Ordering::Relaxed);
    }

    /// The file is complete, and about to be closed.
    pub fn ended(&self, error: i32, events: u64, lost: u64) {
        SESSION.lock().file = -1;
        self.error.store(error, Ordering::Release);
        EVENTS.store(events, Ordering::Release);
        LOST.store(lost, Ordering::Release);
    }
}
