//! Captures made by hand: traffic that a test drives itself, written down as the recorder of a proxy would.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bson::oid::ObjectId;
use bson::{DateTime, Document, doc};
use torana::capture::file::Writer;
use torana::capture::{Form, Head, Kind, Opened, Record, Reply, Request, Role, digest};

use super::message::{self, Message, Section};
use super::raw::RawClient;
use super::scratch::Scratch;

/// A capture that is being made.
pub struct Recording {
    writer: Writer<File>,
    records: Vec<u8>,
    count: u32,
    times: (u64, u64),
    began: Instant,
    clock: Option<u64>,
    folder: Scratch,
    keeps: Keeps,
}

/// What is kept of replies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeps {
    /// Their facts.
    Facts,
    /// Their digests.
    Digests,
    /// All.
    Whole,
}

/// The head of a capture of set `rs0`.
pub fn head(replica_set_id: Option<ObjectId>) -> Head {
    Head {
        capture_id: "test".into(),
        file: 1,
        started: DateTime::from_millis(1_700_000_000_000),
        torana: "0".into(),
        set: "rs0".into(),
        replica_set_id,
        replies: "whole".into(),
        redact: "fields".into(),
        redact_fields: Vec::new(),
        sample: 1,
        selection: String::new(),
    }
}

impl Recording {
    /// Of the set with this id.
    pub fn of(replica_set_id: Option<ObjectId>, keeps: Keeps) -> Recording {
        let folder = Scratch::new("capture");
        let file = File::create(folder.path().join("capture-00001.torana")).expect("a capture's file");
        let writer = Writer::begin(file, &head(replica_set_id)).expect("a capture's head");
        let began = Instant::now();
        Recording { writer, records: Vec::new(), count: 0, times: (0, 0), began, clock: None, folder, keeps }
    }

    /// From now on records have this time, and not that of the clock.
    pub fn at(&mut self, time: Duration) {
        self.clock = Some(time.as_nanos() as u64);
    }

    /// Writes a record.
    pub fn record(&mut self, connection: u64, kind: Kind<'_>) {
        let time = self.clock.unwrap_or_else(|| self.began.elapsed().as_nanos() as u64);
        if self.count == 0 {
            self.times.0 = time;
        }
        self.times.1 = time;
        Record { connection, time, kind }.encode(&mut self.records);
        self.count += 1;
    }

    /// A connection to a member.
    pub fn opened(&mut self, connection: u64, role: Role, member: &str) {
        let opened = Opened { role, member, client: "127.0.0.1:1", application: "test" };
        self.record(connection, Kind::Opened(opened));
    }

    /// A request.
    pub fn request(&mut self, connection: u64, number: u32, message: &[u8]) {
        let wants_none = Message { raw: message.to_vec() }.more_to_come();
        self.record(connection, Kind::Request(Request { number, wants_none, withheld: false, message }));
    }

    /// A command, as a request.
    pub fn command(&mut self, connection: u64, number: u32, db: &str, mut command: Document) {
        command.insert("$db", db);
        self.request(connection, number, &message::op_msg(number as i32, 0, 0, &[Section::Body(command)]));
    }

    /// Its reply.
    pub fn reply(&mut self, connection: u64, number: u32, message: &[u8]) {
        let body = Message { raw: message.to_vec() }.body();
        let cursor = body.get_document("cursor").cloned().unwrap_or_default();
        let batch =
            cursor.get_array("firstBatch").or(cursor.get_array("nextBatch")).or(body.get_array("values"));
        let ok = body.get("ok").is_some_and(|ok| ok.as_f64() == Some(1.0) || ok.as_i32() == Some(1));
        let digest = digest::of(message).expect("a reply");
        let reply = Reply {
            number,
            code: if ok { 0 } else { body.get_i32("code").unwrap_or(-1) },
            cursor: cursor.get_i64("id").unwrap_or(0),
            documents: batch.map_or(0, |batch| batch.len() as u32),
            length: message.len() as u32,
            form: match self.keeps {
                Keeps::Facts => Form::None,
                Keeps::Digests => Form::Digest(&digest),
                Keeps::Whole => Form::Whole(message),
            },
        };
        self.record(connection, Kind::Reply(reply));
    }

    /// A request and its reply, out of thin air.
    pub fn exchange(&mut self, connection: u64, number: u32, command: Document, reply: Document) {
        self.command(connection, number, "app", command);
        self.reply(connection, number, &message::op_msg(1, number as i32, 0, &[Section::Body(reply)]));
    }

    /// Ends the block.
    pub fn end_block(&mut self) {
        self.writer.block(&self.records, self.count, self.times).expect("a block");
        self.records.clear();
        self.count = 0;
    }

    /// Ends the capture in order.
    pub fn finish(mut self) -> Recorded {
        self.end_block();
        self.writer.finish().expect("an index");
        Recorded { folder: self.folder }
    }
}

/// A capture.
pub struct Recorded {
    folder: Scratch,
}

impl Recorded {
    /// Its folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Its only file.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("capture-00001.torana")
    }
}

/// A client whose traffic is recorded.
pub struct RecordedClient {
    client: RawClient,
    connection: u64,
    number: u32,
}

impl RecordedClient {
    /// Connects to the primary at `address`, as the capture's connection of this number.
    pub fn connect(recording: &mut Recording, connection: u64, address: &str) -> RecordedClient {
        recording.opened(connection, Role::Primary, address);
        RecordedClient { client: RawClient::connect(address), connection, number: 0 }
    }

    /// Runs a command and gives its reply, ok or not.
    pub fn run(&mut self, recording: &mut Recording, db: &str, mut command: Document) -> Document {
        command.insert("$db", db);
        self.exchange(recording, &[Section::Body(command)])
    }

    /// Sends sections as a request and gives its reply.
    pub fn exchange(&mut self, recording: &mut Recording, sections: &[Section]) -> Document {
        self.number += 1;
        let request = message::op_msg(self.client.next_id(), 0, 0, sections);
        recording.request(self.connection, self.number, &request);
        self.client.send(&request);
        let reply = self.client.read();
        recording.reply(self.connection, self.number, &reply.raw);
        reply.body()
    }

    /// Closes.
    pub fn close(self, recording: &mut Recording) {
        recording.record(self.connection, Kind::Closed(true));
    }
}

/// The fields of a session.
pub fn lsid(byte: u8) -> Document {
    doc! { "id": bson::Binary { subtype: bson::spec::BinarySubtype::Uuid, bytes: vec![byte; 16] } }
}
