//! Memory that is given back while its user may come: linked segments.

use super::model;
use crate::sync::Guarded;
use crate::sync::claim::{Claim, Seen};
use loom::sync::Arc;
use loom::thread::{self, JoinHandle};

const GONE: u32 = 0;

struct Piece {
    claim: Claim,
    memory: Guarded<u32>,
}
// SAFETY: loom checks.
unsafe impl Sync for Piece {}

impl Piece {
    /// It was used, a while ago.
    fn new() -> Arc<Self> {
        let piece = Self {
            claim: Claim::new(),
            memory: Guarded::new(1),
        };
        piece.claim.leave();
        Arc::new(piece)
    }
    fn take_up(&self) {
        while !self.claim.take_up() {
            self.claim.await_unclaimed();
        }
    }
    fn write(&self, value: u32) {
        // SAFETY: the user's; loom checks.
        unsafe { self.memory.with(|memory| *memory = value) };
    }
    fn holds(&self, value: u32) -> bool {
        // SAFETY: as above.
        unsafe { self.memory.with(|memory| *memory == value) }
    }
}

/// One call of the trimmer's.
fn trim(pieces: &[Arc<Piece>]) {
    let unused: Vec<&Piece> = pieces
        .iter()
        .map(|p| &**p)
        .filter(|p| p.claim.look() == Seen::Unused)
        .collect();
    Claim::trim(unused.iter(), |piece| &piece.claim, |piece| piece.write(GONE));
}

fn trimmer<const N: usize>(pieces: &[Arc<Piece>; N], times: usize) -> JoinHandle<()> {
    let pieces = pieces.clone();
    thread::spawn(move || (0..times).for_each(|_| trim(&pieces)))
}

/// It is left, and nobody comes any more: its memory goes.
fn goes(pieces: &[Arc<Piece>]) {
    trim(pieces);
    trim(pieces);
    assert!(
        pieces
            .iter()
            .all(|piece| piece.claim.is_cold() && piece.holds(GONE))
    );
}

/// A user comes and goes, twice, while its memory would be given back: never from under it.
#[test]
fn loom_claim_not_from_under_its_user() {
    model(|| {
        let piece = [Piece::new()];
        let trimmer = trimmer(&piece, 3);
        for value in [7, 8] {
            piece[0].take_up();
            piece[0].write(value);
            assert!(piece[0].holds(value));
            piece[0].claim.leave();
        }
        trimmer.join().unwrap();
        goes(&piece);
    });
}

/// Two pieces are claimed at a time, with one fence, and each has a user.
#[test]
fn loom_claim_of_two() {
    model(|| {
        let pieces = [Piece::new(), Piece::new()];
        let trimmer = trimmer(&pieces, 2);
        let other = {
            let piece = pieces[1].clone();
            thread::spawn(move || {
                if piece.claim.take_up() {
                    piece.write(7);
                    assert!(piece.holds(7));
                }
                piece.claim.leave(); // (it may give up, too)
            })
        };
        pieces[0].take_up();
        pieces[0].write(8);
        assert!(pieces[0].holds(8));
        pieces[0].claim.leave();
        trimmer.join().unwrap();
        other.join().unwrap();
        goes(&pieces);
    });
}

/// An unwinder runs on the segment that it has taken off the chain, for as long as it likes.
#[test]
fn loom_claim_left_behind() {
    model(|| {
        let piece = [Piece::new()];
        let trimmer = trimmer(&piece, 3);
        piece[0].take_up();
        piece[0].write(7);
        piece[0].claim.leave_behind();
        assert!(piece[0].holds(7));
        piece[0].write(8);
        assert!(piece[0].holds(8));
        piece[0].claim.is_left_for_good();
        trimmer.join().unwrap();
        goes(&piece);
    });
}
