//! Everything has a limit, and says so.

use std::time::Duration;

use tokio::time::Instant;

use super::fake::*;
use crate::pool::Class::{Ordinary, Relief};
use crate::pool::{CheckoutError, NoEvents, OptionsError, Pool, PoolOptions};

#[tokio::test(start_paused = true)]
async fn a_wait_ends_at_the_pools_limit_or_the_callers() {
    let (pool, member, _) = pool(PoolOptions { wait_timeout: Duration::from_secs(3), ..options(2) });
    let held = pool.check_out(Ordinary, None).await.unwrap();
    let begun = Instant::now();
    let error = pool.check_out(Ordinary, None).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "no server connection within 3s: pool max 2, 1 checked out, 0 connecting, 0 waiting"
    );
    assert_eq!(begun.elapsed(), Duration::from_secs(3));
    let error = pool.check_out(Ordinary, Some(Instant::now() + 10 * MS)).await.unwrap_err();
    assert!(matches!(error, CheckoutError::WaitTimeout { .. }));
    assert_eq!(begun.elapsed(), Duration::from_millis(3010));
    let error = pool.check_out(Ordinary, Some(begun)).await.unwrap_err();
    assert!(matches!(error, CheckoutError::WaitTimeout { .. }));
    assert_eq!(begun.elapsed(), Duration::from_millis(3010));
    held.finish();
    assert_whole(&pool, &member, 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_at_once_and_has_room_again() {
    let (pool, member, _) = pool(PoolOptions { queue_max: 2, ..options(2) });
    let held = pool.check_out(Ordinary, None).await.unwrap();
    let first = waiter(&pool, Ordinary).await;
    let second = waiter(&pool, Ordinary).await;
    let begun = Instant::now();
    let error = pool.check_out(Ordinary, None).await.unwrap_err();
    assert_eq!(error, CheckoutError::QueueFull { waiting: 2, limit: 2, max: 2, out: 1 });
    assert_eq!(begun.elapsed(), Duration::ZERO);
    first.abort();
    settle().await;
    let third = waiter(&pool, Ordinary).await;
    held.finish();
    second.await.unwrap().unwrap().finish();
    third.await.unwrap().unwrap().finish();
    assert_whole(&pool, &member, 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_has_room_for_those_who_hold_what_it_waits_for() {
    let (pool, member, _) = pool(PoolOptions { queue_max: 1, ..options(2) });
    let held = take(&pool, Relief, 2).await;
    let ordinary = waiter(&pool, Ordinary).await;
    let commit = waiter(&pool, Relief).await;
    let error = pool.check_out(Relief, None).await.unwrap_err();
    assert_eq!(error, CheckoutError::QueueFull { waiting: 2, limit: 2, max: 2, out: 2 });
    drop(held);
    commit.await.unwrap().unwrap().finish();
    ordinary.await.unwrap().unwrap().finish();
    assert_whole(&pool, &member, 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_too_old_is_closed_at_check_in_and_at_checkout() {
    let lifetime = Some(Duration::from_millis(100));
    let (pool, member, _) = pool(PoolOptions { lifetime, ..options(2) });
    let held = pool.check_out(Ordinary, None).await.unwrap();
    tokio::time::sleep(100 * MS).await;
    held.finish();
    assert_eq!(member.open(), 0);
    pool.check_out(Ordinary, None).await.unwrap().finish();
    tokio::time::sleep(100 * MS).await;
    assert_eq!((pool.check_out(Ordinary, None).await.unwrap().id, member.open()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn the_pool_never_opens_more_than_its_limit() {
    let (pool, member, _) = pool(options(3));
    let held = take(&pool, Relief, 3).await;
    let waiting = waiter(&pool, Relief).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!((member.attempts(), pool.status().waiting), (3, 1));
    drop(held);
    waiting.await.unwrap().unwrap().finish();
    assert_eq!(member.open_peak(), 3);
}

#[tokio::test]
async fn limits_that_contradict_each_other_are_refused() {
    let refusal = |options| Pool::new(options, Member::new(MS), std::sync::Arc::new(NoEvents)).err();
    assert_eq!(refusal(options(2)), None);
    assert_eq!(refusal(options(1)), Some(OptionsError::Max { max: 1 }));
    assert_eq!(refusal(options(usize::MAX)), Some(OptionsError::Max { max: usize::MAX }));
    let options = |change: fn(&mut PoolOptions)| {
        let mut options = options(4);
        change(&mut options);
        refusal(options).unwrap().to_string()
    };
    assert_eq!(options(|o| o.min_idle = 5), "pool min_idle 5 is above max 4");
    assert_eq!(options(|o| o.awaiting_max = Some(0)), "pool awaiting_max 0 is outside 1 to 10000");
    assert_eq!(options(|o| o.wait_timeout = Duration::ZERO), "pool wait_timeout is zero");
    assert_eq!(options(|o| o.backoff_min = 2 * o.backoff_max), "pool backoff_min 2s is above backoff_max 1s");
}

#[test]
fn the_reserve_is_an_eighth_and_the_awaiting_budget_a_quarter() {
    let shares = |max| (options(max).reserve(), options(max).awaiting_budget());
    assert_eq!([2, 3, 4, 8, 32, 100].map(shares), [(1, 0), (1, 1), (1, 1), (1, 2), (4, 8), (12, 25)]);
}
