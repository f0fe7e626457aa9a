//! CPUs: how many this process may use (the affinity mask, cut down by the cgroup's quota), and which ones a thread may.

/// At least 1.
pub fn available() -> u32 {
    // std asks sched_getaffinity and the cgroup v1/v2 quota.
    std::thread::available_parallelism().map_or(1, |n| n.get() as u32)
}

/// Words of a set of CPUs: bit n % 64 of word n / 64 is CPU n.
pub const WORDS: usize = 16;

/// A set of CPUs, as the kernel has it.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Cpus(libc::cpu_set_t);
const _: () = assert!(size_of::<Cpus>() == size_of::<[u64; WORDS]>());

impl Cpus {
    /// These.
    pub fn from_words(words: [u64; WORDS]) -> Self {
        // SAFETY: on this target cpu_set_t is so many words of bits (the assertion), without padding.
        Self(unsafe { std::mem::transmute::<[u64; WORDS], libc::cpu_set_t>(words) })
    }

    /// The bits.
    pub fn words(&self) -> [u64; WORDS] {
        // SAFETY: as above.
        unsafe { std::mem::transmute::<libc::cpu_set_t, [u64; WORDS]>(self.0) }
    }

    /// This one alone.
    pub fn one(cpu: usize) -> Self {
        let mut words = [0; WORDS];
        words[cpu / 64] = 1 << (cpu % 64);
        Self::from_words(words)
    }

    /// Those in both.
    pub fn and(&self, other: &Self) -> Self {
        let (a, b) = (self.words(), other.words());
        Self::from_words(std::array::from_fn(|i| a[i] & b[i]))
    }

    /// Their numbers, in order.
    pub fn numbers(&self) -> impl Iterator<Item = usize> {
        let words = self.words();
        (0..WORDS * 64).filter(move |n| words[n / 64] & 1 << (n % 64) != 0)
    }

    /// Those that the calling thread may run on. None: there are more than fit.
    pub fn of_thread() -> Option<Self> {
        let mut set = Self::from_words([0; WORDS]);
        // SAFETY: the kernel writes at most the size that is named.
        let result = unsafe { libc::sched_getaffinity(0, size_of::<Self>(), &mut set.0) };
        (result == 0).then_some(set)
    }

    /// The calling thread runs on these from now on. False: on none of them it may.
    #[must_use]
    pub fn hold_thread(&self) -> bool {
        // SAFETY: reads the set.
        unsafe { libc::sched_setaffinity(0, size_of::<Self>(), &self.0) == 0 }
    }

    /// For a thread that is about to be made.
    ///
    /// # Safety
    /// The attributes are initialised.
    pub unsafe fn set_attributes(&self, attributes: *mut libc::pthread_attr_t) {
        // SAFETY: the caller's promise; reads the set.
        unsafe { libc::pthread_attr_setaffinity_np(attributes, size_of::<Self>(), &self.0) };
    }
}

/// Whether this CPU can have others forget a translation without interrupting them.
#[cfg(target_arch = "x86_64")]
pub fn has_invlpgb() -> bool {
    use std::arch::x86_64::__cpuid;
    #[allow(unused_unsafe)]
    // SAFETY: cpuid exists on every x86-64.
    unsafe {
        __cpuid(0x8000_0000).eax >= 0x8000_0008 && __cpuid(0x8000_0008).ebx & 1 << 3 != 0
    }
}

/// XSAVE for `goroutine_safepoint_full`: (bytes, mask). x87, SSE, AVX, AVX-512 and PKRU; AMX tiles are the program's own
/// business, as for any call (11 KiB per safepoint). (0, 0): use FXSAVE.
#[cfg(target_arch = "x86_64")]
pub fn xsave_area() -> (u32, u32) {
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    const WANTED: u32 = 0b10_1110_0111;
    #[allow(unused_unsafe)]
    // SAFETY: cpuid exists on every x86-64.
    let osxsave = unsafe { __cpuid(1) }.ecx & (1 << 27) != 0;
    if !osxsave {
        return (0, 0);
    }
    #[allow(unused_unsafe)]
    // SAFETY: as above; leaf 13 exists where XSAVE does.
    let supported = unsafe { __cpuid_count(13, 0) }.eax;
    let mask = supported & WANTED & xcr0();
    let mut bytes = 576;
    for bit in 2..10 {
        if mask & (1 << bit) != 0 {
            #[allow(unused_unsafe)]
            // SAFETY: as above.
            let leaf = unsafe { __cpuid_count(13, bit) };
            bytes = bytes.max(leaf.ebx + leaf.eax);
        }
    }
    (bytes, mask)
}

#[cfg(target_arch = "x86_64")]
fn xcr0() -> u32 {
    let low: u32;
    // SAFETY: the caller checked OSXSAVE, so xgetbv is enabled.
    unsafe { std::arch::asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") _, options(nomem, nostack)) };
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_its_numbers() {
        let mut words = [0; WORDS];
        words[0] = 1 << 63 | 2;
        words[15] = 1 << 63;
        let set = Cpus::from_words(words);
        assert_eq!(set.words(), words);
        assert_eq!(set.numbers().collect::<Vec<_>>(), [1, 63, 1023]);
        assert_eq!(set.and(&Cpus::one(63)).numbers().collect::<Vec<_>>(), [63]);
        assert_eq!(set.and(&Cpus::one(64)).numbers().count(), 0);
    }

    #[test]
    fn a_thread_is_held_and_let_go() {
        let all = Cpus::of_thread().expect("no more than 1,024 CPUs");
        let first = all.numbers().next().expect("we run somewhere");
        assert!(Cpus::one(first).hold_thread());
        assert_eq!(
            Cpus::of_thread().expect("as above").numbers().collect::<Vec<_>>(),
            [first]
        );
        assert!(!Cpus::from_words([0; WORDS]).hold_thread());
        assert!(all.hold_thread());
    }
}
