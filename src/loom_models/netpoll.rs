//! Descriptors: edges, ends and waits.

use super::{Parked, Seat, Shared, free, model, seat};
use crate::goroutine::park::Ready;
use crate::netpoll::descriptor::{Close, Descriptor, DescriptorWaiter, Joined, READ, WRITE, Want, is_ready};
use crate::netpoll::hazard::Hazards;
use crate::sched::idle::Idle;
use crate::sched::net::Net;
use crate::sched::run_queue::RunQueue;
use crate::sync::{AtomicU32, Guarded, Ordering};
use crate::wait::next_claimed;
use loom::sync::Arc;
use loom::thread;

type Fd = Descriptor<Parked>;

const READS: Want = Want {
    mask: READ,
    uses: true,
};
const ASKS: Want = Want {
    mask: READ,
    uses: false,
};

/// What lies in the kernel: bytes to read, and an edge per arrival.
struct Pipe {
    descriptor: Fd,
    bytes: AtomicU32,
}

impl Pipe {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            descriptor: Fd::new(),
            bytes: AtomicU32::new(0),
        })
    }

    /// Some arrive, and the poller hears of it. Gives how many were woken.
    fn arrive(&self, n: u32, generation: u32) -> u32 {
        self.bytes.fetch_add(n, Ordering::AcqRel);
        count(self.descriptor.edge(generation, READ, false))
    }

    /// The system call: one byte, or EAGAIN.
    fn read(&self) -> bool {
        let mut now = self.bytes.load(Ordering::Acquire);
        while now != 0 {
            match (self.bytes).compare_exchange(now, now - 1, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return true,
                Err(other) => now = other,
            }
        }
        false
    }

    /// Reads a byte, or gets in line with `seat`. None: it waits.
    fn read_or_join(&self, generation: u32, seat: Shared<Seat<Want>>) -> Option<u32> {
        loop {
            let seen = self.descriptor.readiness();
            if is_ready(seen, READ) {
                if self.read() {
                    return Some(count(self.descriptor.pass_on(READ)));
                }
                self.descriptor.drained(READ, seen);
            }
            // SAFETY: the seat lives until the end of the model.
            match unsafe { self.descriptor.join(&raw mut (*seat.get()).waiter, generation, 0) } {
                Joined::Waits => return None,
                Joined::Ready => {}
                Joined::Closed => panic!("nobody closes it"),
            }
        }
    }
}

/// Takes a chain apart: how many there were.
fn count(mut chain: *mut DescriptorWaiter<Parked>) -> u32 {
    let mut n = 0;
    // SAFETY: the chain is the caller's.
    while unsafe { next_claimed(&mut chain) }.is_some() {
        n += 1;
    }
    n
}

/// A byte arrives while a reader finds nothing and gets in line: it reads it, or is woken for it.
#[test]
fn loom_netpoll_edge_or_wait() {
    model(|| {
        let pipe = Pipe::new();
        let generation = pipe.descriptor.generation();
        let reader = seat(READS, 0);
        let poller = {
            let pipe = pipe.clone();
            thread::spawn(move || pipe.arrive(1, generation))
        };
        let read = pipe.read_or_join(generation, reader).is_some();
        let woken = poller.join().unwrap();
        assert!(read || woken == 1, "the reader waits for ever");
        // SAFETY: nobody has it any more.
        unsafe { free(reader) };
    });
}

/// Two in line, two bytes, one edge: who is woken reads one and wakes the other.
#[test]
fn loom_netpoll_one_wakes_the_next() {
    model(|| {
        let pipe = Pipe::new();
        let generation = pipe.descriptor.generation();
        let (first, second) = (seat(READS, 0), seat(READS, 0));
        assert!(pipe.read_or_join(generation, first).is_none());
        let poller = {
            let pipe = pipe.clone();
            thread::spawn(move || {
                // Whoever is woken goes on, here as on another worker.
                let mut woken = pipe.arrive(2, generation);
                let mut read = 0;
                while woken != 0 {
                    woken -= 1;
                    let seen = pipe.descriptor.readiness();
                    if pipe.read() {
                        read += 1;
                        woken += count(pipe.descriptor.pass_on(READ));
                    } else {
                        pipe.descriptor.drained(READ, seen);
                    }
                }
                read
            })
        };
        let mut mine = 0;
        let mut woken = 0;
        if let Some(passed) = pipe.read_or_join(generation, second) {
            mine = 1;
            woken = passed;
        }
        while woken != 0 {
            woken -= 1;
            if pipe.read() {
                mine += 1;
                woken += count(pipe.descriptor.pass_on(READ));
            }
        }
        let theirs = poller.join().unwrap();
        assert_eq!(mine + theirs, 2, "somebody waits while there is a byte");
        // SAFETY: nobody has them any more.
        unsafe {
            free(first);
            free(second);
        }
    });
}

/// The wait of a reader times out while a byte arrives: one of the two wins, and the byte is there for the next one.
#[test]
fn loom_netpoll_edge_or_time_out() {
    model(|| {
        let pipe = Pipe::new();
        let generation = pipe.descriptor.generation();
        let (first, second) = (seat(READS, 0), seat(READS, 0));
        assert!(pipe.read_or_join(generation, first).is_none());
        assert!(pipe.read_or_join(generation, second).is_none());
        let poller = {
            let pipe = pipe.clone();
            thread::spawn(move || pipe.arrive(1, generation))
        };
        // SAFETY: the seats live until the end.
        let timed_out = unsafe {
            let won = (*first.get()).word.ready(1) == Ready::Won;
            if won {
                pipe.descriptor.leave_line(&raw mut (*first.get()).waiter);
            }
            won
        };
        let woken = poller.join().unwrap();
        assert_eq!(
            woken, 1,
            "timed out: {timed_out}; somebody else waits while there is a byte"
        );
        // SAFETY: nobody has them any more.
        unsafe {
            free(first);
            free(second);
        }
    });
}

/// One that only asks gets in line while there is an edge: it is woken, or finds the tick.
#[test]
fn loom_netpoll_ask() {
    model(|| {
        let pipe = Pipe::new();
        let generation = pipe.descriptor.generation();
        let asker = seat(ASKS, 0);
        let poller = {
            let pipe = pipe.clone();
            thread::spawn(move || pipe.arrive(1, generation))
        };
        let seen = pipe.descriptor.readiness();
        let has = pipe.bytes.load(Ordering::Acquire) != 0;
        // SAFETY: the seat lives until the end.
        let waits = !has
            && unsafe {
                pipe.descriptor
                    .join(&raw mut (*asker.get()).waiter, generation, seen)
            } == Joined::Waits;
        let woken = poller.join().unwrap();
        assert_eq!(woken == 1, waits);
        // SAFETY: nobody has it any more.
        unsafe { free(asker) };
    });
}

/// A close while another thread makes a call and then waits: the number is given back once, when nobody uses it, and the waiter hears of it.
#[test]
fn loom_netpoll_close() {
    model(|| {
        let descriptor = Arc::new(Fd::new());
        let generation = descriptor.generation();
        // What the kernel's number names: touched by each system call, and changed by the end.
        let file = Arc::new(Guarded::new(1u32));
        let ends = Arc::new(AtomicU32::new(0));
        let end = |descriptor: &Fd, file: &Guarded<u32>, ends: &AtomicU32| {
            assert!(descriptor.end().1.is_null());
            ends.fetch_add(1, Ordering::Relaxed);
            // SAFETY: I3; loom checks.
            unsafe { file.with(|file| *file = 2) };
            assert!(descriptor.after_end().is_null());
        };
        let user = seat(READS, 0);
        let reader = {
            let (descriptor, file, ends) = (descriptor.clone(), file.clone(), ends.clone());
            thread::spawn(move || {
                let Some(entered) = descriptor.enter(generation) else {
                    return None;
                };
                let seen = descriptor.readiness();
                // SAFETY: one reader; I3.
                unsafe { file.with(|file| assert_eq!(*file, 1, "a call on another file")) };
                descriptor.drained(READ, seen);
                if descriptor
                    .leave()
                    .is_some_and(|g| descriptor.begin_end(g, &Hazards::new(), 0))
                {
                    end(&descriptor, &file, &ends);
                }
                // SAFETY: the seat lives until the end.
                Some(unsafe { descriptor.join(&raw mut (*user.get()).waiter, entered, 0) })
            })
        };
        let mut told = 0;
        match descriptor.close(generation) {
            Close::Already => panic!("nobody else closes it"),
            Close::Begun { waiters, now } => {
                told += count(waiters);
                if now && descriptor.begin_end(generation, &Hazards::new(), 0) {
                    end(&descriptor, &file, &ends);
                }
            }
        }
        let joined = reader.join().unwrap();
        assert_eq!(
            told == 1,
            joined == Some(Joined::Waits),
            "it waits for what was closed"
        );
        assert_eq!(ends.load(Ordering::Relaxed), 1);
        assert_eq!(descriptor.generation(), generation + 1);
        // SAFETY: nobody has it any more.
        unsafe { free(user) };
    });
}

/// An edge that the kernel gave for the file that had the number before: nothing of the new one is touched.
#[test]
fn loom_netpoll_stale_edge() {
    model(|| {
        let descriptor = Arc::new(Fd::new());
        let generation = descriptor.generation();
        let poller = {
            let descriptor = descriptor.clone();
            thread::spawn(move || count(descriptor.edge(generation, READ | WRITE, true)))
        };
        let Close::Begun { now: true, .. } = descriptor.close(generation) else {
            panic!("nobody uses it");
        };
        assert!(descriptor.end().1.is_null());
        // The next file of this number is read at once, and waits; then the closer comes back from the kernel.
        let new = descriptor.enter(0).unwrap();
        let seen = descriptor.readiness();
        descriptor.drained(READ, seen);
        assert!(descriptor.leave().is_none());
        let reader = seat(READS, 0);
        // SAFETY: the seat lives until the end.
        let joined = unsafe { descriptor.join(&raw mut (*reader.get()).waiter, new, 0) };
        assert_eq!(joined, Joined::Waits);
        assert_eq!(poller.join().unwrap(), 0, "a stale wake");
        assert_eq!(count(descriptor.after_end()), 1); // it looks again: what it registered may have been closed
        // SAFETY: nobody has it any more.
        unsafe { free(reader) };
    });
}

/// Somebody who is late registers the number while it goes back to the kernel, and is another file's: who comes next does not rely on what
/// became of the old one.
#[test]
fn loom_netpoll_late_registration() {
    model(|| {
        const POLLER: u32 = 1;
        let descriptor = Arc::new(Fd::new());
        // The kernel's: which file has the number, and which one the poller knows by it.
        let kernel = Arc::new(loom::sync::Mutex::new((1u32, 0u32)));
        let Close::Begun { now: true, .. } = descriptor.close(descriptor.generation()) else {
            panic!("nobody uses it");
        };
        assert!(descriptor.end().1.is_null());
        let late = {
            let (descriptor, kernel) = (descriptor.clone(), kernel.clone());
            thread::spawn(move || {
                let generation = descriptor.enter(0).unwrap();
                if descriptor.begin_registration(POLLER, 7) {
                    {
                        let mut kernel = kernel.lock().unwrap();
                        kernel.1 = kernel.0;
                    }
                    descriptor.set_registered(generation, POLLER, 7);
                }
                assert!(descriptor.leave().is_none());
            })
        };
        *kernel.lock().unwrap() = (2, 0); // closed, and given out again
        assert!(descriptor.after_end().is_null());
        late.join().unwrap();
        if !descriptor.begin_registration(POLLER, 8) {
            assert_eq!(kernel.lock().unwrap().1, 2, "the poller knows the old file");
        }
    });
}

/// One who waits without having entered, for the poller knows the descriptor: it is closed meanwhile, and given out again. Nobody waits for what no
/// edge will be told of.
#[test]
fn loom_netpoll_wait_without_entering() {
    model(|| {
        const POLLER: u32 = 1;
        let descriptor = Arc::new(Fd::new());
        let generation = descriptor.generation();
        assert!(descriptor.begin_registration(POLLER, 7));
        descriptor.set_registered(generation, POLLER, 7);
        descriptor.drained(READ, descriptor.readiness());
        let seat = seat(READS, 0);
        let reader = {
            let descriptor = descriptor.clone();
            thread::spawn(move || {
                let seen = descriptor.open_generation()?;
                if !Fd::would_wait(descriptor.readiness(), READ) || !descriptor.is_registered(POLLER) {
                    return None; // enters, and registers
                }
                // SAFETY: the seat lives until the end.
                Some(unsafe { descriptor.join(&raw mut (*seat.get()).waiter, seen, 0) })
            })
        };
        let Close::Begun { waiters, now: true } = descriptor.close(generation) else {
            panic!("nobody uses it");
        };
        let mut told = count(waiters);
        assert!(descriptor.end().1.is_null());
        // The kernel's part: the number is another file's, which the poller does not know.
        told += count(descriptor.after_end());
        descriptor.drained(READ, descriptor.readiness()); // the next one finds nothing
        let joined = reader.join().unwrap();
        assert_eq!(
            told == 1,
            joined == Some(Joined::Waits),
            "it waits for what nobody polls"
        );
        // SAFETY: nobody has it any more.
        unsafe { free(seat) };
    });
}

/// Two closes: one of them closes.
#[test]
fn loom_netpoll_close_once() {
    model(|| {
        let descriptor = Arc::new(Fd::new());
        let generation = descriptor.generation();
        let other = {
            let descriptor = descriptor.clone();
            thread::spawn(move || matches!(descriptor.close(generation), Close::Begun { now: true, .. }))
        };
        let mine = matches!(descriptor.close(generation), Close::Begun { now: true, .. });
        assert!(mine != other.join().unwrap());
    });
}

/// A worker goes to sleep, a thread without a worker begins to wait for a descriptor, and the monitor looks: in the end somebody polls, or is
/// awake and will.
fn somebody_polls(monitor_looks: bool) {
    let net = Arc::new(Net::<u32>::new());
    let idle = Arc::new(Idle::new(0));
    let worker = {
        let (net, idle) = (net.clone(), idle.clone());
        thread::spawn(move || {
            idle.announce(0, std::iter::empty::<&RunQueue<u32>>(), 0, true);
            // Held for ever: it sleeps in the poller. None: it sleeps on its word.
            net.hold().map(std::mem::forget).is_some()
        })
    };
    let monitor = {
        let (net, idle) = (net.clone(), idle.clone());
        thread::spawn(move || {
            if monitor_looks {
                let _ = net.watch(&idle, false, |_| {});
            }
        })
    };
    let _ = net.poller_or_new(|| Ok::<u32, ()>(1));
    let _ = net.claim_one_to_poll(&idle);
    let polls = worker.join().unwrap();
    monitor.join().unwrap();
    assert!(polls || !idle.contains(0), "it sleeps, and nobody polls");
}

#[test]
fn loom_netpoll_somebody_polls() {
    model(|| somebody_polls(false));
}

#[test]
fn loom_netpoll_somebody_polls_after_the_monitor() {
    model(|| somebody_polls(true));
}

/// One holds the poller at a time.
#[test]
fn loom_netpoll_one_holds() {
    model(|| {
        let net = Arc::new(Net::<u32>::new());
        let inside = Arc::new(Guarded::new(0u32));
        let _ = net.poller_or_new(|| Ok::<u32, ()>(1));
        let look = |net: &Net<u32>, inside: &Guarded<u32>| {
            if let Some(_held) = net.hold() {
                // SAFETY: held; loom checks.
                unsafe { inside.with(|n| *n += 1) };
            }
        };
        let other = {
            let (net, inside) = (net.clone(), inside.clone());
            thread::spawn(move || look(&net, &inside))
        };
        look(&net, &inside);
        other.join().unwrap();
    });
}

/// The timer claims the party; its owner takes its waiter out, goes on, and the waiter is gone. False: somebody else ended the wait.
fn time_out(descriptor: &Fd, seat: Shared<Seat<Want>>) -> bool {
    // SAFETY: the seat is alive until this.
    unsafe {
        let won = (*seat.get()).word.ready(1) == Ready::Won;
        if won {
            descriptor.leave_line(&raw mut (*seat.get()).waiter);
            assert!(!(*seat.get()).waiter.is_linked(), "others look at what is gone");
            free(seat);
        }
        won
    }
}

/// Two wait; the first one's deadline passes while a byte arrives: each wait ends in one way, and who is late takes nothing along.
#[test]
fn loom_netpoll_deadline_or_edge() {
    model(|| {
        let pipe = Pipe::new();
        let generation = pipe.descriptor.generation();
        let (first, second) = (seat(READS, 0), seat(READS, 0));
        assert!(pipe.read_or_join(generation, first).is_none());
        assert!(pipe.read_or_join(generation, second).is_none());
        let poller = {
            let pipe = pipe.clone();
            thread::spawn(move || pipe.arrive(1, generation))
        };
        let timed_out = time_out(&pipe.descriptor, first);
        let woken = poller.join().unwrap();
        assert_eq!(
            woken, 1,
            "timed out: {timed_out}; who is left waits while there is a byte"
        );
        // Whom the edge did not wake is in line still, and nobody else.
        let Close::Begun { waiters, now: true } = pipe.descriptor.close(generation) else {
            panic!("nobody uses it");
        };
        assert_eq!(count(waiters), u32::from(!timed_out), "each wait ends once");
        // SAFETY: nobody has them any more.
        unsafe {
            if !timed_out {
                free(first);
            }
            free(second);
        }
    });
}

/// One waits; its deadline passes while there are an edge and a close: one of the three ends the wait. The lock puts edge and close in
/// one order or the other: so they are in a thread together (three that spin for a lock are more than loom can follow).
fn deadline_or_edge_or_close(close_first: bool) {
    let descriptor = Arc::new(Fd::new());
    let generation = descriptor.generation();
    let reader = seat(READS, 0);
    descriptor.drained(READ, descriptor.readiness());
    // SAFETY: the seat lives until its wait is over.
    let joined = unsafe { descriptor.join(&raw mut (*reader.get()).waiter, generation, 0) };
    assert_eq!(joined, Joined::Waits);
    let others = {
        let descriptor = descriptor.clone();
        thread::spawn(move || {
            let close = || match descriptor.close(generation) {
                Close::Begun { waiters, now: true } => count(waiters),
                _ => panic!("nobody uses it"),
            };
            let told = if close_first { close() } else { 0 };
            let woken = count(descriptor.edge(generation, READ, false));
            told + woken + if close_first { 0 } else { close() }
        })
    };
    let timed_out = time_out(&descriptor, reader);
    let ended = others.join().unwrap();
    assert_eq!(u32::from(timed_out) + ended, 1, "the wait ends once");
    if !timed_out {
        // SAFETY: nobody has it any more.
        unsafe { free(reader) };
    }
}

#[test]
fn loom_netpoll_deadline_or_edge_then_close() {
    model(|| deadline_or_edge_or_close(false));
}

#[test]
fn loom_netpoll_deadline_or_close_then_edge() {
    model(|| deadline_or_edge_or_close(true));
}

/// A reader that was woken for a byte finds that its deadline has passed, and makes no call; another one gets in line meanwhile. It reads the byte.
#[test]
fn loom_netpoll_late_after_its_wake() {
    model(|| {
        let pipe = Pipe::new();
        let generation = pipe.descriptor.generation();
        let (late, other) = (seat(READS, 0), seat(READS, 0));
        assert!(pipe.read_or_join(generation, late).is_none());
        let poller = {
            let pipe = pipe.clone();
            thread::spawn(move || {
                let woken = pipe.arrive(1, generation);
                assert_eq!(woken, 1);
                count(pipe.descriptor.pass_on_unused(READ))
            })
        };
        let read = pipe.read_or_join(generation, other).is_some();
        let woken = poller.join().unwrap();
        assert!(read || woken == 1, "the other one waits while there is a byte");
        // SAFETY: nobody has them any more.
        unsafe {
            free(late);
            free(other);
        }
    });
}

/// A deadline is set and taken away while a call begins, and the descriptor ends: a call has one that was set, or none, and the next file none.
#[test]
fn loom_netpoll_deadline_changes() {
    model(|| {
        let descriptor = Arc::new(Fd::new());
        let generation = descriptor.generation();
        let reader = {
            let descriptor = descriptor.clone();
            thread::spawn(move || {
                let entered = descriptor.enter(generation)?;
                assert_eq!(entered, generation);
                let deadline = descriptor.deadline(READ, descriptor.readiness());
                let other = descriptor.deadline(WRITE, descriptor.readiness());
                Some((deadline, other, descriptor.leave()))
            })
        };
        assert!(descriptor.enter(generation).is_some());
        descriptor.set_deadline(READ, 7);
        descriptor.set_deadline(READ, u64::MAX);
        descriptor.set_deadline(READ, 9);
        assert!(descriptor.leave().is_none());
        let Close::Begun { now, .. } = descriptor.close(generation) else {
            panic!("nobody else closes it");
        };
        let seen = reader.join().unwrap();
        assert!(now || seen.is_some_and(|(_, _, last)| last.is_some()));
        if let Some((deadline, other, _)) = seen {
            assert!([7, 9, u64::MAX].contains(&deadline) && other == u64::MAX);
        }
        assert!(descriptor.end().1.is_null());
        assert_eq!(descriptor.deadline(READ, descriptor.readiness()), u64::MAX);
        assert!(descriptor.after_end().is_null());
    });
}

/// A number's file is another one's, of which the poller knows nothing; somebody gets in line while the monitor looks. Within its next looks it asks about
/// the wait, and once; where there are edges it never asks.
#[test]
fn loom_netpoll_lasting_wait() {
    model(|| {
        let descriptor = Arc::new(Fd::new());
        let generation = descriptor.generation();
        descriptor.drained(READ, descriptor.readiness());
        let reader = seat(READS, 0);
        let monitor = {
            let descriptor = descriptor.clone();
            thread::spawn(move || {
                let (before, lasts) = descriptor.look(0);
                assert!(!lasts, "it has seen it once");
                descriptor.look(before)
            })
        };
        // SAFETY: the seat lives until the end.
        let joined = unsafe { descriptor.join(&raw mut (*reader.get()).waiter, generation, 0) };
        assert_eq!(joined, Joined::Waits);
        let (mut before, mut asked) = monitor.join().unwrap();
        for _ in 0..2 {
            let lasts;
            (before, lasts) = descriptor.look(before);
            assert!(!(asked && lasts), "one wait is asked about once");
            asked |= lasts;
        }
        assert!(asked, "it waits for ever");
        assert_eq!(descriptor.look(before), (0, false));
        assert_eq!(count(descriptor.edge(generation, READ, false)), 1);
        // SAFETY: nobody has it any more.
        unsafe { free(reader) };
    });
}

/// The monitor looks while an edge ends one wait and another one begins: within its next looks it asks about that one.
#[test]
fn loom_netpoll_lasting_over_an_edge() {
    model(|| {
        let descriptor = Arc::new(Fd::new());
        let generation = descriptor.generation();
        descriptor.drained(READ, descriptor.readiness());
        let seats = [seat(READS, 0), seat(READS, 0)];
        // SAFETY: the seats live until the end.
        let joins = |descriptor: &Fd, i: usize| unsafe {
            descriptor.join(&raw mut (*seats[i].get()).waiter, generation, 0)
        };
        assert_eq!(joins(&descriptor, 0), Joined::Waits);
        let monitor = {
            let descriptor = descriptor.clone();
            thread::spawn(move || descriptor.look(0))
        };
        assert_eq!(count(descriptor.edge(generation, READ, false)), 1);
        descriptor.drained(READ, descriptor.readiness());
        assert_eq!(joins(&descriptor, 1), Joined::Waits);
        let (mut before, mut asked) = monitor.join().unwrap();
        for _ in 0..3 {
            let lasts;
            (before, lasts) = descriptor.look(before);
            asked |= lasts;
        }
        assert!(asked, "it waits for ever");
        assert_eq!(count(descriptor.edge(generation, READ, false)), 1);
        for seat in seats {
            // SAFETY: nobody has it any more.
            unsafe { free(seat) };
        }
    });
}

/// The last user ends what is being closed, and the number is given out again, before the closer has told those who waited: they are told then, before
/// the number goes back, and he tells none of the next.
#[test]
fn loom_netpoll_close_tells_its_own() {
    model(|| {
        let descriptor = Arc::new(Fd::new());
        let generation = descriptor.enter(0).unwrap();
        descriptor.drained(READ, descriptor.readiness());
        let (old, next) = (seat(READS, 0), seat(READS, 0));
        // SAFETY: the seat lives until the end.
        let joined = unsafe { descriptor.join(&raw mut (*old.get()).waiter, generation, 0) };
        assert_eq!(joined, Joined::Waits);
        let user = {
            let descriptor = descriptor.clone();
            thread::spawn(move || {
                let last = descriptor.leave()?;
                assert!(descriptor.begin_end(last, &Hazards::new(), 0));
                let (_, waiters) = descriptor.end();
                let told = count(waiters);
                assert!(descriptor.after_end().is_null(), "it was told late");
                descriptor.drained(READ, descriptor.readiness());
                // SAFETY: the seat lives until the end.
                let joined = unsafe { descriptor.join(&raw mut (*next.get()).waiter, last + 1, 0) };
                assert_eq!(joined, Joined::Waits);
                Some(told)
            })
        };
        let Close::Begun { waiters, now } = descriptor.close(generation) else {
            panic!("nobody else closes it");
        };
        let told = count(waiters);
        let told_then = user.join().unwrap();
        assert_eq!(told_then.is_some(), !now);
        assert_eq!(
            told + told_then.unwrap_or(0),
            1,
            "of the two, the old one is told"
        );
        if told_then.is_some() {
            assert_eq!(count(descriptor.edge(generation + 1, READ, false)), 1);
        }
        // SAFETY: nobody has them any more.
        unsafe {
            free(old);
            free(next);
        }
    });
}
