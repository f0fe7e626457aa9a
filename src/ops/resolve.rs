//! Names: getaddrinfo on threads of its own, which no slow file and no slow name keeps from others' files.
//!
//! Nobody can stop a getaddrinfo that has begun, and it may take longer than anybody wants to wait. So it works on copies, and what comes of
//! it goes into a promise: who waits may leave, and then the promise's end frees it. One that has not begun is taken out of the queue.
//!
//! A thread that asks for somebody who has left is a thread less for others. glibc's resolver takes its patience from the thread's
//! `_res`: so many tries of so many seconds for each name server. Before each call that is cut to what is left of the caller's time, in
//! whole seconds, at least one. (It would take 10 s and more.) It goes for DNS only; other services have patience of their own.
//!
//! R1. `_res` is the thread's, and has the values of /etc/resolv.conf whenever it is not cut: glibc reads that file again when it
//!     changes, but not for a `_res` that somebody has changed.

use super::promise as ops;
use crate::abi::*;
use crate::context::tls;
use crate::promise::{Outcome, Promise};
use crate::sanitize;
use crate::sched::crew::Refused;
use crate::sched::jobs::{Queue, Work};
use crate::sched::{park, runtime};
use crate::sys::time::now_ns;
use libc::{addrinfo, c_int, c_ulong};
use std::ffi::{CStr, CString, c_char, c_void};
use std::mem::zeroed;
use std::ptr::{null, null_mut};

/// Most threads that names take at a time.
const THREADS: u32 = 64;
/// Look-ups that wait for a thread.
pub static NAMES: Queue<Lookup> = Queue::beyond(THREADS);
/// How many may.
const WAITING: usize = 65_536;

/// What is asked for.
struct Question {
    node: Option<CString>,
    service: Option<CString>,
    hints: Option<addrinfo>,
    /// CLOCK_MONOTONIC.
    deadline: u64,
}

/// What came of it. A promise's value.
struct Answer {
    /// As of the call.
    code: i32,
    /// Of EAI_SYSTEM.
    errno: i32,
    list: *mut addrinfo,
}

unsafe extern "C" fn drop_answer(answer: *mut c_void) {
    // SAFETY: `Lookup::run` made it; the promise is its last owner.
    let answer = unsafe { Box::from_raw(answer.cast::<Answer>()) };
    if !answer.list.is_null() {
        // SAFETY: getaddrinfo's, and nobody took it.
        unsafe { libc::freeaddrinfo(answer.list) };
    }
}

/// A look-up in the queue. It has a reference of the promise.
pub struct Lookup {
    question: Question,
    promise: *const Promise,
}
// SAFETY: handed over; the promise is anybody's.
unsafe impl Send for Lookup {}

impl Drop for Lookup {
    fn drop(&mut self) {
        // SAFETY: its reference.
        unsafe { ops::release(self.promise) };
    }
}

impl Work for Lookup {
    fn run(self) {
        // The C library's resolvers share memory behind locks of its own, which ThreadSanitizer does not see.
        let answer = sanitize::look_away(|| self.question.ask());
        let value = Box::into_raw(Box::new(answer)).cast::<c_void>();
        let outcome = Outcome {
            value,
            status: GOROUTINE_OK,
        };
        // SAFETY: the reference is ours until we are dropped.
        ops::settle(unsafe { &*self.promise }, outcome);
    }
}

fn pointer(string: &Option<CString>) -> *const c_char {
    string.as_ref().map_or(null(), |s| s.as_ptr())
}

impl Question {
    /// Copies what the caller lent.
    ///
    /// # Safety
    /// Each is as getaddrinfo wants it.
    unsafe fn new(
        node: *const c_char,
        service: *const c_char,
        hints: *const addrinfo,
        deadline: u64,
    ) -> Self {
        // SAFETY: the caller's promise; integers and null pointers.
        unsafe {
            let copy = |s: *const c_char| (!s.is_null()).then(|| CStr::from_ptr(s).to_owned());
            let hints = hints.as_ref().map(|given| addrinfo {
                ai_flags: given.ai_flags,
                ai_family: given.ai_family,
                ai_socktype: given.ai_socktype,
                ai_protocol: given.ai_protocol,
                ..zeroed()
            });
            Self {
                node: copy(node),
                service: copy(service),
                hints,
                deadline,
            }
        }
    }

    /// On the calling thread.
    fn ask(&self) -> Answer {
        let mut answer = Answer {
            code: GOROUTINE_ETIMEDOUT,
            errno: 0,
            list: null_mut(),
        };
        let Some(_cut) = Cut::to(self.deadline) else {
            return answer; // who waits may see this before the time-out that is due
        };
        let hints = self.hints.as_ref().map_or(null(), std::ptr::from_ref);
        // SAFETY: all of them live through the call.
        unsafe {
            answer.code = libc::getaddrinfo(
                pointer(&self.node),
                pointer(&self.service),
                hints,
                &mut answer.list,
            );
            answer.errno = *libc::__errno_location();
        }
        answer
    }
}

// ---- the resolver's patience ----

/// `struct __res_state`, its beginning.
#[repr(C)]
struct Resolver {
    /// Seconds.
    retrans: c_int,
    retry: c_int,
    options: c_ulong,
    servers: c_int,
}
const RES_INIT: c_ulong = 1;

unsafe extern "C" {
    /// The thread's own.
    fn __res_state() -> *mut Resolver;
    fn __res_ninit(state: *mut Resolver) -> c_int;
    fn __res_nclose(state: *mut Resolver);
}

/// While it lives the thread's resolver has less patience.
struct Cut {
    /// To put back; None: it was not changed.
    before: Option<(c_int, c_int)>,
}

impl Cut {
    /// To what is left until `deadline`. None: nothing.
    fn to(deadline: u64) -> Option<Self> {
        if deadline == u64::MAX {
            return Some(Self { before: None });
        }
        let left = deadline.checked_sub(now_ns()).filter(|&left| left != 0)?;
        // SAFETY: the thread's own. It is closed only if it was opened (a fresh one holds descriptor 0), and made anew from
        // what the file says now (R1).
        unsafe {
            let state = __res_state();
            if (*state).options & RES_INIT != 0 {
                __res_nclose(state);
            }
            if __res_ninit(state) != 0 {
                return Some(Self { before: None });
            }
            let before = ((*state).retrans, (*state).retry);
            let seconds = left.div_ceil(1_000_000_000).min(i32::MAX as u64) as i32;
            ((*state).retrans, (*state).retry) = patience(seconds, before, (*state).servers);
            Some(Self { before: Some(before) })
        }
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        if let Some((retrans, retry)) = self.before {
            // SAFETY: the thread's own.
            unsafe {
                let state = __res_state();
                ((*state).retrans, (*state).retry) = (retrans, retry);
            }
        }
    }
}

/// The most patience (seconds, tries) that takes no longer than `seconds`, and is not more than `before`; or the least there is.
fn patience(seconds: i32, before: (c_int, c_int), servers: c_int) -> (c_int, c_int) {
    for tries in (1..=before.1).rev() {
        for retrans in (1..=before.0).rev() {
            if takes(retrans, tries, servers) <= i64::from(seconds) {
                return (retrans, tries);
            }
        }
    }
    (1, 1)
}

/// How long glibc's resolver asks servers that do not answer: `res_send`. Each next one is given twice the time, shared among all.
fn takes(retrans: c_int, tries: c_int, servers: c_int) -> i64 {
    let each = |n: c_int| match n {
        0 => i64::from(retrans),
        _ => ((i64::from(retrans) << n) / i64::from(servers)).max(1),
    };
    i64::from(tries) * (0..servers.clamp(1, 3)).map(each).sum::<i64>()
}

// ---- the call ----

/// `goroutine_getaddrinfo`: 0, a negative EAI_ code, or a status that is none of them.
///
/// # Safety
/// All is as getaddrinfo wants it.
pub unsafe fn resolve(
    node: *const c_char,
    service: *const c_char,
    hints: *const addrinfo,
    list: &mut *mut addrinfo,
    timeout_ns: u64,
) -> i64 {
    if timeout_ns == 0 {
        return i64::from(GOROUTINE_ETIMEDOUT); // GOROUTINE_EAGAIN is EAI_SYSTEM here
    }
    // SAFETY: the caller's promise.
    let question = unsafe { Question::new(node, service, hints, park::deadline_after(timeout_ns)) };
    if timeout_ns == GOROUTINE_FOREVER && tls::current().is_null() {
        return given(&mut question.ask(), list);
    }
    let promise = Promise::new(Some(drop_answer));
    if promise.is_null() {
        return i64::from(libc::EAI_MEMORY);
    }
    // SAFETY: both references are ours: one is the job's.
    let promise = unsafe {
        (*promise).retain();
        &*promise
    };
    let lookup = Lookup { question, promise };
    let pushed = match runtime::enter_or_start() {
        Ok(inside) => NAMES
            .push(inside.shared(), WAITING, lookup)
            .map_err(|why| match why {
                Refused::Full => libc::EAI_AGAIN,
                Refused::NoThread(status) => status,
            }),
        Err(GOROUTINE_ENOMEM) => Err(libc::EAI_MEMORY),
        Err(status) => Err(status),
    };
    let result = match pushed.and_then(|()| ops::wait(promise, timeout_ns)) {
        // SAFETY: the promise's value, which is there as long as our reference; we are the only one who waits.
        Ok(outcome) => given(unsafe { &mut *outcome.value.cast::<Answer>() }, list),
        Err(status) => {
            drop(NAMES.withdraw(|other| std::ptr::eq(other.promise, promise)));
            i64::from(if status == GOROUTINE_ENOMEM {
                libc::EAI_MEMORY
            } else {
                status
            })
        }
    };
    // SAFETY: ours.
    unsafe { ops::release(promise) };
    result
}

/// The caller has it.
fn given(answer: &mut Answer, list: &mut *mut addrinfo) -> i64 {
    match answer.code {
        0 => *list = std::mem::replace(&mut answer.list, null_mut()),
        libc::EAI_SYSTEM => tls::set_errno(answer.errno),
        _ => {}
    }
    i64::from(answer.code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_is_cut_to_what_is_left() {
        let usual = (5, 2);
        assert_eq!(patience(60, usual, 1), usual);
        assert_eq!(patience(9, usual, 1), (4, 2));
        assert_eq!(patience(1, usual, 1), (1, 1));
        assert_eq!(patience(1, usual, 3), (1, 1));
        assert_eq!(patience(4, (30, 5), 2), (1, 2));
        assert_eq!(takes(5, 2, 1), 10);
        assert_eq!(takes(5, 2, 3), 2 * (5 + 3 + 6));
    }
}
