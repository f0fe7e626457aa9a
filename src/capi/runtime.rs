//! The runtime: start, run, wait, shut down.

use crate::abi::*;
use crate::context::tls;
use crate::sched::{bind, config, park, runtime};
use crate::sys::report::wrong_field;
use core::ffi::{CStr, c_char, c_void};
use core::mem::size_of;

/// The ABI version of the library that is loaded: compare it with `GOROUTINE_ABI_VERSION`.
/// Context:   T, G, R, S.
/// Returns:   the version.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_abi_version() -> u32 {
    realign!(inner::abi_version)
}

/// The version of the library that is loaded, as in "0.1.0".
/// Context:   T, G, R, S.
/// Returns:   a string that lives as long as the library.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_version() -> *const c_char {
    realign!(inner::version)
}

/// The name of a status: "GOROUTINE_ETIMEDOUT"; of an errno that has no constant here: "ECONNRESET".
/// Context:   T, G, R, S.
/// Returns:   a string that lives as long as the library; "GOROUTINE_UNKNOWN" for a value that is no status.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_status_name(status: GoroutineStatus) -> *const c_char {
    realign!(inner::status_name)
}

/// A sentence for people about a status.
/// Context:   T, G, R, S.
/// Returns:   a string that lives as long as the library.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_status_message(status: GoroutineStatus) -> *const c_char {
    realign!(inner::status_message)
}

/// The `fs:` offset of the word that holds the current `Goroutine *`. The word is never NULL: outside a goroutine
/// it points to a dummy whose header is all zeros. The offset is the same on every thread while the library is loaded;
/// it may differ in the next process. Valid before start.
/// Context:   T, G, R, S.
/// Returns:   the offset: `mov reg, fs:[offset]`.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_tls_offset() -> i32 {
    realign!(inner::tls_offset)
}

/// Fills a config with the defaults. Use the macro `goroutine_config_init(c)`.
/// Context:   T, G, R, S. NULL is ignored.
/// Output:    `size` bytes at most, so a newer library does not write past an older caller's struct.
/// Since:     ABI 1.
///
/// # Safety
/// `config` has `size` writable bytes, or is NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_config_init_sized(config: *mut GoroutineConfig, size: usize) {
    realign!(inner::config_init_sized)
}

/// Starts the runtime. NULL: the defaults, changed by the environment (`GOROUTINE_WORKERS`, `GOROUTINE_STACK_BYTES`,
/// `GOROUTINE_STACK_BYTES_MAX`, `GOROUTINE_NO_SIGNAL_HANDLERS`, `GOROUTINE_LEARN_STACKS`,
/// `GOROUTINE_IO_URING`). The first spawn, timer or async operation of a process starts it so by itself;
/// after a shutdown only this function does.
/// Context:   T, G.
/// Ownership: `config` is copied.
/// Returns:   GOROUTINE_OK, GOROUTINE_EALREADY (it runs), GOROUTINE_EINVAL (stderr says which field), GOROUTINE_ENOMEM (threads),
/// GOROUTINE_ENOSYS (the kernel cannot do what an option needs); a negative errno: the trace that GOROUTINE_TRACE asks for cannot be written
/// (stderr says why).
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_runtime_start(config: *const GoroutineConfig) -> GoroutineStatus {
    realign!(inner::runtime_start)
}

/// Starts the runtime if need be, runs `main_fn(arg)` as a goroutine, and waits until nothing is left that keeps the
/// program alive. The calling thread never runs goroutines. It does not shut down.
/// Context:   T.
/// Output:    `*result` (may be NULL): the value, or the reason.
/// Returns:   what `main_fn` ended with (GOROUTINE_OK, GOROUTINE_EREJECTED, ...); GOROUTINE_EINVAL, GOROUTINE_EDEADLK (on a goroutine, or a
/// thread of the library; with GOROUTINE_CONFIG_DEADLOCK_REPORT also when all goroutines that are left are asleep for good, as
/// goroutine_runtime_wait has it: they stay, and `main_fn` may be one of them), GOROUTINE_ENOMEM, GOROUTINE_ESHUTDOWN.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_runtime_run(
    main_fn: GoroutineFn,
    arg: *mut c_void,
    result: *mut *mut c_void,
) -> GoroutineStatus {
    realign_with_site!(inner::runtime_run)
}

/// Waits until no goroutine (but daemons), timer (but unreferenced ones) or async operation is left.
/// Context:   T.
/// Returns:   GOROUTINE_OK (also when nothing was ever started), GOROUTINE_EAGAIN (`timeout_ns` 0), GOROUTINE_ETIMEDOUT,
/// GOROUTINE_EDEADLK (on a goroutine, or a thread of the library, which would wait for itself; with GOROUTINE_CONFIG_DEADLOCK_REPORT also
/// when all goroutines are asleep for good, as far as the library can know), GOROUTINE_ESHUTDOWN (a shutdown came, and something is left that only a plain thread could end).
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_runtime_wait(timeout_ns: u64) -> GoroutineStatus {
    realign!(inner::runtime_wait)
}

/// Refuses new goroutines, stops timers, cancels what is left, waits for it, joins every thread. A start may follow. From a start to
/// the end of a shutdown the library stays loaded, whoever calls dlclose on it; after that, a dlclose unmaps it, also one that came
/// before (unless another library has put its signal handlers on top of ours, and may call them).
/// After one, also when nothing ran or ever had, only goroutine_runtime_start starts it again: the first spawn no longer does by itself.
/// Context:   T.
/// Returns:   GOROUTINE_OK (also when nothing runs), GOROUTINE_EDEADLK (on a goroutine), GOROUTINE_ETIMEDOUT: still stopping, nothing
/// freed; what is stuck is named on stderr; call again. GOROUTINE_EAGAIN (`timeout_ns` 0): the same, without a report.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_runtime_shutdown(timeout_ns: u64) -> GoroutineStatus {
    realign_and_close!(inner::runtime_shutdown)
}

/// One more user of the runtime in this process. It does not start it.
/// Context:   T, G.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_runtime_retain() {
    realign!(inner::runtime_retain)
}

/// One user less; the last release shuts down.
/// Context:   T.
/// Returns:   GOROUTINE_OK, GOROUTINE_EPERM (nobody had retained), and as goroutine_runtime_shutdown.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_runtime_release(timeout_ns: u64) -> GoroutineStatus {
    realign_and_close!(inner::runtime_release)
}

/// Sets `size` and zeros the rest. Use the macro `goroutine_stats_init(s)`.
/// Context:   T, G, R, S. NULL is ignored.
/// Since:     ABI 1.
///
/// # Safety
/// `stats` has `size` writable bytes, or is NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_stats_init_sized(stats: *mut GoroutineStats, size: usize) {
    realign!(inner::stats_init_sized)
}

/// Counters of the running runtime. All zero when none runs.
/// Context:   T, G.
/// Output:    `out->size` bytes at most.
/// Returns:   GOROUTINE_OK, GOROUTINE_EINVAL (NULL, or a `size` below 8).
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_runtime_stats(out: *mut GoroutineStats) -> GoroutineStatus {
    realign!(inner::runtime_stats)
}

/// A plain thread will settle or ready something: until goroutine_external_end the runtime does not count as finished,
/// and no deadlock is reported.
/// Context:   T, G.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_external_begin() {
    realign!(inner::external_begin)
}

/// Ends a goroutine_external_begin.
/// Context:   T, G.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_external_end() {
    realign!(inner::external_end)
}

mod inner {
    use super::*;

    pub unsafe extern "C" fn abi_version() -> u32 {
        GOROUTINE_ABI_VERSION
    }

    pub unsafe extern "C" fn version() -> *const c_char {
        const VERSION: &CStr =
            match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
                Ok(version) => version,
                Err(_) => unreachable!(),
            };
        VERSION.as_ptr()
    }

    pub unsafe extern "C" fn status_name(status: GoroutineStatus) -> *const c_char {
        describe(status).map_or(c"GOROUTINE_UNKNOWN", |d| d.0).as_ptr()
    }

    pub unsafe extern "C" fn status_message(status: GoroutineStatus) -> *const c_char {
        describe(status)
            .map_or(c"Not a status of this library.", |d| d.1)
            .as_ptr()
    }

    pub unsafe extern "C" fn tls_offset() -> i32 {
        tls::offset()
    }

    pub unsafe extern "C" fn config_init_sized(config: *mut GoroutineConfig, size: usize) {
        if config.is_null() || size < size_of::<u32>() {
            return;
        }
        let mut defaults = config::defaults();
        defaults.size = size.min(size_of::<GoroutineConfig>()) as u32;
        // SAFETY: the caller's promise. All of it: the caller may know more fields than we do.
        unsafe {
            config.cast::<u8>().write_bytes(0, size);
            super::super::copy_sized(&defaults, config, size);
        }
    }

    pub unsafe extern "C" fn runtime_start(config: *const GoroutineConfig) -> GoroutineStatus {
        if config.is_null() {
            return runtime::start(None);
        }
        // SAFETY: the caller's promise: `size` is readable, and so many bytes are.
        unsafe {
            let size = (*config).size as usize;
            if size < core::mem::offset_of!(GoroutineConfig, stack_overflow)
                || size > size_of::<GoroutineConfig>()
            {
                return wrong_field(
                    "size",
                    "is not that of a GoroutineConfig: see goroutine_config_init",
                );
            }
            let mut copy = config::defaults();
            super::super::copy_sized(&*config, &raw mut copy, size);
            runtime::start(Some(copy))
        }
    }

    pub unsafe extern "C" fn runtime_run(
        main_fn: GoroutineFn,
        arg: *mut c_void,
        result: *mut *mut c_void,
        site: u64,
    ) -> GoroutineStatus {
        let Some(f) = main_fn else { return GOROUTINE_EINVAL };
        if bind::is_on_our_thread() {
            return GOROUTINE_EDEADLK;
        }
        // SAFETY: the caller's promise.
        unsafe {
            match crate::ops::main::run(f as usize as u64, arg, site) {
                Ok(outcome) => {
                    if !result.is_null()
                        && (outcome.status == GOROUTINE_OK || outcome.status == GOROUTINE_EREJECTED)
                    {
                        *result = outcome.value;
                    }
                    outcome.status
                }
                Err(status) => status,
            }
        }
    }

    pub unsafe extern "C" fn runtime_wait(timeout_ns: u64) -> GoroutineStatus {
        runtime::wait(deadline(timeout_ns))
    }

    pub unsafe extern "C" fn runtime_shutdown(timeout_ns: u64) -> runtime::Ended {
        runtime::shutdown(deadline(timeout_ns))
    }

    pub unsafe extern "C" fn runtime_retain() {
        runtime::retain();
    }

    pub unsafe extern "C" fn runtime_release(timeout_ns: u64) -> runtime::Ended {
        runtime::release(deadline(timeout_ns))
    }

    pub unsafe extern "C" fn stats_init_sized(stats: *mut GoroutineStats, size: usize) {
        if stats.is_null() || size < size_of::<u32>() {
            return;
        }
        // SAFETY: the caller's promise. All of it: the caller may know more fields than we do.
        unsafe {
            stats.cast::<u8>().write_bytes(0, size);
            stats
                .cast::<u32>()
                .write(size.min(size_of::<GoroutineStats>()) as u32);
        }
    }

    pub unsafe extern "C" fn runtime_stats(out: *mut GoroutineStats) -> GoroutineStatus {
        if out.is_null() {
            return GOROUTINE_EINVAL;
        }
        // SAFETY: the caller's promise: `size` is readable, and so many bytes are writable.
        unsafe {
            let size = (*out).size as usize;
            if !(8..=size_of::<GoroutineStats>()).contains(&size) {
                return GOROUTINE_EINVAL;
            }
            let mut stats = runtime::enter().map_or(GoroutineStats::default(), |runtime| runtime.stats());
            stats.size = size as u32;
            super::super::copy_sized(&stats, out, size);
        }
        GOROUTINE_OK
    }

    pub unsafe extern "C" fn external_begin() {
        runtime::external_begin();
    }

    pub unsafe extern "C" fn external_end() {
        runtime::external_end();
    }
}

/// An absolute time for a time-out; 0 stays 0.
fn deadline(timeout_ns: u64) -> u64 {
    match timeout_ns {
        0 => 0,
        ns => park::deadline_after(ns),
    }
}
