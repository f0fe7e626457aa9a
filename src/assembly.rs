//! Where the assembly meets the rooms: the offsets it reads, and the functions it calls back. It is the only file that knows rooms of every
//! floor, because what the assembly does lies between them; its Rust face is `context`.

use crate::abi::GoroutineContext as C;
use crate::context::{on_context_end, plain_yield, tls};
use crate::goroutine::Goroutine as G;
use crate::goroutine::call_word::{self, CallWord};
use crate::ops::ffi::{self, on_ffi_checked, on_ffi_slow};
use crate::sched::attach::on_callback_of_thread;
use crate::sched::native::{
    on_blocking_enter, on_blocking_exit, on_callback_in_blocking, on_ffi_return, on_landed,
};
use crate::sched::world::on_callback_asked;
use crate::sched::{
    Worker, on_exception_at_base, on_exceptions_sanitized, on_finish, on_safepoint_full, on_yield,
};
use std::mem::{offset_of, size_of};

#[cfg(not(all(target_arch = "x86_64", target_os = "linux", target_pointer_width = "64")))]
compile_error!("libgoroutine runs on x86-64 Linux; see docs/architecture.md for what another platform needs");

std::arch::global_asm!(
    include_str!("../asm/x86_64_sysv.S"),
    include_str!("../asm/x86_64_sysv_foreign.S"),
    include_str!("../asm/x86_64_sysv_cxx.S"),
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
    on_callback_asked = sym on_callback_asked,
    on_exception_at_base = sym on_exception_at_base,
    on_exceptions_sanitized = sym on_exceptions_sanitized,
);
