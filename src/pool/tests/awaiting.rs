//! Awaiting operations have a budget of their own.

use super::fake::*;
use crate::pool::Class::{Ordinary, Relief};
use crate::pool::PoolOptions;

#[tokio::test(start_paused = true)]
async fn awaiting_operations_hold_at_most_a_quarter() {
    let (pool, _, _) = pool(options(8));
    let first = pool.try_awaiting().unwrap();
    let second = pool.try_awaiting().unwrap();
    assert!(pool.try_awaiting().is_none());
    assert_eq!((pool.status().awaiting, pool.status().awaiting_max), (2, 2));
    let first = pool.check_out_awaiting(first, None).await.unwrap();
    let second = pool.check_out_awaiting(second, None).await.unwrap();
    // They are ordinary work as well: the reserve is not theirs.
    let _ordinary = take(&pool, Ordinary, 5).await;
    assert!(!waiter(&pool, Ordinary).await.is_finished());
    let _relief = pool.check_out(Relief, None).await.unwrap();
    first.finish();
    assert!(pool.try_awaiting().is_some());
    drop(second);
    assert_eq!(pool.status().awaiting, 0);
}

#[tokio::test(start_paused = true)]
async fn a_place_goes_to_the_oldest_awaiting_operation() {
    let (pool, _, _) = pool(options(4));
    let held = pool.check_out_awaiting(pool.try_awaiting().unwrap(), None).await.unwrap();
    let spawn = |pool: FakePool| tokio::spawn(async move { pool.awaiting().await });
    let (gone, oldest, newest) = (spawn(pool.clone()), spawn(pool.clone()), spawn(pool.clone()));
    settle().await;
    gone.abort();
    settle().await;
    held.finish();
    settle().await;
    assert!(oldest.is_finished() && !newest.is_finished());
    assert!(pool.try_awaiting().is_none());
    drop(oldest.await.unwrap().unwrap());
    newest.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn extra_connections_for_awaiting_operations_leave_the_pool_to_others() {
    let (pool, member, _) = pool(PoolOptions { awaiting_max: Some(3), ..options(2) });
    let mut awaiting = Vec::new();
    while let Some(permit) = pool.try_awaiting() {
        awaiting.push(pool.check_out_awaiting(permit, None).await.unwrap());
    }
    let _ordinary = pool.check_out(Ordinary, None).await.unwrap();
    let _relief = pool.check_out(Relief, None).await.unwrap();
    let status = pool.status();
    assert_eq!((awaiting.len(), member.open(), status.max, status.out), (3, 5, 5, 5));
    assert!(pool.clear_generation(awaiting[0].generation(), "reset by peer"));
    awaiting.into_iter().for_each(FakeCheckout::finish);
    assert_eq!(member.open(), 2);
    pool.close();
    settle().await;
    assert_eq!(pool.status().idle, 0);
}

#[tokio::test(start_paused = true)]
async fn a_failed_checkout_gives_its_awaiting_place_back() {
    let (pool, _, _) = pool(options(4));
    let permit = pool.try_awaiting().unwrap();
    pool.pause("gone");
    pool.check_out_awaiting(permit, None).await.unwrap_err();
    assert_eq!(pool.status().awaiting, 0);
}
