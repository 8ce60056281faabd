//! A future dropped at any of its await points loses no connection, no place, and returns none that is half used.

use std::pin::Pin;
use std::task::Poll;

use super::fake::*;
use crate::pool::Class::{self, Ordinary, Relief};
use crate::pool::CloseReason;

const MAX: usize = 2;

/// What happens around a checkout between two of its polls.
#[derive(Debug, Clone, Copy)]
enum Around {
    Nothing,
    Time,
    Return,
    ReturnAndClear,
    ReturnBroken,
    Close,
    Clear,
    Pause,
    Resume,
}

const AROUND: [Around; 9] = [
    Around::Nothing,
    Around::Time,
    Around::Return,
    Around::ReturnAndClear,
    Around::ReturnBroken,
    Around::Close,
    Around::Clear,
    Around::Pause,
    Around::Resume,
];

async fn happen(around: Around, pool: &FakePool, held: &mut Vec<FakeCheckout>) {
    use std::sync::atomic::Ordering::SeqCst;
    match around {
        Around::Nothing => {}
        Around::Time => tokio::time::sleep(MS).await,
        Around::Return => held.pop().into_iter().for_each(FakeCheckout::finish),
        Around::ReturnAndClear => {
            held.pop().into_iter().for_each(FakeCheckout::finish);
            pool.clear("test");
        }
        Around::ReturnBroken => {
            if let Some(checkout) = held.pop() {
                checkout.broken.store(true, SeqCst);
                checkout.finish();
            }
        }
        Around::Close => held.pop().into_iter().for_each(|checkout| checkout.close(CloseReason::Error)),
        Around::Clear => pool.clear("test"),
        Around::Pause => pool.pause("test"),
        Around::Resume => pool.resume(),
    }
}

/// A whole exchange: dirty from its first byte to its last.
async fn exchange(pool: FakePool, class: Class) {
    let Ok(mut checkout) = pool.check_out(class, None).await else { return };
    assert!(!checkout.dirty, "handed out in mid-exchange");
    checkout.dirty = true;
    tokio::task::yield_now().await;
    tokio::time::sleep(MS).await;
    checkout.dirty = false;
    checkout.finish();
}

/// Polls an exchange once before each of `course` and drops it after the last; another waits behind it throughout.
async fn cut_off(class: Class, out: usize, course: &[Around]) {
    let (pool, member, _) = pool(options(MAX));
    let mut held = take(&pool, Relief, out).await;
    if out > 0 {
        held.pop().unwrap().finish(); // so that some are idle, or all of those there are
        held.push(pool.check_out(Ordinary, None).await.unwrap());
    }
    let mut exchange = Box::pin(exchange(pool.clone(), class));
    let behind = tokio::spawn(self::exchange(pool.clone(), class));
    for around in course {
        if poll_once(&mut exchange).await.is_ready() {
            break;
        }
        happen(*around, &pool, &mut held).await;
    }
    drop(exchange);
    held.into_iter().for_each(FakeCheckout::finish);
    pool.resume();
    behind.await.unwrap();
    assert_whole(&pool, &member, MAX).await;
    assert!(member.open_peak() <= MAX);
}

/// All courses of up to three steps.
fn courses() -> Vec<Vec<Around>> {
    let longer = |courses: &[Vec<Around>]| -> Vec<Vec<Around>> {
        courses.iter().flat_map(|course| AROUND.map(|around| [&course[..], &[around]].concat())).collect()
    };
    let one = longer(&[vec![]]);
    let two = longer(&one);
    let three = longer(&two);
    [one, two, three].concat()
}

#[tokio::test(start_paused = true)]
async fn an_exchange_dropped_at_any_point_loses_nothing() {
    let courses = courses();
    assert_eq!(courses.len(), 9 + 9 * 9 + 9 * 9 * 9);
    for course in &courses {
        for class in [Ordinary, Relief] {
            for out in 0..=MAX {
                cut_off(class, out, course).await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_assigned_to_a_dropped_waiter_goes_to_the_next() {
    let (pool, member, _) = pool(options(2));
    let held = pool.check_out(Ordinary, None).await.unwrap();
    let mut first = Box::pin(pool.check_out(Ordinary, None));
    assert!(poll_once(&mut first).await.is_pending());
    let second = waiter(&pool, Ordinary).await;
    held.finish(); // assigns it to `first`, which is not polled again
    settle().await;
    assert!(!second.is_finished());
    drop(first);
    assert_eq!(second.await.unwrap().unwrap().id, 0);
    assert_eq!(member.attempts(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_checkout_closes_its_connection() {
    let (pool, member, recorder) = pool(options(2));
    let mut exchange: Pin<Box<_>> = Box::pin(exchange(pool.clone(), Ordinary));
    while member.open() == 0 {
        assert_eq!(poll_once(&mut exchange).await, Poll::Pending);
        tokio::time::sleep(MS).await;
    }
    assert_eq!(poll_once(&mut exchange).await, Poll::Pending);
    drop(exchange);
    assert_eq!((member.open(), pool.status().size), (0, 0));
    assert_eq!(*recorder.closed.lock().unwrap(), [CloseReason::Dropped]);
    assert_whole(&pool, &member, 2).await;
}
