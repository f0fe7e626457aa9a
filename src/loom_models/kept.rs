//! Stays that a worker keeps: closes, and what a read says later.

use super::{Parked, free, model, seat};
use crate::netpoll::descriptor::{Close, Descriptor, Joined, READ, Want, is_ready};
use crate::sched::kept::Kept;
use crate::sched::run_queue::RunQueue;
use crate::sync::{AtomicU32, Guarded, Ordering};
use crate::wait::next_claimed;
use loom::sync::Arc;
use loom::thread;

type Fd = Descriptor<Parked>;

struct World {
    gate: RunQueue<u32>,
    kept: Kept<Parked>,
    descriptor: Fd,
    other: Fd,
    /// 1: it is open. Touched by calls, and by its end.
    file: Guarded<u32>,
    ends: AtomicU32,
}

impl World {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            gate: RunQueue::new(2),
            kept: Kept::new(),
            descriptor: Fd::new(),
            other: Fd::new(),
            file: Guarded::new(1),
            ends: AtomicU32::new(0),
        })
    }

    fn leave(&self) {
        if self.descriptor.leave() {
            self.end();
        }
    }

    fn end(&self) {
        let _ = self.descriptor.end();
        self.ends.fetch_add(1, Ordering::Relaxed);
        // SAFETY: nobody is in a call; loom checks.
        unsafe { self.file.with(|file| *file = 2) };
        assert!(self.descriptor.after_end().is_null());
    }

    /// The worker's call on `descriptor`, as `ops::io` makes it. False: it is closed.
    fn call(&self, generation: u32) -> bool {
        let kept = self.kept.go_on(&self.gate, &self.descriptor).is_some();
        if !kept && self.descriptor.enter(generation).is_none() {
            return false;
        }
        // SAFETY: the worker's calls are one after the other.
        unsafe {
            self.file
                .with(|file| assert_eq!(*file, 1, "a call on another file"))
        };
        if !self.kept.keep(&self.gate, &self.descriptor, 0) {
            self.leave();
        }
        true
    }

    fn close(&self, generation: u32) {
        match self.descriptor.close(generation) {
            Close::Already => panic!("nobody else closes it"),
            Close::Begun { now: true, .. } => self.end(),
            Close::Begun { now: false, .. } => self.take_back(),
        }
    }

    /// As `ops::io::take_back`.
    fn take_back(&self) {
        Kept::<Parked>::before_take_back();
        if self.kept.take_back(&self.gate, &self.descriptor, true) {
            self.end();
        }
    }
}

/// A worker keeps the stay of its last call, and never comes back to it. A close ends the descriptor all the same, once, and in no call.
#[test]
fn loom_kept_close() {
    model(|| {
        let world = World::new();
        let generation = world.descriptor.generation();
        let worker = {
            let world = world.clone();
            thread::spawn(move || {
                let _ = world.call(generation) && world.call(generation);
            })
        };
        world.close(generation);
        worker.join().unwrap();
        assert_eq!(
            world.ends.load(Ordering::Relaxed),
            1,
            "the close waits for a worker that computes"
        );
        assert_eq!(world.descriptor.generation(), generation + 1);
    });
}

/// The worker goes on to another descriptor while this one is closed, and no call on it is under way: when the close is over, so is the descriptor, and the
/// worker had no part in its end.
#[test]
fn loom_kept_left_for_another() {
    model(|| {
        let world = World::new();
        let generation = world.descriptor.generation();
        assert!(world.call(generation));
        let worker = {
            let world = world.clone();
            thread::spawn(move || {
                assert!(world.kept.go_on(&world.gate, &world.other).is_none());
                let entered = world.other.enter(0);
                assert!(entered.is_some());
                if !world.kept.keep(&world.gate, &world.other, 0) {
                    assert!(!world.other.leave());
                }
            })
        };
        world.close(generation);
        assert_eq!(world.ends.load(Ordering::Relaxed), 1, "the number is still open");
        worker.join().unwrap();
        assert!(!world.kept.is_of(&raw const world.descriptor));
    });
}

/// Somebody wants no users there, and another one closes it: it is left once, and ends once.
#[test]
fn loom_kept_wanted_by_two() {
    model(|| {
        let world = World::new();
        let generation = world.descriptor.generation();
        assert!(world.call(generation));
        let asks = {
            let world = world.clone();
            thread::spawn(move || {
                Kept::<Parked>::before_take_back();
                assert!(!world.kept.take_back(&world.gate, &world.descriptor, false));
            })
        };
        world.close(generation);
        assert_eq!(world.ends.load(Ordering::Relaxed), 1, "the number is still open");
        asks.join().unwrap();
        assert!(!world.descriptor.has_users());
    });
}

/// A read took all there was, and the descriptor is told of it when the reader gets in line: no edge between is overlooked.
#[test]
fn loom_kept_drained_is_told_later() {
    model(|| {
        let world = World::new();
        let generation = world.descriptor.generation();
        let bytes = Arc::new(AtomicU32::new(1));
        let poller = {
            let (world, bytes) = (world.clone(), bytes.clone());
            thread::spawn(move || {
                bytes.fetch_add(1, Ordering::AcqRel);
                let mut chain = world.descriptor.edge(generation, READ, false);
                // SAFETY: the chain is ours.
                unsafe { next_claimed(&mut chain) }.is_some()
            })
        };
        let reader = seat(
            Want {
                mask: READ,
                uses: true,
            },
            0,
        );
        let mut drained = 0;
        let mut read = 0;
        let waits = loop {
            let seen = world.descriptor.readiness();
            if is_ready(seen, READ) && !Fd::would_wait(seen, READ, drained) {
                read += bytes.swap(0, Ordering::AcqRel); // short
                drained = seen;
                if read == 2 {
                    break false;
                }
            }
            // SAFETY: the seat lives until the end.
            match unsafe {
                world
                    .descriptor
                    .join(&raw mut (*reader.get()).waiter, generation, drained)
            } {
                Joined::Waits => break true,
                Joined::Ready => drained = 0,
                Joined::Closed => panic!("nobody closes it"),
            }
        };
        let woken = poller.join().unwrap();
        assert_eq!(waits, woken, "the reader waits for ever");
        // SAFETY: nobody has it any more.
        unsafe { free(reader) };
    });
}
