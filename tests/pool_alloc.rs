//! A checkout allocates nothing in steady state, waited for or not. In a binary of its own, with one test, because it
//! counts what the whole process allocates.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/counting.rs"]
mod counting;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use counting::ALLOCATIONS;
use tokio::runtime::Builder;
use torana::pool::{Class, Connect, ConnectError, Connection, NoEvents, Pool, PoolOptions};

struct Member;

struct Nothing;

impl Connection for Nothing {
    fn is_broken(&mut self, _idle: std::time::Duration) -> bool {
        false
    }
}

impl Connect for Member {
    type Connection = Nothing;

    async fn connect(&self) -> Result<Nothing, ConnectError> {
        Ok(Nothing)
    }
}

const ROUNDS: usize = 500;

async fn rounds(pool: Pool<Member>, class: Class) {
    for _ in 0..ROUNDS {
        let checkout = pool.check_out(class, None).await.unwrap();
        tokio::task::yield_now().await;
        checkout.finish();
        tokio::task::yield_now().await;
    }
}

/// Lets `clients` do their rounds at once and returns the allocations from the moment that all have begun.
async fn allocations(pool: &Pool<Member>, class: Class, clients: usize) -> usize {
    let barrier = Arc::new(tokio::sync::Barrier::new(clients + 1));
    let tasks: Vec<_> = (0..clients)
        .map(|_| {
            let (pool, barrier) = (pool.clone(), barrier.clone());
            tokio::spawn(async move {
                barrier.wait().await;
                rounds(pool, class).await;
                barrier.wait().await;
            })
        })
        .collect();
    barrier.wait().await;
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    barrier.wait().await;
    let after = ALLOCATIONS.load(Ordering::Relaxed);
    for task in tasks {
        task.await.unwrap();
    }
    after - before
}

#[test]
fn a_checkout_in_steady_state_allocates_nothing() {
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        // Nobody ages within the test, and every wait has a deadline.
        let options = PoolOptions { max: 8, wait_timeout: Duration::from_secs(60), ..PoolOptions::default() };
        let pool = Pool::new(options, Member, Arc::new(NoEvents)).unwrap();
        for (class, clients) in [(Class::Ordinary, 1), (Class::Ordinary, 32), (Class::Relief, 32)] {
            allocations(&pool, class, clients).await; // fills the pool, and the tables of the runtime
            assert_eq!(allocations(&pool, class, clients).await, 0, "{clients} clients, {class:?}");
        }
        assert_eq!(pool.status().waiting, 0);
        assert!((1..=8).contains(&pool.status().size));
    });
}
