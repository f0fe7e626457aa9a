//! The scheduler: who runs, where, and when nobody does. docs/scheduler.md argues why it is right.
//!
//! | file | what |
//! |---|---|
//! | `run_queue` | a worker's private queue and the gate around it (model-checked) |
//! | `idle` | who sleeps, who spins, who wakes whom (model-checked) |
//! | `turnstile` | plain threads coming in while a shutdown wants them out (model-checked) |
//! | `ledger` | who has which thread: the accounts of the pool (model-checked) |
//! | `pool` | the threads: what each does next, how a worker changes threads |
//! | `crew` | how many threads of the pool serve a queue of jobs (model-checked) |
//! | `jobs` | queues of jobs, and the threads of the pool that serve them |
//! | `bind` | goroutines that own their thread |
//! | `predict` | whose goroutines bind: threads made ahead |
//! | `pin` | on which CPUs threads for foreign calls run |
//! | `blocking` | blocking calls |
//! | `budget` | calls that need not wait: when they give way |
//! | `exhausted` | reports when all threads are taken |
//! | `worker` | the worker and what belongs to it |
//! | `search` | where a worker looks for work, and how it goes to sleep |
//! | `share` | making surplus visible |
//! | `level` | long queues and short ones, while nobody is idle |
//! | `order` | one worker is told to take from another (model-checked) |
//! | `turn` | the functions the assembly calls between two goroutines |
//! | `native` | C under a goroutine: native stacks, callbacks, jumps over C frames |
//! | `attach` | threads that the library did not make, and that call language code |
//! | `overflow` | what a `stack_overflow` callback ends in |
//! | `park` | how a goroutine waits, and how it is readied |
//! | `net` | who holds the poller (model-checked) |
//! | `poll` | who waits for edges of descriptors |
//! | `spawn` | how a goroutine starts |
//! | `tracing` | traces of what all of these do |
//! | `timers` | arming and stopping timers |
//! | `expire` | due timers become runnable goroutines |
//! | `cancel` | stopping goroutines from outside |
//! | `config` | what a start is told |
//! | `monitor` | the thread that watches the workers |
//! | `since` | how long parks and turns last |
//! | `preempt` | whose slice is over |
//! | `world_word` | who runs, and who waits, while the world is stopped (model-checked) |
//! | `world` | stopping the world |
//! | `roots` | what a collector is shown of a stopped world |
//! | `runtime` | start, wait, shutdown |

pub mod crew;
pub mod idle;
pub mod ledger;
pub mod net;
pub mod order;
pub mod run_queue;
pub mod turnstile;
pub mod world_word;

#[cfg(not(loom))]
pub mod attach;
#[cfg(not(loom))]
pub mod bind;
#[cfg(not(loom))]
pub mod blocking;
#[cfg(not(loom))]
pub mod budget;
#[cfg(not(loom))]
pub mod cancel;
#[cfg(not(loom))]
pub mod config;
#[cfg(not(loom))]
mod exhausted;
#[cfg(not(loom))]
mod expire;
#[cfg(not(loom))]
pub mod jobs;
#[cfg(not(loom))]
mod level;
#[cfg(not(loom))]
mod monitor;
#[cfg(not(loom))]
pub mod native;
#[cfg(not(loom))]
pub mod overflow;
#[cfg(not(loom))]
pub mod park;
#[cfg(not(loom))]
mod pin;
#[cfg(not(loom))]
pub mod poll;
#[cfg(not(loom))]
pub mod pool;
#[cfg(not(loom))]
mod predict;
#[cfg(not(loom))]
pub mod preempt;
#[cfg(not(loom))]
pub mod registers;
#[cfg(not(loom))]
pub mod roots;
#[cfg(not(loom))]
pub mod runtime;
#[cfg(not(loom))]
mod search;
#[cfg(not(loom))]
mod share;
#[cfg(not(loom))]
mod since;
#[cfg(not(loom))]
pub mod spawn;
#[cfg(not(loom))]
pub mod timers;
#[cfg(not(loom))]
pub mod tracing;
#[cfg(not(loom))]
mod turn;
#[cfg(not(loom))]
pub mod worker;
#[cfg(not(loom))]
pub mod world;

#[cfg(not(loom))]
pub use runtime::Runtime;
#[cfg(not(loom))]
pub use turn::{
    on_exception_at_base, on_exceptions_sanitized, on_exit, on_finish, on_safepoint_full, on_yield, safepoint,
};
#[cfg(not(loom))]
pub use worker::{TURNS, Worker};
