//! What a start is told: defaults, the environment, and what is refused.

use super::idle::MAX_WORKERS;
use crate::abi::*;
use crate::stack;
use crate::sys::{cpu, report::Line};

const FLAGS: u32 = GOROUTINE_CONFIG_OWN_CODE
    | GOROUTINE_CONFIG_NO_SIGNAL_HANDLERS
    | GOROUTINE_CONFIG_DEADLOCK_REPORT
    | GOROUTINE_CONFIG_LEARN_STACKS;
const STACK_BYTES: u64 = 256 << 10;
const STACK_BYTES_MAX: u64 = 1 << 30;

/// The defaults of a struct.
pub fn defaults() -> GoroutineConfig {
    // SAFETY: integers, null pointers and absent callbacks are all zero.
    let mut config: GoroutineConfig = unsafe { std::mem::zeroed() };
    config.size = size_of::<GoroutineConfig>() as u32;
    config.stack_bytes = STACK_BYTES;
    config.stack_bytes_max = STACK_BYTES_MAX;
    config.ffi_threads_max = 1000;
    config
}

/// The defaults, changed by GOROUTINE_WORKERS, GOROUTINE_STACK_BYTES, GOROUTINE_STACK_BYTES_MAX and
/// GOROUTINE_NO_SIGNAL_HANDLERS=1. A value that is not a number is an error with a line, not a guess.
pub fn from_environment() -> Result<GoroutineConfig, GoroutineStatus> {
    let mut config = defaults();
    config.workers = number("GOROUTINE_WORKERS")?.map_or(0, |n| n.min(u64::from(u32::MAX)) as u32);
    config.stack_bytes = number("GOROUTINE_STACK_BYTES")?.unwrap_or(STACK_BYTES);
    config.stack_bytes_max = number("GOROUTINE_STACK_BYTES_MAX")?.unwrap_or(STACK_BYTES_MAX);
    if number("GOROUTINE_NO_SIGNAL_HANDLERS")?.is_some_and(|n| n != 0) {
        config.flags |= GOROUTINE_CONFIG_NO_SIGNAL_HANDLERS;
    }
    Ok(config)
}

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

/// Fills in what is 0, refuses what is out of range. Gives the stack classes (default, largest).
pub fn check(config: &mut GoroutineConfig) -> Result<(u8, u8), GoroutineStatus> {
    if config.flags & !FLAGS != 0 || config.reserved != 0 || config.workers as usize > MAX_WORKERS {
        return Err(GOROUTINE_EINVAL);
    }
    if config.ffi_exhausted > GOROUTINE_FFI_FAIL || config.ffi_release > GOROUTINE_FFI_RETIRE {
        return Err(GOROUTINE_EINVAL);
    }
    let later = GOROUTINE_CONFIG_DEADLOCK_REPORT | GOROUTINE_CONFIG_LEARN_STACKS;
    if config.flags & later != 0 || config.stack_overflow.is_some() || config.ffi_threads_prestart != 0 {
        return Err(GOROUTINE_ENOSYS); // not in this version: say so instead of ignoring it
    }
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
    match (stack::class_for(stack_bytes), stack::class_for(stack_bytes_max)) {
        (Some(class), Some(class_max)) if class <= class_max => Ok((class, class_max)),
        _ => Err(GOROUTINE_EINVAL),
    }
}
