//! Waiting for the first of many: sends, receives, promises, and the time-out.
//!
//! First every case is looked at (`poll`): of those that are possible one is picked at random, each as likely. If none is, the caller
//! gets in every line at once, in the join step of a park:
//!
//! ```text
//!   1. lock every channel, in the order of their addresses
//!   2. is a case possible by now? then do it, unlock, and wait for nothing
//!   3. join every promise                  (one is settled: unlock, and wait for nothing)
//!   4. join every channel, unlock, joined = FINISHED
//! ```
//!
//! I1. All lines are joined with all locks held (`wait::select`), so two selects that look for each other meet, and one case is done.
//! I2. One claim ends the wait, whatever the line (`wait::queue`, I2); the claimer writes which case it was into `chosen`, if it
//!     came through a channel. A promise does not: who was woken without a `chosen` looks which of its promises is settled.
//! I3. A promise that settles during 3 or 4 readies us at once, though the join still uses our stack: so who was woken waits for
//!     FINISHED, the join's last touch, before it goes on. It is a few instructions away.
//! I4. Locks are taken in the order of addresses by all who take more than one, and a promise's within them; so nobody waits in a circle.

use super::channel::{Bytes, Channel, ChannelWaiter, Protocol, hand, in_line};
use super::wait::wait;
use crate::abi::*;
use crate::context::tls;
use crate::goroutine::waits::{Kind, Waits};
use crate::promise::{Owner, Promise, PromiseWaiter};
use crate::sanitize;
use crate::sched::park;
use crate::sync::backoff;
use crate::sys::mem;
use crate::wait::Party;
use crate::wait::channel::{Handed, RECEIVE, SEND, Step};
use crate::wait::select::{self, Case, Joined};
use crate::wait::thread::ThreadWait;
use std::mem::{MaybeUninit, offset_of, size_of};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU32, Ordering};

/// So many cases wait on the stack; the places of more are allocated.
const INLINE: usize = 8;
const NONE: usize = usize::MAX;

const NOT_BEGUN: u32 = 0;
const BEGUN: u32 = 1;
const FINISHED: u32 = 2;

/// How often a case that looked possible is tried before the locks are taken.
const TRIES: u32 = 4;

enum Line {
    Nowhere,
    Channel(ChannelWaiter),
    Promise(PromiseWaiter),
}

/// One per case.
struct Slot {
    /// The case whose channel is locked in this place of the order; NONE: no more.
    order: usize,
    line: Line,
}

/// A case, looked at.
#[derive(Clone, Copy)]
enum Object {
    Never,
    Channel { channel: *const Channel, sends: bool },
    Promise(*const Promise),
}

fn object(case: &GoroutineSelectCase) -> Object {
    match case.op {
        _ if case.object.is_null() => Object::Never,
        GOROUTINE_SELECT_PROMISE => Object::Promise(case.object.cast()),
        op => Object::Channel {
            channel: case.object.cast(),
            sends: op == GOROUTINE_SELECT_SEND,
        },
    }
}

/// Whether a case can be waited for.
///
/// # Safety
/// Its object is what its `op` says, or NULL.
unsafe fn is_valid(case: &GoroutineSelectCase) -> bool {
    if case.op > GOROUTINE_SELECT_PROMISE {
        return false;
    }
    // SAFETY: the caller's promise.
    unsafe {
        match object(case) {
            Object::Channel { channel, sends: true } => {
                !case.value.is_null() || (*channel).protocol.bytes() == 0
            }
            Object::Promise(promise) => {
                (*promise).check_alive("goroutine_select");
                true
            }
            _ => true,
        }
    }
}

/// Below `n`, each as likely.
fn random_below(n: usize) -> usize {
    ((u128::from(tls::random()) * n as u128) >> 64) as usize
}

/// A promise's outcome into its case.
unsafe fn take(case: &mut GoroutineSelectCase, promise: *const Promise) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        let Some(outcome) = (*promise).outcome() else {
            return false;
        };
        if outcome.status != GOROUTINE_OK {
            (*promise).observe();
        }
        case.status = outcome.status;
        let value = case.value.cast::<*mut std::ffi::c_void>();
        if !value.is_null() && (outcome.status == GOROUTINE_OK || outcome.status == GOROUTINE_EREJECTED) {
            *value = outcome.value;
        }
        true
    }
}

/// One of the cases that are possible now, done.
unsafe fn poll(cases: &mut [GoroutineSelectCase], promises_only: bool) -> Option<usize> {
    for _ in 0..TRIES {
        let mut possible = 0;
        let mut pick = NONE;
        for (i, case) in cases.iter().enumerate() {
            // SAFETY: the caller's promise.
            let ready = unsafe {
                match object(case) {
                    Object::Channel { channel, sends } if !promises_only => {
                        (*channel).protocol.ready() & if sends { SEND } else { RECEIVE } != 0
                    }
                    Object::Promise(promise) => (*promise).outcome().is_some(),
                    _ => false,
                }
            };
            if ready {
                possible += 1;
                if possible == 1 || random_below(possible) == 0 {
                    pick = i; // each of the first `possible` with the same likelihood
                }
            }
        }
        let case = cases.get_mut(pick)?;
        // SAFETY: as above.
        unsafe {
            match object(case) {
                Object::Channel { channel, sends } => {
                    if let Some(status) = (*channel).attempt(sends, Bytes(case.value.cast())) {
                        case.status = status;
                        return Some(pick);
                    }
                }
                Object::Promise(promise) if take(case, promise) => return Some(pick),
                _ => {}
            }
        }
    }
    None
}

/// What the one selects among whose `Join` is at `address`, as GOROUTINE_SELECT_* and address. It may not be there any more: it means
/// nothing then.
pub fn cases_of(address: usize) -> Option<Vec<(u32, u64)>> {
    let cases = mem::peek_word(address + offset_of!(Join, cases))?;
    let count = mem::peek_word(address + offset_of!(Join, count))?;
    let mut all = Vec::new();
    for i in 0..count {
        let case = (cases + i * size_of::<GoroutineSelectCase>() as u64) as usize;
        let op = mem::peek_word(case)? as u32; // it comes first, in 4 bytes
        let object = mem::peek_word(case + offset_of!(GoroutineSelectCase, object))?;
        if object != 0 {
            all.push((op, object));
        }
    }
    Some(all)
}

/// `goroutine_select`. Ok: the case that was chosen.
///
/// # Safety
/// Objects are what `op` says, or NULL, and values are places for them.
pub unsafe fn select(cases: &mut [GoroutineSelectCase], timeout_ns: u64) -> Result<usize, GoroutineStatus> {
    // SAFETY: the caller's promise.
    unsafe {
        if !sanitize::is_watched() {
            return select_unwatched(cases, timeout_ns);
        }
        select_watched(cases, timeout_ns)
    }
}

/// # Safety
/// As [`select`].
#[cold]
#[inline(never)]
unsafe fn select_watched(
    cases: &mut [GoroutineSelectCase],
    timeout_ns: u64,
) -> Result<usize, GoroutineStatus> {
    // SAFETY: the caller's promise.
    unsafe {
        let chosen = sanitize::look_away(|| select_unwatched(cases, timeout_ns));
        if let Ok(chosen) = chosen {
            match object(&cases[chosen]) {
                Object::Channel { channel, sends } => (*channel).passed(sends),
                Object::Promise(promise) => sanitize::acquired(promise),
                Object::Never => {}
            }
        }
        chosen
    }
}

/// # Safety
/// As [`select`].
#[inline(always)]
unsafe fn select_unwatched(
    cases: &mut [GoroutineSelectCase],
    timeout_ns: u64,
) -> Result<usize, GoroutineStatus> {
    // SAFETY: the caller's promise.
    unsafe {
        if !cases.iter().all(|case| is_valid(case)) {
            return Err(GOROUTINE_EINVAL);
        }
        for case in cases.iter().filter(|case| case.op != GOROUTINE_SELECT_PROMISE) {
            if let Some(channel) = case.object.cast::<Channel>().as_ref() {
                channel.note(case.op == GOROUTINE_SELECT_SEND);
            }
        }
        if let Some(chosen) = poll(cases, false) {
            return Ok(chosen);
        }
        if timeout_ns == 0 {
            return Err(GOROUTINE_EAGAIN);
        }
        let deadline = park::deadline_after(timeout_ns);
        if cases.len() <= INLINE {
            let mut slots = [const { MaybeUninit::uninit() }; INLINE];
            return in_every_line(cases, &mut slots[..cases.len()], deadline);
        }
        let mut slots = Vec::new();
        if slots.try_reserve_exact(cases.len()).is_err() {
            return Err(GOROUTINE_ENOMEM);
        }
        slots.resize_with(cases.len(), MaybeUninit::uninit);
        in_every_line(cases, &mut slots, deadline)
    }
}

/// What the join step works on; all of it on the stack of the one who waits.
struct Join {
    cases: *mut GoroutineSelectCase,
    slots: *mut Slot,
    count: usize,
    chosen: usize,
    /// What step 2 did.
    handed: Option<Handed<Party, Bytes>>,
    progress: AtomicU32,
}

#[inline(never)]
unsafe fn in_every_line(
    cases: &mut [GoroutineSelectCase],
    slots: &mut [MaybeUninit<Slot>],
    deadline: u64,
) -> Result<usize, GoroutineStatus> {
    let mut join = Join {
        cases: cases.as_mut_ptr(),
        slots: slots.as_mut_ptr().cast(),
        count: cases.len(),
        chosen: NONE,
        handed: None,
        progress: AtomicU32::new(NOT_BEGUN),
    };
    let chosen = &raw mut join.chosen;
    let slots = prepare(cases, slots, chosen);
    let word = ThreadWait::new();
    let shared = &raw mut join;
    // SAFETY: everything stays in place until `leave`; the caller's promise.
    unsafe {
        let waits = Waits::on(Kind::Select, shared);
        let status = wait(&word, deadline, waits, move |party| join_all(shared, party));
        let mut round = 0;
        while (*shared).progress.load(Ordering::Acquire) == BEGUN {
            backoff(&mut round); // I3
        }
        let chosen = *chosen;
        if let Some(handed) = (*shared).handed.take() {
            if let Object::Channel { channel, .. } = object(&cases[chosen]) {
                hand(handed, (*channel).protocol.bytes());
            }
            return Ok(chosen);
        }
        if chosen != NONE && (*shared).progress.load(Ordering::Relaxed) == NOT_BEGUN {
            return Ok(chosen); // step 2, and nobody to wake
        }
        for (i, slot) in slots.iter_mut().enumerate() {
            if i != chosen {
                leave(&cases[i], &mut slot.line);
            }
        }
        if chosen != NONE {
            cases[chosen].status = status;
            return Ok(chosen);
        }
        if status == GOROUTINE_ECANCELED {
            return Err(status);
        }
        poll(cases, true).ok_or(status) // settled at the last moment counts
    }
}

/// A place for every case, and the order of the locks.
fn prepare<'a>(
    cases: &[GoroutineSelectCase],
    slots: &'a mut [MaybeUninit<Slot>],
    chosen: *mut usize,
) -> &'a mut [Slot] {
    let mut channels = 0;
    for (i, (case, slot)) in cases.iter().zip(slots.iter_mut()).enumerate() {
        let order = NONE;
        // (Each is written in its place.)
        match object(case) {
            Object::Never => slot.write(Slot {
                order,
                line: Line::Nowhere,
            }),
            Object::Channel { .. } => slot.write(Slot {
                order,
                line: Line::Channel(in_line(Bytes(case.value.cast()), chosen, i)),
            }),
            Object::Promise(_) => slot.write(Slot {
                order,
                line: Line::Promise(PromiseWaiter::new(Owner::NOBODY)),
            }),
        };
    }
    // SAFETY: all are written.
    let slots = unsafe { &mut *(std::ptr::from_mut(slots) as *mut [Slot]) };
    if cases.len() > FEW {
        sort_many(slots, cases);
        return slots;
    }
    for (i, case) in cases.iter().enumerate() {
        if let Object::Channel { .. } = object(case) {
            // By insertion: those before it are sorted.
            let mut at = channels;
            while at > 0 && cases[slots[at - 1].order].object > case.object {
                slots[at].order = slots[at - 1].order;
                at -= 1;
            }
            slots[at].order = i;
            channels += 1;
        }
    }
    slots
}

/// Cases that are sorted by insertion.
const FEW: usize = 16;

/// The same by Shell's sort: in place, in much less than quadratic time.
#[cold]
#[inline(never)]
fn sort_many(slots: &mut [Slot], cases: &[GoroutineSelectCase]) {
    let mut channels = 0;
    for (i, case) in cases.iter().enumerate() {
        if let Object::Channel { .. } = object(case) {
            slots[channels].order = i;
            channels += 1;
        }
    }
    let slots = &mut slots[..channels];
    let mut gap = 1;
    while gap < slots.len() / 9 {
        gap = 3 * gap + 1;
    }
    while gap > 0 {
        for i in gap..slots.len() {
            let (order, mut at) = (slots[i].order, i);
            while at >= gap && cases[slots[at - gap].order].object > cases[order].object {
                slots[at].order = slots[at - gap].order;
                at -= gap;
            }
            slots[at].order = order;
        }
        gap /= 3;
    }
}

impl Join {
    /// Every channel once, in the order of the addresses.
    unsafe fn order<'a>(this: *const Self) -> impl Iterator<Item = &'a Protocol> + Clone {
        let mut last = null_mut();
        // SAFETY: slots and cases stay until FINISHED.
        let count = unsafe { (*this).count };
        let object = move |at| {
            // SAFETY: as above.
            let order = unsafe { (*(*this).slots.add(at)).order };
            // SAFETY: as above.
            (order != NONE).then(|| unsafe { (*(*this).cases.add(order)).object })
        };
        let protocol = |object: *mut std::ffi::c_void| {
            // SAFETY: a channel of the caller's.
            unsafe { &(*object.cast::<Channel>()).protocol }
        };
        (0..count)
            .map_while(object)
            .filter(move |&object| std::mem::replace(&mut last, object) != object)
            .map(protocol)
    }

    /// The cases that are channels', beginning with any, so that none is preferred.
    unsafe fn channels(this: *const Self) -> impl Iterator<Item = Case<Party, Bytes>> + Clone {
        // SAFETY: as above.
        let count = unsafe { (*this).count };
        let start = if count == 0 { 0 } else { random_below(count) };
        (start..start + count).filter_map(move |at| {
            let index = if at < count { at } else { at - count };
            // SAFETY: as above; the object is a channel of the caller's.
            unsafe {
                let case = &*(*this).cases.add(index);
                let Line::Channel(waiter) = &mut (*(*this).slots.add(index)).line else {
                    return None;
                };
                Some(Case {
                    index,
                    channel: &raw const (*case.object.cast::<Channel>()).protocol,
                    sends: case.op == GOROUTINE_SELECT_SEND,
                    place: Bytes(case.value.cast()),
                    waiter,
                })
            }
        })
    }
}

/// The join step. False: there is something already.
///
/// # Safety
/// Off the stack of the one who waits, where `join` lies.
unsafe fn join_all(join: *mut Join, party: Party) -> bool {
    // SAFETY: the module's head; `wait::select`.
    unsafe {
        set_party(join, party);
        let joined = select::join_all(Join::order(join), Join::channels(join), || {
            (*join).progress.store(BEGUN, Ordering::Relaxed);
            join_promises(join)
        });
        match joined {
            Joined::Done(index, step) => {
                (*(*join).cases.add(index)).status = match step {
                    Step::Closed => GOROUTINE_EPIPE,
                    _ => GOROUTINE_OK,
                };
                (*join).chosen = index;
                if let Step::Handed(handed) = step {
                    (*join).handed = Some(handed);
                }
                return false;
            }
            Joined::Waits | Joined::Not => {}
        }
        let waits = matches!(joined, Joined::Waits);
        (*join).progress.store(FINISHED, Ordering::Release); // I3
        waits
    }
}

/// Before anybody can see the waiters.
unsafe fn set_party(join: *mut Join, party: Party) {
    // SAFETY: as join_all.
    unsafe {
        for i in 0..(*join).count {
            match &mut (*(*join).slots.add(i)).line {
                Line::Nowhere => {}
                Line::Channel(waiter) => waiter.party = party,
                Line::Promise(waiter) => {
                    waiter.owner = match party {
                        Party::Goroutine { g, sequence } => Owner::Goroutine { g, sequence },
                        Party::Thread(word) => Owner::Thread(word),
                    }
                }
            }
        }
    }
}

/// Step 3. False: one is settled.
unsafe fn join_promises(join: *mut Join) -> bool {
    // SAFETY: as join_all.
    unsafe {
        for i in 0..(*join).count {
            if let Line::Promise(waiter) = &mut (*(*join).slots.add(i)).line {
                let promise = (*(*join).cases.add(i)).object.cast::<Promise>();
                if !(*promise).cell.join(waiter) {
                    return false;
                }
            }
        }
        true
    }
}

/// Out of the line, if it is in one.
unsafe fn leave(case: &GoroutineSelectCase, line: &mut Line) {
    // SAFETY: the case's object, and the waiter meant for it.
    unsafe {
        match line {
            Line::Nowhere => {}
            Line::Channel(waiter) => {
                let channel = &*case.object.cast::<Channel>();
                channel.protocol.leave(waiter, case.op == GOROUTINE_SELECT_SEND);
            }
            Line::Promise(waiter) => {
                let _ = (*case.object.cast::<Promise>()).cell.leave(waiter);
            }
        }
    }
}

const _: () = assert!(std::mem::size_of::<Slot>() <= 96); // of INLINE each select's stack is made
