//! What the events of threads and goroutines say together: when who ran where, what it waited for, who readied it.
//!
//! | in the file | from |
//! |---|---|
//! | a slice on a thread's track | Run, until Park, Yield, End, or the next Run |
//! | its arguments | why it stopped, what it had waited for and how long, how long it was runnable, who readied it |
//! | a slice inside that one | Call, until Return |
//! | a flow from one slice to another | Spawn or Ready by who ran there, to the Run of who was readied |
//! | an asynchronous track | the states of one goroutine: of those with a name, and of the first few without |
//! | an instant on a thread's track | Bind, Unbind, Take, HandOff, timers, Lost |
//!
//! A file opens with gaps where events are missing, never with a slice that ends before it begins: times go forward on each track, and
//! what is open is closed by whatever shows that it is over.

use super::event::{Cause, Kind, Record, why};
use super::json::Json;
use super::symbols::{Map, Symbols};
use crate::abi::{GOROUTINE_FFI_BOUND, GOROUTINE_FFI_LEAF, describe};
use std::borrow::Cow;
use std::rc::Rc;

/// Goroutines without a name that get a track ...
const UNNAMED_TRACKS: u32 = 100;
/// ... and with one.
const NAMED_TRACKS: u32 = 1000;

/// A thread.
#[derive(Default)]
struct Track {
    /// Its number for the kernel.
    thread: u32,
    /// The time of its last event.
    at: u64,
    open: Option<Slice>,
    /// Calls of C that the open slice is in, the outermost first: when, what, of which kind.
    calls: Vec<(u64, u64, u64)>,
}

/// A goroutine runs.
struct Slice {
    goroutine: u64,
    start: u64,
    before: Before,
}

/// What was before it ran.
#[derive(Clone, Copy, Default)]
struct Before {
    /// What it waited for, and how long.
    waited: Option<(u64, u64)>,
    /// How long it was runnable.
    queued: Option<u64>,
    /// Who readied it; 0: see `cause`.
    by: u64,
    cause: u64,
    /// It was spawned, there.
    spawned_at: Option<u64>,
    /// The flow that leads here; 0: none.
    flow: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Unknown,
    Waits(u64),
    Runnable,
    Runs,
}

/// A goroutine.
struct Life {
    label: Rc<str>,
    state: State,
    since: u64,
    before: Before,
    /// It has a track of its own, of this name, whose last event was then.
    track: Option<(u64, Rc<str>)>,
}

/// See the module's head.
pub struct Story {
    json: Json,
    symbols: Symbols,
    tracks: Vec<Track>,
    lives: Map<Life>,
    flows: u64,
    named: u32,
    unnamed: u32,
    full: bool,
}

impl Story {
    /// Of the file.
    pub fn new(json: Json) -> Self {
        let mut story = Self {
            json,
            symbols: Symbols::default(),
            tracks: Vec::new(),
            lives: Map::default(),
            flows: 0,
            named: 0,
            unnamed: 0,
            full: false,
        };
        let program = std::fs::read_to_string("/proc/self/comm").unwrap_or_default();
        story
            .json
            .object('M', 0, "process_name")
            .word("name", program.trim_end())
            .end();
        story
    }

    /// A goroutine that was there before the trace.
    pub fn was_there(&mut self, goroutine: u64, name: &str) {
        self.lives
            .insert(goroutine, Life::new(name.into(), State::Unknown, 0));
        self.begin_named_track(goroutine);
    }

    /// One more thread; gives its number here. `goes_on`: perhaps one that has one.
    pub fn thread(&mut self, thread: u32, name: &str, goes_on: bool) -> usize {
        if goes_on && let Some(track) = self.tracks.iter().rposition(|track| track.thread == thread) {
            return track;
        }
        self.json
            .object('M', thread, "thread_name")
            .word("name", name)
            .end();
        self.tracks.push(Track {
            thread,
            ..Track::default()
        });
        self.tracks.len() - 1
    }

    /// Whether the file has got too big to tell more. What is open then ends there.
    pub fn is_full(&mut self) -> bool {
        if !self.full && self.json.is_full() {
            self.full = true;
            let last = self.tracks.iter().map(|track| track.at).max().unwrap_or(0);
            self.end_all(last, "the file is full");
            let object = self
                .json
                .object('i', 0, "the file is full: what follows is counted");
            object.field("s", "p").at(last).end();
        }
        self.full
    }

    /// What was told goes to the file.
    pub fn flush(&mut self) {
        self.json.flush();
    }

    /// The goroutine has a name.
    pub fn name(&mut self, track: usize, at: u64, goroutine: u64, name: &[u8]) {
        let at = self.time(track, at);
        let label: Rc<str> = String::from_utf8_lossy(name).into();
        let life = self.lives.entry(goroutine);
        life.or_insert_with(|| Life::new(label.clone(), State::Runnable, at))
            .label = label.clone();
        self.begin_named_track(goroutine);
    }

    fn begin_named_track(&mut self, goroutine: u64) {
        if self.named < NAMED_TRACKS {
            self.named += 1;
            self.begin_track(goroutine);
        }
    }

    /// The time of an event: later than the last one of its track.
    fn time(&mut self, track: usize, at: u64) -> u64 {
        let track = &mut self.tracks[track];
        track.at = at.max(track.at + 1);
        track.at
    }

    /// An event on a thread's track, at `at` ns.
    pub fn event(&mut self, track: usize, at: u64, event: &Record) {
        let at = self.time(track, at);
        let goroutine = event.subject;
        match event.kind() {
            Some(Kind::Run) => self.runs(track, at, goroutine, event.more),
            Some(Kind::Park) => self.stops(
                track,
                at,
                goroutine,
                why(event.detail()),
                State::Waits(event.detail()),
            ),
            Some(Kind::Yield) => self.stops(track, at, goroutine, "yield", State::Runnable),
            Some(Kind::End) => {
                self.stops(track, at, goroutine, &ended(event.detail()), State::Unknown);
                self.end_track(goroutine, at);
                self.lives.remove(&goroutine);
            }
            Some(Kind::Spawn) => self.spawned(track, at, event),
            Some(Kind::Ready) => self.readied(track, at, goroutine, event.detail()),
            Some(Kind::Bind) => self.instant(track, at, "bound to this thread"),
            Some(Kind::Unbind) => {
                self.instant(track, at, "not bound any more");
                self.close(track, at, "unbind");
            }
            Some(Kind::Call) => self.tracks[track].calls.push((at, event.more, event.detail())),
            Some(Kind::Return) => self.close_call(track, at),
            Some(Kind::Take) => self.instant(track, at, &format!("takes worker {}", event.subject)),
            Some(Kind::HandOff) if event.detail() != 0 => {
                self.instant(
                    track,
                    at,
                    &format!("takes worker {} from a long call", event.subject),
                );
            }
            Some(Kind::HandOff) => self.instant(track, at, &format!("hands off worker {}", event.subject)),
            Some(Kind::TimerStart) => {
                let thread = self.tracks[track].thread;
                self.json
                    .object('i', thread, "timer starts")
                    .field("s", "t")
                    .at(at)
                    .number("timer", event.subject)
                    .duration("in us", event.more)
                    .end();
            }
            Some(Kind::TimerStop) => {
                let thread = self.tracks[track].thread;
                let object = self.json.object('i', thread, "timer is stopped").field("s", "t");
                object.at(at).number("timer", event.subject).end();
            }
            Some(Kind::TimerFire) => {
                let label = self.symbols.name(event.more);
                if let Some(life) = self.lives.get_mut(&goroutine)
                    && life.track.is_none()
                {
                    life.label = label; // not the library's function that calls it
                }
                let thread = self.tracks[track].thread;
                let object = self.json.object('i', thread, "timer fires").field("s", "t");
                object.at(at).number("goroutine", goroutine).end();
            }
            Some(Kind::Lost) => self.missing(track, at, event.subject),
            Some(Kind::Name) | None => {}
        }
    }

    /// Events are missing on a track: what is open may have been over for long.
    pub fn missing(&mut self, track: usize, at: u64, count: u64) {
        self.close(track, at, "?");
        let thread = self.tracks[track].thread;
        let object = self.json.object('i', thread, "events lost").field("s", "t");
        object.at(at).number("events", count).end();
    }

    /// The time of the last event of a track.
    pub fn last(&self, track: usize) -> u64 {
        self.tracks[track].at
    }

    /// The trace ends. Gives the first error of the file, an errno; 0: none.
    pub fn end(mut self, at: u64, started_ns: u64, events: u64, lost: u64) -> i32 {
        self.end_all(at, "the trace ends");
        self.json
            .object('i', 0, "trace")
            .field("s", "g")
            .at(at)
            .number("events", events)
            .number("lost", lost)
            .number("began at ns of CLOCK_MONOTONIC", started_ns)
            .end();
        self.json.end()
    }

    /// Everything that is open ends.
    fn end_all(&mut self, at: u64, why: &str) {
        for track in 0..self.tracks.len() {
            let at = self.time(track, at);
            self.close(track, at, why);
        }
        let with_tracks = self.lives.iter().filter(|(_, life)| life.track.is_some());
        for goroutine in with_tracks.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.end_track(goroutine, at);
        }
    }

    fn instant(&mut self, track: usize, at: u64, what: &str) {
        let thread = self.tracks[track].thread;
        self.json.object('i', thread, what).field("s", "t").at(at).end();
    }

    fn spawned(&mut self, track: usize, at: u64, event: &Record) {
        let label = self.symbols.name(event.more);
        let mut life = Life::new(label, State::Unknown, at);
        life.before = Before {
            by: self.who_runs(track),
            spawned_at: Some(event.detail()),
            flow: self.flow(track, at, "spawn"),
            ..Before::default()
        };
        if let Some(was_there) = self.lives.remove(&event.subject) {
            (life.label, life.track) = (was_there.label, was_there.track); // the writer looked around before it read this
        }
        self.lives.insert(event.subject, life);
        self.turns(event.subject, at, State::Runnable);
    }

    fn readied(&mut self, track: usize, at: u64, goroutine: u64, cause: u64) {
        let (by, flow) = if cause == Cause::Somebody as u64 {
            (self.who_runs(track), self.flow(track, at, "ready"))
        } else {
            (0, 0)
        };
        let Some(life) = self.lives.get_mut(&goroutine) else {
            return;
        };
        life.before = Before {
            waited: match life.state {
                State::Waits(why) => Some((why, at.saturating_sub(life.since))),
                _ => None,
            },
            by,
            cause,
            flow,
            ..Before::default()
        };
        self.turns(goroutine, at, State::Runnable);
    }

    /// It runs on a track from now on.
    fn runs(&mut self, track: usize, at: u64, goroutine: u64, function: u64) {
        if self.tracks[track]
            .open
            .as_ref()
            .is_some_and(|open| open.goroutine == goroutine)
        {
            return; // it went to the scheduler, and did not stop
        }
        self.close(track, at, "?");
        if !self.lives.contains_key(&goroutine) {
            let label = self.symbols.name(function);
            self.lives.insert(goroutine, Life::new(label, State::Unknown, at));
        }
        let life = self.lives.get_mut(&goroutine).expect("inserted");
        let mut before = std::mem::take(&mut life.before);
        match life.state {
            State::Runnable => before.queued = Some(at.saturating_sub(life.since)),
            State::Waits(why) => before.waited = Some((why, at.saturating_sub(life.since))),
            _ => {}
        }
        if life.track.is_none() && self.unnamed < UNNAMED_TRACKS {
            self.unnamed += 1;
            self.begin_track(goroutine);
        }
        self.tracks[track].open = Some(Slice {
            goroutine,
            start: at,
            before,
        });
        self.turns(goroutine, at, State::Runs);
    }

    fn stops(&mut self, track: usize, at: u64, goroutine: u64, left: &str, state: State) {
        self.close(track, at, left);
        if let Some(life) = self.lives.get_mut(&goroutine) {
            life.before = Before::default();
            self.turns(goroutine, at, state);
        }
    }

    fn who_runs(&self, track: usize) -> u64 {
        self.tracks[track].open.as_ref().map_or(0, |open| open.goroutine)
    }

    /// A flow begins in the slice that is open, if one is.
    fn flow(&mut self, track: usize, at: u64, name: &str) -> u64 {
        if self.tracks[track].open.is_none() {
            return 0;
        }
        self.flows += 1;
        let thread = self.tracks[track].thread;
        let object = self.json.object('s', thread, name).field("cat", "flow");
        object.id(self.flows).at(at).end();
        self.flows
    }

    /// The slice that is open on a track ends.
    fn close(&mut self, track: usize, at: u64, left: &str) {
        while !self.tracks[track].calls.is_empty() {
            self.close_call(track, at);
        }
        let Some(slice) = self.tracks[track].open.take() else {
            return;
        };
        let thread = self.tracks[track].thread;
        let unknown = Rc::from("?");
        let label = (self.lives.get(&slice.goroutine)).map_or(unknown, |life| life.label.clone());
        let before = slice.before;
        let site = before
            .spawned_at
            .filter(|&site| site != 0)
            .map(|site| self.symbols.name(site));
        let mut object = (self.json.object('X', thread, &label))
            .at(slice.start)
            .lasting(at - slice.start)
            .number("goroutine", slice.goroutine)
            .word("stops for", left);
        if let Some((reason, ns)) = before.waited {
            object = object.word("waited for", why(reason)).duration("waited us", ns);
        }
        if let Some(ns) = before.queued {
            object = object.duration("runnable us", ns);
        }
        let spawned = before.spawned_at.is_some();
        if before.by != 0 {
            object = object.number(if spawned { "spawned by" } else { "readied by" }, before.by);
        } else if before.cause != 0 {
            object = object.word("readied by", cause(before.cause));
        }
        if let Some(site) = site {
            object = object.word("spawned at", &site);
        }
        object.end();
        if before.flow != 0 {
            let object = self
                .json
                .object('f', thread, if spawned { "spawn" } else { "ready" });
            object
                .field("cat", "flow")
                .field("bp", "e")
                .id(before.flow)
                .at(slice.start)
                .end();
        }
    }

    fn close_call(&mut self, track: usize, at: u64) {
        let Some((start, function, kind)) = self.tracks[track].calls.pop() else {
            return;
        };
        let name = self.symbols.name(function);
        let thread = self.tracks[track].thread;
        let kind = match kind as u32 {
            GOROUTINE_FFI_BOUND => "bound",
            GOROUTINE_FFI_LEAF => "leaf",
            _ => "blocking",
        };
        let object = self
            .json
            .object('X', thread, &name)
            .field("cat", "foreign")
            .at(start);
        object.lasting(at - start).word("call", kind).end();
    }

    /// Its state changes.
    fn turns(&mut self, goroutine: u64, at: u64, state: State) {
        let Some(life) = self.lives.get_mut(&goroutine) else {
            return;
        };
        let old = std::mem::replace(&mut life.state, state);
        life.since = at;
        let Some((last, _)) = &mut life.track else {
            return;
        };
        *last = at.max(*last + 1);
        let at = *last;
        if let Some(word) = state_name(old) {
            asynchronous(&mut self.json, 'e', goroutine, &word, at);
        }
        if let Some(word) = state_name(state) {
            asynchronous(&mut self.json, 'b', goroutine, &word, at);
        }
    }

    /// From its last change on it has a track.
    fn begin_track(&mut self, goroutine: u64) {
        let Some(life) = self.lives.get_mut(&goroutine) else {
            return;
        };
        if life.track.is_some() {
            return;
        }
        let name: Rc<str> = format!("{} #{goroutine}", life.label).into();
        asynchronous(&mut self.json, 'b', goroutine, &name, life.since);
        if let Some(word) = state_name(life.state) {
            asynchronous(&mut self.json, 'b', goroutine, &word, life.since);
        }
        life.track = Some((life.since, name));
    }

    fn end_track(&mut self, goroutine: u64, at: u64) {
        let Some(life) = self.lives.get_mut(&goroutine) else {
            return;
        };
        let Some((last, name)) = life.track.take() else {
            return;
        };
        let at = at.max(last);
        if let Some(word) = state_name(life.state) {
            asynchronous(&mut self.json, 'e', goroutine, &word, at);
        }
        asynchronous(&mut self.json, 'e', goroutine, &name, at);
    }
}

impl Life {
    fn new(label: Rc<str>, state: State, since: u64) -> Self {
        Self {
            label,
            state,
            since,
            before: Before::default(),
            track: None,
        }
    }
}

fn asynchronous(json: &mut Json, phase: char, goroutine: u64, name: &str, at: u64) {
    let object = json.object(phase, 0, name).field("cat", "goroutine");
    object.id(goroutine).at(at).end();
}

fn state_name(state: State) -> Option<Cow<'static, str>> {
    match state {
        State::Unknown => None,
        State::Waits(reason) => Some(format!("waits: {}", why(reason)).into()),
        State::Runnable => Some("runnable".into()),
        State::Runs => Some("runs".into()),
    }
}

fn cause(cause: u64) -> &'static str {
    match cause {
        c if c == Cause::Time as u64 => "time",
        c if c == Cause::Descriptor as u64 => "a descriptor",
        c if c == Cause::Worker as u64 => "itself: it wants a worker",
        _ => "?",
    }
}

fn ended(status: u64) -> String {
    match status as u32 as i32 {
        0 => "end".to_owned(),
        status => match describe(status) {
            Some((name, _)) => format!("end: {}", name.to_string_lossy()),
            None => format!("end: {status}"),
        },
    }
}
