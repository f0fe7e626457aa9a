//! What a start is told: defaults, the environment, and what is refused.

use super::idle::MAX_WORKERS;
use crate::abi::*;
use crate::inspect::asked;
use crate::stack;
use crate::sys::cpu;
use crate::sys::report::{Line, out_of_range, wrong_field};
use crate::thread;

const FLAGS: u32 = GOROUTINE_CONFIG_OWN_CODE
    | GOROUTINE_CONFIG_NO_SIGNAL_HANDLERS
    | GOROUTINE_CONFIG_DEADLOCK_REPORT
    | GOROUTINE_CONFIG_LEARN_STACKS
    | GOROUTINE_CONFIG_NO_PREDICTION
    | GOROUTINE_CONFIG_NO_IO_URING;
const FFI_THREADS_MAX: u32 = 1000;
const FFI_THREADS_IDLE_NS: u64 = 10_000_000_000;
const STACK_BYTES: u64 = 256 << 10;
const STACK_BYTES_MAX: u64 = 1 << 30;

/// The defaults of a struct.
pub fn defaults() -> GoroutineConfig {
    // SAFETY: integers, null pointers and absent callbacks are all zero.
    let mut config: GoroutineConfig = unsafe { std::mem::zeroed() };
    config.size = size_of::<GoroutineConfig>() as u32;
    config.stack_bytes = STACK_BYTES;
    config.stack_bytes_max = STACK_BYTES_MAX;
    config.ffi_threads_max = FFI_THREADS_MAX;
    config.thread_stack_bytes = thread::STACK_BYTES as u64;
    config.ffi_threads_idle_ns = FFI_THREADS_IDLE_NS;
    config
}

/// The defaults, changed by GOROUTINE_WORKERS, GOROUTINE_STACK_BYTES, GOROUTINE_STACK_BYTES_MAX,
/// GOROUTINE_NO_SIGNAL_HANDLERS=1 and GOROUTINE_LEARN_STACKS=1. A value that is not a number is an error with a line, not a guess.
pub fn from_environment() -> Result<GoroutineConfig, GoroutineStatus> {
    let mut config = defaults();
    config.workers = number("GOROUTINE_WORKERS")?.map_or(0, |n| n.min(u64::from(u32::MAX)) as u32);
    config.stack_bytes = number("GOROUTINE_STACK_BYTES")?.unwrap_or(STACK_BYTES);
    config.stack_bytes_max = number("GOROUTINE_STACK_BYTES_MAX")?.unwrap_or(STACK_BYTES_MAX);
    if number("GOROUTINE_NO_SIGNAL_HANDLERS")?.is_some_and(|n| n != 0) {
        config.flags |= GOROUTINE_CONFIG_NO_SIGNAL_HANDLERS;
    }
    if number("GOROUTINE_LEARN_STACKS")?.is_some_and(|n| n != 0) {
        config.flags |= GOROUTINE_CONFIG_LEARN_STACKS;
    }
    Ok(config)
}

/// From look to look.
const LOOK_MS: u64 = 200;

fn number(name: &str) -> Result<Option<u64>, GoroutineStatus> {
    let Some(value) = std::env::var_os(name) else {
        return Ok(None);
    };
    match value.to_str().and_then(|v| v.trim().parse().ok()) {
        Some(number) => Ok(Some(number)),
        None => {
            Line::new()
                .text("not a number: ")
                .text(name)
                .text("=")
                .text(&value.to_string_lossy())
                .emit();
            Err(GOROUTINE_EINVAL)
        }
    }
}

/// From look to look for deadlocks, for whoever runs the program: GOROUTINE_DEADLOCK_LOOK_MS, at least 1.
pub fn look_ns() -> Result<u64, GoroutineStatus> {
    let ms = number("GOROUTINE_DEADLOCK_LOOK_MS")?.unwrap_or(LOOK_MS);
    Ok(ms.clamp(1, 3_600_000) * 1_000_000)
}

/// The signal that asks threads what they do, for whoever runs the program: GOROUTINE_DUMP_SIGNAL, a number (`inspect::asked`).
pub fn dump_signal(config: &GoroutineConfig) -> Result<Option<i32>, GoroutineStatus> {
    let Some(signal) = number("GOROUTINE_DUMP_SIGNAL")?.filter(|&n| n != 0) else {
        return Ok(None);
    };
    if config.flags & GOROUTINE_CONFIG_NO_SIGNAL_HANDLERS != 0 {
        return Ok(None);
    }
    match i32::try_from(signal) {
        Ok(signal) if asked::is_free(signal) => Ok(Some(signal)),
        _ => Err(wrong_field(
            "GOROUTINE_DUMP_SIGNAL",
            "is no signal that can be had: synchronous, the C library's, or somebody else's",
        )),
    }
}

/// Fills in what is 0, refuses what is out of range. GOROUTINE_IO_URING=0 is looked at for every start: it is for whoever runs
/// the program, not for who wrote it. Gives the stack classes (default, largest), and what threads are like.
pub fn check(config: &mut GoroutineConfig) -> Result<(u8, u8, thread::Settings), GoroutineStatus> {
    let ranges = [
        ("flags", config.flags & !FLAGS == 0),
        ("workers", config.workers as usize <= MAX_WORKERS),
        ("reserved", config.reserved == 0),
        ("ffi_exhausted", config.ffi_exhausted <= GOROUTINE_FFI_FAIL),
        ("ffi_release", config.ffi_release <= GOROUTINE_FFI_RETIRE),
        ("ffi_cpus_spread", config.ffi_cpus_spread <= 1),
        ("reserved_too", config.reserved_too == 0),
    ];
    if let Some((field, _)) = ranges.iter().find(|(_, fits)| !fits) {
        return Err(out_of_range(field));
    }
    if number("GOROUTINE_IO_URING")? == Some(0) {
        config.flags |= GOROUTINE_CONFIG_NO_IO_URING;
    }
    if config.stack_overflow.is_some() && config.flags & GOROUTINE_CONFIG_NO_SIGNAL_HANDLERS != 0 {
        return Err(wrong_field(
            "stack_overflow",
            "needs the signal handlers that GOROUTINE_CONFIG_NO_SIGNAL_HANDLERS turns off",
        ));
    }
    if config.ffi_threads_max == 0 {
        config.ffi_threads_max = FFI_THREADS_MAX;
    }
    if config.ffi_threads_prestart > config.ffi_threads_max {
        return Err(wrong_field("ffi_threads_prestart", "is above ffi_threads_max"));
    }
    if config.ffi_threads_idle_ns == 0 {
        config.ffi_threads_idle_ns = FFI_THREADS_IDLE_NS;
    }
    let settings = check_threads(config)?;
    if config.workers == 0 {
        config.workers = cpu::available().min(MAX_WORKERS as u32);
    }
    let stack_bytes = if config.stack_bytes == 0 {
        STACK_BYTES
    } else {
        config.stack_bytes
    };
    let stack_bytes_max = if config.stack_bytes_max == 0 {
        STACK_BYTES_MAX
    } else {
        config.stack_bytes_max
    };
    config.stack_bytes_max = stack_bytes_max;
    let class_max = stack::class_for(stack_bytes_max).ok_or_else(|| out_of_range("stack_bytes_max"))?;
    match stack::class_for(stack_bytes) {
        Some(class) if class <= class_max => Ok((class, class_max, settings)),
        _ => Err(wrong_field("stack_bytes", "is above stack_bytes_max")),
    }
}

/// Everything about threads. Err: a signal that cannot stay open.
fn check_threads(config: &GoroutineConfig) -> Result<thread::Settings, GoroutineStatus> {
    const BYTES_MAX: u64 = 1 << 34;
    let stack_bytes = match config.thread_stack_bytes {
        0 => thread::STACK_BYTES,
        n if n > BYTES_MAX => return Err(out_of_range("thread_stack_bytes")),
        n => (n as usize)
            .max(thread::STACK_BYTES_MIN)
            .next_multiple_of(crate::sys::mem::PAGE),
    };
    for signal in (1..=64).filter(|n| config.signals_open & 1 << (n - 1) != 0) {
        if !thread::may_stay_open(signal) {
            Line::new()
                .text("signal ")
                .dec(signal as u64)
                .text(" cannot stay open: its handler lacks SA_ONSTACK, and would run on goroutines' stacks")
                .emit();
            return Err(GOROUTINE_EINVAL);
        }
    }
    Ok(thread::Settings {
        cpus: None,
        stack_bytes,
        open_signals: config.signals_open,
        hooks: [
            (config.thread_start, config.thread_start_arg),
            (config.thread_stop, config.thread_stop_arg),
        ],
    })
}
