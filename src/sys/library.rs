//! Where the library's code is, and its reference to itself, while its threads run: a dlclose by whoever loaded it (Node.js closes a worker's addons
//! when the worker ends) unmaps nothing before the shutdown.

use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::ops::Range;
use std::ptr::null_mut;

/// One more reference to the object that this code is in. Null: there is none to take, because it is the program itself.
pub fn hold() -> *mut c_void {
    let mut info = MaybeUninit::<libc::Dl_info>::uninit();
    let mut map: *mut c_void = null_mut();
    // SAFETY: the addresses are ours; `map` is the loader's, which has a name as long as the object is loaded.
    unsafe {
        if dladdr1(
            hold as *const c_void,
            info.as_mut_ptr(),
            &mut map,
            RTLD_DL_LINKMAP,
        ) == 0
            || map.is_null()
        {
            return null_mut();
        }
        let name = (*map.cast::<LinkMap>()).name;
        if name.is_null() || *name == 0 {
            return null_mut();
        }
        libc::dlopen(name, libc::RTLD_NOLOAD | libc::RTLD_NOW)
    }
}

/// The beginning of the C library's `struct link_map`.
#[repr(C)]
struct LinkMap {
    address: usize,
    name: *const libc::c_char,
}

const RTLD_DL_LINKMAP: libc::c_int = 2;

unsafe extern "C" {
    fn dladdr1(
        address: *const c_void,
        info: *mut libc::Dl_info,
        extra: *mut *mut c_void,
        flags: libc::c_int,
    ) -> libc::c_int;
}

/// The executable part of the object that this code is in.
pub fn code() -> Range<u64> {
    unsafe extern "C" fn look(info: *mut libc::dl_phdr_info, _: usize, code: *mut c_void) -> c_int {
        // SAFETY: the loader's, and ours.
        unsafe {
            let (info, code) = (&*info, &mut *code.cast::<Range<u64>>());
            let headers = std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum));
            let here = self::code as *const () as u64;
            let parts = (headers.iter())
                .filter(|header| header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_X != 0)
                .map(|header| {
                    let start = info.dlpi_addr + header.p_vaddr;
                    start..start + header.p_memsz
                });
            // (One as a rule. What lies between two is the loader's.)
            if parts.clone().any(|part| part.contains(&here)) {
                *code = parts
                    .reduce(|a, b| a.start.min(b.start)..a.end.max(b.end))
                    .unwrap_or_default();
                return 1;
            }
        }
        0
    }
    let mut code = 0..0;
    // SAFETY: `look` is what is asked for.
    unsafe { libc::dl_iterate_phdr(Some(look), (&raw mut code).cast()) };
    code
}
