//! `all`, `all_settled`, `any`, `race`: promises made of promises, with ECMAScript's rules.
//!
//! One block per combination holds a waiter per input. Each input that settles runs `on_input` once, in any order, on any
//! thread, after the input's lock was given back; inputs that are settled already run it at once, in input order.
//!
//! I1. `left` counts the inputs that have not run `on_input`. Who decides the result settles it (a promise settles once, so
//!     two deciders are no problem); who takes `left` to 0 frees the block.
//! I2. When the result is decided early (first rejection of `all`, first value of `any`, first of `race`), the waiters that
//!     are still linked are taken out of their inputs: racing a long-lived promise again and again leaks nothing.

use super::promise as ops;
use crate::abi::*;
use crate::promise::cell::Waiter;
use crate::promise::{Outcome, Owner, Promise, PromiseWaiter, Settled};
use crate::sanitize;
use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// Which combination.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// All values, or the first reason.
    All,
    /// All outcomes.
    AllSettled,
    /// The first value, or all reasons.
    Any,
    /// The first outcome.
    Race,
}

struct Input {
    promise: *const Promise,
    waiter: PromiseWaiter,
}

struct Combination {
    kind: Kind,
    result: *mut Promise,
    /// `new_values`: void *[n] or GoroutineSettled[n]; null for race. Goes to the result, or is freed.
    values: *mut c_void,
    inputs: *mut [Input],
    /// Inputs whose `on_input` has not run, plus one while `combine` or `withdraw` walks the inputs.
    left: AtomicUsize,
    decided: AtomicBool,
    /// The last look of a collector at `values`.
    shown: AtomicU64,
    /// Outcomes written to `values`.
    filled: AtomicUsize,
}

/// In front of an array of outcomes.
#[repr(C, align(16))]
struct Header {
    count: usize,
    /// Bytes of each; the value is the last word.
    element: usize,
}

/// Zeros; null: out of memory.
fn new_values(count: usize, element: usize) -> *mut c_void {
    let Some(bytes) = count
        .checked_mul(element)
        .and_then(|n| n.checked_add(size_of::<Header>()))
    else {
        return null_mut();
    };
    // SAFETY: not of size 0.
    unsafe {
        let header = sanitize::look_away(|| libc::calloc(1, bytes)).cast::<Header>();
        if header.is_null() {
            return null_mut();
        }
        header.write(Header { count, element });
        header.add(1).cast()
    }
}

/// The `drop` of a promise that owns an array. A promise with another value does not have it (`Promise::keep_value`).
///
/// # Safety
/// `values` is null, or came from `new_values`, and nobody uses it any more.
pub unsafe extern "C" fn free_values(values: *mut c_void) {
    if !values.is_null() {
        // SAFETY: it came from new_values.
        unsafe { sanitize::look_away(|| libc::free(values.cast::<Header>().sub(1).cast())) };
    }
}

/// Where the values in an array lie.
///
/// # Safety
/// It is null, or came from `new_values`.
pub unsafe fn for_each_element(values: *mut c_void, show: &mut dyn FnMut(*mut *mut c_void)) {
    if values.is_null() {
        return;
    }
    // SAFETY: the caller's promise.
    unsafe {
        let Header { count, element } = values.cast::<Header>().sub(1).read();
        for i in 0..count {
            show(
                values
                    .add(i * element + element - size_of::<*mut c_void>())
                    .cast(),
            );
        }
    }
}

/// The same of a combination that is not decided, if `run` is that of its waiters. Once in a `round`, however many inputs are pending.
///
/// # Safety
/// `data` belongs to a waiter that is linked.
pub unsafe fn for_each_unfinished(
    run: unsafe fn(waiter: *mut PromiseWaiter, settled: &mut Settled),
    data: *mut c_void,
    round: u64,
    show: &mut dyn FnMut(*mut *mut c_void),
) {
    let ours: unsafe fn(*mut PromiseWaiter, &mut Settled) = on_input;
    // SAFETY: the caller's promise: the block is there as long as one of its waiters is linked.
    unsafe {
        if std::ptr::fn_addr_eq(run, ours) {
            let this = data.cast::<Combination>();
            if !this.is_null() && (*this).shown.swap(round, Ordering::Relaxed) != round {
                for_each_element((*this).values, show);
            }
        }
    }
}

/// The promise of the combination; null: out of memory.
///
/// # Safety
/// `inputs` are promises that the caller has references to.
pub unsafe fn combine(kind: Kind, inputs: &[*const Promise]) -> *mut Promise {
    let n = inputs.len();
    let element = match kind {
        Kind::All | Kind::Any => size_of::<*mut c_void>(),
        Kind::AllSettled => size_of::<GoroutineSettled>(),
        Kind::Race => 0,
    };
    let values = if element == 0 {
        null_mut()
    } else {
        let values = new_values(n, element);
        if values.is_null() {
            return null_mut();
        }
        values
    };
    // A rejected `all` or a raced value is not ours to free: the drop function is only for arrays, see `decide`.
    let result = Promise::new(if element == 0 { None } else { Some(free_values) });
    let mut list = Vec::new();
    if result.is_null() || list.try_reserve_exact(n).is_err() {
        // SAFETY: ours, and unused.
        unsafe {
            free_values(values);
            if !result.is_null() {
                let _ = Promise::release(result);
            }
        }
        return null_mut();
    }
    // SAFETY: borrowed from the caller; the result lives, with a reference of the combination's own.
    unsafe {
        (*result).retain();
        for &promise in inputs {
            (*promise).retain();
            (*promise).observe();
            let owner = Owner::Operation {
                run: on_input,
                data: null_mut(),
                index: 0,
            };
            list.push(Input {
                promise,
                waiter: Waiter::new(owner),
            });
        }
    }
    let this = Box::into_raw(Box::new(Combination {
        kind,
        result,
        values,
        inputs: Box::into_raw(list.into_boxed_slice()),
        left: AtomicUsize::new(n + 1),
        decided: AtomicBool::new(false),
        shown: AtomicU64::new(0),
        filled: AtomicUsize::new(0),
    }));
    let mut settled = Settled::new();
    // SAFETY: `left` has our own count, so the block stays until `drop_one` below.
    unsafe {
        for i in 0..n {
            let input = &raw mut (*(*this).inputs)[i];
            (*input).waiter.owner = Owner::Operation {
                run: on_input,
                data: this.cast(),
                index: i,
            };
            if (*this).decided.load(Ordering::SeqCst)
                || !(*(*input).promise).cell.join(&raw mut (*input).waiter)
            {
                on_input(&raw mut (*input).waiter, &mut settled);
            }
        }
        if n == 0 {
            match kind {
                Kind::All | Kind::AllSettled => decide(this, GOROUTINE_OK, (*this).values, &mut settled),
                Kind::Any => decide(this, GOROUTINE_EREJECTED, (*this).values, &mut settled),
                Kind::Race => {} // pending for ever, as in ECMAScript
            }
        }
        // Decided while we walked: those that joined after the decider looked are still linked.
        if (*this).decided.load(Ordering::SeqCst) {
            withdraw(this);
        }
        drop_one(this);
        settled.run_operations();
    }
    ops::queue(settled);
    result
}

/// An input settled (or the combination is decided, and the input never joined).
unsafe fn on_input(waiter: *mut PromiseWaiter, settled: &mut Settled) {
    // SAFETY: the waiter is in the block, which stays until its own `drop_one`.
    unsafe {
        let Owner::Operation { data, index, .. } = (*waiter).owner else {
            return;
        };
        let this = data.cast::<Combination>();
        if let (Some(outcome), false) = (
            (*(*(*this).inputs)[index].promise).outcome(),
            (*this).decided.load(Ordering::SeqCst),
        ) {
            take(this, index, outcome, settled);
        }
        drop_one(this);
    }
}

unsafe fn take(this: *mut Combination, index: usize, outcome: Outcome, settled: &mut Settled) {
    // SAFETY: the caller holds a count of the block; each index is written once.
    unsafe {
        let n = (*this).inputs.len();
        let values = (*this).values;
        let ok = outcome.status == GOROUTINE_OK;
        match (*this).kind {
            Kind::Race => return decide(this, outcome.status, outcome.value, settled),
            Kind::All if !ok => return decide(this, outcome.status, outcome.value, settled),
            Kind::Any if ok => return decide(this, GOROUTINE_OK, outcome.value, settled),
            Kind::All | Kind::Any => *values.cast::<*mut c_void>().add(index) = outcome.value,
            Kind::AllSettled => {
                let entry = GoroutineSettled {
                    status: outcome.status,
                    value: outcome.value,
                };
                *values.cast::<GoroutineSettled>().add(index) = entry;
            }
        }
        // AcqRel: the last one sees what all others wrote.
        if (*this).filled.fetch_add(1, Ordering::AcqRel) + 1 == n {
            let status = if (*this).kind == Kind::Any {
                GOROUTINE_EREJECTED
            } else {
                GOROUTINE_OK
            };
            decide(this, status, values, settled);
        }
    }
}

unsafe fn decide(this: *mut Combination, status: GoroutineStatus, value: *mut c_void, settled: &mut Settled) {
    // SAFETY: the caller holds a count of the block; only the first decider goes on.
    unsafe {
        if (*this).decided.swap(true, Ordering::SeqCst) {
            return;
        }
        if value == (*this).values {
            // The array goes to the result.
            (*this).values = null_mut();
        } else {
            (*(*this).result).keep_value();
        }
        let first = (*(*this).result).settle(Outcome { value, status }, settled);
        debug_assert!(first, "only its combination settles it");
        withdraw(this);
    }
}

/// I2: out of every input that has not settled.
unsafe fn withdraw(this: *mut Combination) {
    // SAFETY: the caller holds a count of the block.
    unsafe {
        for i in 0..(*this).inputs.len() {
            let input = &raw mut (*(*this).inputs)[i];
            if (*(*input).promise).cell.leave(&raw mut (*input).waiter) {
                drop_one(this); // its on_input will not run
            }
        }
    }
}

/// I1.
unsafe fn drop_one(this: *mut Combination) {
    // SAFETY: the caller gives up its count; the last one has the block alone.
    unsafe {
        if (*this).left.fetch_sub(1, Ordering::AcqRel) != 1 {
            return;
        }
        let this = Box::from_raw(this);
        for input in Box::from_raw(this.inputs) {
            ops::release(input.promise);
        }
        free_values(this.values);
        ops::release(this.result);
    }
}
