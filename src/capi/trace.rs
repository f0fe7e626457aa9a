//! Traces: what goroutines and threads do, in a file for Perfetto and chrome://tracing. docs/tracing.md tells how to read one.

use crate::abi::*;
use crate::context::goroutine_asm_ffi_blocking;
use crate::sched::tracing;
use core::ffi::{CStr, c_char, c_void};
use core::mem::transmute;
use core::ptr::null_mut;

/// Begins a trace: what goroutines and threads do is written to `path`, which is made, or emptied, until goroutine_trace_stop, the shutdown, or
/// the end of the process. Nobody waits for the file: what the writer does not get to in time is dropped, and counted there. Starts
/// the runtime with defaults if there never was one. The environment variable GOROUTINE_TRACE has each start of a runtime begin one.
/// A child of fork has no trace.
/// Context:   T, G.
/// Parks:     as goroutine_ffi_call_blocking, for as long as opening the file takes.
/// Returns:   GOROUTINE_OK; GOROUTINE_EALREADY (one runs); the negative errno of opening the file; GOROUTINE_EINVAL (NULL), GOROUTINE_ENOMEM,
/// GOROUTINE_ESHUTDOWN.
/// Since:     ABI 1.
///
/// # Safety
/// `path` is a string, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_trace_start(path: *const c_char) -> GoroutineStatus {
    realign!(inner::start)
}

/// Ends the trace: when this returns, the file is complete. How many events it has, and how many were dropped, is its last line, and in
/// GoroutineStats (`trace_events`, `trace_lost`).
/// Context:   T, G.
/// Parks:     as goroutine_ffi_call_blocking, until the file is written.
/// Returns:   GOROUTINE_OK; GOROUTINE_EALREADY (none runs, or somebody else stops it); the negative errno of the first write that failed.
/// Since:     ABI 1.
///
/// # Safety
/// Callable anywhere.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_trace_stop() -> GoroutineStatus {
    realign!(inner::stop)
}

mod inner {
    use super::*;

    pub unsafe extern "C" fn start(path: *const c_char) -> GoroutineStatus {
        if path.is_null() {
            return GOROUTINE_EINVAL;
        }
        // SAFETY: the caller's promise.
        let mut path = unsafe { CStr::from_ptr(path) };
        away(start_away, (&raw mut path).cast())
    }

    pub unsafe extern "C" fn stop() -> GoroutineStatus {
        away(stop_away, null_mut())
    }
}

type Away = unsafe extern "C" fn(arg: *mut c_void) -> *mut c_void;

unsafe extern "C" fn start_away(path: *mut c_void) -> *mut c_void {
    // SAFETY: `inner::start` waits for us.
    tracing::start(unsafe { *path.cast::<&CStr>() }) as usize as *mut c_void
}

unsafe extern "C" fn stop_away(_: *mut c_void) -> *mut c_void {
    tracing::stop() as usize as *mut c_void
}

/// On a native stack, without a worker: files are waited for.
fn away(f: Away, arg: *mut c_void) -> GoroutineStatus {
    // SAFETY: the assembly behind goroutine_ffi_call_blocking, which takes these two, and realigns.
    let call: unsafe extern "C" fn(Away, *mut c_void) -> *mut c_void =
        unsafe { transmute(goroutine_asm_ffi_blocking as *const ()) };
    // SAFETY: `f` takes `arg`.
    unsafe { call(f, arg) as usize as GoroutineStatus }
}
