//! What befalls members: one at a time, each healed before the next.

use std::time::Duration;

use bson::doc;

use super::bag::Bag;
use super::book::Book;
use super::commands::upsert;
use super::event::{Key, Op, What};
use super::session::{DATABASE, session_id};
use crate::support::{ReplicaSet, wait_until};

/// The first makes reads stale that nobody guards.
pub const KINDS: &[&str] = &[
    "a secondary stands still in what it applies",
    "the primary is killed",
    "the primary steps down",
    "the primary is cut off, and writes on",
    "the primary is frozen",
    "the primary is killed with writes that no other has",
    "a secondary stands still in what it applies, and thaws at once",
];

/// Writes on a primary that nobody else hears, directly and without a majority: most are rolled back, and nobody who
/// reads a tagged collection may have seen those.
#[derive(Debug)]
pub struct Loner {
    number: u32,
    last: u32,
    /// What it did; it never asks what came of it.
    pub ops: Vec<Op>,
}

impl Loner {
    /// Client `number`.
    pub fn new(number: u32) -> Loner {
        Loner { number, last: 0, ops: Vec::new() }
    }

    fn writes_on(&mut self, set: &ReplicaSet, member: usize, book: &Book, bag: &mut Bag) {
        let mut connection = set.client(member);
        connection.set_timeout(Duration::from_secs(2));
        for _ in 0..12 {
            self.last += 1;
            let (collection, id) = (bag.pick(3) as u8, bag.pick(4) as u8);
            let write_id = u64::from(self.number) << 32 | u64::from(self.last);
            let mut command = upsert(Key { collection, id }, write_id);
            let concern = doc! { "w": 1 };
            command.extend(doc! { "lsid": { "id": session_id(self.number) }, "txnNumber": i64::from(self.last), "writeConcern": concern });
            let start = book.now();
            let is_over = connection.try_command(DATABASE, command).is_err();
            let (what, end) = (What::Doubtful(write_id), book.now());
            self.ops.push(Op { client: self.number, collection, start, end, what });
            if is_over {
                return;
            }
            book.rest(Duration::from_millis(40));
        }
    }
}

/// Faults until the run is over.
pub fn befall(set: &mut ReplicaSet, book: &Book, bag: &mut Bag, loner: &mut Loner) {
    while !book.is_over() {
        one(set, book, bag, loner);
        set.wait_healthy();
        book.rest(bag.time(1_500, 4_500));
    }
}

fn one(set: &mut ReplicaSet, book: &Book, bag: &mut Bag, loner: &mut Loner) {
    let kind = bag.draw(book);
    let primary = set.primary();
    match KINDS.iter().position(|known| *known == kind).unwrap() {
        0 => stand_still(set, bag, book, 4_000, 6_000),
        1 => {
            set.members[primary].kill();
            book.rest(bag.time(200, 5_000));
            set.members[primary].restart();
        }
        2 => {
            let _ = set.client(primary).try_command("admin", doc! { "replSetStepDown": 5, "force": true });
            book.rest(bag.time(500, 2_000));
        }
        3 => {
            set.relays[primary].blackhole();
            loner.writes_on(set, primary, book, bag);
            book.rest(bag.time(1_000, 5_000));
            set.relays[primary].pass();
        }
        4 => {
            set.members[primary].pause();
            book.rest(bag.time(1_000, 6_000));
            set.members[primary].resume();
        }
        5 => leave_alone_and_kill(set, primary, book, bag, loner),
        _ => stand_still(set, bag, book, 200, 1_500),
    }
}

fn stand_still(set: &ReplicaSet, bag: &mut Bag, book: &Book, from: u64, to: u64) {
    let secondary = set.secondary();
    let mut member = set.client(secondary);
    member.run("admin", doc! { "configureFailPoint": "rsSyncApplyStop", "mode": "alwaysOn" });
    book.rest(bag.time(from, to));
    member.run("admin", doc! { "configureFailPoint": "rsSyncApplyStop", "mode": "off" });
}

fn leave_alone_and_kill(set: &mut ReplicaSet, primary: usize, book: &Book, bag: &mut Bag, loner: &mut Loner) {
    let others: Vec<usize> = (0..set.members.len()).filter(|index| *index != primary).collect();
    let fetching = |set: &ReplicaSet, mode: &str| {
        for other in &others {
            let fail_point = doc! { "configureFailPoint": "stopReplProducer", "mode": mode };
            set.client(*other).run("admin", fail_point);
        }
    };
    fetching(set, "alwaysOn");
    book.rest(bag.time(300, 600));
    loner.writes_on(set, primary, book, bag);
    book.rest(bag.time(100, 1_500));
    set.members[primary].kill();
    fetching(set, "off");
    wait_until("another primary", Duration::from_secs(60), || {
        set.find_primary().is_some_and(|new| new != primary)
    });
    book.rest(bag.time(200, 2_000));
    set.members[primary].restart();
}
