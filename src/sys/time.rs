//! The monotonic clock, in nanoseconds.

/// Now on CLOCK_MONOTONIC (vDSO, no kernel entry).
#[inline]
pub fn now_ns() -> u64 {
    let mut t = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `t` is writable.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut t) };
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}

/// `now + delay`, stopping at the end of time, which is never reached.
pub fn deadline_after(delay_ns: u64) -> u64 {
    now_ns().saturating_add(delay_ns)
}

/// For the system calls that take an absolute time. `u64::MAX` becomes the largest time the kernel accepts.
pub fn timespec(ns: u64) -> libc::timespec {
    let s = (ns / 1_000_000_000).min(i64::MAX as u64 / 1_000_000_000);
    libc::timespec {
        tv_sec: s as i64,
        tv_nsec: (ns % 1_000_000_000) as i64,
    }
}

/// Blocks the calling thread until `deadline_ns`. Signals do not shorten it.
pub fn sleep_until(deadline_ns: u64) {
    let t = timespec(deadline_ns);
    // SAFETY: `t` is valid; with TIMER_ABSTIME no remainder is written.
    while unsafe {
        libc::clock_nanosleep(
            libc::CLOCK_MONOTONIC,
            libc::TIMER_ABSTIME,
            &t,
            std::ptr::null_mut(),
        )
    } == libc::EINTR
    {}
}

/// The CPU time that a thread of this process has had, ns; 0: there is no such thread.
pub fn thread_cpu_ns(tid: i32) -> u64 {
    const PER_THREAD_SCHED: i32 = 4 | 2; // the kernel's CPUCLOCK_PERTHREAD_MASK and CPUCLOCK_SCHED
    let mut t = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: writes the timespec.
    if unsafe { libc::clock_gettime(!tid << 3 | PER_THREAD_SCHED, &mut t) } != 0 {
        return 0;
    }
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}
