//! The blocking verbs and what is made of them. They call `sched::park`; the C interface calls them.

pub mod async_op;
pub mod channel;
pub mod combinator;
pub mod condition;
pub mod ffi;
pub mod file;
pub mod group;
pub mod io;
pub mod lane;
mod listed;
pub mod local;
pub mod main;
pub mod mutex;
mod object;
pub mod once;
pub mod promise;
pub mod resolve;
pub mod roots;
pub mod rwlock;
pub mod select;
pub mod semaphore;
pub mod sleep;
mod wait;
pub mod wait_group;
pub mod world;

use crate::goroutine::Goroutine;

/// # Safety
/// Nobody will call anything here any more.
pub unsafe fn free_all() {
    use std::mem::take;
    // SAFETY: the caller's promise: no lock is held.
    unsafe {
        local::free_all();
        io::forget_all();
    }
    drop(take(&mut *async_op::table().lock()));
    drop(take(&mut *io::threads().lock()));
    drop(take(&mut *mutex::all().lock()));
}

/// A goroutine is over: what it holds goes to others, what it kept is dropped.
///
/// # Safety
/// `g` is over and the caller's, and has its id still. No lock is held.
#[inline(always)]
pub unsafe fn leave_behind(g: *mut Goroutine) {
    // SAFETY: the caller's promise.
    unsafe {
        if (*g).held != 0 {
            mutex::orphan_all(g);
        }
        if (*g).locals != 0 {
            local::drop_all(g);
        }
        (*g).cancel_disabled = 0;
    }
}
