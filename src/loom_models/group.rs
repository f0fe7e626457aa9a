//! The end of a group: what `ops::group` makes of a lock and a count.

use super::{Parked, free, model, seat};
use crate::goroutine::park::Ready;
use crate::sync::Guarded;
use crate::wait::count::Count;
use loom::sync::{Arc, Mutex};
use loom::thread::{self, JoinHandle};

struct Group {
    /// How many are listed, whether all are cancelled, and who failed first.
    members: Mutex<(u32, bool, Option<u32>)>,
    running: Count<Parked>,
    /// Touched by whoever uses the group, and by the one that frees it.
    memory: Guarded<bool>,
}

impl Group {
    fn of(members: u32) -> Arc<Self> {
        let group = Self {
            members: Mutex::new((members, false, None)),
            running: Count::new(),
            memory: Guarded::new(true),
        };
        assert!(group.running.add(members as i32).unwrap().is_null());
        Arc::new(group)
    }

    fn is_alive(&self) -> bool {
        // SAFETY: members are ordered by the lock, and the free by the count; loom checks.
        unsafe { self.memory.with(|alive| *alive) }
    }

    /// As `ops::group::ended`, with `cancel` in it.
    fn ends(&self, member: u32) -> bool {
        let cancels = {
            let mut members = self.members.lock().unwrap();
            assert!(self.is_alive());
            members.0 -= 1;
            members.2.get_or_insert(member);
            !members.1
        };
        if cancels {
            let mut members = self.members.lock().unwrap();
            assert!(self.is_alive());
            members.1 = true;
        }
        !self.running.add(-1).unwrap().is_null()
    }

    fn is_freed(&self) -> bool {
        let over = self.running.is_over();
        if over {
            assert!(!self.running.is_locked(), "freed under the last member's hands");
            // SAFETY: as in `is_alive`.
            unsafe { self.memory.with(|alive| *alive = false) };
        }
        over
    }
}

fn member(group: &Arc<Group>, number: u32) -> JoinHandle<bool> {
    let group = group.clone();
    thread::spawn(move || group.ends(number))
}

/// Two members fail while a third party waits: it is woken or finds 0, sees the first failure, and frees the group.
#[test]
fn loom_group_wait_sees_how_all_ended() {
    model(|| {
        let group = Group::of(2);
        let members = [member(&group, 1), member(&group, 2)];
        let waiter = seat((), 0);
        // SAFETY: the seat lives until the end, here and below.
        let waits = unsafe { group.running.join(&raw mut (*waiter.get()).waiter) };
        if !waits {
            let (listed, cancelled, failure) = *group.members.lock().unwrap();
            assert!(listed == 0 && cancelled && failure.is_some());
            assert!(group.is_freed());
        }
        let woken = members.into_iter().map(|m| m.join().unwrap());
        assert_eq!(woken.filter(|&woke| woke).count(), usize::from(waits));
        unsafe { free(waiter) };
    });
}

/// Somebody's wait timed out, and it frees the group as soon as it may, while the last member ends.
#[test]
fn loom_group_freed_when_its_last_member_is_done() {
    model(|| {
        let group = Group::of(1);
        let waiter = seat((), 0);
        // SAFETY: the seat lives until the end, here and below.
        unsafe {
            assert!(group.running.join(&raw mut (*waiter.get()).waiter));
            assert!((*waiter.get()).word.ready(1) == Ready::Won);
            group.running.leave(&raw mut (*waiter.get()).waiter);
        }
        let last = member(&group, 1);
        let freed = group.is_freed();
        assert!(!last.join().unwrap());
        assert!(freed || group.is_freed());
        unsafe { free(waiter) };
    });
}
