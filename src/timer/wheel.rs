//! A hierarchical wheel in front of a small exact heap: start and stop are O(1), however many are pending.
//!
//! A *tick* is 2^20 ns (about 1 ms). A timer due in the tick that has begun, or before, lies in the heap, ordered to the
//! nanosecond. A later one lies in the bucket of the first level on which its tick differs from the current one: level
//! 0 has a bucket per tick, level `n` one per 64^n ticks. When a bucket's time begins, its timers move down.
//! Buckets are arrays of slot numbers, and each slot knows its place, so that a stop takes it out without a search.
//!
//! Rejected: one heap (stop at a million pending touches 20 cold lines); lists through the slots (one cold line per
//! neighbour); leaving stopped timers where they are (the sweep touches every cold slot).
//!
//! All functions: the caller has exclusive access to the wheel, and to the fields of the slots in it.

use super::slot::{Fields, slot};

const TICK_SHIFT: u32 = 20;
const LEVELS: usize = 8;
const LEVEL_BITS: u32 = 6;
const HEAP: u16 = u16::MAX;
/// Buckets up to this length are searched for their exact minimum when a worker wants to sleep.
const EXACT: usize = 256;

/// Timers of one worker.
pub struct Wheel {
    /// The tick that has begun.
    tick: u64,
    occupied: [u64; LEVELS],
    buckets: Vec<Vec<u32>>,
    heap: Vec<(u64, u32)>,
    count: usize,
}

impl Wheel {
    /// Empty, at this time.
    pub fn new(now: u64) -> Self {
        Self {
            tick: now >> TICK_SHIFT,
            occupied: [0; LEVELS],
            buckets: vec![Vec::new(); LEVELS * 64],
            heap: Vec::new(),
            count: 0,
        }
    }

    /// How many timers it holds.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Adds a slot; its deadline is set.
    #[inline]
    pub fn insert(&mut self, number: u32) {
        // SAFETY: the module's contract.
        self.insert_fields(number, unsafe { slot(number).fields() });
    }

    /// [`Wheel::insert`] for who has looked the slot up already.
    #[inline(always)]
    pub fn insert_fields(&mut self, number: u32, fields: &mut Fields) {
        self.count += 1;
        self.place(number, fields);
    }

    #[inline(always)]
    fn place(&mut self, number: u32, fields: &mut Fields) {
        let tick = fields.deadline >> TICK_SHIFT;
        if tick <= self.tick {
            fields.bucket = HEAP;
            let at = self.heap.len();
            self.heap.push((fields.deadline, number));
            self.sift_up(at);
            return;
        }
        let level = ((63 - (tick ^ self.tick).leading_zeros()) / LEVEL_BITS) as usize;
        let at = (tick >> (level as u32 * LEVEL_BITS)) as usize & 63;
        let bucket = &mut self.buckets[level * 64 + at];
        fields.bucket = (level * 64 + at) as u16;
        fields.index = bucket.len() as u32;
        bucket.push(number);
        self.occupied[level] |= 1 << at;
    }

    /// Takes a slot out.
    #[inline]
    pub fn remove(&mut self, number: u32) {
        // SAFETY: the module's contract.
        self.remove_fields(number, unsafe { slot(number).fields() });
    }

    /// [`Wheel::remove`] for who has looked the slot up already.
    #[inline(always)]
    pub fn remove_fields(&mut self, number: u32, fields: &Fields) {
        self.count -= 1;
        let (bucket, index) = (fields.bucket, fields.index as usize);
        if bucket == HEAP {
            self.heap_remove(index);
            return;
        }
        let list = &mut self.buckets[bucket as usize];
        debug_assert_eq!(list[index], number);
        list.swap_remove(index);
        if let Some(&moved) = list.get(index) {
            // SAFETY: as above: it is in this wheel.
            unsafe { slot(moved).fields() }.index = index as u32;
        }
        if list.is_empty() {
            self.occupied[bucket as usize / 64] &= !(1 << (bucket % 64));
            if list.capacity() > 4096 {
                *list = Vec::new(); // a burst's memory goes back
            }
        }
    }

    /// Ends every timer in it, without firing; gives the slots that can be used again.
    pub fn take_all(&mut self) -> Vec<u32> {
        let heap = self.heap.drain(..).map(|(_, number)| number);
        let numbers: Vec<u32> = self
            .buckets
            .iter_mut()
            .flat_map(|b| b.drain(..))
            .chain(heap)
            .collect();
        self.occupied = [0; LEVELS];
        self.count = 0;
        numbers
            .into_iter()
            .filter(|&number| slot(number).word.free())
            .collect()
    }

    /// The next slot that is due, earliest first; it is taken out.
    pub fn pop_due(&mut self, now: u64) -> Option<u32> {
        self.advance(now >> TICK_SHIFT);
        let &(deadline, number) = self.heap.first()?;
        if deadline > now {
            return None;
        }
        self.count -= 1;
        self.heap_remove(0);
        Some(number)
    }

    /// When it wants to be asked again: never later than the earliest deadline; `u64::MAX`: empty.
    /// Exact unless the earliest bucket is long; then it may be the time at which that bucket moves down.
    pub fn next_due(&self) -> u64 {
        if let Some(&(deadline, _)) = self.heap.first() {
            return deadline;
        }
        let Some((level, at)) = self.first_bucket() else {
            return u64::MAX;
        };
        let bucket = &self.buckets[level * 64 + at];
        if bucket.len() <= EXACT {
            // SAFETY: the module's contract.
            return bucket
                .iter()
                .map(|&n| unsafe { slot(n).fields() }.deadline)
                .min()
                .unwrap_or(u64::MAX);
        }
        self.bucket_tick(level, at) << TICK_SHIFT
    }

    /// The occupied bucket whose time begins first. Lower levels lie wholly before higher ones.
    fn first_bucket(&self) -> Option<(usize, usize)> {
        (0..LEVELS).find_map(|level| {
            let now = (self.tick >> (level as u32 * LEVEL_BITS)) as usize & 63;
            // On every level only buckets after the current position are occupied: an equal or earlier one would
            // differ on a higher level, and lie there.
            let later = self.occupied[level] & (u64::MAX << now);
            (later != 0).then(|| (level, later.trailing_zeros() as usize))
        })
    }

    /// The tick at which a bucket's time begins.
    fn bucket_tick(&self, level: usize, at: usize) -> u64 {
        let shift = level as u32 * LEVEL_BITS;
        (self.tick >> shift >> LEVEL_BITS << LEVEL_BITS | at as u64) << shift
    }

    fn advance(&mut self, to: u64) {
        while self.tick < to {
            let Some((level, at)) = self.first_bucket() else {
                self.tick = to;
                return;
            };
            let begins = self.bucket_tick(level, at);
            if begins > to {
                self.tick = to;
                return;
            }
            self.tick = begins;
            self.occupied[level] &= !(1 << at);
            let timers = std::mem::take(&mut self.buckets[level * 64 + at]);
            for &number in &timers {
                // SAFETY: the module's contract.
                self.place(number, unsafe { slot(number).fields() });
            }
            if timers.capacity() <= 4096 {
                let mut kept = timers;
                kept.clear();
                self.buckets[level * 64 + at] = kept;
            }
        }
    }

    // ---- the heap: 4-ary, each slot knows its index ----

    fn set(&mut self, at: usize, entry: (u64, u32)) {
        self.heap[at] = entry;
        // SAFETY: the module's contract.
        unsafe { slot(entry.1).fields() }.index = at as u32;
    }

    fn sift_up(&mut self, mut at: usize) {
        let entry = self.heap[at];
        while at > 0 {
            let parent = (at - 1) / 4;
            if self.heap[parent].0 <= entry.0 {
                break;
            }
            self.set(at, self.heap[parent]);
            at = parent;
        }
        self.set(at, entry);
    }

    fn sift_down(&mut self, mut at: usize) {
        let entry = self.heap[at];
        loop {
            let children = 4 * at + 1..(4 * at + 5).min(self.heap.len());
            let Some(least) = children.min_by_key(|&c| self.heap[c].0) else {
                break;
            };
            if self.heap[least].0 >= entry.0 {
                break;
            }
            self.set(at, self.heap[least]);
            at = least;
        }
        self.set(at, entry);
    }

    fn heap_remove(&mut self, at: usize) {
        let last = self.heap.pop().expect("the caller knows of an entry");
        if at == self.heap.len() {
            return;
        }
        self.heap[at] = last;
        self.sift_down(at);
        // SAFETY: the module's contract.
        let now_at = unsafe { slot(last.1).fields() }.index as usize;
        self.sift_up(now_at);
    }
}

#[cfg(test)]
mod tests {
    use super::super::slot;
    use super::*;
    use std::collections::BTreeSet;

    /// A small generator, so that a failure can be repeated from the seed in its message.
    struct Random(u64);
    impl Random {
        fn next(&mut self) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0
        }
    }

    #[test]
    fn wheel_agrees_with_a_sorted_set() {
        for seed in 1..=20u64 {
            let mut random = Random(seed * 0x9E37_79B9_7F4A_7C15);
            let mut now = random.next() >> 20;
            let mut wheel = Wheel::new(now);
            let mut model = BTreeSet::new();
            let mut spare = Vec::new();
            assert!(slot::take(4096, &mut spare));
            for _ in 0..20_000 {
                match random.next() % 4 {
                    0 | 1 if !spare.is_empty() => {
                        // From the past to a year ahead, all magnitudes alike.
                        let ahead = random.next() >> (8 + random.next() % 56);
                        let deadline = (now + ahead).saturating_sub(random.next() % 1000);
                        let number = spare.pop().expect("checked above");
                        // SAFETY: the slot is ours.
                        unsafe { slot::slot(number).fields() }.deadline = deadline;
                        wheel.insert(number);
                        model.insert((deadline, number));
                    }
                    2 if !model.is_empty() => {
                        let nth = random.next() as usize % model.len();
                        let entry = *model.iter().nth(nth).expect("in range");
                        model.remove(&entry);
                        wheel.remove(entry.1);
                        spare.push(entry.1);
                    }
                    _ => {
                        let first = model.first().map_or(u64::MAX, |e| e.0);
                        assert!(
                            wheel.next_due() <= first,
                            "seed {seed}: would sleep past a deadline"
                        );
                        // Sometimes to just where it wants to be asked again, sometimes anywhere.
                        let hop = random.next() >> (16 + random.next() % 48);
                        now = if random.next().is_multiple_of(2) && wheel.next_due() != u64::MAX {
                            now.max(wheel.next_due())
                        } else {
                            now + hop
                        };
                        let mut last = 0;
                        while let Some(number) = wheel.pop_due(now) {
                            // SAFETY: the slot is ours.
                            let deadline = unsafe { slot::slot(number).fields() }.deadline;
                            assert!(
                                deadline <= now && deadline >= last,
                                "seed {seed}: too early, or out of order"
                            );
                            last = deadline;
                            assert!(model.remove(&(deadline, number)), "seed {seed}: not in the model");
                            spare.push(number);
                        }
                        let next = model.first().map_or(u64::MAX, |e| e.0);
                        assert!(next > now, "seed {seed}: a due timer was left");
                    }
                }
                assert_eq!(wheel.len(), model.len(), "seed {seed}");
            }
        }
    }
}
