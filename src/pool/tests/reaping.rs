//! What the reaper closes, and that nobody notices.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::fake::*;
use crate::pool::Class::Ordinary;
use crate::pool::{CloseReason, PoolOptions};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn the_reaper_keeps_the_order() {
    let (pool, _, _) = pool(options(16));
    take(&pool, Ordinary, 5).await.into_iter().for_each(FakeCheckout::finish);
    tokio::time::sleep(3 * SECOND).await;
    let again = take(&pool, Ordinary, 5).await;
    assert_eq!(again.iter().map(|checkout| checkout.id).collect::<Vec<_>>(), [4, 3, 2, 1, 0]);
}

#[tokio::test(start_paused = true)]
async fn connections_idle_for_too_long_are_closed_down_to_the_minimum() {
    let idle_timeout = Some(10 * SECOND);
    let (pool, member, recorder) = pool(PoolOptions { idle_timeout, min_idle: 1, ..options(16) });
    let mut held = take(&pool, Ordinary, 5).await;
    let busy = held.pop().unwrap();
    let id = busy.id;
    held.into_iter().for_each(FakeCheckout::finish);
    tokio::time::sleep(9 * SECOND).await;
    assert!(member.open() >= 5);
    busy.finish();
    tokio::time::sleep(3 * SECOND).await;
    assert_eq!(member.open(), 1);
    assert!(recorder.closed.lock().unwrap().iter().all(|reason| *reason == CloseReason::Idle));
    assert_eq!(pool.check_out(Ordinary, None).await.unwrap().id, id);
}

#[tokio::test(start_paused = true)]
async fn a_broken_idle_connection_is_closed_within_two_seconds() {
    let (pool, member, recorder) = pool(options(4));
    let held = pool.check_out(Ordinary, None).await.unwrap();
    held.broken.store(true, Ordering::SeqCst);
    held.finish();
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(member.open(), 0);
    assert_eq!(*recorder.closed.lock().unwrap(), [CloseReason::Broken]);
}

#[tokio::test(start_paused = true)]
async fn connections_made_together_do_not_end_together() {
    let lifetime = Some(100 * SECOND);
    let (pool, member, _) = pool(PoolOptions { lifetime, ..options(40) });
    take(&pool, Ordinary, 30).await.into_iter().for_each(FakeCheckout::finish);
    let mut most = 0;
    tokio::time::sleep(79 * SECOND).await;
    assert_eq!(member.open(), 30);
    for _ in 0..23 {
        let before = member.open();
        tokio::time::sleep(SECOND).await;
        most = most.max(before - member.open());
    }
    assert_eq!(member.open(), 0);
    assert!(most <= 8, "{most} ended within one second");
}
