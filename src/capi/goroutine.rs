//! Goroutines: spawn, yield, sleep, park, cancel.

use crate::abi::*;
use crate::context::{
    goroutine_asm_leave, goroutine_asm_safepoint, goroutine_asm_safepoint_full, goroutine_asm_yield, tls,
};
use crate::goroutine::Goroutine;
use crate::ops;
use crate::promise::Promise as GoroutinePromise;
use crate::sched::{cancel, on_exit, park, runtime, spawn};
use crate::stack;
use crate::sys::report;
use core::ffi::c_void;
use core::mem::size_of;
use core::ptr::null_mut;

/// Runs `f(arg)` in a new goroutine, without a handle: the cheapest way.
/// Context:   T, G.
/// Parks:     never.
/// Returns:   GOROUTINE_OK, GOROUTINE_EINVAL, GOROUTINE_ENOMEM, GOROUTINE_ESHUTDOWN.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_go(f: GoroutineFn, arg: *mut c_void) -> GoroutineStatus {
    realign_with_site!(inner::go)
}

/// Runs `f(arg)` in a new goroutine.
/// Context:   T, G.
/// Parks:     never.
/// Ownership: the caller has one reference to the promise: goroutine_promise_release.
/// Returns:   a promise of its return value; NULL when out of memory or shut down, or `f` is NULL.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_spawn(f: GoroutineFn, arg: *mut c_void) -> *mut GoroutinePromise {
    realign_with_site!(inner::spawn)
}

/// Sets `size` and zeros the rest. Use the macro `goroutine_spawn_init(s)`.
/// Context:   T, G, R, S. NULL is ignored.
/// Since:     ABI 1.
///
/// # Safety
/// `request` has `size` writable bytes, or is NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_spawn_init_sized(request: *mut GoroutineSpawn, size: usize) {
    realign!(inner::spawn_init_sized)
}

/// Starts a goroutine with registers, stack arguments and options of the caller's choice.
/// Context:   T, G.
/// Parks:     never.
/// Ownership: everything is copied; the caller has one reference to `*out`.
/// Output:    `*out` (may be NULL): the promise of its rax.
/// Returns:   GOROUTINE_OK, GOROUTINE_EINVAL (stderr says which field), GOROUTINE_ENOMEM, GOROUTINE_ESHUTDOWN,
/// GOROUTINE_EFFITHREADS (GOROUTINE_SPAWN_BOUND with the policy GOROUTINE_FFI_FAIL).
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_spawn_with(
    request: *const GoroutineSpawn,
    out: *mut *mut GoroutinePromise,
) -> GoroutineStatus {
    realign_with_site!(inner::spawn_with)
}

/// The running goroutine.
/// Context:   T, G, R, S.
/// Returns:   it; NULL outside goroutines. Valid only inside that goroutine, or while the world is stopped.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_current() -> *mut Goroutine {
    realign!(inner::current)
}

/// The id of a goroutine, never reused in a process; in no order.
/// Context:   T, G, R, S.
/// Returns:   the id; 0 for NULL.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_id(g: *const Goroutine) -> u64 {
    realign!(inner::id)
}

/// The usable stack that the running goroutine runs on: its own, or a linked segment (`goroutine_more_stack`).
/// Context:   G, R, S.
/// Output:    lowest usable address, and one past the highest.
/// Returns:   GOROUTINE_OK, GOROUTINE_ENOTGOROUTINE, GOROUTINE_EINVAL (NULL).
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_stack_bounds(
    lo: *mut *mut c_void,
    hi: *mut *mut c_void,
) -> GoroutineStatus {
    realign!(inner::stack_bounds)
}

/// Lets other goroutines run. On a plain thread: sched_yield.
/// Context:   T, G.
/// Parks:     yes. It may resume on another thread.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_yield() {
    jump!(goroutine_asm_yield)
}

/// Parks the goroutine for at least `ns` nanoseconds. On a plain thread it sleeps the thread.
/// Context:   T, G.
/// Parks:     yes. It may resume on another thread.
/// Returns:   GOROUTINE_OK, GOROUTINE_ECANCELED, GOROUTINE_ENOMEM.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_sleep(ns: u64) -> GoroutineStatus {
    realign!(inner::sleep)
}

/// Ends the running goroutine, at any depth; its frames are abandoned. GOROUTINE_OK resolves its promise with `value`,
/// GOROUTINE_EREJECTED rejects it with `value`, another negative status settles it with that. A positive status, or a call
/// outside a goroutine, is fatal: one line on stderr, the `fatal` callback, abort.
/// Context:   G.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_exit(status: GoroutineStatus, value: *mut c_void) -> ! {
    realign!(inner::exit)
}

/// Gives way if somebody asked for it: emitted code calls it when `preempt` is set. Clobbers what a C call clobbers.
/// Context:   T, G.
/// Parks:     if asked to.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_safepoint() {
    jump!(goroutine_asm_safepoint)
}

/// The same, preserving every register, the flags and the vector state (x87, SSE, AVX, AVX-512), and recording the
/// `GoroutineContext` of the caller in the header's `context` meanwhile.
/// Context:   T, G.
/// Parks:     if asked to.
/// Stack:     up to 4 KiB of the goroutine's.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_safepoint_full() {
    jump!(goroutine_asm_safepoint_full)
}

/// Asks the goroutine behind a promise to stop: wakes it if it is parked, and makes this and every later parking call
/// of it return GOROUTINE_ECANCELED, until it ends. It is not stopped by force.
/// Context:   T, G.
/// Parks:     never.
/// Returns:   GOROUTINE_OK, GOROUTINE_EALREADY (it has ended), GOROUTINE_EINVAL (NULL, or a promise without a goroutine).
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_cancel(promise: *mut GoroutinePromise) -> GoroutineStatus {
    realign!(inner::cancel)
}

/// Until the matching goroutine_cancel_enable the running goroutine's parks are not cancelled. Nests. Does nothing
/// outside a goroutine.
/// Context:   T, G, R.
/// Parks:     never.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_cancel_disable() {
    realign!(inner::cancel_disable)
}

/// Ends a goroutine_cancel_disable. One too many is fatal.
/// Context:   T, G, R.
/// Parks:     never.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_cancel_enable() {
    realign!(inner::cancel_enable)
}

/// Parks the running goroutine. `commit(ticket, arg)` runs off its stack once the ticket may be readied; until it has
/// returned the goroutine does not run, so `arg` may lie on its stack. `false`: do not park. `commit` must not park.
/// Context:   G.
/// Parks:     yes. It may resume on another thread.
/// Returns:   what goroutine_ready passed; GOROUTINE_OK when `commit` gave false; GOROUTINE_ETIMEDOUT, GOROUTINE_EAGAIN (`timeout_ns` 0:
/// `commit` is not called), GOROUTINE_ECANCELED, GOROUTINE_EINVAL, GOROUTINE_ENOTGOROUTINE, GOROUTINE_ENOMEM.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_park(
    commit: GoroutineParkFn,
    arg: *mut c_void,
    timeout_ns: u64,
) -> GoroutineStatus {
    realign!(inner::park)
}

/// Readies the park of a ticket; that park returns `status`. A ticket readies once; a stale or made-up one does nothing,
/// also after a shutdown. On a goroutine it takes no lock; on a plain thread it may enter the kernel to wake a worker.
/// Not R, not S.
/// Context:   T, G.
/// Parks:     never.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_ready(ticket: GoroutineTicket, status: GoroutineStatus) {
    realign!(inner::ready)
}

mod inner {
    use super::*;

    pub unsafe extern "C" fn go(f: GoroutineFn, arg: *mut c_void, _: usize, site: u64) -> GoroutineStatus {
        let Some(f) = f else { return GOROUTINE_EINVAL };
        // SAFETY: `f` is a GoroutineFn.
        match unsafe { spawn::plain(f as usize as u64, arg, false, site) } {
            Ok(_) => GOROUTINE_OK,
            Err(status) => status,
        }
    }

    pub unsafe extern "C" fn spawn(
        f: GoroutineFn,
        arg: *mut c_void,
        _: usize,
        site: u64,
    ) -> *mut GoroutinePromise {
        let Some(f) = f else { return null_mut() };
        // SAFETY: `f` is a GoroutineFn.
        unsafe { spawn::plain(f as usize as u64, arg, true, site) }.unwrap_or(null_mut())
    }

    pub unsafe extern "C" fn spawn_init_sized(request: *mut GoroutineSpawn, size: usize) {
        if request.is_null() || size < size_of::<u32>() {
            return;
        }
        // SAFETY: the caller's promise. All of it: the caller may know more fields than we do.
        unsafe {
            request.cast::<u8>().write_bytes(0, size);
            request
                .cast::<u32>()
                .write(size.min(size_of::<GoroutineSpawn>()) as u32);
        }
    }

    pub unsafe extern "C" fn spawn_with(
        request: *const GoroutineSpawn,
        out: *mut *mut GoroutinePromise,
        _: usize,
        site: u64,
    ) -> GoroutineStatus {
        if request.is_null() {
            return GOROUTINE_EINVAL;
        }
        // SAFETY: the caller's promise: readable for its `size`, at least 4 bytes. A short one is completed with zeros.
        unsafe {
            let size = (*request).size as usize;
            if size < GOROUTINE_SPAWN_BYTES_MIN {
                return report::wrong_field(
                    "size",
                    "is not that of a GoroutineSpawn: see goroutine_spawn_init",
                );
            }
            let mut copy: GoroutineSpawn = core::mem::zeroed();
            super::super::copy_sized(&*request, &raw mut copy, size);
            match spawn::with(&copy, !out.is_null(), site) {
                Ok(promise) => {
                    if !out.is_null() {
                        *out = promise;
                    }
                    GOROUTINE_OK
                }
                Err(status) => status,
            }
        }
    }

    pub unsafe extern "C" fn current() -> *mut Goroutine {
        tls::current()
    }

    pub unsafe extern "C" fn id(g: *const Goroutine) -> u64 {
        // SAFETY: the caller's promise.
        unsafe { g.as_ref() }.map_or(0, Goroutine::id)
    }

    pub unsafe extern "C" fn stack_bounds(lo: *mut *mut c_void, hi: *mut *mut c_void) -> GoroutineStatus {
        if lo.is_null() || hi.is_null() {
            return GOROUTINE_EINVAL;
        }
        let g = tls::current();
        if g.is_null() {
            return GOROUTINE_ENOTGOROUTINE;
        }
        // SAFETY: the running goroutine.
        let bounds = unsafe { stack::running(g) };
        // SAFETY: the caller's promise.
        unsafe {
            *lo = bounds.low as *mut c_void;
            *hi = bounds.top as *mut c_void;
        }
        GOROUTINE_OK
    }

    pub unsafe extern "C" fn sleep(ns: u64) -> GoroutineStatus {
        ops::sleep::sleep(ns)
    }

    pub unsafe extern "C" fn exit(status: GoroutineStatus, value: *mut c_void) -> ! {
        let g = tls::current();
        if g.is_null() {
            report::fatal("goroutine_exit outside a goroutine");
        }
        if status > 0 {
            report::fatal("goroutine_exit with a positive status");
        }
        // SAFETY: on a goroutine, whose frames are given up.
        unsafe {
            (*g).wake_status = status;
            goroutine_asm_leave(on_exit, value)
        }
    }

    pub unsafe extern "C" fn cancel(promise: *mut GoroutinePromise) -> GoroutineStatus {
        // SAFETY: the caller's promise.
        let Some(promise) = (unsafe { promise.as_ref() }) else {
            return GOROUTINE_EINVAL;
        };
        promise.check_alive("goroutine_cancel");
        match runtime::enter() {
            Some(runtime) => cancel::cancel(promise, &runtime),
            None if promise.is_of_goroutine() => GOROUTINE_EALREADY,
            None => GOROUTINE_EINVAL,
        }
    }

    pub unsafe extern "C" fn cancel_disable() {
        let g = tls::current();
        if !g.is_null() {
            // SAFETY: the running goroutine's own count.
            unsafe { Goroutine::disable_cancel(g) };
        }
    }

    pub unsafe extern "C" fn cancel_enable() {
        let g = tls::current();
        if g.is_null() {
            return;
        }
        // SAFETY: the running goroutine's own count.
        unsafe {
            if (*g).cancel_disabled == 0 {
                report::fatal("goroutine_cancel_enable without a goroutine_cancel_disable");
            }
            Goroutine::enable_cancel(g);
        }
    }

    pub unsafe extern "C" fn park(
        commit: GoroutineParkFn,
        arg: *mut c_void,
        timeout_ns: u64,
    ) -> GoroutineStatus {
        let Some(commit) = commit else {
            return GOROUTINE_EINVAL;
        };
        if tls::current().is_null() {
            return GOROUTINE_ENOTGOROUTINE;
        }
        if timeout_ns == 0 {
            return GOROUTINE_EAGAIN;
        }
        // SAFETY: on a goroutine.
        unsafe { park::park_with(commit, arg, park::deadline_after(timeout_ns)) }
    }

    pub unsafe extern "C" fn ready(ticket: GoroutineTicket, status: GoroutineStatus) {
        park::ready(ticket, status);
    }
}
