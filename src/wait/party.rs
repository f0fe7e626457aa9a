//! Goroutines and plain threads as those who wait.

use super::queue::{Claimed, Sleeper};
use super::thread::ThreadWait;
use crate::abi::GoroutineStatus;
use crate::goroutine::Goroutine;
use crate::goroutine::park::Ready;
use crate::sys::futex;
use std::ptr::null_mut;

/// Who waits.
#[derive(Clone, Copy)]
pub enum Party {
    /// A parked goroutine, or one that is about to be.
    Goroutine {
        /// Whose control block.
        g: *mut Goroutine,
        /// The park.
        sequence: u64,
    },
    /// A plain thread.
    Thread(*const ThreadWait),
}

impl Sleeper for Party {
    const NOBODY: Self = Self::Goroutine {
        g: null_mut(),
        sequence: 0,
    };

    #[inline(always)]
    fn claim(self) -> Ready {
        // SAFETY: control blocks stay mapped; a thread's word lives while its waiter is linked (`queue`, I4).
        unsafe {
            match self {
                // One of before a fork will never wake.
                Self::Goroutine { g, sequence } if (*g).is_ours() => (*g).park.ready(sequence),
                Self::Thread(word) if (*word).claim() => Ready::Won,
                _ => Ready::Lost,
            }
        }
    }
}

/// Ends a wait with `status`: a thread is woken, a goroutine passed to `queue` (or left to its thread, if that is about to look).
///
/// # Safety
/// The claim is the caller's, who has written what the one who waits shall find. No lock is held.
#[inline(always)]
pub unsafe fn wake(claimed: Claimed<Party>, status: GoroutineStatus, queue: impl FnOnce(*mut Goroutine)) {
    // SAFETY: the caller's promise; after `early_done` and `done` nothing of theirs is touched but an address.
    unsafe {
        match claimed.party {
            Party::Goroutine { g, sequence } => {
                (*g).wake_status = status;
                if claimed.early {
                    (*g).park.early_done(sequence);
                } else {
                    queue(g);
                }
            }
            Party::Thread(word) => {
                let address: *const _ = (*word).futex();
                (*word).done(status);
                futex::wake(address, 1);
            }
        }
    }
}
