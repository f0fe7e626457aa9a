//! Looking at goroutines from outside, while they go on: dumps, and what unregistering code waits for.
//!
//! | file | what |
//! |---|---|
//! | `stopped` | a parked goroutine, copied |
//! | `asked` | a running one, on request |
//! | `unwind` | their frames |
//! | `dump` | all of them, as text |
//! | `quit` | a dump at SIGQUIT |
//! | `layout` | for debuggers, which look by themselves |
//! | `deadlock` | who waits for each other |
//! | `live` | whether any frame lies in a range of code |

pub mod asked;
pub mod deadlock;
pub mod dump;
pub mod layout;
pub mod live;
pub mod quit;
mod stopped;
pub mod unwind;
