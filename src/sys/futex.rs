//! Sleeping on a word.

use super::time;
use std::sync::atomic::AtomicU32;

/// Sleeps while `word` holds `expected`, until a wake or `deadline_ns` (CLOCK_MONOTONIC; `u64::MAX`: none).
/// May return early for no reason.
pub fn wait(word: &AtomicU32, expected: u32, deadline_ns: u64) {
    let t = time::timespec(deadline_ns);
    let timeout = if deadline_ns == u64::MAX {
        std::ptr::null()
    } else {
        &t as *const _
    };
    // SAFETY: the word outlives the call; FUTEX_WAIT_BITSET takes an absolute monotonic time.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT_BITSET | libc::FUTEX_PRIVATE_FLAG,
            expected,
            timeout,
            std::ptr::null::<u32>(),
            u32::MAX,
        );
    }
}

/// Wakes at most `count` sleepers. The word may be gone already: the kernel uses only its address.
#[allow(clippy::not_unsafe_ptr_arg_deref)] // it is not dereferenced
pub fn wake(word: *const AtomicU32, count: i32) {
    // SAFETY: FUTEX_WAKE does not read the word.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word,
            libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
            count,
        )
    };
}
