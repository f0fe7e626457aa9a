//! Stopping the world: what the stopper looks at while all stand, nobody else touches.

use super::model;
use crate::sched::world_word::{Runner, Stand, WorldWord, all_stand};
use crate::sync::{AtomicU32, AtomicU64, Guarded, Ordering, fence_light};
use loom::sync::{Arc, Mutex};
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
        if world.stops() && !crate::sync::mutated!("world_safepoint_only_yields") {
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

/// A loop that polls, and somebody else who asks it to give way meanwhile: what that one stores over the stopper's, or takes the look that
/// was meant for it, does not let the loop run on.
#[test]
fn loom_world_preempt_for_another_reason() {
    model(|| {
        let (world, one) = (Arc::new(WorldWord::new()), Arc::new(One::new()));
        one.come_in(&world);
        one.current.store(1, Ordering::Relaxed);
        let runner = {
            let (world, one) = (world.clone(), one.clone());
            thread::spawn(move || {
                one.safepoint(0, &world);
                one.touch();
            })
        };
        let asks = {
            let one = one.clone();
            thread::spawn(move || one.preempt[0].store(1, Ordering::SeqCst)) // `goroutine_cancel`
        };
        stop_and_look(&world, &[&one]);
        runner.join().unwrap();
        asks.join().unwrap();
    });
}

/// The same for one that comes back from C.
#[test]
fn loom_world_foreign_code_returns_to_another_request() {
    model(|| {
        let (world, one) = (Arc::new(WorldWord::new()), Arc::new(One::new()));
        one.come_in(&world);
        one.current.store(1, Ordering::Relaxed);
        let runner = {
            let (world, one) = (world.clone(), one.clone());
            thread::spawn(move || {
                one.calls_c(0, &world);
                one.touch();
            })
        };
        let asks = {
            let one = one.clone();
            thread::spawn(move || one.preempt[0].store(1, Ordering::SeqCst))
        };
        stop_and_look(&world, &[&one]);
        runner.join().unwrap();
        asks.join().unwrap();
    });
}

/// Two who stop, in turn, each of whom finds what the other one wrote; and a thread that may wait from the one's stop into the other's.
#[test]
fn loom_world_two_stop() {
    model(|| {
        let (world, one, turn) = (
            Arc::new(WorldWord::new()),
            Arc::new(One::new()),
            Arc::new(Mutex::new(())),
        );
        let runner = {
            let (world, one) = (world.clone(), one.clone());
            thread::spawn(move || {
                one.come_in(&world);
                one.touch();
                one.go_out(&world);
            })
        };
        let stops = |world: &WorldWord, one: &One, turn: &Mutex<()>| {
            let its_turn = turn.lock().unwrap();
            if crate::sync::mutated!("world_second_takes_no_turn") {
                drop(its_turn);
                stop_and_look(world, &[one]);
            } else {
                stop_and_look(world, &[one]);
                drop(its_turn);
            }
        };
        let second = {
            let (world, one, turn) = (world.clone(), one.clone(), turn.clone());
            thread::spawn(move || stops(&world, &one, &turn))
        };
        stops(&world, &one, &turn);
        runner.join().unwrap();
        second.join().unwrap();
    });
}

/// Work comes for a thread that had gone out, from a plain thread that nobody stops: it waits with it.
#[test]
fn loom_world_spawned_meanwhile() {
    model(|| {
        let (world, one) = (Arc::new(WorldWord::new()), Arc::new(One::new()));
        let work = Arc::new(AtomicU32::new(0));
        let runner = {
            let (world, one, work) = (world.clone(), one.clone(), work.clone());
            thread::spawn(move || {
                one.come_in(&world);
                one.go_out(&world); // nothing to do
                if work.load(Ordering::Acquire) != 0 {
                    if !crate::sync::mutated!("world_woken_without_a_look") {
                        one.come_in(&world);
                    }
                    one.touch();
                    one.go_out(&world);
                }
            })
        };
        let spawner = {
            let work = work.clone();
            thread::spawn(move || work.store(1, Ordering::Release))
        };
        stop_and_look(&world, &[&one]);
        runner.join().unwrap();
        spawner.join().unwrap();
    });
}

/// A thread that begins: the stopper, who holds the list while it looks, finds it there, or it finds STOPS (`world`, W1).
#[test]
fn loom_world_thread_joins() {
    model(|| {
        let (world, one) = (Arc::new(WorldWord::new()), Arc::new(One::new()));
        let listed = Arc::new(Mutex::new(false));
        let runner = {
            let (world, one, listed) = (world.clone(), one.clone(), listed.clone());
            thread::spawn(move || {
                if crate::sync::mutated!("world_joins_late") {
                    one.come_in(&world);
                    *listed.lock().unwrap() = true;
                } else {
                    *listed.lock().unwrap() = true;
                    one.come_in(&world);
                }
                one.touch();
                one.go_out(&world);
            })
        };
        world.stop();
        for _ in 0..2 {
            let listed = listed.lock().unwrap();
            let seen: Vec<Seen> = listed.then_some(Seen(&one)).into_iter().collect();
            if all_stand(&seen) {
                drop(listed);
                // SAFETY: all stand; loom checks.
                unsafe { one.heap.with(|n| *n += 100) };
                break;
            }
            drop(listed);
            thread::yield_now();
        }
        world.start();
        runner.join().unwrap();
    });
}

/// A worker that looks at nothing but its bits, and lowers the one of an earlier stop: that of the next one is not lost.
#[test]
fn loom_world_bit_of_the_next_stop() {
    model(|| {
        const BIT: u32 = 128;
        let (world, poll) = (Arc::new(WorldWord::new()), Arc::new(AtomicU32::new(0)));
        let worker = {
            let (world, poll) = (world.clone(), poll.clone());
            thread::spawn(move || {
                for _ in 0..3 {
                    if poll.load(Ordering::Relaxed) & BIT != 0 {
                        if world.stops() {
                            return true; // it would wait
                        }
                        world.lower(&poll, BIT, || false);
                    }
                }
                false
            })
        };
        world.stop();
        world.raise(&poll, BIT);
        world.start();
        world.stop();
        if crate::sync::mutated!("world_raises_no_bit") {
            // as if the first one were enough
        } else {
            world.raise(&poll, BIT);
        }
        let waits = worker.join().unwrap();
        assert!(waits || poll.load(Ordering::SeqCst) & BIT != 0);
    });
}
