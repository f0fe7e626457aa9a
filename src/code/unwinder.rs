//! Tables for the unwinder that C++ and Rust throw with, libgcc's: `__register_frame`.
//!
//! Each function has one of its own, which is there from its registration to its end. Not one for many, though older ones walk a list of tables at each throw:
//! whoever unwinds reads an entry after the look-up, without a lock, so a table may only go when no frame of its functions is left; and the
//! unwinder takes it that tables do not overlap (it looks at the last one that begins below an address, and at no other).

use std::ffi::c_void;

unsafe extern "C" {
    fn __register_frame(table: *const c_void);
    fn __deregister_frame(table: *const c_void);
    fn _Unwind_Find_FDE(pc: *const c_void, bases: *mut [usize; 3]) -> *const u8;
}

/// Older unwinders put new tables into their list, the highest first, when somebody throws: those of code that was emitted from low to high take a step for each
/// table that is there, each, if they come all at once. It is none if they come as they are registered. `start`: of the highest.
pub fn take_in(start: usize) {
    let mut bases = [0; 3];
    // SAFETY: any address may be asked about.
    unsafe { _Unwind_Find_FDE(start as *const c_void, &raw mut bases) };
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
        // (A dump may have found it.)
        // SAFETY: registered, once.
        super::MAP.withdraw(|| unsafe { __deregister_frame(self.0.as_ptr().cast()) });
    }
}
