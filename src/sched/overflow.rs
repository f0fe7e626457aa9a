//! What comes after the `stack_overflow` callback (`stack::event`): the goroutine goes on where that says, or ends.

use super::turn::on_exit;
use crate::abi::{GOROUTINE_ESTACKOVERFLOW, GoroutineContext};
use crate::context::{goroutine_asm_leave, goroutine_asm_park, goroutine_asm_restore_context, tls};
use crate::goroutine::Goroutine;
use crate::sanitize;
use crate::stack::event::{Event, close};
use std::ffi::c_void;
use std::ptr::null_mut;

/// The callback returned.
///
/// # Safety
/// Called by the assembly, on the reserve, with the event there.
pub unsafe extern "C" fn on_overflow_return(event: *mut Event) -> ! {
    // SAFETY: as above; nobody will return to what is on the reserve.
    unsafe {
        if (*event).is_edited() {
            goroutine_asm_park(resume, event.cast());
            std::process::abort(); // it never comes back here
        }
        (*(*event).g).wake_status = GOROUTINE_ESTACKOVERFLOW;
        goroutine_asm_leave(on_exit, null_mut())
    }
}

/// Off the goroutine's stack: the reserve closes, and execution resumes.
unsafe extern "C" fn resume(g: *mut Goroutine, event: *mut c_void) -> *mut Goroutine {
    // SAFETY: the event is on the reserve, which is open until it has been copied; the thread goes on with the same goroutine.
    unsafe {
        sanitize::begin_looking_away(); // it goes to the thread's stack, as others of other goroutines do
        let at: GoroutineContext = (*event.cast::<Event>()).at;
        sanitize::end_looking_away();
        let errno = tls::errno();
        close(g);
        crate::stack::segment::settle(g, at.rsp as usize);
        let b = crate::stack::running(g);
        crate::stack::forget_frames_below(g, (at.rsp as usize).clamp(b.low, b.top)); // it may be on a stack of the language's own
        tls::set_errno(errno);
        tls::set_current(g);
        goroutine_asm_restore_context(&at)
    }
}
