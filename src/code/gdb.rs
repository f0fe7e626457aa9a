//! GDB's JIT interface: a list of ELF images in our memory, and a function where debuggers stop to be told of changes.
//!
//! The two names that debuggers look for are local ones here: a program may contain another compiler (LLVM, V8) that defines them, and
//! shares neither its list nor its lock with us. GDB finds local names, too, in each object by itself, unless the object is stripped of all its symbols, or
//! linked with that other compiler into one.

use std::ptr::null_mut;

#[repr(C)]
struct Entry {
    next: *mut Entry,
    previous: *mut Entry,
    image: *const u8,
    bytes: u64,
}

#[repr(C)]
struct Descriptor {
    version: u32,
    action: u32,
    relevant: *mut Entry,
    first: *mut Entry,
}

const REGISTER: u32 = 1;
const UNREGISTER: u32 = 2;

std::arch::global_asm!(
    ".text",
    ".balign 16",
    ".globl goroutine_jit_register",
    ".hidden goroutine_jit_register",
    ".type __jit_debug_register_code, @function",
    "goroutine_jit_register:",
    "__jit_debug_register_code:",
    "ret",
    ".size __jit_debug_register_code, . - __jit_debug_register_code",
    ".data",
    ".balign 8",
    ".globl goroutine_jit_descriptor",
    ".hidden goroutine_jit_descriptor",
    ".type __jit_debug_descriptor, @object",
    "goroutine_jit_descriptor:",
    "__jit_debug_descriptor:",
    ".long 1, 0",
    ".quad 0, 0",
    ".size __jit_debug_descriptor, . - __jit_debug_descriptor",
    ".text",
);

unsafe extern "C" {
    fn goroutine_jit_register();
    static mut goroutine_jit_descriptor: Descriptor;
}

/// An image that debuggers know, until it is dropped. Made and dropped under the registry's lock.
pub struct Image {
    entry: *mut Entry,
    _bytes: Box<[u8]>,
}
// SAFETY: the entry is the image's own; the list is changed under the registry's lock.
unsafe impl Send for Image {}

impl Image {
    /// Tells debuggers.
    ///
    /// # Safety
    /// Under the registry's lock.
    pub unsafe fn new(bytes: Box<[u8]>) -> Self {
        let entry = Box::into_raw(Box::new(Entry {
            next: null_mut(),
            previous: null_mut(),
            image: bytes.as_ptr(),
            bytes: bytes.len() as u64,
        }));
        // SAFETY: the caller's promise; entries in the list are alive.
        unsafe {
            let list = &raw mut goroutine_jit_descriptor;
            let first = (*list).first;
            (*entry).next = first;
            if !first.is_null() {
                (*first).previous = entry;
            }
            (*list).first = entry;
            tell(entry, REGISTER);
        }
        Self { entry, _bytes: bytes }
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // SAFETY: under the lock, as `new` was; the entry is in the list.
        unsafe {
            let list = &raw mut goroutine_jit_descriptor;
            let Entry { next, previous, .. } = *self.entry;
            if previous.is_null() {
                (*list).first = next;
            } else {
                (*previous).next = next;
            }
            if !next.is_null() {
                (*next).previous = previous;
            }
            tell(self.entry, UNREGISTER);
            drop(Box::from_raw(self.entry));
        }
    }
}

/// # Safety
/// Under the registry's lock.
unsafe fn tell(entry: *mut Entry, action: u32) {
    // SAFETY: the caller's promise. A call that the compiler cannot see through, so all is written before.
    unsafe {
        let list = &raw mut goroutine_jit_descriptor;
        (*list).relevant = entry;
        (*list).action = action;
        goroutine_jit_register();
        (*list).action = 0;
        (*list).relevant = null_mut();
    }
}
