//! Reading from and writing to a socket without waiting: the two system calls of a request.
//!
//! Made directly. In a program with threads libc's `recv` and `send` are cancellation points, which costs each of them two calls of functions and
//! two locked instructions, and a thread of the library is never cancelled.

use libc::{MSG_DONTWAIT, MSG_NOSIGNAL, SYS_recvfrom, SYS_sendto};
use std::ffi::c_void;

/// The bytes read, or errno.
///
/// # Safety
/// `buffer` has room for `n` bytes.
#[inline]
pub unsafe fn receive(fd: i32, buffer: *mut c_void, n: usize) -> Result<usize, i32> {
    // SAFETY: the caller's promise.
    unsafe { transfer(SYS_recvfrom, fd, buffer, n, MSG_DONTWAIT) }
}

/// The bytes written, or errno. No SIGPIPE.
///
/// # Safety
/// `buffer` holds `n` bytes.
#[inline]
pub unsafe fn send(fd: i32, buffer: *const c_void, n: usize) -> Result<usize, i32> {
    // SAFETY: the caller's promise.
    unsafe { transfer(SYS_sendto, fd, buffer.cast_mut(), n, MSG_DONTWAIT | MSG_NOSIGNAL) }
}

/// Without an address.
#[inline(always)]
unsafe fn transfer(call: i64, fd: i32, buffer: *mut c_void, n: usize, flags: i32) -> Result<usize, i32> {
    let done: i64;
    // SAFETY: the caller's promise; the kernel changes rax, rcx, r11 and the buffer.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") call => done,
            in("rdi") i64::from(fd),
            in("rsi") buffer,
            in("rdx") n,
            in("r10") i64::from(flags),
            in("r8") 0,
            in("r9") 0,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack)
        );
    }
    usize::try_from(done).map_err(|_| -done as i32)
}
