//! Waits that last: does the poller still know their files?
//!
//! Somebody may have closed a descriptor without telling us, so that the number is another file's, or nobody's. The poller knows nothing of the
//! new file, and who waits for it would wait for ever. So the monitor looks at all descriptors, about once a second; where somebody waits since
//! the last look, and there was no edge, it tells the poller of the file again. Mostly that is known, and nothing happens. It is one
//! system call for each wait that lasts, and none for those that go on lasting.
//!
//! No call is asked for that the program did not make: nobody enters the descriptor for this, so it may be closed at the same time, and properly.
//! L1. What is told then, with an old generation, harms nobody: edges of old generations do nothing, and who registers the new one
//!     tells the poller in a way that overwrites this.

use super::Poller;
use super::poller::hand_up;
use super::table::{self, CHUNK};
use crate::abi::GOROUTINE_EBADF;
use crate::goroutine::ReadyList;
use crate::sync::Ordering;

/// Most chunks of descriptors in one look: 4 MiB to read.
const CHUNKS: usize = 64;

/// What was seen.
#[derive(Default)]
pub struct Lasting {
    /// Of each descriptor what [`super::descriptor::Descriptor::look`] gave; by chunks.
    before: Vec<Vec<u32>>,
    /// Where the next look begins.
    next: usize,
}

impl Lasting {
    /// Looks. Whose descriptor is closed is added to `ready`. Gives whether there are waits to look at once more.
    pub fn look(&mut self, poller: &Poller, ready: &mut ReadyList) -> bool {
        let chunks = table::chunks();
        self.before.resize_with(chunks, Vec::new);
        let mut again = chunks > CHUNKS;
        for _ in 0..chunks.min(CHUNKS) {
            let number = self.next;
            self.next = (number + 1) % chunks;
            let Some(descriptors) = table::chunk(number) else {
                continue;
            };
            let before = &mut self.before[number];
            before.resize(CHUNK, 0);
            for (i, (descriptor, before)) in descriptors.iter().zip(before).enumerate() {
                let (seen, lasts) = descriptor.look(*before);
                *before = seen;
                again |= seen != 0;
                if lasts && !see_to(poller, (number * CHUNK + i) as i32, ready) {
                    descriptor.look_again();
                    again = true;
                }
            }
        }
        again
    }
}

/// Somebody waits for this one, and has done for a while. False: nothing came of it, this time.
#[cold]
fn see_to(poller: &Poller, fd: i32, ready: &mut ReadyList) -> bool {
    let Some(descriptor) = table::descriptor(fd) else {
        return true;
    };
    let generation = descriptor.generation();
    if !descriptor.is_open(generation) {
        return true;
    }
    if !descriptor.is_registered(poller.id()) {
        return false; // somebody is about to tell it
    }
    match poller.add_unknown(fd, generation) {
        // Another file's by now. If it is ready that is an edge; who waits finds out anew what sort of file it is.
        Ok(true) => descriptor.kind.store(0, Ordering::Relaxed),
        Ok(false) => {}
        // Nobody's, or that of a file that nobody waits for.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EBADF | libc::EPERM)) => {
            // SAFETY: claimed for us, and no lock is held.
            unsafe { hand_up(descriptor.begin(), GOROUTINE_EBADF, ready) };
            return !descriptor.is_open(generation); // somebody is in a call on it
        }
        Err(_) => return false,
    }
    true
}
