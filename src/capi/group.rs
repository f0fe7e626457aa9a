//! Task groups: goroutines that are awaited and cancelled together.

use crate::abi::*;
use crate::ops::group::{self, GoroutineGroup};
use core::ffi::c_void;
use core::ptr::null_mut;

/// Makes a task group. With GOROUTINE_GROUP_CANCEL_ON_ERROR the first member that fails (ends with another status than GOROUTINE_OK)
/// cancels all others.
/// Context:   T, G.
/// Parks:     never.
/// Ownership: the caller passes it to goroutine_group_free.
/// Returns:   a group; NULL when out of memory, or a flag is unknown.
/// Since:     ABI 1.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub extern "C" fn goroutine_group_new(flags: u32) -> *mut GoroutineGroup {
    realign!(inner::new)
}

/// Spawns a goroutine that belongs to the group. What it returns is dropped; a failure is not reported as unhandled.
/// Context:   T, G.
/// Parks:     never.
/// Ownership: borrows `group` until the goroutine is over.
/// Returns:   GOROUTINE_OK, GOROUTINE_ECANCELED (the group was cancelled: it does not start), GOROUTINE_ENOMEM, GOROUTINE_ESHUTDOWN,
/// GOROUTINE_EINVAL (NULL).
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_group_spawn(
    group: *mut GoroutineGroup,
    f: GoroutineFn,
    arg: *mut c_void,
) -> GoroutineStatus {
    realign_with_site!(inner::spawn)
}

/// Waits until no member is left.
/// Context:   T, G. On a plain thread it blocks the thread.
/// Parks:     the goroutine, not its thread. It may resume on another thread.
/// Ownership: borrows `group`.
/// Output:    `*first_reason` (may be NULL): with GOROUTINE_EREJECTED, the reason.
/// Returns:   GOROUTINE_OK: all ended well. How the first that failed did: GOROUTINE_EREJECTED, or its own status. Of the caller: GOROUTINE_EAGAIN,
/// GOROUTINE_ETIMEDOUT, GOROUTINE_ECANCELED, GOROUTINE_ENOMEM, GOROUTINE_EINVAL (NULL). (A member may end with one of these, too:
/// goroutine_group_free gives GOROUTINE_EBUSY as long as members are left.) A member that waits for its own group waits for ever.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_group_wait(
    group: *mut GoroutineGroup,
    timeout_ns: u64,
    first_reason: *mut *mut c_void,
) -> GoroutineStatus {
    realign!(inner::wait)
}

/// goroutine_cancel of every member; no other starts.
/// Context:   T, G.
/// Parks:     never.
/// Ownership: borrows `group`.
/// Returns:   GOROUTINE_OK, GOROUTINE_EINVAL (NULL).
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_group_cancel(group: *mut GoroutineGroup) -> GoroutineStatus {
    realign!(inner::cancel)
}

/// Frees it.
/// Context:   T, G.
/// Parks:     never.
/// Ownership: consumes `group`.
/// Returns:   GOROUTINE_OK (also for NULL), GOROUTINE_EBUSY: a member runs, or somebody waits; nothing happened.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_group_free(group: *mut GoroutineGroup) -> GoroutineStatus {
    realign!(inner::free)
}

mod inner {
    use super::*;

    pub extern "C" fn new(flags: u32) -> *mut GoroutineGroup {
        if flags & !GOROUTINE_GROUP_CANCEL_ON_ERROR != 0 {
            return null_mut();
        }
        group::new(flags & GOROUTINE_GROUP_CANCEL_ON_ERROR != 0)
    }

    pub unsafe extern "C" fn spawn(
        group: *mut GoroutineGroup,
        f: GoroutineFn,
        arg: *mut c_void,
        site: u64,
    ) -> GoroutineStatus {
        // SAFETY: the caller's promise.
        unsafe {
            match (group.as_ref(), f) {
                (Some(group), Some(f)) => group.spawn(f, arg, site),
                _ => GOROUTINE_EINVAL,
            }
        }
    }

    pub unsafe extern "C" fn wait(
        group: *mut GoroutineGroup,
        timeout_ns: u64,
        first_reason: *mut *mut c_void,
    ) -> GoroutineStatus {
        // SAFETY: the caller's promise.
        unsafe {
            match group.as_ref().map(|group| group.wait(timeout_ns)) {
                None => GOROUTINE_EINVAL,
                Some(Err(status)) => status,
                Some(Ok(None)) => GOROUTINE_OK,
                Some(Ok(Some(failure))) => {
                    if failure.status == GOROUTINE_EREJECTED && !first_reason.is_null() {
                        *first_reason = failure.value;
                    }
                    failure.status
                }
            }
        }
    }

    pub unsafe extern "C" fn cancel(group: *mut GoroutineGroup) -> GoroutineStatus {
        // SAFETY: the caller's promise.
        let group = unsafe { group.as_ref() };
        group
            .map(GoroutineGroup::cancel)
            .map_or(GOROUTINE_EINVAL, |()| GOROUTINE_OK)
    }

    pub unsafe extern "C" fn free(group: *mut GoroutineGroup) -> GoroutineStatus {
        if group.is_null() {
            return GOROUTINE_OK;
        }
        // SAFETY: the caller's promise.
        unsafe { group::free(group) }
    }
}
