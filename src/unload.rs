//! The last thing that runs: the loader unmaps the library. Stacks, promises, timers and the tables of descriptors and locals stay for as long as
//! anybody may call the library with a stale name for one of them; that is over now.
//!
//! A root file, as `assembly.rs`: it knows rooms of every floor.

use crate::sched::runtime;
use crate::{ffi, netpoll, ops, promise, sanitize, stack, sys, timer};

/// The loader runs it at dlclose, when nobody has a reference to the library any more, and when the program ends.
#[used]
#[unsafe(link_section = ".fini_array")]
static UNLOAD: extern "C" fn() = unload;

extern "C" fn unload() {
    ffi::error::delete_key();
    sanitize::delete_key();
    // A library that runs has a reference to itself. One that is not a shared object goes with the program.
    if runtime::is_over() && sys::exit::process_goes_on() {
        // SAFETY: nobody runs in the library, and nobody may call it again.
        unsafe {
            drop(std::mem::take(&mut *ffi::error::table().lock()));
            ops::free_all();
            timer::slot::free_all();
            netpoll::table::free_all();
            promise::pool::free_all();
            stack::free_all();
            sys::membarrier::free_page();
        }
    }
}
