//! Files: opened, read and written at an offset, while the thread runs other goroutines.

use crate::abi::*;
use crate::ops::file;
use core::ffi::{c_char, c_void};
use libc::{mode_t, off_t, stat};

/// Opens a file, as open(2). Made by the kernel's io_uring, or by one of 16 threads of the library if the kernel does not allow that
/// (GOROUTINE_IO_URING=0 and GOROUTINE_CONFIG_NO_IO_URING rule it out); which one does not show. Opening a FIFO waits for its other end,
/// on a thread of its own, of which there are up to 1,024; with O_NONBLOCK it does not.
/// Context:   T, G. On a plain thread, and on a bound goroutine's own, it is the system call.
/// Parks:     the goroutine, not its thread. It may resume on another thread. Once begun it is waited for: a cancel ends it only before.
/// Ownership: borrows `path`; the descriptor is the caller's, who closes it with goroutine_close.
/// Returns:   the descriptor; or a negative errno: -ENOENT, -EACCES, -EMFILE, -ECANCELED, -EINVAL (also: NULL) ...
/// Since:     ABI 1.
///
/// # Safety
/// `path` is a C string, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_open(path: *const c_char, flags: i32, mode: mode_t) -> i64 {
    realign!(inner::open)
}

/// Reads up to `n` bytes at `offset`, as pread(2): fewer only at the end of the file. What the kernel has in memory is read at once, anything
/// else as goroutine_open opens.
/// Context:   T, G. On a plain thread, and on a bound goroutine's own, it blocks the thread.
/// Parks:     as goroutine_open.
/// Ownership: borrows `buffer`.
/// Returns:   the number of bytes, 0 at the end; or a negative errno: -EBADF, -EISDIR, -ESPIPE (it has no offsets), -EINVAL, -EIO, -ECANCELED ...
/// Since:     ABI 1.
///
/// # Safety
/// `buffer` has room for `n` bytes.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_pread(fd: i32, buffer: *mut c_void, n: usize, offset: off_t) -> i64 {
    realign!(file::pread)
}

/// Writes up to `n` bytes at `offset`, as pwrite(2): fewer only if there is no room for more.
/// Context:   T, G. On a plain thread, and on a bound goroutine's own, it blocks the thread.
/// Parks:     as goroutine_open.
/// Ownership: borrows `buffer`.
/// Returns:   the number of bytes; or a negative errno: -EBADF, -ENOSPC, -ESPIPE, -EINVAL, -EIO, -ECANCELED ...
/// Since:     ABI 1.
///
/// # Safety
/// `buffer` holds `n` bytes.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_pwrite(fd: i32, buffer: *const c_void, n: usize, offset: off_t) -> i64 {
    realign!(file::pwrite)
}

/// Waits until what was written is on the disk, as fsync(2).
/// Context:   T, G. On a plain thread, and on a bound goroutine's own, it blocks the thread.
/// Parks:     as goroutine_open.
/// Returns:   0; or a negative errno: -EBADF, -EINVAL (it cannot be synced), -EIO, -ENOSPC, -ECANCELED ...
/// Since:     ABI 1.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub extern "C" fn goroutine_fsync(fd: i32) -> i64 {
    realign!(file::sync)
}

/// What is known of a file, as stat(2).
/// Context:   T, G. On a plain thread, and on a bound goroutine's own, it blocks the thread.
/// Parks:     as goroutine_open.
/// Ownership: borrows both.
/// Output:    `*result`, if 0 is returned.
/// Returns:   0; or a negative errno: -ENOENT, -EACCES, -ECANCELED, -EINVAL (NULL) ...
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_stat(path: *const c_char, result: *mut stat) -> i64 {
    realign!(inner::stat)
}

/// The same of an open file, as fstat(2).
/// Context:   T, G. On a plain thread, and on a bound goroutine's own, it blocks the thread.
/// Parks:     as goroutine_open.
/// Ownership: borrows `result`.
/// Output:    `*result`, if 0 is returned.
/// Returns:   0; or a negative errno: -EBADF, -ECANCELED, -EINVAL (NULL) ...
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_fstat(fd: i32, result: *mut stat) -> i64 {
    realign!(inner::fstat)
}

mod inner {
    use super::*;

    pub unsafe extern "C" fn open(path: *const c_char, flags: i32, mode: mode_t) -> i64 {
        if path.is_null() {
            return i64::from(GOROUTINE_EINVAL);
        }
        // SAFETY: the caller's promise.
        unsafe { file::open(path, flags, mode) }
    }

    pub unsafe extern "C" fn stat(path: *const c_char, result: *mut libc::stat) -> i64 {
        if path.is_null() || result.is_null() {
            return i64::from(GOROUTINE_EINVAL);
        }
        // SAFETY: the caller's promise.
        unsafe { file::stat(path, result) }
    }

    pub unsafe extern "C" fn fstat(fd: i32, result: *mut libc::stat) -> i64 {
        if result.is_null() {
            return i64::from(GOROUTINE_EINVAL);
        }
        // SAFETY: the caller's promise.
        unsafe { file::stat_open(fd, result) }
    }
}
