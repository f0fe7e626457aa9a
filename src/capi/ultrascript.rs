//! UltraScript's runtime, as its code generator calls it by name.
//!
//! Each function is a thin layer over what `goroutine.h` offers; docs/ultrascript.md has the table and what emitted code
//! may do. A handle is a promise, one of whose references is marked (`Promise::set_handle`), so that the cleanup finds
//! what emitted code never gives back.
//!
//! The functions have no way to say "cancelled", and emitted code none to ask: a cancelled goroutine ends in the call that
//! would have parked (`leave`), and never goes on as if the call had done what it says.

use crate::abi::*;
use crate::context::tls;
use crate::goroutine::Goroutine;
use crate::ops;
use crate::ops::async_op;
use crate::ops::combinator::{Kind, combine};
use crate::ops::mutex::{self, Mutex};
use crate::promise::Promise;
use crate::sched::timers::{self, Request};
use crate::sched::{park, runtime, spawn};
use crate::sys::report;
use crate::timer::slot::Target;
use core::ffi::c_void;
use core::ptr::null_mut;

/// Starts the runtime, with the defaults and the `GOROUTINE_*` environment, as goroutine_runtime_start(NULL) does. A second
/// call does nothing; after a cleanup it starts anew. Spawns and timers start it by themselves, but not after a cleanup.
/// Context:   T, G.
/// Parks:     never.
/// Returns:   nothing. A start that fails (the environment, no threads) says so in a line on stderr.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __new_goroutine_system_init() {
    realign!(inner::init)
}

/// Shuts the runtime down, as goroutine_runtime_shutdown does: cancels what is left, waits for it, at most 10 s, joins every
/// thread; then gives back every handle that nobody did. A second call does nothing.
/// Before that, failures in handles that nobody looked at are reported as unhandled.
/// What is cancelled ends in its next call of __promise_await, __goroutine_spawn_and_wait_direct, __runtime_time_sleep_millis,
/// __runtime_lock_lock and their like: emitted code could not tell a cancelled call from another.
/// Context:   T.
/// Parks:     never. It blocks the thread.
/// Ownership: ends all handles, if the runtime has stopped.
/// Returns:   nothing. On a goroutine, or when something does not stop, it says so on stderr, and nothing is freed: call again.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __new_goroutine_system_cleanup() {
    realign_and_close!(inner::cleanup)
}

/// Runs the program's main function as a goroutine. What it returns is not looked at.
/// Context:   T, G.
/// Parks:     never.
/// Returns:   nothing. NULL, or no memory, or after a cleanup: a line on stderr, and nothing runs.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __runtime_spawn_main_goroutine(function: *mut c_void) {
    realign_with_site!(inner::spawn_main)
}

/// The same as __runtime_spawn_main_goroutine.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __runtime_spawn_main_goroutine_v2(function: *mut c_void) {
    realign_with_site!(inner::spawn_main)
}

/// Blocks the thread until no goroutine, timer or async handle is left. The main goroutine may have returned long before.
/// Context:   T.
/// Parks:     never. It blocks the thread.
/// Returns:   nothing. On a goroutine, which would wait for itself, it says so on stderr and returns at once.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __runtime_wait_for_main_goroutine() {
    realign!(inner::wait_for_main)
}

/// The same as __runtime_wait_for_main_goroutine.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __runtime_wait_for_main_goroutine_v2() {
    realign!(inner::wait_for_main)
}

/// Calls `function` in a new goroutine: `void *function(void)`.
/// Context:   T, G.
/// Parks:     never.
/// Ownership: the caller has one reference to the handle: __promise_release. It stays valid after the goroutine's end.
/// Returns:   a handle, a promise of what `function` returns in rax; NULL for NULL, when out of memory, and after a cleanup.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __runtime_spawn_goroutine(function: *mut c_void) -> *mut c_void {
    realign_with_site!(inner::spawn)
}

/// The same as __runtime_spawn_goroutine.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __runtime_spawn_goroutine_v2(function: *mut c_void) -> *mut c_void {
    realign_with_site!(inner::spawn)
}

/// The same as __runtime_spawn_goroutine.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __goroutine_spawn_direct(function: *mut c_void) -> *mut c_void {
    realign_with_site!(inner::spawn)
}

/// Calls `function(arg)` in a new goroutine.
/// Context:   T, G.
/// Parks:     never.
/// Ownership: as __runtime_spawn_goroutine.
/// Returns:   as __runtime_spawn_goroutine.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __goroutine_spawn_func_ptr(function: *mut c_void, arg: *mut c_void) -> *mut c_void {
    realign_with_site!(inner::spawn_func)
}

/// The same; `function` is entered with r12 = `scope`. For more registers: goroutine_spawn_with.
/// Context:   T, G.
/// Parks:     never.
/// Ownership: as __runtime_spawn_goroutine.
/// Returns:   as __runtime_spawn_goroutine.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __goroutine_spawn_func_ptr_with_scope(
    function: *mut c_void,
    arg: *mut c_void,
    scope: *mut c_void,
) -> *mut c_void {
    realign_with_site!(inner::spawn_scope)
}

/// Calls `function` in a new goroutine and waits for its end: `await go function()`.
/// Context:   T, G.
/// Parks:     the goroutine, not its thread. On a plain thread it blocks the thread.
/// Returns:   as __promise_await; NULL if there is no goroutine.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __goroutine_spawn_and_wait_direct(function: *mut c_void) -> *mut c_void {
    realign_with_site!(inner::spawn_and_wait)
}

/// The same as __goroutine_spawn_and_wait_direct.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __goroutine_spawn_and_wait_fast(function: *mut c_void) -> *mut c_void {
    realign_with_site!(inner::spawn_and_wait)
}

/// Waits until a promise is settled. A handle, or any promise of goroutine.h.
/// Context:   T, G.
/// Parks:     the goroutine, not its thread. It may resume on another thread. On a plain thread it blocks the thread.
/// Ownership: borrows `promise`.
/// Returns:   the value; the reason if it was rejected, which its `state` tells (offset 0, 2); NULL for NULL, and for a goroutine
/// that ended with another status.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __promise_await(promise: *mut c_void) -> *mut c_void {
    realign!(inner::promise_await)
}

/// Gives a handle back. Handles that never are stay valid until the cleanup, which gives them back: 64 bytes each once settled,
/// counted in GoroutineStats' `promises`. NULL is ignored. A failure that nobody looked at is reported as unhandled.
/// Context:   T, G.
/// Parks:     never.
/// Ownership: consumes the caller's reference. Handles are given back by this function, not by goroutine_promise_release.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __promise_release(promise: *mut c_void) {
    realign!(inner::promise_release)
}

/// Resolves with all values (`void *[n]`, in input order, owned by the handle), or rejects with the first reason. Without inputs it
/// is resolved at once. Inputs may be of goroutines or not, settled or not, and the same one several times.
/// Context:   T, G.
/// Parks:     never.
/// Ownership: `promises` is borrowed, its elements are retained; the caller has one reference to the result: __promise_release.
/// Returns:   a handle; NULL when out of memory, when an element is NULL or `n` negative, or `promises` is NULL and `n` is not 0.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __promise_all(promises: *const *mut c_void, n: i64) -> *mut c_void {
    realign!(inner::promise_all)
}

/// Settles as the first input does. Without inputs it stays pending.
/// Context:   T, G.
/// Parks:     never.
/// Ownership: as __promise_all.
/// Returns:   as __promise_all.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __promise_race(promises: *const *mut c_void, n: i64) -> *mut c_void {
    realign!(inner::promise_race)
}

/// Calls `function` in a goroutine of its own, before regular work, once `delay` milliseconds have passed. Keeps the program alive.
/// `delay` is an integer, or the raw bits of a double: 2^52 and more, or negative, is bits. At or below zero, and NaN, is 0; what
/// does not fit in 64 bits of nanoseconds never fires. `function` gets no argument: one with data is goroutine_timer_start's.
/// Context:   T, G.
/// Parks:     never.
/// Returns:   an id (above 0, below 2^53, never reused); negative: GOROUTINE_EINVAL (NULL), GOROUTINE_ENOMEM, GOROUTINE_ESHUTDOWN.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __gots_set_timeout(function: *mut c_void, delay: i64) -> i64 {
    realign!(inner::set_timeout)
}

/// The same as __gots_set_timeout.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __gots_set_timeout_v2(function: *mut c_void, delay: i64) -> i64 {
    realign!(inner::set_timeout)
}

/// The same every `delay` milliseconds, until it is cleared: at least 1 ms, as in JavaScript's hosts. Runs of one interval never
/// overlap, and keep to the grid of the first.
/// Context:   T, G.
/// Parks:     never.
/// Returns:   as __gots_set_timeout.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __gots_set_interval(function: *mut c_void, delay: i64) -> i64 {
    realign!(inner::set_interval)
}

/// The same as __gots_set_interval.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __gots_set_interval_v2(function: *mut c_void, delay: i64) -> i64 {
    realign!(inner::set_interval)
}

/// Stops a timeout, or an interval. Any value may be passed.
/// Context:   T, G.
/// Parks:     never.
/// Returns:   true: it existed, and will not run again (a run under way goes on to its end).
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __gots_clear_timeout(id: i64) -> bool {
    realign!(inner::clear)
}

/// The same as __gots_clear_timeout.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __gots_clear_timeout_v2(id: i64) -> bool {
    realign!(inner::clear)
}

/// The same as __gots_clear_timeout.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __gots_clear_interval(id: i64) -> bool {
    realign!(inner::clear)
}

/// The same as __gots_clear_timeout.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __gots_clear_interval_v2(id: i64) -> bool {
    realign!(inner::clear)
}

/// Something is under way that keeps the program alive until it is completed or cancelled. `kind`: one of GOROUTINE_ASYNC_*;
/// `data` is for reports (of a later version).
/// Context:   T, G.
/// Parks:     never.
/// Returns:   an id (above 0, below 2^53, never reused); negative: GOROUTINE_EINVAL, GOROUTINE_ENOMEM, GOROUTINE_ESHUTDOWN.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __gots_add_async_handle(kind: i64, data: *mut c_void) -> i64 {
    realign!(inner::add_async)
}

/// The same as __gots_add_async_handle.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __gots_add_async_handle_v2(kind: i64, data: *mut c_void) -> i64 {
    realign!(inner::add_async)
}

/// Ends a handle, once, from any thread. An id that is not pending is ignored.
/// Context:   T, G.
/// Parks:     never.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __gots_complete_async_handle(id: i64) {
    realign!(inner::complete_async)
}

/// The same as __gots_complete_async_handle.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __gots_complete_async_handle_v2(id: i64) {
    realign!(inner::complete_async)
}

/// The same; who awaits it by goroutine_async_await gets GOROUTINE_ECANCELED.
/// Context:   T, G.
/// Parks:     never.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __gots_cancel_async_handle(id: i64) {
    realign!(inner::cancel_async)
}

/// The same as __gots_cancel_async_handle.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __gots_cancel_async_handle_v2(id: i64) {
    realign!(inner::cancel_async)
}

/// Makes a recursive lock. Its owner is the goroutine that locked it, on whatever thread it runs then, or the plain thread. Who waits
/// gets it first come, first served. A goroutine that ends while it holds the lock gives it up. A GoroutineMutex of goroutine.h.
/// Context:   T, G.
/// Parks:     never.
/// Ownership: the caller passes it to __runtime_lock_destroy.
/// Returns:   a lock; NULL when out of memory.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __runtime_lock_create() -> *mut c_void {
    realign!(inner::lock_create)
}

/// Locks it; waits while somebody else has it. NULL: returns at once.
/// Context:   T, G.
/// Parks:     the goroutine, not its thread. It may resume on another thread. On a plain thread it blocks the thread.
/// Ownership: borrows `lock`.
/// Returns:   with the lock. A goroutine that was cancelled ends here instead, without it.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __runtime_lock_lock(lock: *mut c_void) {
    realign!(inner::lock_lock)
}

/// Unlocks it, as often as it was locked. NULL is ignored.
/// Context:   T, G.
/// Parks:     never.
/// Ownership: borrows `lock`.
/// Returns:   nothing. If the caller does not have it, nothing happens but a line on stderr.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __runtime_lock_unlock(lock: *mut c_void) {
    realign!(inner::lock_unlock)
}

/// Locks it if nobody else has it.
/// Context:   T, G.
/// Parks:     never.
/// Ownership: borrows `lock`.
/// Returns:   true: the caller has it; false for NULL.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __runtime_lock_try_lock(lock: *mut c_void) -> bool {
    realign!(inner::lock_try)
}

/// Locks it; waits at most `ms` milliseconds while somebody else has it. 0 and less: does not wait.
/// Context:   T, G.
/// Parks:     as __runtime_lock_lock.
/// Ownership: borrows `lock`.
/// Returns:   as __runtime_lock_try_lock.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __runtime_lock_try_lock_for(lock: *mut c_void, ms: i64) -> bool {
    realign!(inner::lock_try_for)
}

/// Whether the caller, a goroutine or a plain thread, has it.
/// Context:   T, G, R.
/// Parks:     never.
/// Ownership: borrows `lock`.
/// Returns:   that; false for NULL.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __runtime_lock_is_locked_by_current(lock: *mut c_void) -> bool {
    realign!(inner::lock_is_mine)
}

/// Frees it. NULL is ignored.
/// Context:   T, G.
/// Parks:     never.
/// Ownership: consumes `lock`.
/// Returns:   nothing. If somebody has it or waits for it, nothing happens but a line on stderr.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __runtime_lock_destroy(lock: *mut c_void) {
    realign!(inner::lock_destroy)
}

/// Lets `ms` milliseconds pass, at least; 0 and less: lets others run.
/// Context:   T, G.
/// Parks:     the goroutine, not its thread. It may resume on another thread. On a plain thread it sleeps the thread.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __runtime_time_sleep_millis(ms: i64) {
    realign!(inner::sleep_millis)
}

/// The same for nanoseconds.
/// Context:   T, G.
/// Parks:     as __runtime_time_sleep_millis.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __runtime_time_sleep_nanos(ns: i64) {
    realign!(inner::sleep_nanos)
}

/// The running goroutine's id, never reused in a process.
/// Context:   T, G, R, S.
/// Returns:   the id; 0 outside goroutines.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __runtime_go_current_id() -> i64 {
    realign!(inner::current_id)
}

/// How long a cleanup waits for what it cancelled.
const CLEANUP_NS: u64 = 10_000_000_000;
const MS: u64 = 1_000_000;

mod inner {
    use super::*;

    pub unsafe extern "C" fn init() {
        match runtime::start(None) {
            GOROUTINE_OK | GOROUTINE_EALREADY => {}
            status => complain("__new_goroutine_system_init", status),
        }
    }

    pub unsafe extern "C" fn cleanup() -> runtime::Ended {
        ops::promise::report_handles();
        let ended = runtime::shutdown(park::deadline_after(CLEANUP_NS));
        match ended.status as GoroutineStatus {
            GOROUTINE_OK => ops::promise::release_handles(),
            status => complain("__new_goroutine_system_cleanup", status),
        }
        ended
    }

    pub unsafe extern "C" fn spawn_main(function: *mut c_void, _: usize, _: usize, site: u64) {
        // SAFETY: the caller's promise.
        if let Err(status) = unsafe { start(function, null_mut(), false, site) } {
            complain("__runtime_spawn_main_goroutine", status);
        }
    }

    pub unsafe extern "C" fn wait_for_main() {
        match runtime::wait(u64::MAX) {
            GOROUTINE_OK | GOROUTINE_ESHUTDOWN => {}
            status => complain("__runtime_wait_for_main_goroutine", status),
        }
    }

    pub unsafe extern "C" fn spawn(function: *mut c_void, _: usize, _: usize, site: u64) -> *mut c_void {
        // SAFETY: the caller's promise.
        handle(unsafe { start(function, null_mut(), true, site) })
    }

    pub unsafe extern "C" fn spawn_func(
        function: *mut c_void,
        arg: *mut c_void,
        _: usize,
        site: u64,
    ) -> *mut c_void {
        // SAFETY: the caller's promise.
        handle(unsafe { start(function, arg, true, site) })
    }

    pub unsafe extern "C" fn spawn_scope(
        function: *mut c_void,
        arg: *mut c_void,
        scope: *mut c_void,
        site: u64,
    ) -> *mut c_void {
        // SAFETY: zero is a valid request, of nothing.
        let mut request: GoroutineSpawn = unsafe { core::mem::zeroed() };
        request.size = GOROUTINE_SPAWN_BYTES as u32;
        request.r#fn = function;
        request.int_args[0] = arg as u64;
        request.r12 = scope as u64;
        // SAFETY: the caller's promise.
        handle(unsafe { spawn::with(&request, true, site) })
    }

    pub unsafe extern "C" fn spawn_and_wait(
        function: *mut c_void,
        _: usize,
        _: usize,
        site: u64,
    ) -> *mut c_void {
        // SAFETY: the caller's promise; our own reference is given back once.
        unsafe {
            let Ok(promise) = start(function, null_mut(), true, site) else {
                return null_mut();
            };
            let outcome = ops::promise::wait(&*promise, GOROUTINE_FOREVER);
            ops::promise::release(promise);
            value_of(outcome)
        }
    }

    pub unsafe extern "C" fn promise_await(promise: *mut c_void) -> *mut c_void {
        let Some(promise) = alive(promise, "__promise_await") else {
            return null_mut();
        };
        let outcome = ops::promise::wait(promise, GOROUTINE_FOREVER);
        // SAFETY: nothing here needs to be undone.
        unsafe { value_of(outcome) }
    }

    pub unsafe extern "C" fn promise_release(promise: *mut c_void) {
        if let Some(promise) = alive(promise, "__promise_release") {
            let _ = promise.take_handle();
            // SAFETY: the caller's promise.
            unsafe { ops::promise::release(promise) };
        }
    }

    pub unsafe extern "C" fn promise_all(promises: *const *mut c_void, n: i64) -> *mut c_void {
        // SAFETY: the caller's promise.
        unsafe { combined(Kind::All, promises, n) }
    }

    pub unsafe extern "C" fn promise_race(promises: *const *mut c_void, n: i64) -> *mut c_void {
        // SAFETY: the caller's promise.
        unsafe { combined(Kind::Race, promises, n) }
    }

    pub unsafe extern "C" fn set_timeout(function: *mut c_void, delay: i64) -> i64 {
        timer(function, delay_ns(delay), 0)
    }

    pub unsafe extern "C" fn set_interval(function: *mut c_void, delay: i64) -> i64 {
        let period = delay_ns(delay).max(MS);
        timer(function, period, period)
    }

    pub unsafe extern "C" fn clear(id: i64) -> bool {
        timers::stop(id)
    }

    pub unsafe extern "C" fn add_async(kind: i64, data: *mut c_void) -> i64 {
        kind.try_into()
            .map_or(i64::from(GOROUTINE_EINVAL), |kind| async_op::begin(kind, data))
    }

    pub unsafe extern "C" fn complete_async(id: i64) {
        async_op::end(id, GOROUTINE_OK, null_mut());
    }

    pub unsafe extern "C" fn cancel_async(id: i64) {
        async_op::end(id, GOROUTINE_ECANCELED, null_mut());
    }

    pub unsafe extern "C" fn lock_create() -> *mut c_void {
        mutex::new(true).cast()
    }

    pub unsafe extern "C" fn lock_lock(lock: *mut c_void) {
        // SAFETY: the caller's promise.
        unsafe { locked(lock, GOROUTINE_FOREVER) };
    }

    pub unsafe extern "C" fn lock_unlock(lock: *mut c_void) {
        // SAFETY: the caller's promise.
        if let Some(GOROUTINE_EPERM) = unsafe { mutex(lock) }.map(Mutex::unlock) {
            complain("__runtime_lock_unlock", GOROUTINE_EPERM);
        }
    }

    pub unsafe extern "C" fn lock_try(lock: *mut c_void) -> bool {
        // SAFETY: the caller's promise.
        unsafe { locked(lock, 0) }
    }

    pub unsafe extern "C" fn lock_try_for(lock: *mut c_void, ms: i64) -> bool {
        // SAFETY: the caller's promise.
        unsafe { locked(lock, millis(ms)) }
    }

    pub unsafe extern "C" fn lock_is_mine(lock: *mut c_void) -> bool {
        // SAFETY: the caller's promise.
        unsafe { mutex(lock) }.is_some_and(Mutex::is_owned)
    }

    pub unsafe extern "C" fn lock_destroy(lock: *mut c_void) {
        // SAFETY: the caller's promise.
        if !lock.is_null() && unsafe { mutex::free(lock.cast()) } == GOROUTINE_EBUSY {
            complain("__runtime_lock_destroy", GOROUTINE_EBUSY);
        }
    }

    pub unsafe extern "C" fn sleep_millis(ms: i64) {
        sleep(millis(ms));
    }

    pub unsafe extern "C" fn sleep_nanos(ns: i64) {
        sleep(ns.max(0) as u64);
    }

    pub unsafe extern "C" fn current_id() -> i64 {
        // SAFETY: null, or the running goroutine.
        unsafe { tls::current().as_ref() }.map_or(0, Goroutine::id) as i64
    }
}

/// # Safety
/// `function` is code that may be called with one argument, or null.
unsafe fn start(
    function: *mut c_void,
    arg: *mut c_void,
    promised: bool,
    site: u64,
) -> Result<*mut Promise, GoroutineStatus> {
    if function.is_null() {
        return Err(GOROUTINE_EINVAL);
    }
    // SAFETY: the caller's promise.
    unsafe { spawn::plain(function as u64, arg, promised, site) }
}

/// What emitted code gets: marked, so that a cleanup finds it.
fn handle(promise: Result<*mut Promise, GoroutineStatus>) -> *mut c_void {
    let Ok(promise) = promise else { return null_mut() };
    // SAFETY: we have the only reference to it.
    unsafe { (*promise).set_handle() };
    promise.cast()
}

/// The promise; None: null. One without a reference is fatal.
fn alive<'a>(promise: *mut c_void, caller: &str) -> Option<&'a Promise> {
    // SAFETY: the exported functions' contract; promises' memory is never unmapped.
    let promise = unsafe { promise.cast::<Promise>().as_ref() }?;
    promise.check_alive(caller);
    Some(promise)
}

/// # Safety
/// The exported functions' contract.
unsafe fn combined(kind: Kind, promises: *const *mut c_void, n: i64) -> *mut c_void {
    // SAFETY: the caller's promise. A combination is a promise like any other.
    unsafe {
        let Some(inputs) = super::promise::inputs(promises.cast(), usize::try_from(n).unwrap_or(usize::MAX))
        else {
            return null_mut();
        };
        let result = combine(kind, inputs);
        handle((!result.is_null()).then_some(result).ok_or(GOROUTINE_ENOMEM))
    }
}

/// The value, or the reason. Does not return when the caller was cancelled.
///
/// # Safety
/// The calling frames can be given up.
unsafe fn value_of(outcome: Result<crate::promise::Outcome, GoroutineStatus>) -> *mut c_void {
    match outcome {
        Ok(outcome) if matches!(outcome.status, GOROUTINE_OK | GOROUTINE_EREJECTED) => outcome.value,
        // SAFETY: the caller's promise.
        Err(GOROUTINE_ECANCELED) => unsafe { leave() },
        _ => null_mut(),
    }
}

/// Ends the running goroutine, which was cancelled.
///
/// # Safety
/// On a goroutine; the calling frames can be given up.
unsafe fn leave() -> ! {
    // SAFETY: the caller's promise.
    unsafe { super::goroutine::goroutine_exit(GOROUTINE_ECANCELED, null_mut()) }
}

fn sleep(ns: u64) {
    loop {
        match ops::sleep::sleep(ns) {
            GOROUTINE_OK => return,
            // SAFETY: only goroutines are cancelled; nothing here needs to be undone.
            GOROUTINE_ECANCELED => unsafe { leave() },
            _ => ops::sleep::sleep(0), // no memory for a timer: there may be some later
        };
    }
}

fn timer(function: *mut c_void, delay: u64, period: u64) -> i64 {
    if function.is_null() {
        return i64::from(GOROUTINE_EINVAL);
    }
    let target = Target::Call {
        f: function as u64,
        arg: null_mut(),
    };
    timers::start(Request {
        delay,
        period,
        target,
        options: None,
    })
}

/// # Safety
/// `lock` came from __runtime_lock_create and was not destroyed, or is null.
unsafe fn mutex<'a>(lock: *mut c_void) -> Option<&'a Mutex> {
    // SAFETY: the caller's promise.
    unsafe { lock.cast::<Mutex>().as_ref() }
}

/// Whether the caller has the lock now. With GOROUTINE_FOREVER only a NULL is not locked.
///
/// # Safety
/// As [`mutex`].
unsafe fn locked(lock: *mut c_void, timeout_ns: u64) -> bool {
    // SAFETY: the caller's promise.
    let Some(mutex) = (unsafe { mutex(lock) }) else {
        return false;
    };
    loop {
        match mutex.lock(timeout_ns) {
            GOROUTINE_OK | GOROUTINE_EOWNERDEAD => return true,
            // SAFETY: only goroutines are cancelled; nothing here needs to be undone.
            GOROUTINE_ECANCELED => unsafe { leave() },
            _ if timeout_ns != GOROUTINE_FOREVER => return false,
            GOROUTINE_EAGAIN => report::fatal("__runtime_lock_lock: locked 2^32 times"),
            _ => ops::sleep::sleep(0), // no memory to wait with: there may be some later
        };
    }
}

fn millis(ms: i64) -> u64 {
    (ms.max(0) as u64).saturating_mul(MS)
}

/// Milliseconds as emitted code has them, an integer or the bits of a double, in nanoseconds.
fn delay_ns(delay: i64) -> u64 {
    match u64::try_from(delay) {
        Ok(ms) if ms < 1 << 52 => ms.saturating_mul(MS),
        // The conversion saturates, and makes 0 of NaN and of what is negative.
        _ => (f64::from_bits(delay as u64) * MS as f64) as u64,
    }
}

/// For functions that cannot say it otherwise.
#[cold]
fn complain(who: &str, status: GoroutineStatus) {
    let name = describe(status).map_or(c"GOROUTINE_UNKNOWN", |d| d.0);
    report::Line::new()
        .text(who)
        .text(": ")
        .raw(name.to_bytes())
        .emit();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delay_is_an_integer_or_the_bits_of_a_double() {
        let bits = |ms: f64| delay_ns(ms.to_bits() as i64);
        assert_eq!([delay_ns(0), delay_ns(1), delay_ns(250)], [0, MS, 250 * MS]);
        assert_eq!(delay_ns((1 << 52) - 1), ((1u64 << 52) - 1).saturating_mul(MS));
        assert_eq!(delay_ns(1 << 52), 0); // the smallest normal double
        assert_eq!(
            [bits(0.5), bits(1.0), bits(1.5), bits(250.0)],
            [MS / 2, MS, MS * 3 / 2, 250 * MS]
        );
        assert_eq!(
            [
                bits(-0.0),
                bits(-1.0),
                bits(f64::NEG_INFINITY),
                bits(f64::NAN),
                bits(-f64::NAN)
            ],
            [0; 5]
        );
        assert_eq!([bits(f64::INFINITY), bits(f64::MAX), bits(1e300)], [u64::MAX; 3]);
        assert_eq!([delay_ns(-1), delay_ns(-5), delay_ns(i64::MIN)], [0; 3]); // NaNs, and -0.0
    }
}
