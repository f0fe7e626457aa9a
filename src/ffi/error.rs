//! What the loader said last, for each goroutine and each plain thread.
//!
//! A goroutine's text lies in a table and not in its control block: hardly any goroutine has one. The entry of a goroutine that
//! is over is dropped when the table grows; ids never repeat, so an entry is never taken for somebody else's.

use crate::context::tls;
use crate::goroutine::Goroutine;
use crate::sys::mutex::Mutex;
use std::ffi::{CStr, CString, c_char};
use std::sync::atomic::{AtomicU32, Ordering};

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

/// A thread's text is found by it, and freed with the thread: by the C library itself, which nobody unloads. (A thread-local
/// variable with a destructor would keep this library mapped until the thread ends.)
/// One more than the key; 0: nobody needed it yet.
static KEY: AtomicU32 = AtomicU32::new(0);

/// When the library is unmapped, or the program ends.
pub fn delete_key() {
    if let Some(key) = KEY.swap(0, Ordering::AcqRel).checked_sub(1) {
        // SAFETY: our key. Texts of threads that live are left.
        unsafe { libc::pthread_key_delete(key) };
    }
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

fn set_of_thread(text: &CStr) {
    let Some(key) = key() else { return };
    // SAFETY: the key's values are strings of `strdup`, which are their threads'.
    unsafe {
        let text = libc::strdup(text.as_ptr());
        let old = libc::pthread_getspecific(key);
        if libc::pthread_setspecific(key, text.cast()) == 0 {
            libc::free(old);
        } else {
            libc::free(text.cast());
        }
    }
}

fn of_thread() -> *const c_char {
    let key = KEY.load(Ordering::Acquire).checked_sub(1);
    // SAFETY: our key.
    key.map_or(std::ptr::null(), |key| unsafe {
        libc::pthread_getspecific(key).cast()
    })
}

/// The key, a new one if there is none; None: the process has too many.
fn key() -> Option<libc::pthread_key_t> {
    if let Some(key) = KEY.load(Ordering::Acquire).checked_sub(1) {
        return Some(key);
    }
    let mut key = 0;
    // SAFETY: `free` stays as long as any key; the key of who was later is nobody's.
    unsafe {
        if libc::pthread_key_create(&mut key, Some(libc::free)) != 0 {
            return None;
        }
        match KEY.compare_exchange(0, key + 1, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Some(key),
            Err(other) => {
                libc::pthread_key_delete(key);
                Some(other - 1)
            }
        }
    }
}
