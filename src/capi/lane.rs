//! Lanes: one thread for the calls of many goroutines.

use crate::abi::*;
use crate::ops::lane::{self, GoroutineFfiLane};
use core::ffi::{CStr, c_char, c_void};

/// Tells a host that its lane has calls: called when there is one after there was none, by the thread that made it, and after
/// a drain that left some. It must not call into the lane; it posts to the host's event loop.
pub type GoroutineFfiWakeFn = Option<unsafe extern "C" fn(arg: *mut c_void)>;

/// Makes a lane: a thread of the library that runs the calls made through it, one after the other in the order they came. It is one
/// of the `ffi_threads_max`, and ends with the lane. `name` is the thread's name, of which the kernel keeps 15 bytes.
/// Context:   T, G.
/// Parks:     never.
/// Ownership: the caller passes it to goroutine_ffi_lane_release.
/// Output:    `*out`.
/// Returns:   GOROUTINE_OK, GOROUTINE_EINVAL (NULL), GOROUTINE_ENOMEM, GOROUTINE_EFFITHREADS (GOROUTINE_FFI_FAIL; with the other
/// policies the lane begins when a thread is free), GOROUTINE_ESHUTDOWN.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_ffi_lane_new(
    name: *const c_char,
    out: *mut *mut GoroutineFfiLane,
) -> GoroutineStatus {
    realign!(inner::new)
}

/// Makes a lane that a thread of the host serves: GTK's, Node's. `wake(arg)` tells the host when there are calls; it then has that
/// thread call goroutine_ffi_lane_drain.
/// Context:   T, G.
/// Parks:     never.
/// Ownership: as goroutine_ffi_lane_new.
/// Output:    `*out`.
/// Returns:   GOROUTINE_OK, GOROUTINE_EINVAL (NULL; `arg` may be NULL).
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_ffi_lane_host(
    name: *const c_char,
    wake: GoroutineFfiWakeFn,
    arg: *mut c_void,
    out: *mut *mut GoroutineFfiLane,
) -> GoroutineStatus {
    realign!(inner::host)
}

/// Ends a lane, and its thread, if it has one of its own.
/// Context:   T, G.
/// Parks:     never.
/// Returns:   GOROUTINE_OK (also for NULL), GOROUTINE_EBUSY: a call is in it; nothing happened. A goroutine_ffi_lane_drain that has run its
/// last call may still be on its way out.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_ffi_lane_release(lane: *mut GoroutineFfiLane) -> GoroutineStatus {
    realign!(inner::release)
}

/// Runs `function(args)` on the lane's thread and waits for it, however long it takes: it has no time-out, for `args` are in use until it
/// is over. A cancel ends the wait as long as the call has not begun. From within a call of the same lane it is a plain call, from a
/// callback in it one on the thread's stack.
/// errno is what the function left; it begins as 0.
/// Context:   T, G. On a plain thread it blocks the thread.
/// Parks:     the goroutine, not its thread. It may resume on another thread.
/// Output:    `*result` (may be NULL), on GOROUTINE_OK.
/// Returns:   GOROUTINE_OK, GOROUTINE_EINVAL (NULL), GOROUTINE_ECANCELED (it did not run), GOROUTINE_ESHUTDOWN (nobody serves the lane).
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_ffi_lane_call(
    lane: *mut GoroutineFfiLane,
    function: *mut c_void,
    args: *mut c_void,
    result: *mut *mut c_void,
) -> GoroutineStatus {
    realign!(inner::call)
}

/// Runs calls of a host lane on the calling thread: up to `max`, or with 0 all that are there now. If some are left the host is told again.
/// Context:   T. On a goroutine, and for a lane with a thread of its own, it does nothing.
/// Returns:   how many ran.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_ffi_lane_drain(lane: *mut GoroutineFfiLane, max: usize) -> usize {
    realign!(inner::drain)
}

mod inner {
    use super::*;

    pub unsafe extern "C" fn new(name: *const c_char, out: *mut *mut GoroutineFfiLane) -> GoroutineStatus {
        if name.is_null() || out.is_null() {
            return GOROUTINE_EINVAL;
        }
        // SAFETY: the caller's promise.
        unsafe {
            match lane::new(CStr::from_ptr(name).to_owned()) {
                Ok(lane) => {
                    *out = lane.cast_mut();
                    GOROUTINE_OK
                }
                Err(status) => status,
            }
        }
    }

    pub unsafe extern "C" fn host(
        name: *const c_char,
        wake: GoroutineFfiWakeFn,
        arg: *mut c_void,
        out: *mut *mut GoroutineFfiLane,
    ) -> GoroutineStatus {
        if name.is_null() || wake.is_none() || out.is_null() {
            return GOROUTINE_EINVAL;
        }
        // SAFETY: the caller's promise.
        unsafe { *out = lane::host(CStr::from_ptr(name).to_owned(), wake, arg).cast_mut() };
        GOROUTINE_OK
    }

    pub unsafe extern "C" fn release(lane: *mut GoroutineFfiLane) -> GoroutineStatus {
        if lane.is_null() {
            return GOROUTINE_OK;
        }
        // SAFETY: the caller's promise.
        unsafe { lane::release(lane) }
    }

    pub unsafe extern "C" fn call(
        lane: *mut GoroutineFfiLane,
        function: *mut c_void,
        args: *mut c_void,
        result: *mut *mut c_void,
    ) -> GoroutineStatus {
        if lane.is_null() || function.is_null() {
            return GOROUTINE_EINVAL;
        }
        // SAFETY: the caller's promise.
        unsafe {
            match lane::call(&*lane, function, args) {
                Ok(value) => {
                    if !result.is_null() {
                        *result = value;
                    }
                    GOROUTINE_OK
                }
                Err(status) => status,
            }
        }
    }

    pub unsafe extern "C" fn drain(lane: *mut GoroutineFfiLane, max: usize) -> usize {
        if lane.is_null() {
            return 0;
        }
        // SAFETY: the caller's promise.
        unsafe { lane::drain(lane, max) }
    }
}
