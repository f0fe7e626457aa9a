//! Promises: settle and await, settle and abandon.

use super::model;
use crate::promise::cell::{Cell, Settling, Waiter};
use crate::sync::Guarded;
use loom::sync::Arc;
use loom::thread;

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
