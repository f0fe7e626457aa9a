//! Flags of the synchronization objects.

/// `goroutine_mutex_new`: its owner may lock it again, and unlocks it as often.
pub const GOROUTINE_MUTEX_RECURSIVE: u32 = 1;
