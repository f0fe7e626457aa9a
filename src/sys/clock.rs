//! The monotonic clock for deadlines, at the price of one `rdtsc` (half of what the vDSO takes).
//!
//! Each worker has one. Between two readings of CLOCK_MONOTONIC, at most 2^20 counter ticks apart (about 0.3 ms), time is
//! interpolated with a rate that was measured over several milliseconds. It is used where time must not be too early to be
//! a base for a deadline: the result is never below CLOCK_MONOTONIC, and at most 0.3 us above (the time a
//! reading takes, and the uncertainty of the rate). Whether a deadline has passed is asked of CLOCK_MONOTONIC itself.
//!
//! Without an invariant counter, while the rate is not known yet, or after anything odd (a suspended machine, a thread that
//! was descheduled in the middle of a reading), it is CLOCK_MONOTONIC.

use super::time::now_ns;
use std::arch::x86_64::{__cpuid, _rdtsc};

/// Ticks that are interpolated at most.
const INTERVAL: u64 = 1 << 20;
/// Ticks over which the rate is measured at least, and at most.
const MEASURE: std::ops::Range<u64> = 1 << 24..1 << 40;
/// A reading of both clocks is trusted if it took less.
const READING: u64 = 500;

/// The cycle counter. Not an order between threads: it may be read some instructions early.
#[inline(always)]
pub fn ticks() -> u64 {
    // SAFETY: rdtsc exists on every x86-64.
    unsafe { _rdtsc() }
}

/// Whether the counter runs at one rate, on all CPUs, whatever they do.
pub fn is_invariant() -> bool {
    #[allow(unused_unsafe)]
    // SAFETY: cpuid exists on every x86-64.
    unsafe {
        __cpuid(0x8000_0000).eax >= 0x8000_0007 && __cpuid(0x8000_0007).edx & 1 << 8 != 0
    }
}

/// See the module's head.
#[derive(Default)]
pub struct Clock {
    ticks: u64,
    ns: u64,
    /// ns per tick, 32.32 fixed point; 0: not known.
    rate: u64,
    /// The last measured rate, to be confirmed by another one.
    candidate: u64,
    measured_ticks: u64,
    measured_ns: u64,
    unusable: bool,
}

impl Clock {
    /// Not measured yet.
    pub fn new() -> Self {
        Self {
            unusable: !is_invariant(),
            ..Self::default()
        }
    }

    /// Now, or a moment later.
    #[inline(always)]
    pub fn base(&mut self) -> u64 {
        // SAFETY: rdtsc exists on every x86-64.
        let passed = unsafe { _rdtsc() }.wrapping_sub(self.ticks);
        if passed < INTERVAL && self.rate != 0 {
            return self.ns + ((passed * self.rate) >> 32) + (passed >> 12);
        }
        self.read()
    }

    #[cold]
    fn read(&mut self) -> u64 {
        // SAFETY: as above.
        let before = unsafe { _rdtsc() };
        let ns = now_ns();
        // SAFETY: as above.
        let took = unsafe { _rdtsc() }.wrapping_sub(before);
        if self.unusable || took > READING {
            return ns;
        }
        (self.ticks, self.ns) = (before, ns);
        let (ticks, passed) = (
            before.wrapping_sub(self.measured_ticks),
            ns.wrapping_sub(self.measured_ns),
        );
        if ticks < MEASURE.start {
            return ns;
        }
        (self.measured_ticks, self.measured_ns) = (before, ns);
        let rate = if MEASURE.contains(&ticks) {
            ((u128::from(passed) << 32) / u128::from(ticks)) as u64
        } else {
            0
        };
        // Two measurements in a row must agree to 1/8192, which is half of what `base` adds.
        self.rate = if rate.abs_diff(self.candidate) <= rate >> 13 && rate < 1 << 40 {
            rate
        } else {
            0
        };
        self.candidate = rate;
        ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_is_never_before_the_system_clock_nor_far_after() {
        let mut clock = Clock::new();
        let end = now_ns() + 100_000_000;
        let mut interpolated = 0u64;
        loop {
            let before = now_ns();
            let base = clock.base();
            let after = now_ns();
            assert!(base >= before, "{base} is {} ns too early", before - base);
            assert!(base <= after + 500, "{base} is {} ns too late", base - after);
            interpolated += u64::from(clock.rate != 0);
            if after > end {
                break;
            }
        }
        assert!(interpolated > 0 || clock.unusable, "the rate was never known");
    }
}
