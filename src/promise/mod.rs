//! Promises: a value that somebody settles once and anybody awaits. 64 bytes, reference counted.
//!
//! The protocol is in `cell`; this file is the object around it, `pool` its memory. Nothing here knows the scheduler:
//! settling hands up a `ReadyList`, and operations (combinators) whose turn has come.

pub mod cell;
#[cfg(not(loom))]
mod object;
#[cfg(not(loom))]
pub mod pool;

#[cfg(not(loom))]
pub use object::*;
