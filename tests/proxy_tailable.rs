//! Tailable cursors that await, on a real server through the torana binary.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use bson::{Document, doc};
use support::{RawClient, ReplicaSet, Torana, torana_with, wait_until};

const SOON: Duration = Duration::from_secs(10);

fn set() -> &'static ReplicaSet {
    static SET: OnceLock<ReplicaSet> = OnceLock::new();
    SET.get_or_init(|| ReplicaSet::of(1).start())
}

fn client(torana: &Torana) -> RawClient {
    torana.client_of(&set().host(0))
}

/// torana, and a capped collection `c` of one document in `database`.
fn capped(database: &str, bounds: &str) -> (Torana, RawClient) {
    let torana = torana_with(&set().uri(), bounds);
    let mut writer = client(&torana);
    writer.run(database, doc! { "create": "c", "capped": true, "size": 1 << 20 });
    insert(&mut writer, database, "first");
    (torana, writer)
}

fn insert(client: &mut RawClient, database: &str, id: &str) {
    client.run(database, doc! { "insert": "c", "documents": [{ "_id": id }] });
}

/// Opens a tailable cursor and reads what is there.
fn tail(client: &mut RawClient, database: &str) -> i64 {
    let opened = client.run(database, doc! { "find": "c", "tailable": true, "awaitData": true });
    let cursor = opened.get_document("cursor").unwrap();
    assert_eq!(cursor.get_array("firstBatch").unwrap().len(), 1);
    cursor.get_i64("id").unwrap()
}

fn more(cursor: i64, max_time_ms: Option<i64>) -> Document {
    let mut command = doc! { "getMore": cursor, "collection": "c" };
    command.extend(max_time_ms.map(|millis| ("maxTimeMS".to_owned(), millis.into())));
    command
}

/// The `_id`s of a reply's batch; the cursor must still be open.
fn ids(reply: &Document) -> Vec<&str> {
    let cursor = reply.get_document("cursor").unwrap();
    assert_ne!(cursor.get_i64("id").unwrap(), 0, "{reply}");
    let batch = cursor.get_array("nextBatch").unwrap();
    batch.iter().map(|document| document.as_document().unwrap().get_str("_id").unwrap()).collect()
}

#[test]
fn a_document_wakes_those_who_tail_at_once_and_without_one_they_wait_as_long_as_they_said() {
    const DB: &str = "tails";
    let (torana, mut writer) = capped(DB, "");
    let mut reader = client(&torana);
    let cursor = tail(&mut reader, DB);
    for (limit, least) in [(Some(700), 700), (None, 900)] {
        let asked = Instant::now();
        assert!(ids(&reader.run(DB, more(cursor, limit))).is_empty());
        let taken = asked.elapsed().as_millis();
        assert!((least..least + 3_000).contains(&taken), "{limit:?}: {taken} ms");
    }
    for id in ["second", "third"] {
        let asked = Instant::now();
        reader.send_command(DB, more(cursor, Some(20_000)));
        // It waits on the server, by a share of those who await.
        wait_until("it awaits", SOON, || torana.metric("torana_pool_awaiting", &[]) == 1.0);
        insert(&mut writer, DB, id);
        assert_eq!(ids(&reader.read().body()), [id]);
        assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    }
    reader.run(DB, doc! { "killCursors": "c", "cursors": [cursor] });
    let gone = reader.command(DB, more(cursor, Some(100)));
    assert_eq!(gone.get_i32("code").ok(), Some(43), "{gone}");
    assert_eq!(torana.metric("torana_pool_awaiting", &[]), 0.0);
}

#[test]
fn more_tails_than_places_leave_others_their_connections_and_see_every_document() {
    const DB: &str = "many_tails";
    // One place for what awaits.
    let (torana, mut writer) = capped(DB, "[pool]\nmax = 4");
    let mut readers: Vec<(RawClient, i64)> = (0..12)
        .map(|_| {
            let mut reader = client(&torana);
            let cursor = tail(&mut reader, DB);
            (reader, cursor)
        })
        .collect();
    for (reader, cursor) in &mut readers {
        reader.send_command(DB, more(*cursor, Some(20_000)));
    }
    let asked = Instant::now();
    for _ in 0..20 {
        writer.run(DB, doc! { "ping": 1 });
    }
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    let written = Instant::now();
    insert(&mut writer, DB, "second");
    for (reader, _) in &mut readers {
        assert_eq!(ids(&reader.read().body()), ["second"]);
    }
    assert!(written.elapsed() < Duration::from_secs(5), "{:?}", written.elapsed());
    assert!(torana.metric("torana_pool_connections_made_total", &[]) <= 4.0);
}
