//! Foreign code that is loaded and called away from whoever asks: on threads of the pool, in their native stacks.
//!
//! | file | what |
//! |---|---|
//! | `jobs` | loads, one at a time, and calls from event loops, as jobs of `sched::jobs` |
//! | `load` | loading libraries without letting them change the host's signal handlers |
//! | `error` | what the loader said, per goroutine and thread |

#[cfg(not(loom))]
pub mod error;
#[cfg(not(loom))]
pub mod jobs;
#[cfg(not(loom))]
pub mod load;
