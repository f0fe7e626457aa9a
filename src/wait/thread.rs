//! The word that a plain thread waits on. It lies on the thread's stack.
//!
//! | state | who changes it |
//! |---|---|
//! | WAITING | whoever wins: a granter to CLAIMED (or at once to DONE), the thread itself, when its time is over, to GONE |
//! | CLAIMED | the granter to DONE, when it wrote what there is to write |
//! | DONE, GONE | nobody |
//!
//! I1. The CAS away from WAITING is the one that decides a wait (`queue`, I2).
//! I2. DONE is the granter's last store (Release): the thread that sees it (Acquire) may leave with its stack. The kernel is told
//!     afterwards, and uses the address only.

use crate::sync::{AtomicU32, Guarded, Ordering, mutated};

/// The value that a thread sleeps on.
pub const WAITING: u32 = 0;
const DONE: u32 = 1;
const CLAIMED: u32 = 2;
const GONE: u32 = 3;

/// See the module's head.
pub struct ThreadWait {
    word: AtomicU32,
    status: Guarded<i32>,
}

impl ThreadWait {
    /// Of a thread that is about to wait.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self {
            word: AtomicU32::new(WAITING),
            status: Guarded::new(0),
        }
    }

    /// A granter's.
    #[inline]
    #[must_use]
    pub fn claim(&self) -> bool {
        self.word
            .compare_exchange(WAITING, CLAIMED, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// The granter's last step; then the kernel is told.
    #[inline]
    pub fn done(&self, status: i32) {
        // SAFETY: claimed: ours until DONE.
        unsafe { self.status.with(|s| *s = status) };
        self.word.store(DONE, Ordering::Release); // partner: is_done
    }

    /// The thread's: what it was woken with.
    #[inline]
    pub fn result(&self) -> Option<i32> {
        // SAFETY: DONE: nobody writes any more (I2).
        (self.word.load(Ordering::Acquire) == DONE).then(|| unsafe { self.status.with(|s| *s) })
    }

    /// The thread's: its time is over. False: somebody claimed it, and is about to say so.
    #[must_use]
    pub fn give_up(&self) -> bool {
        if mutated!("thread_gives_up_without_cas") {
            let waiting = self.word.load(Ordering::Relaxed) == WAITING;
            self.word.store(GONE, Ordering::Relaxed);
            return waiting;
        }
        self.word
            .compare_exchange(WAITING, GONE, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// Somebody decided the wait, and is about to say how.
    pub fn is_claimed(&self) -> bool {
        self.word.load(Ordering::Acquire) == CLAIMED
    }

    /// What the kernel looks at.
    pub fn futex(&self) -> &AtomicU32 {
        &self.word
    }
}
