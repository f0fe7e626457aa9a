//! The part of a select that gets in every line at once.
//!
//! I1. All lines are looked at, and joined, with the locks of all channels held, in the order of their addresses. So two selects that look for
//!     each other meet: one of them comes second, and finds the other in every line that it is in.
//! I2. Nobody can claim the one who joins before it has joined every line; and what is possible is done before any is joined. So
//!     one case is done at most.

use super::channel::{Channel, ChannelWaiter, Place, Step};
use super::queue::Sleeper;
use crate::sync::mutated;

/// A send or a receive among others.
pub struct Case<P: Sleeper, T: Place> {
    /// Which of them.
    pub index: usize,
    /// Where.
    pub channel: *const Channel<P, T>,
    /// Or receives.
    pub sends: bool,
    /// The value, or a place for it.
    pub place: T,
    /// To join with; its party is set.
    pub waiter: *mut ChannelWaiter<P, T>,
}

/// What came of it.
#[must_use]
pub enum Joined<P, T> {
    /// That case was possible, and is done; no line was joined.
    Done(usize, Step<P, T>),
    /// In every line.
    Waits,
    /// `other_lines` said that there is no need to wait.
    Not,
}

/// Does the first case that is possible, or joins every line. `order`: each channel once, by address. `other_lines` is called in between: it
/// joins what else is waited for, whose locks come after those of the channels.
///
/// # Safety
/// The cases' objects and waiters are alive, and what `order` and `cases` give is the same each time.
#[inline(always)]
pub unsafe fn join_all<'a, P: Sleeper + 'a, T: Place + 'a>(
    order: impl Iterator<Item = &'a Channel<P, T>> + Clone,
    cases: impl Iterator<Item = Case<P, T>> + Clone,
    other_lines: impl FnOnce() -> bool,
) -> Joined<P, T> {
    let at_once = !mutated!("select_joins_one_by_one");
    order.clone().filter(|_| at_once).for_each(Channel::lock);
    // SAFETY: the caller's promise; we hold the locks.
    unsafe {
        let done = look(cases.clone(), at_once);
        let done_one = done.is_some();
        let joined = if let Some((index, step)) = done {
            Joined::Done(index, step)
        } else if !other_lines() {
            Joined::Not
        } else {
            for case in cases {
                if !at_once {
                    (*case.channel).lock();
                }
                if case.sends {
                    (*case.channel).join_senders(case.waiter);
                } else {
                    (*case.channel).join_receivers(case.waiter);
                }
                if !at_once {
                    (*case.channel).unlock();
                }
            }
            Joined::Waits
        };
        for channel in order.filter(|_| at_once) {
            if done_one {
                channel.unlock();
            } else {
                channel.unlock_joined();
            }
        }
        joined
    }
}

unsafe fn look<P: Sleeper, T: Place>(
    cases: impl Iterator<Item = Case<P, T>>,
    locked: bool,
) -> Option<(usize, Step<P, T>)> {
    // SAFETY: the caller's promise.
    unsafe {
        for case in cases {
            let channel = &*case.channel;
            if !locked {
                channel.lock();
            }
            let step = if !channel.is_possible(case.sends) {
                Step::NotYet
            } else if case.sends {
                channel.send(case.place)
            } else {
                channel.receive(case.place)
            };
            if !locked {
                channel.unlock();
            }
            if !matches!(step, Step::NotYet) {
                return Some((case.index, step));
            }
        }
        None
    }
}
