//! Which descriptors are ready: a driver, which hands up who may go on, and never calls the scheduler.
//!
//! | file | what |
//! |---|---|
//! | `descriptor` | who uses one, who waits for it, what is known of it (model-checked) |
//! | `hazard` | calls on one by the worker that it is biased to (model-checked) |
//! | `table` | descriptors by number |
//! | `lasting` | waits that last: does the poller still know their files? |
//! | `epoll` | the backend of Linux |
//! | `ring` | Linux's io_uring: file operations, whose ends are edges, too |
//!
//! What a backend supplies (another one stands beside `epoll.rs`, and `backend` below names it):
//! - `new()`, and `Drop`, which gives everything back;
//! - `add(fd, token)`: from now on each change from not ready to ready, in either direction, is one edge with that token, and if the descriptor is
//!   ready now that is one, too; adding it again does the same anew;
//! - `add_unknown(fd, token)`: the same, unless the file is known: then nothing happens; says which;
//! - `knows(fd, token)`: whether the file is known; then it was added with that token, and may give an edge again;
//! - `remove(fd)`;
//! - `wait(deadline, f)`: at most one thread at a time; sleeps until there are edges, the deadline or a wake; calls `f` for each edge;
//! - `wake()`: from any thread, also before the wait that it is meant for.

#[cfg(not(loom))]
mod epoll;
#[cfg(not(loom))]
pub mod lasting;
#[cfg(not(loom))]
pub mod ring;
#[cfg(not(loom))]
pub mod table;

pub mod descriptor;
pub mod hazard;

#[cfg(not(loom))]
mod poller {
    use super::descriptor::DescriptorWaiter;
    use super::epoll as backend;
    use super::ring::Ring;
    use super::table;
    use crate::abi::{GOROUTINE_OK, GoroutineStatus};
    use crate::goroutine::ReadyList;
    use crate::wait::{Party, next_claimed, wake};
    use std::io;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// In place of a descriptor's token: the ring's. (As a descriptor it would be number -2.)
    const RING: u64 = u64::MAX - 1;

    /// Edges of registered descriptors come here.
    pub struct Poller {
        backend: backend::Backend,
        /// Never 0, and not that of another poller of this process.
        id: u32,
        /// Made at the first file operation, if the kernel allows it.
        ring: OnceLock<Option<Ring>>,
    }

    static NEXT: AtomicU32 = AtomicU32::new(1);

    impl Poller {
        /// Knows no descriptor yet.
        pub fn new() -> io::Result<Self> {
            let id = NEXT.fetch_add(1, Ordering::Relaxed).max(1);
            Ok(Self {
                backend: backend::Backend::new()?,
                id,
                ring: OnceLock::new(),
            })
        }

        /// The ring for files. None: the kernel does not let us, or the program did not want one when it was asked for first.
        pub fn ring(&self, wanted: bool) -> Option<&Ring> {
            let ring = self.ring.get_or_init(|| {
                let ring = wanted.then(Ring::new)?.ok()?;
                self.backend.add(ring.fd(), RING).ok()?;
                Some(ring)
            });
            ring.as_ref()
        }

        /// Its number.
        pub fn id(&self) -> u32 {
            self.id
        }

        /// Edges of this generation of `fd` come here from now on, the first at once if it is ready.
        pub fn add(&self, fd: i32, generation: u32) -> io::Result<()> {
            self.backend.add(fd, token(fd, generation))
        }

        /// The same, unless the file is known. Gives whether it was not.
        pub fn add_unknown(&self, fd: i32, generation: u32) -> io::Result<bool> {
            self.backend.add_unknown(fd, token(fd, generation))
        }

        /// Whether edges of this generation of `fd`, which was added, come here: not if the number is another file's.
        pub fn knows(&self, fd: i32, generation: u32) -> bool {
            self.backend.knows(fd, token(fd, generation))
        }

        /// No more edges of `fd`.
        pub fn remove(&self, fd: i32) {
            self.backend.remove(fd);
        }

        /// In a child of fork: the parent's goes on, and these are the child's names for it.
        pub fn close_in_child(&self) {
            self.backend.close();
            if let Some(Some(ring)) = self.ring.get() {
                ring.close_in_child();
            }
        }

        /// Ends a wait.
        pub fn wake(&self) {
            self.backend.wake();
        }

        /// Waits for edges as `epoll::Backend::wait` does; who may go on is added to `ready`. Gives how many edges there were. One thread at a time.
        pub fn wait(&self, deadline: u64, ready: &mut ReadyList) -> usize {
            self.backend.wait(deadline, |edge| {
                if edge.token == RING {
                    if let Some(Some(ring)) = self.ring.get() {
                        ring.reap(ready);
                    }
                    return;
                }
                if let Some(descriptor) = table::descriptor(edge.token as u32 as i32) {
                    let generation = (edge.token >> 32) as u32;
                    let chain = descriptor.edge(generation, edge.directions, edge.sticky);
                    // SAFETY: claimed for us, and no lock is held.
                    unsafe { hand_up(chain, GOROUTINE_OK, ready) };
                }
            })
        }
    }

    fn token(fd: i32, generation: u32) -> u64 {
        u64::from(generation) << 32 | u64::from(fd as u32)
    }

    /// # Safety
    /// The chain is the caller's.
    pub(super) unsafe fn hand_up(
        mut chain: *mut DescriptorWaiter<Party>,
        status: GoroutineStatus,
        ready: &mut ReadyList,
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            while let Some((_, claimed)) = next_claimed(&mut chain) {
                wake(claimed, status, |g| ready.push(g));
            }
        }
    }
}
#[cfg(not(loom))]
pub use poller::Poller;
