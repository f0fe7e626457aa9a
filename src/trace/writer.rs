//! The thread that reads the rings and writes the file. Nobody waits for it: a ring that it does not get to in time drops events.
//!
//! Events of different threads are put in order by their times. One may be published after a later one of another thread was: its thread was held up
//! between reading the clock and showing the event. So of each reading only what is older than the reading before is told, and the rest waits
//! for the next. What is held up longer comes out of order, and `story` moves it.

use super::event::{Kind, Record};
use super::json::Json;
use super::rings::{self, ThreadRing};
use super::session::Shared;
use super::story::Story;
use crate::goroutine::name_of;
use crate::stack;
use crate::sys::clock::{self, ticks};
use crate::sys::time::now_ns;
use std::collections::VecDeque;

/// How long it sleeps while events come, and at most. (A ring that is half full wakes it.)
const NAP_NS: std::ops::RangeInclusive<u64> = 5_000_000..=200_000_000;
/// What was written goes to the file so often at least.
const FLUSH_NS: u64 = 500_000_000;

/// A moment on both clocks.
#[derive(Clone, Copy)]
pub struct Moment {
    ticks: u64,
    ns: u64,
}

impl Moment {
    /// Of a few readings the one that took the shortest.
    pub fn now() -> Self {
        if !clock::is_invariant() {
            let ns = now_ns();
            return Self { ticks: ns, ns };
        }
        let read = |_| {
            let before = ticks();
            let ns = now_ns();
            let took = ticks().saturating_sub(before);
            (took, before + took / 2, ns)
        };
        let (_, ticks, ns) = (0..4).map(read).min().expect("four");
        Self { ticks, ns }
    }
}

/// From ticks to nanoseconds: on straight lines between moments that are milliseconds apart, so it always goes forward.
struct Scale {
    moments: VecDeque<Moment>,
}

impl Scale {
    const KEPT: usize = 64;

    fn add(&mut self, moment: Moment) {
        let last = self.moments.back().expect("never empty");
        if moment.ticks > last.ticks && moment.ns > last.ns {
            self.moments.push_back(moment);
        }
        if self.moments.len() > Self::KEPT {
            self.moments.pop_front();
        }
    }

    fn ns(&self, ticks: u64) -> u64 {
        let count = self.moments.len();
        if count < 2 {
            return self.moments[0].ns;
        }
        // Mostly the last line but one. What is out of range is on the outermost lines.
        let line = (1..count)
            .rev()
            .find(|&i| self.moments[i - 1].ticks <= ticks)
            .unwrap_or(1);
        let (a, b) = (self.moments[line - 1], self.moments[line]);
        let (passed, span) = (
            i128::from(ticks) - i128::from(a.ticks),
            i128::from(b.ticks - a.ticks),
        );
        (i128::from(a.ns) + passed * i128::from(b.ns - a.ns) / span).max(0) as u64
    }
}

/// A ring that is read.
struct Source {
    ring: *mut ThreadRing,
    track: usize,
    /// The time of the last event: a ring's order is that of its times.
    last: u64,
    /// A name that is not complete: whose, when, how long, what there is of it.
    name: Option<(Record, Vec<u8>)>,
    /// How many lost events were told.
    lost_told: u64,
}

/// What is told next.
enum What {
    Event(Record),
    Name(u64, Vec<u8>),
}

struct Writer {
    story: Story,
    scale: Scale,
    start: Moment,
    /// Of the trace.
    number: u32,
    sources: Vec<Source>,
    /// When, on which track.
    pending: Vec<(u64, usize, What)>,
    /// Events before this are complete.
    complete: u64,
    events: u64,
    /// Of rings that are gone.
    lost: u64,
}

/// The thread's body.
pub fn run(json: Json, shared: &Shared, number: u32, start: Moment, spares: usize) {
    let homeless = rings::homeless();
    let mut writer = Writer {
        story: Story::new(json),
        scale: Scale {
            moments: [start].into(),
        },
        start,
        number,
        sources: Vec::new(),
        pending: Vec::new(),
        complete: start.ticks,
        events: 0,
        lost: 0,
    };
    writer.look_around();
    let mut nap = *NAP_NS.start();
    let mut flushed = start.ns;
    loop {
        let stops = shared.stops(); // first: what was recorded before a stop is read after it
        let now = Moment::now();
        writer.scale.add(now);
        let read = writer.read();
        writer.tell(if stops { u64::MAX } else { writer.complete });
        writer.complete = now.ticks;
        if stops {
            break;
        }
        if now.ns - flushed >= FLUSH_NS {
            flushed = now.ns;
            writer.story.flush();
        }
        rings::make_spares(spares); // in place of those that were taken
        nap = if read != 0 {
            *NAP_NS.start()
        } else {
            (nap * 2).min(*NAP_NS.end())
        };
        shared.sleep(now.ns + nap);
    }
    writer.end(shared, rings::homeless() - homeless);
}

impl Writer {
    /// Goroutines that are there already, and have names.
    fn look_around(&mut self) {
        stack::for_each(|g| {
            // SAFETY: control blocks stay mapped.
            unsafe {
                let id = (*g).id();
                if id != 0 && (*g).is_ours() {
                    let name = name_of(g, id);
                    if !name.is_empty() {
                        self.story.was_there(id, &name.to_string_lossy());
                    }
                }
            }
        });
    }

    /// Reads all rings. Gives how much there was.
    fn read(&mut self) -> usize {
        for ring in rings::arrived() {
            // SAFETY: what arrived is ours until we leave it.
            let (thread, name, goes_on) = unsafe { ((*ring).thread, (*ring).name, (*ring).goes_on) };
            let text = String::from_utf8_lossy(&name);
            let track = self.story.thread(thread, text.trim_end_matches('\0'), goes_on);
            self.sources.push(Source {
                ring,
                track,
                last: 0,
                name: None,
                lost_told: 0,
            });
        }
        let before = self.pending.len();
        let (start, pending) = (self.start.ticks, &mut self.pending);
        let mut gone = Vec::new();
        for (place, source) in self.sources.iter_mut().enumerate() {
            let ring = source.ring;
            // SAFETY: ours, and the only consumer.
            if unsafe { (*ring).ring.take(|record| source.take(record, start, pending)) } {
                gone.push(place);
            }
        }
        let read = self.pending.len() - before;
        for place in gone.into_iter().rev() {
            let source = self.sources.remove(place); // the others stay in the order in which they came
            // SAFETY: its thread is gone.
            unsafe {
                self.lost += (*source.ring).lost(self.number);
                rings::free(source.ring);
            }
        }
        read
    }

    /// Tells what is older than `until`.
    fn tell(&mut self, until: u64) {
        self.pending.sort_by_key(|(ticks, ..)| *ticks); // stable: a ring's events stay in their order
        let count = self.pending.partition_point(|(ticks, ..)| *ticks < until);
        for (ticks, track, what) in self.pending.drain(..count) {
            if self.story.is_full() {
                self.lost += 1;
                continue;
            }
            self.events += 1;
            let at = self.scale.ns(ticks).saturating_sub(self.start.ns);
            match what {
                What::Event(record) => self.story.event(track, at, &record),
                What::Name(goroutine, name) => self.story.name(track, at, goroutine, &name),
            }
        }
    }

    fn end(mut self, shared: &Shared, homeless: u64) {
        for source in &self.sources {
            // SAFETY: ours.
            let lost = unsafe { (*source.ring).lost(self.number) };
            self.lost += lost;
            if lost > source.lost_told {
                // Nothing came after them that could have told it.
                let at = self.story.last(source.track) + 1;
                self.story.missing(source.track, at, lost - source.lost_told);
            }
        }
        let lost = self.lost + homeless;
        let end = now_ns() - self.start.ns;
        let error = self.story.end(end, self.start.ns, self.events, lost);
        let rings: Vec<_> = self.sources.iter().map(|source| source.ring).collect();
        // SAFETY: ours; all that counts was read.
        unsafe {
            rings.iter().for_each(|&ring| rings::rest(ring));
            rings::leave(rings);
        }
        rings::free_spares();
        shared.ended(error, self.events, lost);
    }
}

impl Source {
    /// What the ring gives next.
    fn take(&mut self, record: Record, start: u64, pending: &mut Vec<(u64, usize, What)>) {
        if let Some((head, mut bytes)) = self.name.take() {
            bytes.extend(record.bytes());
            return self.name_so_far(head, bytes, start, pending);
        }
        self.last = self.last.max(record.ticks);
        if record.ticks < start {
            return; // it came too late for an earlier trace
        }
        match record.kind() {
            Some(Kind::Name) => self.name_so_far(record, Vec::new(), start, pending),
            None => {}
            kind => {
                if kind == Some(Kind::Lost) {
                    self.lost_told += record.subject;
                }
                pending.push((self.last, self.track, What::Event(record)));
            }
        }
    }

    fn name_so_far(
        &mut self,
        head: Record,
        mut bytes: Vec<u8>,
        start: u64,
        pending: &mut Vec<(u64, usize, What)>,
    ) {
        let length = head.detail() as usize;
        if bytes.len() < length {
            self.name = Some((head, bytes));
            return;
        }
        bytes.truncate(length);
        if head.ticks >= start {
            pending.push((self.last, self.track, What::Name(head.subject, bytes)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_goes_through_its_moments_and_never_back() {
        let mut scale = Scale {
            moments: [Moment { ticks: 1000, ns: 10 }].into(),
        };
        assert_eq!(scale.ns(5000), 10);
        scale.add(Moment { ticks: 3000, ns: 20 });
        scale.add(Moment { ticks: 2000, ns: 25 }); // refused: it would lead back
        scale.add(Moment { ticks: 4000, ns: 120 });
        assert_eq!(
            [500, 1000, 2000, 3000, 3500, 4000, 5000].map(|t| scale.ns(t)),
            [8, 10, 15, 20, 70, 120, 220]
        );
    }
}
