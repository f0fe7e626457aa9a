//! One descriptor: who is using it, who waits for it, and what is known about whether it is ready.
//!
//! ```text
//!   a reader                                             the poller
//!   1. enters: not closing, one more user                a. gets an edge from the kernel
//!   2. looks at `readiness`, then makes the system call  b. under the lock: sets the ready bit, counts the tick up,
//!   3. EAGAIN: clears the ready bit, if no tick passed      claims whom it is for
//!   4. leaves; registers, if that was not done yet       c. hands them up
//!   5. under the lock: ready after all? else waits
//! ```
//!
//! A reader who sees that it is not ready, and that the poller knows it, begins with 5: being in line is no use of the number, and 5 says whether the
//! generation that it saw goes on.
//!
//! I1. An edge is never lost: it comes before 2 (the call sees the data), between 2 and 3 (the tick has passed, the bit stays), or after 3
//!     (the bit is set again before 5, or 5 came first and b claims the waiter).
//! I2. Of those who want to make a system call an edge wakes one per direction. Whoever was woken makes the call and, unless it finds the
//!     descriptor drained, wakes the next one ([`Descriptor::pass_on`]); one who makes no call, for he is late, does so, too. Those who
//!     only ask whether it is ready are all woken.
//! I3. A descriptor is closed by one: who set CLOSING, or the last user to leave after that ([`Descriptor::begin_end`]). Nobody enters while CLOSING is set,
//!     so no system call of this generation is under way when the number is given back to the kernel. The worker that it is biased to makes calls without
//!     being a user (`hazard`).
//! I4. The end of a descriptor is a new generation. An edge, a waiter and a user of an old one find that out and do nothing to
//!     the new one.
//!
//! I5. The lock is a bit of `readiness`. While it is set, who set it is the only one to write that word: so what it changes becomes visible with the unlock, in
//!     one store, and who changes a bit without the lock (3, the monitor's look) waits for it.
//!
//! Thousands may wait for one descriptor. So there is a line for each direction and one for those who only ask, and nobody looks through
//! the others' line: an edge costs the same whoever waits.

use super::hazard::{EARNED, HAZARDS, Hazard, Hazards};
use crate::sync::{AtomicU32, AtomicU64, Guarded, Ordering, backoff, fence_heavy, mutated};
use crate::wait::queue::chain_claimed;
use crate::wait::queue::{ShortQueue, Sleeper, Waiter};
use std::ptr::null_mut;

/// A direction: reads and accepts.
pub const READ: u32 = 1;
/// A direction: writes and connects.
pub const WRITE: u32 = 2;
/// In place of both, for one that only asks: its end.
pub const END: u32 = 4;
/// In `readiness`: an end, an error or urgent data was reported, so a short read does not mean that nothing is left.
const STICKY: u32 = 4;
/// In `readiness`, times READ or WRITE: somebody may be in line to make a call.
const WAITED: u32 = 1 << 3;
/// In `readiness`, times READ or WRITE: there is a deadline.
const DEADLINE: u32 = 1 << 5;
/// In `readiness`: somebody got in line since the last [`Descriptor::look`].
const JOINED: u32 = 1 << 7;
/// In `readiness`: the lock (I5).
const LOCKED: u32 = 1 << 8;
/// In `readiness`: one edge.
const TICK: u32 = 1 << 9;

/// In `streak`.
const STREAK: u32 = 1 << 16;

/// In `registered`.
const TELLING: u32 = 1 << 31;

const USERS: u64 = (1 << 24) - 1;
/// As many may enter: visitors who become users come on top.
const USERS_MOST: u64 = USERS - HAZARDS as u64;
/// The number of the hazard whose worker it is biased to, or 0.
const BIAS: u64 = ((HAZARDS as u64 + 1).next_power_of_two() - 1) << BIAS_SHIFT;
const BIAS_SHIFT: u32 = 24;
const CLOSING: u64 = 1 << 31;
const GENERATION: u32 = 32;

/// What somebody waits for.
#[derive(Clone, Copy)]
pub struct Want {
    /// READ and WRITE, or END; one of the first two if it `uses`.
    pub mask: u32,
    /// It will make a system call that uses the readiness up (I2).
    pub uses: bool,
}

impl Want {
    /// In which line.
    fn line(self) -> usize {
        if self.uses { line_of(self.mask) } else { ASKERS }
    }
}

/// Of those who make calls in this direction.
fn line_of(direction: u32) -> usize {
    direction as usize - 1
}

const ASKERS: usize = 2;

/// One in line.
pub type DescriptorWaiter<P> = Waiter<P, Want>;

/// What became of a join.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Joined {
    /// It waits.
    Waits,
    /// It is ready after all.
    Ready,
    /// It was closed.
    Closed,
}

/// What a close found.
#[must_use]
pub enum Close<P> {
    /// Somebody closes it already.
    Already,
    /// Whom to tell, chained. `now`: the caller goes on with [`Descriptor::begin_end`]; else the last user does.
    Begun {
        /// Those who waited.
        waiters: *mut DescriptorWaiter<P>,
        /// Nobody uses it, or one who is in a call without being a user.
        now: bool,
    },
}

struct State<P> {
    /// Readers, writers, askers.
    lines: [ShortQueue<P, Want>; 3],
    /// CLOCK_MONOTONIC, for reads and for writes; `u64::MAX`: none.
    deadlines: [u64; 2],
}

/// See the module's head. It is never freed.
#[cfg_attr(not(loom), repr(align(64)))]
pub struct Descriptor<P: Sleeper> {
    /// Users, BIAS, CLOSING, generation.
    word: AtomicU64,
    readiness: AtomicU32,
    /// What sort of file it is, for whoever makes the calls; 0: not known yet.
    pub kind: AtomicU32,
    /// The poller that knows this generation; 0: none does; or `TELLING` and who is about to tell one. Written under the lock.
    registered: AtomicU32,
    /// How many calls in a row one worker made, and times STREAK its hazard's number. Several who write at once spoil it, and harm nothing.
    streak: AtomicU32,
    state: Guarded<State<P>>,
}

// SAFETY: the module's head: `state` is touched under the lock only, waiters are woken on behalf of their owners from any thread.
unsafe impl<P: Sleeper> Sync for Descriptor<P> {}
// SAFETY: as above.
unsafe impl<P: Sleeper> Send for Descriptor<P> {}

/// Of a generation that nothing is known of: the first call is made without waiting.
const UNKNOWN: u32 = READ | WRITE;

impl<P: Sleeper> Descriptor<P> {
    /// Generation 1, in use by nobody.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self {
            word: AtomicU64::new(1 << GENERATION),
            readiness: AtomicU32::new(UNKNOWN),
            kind: AtomicU32::new(0),
            registered: AtomicU32::new(0),
            streak: AtomicU32::new(0),
            state: Guarded::new(State {
                lines: [const { ShortQueue::new() }; 3],
                deadlines: [u64::MAX; 2],
            }),
        }
    }

    /// `f` is given `readiness`, and may change it.
    #[inline(always)]
    fn locked<R>(&self, f: impl FnOnce(&mut State<P>, &mut u32) -> R) -> R {
        let seen = self.readiness.load(Ordering::Relaxed);
        let free = seen & LOCKED == 0 || mutated!("descriptor_locked_by_two");
        let mut now = if free && self.swap(seen, seen | LOCKED) {
            seen
        } else {
            self.lock_slow()
        };
        // SAFETY: we hold the lock.
        let result = unsafe { self.state.with(|state| f(state, &mut now)) };
        self.readiness.store(now & !LOCKED, Ordering::Release);
        result
    }

    /// Acquire: partner of the stores that unlock. Release: of `readiness()`.
    #[inline(always)]
    fn swap(&self, from: u32, to: u32) -> bool {
        (self.readiness)
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    #[cold]
    #[inline(never)]
    fn lock_slow(&self) -> u32 {
        loop {
            let now = self.unlocked();
            if self.swap(now, now | LOCKED) {
                return now;
            }
        }
    }

    /// `readiness`, once nobody holds the lock.
    #[cold]
    #[inline(never)]
    fn unlocked(&self) -> u32 {
        let mut round = 0;
        loop {
            let now = self.readiness.load(Ordering::Acquire);
            if now & LOCKED == 0 {
                return now;
            }
            backoff(&mut round);
        }
    }

    // ---- users ----

    /// Step 1. Gives the generation. None: it is being closed, or is not `expected` any more (0: any will do).
    #[inline]
    pub fn enter(&self, expected: u32) -> Option<u32> {
        self.enter_with(expected, 0)
    }

    /// The same, by the worker with this hazard, which may earn the bias.
    #[inline]
    pub fn enter_from(&self, hazard: &Hazard, expected: u32) -> Option<u32> {
        let streak = self.streak.load(Ordering::Relaxed);
        let calls = if streak / STREAK == hazard.number() {
            streak % STREAK
        } else {
            0
        };
        let mut bias = 0;
        if calls == EARNED {
            bias = u64::from(hazard.number()) << BIAS_SHIFT;
        } else {
            self.streak
                .store(hazard.number() * STREAK + calls + 1, Ordering::Relaxed);
        }
        self.enter_with(expected, bias)
    }

    /// `bias` is given to one that has none.
    #[inline]
    fn enter_with(&self, expected: u32, bias: u64) -> Option<u32> {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            let generation = (word >> GENERATION) as u32;
            let closing = word & CLOSING != 0 && !mutated!("descriptor_enters_while_closing");
            if closing || (expected != 0 && generation != expected) {
                return None;
            }
            if word & USERS >= USERS_MOST {
                too_many();
            }
            let bias = if word & BIAS == 0 { bias } else { 0 };
            match (self.word).compare_exchange_weak(
                word,
                (word + 1) | bias,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Some(generation),
                Err(now) => word = now,
            }
        }
    }

    /// Step 4. Some: this generation is being closed, and the caller, the last user, goes on with [`Descriptor::begin_end`].
    #[inline]
    #[must_use]
    pub fn leave(&self) -> Option<u32> {
        let before = self.word.fetch_sub(1, Ordering::AcqRel);
        (before & (USERS | CLOSING) == CLOSING | 1).then_some((before >> GENERATION) as u32)
    }

    /// Whether it is biased to the worker with this hazard, or was a moment ago.
    #[inline(always)]
    pub fn is_biased_to(&self, hazard: &Hazard) -> bool {
        bias_of(self.word.load(Ordering::Relaxed)) == hazard.number()
    }

    /// Step 1 without becoming a user (`hazard`, H1 and H2), by the worker with this hazard, which is free. The visit is to be ended whatever this gives. None:
    /// as of [`Descriptor::enter`], or it is not biased to that worker.
    #[inline(always)]
    pub fn visit(&self, hazard: &Hazard, expected: u32) -> Option<u32> {
        hazard.name(self);
        let word = self.word.load(Ordering::Acquire);
        let generation = (word >> GENERATION) as u32;
        let biased = bias_of(word) == hazard.number() || mutated!("hazard_without_a_bias");
        let open = word & CLOSING == 0 || mutated!("hazard_while_closing");
        (biased && open && (expected == 0 || generation == expected)).then_some(generation)
    }

    /// Step 4 of a visit (H4 and H5). Some: as of [`Descriptor::leave`].
    #[inline(always)]
    #[must_use]
    pub fn end_visit(&self, hazard: &Hazard) -> Option<u32> {
        hazard.clear();
        let word = self.word.load(Ordering::Acquire);
        (word & CLOSING != 0 && !mutated!("hazard_left_without_a_look"))
            .then_some((word >> GENERATION) as u32)
    }

    /// The visitor becomes a user (H3'). Gives of which generation: the one that it visited may have ended unseen.
    #[cold]
    #[must_use]
    pub fn visitor_is_user(&self, hazard: &Hazard) -> u32 {
        if mutated!("hazard_cleared_too_early") {
            hazard.clear();
        }
        if mutated!("hazard_user_of_another") {
            let early = self.generation();
            self.word.fetch_add(1, Ordering::AcqRel);
            hazard.clear();
            return early;
        }
        let before = self.word.fetch_add(1, Ordering::AcqRel);
        hazard.clear();
        (before >> GENERATION) as u32
    }

    /// Whether the worker that it is biased to may be in a call. `own`: the number of the caller's hazard, or 0.
    fn is_visited(&self, bias: u32, hazards: &Hazards, own: u32) -> bool {
        if bias == 0 {
            return false;
        }
        if bias != own && !mutated!("hazard_without_heavy_fence") {
            fence_heavy(); // hazard I1; partner: fence_light in Hazard::name and Hazard::clear
        }
        hazards.numbered(bias).is_of(self) && !mutated!("hazard_is_overlooked")
    }

    /// This generation is being closed, and there are no users, or were none a moment ago (`hazard`, E2 to E4). True: the caller goes on with
    /// [`Descriptor::end`]; false: somebody else does, or did. `own`: the number of the caller's hazard, or 0.
    #[cold]
    #[must_use]
    pub fn begin_end(&self, generation: u32, hazards: &Hazards, own: u32) -> bool {
        let word = self.word.load(Ordering::Acquire);
        let is_it = (word >> GENERATION) as u32 == generation || mutated!("hazard_ends_the_next");
        if !is_it || word & (USERS | CLOSING) != CLOSING || self.is_visited(bias_of(word), hazards, own) {
            return false;
        }
        let late = mutated!("hazard_users_after_the_look");
        let word = if late {
            self.word.load(Ordering::Acquire)
        } else {
            word
        };
        (self.word)
            .compare_exchange(word, word + 1, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
            || mutated!("hazard_ends_twice")
    }

    /// Whether this generation goes on.
    pub fn is_open(&self, generation: u32) -> bool {
        goes_on(self.word.load(Ordering::SeqCst), generation)
    }

    /// By a user who has closed it: whether nobody else is one, or in a call. `own`: the number of the caller's hazard, or 0.
    pub fn has_one_user(&self, hazards: &Hazards, own: u32) -> bool {
        let early = self.word.load(Ordering::Acquire);
        let visited = self.is_visited(bias_of(early), hazards, own);
        // After the look: a visitor that is a user by now was one before it cleared its hazard.
        let users = if mutated!("hazard_users_before_the_look") {
            early
        } else {
            self.word.load(Ordering::Acquire)
        };
        !visited && users & USERS == 1
    }

    /// Whoever only gets in line need not enter. None: it is being closed.
    #[inline]
    pub fn open_generation(&self) -> Option<u32> {
        let word = self.word.load(Ordering::Acquire);
        (word & CLOSING == 0).then_some((word >> GENERATION) as u32)
    }

    /// The generation now.
    pub fn generation(&self) -> u32 {
        (self.word.load(Ordering::Acquire) >> GENERATION) as u32
    }

    // ---- readiness ----

    /// What is known, for [`is_ready`], [`Descriptor::drained`] and the like. Before the system call.
    #[inline]
    pub fn readiness(&self) -> u32 {
        self.readiness.load(Ordering::Acquire)
    }

    /// The system call said EAGAIN, `seen` is from before it.
    #[inline]
    pub fn drained(&self, direction: u32, seen: u32) {
        if seen & LOCKED != 0 || !self.swap(seen, seen & !direction) {
            self.drained_slow(direction, seen);
        }
    }

    #[cold]
    #[inline(never)]
    fn drained_slow(&self, direction: u32, seen: u32) {
        loop {
            let now = self.unlocked();
            if now / TICK != seen / TICK && !mutated!("drained_over_an_edge") {
                return; // I1
            }
            if self.swap(now, now & !direction) {
                return;
            }
        }
    }

    /// The call took, or gave, less than it could have: the rest would be EAGAIN. Only of descriptors where that is so.
    #[inline]
    pub fn drained_by_short(&self, direction: u32, seen: u32) {
        if seen & STICKY == 0 {
            self.drained(direction, seen);
        }
    }

    /// A call in this direction did not drain the descriptor: somebody else in line may go on (I2). Gives him, chained.
    #[inline]
    pub fn pass_on(&self, direction: u32) -> *mut DescriptorWaiter<P> {
        let readiness = self.readiness.load(Ordering::Acquire);
        if readiness & (direction * WAITED) == 0 || readiness & direction == 0 {
            return null_mut();
        }
        self.pass_on_slow(direction)
    }

    /// The same for one who made no call, for its deadline has passed: what woke it, if anything did, was meant for somebody (I2).
    #[cold]
    pub fn pass_on_unused(&self, direction: u32) -> *mut DescriptorWaiter<P> {
        if mutated!("late_keeps_its_wake") {
            return null_mut();
        }
        self.pass_on(direction)
    }

    #[cold]
    fn pass_on_slow(&self, direction: u32) -> *mut DescriptorWaiter<P> {
        self.locked(|state, now| {
            if *now & direction == 0 || mutated!("nobody_passes_on") {
                return null_mut();
            }
            let mut chain = null_mut();
            Self::claim_in(state, line_of(direction), direction, false, &raw mut chain);
            *now &= !Self::not_waited(state);
            chain
        })
    }

    /// Step b. The chain is to be woken.
    pub fn edge(&self, generation: u32, directions: u32, sticky: bool) -> *mut DescriptorWaiter<P> {
        self.locked(|state, now| {
            if self.generation() != generation && !mutated!("stale_edge") {
                return null_mut(); // I4
            }
            let bits = directions | if sticky { STICKY } else { 0 };
            let chain = Self::claim(state, now, directions, false);
            *now = (*now | bits).wrapping_add(TICK);
            chain
        })
    }

    /// Somebody asked the kernel in another way.
    pub fn told_ready(&self, direction: u32) {
        self.locked(|_, now| *now = (*now | direction).wrapping_add(TICK));
    }

    /// Under the lock: those in line for `directions`, all, or as I2 says.
    #[inline(always)]
    fn claim(state: &mut State<P>, now: &mut u32, directions: u32, all: bool) -> *mut DescriptorWaiter<P> {
        let mut chain = null_mut();
        let mut end: *mut *mut DescriptorWaiter<P> = &raw mut chain;
        if !state.lines[ASKERS].is_empty() {
            end = Self::claim_in(state, ASKERS, directions, true, end);
        }
        for direction in [READ, WRITE] {
            if directions & direction != 0 && !state.lines[line_of(direction)].is_empty() {
                end = Self::claim_in(state, line_of(direction), direction, all, end);
            }
        }
        *now &= !Self::not_waited(state);
        chain
    }

    /// Under the lock: those in one line, or the first of them, put at the `end` of a chain. Gives its new end.
    fn claim_in(
        state: &mut State<P>,
        line: usize,
        directions: u32,
        all: bool,
        mut end: *mut *mut DescriptorWaiter<P>,
    ) -> *mut *mut DescriptorWaiter<P> {
        let line = &mut state.lines[line];
        let mut waiter = line.first();
        // SAFETY: linked waiters are alive; what is claimed is ours (`wait::queue`).
        unsafe {
            while !waiter.is_null() {
                let next = (*waiter).following();
                if (*waiter).what.mask & directions != 0
                    && let Some(claimed) = line.claim(waiter)
                {
                    end = chain_claimed(end, waiter, claimed);
                    if !all {
                        break;
                    }
                }
                waiter = next;
            }
        }
        end
    }

    /// WAITED where nobody is in line.
    fn not_waited(state: &State<P>) -> u32 {
        let mut idle = 0;
        for direction in [READ, WRITE] {
            if state.lines[line_of(direction)].is_empty() {
                idle |= direction * WAITED;
            }
        }
        idle
    }

    // ---- waiters ----

    /// Step 5. `seen`: of one that only asks, from before it asked: it waits unless there was an edge since.
    ///
    /// # Safety
    /// `waiter.what` and its party are set; it stays in place until it was claimed or left.
    pub unsafe fn join(&self, waiter: *mut DescriptorWaiter<P>, generation: u32, seen: u32) -> Joined {
        self.locked(|state, now| {
            let goes_on = goes_on(self.word.load(Ordering::Acquire), generation);
            if !goes_on && !mutated!("joins_the_closed") {
                return Joined::Closed;
            }
            // SAFETY: the caller's; we hold the lock.
            unsafe {
                let want = (*waiter).what;
                let ready = if want.uses {
                    *now & want.mask != 0
                } else {
                    want.mask != END && *now / TICK != seen / TICK
                };
                if ready && !mutated!("join_without_a_look") {
                    return Joined::Ready;
                }
                if want.uses {
                    let joined = if mutated!("joins_unseen") { 0 } else { JOINED };
                    *now |= (want.mask * WAITED) | joined;
                }
                state.lines[want.line()].join(waiter);
            }
            Joined::Waits
        })
    }

    /// Its wait is over for another reason.
    ///
    /// # Safety
    /// `waiter` was meant for this descriptor, and is alive.
    pub unsafe fn leave_line(&self, waiter: *mut DescriptorWaiter<P>) {
        self.locked(|state, _| {
            if mutated!("late_stays_in_line") {
                return;
            }
            // SAFETY: we hold the lock; the caller's promise.
            unsafe { state.lines[(*waiter).what.line()].leave(waiter) };
        });
    }

    /// The monitor's look, about once a second. `before`: what the last one gave, 0 at first. Gives that for the next one, and whether somebody who
    /// wants to make a call was in line at both, and no edge between: then it is time to ask whether the poller still knows the file.
    pub fn look(&self, before: u32) -> (u32, bool) {
        let mut now = self.readiness.load(Ordering::Relaxed);
        let first = (now / TICK) << 1 | 1;
        loop {
            if now & ((READ | WRITE) * WAITED) == 0 {
                return (0, false);
            }
            let ticks = if mutated!("look_at_another_wait") {
                first
            } else {
                (now / TICK) << 1 | 1
            };
            let lasts = before == ticks;
            if now & JOINED == 0 {
                return (0, lasts); // asked about once: what it is now it is until somebody joins
            }
            if now & LOCKED == 0 && self.swap(now, now & !JOINED) {
                return (ticks, lasts);
            }
            now = self.unlocked();
        }
    }

    /// It could not be asked about: it will be looked at again.
    pub fn look_again(&self) {
        self.locked(|_, now| *now |= JOINED);
    }

    // ---- registration and deadlines ----

    /// Whether that poller knows the generation that goes on now, or did a moment ago: `join` finds out.
    #[inline]
    pub fn is_registered(&self, poller: u32) -> bool {
        self.registered() == poller
    }

    /// Before `who` tells the poller `poller` of it. False: it was told.
    pub fn begin_registration(&self, poller: u32, who: u32) -> bool {
        self.locked(|_, _| {
            let unknown = self.registered() != poller;
            if unknown {
                self.register(TELLING | who);
            }
            unknown
        })
    }

    /// `who` has told the poller. If the number went back to the kernel meanwhile it may know the old file by it, which is gone; and if
    /// somebody else began to tell it, he will say so.
    pub fn set_registered(&self, generation: u32, poller: u32, who: u32) {
        self.locked(|_, _| {
            let begun = self.registered() == TELLING | who || mutated!("registered_over_an_end");
            if begun && self.generation() == generation {
                self.register(poller);
            }
        });
    }

    fn registered(&self) -> u32 {
        self.registered.load(Ordering::Acquire)
    }

    /// Under the lock.
    fn register(&self, poller: u32) {
        self.registered.store(poller, Ordering::Release);
    }

    /// Under the lock.
    fn forget_registration(&self) {
        if !mutated!("registration_outlives_its_descriptor") {
            self.register(0);
        }
    }

    /// For the calls that follow.
    pub fn set_deadline(&self, directions: u32, deadline: u64) {
        self.locked(|state, now| {
            for direction in [READ, WRITE] {
                if directions & direction != 0 {
                    Self::put_deadline(state, now, direction, deadline);
                }
            }
        });
    }

    /// Under the lock.
    fn put_deadline(state: &mut State<P>, now: &mut u32, direction: u32, deadline: u64) {
        state.deadlines[direction as usize - 1] = deadline;
        *now &= !(direction * DEADLINE);
        if deadline != u64::MAX {
            *now |= direction * DEADLINE;
        }
    }

    /// Whether somebody read or wrote it, or set a deadline: so it was open then.
    pub fn was_used(&self) -> bool {
        self.kind.load(Ordering::Relaxed) != 0 || self.readiness() & ((READ | WRITE) * DEADLINE) != 0
    }

    /// Whether a call in this direction, made now, would find nothing, and there is no deadline.
    #[inline]
    pub fn would_wait(readiness: u32, direction: u32) -> bool {
        readiness & (direction | (direction * DEADLINE)) == 0
    }

    /// Until when a call may take; `u64::MAX`: for ever.
    #[inline]
    pub fn deadline(&self, direction: u32, readiness: u32) -> u64 {
        if readiness & (direction * DEADLINE) == 0 {
            return u64::MAX;
        }
        self.deadline_set(direction)
    }

    #[cold]
    #[inline(never)]
    fn deadline_set(&self, direction: u32) -> u64 {
        self.locked(|state, _| state.deadlines[direction as usize - 1])
    }

    // ---- the end ----

    /// From now on nobody enters or waits.
    pub fn close(&self, generation: u32) -> Close<P> {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            if !goes_on(word, generation) {
                return Close::Already;
            }
            match (self.word).compare_exchange_weak(word, word | CLOSING, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => break,
                Err(now) => word = now,
            }
        }
        let now = word & USERS == 0;
        let waiters = self.locked(|state, now| {
            // If it has ended by now, those were told then, and who waits now waits for the next file.
            if self.generation() != generation && !mutated!("close_tells_the_next") {
                return null_mut();
            }
            Self::claim(state, now, READ | WRITE | END, true)
        });
        Close::Begun { waiters, now }
    }

    /// The last of this generation (I3), after [`Descriptor::begin_end`]. Gives which poller knows it, and who waits still, for the closer has not come to tell
    /// them: chained. Then the number goes back to the kernel, and then comes [`Descriptor::after_end`].
    #[must_use]
    pub fn end(&self) -> (u32, *mut DescriptorWaiter<P>) {
        self.locked(|state, now| {
            let registered = self.registered();
            let registered = if registered & TELLING == 0 { registered } else { 0 };
            let waiters = if mutated!("end_tells_nobody") {
                null_mut()
            } else {
                Self::claim(state, now, READ | WRITE | END, true)
            };
            self.reset(state, now);
            // Nobody enters or leaves while CLOSING is set and the caller is the one user.
            let next = Self::after(self.word.load(Ordering::Relaxed));
            self.word.store(next, Ordering::Release);
            (registered, waiters)
        })
    }

    /// The kernel has just given this number out: if whoever closed it before did not tell us, this is the end of that. Gives whom to
    /// tell, chained.
    pub fn begin(&self) -> *mut DescriptorWaiter<P> {
        self.begin_at(u64::MAX)
    }

    /// The kernel has given this number out some time ago. A deadline that is not over at `now` may be the new file's, and stays.
    pub fn begin_at(&self, now: u64) -> *mut DescriptorWaiter<P> {
        self.locked(|state, readiness| {
            let nobody = state.lines.iter().all(ShortQueue::is_empty);
            if !self.was_used() && self.registered() == 0 && nobody {
                return null_mut(); // as good as new
            }
            let word = self.word.load(Ordering::Relaxed);
            let kept = if mutated!("bias_is_lost_unseen") {
                0
            } else {
                word & BIAS
            };
            let next = Self::after(word) | kept; // hazard I4
            let unused = word & (USERS | CLOSING) == 0;
            if !unused
                || (self.word)
                    .compare_exchange(word, next, Ordering::AcqRel, Ordering::Relaxed)
                    .is_err()
            {
                return null_mut(); // in use by somebody who is late: it is his to find out
            }
            let waiters = Self::claim(state, readiness, READ | WRITE | END, true);
            let deadlines = state.deadlines;
            self.reset(state, readiness);
            for (direction, deadline) in [READ, WRITE].into_iter().zip(deadlines) {
                if deadline > now && deadline != u64::MAX {
                    Self::put_deadline(state, readiness, direction, deadline);
                }
            }
            waiters
        })
    }

    /// The word of the next generation.
    fn after(word: u64) -> u64 {
        let next = ((word >> GENERATION) as u32).wrapping_add(1).max(1);
        u64::from(next) << GENERATION
    }

    fn reset(&self, state: &mut State<P>, now: &mut u32) {
        self.forget_registration();
        self.kind.store(0, Ordering::Relaxed);
        self.streak.store(0, Ordering::Relaxed);
        let mut kept = !(TICK - 1);
        if mutated!("deadline_outlives_its_descriptor") {
            kept |= (READ | WRITE) * DEADLINE;
        } else {
            state.deadlines = [u64::MAX; 2];
        }
        *now = ((*now & kept) | UNKNOWN).wrapping_add(TICK); // what was known of the old one is not known of the next
    }

    /// The number is free, or somebody else's already. Who came between `end` and the close was late, and may have registered what
    /// was about to be closed, and taken it for what it was: whoever waits looks again, and registers anew.
    pub fn after_end(&self) -> *mut DescriptorWaiter<P> {
        self.locked(|state, now| {
            self.forget_registration();
            self.kind.store(0, Ordering::Relaxed);
            *now = (*now | READ | WRITE).wrapping_add(TICK);
            Self::claim(state, now, READ | WRITE | END, true)
        })
    }

    /// In a child of fork, alone: whoever used it is gone.
    ///
    /// # Safety
    /// No other thread is there.
    #[cfg(not(loom))]
    pub unsafe fn forget(&self) {
        let fresh = Self::new();
        let next = Self::after(self.word.load(Ordering::Relaxed));
        fresh.word.store(next, Ordering::Relaxed);
        // SAFETY: the caller's promise; nothing in it is dropped.
        unsafe { std::ptr::from_ref(self).cast_mut().write(fresh) };
    }
}

/// More would be in the bits beside.
#[cold]
#[inline(never)]
fn too_many() -> ! {
    #[cfg(not(loom))]
    crate::sys::report::fatal("more than 16 million calls at once on one descriptor");
    #[cfg(loom)]
    unreachable!("in a model")
}

fn bias_of(word: u64) -> u32 {
    ((word & BIAS) >> BIAS_SHIFT) as u32
}

/// What the word says of a generation: not closing, and not over.
fn goes_on(word: u64, generation: u32) -> bool {
    word & CLOSING == 0 && (word >> GENERATION) as u32 == generation
}

/// Whether to make the call at once.
#[inline]
pub fn is_ready(readiness: u32, direction: u32) -> bool {
    readiness & direction != 0
}
