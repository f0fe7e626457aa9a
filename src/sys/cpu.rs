//! How many CPUs this process may use: the affinity mask, cut down by the cgroup's quota.

/// At least 1.
pub fn available() -> u32 {
    // std asks sched_getaffinity and the cgroup v1/v2 quota.
    std::thread::available_parallelism().map_or(1, |n| n.get() as u32)
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
