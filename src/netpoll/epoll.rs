//! The backend of Linux: one epoll instance, edge-triggered.

use super::descriptor::{READ, WRITE};
use crate::sanitize;
use crate::sys::time::{now_ns, timespec};
use std::io;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, Ordering};

/// Most edges taken from the kernel at a time.
const BATCH: usize = 256;
/// In place of a descriptor's token: somebody called `wake`.
const WAKE: u64 = u64::MAX;
/// The kernel may be late by 1/1000 of what it waits (it calls that slack); who waits for longer than this is woken earlier by more than that, and waits
/// for the rest.
const LONG_NS: u64 = 10_000_000;
/// What is an edge.
const ALL: i32 = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLPRI;

/// See the module's head.
pub struct Backend {
    epoll: i32,
    wake: i32,
}

/// What happened to a descriptor.
pub struct Edge {
    /// What it was added with.
    pub token: u64,
    /// READ and WRITE.
    pub directions: u32,
    /// An end, an error or urgent data.
    pub sticky: bool,
}

/// Whether there is epoll_pwait2 (Linux 5.11), which counts in nanoseconds.
static NO_PWAIT2: AtomicBool = AtomicBool::new(false);

impl Backend {
    /// Two descriptors.
    pub fn new() -> io::Result<Self> {
        // SAFETY: plain system calls.
        unsafe {
            let epoll = check(libc::epoll_create1(libc::EPOLL_CLOEXEC))?;
            let made = sanitize::look_away(|| libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK));
            let wake = match check(made) {
                Ok(wake) => wake,
                Err(error) => {
                    libc::close(epoll);
                    return Err(error);
                }
            };
            let backend = Self { epoll, wake };
            backend.control(libc::EPOLL_CTL_ADD, wake, libc::EPOLLIN, WAKE)?;
            Ok(backend)
        }
    }

    fn control(&self, what: i32, fd: i32, events: i32, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: (events | libc::EPOLLET) as u32,
            u64: token,
        };
        // SAFETY: the event lives through the call.
        check(sanitize::look_away(|| unsafe {
            libc::epoll_ctl(self.epoll, what, fd, &mut event)
        }))
        .map(|_| ())
    }

    /// Edges of `fd` come with `token` from now on; the first at once, if it is ready. It may have been added before. PermissionDenied: a file
    /// that is always ready.
    pub fn add(&self, fd: i32, token: u64) -> io::Result<()> {
        let is = |done: &io::Result<()>, errno| {
            (done.as_ref()).is_err_and(|error| error.raw_os_error() == Some(errno))
        };
        loop {
            let added = self.control(libc::EPOLL_CTL_ADD, fd, ALL, token);
            if !is(&added, libc::EEXIST) {
                return added;
            }
            let changed = self.control(libc::EPOLL_CTL_MOD, fd, ALL, token);
            if !is(&changed, libc::ENOENT) {
                return changed;
            }
            // Somebody removed it between the two: who releases the number, or closes it.
        }
    }

    /// The same of one that may be known, and is left alone then. Gives whether it was not.
    pub fn add_unknown(&self, fd: i32, token: u64) -> io::Result<bool> {
        match self.control(libc::EPOLL_CTL_ADD, fd, ALL, token) {
            Ok(()) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether it is known. Then what is ready now is an edge once more.
    pub fn knows(&self, fd: i32, token: u64) -> bool {
        let asked = self.control(libc::EPOLL_CTL_MOD, fd, ALL, token);
        !asked.is_err_and(|error| error.raw_os_error() == Some(libc::ENOENT))
    }

    /// No more edges of `fd`.
    pub fn remove(&self, fd: i32) {
        let _ = self.control(libc::EPOLL_CTL_DEL, fd, 0, 0); // gone with its file, perhaps
    }

    /// Waits for edges until `deadline` (CLOCK_MONOTONIC; 0: does not wait; `u64::MAX`: for ever) or a wake. May give up earlier. Gives how many there
    /// were.
    pub fn wait(&self, deadline: u64, mut edge: impl FnMut(Edge)) -> usize {
        let mut events = [const { MaybeUninit::<libc::epoll_event>::uninit() }; BATCH];
        let n = self.wait_for(deadline, &mut events);
        for event in &events[..n] {
            // SAFETY: the kernel wrote n of them.
            let event = unsafe { event.assume_init_ref() };
            let (bits, token) = (event.events as i32, event.u64);
            if token == WAKE {
                continue; // edge-triggered: each write is one, nobody needs to read
            }
            let sticky = bits & (libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR | libc::EPOLLPRI) != 0;
            let reads = libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR | libc::EPOLLPRI;
            let writes = libc::EPOLLOUT | libc::EPOLLHUP | libc::EPOLLERR;
            let mut directions = 0;
            if bits & reads != 0 {
                directions |= READ;
            }
            if bits & writes != 0 {
                directions |= WRITE;
            }
            edge(Edge {
                token,
                directions,
                sticky,
            });
        }
        n
    }

    fn wait_for(&self, deadline: u64, events: &mut [MaybeUninit<libc::epoll_event>; BATCH]) -> usize {
        let left = match deadline {
            0 | u64::MAX => deadline,
            _ => {
                let left = deadline.saturating_sub(now_ns());
                left - if left > LONG_NS { left / 512 } else { 0 }
            }
        };
        if left != 0 && !NO_PWAIT2.load(Ordering::Relaxed) {
            let time = timespec(left);
            let time = if left == u64::MAX {
                std::ptr::null()
            } else {
                &raw const time
            };
            // SAFETY: the events and the time live through the call.
            let n = unsafe {
                libc::syscall(
                    libc::SYS_epoll_pwait2,
                    self.epoll,
                    events.as_mut_ptr(),
                    BATCH,
                    time,
                    std::ptr::null::<libc::sigset_t>(),
                    0usize,
                )
            };
            if n >= 0 || io::Error::last_os_error().raw_os_error() != Some(libc::ENOSYS) {
                return n.max(0) as usize;
            }
            NO_PWAIT2.store(true, Ordering::Relaxed);
        }
        let ms = match left {
            u64::MAX => -1,
            _ => left.div_ceil(1_000_000).min(i32::MAX as u64) as i32,
        };
        // SAFETY: as above.
        let n = sanitize::look_away(|| unsafe {
            libc::epoll_wait(self.epoll, events.as_mut_ptr().cast(), BATCH as i32, ms)
        });
        n.max(0) as usize
    }

    /// Whoever waits stops waiting.
    pub fn wake(&self) {
        let one = 1u64;
        // SAFETY: writes eight bytes.
        sanitize::look_away(|| unsafe { libc::write(self.wake, (&raw const one).cast(), 8) });
    }
}

impl Backend {
    /// Gives the descriptors back. Nobody uses it any more.
    pub fn close(&self) {
        // SAFETY: ours.
        unsafe {
            sanitize::look_away(|| {
                libc::close(self.epoll);
                libc::close(self.wake);
            });
        }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.close();
    }
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
