//! What the tests of imports share: a tape that is a list, and sources made by hand.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod hostile;
mod packets;
mod pcap;
mod playback;
mod profile;

use bson::{Document, doc};

use super::tape::Tape;
use super::{Format, ImportError, Input, Skip, Taker, import};
use crate::capture::{Asked, Form, Kind, Policy, Record};
use crate::wire::{MsgFlags, OpMsgBuilder};

/// Records, as they would go to the recorder.
#[derive(Debug, Default)]
pub struct List {
    started: Option<i64>,
    records: Vec<(Policy, Vec<u8>)>,
}

impl Tape for List {
    fn begin(&mut self, started: bson::DateTime) -> Result<(), ImportError> {
        assert_eq!(self.started.replace(started.timestamp_millis()), None);
        Ok(())
    }

    fn put(&mut self, policy: Policy, record: &Record<'_>, length: usize) -> Result<(), ImportError> {
        assert!(self.started.is_some());
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        assert!(bytes.len() <= length + 64, "{} bytes, said to be {length}", bytes.len());
        self.records.push((policy, bytes));
        Ok(())
    }
}

/// What came of an import.
pub struct Imported {
    pub taker: Taker<List>,
    pub error: Option<ImportError>,
}

/// Imports these bytes.
pub fn imported(format: Format, sources: &[&[u8]]) -> Imported {
    let named = |(place, bytes): (usize, &&[u8])| {
        let input = Input::new(std::io::Cursor::new(bytes.to_vec()));
        (place.to_string(), input.unwrap_or_else(|_| Input::new(std::io::empty()).unwrap()))
    };
    let inputs = sources.iter().enumerate().map(named).collect();
    let mut taker = Taker::new(List::default());
    let error = import(format, inputs, &[27017], &mut taker).err();
    Imported { taker, error }
}

impl Imported {
    /// Its records in words: connection, milliseconds, what.
    pub fn lines(&self) -> Vec<String> {
        self.taker.tape.records.iter().map(|(_, bytes)| line(&Record::decode(bytes).unwrap().0)).collect()
    }

    /// The requests' commands.
    pub fn commands(&self) -> Vec<Document> {
        let records = self.taker.tape.records.iter().map(|(_, bytes)| Record::decode(bytes).unwrap().0);
        let requests = records.filter_map(|record| match record.kind {
            Kind::Request(request) => Some(Document::from_reader(&request.message[21..]).unwrap()),
            _ => None,
        });
        requests.collect()
    }

    /// What was left out.
    pub fn skipped(&self) -> Vec<(Skip, u64)> {
        self.taker.tally.counts().collect()
    }
}

fn line(record: &Record<'_>) -> String {
    let what = match &record.kind {
        Kind::Opened(opened) => {
            format!("opened {} {} {} {:?}", opened.client, opened.member, opened.application, opened.role)
        }
        Kind::Request(request) => {
            let asked = Asked::of(request.message);
            let wants = if request.wants_none { ", no reply" } else { "" };
            format!("{} {}{wants}", String::from_utf8_lossy(asked.command), asked.namespace())
        }
        Kind::Reply(reply) => {
            let form = match reply.form {
                Form::None => "facts",
                Form::Whole(_) => "whole",
                Form::Digest(_) => "digest",
                Form::TooLarge => "too large",
            };
            format!("reply {} {form} {} {} {}", reply.number, reply.code, reply.cursor, reply.documents)
        }
        Kind::Closed(in_order) => format!("closed {in_order}"),
        Kind::Lost(why) => format!("lost {why}"),
        Kind::Other(_) => "other".to_owned(),
    };
    format!("{} {} {what}", record.connection, record.time / 1_000_000)
}

/// A command as an OP_MSG.
pub fn request(id: i32, command: Document) -> Vec<u8> {
    OpMsgBuilder::message(id, 0, MsgFlags(0), &bson::serialize_to_vec(&command).unwrap())
}

/// Its reply.
pub fn reply(id: i32, to: i32, body: Document) -> Vec<u8> {
    OpMsgBuilder::message(id, to, MsgFlags(0), &bson::serialize_to_vec(&body).unwrap())
}

/// A reply with the first batch of a cursor.
pub fn batch(id: i32, to: i32, cursor: i64, documents: i32) -> Vec<u8> {
    let batch: Vec<_> = (0..documents).map(|n| doc! { "_id": n }).collect();
    reply(id, to, doc! { "cursor": { "firstBatch": batch, "id": cursor, "ns": "app.things" }, "ok": 1.0 })
}
