//! Status codes: 0 or negative, so that emitted code needs `test eax, eax; js`.
//! Where an errno exists its negative is the code (Linux x86-64 values); ours start at -4096. Errnos without a constant here are in `errno`.

/// 0 (`GOROUTINE_OK`) or a negative `GOROUTINE_E…` code.
pub type GoroutineStatus = i32;

pub(super) const fn c(s: &'static str) -> &'static core::ffi::CStr {
    match core::ffi::CStr::from_bytes_with_nul(s.as_bytes()) {
        Ok(s) => s,
        Err(_) => panic!("a message holds a NUL"),
    }
}

macro_rules! statuses {
    ($($name:ident = $value:literal, $message:literal;)*) => {
        $(#[doc = $message] pub const $name: GoroutineStatus = $value;)*

        /// The constant's name, or that of the errno, and a sentence for people, both NUL-terminated; `None` for an unknown code.
        pub const fn describe(status: GoroutineStatus) -> Option<(&'static core::ffi::CStr, &'static core::ffi::CStr)> {
            match status {
                $($value => Some((const { c(concat!(stringify!($name), "\0")) }, const { c(concat!($message, "\0")) })),)*
                i32::MIN => None,
                _ => super::errno::describe(-status),
            }
        }
    };
}

statuses! {
    GOROUTINE_OK = 0, "Success.";
    GOROUTINE_EPERM = -1, "The caller may not do that.";
    GOROUTINE_EBADF = -9, "The descriptor is closed.";
    GOROUTINE_EAGAIN = -11, "Not ready, and the time-out was 0.";
    GOROUTINE_ENOMEM = -12, "Out of memory or address space.";
    GOROUTINE_EBUSY = -16, "The object is in use: somebody has it, waits on it, or runs in it.";
    GOROUTINE_EINVAL = -22, "An argument, or a field of what it points to, is NULL or out of range, or does not fit this call.";
    GOROUTINE_EPIPE = -32, "The channel is closed.";
    GOROUTINE_EDEADLK = -35, "The caller has it, or would wait for itself.";
    GOROUTINE_ENOSYS = -38, "Not available in this build of the library.";
    GOROUTINE_ETIMEDOUT = -110, "The time-out passed.";
    GOROUTINE_EALREADY = -114, "It was done before.";
    GOROUTINE_ECANCELED = -125, "The goroutine was cancelled.";
    GOROUTINE_EOWNERDEAD = -130, "The lock is the caller's: its last owner ended with it.";
    GOROUTINE_EREJECTED = -4096, "The promise was rejected; the value is the reason.";
    GOROUTINE_ENOTGOROUTINE = -4097, "Only a goroutine may call that.";
    GOROUTINE_ESHUTDOWN = -4098, "The runtime is shutting down, or was shut down: goroutine_runtime_start starts it again.";
    GOROUTINE_ESTACKOVERFLOW = -4099, "The goroutine ran out of stack.";
    GOROUTINE_EFFITHREADS = -4100, "No thread for foreign calls is free.";
    GOROUTINE_EFFILOAD = -4101, "The library or symbol could not be loaded: goroutine_ffi_error tells why.";
}
