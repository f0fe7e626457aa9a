//! Stopping the world: what the stopper looks at while all stand, nobody else touches.

use super::model;
use crate::sched::world_word::{Runner, Stand, WorldWord, all_stand};
use crate::sync::{AtomicU32, AtomicU64, Guarded, Ordering, fence_light};
use loom::sync::Arc;
use loom::thread;

/// A thread, its goroutine, and what that one has: loom finds out whether two touch it at a time.
struct One {
    stand: Stand,
    /// 0: between two goroutines; else which one runs.
    current: AtomicU32,
    preempt: [AtomicU32; 2],
    foreign_sp: [AtomicU64; 2],
    heap: Guarded<u32>,
}

impl One {
    fn new() -> Self {
        Self {
            stand: Stand::new(),
            current: AtomicU32::new(0),
            preempt: [AtomicU32::new(0), AtomicU32::new(0)],
            foreign_sp: [AtomicU64::new(0), AtomicU64::new(0)],
            heap: Guarded::new(0),
        }
    }

    /// Language code: a goroutine's, or the scheduler's between two.
    fn touch(&self) {
        // SAFETY: nobody else may now; loom checks.
        unsafe { self.heap.with(|n| *n += 1) };
    }

    fn come_in(&self, world: &WorldWord) {
        while !self.stand.come_in(world) {
            world.arrive();
            while world.stops() {
                thread::yield_now();
            }
        }
    }

    fn go_out(&self, world: &WorldWord) {
        if self.stand.go_out(world) {
            world.arrive();
        }
    }

    /// `goroutine_safepoint`.
    fn safepoint(&self, g: usize, world: &WorldWord) {
        if self.preempt[g].load(Ordering::Relaxed) == 0 {
            return;
        }
        self.preempt[g].swap(0, Ordering::AcqRel);
        if world.stops() {
            self.go_out(world);
            self.come_in(world);
        }
    }

    /// The inline sequence of docs/jit.md around a C function, which touches nothing of the language's. Program order is all the fence there is:
    /// in a model that is a full one, as everywhere (`sync::fence_light`).
    fn calls_c(&self, g: usize, world: &WorldWord) {
        self.foreign_sp[g].store(1, Ordering::Release);
        self.foreign_sp[g].store(0, Ordering::Relaxed);
        if !crate::sync::mutated!("world_return_without_order") {
            fence_light();
        }
        self.safepoint(g, world);
    }
}

struct Seen<'a>(&'a One);

impl Runner for Seen<'_> {
    type Current = usize;
    fn stand(&self) -> &Stand {
        &self.0.stand
    }
    fn raise(&self) -> Option<usize> {
        let g = self.0.current.load(Ordering::Acquire).checked_sub(1)? as usize;
        if !crate::sync::mutated!("world_raises_nothing") {
            self.0.preempt[g].store(1, Ordering::SeqCst);
        }
        Some(g)
    }
    fn is_foreign(&self, g: usize) -> bool {
        let is_same = self.0.current.load(Ordering::Acquire) == g as u32 + 1;
        let g = if crate::sync::mutated!("world_looks_at_another") {
            (self.0.current.load(Ordering::Acquire).max(1) - 1) as usize
        } else {
            g
        };
        self.0.foreign_sp[g].load(Ordering::Acquire) != 0
            && (is_same || crate::sync::mutated!("world_looks_at_another"))
    }
}

/// A few looks, as a time-out would allow; then the world runs on. What was found is the stopper's in between.
fn stop_and_look(world: &WorldWord, all: &[&One]) {
    world.stop();
    let seen: Vec<Seen> = all.iter().map(|one| Seen(one)).collect();
    for _ in 0..2 {
        if all_stand(&seen) {
            for one in all {
                // SAFETY: all stand; loom checks.
                unsafe { one.heap.with(|n| *n += 100) };
            }
            break;
        }
        thread::yield_now();
    }
    world.start();
}

/// A thread that comes in, runs, and goes out again.
#[test]
fn loom_world_thread_comes_and_goes() {
    model(|| {
        let (world, one) = (Arc::new(WorldWord::new()), Arc::new(One::new()));
        let runner = {
            let (world, one) = (world.clone(), one.clone());
            thread::spawn(move || {
                one.come_in(&world);
                one.touch();
                one.go_out(&world);
            })
        };
        stop_and_look(&world, &[&one]);
        runner.join().unwrap();
    });
}

/// A goroutine that calls C, and finds out when that returns.
#[test]
fn loom_world_foreign_code_returns() {
    model(|| {
        let (world, one) = (Arc::new(WorldWord::new()), Arc::new(One::new()));
        one.come_in(&world);
        one.current.store(1, Ordering::Relaxed);
        let runner = {
            let (world, one) = (world.clone(), one.clone());
            thread::spawn(move || {
                one.touch();
                one.calls_c(0, &world);
                one.touch();
            })
        };
        stop_and_look(&world, &[&one]);
        runner.join().unwrap();
    });
}

/// The same, where another goroutine of the thread calls C than the one that was asked: it would not know.
#[test]
fn loom_world_another_calls_c() {
    model(|| {
        let (world, one) = (Arc::new(WorldWord::new()), Arc::new(One::new()));
        one.come_in(&world);
        one.current.store(1, Ordering::Relaxed);
        let runner = {
            let (world, one) = (world.clone(), one.clone());
            thread::spawn(move || {
                one.current.store(2, Ordering::Release);
                one.calls_c(1, &world);
                one.touch();
            })
        };
        stop_and_look(&world, &[&one]);
        runner.join().unwrap();
    });
}

/// The stopper sleeps on arrivals, without a look at the clock: it does not sleep past the last one.
#[test]
fn loom_world_stopper_is_told() {
    model(|| {
        let (world, one) = (Arc::new(WorldWord::new()), Arc::new(One::new()));
        one.come_in(&world);
        let runner = {
            let (world, one) = (world.clone(), one.clone());
            thread::spawn(move || {
                one.touch();
                if !crate::sync::mutated!("world_tells_nobody") {
                    one.go_out(&world);
                } else {
                    let _ = one.stand.go_out(&world);
                }
            })
        };
        world.stop();
        loop {
            let arrivals = world.arrivals();
            if all_stand(&[Seen(&one)]) {
                break;
            }
            while world.arrivals() == arrivals {
                thread::yield_now(); // asleep
            }
        }
        // SAFETY: it stands; loom checks.
        unsafe { one.heap.with(|n| *n += 100) };
        world.start();
        runner.join().unwrap();
    });
}
