//! The C interface: one file per noun of the header. Checks arguments, makes one call, converts back.
//!
//! Every exported function is an entry of a few instructions in front of a Rust function: emitted code may call with rsp
//! at 0 or 8 mod 16, and compiled code relies on 0. The entry realigns and keeps a frame pointer, so that unwinders
//! pass it.

macro_rules! realign {
    ($f:path) => {
        core::arch::naked_asm!(
            ".cfi_startproc",
            "push rbp",
            ".cfi_def_cfa_offset 16",
            ".cfi_offset rbp, -16",
            "mov rbp, rsp",
            ".cfi_def_cfa_register rbp",
            "and rsp, -16",
            "call {f}",
            "nop dword ptr [rax + {last}]",
            "leave",
            ".cfi_def_cfa rsp, 8",
            "ret",
            ".cfi_endproc",
            f = sym $f,
            last = const crate::context::MARK_LAST)
    };
}

// (The `nop` behind the call tells `sched::registers` that the frame's caller is outside.)

/// The same for a function of at most three arguments that wants to know who calls: the return address is its fourth.
macro_rules! realign_with_site {
    ($f:path) => {
        core::arch::naked_asm!(
            ".cfi_startproc",
            "push rbp",
            ".cfi_def_cfa_offset 16",
            ".cfi_offset rbp, -16",
            "mov rbp, rsp",
            ".cfi_def_cfa_register rbp",
            "and rsp, -16",
            "mov rcx, [rbp + 8]",
            "call {f}",
            "nop dword ptr [rax + {last}]",
            "leave",
            ".cfi_def_cfa rsp, 8",
            "ret",
            ".cfi_endproc",
            f = sym $f,
            last = const crate::context::MARK_LAST)
    };
}

/// The same as `realign` for a function that gives a `runtime::Ended`. Its last step is a jump to dlclose, whose 0 is GOROUTINE_OK: after it, the code
/// may be gone. A caller with rsp at 8 mod 16 cannot be served so: then the reference stays.
macro_rules! realign_and_close {
    ($f:path) => {
        core::arch::naked_asm!(
            ".cfi_startproc",
            "push rbp",
            ".cfi_def_cfa_offset 16",
            ".cfi_offset rbp, -16",
            "mov rbp, rsp",
            ".cfi_def_cfa_register rbp",
            "and rsp, -16",
            "call {f}",
            "nop dword ptr [rax + {last}]",
            "leave",
            ".cfi_def_cfa rsp, 8",
            "test rdx, rdx",
            "jz 2f",
            "lea rcx, [rsp + 8]",
            "test cl, 15",
            "jnz 2f",
            "mov rdi, rdx",
            "jmp [rip + dlclose@GOTPCREL]",
            "2:",
            "ret",
            ".cfi_endproc",
            f = sym $f,
            last = const crate::context::MARK_LAST)
    };
}

/// For assembly that needs no aligned stack, or aligns it itself.
macro_rules! jump {
    ($f:path) => {
        core::arch::naked_asm!(".cfi_startproc", "jmp {f}", ".cfi_endproc", f = sym $f)
    };
}

pub mod async_op;
pub mod channel;
pub mod condition;
pub mod context;
pub mod cxx;
pub mod ffi;
pub mod ffi_load;
pub mod file;
pub mod goroutine;
pub mod group;
pub mod growth;
pub mod io;
pub mod lane;
pub mod local;
pub mod mutex;
pub mod once;
pub mod promise;
pub mod resolve;
pub mod runtime;
pub mod rwlock;
pub mod select;
pub mod semaphore;
pub mod timer;
pub mod tools;
pub mod trace;
#[cfg(feature = "ultrascript-abi")]
pub mod ultrascript;
pub mod wait_group;
pub mod world;

use crate::abi::GoroutineStatus;

/// For functions that give a negative status in place of an id.
fn id_or(result: Result<i64, GoroutineStatus>) -> i64 {
    result.unwrap_or_else(i64::from)
}

/// Only the first so many bytes of a struct belong to the caller.
///
/// # Safety
/// `to` has `size` writable bytes.
unsafe fn copy_sized<T: Copy>(from: &T, to: *mut T, size: usize) {
    let n = size.min(core::mem::size_of::<T>());
    // SAFETY: the caller's promise.
    unsafe { core::ptr::copy_nonoverlapping(core::ptr::from_ref(from).cast::<u8>(), to.cast::<u8>(), n) };
}
