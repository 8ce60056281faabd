//! A whole run: clients and faults side by side, then the end state.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::bag::Bag;
use super::book::{Book, EndsRun};
use super::client::{Client, Told};
use super::dice::Dice;
use super::event::{Key, Op, Seen};
use super::faults_members::{self, Loner};
use super::order::{Change, Order};
use super::stage::Stage;
use super::{faults_toranas, faults_zookeeper, oplog};

/// The kinds of faults of each lane.
pub const KINDS: [&[&str]; 3] = [faults_members::KINDS, faults_toranas::KINDS, faults_zookeeper::KINDS];

/// Applications at work at once.
const CLIENTS: u32 = 12;

/// Between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(10);

/// What a run came to.
pub struct Outcome {
    /// What clients were told, by client.
    pub told: Vec<Told>,
    /// Writes past torana.
    pub past: Vec<Op>,
    /// The order of the writes that lasted.
    pub order: Order,
    /// How many they are.
    pub writes: usize,
    /// The documents that a majority has in the end.
    pub documents: Vec<(Key, Seen)>,
    /// How many faults of each kind there were.
    pub faults: BTreeMap<&'static str, u64>,
    /// Members that took back what they had written.
    pub rollbacks: usize,
}

/// Runs for `length` with the faults and operations of `seed`.
pub fn run(length: Duration, seed: u64) -> Outcome {
    let mut stage = Stage::start();
    let book = stage.book();
    let mut bags = KINDS
        .into_iter()
        .zip(1000..)
        .map(|(kinds, stream)| Bag::new(kinds, Dice::new(seed, stream)))
        .collect::<Vec<_>>();
    let mut loner = Loner::new(CLIENTS + 1);
    let told = work(&mut stage, &book, length, seed, &mut bags, &mut loner);
    book.say("all is healed: the end state");
    stage.settle();
    stage.serves();
    let primary = stage.set.primary();
    let mut connection = stage.set.client(primary);
    let changes: Vec<Change> = oplog::changes(&mut connection, stage.since);
    Outcome {
        told,
        past: loner.ops,
        order: Order::of(&changes),
        writes: changes.len(),
        documents: oplog::last_documents(&mut connection),
        faults: bags.into_iter().flat_map(|bag| bag.counts).collect(),
        rollbacks: stage.rollbacks(),
    }
}

fn work(
    stage: &mut Stage,
    book: &Book,
    length: Duration,
    seed: u64,
    bags: &mut [Bag],
    loner: &mut Loner,
) -> Vec<Told> {
    let Stage { set, zookeeper, toranas, links, .. } = stage;
    let [members, gates, keepers] = bags else { unreachable!("three lanes") };
    std::thread::scope(|scope| {
        let _ends = EndsRun(book);
        let clients: Vec<_> = (1..=CLIENTS)
            .map(|number| {
                scope.spawn(move || Client::new(number, book, Dice::new(seed, u64::from(number))).run())
            })
            .collect();
        let lanes = [
            scope.spawn(|| faults_members::befall(set, book, members, loner)),
            scope.spawn(|| faults_toranas::befall(toranas, book, gates)),
            scope.spawn(|| faults_zookeeper::befall(zookeeper, links, book, keepers)),
        ];
        let mut last = 0;
        while book.now() < length.as_nanos() as u64 {
            book.rest(PROGRESS.min(length.saturating_sub(Duration::from_nanos(book.now()))));
            let done = book.done.load(Ordering::Relaxed);
            book.say(&format!("{done} operations, {} lately", done - last));
            last = done;
            let has_failed = lanes.iter().any(|lane| lane.is_finished());
            if has_failed || clients.iter().any(|client| client.is_finished()) {
                break;
            }
        }
        book.end();
        lanes.into_iter().for_each(|lane| lane.join().expect("a lane of faults"));
        clients.into_iter().map(|client| client.join().expect("a client")).collect()
    })
}
