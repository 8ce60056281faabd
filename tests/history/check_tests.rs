//! The checker sees what it is there for.

use super::check::{Kind, linearizable, sequential};
use super::event::{Key, Op, Seen, What, WriteId};
use super::order::{Change, Order};

const X: Key = Key { collection: 0, id: 0 };
const Y: Key = Key { collection: 0, id: 1 };

fn order(changes: &[(WriteId, &[(Key, bool)])]) -> Order {
    let changes = changes.iter().map(|(id, documents)| Change { id: *id, documents: documents.to_vec() });
    Order::of(&changes.collect::<Vec<_>>())
}

/// X is written by 1, Y by 2, X by 3, deleted by 4, written by 5.
fn usual() -> Order {
    order(&[(1, &[(X, true)]), (2, &[(Y, true)]), (3, &[(X, true)]), (4, &[(X, false)]), (5, &[(X, true)])])
}

fn op(client: u32, start: u64, end: u64, what: What) -> Op {
    Op { client, collection: 0, start, end, what }
}

fn read(client: u32, at: u64, seen: &[(Key, Seen)]) -> Op {
    op(client, at, at + 1, What::Read(seen.to_vec()))
}

fn sees(client: u32, at: u64, key: Key, seen: Seen) -> Op {
    read(client, at, &[(key, seen)])
}

fn wrote(client: u32, at: u64, id: WriteId) -> Op {
    op(client, at, at + 1, What::Wrote(id, None))
}

fn kinds(found: Vec<super::check::Violation>) -> Vec<Kind> {
    found.into_iter().map(|violation| violation.kind).collect()
}

#[test]
fn clients_that_go_forward_at_their_own_pace_are_sequential_and_not_linearizable() {
    let ops = [
        wrote(1, 0, 1),
        sees(2, 10, X, Seen::Absent),
        wrote(1, 20, 3),
        sees(2, 30, X, Seen::Left(1)),
        sees(2, 40, X, Seen::Left(1)),
        sees(2, 50, X, Seen::Absent),
        sees(2, 60, X, Seen::Present),
    ];
    assert_eq!(kinds(sequential(&usual(), &ops)), []);
    // The absence at 10 can only be the later one, which 3 then stands before.
    assert_eq!(kinds(linearizable(&usual(), &ops)), [Kind::Misplaced, Kind::Stale, Kind::Stale]);
}

#[test]
fn going_back_is_seen_whether_by_value_by_absence_or_across_documents() {
    let back = |first: Op, second: Op| kinds(sequential(&usual(), &[first, second]));
    assert_eq!(back(sees(1, 0, X, Seen::Left(3)), sees(1, 5, X, Seen::Left(1))), [Kind::Stale]);
    assert_eq!(back(sees(1, 0, X, Seen::Left(5)), sees(1, 5, X, Seen::Absent)), [Kind::Stale]);
    assert_eq!(back(sees(1, 0, Y, Seen::Left(2)), sees(1, 5, X, Seen::Left(1))), []);
    assert_eq!(back(sees(1, 0, X, Seen::Left(3)), sees(1, 5, Y, Seen::Absent)), [Kind::Stale]);
    // Another client's.
    assert_eq!(back(sees(1, 0, X, Seen::Left(3)), sees(2, 5, X, Seen::Left(1))), []);
}

#[test]
fn a_client_that_does_not_see_its_own_write_is_seen() {
    let after = |seen| kinds(sequential(&usual(), &[wrote(1, 0, 3), sees(1, 5, X, seen)]));
    assert_eq!(after(Seen::Left(1)), [Kind::Stale]);
    assert_eq!(after(Seen::Left(3)), []);
    assert_eq!(after(Seen::Absent), []);
}

#[test]
fn what_was_rolled_back_is_lost_to_its_writer_and_a_phantom_to_its_reader() {
    let ops = [wrote(1, 0, 9), sees(2, 5, X, Seen::Left(9))];
    assert_eq!(kinds(sequential(&usual(), &ops)), [Kind::Lost, Kind::Phantom]);
    assert_eq!(kinds(linearizable(&usual(), &ops)), [Kind::Lost, Kind::Phantom]);
    let doubtful = op(1, 0, 1, What::Doubtful(9));
    assert_eq!(kinds(sequential(&usual(), &[doubtful])), []);
}

#[test]
fn documents_that_never_were_so_together_are_torn() {
    let torn = [(X, Seen::Left(3)), (Y, Seen::Absent)];
    assert_eq!(kinds(sequential(&usual(), &[read(1, 0, &torn)])), [Kind::Torn]);
    let whole = [(X, Seen::Left(1)), (Y, Seen::Left(2))];
    assert_eq!(kinds(sequential(&usual(), &[read(1, 0, &whole)])), []);
    // Absent at first, and once more later: the moment is found that fits both.
    let absent = [(X, Seen::Absent), (Y, Seen::Left(2))];
    assert_eq!(
        kinds(sequential(&usual(), &[read(1, 0, &absent), sees(1, 5, X, Seen::Left(3))])),
        [Kind::Stale]
    );
    // One transaction, of which half is seen.
    let both = order(&[(1, &[(X, true), (Y, true)])]);
    let half = [(X, Seen::Left(1)), (Y, Seen::Absent)];
    assert_eq!(kinds(sequential(&both, &[read(1, 0, &half)])), [Kind::Torn]);
}

#[test]
fn a_write_stands_behind_what_its_client_had_seen_and_knows_what_was_before_it() {
    let late = |what| kinds(sequential(&usual(), &[sees(1, 0, X, Seen::Left(5)), op(1, 5, 6, what)]));
    assert_eq!(late(What::Wrote(3, None)), [Kind::Misplaced]);
    assert_eq!(late(What::Doubtful(3)), [Kind::Misplaced]);
    let before = |id, seen| kinds(sequential(&usual(), &[op(1, 0, 1, What::Wrote(id, Some((X, seen))))]));
    assert_eq!(before(3, Seen::Left(1)), []);
    assert_eq!(before(3, Seen::Absent), [Kind::WrongBefore]);
    assert_eq!(before(5, Seen::Absent), []);
    assert_eq!(before(5, Seen::Present), [Kind::WrongBefore]);
}

#[test]
fn what_is_under_way_at_the_same_time_may_be_seen_or_not() {
    // 3 is sent at 10 and acknowledged at 20: whoever begins before its end may see either, and whoever begins after
    // one that saw it must.
    let write = op(1, 10, 20, What::Wrote(3, None));
    let run = |reads: &[(u64, u64, WriteId)]| {
        let reads = reads.iter().zip(2..);
        let reads = reads.map(|((start, end, id), client)| {
            op(client, *start, *end, What::Read(vec![(X, Seen::Left(*id))]))
        });
        kinds(linearizable(
            &usual(),
            &[wrote(1, 0, 1)].into_iter().chain([write.clone()]).chain(reads).collect::<Vec<_>>(),
        ))
    };
    assert_eq!(run(&[(12, 13, 1), (14, 15, 3), (14, 16, 1)]), []);
    assert_eq!(run(&[(12, 13, 3), (14, 15, 1)]), [Kind::Stale]);
    assert_eq!(run(&[(12, 40, 1), (21, 22, 3)]), []);
    assert_eq!(run(&[(21, 22, 1)]), [Kind::Stale]);
    // Seen before it was sent.
    assert_eq!(run(&[(2, 3, 3)]), [Kind::Misplaced]);
    // Of which nobody was told, but which somebody saw.
    let doubtful = op(1, 10, 20, What::Doubtful(3));
    let ops = [
        doubtful,
        sees(2, 30, X, Seen::Left(1)),
        sees(3, 40, X, Seen::Left(3)),
        sees(2, 50, X, Seen::Left(1)),
    ];
    assert_eq!(kinds(linearizable(&usual(), &ops)), [Kind::Stale]);
}
