//! The frames of a goroutine that runs: its thread is asked, by a signal. On request: GOROUTINE_DUMP_SIGNAL=44 (say) in the environment of a start.
//!
//! Then the signal, which must be nobody's, stays open on the library's threads, as those of `signals_open` do, and has a handler of ours. A
//! dump asks one thread after the other, and waits a bounded time for each.
//!
//! The handler runs on the thread's alternate stack. It takes no lock, allocates nothing and calls nobody: it copies registers and a bounded part of
//! the stack that the thread was on, from `rsp` up, which is live. The dump unwinds the copy, as that of a parked goroutine.
//!
//! A1. There is one question at a time, under ASKING. Whose the answer's memory is, and what a late answer finds, says `sync::question`.
//! A2. Only threads of the pool are asked: they have an alternate stack, and live until a shutdown has joined them; so no signal of ours is
//!     pending when the handler goes. A thread that blocks the signal (C code may) is not sent one.
//! A3. In the switching code neither `current` nor the stack pointer say where the thread is: who is there answers so, and nothing more. The same
//!     on the thread's own stack outside of foreign calls: that is between two goroutines. And on a stack that foreign code has made for
//!     itself: where that ends nobody knows, and what lies above it may be unmapped.

use crate::context::tls;
use crate::goroutine::Goroutine;
use crate::stack;
use crate::sync::question::{Outcome, Patience, Question};
use crate::sys::mutex::Mutex;
use crate::sys::time::{now_ns, sleep_until};
use crate::thread;
use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicI32, Ordering};

/// For one thread, and for all of a dump.
const PATIENCE_NS: u64 = 50_000_000;
/// See there.
pub const PATIENCE_OF_DUMP_NS: u64 = 500_000_000;
/// Words of the stack that it was on, and of the goroutine's if that was another one.
const WORDS: [usize; 2] = [4096, 1024];

/// By DWARF's numbers, with `rip`.
const REGISTERS: [c_int; 17] = [
    libc::REG_RAX,
    libc::REG_RDX,
    libc::REG_RCX,
    libc::REG_RBX,
    libc::REG_RSI,
    libc::REG_RDI,
    libc::REG_RBP,
    libc::REG_RSP,
    libc::REG_R8,
    libc::REG_R9,
    libc::REG_R10,
    libc::REG_R11,
    libc::REG_R12,
    libc::REG_R13,
    libc::REG_R14,
    libc::REG_R15,
    libc::REG_RIP,
];

/// A copy of a part of a stack.
#[derive(Clone, Copy)]
pub struct Part<const N: usize> {
    start: u64,
    used: usize,
    words: [u64; N],
}

impl<const N: usize> Part<N> {
    const EMPTY: Self = Self {
        start: 0,
        used: 0,
        words: [0; N],
    };

    /// # Safety
    /// From `low` to `high` it can be read. In a signal handler.
    unsafe fn copy(&mut self, low: usize, high: usize) {
        let low = low.next_multiple_of(8);
        self.start = low as u64;
        self.used = (high.saturating_sub(low) / 8).min(N);
        for i in 0..self.used {
            // SAFETY: the caller's promise. Volatile: so no call of memcpy, which a sanitizer may have replaced.
            self.words[i] = unsafe { (low as *const u64).add(i).read_volatile() };
        }
    }

    fn get(&self, address: u64) -> Option<u64> {
        let at = address.checked_sub(self.start).filter(|n| n % 8 == 0)? as usize / 8;
        (at < self.used).then(|| self.words[at])
    }
}

/// What a thread did at a moment.
pub struct Answer {
    /// The goroutine that it ran.
    pub id: u64,
    /// It was between two goroutines, or about to be (A3).
    pub between: bool,
    /// By DWARF's numbers.
    pub registers: [u64; 17],
    inner: Part<{ WORDS[0] }>,
    outer: Part<{ WORDS[1] }>,
}

impl Answer {
    /// A word of the stack, if it was copied.
    pub fn word(&self, address: u64) -> Option<u64> {
        self.inner.get(address).or_else(|| self.outer.get(address))
    }
}

/// How asking went.
pub enum Asked {
    /// It answered.
    Answered(Box<Answer>),
    /// It did not in time.
    Silent,
    /// It blocks the signal.
    Blocks,
    /// It is over.
    Gone,
}

static QUESTION: Question<Answer> = Question::new(Answer {
    id: 0,
    between: false,
    registers: [0; 17],
    inner: Part::EMPTY,
    outer: Part::EMPTY,
});
static ASKING: Mutex<()> = Mutex::new(());
/// The signal; 0: there is none.
static SIGNAL: AtomicI32 = AtomicI32::new(0);

/// The lock, to be held across fork.
pub fn asking() -> &'static Mutex<()> {
    &ASKING
}

/// In a child of fork: who was asked is not here.
pub fn forget() {
    QUESTION.forget();
}

unsafe extern "C" {
    static goroutine_asm_begin: u8;
    static goroutine_asm_end: u8;
}

/// Whether this may be the signal: it is asynchronous, and nobody's.
pub fn is_free(signal: c_int) -> bool {
    const NOT: [c_int; 9] = [
        libc::SIGSEGV,
        libc::SIGBUS,
        libc::SIGFPE,
        libc::SIGILL,
        libc::SIGTRAP,
        libc::SIGSYS,
        libc::SIGABRT,
        libc::SIGKILL,
        libc::SIGSTOP,
    ];
    let of_libc = 32..libc::SIGRTMIN();
    if !(1..=64).contains(&signal) || NOT.contains(&signal) || of_libc.contains(&signal) {
        return false;
    }
    // SAFETY: reads a disposition.
    unsafe {
        let mut now: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &mut now) == 0
            && (now.sa_sigaction == libc::SIG_DFL || now.sa_sigaction == on_asked as *const () as usize)
    }
}

/// Takes the signal, which is free. Under the runtime's start lock.
pub fn install(signal: c_int) {
    // SAFETY: a zeroed sigaction is valid; `on_asked` has the SA_SIGINFO signature.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_asked as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
        libc::sigfillset(&mut action.sa_mask);
        libc::sigaction(signal, &action, std::ptr::null_mut());
    }
    SIGNAL.store(signal, Ordering::Release);
}

/// Gives it back, unless somebody has put another handler on top of ours: that one may call ours for ever.
pub fn uninstall() {
    let signal = SIGNAL.load(Ordering::Acquire);
    if signal == 0 {
        return;
    }
    // SAFETY: reads and writes the disposition only.
    unsafe {
        let mut now: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &mut now);
        if now.sa_sigaction == on_asked as *const () as usize {
            let mut default: libc::sigaction = std::mem::zeroed();
            default.sa_sigaction = libc::SIG_DFL;
            libc::sigaction(signal, &default, std::ptr::null_mut());
            SIGNAL.store(0, Ordering::Release);
        }
    }
}

/// Whether threads can be asked; if so somebody may call our handler.
pub fn is_installed() -> bool {
    SIGNAL.load(Ordering::Acquire) != 0
}

/// What thread `id` of the pool does.
pub fn ask(id: u32) -> Asked {
    let _one_at_a_time = ASKING.lock();
    let signal = SIGNAL.load(Ordering::Acquire);
    if blocks(id, signal) {
        return Asked::Blocks;
    }
    // SAFETY: sends a signal, for which there is a handler, to a thread of this process, or to nobody.
    let send = || unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), id, signal) } == 0;
    let deadline = now_ns() + PATIENCE_NS;
    let mut pause = 5_000;
    let patience = || {
        let now = now_ns();
        if now >= deadline + PATIENCE_NS {
            return Patience::Over;
        }
        sleep_until(now + pause);
        pause = (pause * 2).min(1_000_000);
        if now >= deadline {
            Patience::ForABeginning
        } else {
            Patience::Waits
        }
    };
    let copy = |answer: &Answer| {
        let mut copy = Box::<Answer>::new_uninit();
        // SAFETY: plain data.
        unsafe {
            std::ptr::copy_nonoverlapping(answer, copy.as_mut_ptr(), 1);
            copy.assume_init()
        }
    };
    // SAFETY: A1: under ASKING.
    match unsafe { QUESTION.ask(id, send, patience, copy) } {
        Outcome::Answered(answer) => Asked::Answered(answer),
        Outcome::Silent => Asked::Silent, // (or one that was stopped in its handler, by a debugger, is not through yet)
        Outcome::Gone => Asked::Gone,
    }
}

/// Whether the thread blocks the signal, as the kernel says.
fn blocks(id: u32, signal: c_int) -> bool {
    let status = std::fs::read_to_string(format!("/proc/self/task/{id}/status")).unwrap_or_default();
    (status.lines())
        .find_map(|line| line.strip_prefix("SigBlk:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & 1 << (signal - 1) != 0)
}

unsafe extern "C" fn on_asked(_: c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
    let errno = tls::errno();
    // SAFETY: asks for the calling thread's number.
    let me = unsafe { libc::syscall(libc::SYS_gettid) } as u32;
    // SAFETY: the kernel's context.
    QUESTION.answer(me, |answer| unsafe { fill(answer, &*context.cast()) });
    tls::set_errno(errno);
}

/// # Safety
/// `context` is of a signal that the calling thread handles.
unsafe fn fill(answer: &mut Answer, context: &libc::ucontext_t) {
    for (to, from) in answer.registers.iter_mut().zip(REGISTERS) {
        *to = context.uc_mcontext.gregs[from as usize] as u64;
    }
    let (rip, rsp) = (answer.registers[16] as usize, answer.registers[7] as usize);
    let switching = &raw const goroutine_asm_begin as usize..&raw const goroutine_asm_end as usize;
    let g: *mut Goroutine = tls::current();
    answer.id = 0;
    answer.between = true;
    (answer.inner.used, answer.outer.used) = (0, 0);
    if g.is_null() {
        return;
    }
    // SAFETY: the goroutine that runs here, or did a moment ago: control blocks stay mapped. What is copied lies above the stack pointers.
    unsafe {
        answer.id = (*g).id();
        if switching.contains(&rip) {
            return;
        }
        let on = stack::running(g);
        let lowest = stack::event::lowest(g, on);
        let foreign_sp = (*g).foreign_sp as usize;
        let (native, own) = (tls::base_sp(), thread::stack());
        if (lowest..on.top).contains(&rsp) {
            answer.inner.copy(rsp, on.top);
        } else if foreign_sp != 0 && own.contains(&rsp) && own.contains(&native) && rsp < native {
            answer.inner.copy(rsp, native);
            if (lowest..on.top).contains(&foreign_sp) {
                answer.outer.copy(foreign_sp, on.top);
            }
        } else {
            return;
        }
    }
    answer.between = false;
}
