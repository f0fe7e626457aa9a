//! Memory of the synchronization objects: asked for politely, since a program may go on without.

use std::alloc::{Layout, alloc, dealloc};
use std::ptr::null_mut;

/// `value` in memory of its own; null, and `value` is dropped: there is none.
pub fn new_object<T>(value: T) -> *mut T {
    // SAFETY: the objects are not of size 0.
    let place = unsafe { alloc(Layout::new::<T>()) }.cast::<T>();
    if place.is_null() {
        return null_mut();
    }
    // SAFETY: fresh, of the right size and alignment.
    unsafe { place.write(value) };
    place
}

/// # Safety
/// `object` came from [`new_object`], and nobody uses it any more.
pub unsafe fn free_object<T>(object: *mut T) {
    // SAFETY: the caller's promise.
    unsafe {
        object.drop_in_place();
        dealloc(object.cast(), Layout::new::<T>());
    }
}
