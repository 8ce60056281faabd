//! The pool under real threads for two seconds: no connection in two hands, none lost, nobody forgotten.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::time::{Instant, sleep, timeout};
use torana::pool::{
    CheckoutError, Class, CloseReason, Connect, ConnectError, Connection, NoEvents, Pool, PoolOptions,
};

const MAX: usize = 6;
const CLIENTS: u64 = 48;
const RUN: Duration = Duration::from_secs(2);

#[derive(Clone, Default)]
struct Member(Arc<Counts>);

#[derive(Default)]
struct Counts {
    open: AtomicUsize,
    attempts: AtomicUsize,
}

struct Conn {
    member: Member,
    in_use: AtomicBool,
    dirty: bool,
    breaks_at: usize,
    uses: usize,
}

impl Connect for Member {
    type Connection = Conn;

    async fn connect(&self) -> Result<Conn, ConnectError> {
        let attempt = self.0.attempts.fetch_add(1, SeqCst);
        tokio::task::yield_now().await;
        if attempt % 7 == 3 {
            return Err(ConnectError::new("connection refused"));
        }
        self.0.open.fetch_add(1, SeqCst);
        let in_use = AtomicBool::new(false);
        Ok(Conn { member: self.clone(), in_use, dirty: false, breaks_at: 20 + attempt % 50, uses: 0 })
    }
}

impl Connection for Conn {
    fn is_broken(&mut self, _idle: std::time::Duration) -> bool {
        self.uses >= self.breaks_at
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        self.member.0.open.fetch_sub(1, SeqCst);
    }
}

#[derive(Default)]
struct Tally {
    served: AtomicUsize,
    failed: AtomicUsize,
}

/// One exchange, which may be cut off at its await points by whoever drops it.
async fn exchange(pool: &Pool<Member>, class: Class, dice: &mut SmallRng, tally: &Tally) {
    let mut checkout = match pool.check_out(class, None).await {
        Ok(checkout) => checkout,
        Err(CheckoutError::Unavailable { .. }) => {
            tally.failed.fetch_add(1, SeqCst);
            return sleep(Duration::from_millis(1)).await;
        }
        Err(error) => panic!("{error}"),
    };
    assert!(!checkout.in_use.swap(true, SeqCst), "in two hands");
    assert!(!checkout.dirty, "handed out in mid-exchange");
    checkout.dirty = true;
    checkout.uses += 1;
    for _ in 0..dice.random_range(0..3) {
        tokio::task::yield_now().await;
    }
    checkout.dirty = false;
    checkout.in_use.store(false, SeqCst);
    tally.served.fetch_add(1, SeqCst);
    match dice.random_range(0..200) {
        0 => checkout.close(CloseReason::Error),
        1 => assert!(checkout.generation() <= pool.generation()),
        _ => checkout.finish(),
    }
}

async fn client(pool: Pool<Member>, seed: u64, tally: Arc<Tally>) {
    let mut dice = SmallRng::seed_from_u64(seed);
    let end = Instant::now() + RUN;
    while Instant::now() < end {
        let class = if dice.random_range(0..4) == 0 { Class::Relief } else { Class::Ordinary };
        let patience = Duration::from_micros(dice.random_range(0..3_000));
        let mut other = SmallRng::seed_from_u64(dice.random());
        if dice.random_range(0..8) == 0 {
            let _ = timeout(patience, exchange(&pool, class, &mut other, &tally)).await;
        } else {
            exchange(&pool, class, &mut other, &tally).await;
        }
    }
}

async fn disturb(pool: Pool<Member>) {
    let end = Instant::now() + RUN;
    for turn in 0.. {
        sleep(Duration::from_millis(5)).await;
        match turn % 20 {
            7 => pool.pause("test"),
            8 => pool.resume(),
            13 => pool.clear("test"),
            _ => {
                pool.clear_generation(pool.generation(), "test");
            }
        }
        let status = pool.status();
        assert!(status.size <= MAX, "{status:?}");
        if Instant::now() >= end {
            return pool.resume();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn threads_share_a_pool_and_lose_nothing() {
    let member = Member::default();
    let backoff = Duration::from_millis(2);
    let options =
        PoolOptions { max: MAX, backoff_min: backoff, backoff_max: backoff, ..PoolOptions::default() };
    let pool = Pool::new(options, member.clone(), Arc::new(NoEvents)).unwrap();
    let tally = Arc::new(Tally::default());
    let clients: Vec<_> =
        (0..CLIENTS).map(|seed| tokio::spawn(client(pool.clone(), seed, tally.clone()))).collect();
    let disturber = tokio::spawn(disturb(pool.clone()));
    let all = async {
        for client in clients {
            client.await.unwrap();
        }
        disturber.await.unwrap();
    };
    timeout(RUN * 5, all).await.expect("somebody waits for ever");
    let (served, failed) = (tally.served.load(SeqCst), tally.failed.load(SeqCst));
    println!("{served} served, {failed} failed, {} connects", member.0.attempts.load(SeqCst));
    assert!(served > 1_000, "{served} served");

    let mut held = Vec::new();
    while held.len() < MAX {
        let class = if held.len() < MAX - 1 { Class::Ordinary } else { Class::Relief };
        match timeout(RUN, pool.check_out(class, None)).await.expect("a connection or a place is lost") {
            Ok(checkout) => held.push(checkout),
            Err(_) => sleep(backoff * 2).await,
        }
    }
    assert!(pool.try_check_out(Class::Relief).is_none());
    assert_eq!(member.0.open.load(SeqCst), MAX);
    assert_eq!((pool.status().size, pool.status().out, pool.status().waiting), (MAX, MAX, 0));
}

/// Run with `cargo test --release --test pool_stress -- --ignored --nocapture`.
#[tokio::test]
#[ignore = "a measurement"]
async fn nanoseconds_of_an_uncontended_checkout() {
    const ROUNDS: u32 = 1_000_000;
    let pool = Pool::new(PoolOptions::default(), Idle, Arc::new(NoEvents)).unwrap();
    pool.check_out(Class::Ordinary, None).await.unwrap().finish();
    for class in [Class::Ordinary, Class::Relief] {
        let mut runs: Vec<_> = (0..7)
            .map(|_| {
                let begun = on_cpu();
                for _ in 0..ROUNDS {
                    pool.try_check_out(class).unwrap().finish();
                }
                (on_cpu() - begun) / ROUNDS
            })
            .collect();
        runs.sort();
        println!("{class:?}: {:?} for try_check_out and finish, median of 7 runs of {ROUNDS}", runs[3]);
    }
}

/// Processor time of this thread: other work on the machine does not count.
fn on_cpu() -> Duration {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(schedstat.split(' ').next().unwrap().parse().unwrap())
}

struct Idle;

struct Nothing;

impl Connect for Idle {
    type Connection = Nothing;

    async fn connect(&self) -> Result<Nothing, ConnectError> {
        Ok(Nothing)
    }
}

impl Connection for Nothing {
    fn is_broken(&mut self, _idle: std::time::Duration) -> bool {
        false
    }
}
