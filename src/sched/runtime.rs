//! The runtime: one at a time in a process, from start to shutdown, and again.
//!
//! Phases: RUNNING -> STOPPING (no more spawns; everything is cancelled) -> CLOSING (plain threads are sent away) ->
//! STOPPED (workers leave their loops), then it is freed. Plain threads pass a turnstile on their way in, so that nobody is inside when it is freed; goroutines
//! need none: the shutdown waits for them first.
//!
//! Counting what keeps the program alive. Every worker counts what it opened and closed in words that only it writes;
//! what plain threads do is counted atomically. "Nothing is left" is seen by adding up all `closed`, then all `opened`:
//! a thing is opened before it is closed, so if the later sum of `opened` equals the earlier sum of `closed`, then
//! at the moment between the two sums nothing was open.

use super::bind;
use super::idle::{Idle, MAX_WORKERS, OWNERLESS};
use super::monitor;
use super::monitor::Monitor;
use super::pin::Pinning;
use super::poll::{Net, POLLING};
use super::pool::Pool;
use super::predict::Predictor;
use super::preempt;
use super::run_queue::POLL_STOP;
use super::since::Since;
use super::turnstile::Turnstile;
use super::worker::{Counts, Worker};
use super::world;
use crate::abi::*;
use crate::code::place;
use crate::context::{self, note_control_words, tls};
use crate::goroutine::{FORKS, Goroutine, Runnable, forget_name_readers, name_of, site_of};
use crate::inspect::deadlock::{self, Detector};
use crate::promise::Outcome;
use crate::sanitize;
use crate::stack;
use crate::sync::fence_seq_cst;
use crate::sys::time::now_ns;
use crate::sys::{self, cpu, exit, futex, library, membarrier, report};
use crate::thread;
use crate::timer::{Wheel, slot};
use crate::trace;
use crossbeam_queue::SegQueue;
use parking_lot::lock_api::{self, RawMutex};
use parking_lot::{Condvar, Mutex};
use std::ffi::{CStr, c_char, c_void};
use std::ptr::null;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const RUNNING: u32 = 0;
const STOPPING: u32 = 1;
const CLOSING: u32 = 2;
const STOPPED: u32 = 3;

/// See the module's head.
pub struct Runtime {
    pub(crate) config: GoroutineConfig,
    pub(crate) class: u8,
    pub(crate) class_max: u8,
    pub(crate) workers: Box<[Worker]>,
    /// Goroutines of nobody: from plain threads, and surplus.
    pub(crate) global: SegQueue<Runnable>,
    pub(crate) idle: Idle,
    /// Timers that plain threads started.
    pub(crate) shared_wheel: Mutex<Wheel>,
    /// Never later than the shared wheel's earliest deadline.
    pub(crate) shared_due: AtomicU64,
    /// Until when the sleeper sleeps that waits for the earliest timer; `u64::MAX`: nobody does.
    pub(crate) sleeping_until: AtomicU64,
    /// What plain threads opened and closed; atomically.
    pub(crate) foreign: Counts,
    pub(crate) monitor: Monitor,
    pub(crate) pool: Pool,
    pub(crate) predictor: Predictor,
    pub(crate) slices: Box<[preempt::Slice]>,
    pub(crate) preempts: preempt::Tally,
    pub(crate) net: Net,
    pub(crate) since: Since,
    pub(crate) detector: Detector,
    phase: AtomicU32,
    waiters: AtomicU32,
    pins: AtomicU32,
    quiet: Mutex<()>,
    became_quiet: Condvar,
}

/// The running runtime, null before the first start and after a shutdown.
static CURRENT: AtomicPtr<Runtime> = AtomicPtr::new(std::ptr::null_mut());
static DOOR: Turnstile = Turnstile::new();
static SHUT_DOWN: AtomicBool = AtomicBool::new(false);

/// Users that have retained and not released.
static RETAINED: AtomicU64 = AtomicU64::new(0);

/// Held across fork, so nobody waits for anything but a start while holding it.
struct Lifecycle {
    monitor: Option<thread::Handle>,
    fork_handlers: bool,
    /// A start could not make all its threads, and waits for the end of those it made.
    failing: bool,
    /// `sys::library::hold`, from a start to the end of the shutdown; 0: not held.
    library: usize,
}
static LIFECYCLE: Mutex<Lifecycle> = Mutex::new(Lifecycle {
    monitor: None,
    fork_handlers: false,
    failing: false,
    library: 0,
});

/// Held by a shutdown, from its begin to its end: one at a time. Taken before LIFECYCLE.
static SHUTDOWN: Mutex<()> = Mutex::new(());

/// A stay in the runtime.
pub struct Inside {
    runtime: *const Runtime,
    through_door: bool,
}

impl Inside {
    /// The same for threads that the runtime starts, which it outlives. The caller uses it while inside.
    pub fn shared(&self) -> &'static Runtime {
        // SAFETY: as `deref`.
        unsafe { &*self.runtime }
    }
}

impl std::ops::Deref for Inside {
    type Target = Runtime;
    #[inline]
    fn deref(&self) -> &Runtime {
        // SAFETY: a thread of the runtime keeps it alive; others are counted at the door.
        unsafe { &*self.runtime }
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        if self.through_door {
            DOOR.leave();
        }
    }
}

/// The runtime, for the time that the result lives. None: there is none. No park may happen meanwhile.
#[inline]
pub fn enter() -> Option<Inside> {
    let worker = tls::worker();
    if !worker.is_null() {
        // SAFETY: the thread holds the worker.
        let runtime = unsafe { (*worker).runtime };
        return Some(Inside {
            runtime,
            through_door: false,
        });
    }
    if let Some(runtime) = bind::runtime_of_thread() {
        return Some(Inside {
            runtime,
            through_door: false,
        });
    }
    DOOR.enter().then(|| Inside {
        runtime: CURRENT.load(Ordering::Acquire),
        through_door: true,
    })
}

/// Whether none runs: there was none, or it is shut down.
pub fn is_over() -> bool {
    CURRENT.load(Ordering::Acquire).is_null()
}

/// [`enter`] for who ends something that a shutdown waits for: a door that is closed for a moment is waited for.
/// None: there is no runtime any more.
pub fn enter_to_end() -> Option<Inside> {
    loop {
        if let Some(inside) = enter() {
            return Some(inside);
        }
        if CURRENT.load(Ordering::Acquire).is_null() {
            return None;
        }
        std::thread::yield_now();
    }
}

/// [`enter`], and a start with defaults if there never was one.
pub fn enter_or_start() -> Result<Inside, GoroutineStatus> {
    if let Some(inside) = enter() {
        return Ok(inside);
    }
    if SHUT_DOWN.load(Ordering::Acquire) {
        return Err(GOROUTINE_ESHUTDOWN);
    }
    match start(None) {
        GOROUTINE_OK | GOROUTINE_EALREADY => enter().ok_or(GOROUTINE_ESHUTDOWN),
        status => Err(status),
    }
}

/// Starts it. None: defaults and the environment.
pub fn start(config: Option<GoroutineConfig>) -> GoroutineStatus {
    // Before the lock, too: a goroutine may ask while a shutdown holds it and waits for that goroutine.
    if !CURRENT.load(Ordering::Acquire).is_null() {
        return GOROUTINE_EALREADY;
    }
    let mut lifecycle = LIFECYCLE.lock();
    if !CURRENT.load(Ordering::Acquire).is_null() {
        return GOROUTINE_EALREADY;
    }
    if lifecycle.failing {
        return GOROUTINE_ENOMEM; // as the one that is failing: we may be on a thread that it waits for, in `thread_start`
    }
    let by_environment = config.is_none();
    let mut config = match config.map_or_else(super::config::from_environment, Ok) {
        Ok(config) => config,
        Err(status) => return status,
    };
    let (class, class_max, mut settings) = match super::config::check(&mut config) {
        Ok(checked) => checked,
        Err(status) => return status,
    };
    let look_ns = match super::config::look_ns() {
        Ok(ns) => ns,
        Err(status) => return status,
    };
    let dump_signal = match super::config::dump_signal(&config) {
        Ok(signal) => signal,
        Err(status) => return status,
    };
    if let Some(signal) = dump_signal {
        settings.open_signals |= 1 << (signal - 1);
    }
    let pinning = match Pinning::new(&config) {
        Ok(pinning) => pinning,
        Err(status) => return status,
    };
    settings.cpus = pinning.as_ref().map(Pinning::free);
    if !stack::learn::start(config.flags & GOROUTINE_CONFIG_LEARN_STACKS != 0) {
        return GOROUTINE_ENOSYS; // the kernel cannot: say so instead of ignoring it
    }
    if !membarrier::register() {
        return GOROUTINE_ENOMEM;
    }
    if !lifecycle.fork_handlers {
        lifecycle.fork_handlers = true;
        // SAFETY: the three functions stay as long as the library; glibc drops them when it is unloaded.
        unsafe { libc::pthread_atfork(Some(before_fork), Some(after_fork_parent), Some(after_fork_child)) };
    }
    exit::watch();
    context::init();
    crate::inspect::layout::complete();
    stack::segment::set_bytes_max(config.stack_bytes_max);
    stack::own_code::init(config.flags & GOROUTINE_CONFIG_OWN_CODE != 0);
    stack::event::set_callback(config.stack_overflow, config.stack_overflow_arg);
    if config.flags & GOROUTINE_CONFIG_NO_SIGNAL_HANDLERS == 0 {
        stack::overflow::install(by_environment);
        crate::inspect::quit::install();
        if let Some(signal) = dump_signal {
            crate::inspect::asked::install(signal);
        }
    }
    report::set_fatal(config.fatal, config.fatal_arg);
    let now = now_ns();
    let count = config.workers as usize;
    let spinners = if cpu::available() > 1 {
        (count as u32 / 2).max(u32::from(count > 1))
    } else {
        0
    };
    let runtime = Box::into_raw(Box::new(Runtime {
        config,
        class,
        class_max,
        workers: (0..count).map(|i| Worker::new(i, class, now)).collect(),
        global: SegQueue::new(),
        idle: Idle::new(spinners),
        shared_wheel: Mutex::new(Wheel::new(now)),
        shared_due: AtomicU64::new(u64::MAX),
        sleeping_until: AtomicU64::new(u64::MAX),
        foreign: Counts::default(),
        monitor: Monitor::new(),
        pool: Pool::new(&config, settings, pinning),
        slices: (0..count).map(|_| preempt::Slice::default()).collect(),
        preempts: preempt::Tally::default(),
        predictor: Predictor::new(config.flags & GOROUTINE_CONFIG_NO_PREDICTION == 0),
        net: Net::new(),
        since: Since::new(count),
        detector: Detector::new(look_ns),
        phase: AtomicU32::new(RUNNING),
        waiters: AtomicU32::new(0),
        pins: AtomicU32::new(0),
        quiet: Mutex::new(()),
        became_quiet: Condvar::new(),
    }));
    // SAFETY: just made; no thread has it yet.
    unsafe {
        for worker in &mut (*runtime).workers {
            worker.runtime = runtime;
        }
    }
    // SAFETY: lives until the shutdown has joined every thread.
    let shared: &'static Runtime = unsafe { &*runtime };
    if let Err(status) = shared.start_watchers(&settings) {
        // SAFETY: it has no threads, and nobody else had it.
        drop(unsafe { Box::from_raw(runtime) });
        forget_config();
        return status;
    }
    let mut started = shared.pool.start(shared, config.ffi_threads_prestart);
    if started {
        match thread::start("gr-monitor", &settings, move || monitor::run(shared)) {
            Ok(thread) => lifecycle.monitor = Some(thread),
            Err(_) => started = false,
        }
    }
    if !started {
        lifecycle.failing = true;
        drop(lifecycle);
        shared.stop_threads();
        shared.pool.join(u64::MAX); // the monitor comes last, and is not there
        trace::end(u64::MAX);
        let mut lifecycle = LIFECYCLE.lock(); // the next start comes after us
        lifecycle.failing = false;
        // SAFETY: all its threads are joined, and nobody else had it.
        drop(unsafe { Box::from_raw(runtime) });
        forget_config();
        return GOROUTINE_ENOMEM;
    }
    if lifecycle.library == 0 {
        lifecycle.library = library::hold() as usize;
    }
    SHUT_DOWN.store(false, Ordering::Release);
    CURRENT.store(runtime, Ordering::Release);
    DOOR.open();
    GOROUTINE_OK
}

/// The end of a runtime, or of a start that failed: handlers and callbacks of its config. Under LIFECYCLE's lock.
fn forget_config() {
    stack::overflow::uninstall();
    crate::inspect::quit::uninstall();
    crate::inspect::asked::uninstall();
    stack::event::set_callback(None, std::ptr::null_mut());
    report::set_fatal(None, std::ptr::null_mut());
}

/// How a shutdown went.
#[repr(C)]
pub struct Ended {
    /// As of the public function.
    pub status: i64,
    /// Not null: a reference of the library to itself, for dlclose as the very last step, which may unmap this code.
    pub library: *mut c_void,
}

impl From<GoroutineStatus> for Ended {
    fn from(status: GoroutineStatus) -> Self {
        Self {
            status: i64::from(status),
            library: std::ptr::null_mut(),
        }
    }
}

/// The monitor first: it may be about to make a thread.
fn join(runtime: &Runtime, deadline: u64) -> bool {
    let monitor = LIFECYCLE.lock().monitor.take();
    if let Some(thread) = monitor
        && !thread.join_until(deadline)
    {
        LIFECYCLE.lock().monitor = Some(thread);
        return false;
    }
    runtime.pool.join(deadline)
}

/// Cancels what is left, waits for it, joins every thread.
pub fn shutdown(deadline: u64) -> Ended {
    if bind::is_on_our_thread() || world::is_mine() {
        return GOROUTINE_EDEADLK.into(); // a goroutine would wait for its own end
    }
    let until = instant(deadline);
    let Some(_one_at_a_time) = SHUTDOWN.try_lock_until(until) else {
        return GOROUTINE_ETIMEDOUT.into();
    };
    // A start may be in progress. Let go of at once: what we wait for may fork.
    let Some(lifecycle) = LIFECYCLE.try_lock_until(until) else {
        return GOROUTINE_ETIMEDOUT.into();
    };
    let runtime = CURRENT.load(Ordering::Acquire);
    SHUT_DOWN.store(true, Ordering::Release);
    drop(lifecycle);
    if runtime.is_null() {
        return GOROUTINE_OK.into();
    }
    // SAFETY: only a shutdown frees it, and we are the only one.
    let shared = unsafe { &*runtime };
    let _ = shared
        .phase
        .compare_exchange(RUNNING, STOPPING, Ordering::SeqCst, Ordering::SeqCst);
    loop {
        let mut pause = 50_000;
        loop {
            shared.cancel_everything();
            // (Threads that stand do not leave their loops.)
            if shared.live() == 0 && !world::stops() {
                break;
            }
            let now = now_ns();
            if now >= deadline {
                return stuck(shared, deadline).into();
            }
            crate::sys::time::sleep_until(deadline.min(now + pause));
            pause = (pause * 2).min(2_000_000);
        }
        // Who still waits for quiescence is told now.
        shared.phase.store(CLOSING, Ordering::SeqCst);
        drop(shared.quiet.lock());
        shared.became_quiet.notify_all();
        DOOR.close();
        while !DOOR.is_empty() {
            if now_ns() >= deadline {
                DOOR.open();
                return stuck(shared, deadline).into();
            }
            std::thread::yield_now();
        }
        // The last thread out may have left something behind: a spawn that had looked at the phase before us.
        if shared.live() == 0 {
            break;
        }
        DOOR.open();
    }
    sanitize::acquire_ends();
    shared.stop_threads();
    if !join(shared, deadline) {
        return stuck(shared, deadline).into(); // the door stays closed: call again
    }
    super::attach::end_all(&shared.config);
    // All threads are joined, plain ones are out: nobody records any more. The writer's file may take its time.
    if !trace::end(deadline) {
        return stuck(shared, deadline).into();
    }
    // SAFETY: as the lines above say.
    unsafe { trace::forget() };
    stack::segment::trim_all();
    let mut lifecycle = LIFECYCLE.lock();
    CURRENT.store(std::ptr::null_mut(), Ordering::Release);
    // SAFETY: every thread is joined and the door is closed and empty.
    drop(unsafe { Box::from_raw(runtime) });
    forget_config();
    let mut ended = Ended::from(GOROUTINE_OK);
    let installed = stack::overflow::is_installed()
        || crate::inspect::quit::is_installed()
        || crate::inspect::asked::is_installed();
    if !installed {
        // Nobody calls us any more. (A handler that was installed after ours may pass faults on to ours for ever.)
        ended.library = std::mem::take(&mut lifecycle.library) as *mut c_void;
    }
    ended
}

fn stuck(runtime: &Runtime, deadline: u64) -> GoroutineStatus {
    if deadline == 0 {
        return GOROUTINE_EAGAIN; // somebody polls
    }
    let mut line = report::Line::new();
    let timers = runtime.timers_left();
    let calls = runtime.pool.jobs_live.load(Ordering::SeqCst);
    line.text("shutdown timed out: ")
        .dec(runtime.live().saturating_sub(timers + calls))
        .text(" goroutines, ");
    line.dec(timers).text(" timers and ").dec(calls);
    line.text(" threads with calls left, threads still there:");
    if LIFECYCLE.lock().monitor.is_some() {
        line.text(" gr-monitor");
    }
    if !trace::is_off() {
        line.text(" gr-trace");
    }
    let mut bound = Vec::new();
    runtime.pool.for_each(|seat| {
        if seat.rests() {
            return; // it ends when it is told to
        }
        line.text(" ").text(&seat.name);
        let g = seat.goroutine.load(Ordering::Acquire);
        if !g.is_null() {
            bound.push((g, seat.name.clone()));
        }
    });
    line.emit();
    stack::for_each(|g| {
        // SAFETY: control blocks stay mapped; what is read is only printed.
        let (id, parked, ours) = unsafe { ((*g).id(), (*g).park.parked().is_some(), (*g).is_ours()) };
        if id != 0 && ours {
            let mut line = report::Line::new();
            // SAFETY: as above.
            unsafe { line.text("  goroutine ").dec(id).name(name_of(g, id).as_ptr()) };
            let holds = bound.iter().find(|(b, _)| *b == g);
            line.text(match (parked, holds) {
                (true, _) => " is parked",
                (false, None) => " runs, or is queued",
                // SAFETY: as above.
                (false, Some(_)) if unsafe { (&raw const (*g).foreign_sp).read_volatile() } != 0 => {
                    " is in foreign code"
                }
                (false, Some(_)) => " runs",
            });
            if let Some((_, thread)) = holds {
                line.text(", bound to ").text(thread);
            }
            // SAFETY: as above.
            place::spawned_at(&mut line, unsafe { site_of(g, id) });
            line.emit();
        }
    });
    GOROUTINE_ETIMEDOUT
}

/// One more user of the runtime in this process.
pub fn retain() {
    RETAINED.fetch_add(1, Ordering::Relaxed);
}

/// One less; the last one shuts down.
pub fn release(deadline: u64) -> Ended {
    if bind::is_on_our_thread() {
        return GOROUTINE_EDEADLK.into();
    }
    match RETAINED.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |n| n.checked_sub(1)) {
        Err(_) => GOROUTINE_EPERM.into(),
        Ok(1) => {
            let ended = shutdown(deadline);
            if ended.status != i64::from(GOROUTINE_OK) {
                RETAINED.fetch_add(1, Ordering::AcqRel); // call again
            }
            ended
        }
        Ok(_) => GOROUTINE_OK.into(),
    }
}

/// Until nothing that keeps the program alive is left.
pub fn wait(deadline: u64) -> GoroutineStatus {
    if bind::is_on_our_thread() || world::is_mine() {
        return GOROUTINE_EDEADLK; // what runs here is among what it waits for
    }
    let Some(runtime) = enter() else {
        return GOROUTINE_OK;
    };
    if deadline == 0 {
        sanitize::acquire_ends();
        return if runtime.is_quiescent() {
            GOROUTINE_OK
        } else {
            GOROUTINE_EAGAIN
        };
    }
    runtime.waiters.fetch_add(1, Ordering::SeqCst);
    let mut lock = runtime.quiet.lock();
    let status = loop {
        if runtime.is_quiescent() {
            break GOROUTINE_OK;
        }
        if deadlock::is_dead(&runtime) {
            break GOROUTINE_EDEADLK;
        }
        if runtime.phase.load(Ordering::SeqCst) >= CLOSING {
            break GOROUTINE_ESHUTDOWN; // something that nobody can end is left: an external_begin
        }
        if deadline == u64::MAX {
            runtime.became_quiet.wait(&mut lock);
        } else if runtime
            .became_quiet
            .wait_until(&mut lock, instant(deadline))
            .timed_out()
        {
            break if runtime.is_quiescent() {
                GOROUTINE_OK
            } else {
                GOROUTINE_ETIMEDOUT
            };
        }
    };
    drop(lock);
    runtime.waiters.fetch_sub(1, Ordering::SeqCst);
    sanitize::acquire_ends();
    status
}

fn instant(deadline: u64) -> Instant {
    let left = deadline
        .saturating_sub(now_ns())
        .min(3_600_000_000_000 * 24 * 365);
    Instant::now() + Duration::from_nanos(left)
}

impl Runtime {
    /// Whether spawns are refused.
    #[inline(always)]
    pub fn is_stopping(&self) -> bool {
        self.phase.load(Ordering::Relaxed) != RUNNING
    }

    /// Whether workers leave their loops.
    #[inline]
    pub fn is_stopped(&self) -> bool {
        self.phase.load(Ordering::Acquire) == STOPPED
    }

    fn stop_threads(&self) {
        self.phase.store(STOPPED, Ordering::SeqCst);
        fence_seq_cst();
        for worker in &self.workers {
            worker.queue.poll.fetch_or(POLL_STOP, Ordering::SeqCst);
            self.idle.stop(worker.index, &worker.sleeping);
            futex::wake(&worker.sleeping, 1);
        }
        if let Some(poller) = self.net.poller() {
            poller.wake();
        }
        self.pool.stop();
        self.monitor.stop();
    }

    /// The worker of the next pinned goroutine that a plain thread spawns.
    pub fn next_pin(&self) -> u32 {
        self.pins.fetch_add(1, Ordering::Relaxed) % self.workers.len() as u32
    }

    /// Wakes a worker that was claimed, or finds a thread for it.
    pub fn wake(&self, mut index: usize) {
        loop {
            let worker = &self.workers[index];
            match worker.sleeping.swap(0, Ordering::AcqRel) {
                OWNERLESS if self.pool.give_claimed(worker) => return,
                OWNERLESS => {}
                POLLING => return self.net.poller().expect("it sleeps there").wake(),
                _ => return futex::wake(&worker.sleeping, 1),
            }
            // It waits for a thread that is yet to come, and looks for nothing meanwhile (`idle`, I4): another one, then.
            self.idle.stop_spinning();
            match self.idle.claim() {
                Some(next) => index = next,
                None => return,
            }
        }
    }

    /// Work was made visible by a thread that is not its owner.
    pub fn wake_one(&self) {
        fence_seq_cst(); // idle, right column, 2
        if let Some(index) = self.idle.claim() {
            self.wake(index);
        }
    }

    /// The last spinner found something: is there more?
    pub fn wake_one_if_work(&self, finder: usize) {
        let more = !self.global.is_empty()
            || self
                .workers
                .iter()
                .any(|w| w.load() > u32::from(w.index == finder));
        if more && self.idle.any() {
            self.wake_one();
        }
    }

    /// No sleeper may sleep past this.
    pub fn earliest_due(&self) -> u64 {
        let workers = self
            .workers
            .iter()
            .map(|w| w.next_due.load(Ordering::Acquire))
            .min()
            .unwrap_or(u64::MAX);
        workers.min(self.shared_due.load(Ordering::SeqCst))
    }

    /// Whether some thread waits in `goroutine_runtime_wait`.
    #[inline]
    pub fn has_waiters(&self) -> bool {
        self.waiters.load(Ordering::SeqCst) != 0
    }

    fn sum(&self, count: impl Fn(&Counts) -> &AtomicU64) -> u64 {
        let workers: u64 = self
            .workers
            .iter()
            .map(|w| count(&w.counts).load(Ordering::Acquire))
            .sum();
        workers + count(&self.foreign).load(Ordering::Acquire)
    }

    /// Whether nothing that keeps the program alive is left.
    pub fn is_quiescent(&self) -> bool {
        let closed = EXTERNAL_CLOSED.load(Ordering::SeqCst)
            + self.sum(|c| &c.async_closed)
            + self.sum(|c| &c.timers_closed)
            + self.sum(|c| &c.closed);
        fence_seq_cst();
        let opened = EXTERNAL_OPENED.load(Ordering::SeqCst)
            + self.sum(|c| &c.async_opened)
            + self.sum(|c| &c.timers_opened)
            + self.sum(|c| &c.opened);
        closed == opened
    }

    /// Wakes the waiters if so. Called where a last thing may have been closed.
    #[cold]
    pub fn check_quiescent(&self) {
        if self.is_quiescent() {
            let _lock = self.quiet.lock();
            self.became_quiet.notify_all();
        }
    }

    /// All goroutines are asleep: whoever waits for their end is told.
    pub fn tell_waiters(&self) {
        let _lock = self.quiet.lock();
        self.became_quiet.notify_all();
    }

    /// Whether somebody wants to know of deadlocks.
    pub fn reports_deadlocks(&self) -> bool {
        self.config.flags & GOROUTINE_CONFIG_DEADLOCK_REPORT != 0
    }

    /// Whether a plain thread has announced that it will do something.
    pub fn external_open(&self) -> bool {
        EXTERNAL_CLOSED.load(Ordering::SeqCst) != EXTERNAL_OPENED.load(Ordering::SeqCst)
    }

    /// Whether goroutines keep the program alive, and nothing else does or may wake one: no timer, async operation or call, and no
    /// thread's `thread_start` or `thread_stop`.
    pub fn waits_for_itself(&self) -> bool {
        let closed = self.sum(|c| &c.closed);
        let async_closed = self.sum(|c| &c.async_closed);
        fence_seq_cst();
        self.sum(|c| &c.opened) != closed
            && self.sum(|c| &c.async_opened) == async_closed
            && super::timers::pending(self) == 0
            && !thread::any_in_hooks()
            && self.pool.jobs_live.load(Ordering::SeqCst) == 0
    }

    /// Something was closed by a thread that is not about to go idle.
    pub fn closed_from_outside(&self) {
        if self.has_waiters() {
            self.check_quiescent();
        }
    }

    /// What a shutdown waits for: goroutines, daemons included, and timers that fire or are armed.
    pub fn live(&self) -> u64 {
        let closed = self.sum(|c| &c.closed)
            + self.sum(|c| &c.daemons_closed)
            + self.sum(|c| &c.timers_closed)
            + self.sum(|c| &c.unref_closed);
        fence_seq_cst();
        let opened = self.sum(|c| &c.opened)
            + self.sum(|c| &c.daemons_opened)
            + self.sum(|c| &c.timers_opened)
            + self.sum(|c| &c.unref_opened);
        opened - closed + self.pool.jobs_live.load(Ordering::SeqCst)
    }

    /// Public timers that are armed or fire.
    fn timers_left(&self) -> u64 {
        let closed = self.sum(|c| &c.timers_closed) + self.sum(|c| &c.unref_closed);
        fence_seq_cst();
        self.sum(|c| &c.timers_opened) + self.sum(|c| &c.unref_opened) - closed
    }

    /// A failure that nobody looked at.
    ///
    /// # Safety
    /// `g` is null, or a goroutine that just ended.
    pub unsafe fn unhandled(&self, g: *const Goroutine, outcome: Outcome) {
        if !self.hand_unhandled(g, outcome) {
            // SAFETY: the caller's promise.
            unhandled_line(unsafe { g.as_ref() }.map_or((0, null(), 0), who), outcome, None);
        }
    }

    /// To the program's callback. False: it has none.
    fn hand_unhandled(&self, g: *const Goroutine, outcome: Outcome) -> bool {
        if self.is_stopping() && outcome.status == GOROUTINE_ECANCELED {
            return true; // we cancelled it
        }
        if let Some(f) = self.config.unhandled {
            // SAFETY: the configured function and its argument.
            unsafe { f(g, outcome.status, outcome.value, self.config.unhandled_arg) };
            note_control_words();
        }
        self.config.unhandled.is_some()
    }

    /// Counters for C.
    pub fn stats(&self) -> GoroutineStats {
        let (stacks, spare, trimmed) = stack::counts();
        let (segments, segments_free, segments_taken, segments_trimmed) = stack::segment::counts();
        let (promises, promises_spare) = crate::promise::pool::counts();
        let ((threads, spares, permits, calls), peak) = self.pool.counts();
        let tally = &self.pool.tally;
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        // Closed first: what is closed was opened before, so no difference is ever below zero.
        let async_closed = self.sum(|c| &c.async_closed);
        let finished = self.sum(|c| &c.closed) + self.sum(|c| &c.daemons_closed);
        fence_seq_cst();
        let spawned = self.sum(|c| &c.opened) + self.sum(|c| &c.daemons_opened);
        let async_opened = self.sum(|c| &c.async_opened);
        GoroutineStats {
            size: std::mem::size_of::<GoroutineStats>() as u32,
            workers: self.workers.len() as u32,
            spawned,
            finished,
            live: spawned - finished,
            timers: super::timers::pending(self),
            async_operations: async_opened - async_closed,
            stolen: self.sum(|c| &c.stolen),
            sleeps: self.sum(|c| &c.sleeps),
            wakes: self.sum(|c| &c.wakes),
            published: self.sum(|c| &c.published),
            threads: threads as u64 + 1 + u64::from(!trace::is_off()),
            stacks,
            stacks_free: spare,
            stacks_trimmed: trimmed,
            promises: promises - promises_spare,
            ffi_threads_idle: spares as u64,
            ffi_threads_peak: peak as u64,
            ffi_bound: (permits + calls) as u64,
            ffi_bindings: get(&tally.bindings),
            ffi_bindings_on_the_spot: get(&tally.on_the_spot),
            ffi_calls: get(&tally.calls),
            ffi_hand_offs: get(&tally.hand_offs),
            ffi_waits: get(&tally.waits),
            ffi_refused: get(&tally.refused),
            ffi_spares_ready: get(&tally.spares_ready),
            ffi_spares_missed: get(&tally.spares_missed),
            ffi_retaken: get(&tally.retaken),
            trace_events: trace::totals().events,
            trace_lost: trace::totals().lost,
            segments,
            segments_free,
            segments_taken,
            segments_trimmed,
            preempted: get(&self.preempts.asked),
            preempt_ignored: get(&self.preempts.ignored),
            preempt_ignored_by: get(&self.preempts.ignored_by),
            world_stops: get(&world::STOPS_MADE),
            world_held_up_by: get(&world::HELD_UP_BY),
        }
    }
}

// ---- fork: the child has no runtime, and may start one ----

/// Every lock of the library that is not part of the runtime, so that none is held by a ghost in the child.
/// In the order in which they are taken: a job is submitted under its queue's lock.
fn fork_locks() -> [&'static dyn ForkLock; 25] {
    [
        crate::ffi::jobs::LOADS.lock(),
        crate::ffi::jobs::CALLS.lock(),
        crate::ops::file::FILES.lock(),
        crate::ops::file::OPENS.lock(),
        crate::ops::resolve::NAMES.lock(),
        crate::ffi::error::table(),
        &LIFECYCLE,
        trace::lock(),
        super::attach::seats(),
        crate::ops::async_op::table(),
        crate::ops::lane::lanes(),
        crate::ops::mutex::all(),
        crate::ops::channel::all(),
        crate::ops::channel::users(),
        crate::ops::group::all(),
        crate::ops::rwlock::reads(),
        crate::ops::io::threads(),
        crate::ops::local::spare(),
        slot::spare(),
        crate::code::registry(),
        crate::inspect::asked::asking(),
        crate::promise::pool::spare(),
        world::threads(),
        world::held(),
        &membarrier::SHOOTDOWN,
    ]
}

/// C code that a thread of the library called, with nothing of the program below it, has returned. `forks` is what FORKS was before:
/// in a child of fork there is nothing to return to.
pub fn returned_from_c(forks: u32) {
    if forks != FORKS.load(Ordering::Relaxed) {
        report::fatal(
            "C code that forked returned to the library in the child: it is to end there, with _exit",
        );
    }
}

trait ForkLock {
    fn hold(&self);
    /// # Safety
    /// `hold` was called on this thread (or on the one that is this one's image in the parent).
    unsafe fn let_go(&self);
    /// In the child: free, and nobody waits for it. An unlock would look for waiters, who are not there.
    ///
    /// # Safety
    /// As `let_go`.
    unsafe fn reset(&self);
}

impl<R: Reset, T> ForkLock for lock_api::Mutex<R, T> {
    fn hold(&self) {
        std::mem::forget(self.lock());
    }
    unsafe fn let_go(&self) {
        // SAFETY: the caller's promise.
        unsafe { self.force_unlock() };
    }
    unsafe fn reset(&self) {
        // SAFETY: the caller's promise: the only thread there is, and it holds the lock.
        unsafe { self.raw().reset() };
    }
}

/// The same, by the kind of the lock.
trait Reset: RawMutex {
    /// # Safety
    /// As `ForkLock::reset`.
    unsafe fn reset(&self);
}

impl Reset for parking_lot::RawMutex {
    unsafe fn reset(&self) {
        // SAFETY: the caller's promise.
        unsafe { std::ptr::from_ref(self).cast_mut().write(Self::INIT) };
    }
}

impl Reset for sys::mutex::RawMutex {
    unsafe fn reset(&self) {
        // SAFETY: the caller's promise.
        unsafe { sys::mutex::RawMutex::reset(self) };
    }
}

extern "C" fn before_fork() {
    fork_locks().iter().for_each(|lock| lock.hold());
    stack::hold_pools();
    stack::segment::hold_pools();
}

extern "C" fn after_fork_parent() {
    // SAFETY: before_fork took them on this thread.
    unsafe {
        stack::segment::let_go_of_pools();
        stack::let_go_of_pools();
        fork_locks().iter().rev().for_each(|lock| lock.let_go());
    }
}

extern "C" fn after_fork_child() {
    // The runtime's memory stays as it is, leaked: its threads are gone, and other locks may be held by ghosts.
    let old = CURRENT.swap(std::ptr::null_mut(), Ordering::AcqRel);
    // SAFETY: leaked, if there is one; its workers' threads are gone.
    unsafe {
        if let Some(old) = old.as_ref() {
            old.workers.iter().for_each(|worker| worker.keep_sequences());
            if let Some(poller) = old.net.poller() {
                poller.close_in_child();
            }
        }
    }
    SHUT_DOWN.store(false, Ordering::Release);
    DOOR.reset();
    FORKS.fetch_add(1, Ordering::Relaxed);
    forget_name_readers();
    crate::code::forget_readers();
    crate::inspect::asked::forget();
    thread::restore_mask();
    thread::forget_hooks();
    tls::reset();
    // SAFETY: before_fork took the locks on this thread, the only one there is.
    unsafe {
        let lifecycle = &mut *LIFECYCLE.data_ptr();
        lifecycle.monitor = None;
        lifecycle.failing = false;
        RETAINED.store(0, Ordering::Relaxed);
        EXTERNAL_CLOSED.store(EXTERNAL_OPENED.load(Ordering::Relaxed), Ordering::Relaxed);
        slot::forget_all();
        crate::netpoll::table::forget_all();
        crate::ops::async_op::forget_all();
        crate::ops::lane::forget_all();
        crate::ops::io::forget_all();
        crate::ops::channel::forget_all();
        crate::ops::group::forget_held();
        super::attach::forget_all();
        world::forget_all();
        crate::ops::world::forget_all();
        crate::ffi::jobs::LOADS.forget_all();
        crate::ffi::jobs::CALLS.forget_all();
        crate::ops::file::FILES.forget_all();
        crate::ops::file::OPENS.forget_all();
        crate::ops::resolve::NAMES.forget_all();
        crate::ffi::load::forget_loader();
        stack::reset_pools();
        trace::forget_in_child();
        stack::segment::reset_pools();
        fork_locks().iter().for_each(|lock| lock.reset());
        crate::promise::pool::forget_holders();
        SHUTDOWN.reset();
    }
}

const _: () = assert!(MAX_WORKERS == 256);

/// A language's runtime reports a failure that nobody looked at, of goroutine `id` (0: unknown), as the library does its own:
/// to the program's callback, or else on stderr. It may come after the shutdown, with something that was left over.
pub fn report_unhandled(id: u64, outcome: Outcome, text: Option<&CStr>) {
    let g = tls::current();
    // SAFETY: null, or the running goroutine.
    let own = !g.is_null() && unsafe { (*g).id() } == id;
    let to_whom = if own { g } else { std::ptr::null_mut() };
    if !enter().is_some_and(|inside| inside.hand_unhandled(to_whom, outcome)) {
        // SAFETY: null, or the running goroutine.
        let who = unsafe { to_whom.as_ref() }.map_or((id, null(), 0), who);
        unhandled_line(who, outcome, text);
    }
}

/// Id, name and site of a goroutine that runs here, or just ended here.
fn who(g: &Goroutine) -> (u64, *const c_char, u64) {
    (g.id(), g.name.load(Ordering::Relaxed), g.site)
}

/// `name` is null, or a string.
fn unhandled_line((id, name, site): (u64, *const c_char, u64), outcome: Outcome, text: Option<&CStr>) {
    let mut line = report::Line::new();
    match id {
        0 => line.text("unhandled: a promise was released that had been rejected with "),
        // SAFETY: the caller's promise.
        id => unsafe { line.text("unhandled: goroutine ").dec(id).name(name) }.text(" ended with "),
    };
    if let Some(text) = text {
        line.raw(text.to_bytes());
        place::spawned_at(&mut line, site);
        line.emit();
        return;
    }
    match describe(outcome.status) {
        Some((name, _)) => line.raw(name.to_bytes()),
        None => line
            .text(if outcome.status < 0 { "status -" } else { "status " })
            .dec(u64::from(outcome.status.unsigned_abs())),
    };
    line.text(", reason ").hex(outcome.value as u64);
    place::spawned_at(&mut line, site);
    line.emit();
}

/// What plain threads announced with `goroutine_external_begin`, and took back. Of the process: they know no runtime.
static EXTERNAL_OPENED: AtomicU64 = AtomicU64::new(0);
static EXTERNAL_CLOSED: AtomicU64 = AtomicU64::new(0);

/// `goroutine_external_begin`.
pub fn external_begin() {
    EXTERNAL_OPENED.fetch_add(1, Ordering::SeqCst);
}

/// `goroutine_external_end`.
pub fn external_end() {
    sanitize::release_ends();
    // Opened is read after closed, each time: other pairs may begin and end meanwhile.
    let ended = EXTERNAL_CLOSED.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| {
        (n < EXTERNAL_OPENED.load(Ordering::SeqCst)).then_some(n + 1)
    });
    if ended.is_err() {
        report::fatal("goroutine_external_end without a goroutine_external_begin");
    }
    if let Some(runtime) = enter() {
        runtime.closed_from_outside();
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        slot::give_back(self.shared_wheel.get_mut().take_all().into_iter());
    }
}
