//! What this program uses of `include/goroutine.h`. Structs are as far as they are needed: each says its size, and
//! the library reads and writes no more than that.

use std::ffi::{c_char, c_void};

pub type GoroutineFn = unsafe extern "C" fn(*mut c_void) -> *mut c_void;
pub type Status = i32;
pub const OK: Status = 0;
pub const ENOMEM: Status = -12;
pub const ETIMEDOUT: Status = -110;
pub const FOREVER: u64 = u64::MAX;

/// `GOROUTINE_OFFSET_PREEMPT`, `_FLAGS`, `_NATIVE_STACK`, `_FOREIGN_SP`, `GOROUTINE_FLAG_BOUND`
pub const OFFSET_PREEMPT: i32 = 16;
pub const OFFSET_FLAGS: u8 = 20;
pub const OFFSET_NATIVE_STACK: u8 = 24;
pub const OFFSET_FOREIGN_SP: u8 = 64;
pub const FLAG_BOUND: u8 = 1;
/// `GOROUTINE_PROMISE_OFFSET_STATE`, `_VALUE`, `GOROUTINE_PROMISE_RESOLVED`
pub const PROMISE_OFFSET_STATE: i64 = 0;
pub const PROMISE_OFFSET_VALUE: i32 = 8;
pub const PROMISE_RESOLVED: i64 = 1;

#[repr(C)]
pub struct Promise {
    opaque: [u8; 0],
}

/// `GoroutineConfig` up to its callbacks.
#[repr(C)]
#[derive(Default)]
pub struct Config {
    pub size: u32,
    pub flags: u32,
    pub workers: u32,
    pub reserved: u32,
    pub stack_bytes: u64,
    pub stack_bytes_max: u64,
    pub ffi: [u32; 4],
}

/// `GoroutineSpawn`, the short form: a function and six arguments in registers.
#[repr(C)]
pub struct Spawn {
    pub size: u32,
    pub flags: u32,
    pub function: *const u8,
    pub int_args: [u64; 6],
}

/// `GoroutineStats` up to `timers`.
#[repr(C)]
#[derive(Default)]
pub struct Stats {
    pub size: u32,
    pub workers: u32,
    pub spawned: u64,
    pub finished: u64,
    pub live: u64,
    pub timers: u64,
}

unsafe extern "C" {
    pub fn goroutine_config_init_sized(config: *mut Config, size: usize);
    pub fn goroutine_runtime_start(config: *const Config) -> Status;
    pub fn goroutine_runtime_shutdown(timeout_ns: u64) -> Status;
    pub fn goroutine_runtime_stats(out: *mut Stats) -> Status;
    pub fn goroutine_status_name(status: Status) -> *const c_char;

    pub fn goroutine_spawn(f: GoroutineFn, arg: *mut c_void) -> *mut Promise;
    pub fn goroutine_spawn_with(request: *const Spawn, out: *mut *mut Promise) -> Status;
    pub fn goroutine_promise_new() -> *mut Promise;
    pub fn goroutine_promise_resolve(promise: *mut Promise, value: *mut c_void) -> Status;
    pub fn goroutine_promise_release(promise: *mut Promise);
    pub fn goroutine_promise_await(promise: *mut Promise, timeout_ns: u64, value: *mut *mut c_void)
    -> Status;
    pub fn goroutine_promise_await_take(
        promise: *mut Promise,
        timeout_ns: u64,
        value: *mut *mut c_void,
    ) -> Status;
    pub fn goroutine_promise_all(promises: *const *mut Promise, n: usize) -> *mut Promise;

    // Called by the emitted code only.
    pub fn goroutine_current() -> *mut c_void;
    pub fn goroutine_exit(status: Status, value: *mut c_void) -> !;
    pub fn goroutine_safepoint();
    pub fn goroutine_sleep(ns: u64) -> Status;
    pub fn goroutine_yield();
    pub fn goroutine_ffi_bind() -> Status;
    pub fn goroutine_ffi_prepare() -> Status;
    pub fn execute_ffi_call(current: *mut c_void, function: *const u8, arg: *mut c_void) -> *mut c_void;

    pub fn goroutine_tls_offset() -> i32;
    pub fn pthread_self() -> u64;
}
