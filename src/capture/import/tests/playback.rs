//! Playback files of mongoreplay.

use std::io::Write;

use bson::spec::BinarySubtype;
use bson::{Binary, Document, doc};

use super::{Format, Input, Skip, batch, imported, reply, request};
use crate::wire::write_op_query;

/// The front of a file.
pub fn front() -> Vec<u8> {
    bytes(&doc! { "playbackfileversion": 1, "driveropsfiltered": false })
}

fn bytes(document: &Document) -> Vec<u8> {
    bson::serialize_to_vec(document).unwrap()
}

/// A message as mongoreplay records it, at this millisecond.
pub fn op(connection: i64, millis: i64, (from, to): (&str, &str), message: &[u8]) -> Vec<u8> {
    let int = |at: usize| i32::from_le_bytes(message[at..at + 4].try_into().unwrap());
    let header =
        doc! { "messagelength": int(0), "requestid": int(4), "responseto": int(8), "opcode": int(12) };
    let body = Binary { subtype: BinarySubtype::Generic, bytes: message.to_vec() };
    bytes(&doc! { "rawop": { "header": header, "body": body }, "seen": seen(millis), "srcendpoint": from,
    "dstendpoint": to, "seenconnectionnum": connection, "playedconnectionnum": 0i64, "generation": 0, "order": 1i64 })
}

fn seen(millis: i64) -> Document {
    let at = 1_700_000_000_000 + millis;
    doc! { "sec": at / 1000 + 62_135_596_800, "nsec": (at % 1000 * 1_000_000) as i32 }
}

/// The end of a connection.
pub fn end(connection: i64, millis: i64) -> Vec<u8> {
    let header = doc! { "messagelength": 0, "requestid": 0, "responseto": 0, "opcode": 0 };
    bytes(
        &doc! { "rawop": { "header": header, "body": Binary { subtype: BinarySubtype::Generic, bytes: vec![] } },
        "seen": seen(millis), "eof": true, "srcendpoint": "", "dstendpoint": "", "seenconnectionnum": connection },
    )
}

const UP: (&str, &str) = ("10.0.0.1:5000", "10.0.0.9:27017");
const DOWN: (&str, &str) = ("10.0.0.9:27017", "10.0.0.1:5000");

/// A conversation of some length.
pub fn conversation() -> Vec<u8> {
    let hello = doc! { "hello": 1, "client": { "application": { "name": "shop" } }, "$db": "admin" };
    [
        front(),
        op(3, 5, UP, &request(1, hello)),
        op(3, 6, DOWN, &reply(90, 1, doc! { "isWritablePrimary": true, "ok": 1.0 })),
        op(3, 7, UP, &request(2, doc! { "find": "things", "filter": {}, "$db": "app" })),
        op(3, 9, DOWN, &batch(91, 2, 77, 2)),
        op(4, 10, ("10.0.0.2:1", "10.0.0.9:27017"), &request(1, doc! { "ping": 1, "$db": "admin" })),
        op(3, 12, UP, &request(3, doc! { "getMore": 77i64, "collection": "things", "$db": "app" })),
        end(3, 20),
    ]
    .concat()
}

const LINES: [&str; 9] = [
    "1 0 opened 10.0.0.1:5000 10.0.0.9:27017 shop Other",
    "1 0 hello admin",
    "1 1 reply 0 whole 0 0 0",
    "1 2 find app.things",
    "1 4 reply 1 whole 0 0 0",
    "2 5 opened 10.0.0.2:1 10.0.0.9:27017  Primary",
    "2 5 ping admin",
    "1 7 getMore app.things",
    "1 15 closed true",
];

#[test]
fn messages_become_records_with_their_times_and_connections() {
    let imported = imported(Format::Mongoreplay, &[&conversation()]);
    assert!(imported.error.is_none());
    assert_eq!(imported.lines(), LINES);
    assert_eq!(imported.taker.tape.started, Some(1_700_000_000_005));
    assert_eq!(imported.skipped(), []);
}

#[test]
fn a_gzipped_file_is_the_same_and_is_told_by_its_looks() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&conversation()).unwrap();
    let gzipped = encoder.finish().unwrap();
    assert_eq!(imported(Format::Mongoreplay, &[&gzipped]).lines(), LINES);
    for file in [conversation(), gzipped.clone()] {
        let input = Input::new(std::io::Cursor::new(file)).unwrap();
        assert_eq!(input.format(), Some(Format::Mongoreplay));
    }
    // Cut off inside the compressed stream: what came before is kept, and the end is told.
    let cut = imported(Format::Mongoreplay, &[&gzipped[..gzipped.len() - 30]]);
    assert_eq!(cut.taker.tally.damage.len(), 1, "{:?}", cut.taker.tally);
}

#[test]
fn a_file_that_was_cut_off_anywhere_gives_what_is_before_the_cut() {
    let whole = conversation();
    let mut most = 0;
    for length in front().len()..whole.len() {
        let cut = imported(Format::Mongoreplay, &[&whole[..length]]);
        let lines = cut.lines();
        assert_eq!(lines, LINES[..lines.len()], "{length}");
        most = most.max(lines.len());
    }
    assert_eq!(most, LINES.len() - 1);
    let cut = imported(Format::Mongoreplay, &[&whole[..whole.len() - 1]]);
    assert_eq!(cut.taker.tally.damage, ["0: it ends in the middle of a document"]);
}

#[test]
fn legacy_messages_are_taken_and_shortened_replies_as_their_facts() {
    let mut query = Vec::new();
    write_op_query(&mut query, 8, "app.things", &bytes(&doc! { "x": 1 }));
    // A reply of three documents, recorded with its first one alone.
    let document = bytes(&doc! { "_id": 1 });
    let mut answer = ((36 + 3 * document.len()) as i32).to_le_bytes().to_vec();
    for number in [5, 8, 1, 8] {
        answer.extend(i32::to_le_bytes(number));
    }
    answer.extend(55i64.to_le_bytes());
    answer.extend([0, 0, 0, 0, 3, 0, 0, 0]);
    answer.extend(&document);
    // Ends that mongoreplay did not tell apart.
    let both = ("127.0.0.1", "127.0.0.1");
    let file = [front(), op(0, 0, both, &query), op(0, 1, both, &answer)].concat();
    let imported = imported(Format::Mongoreplay, &[&file]);
    assert_eq!(imported.lines()[1..], ["1 0 find app.things", "1 1 reply 0 facts 0 55 3"]);
    assert_eq!(imported.skipped(), [(Skip::Shortened, 1)]);
}

#[test]
fn several_files_are_one_by_their_times_and_keep_their_connections_apart() {
    let ping = |id| request(id, doc! { "ping": 1, "$db": "admin" });
    let first = [front(), op(1, 10, UP, &ping(1)), op(1, 30, UP, &ping(2))].concat();
    let second = [front(), op(1, 20, UP, &ping(1)), op(1, 15, UP, &ping(2))].concat();
    let imported = imported(Format::Mongoreplay, &[&second, &first]);
    let lines = imported.lines();
    let requests: Vec<&str> = lines.iter().map(String::as_str).filter(|line| line.contains("ping")).collect();
    // Times that go back stand still.
    assert_eq!(requests, ["1 0 ping admin", "2 10 ping admin", "2 10 ping admin", "1 20 ping admin"]);
    assert_eq!(imported.skipped(), [(Skip::TimeWentBack, 1)]);
}

#[test]
fn other_versions_stray_replies_and_old_opcodes_are_named() {
    let other = bytes(&doc! { "playbackfileversion": 2 });
    let damage = imported(Format::Mongoreplay, &[&other]).taker.tally.damage;
    assert_eq!(damage, ["0: a playback file of version 2; 1 is known"]);
    let mut command = request(1, doc! { "ping": 1 });
    command[12..16].copy_from_slice(&2010i32.to_le_bytes());
    let file = [front(), op(0, 0, UP, &command), op(0, 1, DOWN, &reply(1, 99, doc! { "ok": 1 }))].concat();
    let imported = imported(Format::Mongoreplay, &[&file]);
    assert_eq!(imported.skipped(), [(Skip::StrayReply, 1), (Skip::OpCommand, 1)]);
    assert!(imported.lines().is_empty());
}
