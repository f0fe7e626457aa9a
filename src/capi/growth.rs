//! More stack, for emitted code with a prologue check and for C.

use crate::abi::GoroutineFn;
use crate::context::{goroutine_asm_more_stack, goroutine_asm_more_stack_prologue};
use core::ffi::c_void;

/// For emitted code alone, not a C function: called first in a function whose prologue check failed, with r10 = the bytes of its frame and r11 =
/// those of its stack arguments (at most 32,768), which are copied. The function goes on after the call on a linked segment, rsp at 8 mod 16,
/// its arguments at [rsp + 8], every register but r10, r11 and the flags as it was; what is on the stack so far stays where it is. Its `ret` goes
/// to its caller by way of the library, which keeps rax, rdx, xmm0 and xmm1, and takes the segment off. If the instruction after the call is a
/// `ret` (C3), the function goes on behind it: then the CPU predicts all returns (docs/jit.md).
/// On a plain thread, and where C calls emitted code without goroutine_callback_run, it changes nothing and goes on.
/// Beyond `stack_bytes_max`, or out of memory: a stack overflow, as in a guard.
/// Context:   T, G.
/// Parks:     never.
/// Stack:     up to 128 bytes of the goroutine's.
/// Since:     ABI 1.
///
/// # Safety
/// As above.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_more_stack_prologue() {
    jump!(goroutine_asm_more_stack_prologue)
}

/// Runs `f(arg)` on a linked segment, 64 KiB first, and each that is called out of another larger than that, up to the
/// config's `stack_bytes_max`. On a plain thread, and in C that a foreign call runs: a call.
/// Beyond the maximum, or out of memory: a stack overflow, as in a guard.
/// Context:   T, G.
/// Parks:     never; `f` may.
/// Stack:     up to 128 bytes of the goroutine's.
/// Returns:   what `f` returns; NULL for a NULL `f`.
/// Since:     ABI 1.
///
/// # Safety
/// `f` may be called with `arg`.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_more_stack(f: GoroutineFn, arg: *mut c_void) -> *mut c_void {
    jump!(goroutine_asm_more_stack)
}
