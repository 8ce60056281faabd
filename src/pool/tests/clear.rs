//! Generations, pauses, the end.

use std::time::Duration;

use tokio::time::Instant;

use super::fake::*;
use crate::pool::Class::{Ordinary, Relief};
use crate::pool::{CheckoutError, CloseReason};

#[tokio::test(start_paused = true)]
async fn a_clear_closes_idle_ones_at_once_and_others_at_check_in() {
    let (pool, member, recorder) = pool(options(4));
    let mut held = take(&pool, Ordinary, 3).await;
    held.pop().unwrap().finish();
    pool.clear("test");
    settle().await;
    assert_eq!((pool.generation(), member.open(), pool.status().size), (1, 2, 2));
    held.pop().unwrap().finish();
    assert_eq!(member.open(), 1);
    let new = pool.check_out(Ordinary, None).await.unwrap();
    assert_eq!((new.id, new.generation()), (3, 1));
    assert_eq!(*recorder.closed.lock().unwrap(), [CloseReason::Stale; 2]);
    assert_eq!(*recorder.told.lock().unwrap(), ["cleared: test"]);
}

#[tokio::test(start_paused = true)]
async fn who_waits_through_a_clear_gets_a_new_connection() {
    let (pool, _, _) = pool(options(2));
    let held = pool.check_out(Ordinary, None).await.unwrap();
    let _relief = pool.check_out(Relief, None).await.unwrap();
    let waiting = waiter(&pool, Ordinary).await;
    pool.clear("test");
    settle().await;
    assert!(!waiting.is_finished());
    held.finish();
    let served = waiting.await.unwrap().unwrap();
    assert_eq!((served.id, served.generation()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_connect_from_before_a_clear_is_given_up() {
    let (pool, member, _) = slow_pool(options(4), 20 * MS);
    let waiting = waiter(&pool, Ordinary).await;
    tokio::time::sleep(10 * MS).await;
    let begun = Instant::now();
    pool.clear("test");
    let served = waiting.await.unwrap().unwrap();
    assert_eq!((served.generation(), begun.elapsed()), (1, 20 * MS));
    assert_eq!((member.attempts(), member.open_peak()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn one_dead_member_is_cleared_once() {
    let (pool, _, recorder) = pool(options(8));
    let held = take(&pool, Ordinary, 3).await;
    let cleared: Vec<_> =
        held.iter().map(|checkout| pool.clear_generation(checkout.generation(), "reset by peer")).collect();
    assert_eq!(cleared, [true, false, false]);
    assert_eq!((pool.generation(), recorder.told.lock().unwrap().len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_pause_fails_waiters_at_once_and_newcomers_too() {
    let (pool, member, recorder) = pool(options(2));
    let held = pool.check_out(Ordinary, None).await.unwrap();
    let waiting = waiter(&pool, Ordinary).await;
    member.set(Mode::Refuses);
    pool.pause("no hello for 10 s");
    let expected = CheckoutError::Unavailable { cause: "no hello for 10 s".into() };
    assert_eq!(waiting.await.unwrap().unwrap_err(), expected);
    assert_eq!(pool.check_out(Relief, None).await.unwrap_err(), expected);
    held.finish();
    assert!(pool.try_check_out(Ordinary).is_none());
    assert_eq!((member.open(), pool.generation()), (0, 1));
    member.set(Mode::Works);
    pool.resume();
    let begun = Instant::now();
    pool.check_out(Ordinary, None).await.unwrap().finish();
    assert_eq!(begun.elapsed(), MS);
    assert_eq!(*recorder.told.lock().unwrap(), ["paused: no hello for 10 s", "resumed"]);
    assert_whole(&pool, &member, 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_paused_pool_tries_one_connect_now_and_then_and_resumes_itself() {
    let (pool, member, recorder) = pool(options(4));
    member.set(Mode::Refuses);
    pool.pause("gone");
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!((10..=30).contains(&member.attempts()), "{} attempts", member.attempts());
    assert_eq!(member.connecting_peak(), 1);
    member.set(Mode::Works);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(*recorder.told.lock().unwrap(), ["paused: gone", "resumed"]);
    assert_eq!(pool.check_out(Ordinary, None).await.unwrap().generation(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_closed_pool_fails_who_waits_and_keeps_no_connection() {
    let (pool, member, recorder) = pool(options(2));
    let held = pool.check_out(Ordinary, None).await.unwrap();
    pool.check_out(Relief, None).await.unwrap().finish();
    let waiting = waiter(&pool, Ordinary).await;
    pool.close();
    assert_eq!(waiting.await.unwrap().unwrap_err(), CheckoutError::Closed);
    assert_eq!(pool.check_out(Relief, None).await.unwrap_err(), CheckoutError::Closed);
    assert_eq!(pool.awaiting().await.unwrap_err(), CheckoutError::Closed);
    settle().await;
    assert_eq!(member.open(), 1);
    held.finish();
    assert_eq!(member.open(), 0);
    pool.resume();
    assert_eq!(pool.check_out(Relief, None).await.unwrap_err(), CheckoutError::Closed);
    assert_eq!(*recorder.closed.lock().unwrap(), [CloseReason::PoolClosed; 2]);
}

#[tokio::test(start_paused = true)]
async fn the_last_handle_closes_the_pool_and_its_tasks_end() {
    let (pool, member, _) = pool(options(2));
    let held = pool.check_out(Ordinary, None).await.unwrap();
    pool.check_out(Relief, None).await.unwrap().finish();
    drop(pool.clone());
    settle().await;
    assert_eq!(member.open(), 2);
    drop(pool);
    settle().await;
    assert_eq!(member.open(), 1);
    held.finish();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
}
