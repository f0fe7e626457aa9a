//! What a foreign call costs, next to a direct one.
//!
//! A round alternates short slices of direct calls of a function that does nothing with slices of calls of the same function in the way
//! of the row, and gives the median slice of each.

use super::{median, run};
use crate::emit::{Way, emitted};
use goroutine::abi::*;
use goroutine::capi::ffi::*;
use goroutine::capi::lane::*;
use goroutine::ops::lane::GoroutineFfiLane;
use std::collections::HashMap;
use std::ffi::c_void;
use std::hint::black_box;
use std::ptr::null_mut;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

const SLICE: Duration = Duration::from_millis(1);
const SLICES: usize = 41;

/// The function that is called.
pub unsafe extern "C" fn callee(argument: *mut c_void) -> *mut c_void {
    argument
}

/// Its address, of which the compiler knows nothing.
pub fn function() -> *mut c_void {
    black_box(callee as unsafe extern "C" fn(*mut c_void) -> *mut c_void) as *mut c_void
}

/// `n` calls.
type Calls<'a> = &'a dyn Fn(u64);

const ROWS: &[&str] = &[
    "call_bound",
    "call_leaf",
    "call_inline",
    "call_inline_leaf",
    "call_blocking",
    "call_checked",
    "call_lane",
    "call_hop",
];

/// Whether that is a row of this file.
pub fn is_one(row: &str) -> bool {
    ROWS.contains(&row)
}

/// The ns of a direct call, and of one in the row's way.
pub fn round(row: &str) -> Option<String> {
    let row = row.to_owned();
    run(move || {
        // SAFETY: the running goroutine becomes bound where the row wants it, before its calls.
        unsafe {
            match row.as_str() {
                "call_bound" => in_code(Bind::Yes, Way::Three, execute_ffi_call as *const c_void),
                "call_leaf" => in_code(Bind::Prepared, Way::Two, goroutine_ffi_call_leaf as *const c_void),
                "call_inline" => in_code(Bind::Yes, Way::InlineBound, std::ptr::null()),
                "call_inline_leaf" => in_code(Bind::Prepared, Way::InlineLeaf, std::ptr::null()),
                "call_blocking" => in_code(Bind::No, Way::Two, goroutine_ffi_call_blocking as *const c_void),
                "call_checked" => {
                    assert_eq!(goroutine_ffi_bind(), GOROUTINE_OK);
                    compare("call_checked", &|n| repeat(n, checked_call))
                }
                "call_lane" => {
                    let mut lane = null_mut();
                    assert_eq!(goroutine_ffi_lane_new(c"lane".as_ptr(), &mut lane), GOROUTINE_OK);
                    let answer = compare("call_lane", &|n| repeat(n, || lane_call(lane)));
                    assert_eq!(goroutine_ffi_lane_release(lane), GOROUTINE_OK);
                    answer
                }
                "call_hop" => {
                    let hop = Hop::new();
                    compare("call_hop", &|n| repeat(n, || hop.call()))
                }
                _ => return None,
            }
            .into()
        }
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Bind {
    No,
    Prepared,
    Yes,
}

/// # Safety
/// On a goroutine; `entry` is what the way wants.
unsafe fn in_code(bind: Bind, way: Way, entry: *const c_void) -> String {
    // SAFETY: the caller's promise.
    let status = unsafe {
        match bind {
            Bind::No => GOROUTINE_OK,
            Bind::Prepared => goroutine_ffi_prepare(),
            Bind::Yes => goroutine_ffi_bind(),
        }
    };
    assert_eq!(status, GOROUTINE_OK);
    let code = emitted(way);
    // SAFETY: the caller's promise.
    let calls = |n| unsafe { code(n, function(), null_mut(), entry) };
    compare(&format!("{} {}", way as u8, entry as usize), &calls)
}

fn repeat(n: u64, call: impl Fn()) {
    for _ in 0..n {
        call();
    }
}

fn checked_call() {
    let mut result = null_mut();
    // SAFETY: plain calls.
    let status = unsafe { goroutine_ffi_call(GOROUTINE_FFI_BOUND, function(), null_mut(), &mut result) };
    assert_eq!(status, GOROUTINE_OK);
}

fn lane_call(lane: *mut GoroutineFfiLane) {
    let mut result = null_mut();
    // SAFETY: the lane is alive.
    let status = unsafe { goroutine_ffi_lane_call(lane, function(), null_mut(), &mut result) };
    assert_eq!(status, GOROUTINE_OK);
}

/// Slices of direct calls and of `calls`, in turn.
fn compare(name: &str, calls: Calls) -> String {
    static SIZES: Mutex<Option<HashMap<String, u64>>> = Mutex::new(None);
    let code = emitted(Way::Direct);
    // SAFETY: a loop that calls the function.
    let direct = |n| unsafe { code(n, function(), null_mut(), std::ptr::null()) };
    let mut sizes = SIZES.lock().unwrap();
    let sizes = sizes.get_or_insert_default();
    let of_direct = *sizes
        .entry("direct".into())
        .or_insert_with(|| slice_size(&direct));
    let of_calls = *sizes.entry(name.into()).or_insert_with(|| slice_size(calls));
    let pairs = (0..SLICES).map(|_| (time(&direct, of_direct), time(calls, of_calls)));
    let (directs, all): (Vec<f64>, Vec<f64>) = pairs.unzip();
    format!("{:.3} {:.3}", median(directs), median(all))
}

/// ns of one of `n` calls.
fn time(calls: Calls, n: u64) -> f64 {
    let start = Instant::now();
    calls(n);
    start.elapsed().as_nanos() as f64 / n as f64
}

fn slice_size(calls: Calls) -> u64 {
    let mut n = 16;
    loop {
        let took = time(calls, n) * n as f64;
        if took > SLICE.as_nanos() as f64 / 4.0 {
            return (n as f64 * SLICE.as_nanos() as f64 / took) as u64 + 1;
        }
        n *= 2;
    }
}

// ---- the naive way to give a goroutine a thread ----

/// A thread that makes calls for somebody else: a mutex and a condition variable each way.
struct Hop {
    shared: std::sync::Arc<(Mutex<Desk>, Condvar, Condvar)>,
    thread: Option<std::thread::JoinHandle<()>>,
}

#[derive(Default)]
struct Desk {
    request: Option<(usize, usize)>,
    result: Option<usize>,
    closed: bool,
}

impl Hop {
    fn new() -> Self {
        let shared = std::sync::Arc::new((Mutex::new(Desk::default()), Condvar::new(), Condvar::new()));
        let desk = shared.clone();
        let thread = std::thread::spawn(move || {
            let (state, asked, answered) = &*desk;
            let mut state = state.lock().unwrap();
            while !state.closed {
                if let Some((f, argument)) = state.request.take() {
                    drop(state);
                    // SAFETY: the caller's function and argument.
                    let result = unsafe {
                        let f: unsafe extern "C" fn(usize) -> usize = std::mem::transmute(f);
                        f(argument)
                    };
                    state = desk.0.lock().unwrap();
                    state.result = Some(result);
                    answered.notify_one();
                } else {
                    state = asked.wait(state).unwrap();
                }
            }
        });
        Self {
            shared,
            thread: Some(thread),
        }
    }

    fn call(&self) {
        let (state, asked, answered) = &*self.shared;
        let mut state = state.lock().unwrap();
        state.request = Some((function() as usize, 0));
        asked.notify_one();
        while state.result.take().is_none() {
            state = answered.wait(state).unwrap();
        }
    }
}

impl Drop for Hop {
    fn drop(&mut self) {
        self.shared.0.lock().unwrap().closed = true;
        self.shared.1.notify_one();
        let _ = self.thread.take().expect("not joined yet").join();
    }
}
