//! How a goroutine starts: `GoroutineSpawn`, 240 bytes. A `size` of 64 (`fn` and the integer arguments) is valid.

use super::GoroutineContext;
use core::ffi::{c_char, c_void};

/// Spawn flag: bound to an OS thread from its start.
pub const GOROUTINE_SPAWN_BOUND: u32 = 1;
/// Spawn flag: runs before regular goroutines.
pub const GOROUTINE_SPAWN_PRIORITY: u32 = 2;
/// Spawn flag: does not keep the program alive.
pub const GOROUTINE_SPAWN_DAEMON: u32 = 4;
/// Spawn flag: stays on one worker, that of its spawner, and while it lives this worker stays on one thread: a goroutine that binds there
/// moves to another thread, and a blocking call there keeps the worker, and makes all others on it wait. Two things end that. Once it is
/// bound, by itself or because its own callback parks, the thread is its own until it unbinds, and it is not pinned any more. And where
/// somebody else's callback parks, C frames keep that thread: the worker goes on on another one, its pinned goroutines with it. A goroutine
/// that must never change its thread is spawned with `GOROUTINE_SPAWN_BOUND`, which makes this flag mean nothing.
pub const GOROUTINE_SPAWN_PINNED: u32 = 8;

/// The registers, the stack and the options a goroutine starts with. Everything is copied.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct GoroutineSpawn {
    /// Bytes of this struct that the caller knows: 64, or 240 and more (what is beyond is not looked at).
    pub size: u32,
    /// `GOROUTINE_SPAWN_*`.
    pub flags: u32,
    /// Called with the arguments below; its `rax` is the promise's value.
    pub r#fn: *mut c_void,
    /// rdi, rsi, rdx, rcx, r8, r9.
    pub int_args: [u64; 6],
    /// Arguments passed on the stack, first one at `[rsp + 8]` of the called function.
    pub stack_args: *const u64,
    /// How many; 65,536 at most.
    pub stack_args_count: u64,
    /// rbx at entry.
    pub rbx: u64,
    /// rbp at entry.
    pub rbp: u64,
    /// r12 at entry.
    pub r12: u64,
    /// r13 at entry.
    pub r13: u64,
    /// r14 at entry.
    pub r14: u64,
    /// r15 at entry.
    pub r15: u64,
    /// First values of the header's `user` words.
    pub user: [u64; 3],
    /// Bytes to reserve, guard included, rounded up to a power of two, at least 128 KiB; 0: the configured default.
    pub stack_bytes: u64,
    /// For reports; NULL: none. At most 63 bytes are kept.
    pub name: *const c_char,
    /// Start from this register file instead of `fn`: `rip` is where, `rsp` 0 means the goroutine's own stack.
    pub context: *const GoroutineContext,
    /// xmm0 to xmm7.
    pub fp_args: [f64; 8],
}

/// Bytes of a `GoroutineSpawn` in ABI 1.
pub const GOROUTINE_SPAWN_BYTES: usize = 240;
/// The smallest `size` that is accepted: through `int_args`.
pub const GOROUTINE_SPAWN_BYTES_MIN: usize = 64;
const _: () = assert!(core::mem::size_of::<GoroutineSpawn>() == GOROUTINE_SPAWN_BYTES);
const _: () = assert!(core::mem::offset_of!(GoroutineSpawn, stack_args) == GOROUTINE_SPAWN_BYTES_MIN);
const _: () = assert!(core::mem::offset_of!(GoroutineSpawn, rbx) == 80);
const _: () = assert!(core::mem::offset_of!(GoroutineSpawn, user) == 128);
const _: () = assert!(core::mem::offset_of!(GoroutineSpawn, stack_bytes) == 152);
const _: () = assert!(core::mem::offset_of!(GoroutineSpawn, name) == 160);
const _: () = assert!(core::mem::offset_of!(GoroutineSpawn, context) == 168);
const _: () = assert!(core::mem::offset_of!(GoroutineSpawn, fp_args) == 176);
