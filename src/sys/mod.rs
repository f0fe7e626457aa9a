//! Every call into the operating system.

pub mod clock;
pub mod cpu;
pub mod exit;
pub mod futex;
pub mod library;
pub mod mem;
pub mod membarrier;
pub mod mutex;
pub mod report;
pub mod signal;
pub mod socket;
pub mod time;
