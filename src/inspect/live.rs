//! Whether any goroutine is in a function, or will return to it.
//!
//! The caller has seen to it that nobody enters the function any more. So a goroutine that was seen without it once, at one moment, has
//! left it for ever, and it is enough to see each goroutine so, one after the other, at moments of their own.
//!
//! A moment is when it is parked (`stopped`): then whoever is in the function has called on from there, and the return address is on its
//! stack. Where some word there could be one, it is unwound. If that comes to the goroutine's base, by tables and frame pointers alone, what it
//! found are the return addresses, with those that links of segments return through (`LINK_RETURN`): other words are old ones, on a stack that was
//! used before, or what programs keep in variables. If it does not come there, through code that nobody told us of, or through C on the thread's own
//! stack, any word that could be one counts as one: that may keep a function for as long as an old word lies in a live frame, and never lets one go
//! too early. A word that is the function's first address is no return address.
//! A goroutine that called C from the function, and parked in a callback, has the return address on its thread's own stack, below the C frames: that is
//! looked at, too.
//!
//! A goroutine that runs, or is about to, is looked at again later, until it parks or ends. One that never does is not seen: a time-out.
//! (With a stopped world all would be seen at once. `clear` is the place for that.)

use super::stopped::{self, LINK_RETURN, Seen, Stopped};
use super::unwind;
use crate::abi::*;
use crate::code;
use crate::context::tls;
use crate::goroutine::Goroutine;
use crate::ops::sleep::sleep;
use crate::sched::{runtime, world};
use crate::stack;
use crate::sys::{mem, time::now_ns};
use std::ops::Range;
use std::sync::atomic::Ordering;

/// From look to look, at first and at most.
const PAUSE_NS: Range<u64> = 50_000..5_000_000;

/// Whether such a word may be a return address into `code`. A call may be the last instruction of a function.
fn returns_to(word: u64, code: &Range<usize>) -> bool {
    (code.start + 1..=code.end).contains(&(word as usize))
}

/// Every goroutine there is.
pub fn all() -> Vec<(*mut Goroutine, u64)> {
    let mut all = Vec::new();
    stack::for_each(|g| {
        // SAFETY: control blocks stay mapped.
        let (id, ours) = unsafe { ((*g).id.load(Ordering::Acquire), (*g).is_ours()) };
        if id != 0 && ours {
            all.push((g, id));
        }
    });
    all
}

/// Whether the calling goroutine itself will return to `code`. `here`: an address in its innermost frame.
pub fn is_own(code: &Range<usize>, here: usize) -> bool {
    let g = tls::current();
    if g.is_null() {
        return false;
    }
    let mut ranges = vec![];
    // SAFETY: the running goroutine.
    unsafe {
        let bounds = stack::running(g);
        let mut inner = here;
        if !(stack::event::lowest(g, bounds)..bounds.top).contains(&here) {
            if here > tls::base_sp() {
                return true; // called by C on a stack of its own, which is not known
            }
            ranges.push(here..tls::base_sp()); // called by C
            inner = ((*g).foreign_sp as usize).clamp(bounds.low, bounds.top);
        }
        stack::segments_of(g, inner, |low, high| {
            let link = if low == inner { 0 } else { LINK_RETURN };
            ranges.push(low - link..high);
        });
    }
    // SAFETY: the running goroutine.
    let native = unsafe { (*g).native_stack } as usize;
    if native > tls::base_sp() {
        return true; // the same below a callback
    }
    if native != 0 {
        ranges.push(native..tls::base_sp());
    }
    ranges.into_iter().any(|range| holds(range, code))
}

/// Whether memory that is not all there counts as one that holds one.
fn holds(range: Range<usize>, code: &Range<usize>) -> bool {
    const AT_ONCE: usize = 1 << 16;
    let start = range.start.next_multiple_of(8);
    let mut words = vec![0u64; (range.end.saturating_sub(start) / 8).min(AT_ONCE / 8)];
    (start..range.end).step_by(AT_ONCE).any(|low| {
        let words = &mut words[..(range.end - low).min(AT_ONCE) / 8];
        !mem::peek_words(low, words) || words.iter().any(|&word| returns_to(word, code))
    })
}

/// Whether goroutine `id` was seen out of `code`, or is over.
///
/// # Safety
/// `g` is a control block.
unsafe fn is_out(g: *mut Goroutine, id: u64, code: &Range<usize>) -> bool {
    // SAFETY: the caller's promise.
    match unsafe { stopped::look(g, id) } {
        Seen::Gone => true,
        Seen::Moves => false,
        Seen::Parked(stopped) => {
            let may_return = may_return(&stopped, code);
            if !may_return && stopped.native_stack == 0 {
                return true; // the copy says it all
            }
            let counts = |&word: &u64| returns_to(word, code);
            if may_return && returns(&stopped).is_none_or(|returns| returns.iter().any(counts)) {
                return false;
            }
            if stopped.native_stack != 0 {
                let native = stopped.native_stack as usize;
                let Some(stack) = stack_of(g).filter(|stack| (stack.start..=stack.end).contains(&native))
                else {
                    return false; // a thread that we did not make, or a stack that C code made for itself: its frames are not known
                };
                if native < stack.end && holds(native..stack.end, code) {
                    return false;
                }
            }
            // SAFETY: as above. It was parked all the time, so nothing that was looked at beside the copy changed.
            unsafe { (*g).park.parked() == Some(stopped.sequence) }
        }
    }
}

/// Whether any word on its own stack and segments could be a return address into `code`. Else nobody needs to unwind.
fn may_return(stopped: &Stopped, code: &Range<usize>) -> bool {
    let r = &stopped.registers;
    let saved = [r.rbx, r.rbp, r.r12, r.r13, r.r14, r.r15];
    (stopped.words.iter())
        .chain(stopped.outer.iter().flatten())
        .chain(&saved)
        .any(|&word| returns_to(word, code))
}

/// All return addresses there, with those below links included. None: not all of them are known.
fn returns(stopped: &Stopped) -> Option<Vec<u64>> {
    let r = &stopped.registers;
    let mut parts = vec![(r.rsp, &stopped.words[..])];
    parts.extend((stopped.outer_lows.iter().copied()).zip(stopped.outer.iter().map(|words| &words[..])));
    let read = |address: u64| {
        let word = parts.iter().find_map(|&(low, words)| {
            let at = address.checked_sub(low).filter(|n| n % 8 == 0)? / 8;
            words.get(at as usize).copied()
        });
        word.or_else(|| mem::peek_word(address as usize)) // the headers of segments
    };
    let mut returns = unwind::returns(r.in_caller(*stopped.words.first()?), &parts, &read)?;
    returns.extend(stopped.outer.iter().filter_map(|words| words.first())); // LINK_RETURN
    Some(returns)
}

/// The part for C frames of the stack of the thread that `g` is bound to.
fn stack_of(g: *mut Goroutine) -> Option<Range<usize>> {
    let mut stack = None;
    runtime::enter()?.pool.for_each(|seat| {
        if seat.goroutine.load(Ordering::Acquire) == g {
            stack = Some(seat.native());
        }
    });
    stack
}

/// Waits until no goroutine but the calling one can return to `code`. Otherwise at least one was not seen without it until `deadline`
/// (GOROUTINE_ETIMEDOUT), or the caller was cancelled, or has stopped the world (GOROUTINE_EDEADLK).
pub fn clear(code: &Range<usize>, deadline: u64) -> GoroutineStatus {
    let me = tls::current();
    let mut left = all();
    left.retain(|&(g, _)| g != me);
    let mut pause = PAUSE_NS.start;
    loop {
        // SAFETY: control blocks.
        left.retain(|&(g, id)| unsafe { !is_out(g, id, code) });
        if left.is_empty() {
            return GOROUTINE_OK;
        }
        let now = now_ns();
        if now >= deadline {
            return GOROUTINE_ETIMEDOUT;
        }
        if world::is_mine() {
            return GOROUTINE_EDEADLK; // they stand until the caller lets them go on
        }
        let status = sleep(pause.min(deadline - now));
        if status != GOROUTINE_OK {
            return status;
        }
        pause = (pause * 2).min(PAUSE_NS.end);
    }
}

/// `goroutine_code_unregister`. `here`: an address in the caller's frame.
pub fn unregister(id: u64, timeout_ns: u64, here: usize) -> GoroutineStatus {
    let code = match code::leave(id) {
        Ok(code) => code,
        Err(status) => return status,
    };
    let status = if is_own(&code, here) {
        GOROUTINE_EDEADLK
    } else {
        match (timeout_ns, clear(&code, deadline_after(timeout_ns))) {
            (0, GOROUTINE_ETIMEDOUT) => GOROUTINE_EAGAIN,
            (_, status) => status,
        }
    };
    if status == GOROUTINE_OK {
        code::forget(id);
    } else {
        code::stay(id);
    }
    status
}

/// GOROUTINE_FOREVER gives `u64::MAX`, never.
fn deadline_after(timeout_ns: u64) -> u64 {
    now_ns().saturating_add(timeout_ns)
}
