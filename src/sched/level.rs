//! Long queues and short ones, while nobody is idle.
//!
//! Who runs dry takes from others (`search`), and nobody else does: of goroutines that go on and on, each worker would keep those it once
//! got, 900 of them here and 100 there, and those here would run a ninth as often as those there, for ever. The same where the kernel
//! gives one worker's thread less of a CPU than another's. So the monitor notes how long the queues are and how many turns each worker
//! takes, which is how long a goroutine waits for its turn (a round). Where that was longer in one queue, by half, at its best than in another at
//! its worst, it tells the other's owner to take so many that both come out alike; the owner does at its next turn, through the gate (`order`).
//! That costs a heavy fence per pair and window at most, and nothing while queues come and go.

use super::runtime::Runtime;
use super::search::{LOOT, rob};
use super::worker::Worker;
use std::cmp::Reverse;

/// A window lasts at least so long,
const WINDOW_NS: u64 = 20_000_000;
/// and so many looks.
const LOOKS: u32 = 4;
/// Fewer are not worth it.
const WORTH: u64 = 16;

/// One queue in a window.
#[derive(Clone, Copy)]
struct Seen {
    least: u64,
    most: u64,
    /// When it began.
    pops: u32,
    /// Turns since.
    turns: u64,
}

/// The monitor's notes.
#[derive(Default)]
pub struct Lengths {
    since: u64,
    looks: u32,
    seen: Vec<Seen>,
}

impl Lengths {
    /// One more look.
    pub fn look(&mut self, runtime: &Runtime, now: u64) {
        if runtime.workers.len() == 1 {
            return;
        }
        if self.looks == 0 || runtime.idle.any() {
            self.begin(runtime, now); // who is idle takes what it finds
        }
        self.looks += 1;
        for (worker, seen) in runtime.workers.iter().zip(&mut self.seen) {
            let length = u64::from(worker.queue_len());
            (seen.least, seen.most) = (seen.least.min(length), seen.most.max(length));
        }
        if self.looks >= LOOKS && now - self.since >= WINDOW_NS {
            self.looks = 0;
            self.tell(runtime);
        }
    }

    fn begin(&mut self, runtime: &Runtime, now: u64) {
        self.seen.clear();
        self.seen.extend(runtime.workers.iter().map(|worker| Seen {
            least: u64::MAX,
            most: 0,
            pops: worker.queue.pops(),
            turns: 1,
        }));
        (self.since, self.looks) = (now, 0);
    }

    /// Those with the shortest rounds take from those with the longest.
    fn tell(&mut self, runtime: &Runtime) {
        let mut order: Vec<usize> = (0..self.seen.len()).collect();
        for (worker, seen) in runtime.workers.iter().zip(&mut self.seen) {
            seen.turns = u64::from(worker.queue.pops().wrapping_sub(seen.pops)).max(1);
        }
        // (In turns of a million per window: rounds are compared, and not told.)
        order.sort_by_key(|&i| Reverse(self.seen[i].least * 1_000_000 / self.seen[i].turns));
        for pair in 0..order.len() / 2 {
            let (from, to) = (order[pair], order[order.len() - 1 - pair]);
            let (long, short) = (self.seen[from], self.seen[to]);
            let count = surplus(long.least, long.turns, short.most, short.turns);
            if count >= WORTH {
                let count = count.min(LOOT as u64) as u32;
                let worker = &runtime.workers[to];
                worker.order.give(&worker.queue.poll, from, count);
            }
        }
    }
}

/// How many must change queues for equal rounds; 0: they are not far from it. `turns`: how many each takes in the same time.
fn surplus(long: u64, long_turns: u64, short: u64, short_turns: u64) -> u64 {
    let (of_long, of_short) = (long * short_turns, short * long_turns);
    if of_long * 2 <= of_short * 3 {
        return 0;
    }
    (of_long - of_short) / (long_turns + short_turns)
}

/// The owner of a short queue was told.
///
/// # Safety
/// The calling thread holds `worker`.
#[cold]
pub unsafe fn level(worker: &Worker) {
    if let Some((from, count)) = worker.order.take(&worker.queue.poll) {
        let from = &worker.runtime().workers[from];
        // SAFETY: the caller's promise. It cannot be reached, perhaps: in the next window, then.
        unsafe { rob(worker, from, count) };
    }
}

const _: () = assert!(LOOT < 1 << 16 && super::idle::MAX_WORKERS <= 1 << 16);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_come_out_alike() {
        assert_eq!(surplus(900, 400, 100, 400), 400);
        assert_eq!(surplus(500, 100, 500, 400), 300); // a thread that gets a quarter of the CPU
        assert_eq!(surplus(140, 400, 100, 400), 0);
        assert_eq!(surplus(0, 1, 0, 1), 0);
        assert_eq!(surplus(100, 1, 0, 400), 99); // one that computes
    }
}
