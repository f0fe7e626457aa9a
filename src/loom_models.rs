//! Models of the protocols between threads, at tiny capacities, over the files that ship. `make loom` runs them, and
//! tools/loom_mutations.sh runs them against each named mutation and expects a failure.

use crate::ffi::crew::{Crew, Start};
use crate::goroutine::park::{ParkWord, Ready};
use crate::goroutine::thread_word::ThreadWord;
use crate::promise::cell::{Cell, Settling, Waiter};
use crate::sched::call_word::{CallWord, LentCall, STEP};
use crate::sched::idle::{Idle, OWNERLESS, Taken, last_look};
use crate::sched::ledger::{Ledger, Rest, Serves};
use crate::sched::run_queue::{Pushed, RunQueue};
use crate::sched::turnstile::Turnstile;
use crate::sync::{AtomicU32, Guarded, Ordering, fence_heavy, fence_light, fence_seq_cst};
use crate::timer::state::{Stop, TimerWord};
use crate::wait::biased::{BiasedLock, model::be_worker};
use crate::wait::channel::{Channel, Offer, Place, Step};
use crate::wait::count::Count;
use crate::wait::lock::{HANDED, Lock, Take};
use crate::wait::permits::Permits;
use crate::wait::select::Joined;
use crate::wait::thread::ThreadWait;
use crate::wait::{self, Sleeper, next_claimed};
use loom::sync::{Arc, Mutex, Notify};
use loom::thread;

fn model(f: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(f);
}

/// Push, pop and steal: every item comes out once, and the ring is never touched by two threads at a time.
#[test]
fn loom_gate_each_item_once() {
    model(|| {
        let queue = Arc::new(RunQueue::<u32>::new(2));
        let thief = {
            let queue = queue.clone();
            thread::spawn(move || {
                let mut loot = [0; 2];
                let n = queue.steal(&mut loot).unwrap_or(0);
                loot[..n].iter().sum::<u32>()
            })
        };
        let mut mine = 0;
        let _ = queue.push(1);
        let _ = queue.push(10);
        mine += queue.pop().unwrap_or(0);
        let theirs = thief.join().unwrap();
        while let Some(item) = queue.pop() {
            mine += item;
        }
        assert_eq!(mine + theirs, 11);
    });
}

/// Two thieves and an owner that grows its ring meanwhile.
#[test]
fn loom_gate_growth_and_two_thieves() {
    model(|| {
        let queue = Arc::new(RunQueue::<u32>::new(1));
        let _ = queue.push(1);
        let thieves: Vec<_> = (0..2)
            .map(|_| {
                let queue = queue.clone();
                thread::spawn(move || {
                    let mut loot = [0; 1];
                    let n = queue.steal(&mut loot).unwrap_or(0);
                    loot[..n].iter().sum::<u32>()
                })
            })
            .collect();
        let _ = queue.push(10);
        let mut sum: u32 = thieves.into_iter().map(|t| t.join().unwrap()).sum();
        while let Some(item) = queue.pop() {
            sum += item;
        }
        assert_eq!(sum, 11);
    });
}

/// A worker goes to sleep while another one pushes: it sees the work, or it is claimed.
#[test]
fn loom_idle_no_lost_wakeup_from_owner() {
    model(|| {
        let idle = Arc::new(Idle::new(1));
        let queue = Arc::new(RunQueue::<u32>::new(2));
        let sleeper = {
            let (idle, queue) = (idle.clone(), queue.clone());
            thread::spawn(move || {
                idle.announce(0, [&*queue].into_iter(), 0);
                // Some(0): nothing to see. Otherwise it has work, or looks again.
                last_look(&queue) != Some(0)
            })
        };
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
        let sleeper = {
            let (idle, queue) = (idle.clone(), queue.clone());
            thread::spawn(move || {
                idle.announce(0, [&*queue].into_iter(), 0);
                last_look(&queue) != Some(0)
            })
        };
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
                idle.announce(0, std::iter::empty::<&RunQueue<u32>>(), 0);
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
        idle.announce(0, std::iter::empty::<&RunQueue<u32>>(), 0);
        let worker = {
            let idle = idle.clone();
            thread::spawn(move || idle.leave(0))
        };
        let claimed = idle.claim().is_some();
        let left = worker.join().unwrap();
        assert!(claimed != left);
    });
}

/// Two that ready and a park: the goroutine is queued once.
#[test]
fn loom_park_ready_once() {
    model(|| {
        let word = Arc::new(ParkWord::new());
        let saved = Arc::new(Guarded::new(0u32));
        // SAFETY: nobody else has it yet.
        unsafe { saved.with(|s| *s = 1) };
        word.wait(5);
        let others: Vec<_> = (0..2)
            .map(|_| {
                let (word, saved) = (word.clone(), saved.clone());
                thread::spawn(move || {
                    let won = word.ready(5) == Ready::Won;
                    if won {
                        // SAFETY: the winner has the goroutine alone; loom checks.
                        unsafe { saved.with(|s| *s += 1) };
                    }
                    u32::from(won)
                })
            })
            .collect();
        let wins: u32 = others.into_iter().map(|t| t.join().unwrap()).sum();
        assert_eq!(wins, 1);
        assert_eq!(word.ready(5), Ready::Lost);
        assert_eq!(word.ready(4), Ready::Lost);
    });
}

/// A ready that comes while the commit callback runs: one of the two threads runs the goroutine, and has its status.
#[test]
fn loom_park_early_ready_is_not_lost() {
    model(|| {
        let word = Arc::new(ParkWord::new());
        let status = Arc::new(Guarded::new(0i32));
        word.commit(9);
        let other = {
            let (word, status) = (word.clone(), status.clone());
            thread::spawn(move || match word.ready(9) {
                Ready::Lost => panic!("nobody else readies it"),
                Ready::Won => {
                    // SAFETY: the winner has the goroutine alone.
                    unsafe { status.with(|s| *s = 3) };
                    true
                }
                Ready::Early => {
                    // SAFETY: so has an early winner, until early_done.
                    unsafe { status.with(|s| *s = 3) };
                    word.early_done(9);
                    false
                }
            })
        };
        let waits = word.committed(9);
        if !waits {
            // SAFETY: committed gave the goroutine back to us.
            assert_eq!(unsafe { status.with(|s| *s) }, 3);
        }
        let queued = other.join().unwrap();
        assert_eq!(
            waits, queued,
            "either it waits and the other one queues it, or it goes on here"
        );
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

/// Stop and fire: one of them wins; a periodic timer that is stopped while firing does not run again.
#[test]
fn loom_timer_stop_or_fire() {
    model(|| {
        let word = Arc::new(TimerWord::new());
        let generation = word.arm();
        let stopper = {
            let word = word.clone();
            thread::spawn(move || word.stop(generation, || false))
        };
        let fired = word.fire();
        let stopped = stopper.join().unwrap();
        assert!(fired != (stopped == Stop::Unarmed));
    });
}

/// The same for an interval, with the re-arming after the run.
#[test]
fn loom_timer_interval_stop_is_final() {
    model(|| {
        let word = Arc::new(TimerWord::new());
        let generation = word.arm();
        let stopper = {
            let word = word.clone();
            thread::spawn(move || word.stop(generation, || true))
        };
        let mut again = false;
        if word.fire() {
            again = word.rearm();
        }
        let stopped = stopper.join().unwrap();
        assert!(stopped != Stop::Nothing);
        // Armed again after the stop said "will not run again"? Only if the stop found it armed anew, and took it.
        assert!(!again || stopped == Stop::Unarmed);
        assert!(!word.fire());
    });
}

/// Settle and await: the waiter is woken or sees the value; one that leaves (time-out) frees its memory safely.
#[test]
fn loom_settle_wakes_or_leaves() {
    model(|| {
        let cell = Arc::new(Cell::<(), u32>::new(0));
        let waiter = Box::into_raw(Box::new(Guarded::new(Waiter::new(()))));
        let settler = {
            let (cell, waiter) = (cell.clone(), waiter as usize);
            thread::spawn(move || {
                let mut woken = 0;
                let first = cell.settle(1, 42, |waiters| {
                    for _ in waiters {
                        thread::yield_now();
                        // SAFETY: whoever settles may use the waiter: that is the protocol. loom checks.
                        unsafe { (*(waiter as *mut Guarded<Waiter<()>>)).with(|w| w.touch()) };
                        woken += 1;
                    }
                });
                assert!(first == Settling::First);
                woken
            })
        };
        // SAFETY: the waiter stays until it left or settle is done with it; loom checks the accesses.
        let (joined, left) = unsafe {
            let raw = (*waiter).with(std::ptr::from_mut);
            let joined = cell.join(raw);
            let left = joined && cell.leave(raw);
            // Whoever believes that it is done with the waiter reuses the memory.
            (*waiter).with(|w| w.touch());
            (joined, left)
        };
        let woken = settler.join().unwrap();
        assert_eq!(woken, u32::from(joined && !left));
        assert_eq!(cell.settled(), Some((1, 42)));
        // SAFETY: came from a box, and nobody has it any more.
        drop(unsafe { Box::from_raw(waiter) });
    });
}

/// Two settlers: one wins, its value stands.
#[test]
fn loom_settle_once() {
    model(|| {
        let cell = Arc::new(Cell::<(), u32>::new(0));
        let other = {
            let cell = cell.clone();
            thread::spawn(move || cell.settle(1, 7, |_| {}))
        };
        let here = cell.settle(2, 8, |_| {}) == Settling::First;
        let there = other.join().unwrap() == Settling::First;
        assert!(here != there);
        assert_eq!(cell.settled(), Some(if here { (2, 8) } else { (1, 7) }));
    });
}

/// The last reference goes while the goroutine settles: one of them ends the promise, when the other is done with it.
#[test]
fn loom_settle_or_abandon() {
    model(|| {
        let cell = Arc::new(Cell::<(), u32>::new(0));
        let memory = Arc::new(Guarded::new(0));
        let abandoner = {
            let (cell, memory) = (cell.clone(), memory.clone());
            thread::spawn(move || {
                if cell.abandon() {
                    assert!(!cell.is_locked(), "ended under the settler's hands");
                    // SAFETY: I4: ours to end; loom checks.
                    unsafe { memory.with(|ends| *ends += 1) };
                }
            })
        };
        if cell.settle(1, 7, |_| {}) == Settling::Orphan {
            // SAFETY: as above.
            unsafe { memory.with(|ends| *ends += 1) };
        }
        abandoner.join().unwrap();
        // SAFETY: alone again.
        assert_eq!(unsafe { memory.with(|ends| *ends) }, 1);
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

/// A bound goroutine's thread goes to sleep while somebody readies the goroutine: it sees that, or is woken.
#[test]
fn loom_bind_wake_is_not_lost() {
    model(|| {
        let park = Arc::new(ParkWord::new());
        let word = Arc::new(ThreadWord::new());
        let status = Arc::new(Guarded::new(0i32));
        word.prepare();
        park.commit(5);
        let waker = {
            let (park, word, status) = (park.clone(), word.clone(), status.clone());
            thread::spawn(move || match park.ready(5) {
                Ready::Lost => panic!("nobody else readies it"),
                Ready::Early => {
                    // SAFETY: an early winner has the status until early_done.
                    unsafe { status.with(|s| *s = 3) };
                    park.early_done(5);
                    false
                }
                Ready::Won => {
                    // SAFETY: the winner has the goroutine.
                    unsafe { status.with(|s| *s = 3) };
                    word.ready()
                }
            })
        };
        let asleep = park.committed(5) && !word.is_ready() && word.fall_asleep();
        if !asleep {
            // SAFETY: the goroutine runs on.
            assert_eq!(unsafe { status.with(|s| *s) }, 3);
        }
        let woken = waker.join().unwrap();
        assert_eq!(asleep, woken, "its thread sleeps, and nobody wakes it");
    });
}

/// A time-out and a ready of a bound goroutine: one wins, and if it is the ready, its word comes.
#[test]
fn loom_bind_time_out_or_ready() {
    model(|| {
        let park = Arc::new(ParkWord::new());
        let word = Arc::new(ThreadWord::new());
        word.prepare();
        park.wait(5);
        let waker = {
            let (park, word) = (park.clone(), word.clone());
            thread::spawn(move || park.ready(5) == Ready::Won && (word.ready() || true))
        };
        let timed_out = park.ready(5) == Ready::Won;
        let readied = waker.join().unwrap();
        assert!(timed_out != readied);
        assert_eq!(word.is_ready(), readied);
    });
}

/// A worker is left without a thread while a plain thread makes work: one of the two finds it a thread.
#[test]
fn loom_bind_ownerless_worker_is_taken_over() {
    model(|| {
        let idle = Arc::new(Idle::new(1));
        let sleeping = Arc::new(AtomicU32::new(0));
        let global = Arc::new(AtomicU32::new(0));
        let worker = Arc::new(Guarded::new(1u32));
        // SAFETY: nobody else has it yet.
        unsafe { worker.with(|w| *w += 1) };
        let maker = {
            let (idle, sleeping, global, worker) =
                (idle.clone(), sleeping.clone(), global.clone(), worker.clone());
            thread::spawn(move || {
                global.store(1, Ordering::Release);
                fence_seq_cst();
                let claimed = idle.claim() == Some(0);
                if claimed {
                    assert_eq!(sleeping.swap(0, Ordering::AcqRel), OWNERLESS);
                    // SAFETY: the claimer has the worker alone; loom checks.
                    unsafe { worker.with(|w| *w += 1) };
                }
                claimed
            })
        };
        let back = idle.abandon(0, &sleeping, || global.load(Ordering::Acquire) != 0);
        if back {
            // SAFETY: so has who gets it back.
            unsafe { worker.with(|w| *w += 1) };
        }
        let claimed = maker.join().unwrap();
        assert!(
            back != claimed,
            "the work waits, and the worker has no thread (or two)"
        );
    });
}

/// A goroutine unbinds and would go on on a worker without a thread, while somebody makes work for that one, and its new thread
/// runs out of work: there is one holder at a time, and who was claimed asleep is woken.
#[test]
fn loom_bind_unbinds_onto_an_ownerless_worker() {
    model(|| {
        let idle = Arc::new(Idle::new(1));
        let sleeping = Arc::new(AtomicU32::new(0));
        let worker = Arc::new(Guarded::new(0u32));
        assert!(!idle.abandon(0, &sleeping, || false));
        let other = {
            let (idle, sleeping, worker) = (idle.clone(), sleeping.clone(), worker.clone());
            thread::spawn(move || {
                fence_seq_cst();
                if idle.claim() != Some(0) {
                    return 0;
                }
                assert_eq!(sleeping.swap(0, Ordering::AcqRel), OWNERLESS);
                // SAFETY: the claimer gives it to a thread, which is alone with it; loom checks.
                unsafe { worker.with(|w| *w += 1) };
                idle.stop_spinning();
                sleeping.store(1, Ordering::SeqCst);
                idle.announce(0, std::iter::empty::<&RunQueue<u32>>(), 0);
                if !idle.leave(0) {
                    while sleeping.load(Ordering::SeqCst) != 0 {
                        thread::yield_now(); // never woken: loom's limit of iterations
                    }
                }
                // SAFETY: it left by itself, or was claimed and woken.
                unsafe { worker.with(|w| *w += 1) };
                2
            })
        };
        let taken = match idle.take_ownerless(0, &sleeping) {
            Taken::No => 0,
            Taken::Asleep => {
                sleeping.store(0, Ordering::SeqCst);
                0
            }
            Taken::Yes => {
                // SAFETY: taken: the caller's.
                unsafe { worker.with(|w| *w += 1) };
                1
            }
        };
        let ran = other.join().unwrap();
        assert!(taken == 0 || ran == 0, "two threads hold the worker");
        // SAFETY: all others are gone.
        assert_eq!(unsafe { worker.with(|w| *w) }, taken + ran);
    });
}

type Accounts = Ledger<u32, u32, u32>;

/// A goroutine binds and gives its worker away, while the spare thread that could take it has waited for long enough: it takes it, or
/// a thread is made.
#[test]
fn loom_bind_hand_over_finds_a_thread() {
    const WORKER: u32 = 9;
    model(|| {
        // The worker's thread, and a spare one.
        let accounts = Arc::new(Mutex::new(Accounts::new(1, 4)));
        {
            let mut accounts = accounts.lock().unwrap();
            accounts.expect_thread();
            assert!(matches!(accounts.rest(2, Serves::Nothing, Some), Rest::Wait));
        }
        let spare = {
            let accounts = accounts.clone();
            thread::spawn(move || accounts.lock().unwrap().dismiss(2, 0))
        };
        let makes_one = {
            let mut accounts = accounts.lock().unwrap();
            assert!(accounts.admit());
            let short = accounts.is_short();
            if short {
                accounts.expect_thread();
            }
            short
        };
        let given = accounts.lock().unwrap().give(WORKER);
        let dismissed = spare.join().unwrap();
        let taken = match given {
            Some((seat, order)) => {
                assert_eq!((seat, order), (2, WORKER));
                assert!(!dismissed, "an order for a thread that ends");
                true
            }
            None => {
                makes_one // the new thread rests, and finds it
                    && matches!(accounts.lock().unwrap().rest(3, Serves::Nothing, Some), Rest::Take(WORKER))
            }
        };
        assert!(taken, "the worker waits, and there is no thread");
    });
}

/// The last thread is given back while a goroutine asks for one: it gets a permit, or the thread.
#[test]
fn loom_exhausted_nobody_waits_for_a_free_thread() {
    model(|| {
        let accounts = Arc::new(Mutex::new(Accounts::new(1, 1)));
        assert!(accounts.lock().unwrap().admit());
        accounts.lock().unwrap().expect_thread();
        let second = {
            let accounts = accounts.clone();
            thread::spawn(move || {
                if accounts.lock().unwrap().admit() {
                    return true;
                }
                let mut accounts = accounts.lock().unwrap();
                if accounts.has_permit() && !accounts.has_waiting() {
                    return accounts.admit();
                }
                accounts.wait(7);
                false
            })
        };
        let took = match accounts.lock().unwrap().rest(1, Serves::Permit, Some) {
            Rest::Take(order) => {
                assert_eq!(order, 7);
                true
            }
            Rest::Wait | Rest::End => false,
        };
        let admitted = second.join().unwrap();
        assert!(took != admitted, "it waits, and the thread is free");
        assert_eq!(accounts.lock().unwrap().counts().2, 1);
    });
}

/// One who waits is cancelled while the thread comes: the thread has it, or the cancel does, and the permit is not lost.
#[test]
fn loom_exhausted_cancel_or_thread() {
    model(|| {
        let accounts = Arc::new(Mutex::new(Accounts::new(1, 1)));
        let park = Arc::new(ParkWord::new());
        assert!(accounts.lock().unwrap().admit());
        accounts.lock().unwrap().expect_thread();
        park.wait(7);
        accounts.lock().unwrap().wait(7);
        let canceller = {
            let park = park.clone();
            thread::spawn(move || park.ready(7) == Ready::Won)
        };
        let took = {
            let claim = |sequence: u32| (park.ready(u64::from(sequence)) == Ready::Won).then_some(sequence);
            matches!(
                accounts.lock().unwrap().rest(1, Serves::Permit, claim),
                Rest::Take(7)
            )
        };
        let cancelled = canceller.join().unwrap();
        assert!(took != cancelled);
        let permits = accounts.lock().unwrap().counts().2;
        assert_eq!(permits, usize::from(took));
    });
}

/// First come, first served: somebody who waits in turn is not overtaken by one who asks later, though a permit is free.
#[test]
fn loom_exhausted_in_order() {
    model(|| {
        let accounts = Arc::new(Mutex::new(Accounts::new(1, 1)));
        let first = Arc::new(AtomicU32::new(0));
        let other = {
            let (accounts, first) = (accounts.clone(), first.clone());
            thread::spawn(move || {
                let mut accounts = accounts.lock().unwrap();
                let waits = first.load(Ordering::Relaxed) == 1;
                let admitted = accounts.admit();
                assert!(!(waits && admitted), "overtaken");
            })
        };
        {
            let mut accounts = accounts.lock().unwrap();
            accounts.wait(7);
            first.store(1, Ordering::Relaxed);
        }
        {
            let mut accounts = accounts.lock().unwrap();
            if accounts.admit_waiting(Some).is_some() {
                first.store(2, Ordering::Relaxed);
            }
        }
        other.join().unwrap();
    });
}

/// A blocking call and the monitor: one of them has the worker, and only a call that was seen before is retaken.
#[test]
fn loom_call_one_has_the_worker() {
    model(|| {
        let (word, lent) = (Arc::new(CallWord::new(0)), Arc::new(LentCall::new()));
        let worker = Arc::new(Guarded::new(0u32));
        let monitor = {
            let (word, worker) = (word.clone(), worker.clone());
            let lent = lent.clone(); // as long as anybody looks at it
            thread::spawn(move || {
                let call = word.seen()?;
                let retaken = word.retake(call);
                drop(lent);
                retaken.then(|| {
                    // SAFETY: retaken: ours; loom checks.
                    unsafe { worker.with(|w| *w += 10) };
                    call
                })
            })
        };
        let mut lost = None;
        for call in 1..=2 {
            // SAFETY: the holder's until `enter`, and again after an `exit` that won.
            unsafe { worker.with(|w| *w += 1) };
            word.enter(&lent);
            assert!(lent.is_lent());
            if !word.exit(&lent) {
                lost = Some((call + 1) * STEP);
                break;
            }
        }
        if lost.is_none() {
            // SAFETY: as above.
            unsafe { worker.with(|w| *w += 1) };
        }
        assert_eq!(lost, monitor.join().unwrap());
        assert!(!lent.is_lent());
    });
}

/// The next holder makes a call, too, and that one is claimed, while the first call is still not over: a worker is retaken from each
/// once, and both callers know that they have lost it.
#[test]
fn loom_call_retaken_from_each_once() {
    model(|| {
        let word = Arc::new(CallWord::new(0));
        let lents = Arc::new([LentCall::new(), LentCall::new()]);
        let worker = Arc::new(Guarded::new(0u32));
        word.enter(&lents[0]);
        let monitor = {
            let (word, lents, worker) = (word.clone(), lents.clone(), worker.clone());
            thread::spawn(move || {
                let first = word.seen();
                if !first.is_some_and(|call| word.retake(call)) {
                    return false;
                }
                assert_eq!(word.seen(), None, "the same call again");
                // SAFETY: retaken: the next holder's; loom checks.
                unsafe { worker.with(|w| *w += 1) };
                word.enter(&lents[1]);
                let second = word.seen().expect("it goes on");
                assert!(word.retake(second));
                // SAFETY: as above.
                unsafe { worker.with(|w| *w += 1) };
                assert!(!word.exit(&lents[1]));
                true
            })
        };
        let kept = word.exit(&lents[0]);
        if kept {
            // SAFETY: the holder's again.
            unsafe { worker.with(|w| *w += 1) };
        }
        assert_ne!(kept, monitor.join().unwrap());
    });
}

/// A crew of servers: every accepted job runs, whoever submits it while the last server leaves.
#[test]
fn loom_crew_each_job_runs() {
    for limit in 1..=2 {
        model(move || {
            let crew = CrewAtWork::new(limit);
            let other = {
                let crew = crew.clone();
                thread::spawn(move || submit(&crew, 1))
            };
            submit(&crew, 10);
            other.join().unwrap();
            assert_eq!(join_all(&crew), 11);
        });
    }
}

/// C2: a job that waits for a later one does not keep it from running.
#[test]
fn loom_crew_a_blocked_job_holds_up_nobody() {
    model(|| {
        let crew = CrewAtWork::new(2);
        submit(&crew, WAITS_FOR_OTHER);
        submit(&crew, OTHER);
        assert_eq!(join_all(&crew), WAITS_FOR_OTHER + OTHER);
    });
}

/// C2 with no thread to be had: the second server waits in turn for one, and once there is one, the job that needs it runs.
#[test]
fn loom_crew_an_owed_server_may_come_late() {
    model(|| {
        let crew = CrewAtWork::with(2, true);
        submit(&crew, WAITS_FOR_OTHER);
        submit(&crew, OTHER);
        crew.thread_is_free.notify();
        assert_eq!(join_all(&crew), WAITS_FOR_OTHER + OTHER);
    });
}

const WAITS_FOR_OTHER: u32 = 1000;
const OTHER: u32 = 100;

struct CrewAtWork {
    crew: Mutex<Crew<u32>>,
    ran: AtomicU32,
    other_ran: Notify,
    threads: Mutex<Vec<thread::JoinHandle<()>>>,
    /// Servers that are owed come once there is a thread.
    late: bool,
    thread_is_free: Notify,
}

impl CrewAtWork {
    fn new(limit: u32) -> Arc<Self> {
        Self::with(limit, false)
    }

    fn with(limit: u32, late: bool) -> Arc<Self> {
        Arc::new(Self {
            late,
            thread_is_free: Notify::new(),
            crew: Mutex::new(Crew::new(limit)),
            ran: AtomicU32::new(0),
            other_ran: Notify::new(),
            threads: Mutex::new(Vec::new()),
        })
    }
}

fn submit(at: &Arc<CrewAtWork>, job: u32) {
    let accepted = at.crew.lock().unwrap().submit(job, 8, |why| start(at, why));
    assert_eq!(accepted, Ok(()));
}

fn start(at: &Arc<CrewAtWork>, why: Start) -> Result<(), ()> {
    let here = at.clone();
    let server = thread::spawn(move || {
        if here.late && why == Start::Owed {
            here.thread_is_free.wait();
        }
        serve(&here);
    });
    at.threads.lock().unwrap().push(server);
    Ok(())
}

fn serve(at: &Arc<CrewAtWork>) {
    at.crew.lock().unwrap().arrived();
    loop {
        let job = at.crew.lock().unwrap().next(|why| start(at, why));
        match job {
            None => return,
            Some(WAITS_FOR_OTHER) => at.other_ran.wait(),
            Some(OTHER) => at.other_ran.notify(),
            Some(_) => {}
        }
        at.ran.fetch_add(job.unwrap(), Ordering::AcqRel);
    }
}

/// Joins every server, also those that servers start. Gives the sum of the jobs that ran.
fn join_all(at: &Arc<CrewAtWork>) -> u32 {
    loop {
        let server = at.threads.lock().unwrap().pop();
        match server {
            Some(server) => server.join().unwrap(),
            None => return at.ran.load(Ordering::Acquire),
        }
    }
}

// ---- waiting in line ----

/// One who waits, in a model: a park word.
#[derive(Clone, Copy)]
struct Parked {
    word: *const ParkWord,
    sequence: u64,
}

impl Sleeper for Parked {
    const NOBODY: Self = Self {
        word: std::ptr::null(),
        sequence: 0,
    };
    fn claim(self) -> Ready {
        // SAFETY: the model keeps the word.
        unsafe { (*self.word).ready(self.sequence) }
    }
}

/// A value, in a model: loom sees who touches it.
#[derive(Clone, Copy)]
struct Slot(*const Guarded<u32>);

impl Place for Slot {
    unsafe fn slot(self, index: usize, _: usize) -> Self {
        Self(self.0.wrapping_add(index))
    }
    unsafe fn copy(from: Self, to: Self, _: usize) {
        // SAFETY: the protocol says that both are ours; loom checks.
        unsafe {
            let value = (*from.0).with(|v| *v);
            (*to.0).with(|v| *v = value);
        }
    }
}

/// What a goroutine that waits has, in a model. Boxed, and leaked by none: `Seat::free`.
struct Seat<T> {
    word: ParkWord,
    value: Guarded<u32>,
    chosen: Guarded<usize>,
    waiter: wait::Waiter<Parked, T>,
}

/// Sent between a model's threads.
struct Shared<T>(*mut T);
impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Shared<T> {}
// SAFETY: the models share what the protocols share; loom checks what it can see.
unsafe impl<T> Send for Shared<T> {}
impl<T> Shared<T> {
    fn get(self) -> *mut T {
        self.0
    }
}

fn seat<T>(what: T, value: u32) -> Shared<Seat<T>> {
    let seat = Box::into_raw(Box::new(Seat {
        word: ParkWord::new(),
        value: Guarded::new(value),
        chosen: Guarded::new(usize::MAX),
        waiter: wait::Waiter::new(what),
    }));
    // SAFETY: fresh.
    unsafe {
        (*seat).waiter.party = Parked {
            word: &raw const (*seat).word,
            sequence: 1,
        };
        (*seat).word.wait(1);
    }
    Shared(seat)
}

/// The end of a model.
unsafe fn free<T>(seat: Shared<Seat<T>>) {
    // SAFETY: nobody has it any more.
    drop(unsafe { Box::from_raw(seat.get()) });
}

/// A lock's owner unlocks while another one gets in line: the lock is not lost, and not given twice.
#[test]
fn loom_wait_lock_join_or_release() {
    model(|| {
        let lock = Arc::new(Lock::<Parked>::new());
        assert!(lock.try_take(2) == Take::Taken);
        let other = seat(4u64, 0);
        let joiner = {
            let lock = lock.clone();
            // SAFETY: the seat lives until the end.
            thread::spawn(move || unsafe { lock.join(&raw mut (*other.get()).waiter, 4) })
        };
        let granted = lock.release(2).is_some();
        let taken = joiner.join().unwrap() != Take::Held;
        assert!(granted != taken, "the lock was lost, or given twice");
        assert_eq!(lock.owner(), 4);
        // SAFETY: as above.
        unsafe { free(other) };
    });
}

/// Two are in line, the second of them gives up (a time-out, a cancel) at any moment: each wait ends in one way, nobody is forgotten.
#[test]
fn loom_wait_lock_grant_or_time_out() {
    model(|| {
        let lock = Arc::new(Lock::<Parked>::new());
        assert!(lock.try_take(2) == Take::Taken);
        let (first, second) = (seat(4u64, 0), seat(6u64, 0));
        // SAFETY: the seats live until the end, here and below.
        unsafe {
            assert!(lock.join(&raw mut (*first.get()).waiter, 4) == Take::Held);
            assert!(lock.join(&raw mut (*second.get()).waiter, 6) == Take::Held);
        }
        let timer = {
            let lock = lock.clone();
            thread::spawn(move || unsafe {
                let gave_up = (*first.get()).word.ready(1) == Ready::Won;
                if gave_up {
                    lock.leave(&raw mut (*first.get()).waiter);
                }
                gave_up
            })
        };
        let mut owners = vec![2];
        while let Some(claimed) = lock.release(*owners.last().unwrap()) {
            let is_first = std::ptr::eq(claimed.party.word, unsafe { &raw const (*first.get()).word });
            owners.push(if is_first { 4 } else { 6 });
        }
        let gave_up = timer.join().unwrap();
        assert_eq!(owners, if gave_up { vec![2, 6] } else { vec![2, 4, 6] });
        assert!(lock.owner() == 0 && lock.is_idle());
        unsafe {
            free(first);
            free(second);
        }
    });
}

/// One in line is granted the lock, and robbed before it runs, or not: one of the two has it, and who was robbed gets it after the thief.
#[test]
fn loom_wait_lock_granted_or_robbed() {
    model(|| {
        let lock = Arc::new(Lock::<Parked>::new());
        let inside = Arc::new(Guarded::new(0u32));
        assert!(lock.try_take(4) == Take::Taken);
        let (first, again) = (seat(8 | HANDED, 0), seat(8u64, 0));
        // SAFETY: the seats live until the end; whoever has the lock is alone inside, loom checks. Here and below.
        unsafe { assert!(lock.join(&raw mut (*first.get()).waiter, 8) == Take::Held) };
        let thief = {
            let (lock, inside) = (lock.clone(), inside.clone());
            thread::spawn(move || {
                lock.rob(12).then(|| {
                    unsafe { inside.with(|n| *n += 1) };
                    lock.release(12).is_some()
                })
            })
        };
        assert!(lock.release(4).is_some());
        let mine = lock.confirm(8);
        let waits = !mine && unsafe { lock.join(&raw mut (*again.get()).waiter, 8) } == Take::Held;
        let handed_back;
        if waits {
            handed_back = thief.join().unwrap();
            assert_eq!(handed_back, Some(true), "the robbed one waits for ever");
            unsafe { inside.with(|n| *n += 1) };
            assert!(lock.release(8).is_none());
        } else {
            unsafe { inside.with(|n| *n += 1) };
            assert!(lock.release(8).is_none());
            handed_back = thief.join().unwrap();
        }
        assert_eq!(handed_back.is_some(), !mine, "both have it, or nobody");
        assert!(lock.is_idle());
        unsafe {
            free(first);
            free(again);
        }
    });
}

/// A thread gives up while it is granted something: one of the two happens.
#[test]
fn loom_wait_thread_grant_or_time_out() {
    model(|| {
        let word = Arc::new(ThreadWait::new());
        let granter = {
            let word = word.clone();
            thread::spawn(move || {
                let claimed = word.claim();
                if claimed {
                    word.done(-5);
                }
                claimed
            })
        };
        let gave_up = word.give_up();
        let claimed = granter.join().unwrap();
        assert!(gave_up != claimed);
        assert_eq!(word.result(), claimed.then_some(-5));
    });
}

type ModelChannel = Channel<Parked, Slot>;
type ModelSeat = Shared<Seat<Offer<Slot>>>;

fn channel_seat(value: u32, index: usize) -> ModelSeat {
    let seat = seat(
        Offer {
            place: Slot(std::ptr::null()),
            chosen: std::ptr::null_mut(),
            index,
        },
        value,
    );
    // SAFETY: fresh.
    unsafe { (*seat.get()).waiter.what.place = Slot(&raw const (*seat.get()).value) };
    seat
}

fn channel_of(capacity: usize) -> (Arc<ModelChannel>, Arc<Vec<Guarded<u32>>>) {
    let ring: Arc<Vec<Guarded<u32>>> = Arc::new((0..capacity).map(|_| Guarded::new(0)).collect());
    (
        Arc::new(ModelChannel::new(4, capacity, Slot(ring.as_ptr()))),
        ring,
    )
}

/// How a send or a receive of a model went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Went {
    Through,
    Closed,
    InLine,
}

/// The join step of `ops::channel`.
unsafe fn one_step(channel: &ModelChannel, sends: bool, seat: ModelSeat) -> Went {
    // SAFETY: the caller keeps the seat.
    unsafe {
        let step = channel.step_or_join(sends, &raw mut (*seat.get()).waiter);
        match step {
            Step::NotYet => Went::InLine,
            Step::Closed => Went::Closed,
            Step::Done => Went::Through,
            Step::Handed(handed) => {
                let claimed = handed.finish(4);
                assert!(!claimed.early);
                Went::Through
            }
        }
    }
}

/// Somebody sends or receives, the other one comes while the channel is closed: the value comes once, or its sender is told that it does not.
#[test]
fn loom_channel_send_receive_close() {
    for (capacity, sender_first) in [(0, false), (0, true), (1, false), (1, true)] {
        model(move || {
            let (channel, ring) = channel_of(capacity);
            let (sender, receiver) = (channel_seat(7, 0), channel_seat(0, 0));
            let (first, second) = if sender_first {
                (sender, receiver)
            } else {
                (receiver, sender)
            };
            // SAFETY: the seats live until the end, here and below.
            let first_went = unsafe { one_step(&channel, sender_first, first) };
            let closing = {
                let channel = channel.clone();
                thread::spawn(move || {
                    let mut told = Vec::new();
                    for mut line in channel.close().expect("nobody else closes it") {
                        while let Some((waiter, _)) = unsafe { next_claimed(&mut line) } {
                            told.push(waiter as usize);
                        }
                    }
                    told
                })
            };
            let second_went = unsafe { one_step(&channel, !sender_first, second) };
            let told = closing.join().unwrap();
            let failed = |went, seat: ModelSeat| {
                went == Went::Closed || told.contains(&(unsafe { &raw mut (*seat.get()).waiter } as usize))
            };
            let (first_failed, second_failed) = (failed(first_went, first), failed(second_went, second));
            let (sent, received) = if sender_first {
                (!first_failed, !second_failed)
            } else {
                (!second_failed, !first_failed)
            };
            assert!(channel.is_idle(), "somebody waits on a closed channel");
            let value = unsafe { (*receiver.get()).value.with(|v| *v) };
            assert_eq!(sent, received);
            assert_eq!(value, if received { 7 } else { 0 });
            unsafe {
                free(sender);
                free(receiver);
            }
            drop(ring);
        });
    }
}

/// A receiver gives up while somebody sends: the value is with the one of them that says so.
#[test]
fn loom_channel_grant_or_time_out() {
    model(|| {
        let (channel, ring) = channel_of(0);
        let (sender, receiver) = (channel_seat(7, 0), channel_seat(0, 0));
        // SAFETY: the seats live until the end, here and below.
        unsafe { assert_eq!(one_step(&channel, false, receiver), Went::InLine) };
        let timer = {
            let channel = channel.clone();
            thread::spawn(move || unsafe {
                let gave_up = (*receiver.get()).word.ready(1) == Ready::Won;
                if gave_up {
                    // It goes on, and does with its place what it likes.
                    channel.leave(&raw mut (*receiver.get()).waiter, false);
                    (*receiver.get()).value.with(|v| *v = 1);
                }
                gave_up
            })
        };
        let sent = unsafe { one_step(&channel, true, sender) };
        let gave_up = timer.join().unwrap();
        assert_eq!(gave_up, sent == Went::InLine);
        let value = unsafe { (*receiver.get()).value.with(|v| *v) };
        assert_eq!(value, if gave_up { 1 } else { 7 });
        unsafe {
            channel.leave(&raw mut (*sender.get()).waiter, true);
            free(sender);
            free(receiver);
        }
        drop(ring);
    });
}

/// A select over two channels: sends on one, receives on the other.
struct ModelSelect {
    sends: ModelSeat,
    receives: ModelSeat,
    word: ParkWord,
    chosen: usize,
}

fn select_of(value: u32) -> Shared<ModelSelect> {
    let select = Box::into_raw(Box::new(ModelSelect {
        sends: channel_seat(value, 0),
        receives: channel_seat(0, 1),
        word: ParkWord::new(),
        chosen: usize::MAX,
    }));
    // SAFETY: fresh.
    unsafe {
        (*select).word.wait(1);
        for seat in [(*select).sends, (*select).receives] {
            (*seat.get()).waiter.party = Parked {
                word: &raw const (*select).word,
                sequence: 1,
            };
            (*seat.get()).waiter.what.chosen = &raw mut (*select).chosen;
        }
    }
    Shared(select)
}

/// Its join step. Gives the case that it did itself.
unsafe fn join_select(
    select: Shared<ModelSelect>,
    order: [&ModelChannel; 2],
    to: &ModelChannel,
    from: &ModelChannel,
) -> Option<usize> {
    // SAFETY: the caller keeps the select.
    unsafe {
        let select = select.get();
        let cases = [(to, true, (*select).sends), (from, false, (*select).receives)];
        let cases = cases
            .into_iter()
            .enumerate()
            .map(|(index, (channel, sends, seat))| wait::select::Case {
                index,
                channel,
                sends,
                place: Slot(&raw const (*seat.get()).value),
                waiter: &raw mut (*seat.get()).waiter,
            });
        match wait::select::join_all(order.into_iter(), cases, || true) {
            Joined::Done(index, step) => {
                if let Step::Handed(handed) = step {
                    let claimed = handed.finish(4);
                    assert!(!claimed.early);
                }
                Some(index)
            }
            Joined::Waits => None,
            Joined::Not => unreachable!(),
        }
    }
}

/// Two selects over the same two channels, from their two sides: they meet, in one case each, the same one.
#[test]
fn loom_select_from_two_sides() {
    model(|| {
        let (one, ring_one) = channel_of(0);
        let (two, ring_two) = channel_of(0);
        let (here, there) = (select_of(7), select_of(8));
        let other = {
            let (one, two) = (one.clone(), two.clone());
            // SAFETY: the selects live until the end, here and below.
            thread::spawn(move || unsafe { join_select(there, [&one, &two], &two, &one) })
        };
        unsafe {
            let mine = join_select(here, [&one, &two], &one, &two);
            let theirs = other.join().unwrap();
            assert!(
                mine.is_some() != theirs.is_some(),
                "one comes second, and does it: {mine:?} {theirs:?}"
            );
            let mine = mine.unwrap_or((*here.get()).chosen);
            let theirs = theirs.unwrap_or((*there.get()).chosen);
            assert_eq!(mine + theirs, 1, "one sends what the other receives");
            let received = |select: Shared<ModelSelect>| (*(*select.get()).receives.get()).value.with(|v| *v);
            assert_eq!(received(here), if mine == 1 { 8 } else { 0 });
            assert_eq!(received(there), if theirs == 1 { 7 } else { 0 });
            one.leave(&raw mut (*(*here.get()).sends.get()).waiter, true);
            two.leave(&raw mut (*(*here.get()).receives.get()).waiter, false);
            two.leave(&raw mut (*(*there.get()).sends.get()).waiter, true);
            one.leave(&raw mut (*(*there.get()).receives.get()).waiter, false);
            for select in [here, there] {
                free((*select.get()).sends);
                free((*select.get()).receives);
                drop(Box::from_raw(select.get()));
            }
        }
        drop((ring_one, ring_two));
    });
}

/// One who wants many permits and one who wants few behind it: when the first gives up, the second goes on.
#[test]
fn loom_wait_permits_of_who_gave_up() {
    model(|| {
        let permits = Arc::new(Permits::<Parked>::new(0));
        let (many, few) = (seat(2u32, 0), seat(1u32, 0));
        // SAFETY: the seats live until the end, here and below.
        unsafe {
            assert!(permits.join(&raw mut (*many.get()).waiter));
            assert!(permits.join(&raw mut (*few.get()).waiter));
        }
        let timer = {
            let permits = permits.clone();
            thread::spawn(move || unsafe {
                assert!((*many.get()).word.ready(1) == Ready::Won);
                !permits.leave(&raw mut (*many.get()).waiter).is_null()
            })
        };
        let granted_here = !permits.give(1, 10).unwrap().is_null();
        let granted_there = timer.join().unwrap();
        assert!(granted_here != granted_there, "it waits, and there is a permit");
        assert!(permits.is_idle() && permits.free() == 0);
        unsafe {
            free(many);
            free(few);
        }
    });
}

/// Permits come back while somebody gets in line for them.
#[test]
fn loom_wait_permits_join_or_give() {
    model(|| {
        let permits = Arc::new(Permits::<Parked>::new(0));
        let other = seat(1u32, 0);
        let joiner = {
            let permits = permits.clone();
            // SAFETY: the seat lives until the end.
            thread::spawn(move || !unsafe { permits.join(&raw mut (*other.get()).waiter) })
        };
        let granted = !permits.give(1, 10).unwrap().is_null();
        let taken = joiner.join().unwrap();
        assert!(granted != taken);
        assert_eq!(permits.free(), 0);
        // SAFETY: as above.
        unsafe { free(other) };
    });
}

/// The count becomes 0 while somebody gets in line for that.
#[test]
fn loom_wait_count_join_or_zero() {
    model(|| {
        let count = Arc::new(Count::<Parked>::new());
        assert!(count.add(2).unwrap().is_null());
        let other = seat((), 0);
        let joiner = {
            let count = count.clone();
            // SAFETY: the seat lives until the end.
            thread::spawn(move || unsafe { count.join(&raw mut (*other.get()).waiter) })
        };
        let doer = {
            let count = count.clone();
            thread::spawn(move || u32::from(!count.add(-1).unwrap().is_null()))
        };
        let woken = u32::from(!count.add(-1).unwrap().is_null()) + doer.join().unwrap();
        let waits = joiner.join().unwrap();
        assert_eq!(woken, u32::from(waits), "it waits at 0, or was woken twice");
        assert!(count.is_zero() && count.is_idle());
        // SAFETY: as above.
        unsafe { free(other) };
    });
}

/// The worker that a lock is biased to, and somebody else who takes the bias away: one of them is inside at a time.
#[test]
fn loom_bias_one_is_inside() {
    model(|| {
        let lock = Arc::new(BiasedLock::new());
        let inside = Arc::new(Guarded::new(0u32));
        let add = |lock: &BiasedLock, inside: &Guarded<u32>| {
            lock.lock();
            // SAFETY: we hold the lock; loom checks.
            unsafe { inside.with(|n| *n += 1) };
            lock.unlock();
        };
        be_worker(8);
        add(&lock, &inside); // biased from here on
        let other = {
            let (lock, inside) = (lock.clone(), inside.clone());
            thread::spawn(move || add(&lock, &inside))
        };
        add(&lock, &inside);
        other.join().unwrap();
        add(&lock, &inside);
        assert!(lock.is_shared());
        // SAFETY: alone again.
        assert_eq!(unsafe { inside.with(|n| *n) }, 4);
    });
}

/// A mutex that is biased to one worker is taken by another one: it has one owner at a time.
#[test]
fn loom_bias_lock_has_one_owner() {
    model(|| {
        let lock = Arc::new(Lock::<Parked>::new());
        let owned = Arc::new(Guarded::new(0u32));
        let user = |lock: &Lock<Parked>, owned: &Guarded<u32>, me: u64| {
            if lock.try_take(me) == Take::Held {
                return 0;
            }
            // SAFETY: we own the lock; loom checks.
            unsafe { owned.with(|n| *n += 1) };
            assert!(lock.release(me).is_none());
            1
        };
        be_worker(8);
        let mut times = user(&lock, &owned, 2);
        let other = {
            let (lock, owned) = (lock.clone(), owned.clone());
            thread::spawn(move || user(&lock, &owned, 4))
        };
        times += user(&lock, &owned, 2);
        times += other.join().unwrap();
        // SAFETY: alone again.
        assert_eq!(unsafe { owned.with(|n| *n) }, times);
        assert_eq!(lock.owner(), 0);
    });
}

/// The same, with one who gets in line.
#[test]
fn loom_bias_lock_join_or_release() {
    model(|| {
        let lock = Arc::new(Lock::<Parked>::new());
        be_worker(8);
        assert!(lock.try_take(2) == Take::Taken);
        let other = seat(4u64, 0);
        let joiner = {
            let lock = lock.clone();
            // SAFETY: the seat lives until the end.
            thread::spawn(move || unsafe { lock.join(&raw mut (*other.get()).waiter, 4) })
        };
        let granted = lock.release(2).is_some();
        let taken = joiner.join().unwrap() != Take::Held;
        assert!(granted != taken, "the lock was lost, or given twice");
        assert_eq!(lock.owner(), 4);
        // SAFETY: as above.
        unsafe { free(other) };
    });
}

/// Somebody takes the bias away while the worker is inside; a third one believes SHARED only when the worker is out for good.
#[test]
fn loom_bias_shared_means_shared() {
    model(|| {
        let lock = Arc::new(BiasedLock::new());
        let inside = Arc::new(Guarded::new(0u32));
        be_worker(8);
        lock.decide();
        let taker = {
            let lock = lock.clone();
            thread::spawn(move || lock.decide())
        };
        let third = {
            let (lock, inside) = (lock.clone(), inside.clone());
            thread::spawn(move || {
                if lock.is_shared() {
                    // SAFETY: the worker keeps out, says the lock; loom checks.
                    unsafe { inside.with(|n| *n += 1) };
                }
            })
        };
        if lock.enter() {
            // SAFETY: inside; loom checks.
            unsafe { inside.with(|n| *n += 1) };
            lock.leave();
        }
        taker.join().unwrap();
        third.join().unwrap();
    });
}

/// A channel is closed while somebody gets in line to send, and nobody receives: it is told.
#[test]
fn loom_channel_close_tells_senders() {
    model(|| {
        let (channel, ring) = channel_of(0);
        let sender = channel_seat(7, 0);
        let sending = {
            let channel = channel.clone();
            // SAFETY: the seat lives until the end.
            thread::spawn(move || unsafe { one_step(&channel, true, sender) })
        };
        let [receivers, mut senders] = channel.close().expect("nobody else closes it");
        assert!(receivers.is_null());
        // SAFETY: claimed for us.
        let told = unsafe { next_claimed(&mut senders).is_some() };
        let went = sending.join().unwrap();
        assert_eq!(told, went == Went::InLine, "it waits on a closed channel");
        assert!(told || went == Went::Closed);
        assert!(channel.is_idle());
        // SAFETY: as above.
        unsafe { free(sender) };
        drop(ring);
    });
}
