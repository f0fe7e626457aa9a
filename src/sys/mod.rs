//! Every call into the operating system, errno mapped once.

pub mod clock;
pub mod cpu;
pub mod futex;
pub mod mem;
pub mod membarrier;
pub mod report;
pub mod time;

/// The calling thread's errno.
pub fn errno() -> i32 {
    // SAFETY: glibc and musl give a valid address for the calling thread.
    unsafe { *libc::__errno_location() }
}
