//! Models of the protocols between threads, at tiny capacities, over the files that ship. `make loom` runs them, and
//! tools/loom_mutations.sh runs them against each named mutation and expects a failure.
//!
//! A file per room; here is what they share.

mod bias;
mod channel;
mod claim;
mod condition;
mod ffi;
mod goroutine;
mod group;
mod hazard;
mod io_file;
mod level;
mod mutex;
mod netpoll;
mod promise;
mod published;
mod question;
mod sched;
mod threads;
mod timer;
mod trace;
mod wait;
mod world;

use crate::goroutine::park::{ParkWord, Ready};
use crate::sync::Guarded;
use crate::wait::{Sleeper, Waiter};

fn model(f: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(f);
}

/// One who waits, in a model: a park word.
#[derive(Clone, Copy)]
struct Parked {
    word: *const ParkWord,
    sequence: u64,
}

impl Sleeper for Parked {
    const NOBODY: Self = Self {
        word: std::ptr::null(),
        sequence: 0,
    };
    fn claim(self) -> Ready {
        // SAFETY: the model keeps the word.
        unsafe { (*self.word).ready(self.sequence) }
    }
}

/// What a goroutine that waits has, in a model. Boxed, and leaked by none: `Seat::free`.
struct Seat<T> {
    word: ParkWord,
    value: Guarded<u32>,
    chosen: Guarded<usize>,
    waiter: Waiter<Parked, T>,
}

/// Sent between a model's threads.
struct Shared<T>(*mut T);

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Shared<T> {}
// SAFETY: the models share what the protocols share; loom checks what it can see.
unsafe impl<T> Send for Shared<T> {}
impl<T> Shared<T> {
    fn get(self) -> *mut T {
        self.0
    }
}

fn seat<T>(what: T, value: u32) -> Shared<Seat<T>> {
    let seat = Box::into_raw(Box::new(Seat {
        word: ParkWord::new(),
        value: Guarded::new(value),
        chosen: Guarded::new(usize::MAX),
        waiter: Waiter::new(what),
    }));
    // SAFETY: fresh.
    unsafe {
        (*seat).waiter.party = Parked {
            word: &raw const (*seat).word,
            sequence: 1,
        };
        (*seat).word.wait(1);
    }
    Shared(seat)
}

/// The end of a model.
unsafe fn free<T>(seat: Shared<Seat<T>>) {
    // SAFETY: nobody has it any more.
    drop(unsafe { Box::from_raw(seat.get()) });
}
