//! The blocking verbs and what is made of them. They call `sched::park`; the C interface calls them.

pub mod async_op;
pub mod channel;
pub mod combinator;
pub mod ffi;
pub mod lane;
pub mod main;
pub mod mutex;
mod object;
pub mod promise;
pub mod select;
pub mod sleep;
mod wait;
