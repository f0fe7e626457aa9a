//! Input and output: as if it blocked, while the thread runs other goroutines.

use crate::abi::*;
use crate::netpoll::descriptor::{READ, WRITE};
use crate::ops::io;
use libc::{iovec, msghdr, sockaddr, socklen_t};
use std::ffi::c_void;

/// Waits until a descriptor is ready for one of `events`: POLLIN, POLLOUT and their like, as for poll(2). `*ready` says for which; POLLERR and
/// POLLHUP are always waited for. The descriptor may be anybody's, also of a library that closes it without telling: it asks
/// the kernel each time, which takes two system calls, or one if it is ready.
/// Context:   T, G. On a plain thread it blocks the thread.
/// Parks:     the goroutine, not its thread. It may resume on another thread.
/// Ownership: borrows `ready`.
/// Returns:   GOROUTINE_OK, GOROUTINE_EAGAIN, GOROUTINE_ETIMEDOUT, GOROUTINE_ECANCELED, GOROUTINE_EBADF (also: closed meanwhile), GOROUTINE_ENOMEM,
///            GOROUTINE_EINVAL (NULL, other events).
/// Since:     ABI 1.
///
/// # Safety
/// Pointers are as the text says, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_fd_wait(
    fd: i32,
    events: u32,
    timeout_ns: u64,
    ready: *mut u32,
) -> GoroutineStatus {
    realign!(inner::fd_wait)
}

/// The calls that follow on this descriptor end with -ETIMEDOUT once `timeout_ns` have passed from now: for `events` POLLIN reads and accepts,
/// for POLLOUT writes and connects. GOROUTINE_FOREVER: no deadline; 0: they end with -ETIMEDOUT at once. It is the descriptor's, for all calls until it is set
/// anew (so an idle time-out is set before each read), and does not change calls that have begun. Calls on files at an offset, or by name, have none.
/// Context:   T, G.
/// Parks:     never.
/// Returns:   GOROUTINE_OK, GOROUTINE_EBADF (not open, unless it was used here and closed by close(2)), GOROUTINE_EINVAL (events).
/// Since:     ABI 1.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub extern "C" fn goroutine_set_deadline(fd: i32, events: u32, timeout_ns: u64) -> GoroutineStatus {
    realign!(io::set_deadline)
}

/// Reads up to `n` bytes, as read(2); waits until there are some, or the end.
/// Sockets are read without changing their mode. Other files, too, if their kind can be read without waiting (pipes, eventfd ...) or
/// they are non-blocking; else (terminals) the call is made as a blocking foreign call once there is something. Of regular files what is in
/// memory is read at once, and threads of the library do the rest. Now and then a call that need not wait gives way to other goroutines first.
/// What was read or written here is closed by goroutine_close and by nothing else: after close(2), or dup2(2) onto it, the next file with the number
/// may wait for a second or two for what it has already.
/// Context:   T, G. On a plain thread it blocks the thread.
/// Parks:     the goroutine, not its thread. It may resume on another thread.
/// Ownership: borrows `buffer`.
/// Returns:   the number of bytes, 0 at the end; or a negative errno: -ETIMEDOUT (goroutine_set_deadline), -ECANCELED (nothing was read), -EBADF (also: closed meanwhile) ...
/// Since:     ABI 1.
///
/// # Safety
/// `buffer` has room for `n` bytes.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_read(fd: i32, buffer: *mut c_void, n: usize) -> i64 {
    realign!(io::read)
}

/// Writes up to `n` bytes, as write(2), and returns as soon as some are written. A socket raises no SIGPIPE.
/// Context:   T, G. On a plain thread it blocks the thread.
/// Parks:     the goroutine, not its thread. It may resume on another thread.
/// Ownership: borrows `buffer`.
/// Returns:   the number of bytes; or a negative errno, as goroutine_read, -EPIPE ...
/// Since:     ABI 1.
///
/// # Safety
/// `buffer` holds `n` bytes.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_write(fd: i32, buffer: *const c_void, n: usize) -> i64 {
    realign!(io::write)
}

/// goroutine_read into several buffers, as readv(2).
/// Context:   T, G. On a plain thread it blocks the thread.
/// Parks:     the goroutine, not its thread. It may resume on another thread.
/// Ownership: borrows all of them.
/// Returns:   as goroutine_read; -EINVAL.
/// Since:     ABI 1.
///
/// # Safety
/// `vectors` are `count` buffers.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_readv(fd: i32, vectors: *const iovec, count: i32) -> i64 {
    realign!(inner::readv)
}

/// goroutine_write of several buffers, as writev(2).
/// Context:   T, G. On a plain thread it blocks the thread.
/// Parks:     the goroutine, not its thread. It may resume on another thread.
/// Ownership: borrows all of them.
/// Returns:   as goroutine_write; -EINVAL.
/// Since:     ABI 1.
///
/// # Safety
/// `vectors` are `count` buffers.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_writev(fd: i32, vectors: *const iovec, count: i32) -> i64 {
    realign!(inner::writev)
}

/// Receives one message, as recvmsg(2). With MSG_DONTWAIT, MSG_OOB or MSG_ERRQUEUE it does not wait: -EAGAIN.
/// Context:   T, G. On a plain thread it blocks the thread.
/// Parks:     the goroutine, not its thread. It may resume on another thread.
/// Ownership: borrows `message` and what it names.
/// Returns:   the number of bytes; or a negative errno, as goroutine_read, -ENOTSOCK ...
/// Since:     ABI 1.
///
/// # Safety
/// `message` is as recvmsg wants it, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_recvmsg(fd: i32, message: *mut msghdr, flags: i32) -> i64 {
    realign!(inner::receive_message)
}

/// Sends one message, as sendmsg(2). With MSG_DONTWAIT it does not wait: -EAGAIN.
/// Context:   T, G. On a plain thread it blocks the thread.
/// Parks:     the goroutine, not its thread. It may resume on another thread.
/// Ownership: borrows `message` and what it names.
/// Returns:   the number of bytes; or a negative errno, as goroutine_write, -ENOTSOCK ...
/// Since:     ABI 1.
///
/// # Safety
/// `message` is as sendmsg wants it, or NULL.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_sendmsg(fd: i32, message: *const msghdr, flags: i32) -> i64 {
    realign!(inner::send_message)
}

/// Waits for a connection, as accept(2). Makes `fd` non-blocking. Connections that broke before they were accepted are left out; when
/// the process is out of descriptors or memory it tries again, less and less often, for a second, and only then says so: a loop of
/// accepts never spins.
/// Context:   T, G. On a plain thread it blocks the thread.
/// Parks:     the goroutine, not its thread. It may resume on another thread.
/// Ownership: the new descriptor is the caller's, who closes it with goroutine_close. It is non-blocking and close-on-exec.
/// Returns:   the new descriptor; or a negative errno, as goroutine_read, -EMFILE ...
/// Since:     ABI 1.
///
/// # Safety
/// `address` and `size` are as accept wants them: NULL will do.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_accept(fd: i32, address: *mut sockaddr, size: *mut socklen_t) -> i64 {
    realign!(io::accept)
}

/// Connects a socket, as connect(2), and makes it non-blocking. If the number was another file's, which was closed by close(2), it begins anew here, and
/// who still waits for that one gets -EBADF.
/// Context:   T, G. On a plain thread it blocks the thread.
/// Parks:     the goroutine, not its thread. It may resume on another thread.
/// Ownership: borrows `address`.
/// Returns:   0; or a negative errno: -ECONNREFUSED, -ETIMEDOUT (goroutine_set_deadline for POLLOUT, or the network's), -ECANCELED ... Close
///            it then.
/// Since:     ABI 1.
///
/// # Safety
/// `address` has `size` bytes.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn goroutine_connect(fd: i32, address: *const sockaddr, size: socklen_t) -> i64 {
    realign!(io::connect)
}

/// Closes a descriptor. Whoever waits for it goes on with -EBADF; a system call on it that is under way ends first. A descriptor that
/// was read or written here is to be closed here: close(2) would leave its waiters alone, and its number would be taken for the old file;
/// so would a dup2(2) onto it (docs/io.md, "Closing").
/// Context:   T, G.
/// Parks:     no; with SO_LINGER the calling thread may block, while its other goroutines go on elsewhere.
/// Ownership: consumes `fd`.
/// Returns:   0; or a negative errno: -EBADF (not open, or being closed) ...
/// Since:     ABI 1.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub extern "C" fn goroutine_close(fd: i32) -> i64 {
    realign!(io::close)
}

/// The library knows the descriptor no more, as after goroutine_close, but it stays open: for one that somebody else closes.
/// Context:   T, G.
/// Parks:     while a call on it is under way that has begun before: a file's may take long. It may resume on another thread.
/// Ownership: `fd` is the caller's alone again.
/// Returns:   GOROUTINE_OK, GOROUTINE_EBADF (not open, or being closed).
/// Since:     ABI 1.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub extern "C" fn goroutine_fd_release(fd: i32) -> GoroutineStatus {
    realign!(io::release)
}

mod inner {
    use super::*;

    pub unsafe extern "C" fn fd_wait(
        fd: i32,
        events: u32,
        timeout_ns: u64,
        ready: *mut u32,
    ) -> GoroutineStatus {
        // SAFETY: the caller's promise.
        unsafe { ready.as_mut() }.map_or(GOROUTINE_EINVAL, |ready| {
            io::wait_fd(fd, events, timeout_ns, ready)
        })
    }

    pub unsafe extern "C" fn readv(fd: i32, vectors: *const iovec, count: i32) -> i64 {
        // SAFETY: the caller's promise.
        unsafe { io::vectored(fd, READ, vectors, count) }
    }

    pub unsafe extern "C" fn writev(fd: i32, vectors: *const iovec, count: i32) -> i64 {
        // SAFETY: the caller's promise.
        unsafe { io::vectored(fd, WRITE, vectors, count) }
    }

    pub unsafe extern "C" fn receive_message(fd: i32, message: *mut msghdr, flags: i32) -> i64 {
        if message.is_null() {
            return i64::from(GOROUTINE_EINVAL);
        }
        // SAFETY: the caller's promise.
        unsafe { io::receive_message(fd, message, flags) }
    }

    pub unsafe extern "C" fn send_message(fd: i32, message: *const msghdr, flags: i32) -> i64 {
        if message.is_null() {
            return i64::from(GOROUTINE_EINVAL);
        }
        // SAFETY: the caller's promise.
        unsafe { io::send_message(fd, message, flags) }
    }
}
