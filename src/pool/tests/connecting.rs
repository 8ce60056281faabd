//! How new connections are made.

use std::time::Duration;

use tokio::time::Instant;

use super::fake::*;
use crate::pool::Class::{Ordinary, Relief};
use crate::pool::{CheckoutError, CloseReason, PoolOptions};

fn unavailable(outcome: Outcome) -> String {
    match outcome {
        Err(CheckoutError::Unavailable { cause }) => cause.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn two_connects_at_a_time() {
    let (pool, member, _) = slow_pool(options(16), 20 * MS);
    let begun = Instant::now();
    let waiting: Vec<_> = {
        let mut waiting = Vec::new();
        for _ in 0..8 {
            waiting.push(waiter(&pool, Relief).await);
        }
        waiting
    };
    let mut held = Vec::new();
    for waiting in waiting {
        held.push(waiting.await.unwrap().unwrap());
    }
    assert_eq!((member.connecting_peak(), begun.elapsed()), (2, 80 * MS));
    assert_eq!(member.attempts(), 8);
}

#[tokio::test(start_paused = true)]
async fn a_connect_that_hangs_ends_at_its_limit_and_the_waiter_at_its_own() {
    let (pool, member, _) = pool(PoolOptions {
        connect_timeout: Duration::from_secs(5),
        wait_timeout: Duration::from_secs(2),
        ..options(4)
    });
    member.set(Mode::Hangs);
    let begun = Instant::now();
    let outcome = pool.check_out(Ordinary, None).await;
    assert!(matches!(outcome, Err(CheckoutError::WaitTimeout { .. })), "{outcome:?}");
    assert_eq!(begun.elapsed(), Duration::from_secs(2));
    assert_eq!(pool.status().connecting, 1);
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(pool.status().connecting, 0);
    member.set(Mode::Works);
    assert_whole(&pool, &member, 4).await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_connect_fails_the_waiters_if_no_connection_is_left() {
    let (pool, member, _) = pool(options(4));
    member.set(Mode::Refuses);
    let begun = Instant::now();
    assert_eq!(unavailable(pool.check_out(Ordinary, None).await), "connection refused");
    assert_eq!(begun.elapsed(), MS);
    // Until the next try is due, others fail without one.
    assert_eq!(unavailable(pool.check_out(Relief, None).await), "connection refused");
    assert_eq!((begun.elapsed(), member.attempts()), (MS, 1));
}

#[tokio::test(start_paused = true)]
async fn a_member_that_is_back_serves_after_the_backoff() {
    let (pool, member, _) = pool(options(4));
    member.set(Mode::Refuses);
    for _ in 0..6 {
        unavailable(pool.check_out(Ordinary, None).await);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(member.attempts(), 6);
    member.set(Mode::Works);
    pool.check_out(Ordinary, None).await.unwrap().finish();
    assert_whole(&pool, &member, 4).await;
}

#[tokio::test(start_paused = true)]
async fn with_a_connection_left_waiters_outlast_failed_connects() {
    let (pool, member, _) = pool(options(8));
    let _held = pool.check_out(Ordinary, None).await.unwrap();
    member.set(Mode::Refuses);
    let waiting = waiter(&pool, Ordinary).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let attempts = member.attempts();
    assert!((5..=12).contains(&attempts), "{attempts} attempts within 3 s");
    assert!(!waiting.is_finished());
    member.set(Mode::Works);
    assert_eq!(waiting.await.unwrap().unwrap().id, member.attempts() - 1);
}

#[tokio::test(start_paused = true)]
async fn waiters_fail_once_the_last_connection_goes_while_the_member_refuses() {
    let (pool, member, _) = pool(options(8));
    let held = pool.check_out(Ordinary, None).await.unwrap();
    member.set(Mode::Refuses);
    let waiting = waiter(&pool, Ordinary).await;
    tokio::time::sleep(2 * MS).await;
    assert!(!waiting.is_finished());
    held.close(CloseReason::Error);
    let begun = Instant::now();
    unavailable(waiting.await.unwrap());
    assert!(begun.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_broken_idle_connection_is_replaced_within_the_same_wait() {
    use std::sync::atomic::Ordering;
    let (pool, member, recorder) = pool(options(4));
    let held = take(&pool, Ordinary, 2).await;
    held.iter().for_each(|checkout| checkout.broken.store(true, Ordering::SeqCst));
    held.into_iter().for_each(FakeCheckout::finish);
    let checkout = pool.check_out(Ordinary, None).await.unwrap();
    assert_eq!((checkout.id, member.open()), (2, 1));
    assert_eq!(*recorder.closed.lock().unwrap(), [CloseReason::Broken, CloseReason::Broken]);
}

#[tokio::test(start_paused = true)]
async fn a_minimum_is_kept_idle_whatever_is_out() {
    let (pool, member, _) = pool(PoolOptions { min_idle: 2, ..options(8) });
    tokio::time::sleep(5 * MS).await;
    assert_eq!((pool.status().idle, member.open()), (2, 2));
    let held = take(&pool, Ordinary, 2).await;
    let _third = pool.check_out(Ordinary, None).await.unwrap();
    tokio::time::sleep(5 * MS).await;
    assert_eq!((pool.status().idle, member.open()), (2, 5));
    drop(held);
    tokio::time::sleep(5 * MS).await;
    assert_eq!((pool.status().idle, member.open()), (2, 3));
}
