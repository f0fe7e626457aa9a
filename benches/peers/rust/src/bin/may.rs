//! may: stackful coroutines on worker threads. It has no timer apart from its
//! sleep, so that the timer rows are unsupported.

use may::coroutine::{self, sleep, yield_now};
use may::go;
use peers::{late, serve, Answer, Request, BATCH, PARKED};
use std::time::{Duration, Instant};

/// No gate as in the other peers: a worker looks at what others gave it only
/// when its own queue is empty, so that tasks yielding at a gate would keep
/// away for ever those they wait for. The spawns in the time are below 1 % of
/// it.
fn yields(k: usize, n: u64) -> (Duration, u64) {
    let each = n.div_ceil(k as u64);
    let start = Instant::now();
    let tasks: Vec<_> = (0..k)
        .map(|_| {
            go!(move || {
                for _ in 0..each {
                    yield_now();
                }
            })
        })
        .collect();
    for task in tasks {
        task.join().unwrap();
    }
    (start.elapsed(), each * k as u64)
}

/// Spawns `n` in batches of `batch`, each joined before the next.
fn spawns(batch: u64, n: u64) -> (Duration, u64) {
    let batches = n.div_ceil(batch);
    let mut tasks = Vec::with_capacity(batch as usize);
    let mut sum = 0;
    let start = Instant::now();
    for b in 0..batches {
        tasks.extend((0..batch).map(|_| go!(move || b)));
        sum += tasks.drain(..).map(|t| t.join().unwrap()).sum::<u64>();
    }
    let took = start.elapsed();
    assert_eq!(sum, batch * (batches * (batches - 1) / 2));
    (took, batches * batch)
}

fn sleep_lateness(time: Duration) -> Vec<u32> {
    const NAP: Duration = Duration::from_millis(10);
    let start = Instant::now();
    let tasks: Vec<_> = (0..PARKED)
        .map(|i| {
            while start.elapsed() < Duration::from_micros(i) {
                yield_now();
            }
            go!(move || {
                let mut lates = Vec::with_capacity(time.as_millis() as usize / 10 + 2);
                while start.elapsed() < time {
                    let before = Instant::now();
                    sleep(NAP);
                    lates.push(late(before, NAP));
                }
                lates
            })
        })
        .collect();
    tasks.into_iter().flat_map(|t| t.join().unwrap()).collect()
}

fn lone_sleeper() -> Vec<u32> {
    const NAP: Duration = Duration::from_millis(1);
    let parked: Vec<_> = (0..PARKED).map(|_| go!(coroutine::park)).collect();
    let sleeper = go!(|| {
        let nap = |_| {
            let before = Instant::now();
            sleep(NAP);
            late(before, NAP)
        };
        (0..1000).map(nap).collect()
    });
    let lates = sleeper.join().unwrap();
    for task in parked {
        task.coroutine().unpark();
        task.join().unwrap();
    }
    lates
}

fn main() {
    may::config().set_workers(peers::workers());
    serve("may", env!("MAY_VERSION"), |r: &Request| {
        let (row, n, time) = (r.row.to_string(), r.n, r.time);
        // Within a coroutine: a spawn from outside goes through a global queue.
        go!(move || {
            let (took, ops) = match row.as_str() {
                "yield_2" => yields(2, n),
                "yield_1000" => yields(1000, n),
                "spawn_batch" => spawns(BATCH, n),
                "spawn_await" => spawns(1, n),
                "sleep_lateness" => return Answer::Late(sleep_lateness(time)),
                "lone_sleeper" => return Answer::Late(lone_sleeper()),
                _ => return Answer::Unsupported,
            };
            Answer::Ops(took, ops)
        })
        .join()
        .unwrap()
    });
}
