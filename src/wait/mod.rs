//! Waiting in line: the queues that mutexes, channels and their like have, and who stands in them.
//!
//! Nothing here parks or knows the scheduler: whoever grants something gets back whom to wake, and hands it up.
//!
//! | file | what |
//! |---|---|
//! | `queue` | first come, first served, and who has a grant that comes with a time-out or a cancel (model-checked) |
//! | `biased` | the lock around a queue, which is cheap for the one worker that uses it (model-checked) |
//! | `thread` | the word that a plain thread waits on (model-checked) |
//! | `party` | goroutines and plain threads as those who wait |
//! | `lock` | a lock that is handed on (model-checked) |
//! | `channel` | values from senders to receivers (model-checked) |
//! | `select` | in many lines of channels at once (model-checked) |
//! | `permits` | so many at a time: semaphores, readers and writers (model-checked) |
//! | `done` | until one thing that somebody else does is done (model-checked) |
//! | `count` | until a count is 0 (model-checked) |
//! | `condition` | until somebody says that something changed (model-checked) |
//! | `once` | a value that the first who asks makes (model-checked) |

pub mod biased;
pub mod channel;
pub mod condition;
pub mod count;
pub mod done;
pub mod lock;
pub mod once;
#[cfg(not(loom))]
mod party;
pub mod permits;
pub mod queue;
pub mod select;
pub mod thread;

#[cfg(not(loom))]
pub use party::{Party, wake};
pub use queue::{Claimed, Sleeper, WaitQueue, Waiter, next_claimed};
