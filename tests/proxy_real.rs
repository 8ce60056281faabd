//! The torana binary in front of a real mongod: what only a server can say.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use bson::{Document, Uuid, doc};
use support::message::{CHECKSUM_PRESENT, EXHAUST_ALLOWED, MORE_TO_COME, crc32c, op_msg};
use support::{Message, RawClient, ReplicaSet, Section, Torana, torana_with, wait_until};

const SOON: Duration = Duration::from_secs(10);

/// A set of one, for all tests here: each keeps to a database of its own.
fn set() -> &'static ReplicaSet {
    static SET: OnceLock<ReplicaSet> = OnceLock::new();
    SET.get_or_init(|| ReplicaSet::of(1).start())
}

fn start(bounds: &str) -> Torana {
    torana_with(&set().uri(), bounds)
}

fn client(torana: &Torana) -> RawClient {
    torana.client_of(&set().host(0))
}

/// What `$currentOp` on the server itself says of operations with this comment.
fn running(comment: &str) -> Vec<Document> {
    let stages = [
        doc! { "$currentOp": { "localOps": true } },
        doc! { "$match": { "command.comment": comment, "active": true } },
    ];
    let stages: Vec<Document> = stages.into();
    let reply = set().client(0).run("admin", doc! { "aggregate": 1, "pipeline": stages, "cursor": {} });
    let batch = reply.get_document("cursor").unwrap().get_array("firstBatch").unwrap();
    batch.iter().map(|operation| operation.as_document().unwrap().clone()).collect()
}

fn insert(client: &mut RawClient, database: &str, documents: Vec<Document>) {
    client.run(database, doc! { "insert": "c", "documents": documents });
}

fn documents(database: &str, filter: Document) -> usize {
    let reply = set().client(0).run(database, doc! { "count": "c", "query": filter });
    reply.get_i32("n").unwrap() as usize
}

/// One statement of a transaction of `session`.
fn statement(session: &Document, number: i64, mut command: Document, starts: bool) -> Document {
    command.extend(doc! { "lsid": session.clone(), "txnNumber": number, "autocommit": false });
    if starts {
        command.insert("startTransaction", true);
    }
    command
}

#[test]
fn a_commit_passes_those_who_wait_for_it_within_50_milliseconds_in_a_pool_of_2() {
    const DB: &str = "commits";
    let torana = start("[pool]\nmax = 2");
    let mut owner = client(&torana);
    insert(&mut owner, DB, vec![doc! { "_id": 1, "n": 0 }]);
    let add = || doc! { "update": "c", "updates": [{ "q": { "_id": 1 }, "u": { "$inc": { "n": 1 } } }] };
    let session = doc! { "id": Uuid::new() };
    let mut taken = Vec::new();
    for number in 1..=5 {
        owner.run(DB, statement(&session, number, add(), true));
        let mut others: Vec<RawClient> = (0..2).map(|_| client(&torana)).collect();
        for other in &mut others {
            other.send_command(DB, add());
        }
        std::thread::sleep(Duration::from_millis(150));
        owner.run(DB, statement(&session, number, doc! { "find": "c" }, false));
        let asked = Instant::now();
        owner.run("admin", statement(&session, number, doc! { "commitTransaction": 1 }, false));
        taken.push(asked.elapsed());
        others.iter_mut().for_each(|other| assert!(support::raw::is_ok(&other.read().body())));
    }
    taken.sort_unstable();
    // The middle one: on a machine that does other work too, one of five may be unlucky.
    assert!(taken[2] < Duration::from_millis(50), "{taken:?}");
    assert_eq!(documents(DB, doc! { "n": 15 }), 1);
}

#[test]
fn the_read_of_a_client_that_left_stops_on_the_server_within_two_seconds() {
    const DB: &str = "left_reads";
    let torana = start("");
    let mut reader = client(&torana);
    insert(&mut reader, DB, vec![doc! { "_id": 1 }]);
    let slow = "function() { for (let i = 0; i < 3000; i++) sleep(10); return true; }";
    reader.send_command(DB, doc! { "find": "c", "filter": { "$where": slow }, "comment": DB });
    wait_until("it runs", SOON, || running(DB).len() == 1);
    drop(reader);
    let left = Instant::now();
    wait_until("it has stopped", SOON, || running(DB).is_empty());
    assert!(left.elapsed() < Duration::from_secs(2), "{:?}", left.elapsed());
}

#[test]
fn the_write_of_a_client_that_left_runs_to_its_end() {
    const DB: &str = "left_writes";
    let torana = start("");
    let mut writer = client(&torana);
    insert(&mut writer, DB, (0..5).map(|id| doc! { "_id": id }).collect());
    let slow = "function() { sleep(200); return true; }";
    let update = doc! { "q": { "$where": slow }, "u": { "$set": { "done": true } }, "multi": true };
    writer.send_command(DB, doc! { "update": "c", "updates": [update], "comment": DB });
    wait_until("it runs", SOON, || running(DB).len() == 1);
    drop(writer);
    wait_until("it is done", SOON, || running(DB).is_empty());
    assert_eq!(documents(DB, doc! { "done": true }), 5);
    let drained = || torana.metric("torana_orphans_total", &["\"drained\""]);
    wait_until("its connection is free again", SOON, || drained() == 1.0);
}

#[test]
fn an_orphaned_transaction_is_aborted_and_others_of_its_session_are_not_touched() {
    const DB: &str = "orphans";
    let torana = start("[limits]\ntransaction_orphan_timeout = \"1s\"");
    let session = doc! { "id": Uuid::new() };
    let mut owner = client(&torana);
    insert(&mut owner, DB, vec![doc! { "_id": 1 }]);
    let update = |set: Document| doc! { "update": "c", "updates": [{ "q": {}, "u": { "$set": set } }] };
    owner.run(DB, statement(&session, 1, update(doc! { "orphaned": true }), true));
    // Another connection of the same session, with a cursor of it.
    let mut sibling = client(&torana);
    insert(&mut sibling, DB, (10..20).map(|id| doc! { "_id": id }).collect());
    let opened = sibling.run(DB, doc! { "find": "c", "batchSize": 2, "lsid": session.clone() });
    let cursor = opened.get_document("cursor").unwrap().get_i64("id").unwrap();
    drop(owner);
    let asked = Instant::now();
    // Waits for the document until the transaction is gone.
    client(&torana).run(DB, update(doc! { "free": true }));
    assert!(asked.elapsed() < Duration::from_secs(8), "{:?}", asked.elapsed());
    assert_eq!(documents(DB, doc! { "orphaned": true }), 0);
    assert_eq!(torana.metric("torana_orphans_total", &["\"aborted\""]), 1.0);
    sibling.run(DB, doc! { "getMore": cursor, "collection": "c", "lsid": session });
}

#[test]
fn a_transaction_may_be_continued_and_committed_over_another_connection() {
    const DB: &str = "moved";
    let torana = start("");
    let session = doc! { "id": Uuid::new() };
    let add = |id: i32| doc! { "insert": "c", "documents": [{ "_id": id }] };
    client(&torana).run(DB, doc! { "create": "c" });
    client(&torana).run(DB, statement(&session, 1, add(1), true));
    client(&torana).run(DB, statement(&session, 1, add(2), false));
    client(&torana).run("admin", statement(&session, 1, doc! { "commitTransaction": 1 }, false));
    assert_eq!(documents(DB, doc! {}), 2);
}

#[test]
fn two_dozen_change_streams_over_a_pool_of_8_leave_pings_quick_and_see_every_event() {
    const DB: &str = "streams";
    const STREAMS: usize = 24;
    let torana = start("[pool]\nmax = 8");
    let mut writer = client(&torana);
    insert(&mut writer, DB, vec![doc! { "_id": "first" }]);
    let listening: Vec<_> = (0..STREAMS)
        .map(|_| {
            let mut client = client(&torana);
            let watch = doc! { "aggregate": "c", "pipeline": [{ "$changeStream": {} }], "cursor": {} };
            let opened = client.run(DB, watch);
            let cursor = opened.get_document("cursor").unwrap().get_i64("id").unwrap();
            std::thread::spawn(move || wait_for_event(&mut client, cursor))
        })
        .collect();
    let mut taken: Vec<Duration> = (0..150)
        .map(|_| {
            let asked = Instant::now();
            writer.run(DB, doc! { "ping": 1 });
            std::thread::sleep(Duration::from_millis(10));
            asked.elapsed() - Duration::from_millis(10)
        })
        .collect();
    taken.sort_unstable();
    // Unsliced, each ping would wait for a stream's whole second.
    assert!(taken[taken.len() * 9 / 10] < Duration::from_millis(100), "{taken:?}");
    insert(&mut writer, DB, vec![doc! { "_id": "event" }]);
    let written = Instant::now();
    for stream in listening {
        assert_eq!(stream.join().unwrap(), "event");
    }
    assert!(written.elapsed() < Duration::from_secs(5), "{:?}", written.elapsed());
    assert!(torana.metric("torana_pool_sliced_rounds_total", &[]) > 0.0);
    assert!(torana.metric("torana_pool_connections_made_total", &[]) <= 8.0);
}

/// Asks for more until an event comes; its document's `_id`.
fn wait_for_event(client: &mut RawClient, cursor: i64) -> String {
    for _ in 0..60 {
        let more = client.run("streams", doc! { "getMore": cursor, "collection": "c", "maxTimeMS": 1_000 });
        let batch = more.get_document("cursor").unwrap().get_array("nextBatch").unwrap();
        if let Some(event) = batch.first().and_then(|event| event.as_document()) {
            return event.get_document("documentKey").unwrap().get_str("_id").unwrap().into();
        }
    }
    panic!("no event in 60 rounds");
}

#[test]
fn an_exhaust_cursor_streams_all_its_batches_and_then_frees_its_connection() {
    const DB: &str = "exhaust";
    let torana = start("");
    let mut reader = client(&torana);
    insert(&mut reader, DB, (0..100).map(|id| doc! { "_id": id }).collect());
    let opened = reader.run(DB, doc! { "find": "c", "batchSize": 10 });
    let cursor = opened.get_document("cursor").unwrap().get_i64("id").unwrap();
    let more = doc! { "getMore": cursor, "collection": "c", "batchSize": 10, "$db": DB };
    let mut response_to = reader.send_msg(EXHAUST_ALLOWED, &[Section::Body(more)]);
    let (mut seen, mut replies) = (10, 0);
    loop {
        let reply = reader.read();
        assert_eq!(reply.response_to(), response_to);
        response_to = reply.request_id();
        replies += 1;
        seen += reply.body().get_document("cursor").unwrap().get_array("nextBatch").unwrap().len();
        if !reply.more_to_come() {
            break;
        }
    }
    assert_eq!((seen, replies >= 9), (100, true), "{seen} in {replies}");
    reader.run(DB, doc! { "ping": 1 });
    assert_eq!(torana.metric("torana_pool_connections_made_total", &[]), 1.0);
}

#[test]
fn a_client_that_leaves_an_exhaust_cursor_harms_nobody() {
    const DB: &str = "exhaust_left";
    let torana = start("[pool]\nmax = 4");
    let mut reader = client(&torana);
    insert(&mut reader, DB, (0..200).map(|id| doc! { "_id": id, "pad": "x".repeat(10_000) }).collect());
    for _ in 0..10 {
        let mut leaves = client(&torana);
        let opened = leaves.run(DB, doc! { "find": "c", "batchSize": 1 });
        let cursor = opened.get_document("cursor").unwrap().get_i64("id").unwrap();
        let more = doc! { "getMore": cursor, "collection": "c", "batchSize": 1, "$db": DB };
        leaves.send_msg(EXHAUST_ALLOWED, &[Section::Body(more)]);
        leaves.read();
        drop(leaves);
        let reply = reader.run(DB, doc! { "find": "c", "filter": { "_id": 3 } });
        let batch = reply.get_document("cursor").unwrap().get_array("firstBatch").unwrap();
        assert_eq!(batch[0].as_document().unwrap().get_i32("_id").ok(), Some(3));
    }
    assert_eq!(torana.metric("torana_reply_mismatches_total", &[]), 0.0);
}

#[test]
fn a_write_without_acknowledgement_gets_no_reply_and_is_done() {
    const DB: &str = "unacknowledged";
    let torana = start("");
    let mut writer = client(&torana);
    for id in 0..50 {
        let insert = doc! { "insert": "c", "writeConcern": { "w": 0 }, "$db": DB };
        writer.send_msg(
            MORE_TO_COME,
            &[Section::Body(insert), Section::Sequence("documents", vec![doc! { "_id": id }])],
        );
        let reply = writer.run(DB, doc! { "find": "c", "filter": { "_id": id }, "limit": 1 });
        assert!(reply.contains_key("cursor"), "{reply}");
    }
    wait_until("all are written", SOON, || documents(DB, doc! {}) == 50);
}

#[test]
fn an_unacknowledged_write_that_waits_for_a_transaction_does_not_hold_up_its_commit() {
    const DB: &str = "unacknowledged";
    let torana = start("[pool]\nmax = 2");
    let mut owner = client(&torana);
    insert(&mut owner, DB, vec![doc! { "_id": 1, "n": 0 }]);
    let session = doc! { "id": Uuid::new() };
    let update = |by: i32| doc! { "q": { "_id": 1 }, "u": { "$inc": { "n": by } } };
    let first = doc! { "update": "c", "updates": [update(1)] };
    owner.run(DB, statement(&session, 1, first, true));
    let mut writer = client(&torana);
    let waits = doc! { "update": "c", "updates": [update(10)], "writeConcern": { "w": 0 }, "$db": DB,
    "comment": DB };
    writer.send_msg(MORE_TO_COME, &[Section::Body(waits)]);
    wait_until("the write waits on the server", SOON, || !running(DB).is_empty());
    let began = Instant::now();
    owner.run("admin", statement(&session, 1, doc! { "commitTransaction": 1 }, false));
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    wait_until("the write has run", SOON, || documents(DB, doc! { "n": 11 }) == 1);
}

#[test]
fn legacy_opcodes_that_the_server_closes_on_end_their_own_client_and_no_other() {
    let torana = start("[pool]\nmax = 2");
    let mut other = client(&torana);
    other.run("admin", doc! { "ping": 1 });
    for _ in 0..5 {
        let mut old = client(&torana);
        // OP_KILL_CURSORS: zero, the number of cursors, a cursor.
        let rest = [[1, 0, 0, 0].as_slice(), &7i64.to_le_bytes()].concat();
        let message = [&[0; 4], rest.as_slice()].concat();
        let header = [16 + message.len() as i32, 1, 0, 2007].map(i32::to_le_bytes).concat();
        old.send(&[header, message].concat());
        assert_eq!(old.read_to_close(), b"");
        other.run("admin", doc! { "ping": 1 });
        // OP_INSERT.
        let mut old = client(&torana);
        old.send_legacy(2002, 0, "test.c", &bson::serialize_to_vec(&doc! { "_id": 1 }).unwrap());
        assert_eq!(old.read_to_close(), b"");
        other.run("admin", doc! { "ping": 1 });
    }
    assert_eq!(torana.metric("torana_pool_connections_made_total", &[]), 1.0);
}

#[test]
fn a_reply_to_a_request_with_a_checksum_has_a_valid_one_wherever_it_was_made() {
    let torana = start("");
    let mut client = client(&torana);
    for (database, command) in [
        ("checksums", doc! { "find": "c" }),
        ("admin", doc! { "hello": 1 }),
        ("admin", doc! { "replSetGetStatus": 1 }),
        ("admin", doc! { "whatsmyuri": 1 }),
        ("admin", doc! { "logout": 1 }),
    ] {
        let mut body = command.clone();
        body.insert("$db", database);
        let id = client.next_id();
        client.send(&op_msg(id, 0, CHECKSUM_PRESENT, &[Section::Body(body)]));
        let reply = client.read();
        assert_eq!(reply.response_to(), id, "{command}");
        assert!(has_valid_checksum(&reply), "{command}: flags {:x}", reply.flags());
        assert!(support::raw::is_ok(&reply.body()), "{command}");
    }
}

fn has_valid_checksum(reply: &Message) -> bool {
    let (covered, checksum) = reply.raw.split_at(reply.raw.len() - 4);
    reply.flags() & CHECKSUM_PRESENT != 0 && checksum == crc32c(covered).to_le_bytes()
}

#[test]
fn a_client_is_told_its_own_address_and_that_it_is_nobody() {
    let torana = start("");
    let mut client = client(&torana);
    let own = client.stream().local_addr().unwrap().to_string();
    assert_eq!(client.run("admin", doc! { "whatsmyuri": 1 }).get_str("you").ok(), Some(own.as_str()));
    let status = client.run("admin", doc! { "connectionStatus": 1 });
    let users = status.get_document("authInfo").unwrap().get_array("authenticatedUsers").unwrap();
    assert!(users.is_empty(), "{status}");
}

#[test]
fn the_largest_documents_pass_both_ways() {
    const DB: &str = "large";
    let torana = start("");
    let mut client = client(&torana);
    let pad = "x".repeat(16_000_000);
    for id in 0..2 {
        insert(&mut client, DB, vec![doc! { "_id": id, "pad": &pad }]);
    }
    let found = client.run(DB, doc! { "find": "c", "filter": { "_id": 1 } });
    let batch = found.get_document("cursor").unwrap().get_array("firstBatch").unwrap();
    assert_eq!(batch[0].as_document().unwrap().get_str("pad").unwrap().len(), pad.len());
}

#[test]
fn a_client_that_shuts_its_sending_side_gets_no_reply_where_a_server_gives_one_and_its_write_is_done() {
    const DB: &str = "half_closed";
    let torana = start("");
    let half_closed = |mut client: RawClient, id: &str| {
        client.run(DB, doc! { "ping": 1 });
        // Held up for longer than the server takes to see the end of the client's side.
        let insert = doc! { "update": "c", "updates": [{
            "q": { "$where": "sleep(400); return true" }, "u": { "$set": { "by": id } },
        }] };
        client.send_command(DB, insert);
        client.stream().shutdown(std::net::Shutdown::Write).unwrap();
        let answered = !client.read_to_close().is_empty();
        wait_until("the write is done", SOON, || documents(DB, doc! { "by": id }) == 1);
        answered
    };
    insert(&mut client(&torana), DB, vec![doc! { "_id": 1 }]);
    assert!(half_closed(set().client(0), "direct"));
    assert!(!half_closed(client(&torana), "proxied"));
}
