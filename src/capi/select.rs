//! Select: the first of many sends, receives and promises.

use crate::abi::*;
use crate::ops::select;

/// Waits until one of `n` cases is possible, and does it: that one alone. If several are, each is as likely to be chosen. A case whose object
/// is NULL never is. A closed channel is, with the status GOROUTINE_EPIPE. A time-out of 0 is what other languages write as the default case.
/// Context:   T, G. On a plain thread it blocks the thread.
/// Parks:     the goroutine, not its thread. It may resume on another thread.
/// Stack:     up to 1.5 KiB; for over 8 cases it allocates meanwhile.
/// Ownership: borrows `cases` and their objects.
/// Output:    on GOROUTINE_OK: `*chosen`, and of that case `status`: GOROUTINE_OK, GOROUTINE_EPIPE, or how the promise was settled (with
/// GOROUTINE_OK and GOROUTINE_EREJECTED `*(void **)value` is its value, unless `value` is NULL); a received value at `value`.
/// Returns:   GOROUTINE_OK: a case was chosen. None was: GOROUTINE_EAGAIN, GOROUTINE_ETIMEDOUT, GOROUTINE_ECANCELED, GOROUTINE_ENOMEM,
/// GOROUTINE_EINVAL (NULL, an unknown `op`, nothing to send).
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_select(
    cases: *mut GoroutineSelectCase,
    n: usize,
    timeout_ns: u64,
    chosen: *mut usize,
) -> GoroutineStatus {
    realign!(inner::select)
}

mod inner {
    use super::*;

    pub unsafe extern "C" fn select(
        cases: *mut GoroutineSelectCase,
        n: usize,
        timeout_ns: u64,
        chosen: *mut usize,
    ) -> GoroutineStatus {
        if chosen.is_null() || (cases.is_null() && n != 0) || n > isize::MAX as usize / 24 {
            return GOROUTINE_EINVAL;
        }
        let cases = if n == 0 {
            core::ptr::NonNull::dangling().as_ptr()
        } else {
            cases
        };
        // SAFETY: the caller's promise.
        unsafe {
            match select::select(core::slice::from_raw_parts_mut(cases, n), timeout_ns) {
                Ok(index) => {
                    *chosen = index;
                    GOROUTINE_OK
                }
                Err(status) => status,
            }
        }
    }
}
