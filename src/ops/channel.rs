//! Channels: sending, receiving, closing. `wait::channel` is the protocol; here values are bytes, and those who wait park.

use super::listed::{List, Listed, Objects};
use super::object::{free_object, new_object};
use super::wait::{self, queue, wait, wake_one};
use crate::abi::*;
use crate::context::tls;
use crate::goroutine::ReadyList;
use crate::goroutine::waits::{Kind, Waits};
use crate::sanitize;
use crate::sched::{park, runtime};
use crate::sys::mutex::Mutex;
use crate::wait::biased::BiasedLock;
use crate::wait::channel::{self, Handed, Offer, Place, RECEIVE, SEND, Step};
use crate::wait::thread::ThreadWait;
use crate::wait::{Party, Waiter, next_claimed, wake};
use std::alloc::{Layout, alloc, dealloc};
use std::collections::BTreeMap;
use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::atomic::AtomicUsize;

/// Rings are aligned for every value that C has.
const ALIGN: usize = 16;
const WORD: usize = size_of::<*mut c_void>();

/// A value's bytes; null: of no bytes, or (to receive) of no interest.
#[derive(Clone, Copy)]
pub struct Bytes(pub *mut u8);

impl Place for Bytes {
    #[inline(always)]
    unsafe fn slot(self, index: usize, bytes: usize) -> Self {
        Self(self.0.wrapping_add(index * bytes))
    }

    #[inline(always)]
    unsafe fn copy(from: Self, to: Self, bytes: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            if bytes == 8 && !to.0.is_null() {
                let word = from.0.cast::<u64>().read_unaligned(); // by far the most common, and no call
                to.0.cast::<u64>().write_unaligned(word);
            } else if bytes != 0 && !to.0.is_null() {
                from.0.copy_to_nonoverlapping(to.0, bytes);
            }
        }
    }
}

pub(super) type Protocol = channel::Channel<Party, Bytes>;
type StepHere = Step<Party, Bytes>;
/// One in line for a channel.
pub type ChannelWaiter = channel::ChannelWaiter<Party, Bytes>;

/// A channel. Opaque.
pub struct GoroutineChannel {
    pub(super) protocol: Protocol,
    /// Who uses it is written down (`USERS`), or a sanitizer is to know.
    watched: bool,
    place: AtomicUsize,
}

impl Listed for GoroutineChannel {
    fn place(&self) -> &AtomicUsize {
        &self.place
    }
}

static CHANNELS: List<Channel> = List::new(Objects::new());

/// The lock, to be held across fork.
pub fn all() -> &'static List<Channel> {
    &CHANNELS
}
/// The name inside the library.
pub use GoroutineChannel as Channel;

fn ring_layout(bytes: usize, capacity: usize) -> Option<Layout> {
    Layout::from_size_align(bytes.checked_mul(capacity)?, ALIGN).ok()
}

/// `goroutine_channel_new`.
pub fn new(bytes: usize, capacity: usize) -> *mut Channel {
    // Indices up to twice the capacity are computed.
    let Some(layout) = ring_layout(bytes, capacity).filter(|_| capacity <= usize::MAX / 4) else {
        return null_mut();
    };
    let mut ring = Bytes(null_mut());
    if layout.size() != 0 {
        // SAFETY: not of size 0.
        ring = Bytes(unsafe { alloc(layout) });
        if ring.0.is_null() {
            return null_mut();
        }
    }
    let watched = runtime::enter().is_some_and(|runtime| runtime.reports_deadlocks());
    let channel = new_object(Channel {
        protocol: Protocol::new(bytes, capacity, ring),
        watched: watched || sanitize::orders(),
        place: AtomicUsize::new(0),
    });
    // SAFETY: null, or fresh.
    unsafe {
        if !channel.is_null() && CHANNELS.lock().add(&*channel) {
            if watched {
                USERS.lock().insert(channel as usize, Default::default());
            }
            return channel;
        }
        if !channel.is_null() {
            free_object(channel);
        }
    }
    free_ring(bytes, capacity, ring);
    null_mut()
}

fn free_ring(bytes: usize, capacity: usize, ring: Bytes) {
    if let Some(layout) = ring_layout(bytes, capacity).filter(|_| !ring.0.is_null()) {
        // SAFETY: `new` allocated it so.
        unsafe { dealloc(ring.0, layout) };
    }
}

/// Where words lie in the values of all channels: every aligned one may be a pointer.
///
/// # Safety
/// The world is stopped.
pub unsafe fn for_each_root(show: &mut dyn FnMut(*mut *mut c_void)) {
    let channels = CHANNELS.lock();
    // Workers stand, but C code under one may be here, and plain threads.
    let seen = channels
        .iter()
        .filter(|channel| channel.protocol.bytes() >= WORD && channel.protocol.capacity() != 0);
    let held = BiasedLock::hold_up(seen, |channel| channel.protocol.lock_of_all());
    for (channel, bias) in held {
        let protocol = &channel.protocol;
        protocol.lock_of_all().wait_until_out();
        // SAFETY: held. The ring is aligned for words; its slots are if the values' size is.
        unsafe {
            protocol.for_each_value(|Bytes(value)| {
                let end = value.add(protocol.bytes());
                let mut word = value.map_addr(|a| a.next_multiple_of(WORD));
                while word.wrapping_add(WORD) <= end {
                    show(word.cast());
                    word = word.wrapping_add(WORD);
                }
            });
        }
        protocol.lock_of_all().let_go_on(bias);
    }
}

/// `goroutine_channel_free`.
///
/// # Safety
/// `channel` came from [`new`]; after GOROUTINE_OK nobody uses it.
pub unsafe fn free(channel: *mut Channel) -> GoroutineStatus {
    // SAFETY: the caller's promise.
    unsafe {
        let protocol = &(*channel).protocol;
        if !protocol.is_idle() {
            return GOROUTINE_EBUSY;
        }
        if (*channel).watched {
            USERS.lock().remove(&(channel as usize));
        }
        CHANNELS.lock().remove(&*channel);
        free_ring(protocol.bytes(), protocol.capacity(), protocol.ring());
        free_object(channel);
    }
    GOROUTINE_OK
}

/// The last part of a step, without the lock.
///
/// # Safety
/// As [`Handed::finish`].
#[inline(always)]
pub(super) unsafe fn hand(handed: Handed<Party, Bytes>, bytes: usize) {
    // SAFETY: the caller's promise.
    unsafe { wake_one(handed.finish(bytes), GOROUTINE_OK) };
}

/// Of one end of a channel that is watched: who has ever used it.
#[derive(Default)]
struct End {
    goroutines: Vec<u64>,
    /// A plain thread did, or too many did to know them.
    anybody: bool,
}

/// Most goroutines that are remembered for an end.
const USERS_MAX: usize = 256;

/// By address; receivers, senders.
static USERS: Mutex<Users> = Mutex::new(BTreeMap::new());
type Users = BTreeMap<usize, [End; 2]>;

/// The lock, to be held across fork.
pub fn users() -> &'static Mutex<impl Sized> {
    &USERS
}
/// Those that have ever sent to the channel at `address`, or received; None: that is not known.
pub fn users_of(address: usize, sends: bool) -> Option<Vec<u64>> {
    let users = USERS.lock();
    let end = &users.get(&address)?[usize::from(sends)];
    (!end.anybody).then(|| end.goroutines.clone())
}

/// In a child of fork, which does not use its parent's.
///
/// # Safety
/// No other thread is there.
pub unsafe fn forget_all() {
    // SAFETY: the caller's promise.
    unsafe { (*CHANNELS.data_ptr()).keep(|_| false) };
}

impl Channel {
    /// The caller uses it, if anybody wants to know.
    #[inline(always)]
    pub(super) fn note(&self, sends: bool) {
        if self.watched {
            self.note_watched(sends);
        }
    }

    /// For sanitizers, after a use that was noted: whoever sent comes before who receives; and whoever received, or closed, before who
    /// sends after that, for it may be into the room that came free.
    pub(super) fn passed(&self, sends: bool) {
        if sends {
            sanitize::acquired(sanitize::back(self));
        } else {
            sanitize::acquired(self);
        }
    }

    #[cold]
    #[inline(never)]
    fn note_watched(&self, sends: bool) {
        if sends {
            sanitize::released(self);
        } else {
            sanitize::released(sanitize::back(self));
        }
        let g = tls::current();
        let mut users = USERS.lock();
        let Some(ends) = users.get_mut(&(std::ptr::from_ref(self) as usize)) else {
            return;
        };
        let end = &mut ends[usize::from(sends)];
        // SAFETY: the running goroutine, or null.
        match unsafe { g.as_ref() } {
            Some(g) if end.goroutines.contains(&g.id()) => {}
            Some(g) if end.goroutines.len() < USERS_MAX => end.goroutines.push(g.id()),
            _ => end.anybody = true,
        }
    }

    /// One try. None: not possible now.
    #[inline(always)]
    pub(super) fn attempt(&self, sends: bool, place: Bytes) -> Option<GoroutineStatus> {
        if !self.looks_possible(sends) {
            return None;
        }
        self.attempt_locked(sends, place)
    }

    #[inline(always)]
    fn looks_possible(&self, sends: bool) -> bool {
        self.protocol.ready() & if sends { SEND } else { RECEIVE } != 0
    }

    #[inline(always)]
    fn attempt_locked(&self, sends: bool, place: Bytes) -> Option<GoroutineStatus> {
        self.protocol.lock();
        // SAFETY: we hold the lock; the place is the caller's.
        unsafe {
            // (An unlock in each arm: where a step ends it is known which.)
            match self.step(sends, place) {
                Step::Done => {
                    self.protocol.unlock();
                    Some(GOROUTINE_OK)
                }
                Step::Handed(handed) => {
                    self.protocol.unlock();
                    hand(handed, self.protocol.bytes());
                    Some(GOROUTINE_OK)
                }
                Step::Closed => {
                    self.protocol.unlock();
                    Some(GOROUTINE_EPIPE)
                }
                Step::NotYet => {
                    self.protocol.unlock();
                    None
                }
            }
        }
    }

    /// # Safety
    /// The caller holds the lock, and has the place.
    #[inline(always)]
    pub(super) unsafe fn step(&self, sends: bool, place: Bytes) -> StepHere {
        // SAFETY: the caller's promise.
        unsafe {
            if sends {
                self.protocol.send(place)
            } else {
                self.protocol.receive(place)
            }
        }
    }

    /// `goroutine_channel_send`.
    #[inline(always)]
    pub fn send(&self, value: *const c_void, timeout_ns: u64) -> GoroutineStatus {
        let place = Bytes(value.cast::<u8>().cast_mut());
        if place.0.is_null() && self.protocol.bytes() != 0 {
            return GOROUTINE_EINVAL;
        }
        if self.watched {
            return self.pass_watched::<true>(place, timeout_ns);
        }
        self.pass::<true>(place, timeout_ns)
    }

    /// `goroutine_channel_receive`.
    #[inline(always)]
    pub fn receive(&self, value: *mut c_void, timeout_ns: u64) -> GoroutineStatus {
        let place = Bytes(value.cast::<u8>());
        if self.watched {
            return self.pass_watched::<false>(place, timeout_ns);
        }
        self.pass::<false>(place, timeout_ns)
    }

    /// A way of its own: the others make no call that comes back.
    #[cold]
    #[inline(never)]
    fn pass_watched<const SENDS: bool>(&self, place: Bytes, timeout_ns: u64) -> GoroutineStatus {
        self.note(SENDS);
        let status = sanitize::look_away(|| self.pass::<SENDS>(place, timeout_ns));
        self.passed(SENDS);
        status
    }

    /// Two ways, each of which saves the registers that it needs itself.
    #[inline(always)]
    fn pass<const SENDS: bool>(&self, place: Bytes, timeout_ns: u64) -> GoroutineStatus {
        if self.looks_possible(SENDS) {
            self.attempt_or_wait::<SENDS>(place, timeout_ns)
        } else {
            self.wait_in_line::<SENDS>(place, timeout_ns)
        }
    }

    #[inline(never)]
    fn attempt_or_wait<const SENDS: bool>(&self, place: Bytes, timeout_ns: u64) -> GoroutineStatus {
        match self.attempt_locked(SENDS, place) {
            Some(status) => status,
            None => self.wait_in_line::<SENDS>(place, timeout_ns),
        }
    }

    #[inline(never)]
    fn wait_in_line<const SENDS: bool>(&self, place: Bytes, timeout_ns: u64) -> GoroutineStatus {
        if timeout_ns == 0 {
            return GOROUTINE_EAGAIN;
        }
        let mut waiter = ChannelWaiter::new(Offer {
            place,
            chosen: null_mut(),
            index: 0,
        });
        let word = ThreadWait::new();
        let mut step = Step::NotYet;
        let (line, result) = (&raw mut waiter, &raw mut step);
        // SAFETY: the waiter stays in place until it was claimed or left.
        let status = unsafe {
            let join = InLine::<SENDS> {
                channel: self,
                line,
                result,
            };
            let kind = if SENDS { Kind::Send } else { Kind::Receive };
            wait(
                &word,
                park::deadline_after(timeout_ns),
                Waits::on(kind, self),
                join,
            )
        };
        if matches!(step, Step::NotYet) {
            if status != GOROUTINE_OK && status != GOROUTINE_EPIPE {
                // SAFETY: it was meant for this line.
                unsafe { self.protocol.leave(line, SENDS) };
            }
            return status;
        }
        self.need_not_wait(step)
    }

    #[cold]
    fn need_not_wait(&self, step: StepHere) -> GoroutineStatus {
        match step {
            Step::NotYet => unreachable!("a wait that nobody was in line for"),
            Step::Done => GOROUTINE_OK,
            Step::Closed => GOROUTINE_EPIPE,
            Step::Handed(handed) => {
                // SAFETY: the lock was given back.
                unsafe { hand(handed, self.protocol.bytes()) };
                GOROUTINE_OK
            }
        }
    }

    /// `goroutine_channel_close`.
    pub fn close(&self) -> GoroutineStatus {
        sanitize::released(self);
        sanitize::released(sanitize::back(self));
        let Some(lines) = self.protocol.close() else {
            return GOROUTINE_EALREADY;
        };
        let mut ready = ReadyList::new();
        for mut line in lines {
            // SAFETY: claimed, so ours until they are woken.
            unsafe {
                while let Some((waiter, claimed)) = next_claimed(&mut line) {
                    let offer = (*waiter).what;
                    if !offer.chosen.is_null() {
                        *offer.chosen = offer.index;
                    }
                    wake(claimed, GOROUTINE_EPIPE, |g| ready.push(g));
                }
            }
        }
        queue(ready);
        GOROUTINE_OK
    }
}

/// The join step of a send or a receive: under the lock what has become possible, or in line.
#[derive(Clone, Copy)]
struct InLine<'a, const SENDS: bool> {
    channel: &'a Channel,
    line: *mut ChannelWaiter,
    /// Beside it.
    result: *mut StepHere,
}

impl<const SENDS: bool> wait::Join for InLine<'_, SENDS> {
    #[inline(always)]
    unsafe fn join(self, party: Party) -> bool {
        // SAFETY: the caller's promise; the waiter and what is beside it are left alone once it is in line.
        unsafe {
            (*self.line).party = party;
            let step = self.channel.protocol.step_or_join(SENDS, self.line);
            let waits = matches!(step, Step::NotYet);
            if !waits {
                *self.result = step;
            }
            waits
        }
    }
}

/// An empty place in a line, for a select.
pub(super) fn in_line(place: Bytes, chosen: *mut usize, index: usize) -> ChannelWaiter {
    Waiter::new(Offer { place, chosen, index })
}
