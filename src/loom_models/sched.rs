//! The scheduler: the gate and its queue, idling, parks against the gate, the turnstile.

use super::model;
use crate::goroutine::park::{ParkWord, Ready};
use crate::sched::idle::{Idle, last_look};
use crate::sched::run_queue::{Pushed, RunQueue};
use crate::sched::turnstile::Turnstile;
use crate::sync::{AtomicU32, Guarded, Ordering, fence_heavy, fence_light, fence_seq_cst};
use loom::sync::Arc;
use loom::thread::{self, JoinHandle};

/// Steals up to `MOST`. Gives their sum.
fn thief<const MOST: usize>(queue: &Arc<RunQueue<u32>>) -> JoinHandle<u32> {
    let queue = queue.clone();
    thread::spawn(move || {
        let mut loot = [0; MOST];
        let n = queue.steal(&mut loot).unwrap_or(0);
        loot[..n].iter().sum()
    })
}

/// The owner's.
fn rest_of(queue: &RunQueue<u32>) -> u32 {
    std::iter::from_fn(|| queue.pop()).sum()
}

/// Worker 0 goes to sleep. Gives whether it saw a reason not to.
fn sleeper(idle: &Arc<Idle>, queue: &Arc<RunQueue<u32>>) -> JoinHandle<bool> {
    let (idle, queue) = (idle.clone(), queue.clone());
    thread::spawn(move || {
        idle.announce(0, [&*queue].into_iter(), 0, false);
        // Some(0): nothing to see. Otherwise it has work, or looks again.
        last_look(&queue) != Some(0)
    })
}

/// Push, pop and steal: every item comes out once, and the ring is never touched by two threads at a time.
#[test]
fn loom_gate_each_item_once() {
    model(|| {
        let queue = Arc::new(RunQueue::<u32>::new(2));
        let thief = thief::<2>(&queue);
        let _ = queue.push(1);
        let _ = queue.push(10);
        let mine = queue.pop().unwrap_or(0);
        let theirs = thief.join().unwrap();
        assert_eq!(mine + theirs + rest_of(&queue), 11);
    });
}

/// Two thieves and an owner that grows its ring meanwhile.
#[test]
fn loom_gate_growth_and_two_thieves() {
    model(|| {
        let queue = Arc::new(RunQueue::<u32>::new(1));
        let _ = queue.push(1);
        let thieves = [thief::<1>(&queue), thief::<1>(&queue)];
        let _ = queue.push(10);
        let theirs: u32 = thieves.into_iter().map(|t| t.join().unwrap()).sum();
        assert_eq!(theirs + rest_of(&queue), 11);
    });
}

/// One parks and the next one runs, all in one section (`sched::park`), while a thief comes, and somebody readies the one that parked: it
/// is readied once, when its stack was left, and every item comes out once.
#[test]
fn loom_gate_park_takes_the_next() {
    model(|| {
        let queue = Arc::new(RunQueue::<u32>::new(2));
        let word = Arc::new(ParkWord::new());
        let joined = Arc::new(AtomicU32::new(0));
        let stack = Arc::new(Guarded::new(0u32));
        let _ = queue.push(1);
        let _ = queue.push(10);
        let thief = thief::<2>(&queue);
        let readier = {
            let (word, joined, stack) = (word.clone(), joined.clone(), stack.clone());
            thread::spawn(move || {
                let readied = joined.load(Ordering::Acquire) == 1 && word.ready(3) == Ready::Won;
                if readied {
                    // SAFETY: it runs here now; loom checks.
                    unsafe { stack.with(|s| *s += 1) };
                }
                readied
            })
        };
        queue.enter();
        // SAFETY: the join step, on the stack of the one that parks.
        unsafe { stack.with(|s| *s += 1) };
        word.wait(3);
        joined.store(1, Ordering::Release);
        // SAFETY: inside.
        let next = unsafe { queue.leave_with_next(false) };
        let theirs = thief.join().unwrap();
        assert!(readier.join().unwrap() || word.ready(3) == Ready::Won);
        assert_eq!(next.unwrap_or(0) + theirs + rest_of(&queue), 11);
    });
}

/// A worker goes to sleep while another one pushes: it sees the work, or it is claimed.
#[test]
fn loom_idle_no_lost_wakeup_from_owner() {
    model(|| {
        let idle = Arc::new(Idle::new(1));
        let queue = Arc::new(RunQueue::<u32>::new(2));
        let sleeper = sleeper(&idle, &queue);
        let claimed = queue.push(7) == Pushed::Share && idle.share(&queue) == Some(0);
        let saw = sleeper.join().unwrap();
        assert!(saw || claimed, "the work waits and everybody sleeps");
    });
}

/// The same, for an owner that believed nobody was idle and resets its hint at that very moment, then pushes more.
#[test]
fn loom_idle_no_lost_wakeup_after_reset() {
    model(|| {
        let idle = Arc::new(Idle::new(1));
        let queue = Arc::new(RunQueue::<u32>::new(2));
        queue.share_above.store(0, Ordering::SeqCst);
        let sleeper = sleeper(&idle, &queue);
        let mut claimed = false;
        if queue.push(7) == Pushed::Share {
            claimed |= idle.share(&queue) == Some(0);
        }
        let _ = queue.pop();
        if queue.push(8) == Pushed::Share {
            claimed |= idle.share(&queue) == Some(0);
        }
        let saw = sleeper.join().unwrap();
        assert!(saw || claimed, "the second push was lost");
    });
}

/// The same for the global queue, whose pushers fence fully; and the last spinner, who stops at that moment.
#[test]
fn loom_idle_no_lost_wakeup_from_outside_with_a_spinner() {
    model(|| {
        let idle = Arc::new(Idle::new(1));
        let global = Arc::new(AtomicU32::new(0));
        assert!(idle.start_spinning());
        let spinner = {
            let (idle, global) = (idle.clone(), global.clone());
            thread::spawn(move || {
                if global.load(Ordering::Acquire) != 0 {
                    return true;
                }
                idle.stop_spinning();
                idle.announce(0, std::iter::empty::<&RunQueue<u32>>(), 0, true);
                global.load(Ordering::Acquire) != 0
            })
        };
        global.store(1, Ordering::Release);
        fence_seq_cst();
        let claimed = idle.claim() == Some(0);
        let saw = spinner.join().unwrap();
        assert!(saw || claimed, "the work waits and everybody sleeps");
    });
}

/// A claim and a worker that leaves by itself: exactly one of them has it.
#[test]
fn loom_idle_claim_or_leave() {
    model(|| {
        let idle = Arc::new(Idle::new(1));
        idle.announce(0, std::iter::empty::<&RunQueue<u32>>(), 0, true);
        let worker = {
            let idle = idle.clone();
            thread::spawn(move || idle.leave(0))
        };
        let claimed = idle.claim().is_some();
        let left = worker.join().unwrap();
        assert!(claimed != left);
    });
}

/// A stop meets a worker on its way to sleep: it does not wait for a wake that has been.
#[test]
fn loom_idle_stop_or_sleep() {
    model(|| {
        let idle = Arc::new(Idle::new(1));
        let words = Arc::new((AtomicU32::new(0), AtomicU32::new(0)));
        let worker = {
            let (idle, words) = (idle.clone(), words.clone());
            thread::spawn(move || {
                let (sleeping, stopped) = &*words;
                sleeping.store(1, Ordering::SeqCst);
                idle.announce(0, std::iter::empty::<&RunQueue<u32>>(), 0, true);
                let told = stopped.load(Ordering::Acquire) != 0;
                if told {
                    let _ = idle.leave_awake(0, sleeping);
                }
                told
            })
        };
        let (sleeping, stopped) = &*words;
        stopped.store(1, Ordering::SeqCst);
        fence_seq_cst();
        idle.stop(0, sleeping);
        let told = worker.join().unwrap();
        assert!(told || sleeping.load(Ordering::SeqCst) == 0, "it sleeps for ever");
    });
}

/// Two workers, one of which is always awake: the other one is, before it sleeps. Nobody takes both for asleep.
#[test]
fn loom_idle_all_at_one_moment() {
    model(|| {
        let idle = Arc::new(Idle::new(1));
        let sleep =
            |idle: &Idle, worker| idle.announce(worker, std::iter::empty::<&RunQueue<u32>>(), 0, true);
        sleep(&idle, 0);
        let workers = {
            let idle = idle.clone();
            thread::spawn(move || {
                assert!(idle.leave(0));
                sleep(&idle, 1);
            })
        };
        assert_eq!(idle.all_since(2), None);
        workers.join().unwrap();
        assert_eq!(idle.all_since(2), None);
        sleep(&idle, 0);
        assert_eq!(idle.all_since(2), Some(3));
    });
}

/// Cancel against the join step of a park (sched::park, sched::cancel): the flag is seen, or the park is, and the waiter
/// is never readied while its join still runs.
#[test]
fn loom_park_cancel_is_seen_and_waits_for_the_join() {
    model(|| {
        let gate = Arc::new(RunQueue::<u32>::new(1));
        let word = Arc::new(ParkWord::new());
        let flag = Arc::new(AtomicU32::new(0));
        let waiter = Arc::new(Guarded::new(0u32));
        let canceller = {
            let (gate, word, flag, waiter) = (gate.clone(), word.clone(), flag.clone(), waiter.clone());
            thread::spawn(move || {
                flag.store(1, Ordering::SeqCst);
                fence_heavy();
                for _ in 0..4 {
                    if word.parked().is_none() || !gate.is_busy() {
                        break;
                    }
                    thread::yield_now();
                }
                if gate.is_busy() {
                    return None; // the real one looks again for as long as it takes
                }
                let won = word
                    .parked()
                    .is_some_and(|sequence| word.ready(sequence) == Ready::Won);
                if won {
                    // SAFETY: the goroutine would now run, and use its stack, where the waiter lies.
                    unsafe { waiter.with(|w| *w = 0) };
                }
                Some(won)
            })
        };
        gate.enter();
        word.wait(3);
        fence_light();
        let cancelled_here = flag.load(Ordering::Relaxed) != 0;
        if !cancelled_here {
            // SAFETY: the join step uses the waiter; loom checks.
            unsafe { waiter.with(|w| *w = 1) };
        }
        gate.leave();
        if let Some(cancelled_there) = canceller.join().unwrap() {
            assert!(cancelled_here || cancelled_there, "the cancel was lost");
        }
    });
}

/// Shutdown hand-over: whoever is let in keeps the runtime alive.
#[test]
fn loom_turnstile_nobody_inside_when_it_ends() {
    model(|| {
        let door = Arc::new(Turnstile::new());
        let runtime = Arc::new(Guarded::new(1u32));
        door.open();
        let guest = {
            let (door, runtime) = (door.clone(), runtime.clone());
            thread::spawn(move || {
                if door.enter() {
                    // SAFETY: inside; loom checks against the one that frees it.
                    assert_eq!(unsafe { runtime.with(|r| *r) }, 1);
                    door.leave();
                }
            })
        };
        door.close();
        for _ in 0..3 {
            if door.is_empty() {
                // SAFETY: closed and empty.
                unsafe { runtime.with(|r| *r = 0) };
                break;
            }
            thread::yield_now();
        }
        guest.join().unwrap();
    });
}
