//! The full register file of a stopped goroutine: 688 bytes, align 16.

use core::ffi::c_void;

/// Every register of a stopped context and the stack it runs on. Filled by `save_context`,
/// `switch_context` and `goroutine_context_init`; continued by `restore_context` and `switch_context`.
#[repr(C, align(16))]
#[derive(Clone, Copy)]
#[allow(missing_docs)] // the fields are the registers they are named after
pub struct GoroutineContext {
    pub rax: u64,
    pub rbx: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub rbp: u64,
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
    pub rsp: u64,
    pub rip: u64,
    pub rflags: u64,
    /// FXSAVE image: x87, MXCSR, xmm0 to xmm15.
    pub xmm_state: [u8; 512],
    /// Lowest usable address of the stack.
    pub stack_base: *mut c_void,
    /// One past the highest.
    pub stack_top: *mut c_void,
    /// Usable bytes.
    pub stack_size: usize,
    /// The inaccessible pages below `stack_base`, or NULL.
    pub guard_page: *mut c_void,
}

/// Bytes of a `GoroutineContext`.
pub const GOROUTINE_CONTEXT_BYTES: usize = 688;
const _: () = assert!(core::mem::size_of::<GoroutineContext>() == GOROUTINE_CONTEXT_BYTES);
const _: () = assert!(core::mem::align_of::<GoroutineContext>() == 16);

/// Offset of `rax` in a `GoroutineContext`.
pub const GOROUTINE_CONTEXT_OFFSET_RAX: usize = 0;
const _: () = assert!(core::mem::offset_of!(GoroutineContext, rax) == GOROUTINE_CONTEXT_OFFSET_RAX);
/// Offset of `rbx` in a `GoroutineContext`.
pub const GOROUTINE_CONTEXT_OFFSET_RBX: usize = 8;
const _: () = assert!(core::mem::offset_of!(GoroutineContext, rbx) == GOROUTINE_CONTEXT_OFFSET_RBX);
/// Offset of `rcx` in a `GoroutineContext`.
pub const GOROUTINE_CONTEXT_OFFSET_RCX: usize = 16;
const _: () = assert!(core::mem::offset_of!(GoroutineContext, rcx) == GOROUTINE_CONTEXT_OFFSET_RCX);
/// Offset of `rdx` in a `GoroutineContext`.
pub const GOROUTINE_CONTEXT_OFFSET_RDX: usize = 24;
const _: () = assert!(core::mem::offset_of!(GoroutineContext, rdx) == GOROUTINE_CONTEXT_OFFSET_RDX);
/// Offset of `rsi` in a `GoroutineContext`.
pub const GOROUTINE_CONTEXT_OFFSET_RSI: usize = 32;
const _: () = assert!(core::mem::offset_of!(GoroutineContext, rsi) == GOROUTINE_CONTEXT_OFFSET_RSI);
/// Offset of `rdi` in a `GoroutineContext`.
pub const GOROUTINE_CONTEXT_OFFSET_RDI: usize = 40;
const _: () = assert!(core::mem::offset_of!(GoroutineContext, rdi) == GOROUTINE_CONTEXT_OFFSET_RDI);
/// Offset of `rbp` in a `GoroutineContext`.
pub const GOROUTINE_CONTEXT_OFFSET_RBP: usize = 48;
const _: () = assert!(core::mem::offset_of!(GoroutineContext, rbp) == GOROUTINE_CONTEXT_OFFSET_RBP);
/// Offset of `r8` in a `GoroutineContext`.
pub const GOROUTINE_CONTEXT_OFFSET_R8: usize = 56;
const _: () = assert!(core::mem::offset_of!(GoroutineContext, r8) == GOROUTINE_CONTEXT_OFFSET_R8);
/// Offset of `r9` in a `GoroutineContext`.
pub const GOROUTINE_CONTEXT_OFFSET_R9: usize = 64;
const _: () = assert!(core::mem::offset_of!(GoroutineContext, r9) == GOROUTINE_CONTEXT_OFFSET_R9);
/// Offset of `r10` in a `GoroutineContext`.
pub const GOROUTINE_CONTEXT_OFFSET_R10: usize = 72;
const _: () = assert!(core::mem::offset_of!(GoroutineContext, r10) == GOROUTINE_CONTEXT_OFFSET_R10);
/// Offset of `r11` in a `GoroutineContext`.
pub const GOROUTINE_CONTEXT_OFFSET_R11: usize = 80;
const _: () = assert!(core::mem::offset_of!(GoroutineContext, r11) == GOROUTINE_CONTEXT_OFFSET_R11);
/// Offset of `r12` in a `GoroutineContext`.
pub const GOROUTINE_CONTEXT_OFFSET_R12: usize = 88;
const _: () = assert!(core::mem::offset_of!(GoroutineContext, r12) == GOROUTINE_CONTEXT_OFFSET_R12);
/// Offset of `r13` in a `GoroutineContext`.
pub const GOROUTINE_CONTEXT_OFFSET_R13: usize = 96;
const _: () = assert!(core::mem::offset_of!(GoroutineContext, r13) == GOROUTINE_CONTEXT_OFFSET_R13);
/// Offset of `r14` in a `GoroutineContext`.
pub const GOROUTINE_CONTEXT_OFFSET_R14: usize = 104;
const _: () = assert!(core::mem::offset_of!(GoroutineContext, r14) == GOROUTINE_CONTEXT_OFFSET_R14);
/// Offset of `r15` in a `GoroutineContext`.
pub const GOROUTINE_CONTEXT_OFFSET_R15: usize = 112;
const _: () = assert!(core::mem::offset_of!(GoroutineContext, r15) == GOROUTINE_CONTEXT_OFFSET_R15);
/// Offset of `rsp` in a `GoroutineContext`.
pub const GOROUTINE_CONTEXT_OFFSET_RSP: usize = 120;
const _: () = assert!(core::mem::offset_of!(GoroutineContext, rsp) == GOROUTINE_CONTEXT_OFFSET_RSP);
/// Offset of `rip` in a `GoroutineContext`.
pub const GOROUTINE_CONTEXT_OFFSET_RIP: usize = 128;
const _: () = assert!(core::mem::offset_of!(GoroutineContext, rip) == GOROUTINE_CONTEXT_OFFSET_RIP);
/// Offset of `rflags` in a `GoroutineContext`.
pub const GOROUTINE_CONTEXT_OFFSET_RFLAGS: usize = 136;
const _: () = assert!(core::mem::offset_of!(GoroutineContext, rflags) == GOROUTINE_CONTEXT_OFFSET_RFLAGS);
/// Offset of `xmm_state` in a `GoroutineContext`.
pub const GOROUTINE_CONTEXT_OFFSET_XMM_STATE: usize = 144;
const _: () =
    assert!(core::mem::offset_of!(GoroutineContext, xmm_state) == GOROUTINE_CONTEXT_OFFSET_XMM_STATE);
/// Offset of `stack_base` in a `GoroutineContext`.
pub const GOROUTINE_CONTEXT_OFFSET_STACK_BASE: usize = 656;
const _: () =
    assert!(core::mem::offset_of!(GoroutineContext, stack_base) == GOROUTINE_CONTEXT_OFFSET_STACK_BASE);
/// Offset of `stack_top` in a `GoroutineContext`.
pub const GOROUTINE_CONTEXT_OFFSET_STACK_TOP: usize = 664;
const _: () =
    assert!(core::mem::offset_of!(GoroutineContext, stack_top) == GOROUTINE_CONTEXT_OFFSET_STACK_TOP);
/// Offset of `stack_size` in a `GoroutineContext`.
pub const GOROUTINE_CONTEXT_OFFSET_STACK_SIZE: usize = 672;
const _: () =
    assert!(core::mem::offset_of!(GoroutineContext, stack_size) == GOROUTINE_CONTEXT_OFFSET_STACK_SIZE);
/// Offset of `guard_page` in a `GoroutineContext`.
pub const GOROUTINE_CONTEXT_OFFSET_GUARD_PAGE: usize = 680;
const _: () =
    assert!(core::mem::offset_of!(GoroutineContext, guard_page) == GOROUTINE_CONTEXT_OFFSET_GUARD_PAGE);
