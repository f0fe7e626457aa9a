//! Explicit context switching: any thread, no runtime needed.

use crate::abi::*;
use crate::context;
use core::ffi::c_void;

/// Saves the full register file. A later restore_context of it returns from this call again.
/// Context:   T, G, R, S.
/// Since:     ABI 1.
///
/// # Safety
/// `to` is writable and 16-aligned.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn save_context(to: *mut GoroutineContext) {
    jump!(context::goroutine_asm_save_context)
}

/// Continues a saved or made register file: all general registers, flags, x87, SSE, exactly its rsp. The 128 bytes below
/// that rsp are left alone.
/// Context:   T, G, R, S.
/// Since:     ABI 1.
///
/// # Safety
/// `from` is a valid context whose stack is still there.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn restore_context(from: *const GoroutineContext) -> ! {
    jump!(context::goroutine_asm_restore_context)
}

/// save_context(from) and restore_context(to) in one: the call returns when somebody switches back.
/// Context:   T, G, R, S.
/// Since:     ABI 1.
///
/// # Safety
/// As save_context and restore_context.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn switch_context(from: *mut GoroutineContext, to: *const GoroutineContext) {
    jump!(context::goroutine_asm_switch_context)
}

/// Another name of switch_context.
/// Context:   T, G, R, S.
/// Since:     ABI 1.
///
/// # Safety
/// As switch_context.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn switch_goroutine_context(from: *mut GoroutineContext, to: *const GoroutineContext) {
    jump!(context::goroutine_asm_switch_context)
}

/// switch_context with all signals blocked from before the first register is saved until the target's stack is in
/// place; the caller's mask holds on both sides afterwards.
/// Context:   T, G, S.
/// Since:     ABI 1.
///
/// # Safety
/// As switch_context.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn signal_safe_context_switch(
    from: *mut GoroutineContext,
    to: *const GoroutineContext,
) {
    jump!(context::goroutine_asm_signal_safe_switch)
}

/// Makes a context that calls `f(arg)` on the given stack. `f` must not return (fatal): it switches away.
/// Context:   T, G, R, S.
/// Ownership: the stack stays the caller's.
/// Returns:   GOROUTINE_OK, GOROUTINE_EINVAL (NULL, `to` not 16-aligned, or less than 1 KiB of stack).
/// Since:     ABI 1.
///
/// # Safety
/// The stack is writable memory.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_context_init(
    to: *mut GoroutineContext,
    stack_base: *mut c_void,
    stack_size: usize,
    f: GoroutineFn,
    arg: *mut c_void,
) -> GoroutineStatus {
    realign!(inner::context_init)
}

mod inner {
    use super::*;

    pub unsafe extern "C" fn context_init(
        to: *mut GoroutineContext,
        stack_base: *mut c_void,
        stack_size: usize,
        f: GoroutineFn,
        arg: *mut c_void,
    ) -> GoroutineStatus {
        let Some(f) = f else { return GOROUTINE_EINVAL };
        if to.is_null() || !(to as usize).is_multiple_of(16) || stack_base.is_null() || stack_size < 1024 {
            return GOROUTINE_EINVAL;
        }
        // SAFETY: the caller's promise, and the checks above.
        unsafe { context::make(to, stack_base.cast(), stack_size, f as usize as u64, arg) };
        GOROUTINE_OK
    }
}
