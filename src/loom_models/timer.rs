//! Timers: stop or fire.

use super::model;
use crate::timer::state::{Stop, TimerWord};
use loom::sync::Arc;
use loom::thread;

/// Stop and fire: one of them wins; a periodic timer that is stopped while firing does not run again.
#[test]
fn loom_timer_stop_or_fire() {
    model(|| {
        let word = Arc::new(TimerWord::new());
        let generation = word.arm();
        let stopper = {
            let word = word.clone();
            thread::spawn(move || word.stop(generation, || false))
        };
        let fired = word.fire();
        let stopped = stopper.join().unwrap();
        assert!(fired != (stopped == Stop::Unarmed));
    });
}

/// The same for an interval, with the re-arming after the run.
#[test]
fn loom_timer_interval_stop_is_final() {
    model(|| {
        let word = Arc::new(TimerWord::new());
        let generation = word.arm();
        let stopper = {
            let word = word.clone();
            thread::spawn(move || word.stop(generation, || true))
        };
        let mut again = false;
        if word.fire() {
            again = word.rearm();
        }
        let stopped = stopper.join().unwrap();
        assert!(stopped != Stop::Nothing);
        // Armed again after the stop said "will not run again"? Only if the stop found it armed anew, and took it.
        assert!(!again || stopped == Stop::Unarmed);
        assert!(!word.fire());
    });
}
