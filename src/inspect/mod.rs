//! Looking at goroutines from outside, while they go on: dumps, and what unregistering code waits for.
//!
//! | file | what |
//! |---|---|
//! | `stopped` | a parked goroutine, copied |
//! | `live` | whether any frame lies in a range of code |

pub mod live;
mod stopped;

pub use stopped::{Registers, Seen, Stopped};
