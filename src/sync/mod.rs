//! Atomics and cells, from std or from loom. Protocol files (`sched::run_queue`, `sched::order`, `sched::idle`, `goroutine::park`,
//! `promise::cell`, `timer::state`, `trace::ring`, `sched::turnstile`, `sched::net`, `sched::world_word`, `netpoll::descriptor`, `netpoll::hazard`, `sleep_lock`, `published`, `question` and `claim` here,
//! all of `wait` but `party`) use only this, so that loom checks the files that ship.

#[cfg(loom)]
pub use loom::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64};
pub use std::sync::atomic::Ordering;
#[cfg(not(loom))]
pub use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64};

pub mod claim;
pub mod published;
pub mod question;
pub mod sleep_lock;
mod spin;
pub use spin::{SpinLock, backoff};

/// Whether a protocol is deliberately broken in this run of the models (`LOOM_MUTATION=name`): tools/loom_mutations.sh proves that
/// they find each of them. Elsewhere it is `false`, and not there.
#[allow(unused_macros)]
macro_rules! mutated {
    ($name:literal) => {{
        #[cfg(loom)]
        let mutated = crate::sync::is_mutation($name);
        #[cfg(not(loom))]
        let mutated = false;
        mutated
    }};
}
pub(crate) use mutated;

/// Of this run.
#[cfg(loom)]
pub fn is_mutation(name: &str) -> bool {
    static MUTATION: std::sync::OnceLock<Option<std::ffi::OsString>> = std::sync::OnceLock::new();
    MUTATION
        .get_or_init(|| std::env::var_os("LOOM_MUTATION"))
        .as_ref()
        .is_some_and(|mutation| mutation == name)
}

/// Full fence.
#[inline]
pub fn fence_seq_cst() {
    #[cfg(loom)]
    loom::sync::atomic::fence(Ordering::SeqCst);
    #[cfg(not(loom))]
    std::sync::atomic::fence(Ordering::SeqCst);
}

/// The cheap half of an asymmetric fence: orders the compiler only. Its partner is [`fence_heavy`].
/// In a model it is a full fence: `membarrier` makes it one on every running thread at the moment it is called.
#[inline(always)]
pub fn fence_light() {
    #[cfg(loom)]
    loom::sync::atomic::fence(Ordering::SeqCst);
    #[cfg(not(loom))]
    std::sync::atomic::compiler_fence(Ordering::SeqCst);
}

/// The dear half: after it, each thread of the process has either made its earlier stores visible or will see ours.
#[inline]
pub fn fence_heavy() {
    #[cfg(loom)]
    loom::sync::atomic::fence(Ordering::SeqCst);
    #[cfg(not(loom))]
    crate::sys::membarrier::private_expedited();
}

/// A place whose accesses a lock orders. Under loom every access is checked for races.
#[cfg_attr(not(loom), repr(transparent))]
pub struct Guarded<T>(
    #[cfg(loom)] loom::cell::UnsafeCell<T>,
    #[cfg(not(loom))] std::cell::UnsafeCell<T>,
);

impl<T> Guarded<T> {
    /// A new place.
    #[cfg(not(loom))]
    pub const fn new(value: T) -> Self {
        Self(std::cell::UnsafeCell::new(value))
    }
    /// A new place.
    #[cfg(loom)]
    pub fn new(value: T) -> Self {
        Self(loom::cell::UnsafeCell::new(value))
    }
    /// # Safety
    /// The caller holds the lock that guards this place for as long as `f` runs.
    #[inline(always)]
    pub unsafe fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        #[cfg(loom)]
        // SAFETY: the caller's promise; loom checks it.
        return self.0.with_mut(|p| f(unsafe { &mut *p }));
        #[cfg(not(loom))]
        // SAFETY: the caller's promise.
        f(unsafe { &mut *self.0.get() })
    }
}
