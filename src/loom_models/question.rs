//! What a thread is asked in its signal handler.

use super::model;
use crate::sync::question::{Outcome, Patience, Question};
use crate::sync::{AtomicU32, Ordering};
use loom::sync::{Arc, Mutex};
use loom::thread::{self, JoinHandle};

/// Whole if both are alike.
type Answer = (u32, u32);

struct Asking {
    question: Question<Answer>,
    one_at_a_time: Mutex<()>,
}

impl Asking {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            question: Question::new((0, 0)),
            one_at_a_time: Mutex::new(()),
        })
    }

    /// Asks, and is patient for so many looks, then for an answer that is being written for one more.
    fn ask(&self, id: u32, mut looks: u32) -> Outcome<()> {
        let _asks = self.one_at_a_time.lock().unwrap();
        let patience = || {
            thread::yield_now();
            if looks == 0 {
                return Patience::Over;
            }
            looks -= 1;
            if looks == 0 {
                Patience::ForABeginning
            } else {
                Patience::Waits
            }
        };
        // SAFETY: under the lock.
        let outcome = unsafe { self.question.ask(id, || true, patience, |answer| *answer) };
        match outcome {
            Outcome::Answered(answer) => {
                assert_eq!(answer, (id, id), "whole, and of the one that was asked");
                Outcome::Answered(())
            }
            Outcome::Silent => Outcome::Silent,
            Outcome::Gone => Outcome::Gone,
        }
    }

    /// A handler runs on thread `me`, whenever that is, for one question or another.
    fn handler(&self, me: u32) -> bool {
        self.question.answer(me, |answer| {
            answer.0 = me;
            answer.1 = me;
        })
    }
}

/// Thread `me` gets so many signals, at any time.
fn signals(asking: &Arc<Asking>, me: u32, times: u32) -> JoinHandle<u32> {
    let asking = asking.clone();
    thread::spawn(move || (0..times).filter(|_| asking.handler(me)).count() as u32)
}

/// An asker has no patience, and another one asks another thread: each gets its own answer, whole, or none.
#[test]
fn loom_question_late_answer() {
    model(|| {
        let asking = Asking::new();
        let handlers = [signals(&asking, 1, 1), signals(&asking, 2, 1)];
        let second = {
            let asking = asking.clone();
            thread::spawn(move || asking.ask(2, 1))
        };
        let first = asking.ask(1, 1);
        let second = second.join().unwrap();
        let answered = handlers.map(|handler| handler.join().unwrap());
        for (outcome, answered) in [first, second].into_iter().zip(answered) {
            assert!(outcome == Outcome::Silent || answered == 1);
        }
    });
}

/// The signal of a question that was withdrawn comes when the same thread is asked again, besides the one that was sent for that.
#[test]
fn loom_question_asked_again() {
    model(|| {
        let asking = Asking::new();
        let handlers = signals(&asking, 1, 2);
        let outcomes = [asking.ask(1, 1), asking.ask(1, 1)];
        let answered = handlers.join().unwrap();
        let heard = outcomes.iter().filter(|o| **o == Outcome::Answered(())).count() as u32;
        assert!(heard <= answered);
        // Whatever was left behind: who is asked in the end, and lives, answers.
        // SAFETY: nobody else asks any more.
        let outcome = unsafe {
            asking.question.ask(
                3,
                || asking.handler(3),
                || unreachable!("it has answered"),
                |answer| *answer,
            )
        };
        assert_eq!(outcome, Outcome::Answered((3, 3)));
    });
}

/// A patient asker of a thread that gets its signal has its answer.
#[test]
fn loom_question_is_answered() {
    model(|| {
        let asking = Asking::new();
        let sent = Arc::new(AtomicU32::new(0));
        let handler = {
            let (asking, sent) = (asking.clone(), sent.clone());
            thread::spawn(move || {
                while sent.load(Ordering::Acquire) == 0 {
                    thread::yield_now();
                }
                assert!(asking.handler(1), "there is a question when its signal comes");
            })
        };
        let send = || {
            sent.store(1, Ordering::Release);
            true
        };
        let patience = || {
            thread::yield_now();
            Patience::Waits
        };
        // SAFETY: the one asker.
        let outcome = unsafe { asking.question.ask(1, send, patience, |answer| *answer) };
        assert_eq!(outcome, Outcome::Answered((1, 1)));
        handler.join().unwrap();
    });
}

/// There is no such thread any more: that is said at once, and another one is asked.
#[test]
fn loom_question_to_nobody() {
    model(|| {
        let asking = Asking::new();
        let other = signals(&asking, 2, 1);
        let patience = || Patience::Waits;
        // SAFETY: the one asker.
        let outcome = unsafe { asking.question.ask(1, || false, patience, |answer| *answer) };
        assert_eq!(outcome, Outcome::Gone);
        let second = asking.ask(2, 1);
        assert!(other.join().unwrap() == 1 || second == Outcome::Silent);
    });
}
