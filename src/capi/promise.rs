//! Promises: settle, await, combine.

use crate::abi::*;
use crate::ops::combinator::{Kind, combine};
use crate::ops::promise as ops;
use crate::promise::{Outcome, Promise as GoroutinePromise};
use core::ffi::c_void;
use core::ptr::null_mut;

/// A pending promise.
/// Context:   T, G.
/// Parks:     never.
/// Ownership: the caller has one reference.
/// Returns:   it; NULL when out of memory.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_promise_new() -> *mut GoroutinePromise {
    realign!(inner::promise_new)
}

/// A pending promise that owns its value: `drop(value)` runs with its last release, if it was settled.
/// Context:   T, G.
/// Parks:     never.
/// Ownership: the caller has one reference.
/// Returns:   it; NULL when out of memory.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_promise_new_with(drop: GoroutineDropFn) -> *mut GoroutinePromise {
    realign!(inner::promise_new_with)
}

/// One more reference. NULL is ignored. A promise without a reference is fatal.
/// Context:   T, G, R.
/// Parks:     never.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_promise_retain(promise: *mut GoroutinePromise) {
    realign!(inner::promise_retain)
}

/// One reference less. NULL is ignored. One release too many is fatal while the memory is not in use again.
/// A rejected promise whose outcome nobody looked at goes to `unhandled`.
/// Context:   T, G.
/// Parks:     never.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_promise_release(promise: *mut GoroutinePromise) {
    realign!(inner::promise_release)
}

/// Settles it with a value. On a goroutine it takes no lock of the system's; on a plain thread it may enter the kernel to
/// wake a worker. Not R.
/// Context:   T, G.
/// Parks:     never.
/// Returns:   GOROUTINE_OK, GOROUTINE_EALREADY (settled before), GOROUTINE_EPERM (a goroutine's promise), GOROUTINE_EINVAL (NULL).
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_promise_resolve(
    promise: *mut GoroutinePromise,
    value: *mut c_void,
) -> GoroutineStatus {
    realign!(inner::promise_resolve)
}

/// Settles it with a reason. As goroutine_promise_resolve.
/// Context:   T, G.
/// Parks:     never.
/// Returns:   as goroutine_promise_resolve.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_promise_reject(
    promise: *mut GoroutinePromise,
    value: *mut c_void,
) -> GoroutineStatus {
    realign!(inner::promise_reject)
}

/// Parks the goroutine until `promise` settles or `timeout_ns` passes. On a plain thread it blocks the thread.
/// Context:   T, G.
/// Parks:     the goroutine, not its thread. It may resume on another thread.
/// Ownership: borrows `promise`.
/// Output:    `*value` (may be NULL): the value, or with GOROUTINE_EREJECTED the reason; nothing with any other status.
/// Returns:   GOROUTINE_OK, GOROUTINE_EREJECTED, or the status that the goroutine ended with; of the caller: GOROUTINE_EAGAIN,
/// GOROUTINE_ETIMEDOUT, GOROUTINE_ECANCELED, GOROUTINE_ENOMEM, GOROUTINE_EINVAL. (A goroutine may end with one of these,
/// too: then the promise's `state` is not 0.)
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_promise_await(
    promise: *mut GoroutinePromise,
    timeout_ns: u64,
    value: *mut *mut c_void,
) -> GoroutineStatus {
    realign!(inner::promise_await)
}

/// The same, and consumes the caller's reference, whatever it returns (but GOROUTINE_EINVAL).
/// Context:   T, G.
/// Parks:     as goroutine_promise_await.
/// Ownership: consumes `promise`.
/// Output:    as goroutine_promise_await.
/// Returns:   as goroutine_promise_await.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_promise_await_take(
    promise: *mut GoroutinePromise,
    timeout_ns: u64,
    value: *mut *mut c_void,
) -> GoroutineStatus {
    realign!(inner::promise_await_take)
}

/// Runs `f(arg, status, value)` once, in a goroutine (it may clobber registers), when `promise` settles. A promise that never settles does not keep
/// the program alive by this. A shutdown before that: `f` does not run.
/// Context:   T, G.
/// Parks:     never.
/// Ownership: retains `promise` until then.
/// Returns:   GOROUTINE_OK, GOROUTINE_EINVAL, GOROUTINE_ENOMEM, GOROUTINE_ESHUTDOWN.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_promise_then(
    promise: *mut GoroutinePromise,
    f: GoroutineThenFn,
    arg: *mut c_void,
) -> GoroutineStatus {
    realign_with_site!(inner::promise_then)
}

/// Resolves with all values (`void *[n]`, in input order, owned by the promise), or settles as the first that is not resolved does,
/// with its status and reason.
/// Without inputs it is resolved at once.
/// Context:   T, G.
/// Parks:     never.
/// Ownership: `promises` is borrowed, its elements are retained; the caller has one reference to the result.
/// Returns:   a promise; NULL when out of memory, or an element is NULL.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_promise_all(
    promises: *const *mut GoroutinePromise,
    n: usize,
) -> *mut GoroutinePromise {
    realign!(inner::promise_all)
}

/// Resolves once all inputs are settled, with `GoroutineSettled[n]` in input order, owned by the promise.
/// Context:   T, G.
/// Parks:     never.
/// Ownership: `promises` is borrowed, its elements are retained; the caller has one reference to the result.
/// Returns:   a promise; NULL when out of memory, or an element is NULL.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_promise_all_settled(
    promises: *const *mut GoroutinePromise,
    n: usize,
) -> *mut GoroutinePromise {
    realign!(inner::promise_all_settled)
}

/// Resolves with the first value, or rejects with all reasons (`void *[n]`, owned by the promise).
/// Without inputs it is rejected at once.
/// Context:   T, G.
/// Parks:     never.
/// Ownership: `promises` is borrowed, its elements are retained; the caller has one reference to the result.
/// Returns:   a promise; NULL when out of memory, or an element is NULL.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_promise_any(
    promises: *const *mut GoroutinePromise,
    n: usize,
) -> *mut GoroutinePromise {
    realign!(inner::promise_any)
}

/// Settles as the first input does. Without inputs it stays pending.
/// Context:   T, G.
/// Parks:     never.
/// Ownership: `promises` is borrowed, its elements are retained; the caller has one reference to the result.
/// Returns:   a promise; NULL when out of memory, or an element is NULL.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_promise_race(
    promises: *const *mut GoroutinePromise,
    n: usize,
) -> *mut GoroutinePromise {
    realign!(inner::promise_race)
}

mod inner {
    use super::*;

    pub unsafe extern "C" fn promise_new() -> *mut GoroutinePromise {
        GoroutinePromise::new(None)
    }

    pub unsafe extern "C" fn promise_new_with(drop: GoroutineDropFn) -> *mut GoroutinePromise {
        GoroutinePromise::new(drop)
    }

    pub unsafe extern "C" fn promise_retain(promise: *mut GoroutinePromise) {
        if let Some(promise) = alive(promise, "goroutine_promise_retain") {
            promise.retain();
        }
    }

    pub unsafe extern "C" fn promise_release(promise: *mut GoroutinePromise) {
        if !promise.is_null() {
            // SAFETY: the caller's promise.
            unsafe { ops::release(promise) };
        }
    }

    pub unsafe extern "C" fn promise_resolve(
        promise: *mut GoroutinePromise,
        value: *mut c_void,
    ) -> GoroutineStatus {
        settle(promise, value, GOROUTINE_OK)
    }

    pub unsafe extern "C" fn promise_reject(
        promise: *mut GoroutinePromise,
        value: *mut c_void,
    ) -> GoroutineStatus {
        settle(promise, value, GOROUTINE_EREJECTED)
    }

    pub unsafe extern "C" fn promise_await(
        promise: *mut GoroutinePromise,
        timeout_ns: u64,
        value: *mut *mut c_void,
    ) -> GoroutineStatus {
        // SAFETY: the caller's promise.
        unsafe { wait(promise, timeout_ns, value) }
    }

    pub unsafe extern "C" fn promise_await_take(
        promise: *mut GoroutinePromise,
        timeout_ns: u64,
        value: *mut *mut c_void,
    ) -> GoroutineStatus {
        // SAFETY: the caller's promise.
        unsafe {
            let status = wait(promise, timeout_ns, value);
            if !promise.is_null() {
                ops::release(promise);
            }
            status
        }
    }

    pub unsafe extern "C" fn promise_then(
        promise: *mut GoroutinePromise,
        f: GoroutineThenFn,
        arg: *mut c_void,
        site: u64,
    ) -> GoroutineStatus {
        match (alive(promise, "goroutine_promise_then"), f) {
            (Some(promise), Some(f)) => ops::then(promise, f, arg, site),
            _ => GOROUTINE_EINVAL,
        }
    }

    pub unsafe extern "C" fn promise_all(
        promises: *const *mut GoroutinePromise,
        n: usize,
    ) -> *mut GoroutinePromise {
        // SAFETY: the caller's promise.
        unsafe { combined(Kind::All, promises, n) }
    }

    pub unsafe extern "C" fn promise_all_settled(
        promises: *const *mut GoroutinePromise,
        n: usize,
    ) -> *mut GoroutinePromise {
        // SAFETY: the caller's promise.
        unsafe { combined(Kind::AllSettled, promises, n) }
    }

    pub unsafe extern "C" fn promise_any(
        promises: *const *mut GoroutinePromise,
        n: usize,
    ) -> *mut GoroutinePromise {
        // SAFETY: the caller's promise.
        unsafe { combined(Kind::Any, promises, n) }
    }

    pub unsafe extern "C" fn promise_race(
        promises: *const *mut GoroutinePromise,
        n: usize,
    ) -> *mut GoroutinePromise {
        // SAFETY: the caller's promise.
        unsafe { combined(Kind::Race, promises, n) }
    }
}

/// The promise; None: NULL. One without a reference is fatal: its memory is never unmapped, so it can be asked.
fn alive<'a>(promise: *const GoroutinePromise, caller: &str) -> Option<&'a GoroutinePromise> {
    // SAFETY: the exported functions' contract.
    let promise = unsafe { promise.as_ref() }?;
    promise.check_alive(caller);
    Some(promise)
}

fn settle(promise: *mut GoroutinePromise, value: *mut c_void, status: GoroutineStatus) -> GoroutineStatus {
    let Some(promise) = alive(promise, "goroutine_promise_resolve or _reject") else {
        return GOROUTINE_EINVAL;
    };
    if promise.is_of_goroutine() {
        return GOROUTINE_EPERM;
    }
    if ops::settle(promise, Outcome { value, status }) {
        GOROUTINE_OK
    } else {
        GOROUTINE_EALREADY
    }
}

/// # Safety
/// The exported functions' contract.
unsafe fn wait(promise: *mut GoroutinePromise, timeout_ns: u64, value: *mut *mut c_void) -> GoroutineStatus {
    let Some(promise) = alive(promise, "goroutine_promise_await") else {
        return GOROUTINE_EINVAL;
    };
    match ops::wait(promise, timeout_ns) {
        Ok(outcome) => {
            if !value.is_null() && (outcome.status == GOROUTINE_OK || outcome.status == GOROUTINE_EREJECTED) {
                // SAFETY: the caller's promise.
                unsafe { *value = outcome.value };
            }
            outcome.status
        }
        Err(status) => status,
    }
}

/// # Safety
/// The exported functions' contract.
unsafe fn combined(kind: Kind, promises: *const *mut GoroutinePromise, n: usize) -> *mut GoroutinePromise {
    // SAFETY: the caller's promise.
    unsafe { inputs(promises, n).map_or(null_mut(), |inputs| combine(kind, inputs)) }
}

/// A combinator's inputs; None: one is NULL, or there cannot be so many. One without a reference is fatal.
///
/// # Safety
/// The exported functions' contract.
pub(super) unsafe fn inputs<'a>(
    promises: *const *mut GoroutinePromise,
    n: usize,
) -> Option<&'a [*const GoroutinePromise]> {
    const MAX: usize = isize::MAX as usize / size_of::<*mut GoroutinePromise>();
    if n == 0 {
        return Some(&[]);
    }
    if promises.is_null() || n > MAX {
        return None;
    }
    // SAFETY: the caller's promise.
    let inputs = unsafe { core::slice::from_raw_parts(promises.cast(), n) };
    let all = inputs
        .iter()
        .all(|&p: &*const GoroutinePromise| alive(p, "a promise combinator").is_some());
    all.then_some(inputs)
}
