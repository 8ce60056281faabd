//! Who is served, and when.

use tokio::time::Instant;

use super::fake::*;
use crate::pool::Class::{Ordinary, Relief};

#[tokio::test(start_paused = true)]
async fn returned_connection_serves_the_oldest_waiter() {
    let (pool, member, _) = pool(options(2));
    let held = pool.check_out(Ordinary, None).await.unwrap();
    let id = held.id;
    let oldest = waiter(&pool, Ordinary).await;
    let newest = waiter(&pool, Ordinary).await;
    held.finish();
    settle().await;
    assert!(oldest.is_finished() && !newest.is_finished());
    let held = oldest.await.unwrap().unwrap();
    assert_eq!(held.id, id);
    held.finish();
    assert_eq!(newest.await.unwrap().unwrap().id, id);
    assert_eq!(member.attempts(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_waiter_takes_whichever_comes_first_a_return_or_a_new_connection() {
    let (pool, member, _) = slow_pool(options(10), 100 * MS);
    let held = pool.check_out(Ordinary, None).await.unwrap();
    let begun = Instant::now();
    let waiting = waiter(&pool, Ordinary).await;
    assert_eq!(member.attempts(), 2);
    tokio::time::sleep(5 * MS).await;
    held.finish();
    let served = waiting.await.unwrap().unwrap();
    assert_eq!((served.id, begun.elapsed()), (0, 5 * MS));
    // What was begun for it is not thrown away.
    tokio::time::sleep(100 * MS).await;
    assert_eq!((pool.status().idle, pool.status().size), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn the_connection_returned_last_goes_out_first() {
    let (pool, _, _) = pool(options(4));
    let mut held = take(&pool, Ordinary, 3).await;
    let (last, middle, first) = (held.remove(1), held.remove(0), held.remove(0));
    let expected = [last.id, middle.id, first.id];
    [first, middle, last].into_iter().for_each(FakeCheckout::finish);
    let again = take(&pool, Ordinary, 3).await;
    assert_eq!(again.iter().map(|checkout| checkout.id).collect::<Vec<_>>(), expected);
}

#[tokio::test(start_paused = true)]
async fn who_holds_something_on_the_server_passes_those_who_wait_for_it() {
    let (pool, _, _) = pool(options(2));
    let _holder = pool.check_out(Ordinary, None).await.unwrap();
    let first = waiter(&pool, Ordinary).await;
    let second = waiter(&pool, Ordinary).await;
    let begun = Instant::now();
    pool.check_out(Relief, None).await.unwrap().finish();
    assert!(begun.elapsed() <= MS, "{:?}", begun.elapsed());
    assert!(pool.try_check_out(Relief).is_some());
    assert!(!first.is_finished() && !second.is_finished());
}

#[tokio::test(start_paused = true)]
async fn ordinary_work_leaves_an_eighth_of_the_pool() {
    let (pool, _, _) = pool(options(32));
    let _ordinary = take(&pool, Ordinary, 28).await;
    let waiting = waiter(&pool, Ordinary).await;
    let _relief = take(&pool, Relief, 4).await;
    assert!(!waiting.is_finished());
    assert_eq!(pool.status().out, 32);
}

/// The case that decided against a pool that commits a waiter to a connect: it took 500 ms there.
#[tokio::test(start_paused = true)]
async fn a_hundred_clients_at_an_empty_pool_are_served_by_returns_within_60_ms() {
    let (pool, _, _) = slow_pool(options(50), 20 * MS);
    let begun = Instant::now();
    let clients: Vec<_> = (0..100)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move {
                let checkout = pool.check_out(Ordinary, None).await.unwrap();
                let waited = begun.elapsed();
                tokio::time::sleep(MS).await;
                checkout.finish();
                waited
            })
        })
        .collect();
    let mut waits = Vec::new();
    for client in clients {
        waits.push(client.await.unwrap());
    }
    waits.sort();
    println!("p50 {:?}, p99 {:?}, max {:?}", waits[49], waits[98], waits[99]);
    assert!(waits[98] <= 60 * MS, "p99 {:?}", waits[98]);
}

/// The session future holds this one; it must stay below 1 KiB as a whole.
#[tokio::test(start_paused = true)]
async fn a_waiting_future_is_small() {
    let (pool, _, _) = pool(options(2));
    let check_out = size_of_val(&pool.check_out(Ordinary, None));
    let checkout = size_of::<FakeCheckout>();
    println!("check_out {check_out} bytes, Checkout {checkout} bytes");
    assert!(check_out <= 416, "{check_out}");
    assert!(checkout <= 48, "{checkout}");
}
