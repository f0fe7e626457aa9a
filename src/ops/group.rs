//! Task groups: goroutines that are awaited, and cancelled, together.
//!
//! A member is an operation of its goroutine's promise: at the end of the goroutine it takes itself off the list, notes the first failure, and
//! then counts down, which is its last touch of the group.
//!
//! I1. Members and the outcome are read and written under `members`. Nothing that waits happens under it.
//! I2. A member holds a reference to its promise until it is off the list, so whoever finds it there may take one, too.
//! I3. Who finds the count at 0 reads the outcome of all members, and may free the group (`wait::count`, I2): whatever a member does with
//!     the group, a cancel of the others included, comes before its step of the count.
//!
//! Between threads this is `promise::cell`, a lock and `wait::count`; the last steps of a member against a wait and a free are modelled as they
//! are put together here (`loom_group_*`).

use super::listed::{List, Listed, Objects};
use super::object::{free_object, new_object};
use super::wait_group::WaitGroup;
use crate::abi::*;
use crate::promise::cell::Waiter;
use crate::promise::{Outcome, Owner, Promise, PromiseWaiter, Settled};
use crate::sched::{cancel, runtime, spawn};
use crate::sys::mutex::Mutex;
use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::atomic::AtomicUsize;

struct Members {
    all: Vec<*mut Member>,
    /// The first that failed.
    failure: Option<Outcome>,
    cancelled: bool,
}
// SAFETY: addresses of members, which are alive while listed.
unsafe impl Send for Members {}

/// A task group. Opaque.
pub struct GoroutineGroup {
    members: Mutex<Members>,
    running: WaitGroup,
    cancel_on_error: bool,
    place: AtomicUsize,
}

impl Listed for GoroutineGroup {
    fn place(&self) -> &AtomicUsize {
        &self.place
    }
}

static GROUPS: List<Group> = List::new(Objects::new());

/// The lock, to be held across fork.
pub fn all() -> &'static List<Group> {
    &GROUPS
}

/// In a child of fork: those that one who is not there has in hand are not looked at any more.
///
/// # Safety
/// No other thread is there.
pub unsafe fn forget_held() {
    // SAFETY: the caller's promise.
    unsafe { (*GROUPS.data_ptr()).keep(|group| group.members.try_lock().is_some()) };
}

/// What somebody waits for who waits for a group.
pub struct Joined {
    /// Its members' promises, none of which was settled a moment ago.
    pub promises: Vec<u64>,
    /// A failure of one cancels the others.
    pub cancel_on_error: bool,
}

/// The group that waits with the wait group at `address`, if it is a group's. None: it is not, or a member is about to be over.
pub fn joined(address: usize) -> Option<Joined> {
    let groups = GROUPS.lock();
    let group = groups
        .iter()
        .find(|group| &raw const group.running as usize == address)?;
    let members = group.members.lock();
    // SAFETY: listed, so alive.
    let promises: Vec<u64> = (members.all.iter())
        .map(|&member| unsafe { (*member).promise } as u64)
        .collect();
    (promises.len() == group.running.left() as usize).then_some(Joined {
        promises,
        cancel_on_error: group.cancel_on_error,
    })
}

/// Where the reasons of failures lie.
pub fn for_each_root(show: &mut dyn FnMut(*mut *mut c_void)) {
    for group in GROUPS.lock().iter() {
        if let Some(failure) = &mut group.members.lock().failure {
            show(&raw mut failure.value);
        }
    }
}
/// The name inside the library.
pub use GoroutineGroup as Group;

struct Member {
    group: *const Group,
    promise: *mut Promise,
    waiter: PromiseWaiter,
    /// Where it is in the list.
    index: usize,
}

/// `goroutine_group_new`.
pub fn new(cancel_on_error: bool) -> *mut Group {
    let group = new_object(Group {
        members: Mutex::new(Members {
            all: Vec::new(),
            failure: None,
            cancelled: false,
        }),
        running: WaitGroup::empty(),
        cancel_on_error,
        place: AtomicUsize::new(0),
    });
    // SAFETY: null, or fresh.
    unsafe {
        if !group.is_null() && !GROUPS.lock().add(&*group) {
            free_object(group);
            return null_mut();
        }
    }
    group
}

/// `goroutine_group_free`.
///
/// # Safety
/// `group` came from [`new`]; after GOROUTINE_OK nobody uses it.
pub unsafe fn free(group: *mut Group) -> GoroutineStatus {
    // SAFETY: the caller's promise.
    unsafe {
        if !(*group).running.is_over() {
            return GOROUTINE_EBUSY;
        }
        GROUPS.lock().remove(&*group);
        free_object(group);
    }
    GOROUTINE_OK
}

impl Group {
    /// `goroutine_group_spawn`.
    ///
    /// # Safety
    /// `f` may be called with `arg`.
    pub unsafe fn spawn(
        &self,
        f: unsafe extern "C" fn(*mut c_void) -> *mut c_void,
        arg: *mut c_void,
        site: u64,
    ) -> GoroutineStatus {
        let member = new_object(Member {
            group: self,
            promise: null_mut(),
            waiter: Waiter::new(Owner::NOBODY),
            index: 0,
        });
        if member.is_null() {
            return GOROUTINE_ENOMEM;
        }
        // SAFETY: the member is ours until its promise has it.
        unsafe {
            let status = self.start(member, f, arg, site);
            if status != GOROUTINE_OK {
                free_object(member);
                return status;
            }
            (*member).waiter.owner = Owner::Operation {
                run: on_end,
                data: member.cast(),
                index: 0,
            };
            if !(*(*member).promise).cell.join(&raw mut (*member).waiter) {
                ended(member); // it was fast
            }
        }
        GOROUTINE_OK
    }

    /// The member's goroutine, listed before it can end.
    unsafe fn start(
        &self,
        member: *mut Member,
        f: unsafe extern "C" fn(*mut c_void) -> *mut c_void,
        arg: *mut c_void,
        site: u64,
    ) -> GoroutineStatus {
        let mut members = self.members.lock();
        if members.cancelled {
            return GOROUTINE_ECANCELED;
        }
        if members.all.try_reserve(1).is_err() {
            return GOROUTINE_ENOMEM;
        }
        if self.running.add(1) != GOROUTINE_OK {
            return GOROUTINE_ENOMEM;
        }
        // SAFETY: the caller's promise. A spawn never parks.
        unsafe {
            match spawn::plain(f as usize as u64, arg, true, site) {
                Ok(promise) => {
                    (*promise).observe();
                    (*member).promise = promise;
                    (*member).index = members.all.len();
                    members.all.push(member);
                    GOROUTINE_OK
                }
                Err(status) => {
                    drop(members);
                    self.running.add(-1);
                    status
                }
            }
        }
    }

    /// `goroutine_group_wait`.
    pub fn wait(&self, timeout_ns: u64) -> Result<Option<Outcome>, GoroutineStatus> {
        match self.running.wait(timeout_ns) {
            GOROUTINE_OK => Ok(self.members.lock().failure),
            status => Err(status),
        }
    }

    /// `goroutine_group_cancel`.
    pub fn cancel(&self) {
        let mut promises = Vec::new();
        {
            let mut members = self.members.lock();
            members.cancelled = true;
            for &member in &members.all {
                // SAFETY: listed, so alive (I2).
                unsafe {
                    (*(*member).promise).retain();
                    promises.push((*member).promise);
                }
            }
        }
        if let Some(runtime) = runtime::enter() {
            // SAFETY: each is retained.
            cancel::cancel_all(promises.iter().map(|&p| unsafe { &*p }), &runtime);
        }
        for promise in promises {
            // SAFETY: retained above.
            unsafe { super::promise::release(promise) };
        }
    }
}

unsafe fn on_end(waiter: *mut PromiseWaiter, _: &mut Settled) {
    // SAFETY: handed up by settle; data is the member around it.
    unsafe {
        if let Owner::Operation { data, .. } = (*waiter).owner {
            ended(data.cast());
        }
    }
}

/// Its goroutine is over.
unsafe fn ended(member: *mut Member) {
    // SAFETY: nobody else ends it; the group lives until the count is down.
    unsafe {
        let group = &*(*member).group;
        let outcome = (*(*member).promise).outcome().expect("it settled");
        let failed = outcome.status != GOROUTINE_OK;
        let cancels = {
            let mut members = group.members.lock();
            let index = (*member).index;
            members.all.swap_remove(index);
            if let Some(&moved) = members.all.get(index) {
                (*moved).index = index;
            }
            if failed && members.failure.is_none() {
                members.failure = Some(outcome);
            }
            failed && group.cancel_on_error && !members.cancelled
        };
        if cancels {
            group.cancel();
        }
        super::promise::release((*member).promise);
        free_object(member);
        group.running.add(-1);
    }
}
