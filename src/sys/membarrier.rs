//! A fence on every running thread of the process, paid by the caller: `membarrier(2)`, about 2 us.
//! Where a sandbox or an old kernel refuses it: taking write access from a page that was just written makes the kernel
//! interrupt every CPU that runs this process, which is a fence there (x86: TLB shootdown), about 5 us. Not where the CPU can tell
//! others so without an interrupt (AMD's INVLPGB, which Linux uses since 6.15): there it is `membarrier` or nothing.

use super::cpu;
use super::mutex::Mutex;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};

const PRIVATE_EXPEDITED: i32 = 1 << 3;
const REGISTER_PRIVATE_EXPEDITED: i32 = 1 << 4;

static REGISTERED: AtomicBool = AtomicBool::new(false);
static PAGE: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());
/// Held while the page's protection changes; also across fork.
pub static SHOOTDOWN: Mutex<()> = Mutex::new(());

fn membarrier(command: i32) -> i64 {
    // SAFETY: no memory is passed.
    unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) }
}

/// Once before any use, and again in a child of fork. False: neither way works here.
pub fn register() -> bool {
    if membarrier(REGISTER_PRIVATE_EXPEDITED) == 0 && membarrier(PRIVATE_EXPEDITED) == 0 {
        REGISTERED.store(true, Ordering::Release);
        let _ = page(); // if it is refused later, so may be new memory
        return true;
    }
    REGISTERED.store(false, Ordering::Release);
    !page().is_null()
}

/// The page, made when it is first asked for. Null: out of memory, or it would not do here.
fn page() -> *mut u8 {
    let page = PAGE.load(Ordering::Acquire);
    if !page.is_null() || cpu::has_invlpgb() {
        return page;
    }
    let Some(new) = super::mem::reserve(super::mem::PAGE, super::mem::PAGE) else {
        return page;
    };
    match PAGE.compare_exchange(page, new, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => new,
        Err(other) => {
            // SAFETY: ours, and nobody has seen it.
            unsafe { super::mem::release(new, super::mem::PAGE) };
            other
        }
    }
}

/// # Safety
/// Nobody calls anything here any more.
pub unsafe fn free_page() {
    let page = PAGE.swap(std::ptr::null_mut(), Ordering::AcqRel);
    if !page.is_null() {
        // SAFETY: ours; the caller's promise.
        unsafe { super::mem::release(page, super::mem::PAGE) };
    }
}

/// After this returns, each thread has passed a full fence at some moment during the call.
pub fn private_expedited() {
    if REGISTERED.load(Ordering::Acquire) {
        // SAFETY: the thread's own.
        let errno = unsafe { &mut *libc::__errno_location() };
        let before = *errno;
        if membarrier(PRIVATE_EXPEDITED) == 0 {
            return;
        }
        // The program has entered a sandbox that refuses it. Another thread may have not; the page serves all.
        if *errno != libc::ENOMEM {
            REGISTERED.store(false, Ordering::Release);
        }
        *errno = before;
    }
    let page = page();
    let _one_at_a_time = SHOOTDOWN.lock();
    // SAFETY: the page is ours; the atomic write makes its translation dirty, so that the second call must flush it.
    let ok = !page.is_null()
        && unsafe {
            libc::mprotect(page.cast(), super::mem::PAGE, libc::PROT_READ | libc::PROT_WRITE) == 0 && {
                (*page.cast::<AtomicU32>()).fetch_add(1, Ordering::SeqCst);
                libc::mprotect(page.cast(), super::mem::PAGE, libc::PROT_READ) == 0
            }
        };
    if !ok {
        super::report::fatal("cannot change the protection of a page: no way to fence the other threads");
    }
}
