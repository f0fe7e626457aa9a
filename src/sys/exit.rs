//! Whether the process ends. exit(3) runs the same last functions of a library as dlclose does, but while threads may still call it.
//!
//! The C library runs what `__cxa_atexit` was given for an owner that nobody unloads at exit only, and before all last functions. It must be
//! a function that is still there by then, whoever was unmapped meanwhile: sem_post, on a semaphore that nobody frees, and that is the owner,
//! too. (Without one, ThreadSanitizer takes it for a function of atexit, and loses its argument.)

use std::ffi::{c_int, c_void};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering};

static MARK: AtomicPtr<libc::sem_t> = AtomicPtr::new(null_mut());

unsafe extern "C" {
    fn __cxa_atexit(f: unsafe extern "C" fn(*mut c_void), arg: *mut c_void, owner: *mut c_void) -> c_int;
}

/// From now on `process_goes_on` can tell. One caller at a time; again does nothing.
pub fn watch() {
    if !MARK.load(Ordering::Acquire).is_null() {
        return;
    }
    // SAFETY: a semaphore of our own; sem_post takes its address, and nobody looks at what it returns.
    unsafe {
        let mark = libc::calloc(1, size_of::<libc::sem_t>()).cast::<libc::sem_t>();
        if mark.is_null() || libc::sem_init(mark, 0, 0) != 0 {
            return libc::free(mark.cast());
        }
        let post = std::mem::transmute::<
            unsafe extern "C" fn(*mut libc::sem_t) -> c_int,
            unsafe extern "C" fn(*mut c_void),
        >(libc::sem_post);
        if __cxa_atexit(post, mark.cast(), mark.cast()) != 0 {
            return libc::free(mark.cast());
        }
        MARK.store(mark, Ordering::Release);
    }
}

/// Whether the process goes on: nobody called exit. False also if that could not be watched.
pub fn process_goes_on() -> bool {
    let mark = MARK.load(Ordering::Acquire);
    let mut posted = 1;
    // SAFETY: a semaphore that is never freed.
    !mark.is_null() && unsafe { libc::sem_getvalue(mark, &mut posted) } == 0 && posted == 0
}
