//! Lists of the objects of one kind, for a collector to find what lies in them.

use crate::sys::mutex::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// An object that knows its place in the list. The list's lock guards it.
pub trait Listed {
    /// The place.
    fn place(&self) -> &AtomicUsize;
}

/// All objects of a kind.
pub struct Objects<T>(Vec<*const T>);
// SAFETY: addresses; who uses one sees to it that the object is alive: it is listed, and the lock is held.
unsafe impl<T> Send for Objects<T> {}

/// See the module's head.
pub type List<T> = Mutex<Objects<T>>;

impl<T: Listed> Objects<T> {
    /// None.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// False: no memory.
    #[must_use]
    pub fn add(&mut self, object: &T) -> bool {
        if self.0.try_reserve(1).is_err() {
            return false;
        }
        object.place().store(self.0.len(), Ordering::Relaxed);
        self.0.push(object);
        true
    }

    /// In a child of fork: without those that are not `kept`.
    pub fn keep(&mut self, kept: impl Fn(&T) -> bool) {
        // SAFETY: listed, so alive.
        self.0.retain(|&object| kept(unsafe { &*object }));
        for (place, object) in self.iter().enumerate() {
            object.place().store(place, Ordering::Relaxed);
        }
    }

    /// It is about to be freed. (A parent's may not be in the list any more.)
    pub fn remove(&mut self, object: &T) {
        let place = object.place().load(Ordering::Relaxed);
        if self
            .0
            .get(place)
            .is_none_or(|&there| !std::ptr::eq(there, object))
        {
            return;
        }
        self.0.swap_remove(place);
        if let Some(&moved) = self.0.get(place) {
            // SAFETY: listed, so alive.
            unsafe { (*moved).place().store(place, Ordering::Relaxed) };
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        // SAFETY: listed, so alive for as long as the lock is held.
        self.0.iter().map(|&object| unsafe { &*object })
    }
}

impl<T: Listed> Default for Objects<T> {
    fn default() -> Self {
        Self::new()
    }
}
