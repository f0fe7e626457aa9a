//! Goroutine-local values.

use crate::abi::*;
use crate::ops::local;
use core::ffi::c_void;

/// Makes a key, for good: each goroutine has a value of its own for it, NULL at first. When the goroutine ends, however that comes about,
/// `drop(value)` (may be NULL) is called, off its stack, if its value is not NULL; the lowest key first. There are 1,024 keys.
/// Context:   T, G.
/// Parks:     never.
/// Output:    `*key`, not 0.
/// Returns:   GOROUTINE_OK, GOROUTINE_ENOMEM (no key is left), GOROUTINE_EINVAL (NULL).
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_local_key(drop: GoroutineDropFn, key: *mut u32) -> GoroutineStatus {
    realign!(inner::key)
}

/// Sets the calling goroutine's value. The one before is not dropped. On a plain thread, and for a key that does not exist, it does nothing. No
/// memory is fatal.
/// Context:   T, G.
/// Parks:     never.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_local_set(key: u32, value: *mut c_void) {
    realign!(inner::set)
}

/// The calling goroutine's value; NULL: none was set, or on a plain thread.
/// Context:   T, G, R.
/// Parks:     never.
/// Since:     ABI 1.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub extern "C" fn goroutine_local_get(key: u32) -> *mut c_void {
    realign!(inner::get)
}

mod inner {
    use super::*;

    pub unsafe extern "C" fn key(drop: GoroutineDropFn, key: *mut u32) -> GoroutineStatus {
        if key.is_null() {
            return GOROUTINE_EINVAL;
        }
        let Some(new) = local::key(drop) else {
            return GOROUTINE_ENOMEM;
        };
        // SAFETY: the caller's promise.
        unsafe { *key = new };
        GOROUTINE_OK
    }

    pub unsafe extern "C" fn set(key: u32, value: *mut c_void) {
        // SAFETY: the caller's promise.
        unsafe { local::set(key, value) };
    }

    pub extern "C" fn get(key: u32) -> *mut c_void {
        local::get(key)
    }
}
