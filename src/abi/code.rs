//! What a compiler tells about a function that it emitted: `GoroutineCode`, 64 bytes.

use core::ffi::{c_char, c_void};

/// Code flag: every frame of the function has its caller's rbp at `[rbp]` and its return address at `[rbp + 8]`, but in its first and
/// last instructions.
pub const GOROUTINE_CODE_FRAME_POINTER: u32 = 1;

/// A function in memory. Everything but the code itself is copied.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct GoroutineCode {
    /// Bytes of this struct that the caller knows: 64, or more (what is beyond is not looked at).
    pub size: u32,
    /// `GOROUTINE_CODE_*`.
    pub flags: u32,
    /// For people. At most 255 bytes are kept.
    pub name: *const c_char,
    /// Its first instruction.
    pub code: *const c_void,
    /// Bytes of code.
    pub code_bytes: u64,
    /// Unwind tables, as in a section .eh_frame; NULL: none. Functions of one call may have one and the same.
    pub eh_frame: *const c_void,
    /// Bytes of them.
    pub eh_frame_bytes: u64,
    /// An ELF image with symbols and line numbers, for debuggers; NULL: the library makes one with the name.
    pub symfile: *const c_void,
    /// Bytes of it.
    pub symfile_bytes: u64,
}

/// Bytes of a `GoroutineCode`.
pub const GOROUTINE_CODE_BYTES: usize = 64;
const _: () = assert!(core::mem::size_of::<GoroutineCode>() == GOROUTINE_CODE_BYTES);
const _: () = assert!(core::mem::offset_of!(GoroutineCode, name) == 8);
const _: () = assert!(core::mem::offset_of!(GoroutineCode, code) == 16);
const _: () = assert!(core::mem::offset_of!(GoroutineCode, code_bytes) == 24);
const _: () = assert!(core::mem::offset_of!(GoroutineCode, eh_frame) == 32);
const _: () = assert!(core::mem::offset_of!(GoroutineCode, eh_frame_bytes) == 40);
const _: () = assert!(core::mem::offset_of!(GoroutineCode, symfile) == 48);
const _: () = assert!(core::mem::offset_of!(GoroutineCode, symfile_bytes) == 56);
