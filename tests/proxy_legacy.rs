//! The legacy opcodes through the torana binary, in front of mongod 4.4: a write's outcome is known to its connection
//! alone, and still each client learns of its own.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use bson::{Document, doc};
use support::message::{
    OP_DELETE, OP_GET_MORE, OP_INSERT, OP_KILL_CURSORS, OP_REPLY, OP_UPDATE, bytes_of, op_query,
};
use support::mongod::Version;
use support::{RawClient, ReplicaSet, Torana, torana_with, wait_until};

const SOON: Duration = Duration::from_secs(10);
/// OP_QUERY flag: all batches at once.
const EXHAUST: u32 = 1 << 6;

fn set() -> &'static ReplicaSet {
    static SET: OnceLock<ReplicaSet> = OnceLock::new();
    SET.get_or_init(|| ReplicaSet::of(1).version(Version::V44).start())
}

fn start(bounds: &str) -> Torana {
    torana_with(&set().uri(), bounds)
}

fn client(torana: &Torana) -> RawClient {
    torana.client_of(&set().host(0))
}

fn insert(client: &mut RawClient, namespace: &str, document: Document) {
    client.send_legacy(OP_INSERT, 0, namespace, &bytes_of(&document));
}

/// Asks by one of its names: most drivers say `getlasterror`.
fn last_error_by(name: &str, client: &mut RawClient, database: &str) -> Document {
    client.query(database, &doc! { name: 1 }).body()
}

fn last_error(client: &mut RawClient, database: &str) -> Document {
    last_error_by("getlasterror", client, database)
}

fn documents(database: &str) -> i64 {
    let count = set().client(0).run(database, doc! { "count": "c" });
    i64::from(count.get_i32("n").unwrap())
}

#[test]
fn each_of_many_interleaved_clients_learns_the_outcome_of_its_own_write() {
    const DB: &str = "interleaved";
    let torana = start("[pool]\nmax = 3");
    set().client(0).run(DB, doc! { "insert": "c", "documents": [{ "_id": "taken" }] });
    let clients: Vec<_> = (0..8)
        .map(|n| {
            let mut client = client(&torana);
            std::thread::spawn(move || {
                for i in 0..40 {
                    let fails = (n + i / 2) % 2 == 0;
                    let id = if fails { "taken".into() } else { format!("{n}-{i}") };
                    insert(&mut client, "interleaved.c", doc! { "_id": id });
                    let name = ["getlasterror", "getLastError"][i % 2];
                    let told = last_error_by(name, &mut client, DB);
                    assert_eq!(told.get_i32("code").is_ok_and(|code| code == 11000), fails, "{told}");
                }
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    assert_eq!(documents(DB), 1 + 8 * 20);
    assert!(torana.metric("torana_pool_connections_made_total", &[]) <= 3.0);
}

#[test]
fn a_last_error_speaks_of_the_last_of_several_writes() {
    const DB: &str = "several";
    let torana = start("");
    let mut client = client(&torana);
    for id in 0..3 {
        insert(&mut client, "several.c", doc! { "_id": id });
    }
    // Flags multi; then the filter and the change.
    let update = [2i32.to_le_bytes().to_vec(), bytes_of(&doc! {}), bytes_of(&doc! { "$set": { "a": 1 } })];
    client.send_legacy(OP_UPDATE, 0, "several.c", &update.concat());
    assert_eq!(last_error(&mut client, DB).get_i32("n").ok(), Some(3));
    let delete = [1i32.to_le_bytes().to_vec(), bytes_of(&doc! { "_id": 0 })];
    client.send_legacy(OP_DELETE, 0, "several.c", &delete.concat());
    assert_eq!(last_error(&mut client, DB).get_i32("n").ok(), Some(1));
    assert_eq!(documents(DB), 2);
}

#[test]
fn a_write_that_nobody_asks_about_is_done_and_its_connection_comes_back() {
    const DB: &str = "unasked";
    let torana = start("[pool]\nmax = 2");
    let mut clients: Vec<RawClient> = (0..6).map(|_| client(&torana)).collect();
    for (id, client) in clients.iter_mut().enumerate() {
        insert(client, "unasked.c", doc! { "_id": id as i32 });
        client.run(DB, doc! { "ping": 1 });
    }
    wait_until("all are written", SOON, || documents(DB) == 6);
    assert_eq!(torana.metric("torana_pool_connections_pinned", &[]), 0.0);
}

#[test]
fn a_last_error_that_never_comes_gives_the_connection_back_in_time() {
    let torana = start("[limits]\nlast_error_timeout = \"500ms\"\n[pool]\nmax = 2");
    let mut silent = client(&torana);
    insert(&mut silent, "silent.c", doc! { "_id": 1 });
    let mut other = client(&torana);
    assert_eq!(other.run("silent", doc! { "ping": 1 }).get_f64("ok").ok(), Some(1.0));
    assert_eq!(torana.metric("torana_pool_connections_pinned", &[]), 0.0);
    assert_eq!(documents("silent"), 1);
    // It goes on as if nothing had been, but for the one question that can no longer be answered.
    assert_eq!(silent.run("silent", doc! { "ping": 1 }).get_f64("ok").ok(), Some(1.0));
    silent.send_query("silent", &doc! { "getlasterror": 1 });
    silent.read_to_close();
    assert_eq!(torana.metric("torana_clients_ended_total", &["last_error_timeout"]), 1.0);
}

#[test]
fn a_client_that_only_writes_and_never_asks_keeps_no_connection_by_that() {
    let torana = start("[limits]\nlast_error_timeout = \"300ms\"\n[pool]\nmax = 2");
    let mut writer = client(&torana);
    let writing = std::thread::spawn(move || {
        for id in 0..40 {
            insert(&mut writer, "writer.c", doc! { "_id": id });
            std::thread::sleep(Duration::from_millis(50));
        }
        writer
    });
    wait_until("it writes", SOON, || documents("writer") > 0);
    let asked = Instant::now();
    client(&torana).run("writer", doc! { "ping": 1 });
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    let _writer = writing.join().unwrap();
    wait_until("all are written", SOON, || documents("writer") == 40);
}

#[test]
fn a_client_that_leaves_after_a_legacy_write_leaves_its_connection_to_others() {
    let torana = start("");
    for id in 0..10 {
        insert(&mut client(&torana), "left.c", doc! { "_id": id });
        wait_until("it is written", SOON, || documents("left") == id + 1);
        // Which the connection itself says a moment later.
        wait_until("it is back", SOON, || torana.metric("torana_pool_connections_out", &[]) == 0.0);
    }
    let ended = || torana.metric("torana_clients_ended_total", &["clean"]);
    wait_until("all have left", SOON, || ended() == 10.0);
    assert_eq!(torana.metric("torana_pool_connections_made_total", &[]), 1.0);
    assert_eq!(torana.metric("torana_pool_connections_pinned", &[]), 0.0);
}

#[test]
fn a_legacy_cursor_is_read_by_get_more_and_killed() {
    const DB: &str = "cursors";
    let torana = start("");
    let mut client = client(&torana);
    client.run(
        DB,
        doc! { "insert": "c", "documents": (0..10).map(|id| doc! { "_id": id }).collect::<Vec<_>>() },
    );
    let query = |client: &mut RawClient, flags: u32| {
        let id = client.next_id();
        client.send(&op_query(id, flags, "cursors.c", 3, &doc! {}));
        id
    };
    query(&mut client, 4);
    let first = client.read();
    assert_eq!((first.opcode(), first.documents().len()), (OP_REPLY, 3));
    let more = [4i32.to_le_bytes().to_vec(), first.reply_cursor().to_le_bytes().to_vec()].concat();
    let asked = client.send_legacy(OP_GET_MORE, 0, "cursors.c", &more);
    let second = client.read();
    assert_eq!((second.response_to(), second.documents().len()), (asked, 4));
    // OP_KILL_CURSORS has no namespace: zero, count, ids.
    let killed = [
        0i32.to_le_bytes().to_vec(),
        1i32.to_le_bytes().to_vec(),
        first.reply_cursor().to_le_bytes().to_vec(),
    ];
    let id = client.next_id();
    client.send(&support::message::message(id, 0, OP_KILL_CURSORS, &killed.concat()));
    client.run(DB, doc! { "ping": 1 });
    client.send_legacy(OP_GET_MORE, 0, "cursors.c", &more);
    let gone = client.read();
    assert_eq!(gone.flags() & 1, 1, "CursorNotFound");
}

#[test]
fn a_legacy_exhaust_query_streams_all_its_batches() {
    const DB: &str = "old_exhaust";
    let torana = start("");
    let mut client = client(&torana);
    client.run(
        DB,
        doc! { "insert": "c", "documents": (0..50).map(|id| doc! { "_id": id }).collect::<Vec<_>>() },
    );
    let id = client.next_id();
    client.send(&op_query(id, EXHAUST, "old_exhaust.c", 10, &doc! {}));
    let (mut response_to, mut seen) = (id, 0);
    while seen < 50 {
        let reply = client.read();
        assert_eq!(reply.response_to(), response_to);
        response_to = reply.request_id();
        seen += reply.documents().len();
        if reply.reply_cursor() == 0 {
            break;
        }
    }
    assert_eq!(seen, 50);
    client.run(DB, doc! { "ping": 1 });
    assert_eq!(torana.metric("torana_pool_connections_made_total", &[]), 1.0);
}
