//! Timers: a driver below the scheduler. It knows when something is due, and hands up what is; it readies nobody.

#[cfg(not(loom))]
pub mod slot;
pub mod state;
#[cfg(not(loom))]
mod wheel;

#[cfg(not(loom))]
pub use wheel::Wheel;

/// The wheel of threads that hold no worker.
pub const SHARED: u16 = u16::MAX;

/// `Fields::bucket` of a slot that is in no wheel any more.
pub const OUT: u16 = u16::MAX - 1;
