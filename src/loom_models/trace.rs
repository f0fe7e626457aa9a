//! Tracing: one who records and never waits, and one who reads late.

use super::model;
use crate::sync::Guarded;
use crate::trace::ring::{Event, Pushed, Ring};
use loom::sync::Arc;
use loom::thread;

/// A number, or how many are missing before the next one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mark {
    Number(u32),
    Missing(u32),
}

impl Event for Mark {
    fn lost(count: u32, _: &Self) -> Self {
        Mark::Missing(count)
    }
}

struct Small {
    ring: Ring<Mark>,
    /// Read by the ring.
    _slots: Box<[Guarded<Mark>]>,
}

fn small(count: u32) -> Arc<Small> {
    let slots: Box<[Guarded<Mark>]> = (0..count).map(|_| Guarded::new(Mark::Number(0))).collect();
    Arc::new(Small {
        ring: Ring::new(slots.as_ptr(), count),
        _slots: slots,
    })
}

/// Everything that was pushed is there, in order, or counted where it is missing.
fn check(seen: &[Mark], pushed: u32, dropped: u32) {
    let mut next = 1;
    let mut missing = 0;
    for &mark in seen {
        match mark {
            Mark::Number(n) => {
                assert_eq!(n, next, "in order: {seen:?}");
                next += 1;
            }
            Mark::Missing(n) => {
                next += n;
                missing += n;
            }
        }
    }
    let at_the_end = pushed + 1 - next;
    assert_eq!(missing + at_the_end, dropped, "counted: {seen:?}");
}

/// Two places are full, and a third event was lost already: one more while somebody reads, and one after that. Each is seen whole, or counted
/// in its place.
#[test]
fn loom_trace_is_seen_or_counted() {
    let told = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let tells = told.clone();
    model(move || {
        let shared = small(2);
        // SAFETY: the one producer.
        let push = |n| unsafe { shared.ring.push(Mark::Number(n)) } == Pushed::Lost;
        let mut dropped = (1..=3).filter(|&n| push(n)).count() as u32;
        assert_eq!(dropped, 1);
        let consumer = {
            let shared = shared.clone();
            thread::spawn(move || {
                let mut seen = Vec::new();
                // SAFETY: the one consumer.
                unsafe { shared.ring.take(|mark| seen.push(mark)) };
                seen
            })
        };
        dropped += u32::from(push(4));
        let mut seen = consumer.join().unwrap();
        dropped += u32::from(push(5));
        // SAFETY: as above: the other one is gone.
        unsafe { shared.ring.take(|mark| seen.push(mark)) };
        check(&seen, 5, dropped);
        assert_eq!(shared.ring.lost(), u64::from(dropped));
        if seen.iter().any(|mark| matches!(mark, Mark::Missing(_))) {
            tells.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    });
    let told = told.load(std::sync::atomic::Ordering::Relaxed);
    assert!(told, "in one run at least something was missing in the middle");
}

/// A thread ends: who finds it gone has read all that it wrote. In a ring of eight the second event needs no look at the room (`push_at_once`).
#[test]
fn loom_trace_end_comes_last() {
    model(|| {
        let shared = small(8);
        let producer = {
            let shared = shared.clone();
            thread::spawn(move || {
                // SAFETY: the one producer.
                unsafe {
                    shared.ring.push(Mark::Number(1));
                    shared.ring.push(Mark::Number(2));
                    shared.ring.close();
                }
            })
        };
        let mut seen = Vec::new();
        for _ in 0..2 {
            // SAFETY: the one consumer.
            if unsafe { shared.ring.take(|mark| seen.push(mark)) } {
                check(&seen, 2, 0);
                break;
            }
        }
        producer.join().unwrap();
    });
}
