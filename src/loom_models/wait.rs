//! Waiting in line: locks, threads' words, permits, counts, once.

use super::{Parked, free, model, seat};
use crate::goroutine::park::Ready;
use crate::sync::Guarded;
use crate::wait::count::Count;
use crate::wait::lock::{HANDED, Lock, Take};
use crate::wait::once::Once;
use crate::wait::permits::Permits;
use crate::wait::thread::ThreadWait;
use loom::sync::Arc;
use loom::thread;

/// A lock's owner unlocks while another one gets in line: the lock is not lost, and not given twice.
pub(super) fn lock_join_or_release() {
    let lock = Arc::new(Lock::<Parked>::new());
    assert!(lock.try_take(12) == Take::Taken);
    let other = seat(4 | HANDED, 0);
    let joiner = {
        let lock = lock.clone();
        // SAFETY: the seat lives until the end.
        thread::spawn(move || unsafe { lock.join(&raw mut (*other.get()).waiter, 4) })
    };
    let granted = lock.release(12).is_some();
    let taken = joiner.join().unwrap() != Take::Held;
    assert!(granted != taken, "the lock was lost, or given twice");
    assert_eq!(lock.owner(), 4);
    // SAFETY: as above.
    unsafe { free(other) };
}

#[test]
fn loom_wait_lock_join_or_release() {
    model(lock_join_or_release);
}

/// Two are in line, the second of them gives up (a time-out, a cancel) at any moment: each wait ends in one way, nobody is forgotten.
#[test]
fn loom_wait_lock_grant_or_time_out() {
    model(|| {
        let lock = Arc::new(Lock::<Parked>::new());
        assert!(lock.try_take(12) == Take::Taken);
        let (first, second) = (seat(4 | HANDED, 0), seat(8 | HANDED, 0));
        // SAFETY: the seats live until the end, here and below.
        unsafe {
            assert!(lock.join(&raw mut (*first.get()).waiter, 4) == Take::Held);
            assert!(lock.join(&raw mut (*second.get()).waiter, 8) == Take::Held);
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
        let mut owners = vec![12];
        while let Some(claimed) = lock.release(*owners.last().unwrap()) {
            let is_first = std::ptr::eq(claimed.party.word, unsafe { &raw const (*first.get()).word });
            let owner = if is_first { 4 } else { 8 };
            assert!(lock.confirm(owner), "nobody robs it");
            owners.push(owner);
        }
        let gave_up = timer.join().unwrap();
        assert_eq!(owners, if gave_up { vec![12, 8] } else { vec![12, 4, 8] });
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
        let waits = !mine && unsafe { lock.join_again(&raw mut (*again.get()).waiter, 8) } == Take::Held;
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

/// Two ask, and one only looks: it is made once, and all have it who have anything.
#[test]
fn loom_wait_once_made_once() {
    model(|| {
        let once = Arc::new(Once::<u32>::new());
        let lock = Arc::new(Lock::<Parked>::new());
        let (made, value) = (Arc::new(Guarded::new(0u32)), 8 as *mut u32);
        let ask = {
            let (once, lock, made) = (once.clone(), lock.clone(), made.clone());
            move |me: u64| {
                if let Some(value) = once.get() {
                    return Some(value);
                }
                if lock.try_take(me) == Take::Held {
                    return None; // the real one waits in line
                }
                let value = once.get_or_make(|| {
                    // SAFETY: under the lock, and once; loom checks.
                    unsafe { made.with(|n| *n += 1) };
                    value
                });
                assert!(lock.release(me).is_none());
                Some(value)
            }
        };
        let second = thread::spawn({
            let ask = ask.clone();
            move || ask(4)
        });
        let looks = thread::spawn({
            let once = once.clone();
            move || once.get()
        });
        let asked = [ask(2), second.join().unwrap(), looks.join().unwrap()];
        assert!(asked[0].is_some() || asked[1].is_some());
        assert!(
            asked.into_iter().flatten().all(|got| got == value),
            "done, without the value"
        );
        // SAFETY: alone again.
        assert_eq!(unsafe { made.with(|n| *n) }, 1);
    });
}
