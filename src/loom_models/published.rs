//! What is read without a lock, and freed: registered code, and the unwinder's tables for it.

use super::model;
use crate::sync::published::Published;
use loom::cell::UnsafeCell;
use loom::sync::{Arc, Mutex};
use loom::thread;

const FREED: u32 = 0;

/// Any number reads it at a time; who frees it must be alone, and loom checks.
struct Record(UnsafeCell<u32>);
// SAFETY: loom checks.
unsafe impl Sync for Record {}
// SAFETY: as above.
unsafe impl Send for Record {}

impl Record {
    fn new(value: u32) -> Arc<Self> {
        Arc::new(Self(UnsafeCell::new(value)))
    }
    fn read(&self) -> u32 {
        // SAFETY: loom checks.
        let value = self.0.with(|value| unsafe { *value });
        assert_ne!(value, FREED);
        value
    }
    fn free(&self) {
        // SAFETY: loom checks.
        self.0.with_mut(|value| unsafe { *value = FREED });
    }
}

struct Records {
    published: Published<Record>,
    all: [Arc<Record>; 3],
}

impl Records {
    /// The first one is published.
    fn new() -> Arc<Self> {
        let records = Self {
            published: Published::new(),
            all: std::array::from_fn(|i| Record::new(i as u32 + 1)),
        };
        records.replace(0);
        Arc::new(records)
    }
    /// The writer's. The records live as long as the model.
    fn replace(&self, by: usize) {
        // SAFETY: there is one writer, and nothing is taken away before its time but by `free`.
        let old = unsafe { self.published.replace(Arc::as_ptr(&self.all[by]).cast_mut()) };
        // SAFETY: one of `all`.
        if let Some(old) = unsafe { old.as_ref() } {
            old.free();
        }
    }
    fn read(&self) -> u32 {
        self.published.with(|record| record.map_or(0, Record::read))
    }
}

/// Two who look something up while it is replaced: neither reads what is freed, and what was once replaced is not found again.
#[test]
fn loom_published_is_not_freed_in_use() {
    model(|| {
        let records = Records::new();
        let readers: [_; 2] = std::array::from_fn(|_| {
            let records = records.clone();
            thread::spawn(move || {
                let first = records.read();
                assert!(first <= records.read());
            })
        });
        records.replace(1);
        assert_eq!(records.read(), 2);
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
}

/// A signal handler looks something up, in the middle of a look-up of its thread, while the writer replaces it twice.
#[test]
fn loom_published_is_read_in_a_handler() {
    model(|| {
        let records = Records::new();
        let reader = {
            let records = records.clone();
            thread::spawn(move || {
                records.published.with(|record| {
                    let record = record.unwrap();
                    let before = record.read();
                    assert!(before <= records.read());
                    assert_eq!(before, record.read());
                });
            })
        };
        records.replace(1);
        records.replace(2);
        reader.join().unwrap();
    });
}

/// A table that somebody else's list has: who found it there may read it, though it was taken out meanwhile.
#[test]
fn loom_published_table_elsewhere() {
    model(|| {
        let published = Arc::new(Published::<u32>::new());
        let list = Arc::new(Mutex::new(Some(Record::new(1))));
        let table = list.lock().unwrap().clone().unwrap();
        let unwinder = {
            let (published, list) = (published.clone(), list.clone());
            thread::spawn(move || {
                published.hold(|| {
                    let found = list.lock().unwrap().clone();
                    found.map(|table| table.read())
                });
            })
        };
        published.withdraw(|| *list.lock().unwrap() = None);
        table.free();
        unwinder.join().unwrap();
    });
}
