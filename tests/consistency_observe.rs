//! The level `observe`, and levels that a request asks for, through the torana binary.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::Duration;

use bson::{Document, doc};
use support::{FakeServer, RawClient, ReplicaSet, Torana, torana_with, wait_until};

const SOON: Duration = Duration::from_secs(20);

fn put(client: &mut RawClient, value: i32) {
    let updates = vec![doc! { "q": { "_id": 1 }, "u": { "$set": { "v": value } }, "upsert": true }];
    client.run("app", doc! { "update": "seen", "updates": updates });
}

fn get(client: &mut RawClient, comment: Option<&str>) -> Document {
    let mut find = doc! { "find": "seen", "filter": { "_id": 1 }, "maxTimeMS": 2000,
    "$readPreference": { "mode": "secondary" } };
    find.extend(comment.map(|comment| doc! { "comment": comment }).unwrap_or_default());
    client.command("app", find)
}

fn value(reply: &Document) -> Option<i32> {
    let cursor = reply.get_document("cursor").unwrap();
    cursor.get_array("firstBatch").unwrap().first()?.as_document().unwrap().get_i32("v").ok()
}

#[test]
fn reads_of_a_member_that_is_behind_are_counted_and_a_request_can_ask_for_more() {
    let set = ReplicaSet::of(3).unchained().start();
    let torana = torana_with(&set.uri(), "[tags]\n\"app.seen\" = \"observe\"\n");
    let (primary, secondary) = (set.host(set.primary()), set.secondary());
    let mut writer = torana.client_of(&primary);
    let mut reader = torana.client_of(&set.host(secondary));
    let counted = |torana: &Torana, outcome: &str| torana.metric("torana_observed_reads_total", &[outcome]);
    put(&mut writer, 0);
    wait_until("the secondary has it", SOON, || value(&get(&mut reader, None)) == Some(0));
    let before = counted(&torana, "behind");
    for _ in 0..10 {
        assert_eq!(value(&get(&mut reader, None)), Some(0));
    }
    assert_eq!(counted(&torana, "behind"), before);
    assert!(counted(&torana, "current") >= 10.0);

    let fail_point = |mode: &str| doc! { "configureFailPoint": "rsSyncApplyStop", "mode": mode };
    set.client(secondary).run("admin", fail_point("alwaysOn"));
    put(&mut writer, 1);
    for _ in 0..10 {
        assert_eq!(value(&get(&mut reader, None)), Some(0), "observed, not changed");
    }
    assert_eq!(counted(&torana, "behind"), before + 10.0);
    let of_collection = |outcome| torana.metric("torana_collection_reads_total", &["app.seen", outcome]);
    assert_eq!(of_collection("behind"), counted(&torana, "behind"));
    assert_eq!(of_collection("current"), counted(&torana, "current"));
    // What a request asks for holds for that request.
    put(&mut writer, 2);
    assert_eq!(value(&get(&mut torana.client_of(&primary), Some("torana:causal"))), Some(2));
    let waits = get(&mut reader, Some("torana:causal"));
    assert_eq!(waits.get_i32("code").unwrap(), 50, "{waits}");
    assert_eq!(value(&get(&mut reader, Some("torana:sequential"))), Some(2), "by the primary");
    assert_eq!(value(&get(&mut reader, Some("for the slow query log"))), Some(0));
    set.client(secondary).run("admin", fail_point("off"));
}

#[test]
fn requests_on_observed_collections_pass_as_they_came() {
    let fake = FakeServer::answering();
    let torana = torana_with(&fake.uri(), "[tags]\n\"app.seen\" = \"observe\"\n\"app.kept\" = \"causal\"\n");
    let mut client = torana.client_of(fake.address());
    let seen = |name: &str| fake.requests(name).pop().unwrap().message.body();
    for command in [
        doc! { "find": "seen", "readConcern": { "level": "local" } },
        doc! { "insert": "seen", "documents": [{ "_id": 1 }], "writeConcern": { "w": 1 } },
        doc! { "mapReduce": "seen", "map": "", "reduce": "", "out": { "inline": 1 } },
        doc! { "aggregate": "seen", "pipeline": [], "cursor": {} },
    ] {
        let mut wanted = command.clone();
        wanted.insert("$db", "app");
        client.run("app", command.clone());
        assert_eq!(seen(command.keys().next().unwrap()), wanted);
    }
    // Not where nothing may be asked for, and not what there is not.
    client.run("app", doc! { "find": "plain", "comment": "torana:causal" });
    assert!(!seen("find").contains_key("readConcern"));
    client.run("app", doc! { "find": "seen", "comment": "torana:default" });
    assert!(!seen("find").contains_key("readConcern"));
    let reply = client.command("app", doc! { "find": "seen", "comment": "torana:casual" });
    assert!(reply.get_str("errmsg").unwrap().contains("did you mean \"causal\"?"), "{reply}");
    client.run("app", doc! { "find": "kept", "comment": "torana:default" });
    assert!(seen("find").contains_key("readConcern"), "never less than its tag");
}
