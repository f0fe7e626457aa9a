//! Context switching: the Rust face of `asm/x86_64_sysv.S`.

pub mod tls;

use crate::abi::GoroutineContext as C;
use crate::goroutine::Goroutine as G;
use std::ffi::c_void;

/// What runs on the thread's stack after a goroutine's was left: gives the goroutine to continue, or null.
pub type Next = unsafe extern "C" fn(g: *mut G, arg: *mut c_void) -> *mut G;

/// Lies behind a call during which a goroutine may leave its stack, as a `nop` with this displacement: the frame is the library's.
pub const MARK_INSIDE: u32 = u32::from_le_bytes(*b"gorI");
/// The same; the frame's caller is outside, unless it has a mark, too.
pub const MARK_LAST: u32 = u32::from_le_bytes(*b"gorL");

/// `goroutine_asm_park`: leaves the current goroutine's stack; see asm/.
///
/// # Safety
/// On a goroutine; `next` may be called with `arg` on the thread's stack.
#[inline(always)]
pub unsafe fn goroutine_asm_park(next: Next, arg: *mut c_void) {
    // SAFETY: the caller's promise. Written out for what comes behind the call.
    unsafe {
        std::arch::asm!(
            "call {park}",
            "nop dword ptr [rax + {inside}]",
            park = sym assembly::goroutine_asm_park,
            inside = const MARK_INSIDE,
            in("rdi") next,
            in("rsi") arg,
            clobber_abi("sysv64"),
        );
    }
}

/// `goroutine_asm_yield`, for the library itself.
///
/// # Safety
/// Callable anywhere.
#[inline(always)]
pub unsafe fn yield_here() {
    // SAFETY: as above.
    unsafe {
        std::arch::asm!(
            "call {yield_here}",
            "nop dword ptr [rax + {inside}]",
            yield_here = sym goroutine_asm_yield,
            inside = const MARK_INSIDE,
            clobber_abi("sysv64"),
        );
    }
}

mod assembly {
    unsafe extern "C" {
        pub fn goroutine_asm_park();
    }
}

unsafe extern "C" {
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
    pub fn goroutine_asm_more_stack_prologue();
    /// Behind the exported names.
    pub fn goroutine_asm_more_stack();
    /// Behind the exported names.
    pub fn goroutine_asm_exceptions();
    /// Behind the exported names.
    pub fn goroutine_asm_yield();
    /// Behind the exported names.
    pub fn goroutine_asm_safepoint();
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

/// For the assembly.
///
/// # Safety
/// At the end of a context's function.
pub unsafe extern "C" fn on_context_end() -> ! {
    crate::sys::report::fatal(
        "the function of a goroutine_context_init context returned: it must switch away instead",
    )
}

/// For the assembly: a yield without a worker.
///
/// # Safety
/// Callable anywhere.
pub unsafe extern "C" fn plain_yield() {
    std::thread::yield_now();
}
