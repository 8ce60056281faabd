//! A read at the level `sequential` shows one moment, in however many batches, where nothing was published lately too.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::Duration;

use bson::{Document, doc};
use support::{Ensemble, RawClient, ReplicaSet, torana_with};

/// Longer than a published time is young.
const QUIET: Duration = Duration::from_millis(1_300);

const TAGS: &str = "[tags]\n\"app.*\" = \"sequential\"\n";

/// Writes `value` to all of three documents, by somebody who is not known to torana.
fn put_past_torana(member: &mut RawClient, collection: &str, value: i32) {
    let update = |id: i32| doc! { "q": { "_id": id }, "u": { "$set": { "v": value } }, "upsert": true };
    let updates: Vec<Document> = (0..3).map(update).collect();
    let majority = doc! { "w": "majority" };
    member.run("app", doc! { "update": collection, "updates": updates, "writeConcern": majority });
}

fn values(reply: &Document) -> Vec<i32> {
    let cursor = reply.get_document("cursor").unwrap();
    assert!(!cursor.contains_key("atClusterTime"), "nobody asked for it: {cursor}");
    let batch = cursor.get_array("firstBatch").or(cursor.get_array("nextBatch")).unwrap();
    batch.iter().map(|document| document.as_document().unwrap().get_i32("v").unwrap()).collect()
}

fn batches_show_one_moment(collection: &str, settings: &str) {
    let set = ReplicaSet::shared();
    let primary = set.primary();
    let torana = torana_with(&set.uri(), &format!("{TAGS}{settings}"));
    let mut past = set.client(primary);
    put_past_torana(&mut past, collection, 1);
    let mut client = torana.client_of(&set.host(primary));
    for round in 2..5 {
        std::thread::sleep(QUIET);
        let reply = client.run("app", doc! { "find": collection, "batchSize": 1 });
        put_past_torana(&mut past, collection, round);
        let id = reply.get_document("cursor").unwrap().get_i64("id").unwrap();
        let rest = client.run("app", doc! { "getMore": id, "collection": collection });
        assert_eq!([values(&reply), values(&rest)].concat(), [round - 1; 3]);
    }
}

#[test]
fn a_cursor_of_several_batches_shows_one_moment_though_nothing_was_published_lately() {
    let zookeeper = Ensemble::of(1);
    batches_show_one_moment("shared", &format!("[zookeeper]\nhosts = \"{}\"\n", zookeeper.hosts().join(",")));
}

#[test]
fn it_does_so_where_a_torana_is_alone() {
    batches_show_one_moment("alone", "");
}

/// What a read would show cannot be published for longer than a client waits, and then can be: one moment, or none.
#[test]
fn a_cursor_shows_one_moment_though_zookeeper_stood_still_when_it_was_opened() {
    let zookeeper = Ensemble::of(1);
    let times = "request_timeout = \"3s\"\nwait_timeout = \"300ms\"\n";
    let set = ReplicaSet::shared();
    let primary = set.primary();
    let hosts = zookeeper.hosts().join(",");
    let torana = torana_with(&set.uri(), &format!("{TAGS}[zookeeper]\nhosts = \"{hosts}\"\n{times}"));
    let mut past = set.client(primary);
    put_past_torana(&mut past, "still", 1);
    let mut client = torana.client_of(&set.host(primary));
    client.run("app", doc! { "find": "still" });
    let mut served = 0;
    for round in 2..8 {
        std::thread::sleep(QUIET);
        zookeeper.pause(0);
        let reply = std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(750));
                zookeeper.resume(0);
            });
            client.command("app", doc! { "find": "still", "batchSize": 1 })
        });
        put_past_torana(&mut past, "still", round);
        if reply.get_f64("ok").unwrap() == 1.0 {
            let id = reply.get_document("cursor").unwrap().get_i64("id").unwrap();
            let rest = client.run("app", doc! { "getMore": id, "collection": "still" });
            assert_eq!([values(&reply), values(&rest)].concat(), [round - 1; 3]);
            served += 1;
        } else {
            assert_eq!(reply.get_i32("code").unwrap(), 262, "{reply}");
        }
    }
    assert!(served > 0);
}
