//! The lock around a queue, and mutexes while it is biased.

use super::wait::lock_join_or_release;
use super::{Parked, model};
use crate::sync::Guarded;
use crate::wait::biased::{BiasedLock, model::be_worker};
use crate::wait::lock::{Lock, Take};
use loom::sync::Arc;
use loom::thread;

/// The worker that a lock is biased to, and somebody else who takes the bias away: one of them is inside at a time.
#[test]
fn loom_bias_one_is_inside() {
    model(|| {
        let lock = Arc::new(BiasedLock::new());
        let inside = Arc::new(Guarded::new(0u32));
        let add = |lock: &BiasedLock, inside: &Guarded<u32>| {
            lock.lock();
            // SAFETY: we hold the lock; loom checks.
            unsafe { inside.with(|n| *n += 1) };
            lock.unlock();
        };
        be_worker(8);
        add(&lock, &inside); // biased from here on
        let other = {
            let (lock, inside) = (lock.clone(), inside.clone());
            thread::spawn(move || add(&lock, &inside))
        };
        add(&lock, &inside);
        other.join().unwrap();
        add(&lock, &inside);
        assert!(lock.is_shared());
        // SAFETY: alone again.
        assert_eq!(unsafe { inside.with(|n| *n) }, 4);
    });
}

/// A mutex that is biased to one worker is taken by another one: it has one owner at a time.
#[test]
fn loom_bias_lock_has_one_owner() {
    model(|| {
        let lock = Arc::new(Lock::<Parked>::new());
        let owned = Arc::new(Guarded::new(0u32));
        let user = |lock: &Lock<Parked>, owned: &Guarded<u32>, me: u64| {
            if lock.try_take(me) == Take::Held {
                return 0;
            }
            // SAFETY: we own the lock; loom checks.
            unsafe { owned.with(|n| *n += 1) };
            assert!(lock.release(me).is_none());
            1
        };
        be_worker(8);
        let mut times = user(&lock, &owned, 2);
        let other = {
            let (lock, owned) = (lock.clone(), owned.clone());
            thread::spawn(move || user(&lock, &owned, 4))
        };
        times += user(&lock, &owned, 2);
        times += other.join().unwrap();
        // SAFETY: alone again.
        assert_eq!(unsafe { owned.with(|n| *n) }, times);
        assert_eq!(lock.owner(), 0);
    });
}

/// The same, with one who gets in line.
#[test]
fn loom_bias_lock_join_or_release() {
    model(|| {
        be_worker(8);
        lock_join_or_release();
    });
}

/// Somebody takes the bias away while the worker is inside; a third one believes SHARED only when the worker is out for good.
#[test]
fn loom_bias_shared_means_shared() {
    model(|| {
        let lock = Arc::new(BiasedLock::new());
        let inside = Arc::new(Guarded::new(0u32));
        be_worker(8);
        lock.decide();
        let taker = {
            let lock = lock.clone();
            thread::spawn(move || lock.decide())
        };
        let third = {
            let (lock, inside) = (lock.clone(), inside.clone());
            thread::spawn(move || {
                if lock.is_shared() {
                    // SAFETY: the worker keeps out, says the lock; loom checks.
                    unsafe { inside.with(|n| *n += 1) };
                }
            })
        };
        if lock.enter() {
            // SAFETY: inside; loom checks.
            unsafe { inside.with(|n| *n += 1) };
            lock.leave();
        }
        taker.join().unwrap();
        third.join().unwrap();
    });
}

/// Somebody holds two locks up, one biased to worker 8 and one that is nobody's yet, looks, and lets them go on, while `user`, a worker or nobody,
/// uses them.
fn held_up(user: u64) {
    model(move || {
        let locks: Arc<[_; 2]> = Arc::new(std::array::from_fn(|_| (BiasedLock::new(), Guarded::new(0u32))));
        be_worker(8);
        locks[0].0.decide();
        let looker = {
            let locks = locks.clone();
            thread::spawn(move || {
                for ((lock, inside), bias) in BiasedLock::hold_up(locks.iter(), |(lock, _)| lock) {
                    lock.wait_until_out();
                    // SAFETY: held; loom checks.
                    unsafe { inside.with(|n| assert!(*n <= 2)) };
                    lock.let_go_on(bias);
                }
            })
        };
        be_worker(user);
        let add = |(lock, inside): &(BiasedLock, Guarded<u32>)| {
            lock.lock();
            // SAFETY: as above.
            unsafe { inside.with(|n| *n += 1) };
            lock.unlock();
        };
        locks.iter().for_each(add);
        add(&locks[0]);
        let is_shared = locks[0].0.is_shared();
        looker.join().unwrap();
        assert!(!is_shared || locks[0].0.is_shared(), "for ever");
        be_worker(8);
        add(&locks[0]); // biased, or shared: it is free
        // SAFETY: alone again.
        assert_eq!(unsafe { locks[0].1.with(|n| *n) }, 3);
    });
}

/// By the worker itself.
#[test]
fn loom_bias_held_up_with_its_worker() {
    held_up(8);
}

/// By somebody who takes the bias away.
#[test]
fn loom_bias_held_up_with_another() {
    held_up(16);
}
