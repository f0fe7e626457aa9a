//! The kernel's io_uring: file operations that go on while nobody waits in the kernel for them.
//!
//! Whoever wants something writes an entry and enters the kernel, under a lock: one at a time is submitted, so the queue of entries
//! is never full. What is done comes back through the other queue, which whoever holds the poller looks at when the ring's
//! descriptor has an edge, and whoever has just submitted: much is done before the call returns.
//!
//! I1. No more is under way than the queue of completions has places, so none is ever put off or lost.
//! I2. An operation belongs to the kernel from its submit to its completion, and so do its buffers. Nothing here cancels it.
//! I3. The kernel looks at `tail` of the entries only inside `io_uring_enter`, which is called under the lock: an entry that it
//!     did not take can be taken back.
//!
//! By hand, not through a crate: three system calls, five operations, two queues of which each side is used under a lock.

use crate::goroutine::ReadyList;
use crate::sync::SpinLock;
use crate::sys::mutex::Mutex;
use crate::wait::done::Done;
use crate::wait::{Party, wake};
use std::ffi::c_void;
use std::io;
use std::mem::{offset_of, size_of, zeroed};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU32, Ordering};

/// What waits for an operation: errno negative, or what the call gives.
pub type Operation = Done<Party, i64>;

/// `IORING_OP_*` of linux/io_uring.h.
#[allow(missing_docs)]
pub mod op {
    pub const FSYNC: u8 = 3;
    pub const OPENAT: u8 = 18;
    pub const STATX: u8 = 21;
    pub const READ: u8 = 22;
    pub const WRITE: u8 = 23;
    /// Those without which there is no ring.
    pub const ALL: [u8; 5] = [FSYNC, OPENAT, STATX, READ, WRITE];
}

/// In `flags` of an entry: not even tried before the call returns.
pub const ASYNC: u8 = 1 << 4;

/// `struct io_uring_sqe`, as far as it is used.
#[repr(C)]
#[derive(Clone, Copy)]
#[allow(missing_docs)] // the kernel's names
pub struct Entry {
    pub opcode: u8,
    pub flags: u8,
    pub ioprio: u16,
    pub fd: i32,
    pub off: u64,
    pub addr: u64,
    pub len: u32,
    pub op_flags: u32,
    pub user_data: u64,
    pub rest: [u64; 3],
}
const _: () = assert!(size_of::<Entry>() == 64);

/// `struct io_uring_cqe`.
#[repr(C)]
struct Completion {
    user_data: u64,
    result: i32,
    flags: u32,
}

/// `struct io_sqring_offsets` and `io_cqring_offsets`: the two have the same size, and the members that are used here have the names of both.
#[repr(C)]
struct Offsets {
    head: u32,
    tail: u32,
    mask: u32,
    entries: u32,
    a: u32,
    b: u32,
    c: u32,
    reserved: u32,
    user_address: u64,
}

/// `struct io_uring_params`.
#[repr(C)]
struct Params {
    sq_entries: u32,
    cq_entries: u32,
    flags: u32,
    sq_thread_cpu: u32,
    sq_thread_idle: u32,
    features: u32,
    wq_fd: u32,
    reserved: [u32; 3],
    /// `c` is the offset of the array of indices ...
    sq: Offsets,
    /// ... `b` that of the completions.
    cq: Offsets,
}
const _: () = assert!(size_of::<Params>() == 120 && offset_of!(Params, cq) == 80);

/// Of `struct io_uring_probe`, 256 operations.
#[repr(C)]
struct Probe {
    last_op: u8,
    count: u8,
    reserved: [u16; 7],
    ops: [ProbeOp; 256],
}
#[repr(C)]
#[derive(Clone, Copy)]
struct ProbeOp {
    op: u8,
    reserved: u8,
    flags: u16,
    reserved_too: u32,
}

const SETUP_CQSIZE: u32 = 1 << 3;
const FEATURE_SINGLE_MMAP: u32 = 1 << 0;
const FEATURE_SUBMIT_STABLE: u32 = 1 << 2;
/// What is handed to a thread runs on one of the process's own, with its limits and rights (Linux 5.12).
const FEATURE_NATIVE_WORKERS: u32 = 1 << 9;
const FEATURES: u32 = FEATURE_SINGLE_MMAP | FEATURE_SUBMIT_STABLE | FEATURE_NATIVE_WORKERS;
const REGISTER_PROBE: u32 = 8;
const REGISTER_IOWQ_MAX_WORKERS: u32 = 19;
const OP_SUPPORTED: u16 = 1;
const OFFSET_SQES: i64 = 0x1000_0000;

/// One at a time is submitted. (The kernel derives from it how many threads it takes, before Linux 5.15.)
const ENTRIES: u32 = 32;
/// Threads that the kernel takes for each of ours that submits: what it cannot begin by itself (a stat, a sync, an open) blocks one.
const KERNEL_THREADS: u32 = 32;
/// Most operations under way (I1).
const COMPLETIONS: u32 = 4096;

/// Memory shared with the kernel.
struct Mapping {
    base: *mut u8,
    bytes: usize,
}

impl Mapping {
    fn new(ring: i32, offset: i64, bytes: usize) -> io::Result<Self> {
        // SAFETY: a fresh mapping.
        let base = unsafe {
            let access = libc::PROT_READ | libc::PROT_WRITE;
            libc::mmap(
                null_mut(),
                bytes,
                access,
                libc::MAP_SHARED | libc::MAP_POPULATE,
                ring,
                offset,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = base.cast();
        Ok(Self { base, bytes })
    }

    /// # Safety
    /// The kernel said that there is a `T` at `offset`.
    unsafe fn at<T>(&self, offset: u32) -> *mut T {
        // SAFETY: the caller's promise.
        unsafe { self.base.add(offset as usize).cast() }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: ours, and nobody uses it any more.
        unsafe { libc::munmap(self.base.cast(), self.bytes) };
    }
}

struct Descriptor(i32);

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: ours.
        unsafe { libc::close(self.0) };
    }
}

/// See the module's head.
pub struct Ring {
    params: Params,
    rings: Mapping,
    entries: Mapping,
    /// The next entry's number.
    submit: Mutex<u32>,
    /// Around the queue of completions.
    reap: SpinLock,
    under_way: AtomicU32,
    fd: Descriptor,
}

// SAFETY: the mappings are used under the locks, and through atomics.
unsafe impl Send for Ring {}
// SAFETY: as above.
unsafe impl Sync for Ring {}

impl Ring {
    /// Err: the kernel has none, or not all that is needed, or does not allow it.
    pub fn new() -> io::Result<Self> {
        // SAFETY: integers.
        let mut params: Params = unsafe { zeroed() };
        params.flags = SETUP_CQSIZE;
        params.cq_entries = COMPLETIONS;
        // SAFETY: lives through the call. The kernel makes it close-on-exec.
        let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, ENTRIES, &raw mut params) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        let fd = Descriptor(fd as i32);
        if params.features & FEATURES != FEATURES || !can_all(fd.0) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let mut most = [KERNEL_THREADS, 0]; // 0: as it is, for what is not files
        // SAFETY: two integers. An older kernel says no: then it is as `ENTRIES` says.
        unsafe {
            libc::syscall(
                libc::SYS_io_uring_register,
                fd.0,
                REGISTER_IOWQ_MAX_WORKERS,
                &raw mut most,
                2u32,
            );
        }
        let indices = params.sq.c as usize + params.sq_entries as usize * 4;
        let completions = params.cq.b as usize + params.cq_entries as usize * size_of::<Completion>();
        let rings = Mapping::new(fd.0, 0, indices.max(completions))?;
        let entries = Mapping::new(fd.0, OFFSET_SQES, params.sq_entries as usize * size_of::<Entry>())?;
        for i in 0..params.sq_entries {
            // SAFETY: inside the array.
            unsafe { *rings.at::<u32>(params.sq.c).add(i as usize) = i };
        }
        Ok(Self {
            params,
            rings,
            entries,
            submit: Mutex::new(0),
            reap: SpinLock::new(),
            under_way: AtomicU32::new(0),
            fd,
        })
    }

    /// It has an edge when something is done.
    pub fn fd(&self) -> i32 {
        self.fd.0
    }

    /// In a child of fork: the parent's goes on, and this is the child's name for it. Its mappings stay: somebody may be in the
    /// middle of using them, as far as the child's memory knows.
    pub fn close_in_child(&self) {
        // SAFETY: nobody in the child uses it.
        unsafe { libc::close(self.fd.0) };
    }

    fn word(&self, offset: u32) -> &AtomicU32 {
        // SAFETY: the kernel said where it is; mapped as long as this.
        unsafe { &*self.rings.at::<AtomicU32>(offset) }
    }

    /// Begins an operation. False: not now, ask in another way.
    ///
    /// # Safety
    /// What the entry names, and `operation`, stay in place until that is done.
    #[must_use]
    pub unsafe fn submit(&self, mut entry: Entry, operation: *const Operation) -> bool {
        if self.under_way.fetch_add(1, Ordering::Relaxed) >= self.params.cq_entries {
            self.under_way.fetch_sub(1, Ordering::Relaxed); // I1
            return false;
        }
        entry.user_data = operation as u64;
        let sq = &self.params.sq;
        let mut number = self.submit.lock();
        // SAFETY: inside the mapping; the place is free: everything before it was taken (I3).
        unsafe {
            let place = *number & (self.params.sq_entries - 1);
            *self.entries.at::<Entry>(0).add(place as usize) = entry;
        }
        let tail = self.word(sq.tail);
        tail.store(number.wrapping_add(1), Ordering::Release);
        // Not once more if the kernel was out of memory: the pool is there.
        while self.enter(1) == Err(libc::EINTR) {}
        let taken = self.word(sq.head).load(Ordering::Acquire) != *number;
        if taken {
            *number = number.wrapping_add(1);
        } else {
            tail.store(*number, Ordering::Release); // I3
            self.under_way.fetch_sub(1, Ordering::Relaxed);
        }
        taken
    }

    fn enter(&self, entries: u32) -> Result<(), i32> {
        // SAFETY: a plain system call.
        let n = unsafe {
            libc::syscall(
                libc::SYS_io_uring_enter,
                self.fd.0,
                entries,
                0,
                0,
                null_mut::<c_void>(),
                0usize,
            )
        };
        if n < 0 {
            // SAFETY: the thread's own; not kept.
            return Err(unsafe { *libc::__errno_location() });
        }
        Ok(())
    }

    /// Takes what is done; who may go on is added to `ready`.
    pub fn reap(&self, ready: &mut ReadyList) {
        let cq = &self.params.cq;
        let (head, tail) = (self.word(cq.head), self.word(cq.tail));
        // Nothing is missed: whoever makes one after this look makes an edge.
        if head.load(Ordering::Acquire) == tail.load(Ordering::Acquire) {
            return;
        }
        self.reap.lock();
        let mut at = head.load(Ordering::Relaxed);
        while at != tail.load(Ordering::Acquire) {
            // SAFETY: inside the mapping; the kernel has written it.
            let (operation, result) = unsafe {
                let place = at & (self.params.cq_entries - 1);
                let done = &*self.rings.at::<Completion>(cq.b).add(place as usize);
                (done.user_data as *const Operation, done.result)
            };
            at = at.wrapping_add(1);
            head.store(at, Ordering::Release);
            self.under_way.fetch_sub(1, Ordering::Relaxed);
            // SAFETY: in place until it is done, which is here.
            unsafe {
                if let Some(claimed) = (*operation).finish(i64::from(result)) {
                    wake(claimed, crate::abi::GOROUTINE_OK, |g| ready.push(g));
                }
            }
        }
        self.reap.unlock();
    }
}

/// Whether the kernel knows every operation that is needed.
fn can_all(ring: i32) -> bool {
    // SAFETY: integers; lives through the call.
    let (n, probe) = unsafe {
        let mut probe: Probe = zeroed();
        let n = libc::syscall(
            libc::SYS_io_uring_register,
            ring,
            REGISTER_PROBE,
            &raw mut probe,
            256u32,
        );
        (n, probe)
    };
    n >= 0
        && op::ALL
            .iter()
            .all(|&op| probe.ops[op as usize].flags & OP_SUPPORTED != 0)
}
