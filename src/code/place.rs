//! What lies at an address, in a line for stderr.
//!
//! Async-signal-safe as far as a crash allows: no allocation, no lock of ours. `dladdr`, for code that nobody registered, takes the loader's
//! lock, which a thread that crashed may hold itself (it is recursive), and no other holds while it waits for us.

use crate::sys::report::Line;
use std::ffi::{CStr, c_void};

/// Adds the function at `address`, if anybody knows it. `inside`: in the same instruction, or in the call before it.
pub fn name(line: &mut Line, address: usize, inside: usize) {
    let mut name = super::NAME_BUFFER;
    if let Some((bytes, offset)) = super::describe(inside, &mut name) {
        line.text(" (")
            .raw(&name[..bytes])
            .text("+")
            .hex((offset + (address - inside)) as u64)
            .text(")");
        return;
    }
    // SAFETY: zeros are a Dl_info; strings of an object that is loaded, or its code would not run, or be returned to.
    unsafe {
        let mut info: libc::Dl_info = std::mem::zeroed();
        if libc::dladdr(inside as *const c_void, &mut info) == 0 || info.dli_fname.is_null() {
            return;
        }
        line.text(" (");
        if !info.dli_sname.is_null() {
            line.raw(CStr::from_ptr(info.dli_sname).to_bytes());
            line.text("+")
                .hex((address - info.dli_saddr as usize) as u64)
                .text(" in ");
        }
        let path = CStr::from_ptr(info.dli_fname).to_bytes();
        line.raw(path.rsplit(|&byte| byte == b'/').next().unwrap_or(path));
        if info.dli_sname.is_null() {
            line.text("+").hex((address - info.dli_fbase as usize) as u64);
        }
        line.text(")");
    }
}

/// Adds where a goroutine was spawned; 0: nothing.
pub fn spawned_at(line: &mut Line, site: u64) {
    if site != 0 {
        line.text(", spawned at ").hex(site);
        name(line, site as usize, site as usize - 1);
    }
}
