//! Rows of the table about goroutines and threads that wait for each other. Each runs `n` operations on a goroutine.

use std::ffi::c_void;
use std::ptr::null_mut;
use std::time::{Duration, Instant};

use goroutine::abi::*;
use goroutine::capi::channel::*;
use goroutine::capi::goroutine::*;
use goroutine::capi::mutex::*;
use goroutine::capi::promise::*;
use goroutine::capi::select::*;
use goroutine::ops::channel::GoroutineChannel;
use goroutine::ops::mutex::GoroutineMutex;

pub fn round_of(row: &str) -> Option<fn(n: u64) -> Duration> {
    Some(match row {
        "mutex" => mutex,
        "mutex_1000" => mutex_1000,
        "channel_pingpong" => channel_pingpong,
        "channel_128" => channel_128,
        "select_4" => select_4,
        _ => return None,
    })
}

fn ok(status: GoroutineStatus) {
    assert_eq!(status, GOROUTINE_OK);
}

fn mutex(n: u64) -> Duration {
    let mutex = goroutine_mutex_new(0);
    let start = Instant::now();
    for _ in 0..n {
        // SAFETY: it lives until the end.
        unsafe {
            ok(goroutine_mutex_lock(mutex, GOROUTINE_FOREVER));
            ok(goroutine_mutex_unlock(mutex));
        }
    }
    let took = start.elapsed();
    // SAFETY: nobody uses it any more.
    ok(unsafe { goroutine_mutex_free(mutex) });
    took
}

fn mutex_1000(n: u64) -> Duration {
    struct Job {
        mutex: *mut GoroutineMutex,
        each: u64,
        count: u64,
    }
    unsafe extern "C" fn contend(job: *mut c_void) -> *mut c_void {
        let job = job.cast::<Job>();
        // SAFETY: the spawner waits for us; `count` is the owner's.
        unsafe {
            for _ in 0..(*job).each {
                ok(goroutine_mutex_lock((*job).mutex, GOROUTINE_FOREVER));
                (*job).count += 1;
                goroutine_yield();
                ok(goroutine_mutex_unlock((*job).mutex));
            }
        }
        null_mut()
    }
    let mut job = Job {
        mutex: goroutine_mutex_new(0),
        each: n.div_ceil(1000),
        count: 0,
    };
    let place = &raw mut job;
    let start = Instant::now();
    // SAFETY: the job outlives its goroutines.
    unsafe {
        let all: Vec<_> = (0..1000)
            .map(|_| goroutine_spawn(Some(contend), place.cast()))
            .collect();
        for p in all {
            ok(goroutine_promise_await_take(p, GOROUTINE_FOREVER, null_mut()));
        }
        let took = start.elapsed();
        assert_eq!((*place).count, (*place).each * 1000);
        ok(goroutine_mutex_free((*place).mutex));
        took.mul_f64(n as f64 / ((*place).each * 1000) as f64)
    }
}

/// Two channels, or more, and how often.
struct Channels {
    channels: [*mut GoroutineChannel; 4],
    n: u64,
}

impl Channels {
    fn new(capacity: usize, n: u64) -> Self {
        Self {
            channels: [(); 4].map(|()| goroutine_channel_new(8, capacity)),
            n,
        }
    }

    /// `here` runs against `there` on another goroutine.
    fn measure(self, there: GoroutineFn, here: impl FnOnce(&Self)) -> Duration {
        let start = Instant::now();
        // SAFETY: we outlive the other goroutine.
        unsafe {
            let other = goroutine_spawn(there, (&raw const self).cast_mut().cast());
            here(&self);
            ok(goroutine_promise_await_take(other, GOROUTINE_FOREVER, null_mut()));
            let took = start.elapsed();
            self.channels
                .into_iter()
                .for_each(|channel| ok(goroutine_channel_free(channel)));
            took
        }
    }
}

fn channel_pingpong(n: u64) -> Duration {
    unsafe extern "C" fn echo(arg: *mut c_void) -> *mut c_void {
        // SAFETY: `measure` keeps it.
        unsafe {
            let Channels { channels, n } = &*arg.cast::<Channels>();
            let mut value = 0u64;
            for _ in 0..*n {
                ok(goroutine_channel_receive(
                    channels[0],
                    (&raw mut value).cast(),
                    GOROUTINE_FOREVER,
                ));
                ok(goroutine_channel_send(
                    channels[1],
                    (&raw const value).cast(),
                    GOROUTINE_FOREVER,
                ));
            }
        }
        null_mut()
    }
    // SAFETY: the channels live meanwhile.
    Channels::new(0, n).measure(Some(echo), |c| unsafe {
        let mut value = 0u64;
        for i in 0..n {
            ok(goroutine_channel_send(
                c.channels[0],
                (&raw const i).cast(),
                GOROUTINE_FOREVER,
            ));
            ok(goroutine_channel_receive(
                c.channels[1],
                (&raw mut value).cast(),
                GOROUTINE_FOREVER,
            ));
            assert_eq!(value, i);
        }
    })
}

fn channel_128(n: u64) -> Duration {
    unsafe extern "C" fn send(arg: *mut c_void) -> *mut c_void {
        // SAFETY: `measure` keeps it.
        unsafe {
            let Channels { channels, n } = &*arg.cast::<Channels>();
            for i in 0..*n {
                ok(goroutine_channel_send(
                    channels[0],
                    (&raw const i).cast(),
                    GOROUTINE_FOREVER,
                ));
            }
        }
        null_mut()
    }
    // SAFETY: the channels live meanwhile.
    Channels::new(128, n).measure(Some(send), |c| unsafe {
        let mut value = 0u64;
        for i in 0..n {
            ok(goroutine_channel_receive(
                c.channels[0],
                (&raw mut value).cast(),
                GOROUTINE_FOREVER,
            ));
            assert_eq!(value, i);
        }
    })
}

fn select_4(n: u64) -> Duration {
    unsafe extern "C" fn send(arg: *mut c_void) -> *mut c_void {
        // SAFETY: `measure` keeps it.
        unsafe {
            let Channels { channels, n } = &*arg.cast::<Channels>();
            for i in 0..*n {
                let channel = channels[(i * 5 / 3 % 4) as usize];
                ok(goroutine_channel_send(
                    channel,
                    (&raw const i).cast(),
                    GOROUTINE_FOREVER,
                ));
            }
        }
        null_mut()
    }
    // SAFETY: the channels live meanwhile.
    Channels::new(0, n).measure(Some(send), |c| unsafe {
        let mut value = 0u64;
        for i in 0..n {
            let mut chosen = 0;
            let mut cases = c.channels.map(|channel| GoroutineSelectCase {
                op: GOROUTINE_SELECT_RECEIVE,
                status: GOROUTINE_OK,
                object: channel.cast(),
                value: (&raw mut value).cast(),
            });
            ok(goroutine_select(
                cases.as_mut_ptr(),
                4,
                GOROUTINE_FOREVER,
                &raw mut chosen,
            ));
            assert_eq!(value, i);
        }
    })
}
