//! Address space and its advice.

use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, Ordering};

const MADV_GUARD_INSTALL: i32 = 102; // Linux 6.13
const MADV_GUARD_REMOVE: i32 = 103;
const PIDFD_SELF: i32 = -10000; // Linux 6.14, for process_madvise

/// Bytes of a page on the one architecture this is built for.
pub const PAGE: usize = 4096;

/// Reserves `bytes` (a multiple of `align`, itself a power of two) of readable, writable, uncommitted memory whose
/// address is a multiple of `align`. None: no address space.
pub fn reserve(bytes: usize, align: usize) -> Option<*mut u8> {
    let span = bytes + align;
    // SAFETY: a fresh anonymous mapping touches nothing that exists.
    let raw = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            span,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_STACK,
            -1,
            0,
        )
    };
    if raw == libc::MAP_FAILED {
        return None;
    }
    let start = (raw as usize).next_multiple_of(align);
    let lead = start - raw as usize;
    let tail = span - lead - bytes;
    // SAFETY: both ranges are inside the mapping made above and hold nothing.
    unsafe {
        if lead != 0 {
            libc::munmap(raw, lead);
        }
        if tail != 0 {
            libc::munmap((start + bytes) as *mut c_void, tail);
        }
        // Huge pages would commit 2 MiB for a first touch. EINVAL: a kernel without them, which is as good.
        libc::madvise(start as *mut c_void, bytes, libc::MADV_NOHUGEPAGE);
    }
    Some(start as *mut u8)
}

/// Gives address space back.
///
/// # Safety
/// It came from [`reserve`] with so many bytes, and nobody uses it any more.
pub unsafe fn release(start: *mut u8, bytes: usize) {
    // SAFETY: the caller's promise.
    unsafe { libc::munmap(start.cast(), bytes) };
}

/// Makes the ranges fault when touched, without splitting the mapping. False: this kernel cannot.
///
/// # Safety
/// The ranges are ours and hold nothing.
pub unsafe fn guard_install(ranges: &[libc::iovec]) -> bool {
    static NO_BATCHES: AtomicBool = AtomicBool::new(false);
    let wanted: usize = ranges.iter().map(|r| r.iov_len).sum();
    let (list, count) = (ranges.as_ptr(), ranges.len());
    // SAFETY: the caller's promise.
    let in_one_call = !NO_BATCHES.load(Ordering::Relaxed)
        && unsafe {
            libc::syscall(
                libc::SYS_process_madvise,
                PIDFD_SELF,
                list,
                count,
                MADV_GUARD_INSTALL,
                0,
            )
        } as usize
            == wanted;
    if in_one_call {
        return true;
    }
    NO_BATCHES.store(true, Ordering::Relaxed);
    // SAFETY: the caller's promise. What the call above may have done is done again: no harm.
    ranges
        .iter()
        .all(|r| unsafe { libc::madvise(r.iov_base, r.iov_len, MADV_GUARD_INSTALL) } == 0)
}

/// The fallback: a mapping of its own per range, of which a process has about 65,000.
///
/// # Safety
/// As [`guard_install`].
pub unsafe fn guard_protect(start: *mut u8, bytes: usize) -> bool {
    // SAFETY: the caller's promise.
    unsafe { libc::mprotect(start.cast(), bytes, libc::PROT_NONE) == 0 }
}

/// Makes a part of a guard usable, of one that is a mapping of its own if `protected`. False: it cannot be.
///
/// # Safety
/// The range is in a guard of ours.
pub unsafe fn guard_remove(start: *mut u8, bytes: usize, protected: bool) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        if protected {
            libc::mprotect(start.cast(), bytes, libc::PROT_READ | libc::PROT_WRITE) == 0
        } else {
            libc::madvise(start.cast(), bytes, MADV_GUARD_REMOVE) == 0
        }
    }
}

/// Gives the memory of the ranges back; they read as zeros afterwards. Guards stay.
///
/// # Safety
/// Nobody uses what is in there.
pub unsafe fn discard(ranges: &[libc::iovec]) {
    for r in ranges {
        // SAFETY: the caller's promise.
        unsafe { libc::madvise(r.iov_base, r.iov_len, libc::MADV_DONTNEED) };
    }
}

/// Whether [`populate`] is something this kernel knows (Linux 5.14).
pub fn can_populate() -> bool {
    // SAFETY: of no bytes.
    unsafe { libc::madvise(std::ptr::null_mut(), 0, libc::MADV_POPULATE_WRITE) == 0 }
}

/// Has the kernel put memory there, as if each page were written to. False: it has not, or not everywhere.
pub fn populate(start: usize, bytes: usize) -> bool {
    // SAFETY: changes no contents.
    unsafe { libc::madvise(start as *mut c_void, bytes, libc::MADV_POPULATE_WRITE) == 0 }
}

/// Has the kernel put memory into fresh address space, in one call if it can. Where there is none left it does not, and says nothing: faults will.
///
/// # Safety
/// The range is ours, all zeros, and nobody else knows of it yet.
pub unsafe fn commit(start: usize, bytes: usize) {
    if populate(start, bytes) || can_populate() {
        return;
    }
    for page in (start..start + bytes).step_by(PAGE) {
        // SAFETY: the caller's promise.
        unsafe { (page as *mut u8).write_volatile(0) };
    }
}

/// The kernel may use huge pages here, unlike elsewhere in what [`reserve`] gives. If it has none, it does not.
pub fn advise_huge(start: usize, bytes: usize) {
    // SAFETY: changes no contents.
    unsafe { libc::madvise(start as *mut c_void, bytes, libc::MADV_HUGEPAGE) };
}

/// From now on it may not.
pub fn advise_small(start: usize, bytes: usize) {
    // SAFETY: changes no contents.
    unsafe { libc::madvise(start as *mut c_void, bytes, libc::MADV_NOHUGEPAGE) };
}

/// Bit 0 of each byte: whether there is memory at that page from `start` on. False: the kernel does not say.
pub fn is_there(start: usize, pages: &mut [u8]) -> bool {
    // SAFETY: a byte for each page is ours.
    unsafe { libc::mincore(start as *mut c_void, pages.len() * PAGE, pages.as_mut_ptr()) == 0 }
}

/// Copies memory of this process that another thread may give back meanwhile. False: it is not all there. No fault, and nothing that a
/// sanitizer would have a word on: the kernel reads it.
pub fn peek(address: usize, to: &mut [u8]) -> bool {
    let local = libc::iovec {
        iov_base: to.as_mut_ptr().cast(),
        iov_len: to.len(),
    };
    let remote = libc::iovec {
        iov_base: address as *mut c_void,
        iov_len: to.len(),
    };
    // SAFETY: the kernel checks both ranges; the local one is ours.
    let n = unsafe { libc::process_vm_readv(libc::getpid(), &local, 1, &remote, 1, 0) };
    n == to.len() as isize
}

/// The same for words.
pub fn peek_words(address: usize, to: &mut [u64]) -> bool {
    // SAFETY: any bytes are words.
    peek(address, unsafe {
        std::slice::from_raw_parts_mut(to.as_mut_ptr().cast(), size_of_val(to))
    })
}

/// One word.
pub fn peek_word(address: usize) -> Option<u64> {
    let mut word = [0];
    peek_words(address, &mut word).then_some(word[0])
}
