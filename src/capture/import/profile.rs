//! Operations of the profiler, and of flashback, as traffic: in the order in which they began, each on a connection of its
//! client's on which nothing else ran meanwhile.
//!
//! A profile has an operation when it has ended, and says how long it took. It names the client's machine, and no
//! connection: as many are made of it as were busy at a time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::io::BufReader;

use super::error::ImportError;
use super::input::{Cut, Input, bson_document, line};
use super::merge::{Merge, Source};
use super::profile_op::{self, Op};
use super::taker::{Connection, Ends, Taker};
use super::tally::{Skip, Tally};
use super::tape::Tape;
use crate::capture::Form;
use crate::capture::decode::is_within_depth;
use crate::capture::facts::Facts;
use crate::wire::{Header, MsgFlags, OpMsgBuilder, Opcode, Side};

/// Operations that are held back for others that began before them and ended after them.
const HELD_MAX: usize = 100_000;

/// Bytes of their commands.
const HELD_BYTES_MAX: usize = 64 << 20;

/// Connections that are made.
const LANES_MAX: usize = 5_000;

/// Replies that are due. Those beyond are given early.
const DUE_MAX: usize = 100_000;

/// Who did it: a profile names the client's machine and its application.
type Who = (String, String);

/// One file of documents.
#[derive(Debug)]
pub struct Profile {
    input: BufReader<Input>,
    is_json: bool,
}

impl Profile {
    /// BSON documents one behind the other, as mongodump writes them, or a line of extended JSON for each.
    pub fn new(input: Input) -> Profile {
        let is_json = input.is_json();
        Profile { input: BufReader::new(input), is_json }
    }

    /// The next document; what is none, in its place, is empty.
    fn document(&mut self) -> Result<Option<Vec<u8>>, Cut> {
        if !self.is_json {
            return bson_document(&mut self.input);
        }
        while let Some(line) = line(&mut self.input)? {
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let document = serde_json::from_slice::<bson::Document>(&line).ok();
            let bytes = document.and_then(|document| bson::serialize_to_vec(&document).ok());
            return Ok(Some(bytes.unwrap_or_default()));
        }
        Ok(None)
    }
}

impl Source for Profile {
    type Item = Op;

    fn next(&mut self, tally: &mut Tally) -> Result<Option<(i64, Op)>, Cut> {
        while let Some(document) = self.document()? {
            if !is_within_depth(&document) || document.is_empty() {
                tally.skip(Skip::BadDocument);
                continue;
            }
            match profile_op::read(&document) {
                Ok(op) => return Ok(Some((op.end, op))),
                Err(why) => tally.skip(why),
            }
        }
        Ok(None)
    }
}

/// A connection that is made for the operations of a client.
#[derive(Debug)]
struct Lane {
    connection: Connection,
    busy_until: i64,
}

/// A reply that is due: when, which of several, on which connection, what is known of it.
type Due = Reverse<(i64, u64, usize, i32)>;

/// Operations on their way.
#[derive(Debug, Default)]
struct Traffic {
    /// Those held back, in the order in which they began, and in which they ended where that is the same.
    held: BTreeMap<(i64, u64), Op>,
    held_bytes: usize,
    count: u64,
    lanes: Vec<Lane>,
    of: HashMap<Who, Vec<usize>>,
    due: BinaryHeap<Due>,
    /// What is known of the replies that are due.
    replies: HashMap<u64, (Facts, u32)>,
}

/// Takes all that is in `files`.
pub fn import<T: Tape>(files: Vec<(String, Profile)>, taker: &mut Taker<T>) -> Result<(), ImportError> {
    let mut merge = Merge::new(files, &mut taker.tally);
    let mut traffic = Traffic::default();
    while let Some(timed) = merge.next(&mut taker.tally) {
        traffic.hold(timed.item);
        while traffic.held.len() > HELD_MAX || traffic.held_bytes > HELD_BYTES_MAX {
            traffic.take_first(taker)?;
        }
    }
    while !traffic.held.is_empty() {
        traffic.take_first(taker)?;
    }
    traffic.reply_until(i64::MAX, taker)?;
    Ok(())
}

impl Traffic {
    fn hold(&mut self, op: Op) {
        self.count += 1;
        self.held_bytes += op.command.len();
        self.held.insert((op.start, self.count), op);
    }

    /// Takes the operation that began first.
    fn take_first<T: Tape>(&mut self, taker: &mut Taker<T>) -> Result<(), ImportError> {
        let Some(((start, count), op)) = self.held.pop_first() else { return Ok(()) };
        self.held_bytes -= op.command.len();
        self.reply_until(start, taker)?;
        let place = self.lane(&op);
        let Some(lane) = self.lanes.get_mut(place) else { return Ok(()) };
        lane.busy_until = op.end;
        let id = count as i32;
        let message = OpMsgBuilder::message(id, 0, MsgFlags(0), &op.command);
        let ends = Ends { client: &op.client, member: "unknown", application: &op.application };
        taker.message(&mut lane.connection, ends, start, Side::Client, &message)?;
        if let Some(reply) = op.reply {
            self.replies.insert(count, reply);
            self.due.push(Reverse((op.end, count, place, id)));
        }
        Ok(())
    }

    /// Gives the replies that had come by `time`.
    fn reply_until<T: Tape>(&mut self, time: i64, taker: &mut Taker<T>) -> Result<(), ImportError> {
        while let Some(Reverse((end, count, place, id))) = self.due.peek().copied() {
            if end > time && self.due.len() <= DUE_MAX {
                break;
            }
            self.due.pop();
            let (Some((facts, length)), Some(lane)) =
                (self.replies.remove(&count), self.lanes.get_mut(place))
            else {
                continue;
            };
            let header =
                Header { length: length as usize, request_id: 0, response_to: id, opcode: Opcode::Msg };
            taker.reply(&mut lane.connection, end, header, facts, Form::None, 0)?;
        }
        Ok(())
    }

    /// A connection of the client's on which nothing runs when the operation begins: the one used last.
    fn lane(&mut self, op: &Op) -> usize {
        let who = (op.client.clone(), op.application.clone());
        let is_full = self.lanes.len() >= LANES_MAX;
        // A client without any, where all are taken, shares the last one.
        if is_full && !self.of.contains_key(&who) {
            return self.lanes.len() - 1;
        }
        let lanes = self.of.entry(who).or_default();
        let busy_until = |place: &usize| self.lanes.get(*place).map_or(i64::MAX, |lane| lane.busy_until);
        let free = lanes.iter().copied().filter(|place| busy_until(place) <= op.start).max_by_key(busy_until);
        // If there may be no more of them, the one that is free soonest.
        let found = free.or_else(|| lanes.iter().copied().filter(|_| is_full).min_by_key(busy_until));
        found.unwrap_or_else(|| {
            let place = self.lanes.len();
            self.lanes.push(Lane { connection: Connection::default(), busy_until: i64::MIN });
            lanes.push(place);
            place
        })
    }
}
