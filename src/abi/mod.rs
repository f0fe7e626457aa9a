//! What crosses the C boundary: layouts, constants, status codes. Imports nothing of the library.
//!
//! Emitted code and compiled programs hold these offsets as literals, so nothing here moves within ABI 1.

mod code;
mod config;
mod context;
mod errno;
mod spawn;
mod status;
mod sync;

pub use code::*;
pub use config::*;
pub use context::*;
pub use spawn::*;
pub use status::*;
pub use sync::*;

use core::ffi::c_void;

/// The version of the binary interface this library implements.
pub const GOROUTINE_ABI_VERSION: u32 = 1;
/// A time-out that never passes.
pub const GOROUTINE_FOREVER: u64 = u64::MAX;
/// Bytes below `stack_limit` that are always usable: enough for every function of the library.
pub const GOROUTINE_STACK_RESERVE: u64 = 4096;
/// Bytes of the overflowed stack on which the config's `stack_overflow` runs.
pub const GOROUTINE_OVERFLOW_RESERVE: u64 = 16_384;

/// Offset of `stack_limit` (`uint64_t`) in a `Goroutine`: a prologue compares `rsp` with it.
pub const GOROUTINE_OFFSET_STACK_LIMIT: usize = 0;
/// Offset of `id` (`uint64_t`), never reused.
pub const GOROUTINE_OFFSET_ID: usize = 8;
/// Offset of `preempt` (`uint32_t`): when non-zero, call `goroutine_safepoint`.
pub const GOROUTINE_OFFSET_PREEMPT: usize = 16;
/// Offset of `flags` (`uint32_t`): `GOROUTINE_FLAG_*`.
pub const GOROUTINE_OFFSET_FLAGS: usize = 20;
/// Offset of `native_stack` (`uint64_t`): where the next foreign call's stack starts; 0 outside goroutines.
pub const GOROUTINE_OFFSET_NATIVE_STACK: usize = 24;
/// Offset of `context` (`GoroutineContext *`): set while stopped with the full register file.
pub const GOROUTINE_OFFSET_CONTEXT: usize = 32;
/// Offset of `user[3]` (`uint64_t`): they belong to the compiler, zero at start, roots for a collector.
pub const GOROUTINE_OFFSET_USER: usize = 40;
/// Offset of `foreign_sp` (`uint64_t`): non-zero while in foreign code.
pub const GOROUTINE_OFFSET_FOREIGN_SP: usize = 64;
/// Bytes of a `Goroutine` that are visible to emitted code.
pub const GOROUTINE_HEADER_BYTES: usize = 128;

/// Bit of `flags`: the goroutine is bound to an OS thread.
pub const GOROUTINE_FLAG_BOUND: u32 = 1;
/// Bit of `flags`: stands for a thread the library did not make.
pub const GOROUTINE_FLAG_ATTACHED: u32 = 2;
/// Bit of `flags`: somebody asked it to stop.
pub const GOROUTINE_FLAG_CANCEL: u32 = 4;

/// `goroutine_ffi_call`: on the goroutine's own thread (`execute_ffi_call`).
pub const GOROUTINE_FFI_BOUND: u32 = 0;
/// `goroutine_ffi_call`: on whichever thread runs the goroutine (`goroutine_ffi_call_leaf`).
pub const GOROUTINE_FFI_LEAF: u32 = 1;
/// `goroutine_ffi_call`: the same, and other goroutines go on elsewhere (`goroutine_ffi_call_blocking`).
pub const GOROUTINE_FFI_BLOCKING: u32 = 2;

/// Offset of `state` (`uint32_t`, acquire load) in a `GoroutinePromise`.
pub const GOROUTINE_PROMISE_OFFSET_STATE: usize = 0;
/// Offset of `value` (`void *`), valid once `state` is not `GOROUTINE_PROMISE_PENDING`.
pub const GOROUTINE_PROMISE_OFFSET_VALUE: usize = 8;
/// Promise state: not settled.
pub const GOROUTINE_PROMISE_PENDING: u32 = 0;
/// Promise state: settled with a value.
pub const GOROUTINE_PROMISE_RESOLVED: u32 = 1;
/// Promise state: settled with a reason.
pub const GOROUTINE_PROMISE_REJECTED: u32 = 2;

/// `goroutine_timer_start_with`: the timer does not keep the program alive.
pub const GOROUTINE_TIMER_UNREF: u32 = 1;

/// Kind of an async operation: a timer.
pub const GOROUTINE_ASYNC_TIMER: u32 = 0;
/// Kind of an async operation: an HTTP request.
pub const GOROUTINE_ASYNC_HTTP_REQUEST: u32 = 1;
/// Kind of an async operation: file input or output.
pub const GOROUTINE_ASYNC_FILE_IO: u32 = 2;
/// Kind of an async operation: a promise combinator.
pub const GOROUTINE_ASYNC_PROMISE_ALL: u32 = 3;
/// Kind of an async operation: the caller's own.
pub const GOROUTINE_ASYNC_CUSTOM: u32 = 4;
/// One of `GOROUTINE_ASYNC_*`.
pub type GoroutineAsyncType = u32;

/// A goroutine's function: one argument in, one value out. NULL is refused with `GOROUTINE_EINVAL`.
pub type GoroutineFn = Option<unsafe extern "C" fn(arg: *mut c_void) -> *mut c_void>;

/// One park of one goroutine. Copy it freely: it readies once, and a stale one does nothing.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GoroutineTicket {
    /// Names the goroutine. Opaque.
    pub goroutine: u64,
    /// Names the park; unique in the process.
    pub sequence: u64,
}

/// Runs off the goroutine's stack once `ticket` may be readied; `false`: do not park.
pub type GoroutineParkFn = Option<unsafe extern "C" fn(ticket: GoroutineTicket, arg: *mut c_void) -> bool>;

/// Runs when a promise settles, once, in a goroutine of its own.
pub type GoroutineThenFn =
    Option<unsafe extern "C" fn(arg: *mut c_void, status: GoroutineStatus, value: *mut c_void)>;

/// Runs after a call that `goroutine_ffi_call_async` made, on the thread that made it.
pub type GoroutineFfiDoneFn = Option<unsafe extern "C" fn(arg: *mut c_void, result: *mut c_void)>;

/// Frees a value that its owner drops.
pub type GoroutineDropFn = Option<unsafe extern "C" fn(value: *mut c_void)>;

/// What `goroutine_promise_all_settled` gives for each input.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct GoroutineSettled {
    /// `GOROUTINE_OK` or the status that the promise was rejected with.
    pub status: GoroutineStatus,
    /// The value or the reason.
    pub value: *mut c_void,
}
