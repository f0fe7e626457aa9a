//! Foreign code that is loaded and called away from whoever asks: on threads of the pool, in their native stacks.
//!
//! | file | what |
//! |---|---|
//! | `crew` | how many threads of the pool serve a queue of jobs (model-checked) |
//! | `jobs` | the queues of jobs: loads, one at a time, and calls from event loops |
//! | `load` | loading libraries without letting them change the host's signal handlers |
//! | `error` | what the loader said, per goroutine and thread |

pub mod crew;
#[cfg(not(loom))]
pub mod error;
#[cfg(not(loom))]
pub mod jobs;
#[cfg(not(loom))]
pub mod load;
