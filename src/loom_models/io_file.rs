//! Files and names: one thing that somebody else does, and who waits for it or gives up.

use super::{Parked, model};
use crate::goroutine::park::{ParkWord, Ready};
use crate::wait::done::Done;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread;

/// A goroutine's part, `ops::file::until_done`: woken, or it saw that it was done.
fn wait(word: &ParkWord, done: &Done<Parked, u32>, sequence: u64, wakes: &AtomicU32) -> Option<u32> {
    let party = Parked { word, sequence };
    word.wait(sequence);
    if done.join(party) {
        while wakes.load(Ordering::Acquire) == 0 {
            thread::yield_now(); // parked
        }
        wakes.store(0, Ordering::Relaxed);
    } else {
        assert!(word.ready(sequence) == Ready::Won, "nobody has its name");
    }
    done.leave()
}

/// It is done while somebody begins to wait for it: he is woken, or sees it.
#[test]
fn loom_done_wakes_or_is_seen() {
    model(|| {
        let shared = Arc::new((ParkWord::new(), Done::<Parked, u32>::new(), AtomicU32::new(0)));
        let other = {
            let shared = shared.clone();
            thread::spawn(move || {
                if shared.1.finish(7).is_some() {
                    shared.2.fetch_add(1, Ordering::Release);
                }
            })
        };
        assert_eq!(wait(&shared.0, &shared.1, 1, &shared.2), Some(7));
        other.join().unwrap();
        assert_eq!(shared.2.load(Ordering::Relaxed), 0, "woken once");
    });
}

/// A cancel in between: who waits goes on for one of the two reasons, and if it is not done yet he waits again, by another name, and
/// nobody uses the old one.
#[test]
fn loom_done_or_cancelled() {
    model(|| {
        let shared = Arc::new((ParkWord::new(), Done::<Parked, u32>::new(), AtomicU32::new(0)));
        let other = {
            let shared = shared.clone();
            thread::spawn(move || {
                if let Some(claimed) = shared.1.finish(7) {
                    shared.2.fetch_add(1, Ordering::Release);
                    return claimed.party.sequence;
                }
                0
            })
        };
        let canceller = {
            let shared = shared.clone();
            thread::spawn(move || {
                if shared.0.ready(1) == Ready::Won {
                    shared.2.fetch_add(1, Ordering::Release);
                }
            })
        };
        let (word, done, wakes) = (&shared.0, &shared.1, &shared.2);
        word.wait(1);
        if done.join(Parked { word, sequence: 1 }) || word.ready(1) != Ready::Won {
            while wakes.load(Ordering::Acquire) == 0 {
                thread::yield_now();
            }
            wakes.store(0, Ordering::Relaxed);
        }
        let mut seen = done.leave();
        if seen.is_none() {
            seen = wait(word, done, 2, wakes);
        }
        assert_eq!(seen, Some(7));
        let by = other.join().unwrap();
        canceller.join().unwrap();
        assert!(by <= 2);
        assert_eq!(wakes.load(Ordering::Relaxed), 0, "woken as often as it waited");
    });
}
