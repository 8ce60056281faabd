//! Pool, topology and pinning together, in simulated time: a replica set in memory, the real monitors, pools and
//! transactions of torana joined by the proxy's own code, and clients that are cut off at any await.
//!
//! `TORANA_SIM_SEED=7 cargo nextest run --test simulation --no-capture` runs one seed and prints its trace;
//! `TORANA_SIM_SEEDS=5000` runs more than the default. Everything is one thread, one clock and seeded dice, so a seed
//! is a course of events, whatever the machine; a build with other optimisation gives the same.
//!
//! # Reading order
//!
//! `world`, `node`, `chaos`: what is really so, and what befalls it. `hello`, `monitoring`, `wire`, `serve`: how members
//! answer monitors and clients. `proxy`: torana, as `src/proxy/set.rs` joins it. `session`, `held`, `orphan`: clients,
//! after `src/proxy/exchange.rs`. `ledger`, `scenario`: what must hold at each step, and at the end.
//!
//! # Faults planted, and how many of the first 100 seeds find them
//!
//! | fault | seeds |
//! |---|---|
//! | a dropped checkout gives its connection back | 100 |
//! | the permit of an awaiting operation is not given back | 88 |
//! | a connection of an old generation is handed out | 85 |
//! | those who wait are not told when the member is lost | 73 |
//! | one connection that the server closed clears its pool | 65 |
//! | a connection that the server closed is handed out | 63 |
//! | the place of a caller cancelled while it waits for a connection is lost | 58 |
//! | more than `connecting_max` connects at once | 50 |
//! | `resume` leaves the pool paused | 47 |
//! | a write whose client left is given up, and its connection given back | 43 |
//! | `clear_generation` does not advance | 38 |
//! | one member's loss pauses the pools of all | 31 |
//! | a connection lost without a word leaves its generation as it is | 26 |
//! | nobody stands in the relief queue | 14 |
//! | one broken monitoring connection loses the member | 6 |
//! | writes of clients that left keep as many connections as they like | 6 |
//! | the relief queue is as short as the other (found in torana by this test) | 4 |
//!
//! Two more faults of torana were found while this was written, and are too rare for these seeds to show again. They
//! have tests of their own: an abort that was tried once (`transactions/tests.rs`), and a member removed and added again
//! between two looks (`roster.rs`).
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod chaos;
mod held;
mod hello;
mod ledger;
mod monitoring;
mod node;
mod orphan;
mod proxy;
mod request;
mod scenario;
mod serve;
mod session;
mod wire;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, Once};
use std::time::Instant;

use scenario::{PANICS, run};

/// Seeds in a usual run.
const SEEDS: u64 = 200;

/// Seeds that have found a fault of torana, by what it was. Their course changes with the simulation: whoever changes
/// it plants the fault again and notes a seed that finds it then.
const FOUND: [(u64, &str); 1] = [(9, "a full queue refused the commit that it waited for")];

fn given(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number")))
}

fn count_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICS.set(PANICS.get() + 1);
            usual(panic);
        }));
    });
}

#[test]
fn whatever_befalls_the_set_nothing_is_mixed_up_lost_or_forgotten() {
    count_panics();
    if let Some(seed) = given("TORANA_SIM_SEED") {
        let outcome = run(seed, true, true);
        assert_eq!(outcome.violations, Vec::<String>::new(), "seed {seed}");
        return println!("seed {seed}: {} operations were answered", outcome.done);
    }
    let seeds = given("TORANA_SIM_SEEDS").unwrap_or(SEEDS);
    let (next, done, failed) = (AtomicU64::new(0), AtomicU64::new(0), Mutex::new(Vec::new()));
    let began = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get().min(4));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        return;
                    }
                    let outcome = run(seed, false, false);
                    done.fetch_add(outcome.done, Ordering::Relaxed);
                    if let Some(first) = outcome.violations.into_iter().next() {
                        failed.lock().unwrap().push((seed, first));
                    }
                }
            });
        }
    });
    let (mut failed, done) = (failed.into_inner().unwrap(), done.into_inner());
    println!("{seeds} seeds, {done} operations answered, {:?}", began.elapsed());
    failed.sort();
    for (seed, violation) in failed.iter().take(10) {
        println!("TORANA_SIM_SEED={seed} cargo nextest run --test simulation --no-capture   # {violation}");
    }
    assert!(failed.is_empty(), "{} of {seeds} seeds failed", failed.len());
}

#[test]
fn faults_that_were_found_stay_mended() {
    count_panics();
    for (seed, fault) in FOUND {
        assert_eq!(run(seed, false, false).violations, Vec::<String>::new(), "seed {seed}: {fault}");
    }
}

#[test]
fn one_seed_gives_one_course_of_events() {
    count_panics();
    for seed in [1, 2, 3] {
        let (first, second) = (run(seed, true, false).trace, run(seed, true, false).trace);
        let differs = first.iter().zip(&second).find(|(a, b)| a != b);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!(first.len(), second.len());
    }
}
