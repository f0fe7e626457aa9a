//! The library's reference to itself, while its threads run: a dlclose by whoever loaded it (Node.js closes a worker's addons
//! when the worker ends) unmaps nothing before the shutdown.

use std::ffi::c_void;
use std::mem::MaybeUninit;
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
