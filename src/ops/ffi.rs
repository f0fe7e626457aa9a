//! Foreign calls: what has to happen before one, if anything has. The calls themselves are in asm/x86_64_sysv_foreign.S.

use crate::abi::*;
use crate::context::tls;
use crate::goroutine::Goroutine;
use crate::sched::{attach, bind, native, runtime};
use std::ffi::c_void;

/// For the assembly: call on the native stack.
pub const HOW_NATIVE: u32 = 0;
/// Call as any function is called: we are on a native stack already.
pub const HOW_DIRECT: u32 = 1;
/// Let go of the worker, and call on the native stack.
pub const HOW_BLOCKING: u32 = 2;
/// Do not call.
const HOW_NOTHING: u32 = 3;

/// Makes ready for a call of this kind, and says how to make it.
///
/// # Safety
/// Called by the assembly, on whichever stack the caller is. It may park.
pub unsafe extern "C" fn on_ffi_slow(
    current: *mut Goroutine,
    f: *const c_void,
    _: *mut c_void,
    kind: u32,
) -> u32 {
    let stranger = !current.is_null() && current != tls::current_or_dummy();
    let how = if stranger {
        Err(GOROUTINE_EINVAL) // not the goroutine that runs here
    } else {
        // SAFETY: the caller's promise.
        unsafe { prepare(kind, f) }
    };
    how.unwrap_or_else(|status| {
        if kind == GOROUTINE_FFI_BOUND {
            // SAFETY: as above.
            unsafe { report(status) };
        }
        HOW_NOTHING
    })
}

/// The same for the checked form: a negative status, or how.
///
/// # Safety
/// As [`on_ffi_slow`].
pub unsafe extern "C" fn on_ffi_checked(kind: u32, f: *const c_void) -> i32 {
    // SAFETY: the caller's promise.
    match unsafe { prepare(kind, f) } {
        Ok(how) => how as i32,
        Err(status) => status,
    }
}

unsafe fn prepare(kind: u32, f: *const c_void) -> Result<u32, GoroutineStatus> {
    if f.is_null() || kind > GOROUTINE_FFI_BLOCKING {
        return Err(GOROUTINE_EINVAL);
    }
    let g = tls::current();
    if g.is_null() {
        return Ok(HOW_DIRECT);
    }
    // SAFETY: the running goroutine.
    unsafe {
        if kind == GOROUTINE_FFI_BOUND {
            match bind(g) {
                Err(GOROUTINE_EFFITHREADS) if runs_unbound() => {}
                result => result?,
            }
        }
        if (*g).foreign_sp != 0 {
            return Ok(HOW_DIRECT);
        }
        if kind == GOROUTINE_FFI_BLOCKING && !bind::is_bound(g) {
            return Ok(HOW_BLOCKING);
        }
        native::prepare(g);
    }
    Ok(HOW_NATIVE)
}

/// `goroutine_ffi_bind`: the running goroutine has a thread of its own afterwards.
///
/// # Safety
/// `g` is the running goroutine.
pub unsafe fn bind(g: *mut Goroutine) -> Result<(), GoroutineStatus> {
    // SAFETY: the caller's promise.
    unsafe {
        if native::is_native(g) && native::frames_live(g) {
            native::keep_thread(g); // it cannot wait for one
            return Ok(());
        }
        bind::bind(g)
    }
}

/// `goroutine_ffi_unbind`.
///
/// # Safety
/// `g` is the running goroutine.
pub unsafe fn unbind(g: *mut Goroutine) -> Result<(), GoroutineStatus> {
    // SAFETY: the caller's promise.
    unsafe {
        if bind::is_bound(g) && (attach::is_attached(g) || native::frames_live(g)) {
            return Err(GOROUTINE_EPERM);
        }
        bind::unbind(g)
    }
}

/// What to do when all threads are taken: GOROUTINE_FFI_UNBOUND.
fn runs_unbound() -> bool {
    runtime::enter().is_some_and(|inside| inside.config.ffi_exhausted == GOROUTINE_FFI_UNBOUND)
}

/// `ffi_failed`.
unsafe fn report(status: GoroutineStatus) {
    if let Some(inside) = runtime::enter()
        && let Some(failed) = inside.config.ffi_failed
    {
        // SAFETY: the configured function and its argument.
        unsafe { failed(tls::current(), status, inside.config.ffi_failed_arg) };
    }
}
