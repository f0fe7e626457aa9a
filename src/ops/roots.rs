//! What the library keeps for goroutines, as a collector is shown it while the world is stopped: words that somebody passed in, and that somebody
//! will get again. (The stacks are `sched::roots`'.)
//!
//! Goroutines do nothing meanwhile, but plain threads and C code may: so every place is looked at under its lock, or is one that only
//! goroutines change. What such a thread hands over at that very moment is shown or not.

use super::{async_op, channel, group, local, promise};
use crate::abi::GoroutineContext;
use crate::context::{Entry, tls};
use crate::ffi::jobs;
use crate::goroutine::{EXTRAS, Goroutine};
use crate::sched::{attach, roots, timers};
use crate::stack;
use std::ffi::c_void;
use std::sync::atomic::{AtomicU64, Ordering};

/// A word that a collector may read, and write.
pub type Slot = *mut *mut c_void;

/// Calls `show` with each. The calling thread has stopped the world.
///
/// # Safety
/// `show` may be called with them. It uses none of the library's objects.
pub unsafe fn for_each(show: &mut dyn FnMut(Slot)) {
    static ROUNDS: AtomicU64 = AtomicU64::new(0);
    let round = ROUNDS.fetch_add(1, Ordering::Relaxed) + 1;
    let current = tls::current();
    // SAFETY: control blocks stay mapped; goroutines stand.
    unsafe {
        stack::for_each_stopped(|g| {
            if (*g).id() != 0 && (*g).is_ours() {
                of_goroutine(g, show);
                if g != current {
                    arguments(g, show);
                }
            }
        });
        attach::for_each_out(|g| of_goroutine(g, show));
        timers::for_each_argument(|f, arg| match promise::then_again_argument(f, *arg) {
            Some(slot) => show(slot),
            None => show(arg),
        });
        promise::for_each_root(round, show);
        channel::for_each_root(show);
        group::for_each_root(show);
        async_op::for_each_root(show);
        jobs::for_each_root(show);
    }
}

unsafe fn of_goroutine(g: *mut Goroutine, show: &mut dyn FnMut(Slot)) {
    // SAFETY: it stands, or is the caller.
    unsafe {
        words(&raw mut (*g).user, show);
        if (*g).locals != 0 {
            local::for_each_value((*g).locals, show);
        }
    }
}

/// The words of an array.
unsafe fn words<const N: usize>(array: *mut [u64; N], show: &mut dyn FnMut(Slot)) {
    for i in 0..N {
        // SAFETY: inside the array.
        show(unsafe { array.cast::<*mut c_void>().add(i) });
    }
}

/// Of a goroutine that has not begun: what its function will get, in registers and on the stack. (`sched::spawn` puts it there.)
unsafe fn arguments(g: *mut Goroutine, show: &mut dyn FnMut(Slot)) {
    // SAFETY: it stands, and has not begun.
    unsafe {
        let Some(entry) = roots::entry_of(g) else { return };
        let is_internal = (*g).spawn_flags & EXTRAS != 0 && (*g).end.is_some();
        let at = (*g).rsp + 8;
        if is_internal {
            if let Some(slot) = promise::then_argument((*g).entry_fn, *(at as Slot)) {
                show(slot);
            }
            return; // of a timer: the timer has it
        }
        match entry {
            Entry::Plain => show(at as Slot),
            Entry::Full => {
                words(at as *mut [u64; 6], show);
                let mut argument = at + 48 + 64;
                while argument + 8 <= g as u64 {
                    show(argument as Slot);
                    argument += 8;
                }
            }
            Entry::Context => {
                let context = (*g).entry_arg as *mut GoroutineContext;
                words(context.cast::<[u64; 15]>(), show); // rax to r15, which begin it
            }
        }
        for register in [
            &raw mut (*g).rbx,
            &raw mut (*g).rbp,
            &raw mut (*g).r12,
            &raw mut (*g).r13,
            &raw mut (*g).r14,
            &raw mut (*g).r15,
        ] {
            show(register.cast());
        }
    }
}
