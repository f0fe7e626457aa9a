//! Async operations: a promise with a kind and an id, that keeps the program alive until completed or cancelled.
//!
//! Ids are made of a slot and the slot's generation, as timers' are, and never repeat.

use super::promise as ops;
use crate::abi::*;
use crate::promise::{Outcome, Promise};
use crate::sanitize;
use crate::sched::runtime;
use crate::sys::mutex::Mutex;
use std::ffi::c_void;
use std::sync::atomic::Ordering;

struct Operation {
    /// Null: the slot is free.
    promise: *mut Promise,
    /// The caller's.
    user: *mut c_void,
    generation: u64,
    completed: bool,
}
/// The operations.
#[derive(Default)]
pub struct Table {
    slots: Vec<Operation>,
    free: Vec<u32>,
    /// The last completed ids, oldest first: their results are kept for a late await. Awaited ones may be among them.
    completed: std::collections::VecDeque<i64>,
}
// SAFETY: the table owns a reference to each of its promises.
unsafe impl Send for Table {}
static TABLE: Mutex<Table> = Mutex::new(Table {
    slots: Vec::new(),
    free: Vec::new(),
    completed: std::collections::VecDeque::new(),
});

/// The lock, to be held across fork.
pub fn table() -> &'static Mutex<Table> {
    &TABLE
}

/// In a child of fork: nobody completes them.
///
/// # Safety
/// The lock is held by the calling thread.
pub unsafe fn forget_all() {
    // SAFETY: the caller's promise.
    let table = unsafe { &mut *TABLE.data_ptr() };
    for operation in &mut table.slots {
        operation.promise = std::ptr::null_mut(); // leaked: goroutines of the parent may be linked to it
    }
    table.completed.clear();
}

const SLOT_BITS: u32 = 24;
/// Results that wait for a late await. Beyond that, the oldest is forgotten.
const KEEP_COMPLETED: usize = 65_536;

/// Begins one. Gives its id, or a negative status.
pub fn begin(kind: GoroutineAsyncType, user: *mut c_void) -> i64 {
    if kind > GOROUTINE_ASYNC_CUSTOM {
        return i64::from(GOROUTINE_EINVAL);
    }
    let runtime = match runtime::enter_or_start() {
        Ok(runtime) => runtime,
        Err(status) => return i64::from(status),
    };
    if runtime.is_stopping() {
        return i64::from(GOROUTINE_ESHUTDOWN);
    }
    let promise = Promise::new(None);
    if promise.is_null() {
        return i64::from(GOROUTINE_ENOMEM);
    }
    // SAFETY: just made. Nobody owes it a look.
    unsafe { (*promise).observe() };
    let mut table = TABLE.lock();
    let slot = match table.free.pop() {
        Some(slot) => slot,
        None if table.slots.len() < 1 << SLOT_BITS => {
            table.slots.push(Operation {
                promise: std::ptr::null_mut(),
                user: std::ptr::null_mut(),
                generation: 0,
                completed: false,
            });
            table.slots.len() as u32 - 1
        }
        None => {
            // SAFETY: ours, and unused.
            let _ = unsafe { Promise::release(promise) };
            return i64::from(GOROUTINE_ENOMEM);
        }
    };
    let operation = &mut table.slots[slot as usize];
    operation.generation += 1;
    operation.promise = promise;
    operation.user = user;
    operation.completed = false;
    runtime.foreign.async_opened.fetch_add(1, Ordering::SeqCst);
    (operation.generation << SLOT_BITS) as i64 | i64::from(slot)
}

impl Table {
    fn find(&mut self, id: i64) -> Option<&mut Operation> {
        let slot = id as usize & ((1 << SLOT_BITS) - 1);
        let operation = self.slots.get_mut(slot)?;
        (id > 0 && !operation.promise.is_null() && operation.generation == id as u64 >> SLOT_BITS)
            .then_some(operation)
    }

    /// The slot is free again; gives the table's reference.
    fn forget(&mut self, id: i64) -> *mut Promise {
        let Some(operation) = self.find(id) else {
            return std::ptr::null_mut();
        };
        let promise = std::mem::replace(&mut operation.promise, std::ptr::null_mut());
        if operation.generation < (1 << 29) - 1 {
            self.free.push(id as u32 & ((1 << SLOT_BITS) - 1));
        }
        promise
    }
}

/// Completes (GOROUTINE_OK) or cancels (GOROUTINE_ECANCELED) one, once.
pub fn end(id: i64, status: GoroutineStatus, result: *mut c_void) -> GoroutineStatus {
    sanitize::release_ends();
    let mut dropped = std::ptr::null_mut();
    // Held to the end, so that the runtime it counts for is the one it was begun in: a shutdown ends every operation.
    let inside = runtime::enter_to_end();
    let promise = {
        let mut table = TABLE.lock();
        let Some(operation) = table.find(id) else {
            return unknown(id, &table);
        };
        if operation.completed {
            return GOROUTINE_EALREADY;
        }
        if inside.is_none() {
            return GOROUTINE_ESHUTDOWN;
        }
        operation.completed = true;
        operation.user = std::ptr::null_mut();
        let promise = operation.promise;
        // SAFETY: the table has a reference.
        unsafe { (*promise).retain() };
        table.completed.push_back(id);
        if table.completed.len() > KEEP_COMPLETED
            && let Some(oldest) = table.completed.pop_front()
        {
            dropped = table.forget(oldest);
        }
        promise
    };
    // SAFETY: the references are ours.
    unsafe {
        ops::settle(
            &*promise,
            Outcome {
                value: result,
                status,
            },
        );
        ops::release(promise);
        if !dropped.is_null() {
            ops::release(dropped);
        }
    }
    if let Some(runtime) = inside {
        runtime.foreign.async_closed.fetch_add(1, Ordering::SeqCst);
        runtime.closed_from_outside();
    }
    GOROUTINE_OK
}

/// An id that is not in the table: over and forgotten, or never given out.
fn unknown(id: i64, table: &Table) -> GoroutineStatus {
    let slot = id as usize & ((1 << SLOT_BITS) - 1);
    let was = id > 0
        && table
            .slots
            .get(slot)
            .is_some_and(|o| id as u64 >> SLOT_BITS <= o.generation);
    if was { GOROUTINE_EALREADY } else { GOROUTINE_EINVAL }
}

/// Waits for one. The first successful await forgets it.
pub fn wait(id: i64, timeout_ns: u64) -> Result<*mut c_void, GoroutineStatus> {
    let promise = {
        let mut table = TABLE.lock();
        let Some(operation) = table.find(id) else {
            return Err(unknown(id, &table));
        };
        // SAFETY: the table has a reference.
        unsafe { (*operation.promise).retain() };
        operation.promise
    };
    // SAFETY: we have a reference.
    let result = ops::wait(unsafe { &*promise }, timeout_ns);
    if result.is_ok() {
        let mut table = TABLE.lock();
        let forgotten = table.forget(id);
        drop(table);
        if !forgotten.is_null() {
            // SAFETY: the table's reference.
            unsafe { ops::release(forgotten) };
        }
    }
    // SAFETY: ours.
    unsafe { ops::release(promise) };
    let outcome = result?;
    if outcome.status == GOROUTINE_OK {
        Ok(outcome.value)
    } else {
        Err(outcome.status)
    }
}

/// Where the arguments of those that are pending lie. (Results lie in promises.)
pub fn for_each_root(show: &mut dyn FnMut(*mut *mut c_void)) {
    let mut table = TABLE.lock();
    for operation in &mut table.slots {
        if !operation.promise.is_null() && !operation.completed {
            show(&raw mut operation.user);
        }
    }
}

/// At shutdown.
pub fn cancel_all() {
    let ids: Vec<i64> = {
        let table = TABLE.lock();
        let pending = table
            .slots
            .iter()
            .enumerate()
            .filter(|(_, o)| !o.promise.is_null() && !o.completed);
        pending
            .map(|(slot, o)| (o.generation << SLOT_BITS) as i64 | slot as i64)
            .collect()
    };
    for id in ids {
        end(id, GOROUTINE_ECANCELED, std::ptr::null_mut());
    }
}
