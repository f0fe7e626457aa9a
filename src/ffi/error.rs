//! What the loader said last, for each goroutine and each plain thread.
//!
//! A goroutine's text lies in a table and not in its control block: hardly any goroutine has one. The entry of a goroutine that
//! is over is dropped when the table grows; ids never repeat, so an entry is never taken for somebody else's.

use crate::context::tls;
use crate::goroutine::Goroutine;
use parking_lot::Mutex;
use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char};

/// A goroutine's last error.
pub struct Entry {
    g: *const Goroutine,
    id: u64,
    text: CString,
}
// SAFETY: of `g` only the id is read, which is atomic, and control blocks stay mapped.
unsafe impl Send for Entry {}

static TABLE: Mutex<Vec<Entry>> = Mutex::new(Vec::new());
/// Above this many entries, those of goroutines that are over are looked for.
const KEEP: usize = 64;

thread_local! {
    static OF_THREAD: RefCell<Option<CString>> = const { RefCell::new(None) };
}

/// The lock, to be held across fork.
pub fn table() -> &'static Mutex<Vec<Entry>> {
    &TABLE
}

/// The caller's last error from now on.
pub fn set(text: &CStr) {
    let g = tls::current();
    if g.is_null() {
        return set_of_thread(text);
    }
    // SAFETY: the running goroutine.
    let id = unsafe { (*g).id() };
    let text = text.to_owned();
    let mut table = TABLE.lock();
    if let Some(entry) = table.iter_mut().find(|entry| entry.g == g) {
        *entry = Entry { g, id, text };
        return;
    }
    if table.len() >= KEEP && table.len().is_power_of_two() {
        // SAFETY: control blocks stay mapped.
        table.retain(|entry| unsafe { (*entry.g).id() } == entry.id);
    }
    table.push(Entry { g, id, text });
}

/// The caller's last error, until the next one; null: it had none.
pub fn get() -> *const c_char {
    let g = tls::current();
    if g.is_null() {
        return of_thread();
    }
    // SAFETY: the running goroutine.
    let id = unsafe { (*g).id() };
    let table = TABLE.lock();
    let mine = table.iter().find(|entry| entry.g == g && entry.id == id);
    mine.map_or(std::ptr::null(), |entry| entry.text.as_ptr())
}

// Never inlined into what runs on a goroutine, where the address of a thread's variable may not be kept.
#[inline(never)]
fn set_of_thread(text: &CStr) {
    OF_THREAD.with_borrow_mut(|mine| *mine = Some(text.to_owned()));
}

#[inline(never)]
fn of_thread() -> *const c_char {
    OF_THREAD.with_borrow(|mine| mine.as_ref().map_or(std::ptr::null(), |text| text.as_ptr()))
}
