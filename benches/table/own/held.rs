//! How late timers are while somebody holds a lock over a sleep, and many want it.

use super::{join, lateness::late_by, percentiles_and_most, spawn};
use goroutine::abi::*;
use goroutine::capi::goroutine::{goroutine_sleep, goroutine_yield};
use goroutine::capi::mutex::*;
use goroutine::capi::ultrascript::*;
use goroutine::ops::mutex::GoroutineMutex;
use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// What is held.
#[derive(Clone, Copy)]
pub enum Lock {
    /// The others sleep as long, instead.
    Nothing,
    Mutex(*mut GoroutineMutex),
    UltraScript(*mut c_void),
}

const HELD_NS: u64 = 50_000_000;
const CONTENDERS: usize = 100;
const SLEEPERS: usize = 10;
const TIME: Duration = Duration::from_secs(1);

struct Shared {
    lock: Lock,
    until: Instant,
    late: Mutex<Vec<u32>>,
}

impl Shared {
    fn with_lock(&self, f: impl FnOnce()) {
        // SAFETY: the lock is alive until all goroutines have been joined.
        unsafe {
            match self.lock {
                Lock::Nothing => {
                    goroutine_sleep(HELD_NS);
                }
                Lock::Mutex(mutex) => {
                    assert_eq!(goroutine_mutex_lock(mutex, GOROUTINE_FOREVER), GOROUTINE_OK);
                    f();
                    assert_eq!(goroutine_mutex_unlock(mutex), GOROUTINE_OK);
                }
                Lock::UltraScript(lock) => {
                    __runtime_lock_lock(lock);
                    f();
                    __runtime_lock_unlock(lock);
                }
            }
        }
    }
}

/// Over and over: one has it for 50 ms, then all others in turn. Meanwhile 10 goroutines sleep 1 ms over and over.
pub fn held(lock: Lock) -> String {
    unsafe extern "C" fn holder(shared: *mut c_void) -> *mut c_void {
        // SAFETY: the caller waits for us.
        let shared = unsafe { &*shared.cast::<Shared>() };
        while Instant::now() < shared.until {
            // SAFETY: callable anywhere.
            shared.with_lock(|| unsafe {
                goroutine_sleep(HELD_NS);
            });
        }
        null_mut()
    }
    unsafe extern "C" fn contender(shared: *mut c_void) -> *mut c_void {
        // SAFETY: the caller waits for us.
        let shared = unsafe { &*shared.cast::<Shared>() };
        while Instant::now() < shared.until {
            shared.with_lock(|| ());
            // SAFETY: callable anywhere.
            unsafe { goroutine_yield() };
        }
        null_mut()
    }
    unsafe extern "C" fn sleeper(shared: *mut c_void) -> *mut c_void {
        // SAFETY: the caller waits for us.
        let shared = unsafe { &*shared.cast::<Shared>() };
        let mut late = Vec::with_capacity(TIME.as_millis() as usize);
        while Instant::now() < shared.until {
            late.push(late_by(1_000_000));
        }
        shared.late.lock().unwrap().extend(late);
        null_mut()
    }
    let shared = Shared {
        lock,
        until: Instant::now() + TIME,
        late: Mutex::new(Vec::new()),
    };
    let argument = std::ptr::from_ref(&shared).cast_mut().cast();
    let mut all = vec![spawn(holder, argument)];
    all.extend((0..CONTENDERS).map(|_| spawn(contender, argument)));
    all.extend((0..SLEEPERS).map(|_| spawn(sleeper, argument)));
    all.into_iter().for_each(join);
    percentiles_and_most(shared.late.into_inner().unwrap())
}

pub fn mutex() -> String {
    let mutex = goroutine_mutex_new(0);
    let answer = held(Lock::Mutex(mutex));
    // SAFETY: nobody uses it any more.
    assert_eq!(unsafe { goroutine_mutex_free(mutex) }, GOROUTINE_OK);
    answer
}

pub fn ultrascript() -> String {
    // SAFETY: nobody uses it any more when it is destroyed.
    unsafe {
        let lock = __runtime_lock_create();
        let answer = held(Lock::UltraScript(lock));
        __runtime_lock_destroy(lock);
        answer
    }
}
