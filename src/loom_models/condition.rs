//! Conditions: signals, time-outs, cancels.

use super::{Parked, Seat, Shared, free, model, seat};
use crate::goroutine::park::Ready;
use crate::wait::condition::{Condition, Stage};
use crate::wait::{Waiter, next_claimed};
use loom::sync::{Arc, Mutex};
use loom::thread::{self, JoinHandle};

type ConditionSeat = Shared<Seat<Stage>>;

/// One that has joined.
fn joined(condition: &Condition<Parked>) -> ConditionSeat {
    let seat = seat(Stage::new(), 0);
    // SAFETY: the models keep their seats until the end, here and below.
    unsafe { condition.join(&raw mut (*seat.get()).waiter) };
    seat
}

/// Step 3. False: it was told.
fn parks(seat: ConditionSeat) -> bool {
    unsafe {
        let (word, sequence) = (&raw const (*seat.get()).word, 1);
        Condition::park(&raw mut (*seat.get()).waiter, Parked { word, sequence })
    }
}

/// Its time-out or its cancel. True: it won, and the wait is over otherwise.
fn gives_up(seat: ConditionSeat) -> bool {
    unsafe { (*seat.get()).word.ready(1) == Ready::Won }
}

/// It takes itself out of the queue. False: it was told.
fn leaves(condition: &Condition<Parked>, seat: ConditionSeat) -> bool {
    unsafe { condition.leave(&raw mut (*seat.get()).waiter) }
}

/// Gives whom it woke.
fn signals(condition: &Condition<Parked>, most: usize) -> Vec<usize> {
    let mut woken = condition.tell(most);
    std::iter::from_fn(|| unsafe { next_claimed(&mut woken) })
        .map(|(waiter, _)| waiter as usize)
        .collect()
}

fn is_among(seat: ConditionSeat, woken: &[usize]) -> bool {
    woken.contains(&unsafe { &raw mut (*seat.get()).waiter as usize })
}

/// Somebody changes what is waited for while another one looks at it, and waits: it sees the change, or is told before it parks, or is woken.
#[test]
fn loom_condition_signal_is_not_lost() {
    model(|| {
        let condition = Arc::new(Condition::<Parked>::new());
        let changed = Arc::new(Mutex::new(false));
        let waiter: JoinHandle<Option<(ConditionSeat, bool)>> = {
            let (condition, changed) = (condition.clone(), changed.clone());
            thread::spawn(move || {
                let mutex = changed.lock().unwrap();
                if *mutex {
                    return None;
                }
                let seat = joined(&condition);
                drop(mutex);
                Some((seat, parks(seat)))
            })
        };
        *changed.lock().unwrap() = true;
        let woken = signals(&condition, 1);
        match waiter.join().unwrap() {
            None => assert!(woken.is_empty()),
            Some((seat, waits)) => {
                assert_eq!(waits, is_among(seat, &woken), "it waits, or was told twice");
                unsafe { free(seat) };
            }
        }
        assert!(condition.is_idle());
    });
}

/// Two wait, and the time of the first is over when the signal comes: one of them has it.
#[test]
fn loom_condition_signal_or_time_out() {
    model(|| {
        let condition = Arc::new(Condition::<Parked>::new());
        let (first, second) = (joined(&condition), joined(&condition));
        assert!(parks(first) && parks(second));
        let timer = {
            let condition = condition.clone();
            thread::spawn(move || {
                let gave_up = gives_up(first);
                if gave_up {
                    assert!(leaves(&condition, first));
                }
                gave_up
            })
        };
        let woken = signals(&condition, 1);
        let gave_up = timer.join().unwrap();
        assert_eq!(woken.len(), 1);
        assert!(is_among(if gave_up { second } else { first }, &woken));
        assert_eq!(condition.is_idle(), gave_up);
        if !gave_up {
            assert_eq!(signals(&condition, 1).len(), 1);
        }
        unsafe {
            free(first);
            free(second);
        }
    });
}

/// The first is cancelled before it parks, while a signal comes: it takes it, or the one behind it does.
#[test]
fn loom_condition_signal_or_cancel() {
    model(|| {
        let condition = Arc::new(Condition::<Parked>::new());
        let (first, second) = (joined(&condition), joined(&condition));
        assert!(parks(second));
        let cancelled = {
            let condition = condition.clone();
            thread::spawn(move || leaves(&condition, first))
        };
        let woken = signals(&condition, 1);
        let left = cancelled.join().unwrap();
        assert_eq!(left, is_among(second, &woken), "nobody has the signal, or both");
        assert_eq!(woken.len(), usize::from(left));
        assert_eq!(condition.is_idle(), left);
        unsafe {
            free(first);
            free(second);
        }
    });
}

/// All are told, also the one that is about to park.
#[test]
fn loom_condition_broadcast_tells_all() {
    model(|| {
        let condition = Arc::new(Condition::<Parked>::new());
        let (first, second, third) = (joined(&condition), joined(&condition), joined(&condition));
        assert!(parks(first) && parks(third));
        let parking = thread::spawn(move || parks(second));
        let woken = signals(&condition, usize::MAX);
        let waits = parking.join().unwrap();
        assert_eq!(waits, is_among(second, &woken), "it waits, or was told twice");
        assert!(is_among(first, &woken) && is_among(third, &woken));
        assert!(condition.is_idle());
        unsafe {
            free(first);
            free(second);
            free(third);
        }
    });
}

/// One is told before it parks, or before it leaves, and the condition is freed at once: nobody touches it again.
#[test]
fn loom_condition_freed_after_the_signal() {
    for cancelled in [false, true] {
        model(move || {
            let condition = Arc::new(Condition::<Parked>::new());
            let seat = joined(&condition);
            let going_on = {
                let condition = condition.clone();
                thread::spawn(move || {
                    if cancelled {
                        leaves(&condition, seat)
                    } else {
                        parks(seat)
                    }
                })
            };
            let woken = signals(&condition, 1);
            if condition.is_idle() {
                condition.poison();
            }
            let waits = going_on.join().unwrap() && !cancelled;
            assert_eq!(waits, is_among(seat, &woken));
            unsafe { free(seat) };
        });
    }
}

/// Two are told at once. The first goes on, and uses its stack for something else, while the other one is looked for.
#[test]
fn loom_condition_told_one_goes_on() {
    model(|| {
        let condition = Arc::new(Condition::<Parked>::new());
        let (first, second) = (joined(&condition), joined(&condition));
        let goes_on = thread::spawn(move || {
            let waits = parks(first);
            if !waits {
                // SAFETY: told: its own again.
                unsafe { (*first.get()).waiter = Waiter::new(Stage::new()) };
            }
            waits
        });
        let woken = signals(&condition, usize::MAX);
        let waits = goes_on.join().unwrap();
        assert_eq!(waits, is_among(first, &woken));
        assert!(!parks(second), "it was forgotten");
        assert!(condition.is_idle());
        unsafe {
            free(first);
            free(second);
        }
    });
}
