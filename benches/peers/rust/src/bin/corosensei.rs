//! corosensei: stackful coroutines without a scheduler. `switch` is one of
//! them against its caller; the yield rows go round an array of them, which is
//! the least that a scheduler could do.

use corosensei::{Coroutine, Yielder};
use peers::{serve, Answer, Request};
use std::time::Instant;

type Co = Coroutine<u64, u64, ()>;

/// A coroutine that hands back what it is given, plus one.
fn echo() -> Co {
    Coroutine::new(|yielder: &Yielder<u64, u64>, mut x: u64| loop {
        x = yielder.suspend(x + 1);
    })
}

/// Resumes each of `cos` in turn, `n` times in all.
fn rounds(cos: &mut [Co], n: u64) -> (std::time::Duration, u64) {
    let each = n.div_ceil(cos.len() as u64);
    let ops = each * cos.len() as u64;
    for co in cos.iter_mut() {
        co.resume(0); // maps the stack, outside the time
    }
    let mut x = 0;
    let start = Instant::now();
    for _ in 0..each {
        for co in cos.iter_mut() {
            x = co.resume(x).as_yield().expect("it never returns");
        }
    }
    let took = start.elapsed();
    assert_eq!(x, ops);
    (took, ops)
}

fn main() {
    let mut cos: Vec<Co> = (0..1000).map(|_| echo()).collect();
    serve("corosensei", env!("COROSENSEI_VERSION"), |r: &Request| {
        let (took, ops) = match r.row {
            // There and back: two switches for each resume.
            "switch" => {
                let (took, ops) = rounds(&mut cos[..1], r.n / 2);
                (took, 2 * ops)
            }
            "yield_2" => rounds(&mut cos[..2], r.n),
            "yield_1000" => rounds(&mut cos, r.n),
            _ => return Answer::Unsupported,
        };
        Answer::Ops(took, ops)
    });
}
