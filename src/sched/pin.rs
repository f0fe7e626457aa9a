//! `ffi_cpus`: on which CPUs the threads run that serve bound goroutines and the library's own calls.
//!
//! A thread is nobody's for good: that of a goroutine that binds held a worker a moment ago, and a spare one will hold a worker
//! or serve a goroutine, as it comes. So what is pinned is the service, not the thread:
//!
//! ```text
//!   the thread                                        its CPUs
//!   sits down with a bound goroutine, or a job        those of `ffi_cpus`; what it had is kept
//!   serves the next one without a rest between        stay
//!   rests, or takes a worker                          what it had before
//! ```
//!
//! A spare thread has its own CPUs back, because it may be woken to hold a worker, and must not wait for a CPU that C code keeps
//! busy. Threads that the library makes do not inherit the CPUs of the thread that happens to make them. Leaf and blocking calls are
//! the goroutine's own on a worker's thread, and stay where that is.
//!
//! It costs a goroutine's binding three system calls, and nothing if not configured.

use crate::abi::*;
use crate::sys::cpu::Cpus;
use crate::sys::mutex::Mutex;
use crate::sys::report::wrong_field;

/// See the module's head.
pub struct Pinning {
    cpus: Cpus,
    /// One thread on each in turn; None: all threads on all of them.
    spread: Option<Mutex<Vec<Place>>>,
    /// What the thread that started the runtime may use: for threads that are made.
    free: Cpus,
}

struct Place {
    cpu: usize,
    /// Threads that serve there.
    threads: u32,
}

/// What a thread that was pinned gets back.
pub struct Pin {
    former: Cpus,
    /// Its place in `spread`.
    place: Option<usize>,
}

impl Pinning {
    /// As configured; Ok(None): nothing is. Err: no CPU of the set may be used.
    pub fn new(config: &GoroutineConfig) -> Result<Option<Self>, GoroutineStatus> {
        let is_set = config.ffi_cpus.iter().any(|&word| word != 0);
        if !is_set && config.ffi_cpus_spread == 0 {
            return Ok(None);
        }
        let free = Cpus::of_thread().ok_or(GOROUTINE_EINVAL)?;
        let cpus = if is_set {
            Cpus::from_words(config.ffi_cpus).and(&free)
        } else {
            free
        };
        let places: Vec<Place> = cpus.numbers().map(|cpu| Place { cpu, threads: 0 }).collect();
        if places.is_empty() {
            return Err(wrong_field("ffi_cpus", "has no CPU that the process may use"));
        }
        Ok(Some(Self {
            cpus,
            spread: (config.ffi_cpus_spread != 0).then(|| Mutex::new(places)),
            free,
        }))
    }

    /// Where threads of the library begin.
    pub fn free(&self) -> Cpus {
        self.free
    }

    /// The calling thread serves a goroutine or a job from now on. None: it stays where it is, for its CPUs have gone.
    pub fn pin(&self) -> Option<Pin> {
        let former = Cpus::of_thread()?;
        let place = self.spread.as_ref().map(|places| take_place(&mut places.lock()));
        let cpus = match place {
            Some((_, cpu)) => Cpus::one(cpu),
            None => self.cpus,
        };
        let pin = Pin {
            former,
            place: place.map(|(place, _)| place),
        };
        if !cpus.hold_thread() {
            self.leave_place(&pin);
            return None;
        }
        Some(pin)
    }

    /// It does so no more.
    pub fn unpin(&self, pin: &Pin) {
        self.leave_place(pin);
        let _ = pin.former.hold_thread(); // if they have gone, too, the kernel has found it others
    }

    fn leave_place(&self, pin: &Pin) {
        if let (Some(places), Some(place)) = (&self.spread, pin.place) {
            places.lock()[place].threads -= 1;
        }
    }
}

/// The place with the fewest threads, the first of them: so they fill in turn. Gives it and its CPU.
fn take_place(places: &mut [Place]) -> (usize, usize) {
    let place = (0..places.len())
        .min_by_key(|&i| places[i].threads)
        .expect("there are places");
    places[place].threads += 1;
    (place, places[place].cpu)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_fill_the_places_in_turn_and_gaps_first() {
        let mut places: Vec<Place> = [3, 5, 9].map(|cpu| Place { cpu, threads: 0 }).into();
        let taken: Vec<usize> = (0..7).map(|_| take_place(&mut places).1).collect();
        assert_eq!(taken, [3, 5, 9, 3, 5, 9, 3]);
        places[2].threads -= 1;
        assert_eq!(take_place(&mut places), (2, 9));
        assert_eq!(take_place(&mut places), (1, 5));
    }
}
