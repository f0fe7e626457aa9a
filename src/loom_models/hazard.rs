//! Calls on descriptors that are biased to a worker: closes, users beside it, ends that nobody told of.

use super::{Parked, model};
use crate::netpoll::descriptor::{Close, Descriptor};
use crate::netpoll::hazard::{Hazard, Hazards};
use crate::sync::{AtomicU32, Guarded, Ordering};
use loom::sync::Arc;
use loom::thread;

/// The worker that it is biased to, from the start.
const OWNER: usize = 0;

struct World {
    descriptor: Descriptor<Parked>,
    hazards: Hazards,
    /// Touched by calls, and by the end: loom sees one in the other.
    calls: [Guarded<u32>; 2],
    ends: AtomicU32,
}

/// A call is under way.
enum Stay<'a> {
    User,
    Visit(&'a Hazard),
}

impl World {
    fn new() -> Arc<Self> {
        let world = Arc::new(Self {
            descriptor: Descriptor::new(),
            hazards: Hazards::new(),
            calls: [const { () }; 2].map(|()| Guarded::new(0)),
            ends: AtomicU32::new(0),
        });
        assert!(world.descriptor.enter_from(world.owner(), 0).is_some());
        assert!(world.descriptor.leave().is_none());
        assert!(world.descriptor.is_biased_to(world.owner()));
        world
    }

    fn owner(&self) -> &Hazard {
        self.hazards.of(OWNER).unwrap()
    }

    /// As `ops::io` enters. The owner makes the calls of place 0.
    fn enter(&self, worker: usize, generation: u32) -> Option<Stay<'_>> {
        let hazard = self.hazards.of(worker).unwrap();
        if !self.descriptor.is_biased_to(hazard) {
            return self.descriptor.enter_from(hazard, generation).map(|_| Stay::User);
        }
        let stay = Stay::Visit(hazard);
        if self.descriptor.visit(hazard, generation).is_none() {
            self.leave(worker, stay);
            return None;
        }
        Some(stay)
    }

    fn call(&self, worker: usize) {
        assert_eq!(self.ends.load(Ordering::Relaxed), 0, "a call on another file");
        // SAFETY: a worker's calls are one after the other; the end is in none of them; loom checks.
        unsafe { self.calls[worker].with(|calls| *calls += 1) };
    }

    fn leave(&self, worker: usize, stay: Stay) {
        let last = match stay {
            Stay::User => self.descriptor.leave(),
            Stay::Visit(hazard) => self.descriptor.end_visit(hazard),
        };
        if let Some(generation) = last {
            self.end(worker, generation);
        }
    }

    /// As `ops::io::finish_close`.
    fn end(&self, worker: usize, generation: u32) {
        if self
            .descriptor
            .begin_end(generation, &self.hazards, worker as u32 + 1)
        {
            self.is_over();
        }
    }

    fn is_over(&self) {
        for calls in &self.calls {
            // SAFETY: nobody is in a call; loom checks.
            unsafe { calls.with(|calls| *calls += 1) };
        }
        self.ends.fetch_add(1, Ordering::Relaxed);
        assert!(self.descriptor.end().1.is_null());
    }

    fn close(&self, worker: usize, generation: u32) {
        if let Close::Begun { now: true, .. } = self.descriptor.close(generation) {
            self.end(worker, generation);
        }
    }

    fn ended_once(&self, generation: u32) {
        assert_eq!(self.ends.load(Ordering::Relaxed), 1);
        assert_eq!(self.descriptor.generation(), generation + 1);
    }
}

/// A worker makes a call.
fn calls(world: &Arc<World>, worker: usize, generation: u32) -> thread::JoinHandle<()> {
    let world = world.clone();
    thread::spawn(move || {
        if let Some(stay) = world.enter(worker, generation) {
            world.call(worker);
            world.leave(worker, stay);
        }
    })
}

/// The owner makes one that turns out to wait.
fn becomes_a_user(world: &Arc<World>, generation: u32) -> thread::JoinHandle<()> {
    let world = world.clone();
    thread::spawn(move || {
        if let Some(Stay::Visit(hazard)) = world.enter(OWNER, generation) {
            assert_eq!(world.descriptor.visitor_is_user(hazard), generation);
            assert!(hazard.is_free(), "for other goroutines");
            world.call(OWNER);
            world.leave(OWNER, Stay::User);
        }
    })
}

/// It makes a call; somebody else closes.
#[test]
fn loom_hazard_close() {
    model(|| {
        let world = World::new();
        let generation = world.descriptor.generation();
        let owner = calls(&world, OWNER, generation);
        world.close(1, generation);
        owner.join().unwrap();
        world.ended_once(generation);
    });
}

/// A user beside it.
#[test]
fn loom_hazard_and_a_user() {
    model(|| {
        let world = World::new();
        let generation = world.descriptor.generation();
        let callers = [OWNER, 1].map(|worker| calls(&world, worker, generation));
        world.close(1, generation);
        for caller in callers {
            caller.join().unwrap();
        }
        world.ended_once(generation);
    });
}

/// Its call turns out to be one that waits.
#[test]
fn loom_hazard_becomes_a_user() {
    model(|| {
        let world = World::new();
        let generation = world.descriptor.generation();
        let owner = becomes_a_user(&world, generation);
        world.close(1, generation);
        owner.join().unwrap();
        world.ended_once(generation);
    });
}

/// It closes, between its calls; somebody else is in one.
#[test]
fn loom_hazard_of_the_closer() {
    model(|| {
        let world = World::new();
        let generation = world.descriptor.generation();
        let user = calls(&world, 1, generation);
        let stay = world.enter(OWNER, generation).expect("it is open");
        world.call(OWNER);
        world.leave(OWNER, stay);
        world.close(OWNER, generation);
        user.join().unwrap();
        world.ended_once(generation);
    });
}

/// The number stays open, and is the closer's alone, once nobody else is in a call.
#[test]
fn loom_hazard_release() {
    model(|| {
        let world = World::new();
        let generation = world.descriptor.generation();
        let owner = becomes_a_user(&world, generation);
        assert!(world.descriptor.enter(generation).is_some());
        let Close::Begun { now: false, .. } = world.descriptor.close(generation) else {
            panic!("we are a user");
        };
        while !world.descriptor.has_one_user(&world.hazards, 2) {
            thread::yield_now();
        }
        world.is_over();
        owner.join().unwrap();
        world.ended_once(generation);
    });
}

/// Somebody closed the file without telling us, the number was given out anew, and the worker is still in a call: the close of the new one waits for it.
#[test]
fn loom_hazard_over_an_end_unseen() {
    model(|| {
        let world = World::new();
        let generation = world.descriptor.generation();
        world.descriptor.kind.store(1, Ordering::Relaxed);
        let owner = calls(&world, OWNER, generation);
        assert!(world.descriptor.begin().is_null());
        assert_eq!(world.descriptor.generation(), generation + 1);
        world.close(1, generation + 1);
        owner.join().unwrap();
        world.ended_once(generation + 1);
    });
}

/// The number was closed, and given out again; the new file is not biased to the worker that was late.
#[test]
fn loom_hazard_late_for_the_next() {
    model(|| {
        let world = World::new();
        let generation = world.descriptor.generation();
        let late = {
            let world = world.clone();
            thread::spawn(move || {
                if world.descriptor.is_biased_to(world.owner()) {
                    let stay = Stay::Visit(world.owner());
                    if world.descriptor.visit(world.owner(), 0).is_some() {
                        // SAFETY: a worker's calls are one after the other; the end is in none of them; loom checks.
                        unsafe { world.calls[OWNER].with(|calls| *calls += 1) };
                    }
                    world.leave(OWNER, stay);
                }
            })
        };
        world.close(1, generation);
        // (It ends late if the worker is in a call.)
        if world.descriptor.generation() == generation + 1 {
            world.close(1, generation + 1);
            late.join().unwrap();
            assert_eq!(world.ends.load(Ordering::Relaxed), 2);
        } else {
            late.join().unwrap();
            world.ended_once(generation);
        }
    });
}

/// The number was given out anew while the worker was in a call that then has to wait: it knows which file it is a user of.
#[test]
fn loom_hazard_late_user() {
    model(|| {
        let world = World::new();
        let generation = world.descriptor.generation();
        world.descriptor.kind.store(1, Ordering::Relaxed);
        let owner = {
            let world = world.clone();
            thread::spawn(move || {
                if let Some(Stay::Visit(hazard)) = world.enter(OWNER, generation) {
                    let now = world.descriptor.visitor_is_user(hazard);
                    assert_eq!(world.descriptor.generation(), now, "it tells the poller so");
                    world.leave(OWNER, Stay::User);
                }
            })
        };
        assert!(world.descriptor.begin().is_null());
        owner.join().unwrap();
    });
}

/// A closer is late: the worker has ended what he closes, and the next file of this number is being closed by another one, who has ended it when he is through.
#[test]
fn loom_hazard_late_closer() {
    model(|| {
        let world = World::new();
        let generation = world.descriptor.generation();
        let stay = world.enter(OWNER, generation).expect("it is open");
        let late = {
            let world = world.clone();
            thread::spawn(move || world.close(1, generation))
        };
        world.leave(OWNER, stay);
        if world.ends.load(Ordering::Relaxed) == 1 && world.descriptor.generation() == generation + 1 {
            world.close(OWNER, generation + 1);
            assert_eq!(
                world.ends.load(Ordering::Relaxed),
                2,
                "it is closed, and still open"
            );
        }
        late.join().unwrap();
        assert_eq!(
            world.descriptor.generation() - generation,
            world.ends.load(Ordering::Relaxed)
        );
    });
}
