//! Shadow traffic between two real sets: what differs is found, and no write and no transaction ever arrives at the second.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::Duration;

use bson::{Document, Timestamp, doc};
use support::{Member, RawClient, ReplicaSet, Torana, Version, wait_until};

const SOON: Duration = Duration::from_secs(20);

fn set(name: &str, members: usize) -> ReplicaSet {
    let builder = ReplicaSet::builder().name(name);
    (0..members).fold(builder, |builder, _| builder.member(Member::plain())).start()
}

fn fill(client: &mut RawClient, planted: i32) {
    let documents = |first: i32| -> Vec<Document> {
        (0..300).map(|n| doc! { "_id": n, "group": n % 7, "value": if n == 7 { first } else { n } }).collect()
    };
    let majority = doc! { "w": "majority" };
    for (collection, first) in [("c", planted), ("same", 0), ("racing", 0), ("late", 0)] {
        client.run(
            "app",
            doc! { "insert": collection, "documents": documents(first), "writeConcern": majority.clone() },
        );
    }
}

fn start(live: &ReplicaSet, to: &str, more: &str) -> Torana {
    let text = format!(
        "uri = \"{}\"\nlisten = \"127.0.0.1:{{port0}}\"\n[shadow]\nto = \"{to}\"\nsample = \"1/1\"\n{more}",
        live.uri()
    );
    Torana::with_config(text).start()
}

fn outcomes(torana: &Torana, outcome: &str) -> f64 {
    torana.metric("torana_shadow_reads_total", &[&format!("outcome=\"{outcome}\"")])
}

fn wait_outcomes(torana: &Torana, outcome: &str, count: f64) {
    wait_until(&format!("{count} reads are {outcome}: {}", torana.log()), SOON, || {
        outcomes(torana, outcome) >= count
    });
    assert_eq!(outcomes(torana, outcome), count, "{outcome}");
}

fn opcounters(client: &mut RawClient) -> Document {
    let status = client.run("admin", doc! { "serverStatus": 1 });
    status.get_document("opcounters").unwrap().clone()
}

#[test]
fn differences_are_found_and_no_write_arrives() {
    let (live, new) = (set("rs0", 1), set("new", 1));
    let (mut direct, mut other) = (live.client(0), new.client(0));
    fill(&mut direct, 1);
    fill(&mut other, 2);
    direct.run(
        "app",
        doc! { "createIndexes": "same", "indexes": [{ "key": { "group": 1 }, "name": "by_group" }] },
    );
    other.run("app", doc! { "profile": 2 });
    let torana = start(&live, &new.uri(), "");
    wait_until("the target answers", SOON, || torana.metric("torana_shadow_up", &[]) == 1.0);
    let before = opcounters(&mut other);
    let mut client = torana.client_of(&live.host(0));
    // The same on both: with a cursor that stays open, of another order, with an error.
    let equal = [
        doc! { "find": "c", "filter": { "_id": { "$gt": 100 } }, "sort": { "_id": 1 }, "batchSize": 10 },
        doc! { "find": "same", "filter": { "_id": { "$lt": 90 } } },
        doc! { "find": "same", "sort": { "group": 1 } },
        doc! { "aggregate": "same", "pipeline": [{ "$group": { "_id": "$group", "n": { "$sum": 1 } } }], "cursor": {} },
        doc! { "count": "c", "query": { "group": 3 } },
        doc! { "distinct": "same", "key": "group" },
        doc! { "find": "same", "filter": { "x": { "$nonsense": 1 } } },
    ];
    for command in &equal {
        client.command("app", command.clone());
    }
    wait_outcomes(&torana, "equal", equal.len() as f64);
    // What was planted.
    client.run("app", doc! { "find": "c", "filter": { "_id": 7 } });
    // As drivers' `findOne` asks.
    client.run("app", doc! { "find": "c", "filter": { "_id": 7 }, "limit": 1, "singleBatch": true });
    wait_outcomes(&torana, "different", 2.0);
    client.run("app", doc! { "find": "same", "filter": { "group": 1 }, "hint": "by_group" });
    wait_outcomes(&torana, "error_shadow", 1.0);
    // Behind, and in step a moment later.
    direct.run(
        "app",
        doc! { "update": "late", "updates": [{ "q": { "_id": 1 }, "u": { "$set": { "value": 5 } } }] },
    );
    client.run("app", doc! { "find": "late", "filter": { "_id": 1 } });
    std::thread::sleep(Duration::from_millis(500));
    other.run(
        "app",
        doc! { "update": "late", "updates": [{ "q": { "_id": 1 }, "u": { "$set": { "value": 5 } } }] },
    );
    wait_outcomes(&torana, "late", 1.0);
    writes_and_transactions(&mut client);
    client.run("app", doc! { "find": "racing", "filter": { "_id": 1 } });
    wait_outcomes(&torana, "racing", 1.0);
    nothing_was_written(&mut other, &before);
    let log = torana.log();
    assert!(log.contains("find app.c {_id: ?}") && log.contains("cursor.firstBatch"), "{log}");
    assert_eq!(outcomes(&torana, "different") + outcomes(&torana, "error_live"), 2.0);
    assert!(torana.metric("torana_shadow_read_seconds_count", &["shadow"]) >= 9.0);
}

fn writes_and_transactions(client: &mut RawClient) {
    let set = |value: i32| doc! { "$set": { "value": value } };
    client.run("app", doc! { "insert": "racing", "documents": [{ "_id": 1000 }] });
    let updated =
        client.run("app", doc! { "update": "racing", "updates": [{ "q": { "_id": 1 }, "u": set(77) }] });
    client.run("app", doc! { "delete": "racing", "deletes": [{ "q": { "_id": 2 }, "limit": 1 }] });
    client.run("app", doc! { "findAndModify": "racing", "query": { "_id": 3 }, "update": set(1) });
    client.run("app", doc! { "aggregate": "racing", "pipeline": [{ "$out": "copy" }], "cursor": {} });
    client.run("app", doc! { "aggregate": "racing", "pipeline": [{ "$merge": "merged" }], "cursor": {} });
    client.run("app", doc! { "create": "made" });
    let id = bson::Binary { subtype: bson::spec::BinarySubtype::Uuid, bytes: vec![7; 16] };
    let (lsid, number) = (doc! { "id": id }, 1i64);
    client.run(
        "app",
        doc! { "find": "racing", "filter": { "_id": 5 }, "lsid": lsid.clone(), "txnNumber": number,
        "autocommit": false, "startTransaction": true },
    );
    client.run(
        "app",
        doc! { "insert": "racing", "documents": [{ "_id": 2000 }], "lsid": lsid.clone(),
        "txnNumber": number, "autocommit": false },
    );
    client.run(
        "admin",
        doc! { "commitTransaction": 1, "lsid": lsid.clone(), "txnNumber": number, "autocommit": false },
    );
    // A time of the first set means nothing to the second: it would wait for it for ever.
    let time = updated.get_timestamp("operationTime").unwrap_or(Timestamp { time: u32::MAX, increment: 1 });
    let after = doc! { "level": "majority", "afterClusterTime": time };
    client.run("app", doc! { "find": "same", "filter": { "_id": 6 }, "lsid": lsid, "readConcern": after });
}

fn nothing_was_written(other: &mut RawClient, before: &Document) {
    let after = opcounters(other);
    // One update is the test's own.
    for (name, own) in [("insert", 0), ("update", 1), ("delete", 0)] {
        let count = |counters: &Document| {
            let value = counters.get(name).unwrap();
            value.as_i64().or(value.as_i32().map(i64::from)).unwrap()
        };
        assert_eq!(count(&after) - count(before), own, "{name}");
    }
    let collections = other.run("app", doc! { "listCollections": 1, "nameOnly": true }).to_string();
    for name in ["copy", "merged", "made"] {
        assert!(!collections.contains(&format!("\"{name}\"")), "{collections}");
    }
    let asked =
        doc! { "find": "system.profile", "filter": { "appName": "torana shadow" }, "batchSize": 1000 };
    let profile = other.run("app", asked);
    let profile = profile.get_document("cursor").unwrap().get_array("firstBatch").unwrap();
    assert!(profile.len() >= 9, "{}", profile.len());
    for entry in profile {
        let entry = entry.as_document().unwrap();
        let command = entry.get_document("command").unwrap();
        let name = command.keys().next().unwrap().as_str();
        assert!(["find", "aggregate", "count", "distinct", "killCursors"].contains(&name), "{entry}");
        for key in ["lsid", "txnNumber", "$clusterTime", "autocommit"] {
            assert!(!command.contains_key(key), "{entry}");
        }
        assert!(
            !entry.to_string().contains("afterClusterTime") && !entry.to_string().contains("$out"),
            "{entry}"
        );
    }
    let status = other.run("admin", doc! { "serverStatus": 1 });
    let open =
        status.get_document("metrics").unwrap().get_document("cursor").unwrap().get_document("open").unwrap();
    assert_eq!(open.get_i64("total").ok(), Some(0), "{open}");
}

/// What the second set is for: an older version is served, a newer one is looked at.
#[test]
fn versions_with_the_same_data_answer_the_same() {
    let of = |name: &str, version: Version| {
        ReplicaSet::builder().name(name).member(Member::plain()).version(version).start()
    };
    let (live, new) = (of("rs0", Version::V44), of("new", Version::V60));
    for set in [&live, &new] {
        let mut client = set.client(0);
        fill(&mut client, 1);
        client.run(
            "app",
            doc! { "createIndexes": "c", "indexes": [{ "key": { "group": 1 }, "name": "by_group" }] },
        );
    }
    let torana = start(&live, &new.uri(), "");
    wait_until("the target answers", SOON, || torana.metric("torana_shadow_up", &[]) == 1.0);
    let mut client = torana.client_of(&live.host(0));
    let id = bson::Binary { subtype: bson::spec::BinarySubtype::Uuid, bytes: vec![7; 16] };
    let commands = [
        doc! { "find": "c", "filter": { "group": 3 } },
        doc! { "find": "c", "filter": { "group": 3 }, "hint": "by_group", "lsid": { "id": id } },
        doc! { "find": "c", "sort": { "value": -1 }, "limit": 5, "projection": { "_id": 0 } },
        doc! { "find": "c", "sort": { "_id": 1 }, "batchSize": 0 },
        doc! { "find": "nowhere", "filter": { "_id": 1 } },
        doc! { "find": "c", "filter": { "_id": 1 }, "singleBatch": true, "readConcern": { "level": "majority" } },
        doc! { "aggregate": "c", "pipeline": [{ "$group": { "_id": "$group", "n": { "$avg": "$value" } } }], "cursor": {} },
        doc! { "aggregate": "c", "pipeline": [{ "$sort": { "_id": 1 } }, { "$lookup": { "from": "same",
        "localField": "_id", "foreignField": "group", "as": "those" } }, { "$limit": 2 }], "cursor": {} },
        doc! { "aggregate": "c", "pipeline": [{ "$sort": { "_id": 1 } }], "cursor": { "batchSize": 10 } },
        doc! { "count": "c", "query": { "value": { "$gt": 10 } } },
        doc! { "count": "c" },
        doc! { "distinct": "c", "key": "group", "query": { "_id": { "$lt": 100 } } },
        doc! { "find": "c", "filter": { "$where": "this.group == 3" } },
        doc! { "find": "c", "filter": { "_id": { "$nonsense": 1 } } },
        doc! { "aggregate": "c", "pipeline": [{ "$match": { "$expr": { "$nonsense": 1 } } }], "cursor": {} },
    ];
    for command in &commands {
        client.command("app", command.clone());
    }
    wait_outcomes(&torana, "equal", commands.len() as f64);
    // What one of them does not know yet.
    client.command(
        "app",
        doc! { "aggregate": "c", "pipeline": [{ "$densify": { "field": "_id",
        "range": { "step": 1, "bounds": "full" } } }, { "$count": "n" }], "cursor": {} },
    );
    wait_outcomes(&torana, "error_live", 1.0);
}

#[test]
fn the_same_set_under_another_name_is_refused_unless_it_is_wanted() {
    let live = set("rs0", 1);
    let mut direct = live.client(0);
    fill(&mut direct, 1);
    let port = live.host(0).rsplit_once(':').unwrap().1.to_owned();
    let to = format!("mongodb://localhost:{port}/?directConnection=true");
    let torana = start(&live, &to, "");
    wait_until("it is refused", SOON, || torana.log().contains("is the very set that is served"));
    let mut client = torana.client_of(&live.host(0));
    client.run("app", doc! { "find": "c" });
    assert_eq!(torana.metric("torana_shadow_up", &[]), 0.0);
    assert_eq!(torana.metric("torana_shadow_dropped_total", &[]), 0.0);
    let torana = start(&live, &to, "same_set = true");
    wait_until("the target answers", SOON, || torana.metric("torana_shadow_up", &[]) == 1.0);
    let mut client = torana.client_of(&live.host(0));
    client.run("app", doc! { "find": "c" });
    wait_outcomes(&torana, "equal", 1.0);
}

#[test]
fn what_a_secondary_was_asked_a_secondary_is_asked() {
    let (live, new) = (set("rs0", 2), set("new", 2));
    fill(&mut live.client(live.primary()), 1);
    fill(&mut new.client(new.primary()), 1);
    let torana = start(&live, &new.uri(), "");
    wait_until("the target answers", SOON, || torana.metric("torana_shadow_up", &[]) == 1.0);
    let queries = |member: usize| {
        let mut client = new.client(member);
        let status = opcounters(&mut client);
        let value = status.get("query").unwrap();
        value.as_i64().or(value.as_i32().map(i64::from)).unwrap()
    };
    let before = [queries(new.primary()), queries(new.secondary())];
    let mut client = torana.client_of(&live.host(live.secondary()));
    for _ in 0..50 {
        client.run(
            "app",
            doc! { "find": "c", "sort": { "_id": 1 }, "$readPreference": { "mode": "secondary" } },
        );
    }
    wait_outcomes(&torana, "equal", 50.0);
    let after = [queries(new.primary()), queries(new.secondary())];
    assert!(after[1] - before[1] >= 50 && after[0] - before[0] < 25, "{before:?} {after:?}");
}
