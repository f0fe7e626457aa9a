//! Lanes: one thread for calls of many goroutines, in the order they came. For libraries that want to be called from one thread only
//! (a GPU context, a window system), and for hosts' own threads.
//!
//! A call lies on its caller's stack until it is done or withdrawn, under the lane's lock:
//!
//! | stage | who may change it |
//! |---|---|
//! | QUEUED | the server to RUNNING; its caller, when cancelled, takes it out of the queue |
//! | RUNNING | the server to DONE; its caller waits, whatever happens: the arguments are in use |
//! | DONE | nobody: the server has let go of it |
//!
//! I1. The server touches a call under the lock, or while it is RUNNING. DONE is its last store, and the waker it takes out under
//!     the same lock is a copy. So a caller that saw DONE under the lock may leave.
//! I2. A caller parks only after it has looked, under the lock, that the call is not DONE, and left its waker there.
//! I3. The server sleeps only after it has looked, under the lock, that the queue is empty, and has said so there (`asleep`). Who
//!     queues sees that under the lock and wakes it.
//!
//! A lane of its own is a job on a thread of the pool, which serves nobody else afterwards. Before it sleeps it looks around for a
//! moment. A host lane is served by whoever calls `drain`: the host is told by `wake` when there is something after there was
//! nothing.

use crate::abi::*;
use crate::capi::ffi::goroutine_ffi_call_leaf;
use crate::context::{goroutine_asm_call, goroutine_asm_park, note_control_words, tls};
use crate::goroutine::waits::{Kind, Waits};
use crate::goroutine::{FORKS, Goroutine};
use crate::sanitize;
use crate::sched::bind::SPIN_NS;
use crate::sched::park;
use crate::sched::pool::Seat;
use crate::sched::runtime;
use crate::sys::futex;
use crate::sys::mutex::Mutex;
use crate::sys::time::now_ns;
use crate::thread;
use std::cell::UnsafeCell;
use std::collections::VecDeque;
use std::ffi::{CString, c_void};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Queued,
    Running,
    Done,
}

/// How to wake a caller.
#[derive(Clone, Copy)]
enum Waker {
    /// It has not begun to wait.
    None,
    Goroutine(GoroutineTicket),
    /// A plain thread: asleep on this word until it is 1.
    Thread(*const AtomicU32),
}

/// One call, on its caller's stack (I1).
struct Call {
    f: *const c_void,
    args: *mut c_void,
    result: *mut c_void,
    errno: i32,
    stage: Stage,
    waker: Waker,
}

/// Who serves a lane.
enum Server {
    /// A thread of the pool.
    Own,
    /// The host; `wake` tells it.
    Host {
        wake: Option<unsafe extern "C" fn(arg: *mut c_void)>,
        arg: *mut c_void,
    },
}

struct State {
    queue: VecDeque<*mut Call>,
    /// Queued, running, or done and not yet left.
    calls: usize,
    asleep: bool,
    closed: bool,
    /// The threads that run a call now, once for each: a call may drain its lane, and a host may have several threads do so.
    inside: Vec<usize>,
}

/// A lane. Opaque.
pub struct GoroutineFfiLane {
    name: CString,
    server: Server,
    state: Mutex<State>,
    /// Whether there are calls in the queue: written under the lock; a hint for a server that looks around before it sleeps.
    any: AtomicBool,
    /// The server sleeps on it while it is 0.
    word: AtomicU32,
    forks: u32,
}
/// The name inside the library.
pub use GoroutineFfiLane as Lane;
// SAFETY: calls are the server's and their callers' as the module's head says; the host's argument is the host's to share.
unsafe impl Send for Lane {}
// SAFETY: as above.
unsafe impl Sync for Lane {}

/// Every lane that has a thread of its own: a shutdown ends them.
static LANES: Mutex<Vec<Arc<Lane>>> = Mutex::new(Vec::new());

/// The lock, to be held across fork.
pub fn lanes() -> &'static Mutex<Vec<Arc<Lane>>> {
    &LANES
}

/// In a child of fork: their threads are gone.
///
/// # Safety
/// The lock is held by the calling thread.
pub unsafe fn forget_all() {
    // SAFETY: the caller's promise.
    std::mem::forget(unsafe { std::mem::take(&mut *LANES.data_ptr()) });
}

fn this_thread() -> usize {
    // SAFETY: no arguments.
    unsafe { libc::pthread_self() as usize }
}

impl Lane {
    fn make(name: CString, server: Server) -> Arc<Self> {
        Arc::new(Self {
            name,
            server,
            state: Mutex::new(State {
                queue: VecDeque::new(),
                calls: 0,
                asleep: false,
                closed: false,
                inside: Vec::new(),
            }),
            any: AtomicBool::new(false),
            word: AtomicU32::new(0),
            forks: FORKS.load(Ordering::Relaxed),
        })
    }

    /// Whether it is one of this process.
    fn is_ours(&self) -> bool {
        self.forks == FORKS.load(Ordering::Relaxed)
    }

    /// The oldest call runs here. False: there is none.
    fn serve_one(&self) -> bool {
        let Some(call) = self.take_one() else { return false };
        sanitize::acquired(self);
        // SAFETY: RUNNING: the call is ours, and its caller waits (I1).
        unsafe {
            tls::set_errno(0);
            (*call).result =
                goroutine_asm_call((*call).f as usize, (*call).args as usize, 0, 0) as *mut c_void;
            (*call).errno = tls::errno();
        }
        sanitize::released(sanitize::back(self));
        if !self.is_ours() {
            // In a child of fork, where the caller does not run: a host's own thread goes on alone.
            if matches!(self.server, Server::Own) {
                runtime::returned_from_c(self.forks);
            }
            return false;
        }
        let waker = {
            let mut state = self.state.lock();
            let here = this_thread();
            if let Some(at) = state.inside.iter().rposition(|&thread| thread == here) {
                state.inside.swap_remove(at);
            }
            // SAFETY: as above, under the lock.
            unsafe {
                (*call).stage = Stage::Done;
                (*call).waker
            }
        };
        match waker {
            Waker::None => {}
            Waker::Goroutine(ticket) => {
                park::ready(ticket, GOROUTINE_OK);
            }
            Waker::Thread(word) => {
                // The word may be gone once it is 1: the kernel uses its address only.
                // SAFETY: its thread waits for the 1.
                unsafe { (*word).store(1, Ordering::Release) };
                futex::wake(word, 1);
            }
        }
        true
    }

    fn take_one(&self) -> Option<*mut Call> {
        let mut state = self.state.lock();
        let call = state.queue.pop_front()?;
        self.any.store(!state.queue.is_empty(), Ordering::Relaxed);
        // SAFETY: queued calls are alive; under the lock.
        unsafe { (*call).stage = Stage::Running };
        state.inside.push(this_thread());
        Some(call)
    }

    /// The body of a lane's own thread.
    fn serve(&self) {
        if let Some(seat) = Seat::current() {
            seat.retire(); // what the library behind the lane left in the thread must not meet strangers
        }
        thread::rename(&self.name);
        loop {
            if self.serve_one() || self.look_around() {
                continue;
            }
            let mut state = self.state.lock();
            if !state.queue.is_empty() {
                continue;
            }
            if state.closed {
                return;
            }
            state.asleep = true; // I3
            self.word.store(0, Ordering::Relaxed);
            drop(state);
            while self.word.load(Ordering::Acquire) == 0 {
                futex::wait(&self.word, 0, u64::MAX);
            }
        }
    }

    /// Its own thread looks for the next call for about as long as waking it would take, if there is a CPU to spare. A caller that
    /// a worker resumes meanwhile mostly comes again. True: there is one.
    fn look_around(&self) -> bool {
        let Some(pool) = Seat::current().map(|seat| &seat.runtime.pool) else {
            return false;
        };
        if !pool.start_spinning() {
            return false;
        }
        let end = now_ns() + SPIN_NS;
        while !self.any.load(Ordering::Relaxed) && now_ns() < end {
            std::hint::spin_loop();
        }
        pool.stop_spinning();
        self.any.load(Ordering::Relaxed)
    }

    /// Under the lock: whether the server must be told, which is done after it.
    fn must_tell(&self, state: &mut State) -> bool {
        match self.server {
            Server::Own => std::mem::take(&mut state.asleep),
            Server::Host { .. } => state.queue.len() == 1,
        }
    }

    /// Wakes its own thread.
    fn wake_own(&self) {
        self.word.store(1, Ordering::Release);
        futex::wake(&self.word, 1);
    }

    fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        let asleep = std::mem::take(&mut state.asleep);
        drop(state);
        if asleep {
            self.wake_own();
        }
    }

    /// Tells the server. On a goroutine the host's function runs off its stack, like a commit of a park.
    fn tell(&self) {
        let Server::Host {
            wake: Some(wake),
            arg,
        } = self.server
        else {
            return self.wake_own();
        };
        let mut request = (wake as usize, arg);
        if tls::current().is_null() {
            // SAFETY: the host's function and its argument.
            unsafe { goroutine_asm_call(request.0, request.1 as usize, 0, 0) };
        } else {
            // SAFETY: on a goroutine; the request lives until it goes on.
            unsafe { goroutine_asm_park(on_tell, (&raw mut request).cast()) };
        }
    }
}

unsafe extern "C" fn on_tell(g: *mut Goroutine, request: *mut c_void) -> *mut Goroutine {
    // SAFETY: `tell` made it: a function and its argument.
    unsafe {
        sanitize::leave_for_callback(g);
        let (wake, arg) = *request.cast::<(usize, *mut c_void)>();
        goroutine_asm_call(wake, arg as usize, 0, 0);
    }
    note_control_words();
    g
}

/// `goroutine_ffi_lane_new`.
pub fn new(name: CString) -> Result<*const Lane, GoroutineStatus> {
    let runtime = runtime::enter_or_start()?;
    let lane = Lane::make(name, Server::Own);
    let served = lane.clone();
    LANES.lock().push(lane.clone());
    let job = Box::new(move || {
        served.serve();
        LANES.lock().retain(|other| !Arc::ptr_eq(other, &served));
    });
    if let Err(status) = runtime.shared().run_on_pool(job) {
        LANES.lock().retain(|other| !Arc::ptr_eq(other, &lane));
        return Err(status);
    }
    Ok(Arc::into_raw(lane))
}

/// `goroutine_ffi_lane_host`.
pub fn host(
    name: CString,
    wake: Option<unsafe extern "C" fn(arg: *mut c_void)>,
    arg: *mut c_void,
) -> *const Lane {
    Arc::into_raw(Lane::make(name, Server::Host { wake, arg }))
}

/// `goroutine_ffi_lane_release`.
///
/// # Safety
/// `lane` came from [`new`] or [`host`], and is not used again after GOROUTINE_OK.
pub unsafe fn release(lane: *const Lane) -> GoroutineStatus {
    // SAFETY: the caller's promise.
    unsafe {
        if (*lane).is_ours() {
            let mut state = (*lane).state.lock();
            if state.calls != 0 {
                return GOROUTINE_EBUSY;
            }
            state.closed = true; // from here on no call comes in
            drop(state);
            (*lane).close();
            drop(Arc::from_raw(lane));
        }
    }
    GOROUTINE_OK
}

/// At shutdown: lanes end when their calls are done.
pub fn close_all() {
    let all: Vec<Arc<Lane>> = LANES.lock().clone();
    for lane in all {
        lane.close();
    }
}

/// `goroutine_ffi_lane_drain`: runs up to `max` calls here, 0: all there are. Gives how many.
///
/// # Safety
/// `lane` came from [`new`] or [`host`], and is not released before this has begun.
pub unsafe fn drain(lane: *const Lane, max: usize) -> usize {
    // A caller that has its result may release the lane while we are on our way out.
    // SAFETY: the caller's promise.
    let lane = unsafe {
        Arc::increment_strong_count(lane);
        Arc::from_raw(lane)
    };
    if !lane.is_ours() || matches!(lane.server, Server::Own) || !tls::current().is_null() {
        return 0;
    }
    let most = if max == 0 {
        lane.state.lock().queue.len()
    } else {
        max
    };
    let mut served = 0;
    while served < most && lane.serve_one() {
        served += 1;
    }
    if lane.is_ours() && !lane.state.lock().queue.is_empty() {
        lane.tell(); // it was told once, and has not done all
    }
    served
}

struct Join {
    lane: *const Lane,
    call: *mut Call,
}

/// The join step of a caller's park (I2).
unsafe fn join(g: *mut Goroutine, sequence: u64, arg: *mut c_void) -> bool {
    // SAFETY: the request and the call lie on the caller's stack; the stage is looked at under the lock.
    unsafe {
        let join = &*arg.cast::<Join>();
        let _state = (*join.lane).state.lock();
        (*join.call).waker = Waker::Goroutine(GoroutineTicket {
            goroutine: g as u64,
            sequence,
        });
        (*join.call).stage != Stage::Done
    }
}

/// `goroutine_ffi_lane_call`.
///
/// # Safety
/// `f` may be called with `args`.
pub unsafe fn call(lane: &Lane, f: *const c_void, args: *mut c_void) -> Result<*mut c_void, GoroutineStatus> {
    if !lane.is_ours() {
        return Err(GOROUTINE_ESHUTDOWN);
    }
    let call = UnsafeCell::new(Call {
        f,
        args,
        result: std::ptr::null_mut(),
        errno: 0,
        stage: Stage::Queued,
        waker: Waker::None,
    });
    let call = call.get();
    sanitize::released(lane);
    let tell = {
        let mut state = lane.state.lock();
        if state.inside.contains(&this_thread()) {
            drop(state);
            // SAFETY: the caller's promise.
            return Ok(unsafe { call_from_within(f, args) });
        }
        if state.closed {
            return Err(GOROUTINE_ESHUTDOWN);
        }
        state.calls += 1;
        state.queue.push_back(call);
        lane.any.store(true, Ordering::Relaxed);
        lane.must_tell(&mut state)
    };
    if tell {
        lane.tell();
    }
    let g = tls::current();
    let status = if g.is_null() {
        wait_thread(lane, call);
        GOROUTINE_OK
    } else {
        // SAFETY: the running goroutine; the call stays on its stack until it is done or withdrawn.
        unsafe { wait_goroutine(lane, call, g) }
    };
    lane.state.lock().calls -= 1;
    sanitize::acquired(sanitize::back(lane));
    if status != GOROUTINE_OK {
        return Err(status);
    }
    // SAFETY: DONE: ours again (I1).
    unsafe {
        tls::set_errno((*call).errno);
        Ok((*call).result)
    }
}

/// From within a call of the same lane, which would wait for itself. In a callback we are on a goroutine's stack: the function wants
/// the thread's.
///
/// # Safety
/// As [`call`].
unsafe fn call_from_within(f: *const c_void, args: *mut c_void) -> *mut c_void {
    tls::set_errno(0);
    // SAFETY: the caller's promise.
    unsafe {
        goroutine_asm_call(
            goroutine_ffi_call_leaf as *const () as usize,
            f as usize,
            args as usize,
            0,
        ) as *mut c_void
    }
}

/// Until the call is done, or the goroutine was cancelled before it began.
unsafe fn wait_goroutine(lane: &Lane, call: *mut Call, g: *mut Goroutine) -> GoroutineStatus {
    let mut request = Join { lane, call };
    // SAFETY: the caller's promise; the request lives until each park is over.
    unsafe {
        loop {
            let status = park::park(
                Waits::on(Kind::Lane, lane),
                Some(join),
                (&raw mut request).cast(),
                u64::MAX,
            );
            let mut state = lane.state.lock();
            match (*call).stage {
                Stage::Done => return GOROUTINE_OK,
                Stage::Queued if status != GOROUTINE_OK => {
                    state.queue.retain(|&other| other != call);
                    lane.any.store(!state.queue.is_empty(), Ordering::Relaxed);
                    return status;
                }
                // It runs: no cancel can end that.
                Stage::Running if status != GOROUTINE_OK => {
                    drop(state);
                    Goroutine::disable_cancel(g);
                    while park::park(
                        Waits::on(Kind::Lane, lane),
                        Some(join),
                        (&raw mut request).cast(),
                        u64::MAX,
                    ) != GOROUTINE_OK
                        || !is_done(lane, call)
                    {}
                    Goroutine::enable_cancel(g);
                    return GOROUTINE_OK;
                }
                _ => {}
            }
        }
    }
}

unsafe fn is_done(lane: &Lane, call: *mut Call) -> bool {
    let _state = lane.state.lock();
    // SAFETY: the caller's call, under the lock.
    unsafe { (*call).stage == Stage::Done }
}

fn wait_thread(lane: &Lane, call: *mut Call) {
    let word = AtomicU32::new(0);
    {
        let _state = lane.state.lock();
        // SAFETY: the caller's call, under the lock (I2).
        unsafe {
            if (*call).stage == Stage::Done {
                return;
            }
            (*call).waker = Waker::Thread(&raw const word);
        }
    }
    while word.load(Ordering::Acquire) == 0 {
        futex::wait(&word, 0, u64::MAX);
    }
}
