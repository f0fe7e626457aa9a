//! C++ and other languages' runtimes: exceptions that are kept per goroutine, and what becomes of those that nobody catches.
//!
//! A C++ runtime keeps two words per thread (`Exceptions`). If a goroutine parks inside a `catch` block, and another one on the same
//! thread throws, or if it goes on on another thread, those are the wrong words. To save and restore them at every switch would cost
//! all goroutines something for the few that throw; so it is the question where they are that gets another answer. The C++ runtimes
//! ask through two exported functions of the Itanium ABI, and the dynamic loader binds that call to the first definition in its
//! order of search: here, or in a program that includes goroutine.hpp, which has the same two. goroutine.hpp also finds out whether
//! it worked. docs/cpp.md says what was tried instead.

use crate::abi::*;
use crate::context::goroutine_asm_exceptions;
use crate::promise::Outcome;
use crate::sched::runtime;
use core::ffi::{CStr, c_char, c_void};

/// C++'s `__cxa_eh_globals` of the running goroutine, or outside goroutines of the thread: a pointer and an `unsigned int`. What the
/// library's `__cxa_get_globals` gives; goroutine.hpp has its own definition of that on top of this.
/// Context:   T, G, R, S.
/// Parks:     never.
/// Ownership: the library's. A goroutine's stays where it is until the goroutine ends.
/// Returns:   their address.
/// Since:     ABI 1.
///
/// # Safety
/// None.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_cxx_exceptions() -> *mut c_void {
    jump!(goroutine_asm_exceptions)
}

/// Reports a failure that nobody looked at as the library reports its own: to the config's `unhandled`, or else on stderr, where
/// `text` (NULL: `status` and `reason`) says what it was. `goroutine` is its id, 0: unknown; the callback gets the goroutine itself only if
/// it is the running one. A GOROUTINE_ECANCELED during a shutdown is not reported: the shutdown did that.
/// Context:   T, G.
/// Parks:     never.
/// Since:     ABI 1.
///
/// # Safety
/// `text` is a string, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_report_unhandled(
    goroutine: u64,
    status: GoroutineStatus,
    reason: *mut c_void,
    text: *const c_char,
) {
    realign!(inner::report_unhandled)
}

/// cbindgen:ignore
/// The C++ ABI's name of goroutine_cxx_exceptions.
///
/// # Safety
/// None.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __cxa_get_globals() -> *mut c_void {
    jump!(goroutine_asm_exceptions)
}

/// cbindgen:ignore
/// The same: the ABI has it for callers that called the other before.
///
/// # Safety
/// None.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __cxa_get_globals_fast() -> *mut c_void {
    jump!(goroutine_asm_exceptions)
}

mod inner {
    use super::*;

    pub unsafe extern "C" fn report_unhandled(
        goroutine: u64,
        status: GoroutineStatus,
        reason: *mut c_void,
        text: *const c_char,
    ) {
        // SAFETY: a string, or NULL.
        let text = (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) });
        let outcome = Outcome {
            value: reason,
            status,
        };
        runtime::report_unhandled(goroutine, outcome, text);
    }
}
