//! A question to one thread, which answers in a signal handler, perhaps late, perhaps never: the asker waits a bounded time.
//!
//! ```text
//!   the asker, one at a time                          the thread that is asked, in its handler
//!   Q1  BUSY ? gives up : ASKED of that thread        A1  ASKED of me -> BUSY, or it goes (a change in one step)
//!   Q2  sends the signal                              A2  ... writes the answer ...
//!   Q3  waits for DONE                                A3  DONE                                   (Release)
//!   Q4  late: ASKED -> IDLE (in one step)
//!   Q5  DONE: reads the answer, then IDLE
//! ```
//!
//! | state | written by | the answer's memory is |
//! |---|---|---|
//! | IDLE | the asker (Q4, Q5) | the asker's |
//! | ASKED of a thread | the asker (Q1) | nobody's |
//! | BUSY | the handler (A1) | the handler's |
//! | DONE | the handler (A3) | the asker's |
//!
//! I1. Only a change in one step leads out of ASKED: the question is withdrawn (Q4), or taken (A1). A handler that comes too late finds no question,
//!     or another thread's, and touches nothing. If it finds a later question to its own thread, it answers that one: what it tells is what its
//!     thread does at that time, whichever signal called it.
//! I2. Out of BUSY leads A3 alone, however late: an asker that has no patience for it leaves BUSY behind, and as long as it stays nobody asks
//!     (Q1). DONE that is left behind is as good as IDLE: who left it is through with the answer.
//! I3. Who has the memory next has seen all of the last one's accesses: A1 acquires Q1 (Release), which comes after Q5 of the asker, or
//!     of one before it (their lock), and after the acquire of a DONE that was left behind. Q5 acquires A3.

use super::{AtomicU64, Guarded, Ordering, mutated};

/// ASKED has the thread's number above NUMBER_SHIFT.
const IDLE: u64 = 0;
const ASKED: u64 = 1;
const BUSY: u64 = 2;
const DONE: u64 = 3;
const NUMBER_SHIFT: u32 = 2;

fn asked(id: u32) -> u64 {
    u64::from(id) << NUMBER_SHIFT | ASKED
}

/// What the asker thinks, time and again, until there is an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// It waits.
    Waits,
    /// Not for a question that nobody has taken.
    ForABeginning,
    /// Not even for an answer that is being written.
    Over,
}

/// How asking went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome<R> {
    /// It answered.
    Answered(R),
    /// It did not in time.
    Silent,
    /// There was nobody to send the signal to.
    Gone,
}

/// See the module's head.
pub struct Question<T> {
    state: AtomicU64,
    answer: Guarded<T>,
}

// SAFETY: by I1 and I3 the answer is one thread's at a time.
unsafe impl<T: Send> Sync for Question<T> {}

impl<T> Question<T> {
    /// Nobody asks. `answer`: room for one.
    #[cfg(not(loom))]
    pub const fn new(answer: T) -> Self {
        Self {
            state: AtomicU64::new(IDLE),
            answer: Guarded::new(answer),
        }
    }
    /// Nobody asks. `answer`: room for one.
    #[cfg(loom)]
    pub fn new(answer: T) -> Self {
        Self {
            state: AtomicU64::new(IDLE),
            answer: Guarded::new(answer),
        }
    }

    /// Asks thread `id`. `send` sends it the signal (false: there is no such thread), `patience` is called between looks, and may sleep, and
    /// `read` is shown the answer.
    ///
    /// # Safety
    /// One asks at a time.
    pub unsafe fn ask<R>(
        &self,
        id: u32,
        send: impl FnOnce() -> bool,
        mut patience: impl FnMut() -> Patience,
        read: impl FnOnce(&T) -> R,
    ) -> Outcome<R> {
        let left_behind = if mutated!("question_left_behind_relaxed") {
            Ordering::Relaxed
        } else {
            Ordering::Acquire // partner: A3 in answer
        };
        if self.state.load(left_behind) == BUSY && !mutated!("question_put_while_busy") {
            return Outcome::Silent; // I2
        }
        let put = if mutated!("question_put_relaxed") {
            Ordering::Relaxed
        } else {
            Ordering::Release // partner: A1 in answer
        };
        self.state.store(asked(id), put);
        let sent = send();
        loop {
            let done = if mutated!("question_done_relaxed") {
                Ordering::Relaxed
            } else {
                Ordering::Acquire // partner: A3 in answer
            };
            if self.state.load(done) == DONE {
                break;
            }
            let patience = patience();
            if !sent || patience != Patience::Waits {
                match self.withdraw(id) {
                    Ok(()) if !sent => return Outcome::Gone,
                    Ok(()) => return Outcome::Silent,
                    Err(DONE) => break,
                    Err(_) if patience == Patience::Over => return Outcome::Silent,
                    Err(_) => {}
                }
            }
        }
        // SAFETY: DONE: it is the asker's.
        let read = unsafe { self.answer.with(|answer| read(answer)) };
        self.state.store(IDLE, Ordering::Relaxed); // who asks next is the next asker, by their lock
        Outcome::Answered(read)
    }

    /// Q4. Err: the state; it was taken.
    fn withdraw(&self, id: u32) -> Result<(), u64> {
        if mutated!("question_withdrawn_by_force") {
            self.state.store(IDLE, Ordering::Release);
            return Ok(());
        }
        (self.state)
            .compare_exchange(asked(id), IDLE, Ordering::Relaxed, Ordering::Acquire)
            .map(|_| ())
    }

    /// The handler's, on thread `me`: `write`s the answer if this thread is asked. Async-signal-safe if `write` is. Whether it did.
    #[inline]
    pub fn answer(&self, me: u32, write: impl FnOnce(&mut T)) -> bool {
        let mut question = asked(me);
        if mutated!("question_of_anybody") {
            let other = self.state.load(Ordering::Relaxed);
            if other & !(u64::MAX << NUMBER_SHIFT) == ASKED {
                question = other;
            }
        }
        // Acquire: partner: Q1 in ask.
        let taken = (self.state).compare_exchange(question, BUSY, Ordering::Acquire, Ordering::Relaxed);
        if taken.is_err() {
            return false;
        }
        // SAFETY: BUSY: it is ours.
        unsafe { self.answer.with(write) };
        let done = if mutated!("question_answer_relaxed") {
            Ordering::Relaxed
        } else {
            Ordering::Release // partner: the looks of ask
        };
        self.state.store(DONE, done);
        true
    }

    /// In a child of fork: who was asked is not here.
    pub fn forget(&self) {
        self.state.store(IDLE, Ordering::Relaxed);
    }
}
