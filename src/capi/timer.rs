//! Timers.

use crate::abi::*;
use crate::sched::spawn;
use crate::sched::timers::{self, Request};
use crate::sys::report::wrong_field;
use crate::timer::slot::{Options, Target};
use core::ffi::{CStr, c_void};

/// Runs `f(arg)` in a goroutine of its own (it may clobber registers and call goroutine_exit), before regular work, once `delay_ns` has passed, and then every `period_ns`
/// (0: once). Intervals keep to the grid of the first deadline; runs of one timer never overlap, missed beats are left out.
/// Firing never fails for want of memory: it waits for some.
/// Context:   T, G.
/// Parks:     never.
/// Returns:   an id (above 0, below 2^53, never reused), or GOROUTINE_EINVAL, GOROUTINE_ENOMEM, GOROUTINE_ESHUTDOWN.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_timer_start(
    delay_ns: u64,
    period_ns: u64,
    f: GoroutineFn,
    arg: *mut c_void,
) -> i64 {
    realign!(inner::timer_start)
}

/// The same with a spawn request: `request->fn(int_args[0])` runs, with its `stack_bytes`, `name`, `user` and rbx; the other
/// registers are not used. `drop(arg)` runs once, after the stop and after any running callback. `flags`:
/// GOROUTINE_TIMER_UNREF.
/// Context:   T, G.
/// Parks:     never.
/// Ownership: everything is copied; `drop` owns int_args[0] from a successful return on.
/// Returns:   as goroutine_timer_start.
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_timer_start_with(
    delay_ns: u64,
    period_ns: u64,
    request: *const GoroutineSpawn,
    drop: GoroutineDropFn,
    flags: u32,
) -> i64 {
    realign!(inner::timer_start_with)
}

/// Stops a timer. Any value may be passed.
/// Context:   T, G.
/// Parks:     never.
/// Returns:   true: it had not fired, or was periodic, and will not run again (a run under way goes on to its end).
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_timer_stop(id: i64) -> bool {
    realign!(inner::timer_stop)
}

mod inner {
    use super::*;

    pub unsafe extern "C" fn timer_start(
        delay_ns: u64,
        period_ns: u64,
        f: GoroutineFn,
        arg: *mut c_void,
    ) -> i64 {
        let Some(f) = f else {
            return i64::from(GOROUTINE_EINVAL);
        };
        let target = Target::Call {
            f: f as usize as u64,
            arg,
        };
        timers::start(Request {
            delay: delay_ns,
            period: period_ns,
            target,
            options: None,
        })
    }

    pub unsafe extern "C" fn timer_start_with(
        delay_ns: u64,
        period_ns: u64,
        request: *const GoroutineSpawn,
        drop: GoroutineDropFn,
        flags: u32,
    ) -> i64 {
        // SAFETY: the caller's promise.
        super::super::id_or(
            unsafe { timer_request(delay_ns, period_ns, request, drop, flags) }.map(timers::start),
        )
    }

    pub unsafe extern "C" fn timer_stop(id: i64) -> bool {
        timers::stop(id)
    }
}

/// # Safety
/// goroutine_timer_start_with's contract.
unsafe fn timer_request(
    delay: u64,
    period: u64,
    request: *const GoroutineSpawn,
    drop: GoroutineDropFn,
    flags: u32,
) -> Result<Request, GoroutineStatus> {
    if request.is_null() || flags & !GOROUTINE_TIMER_UNREF != 0 {
        return Err(GOROUTINE_EINVAL);
    }
    // SAFETY: the caller's promise: readable for its size. A short one is completed with zeros.
    let (copy, name) = unsafe {
        let size = (*request).size as usize;
        if size < GOROUTINE_SPAWN_BYTES_MIN {
            return Err(wrong_field(
                "size",
                "is not that of a GoroutineSpawn: see goroutine_spawn_init",
            ));
        }
        if (*request).r#fn.is_null() {
            return Err(wrong_field("fn", "is NULL"));
        }
        let mut copy: GoroutineSpawn = core::mem::zeroed();
        super::copy_sized(&*request, &raw mut copy, size);
        let name = (!copy.name.is_null()).then(|| CStr::from_ptr(copy.name).to_owned());
        (copy, name)
    };
    spawn::check(&copy)?;
    let target = Target::Call {
        f: copy.r#fn as usize as u64,
        arg: copy.int_args[0] as *mut c_void,
    };
    let unref = flags & GOROUTINE_TIMER_UNREF != 0;
    Ok(Request {
        delay,
        period,
        target,
        options: Some(Box::new(Options {
            spawn: Some(copy),
            name,
            drop,
            unref,
        })),
    })
}
