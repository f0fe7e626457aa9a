//! Names of functions: what the program registered, or the dynamic linker knows. For other code it is the address.

use crate::code;
use std::collections::HashMap;
use std::ffi::CStr;
use std::hash::{BuildHasherDefault, Hasher};
use std::mem::MaybeUninit;
use std::rc::Rc;

/// By ids and addresses, which nobody chooses to collide: std's own hasher wants random numbers, and thread-local storage for them.
pub type Map<V> = HashMap<u64, V, BuildHasherDefault<Mix>>;

/// A multiplication.
#[derive(Default)]
pub struct Mix(u64);

impl Hasher for Mix {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }
    fn write_u64(&mut self, n: u64) {
        let mixed = (self.0 ^ n).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = mixed ^ mixed >> 32;
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

/// Names that were looked up before.
#[derive(Default)]
pub struct Symbols {
    known: Map<Rc<str>>,
}

impl Symbols {
    /// `function`, `function+0x12`, `library.so+0x1234`, or `0x1234`.
    pub fn name(&mut self, address: u64) -> Rc<str> {
        self.known
            .entry(address)
            .or_insert_with(|| look_up(address).into())
            .clone()
    }
}

/// With how far into it the address is.
fn within(name: String, offset: usize) -> String {
    match offset {
        0 => name,
        offset => format!("{name}+{offset:#x}"),
    }
}

fn look_up(address: u64) -> String {
    let mut name = code::NAME_BUFFER;
    if let Some((bytes, offset)) = code::describe(address as usize, &mut name) {
        return within(String::from_utf8_lossy(&name[..bytes]).into_owned(), offset);
    }
    let mut info = MaybeUninit::<libc::Dl_info>::uninit();
    // SAFETY: dladdr takes any address; what it fills in stays while the library of that address is loaded. (If somebody
    // unloads it at this moment the linker waits for us or we for it, and the strings are copied at once.)
    unsafe {
        if libc::dladdr(address as *const _, info.as_mut_ptr()) == 0 {
            return format!("{address:#x}");
        }
        let info = info.assume_init();
        let (name, base) = if info.dli_sname.is_null() {
            let file = CStr::from_ptr(info.dli_fname).to_string_lossy();
            (file.rsplit('/').next().unwrap_or("?").to_owned(), info.dli_fbase)
        } else {
            (
                CStr::from_ptr(info.dli_sname).to_string_lossy().into_owned(),
                info.dli_saddr,
            )
        };
        within(name, address as usize - base as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_of_a_library_has_its_name_and_nothing_its_address() {
        let mut symbols = Symbols::default();
        // SAFETY: a string.
        let getpid = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"getpid".as_ptr()) } as u64;
        assert!(symbols.name(getpid).ends_with("getpid"));
        assert!(symbols.name(getpid + 1).ends_with("getpid+0x1"));
        assert_eq!(&*symbols.name(0x10), "0x10");
    }
}
