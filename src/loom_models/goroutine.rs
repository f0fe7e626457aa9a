//! The words that a goroutine waits on: who readies it, and its own thread.

use super::model;
use crate::goroutine::park::{ParkWord, Ready};
use crate::goroutine::thread_word::ThreadWord;
use crate::sync::Guarded;
use loom::sync::Arc;
use loom::thread;

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
