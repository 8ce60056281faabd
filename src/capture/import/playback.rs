//! Playback files of mongoreplay: a BSON document about the file, then one for each message that was recorded.
//!
//! A message stands in it with its header, as it came over the wire, beside the time, both ends and the number of its
//! connection; the end of a connection is a document with `eof`. Legacy replies were recorded with their first document
//! alone, unless `--full-replies` was given.

use std::collections::HashMap;

use super::error::ImportError;
use super::input::{Cut, Input, bson_document, name};
use super::merge::{Merge, Source, Timed};
use super::taker::{Connection, Ends, Taker};
use super::tally::{Skip, Tally};
use super::tape::Tape;
use crate::capture::Form;
use crate::capture::facts::Facts;
use crate::doc::{Value, find, find_path};
use crate::wire::{HEADER_LEN, Header, MESSAGE_MAX, Opcode, Side, read_i32};

/// Go counts seconds from the year 1.
const YEAR_1_TO_1970: i64 = 62_135_596_800;

/// The version of the files that is known.
const VERSION: i64 = 1;

/// Open connections that are followed.
const CONNECTIONS_MAX: usize = 200_000;

/// One recorded message, or the end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Op {
    connection: i64,
    from: String,
    to: String,
    is_end: bool,
    /// The length that its header had when it was recorded.
    length: i64,
    message: Vec<u8>,
}

/// One file.
#[derive(Debug)]
pub struct Playback {
    input: Input,
}

impl Playback {
    /// Reads what the file says of itself.
    pub fn new(mut input: Input) -> Result<Playback, Cut> {
        let about = bson_document(&mut input)?.unwrap_or_default();
        let version = find(&about, "playbackfileversion").and_then(|field| field.value.as_i64());
        match version {
            Some(VERSION) => Ok(Playback { input }),
            Some(other) => Err(Cut::Off(format!("a playback file of version {other}; {VERSION} is known"))),
            None => Err(Cut::Off("no playback file: it does not say its version".to_owned())),
        }
    }
}

impl Source for Playback {
    type Item = Op;

    fn next(&mut self, tally: &mut Tally) -> Result<Option<(i64, Op)>, Cut> {
        while let Some(document) = bson_document(&mut self.input)? {
            match op(&document) {
                Some(read) => return Ok(Some(read)),
                None => tally.skip(Skip::BadDocument),
            }
        }
        Ok(None)
    }
}

/// What a document says.
fn op(document: &[u8]) -> Option<(i64, Op)> {
    let field = |name: &str| find(document, name).map(|field| field.value);
    let number = |path: &[&str]| find_path(document, path).and_then(|value| value.as_i64());
    let seconds = number(&["seen", "sec"])?.checked_sub(YEAR_1_TO_1970)?;
    let time = seconds.checked_mul(1_000_000_000)?.checked_add(number(&["seen", "nsec"])?)?;
    let text = |key: &str| name(field(key).and_then(|value| value.as_str()).unwrap_or_default()).to_owned();
    let header = |name: &str| number(&["rawop", "header", name]).unwrap_or(0);
    let body = find_path(document, &["rawop", "body"]).and_then(|body| body.as_binary()).unwrap_or_default();
    let length = header("messagelength");
    let mut message = Vec::with_capacity(body.len() + HEADER_LEN);
    // Bodies have their header in front since the first releases; what has none gets it back.
    if read_i32(body, 0).map(i64::from) != Some(length) && (body.len() + HEADER_LEN) as i64 == length {
        for name in ["messagelength", "requestid", "responseto", "opcode"] {
            message.extend(i32::try_from(header(name)).ok()?.to_le_bytes());
        }
    }
    message.extend_from_slice(body);
    let is_end = field("eof").and_then(|value: Value<'_>| value.as_bool()).unwrap_or(false);
    let connection = number(&["seenconnectionnum"]).unwrap_or(0);
    let (from, to) = (text("srcendpoint"), text("dstendpoint"));
    Some((time, Op { connection, from, to, is_end, length, message }))
}

/// A connection on its way.
#[derive(Debug, Default)]
struct Talk {
    connection: Connection,
    /// The client's end and the server's, once a message has told which is which.
    ends: Option<(String, String)>,
}

/// Takes all that is in `files`.
pub fn import<T: Tape>(files: Vec<(String, Playback)>, taker: &mut Taker<T>) -> Result<(), ImportError> {
    let mut merge = Merge::new(files, &mut taker.tally);
    let mut talks: HashMap<(usize, i64), Talk> = HashMap::new();
    while let Some(Timed { time, source, item }) = merge.next(&mut taker.tally) {
        let key = (source, item.connection);
        if item.is_end {
            if let Some(mut talk) = talks.remove(&key) {
                taker.close(&mut talk.connection, time, true)?;
            }
            continue;
        }
        if talks.len() >= CONNECTIONS_MAX && !talks.contains_key(&key) {
            taker.tally.skip(Skip::TooManyConnections);
            continue;
        }
        take(talks.entry(key).or_default(), time, &item, taker)?;
    }
    Ok(())
}

fn take<T: Tape>(talk: &mut Talk, time: i64, op: &Op, taker: &mut Taker<T>) -> Result<(), ImportError> {
    let side = side(talk, op);
    if talk.ends.is_none() {
        talk.ends = Some(match side {
            Side::Client => (op.from.clone(), op.to.clone()),
            _ => (op.to.clone(), op.from.clone()),
        });
    }
    let (client, member) = talk.ends.as_ref().map_or(("", ""), |(client, member)| (client, member));
    let ends = Ends { client, member, application: "" };
    match shortened(op) {
        Some(header) => {
            taker.tally.skip(Skip::Shortened);
            let facts = Facts::of(&op.message);
            taker.reply(&mut talk.connection, time, header, facts, Form::None, 0)
        }
        None => taker.message(&mut talk.connection, ends, time, side, &op.message),
    }
}

/// Who sent it: its opcode says so, or what it answers, or the ends of its connection, if they differ.
fn side(talk: &Talk, op: &Op) -> Side {
    let opcode = |at| read_i32(&op.message, at).and_then(Opcode::from_i32);
    let opcode = match opcode(12) {
        Some(Opcode::Compressed) => opcode(HEADER_LEN),
        opcode => opcode,
    };
    match (opcode, &talk.ends) {
        (Some(Opcode::Reply), _) => Side::Server,
        (Some(Opcode::Msg), Some((client, server))) if client != server => match op.from == *client {
            true => Side::Client,
            false => Side::Server,
        },
        (Some(Opcode::Msg), _) if read_i32(&op.message, 8) != Some(0) => Side::Server,
        _ => Side::Client,
    }
}

/// The header of a reply that was recorded without all of its documents.
fn shortened(op: &Op) -> Option<Header> {
    let header = Header::peek(&op.message, Side::Server, MESSAGE_MAX).ok()??;
    let is_short = header.opcode == Opcode::Reply && op.length == header.length as i64;
    (is_short && op.message.len() < header.length && op.message.len() >= HEADER_LEN + 20).then_some(header)
}
