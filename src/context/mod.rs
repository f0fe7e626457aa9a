//! Context switching: the Rust face of `asm/x86_64_sysv.S`.

pub mod tls;

use crate::abi::GoroutineContext as C;
use crate::goroutine::Goroutine as G;
use crate::ops::ffi::{self, on_ffi_checked, on_ffi_slow};
use crate::sched::attach::on_callback_of_thread;
use crate::sched::call_word::{self, CallWord};
use crate::sched::native::{
    on_blocking_enter, on_blocking_exit, on_callback_in_blocking, on_ffi_return, on_landed,
};
use crate::sched::{
    Worker, on_exception_at_base, on_exceptions_sanitized, on_finish, on_safepoint_full, on_yield,
};
use std::ffi::c_void;
use std::mem::{offset_of, size_of};

#[cfg(not(all(target_arch = "x86_64", target_os = "linux", target_pointer_width = "64")))]
compile_error!("libgoroutine runs on x86-64 Linux; see docs/architecture.md for what another platform needs");

std::arch::global_asm!(
    include_str!("../../asm/x86_64_sysv.S"),
    include_str!("../../asm/x86_64_sysv_foreign.S"),
    include_str!("../../asm/x86_64_sysv_cxx.S"),
    G_ID = const offset_of!(G, id),
    G_PREEMPT = const offset_of!(G, preempt),
    G_FLAGS = const offset_of!(G, flags),
    G_NATIVE_STACK = const offset_of!(G, native_stack),
    G_FOREIGN_SP = const offset_of!(G, foreign_sp),
    G_CLASS = const offset_of!(G, class),
    G_FOREIGN = const offset_of!(G, foreign),
    G_SPAWN_FLAGS = const offset_of!(G, spawn_flags),
    G_CALLS = const offset_of!(G, calls),
    G_LENT = const offset_of!(G, lent),
    G_LENT_CALL = const offset_of!(G, lent_call),
    G_EXCEPTIONS = const offset_of!(G, exceptions),
    FLAG_BOUND = const crate::abi::GOROUTINE_FLAG_BOUND,
    ON_THE_SPOT = const crate::goroutine::ON_THE_SPOT,
    FOREIGN_DISCARDED = const crate::goroutine::FOREIGN_DISCARDED,
    KIND_BOUND = const crate::abi::GOROUTINE_FFI_BOUND,
    KIND_LEAF = const crate::abi::GOROUTINE_FFI_LEAF,
    KIND_BLOCKING = const crate::abi::GOROUTINE_FFI_BLOCKING,
    HOW_NATIVE = const ffi::HOW_NATIVE,
    HOW_DIRECT = const ffi::HOW_DIRECT,
    HOW_BLOCKING = const ffi::HOW_BLOCKING,
    G_MXCSR = const offset_of!(G, mxcsr),
    G_FCW = const offset_of!(G, fcw),
    G_ERRNO = const offset_of!(G, errno),
    G_ERRNO_WIDE = const offset_of!(G, errno_wide),
    G_RSP = const offset_of!(G, rsp),
    G_RBX = const offset_of!(G, rbx),
    G_RBP = const offset_of!(G, rbp),
    G_R12 = const offset_of!(G, r12),
    G_R13 = const offset_of!(G, r13),
    G_R14 = const offset_of!(G, r14),
    G_R15 = const offset_of!(G, r15),
    G_FN = const offset_of!(G, entry_fn),
    G_ARG = const offset_of!(G, entry_arg),
    G_LINE_SAVED = const offset_of!(G, rsp),
    ERRNO_WIDE = const crate::goroutine::ERRNO_WIDE,
    MXCSR_CONTROL = const !0x3F_i32, // all but the six status flags
    G_BYTES = const size_of::<G>(),
    W_BUSY = const Worker::QUEUE + Worker::QUEUE_BUSY,
    W_POLL = const Worker::QUEUE + Worker::QUEUE_POLL,
    W_HEAD = const Worker::QUEUE + Worker::QUEUE_HEAD,
    W_TAIL = const Worker::QUEUE + Worker::QUEUE_TAIL,
    W_MASK = const Worker::QUEUE + Worker::QUEUE_MASK,
    W_SLOTS = const Worker::QUEUE + Worker::QUEUE_SLOTS,
    W_LONE_TURNS = const offset_of!(Worker, lone_turns),
    W_CALL_NUMBER = const offset_of!(Worker, call) + CallWord::NUMBER,
    W_CALL_BORROWER = const offset_of!(Worker, call) + CallWord::BORROWER,
    W_CALL_CLAIM = const offset_of!(Worker, call) + CallWord::CLAIM,
    CALL_STEP = const call_word::STEP,
    HEAD_TURNS_MASK = const crate::sched::TURNS - 1,
    TLS_CURRENT = const tls::CURRENT,
    TLS_WORKER = const tls::WORKER,
    TLS_SCHED_SP = const tls::SCHED_SP,
    TLS_BASE_SP = const tls::BASE_SP,
    C_RAX = const offset_of!(C, rax), C_RBX = const offset_of!(C, rbx), C_RCX = const offset_of!(C, rcx),
    C_RDX = const offset_of!(C, rdx), C_RSI = const offset_of!(C, rsi), C_RDI = const offset_of!(C, rdi),
    C_RBP = const offset_of!(C, rbp), C_R8 = const offset_of!(C, r8), C_R9 = const offset_of!(C, r9),
    C_R10 = const offset_of!(C, r10), C_R11 = const offset_of!(C, r11), C_R12 = const offset_of!(C, r12),
    C_R13 = const offset_of!(C, r13), C_R14 = const offset_of!(C, r14), C_R15 = const offset_of!(C, r15),
    C_RSP = const offset_of!(C, rsp), C_RIP = const offset_of!(C, rip), C_RFLAGS = const offset_of!(C, rflags),
    C_XMM = const offset_of!(C, xmm_state),
    C_BYTES = const size_of::<C>(),
    SYS_RT_SIGPROCMASK = const libc::SYS_rt_sigprocmask,
    SIG_BLOCK = const libc::SIG_BLOCK,
    SIG_SETMASK = const libc::SIG_SETMASK,
    on_yield = sym on_yield,
    on_finish = sym on_finish,
    on_safepoint_full = sym on_safepoint_full,
    on_context_end = sym on_context_end,
    plain_yield = sym plain_yield,
    on_ffi_slow = sym on_ffi_slow,
    on_ffi_checked = sym on_ffi_checked,
    on_ffi_return = sym on_ffi_return,
    on_blocking_enter = sym on_blocking_enter,
    on_blocking_exit = sym on_blocking_exit,
    on_callback_in_blocking = sym on_callback_in_blocking,
    on_callback_of_thread = sym on_callback_of_thread,
    on_landed = sym on_landed,
    on_exception_at_base = sym on_exception_at_base,
    on_exceptions_sanitized = sym on_exceptions_sanitized,
);

/// What runs on the thread's stack after a goroutine's was left: gives the goroutine to continue, or null.
pub type Next = unsafe extern "C" fn(g: *mut G, arg: *mut c_void) -> *mut G;

unsafe extern "C" {
    /// Leaves the current goroutine's stack; see asm/.
    pub fn goroutine_asm_park(next: Next, arg: *mut c_void);
    /// The same for a goroutine that is over.
    pub fn goroutine_asm_leave(next: Next, arg: *mut c_void) -> !;
    /// Calls `f(a, b, c)`, which may clobber callee-saved registers.
    pub fn goroutine_asm_call(f: usize, a: usize, b: usize, c: usize) -> usize;
    /// Schedules on this thread until `next` gives null.
    pub fn goroutine_asm_thread_run(next: Next, arg: *mut c_void);
    /// Behind the exported names.
    pub fn goroutine_asm_native_call();
    /// Behind the exported names.
    pub fn goroutine_asm_ffi_bound_slow();
    /// Behind the exported names.
    pub fn goroutine_asm_ffi_leaf_slow();
    /// Behind the exported names.
    pub fn goroutine_asm_blocking_call();
    /// Behind the exported names.
    pub fn goroutine_asm_ffi_blocking();
    /// Behind the exported names.
    pub fn goroutine_asm_ffi_checked();
    /// Behind the exported names.
    pub fn goroutine_asm_callback_run();
    /// Behind the exported names.
    pub fn goroutine_asm_ffi_landed();
    /// Behind the exported names.
    pub fn goroutine_asm_exceptions();
    /// Behind the exported names.
    pub fn goroutine_asm_yield();
    /// Behind the exported names.
    pub fn goroutine_asm_safepoint_full();
    /// Behind the exported names.
    pub fn goroutine_asm_save_context(context: *mut C);
    /// Behind the exported names.
    pub fn goroutine_asm_restore_context(context: *const C) -> !;
    /// Behind the exported names.
    pub fn goroutine_asm_switch_context(from: *mut C, to: *const C);
    /// Behind the exported names.
    pub fn goroutine_asm_signal_safe_switch(from: *mut C, to: *const C);
    fn goroutine_asm_entry_first();
    fn goroutine_asm_entry_full_first();
    fn goroutine_asm_entry_context_first();
    fn goroutine_asm_return();
    fn goroutine_asm_context_entry();
    static mut goroutine_errno_offset: i64;
    static mut goroutine_xsave_bytes: u32;
    static mut goroutine_xsave_mask: u32;
}

/// Addresses of first instructions.
#[derive(Clone, Copy)]
pub enum Entry {
    /// `fn(arg)`.
    Plain,
    /// All argument registers, from the stack.
    Full,
    /// A register file.
    Context,
}

impl Entry {
    /// Where it starts.
    #[inline(always)]
    pub fn address(self) -> u64 {
        (match self {
            Self::Plain => goroutine_asm_entry_first as *const (),
            Self::Full => goroutine_asm_entry_full_first as *const (),
            Self::Context => goroutine_asm_entry_context_first as *const (),
        }) as u64
    }
}

/// Where a goroutine's function returns to.
pub fn return_address() -> u64 {
    goroutine_asm_return as *const () as u64
}

/// What the assembly must know of the process, before the first goroutine.
pub fn init() {
    let fs: i64;
    // SAFETY: on x86-64 Linux the first word of the thread block is its own address. The words written are read only
    // by goroutines, of which there are none yet (or they hold the same values, after an earlier start).
    unsafe {
        std::arch::asm!("mov {}, fs:[0]", out(reg) fs, options(nostack, preserves_flags, readonly));
        goroutine_errno_offset = libc::__errno_location() as i64 - fs;
        (goroutine_xsave_bytes, goroutine_xsave_mask) = crate::sys::cpu::xsave_area();
    }
}

/// Fills `context` so that switching to it calls `f(arg)` on the given stack.
///
/// # Safety
/// `context` is writable and aligned; the stack is usable memory of at least 1 KiB.
pub unsafe fn make(context: *mut C, base: *mut u8, bytes: usize, f: u64, arg: *mut c_void) {
    // SAFETY: the caller's promise; an all-zero context is valid.
    unsafe {
        context.write(std::mem::zeroed());
        let c = &mut *context;
        let top = (base as u64 + bytes as u64) & !15;
        c.rsp = top;
        c.rip = goroutine_asm_context_entry as *const () as u64;
        c.rbx = f;
        c.r12 = arg as u64;
        c.rflags = 0x202;
        c.xmm_state[..2].copy_from_slice(&INITIAL_FCW.to_le_bytes());
        c.xmm_state[24..28].copy_from_slice(&INITIAL_MXCSR.to_le_bytes());
        c.stack_base = base.cast();
        c.stack_top = base.add(bytes).cast();
        c.stack_size = bytes;
    }
}

/// MXCSR of a new goroutine: all exceptions masked, round to nearest.
pub const INITIAL_MXCSR: u32 = 0x1F80;
/// x87 control word of a new goroutine.
pub const INITIAL_FCW: u16 = 0x37F;

/// Foreign code has run on the stack that schedules, and may have left other control words than it found: `goroutine_asm_run`
/// compares a goroutine's with what is noted there. Does nothing elsewhere: a goroutine's words are its own.
pub fn note_control_words() {
    let sp = tls::scheduler_sp();
    if sp != 0 && tls::current().is_null() {
        // SAFETY: the frame under all scheduling, of which nobody else writes these words.
        unsafe {
            std::arch::asm!("stmxcsr [{s}]", "fnstcw [{s} + 4]", s = in(reg) sp, options(nostack, preserves_flags));
        }
    }
}

/// The calling thread has the control words with which it began to schedule: whatever ran here before is a stranger to what comes.
///
/// # Safety
/// On the stack of a thread that schedules, no C frame live.
pub unsafe fn restore_control_words() {
    // SAFETY: the frame under all scheduling (`goroutine_asm_thread_run`): at 16 the words at entry, at 0 those of now.
    unsafe {
        std::arch::asm!(
            "ldmxcsr [{s} + 16]",
            "fnclex",
            "fldcw [{s} + 20]",
            "mov {t}, [{s} + 16]",
            "mov [{s}], {t}",
            s = in(reg) tls::scheduler_sp(), t = out(reg) _, options(nostack, preserves_flags));
    }
}

/// The calling thread, one of ours that begins, has the control words of a new goroutine, not those of who made it.
pub fn init_control_words() {
    let (mxcsr, fcw) = (INITIAL_MXCSR, INITIAL_FCW);
    // SAFETY: all exceptions masked, round to nearest: what compiled code expects.
    unsafe {
        std::arch::asm!("ldmxcsr [{}]", "fldcw [{}]", in(reg) &raw const mxcsr, in(reg) &raw const fcw,
            options(nostack, preserves_flags, readonly));
    }
}

unsafe extern "C" fn on_context_end() -> ! {
    crate::sys::report::fatal(
        "the function of a goroutine_context_init context returned: it must switch away instead",
    )
}

unsafe extern "C" fn plain_yield() {
    std::thread::yield_now();
}
