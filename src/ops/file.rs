//! Files, as if they blocked: on no worker's thread.
//!
//! Where a call is made, the first that will do:
//!
//! | where | what | costs |
//! |---|---|---|
//! | here, with RWF_NOWAIT | reads of what is in the page cache | the system call |
//! | the kernel's ring (`netpoll::ring`) | everything at a given offset, or by name | another system call, and a wake if it takes long |
//! | a thread of the pool ([`FILES`]) | everything, if there is no ring; reads and writes at the file's own position | two thread switches |
//! | here, as it is | everything, on plain threads and bound goroutines: they have a thread to block | the system call |
//!
//! I1. Buffers, paths and results are the caller's, on its stack or beyond. So a call that has begun is waited for, whatever happens to
//!     the goroutine: a cancel ends only the wait for a thread (`withdraw`).
//! I2. The same comes of all of them. What the ring cannot do, or does otherwise, is asked of the system call: an error that may be
//!     the ring's own (`is_own`), whether a file has offsets (ESPIPE), and whatever uses the file's own position, which read(2)
//!     locks and the ring does not.
//! I3. A read goes on until it has everything, or the end, as read(2) of a file does.
//! I4. A call that may wait for another one of the program's holds no place that other calls want: the open of a FIFO, which ends when
//!     its other end is opened, has threads of its own ([`OPENS`]).

use super::io::{Stay, errno, is_new, result};
use super::wait::{queue, wait, wake_one};
use crate::abi::*;
use crate::context::tls;
use crate::goroutine::waits::{Kind, Waits};
use crate::goroutine::{Goroutine, ReadyList};
use crate::netpoll::ring::{self, Entry, Operation, op};
use crate::sanitize;
use crate::sched::jobs::{Queue, Work};
use crate::sched::{bind, budget, runtime};
use crate::wait::thread::ThreadWait;
use libc::{iovec, mode_t, off_t};
use std::ffi::{c_char, c_void};
use std::mem::zeroed;
use std::ptr::null;

/// Most threads that files take at a time.
const THREADS: u32 = 16;
/// Calls that wait for a thread.
pub static FILES: Queue<Job> = Queue::beyond(THREADS);
/// Most FIFOs that are being opened at a time.
const OPENS_MOST: u32 = 1024;
/// Opens that wait for somebody to open the other end (I4).
pub static OPENS: Queue<Job> = Queue::beyond(OPENS_MOST);
/// The most that one system call transfers.
const MOST: usize = 0x7FFF_F000;
/// A write of more is not even tried while the caller's thread is in the kernel, where it may be copied all at once.
const LARGE: usize = 64 << 10;

/// A system call. Pointers are as it wants them.
#[derive(Clone, Copy)]
enum Call {
    Open(*const c_char, i32, mode_t),
    Read(i32, *mut c_void, usize, off_t),
    Write(i32, *const c_void, usize, off_t),
    /// At the file's own position.
    ReadHere(i32, *const iovec, i32),
    WriteHere(i32, *const iovec, i32),
    Sync(i32),
    Stat(*const c_char, *mut libc::stat),
    StatOpen(i32, *mut libc::stat),
}

impl Call {
    /// Makes it, on the calling thread.
    ///
    /// # Safety
    /// The pointers are as the call wants them.
    unsafe fn run(self) -> i64 {
        loop {
            // SAFETY: the caller's promise.
            let n = unsafe {
                match self {
                    Self::Open(path, flags, mode) => libc::open(path, flags, mode) as isize,
                    Self::Read(fd, buffer, n, offset) => libc::pread(fd, buffer, n, offset),
                    Self::Write(fd, buffer, n, offset) => libc::pwrite(fd, buffer, n, offset),
                    Self::ReadHere(fd, vectors, count) => libc::readv(fd, vectors, count),
                    Self::WriteHere(fd, vectors, count) => libc::writev(fd, vectors, count),
                    Self::Sync(fd) => libc::fsync(fd) as isize,
                    Self::Stat(path, stat) => libc::stat(path, stat) as isize,
                    Self::StatOpen(fd, stat) => libc::fstat(fd, stat) as isize,
                }
            };
            match result(n) {
                Err(libc::EINTR) => {}
                Err(error) => return -i64::from(error),
                Ok(n) => return n as i64,
            }
        }
    }

    /// The same for the ring; `statx` is where it writes what a stat wants. None: it would do something else (I2).
    fn entry(self, statx: *mut libc::statx) -> Option<Entry> {
        // SAFETY: integers.
        let mut entry: Entry = unsafe { zeroed() };
        match self {
            Self::ReadHere(..) | Self::WriteHere(..) => return None,
            Self::Read(_, _, 0, _) => return None, // which it does not ask a directory
            Self::Open(path, flags, mode) => {
                entry.opcode = op::OPENAT;
                entry.flags = ring::ASYNC; // its first try would be with O_NONBLOCK, which opens a FIFO without its other end
                entry.fd = libc::AT_FDCWD;
                entry.addr = path as u64;
                entry.len = mode;
                entry.op_flags = flags as u32;
            }
            Self::Read(fd, buffer, n, offset) => {
                entry.opcode = op::READ;
                entry.fd = fd;
                entry.addr = buffer as u64;
                entry.len = n as u32; // at most MOST
                entry.off = offset as u64;
            }
            Self::Write(fd, buffer, n, offset) => {
                entry.opcode = op::WRITE;
                entry.fd = fd;
                entry.addr = buffer as u64;
                entry.len = n as u32;
                entry.off = offset as u64;
                if n >= LARGE {
                    entry.flags = ring::ASYNC;
                }
            }
            Self::Sync(fd) => {
                entry.opcode = op::FSYNC;
                entry.fd = fd;
            }
            Self::Stat(path, _) => {
                entry.opcode = op::STATX;
                entry.fd = libc::AT_FDCWD;
                entry.addr = path as u64;
                entry.len = libc::STATX_BASIC_STATS;
                entry.off = statx as u64;
            }
            Self::StatOpen(fd, _) => {
                entry.opcode = op::STATX;
                entry.fd = fd;
                entry.addr = c"".as_ptr() as u64;
                entry.len = libc::STATX_BASIC_STATS;
                entry.off = statx as u64;
                entry.op_flags = libc::AT_EMPTY_PATH as u32;
            }
        }
        Some(entry)
    }
}

/// Whether the calling thread may block. (Without a worker the goroutine is bound, or in a blocking foreign call.)
///
/// # Safety
/// `g` is the running goroutine, or null.
unsafe fn has_thread_to_block(g: *mut Goroutine) -> bool {
    // SAFETY: the caller's promise.
    unsafe { g.is_null() || tls::worker().is_null() || bind::is_bound(g) || (*g).id() == 0 }
}

/// Makes a call where it holds nobody up.
///
/// # Safety
/// The pointers are as the call wants them.
unsafe fn make(call: Call) -> i64 {
    if budget::is_up()
        && let Err(status) = budget::give_way()
    {
        return i64::from(status);
    }
    let g = tls::current();
    // SAFETY: the running goroutine; the caller's promise.
    unsafe {
        if has_thread_to_block(g) {
            return call.run();
        }
        by_ring(g, call).unwrap_or_else(|| by_pool(g, call, &FILES))
    }
}

/// None: the ring cannot, or would not say what the call says.
unsafe fn by_ring(g: *mut Goroutine, call: Call) -> Option<i64> {
    // SAFETY: integers.
    let mut statx: libc::statx = unsafe { zeroed() };
    let entry = call.entry(&raw mut statx)?;
    let operation = Operation::new();
    {
        let inside = runtime::enter()?;
        let wanted = inside.config.flags & GOROUTINE_CONFIG_NO_IO_URING == 0;
        let ring = inside.net.poller_for_wait().ok()?.ring(wanted)?;
        // SAFETY: what it names is the caller's, or lies here, until `until_done` has seen the end (I1).
        if !unsafe { ring.submit(entry, &raw const operation) } {
            return None;
        }
        let mut ready = ReadyList::new();
        ring.reap(&mut ready);
        queue(ready);
    }
    // SAFETY: the running goroutine. It has begun.
    let done = unsafe { until_done(g, &operation, || false) }.expect("nothing else ends it");
    if is_own(-done) {
        return None;
    }
    if done == 0
        && let Call::Stat(_, stat) | Call::StatOpen(_, stat) = call
    {
        // SAFETY: the caller's place.
        unsafe { *stat = of_statx(&statx) };
    }
    Some(done)
}

/// Whether the error may be the ring's, not the call's: then nothing was done. (A thread that ends takes along what it has submitted, as far as
/// that has not begun: ECANCELED, EINTR.)
fn is_own(error: i64) -> bool {
    const RESTARTS: std::ops::RangeInclusive<i64> = 512..=516; // ERESTARTSYS and its like, which no system call gives
    let by_name = matches!(
        error as i32,
        libc::ECANCELED | libc::EINTR | libc::EAGAIN | libc::EOPNOTSUPP | libc::EINVAL | libc::ENOSYS
    );
    by_name || RESTARTS.contains(&error)
}

/// A call that waits for a thread, on its goroutine's stack.
struct Queued {
    call: Call,
    operation: Operation,
}

/// The same, in the queue.
pub struct Job(*const Queued);
// SAFETY: the goroutine that it belongs to waits until it was made, or withdrawn.
unsafe impl Send for Job {}

impl Work for Job {
    fn run(self) {
        // SAFETY: the goroutine waits. After `finish` nothing of its is touched but its name (`wait::done`, I1).
        unsafe {
            let done = (*self.0).call.run();
            sanitize::released(&raw const (*self.0).operation);
            if let Some(claimed) = (*self.0).operation.finish(done) {
                wake_one(claimed, GOROUTINE_OK);
            }
        }
    }
}

unsafe fn by_pool(g: *mut Goroutine, call: Call, queue: &'static Queue<Job>) -> i64 {
    let queued = Queued {
        call,
        operation: Operation::new(),
    };
    let place = &raw const queued;
    match runtime::enter() {
        Some(inside) => {
            let taken = queue.push(inside.shared(), usize::MAX, Job(place));
            debug_assert!(taken.is_ok(), "nothing is refused (`Queue::beyond`)");
        }
        None => return i64::from(GOROUTINE_ESHUTDOWN),
    }
    let withdraw = || queue.withdraw(|job| job.0 == place).is_some();
    // SAFETY: the running goroutine.
    unsafe { until_done(g, &queued.operation, withdraw) }.unwrap_or_else(i64::from)
}

/// Waits until it is done. Err: the goroutine was told to stop, and `withdraw` was in time.
unsafe fn until_done(
    g: *mut Goroutine,
    operation: &Operation,
    withdraw: impl FnOnce() -> bool,
) -> Result<i64, GoroutineStatus> {
    let word = ThreadWait::new(); // no thread waits here
    // SAFETY: the operation stays in place: it is left before we are.
    let park = || unsafe {
        wait(&word, u64::MAX, Waits::on(Kind::File, operation), |party| {
            operation.join(party)
        })
    };
    let leave = || operation.leave().inspect(|_| sanitize::acquired(operation));
    let status = park();
    if let Some(done) = leave() {
        return Ok(done);
    }
    if status != GOROUTINE_OK && withdraw() {
        return Err(status);
    }
    loop {
        // SAFETY: the running goroutine's own.
        unsafe { Goroutine::disable_cancel(g) };
        park();
        // SAFETY: as above.
        unsafe { Goroutine::enable_cancel(g) };
        if let Some(done) = leave() {
            return Ok(done);
        }
    }
}

/// What stat(2) would have written.
fn of_statx(from: &libc::statx) -> libc::stat {
    // SAFETY: integers.
    let mut stat: libc::stat = unsafe { zeroed() };
    stat.st_dev = libc::makedev(from.stx_dev_major, from.stx_dev_minor);
    stat.st_ino = from.stx_ino;
    stat.st_nlink = u64::from(from.stx_nlink);
    stat.st_mode = u32::from(from.stx_mode);
    stat.st_uid = from.stx_uid;
    stat.st_gid = from.stx_gid;
    stat.st_rdev = libc::makedev(from.stx_rdev_major, from.stx_rdev_minor);
    stat.st_size = from.stx_size as i64;
    stat.st_blksize = i64::from(from.stx_blksize);
    stat.st_blocks = from.stx_blocks as i64;
    (stat.st_atime, stat.st_atime_nsec) = (from.stx_atime.tv_sec, i64::from(from.stx_atime.tv_nsec));
    (stat.st_mtime, stat.st_mtime_nsec) = (from.stx_mtime.tv_sec, i64::from(from.stx_mtime.tv_nsec));
    (stat.st_ctime, stat.st_ctime_nsec) = (from.stx_ctime.tv_sec, i64::from(from.stx_ctime.tv_nsec));
    stat
}

// ---- by name ----

/// `goroutine_open`.
///
/// # Safety
/// `path` is a C string.
pub unsafe fn open(path: *const c_char, flags: i32, mode: mode_t) -> i64 {
    let call = Call::Open(path, flags, mode);
    let g = tls::current();
    // SAFETY: the caller's promise; the running goroutine.
    let fd = unsafe {
        if !has_thread_to_block(g) && is_fifo_that_waits(path, flags) {
            if (*g).is_cancelled() {
                return i64::from(GOROUTINE_ECANCELED);
            }
            by_pool(g, call, &OPENS)
        } else {
            make(call)
        }
    };
    if fd >= 0 {
        is_new(fd as i32);
    }
    fd
}

/// Whether an open would wait for another one (I4). What the kernel knows of the path without asking a disk is asked here; the rest is
/// a stat like others.
///
/// # Safety
/// `path` is a C string.
unsafe fn is_fifo_that_waits(path: *const c_char, flags: i32) -> bool {
    const NEVER: i32 = libc::O_NONBLOCK | libc::O_PATH | libc::O_DIRECTORY;
    if flags & NEVER != 0 || flags & libc::O_ACCMODE == libc::O_RDWR {
        return false;
    }
    // SAFETY: the caller's promise; integers; `how` and `stat` live through the calls.
    unsafe {
        let mut how: libc::open_how = zeroed();
        how.flags = (libc::O_PATH | libc::O_CLOEXEC | (flags & libc::O_NOFOLLOW)) as u64;
        how.resolve = libc::RESOLVE_CACHED;
        let mut stat: libc::stat = zeroed();
        let size = size_of::<libc::open_how>();
        let found = match result(
            libc::syscall(libc::SYS_openat2, libc::AT_FDCWD, path, &raw const how, size) as isize,
        ) {
            Ok(fd) => {
                let found = libc::fstat(fd as i32, &mut stat) == 0;
                libc::close(fd as i32);
                found
            }
            // Not in memory; or no such call here.
            Err(libc::EAGAIN | libc::EINVAL | libc::ENOSYS | libc::EPERM) => {
                make(Call::Stat(path, &mut stat)) == 0
            }
            Err(_) => false, // the open will say it, too
        };
        found && stat.st_mode & libc::S_IFMT == libc::S_IFIFO
    }
}

/// `goroutine_stat`.
///
/// # Safety
/// `path` is a C string, `stat` has room.
pub unsafe fn stat(path: *const c_char, stat: *mut libc::stat) -> i64 {
    // SAFETY: the caller's promise.
    unsafe { make(Call::Stat(path, stat)) }
}

// ---- by descriptor ----

/// `goroutine_fstat`.
///
/// # Safety
/// `stat` has room.
pub unsafe fn stat_open(fd: i32, stat: *mut libc::stat) -> i64 {
    let Some(_stay) = Stay::new(fd) else {
        return i64::from(GOROUTINE_EBADF);
    };
    // SAFETY: the caller's promise.
    unsafe { make(Call::StatOpen(fd, stat)) }
}

/// `goroutine_fsync`.
pub extern "C" fn sync(fd: i32) -> i64 {
    let Some(_stay) = Stay::new(fd) else {
        return i64::from(GOROUTINE_EBADF);
    };
    // SAFETY: no pointers.
    unsafe { make(Call::Sync(fd)) }
}

/// `goroutine_pread`.
///
/// # Safety
/// `buffer` has room for `n` bytes.
pub unsafe extern "C" fn pread(fd: i32, buffer: *mut c_void, n: usize, offset: off_t) -> i64 {
    if offset < 0 {
        return i64::from(GOROUTINE_EINVAL); // -1 would mean the file's own position below
    }
    let Some(stay) = Stay::new(fd) else {
        return i64::from(GOROUTINE_EBADF);
    };
    if let Err(status) = stay.before_call() {
        return i64::from(status);
    }
    if n > isize::MAX as usize {
        // SAFETY: it fails.
        return unsafe { Call::Read(fd, buffer, n, offset).run() };
    }
    let n = n.min(MOST);
    let mut done = 0;
    // SAFETY: the caller's promise; `done <= n`.
    unsafe {
        loop {
            if n == 0 {
                break; // preadv2 would say nothing of a directory
            }
            let v = iovec {
                iov_base: buffer.byte_add(done),
                iov_len: n - done,
            };
            let at = offset.wrapping_add(done as off_t);
            match result(libc::preadv2(fd, &v, 1, at, libc::RWF_NOWAIT)) {
                Err(libc::EINTR) => {}
                Err(libc::EAGAIN | libc::EOPNOTSUPP | libc::ENOSYS) => break,
                Err(error) => return or_some(done, error),
                Ok(more) => {
                    done += more;
                    if more == 0 || done == n {
                        return done as i64;
                    }
                }
            }
        }
        loop {
            let at = offset.wrapping_add(done as off_t);
            match make(Call::Read(fd, buffer.byte_add(done), n - done, at)) {
                error @ ..0 => return or_some(done, -error as i32),
                more => {
                    done += more as usize;
                    if more == 0 || done == n {
                        return done as i64;
                    }
                }
            }
        }
    }
}

/// `goroutine_pwrite`.
///
/// # Safety
/// `buffer` holds `n` bytes.
pub unsafe extern "C" fn pwrite(fd: i32, buffer: *const c_void, n: usize, offset: off_t) -> i64 {
    if offset < 0 {
        return i64::from(GOROUTINE_EINVAL);
    }
    let Some(_stay) = Stay::new(fd) else {
        return i64::from(GOROUTINE_EBADF);
    };
    if n > isize::MAX as usize {
        // SAFETY: it fails.
        return unsafe { Call::Write(fd, buffer, n, offset).run() };
    }
    // SAFETY: the caller's promise; a write of nothing.
    unsafe {
        // I2: of a file without offsets the ring would just write.
        if libc::pwritev2(fd, null(), 0, offset, libc::RWF_NOWAIT) < 0 && errno() == libc::ESPIPE {
            return -i64::from(libc::ESPIPE);
        }
        make(Call::Write(fd, buffer, n.min(MOST), offset))
    }
}

/// Of a transfer that ends with an error: what went before it counts first.
fn or_some(done: usize, error: i32) -> i64 {
    if done != 0 { done as i64 } else { -i64::from(error) }
}

/// A read or write of a file at its own position, for goroutine_read and its like.
///
/// What is in the page cache is read on the worker's thread. That waits if another thread is reading the file through this very
/// position, which is locked meanwhile: few files are read so, and those reads want to come one after the other.
///
/// # Safety
/// `vectors` are `count` buffers.
pub(super) unsafe fn transfer_here(
    fd: i32,
    reads: bool,
    vectors: *const iovec,
    count: i32,
) -> Result<usize, i32> {
    // SAFETY: the caller's promise.
    let done = unsafe {
        if !reads {
            make(Call::WriteHere(fd, vectors, count))
        } else {
            read_here(fd, vectors, count)
        }
    };
    usize::try_from(done).map_err(|_| -done as i32)
}

unsafe fn read_here(fd: i32, vectors: *const iovec, count: i32) -> i64 {
    let mut left: Vec<iovec>;
    let (mut at, mut n, mut done) = (vectors, count, 0);
    loop {
        // SAFETY: the caller's promise, and `rest`'s.
        unsafe {
            match result(libc::preadv2(fd, at, n, -1, libc::RWF_NOWAIT)) {
                Err(libc::EINTR) => {}
                Err(libc::EAGAIN | libc::EOPNOTSUPP | libc::ENOSYS) => {
                    let more = make(Call::ReadHere(fd, at, n));
                    return if done == 0 {
                        more
                    } else {
                        done as i64 + more.max(0)
                    };
                }
                Err(error) => return or_some(done, error),
                Ok(more) => {
                    done += more;
                    left = rest(vectors, count, done);
                    if more == 0 || left.is_empty() {
                        return done as i64;
                    }
                    (at, n) = (left.as_ptr(), left.len() as i32);
                }
            }
        }
    }
}

/// The buffers that are left after `done` bytes.
///
/// # Safety
/// `vectors` are `count` buffers.
pub(super) unsafe fn rest(vectors: *const iovec, count: i32, mut done: usize) -> Vec<iovec> {
    let mut rest = Vec::new();
    for i in 0..count as usize {
        // SAFETY: the caller's promise.
        let mut v = unsafe { *vectors.add(i) };
        let skip = done.min(v.iov_len);
        done -= skip;
        v.iov_len -= skip;
        if v.iov_len != 0 {
            v.iov_base = v.iov_base.wrapping_byte_add(skip);
            rest.push(v);
        }
    }
    rest
}
