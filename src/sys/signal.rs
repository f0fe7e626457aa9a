//! Signal handlers as the kernel has them: a handler that is put back is exactly the one that was there.

/// The kernel's `struct sigaction` on x86-64.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Action {
    /// SIG_DFL, SIG_IGN or an address.
    pub handler: usize,
    /// SA_*.
    pub flags: u64,
    restorer: usize,
    mask: u64,
}

impl Action {
    /// The same with more flags.
    pub fn with(self, flags: libc::c_int) -> Self {
        Self {
            flags: self.flags | flags as u64,
            ..self
        }
    }
}

/// Signals are numbered 1 to 64.
pub const SIGNALS: usize = 64;

/// What the process does with a signal. Signals that cannot be asked for have the default.
pub fn get(signal: usize) -> Action {
    let mut now = Action::default();
    // SAFETY: only reads; `now` is large enough.
    unsafe { rt_sigaction(signal, std::ptr::null(), &mut now) };
    now
}

/// Sets it, and gives what was there.
pub fn replace(signal: usize, action: &Action) -> Action {
    let mut before = Action::default();
    // SAFETY: the action was read from the kernel.
    unsafe { rt_sigaction(signal, action, &mut before) };
    before
}

unsafe fn rt_sigaction(signal: usize, new: *const Action, old: *mut Action) {
    // SAFETY: the caller's promise.
    unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, new, old, size_of::<u64>()) };
}
