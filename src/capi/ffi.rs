//! Foreign calls: goroutines with an OS thread of their own.

use crate::abi::*;
use crate::context::tls;
use crate::goroutine::Goroutine;
use crate::sched::bind;

/// Whether a goroutine is bound to an OS thread.
/// Context:   T, G, R, S.
/// Returns:   true from its first bound call (or goroutine_ffi_bind, or a spawn with GOROUTINE_SPAWN_BOUND) on; false for NULL.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn is_goroutine_ffi_bound(g: *const Goroutine) -> bool {
    realign!(inner::is_bound)
}

/// Binds the running goroutine to the thread it runs on: from now on that thread is its own, until it ends or unbinds.
/// When all `ffi_threads_max` threads are taken the configured policy decides.
/// Context:   G.
/// Parks:     if it has to wait for a thread: first come, first served, without a time-out; a cancel ends the wait, and waits
/// that cannot end are reported.
/// Returns:   GOROUTINE_OK (also if it was bound), GOROUTINE_EFFITHREADS (GOROUTINE_FFI_FAIL, GOROUTINE_FFI_UNBOUND), GOROUTINE_ENOMEM
/// (no thread could be made), GOROUTINE_ECANCELED, GOROUTINE_ENOTGOROUTINE.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_ffi_bind() -> GoroutineStatus {
    realign!(inner::bind)
}

/// Gives the thread of the running goroutine back; it goes on on a worker.
/// Context:   G.
/// Parks:     yes. It may resume on another thread.
/// Returns:   GOROUTINE_OK (also if it was not bound), GOROUTINE_EPERM (C frames are live: in a callback), GOROUTINE_ENOTGOROUTINE.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_ffi_unbind() -> GoroutineStatus {
    realign!(inner::unbind)
}

mod inner {
    use super::*;

    pub unsafe extern "C" fn is_bound(g: *const Goroutine) -> bool {
        // SAFETY: the caller's promise.
        !g.is_null() && unsafe { bind::is_bound(g) }
    }

    pub unsafe extern "C" fn bind() -> GoroutineStatus {
        let g = tls::current();
        if g.is_null() {
            return GOROUTINE_ENOTGOROUTINE;
        }
        // SAFETY: the running goroutine.
        unsafe { bind::bind(g) }.err().unwrap_or(GOROUTINE_OK)
    }

    pub unsafe extern "C" fn unbind() -> GoroutineStatus {
        let g = tls::current();
        if g.is_null() {
            return GOROUTINE_ENOTGOROUTINE;
        }
        // SAFETY: the running goroutine.
        unsafe { bind::unbind(g) }.err().unwrap_or(GOROUTINE_OK)
    }
}
