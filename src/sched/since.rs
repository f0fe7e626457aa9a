//! When a goroutine parked, and for how long one has been running, without a clock on their way.
//!
//! Each worker numbers the parks that happen on it, and counts its turns. The monitor looks at both now and
//! then, and writes down when: a park whose number is between what was seen at two looks happened between them. Looks are kept so that
//! their distance is a small part of their age: what is an hour old is known to a few minutes.

use super::runtime::Runtime;
use super::worker::{Worker, foreign_sequences, sequence_index};
use crate::sys::mutex::Mutex;
use crate::sys::time::now_ns;

/// Looks that are kept for each worker.
const KEPT: usize = 96;
/// From look to look at least.
const EVERY_NS: u64 = 500_000;

#[derive(Default)]
struct Looks {
    /// When, and the last number that had been given out then. Both grow.
    parks: Vec<(u64, u64)>,
    /// `Worker::turns`, and when that was seen to have changed.
    turns: u32,
    turned: u64,
}

impl Looks {
    fn note(&mut self, now: u64, sequence: u64) {
        if let Some(&(at, last)) = self.parks.last()
            && (last == sequence || now < at + EVERY_NS)
        {
            return;
        }
        if self.parks.len() == KEPT {
            // The one without which the gap is the smallest for its age.
            let cost = |i: &usize| {
                let gap = self.parks[i + 1].0 - self.parks[i - 1].0;
                gap.saturating_mul(1024) / (now - self.parks[*i].0 + 1)
            };
            let least = (1..KEPT - 1).min_by_key(cost).unwrap_or(1);
            self.parks.remove(least);
        }
        self.parks.push((now, sequence));
    }

    /// When that number had been given out at the latest; None: after the last look.
    fn when(&self, sequence: u64) -> Option<u64> {
        let i = self.parks.partition_point(|&(_, last)| last < sequence);
        self.parks.get(i).map(|&(at, _)| at)
    }
}

/// What the monitor wrote down: of each worker, and last of parks elsewhere.
pub struct Since(Mutex<Vec<Looks>>);

impl Since {
    /// Nothing yet.
    pub fn new(workers: usize) -> Self {
        Self(Mutex::new((0..=workers).map(|_| Looks::default()).collect()))
    }
}

impl Runtime {
    /// The monitor looks.
    pub fn note_times(&self, now: u64) {
        let mut looks = self.since.0.lock();
        for (worker, looks) in self.workers.iter().zip(looks.iter_mut()) {
            looks.note(now, worker.last_sequence());
            let turns = worker.turns();
            if turns != looks.turns || looks.turned == 0 || self.idle.contains(worker.index) {
                (looks.turns, looks.turned) = (turns, now);
            }
        }
        if let Some(others) = looks.last_mut() {
            others.note(now, foreign_sequences());
        }
    }

    /// For how long the park with this number has lasted, at least.
    pub fn parked_for(&self, sequence: u64) -> u64 {
        let looks = self.since.0.lock();
        let place = sequence_index(sequence).min(self.workers.len());
        let at = looks[place].when(sequence);
        at.map_or(0, |at| now_ns().saturating_sub(at))
    }

    /// For how long that worker's goroutine has been running, at least.
    pub fn running_for(&self, worker: &Worker) -> u64 {
        let looks = &self.since.0.lock()[worker.index];
        if looks.turns != worker.turns() {
            return 0;
        }
        now_ns().saturating_sub(looks.turned)
    }
}
