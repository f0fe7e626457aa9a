//! Levelling: a worker is told to take from another one, and does.

use super::model;
use crate::sched::order::Order;
use crate::sched::run_queue::{POLL_LEVEL, RunQueue};
use crate::sync::{AtomicU32, Ordering};
use loom::sync::Arc;
use loom::thread;

/// Two orders, one after the other, while the owner looks: the last one is heeded, and none twice.
#[test]
fn loom_level_last_order_is_heeded() {
    model(|| {
        let told = Arc::new((Order::new(), AtomicU32::new(0)));
        let monitor = {
            let told = told.clone();
            thread::spawn(move || (1..=2).for_each(|i| told.0.give(&told.1, i, 16)))
        };
        let mut heeded = Vec::new();
        let mut look = || {
            if told.1.load(Ordering::Relaxed) & POLL_LEVEL != 0 {
                heeded.extend(told.0.take(&told.1));
            }
        };
        look();
        look();
        monitor.join().unwrap();
        look();
        assert!(heeded == [(2, 16)] || heeded == [(1, 16), (2, 16)], "{heeded:?}");
    });
}

/// Two workers rob each other: neither waits for the other for ever, and every item comes out once.
#[test]
fn loom_level_rob_each_other() {
    model(|| {
        let queues: Arc<[_; 2]> = Arc::new(std::array::from_fn(|_| RunQueue::<u32>::new(4)));
        let _ = queues[0].push(1);
        let _ = queues[1].push(10);
        let robs = |me: usize, queues: &[RunQueue<u32>; 2]| {
            queues[me].rob(&queues[1 - me], &mut [0; 2], |_| 0);
            queues[me].pop().unwrap_or(0)
        };
        let other = {
            let queues = queues.clone();
            thread::spawn(move || robs(1, &queues))
        };
        let mut sum = robs(0, &queues) + other.join().unwrap();
        for queue in &*queues {
            sum += std::iter::from_fn(|| queue.pop()).sum::<u32>();
        }
        assert_eq!(sum, 11);
    });
}
