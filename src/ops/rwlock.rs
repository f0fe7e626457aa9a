//! Readers-writer locks: a reader takes one permit, a writer all of them. Since permits are given in order, a writer that waits keeps later
//! readers out, and starves no less than they do.
//!
//! With GOROUTINE_CONFIG_DEADLOCK_REPORT it is written down who reads (`READS`), and how many wait to write. A reader is written down after it has
//! its permit, and crossed out before it gives it back: so whoever sees as many readers there as permits are taken sees all of them.

use super::mutex::{Holder, Me};
use super::object::{free_object, new_object};
use super::semaphore::{acquire_in_line, release};
use crate::abi::*;
use crate::context::tls;
use crate::goroutine::Goroutine;
use crate::goroutine::waits::{Kind, Waits};
use crate::sanitize;
use crate::sched::runtime;
use crate::sys::mem;
use crate::sys::mutex::Mutex;
use crate::wait::Party;
use crate::wait::permits::Permits;
use std::collections::BTreeMap;
use std::mem::offset_of;
use std::sync::atomic::{AtomicU64, Ordering};

/// So many readers at a time.
const ALL: u32 = 1 << 30;

/// A readers-writer lock. Opaque.
pub struct GoroutineRwLock {
    permits: Permits<Party>,
    /// The writer's number (`Me`), 0: none. Written by the writer; others only compare it with their own.
    writer: AtomicU64,
    /// Who uses it is written down.
    watched: bool,
}
/// The name inside the library.
pub use GoroutineRwLock as RwLock;

/// Of a lock that is watched.
#[derive(Default)]
struct Users {
    /// Ids, each as often as it reads; 0: a plain thread.
    readers: Vec<u64>,
    /// Goroutines and threads that wait to write.
    writers: usize,
    /// One gave back what it had not taken: who reads is not known any more.
    strangers: bool,
}

impl Users {
    fn cross_out(&mut self, id: u64) {
        match self.readers.iter().position(|&reader| reader == id) {
            Some(at) => drop(self.readers.swap_remove(at)),
            None => self.strangers |= !self.readers.is_empty(),
        }
    }
}

/// The running goroutine's id, or 0.
fn me() -> u64 {
    // SAFETY: the running goroutine, or null.
    unsafe { tls::current().as_ref() }.map_or(0, Goroutine::id)
}

/// By address.
static READS: Mutex<Reads> = Mutex::new(BTreeMap::new());
type Reads = BTreeMap<usize, Users>;

/// The lock, to be held across fork.
pub fn reads() -> &'static Mutex<impl Sized> {
    &READS
}

/// Who has a lock that somebody waits for.
pub enum Held {
    /// To write.
    Writer(Holder),
    /// To read: these goroutines; and so many wait to write.
    Readers(Vec<u64>, usize),
    /// To read, at least one of them a plain thread.
    Threads,
}

/// Where its writer is written.
pub const WRITER: usize = offset_of!(RwLock, writer);

/// Who writes under the lock at `address`, which may not be there any more: it means nothing then.
pub fn writer_of(address: usize) -> Option<Holder> {
    Holder::of(mem::peek_word(address + WRITER)?)
}

/// Who has it, if that is known.
pub fn held(address: usize) -> Option<Held> {
    if let Some(writer) = writer_of(address) {
        return Some(Held::Writer(writer));
    }
    let all = READS.lock();
    let users = all.get(&address)?;
    // SAFETY: it is taken out of the table, under the lock, before it is freed.
    let taken = ALL - unsafe { (*(address as *const RwLock)).permits.free() };
    if users.strangers || users.readers.len() != taken as usize {
        return None;
    }
    if users.readers.contains(&0) {
        return Some(Held::Threads);
    }
    Some(Held::Readers(users.readers.clone(), users.writers))
}

/// `goroutine_rwlock_new`.
pub fn new() -> *mut RwLock {
    let watched = runtime::enter().is_some_and(|runtime| runtime.reports_deadlocks());
    let lock = new_object(RwLock {
        permits: Permits::new(ALL),
        writer: AtomicU64::new(0),
        watched,
    });
    if watched && !lock.is_null() {
        READS.lock().insert(lock as usize, Users::default());
    }
    lock
}

/// `goroutine_rwlock_free`.
///
/// # Safety
/// `lock` came from [`new`]; after GOROUTINE_OK nobody uses it.
pub unsafe fn free(lock: *mut RwLock) -> GoroutineStatus {
    // SAFETY: the caller's promise.
    unsafe {
        if !(*lock).permits.is_idle() || (*lock).permits.free() != ALL {
            return GOROUTINE_EBUSY;
        }
        if (*lock).watched {
            READS.lock().remove(&(lock as usize));
        }
        free_object(lock);
    }
    GOROUTINE_OK
}

impl RwLock {
    fn is_writer(&self) -> bool {
        let writer = self.writer.load(Ordering::Relaxed);
        writer != 0 && writer == Me::new().number
    }

    fn take(&self, n: u32, timeout_ns: u64) -> GoroutineStatus {
        if self.permits.try_take(n) {
            return GOROUTINE_OK;
        }
        if self.is_writer() {
            return GOROUTINE_EDEADLK;
        }
        if n != ALL {
            return acquire_in_line(&self.permits, n, timeout_ns, Waits::on(Kind::ReadLock, self));
        }
        if !self.watched {
            return acquire_in_line(&self.permits, n, timeout_ns, Waits::on(Kind::RwLock, self));
        }
        self.note(|users| users.writers += 1);
        let status = acquire_in_line(&self.permits, n, timeout_ns, Waits::on(Kind::RwLock, self));
        self.note(|users| users.writers -= 1);
        status
    }

    #[cold]
    fn note(&self, what: impl FnOnce(&mut Users)) {
        if let Some(users) = READS.lock().get_mut(&(std::ptr::from_ref(self) as usize)) {
            what(users);
        }
    }

    /// `goroutine_rwlock_read_lock`.
    pub fn read_lock(&self, timeout_ns: u64) -> GoroutineStatus {
        let status = self.take(1, timeout_ns);
        if self.watched && status == GOROUTINE_OK {
            self.note(|users| users.readers.push(me()));
        }
        sanitize::acquired(self);
        status
    }

    /// `goroutine_rwlock_write_lock`.
    pub fn write_lock(&self, timeout_ns: u64) -> GoroutineStatus {
        let status = self.take(ALL, timeout_ns);
        if status == GOROUTINE_OK {
            self.writer.store(Me::new().number, Ordering::Relaxed);
            sanitize::acquired(self);
            sanitize::acquired(sanitize::back(self));
        }
        status
    }

    /// `goroutine_rwlock_read_unlock`.
    pub fn read_unlock(&self) -> GoroutineStatus {
        if self.writer.load(Ordering::Relaxed) != 0 {
            return GOROUTINE_EPERM; // nobody reads
        }
        if self.watched {
            self.note(|users| users.cross_out(me()));
        }
        sanitize::released(sanitize::back(self));
        match release(&self.permits, 1, ALL) {
            GOROUTINE_OK => GOROUTINE_OK,
            _ => GOROUTINE_EPERM,
        }
    }

    /// `goroutine_rwlock_write_unlock`.
    pub fn write_unlock(&self) -> GoroutineStatus {
        if !self.is_writer() {
            return GOROUTINE_EPERM;
        }
        self.writer.store(0, Ordering::Relaxed);
        sanitize::released(self);
        release(&self.permits, ALL, ALL)
    }
}
