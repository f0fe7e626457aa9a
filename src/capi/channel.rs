//! Channels: values from those who send to those who receive, in order.

use crate::abi::*;
use crate::ops::channel::{self, GoroutineChannel};
use core::ffi::c_void;

/// Makes a channel for values of `value_bytes` (also 0: then only that something is sent counts). With a `capacity` of 0 a send waits until
/// somebody receives; otherwise so many values are kept before a send waits. First come, first served, on both sides.
/// In a child of fork the channels of its parent are not to be used.
/// Context:   T, G.
/// Parks:     never.
/// Ownership: the caller passes it to goroutine_channel_free.
/// Returns:   a channel; NULL when out of memory.
/// Since:     ABI 1.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub extern "C" fn goroutine_channel_new(value_bytes: usize, capacity: usize) -> *mut GoroutineChannel {
    realign!(inner::new)
}

/// Sends the value at `value`; waits while there is neither room nor a receiver. The value is copied.
/// Context:   T, G. On a plain thread it blocks the thread.
/// Parks:     the goroutine, not its thread. It may resume on another thread.
/// Ownership: borrows `channel`, and `value` until it returns (NULL if values have no bytes).
/// Returns:   GOROUTINE_OK: it was sent. It was not: GOROUTINE_EPIPE (closed, also while it waited), GOROUTINE_EAGAIN,
/// GOROUTINE_ETIMEDOUT, GOROUTINE_ECANCELED, GOROUTINE_ENOMEM, GOROUTINE_EINVAL (NULL).
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_channel_send(
    channel: *mut GoroutineChannel,
    value: *const c_void,
    timeout_ns: u64,
) -> GoroutineStatus {
    realign!(inner::send)
}

/// Receives the oldest value; waits while there is none and the channel is open.
/// Context:   T, G. On a plain thread it blocks the thread.
/// Parks:     the goroutine, not its thread. It may resume on another thread.
/// Ownership: borrows `channel`.
/// Output:    `*value` (NULL: the value is dropped), on GOROUTINE_OK.
/// Returns:   GOROUTINE_OK, GOROUTINE_EPIPE (closed, and no value is left), GOROUTINE_EAGAIN, GOROUTINE_ETIMEDOUT, GOROUTINE_ECANCELED,
/// GOROUTINE_ENOMEM, GOROUTINE_EINVAL (NULL).
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_channel_receive(
    channel: *mut GoroutineChannel,
    value: *mut c_void,
    timeout_ns: u64,
) -> GoroutineStatus {
    realign!(inner::receive)
}

/// Closes it: nothing is sent any more, and who waits to send gets GOROUTINE_EPIPE. What was sent can still be received; then receivers get
/// GOROUTINE_EPIPE, those who wait at once.
/// Context:   T, G.
/// Parks:     never.
/// Ownership: borrows `channel`.
/// Returns:   GOROUTINE_OK, GOROUTINE_EALREADY (it was closed), GOROUTINE_EINVAL (NULL).
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_channel_close(channel: *mut GoroutineChannel) -> GoroutineStatus {
    realign!(inner::close)
}

/// Frees it, with the values that are in it.
/// Context:   T, G.
/// Parks:     never.
/// Ownership: consumes `channel`.
/// Returns:   GOROUTINE_OK (also for NULL), GOROUTINE_EBUSY: somebody waits on it; nothing happened.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_channel_free(channel: *mut GoroutineChannel) -> GoroutineStatus {
    realign!(inner::free)
}

mod inner {
    use super::*;

    pub extern "C" fn new(value_bytes: usize, capacity: usize) -> *mut GoroutineChannel {
        channel::new(value_bytes, capacity)
    }

    pub unsafe extern "C" fn send(
        channel: *mut GoroutineChannel,
        value: *const c_void,
        timeout_ns: u64,
    ) -> GoroutineStatus {
        // SAFETY: the caller's promise.
        unsafe { channel.as_ref() }.map_or(GOROUTINE_EINVAL, |channel| channel.send(value, timeout_ns))
    }

    pub unsafe extern "C" fn receive(
        channel: *mut GoroutineChannel,
        value: *mut c_void,
        timeout_ns: u64,
    ) -> GoroutineStatus {
        // SAFETY: the caller's promise.
        unsafe { channel.as_ref() }.map_or(GOROUTINE_EINVAL, |channel| channel.receive(value, timeout_ns))
    }

    pub unsafe extern "C" fn close(channel: *mut GoroutineChannel) -> GoroutineStatus {
        // SAFETY: the caller's promise.
        unsafe { channel.as_ref() }.map_or(GOROUTINE_EINVAL, GoroutineChannel::close)
    }

    pub unsafe extern "C" fn free(channel: *mut GoroutineChannel) -> GoroutineStatus {
        if channel.is_null() {
            return GOROUTINE_OK;
        }
        // SAFETY: the caller's promise.
        unsafe { channel::free(channel) }
    }
}
