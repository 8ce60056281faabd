//! Who is a user of which transaction, and what becomes of those that nobody uses.

use super::*;

const AFTER: Duration = Duration::from_secs(10);

fn id(number: i64) -> TransactionId {
    TransactionId { session: [1; 16], number }
}

fn nth(n: usize) -> TransactionId {
    let mut session = [0; 16];
    session[..8].copy_from_slice(&n.to_le_bytes());
    TransactionId { session, number: 1 }
}

fn take(transactions: &Transactions<u8>) -> Option<(TransactionId, Arc<u8>)> {
    transactions.take_orphan(AFTER).map(|orphan| (orphan.id, orphan.member().clone()))
}

/// A set of one member, and two clients.
fn start() -> (Transactions<u8>, Arc<u8>, Own, Own) {
    (Transactions::default(), Arc::new(0), Own::default(), Own::default())
}

#[tokio::test(start_paused = true)]
async fn a_transaction_is_orphaned_when_all_who_used_it_have_been_gone_for_a_while() {
    let (transactions, member, mut one, mut other) = start();
    transactions.used(&id(1), &member, &mut one, Step::Start);
    transactions.used(&id(1), &member, &mut other, Step::Continue);
    transactions.left(&one);
    tokio::time::advance(AFTER * 2).await;
    assert_eq!(take(&transactions), None, "one is still connected");
    transactions.left(&other);
    assert_eq!(take(&transactions), None, "it has only just left");
    assert_eq!(transactions.unfinished(AFTER), 1, "it is still to be aborted");
    tokio::time::advance(AFTER).await;
    assert_eq!(take(&transactions), Some((id(1), member)));
    assert_eq!((transactions.len(), take(&transactions)), (0, None));
}

#[tokio::test(start_paused = true)]
async fn what_may_have_been_committed_is_never_aborted() {
    let (transactions, member, mut own, _) = start();
    transactions.used(&id(1), &member, &mut own, Step::Start);
    transactions.used(&id(1), &member, &mut own, Step::Commit);
    transactions.left(&own);
    assert_eq!(transactions.unfinished(AFTER), 0);
    tokio::time::advance(AFTER).await;
    assert_eq!((take(&transactions), transactions.len()), (None, 0));
}

#[tokio::test]
async fn the_next_transaction_of_a_session_takes_the_place_of_the_last() {
    let (transactions, member, mut own, _) = start();
    transactions.used(&id(1), &member, &mut own, Step::Start);
    transactions.used(&id(2), &member, &mut own, Step::Start);
    assert!(transactions.is_open(&id(2)) && !transactions.is_open(&id(1)));
    transactions.ended(&id(1), &member, &mut own);
    assert!(transactions.is_open(&id(2)));
}

#[tokio::test]
async fn a_statement_of_an_unknown_transaction_makes_nobody_a_user() {
    let (transactions, member, mut own, _) = start();
    transactions.used(&id(1), &member, &mut own, Step::Continue);
    assert!(own.0.is_empty() && transactions.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_waits_with_a_statement_is_a_user_before_it_is_sent() {
    let (transactions, member, mut one, mut waits) = start();
    transactions.used(&id(1), &member, &mut one, Step::Start);
    transactions.left(&one);
    tokio::time::advance(AFTER - Duration::from_secs(1)).await;
    transactions.waits(&id(1), &member, &mut waits);
    tokio::time::advance(AFTER * 2).await;
    assert_eq!(take(&transactions), None);
    transactions.used(&id(1), &member, &mut waits, Step::Continue);
    transactions.left(&waits);
    tokio::time::advance(AFTER).await;
    assert!(take(&transactions).is_some(), "it was counted once");
}

#[tokio::test]
async fn what_others_are_told_does_not_end_a_transaction() {
    let (transactions, member, mut user, mut stranger) = start();
    transactions.used(&id(1), &member, &mut stranger, Step::Continue);
    transactions.used(&id(1), &member, &mut user, Step::Start);
    transactions.ended(&id(1), &member, &mut stranger);
    assert!(transactions.is_open(&id(1)), "its statement came before the start");
    let elsewhere = Arc::new(0);
    transactions.used(&id(1), &elsewhere, &mut stranger, Step::Continue);
    transactions.ended(&id(1), &elsewhere, &mut stranger);
    transactions.ended(&id(1), &elsewhere, &mut user);
    assert!(transactions.is_open(&id(1)), "another member knows nothing of it");
    transactions.ended(&id(1), &member, &mut user);
    assert_eq!(transactions.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_user_of_a_transaction_that_was_forgotten_is_counted_anew_when_it_is_begun_again() {
    let (transactions, member, mut one, mut other) = start();
    transactions.used(&id(1), &member, &mut one, Step::Start);
    transactions.used(&id(1), &member, &mut other, Step::Continue);
    transactions.ended(&id(1), &member, &mut other);
    transactions.used(&id(1), &member, &mut other, Step::Start);
    transactions.used(&id(1), &member, &mut one, Step::Continue);
    transactions.left(&other);
    tokio::time::advance(AFTER).await;
    assert_eq!(take(&transactions), None, "the first is still there");
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_waits_for_what_was_used_lately_and_has_not_failed() {
    let (transactions, member, mut own, _) = start();
    transactions.used(&id(1), &member, &mut own, Step::Start);
    assert_eq!(transactions.unfinished(AFTER), 1);
    transactions.failed(&id(1), &member, &own);
    assert_eq!((transactions.unfinished(AFTER), transactions.is_open(&id(1))), (0, true));
    transactions.used(&id(1), &member, &mut own, Step::Continue);
    assert_eq!(transactions.unfinished(AFTER), 1, "it goes on");
    tokio::time::advance(AFTER).await;
    assert_eq!(transactions.unfinished(AFTER), 0);
    transactions.used(&id(1), &member, &mut own, Step::Continue);
    transactions.killed(&member, Some(&[[2; 16]]));
    transactions.killed(&Arc::new(0), None);
    assert_eq!(transactions.unfinished(AFTER), 1, "others were killed");
    transactions.killed(&member, Some(&[[1; 16]]));
    assert_eq!(transactions.unfinished(AFTER), 0);
}

#[tokio::test(start_paused = true)]
async fn what_was_not_used_for_long_is_forgotten_and_not_aborted() {
    let (transactions, member, mut own, _) = start();
    transactions.used(&id(1), &member, &mut own, Step::Start);
    tokio::time::advance(FORGOTTEN_AFTER).await;
    assert_eq!((take(&transactions), transactions.len()), (None, 0));
    transactions.left(&own);
}

#[tokio::test(start_paused = true)]
async fn one_client_cannot_fill_the_room_of_all() {
    let (transactions, member, mut own, mut other) = start();
    for n in 0..EACH_MAX + 5 {
        transactions.used(&nth(n), &member, &mut own, Step::Start);
    }
    assert_eq!((transactions.len(), own.0.len()), (EACH_MAX, EACH_MAX));
    transactions.used(&nth(EACH_MAX), &member, &mut other, Step::Start);
    assert!(transactions.is_open(&nth(EACH_MAX)));
    tokio::time::advance(FORGOTTEN_AFTER).await;
    take(&transactions);
    transactions.used(&nth(EACH_MAX + 1), &member, &mut own, Step::Start);
    assert_eq!((transactions.len(), own.0.len()), (1, 1), "what is gone makes room");
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_aborted_is_an_orphan_again_a_little_later() {
    let (transactions, member, mut own, _) = start();
    transactions.used(&id(1), &member, &mut own, Step::Start);
    transactions.left(&own);
    tokio::time::advance(AFTER).await;
    for _ in 0..3 {
        let orphan = transactions.take_orphan(AFTER).unwrap();
        assert!(!transactions.is_open(&id(1)));
        transactions.not_aborted(orphan);
        assert!(
            transactions.is_open(&id(1)) && transactions.unfinished(AFTER) == 0,
            "no shutdown waits for it"
        );
        assert_eq!(take(&transactions), None, "not at once");
        tokio::time::advance(AGAIN_AFTER).await;
    }
    let again = transactions.take_orphan(AFTER).unwrap();
    assert!(again.is_again());
    transactions.not_aborted(again);
    tokio::time::advance(FORGOTTEN_AFTER).await;
    assert_eq!((take(&transactions), transactions.len()), (None, 0), "the server has ended it");
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_aborted_is_left_alone_when_its_session_goes_on() {
    let (transactions, member, mut own, mut other) = start();
    transactions.used(&id(1), &member, &mut own, Step::Start);
    transactions.left(&own);
    tokio::time::advance(AFTER).await;
    transactions.not_aborted(transactions.take_orphan(AFTER).unwrap());
    transactions.used(&id(1), &member, &mut other, Step::Continue);
    transactions.left(&other);
    tokio::time::advance(AGAIN_AFTER).await;
    assert_eq!(take(&transactions), None, "it was used, and is given its time again");
    tokio::time::advance(AFTER).await;
    let orphan = transactions.take_orphan(AFTER).unwrap();
    transactions.used(&id(2), &member, &mut Own::default(), Step::Start);
    transactions.not_aborted(orphan);
    assert!(transactions.is_open(&id(2)));
}
