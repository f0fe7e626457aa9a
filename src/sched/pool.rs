//! The threads that schedule, those with a worker and those without. Accounts: `ledger`.
//!
//! Every thread here runs the same loop (`next_of_thread`): with a worker it runs the worker's goroutines; without one it
//! rests here until somebody gives it an order. Which worker a thread holds may change between any two goroutines, so no
//! code keeps a reference to a worker across a switch.
//!
//! A worker without a thread waits in the idle set (`idle`), its `sleeping` word at OWNERLESS: who makes work claims it there
//! like one that sleeps, and then, instead of waking a thread, gives it to a spare one.

use super::exhausted::{self, Said};
use super::idle::Taken;
use super::ledger::{Ledger, Rest, Serves};
use super::pin::{Pin, Pinning};
use super::runtime::Runtime;
use super::worker::Worker;
use super::{bind, search, turn, world};
use crate::abi::*;
use crate::context::{goroutine_asm_thread_run, restore_control_words, tls};
use crate::goroutine::Goroutine;
use crate::goroutine::park::Ready;
use crate::sanitize;
use crate::sys::mutex::Mutex;
use crate::sys::time::now_ns;
use crate::sys::{cpu, futex, mem, report};
use crate::thread;
use crate::trace::{self, Cause};
use std::cell::UnsafeCell;
use std::ffi::c_void;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// Spare threads that stay, however long nobody wants them.
const KEEP: usize = 2;

/// A closure for a thread of its own.
pub type Job = Box<dyn FnOnce() + Send>;

/// What a thread is to do next.
pub enum Order {
    /// Hold this worker. `claimed`: it was claimed from the idle set, and counts as a spinner.
    Worker {
        /// Which.
        worker: *const Worker,
        /// See above.
        claimed: bool,
    },
    /// Run this goroutine, bound.
    Goroutine(*mut Goroutine),
    /// Run this.
    Job(Job),
    /// End.
    End,
}
// SAFETY: an order is the only holder of what it names.
unsafe impl Send for Order {}

/// Who waits for a permit.
pub enum Waiting {
    /// A goroutine that parked in `bind`.
    Parked {
        /// Which.
        g: *mut Goroutine,
        /// Its park.
        sequence: u64,
    },
    /// One that has not started.
    Fresh(*mut Goroutine),
    /// A closure.
    Job(Job),
}
// SAFETY: as for Order; a parked one is looked at through its park word only.
unsafe impl Send for Waiting {}

impl Waiting {
    /// It has a permit now. None: it was readied by something else.
    fn claim(self) -> Option<Order> {
        match self {
            Self::Parked { g, sequence } => {
                // SAFETY: control blocks stay mapped; the winner of the word owns the goroutine. A wait in `bind` is
                // never COMMITTING.
                unsafe {
                    if (*g).park.ready(sequence) != Ready::Won {
                        return None;
                    }
                    (*g).wake_status = GOROUTINE_OK;
                    trace::ready(g, Cause::Somebody);
                }
                Some(Order::Goroutine(g))
            }
            Self::Fresh(g) => Some(Order::Goroutine(g)),
            Self::Job(job) => Some(Order::Job(job)),
        }
    }
}

/// What a scheduling thread is to the pool.
pub struct Seat {
    /// 1: `order` is there. The thread sleeps on it.
    word: AtomicU32,
    /// Written by who gives an order, before `word`; taken by the thread.
    order: UnsafeCell<Option<Order>>,
    number: u64,
    /// Of the thread.
    pub name: String,
    /// Its pool's.
    pub runtime: &'static Runtime,
    /// Where the thread schedules when no C frame is live on it.
    base_sp: AtomicUsize,
    /// Where its stack ends, below.
    low: AtomicUsize,
    /// The goroutine that is bound to it, or null. For reports.
    pub goroutine: AtomicPtr<Goroutine>,
    /// A `Serves`. Written by the thread.
    serves: AtomicU32,
    /// Of the thread: its number for the kernel, and where its block of the assembly is, 0 while it does not schedule. For reports.
    pub thread_id: AtomicU32,
    block: AtomicUsize,
    /// It waits for an order.
    rests: AtomicBool,
    /// It ends when what it serves is over. The thread's own.
    retires: AtomicBool,
    /// It serves on CPUs that it was given for that (`pin`). The thread's own.
    pin: UnsafeCell<Option<Pin>>,
}
// SAFETY: `order` passes from giver to thread with `word` (Release, Acquire); `pin` is the thread's own.
unsafe impl Sync for Seat {}
// SAFETY: as above.
unsafe impl Send for Seat {}

impl Seat {
    fn new(name: String, order: Option<Order>, runtime: &'static Runtime) -> Arc<Self> {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        Arc::new(Self {
            word: AtomicU32::new(u32::from(order.is_some())),
            order: UnsafeCell::new(order),
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            name,
            runtime,
            base_sp: AtomicUsize::new(0),
            low: AtomicUsize::new(0),
            goroutine: AtomicPtr::new(std::ptr::null_mut()),
            serves: AtomicU32::new(Serves::Nothing as u32),
            thread_id: AtomicU32::new(0),
            block: AtomicUsize::new(0),
            rests: AtomicBool::new(false),
            retires: AtomicBool::new(false),
            pin: UnsafeCell::new(None),
        })
    }

    /// The calling thread's; None: it does not schedule.
    #[inline]
    pub fn current() -> Option<&'static Seat> {
        // SAFETY: set by run_thread, whose reference outlives the thread's loop.
        unsafe { thread::seat().cast::<Seat>().as_ref() }
    }

    /// Whether C frames are live on the calling thread, whose seat this is.
    pub fn has_c_frames(&self) -> bool {
        tls::scheduler_sp() != self.base_sp.load(Ordering::Relaxed)
    }

    /// Where the calling thread schedules once no C frame is live any more.
    pub fn base_sp(&self) -> usize {
        self.base_sp.load(Ordering::Relaxed)
    }

    /// Its stack, as far as C frames may be on it.
    pub fn native(&self) -> Range<usize> {
        self.low.load(Ordering::Relaxed)..self.base_sp()
    }

    /// The thread ends when what it serves is over: what C left in it (locale, a device, half-run frames) must not meet
    /// strangers.
    pub fn retire(&self) {
        self.retires.store(true, Ordering::Relaxed);
    }

    /// The calling thread, whose seat this is, has served foreign code that is over.
    pub fn is_given_back(&self) {
        if self.runtime.config.ffi_release == GOROUTINE_FFI_RETIRE {
            self.retire();
        }
    }

    /// What the calling thread, whose seat this is, is busy with from now on.
    pub fn serve(&self, what: Serves) {
        self.serves.store(what as u32, Ordering::Relaxed);
    }

    /// What it is busy with.
    pub fn served(&self) -> Serves {
        const PERMIT: u32 = Serves::Permit as u32;
        const CALL: u32 = Serves::Call as u32;
        match self.serves.load(Ordering::Relaxed) {
            PERMIT => Serves::Permit,
            CALL => Serves::Call,
            _ => Serves::Nothing,
        }
    }

    /// The calling thread, whose seat this is, serves a goroutine or a job: on the CPUs for that.
    pub fn pin(&self) {
        if let Some(pinning) = &self.runtime.pool.pinning {
            // SAFETY: the thread's own.
            let pin = unsafe { &mut *self.pin.get() };
            if pin.is_none() {
                *pin = pinning.pin();
            }
        }
    }

    /// It does not any more.
    pub fn unpin(&self) {
        if let Some(pinning) = &self.runtime.pool.pinning {
            // SAFETY: the thread's own.
            if let Some(pin) = unsafe { (*self.pin.get()).take() } {
                pinning.unpin(&pin);
            }
        }
    }

    /// Whether it waits for an order. For reports.
    pub fn rests(&self) -> bool {
        self.rests.load(Ordering::Relaxed)
    }

    /// The goroutine that the thread runs, or the dummy, and the worker it holds, or null: as they were a moment ago. None: it does not
    /// schedule. The thread may end meanwhile, so the kernel looks.
    pub fn runs(&self) -> Option<(u64, u64)> {
        let block = self.block.load(Ordering::Acquire);
        let mut words = [0; 2];
        (block != 0 && mem::peek_words(block + tls::CURRENT, &mut words)).then_some((words[0], words[1]))
    }

    /// Whether it will.
    pub fn retires(&self) -> bool {
        self.retires.load(Ordering::Relaxed)
    }

    /// # Safety
    /// The thread is not in the ledger's spares any more, or never was: the order is the caller's to give.
    unsafe fn give(&self, order: Order) {
        // SAFETY: the caller's promise.
        unsafe { *self.order.get() = Some(order) };
        self.word.store(1, Ordering::Release);
        futex::wake(&self.word, 1);
    }

    /// # Safety
    /// The thread's own.
    unsafe fn take_order(&self) -> Option<Order> {
        if self.word.load(Ordering::Acquire) == 0 {
            return None;
        }
        self.word.store(0, Ordering::Relaxed);
        // SAFETY: `word` was 1, so the giver is done.
        unsafe { (*self.order.get()).take() }
    }
}

struct State {
    ledger: Ledger<*const Seat, Order, Waiting>,
    /// Every thread that is not joined yet.
    threads: Vec<(Arc<Seat>, Option<thread::Handle>)>,
    /// Numbers of those that have ended, or are about to.
    ended: Vec<u64>,
    next_number: u64,
    peak: usize,
}
// SAFETY: seats are alive while their threads are in `threads`.
unsafe impl Send for State {}

/// Counters of the pool. Written by anybody.
#[derive(Default)]
pub struct Tally {
    /// Goroutines that were bound.
    pub bindings: AtomicU64,
    /// Of them with C frames live, beyond any limit.
    pub on_the_spot: AtomicU64,
    /// Calls of bound goroutines that the library saw.
    pub calls: AtomicU64,
    /// Workers that went on on another thread.
    pub hand_offs: AtomicU64,
    /// Goroutines that waited for a thread.
    pub waits: AtomicU64,
    /// Bindings that were refused.
    pub refused: AtomicU64,
    /// Bindings that found a thread in reserve ...
    pub spares_ready: AtomicU64,
    /// ... and those that had to make one.
    pub spares_missed: AtomicU64,
    /// Workers retaken from blocking calls.
    pub retaken: AtomicU64,
}

/// Adds one.
pub fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// See the module's head.
pub struct Pool {
    state: Mutex<State>,
    settings: thread::Settings,
    pinning: Option<Pinning>,
    idle_ns: u64,
    keep: usize,
    /// What happened.
    pub tally: Tally,
    /// Jobs that are not over: a shutdown waits for them.
    pub jobs_live: AtomicU64,
    /// Somebody waits for a permit, or a thread is missing: the monitor looks after it.
    pub troubled: AtomicBool,
    /// So many threads should be there beyond those that are needed (`predict`); 0: the monitor has seen to it.
    ahead: AtomicU32,
    /// Threads beyond those that were needed at the last admission: who asks for no more need not take the lock.
    surplus: AtomicU32,
    /// What was said about it.
    pub said: Said,
    /// Threads of parked goroutines that look for their wake.
    spinning: AtomicU32,
    spinners_max: u32,
}

/// What an admission found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admission {
    /// The permit is the caller's.
    Granted,
    /// All are taken.
    Full,
    /// No thread could be made.
    NoThread,
}

impl Pool {
    /// With no thread yet.
    pub fn new(config: &GoroutineConfig, settings: thread::Settings, pinning: Option<Pinning>) -> Self {
        Self {
            state: Mutex::new(State {
                ledger: Ledger::new(config.workers as usize, config.ffi_threads_max as usize),
                threads: Vec::new(),
                ended: Vec::new(),
                next_number: 0,
                peak: 0,
            }),
            settings,
            pinning,
            idle_ns: config.ffi_threads_idle_ns,
            keep: KEEP.max(config.ffi_threads_prestart as usize),
            tally: Tally::default(),
            jobs_live: AtomicU64::new(0),
            troubled: AtomicBool::new(false),
            ahead: AtomicU32::new(0),
            surplus: AtomicU32::new(0),
            said: Said::default(),
            spinning: AtomicU32::new(0),
            spinners_max: u32::from(cpu::available() > 1),
        }
    }

    /// A thread whose goroutine is parked would look for its wake for a moment. False: enough do; they take CPUs from those
    /// who could wake them.
    #[must_use]
    pub fn start_spinning(&self) -> bool {
        if self.spinning.fetch_add(1, Ordering::Relaxed) < self.spinners_max {
            return true;
        }
        self.spinning.fetch_sub(1, Ordering::Relaxed);
        false
    }

    /// It has looked enough.
    pub fn stop_spinning(&self) {
        self.spinning.fetch_sub(1, Ordering::Relaxed);
    }

    /// What its threads are like.
    pub fn settings(&self) -> &thread::Settings {
        &self.settings
    }

    /// Starts the threads of the workers, and those to have in reserve. False: not all could be made.
    #[must_use]
    pub fn start(&self, runtime: &'static Runtime, prestart: u32) -> bool {
        let workers = runtime.workers.iter().all(|worker| {
            let order = Order::Worker {
                worker,
                claimed: false,
            };
            self.create(runtime, format!("gr-worker-{}", worker.index), Some(order))
        });
        workers
            && (0..prestart).all(|_| {
                self.state.lock().ledger.expect_thread();
                self.create_spare(runtime)
            })
    }

    /// Makes a thread that the ledger expects. False: it could not be, and is not expected any more.
    fn create_spare(&self, runtime: &'static Runtime) -> bool {
        let name = self.state.lock().next_name();
        let made = self.create(runtime, name, None);
        if !made {
            self.state.lock().ledger.thread_gone();
        }
        made
    }

    /// In the list before it runs, so that it finds itself there when it ends. The handle follows; a shutdown does not join before:
    /// who makes a thread is a thread that it joins, or inside the door.
    fn create(&self, runtime: &'static Runtime, name: String, order: Option<Order>) -> bool {
        let seat = Seat::new(name, order, runtime);
        self.state.lock().enlist(&seat);
        let handle = start_thread(&seat, &self.settings);
        self.state.lock().started(&seat, handle)
    }

    /// A thread has left its loop.
    fn ended(&self, number: u64) {
        let mut state = self.state.lock();
        state.reap();
        state.ended.push(number);
    }

    /// A permit, and the certainty of a thread for whoever loses one (`ledger`, I2).
    pub fn admit(&self, runtime: &'static Runtime) -> Admission {
        let mut state = self.state.lock();
        if !state.ledger.admit() {
            return Admission::Full;
        }
        let surplus = state.ledger.surplus() as u32;
        self.surplus.store(surplus, Ordering::Relaxed); // a hint
        if !state.ledger.is_short() {
            count(&self.tally.spares_ready);
            return Admission::Granted;
        }
        state.ledger.expect_thread();
        drop(state);
        count(&self.tally.spares_missed);
        if self.create_spare(runtime) {
            return Admission::Granted;
        }
        self.release(runtime, Serves::Permit);
        Admission::NoThread
    }

    /// Whether a worker may be retaken from a call: then there is a thread for it.
    pub fn admit_call(&self, runtime: &'static Runtime) -> Admission {
        let mut state = self.state.lock();
        if !state.ledger.admit_call() {
            return Admission::Full;
        }
        if !state.ledger.is_short() {
            return Admission::Granted;
        }
        state.ledger.expect_thread();
        drop(state);
        if self.create_spare(runtime) {
            return Admission::Granted;
        }
        self.release(runtime, Serves::Call);
        Admission::NoThread
    }

    /// The thread in a call goes on with a bound goroutine.
    pub fn call_becomes_permit(&self) {
        self.state.lock().ledger.call_becomes_permit();
        self.note_release(Serves::Call);
    }

    /// A permit for who cannot wait and cannot fail.
    pub fn admit_anyway(&self, runtime: &'static Runtime) {
        let mut state = self.state.lock();
        state.ledger.admit_anyway();
        drop(state);
        self.tend(runtime);
    }

    /// A thread, which does not rest, serves nothing any more.
    pub fn release(&self, runtime: &'static Runtime, served: Serves) {
        self.note_release(served);
        self.state.lock().ledger.release(served);
        self.tend(runtime);
    }

    /// The same, unless that is a permit and somebody waits for one. For a thread that would rather take a worker than rest.
    pub fn release_if_unwanted(&self, served: Serves) -> bool {
        let mut state = self.state.lock();
        if served == Serves::Permit && state.ledger.has_waiting() {
            return false;
        }
        state.ledger.release(served);
        drop(state);
        self.note_release(served);
        true
    }

    fn note_release(&self, served: Serves) {
        match served {
            Serves::Nothing => {}
            Serves::Permit if self.troubled.load(Ordering::Relaxed) => self.said.start_anew(now_ns()),
            Serves::Permit => {}
            Serves::Call => self.said.call_over(),
        }
    }

    /// An order that has its permit, or needs none.
    pub fn give(&self, order: Order) {
        let given = self.state.lock().ledger.give(order);
        if let Some((seat, order)) = given {
            // SAFETY: it was taken out of the spares for this; its thread cannot end before it had the order.
            unsafe { (*seat).give(order) };
        }
    }

    /// A worker without a thread was claimed from the idle set. False: no thread is there for it now, and it counts as a spinner no
    /// more once one is.
    #[cold]
    #[must_use]
    pub fn give_claimed(&self, worker: &Worker) -> bool {
        count(&self.tally.hand_offs);
        let mut state = self.state.lock();
        let claimed = state.ledger.has_spare();
        let given = state.ledger.give(Order::Worker { worker, claimed });
        drop(state);
        if let Some((seat, order)) = given {
            // SAFETY: as in `give`.
            unsafe { (*seat).give(order) };
        }
        claimed
    }

    /// Waits for a permit, unless there is one: then false, and `who` was not taken note of.
    #[must_use]
    pub fn wait_if_full(&self, runtime: &Runtime, who: Waiting) -> bool {
        let mut state = self.state.lock();
        if !state.ledger.has_waiting() && state.ledger.has_permit() {
            return false;
        }
        let is_first = !state.ledger.has_waiting();
        state.ledger.wait(who);
        drop(state);
        self.note_trouble(runtime, is_first);
        true
    }

    /// Waits for a permit, behind all who do; it may come at once.
    pub fn wait_in_turn(&self, runtime: &'static Runtime, who: Waiting) {
        let mut state = self.state.lock();
        let is_first = !state.ledger.has_waiting();
        state.ledger.wait(who);
        drop(state);
        self.note_trouble(runtime, is_first);
        self.tend(runtime);
    }

    /// Somebody waits for a permit. There may have been trouble before, about a thread that could not be made.
    fn note_trouble(&self, runtime: &Runtime, is_first: bool) {
        count(&self.tally.waits);
        if is_first {
            self.said.start_anew(now_ns());
        }
        self.troubled.store(true, Ordering::SeqCst);
        runtime.call_monitor();
    }

    /// Puts right what could not be done at the time: makes missing threads, and gives permits to those who wait for them.
    pub fn tend(&self, runtime: &'static Runtime) {
        loop {
            let mut state = self.state.lock();
            if let Some(order) = state.ledger.admit_waiting(Waiting::claim) {
                let given = state.ledger.give(order);
                drop(state);
                if let Some((seat, order)) = given {
                    // SAFETY: as in `give`.
                    unsafe { (*seat).give(order) };
                }
                continue;
            }
            if !state.ledger.is_short() {
                return;
            }
            state.ledger.expect_thread();
            drop(state);
            if !self.create_spare(runtime) {
                if !self.troubled.swap(true, Ordering::SeqCst) {
                    let mut line = report::Line::new();
                    line.text("no thread could be made for a worker: trying again")
                        .emit();
                }
                runtime.call_monitor();
                return;
            }
        }
    }

    /// So many threads should be there beyond those that are needed. True: some are missing, [`Runtime::call_for_threads`].
    #[must_use]
    pub fn want_ahead(&self, n: u32) -> bool {
        if self.surplus.load(Ordering::Relaxed) >= n {
            return false;
        }
        let wanted = self.state.lock().ledger.is_missing_ahead(n as usize);
        if wanted {
            self.ahead.fetch_max(n, Ordering::SeqCst);
        }
        wanted
    }

    /// Whether the monitor is to make threads ahead.
    pub fn wants_ahead(&self) -> bool {
        self.ahead.load(Ordering::SeqCst) != 0
    }

    /// Makes them. That one cannot be made is no trouble: nobody needs it yet, and nobody relies on it (`ledger`, I5), for it is made
    /// under the lock: who needs a thread meanwhile waits for this one, which is there sooner than one of its own would be.
    pub fn make_ahead(&self, runtime: &'static Runtime) {
        let n = self.ahead.swap(0, Ordering::SeqCst) as usize;
        // Not until they are there: those who bind take them meanwhile, and ask again.
        for _ in 0..n {
            let mut state = self.state.lock();
            if !state.ledger.is_missing_ahead(n) {
                return;
            }
            let seat = Seat::new(state.next_name(), None, runtime);
            state.enlist(&seat);
            let handle = start_thread(&seat, &self.settings);
            if !state.started(&seat, handle) {
                return;
            }
            state.ledger.expect_thread();
        }
    }

    /// The monitor's part, while there is trouble.
    pub fn look_after(&self, runtime: &'static Runtime, now: u64) {
        self.tend(runtime);
        exhausted::look(self, now);
        self.troubled.store(false, Ordering::SeqCst);
        let state = self.state.lock();
        if state.ledger.has_waiting() || state.ledger.is_short() {
            self.troubled.store(true, Ordering::SeqCst);
        }
    }

    /// The calling thread has nothing to do. Waits for an order.
    fn rest(&self, seat: &'static Seat) -> Order {
        let served = seat.served();
        seat.serve(Serves::Nothing);
        self.note_release(served);
        if seat.retires() {
            let mut state = self.state.lock();
            state.ledger.thread_gone();
            state.ledger.release(served);
            drop(state);
            self.tend(seat.runtime);
            return Order::End;
        }
        let mut state = self.state.lock();
        match state.ledger.rest(seat, served, Waiting::claim) {
            Rest::Take(order) => return order,
            Rest::End => return Order::End,
            Rest::Wait => drop(state),
        }
        seat.unpin();
        seat.rests.store(true, Ordering::Relaxed);
        let mut deadline = now_ns().saturating_add(self.idle_ns);
        loop {
            // SAFETY: this thread's seat.
            if let Some(order) = unsafe { seat.take_order() } {
                seat.rests.store(false, Ordering::Relaxed);
                return order;
            }
            futex::wait(&seat.word, 0, deadline);
            if seat.word.load(Ordering::Acquire) == 0 && now_ns() >= deadline {
                if self.state.lock().ledger.dismiss(seat, self.keep) {
                    return Order::End;
                }
                deadline = u64::MAX; // one of those that stay
            }
        }
    }

    /// Every thread leaves its loop once it rests.
    pub fn stop(&self) {
        let spares = self.state.lock().ledger.stop();
        for seat in spares {
            // SAFETY: taken out of the spares.
            unsafe { (*seat).give(Order::End) };
        }
    }

    /// Joins every thread, until `deadline`. False: some are left. Threads that are on their way out may still be making others, so a
    /// new one may be on the list after a round; one whose handle is still to come stays there for who makes it (`create`).
    pub fn join(&self, deadline: u64) -> bool {
        loop {
            let mut state = self.state.lock();
            if state.threads.is_empty() {
                return true;
            }
            let (mut threads, unmade): (Vec<_>, Vec<_>) = std::mem::take(&mut state.threads)
                .into_iter()
                .partition(|(_, handle)| handle.is_some());
            state.threads = unmade;
            drop(state);
            if threads.is_empty() {
                std::thread::yield_now();
            }
            threads.retain(|(_, handle)| !handle.as_ref().is_some_and(|handle| handle.join_until(deadline)));
            if !threads.is_empty() || (now_ns() >= deadline && !self.state.lock().threads.is_empty()) {
                self.state.lock().threads.append(&mut threads);
                return false;
            }
        }
    }

    /// Every thread that is not joined yet.
    pub fn for_each(&self, mut f: impl FnMut(&Seat)) {
        for (seat, _) in &self.state.lock().threads {
            f(seat);
        }
    }

    /// Whether `f` is true of every thread that is not joined yet.
    pub fn all(&self, mut f: impl FnMut(&Seat) -> bool) -> bool {
        self.state.lock().threads.iter().all(|(seat, _)| f(seat))
    }

    /// Who waits for a thread, under the lock.
    pub fn for_each_waiting(&self, f: impl FnMut(&Waiting)) {
        self.state.lock().ledger.waiting().for_each(f);
    }

    /// (threads, of them spare, serving permits, in calls), and most threads ever.
    pub fn counts(&self) -> ((usize, usize, usize, usize), usize) {
        let state = self.state.lock();
        (state.ledger.counts(), state.peak)
    }
}

impl State {
    /// The name of a thread that is about to be made.
    fn next_name(&mut self) -> String {
        self.next_number += 1;
        format!("gr-ffi-{}", self.next_number - 1)
    }

    fn enlist(&mut self, seat: &Arc<Seat>) {
        self.threads.push((seat.clone(), None));
    }

    /// What became of it. False: it could not be made.
    fn started(&mut self, seat: &Arc<Seat>, handle: Result<thread::Handle, i32>) -> bool {
        let at = (self.threads.iter())
            .position(|(s, _)| s.number == seat.number)
            .expect("only a joined thread leaves the list");
        match handle {
            Ok(handle) => {
                self.threads[at].1 = Some(handle);
                self.peak = self.peak.max(self.threads.len() - self.ended.len());
                true
            }
            Err(_) => {
                self.threads.swap_remove(at);
                false
            }
        }
    }

    /// Joins threads that have ended.
    fn reap(&mut self) {
        let State { threads, ended, .. } = self;
        threads.retain(|(seat, handle)| {
            let Some(at) = ended.iter().position(|&n| n == seat.number) else {
                return true;
            };
            let joined = handle.as_ref().is_some_and(|h| h.join_until(0));
            if joined {
                ended.swap_remove(at);
            }
            !joined
        });
    }
}

fn start_thread(seat: &Arc<Seat>, settings: &thread::Settings) -> Result<thread::Handle, i32> {
    let on_thread = seat.clone();
    thread::start(&seat.name, settings, move || run_thread(&on_thread))
}

fn run_thread(seat: &Arc<Seat>) {
    thread::set_seat(Arc::as_ptr(seat).cast_mut().cast::<c_void>());
    seat.thread_id.store(thread::id(), Ordering::Relaxed);
    seat.block.store(tls::block(), Ordering::Release);
    world::enlist();
    sanitize::begin_scheduling();
    // SAFETY: the thread schedules from now on until next_of_thread gives null.
    unsafe { goroutine_asm_thread_run(on_thread_start, std::ptr::null_mut()) };
    sanitize::end_scheduling();
    world::go_out();
    world::dismiss();
    seat.block.store(0, Ordering::Release);
    seat.unpin();
    tls::set_worker(std::ptr::null_mut());
    thread::set_seat(std::ptr::null_mut());
    seat.runtime.pool.ended(seat.number);
}

/// The first call on a scheduling thread.
unsafe extern "C" fn on_thread_start(_: *mut Goroutine, _: *mut c_void) -> *mut Goroutine {
    let seat = Seat::current().expect("set just before");
    seat.base_sp.store(tls::scheduler_sp(), Ordering::Relaxed);
    seat.low.store(thread::stack().start, Ordering::Relaxed);
    // SAFETY: on the thread's stack.
    unsafe { next_of_thread() }
}

/// The loop of a scheduling thread: what it runs next. Null: it ends.
///
/// # Safety
/// On the thread's stack, no C frame live; the thread has a seat.
pub unsafe fn next_of_thread() -> *mut Goroutine {
    let worker = tls::worker();
    if !worker.is_null() {
        // SAFETY: the thread holds it.
        return unsafe { turn::next(&*worker) };
    }
    let seat = Seat::current().expect("a thread without a seat schedules");
    world::go_out();
    loop {
        // SAFETY: this thread's seat.
        let order = unsafe { seat.take_order() }.unwrap_or_else(|| seat.runtime.pool.rest(seat));
        match order {
            // SAFETY: an order gives the worker to this thread alone.
            Order::Worker { worker, claimed } => unsafe {
                world::come_in();
                let worker = &*worker;
                adopt(worker);
                return if claimed {
                    search::search(worker, true).map_or(std::ptr::null_mut(), |g| g.0)
                } else {
                    turn::next(worker)
                };
            },
            Order::Goroutine(g) => {
                world::come_in();
                // SAFETY: an order gives the goroutine to this thread alone.
                unsafe { bind::sit_down(g, seat) };
                seat.pin();
                return g;
            }
            Order::Job(job) => {
                seat.serve(Serves::Permit);
                seat.pin();
                // SAFETY: where the thread schedules. Neither does the job see what goroutines set, nor they what it sets.
                unsafe { restore_control_words() };
                sanitize::pause_scheduling(job);
                // SAFETY: as above.
                unsafe { restore_control_words() };
                seat.is_given_back();
                seat.runtime.pool.jobs_live.fetch_sub(1, Ordering::SeqCst);
                seat.runtime.closed_from_outside();
            }
            Order::End => return std::ptr::null_mut(),
        }
    }
}

/// The calling thread holds `worker` from now on.
///
/// # Safety
/// The worker is the caller's.
pub unsafe fn adopt(worker: &Worker) {
    if let Some(seat) = Seat::current() {
        seat.unpin();
    }
    tls::set_worker(std::ptr::from_ref(worker).cast_mut());
    trace::takes_worker(worker.index);
    worker.runtime().wake_monitor();
}

/// The calling thread holds its worker no more: a spare takes it if there is something for it to do, else who makes work
/// for it sees to that.
///
/// # Safety
/// The calling thread holds a worker, and runs no goroutine on it any more.
pub unsafe fn hand_off(runtime: &'static Runtime) {
    let worker = tls::worker();
    tls::set_worker(std::ptr::null_mut());
    // SAFETY: ours until given away.
    unsafe {
        trace::hands_off((*worker).index, false);
        hand_over(runtime, &*worker);
    }
}

/// [`hand_off`] of a worker that no thread's block names.
///
/// # Safety
/// The worker is the caller's.
pub unsafe fn hand_over(runtime: &'static Runtime, worker: &Worker) {
    // What the owner of another private queue keeps to himself the monitor shows to a worker in the idle set.
    let has_work_outside = || search::has_work_outside(runtime, worker);
    // SAFETY: the caller's promise.
    let has_work = unsafe { search::has_work(worker) }
        || runtime
            .idle
            .abandon(worker.index, &worker.sleeping, has_work_outside);
    if has_work {
        count(&runtime.pool.tally.hand_offs);
        runtime.pool.give(Order::Worker {
            worker,
            claimed: false,
        });
    } else {
        runtime.closed_from_outside(); // as a worker that falls asleep: its last goroutines may have ended just before
    }
}

impl Runtime {
    /// A worker without a thread, for the calling thread, which has none.
    pub fn claim_ownerless(&self) -> Option<&Worker> {
        for worker in &self.workers {
            match self.idle.take_ownerless(worker.index, &worker.sleeping) {
                Taken::No => {}
                Taken::Asleep => self.wake(worker.index),
                Taken::Yes => {
                    if self.idle.stop_spinning() {
                        self.wake_one_if_work(worker.index);
                    }
                    return Some(worker);
                }
            }
        }
        None
    }

    /// Runs `job` on a thread of the pool, which waits for one in turn if all are taken.
    pub fn run_on_pool(&'static self, job: Job) -> Result<(), GoroutineStatus> {
        if self.is_stopping() {
            return Err(GOROUTINE_ESHUTDOWN);
        }
        self.run_also_when_stopping(job)
    }

    /// The same for who was accepted before, also before a shutdown began: whatever the policy, and though no thread can be made now,
    /// it runs as soon as there is one.
    pub fn run_in_turn(&'static self, job: Job) {
        self.pool.jobs_live.fetch_add(1, Ordering::SeqCst);
        match self.pool.admit(self) {
            Admission::Granted => self.pool.give(Order::Job(job)),
            Admission::Full | Admission::NoThread => self.pool.wait_in_turn(self, Waiting::Job(job)),
        }
    }

    /// The same, beyond `ffi_threads_max`: for the library's own jobs, of which there are few at a time.
    pub fn run_anyway(&'static self, job: Job) {
        self.pool.jobs_live.fetch_add(1, Ordering::SeqCst);
        self.pool.admit_anyway(self);
        self.pool.give(Order::Job(job));
    }

    /// [`Self::run_on_pool`] for who was accepted before a shutdown began, and keeps it waiting.
    pub fn run_also_when_stopping(&'static self, job: Job) -> Result<(), GoroutineStatus> {
        self.pool.jobs_live.fetch_add(1, Ordering::SeqCst);
        let refused = match self.pool.admit(self) {
            Admission::Granted => {
                self.pool.give(Order::Job(job));
                return Ok(());
            }
            Admission::NoThread => GOROUTINE_ENOMEM,
            Admission::Full if self.config.ffi_exhausted == GOROUTINE_FFI_FAIL => GOROUTINE_EFFITHREADS,
            Admission::Full => {
                self.pool.wait_in_turn(self, Waiting::Job(job));
                return Ok(());
            }
        };
        self.pool.jobs_live.fetch_sub(1, Ordering::SeqCst);
        Err(refused)
    }
}
