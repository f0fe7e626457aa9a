//! Tables for the unwinder that C++ and Rust throw with, libgcc's: `__register_frame`.
//!
//! It walks its list of tables at each throw, so there is one for each chunk of functions, not one for each function.

use std::ffi::c_void;

unsafe extern "C" {
    fn __register_frame(table: *const c_void);
    fn __deregister_frame(table: *const c_void);
}

/// A table that the unwinder knows, until it is dropped.
pub struct Frames(Box<[u8]>);

impl Frames {
    /// None: there is nothing in it.
    pub fn new(table: Vec<u8>) -> Option<Self> {
        if table.is_empty() {
            return None;
        }
        let table = table.into_boxed_slice();
        // SAFETY: a well-formed table with its end, in memory that stays until it is taken back.
        unsafe { __register_frame(table.as_ptr().cast()) };
        Some(Self(table))
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        // SAFETY: registered, once.
        unsafe { __deregister_frame(self.0.as_ptr().cast()) };
    }
}
