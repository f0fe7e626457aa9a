//! Goroutines that wait for each other: GOROUTINE_CONFIG_DEADLOCK_REPORT.
//!
//! The monitor looks every 200 ms, or as GOROUTINE_DEADLOCK_LOOK_MS says. What it sees twice in a row, with every park the same one (`stopped`, I1), was so at one moment between.
//!
//! **A circle.** Some goroutines can go on only if others do, which are known:
//!
//! | waits for | who can help |
//! |---|---|
//! | a mutex | the goroutine that has it |
//! | a once | the goroutine that runs it: it has the mutex of the once |
//! | a promise of a goroutine | that goroutine |
//! | a readers-writer lock that somebody writes under | that goroutine |
//! | a readers-writer lock, to write | those who read, and each of them has to |
//! | a readers-writer lock, to read | those who wait to write: while there are any, nobody overtakes them, and one of them came before |
//! | a task group | its members, and each of them has to (or a failure of any cancels the others, GOROUTINE_GROUP_CANCEL_ON_ERROR) |
//! | a channel | see below |
//! | a select of promises of goroutines and channels | whoever can help with one of them |
//!
//! A goroutine is stuck if it has no time-out, all who can help are known, there is at least one, and all of them are stuck, or one of
//! them, where each has to help: that is the largest set that fits, and there is a circle in it if it is not empty. None of them moves while it
//! is put together: they are looked at again afterwards. Everything else, a ticket, a promise that anybody may settle, a
//! semaphore, a wait group (anybody may count down), a condition (anybody may signal), I/O, counts as something that may happen, and so do locks that were made
//! before the start, except for who writes. So does, for the moment, one who is parked already but has not yet looked whether it need wait (`has_joined`).
//!
//! A cancel is not foreseen, by whomever. Nor is a read-unlock by one who did not lock: from the first of these on, who reads a lock is not known.
//!
//! Who will use a channel is not known to anybody. What is known is who did: so those who can help one who receives are the goroutines that have ever
//! sent to it, and those that are parked and have its address on their stacks; the other way round for one who sends. If a plain thread has used that end, or nobody has, or one who
//! is over by now, or very many have, or the channel was made before the start, nobody is known. This can be wrong: the first send of a goroutine that has the channel's address in the heap only, or runs, is not
//! foreseen. So a report says by whom the channel was used, and a report is all that comes of a circle.
//!
//! **All asleep.** Every goroutine is parked, none has a time-out or waits for what comes from outside (I/O, a lane, a thread, a ticket, a promise that anybody may
//! settle, a mutex that a plain thread has, or a readers-writer lock that it may have), no timer is armed, no async operation or call is under way, all workers sleep,
//! from one look to the other (one that does not may be in a function of the configuration, which may wake somebody), and no other thread is in its
//! `thread_start` or `thread_stop`. Then nothing happens any more unless a plain thread makes it so, and such a thread says so first
//! (goroutine_external_begin), in which case there is no report of either kind. Who was in a circle that was reported has no line here, but is named.

use super::dump;
use super::live::all;
use super::stopped::{self, Seen};
use crate::abi::{GOROUTINE_SELECT_PROMISE, GOROUTINE_SELECT_RECEIVE};
use crate::code::place;
use crate::goroutine::waits::Kind;
use crate::goroutine::{Goroutine, name_of, site_of};
use crate::ops::rwlock::{self, Held};
use crate::ops::{channel, group, mutex, select};
use crate::promise::Promise;
use crate::sched::idle::last_look;
use crate::sched::worker::sequence_index;
use crate::sched::{Runtime, registers};
use crate::sys::mutex::Mutex;
use crate::sys::report::Line;
use std::collections::{BTreeMap, BTreeSet};

/// A park: whose, and which.
type Park = (u64, u64);

/// What was seen at the last look, and what was said.
pub struct Detector {
    state: Mutex<State>,
    look_ns: u64,
}

impl Detector {
    /// It looks every so often.
    pub fn new(look_ns: u64) -> Self {
        Self {
            state: Mutex::new(State::default()),
            look_ns,
        }
    }
}

#[derive(Default)]
struct State {
    next_look: u64,
    stuck: BTreeSet<Park>,
    asleep: Option<Asleep>,
    said: BTreeSet<Park>,
    /// Of these, who had a line in a circle.
    told: BTreeSet<Park>,
    said_asleep: bool,
    /// All were asleep at two looks: these.
    dead: Option<Asleep>,
}

/// All were asleep at a look.
#[derive(Clone, PartialEq, Eq)]
struct Asleep {
    /// Everybody's.
    parks: Vec<Park>,
    /// `Runtime::all_idle_since`: what a worker did between two looks is not seen otherwise.
    since: u64,
}

struct Node {
    g: *mut Goroutine,
    id: u64,
    sequence: u64,
    /// It has looked whether it need wait.
    joined: bool,
    timed: bool,
    kind: Option<Kind>,
    object: u64,
}

impl Node {
    /// Whether it has not moved since it was looked at.
    fn stands(&self) -> bool {
        // SAFETY: a control block.
        let seen = unsafe { stopped::glance(self.g, self.id) };
        matches!(seen, Seen::Parked(stopped) if stopped.sequence == self.sequence)
    }
}

/// Everything at a moment of its own; None: somebody is not parked.
struct Look {
    nodes: BTreeMap<u64, Node>,
    all_parked: bool,
}

/// Whether the join step of a park is over (`sched::park`): until then it may take what it would wait for, and go on. On a worker that is
/// inside the gate, which was entered before the park could be seen; without one, before the park is committed.
///
/// # Safety
/// `g` is a control block.
unsafe fn has_joined(runtime: &Runtime, g: *const Goroutine, sequence: u64) -> bool {
    // SAFETY: control blocks stay mapped.
    let waits = unsafe { (*g).park.is_waiting(sequence) };
    let worker = runtime.workers.get(sequence_index(sequence));
    waits && worker.is_none_or(|worker| last_look(&worker.queue).is_some())
}

fn look(runtime: &Runtime) -> Look {
    let mut nodes = BTreeMap::new();
    let mut all_parked = true;
    for (g, id) in all() {
        // SAFETY: a control block.
        match unsafe { stopped::glance(g, id) } {
            Seen::Gone => {}
            Seen::Moves => all_parked = false,
            Seen::Parked(stopped) => {
                let node = Node {
                    g,
                    id,
                    sequence: stopped.sequence,
                    // SAFETY: as above.
                    joined: unsafe { has_joined(runtime, g, stopped.sequence) },
                    timed: stopped.waits.is_timed(),
                    kind: stopped.waits.kind(),
                    object: stopped.waits.object(),
                };
                nodes.insert(id, node);
            }
        }
    }
    Look { nodes, all_parked }
}

fn settler(promise: u64) -> Option<u64> {
    // SAFETY: promises' memory is never unmapped, and the goroutine that awaits this one is looked at again.
    let g = unsafe { (*(promise as *const Promise)).settler() };
    // SAFETY: a control block, or null.
    unsafe { g.as_ref() }.map(Goroutine::id).filter(|&id| id != 0)
}

/// Who can help one who waits.
struct Helpers {
    who: Vec<u64>,
    /// Each of them has to.
    all: bool,
}

impl Helpers {
    fn any(who: Vec<u64>) -> Self {
        Self { who, all: false }
    }

    /// Whether nobody helps as long as nobody `is_stuck` does.
    fn are_stuck(&self, is_stuck: impl Fn(&u64) -> bool) -> bool {
        if self.all {
            self.who.iter().any(is_stuck)
        } else {
            self.who.iter().all(is_stuck)
        }
    }
}

/// Who can help this one, at least one; None: that is not known.
fn helpers(node: &Node, look: &Look) -> Option<Helpers> {
    if node.timed || !node.joined {
        return None;
    }
    let object = node.object as usize;
    let helpers = match node.kind? {
        Kind::Mutex | Kind::Once => match mutex::owner_of(object)? {
            mutex::Holder::Goroutine(id) => Helpers::any(vec![id]),
            mutex::Holder::Thread => return None,
        },
        kind @ (Kind::RwLock | Kind::ReadLock) => match rwlock::held(object)? {
            Held::Writer(mutex::Holder::Goroutine(id)) => Helpers::any(vec![id]),
            Held::Writer(mutex::Holder::Thread) | Held::Threads => return None,
            Held::Readers(who, _) if kind == Kind::RwLock => Helpers { who, all: true },
            Held::Readers(_, writers) => {
                let waits = |other: &&Node| other.kind == Some(Kind::RwLock) && other.object == node.object;
                let who: Vec<u64> = look.nodes.values().filter(waits).map(|other| other.id).collect();
                if who.len() != writers {
                    return None; // a thread, or one that does not wait yet, or no longer
                }
                Helpers::any(who)
            }
        },
        Kind::WaitGroup => {
            let joined = group::joined(object)?;
            let who: Option<Vec<u64>> = joined.promises.into_iter().map(settler).collect();
            Helpers {
                who: who?,
                all: !joined.cancel_on_error,
            }
        }
        Kind::Promise => Helpers::any(vec![settler(node.object)?]),
        kind @ (Kind::Send | Kind::Receive) => {
            Helpers::any(users(node, node.object, kind == Kind::Receive, look)?)
        }
        Kind::Select => {
            let mut who = Vec::new();
            for (op, object) in select::cases_of(object)? {
                if op == GOROUTINE_SELECT_PROMISE {
                    who.push(settler(object)?);
                } else {
                    who.extend(users(node, object, op == GOROUTINE_SELECT_RECEIVE, look)?);
                }
            }
            who.sort_unstable();
            who.dedup();
            Helpers::any(who)
        }
        _ => return None,
    };
    (!helpers.who.is_empty()).then_some(helpers)
}

/// Those who are known to use a channel's other end, for one who receives, or sends. Some: at least one.
fn users(node: &Node, channel: u64, receives: bool, look: &Look) -> Option<Vec<u64>> {
    let mut users = channel::users_of(channel as usize, receives)?;
    if users.is_empty() || !users.iter().all(|&id| look.exists(id)) {
        return None; // where users come and go, another one may come
    }
    users.retain(|&id| id != node.id);
    for other in look.nodes.values() {
        if other.id != node.id && !users.contains(&other.id) && knows(other, channel) {
            users.push(other.id);
        }
    }
    (!users.is_empty()).then_some(users)
}

impl Look {
    /// (One that runs is not among the nodes: whoever waits for it is not stuck.)
    fn exists(&self, id: u64) -> bool {
        self.nodes.contains_key(&id) || all().iter().any(|&(_, other)| other == id)
    }
}

/// Whether it has this address on its stack.
fn knows(node: &Node, object: u64) -> bool {
    // SAFETY: a control block.
    match unsafe { stopped::look(node.g, node.id) } {
        Seen::Parked(stopped) => {
            let r = &stopped.registers;
            let saved = [r.rbx, r.rbp, r.r12, r.r13, r.r14, r.r15];
            stopped
                .words
                .iter()
                .chain(stopped.outer.iter().flatten())
                .chain(&saved)
                .any(|&word| word == object)
        }
        _ => true,
    }
}

/// The largest set of goroutines that can only be helped by each other, each with those who can.
fn stuck(look: &Look) -> BTreeMap<u64, Helpers> {
    let mut stuck: BTreeMap<u64, Helpers> = (look.nodes.values())
        .filter_map(|node| Some((node.id, helpers(node, look)?)))
        .collect();
    shrink(&mut stuck);
    // What one of these has, it had all the time if it did not move; and that nobody else can give.
    let before = stuck.len();
    stuck.retain(|id, _| look.nodes[id].stands());
    if stuck.len() != before {
        shrink(&mut stuck);
    }
    stuck
}

/// Without those who can be helped.
fn shrink(stuck: &mut BTreeMap<u64, Helpers>) {
    loop {
        let free: Vec<u64> = (stuck.iter())
            .filter(|(_, helpers)| !helpers.are_stuck(|id| stuck.contains_key(id)))
            .map(|(&id, _)| id)
            .collect();
        if free.is_empty() {
            return;
        }
        for id in free {
            stuck.remove(&id);
        }
    }
}

/// Whether nothing but a plain thread can help this one, and none is known that would.
fn sleeps(node: &Node) -> bool {
    !node.timed
        && node.joined
        && match node.kind {
            Some(Kind::Mutex | Kind::Once) => {
                mutex::owner_of(node.object as usize) != Some(mutex::Holder::Thread)
            }
            // (None: a thread may read, or be about to have it, or to give it on.)
            Some(Kind::RwLock | Kind::ReadLock) => matches!(
                rwlock::held(node.object as usize),
                Some(Held::Writer(mutex::Holder::Goroutine(_)) | Held::Readers(..))
            ),
            Some(Kind::Promise) => settler(node.object).is_some(),
            Some(Kind::Select) => select::cases_of(node.object as usize).is_some_and(|cases| {
                (cases.into_iter())
                    .all(|(op, object)| op != GOROUTINE_SELECT_PROMISE || settler(object).is_some())
            }),
            Some(Kind::Semaphore | Kind::WaitGroup | Kind::Condition | Kind::Send | Kind::Receive) => true,
            _ => false,
        }
}

/// If all are asleep, and there is somebody who keeps the program alive.
fn asleep(runtime: &Runtime, look: &Look) -> Option<Asleep> {
    if !look.all_parked || !look.nodes.values().all(sleeps) || !runtime.waits_for_itself() {
        return None;
    }
    let since = runtime.all_idle_since()?;
    let mut parks: Vec<Park> = look.nodes.values().map(|n| (n.id, n.sequence)).collect();
    parks.sort_unstable();
    Some(Asleep { parks, since })
}

/// The monitor looks, if it is time. Gives when it is the next time.
pub fn serve(runtime: &Runtime, now: u64) -> u64 {
    if !runtime.reports_deadlocks() {
        return u64::MAX;
    }
    let mut state = runtime.detector.state.lock();
    if now < state.next_look {
        return state.next_look;
    }
    state.next_look = now + runtime.detector.look_ns;
    if runtime.is_stopping() || runtime.external_open() {
        *state = State {
            next_look: state.next_look,
            ..State::default()
        };
        return state.next_look;
    }
    let look = look(runtime);
    let stuck = stuck(&look);
    let parks: BTreeSet<Park> = stuck.keys().map(|id| (*id, look.nodes[id].sequence)).collect();
    let asleep = asleep(runtime, &look);
    let all_asleep = asleep.is_some() && asleep == state.asleep;
    let confirmed: BTreeSet<Park> = parks.intersection(&state.stuck).copied().collect();
    // Until it is over: a moment in which something looked different says nothing.
    let lasts = |&(id, sequence): &Park| look.nodes.get(&id).is_some_and(|node| node.sequence == sequence);
    state.said.retain(lasts);
    state.told.retain(lasts);
    for &(id, sequence) in &confirmed {
        if state.said.contains(&(id, sequence)) {
            continue;
        }
        let circle = circle(id, &stuck);
        let is_known = |id: &u64| confirmed.contains(&(*id, look.nodes[id].sequence));
        if circle.iter().all(is_known) {
            let fresh = circle
                .iter()
                .any(|id| !state.said.contains(&(*id, look.nodes[id].sequence)));
            if fresh {
                say_circle(&circle, &stuck, &look);
                let told = circle.iter().map(|id| (*id, look.nodes[id].sequence));
                state.told.extend(told);
            }
            let behind = stuck.keys().map(|id| (*id, look.nodes[id].sequence));
            state
                .said
                .extend(behind.filter(|park| circle.contains(&park.0) || park.0 == id));
        }
    }
    state.stuck = parks;
    state.said_asleep &= all_asleep;
    if all_asleep && !state.said_asleep {
        state.said_asleep = true;
        say_asleep(&look, &state.told);
    }
    state.dead = asleep.clone().filter(|_| all_asleep);
    state.asleep = asleep;
    let next = state.next_look;
    drop(state);
    if all_asleep {
        runtime.tell_waiters();
    }
    next
}

/// Whether all were found asleep, and still are.
pub fn is_dead(runtime: &Runtime) -> bool {
    if !runtime.reports_deadlocks() || runtime.external_open() {
        return false;
    }
    let dead = runtime.detector.state.lock().dead.clone();
    dead.is_some() && asleep(runtime, &look(runtime)) == dead
}

/// From `id` on along the first who can help, and is stuck, to the circle that this leads to.
fn circle(id: u64, stuck: &BTreeMap<u64, Helpers>) -> Vec<u64> {
    let mut path = vec![id];
    loop {
        let helpers = &stuck[path.last().expect("not empty")].who;
        let is_stuck = |id: &&u64| stuck.contains_key(id);
        let next = *helpers.iter().find(is_stuck).expect("one of them is");
        if let Some(i) = path.iter().position(|&other| other == next) {
            return path.split_off(i);
        }
        path.push(next);
    }
}

fn say_circle(circle: &[u64], stuck: &BTreeMap<u64, Helpers>, look: &Look) {
    let mut line = Line::new();
    line.text("deadlock: ");
    if circle.len() == 1 {
        line.text("a goroutine waits for itself:").emit(); // to write what it reads, for its own group
    } else {
        line.dec(circle.len() as u64);
        line.text(" goroutines wait for each other:").emit();
    }
    for id in circle {
        say(&look.nodes[id], &stuck[id].who);
    }
}

fn name(line: &mut Line, g: *const Goroutine, id: u64) -> &mut Line {
    // SAFETY: a control block.
    let name = unsafe { name_of(g, id) };
    line.text("goroutine ").dec(id);
    // SAFETY: a string.
    unsafe { line.name(name.as_ptr()) }
}

/// A line that says what it waits for, so far, and where: see [`finish`].
fn begin(node: &Node) -> (Line, Seen) {
    let mut line = Line::new();
    line.text("  ");
    name(&mut line, node.g, node.id);
    // SAFETY: a control block.
    let seen = unsafe { stopped::look(node.g, node.id) };
    if let Seen::Parked(stopped) = &seen {
        line.text(" ").text(&dump::what(stopped));
    }
    (line, seen)
}

/// Adds the innermost frame outside the library, and where it comes from, as a dump says it. (No park is waited for: it was looked at.)
fn finish(line: &mut Line, node: &Node, seen: &Seen) {
    if let Seen::Parked(stopped) = seen {
        if let Some(pc) = registers::first_outside(&dump::frames(stopped)) {
            line.text(", at ").text(&dump::symbol(pc, pc - 1));
        }
        // SAFETY: a control block; of one that is over by now it is only printed.
        let entry = unsafe { (&raw const (*node.g).entry_fn).read_volatile() };
        line.text(", began in ").text(&dump::symbol(entry, entry));
    }
    // SAFETY: a control block.
    place::spawned_at(line, unsafe { site_of(node.g, node.id) });
    line.emit();
}

fn say(node: &Node, helpers: &[u64]) {
    let (mut line, seen) = begin(node);
    let who = match node.kind {
        Some(Kind::Send) => ", from which, as far as is known, receives only goroutine",
        Some(Kind::Receive) => ", to which, as far as is known, sends only goroutine",
        Some(Kind::Select) => ", which, as far as is known, can be ended only by goroutine",
        Some(Kind::WaitGroup) => ", for the end of goroutine",
        Some(Kind::RwLock) if rwlock::writer_of(node.object as usize).is_none() => ", read by goroutine",
        Some(Kind::ReadLock) if rwlock::writer_of(node.object as usize).is_none() => {
            ", behind who waits to write, goroutine"
        }
        _ => "",
    };
    if !who.is_empty() {
        line.text(who);
        for (i, id) in helpers.iter().enumerate() {
            line.text(if i == 0 { " " } else { ", " }).dec(*id);
        }
    }
    finish(&mut line, node, &seen);
}

/// Those whose circle was said are named again, and no more; the others each have a line.
fn say_asleep(look: &Look, told: &BTreeSet<Park>) {
    const MOST: usize = 20;
    let mut nodes: Vec<&Node> = look.nodes.values().collect();
    nodes.sort_unstable_by_key(|node| node.id);
    let (in_circles, others): (Vec<&Node>, Vec<&Node>) =
        (nodes.iter()).partition(|node| told.contains(&(node.id, node.sequence)));
    let mut line = Line::new();
    line.text("deadlock: all goroutines are asleep (")
        .dec(nodes.len() as u64)
        .text(")");
    for (i, node) in in_circles.iter().take(MOST).enumerate() {
        line.text(match i {
            0 => ", for what was said above of goroutine ",
            _ => ", ",
        })
        .dec(node.id);
    }
    if in_circles.len() > MOST {
        line.text(", ...");
    }
    line.emit();
    for node in others.iter().take(MOST) {
        let (mut line, seen) = begin(node);
        finish(&mut line, node, &seen);
    }
    if others.len() > MOST {
        Line::new().text("  ... (goroutine_dump has all)").emit();
    }
}
