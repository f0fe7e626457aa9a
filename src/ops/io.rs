//! Reading and writing as if it blocked. `netpoll::descriptor` is the protocol; a plain thread waits in ppoll instead.
//!
//! I1. A system call on a descriptor is made between enter and leave, so its number does not become another file's under it.
//! I2. No call here blocks a worker's thread: sockets are asked not to wait by a flag, other files by RWF_NOWAIT or because they are
//!     non-blocking; what knows none of these is called the way of a blocking foreign call, once it is ready.
//! I3. The mode of a descriptor that was handed over is never changed, but for O_NONBLOCK of sockets that are connected or accepted on.
//! I4. Who was woken may have been woken in place of others: however his call ends, he wakes the next one unless the descriptor is drained.
//!
//! Counts per read that finds data: no locked instruction beside the system call but for a short read's, if the descriptor is biased to the worker
//! (`netpoll::hazard`); else two, both on the descriptor's own line.

use super::wait::{wait, wake_chain};
use crate::abi::*;
use crate::context::tls;
use crate::goroutine::waits::{Kind, Waits};
use crate::netpoll::descriptor::{
    Close, Descriptor, DescriptorWaiter, END, Joined, READ, WRITE, Want, is_ready,
};
use crate::netpoll::hazard::{Hazard, OF_WORKERS};
use crate::netpoll::{Poller, table};
use crate::sanitize;
use crate::sched::{bind, blocking, budget, park, runtime};
use crate::sys::mutex::Mutex;
use crate::sys::socket;
use crate::sys::time::now_ns;
use crate::wait::thread::ThreadWait;
use crate::wait::{Party, Waiter};
use libc::{iovec, msghdr, sockaddr, socklen_t};
use std::cell::Cell;
use std::ffi::c_void;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

type Fd = Descriptor<Party>;

// Kinds. What they say of a number that somebody closed behind our back may be wrong: then a call says so (ENOTSOCK), or waits for longer.
const UNKNOWN: u32 = 0;
/// A socket.
const SOCKET: u32 = 1;
/// A TCP socket: a short read or write means that there is nothing left, unless an end or urgent data was reported.
const TCP: u32 = 2;
/// Not a socket; RWF_NOWAIT works.
const NOWAIT: u32 = 3;
/// The same, for reads; writes are made carefully (eventfd).
const NOWAIT_READS: u32 = 4;
/// None of these: a terminal, for one. It may be somebody else's, too, so whether it is non-blocking is asked each time.
const CAREFUL: u32 = 5;
/// Always "ready": a regular file.
const FILE: u32 = 6;
/// A socket that connections are accepted on: it is non-blocking.
const LISTENER: u32 = 7;

pub(super) fn errno() -> i32 {
    // SAFETY: the thread's own; not kept.
    unsafe { *libc::__errno_location() }
}

fn negative(error: i32) -> i64 {
    -i64::from(error)
}

/// What a system call gave.
pub(super) fn result(n: isize) -> Result<usize, i32> {
    usize::try_from(n).map_err(|_| errno())
}

/// That of the calling thread's worker.
#[inline(always)]
fn hazard() -> Option<&'static Hazard> {
    let worker = tls::worker();
    if worker.is_null() {
        return None;
    }
    // SAFETY: the thread holds the worker.
    unsafe { (*worker).hazard }
}

/// Its number, or 0.
fn hazard_number() -> u32 {
    hazard().map_or(0, Hazard::number)
}

/// A stay (I1).
pub(super) struct Stay {
    fd: i32,
    descriptor: &'static Fd,
    generation: Cell<u32>,
    /// Of a visit, which may not wait: that of the worker. None: of a user.
    hazard: Cell<Option<&'static Hazard>>,
}

impl Stay {
    pub(super) fn new(fd: i32) -> Option<Self> {
        Self::of(fd, table::descriptor(fd)?, 0)
    }

    /// In this generation; 0: in any.
    #[inline(always)]
    fn of(fd: i32, descriptor: &'static Fd, generation: u32) -> Option<Self> {
        Self::after(fd, descriptor, descriptor.enter(generation)?)
    }

    fn after(fd: i32, descriptor: &'static Fd, generation: u32) -> Option<Self> {
        Some(Self {
            fd,
            descriptor,
            generation: Cell::new(generation),
            hazard: Cell::new(None),
        })
    }

    /// The same, for a call that will not wait: as a visit, if the descriptor is biased to this worker.
    #[inline(always)]
    fn for_call(fd: i32, descriptor: &'static Fd, expected: u32) -> Option<Self> {
        let hazard = hazard();
        let Some(hazard) = hazard.filter(|hazard| descriptor.is_biased_to(hazard) && hazard.is_free()) else {
            return Self::after(
                fd,
                descriptor,
                Self::enter_for_call(descriptor, hazard, expected)?,
            );
        };
        let generation = descriptor.visit(hazard, expected);
        let stay = Self {
            fd,
            descriptor,
            generation: Cell::new(generation.unwrap_or(0)),
            hazard: Cell::new(Some(hazard)),
        };
        generation.is_some().then_some(stay)
    }

    /// (A hazard is not free in what a call calls: a hook of the program, for one.)
    #[inline(never)]
    fn enter_for_call(descriptor: &Fd, hazard: Option<&Hazard>, expected: u32) -> Option<u32> {
        match hazard {
            Some(hazard) => descriptor.enter_from(hazard, expected),
            None => descriptor.enter(expected),
        }
    }

    /// It may wait from now on. (If the number was closed by close(2), it goes on with what has the number now, as a user would. What is called here has no `&Stay`: one that nobody has a reference to lies in registers.)
    #[inline(always)]
    fn is_user(&self) {
        if let Some(hazard) = self.hazard.take() {
            self.generation.set(self.descriptor.visitor_is_user(hazard));
        }
    }

    /// Before a call that may not wait: gives way now and then (`sched::budget`). Err: the call is not to be made.
    #[inline(always)]
    pub(super) fn before_call(&self) -> Result<(), GoroutineStatus> {
        if budget::is_up() {
            self.is_user();
            give_way(self.descriptor, self.generation.get())
        } else {
            Ok(())
        }
    }

    /// It is not open. (Of one that was used before nothing is asked: a server sets a deadline for each request.)
    fn is_nobodys(&self) -> bool {
        // SAFETY: a plain system call.
        !self.descriptor.was_used() && unsafe { libc::fcntl(self.fd, libc::F_GETFD) } < 0
    }

    /// Out for the time of `f`, and in again. None: it was closed meanwhile.
    fn outside<R>(self, f: impl FnOnce() -> R) -> (Option<Self>, R) {
        let (fd, descriptor, generation) = (self.fd, self.descriptor, self.generation.get());
        drop(self);
        let result = f();
        (Self::of(fd, descriptor, generation), result)
    }
}

impl Drop for Stay {
    #[inline]
    fn drop(&mut self) {
        let last = match self.hazard.get() {
            Some(hazard) => self.descriptor.end_visit(hazard),
            None => self.descriptor.leave(),
        };
        if let Some(generation) = last {
            finish_close(self.fd, self.descriptor, generation);
        }
    }
}

#[cold]
#[inline(never)]
fn give_way(descriptor: &Fd, generation: u32) -> Result<(), GoroutineStatus> {
    budget::give_way()?;
    if descriptor.is_open(generation) {
        Ok(())
    } else {
        Err(GOROUTINE_EBADF)
    }
}

/// What a call gives in place of an errno: it is to be made again, and no edge will say when.
const NO_EDGE: i32 = 0;
/// How long to pause then: at first, doubled each time, and at most.
const PAUSE_FIRST_NS: u64 = 1_000_000;
const PAUSE_MOST_NS: u64 = 128_000_000;
/// After so many edges in vain the kernel is asked what it means by ready.
const VAIN: u32 = 3;

/// A system call. The readiness is from before it.
trait Call {
    fn make(&mut self, stay: &Stay, seen: u32) -> Result<usize, i32>;
}

impl<F: FnMut(&Stay, u32) -> Result<usize, i32>> Call for F {
    #[inline(always)]
    fn make(&mut self, stay: &Stay, seen: u32) -> Result<usize, i32> {
        self(stay, seen)
    }
}

/// Makes `call` once the descriptor is ready in `direction`, again and again while it gives EAGAIN.
#[inline(always)]
fn when_ready(fd: i32, direction: u32, call: impl Call) -> i64 {
    let want = Want {
        mask: direction,
        uses: true,
    };
    if direction == WRITE {
        sanitize::released(&raw const sanitize::DESCRIPTORS);
    }
    let done = when(fd, want, call);
    if direction == READ {
        sanitize::acquired(&raw const sanitize::DESCRIPTORS);
    }
    done
}

/// The same of a call that may use nothing up: that one is made whatever is known, and its EAGAIN says nothing of the others' calls.
#[inline(always)]
fn when(fd: i32, want: Want, mut call: impl Call) -> i64 {
    let direction = want.mask;
    let Some(descriptor) = table::descriptor(fd) else {
        return i64::from(GOROUTINE_EBADF);
    };
    let mut waited = 0;
    if want.uses && Fd::would_wait(descriptor.readiness(), direction) {
        match wait_first(descriptor, want) {
            Ok(generation) => waited = generation,
            Err(status) => return i64::from(status),
        }
    }
    let Some(stay) = Stay::for_call(fd, descriptor, waited) else {
        return closed(descriptor, if waited == 0 { 0 } else { direction });
    };
    let mut deadline = u64::MAX;
    if waited == 0 {
        deadline = descriptor.deadline(direction, descriptor.readiness());
        if let Err(status) = stay.before_call() {
            return i64::from(status);
        }
    }
    // The first try, with nothing of what another one needs.
    let seen = descriptor.readiness();
    let mut first = None;
    if deadline == u64::MAX && is_ready(seen, direction) {
        match call.make(&stay, seen) {
            Ok(n) => {
                // SAFETY: claimed for us, and no lock is held.
                unsafe { wake_chain(descriptor.pass_on(direction), GOROUTINE_OK) }; // I4
                return n as i64;
            }
            Err(error) => first = Some((seen, error)),
        }
    }
    again_and_again(stay, want, deadline, first, call)
}

/// It was closed. Who was woken to make a call in this `direction` (0: nobody was) leaves it to others.
#[cold]
fn closed(descriptor: &Fd, direction: u32) -> i64 {
    if direction != 0 {
        // SAFETY: claimed for us, and no lock is held.
        unsafe { wake_chain(descriptor.pass_on(direction), GOROUTINE_OK) }; // I4
    }
    i64::from(GOROUTINE_EBADF)
}

/// The rest of [`when`]. `first`: what the first try gave, if there was one, and the readiness from before it.
#[inline(never)]
fn again_and_again(
    mut stay: Stay,
    want: Want,
    deadline: u64,
    mut first: Option<(u32, i32)>,
    mut call: impl Call,
) -> i64 {
    let direction = want.mask;
    let (fd, descriptor) = (stay.fd, stay.descriptor);
    stay.is_user();
    let mut patience = Patience::new(deadline);
    let result = loop {
        let seen = first.map_or_else(|| descriptor.readiness(), |(seen, _)| seen);
        if patience.is_over() {
            // SAFETY: claimed for us, and no lock is held.
            unsafe { wake_chain(descriptor.pass_on_unused(direction), GOROUTINE_OK) }; // I4
            return i64::from(GOROUTINE_ETIMEDOUT);
        }
        let mut waited = None;
        if is_ready(seen, direction) || !want.uses || patience.forced {
            let done = match first.take() {
                Some((_, error)) => Err(error),
                None => call.make(&stay, seen),
            };
            match done {
                Err(libc::EAGAIN) => {
                    if want.uses {
                        descriptor.drained(direction, seen);
                    }
                    waited = Some(patience.in_vain(fd, direction));
                }
                Err(NO_EDGE) => waited = Some(true),
                Err(libc::EINTR) => continue,
                done => break done.map_or_else(negative, |n| n as i64),
            }
        }
        let again = if waited == Some(true) {
            patience.pause(stay)
        } else {
            wait_for(stay, want, seen, patience.deadline)
        };
        match again {
            Ok(again) => stay = again,
            Err(status) => {
                // SAFETY: claimed for us, and no lock is held.
                unsafe { wake_chain(descriptor.pass_on(direction), GOROUTINE_OK) }; // I4
                return i64::from(status);
            }
        }
    };
    // SAFETY: claimed for us, and no lock is held.
    unsafe { wake_chain(descriptor.pass_on(direction), GOROUTINE_OK) }; // I4
    result
}

/// Of one call: until when it may take, and how it tries again.
struct Patience {
    /// When the call began: a later one is for later calls.
    deadline: u64,
    vain: u32,
    pause: u64,
    /// The next try is made whatever is known of the readiness.
    forced: bool,
}

impl Patience {
    fn new(deadline: u64) -> Self {
        Self {
            deadline,
            vain: 0,
            pause: PAUSE_FIRST_NS,
            forced: false,
        }
    }

    fn is_over(&self) -> bool {
        self.deadline != u64::MAX && now_ns() >= self.deadline
    }

    /// EAGAIN. True: once too often, for the kernel says that it is ready. (A Unix receiver that others have filled; an eventfd that would
    /// overflow.) It would be an edge, or an end of ppoll, for each try.
    fn in_vain(&mut self, fd: i32, direction: u32) -> bool {
        self.forced = false;
        self.vain += 1;
        self.vain >= VAIN && is_ready_now(fd, events_of(direction))
    }

    /// Waits a little, or for a close.
    #[cold]
    fn pause(&mut self, stay: Stay) -> Result<Stay, GoroutineStatus> {
        let until = now_ns().saturating_add(self.pause).min(self.deadline);
        self.pause = (self.pause * 2).min(PAUSE_MOST_NS);
        self.forced = true;
        let (again, status) = if tls::current().is_null() {
            pause_as_thread(stay, until)
        } else {
            let end = Want {
                mask: END,
                uses: false,
            };
            line_up(stay, end, 0, until)
        };
        match status {
            GOROUTINE_OK | GOROUTINE_ETIMEDOUT => again.ok_or(GOROUTINE_EBADF),
            status => Err(status),
        }
    }
}

fn events_of(direction: u32) -> i16 {
    if direction == READ {
        libc::POLLIN
    } else {
        libc::POLLOUT
    }
}

/// A call that would find nothing waits before it enters, if an edge will say when that changes: who is in line is told of a close there, and
/// enters afterwards, as after every wait. Gives the generation to enter; 0: it did not wait. Err: how the wait ended.
#[inline(never)]
fn wait_first(descriptor: &'static Fd, want: Want) -> Result<u32, GoroutineStatus> {
    let worker = tls::worker();
    if worker.is_null() || tls::current().is_null() {
        return Ok(0);
    }
    // SAFETY: the thread holds the worker.
    let poller = unsafe { (*worker).runtime() }.net.poller();
    let (Some(generation), Some(poller)) = (descriptor.open_generation(), poller) else {
        return Ok(0);
    };
    // Of the generation, so after it.
    let seen = descriptor.readiness();
    if !Fd::would_wait(seen, want.mask) || !descriptor.is_registered(poller.id()) {
        return Ok(0);
    }
    let mut waiter = Waiter::new(want);
    match wait_in_line(descriptor, generation, &raw mut waiter, seen, u64::MAX) {
        GOROUTINE_OK => Ok(generation),
        status => {
            // SAFETY: claimed for us, and no lock is held.
            unsafe { wake_chain(descriptor.pass_on(want.mask), GOROUTINE_OK) }; // I4
            Err(status)
        }
    }
}

/// Waits for an edge. Err: how it ended.
#[inline(never)]
fn wait_for(stay: Stay, want: Want, seen: u32, deadline: u64) -> Result<Stay, GoroutineStatus> {
    if tls::current().is_null() {
        return wait_as_thread(stay, want.mask, deadline);
    }
    if let Err(status) = register(&stay) {
        stay.descriptor.told_ready(want.mask); // no edge will say so
        return Err(status);
    }
    match line_up(stay, want, seen, deadline) {
        (again, GOROUTINE_OK) => again.ok_or(GOROUTINE_EBADF),
        (_, status) => Err(status),
    }
}

/// Waits in line, where a close ends it, too.
fn line_up(stay: Stay, want: Want, seen: u32, deadline: u64) -> (Option<Stay>, GoroutineStatus) {
    let (descriptor, generation) = (stay.descriptor, stay.generation.get());
    let mut waiter = Waiter::new(want);
    let place = &raw mut waiter;
    stay.outside(|| wait_in_line(descriptor, generation, place, seen, deadline))
}

/// Until an edge: GOROUTINE_OK; it is closed: GOROUTINE_EBADF, or GOROUTINE_OK if it was before.
fn wait_in_line(
    descriptor: &'static Fd,
    generation: u32,
    place: *mut DescriptorWaiter<Party>,
    seen: u32,
    deadline: u64,
) -> GoroutineStatus {
    let word = ThreadWait::new();
    // SAFETY: the waiter stays in place until it was claimed or left.
    unsafe {
        let status = wait(
            &word,
            deadline,
            Waits::on(Kind::Descriptor, descriptor),
            move |party| {
                (*place).party = party;
                descriptor.join(place, generation, seen) == Joined::Waits
            },
        );
        if status != GOROUTINE_OK {
            descriptor.leave_line(place);
        }
        status
    }
}

/// The poller knows the descriptor afterwards.
fn register(stay: &Stay) -> Result<(), GoroutineStatus> {
    with_poller(|poller| {
        let me = tls::number() as u32; // no park from here to `set_registered`
        if !stay.descriptor.begin_registration(poller.id(), me) {
            return Ok(());
        }
        add(poller, stay)?;
        stay.descriptor
            .set_registered(stay.generation.get(), poller.id(), me);
        if stay.descriptor.kind.load(Ordering::Relaxed) == SOCKET && is_tcp(stay.fd) {
            stay.descriptor.kind.store(TCP, Ordering::Relaxed);
        }
        Ok(())
    })
}

/// The same for one wait, whatever the poller knows: if it is ready now that gives an edge, too. Nobody relies on it later, for the number may be
/// another file's then.
fn register_anew(stay: &Stay) -> Result<(), GoroutineStatus> {
    with_poller(|poller| add(poller, stay))
}

fn with_poller(f: impl FnOnce(&Poller) -> Result<(), GoroutineStatus>) -> Result<(), GoroutineStatus> {
    let Some(inside) = runtime::enter() else {
        return Err(GOROUTINE_ESHUTDOWN);
    };
    f(inside.net.poller_for_wait()?)?;
    if tls::worker().is_null() {
        inside.see_that_somebody_polls();
    }
    Ok(())
}

fn add(poller: &Poller, stay: &Stay) -> Result<(), GoroutineStatus> {
    (poller.add(stay.fd, stay.generation.get()))
        .map_err(|error| -error.raw_os_error().unwrap_or(libc::ENOMEM))
}

/// A raw socket of that protocol gives packets: a short read says nothing.
fn is_tcp(fd: i32) -> bool {
    option(fd, libc::SO_PROTOCOL) == Ok(libc::IPPROTO_TCP) && is_stream(fd)
}

fn is_stream(fd: i32) -> bool {
    option(fd, libc::SO_TYPE) == Ok(libc::SOCK_STREAM)
}

fn option(fd: i32, name: i32) -> Result<i32, i32> {
    let mut value = 0;
    let mut size = size_of::<i32>() as socklen_t;
    // SAFETY: both live through the call.
    let n = unsafe {
        libc::getsockopt(
            fd,
            libc::SOL_SOCKET,
            name,
            (&raw mut value).cast::<c_void>(),
            &mut size,
        )
    };
    if n < 0 { Err(errno()) } else { Ok(value) }
}

// ---- plain threads ----

/// A plain thread in ppoll.
struct Blocked {
    fd: i32,
    /// Its eventfd.
    wake: i32,
}

/// Those in ppoll, and eventfds for the next ones. (Not a thread-local one each: in a child of fork it would be the parent's, too, which takes
/// the wakes; and who reads at the end of his thread has none any more.)
#[derive(Default)]
pub struct Threads {
    blocked: Vec<Blocked>,
    spare: Vec<i32>,
}
/// Most eventfds kept.
const SPARE: usize = 8;
static THREADS: Mutex<Threads> = Mutex::new(Threads {
    blocked: Vec::new(),
    spare: Vec::new(),
});
/// How many there are: so that a close needs no lock when there is none.
static BLOCKED_COUNT: AtomicUsize = AtomicUsize::new(0);

impl Threads {
    /// The calling thread is about to be in ppoll for `fd`. Gives its eventfd, by which a close ends its wait.
    fn enter(&mut self, fd: i32) -> Result<i32, GoroutineStatus> {
        let wake = match self.spare.pop() {
            Some(wake) => wake,
            None => {
                // SAFETY: a plain system call.
                let wake = sanitize::look_away(|| unsafe {
                    libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK)
                });
                if wake < 0 {
                    return Err(-errno());
                }
                wake
            }
        };
        self.blocked.push(Blocked { fd, wake });
        Ok(wake)
    }

    /// It is not any more.
    fn leave(&mut self, wake: i32) {
        if let Some(at) = self.blocked.iter().position(|b| b.wake == wake) {
            self.blocked.swap_remove(at);
        }
        let mut count = 0u64;
        // SAFETY: ours: reads eight bytes, or none; nobody writes to it any more.
        unsafe {
            sanitize::look_away(|| libc::read(wake, (&raw mut count).cast(), 8));
            if self.spare.len() < SPARE {
                self.spare.push(wake);
            } else {
                sanitize::look_away(|| libc::close(wake));
            }
        }
    }
}

/// The lock, to be held across fork.
pub fn threads() -> &'static Mutex<Threads> {
    &THREADS
}

/// In a child of fork: they are not there, and the eventfds are the parent's. (Or the library is unmapped.)
///
/// # Safety
/// The lock is held by the calling thread, or nobody else is there.
pub unsafe fn forget_all() {
    // SAFETY: the caller's promise; these are the child's names for them.
    unsafe {
        let threads = &mut *THREADS.data_ptr();
        let taken = threads.blocked.drain(..).map(|b| b.wake);
        for wake in taken.chain(threads.spare.drain(..)) {
            libc::close(wake);
        }
    }
    BLOCKED_COUNT.store(0, Ordering::Relaxed);
}

/// Until `until`, or a close.
fn pause_as_thread(stay: Stay, until: u64) -> (Option<Stay>, GoroutineStatus) {
    match poll_as_thread(stay, 0, until) {
        // No eventfd, perhaps for the very want of descriptors that the pause is for: a close is found out about at its end.
        (Some(stay), Err(status)) if status != GOROUTINE_ETIMEDOUT && status != GOROUTINE_EBADF => {
            stay.outside(|| super::sleep::sleep(until.saturating_sub(now_ns())))
        }
        (again, polled) => (again, polled.err().unwrap_or(GOROUTINE_OK)),
    }
}

#[cold]
fn wait_as_thread(stay: Stay, direction: u32, deadline: u64) -> Result<Stay, GoroutineStatus> {
    let (again, polled) = poll_as_thread(stay, events_of(direction), deadline);
    if let (Some(again), Err(status)) = (&again, polled)
        && status != GOROUTINE_ETIMEDOUT
    {
        again.descriptor.told_ready(direction); // it did not wait: the next call asks the kernel again
    }
    polled?;
    let again = again.ok_or(GOROUTINE_EBADF)?;
    again.descriptor.told_ready(direction); // a thread asks the kernel, not the bit
    Ok(again)
}

/// What ppoll says; until `deadline`, or a close. No events: only that.
fn poll_as_thread(stay: Stay, events: i16, deadline: u64) -> (Option<Stay>, Result<i16, GoroutineStatus>) {
    let (fd, descriptor, generation) = (stay.fd, stay.descriptor, stay.generation.get());
    BLOCKED_COUNT.fetch_add(1, Ordering::SeqCst); // before the look at the generation: partner in `wake_blocked`
    let entered = THREADS.lock().enter(fd);
    let (again, polled) = match entered {
        Err(status) => (Some(stay), Err(status)),
        // It was closed just now, and the number is ours.
        Ok(wake) if wake == fd => (Some(stay), Err(GOROUTINE_EBADF)),
        Ok(wake) => stay.outside(|| {
            if !descriptor.is_open(generation) {
                return Err(GOROUTINE_EBADF);
            }
            let mut both =
                [(if events == 0 { -1 } else { fd }, events), (wake, libc::POLLIN)].map(|(fd, events)| {
                    libc::pollfd {
                        fd,
                        events,
                        revents: 0,
                    }
                });
            ppoll(&mut both, deadline).and(Ok(both[0].revents))
        }),
    };
    if let Ok(wake) = entered {
        THREADS.lock().leave(wake);
    }
    BLOCKED_COUNT.fetch_sub(1, Ordering::SeqCst);
    let closed = again.is_none();
    (again, if closed { Err(GOROUTINE_EBADF) } else { polled })
}

fn ppoll(fds: &mut [libc::pollfd], deadline: u64) -> Result<(), GoroutineStatus> {
    loop {
        let left = deadline.saturating_sub(now_ns());
        let time = crate::sys::time::timespec(left);
        let time = if deadline == u64::MAX {
            std::ptr::null()
        } else {
            &raw const time
        };
        // SAFETY: the descriptors and the time live through the call.
        let n = unsafe {
            libc::ppoll(
                fds.as_mut_ptr(),
                fds.len() as libc::nfds_t,
                time,
                std::ptr::null(),
            )
        };
        match n {
            0 if left == 0 => return Err(GOROUTINE_ETIMEDOUT),
            0 => {}
            1.. => return Ok(()),
            _ if errno() == libc::EINTR => {}
            _ => return Err(-errno()),
        }
    }
}

/// A descriptor is being closed: plain threads that wait for it look again.
fn wake_blocked(fd: i32) {
    if BLOCKED_COUNT.load(Ordering::SeqCst) == 0 {
        return;
    }
    let one = 1u64;
    for blocked in THREADS.lock().blocked.iter().filter(|b| b.fd == fd) {
        // SAFETY: writes eight bytes. The eventfd is open: its thread takes itself off the list first.
        sanitize::look_away(|| unsafe { libc::write(blocked.wake, (&raw const one).cast(), 8) });
    }
}

// ---- reading and writing ----

/// Most buffers of a call, as for the kernel.
const IOV_MAX: i32 = 1024;

/// A buffer for preadv2 and its like.
fn vector(buffer: *const c_void, n: usize) -> iovec {
    iovec {
        iov_base: buffer.cast_mut(),
        iov_len: n,
    }
}

/// `goroutine_read`.
///
/// # Safety
/// `buffer` has room for `n` bytes.
pub unsafe extern "C" fn read(fd: i32, buffer: *mut c_void, n: usize) -> i64 {
    let v = vector(buffer, n);
    // SAFETY: the caller's promise.
    unsafe {
        if n == 0 {
            return of_nothing(fd, READ, &raw const v, 1);
        }
        transfer::<READ>(fd, &raw const v, 1, n)
    }
}

/// `goroutine_write`.
///
/// # Safety
/// `buffer` holds `n` bytes.
pub unsafe extern "C" fn write(fd: i32, buffer: *const c_void, n: usize) -> i64 {
    let v = vector(buffer, n);
    // SAFETY: the caller's promise.
    unsafe { transfer::<WRITE>(fd, &raw const v, 1, n) }
}

/// `goroutine_readv` (READ) and `goroutine_writev` (WRITE).
///
/// # Safety
/// `vectors` are `count` buffers as readv and writev want them.
pub unsafe fn vectored(fd: i32, direction: u32, vectors: *const iovec, count: i32) -> i64 {
    if !(0..=IOV_MAX).contains(&count) || (vectors.is_null() && count != 0) {
        return i64::from(GOROUTINE_EINVAL);
    }
    // SAFETY: the caller's promise.
    unsafe {
        let total = (0..count as usize).fold(0usize, |sum, i| sum.saturating_add((*vectors.add(i)).iov_len));
        if total == 0 {
            return of_nothing(fd, direction, vectors, count);
        }
        if direction == READ {
            transfer::<READ>(fd, vectors, count, total)
        } else {
            transfer::<WRITE>(fd, vectors, count, total)
        }
    }
}

/// Of no bytes: readv and writev only say whether it could be. (A write of nothing may be a datagram, recvmsg takes one, and a
/// read of nothing may wait.)
unsafe fn of_nothing(fd: i32, direction: u32, vectors: *const iovec, count: i32) -> i64 {
    let Some(stay) = Stay::new(fd) else {
        return i64::from(GOROUTINE_EBADF);
    };
    if let Err(status) = stay.before_call() {
        return i64::from(status);
    }
    // SAFETY: the caller's promise.
    unsafe { plain(fd, direction == READ, vectors, count) }.map_or_else(negative, |n| n as i64)
}

/// DIRECTION is one of the two: each has code of its own, for what most programs do all the time.
#[inline(always)]
unsafe fn transfer<const DIRECTION: u32>(fd: i32, vectors: *const iovec, count: i32, total: usize) -> i64 {
    let call = Transfer::<DIRECTION> {
        vectors,
        count,
        total,
    };
    when_ready(fd, DIRECTION, call)
}

/// Of these buffers, `total` bytes: what [`transfer`] was promised. (A type, and no closure, so that its code is where the first try is.)
struct Transfer<const DIRECTION: u32> {
    vectors: *const iovec,
    count: i32,
    total: usize,
}

impl<const DIRECTION: u32> Call for Transfer<DIRECTION> {
    #[inline(always)]
    fn make(&mut self, stay: &Stay, seen: u32) -> Result<usize, i32> {
        let (vectors, count) = (self.vectors, self.count);
        let kind = &stay.descriptor.kind;
        // SAFETY: the promise that it was made with.
        let done = unsafe {
            if count == 1 && kind.load(Ordering::Relaxed) == TCP {
                match by_socket(stay.fd, DIRECTION == READ, &*vectors) {
                    Err(libc::ENOTSOCK) => attempts(stay, DIRECTION, vectors, count),
                    done => done,
                }
            } else {
                attempts(stay, DIRECTION, vectors, count)
            }
        };
        if let Ok(n) = done
            && n != 0
            && n < self.total
            && kind.load(Ordering::Relaxed) == TCP
        {
            stay.descriptor.drained_by_short(DIRECTION, seen);
        }
        done
    }
}

#[inline(always)]
unsafe fn by_socket(fd: i32, reads: bool, v: &iovec) -> Result<usize, i32> {
    // SAFETY: the caller's promise.
    unsafe {
        if reads {
            socket::receive(fd, v.iov_base, v.iov_len)
        } else {
            socket::send(fd, v.iov_base, v.iov_len)
        }
    }
}

/// System calls until one is of its kind.
#[inline(always)]
unsafe fn attempts(stay: &Stay, direction: u32, vectors: *const iovec, count: i32) -> Result<usize, i32> {
    let (fd, kind) = (stay.fd, &stay.descriptor.kind);
    loop {
        let now = kind.load(Ordering::Relaxed);
        let may_wait = now == CAREFUL || now == FILE || (now == NOWAIT_READS && direction == WRITE);
        if may_wait {
            stay.is_user();
        }
        // SAFETY: the caller's promise.
        if let Some(done) = unsafe { attempt(fd, kind, now, direction, vectors, count) } {
            return done;
        }
        kind.store(next_kind(fd, now, direction), Ordering::Relaxed);
    }
}

/// One system call as its kind, which is `now`, wants it. None: it is not of that kind.
#[inline(never)]
unsafe fn attempt(
    fd: i32,
    kind: &AtomicU32,
    now: u32,
    direction: u32,
    vectors: *const iovec,
    count: i32,
) -> Option<Result<usize, i32>> {
    let reads = direction == READ;
    // SAFETY: the caller's promise.
    unsafe {
        match now {
            UNKNOWN | SOCKET | TCP | LISTENER if count == 1 => {
                socket_or_not(kind, by_socket(fd, reads, &*vectors))
            }
            UNKNOWN | SOCKET | TCP | LISTENER => {
                let mut message: msghdr = std::mem::zeroed();
                message.msg_iov = vectors.cast_mut();
                message.msg_iovlen = count as usize;
                let n = if reads {
                    libc::recvmsg(fd, &mut message, libc::MSG_DONTWAIT)
                } else {
                    libc::sendmsg(fd, &message, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
                };
                socket_or_not(kind, result(n))
            }
            NOWAIT | NOWAIT_READS if reads || now == NOWAIT => {
                let n = if reads {
                    libc::preadv2(fd, vectors, count, -1, libc::RWF_NOWAIT)
                } else {
                    libc::pwritev2(fd, vectors, count, -1, libc::RWF_NOWAIT)
                };
                match result(n) {
                    Err(libc::EOPNOTSUPP | libc::ENOSYS) => None,
                    Err(libc::ESPIPE) => None,
                    done => Some(done),
                }
            }
            FILE => Some(super::file::transfer_here(fd, reads, vectors, count)),
            _ => {
                if libc::fcntl(fd, libc::F_GETFL) & libc::O_NONBLOCK != 0 {
                    return Some(plain(fd, reads, vectors, count));
                }
                if !is_ready_now(fd, events_of(direction)) {
                    return Some(Err(libc::EAGAIN));
                }
                Some(blocking_call(|| plain(fd, reads, vectors, count)))
            }
        }
    }
}

unsafe fn plain(fd: i32, reads: bool, vectors: *const iovec, count: i32) -> Result<usize, i32> {
    // SAFETY: the caller's promise.
    result(unsafe {
        if reads {
            libc::readv(fd, vectors, count)
        } else {
            libc::writev(fd, vectors, count)
        }
    })
}

fn socket_or_not(kind: &AtomicU32, done: Result<usize, i32>) -> Option<Result<usize, i32>> {
    if done == Err(libc::ENOTSOCK) {
        return None;
    }
    if kind.load(Ordering::Relaxed) == UNKNOWN && done != Err(libc::EBADF) {
        kind.store(SOCKET, Ordering::Relaxed);
    }
    Some(done)
}

/// It was not a socket, or knows no RWF_NOWAIT in this direction.
#[cold]
fn next_kind(fd: i32, kind: u32, direction: u32) -> u32 {
    match kind {
        NOWAIT if direction == WRITE => NOWAIT_READS,
        NOWAIT | NOWAIT_READS => CAREFUL,
        _ => {
            // SAFETY: integers; a plain system call.
            let (found, stat) = unsafe {
                let mut stat: libc::stat = std::mem::zeroed();
                (sanitize::look_away(|| libc::fstat(fd, &mut stat)) == 0, stat)
            };
            match stat.st_mode & libc::S_IFMT {
                libc::S_IFREG | libc::S_IFBLK | libc::S_IFDIR if found => FILE,
                _ => NOWAIT,
            }
        }
    }
}

fn is_ready_now(fd: i32, events: i16) -> bool {
    let mut one = libc::pollfd {
        fd,
        events,
        revents: 0,
    };
    // SAFETY: lives through the call.
    unsafe { libc::poll(&mut one, 1, 0) != 0 }
}

/// Makes a system call that may block, while the worker may go on elsewhere.
pub(super) fn blocking_call<R>(f: impl FnOnce() -> R) -> R {
    let g = tls::current();
    // SAFETY: g is the running goroutine; nothing of this thread is kept over `exit`.
    unsafe {
        if g.is_null() || bind::is_bound(g) || (*g).native_stack != 0 || tls::worker().is_null() {
            return f();
        }
        blocking::enter(g);
        let result = f();
        blocking::exit(g, false);
        result
    }
}

// ---- messages ----

/// One of these: the call never waits, and what it finds says nothing of ordinary data.
const NEVER_WAITS: i32 = libc::MSG_DONTWAIT | libc::MSG_ERRQUEUE | libc::MSG_OOB;

/// `goroutine_recvmsg`.
///
/// # Safety
/// `message` is as recvmsg wants it.
pub unsafe fn receive_message(fd: i32, message: *mut msghdr, flags: i32) -> i64 {
    let once = |stay: &Stay, message| {
        // SAFETY: the caller's promise.
        let done = result(unsafe { libc::recvmsg(fd, message, flags | libc::MSG_DONTWAIT) });
        socket_or_not(&stay.descriptor.kind, done).unwrap_or(Err(libc::ENOTSOCK))
    };
    if flags & NEVER_WAITS != 0 {
        return at_once(fd, |stay| once(stay, message));
    }
    if flags & (libc::MSG_WAITALL | libc::MSG_PEEK) == libc::MSG_WAITALL && is_stream(fd) {
        // SAFETY: the caller's promise.
        return unsafe { receive_all(fd, message, once) };
    }
    // A peek takes nothing, and may find nothing where a read does (SO_PEEK_OFF): it asks.
    let want = Want {
        mask: READ,
        uses: flags & libc::MSG_PEEK == 0,
    };
    when(fd, want, |stay: &Stay, _: u32| once(stay, message))
}

/// MSG_WAITALL, which the kernel does not heed if it may not wait: all, or until the end, or until something that came with it.
unsafe fn receive_all(
    fd: i32,
    message: *mut msghdr,
    mut once: impl FnMut(&Stay, *mut msghdr) -> Result<usize, i32>,
) -> i64 {
    // SAFETY: the caller's promise.
    let (vectors, count, room) = unsafe {
        let given = &*message;
        (given.msg_iov, given.msg_iovlen, given.msg_controllen)
    };
    let Ok(vectors_count) = i32::try_from(count) else {
        return i64::from(-libc::EMSGSIZE);
    };
    let mut done = 0;
    let status = when_ready(fd, READ, |stay: &Stay, _: u32| {
        loop {
            // SAFETY: the caller's promise; the kernel has seen these buffers if some were used up.
            unsafe {
                let mut left;
                if done != 0 {
                    left = super::file::rest(vectors, vectors_count, done);
                    ((*message).msg_iov, (*message).msg_iovlen) = (left.as_mut_ptr(), left.len());
                    (*message).msg_controllen = room;
                }
                let got = once(stay, message);
                ((*message).msg_iov, (*message).msg_iovlen) = (vectors, count);
                let n = match got {
                    Ok(n) => n,
                    Err(libc::EAGAIN | libc::EINTR) => return got,
                    Err(_) if done != 0 => return Ok(done), // the next call says it
                    error => return error,
                };
                done += n;
                let total = (0..count).fold(0usize, |sum, i| sum.saturating_add((*vectors.add(i)).iov_len));
                if n == 0 || done >= total || (*message).msg_controllen != 0 {
                    return Ok(done);
                }
            }
        }
    });
    if status < 0 && done != 0 {
        done as i64
    } else {
        status
    }
}

/// `goroutine_sendmsg`.
///
/// # Safety
/// `message` is as sendmsg wants it.
pub unsafe fn send_message(fd: i32, message: *const msghdr, flags: i32) -> i64 {
    let once = |stay: &Stay| {
        // SAFETY: the caller's promise.
        let done =
            result(unsafe { libc::sendmsg(fd, message, flags | libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) });
        socket_or_not(&stay.descriptor.kind, done).unwrap_or(Err(libc::ENOTSOCK))
    };
    if flags & libc::MSG_DONTWAIT != 0 {
        return at_once(fd, once);
    }
    when_ready(fd, WRITE, |stay: &Stay, _: u32| once(stay))
}

/// Makes a call that does not wait; EAGAIN is an answer.
fn at_once(fd: i32, mut call: impl FnMut(&Stay) -> Result<usize, i32>) -> i64 {
    let Some(stay) = Stay::new(fd) else {
        return i64::from(GOROUTINE_EBADF);
    };
    if let Err(status) = stay.before_call() {
        return i64::from(status);
    }
    loop {
        match call(&stay) {
            Err(libc::EINTR) => {}
            done => return done.map_or_else(negative, |n| n as i64),
        }
    }
}

// ---- connections ----

/// Of a socket that is accepted or connected on (I3). Err, too: it is none.
fn make_nonblocking(fd: i32) -> Result<(), i32> {
    option(fd, libc::SO_TYPE)?;
    // SAFETY: plain system calls.
    unsafe {
        let flags = libc::fcntl(fd, libc::F_GETFL);
        if flags < 0
            || (flags & libc::O_NONBLOCK == 0 && libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK) < 0)
        {
            return Err(errno());
        }
    }
    Ok(())
}

/// Out of descriptors or memory: how long an accept tries again before it says so.
const SHORTAGE_NS: u64 = 1_000_000_000;

/// `goroutine_accept`.
///
/// # Safety
/// `address` and `size` are as accept wants them.
pub unsafe extern "C" fn accept(fd: i32, address: *mut sockaddr, size: *mut socklen_t) -> i64 {
    let mut short_since = None;
    when_ready(fd, READ, |stay: &Stay, _: u32| {
        if stay.descriptor.kind.load(Ordering::Relaxed) != LISTENER {
            make_nonblocking(fd)?;
            stay.descriptor.kind.store(LISTENER, Ordering::Relaxed);
        }
        let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        loop {
            // SAFETY: the caller's promise.
            let accepted = result(unsafe { libc::accept4(fd, address, size, flags) } as isize);
            match accepted {
                // The connection is gone, or its network is: the next one.
                Err(
                    libc::ECONNABORTED
                    | libc::EPROTO
                    | libc::ENETDOWN
                    | libc::ENOPROTOOPT
                    | libc::EHOSTDOWN
                    | libc::ENONET
                    | libc::EHOSTUNREACH
                    | libc::ENETUNREACH,
                ) => {}
                Err(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => {
                    let now = now_ns();
                    if now - *short_since.get_or_insert(now) >= SHORTAGE_NS {
                        return accepted;
                    }
                    return Err(NO_EDGE);
                }
                Ok(new) => {
                    is_new(new as i32);
                    return Ok(new);
                }
                // A Unix listener that was shut down says so only to who may wait.
                Err(libc::EAGAIN) if is_ready_now(fd, libc::POLLRDHUP) => return Err(libc::EINVAL),
                error => return error,
            }
        }
    })
}

/// The kernel has just given this number out.
pub(super) fn is_new(fd: i32) {
    if let Some(descriptor) = table::descriptor(fd) {
        // SAFETY: claimed for us, and no lock is held.
        unsafe { wake_chain(descriptor.begin(), GOROUTINE_EBADF) };
    }
}

/// Before a connect: most of them are of new sockets, whose numbers somebody may have closed without telling us. What is known of the number is
/// only relied on if the poller knows the file.
fn look_whether_it_is_new(fd: i32) {
    let Some(stay) = Stay::new(fd) else {
        return;
    };
    let descriptor = stay.descriptor;
    let inside = runtime::enter();
    let poller = inside.as_ref().and_then(|inside| inside.net.poller());
    let Some(poller) = poller.filter(|poller| descriptor.is_registered(poller.id())) else {
        return descriptor.kind.store(UNKNOWN, Ordering::Relaxed);
    };
    let generation = stay.generation.get();
    if poller.knows(fd, generation) {
        return;
    }
    descriptor.kind.store(UNKNOWN, Ordering::Relaxed);
    drop(stay);
    // Nobody who waits for the old file has had an edge of the new one.
    // SAFETY: claimed for us, and no lock is held.
    unsafe { wake_chain(descriptor.begin_at(now_ns()), GOROUTINE_EBADF) };
    if descriptor.is_open(generation) {
        let _ = poller.add_unknown(fd, generation); // somebody is in a call on it: it goes on as it is
    }
}

/// `goroutine_connect`.
///
/// # Safety
/// `address` has `size` bytes.
pub unsafe extern "C" fn connect(fd: i32, address: *const sockaddr, size: socklen_t) -> i64 {
    let mut begun = false;
    look_whether_it_is_new(fd);
    when_ready(fd, WRITE, |stay: &Stay, _: u32| {
        if !begun {
            make_nonblocking(fd)?;
            let kind = &stay.descriptor.kind;
            let _ = kind.compare_exchange(UNKNOWN, SOCKET, Ordering::Relaxed, Ordering::Relaxed);
            // SAFETY: the caller's promise.
            match result(unsafe { libc::connect(fd, address, size) } as isize) {
                // EALREADY: one before, that its deadline ended, goes on.
                Err(libc::EINPROGRESS | libc::EINTR | libc::EALREADY) => {
                    begun = true;
                    return Err(libc::EAGAIN);
                }
                // A Unix listener has as many connections waiting as it wants; no edge will say when it has not.
                Err(libc::EAGAIN) => return Err(NO_EDGE),
                done => return done,
            }
        }
        if !is_ready_now(fd, libc::POLLOUT) {
            return Err(libc::EAGAIN);
        }
        if stay.descriptor.kind.load(Ordering::Relaxed) == TCP || is_tcp(fd) {
            // The kernel takes it for connecting until it has told a connect how that went: only then it knows it for connected, or
            // lets it connect anew.
            // SAFETY: the caller's promise.
            return match result(unsafe { libc::connect(fd, address, size) } as isize) {
                Err(libc::EISCONN) => Ok(0), // somebody else was told
                Err(libc::EALREADY | libc::EINPROGRESS) => Err(libc::EAGAIN),
                done => done,
            };
        }
        match option(fd, libc::SO_ERROR)? {
            0 => Ok(0),
            error => Err(error),
        }
    })
}

/// `goroutine_close`.
pub extern "C" fn close(fd: i32) -> i64 {
    let Some(descriptor) = table::descriptor(fd) else {
        return i64::from(GOROUTINE_EBADF);
    };
    let generation = descriptor.generation();
    match descriptor.close(generation) {
        Close::Already => i64::from(GOROUTINE_EBADF),
        Close::Begun { waiters, now } => {
            // SAFETY: claimed for us, and no lock is held.
            unsafe { wake_chain(waiters, GOROUTINE_EBADF) };
            wake_blocked(fd);
            if now {
                finish_close(fd, descriptor, generation)
            } else {
                0
            }
        }
    }
}

/// There are no users, and this generation is being closed: whoever gets through ends this generation (`netpoll::descriptor`, I3).
#[cold]
fn finish_close(fd: i32, descriptor: &'static Fd, generation: u32) -> i64 {
    if !descriptor.begin_end(generation, &OF_WORKERS, hazard_number()) {
        return 0;
    }
    end(fd, descriptor);
    // It waits for what is unsent, if SO_LINGER says so.
    // SAFETY: a plain system call.
    let closed = blocking_call(|| sanitize::look_away(|| result(unsafe { libc::close(fd) } as isize)));
    // SAFETY: claimed for us, and no lock is held.
    unsafe { wake_chain(descriptor.after_end(), GOROUTINE_OK) };
    wake_blocked(fd); // those, too, who came between the end and the close
    match closed {
        Ok(_) | Err(libc::EINTR) => 0, // it is closed then, too
        Err(error) => negative(error),
    }
}

/// This generation ends: who waits still is told, and so is the poller.
fn end(fd: i32, descriptor: &Fd) {
    let (registered, waiters) = descriptor.end();
    // SAFETY: claimed for us, and no lock is held.
    unsafe { wake_chain(waiters, GOROUTINE_EBADF) };
    forget(fd, registered);
}

/// The poller of this number gives no more edges of `fd`: another process, or a dup, may keep the file.
fn forget(fd: i32, registered: u32) {
    if registered != 0
        && let Some(inside) = runtime::enter()
        && let Some(poller) = inside.net.poller()
        && poller.id() == registered
    {
        poller.remove(fd);
    }
}

/// Between two looks whether the others have left.
const OTHERS_NS: u64 = 50_000;

/// `goroutine_fd_release`: as a close, but the number stays open, and is the caller's alone.
pub extern "C" fn release(fd: i32) -> GoroutineStatus {
    let Some(descriptor) = table::descriptor(fd) else {
        return GOROUTINE_EBADF;
    };
    let Some(stay) = Stay::of(fd, descriptor, 0) else {
        return GOROUTINE_EBADF;
    };
    if stay.is_nobodys() {
        return GOROUTINE_EBADF;
    }
    let Close::Begun { waiters, .. } = descriptor.close(stay.generation.get()) else {
        return GOROUTINE_EBADF;
    };
    std::mem::forget(stay); // its end would close the number
    // SAFETY: claimed for us, and no lock is held.
    unsafe { wake_chain(waiters, GOROUTINE_EBADF) };
    wake_blocked(fd);
    // Whoever waits for a file's call may need this very worker to leave: no spinning for him.
    while !descriptor.has_one_user(&OF_WORKERS, hazard_number()) {
        super::sleep::sleep(OTHERS_NS);
    }
    end(fd, descriptor);
    // SAFETY: claimed for us, and no lock is held.
    unsafe { wake_chain(descriptor.after_end(), GOROUTINE_OK) }; // who came just now may have registered what was forgotten then
    GOROUTINE_OK
}

// ---- waiting ----

/// The directions of poll's events; None: one that is not known here.
fn directions(events: u32) -> Option<u32> {
    const READS: u32 =
        (libc::POLLIN | libc::POLLPRI | libc::POLLRDNORM | libc::POLLRDBAND | libc::POLLRDHUP) as u32;
    const WRITES: u32 = (libc::POLLOUT | libc::POLLWRNORM | libc::POLLWRBAND) as u32;
    let mut mask = 0;
    if events & READS != 0 {
        mask |= READ;
    }
    if events & WRITES != 0 {
        mask |= WRITE;
    }
    (events & !(READS | WRITES) == 0).then_some(mask)
}

/// `goroutine_fd_wait`. Nothing that was found out before is relied on: the descriptor may be somebody else's, who closes it as he likes.
pub fn wait_fd(fd: i32, events: u32, timeout_ns: u64, ready: &mut u32) -> GoroutineStatus {
    let Some(mask) = directions(events) else {
        return GOROUTINE_EINVAL;
    };
    let Some(mut stay) = Stay::new(fd) else {
        return GOROUTINE_EBADF;
    };
    let deadline = park::deadline_after(timeout_ns);
    if let Err(status) = stay.before_call() {
        return status;
    }
    let is_thread = tls::current().is_null();
    loop {
        let seen = stay.descriptor.readiness();
        let mut one = libc::pollfd {
            fd,
            events: events as i16,
            revents: 0,
        };
        // SAFETY: lives through the call.
        if unsafe { libc::poll(&mut one, 1, 0) } != 0 {
            if one.revents & libc::POLLNVAL != 0 {
                return GOROUTINE_EBADF;
            }
            *ready = one.revents as u32;
            return GOROUTINE_OK;
        }
        if timeout_ns == 0 {
            return GOROUTINE_EAGAIN;
        }
        if is_thread {
            let (again, polled) = poll_as_thread(stay, events as i16, deadline);
            match (again, polled) {
                (Some(again), Ok(_)) => stay = again,
                (_, Err(status)) => return status,
                (None, Ok(_)) => return GOROUTINE_EBADF,
            }
            continue;
        }
        if let Err(status) = register_anew(&stay) {
            return status;
        }
        let (descriptor, generation) = (stay.descriptor, stay.generation.get());
        let mut waiter = Waiter::new(Want {
            // An error or hang-up is an edge in both directions.
            mask: if mask == 0 { READ | WRITE } else { mask },
            uses: false,
        });
        let place = &raw mut waiter;
        let (again, status) = stay.outside(|| wait_in_line(descriptor, generation, place, seen, deadline));
        match (again, status) {
            (Some(again), GOROUTINE_OK) => stay = again,
            (None, GOROUTINE_OK) => return GOROUTINE_EBADF,
            (_, status) => return status,
        }
    }
}

/// `goroutine_set_deadline`.
pub extern "C" fn set_deadline(fd: i32, events: u32, timeout_ns: u64) -> GoroutineStatus {
    let Some(mask) = directions(events).filter(|&mask| mask != 0) else {
        return GOROUTINE_EINVAL;
    };
    let Some(stay) = Stay::new(fd) else {
        return GOROUTINE_EBADF;
    };
    if stay.is_nobodys() {
        return GOROUTINE_EBADF;
    }
    stay.descriptor
        .set_deadline(mask, park::deadline_after(timeout_ns));
    GOROUTINE_OK
}
