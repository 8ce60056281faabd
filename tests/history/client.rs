//! An application: it writes and reads a few documents, goes from torana to torana, and records what it was told.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bson::{Document, doc};

use super::book::Book;
use super::commands::{COLLECTIONS, DOCUMENTS, OF_PAIRS, Reading, any_write, pair};
use super::dice::Dice;
use super::event::{Key, Op, What};
use super::reply::{self, Written};
use super::session::{Session, session_id};

/// After so long a write that nobody confirms is given up.
const DOUBT_AFTER: Duration = Duration::from_secs(12);

/// Between two attempts.
const AGAIN_AFTER: Duration = Duration::from_millis(30);

/// Between two operations, at most.
const PAUSE_MAX_MS: u64 = 12;

/// NotWritablePrimary, and the like.
const NO_PRIMARY: [i32; 6] = [10107, 13435, 11602, 189, 91, 11600];

/// One application.
pub struct Client<'a> {
    number: u32,
    session: Session<'a>,
    dice: Dice,
    last: u32,
    told: Told,
}

/// What it was told.
#[derive(Debug, Default)]
pub struct Told {
    /// In its own order.
    pub ops: Vec<Op>,
    /// Between toranas.
    pub moves: u64,
    /// New connections to the same torana.
    pub returns: u64,
    /// Reads that were answered by an error, or not at all (0), by code.
    pub refused: BTreeMap<i32, u64>,
    /// Attempts to write that had to be made again, by what was said (0 for nothing).
    pub repeated: BTreeMap<i32, u64>,
}

impl<'a> Client<'a> {
    /// Client `number`.
    pub fn new(number: u32, book: &'a Book, mut dice: Dice) -> Client<'a> {
        let session = Session::new(book, dice.below(book.toranas() as u64) as usize);
        Client { number, session, dice, last: 0, told: Told::default() }
    }

    /// Works until the run is over.
    pub fn run(mut self) -> Told {
        let book = self.session.book;
        while !book.is_over() {
            if self.dice.in_ten_thousand(250) {
                self.session.go(&mut self.dice);
            }
            let key = self.any_document();
            match self.dice.below(20) {
                0 => self.writes_two(),
                1..8 => self.writes(key),
                _ => self.reads(key),
            }
            book.done.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(self.dice.below(PAUSE_MAX_MS)));
        }
        (self.told.moves, self.told.returns) = (self.session.moves, self.session.returns);
        self.told
    }

    fn any_document(&mut self) -> Key {
        let mut rest = self.dice.below(10);
        let mut collection = 0;
        while rest >= COLLECTIONS[collection].1 {
            rest -= COLLECTIONS[collection].1;
            collection += 1;
        }
        Key { collection: collection as u8, id: self.dice.below(u64::from(DOCUMENTS)) as u8 }
    }

    fn record(&mut self, collection: u8, start: u64, what: What) {
        let (client, end) = (self.number, self.session.book.now());
        self.told.ops.push(Op { client, collection, start, end, what });
    }

    fn reads(&mut self, key: Key) {
        let reading = Reading::any(&mut self.dice);
        let key = reading.of(key);
        let start = self.session.book.now();
        match self.session.read(&mut self.dice, reading.command(key)) {
            Ok(replies) => self.record(key.collection, start, What::Read(reading.seen(key, &replies))),
            Err(code) => {
                *self.told.refused.entry(code).or_default() += 1;
                if code == 0 {
                    self.goes_on();
                }
            }
        }
    }

    /// The next write's number, and its session, as drivers send them.
    fn begins(&mut self) -> (u64, Document) {
        self.last += 1;
        let session = doc! { "lsid": { "id": session_id(self.number) }, "txnNumber": i64::from(self.last) };
        (u64::from(self.number) << 32 | u64::from(self.last), session)
    }

    fn writes(&mut self, key: Key) {
        let (id, session) = self.begins();
        let mut command = any_write(&mut self.dice, key, id);
        command.extend(session);
        if self.dice.below(2) == 0 {
            command.insert("writeConcern", doc! { "w": 1 });
        }
        let start = self.session.book.now();
        let (written, is_repeated) = self.repeats(&command);
        match written {
            Written::Made(before) => {
                self.record(key.collection, start, What::Wrote(id, before.map(|seen| (key, seen))));
            }
            Written::Found(seen) => {
                if is_repeated {
                    // An earlier attempt may still be on its way.
                    self.record(key.collection, start, What::Doubtful(id));
                }
                self.record(key.collection, start, What::Read(vec![(key, seen)]));
            }
            Written::Again(_) => self.record(key.collection, start, What::Doubtful(id)),
        }
    }

    /// Sends a command until its outcome is known, or nobody waits any more; and whether that was more than once.
    fn repeats(&mut self, command: &Document) -> (Written, bool) {
        let began = Instant::now();
        let mut is_repeated = false;
        loop {
            let reply = self.session.write(command);
            let written = reply.as_ref().map_or(Written::Again(0), reply::written);
            let Written::Again(code) = written else { return (written, is_repeated) };
            self.fails(code);
            is_repeated = true;
            let is_final = code == reply::NO_SUCH_TRANSACTION;
            if is_final || began.elapsed() > DOUBT_AFTER || self.session.book.is_over() {
                return (written, is_repeated);
            }
        }
    }

    /// A transaction. Nothing comes of one whose commit was never sent.
    fn writes_two(&mut self) {
        let (id, mut session) = self.begins();
        session.insert("autocommit", false);
        let start = self.session.book.now();
        for (index, mut statement) in pair(&mut self.dice, id).into_iter().enumerate() {
            statement.extend(session.clone());
            if index == 0 {
                statement.insert("startTransaction", true);
            }
            let reply = self.session.write(&statement);
            if let Written::Again(code) = reply.as_ref().map_or(Written::Again(0), reply::written) {
                return self.fails(code);
            }
        }
        let mut commit = doc! { "commitTransaction": 1 };
        commit.extend(session);
        let what = match self.repeats(&commit).0 {
            Written::Made(_) => What::Wrote(id, None),
            _ => What::Doubtful(id),
        };
        self.record(OF_PAIRS, start, what);
    }

    fn fails(&mut self, code: i32) {
        *self.told.repeated.entry(code).or_default() += 1;
        if code == 0 || NO_PRIMARY.contains(&code) {
            self.session.was_no_primary();
        }
        if code == 0 {
            self.goes_on();
        }
        std::thread::sleep(AGAIN_AFTER);
    }

    /// After a connection broke: here, or elsewhere.
    fn goes_on(&mut self) {
        if self.dice.below(3) == 0 {
            self.session.go(&mut self.dice);
        }
        std::thread::sleep(AGAIN_AFTER);
    }
}
