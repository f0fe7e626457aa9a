//! Which thread has which worker: binding, ownerless workers, the ledger, blocking calls.

use super::model;
use crate::goroutine::call_word::{CallWord, LentCall, STEP};
use crate::goroutine::park::{ParkWord, Ready};
use crate::sched::idle::{Idle, OWNERLESS, Taken};
use crate::sched::ledger::{Ledger, Rest, Serves};
use crate::sched::run_queue::RunQueue;
use crate::sync::{AtomicU32, Guarded, Ordering, fence_seq_cst};
use loom::sync::{Arc, Mutex};
use loom::thread;

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
                idle.announce(0, std::iter::empty::<&RunQueue<u32>>(), 0, true);
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
