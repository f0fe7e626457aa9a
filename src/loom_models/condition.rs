//! Conditions: signals, time-outs, cancels.

use super::{Parked, Seat, Shared, free, model, seat};
use crate::goroutine::park::Ready;
use crate::wait::condition::{Condition, Stage};
use crate::wait::next_claimed;
use loom::sync::{Arc, Mutex};
use loom::thread::{self, JoinHandle};

type ConditionSeat = Shared<Seat<Stage>>;

/// One that has joined.
fn joined(condition: &Condition<Parked>) -> ConditionSeat {
    let seat = seat(Stage::Joined, 0);
    // SAFETY: the models keep their seats until the end, here and below.
    unsafe { condition.join(&raw mut (*seat.get()).waiter) };
    seat
}

/// Step 3. False: it was told.
fn parks(condition: &Condition<Parked>, seat: ConditionSeat) -> bool {
    unsafe {
        let (word, sequence) = (&raw const (*seat.get()).word, 1);
        condition.park(&raw mut (*seat.get()).waiter, Parked { word, sequence })
    }
}

/// Its time-out or its cancel. True: it won, and the wait is over otherwise.
fn gives_up(seat: ConditionSeat) -> bool {
    unsafe { (*seat.get()).word.ready(1) == Ready::Won }
}

/// It takes itself out of the queue, and passes on what it was told. Gives whom that woke.
fn leaves(condition: &Condition<Parked>, seat: ConditionSeat) -> Vec<usize> {
    if unsafe { condition.leave(&raw mut (*seat.get()).waiter) } {
        return signals(condition, 1);
    }
    Vec::new()
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
                Some((seat, parks(&condition, seat)))
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
        assert!(parks(&condition, first) && parks(&condition, second));
        let timer = {
            let condition = condition.clone();
            thread::spawn(move || {
                let gave_up = gives_up(first);
                if gave_up {
                    assert!(leaves(&condition, first).is_empty());
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

/// The first is cancelled before it parks, while a signal comes: the one behind it has it.
#[test]
fn loom_condition_passes_on_what_it_does_not_take() {
    model(|| {
        let condition = Arc::new(Condition::<Parked>::new());
        let (first, second) = (joined(&condition), joined(&condition));
        assert!(parks(&condition, second));
        let cancelled = {
            let condition = condition.clone();
            thread::spawn(move || leaves(&condition, first))
        };
        let mut woken = signals(&condition, 1);
        woken.extend(cancelled.join().unwrap());
        assert!(
            woken.len() == 1 && is_among(second, &woken),
            "the signal was lost"
        );
        assert!(condition.is_idle());
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
        assert!(parks(&condition, first) && parks(&condition, third));
        let parking = {
            let condition = condition.clone();
            thread::spawn(move || parks(&condition, second))
        };
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
