//! Stopping the world: one at a time, in turn. `sched::world` stops it.

use super::semaphore::{self, Semaphore};
use crate::abi::*;
use crate::sched::{runtime, world};
use crate::sys::{membarrier, time};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering};

/// One permit, the stopper's. Made by the first stop; never freed.
static TURN: AtomicPtr<Semaphore> = AtomicPtr::new(null_mut());

fn turn() -> Option<&'static Semaphore> {
    let turn = TURN.load(Ordering::Acquire);
    if !turn.is_null() {
        // SAFETY: never freed.
        return Some(unsafe { &*turn });
    }
    let new = semaphore::new(1);
    if new.is_null() {
        return None;
    }
    match TURN.compare_exchange(null_mut(), new, Ordering::AcqRel, Ordering::Acquire) {
        // SAFETY: never freed.
        Ok(_) => Some(unsafe { &*new }),
        Err(first) => {
            // SAFETY: ours, and nobody has seen it; the other one is never freed.
            unsafe {
                semaphore::free(new);
                Some(&*first)
            }
        }
    }
}

/// `goroutine_world_stop`.
pub fn stop(timeout_ns: u64) -> GoroutineStatus {
    if world::is_mine() {
        return GOROUTINE_EDEADLK;
    }
    let Some(turn) = turn() else {
        return GOROUTINE_ENOMEM;
    };
    let deadline = if timeout_ns == GOROUTINE_FOREVER {
        u64::MAX
    } else {
        time::deadline_after(timeout_ns)
    };
    let status = turn.acquire(1, timeout_ns);
    if status != GOROUTINE_OK {
        return status;
    }
    let stopped = match runtime::enter() {
        Some(inside) => world::stop(Some(&inside), deadline),
        None if !membarrier::register() => {
            turn.release(1); // no runtime has done it yet
            return GOROUTINE_ENOMEM;
        }
        None => world::stop(None, deadline),
    };
    if stopped {
        return GOROUTINE_OK;
    }
    turn.release(1);
    if timeout_ns == 0 {
        GOROUTINE_EAGAIN
    } else {
        GOROUTINE_ETIMEDOUT
    }
}

/// `goroutine_world_start`. Nothing happens if the caller has not stopped it.
pub fn start() {
    if !world::is_mine() {
        return;
    }
    world::start();
    if let Some(turn) = turn() {
        turn.release(1);
    }
}

/// In a child of fork: it is nobody's turn. (The old one may be locked by a ghost.)
pub fn forget_all() {
    TURN.store(null_mut(), Ordering::Release);
}
