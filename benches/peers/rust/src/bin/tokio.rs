//! tokio: stackless tasks, on the current thread with one worker and on the
//! multi-thread runtime with more.

use peers::{late, serve, Answer, Gate, Request, BATCH, PARKED};
use std::future::{poll_fn, Future};
use std::pin::{pin, Pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};
use tokio::task::{coop::unconstrained, yield_now};
use tokio::time::{sleep, Sleep};

const HOUR: Duration = Duration::from_secs(3600);

async fn yields(k: usize, n: u64) -> (Duration, u64) {
    let each = n.div_ceil(k as u64);
    let gate = Arc::new(Gate::new(k));
    let tasks: Vec<_> = (0..k)
        .map(|_| {
            let gate = gate.clone();
            tokio::spawn(async move {
                gate.arrive();
                while gate.closed() {
                    yield_now().await;
                }
                for _ in 0..each {
                    yield_now().await;
                }
                gate.leave();
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    (gate.took(), each * k as u64)
}

/// Spawns `n` in batches of `batch`, each joined before the next.
async fn spawns(batch: u64, n: u64) -> (Duration, u64) {
    let batches = n.div_ceil(batch);
    let mut tasks = Vec::with_capacity(batch as usize);
    let mut sum = 0;
    let start = Instant::now();
    for b in 0..batches {
        tasks.extend((0..batch).map(|_| tokio::spawn(async move { b })));
        for task in tasks.drain(..) {
            sum += task.await.unwrap();
        }
    }
    let took = start.elapsed();
    assert_eq!(sum, batch * (batches * (batches - 1) / 2));
    (took, batches * batch)
}

/// Polls a sleep once, which starts its timer: a sleep that was never polled
/// has none. Unconstrained, because a task whose budget of polls is spent is
/// turned away before that.
async fn start_timer(mut sleep: Pin<&mut Sleep>) -> bool {
    unconstrained(poll_fn(|cx| Poll::Ready(sleep.as_mut().poll(cx).is_pending()))).await
}

async fn timers(n: u64) -> (Duration, u64) {
    let mut started = 0;
    let start = Instant::now();
    for _ in 0..n {
        let sleep = pin!(sleep(HOUR));
        started += start_timer(sleep).await as u64;
    }
    let took = start.elapsed();
    assert_eq!(started, n);
    (took, n)
}

/// A million timers over 1 to 3,600 s; the multiplier scatters them.
async fn pending_timers() -> Vec<Pin<Box<Sleep>>> {
    let mut all = Vec::new();
    for i in 0..1_000_000u64 {
        let us = 1_000_000 + i * 2_654_435_761 % 3_599_000_000;
        let mut sleep = Box::pin(sleep(Duration::from_micros(us)));
        start_timer(sleep.as_mut()).await;
        all.push(sleep);
    }
    all
}

async fn sleep_lateness(time: Duration) -> Vec<u32> {
    const NAP: Duration = Duration::from_millis(10);
    let start = Instant::now();
    let mut tasks = Vec::with_capacity(PARKED as usize);
    for i in 0..PARKED {
        while start.elapsed() < Duration::from_micros(i) {
            yield_now().await;
        }
        tasks.push(tokio::spawn(async move {
            let mut lates = Vec::with_capacity(time.as_millis() as usize / 10 + 2);
            while start.elapsed() < time {
                let before = Instant::now();
                sleep(NAP).await;
                lates.push(late(before, NAP));
            }
            lates
        }));
    }
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await.unwrap());
    }
    all
}

async fn lone_sleeper() -> Vec<u32> {
    const NAP: Duration = Duration::from_millis(1);
    let parked: Vec<_> = (0..PARKED)
        .map(|_| tokio::spawn(std::future::pending::<()>()))
        .collect();
    let sleeper = tokio::spawn(async {
        let mut lates = Vec::with_capacity(1000);
        for _ in 0..1000 {
            let before = Instant::now();
            sleep(NAP).await;
            lates.push(late(before, NAP));
        }
        lates
    });
    let lates = sleeper.await.unwrap();
    for task in parked {
        task.abort();
        let _ = task.await;
    }
    lates
}

async fn run(row: String, n: u64, time: Duration) -> Answer {
    let (took, ops) = match row.as_str() {
        "yield_2" => yields(2, n).await,
        "yield_1000" => yields(1000, n).await,
        "spawn_batch" => spawns(BATCH, n).await,
        "spawn_await" => spawns(1, n).await,
        "timer_0" | "timer_1m" => timers(n).await,
        "sleep_lateness" => return Answer::Late(sleep_lateness(time).await),
        "lone_sleeper" => return Answer::Late(lone_sleeper().await),
        _ => return Answer::Unsupported,
    };
    Answer::Ops(took, ops)
}

fn runtime(workers: usize) -> Runtime {
    let mut builder = match workers {
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    if workers > 1 {
        builder.worker_threads(workers);
    }
    // No I/O driver: a runtime that has one polls it between two yields, and
    // wakes it for a timer that comes before all others.
    builder.enable_time().build().expect("runtime")
}

fn main() {
    let workers = peers::workers();
    let rt = runtime(workers);
    // The million timers live in a runtime of their own, so that no other row
    // meets them.
    let mut crowded: Option<(Runtime, Vec<_>)> = None;
    serve("tokio", env!("TOKIO_VERSION"), |r: &Request| {
        let rt = match r.row {
            "timer_1m" => {
                let (rt, _) = crowded.get_or_insert_with(|| {
                    let rt = runtime(workers);
                    let all = rt.block_on(pending_timers());
                    (rt, all)
                });
                &*rt
            }
            _ => &rt,
        };
        // Spawned, because the body of block_on is no task: from outside the
        // workers each spawn would go through the shared queue.
        let body = rt.spawn(run(r.row.to_string(), r.n, r.time));
        rt.block_on(body).unwrap()
    });
}
