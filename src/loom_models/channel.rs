//! Channels, and selects over them.

use super::{Parked, Seat, Shared, free, model, seat};
use crate::goroutine::park::{ParkWord, Ready};
use crate::sync::Guarded;
use crate::wait::channel::{Channel, Offer, Place, Step};
use crate::wait::select::Joined;
use crate::wait::{self, next_claimed};
use loom::sync::Arc;
use loom::thread;

/// A value, in a model: loom sees who touches it.
#[derive(Clone, Copy)]
struct Slot(*const Guarded<u32>);

impl Place for Slot {
    unsafe fn slot(self, index: usize, _: usize) -> Self {
        Self(self.0.wrapping_add(index))
    }
    unsafe fn copy(from: Self, to: Self, _: usize) {
        // SAFETY: the protocol says that both are ours; loom checks.
        unsafe {
            let value = (*from.0).with(|v| *v);
            (*to.0).with(|v| *v = value);
        }
    }
}

type ModelChannel = Channel<Parked, Slot>;
type ModelSeat = Shared<Seat<Offer<Slot>>>;

fn channel_seat(value: u32, index: usize) -> ModelSeat {
    let seat = seat(
        Offer {
            place: Slot(std::ptr::null()),
            chosen: std::ptr::null_mut(),
            index,
        },
        value,
    );
    // SAFETY: fresh.
    unsafe { (*seat.get()).waiter.what.place = Slot(&raw const (*seat.get()).value) };
    seat
}

fn channel_of(capacity: usize) -> (Arc<ModelChannel>, Arc<Vec<Guarded<u32>>>) {
    let ring: Arc<Vec<Guarded<u32>>> = Arc::new((0..capacity).map(|_| Guarded::new(0)).collect());
    (
        Arc::new(ModelChannel::new(4, capacity, Slot(ring.as_ptr()))),
        ring,
    )
}

/// How a send or a receive of a model went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Went {
    Through,
    Closed,
    InLine,
}

/// The join step of `ops::channel`.
unsafe fn one_step(channel: &ModelChannel, sends: bool, seat: ModelSeat) -> Went {
    // SAFETY: the caller keeps the seat.
    unsafe {
        let step = channel.step_or_join(sends, &raw mut (*seat.get()).waiter);
        match step {
            Step::NotYet => Went::InLine,
            Step::Closed => Went::Closed,
            Step::Done => Went::Through,
            Step::Handed(handed) => {
                let claimed = handed.finish(4);
                assert!(!claimed.early);
                Went::Through
            }
        }
    }
}

/// Somebody sends or receives, the other one comes while the channel is closed: the value comes once, or its sender is told that it does not.
#[test]
fn loom_channel_send_receive_close() {
    for (capacity, sender_first) in [(0, false), (0, true), (1, false), (1, true)] {
        model(move || {
            let (channel, ring) = channel_of(capacity);
            let (sender, receiver) = (channel_seat(7, 0), channel_seat(0, 0));
            let (first, second) = if sender_first {
                (sender, receiver)
            } else {
                (receiver, sender)
            };
            // SAFETY: the seats live until the end, here and below.
            let first_went = unsafe { one_step(&channel, sender_first, first) };
            let closing = {
                let channel = channel.clone();
                thread::spawn(move || {
                    let mut told = Vec::new();
                    for mut line in channel.close().expect("nobody else closes it") {
                        while let Some((waiter, _)) = unsafe { next_claimed(&mut line) } {
                            told.push(waiter as usize);
                        }
                    }
                    told
                })
            };
            let second_went = unsafe { one_step(&channel, !sender_first, second) };
            let told = closing.join().unwrap();
            let failed = |went, seat: ModelSeat| {
                went == Went::Closed || told.contains(&(unsafe { &raw mut (*seat.get()).waiter } as usize))
            };
            let (first_failed, second_failed) = (failed(first_went, first), failed(second_went, second));
            let (sent, received) = if sender_first {
                (!first_failed, !second_failed)
            } else {
                (!second_failed, !first_failed)
            };
            assert!(channel.is_idle(), "somebody waits on a closed channel");
            let value = unsafe { (*receiver.get()).value.with(|v| *v) };
            assert_eq!(sent, received);
            assert_eq!(value, if received { 7 } else { 0 });
            unsafe {
                free(sender);
                free(receiver);
            }
            drop(ring);
        });
    }
}

/// A receiver gives up while somebody sends: the value is with the one of them that says so.
#[test]
fn loom_channel_grant_or_time_out() {
    model(|| {
        let (channel, ring) = channel_of(0);
        let (sender, receiver) = (channel_seat(7, 0), channel_seat(0, 0));
        // SAFETY: the seats live until the end, here and below.
        unsafe { assert_eq!(one_step(&channel, false, receiver), Went::InLine) };
        let timer = {
            let channel = channel.clone();
            thread::spawn(move || unsafe {
                let gave_up = (*receiver.get()).word.ready(1) == Ready::Won;
                if gave_up {
                    // It goes on, and does with its place what it likes.
                    channel.leave(&raw mut (*receiver.get()).waiter, false);
                    (*receiver.get()).value.with(|v| *v = 1);
                }
                gave_up
            })
        };
        let sent = unsafe { one_step(&channel, true, sender) };
        let gave_up = timer.join().unwrap();
        assert_eq!(gave_up, sent == Went::InLine);
        let value = unsafe { (*receiver.get()).value.with(|v| *v) };
        assert_eq!(value, if gave_up { 1 } else { 7 });
        unsafe {
            channel.leave(&raw mut (*sender.get()).waiter, true);
            free(sender);
            free(receiver);
        }
        drop(ring);
    });
}

/// A select over two channels: sends on one, receives on the other.
struct ModelSelect {
    sends: ModelSeat,
    receives: ModelSeat,
    word: ParkWord,
    chosen: usize,
}

fn select_of(value: u32) -> Shared<ModelSelect> {
    let select = Box::into_raw(Box::new(ModelSelect {
        sends: channel_seat(value, 0),
        receives: channel_seat(0, 1),
        word: ParkWord::new(),
        chosen: usize::MAX,
    }));
    // SAFETY: fresh.
    unsafe {
        (*select).word.wait(1);
        for seat in [(*select).sends, (*select).receives] {
            (*seat.get()).waiter.party = Parked {
                word: &raw const (*select).word,
                sequence: 1,
            };
            (*seat.get()).waiter.what.chosen = &raw mut (*select).chosen;
        }
    }
    Shared(select)
}

/// Its join step. Gives the case that it did itself.
unsafe fn join_select(
    select: Shared<ModelSelect>,
    order: [&ModelChannel; 2],
    to: &ModelChannel,
    from: &ModelChannel,
) -> Option<usize> {
    // SAFETY: the caller keeps the select.
    unsafe {
        let select = select.get();
        let cases = [(to, true, (*select).sends), (from, false, (*select).receives)];
        let cases = cases
            .into_iter()
            .enumerate()
            .map(|(index, (channel, sends, seat))| wait::select::Case {
                index,
                channel,
                sends,
                place: Slot(&raw const (*seat.get()).value),
                waiter: &raw mut (*seat.get()).waiter,
            });
        match wait::select::join_all(order.into_iter(), cases, || true) {
            Joined::Done(index, step) => {
                if let Step::Handed(handed) = step {
                    let claimed = handed.finish(4);
                    assert!(!claimed.early);
                }
                Some(index)
            }
            Joined::Waits => None,
            Joined::Not => unreachable!(),
        }
    }
}

/// Two selects over the same two channels, from their two sides: they meet, in one case each, the same one.
#[test]
fn loom_select_from_two_sides() {
    model(|| {
        let (one, ring_one) = channel_of(0);
        let (two, ring_two) = channel_of(0);
        let (here, there) = (select_of(7), select_of(8));
        let other = {
            let (one, two) = (one.clone(), two.clone());
            // SAFETY: the selects live until the end, here and below.
            thread::spawn(move || unsafe { join_select(there, [&one, &two], &two, &one) })
        };
        unsafe {
            let mine = join_select(here, [&one, &two], &one, &two);
            let theirs = other.join().unwrap();
            assert!(
                mine.is_some() != theirs.is_some(),
                "one comes second, and does it: {mine:?} {theirs:?}"
            );
            let mine = mine.unwrap_or((*here.get()).chosen);
            let theirs = theirs.unwrap_or((*there.get()).chosen);
            assert_eq!(mine + theirs, 1, "one sends what the other receives");
            let received = |select: Shared<ModelSelect>| (*(*select.get()).receives.get()).value.with(|v| *v);
            assert_eq!(received(here), if mine == 1 { 8 } else { 0 });
            assert_eq!(received(there), if theirs == 1 { 7 } else { 0 });
            one.leave(&raw mut (*(*here.get()).sends.get()).waiter, true);
            two.leave(&raw mut (*(*here.get()).receives.get()).waiter, false);
            two.leave(&raw mut (*(*there.get()).sends.get()).waiter, true);
            one.leave(&raw mut (*(*there.get()).receives.get()).waiter, false);
            for select in [here, there] {
                free((*select.get()).sends);
                free((*select.get()).receives);
                drop(Box::from_raw(select.get()));
            }
        }
        drop((ring_one, ring_two));
    });
}

/// A channel is closed while somebody gets in line to send, and nobody receives: it is told.
#[test]
fn loom_channel_close_tells_senders() {
    model(|| {
        let (channel, ring) = channel_of(0);
        let sender = channel_seat(7, 0);
        let sending = {
            let channel = channel.clone();
            // SAFETY: the seat lives until the end.
            thread::spawn(move || unsafe { one_step(&channel, true, sender) })
        };
        let [receivers, mut senders] = channel.close().expect("nobody else closes it");
        assert!(receivers.is_null());
        // SAFETY: claimed for us.
        let told = unsafe { next_claimed(&mut senders).is_some() };
        let went = sending.join().unwrap();
        assert_eq!(told, went == Went::InLine, "it waits on a closed channel");
        assert!(told || went == Went::Closed);
        assert!(channel.is_idle());
        // SAFETY: as above.
        unsafe { free(sender) };
        drop(ring);
    });
}
