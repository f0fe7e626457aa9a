//! Names of hosts and services, while the thread runs other goroutines.

use crate::abi::*;
use crate::ops::resolve;
use core::ffi::c_char;
use libc::addrinfo;

/// Looks up a host and a service, as getaddrinfo(3), on one of up to 64 threads of the library that are there for this alone. It works
/// on copies of what it is given: after a time-out or a cancel the caller is free, and what comes too late is freed. A look-up that has begun keeps
/// its thread until glibc gives up; its patience with name servers that do not answer is cut to what is left of the time-out, in whole seconds, at
/// least one per server. goroutine_runtime_shutdown waits for it, whether anybody else does or not.
/// Context:   T, G. On a plain thread it blocks the thread; with GOROUTINE_FOREVER it is getaddrinfo, else it starts the runtime as a spawn does.
/// Parks:     the goroutine, not its thread. It may resume on another thread.
/// Ownership: borrows `node`, `service` and `hints`. The list is the caller's, who frees it with freeaddrinfo.
/// Output:    `*result`, if 0 is returned.
/// Returns:   0; a negative EAI_ code, for gai_strerror (EAI_AGAIN also when 65,536 look-ups wait; after EAI_SYSTEM errno says more); or
///            GOROUTINE_ETIMEDOUT (a time-out of 0: at once), GOROUTINE_ECANCELED, GOROUTINE_ESHUTDOWN, GOROUTINE_EINVAL (`result` NULL), which are none
///            of them.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as getaddrinfo wants them; `result` may be NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_getaddrinfo(
    node: *const c_char,
    service: *const c_char,
    hints: *const addrinfo,
    result: *mut *mut addrinfo,
    timeout_ns: u64,
) -> i64 {
    realign!(inner::getaddrinfo)
}

mod inner {
    use super::*;

    pub unsafe extern "C" fn getaddrinfo(
        node: *const c_char,
        service: *const c_char,
        hints: *const addrinfo,
        result: *mut *mut addrinfo,
        timeout_ns: u64,
    ) -> i64 {
        // SAFETY: the caller's promise.
        unsafe {
            result.as_mut().map_or(i64::from(GOROUTINE_EINVAL), |list| {
                resolve::resolve(node, service, hints, list, timeout_ns)
            })
        }
    }
}
