//! Flags and requests of the synchronization objects.

use super::GoroutineStatus;
use core::ffi::c_void;

/// `goroutine_mutex_new`: its owner may lock it again, and unlocks it as often.
pub const GOROUTINE_MUTEX_RECURSIVE: u32 = 1;

/// `goroutine_group_new`: the first member that fails cancels the others.
pub const GOROUTINE_GROUP_CANCEL_ON_ERROR: u32 = 1;

/// `op` of a select's case: send the value at `value`.
pub const GOROUTINE_SELECT_SEND: u32 = 0;
/// `op`: receive into `value`.
pub const GOROUTINE_SELECT_RECEIVE: u32 = 1;
/// `op`: a promise settles; `value` is a `void **`.
pub const GOROUTINE_SELECT_PROMISE: u32 = 2;

/// One case of `goroutine_select`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct GoroutineSelectCase {
    /// `GOROUTINE_SELECT_*`.
    pub op: u32,
    /// Written if it is chosen.
    pub status: GoroutineStatus,
    /// A `GoroutineChannel *` or `GoroutinePromise *`; NULL: it is never chosen.
    pub object: *mut c_void,
    /// To send, or where to receive.
    pub value: *mut c_void,
}

/// Bytes of a `GoroutineSelectCase`.
pub const GOROUTINE_SELECT_CASE_BYTES: usize = 24;
/// Offset of `op` (`uint32_t`) in a `GoroutineSelectCase`.
pub const GOROUTINE_SELECT_CASE_OFFSET_OP: usize = 0;
/// Offset of `status` (`int32_t`).
pub const GOROUTINE_SELECT_CASE_OFFSET_STATUS: usize = 4;
/// Offset of `object` (`void *`).
pub const GOROUTINE_SELECT_CASE_OFFSET_OBJECT: usize = 8;
/// Offset of `value` (`void *`).
pub const GOROUTINE_SELECT_CASE_OFFSET_VALUE: usize = 16;

use core::mem::{offset_of, size_of};
const _: () = assert!(offset_of!(GoroutineSelectCase, op) == GOROUTINE_SELECT_CASE_OFFSET_OP);
const _: () = assert!(offset_of!(GoroutineSelectCase, status) == GOROUTINE_SELECT_CASE_OFFSET_STATUS);
const _: () = assert!(offset_of!(GoroutineSelectCase, object) == GOROUTINE_SELECT_CASE_OFFSET_OBJECT);
const _: () = assert!(offset_of!(GoroutineSelectCase, value) == GOROUTINE_SELECT_CASE_OFFSET_VALUE);
const _: () = assert!(size_of::<GoroutineSelectCase>() == GOROUTINE_SELECT_CASE_BYTES);
