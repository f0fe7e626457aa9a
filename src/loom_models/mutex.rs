//! The library's own locks.

use super::model;
use crate::sync::sleep_lock::Word;
use crate::sync::{AtomicU32, Guarded, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

/// A word with a kernel of its own: who sleeps looks at the word and gets in line at once.
struct Futex {
    word: AtomicU32,
    /// Who sleeps, and how many of them were woken.
    line: Mutex<(u32, u32)>,
    woken: Condvar,
}

impl Word for Futex {
    const LOOKS: u32 = 0;

    fn replace(&self, from: u32, to: u32) -> bool {
        (self.word)
            .compare_exchange(from, to, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }
    fn swap(&self, to: u32) -> u32 {
        self.word.swap(to, Ordering::AcqRel)
    }
    fn is(&self, value: u32) -> bool {
        self.word.load(Ordering::Relaxed) == value
    }
    fn sleep_while(&self, value: u32) {
        let mut line = self.line.lock().unwrap();
        if self.word.load(Ordering::SeqCst) != value {
            return;
        }
        line.0 += 1;
        while line.1 == 0 {
            line = self.woken.wait(line).unwrap(); // loom finds who sleeps for ever
        }
        *line = (line.0 - 1, line.1 - 1);
    }
    fn wake_one(&self) {
        let mut line = self.line.lock().unwrap();
        if line.1 < line.0 {
            line.1 += 1;
            self.woken.notify_one();
        }
    }
}

/// Three who want it: one at a time has it, and nobody sleeps for ever.
#[test]
fn loom_mutex_three_take_turns() {
    model(|| {
        let futex = Arc::new(Futex {
            word: AtomicU32::new(0),
            line: Mutex::new((0, 0)),
            woken: Condvar::new(),
        });
        let value = Arc::new(Guarded::new(0u32));
        let add = |futex: &Futex, value: &Guarded<u32>| {
            futex.hold();
            // SAFETY: we hold the lock; loom checks.
            unsafe { value.with(|value| *value += 1) };
            futex.let_go();
        };
        let others: Vec<_> = (0..2)
            .map(|_| {
                let (futex, value) = (futex.clone(), value.clone());
                thread::spawn(move || add(&futex, &value))
            })
            .collect();
        add(&futex, &value);
        others.into_iter().for_each(|other| other.join().unwrap());
        assert!(futex.try_hold());
        // SAFETY: as above.
        unsafe { value.with(|value| assert_eq!(*value, 3)) };
    });
}
