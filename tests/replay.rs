//! Replays of real traffic against real replica sets: cursors, sessions, transactions and retried writes captured on one set,
//! played against another with the same data, have the same answers and leave the same data.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is how a test fails")]

mod support;

use std::process::{Command, Output};
use std::time::Duration;

use bson::{Bson, Document, doc};
use support::recording::{Keeps, Recorded, RecordedClient, Recording, lsid};
use support::{Member, ReplicaSet, Section};
use torana::capture::Role;

fn set(name: &str) -> ReplicaSet {
    ReplicaSet::builder().name(name).member(Member::plain()).start()
}

fn replica_set_id(set: &ReplicaSet) -> bson::oid::ObjectId {
    let reply = set.client(set.primary()).run("admin", doc! { "replSetGetConfig": 1 });
    let config = reply.get_document("config").unwrap();
    config.get_document("settings").unwrap().get_object_id("replicaSetId").unwrap()
}

/// The data that the traffic begins with.
fn restore(set: &ReplicaSet) {
    let mut client = set.client(set.primary());
    for db in ["app", "ids"] {
        client.run(db, doc! { "dropDatabase": 1 });
    }
    let documents: Vec<Document> =
        (0..500).map(|n| doc! { "_id": n, "group": n % 7, "text": format!("document {n}") }).collect();
    client.run("app", doc! { "insert": "c", "documents": documents, "writeConcern": { "w": "majority" } });
    client.run("ids", doc! { "create": "d" });
}

fn data(set: &ReplicaSet) -> Document {
    set.client(set.primary()).run("app", doc! { "dbHash": 1 }).get_document("collections").unwrap().clone()
}

fn replay(capture: &Recorded, set: &ReplicaSet, arguments: &[&str]) -> (serde_json::Value, Output) {
    let json = capture.path().join("report.json");
    let uri = set.uri();
    let mut all = vec!["replay", capture.path().to_str().unwrap(), "--to", &uri, "--quiet"];
    all.extend(["--json", json.to_str().unwrap()]);
    all.extend(arguments);
    let output = Command::new(env!("CARGO_BIN_EXE_torana")).args(all).output().unwrap();
    let text = std::fs::read_to_string(&json).unwrap_or_else(|_| "null".to_owned());
    (serde_json::from_str(&text).unwrap(), output)
}

/// A cursor of several batches, read on through another connection and then given up.
fn cursors(recording: &mut Recording, one: &mut RecordedClient, two: &mut RecordedClient) {
    let session = lsid(1);
    let find = doc! { "find": "c", "filter": { "group": { "$lt": 5 } }, "sort": { "_id": 1 }, "batchSize": 40, "lsid": session.clone() };
    let mut reply = one.run(recording, "app", find.clone());
    let mut batches = 1;
    loop {
        let id = reply.get_document("cursor").unwrap().get_i64("id").unwrap();
        if id == 0 {
            break;
        }
        let client = if batches % 2 == 0 { &mut *one } else { &mut *two };
        reply = client.run(
            recording,
            "app",
            doc! { "getMore": id, "collection": "c", "batchSize": 40, "lsid": session.clone() },
        );
        batches += 1;
    }
    assert!(batches > 5);
    let given_up = one.run(recording, "app", find);
    let id = given_up.get_document("cursor").unwrap().get_i64("id").unwrap();
    two.run(recording, "app", doc! { "killCursors": "c", "cursors": [id], "lsid": session });
}

/// Reads that are causal to writes, writes that are retried, and their ends.
fn sessions(recording: &mut Recording, one: &mut RecordedClient, two: &mut RecordedClient) {
    let session = lsid(2);
    let insert = doc! { "insert": "c", "documents": [{ "_id": 1000, "x": 1 }], "lsid": session.clone(), "txnNumber": 1i64 };
    let first = one.run(recording, "app", insert.clone());
    let again = two.run(recording, "app", insert);
    assert_eq!((first.get_i32("n").ok(), again.get_i32("n").ok()), (Some(1), Some(1)));
    let time = first.get_timestamp("operationTime").unwrap();
    let read = doc! { "find": "c", "filter": { "_id": 1000 }, "lsid": session.clone(),
    "readConcern": { "level": "majority", "afterClusterTime": time }, "$clusterTime": first.get_document("$clusterTime").unwrap() };
    two.run(recording, "app", read);
    one.run(recording, "admin", doc! { "endSessions": [session] });
}

/// A transaction over two connections, and one that is given up.
fn transactions(recording: &mut Recording, one: &mut RecordedClient, two: &mut RecordedClient) {
    let with = |mut command: Document, number: i64, starts: bool| {
        command.extend(doc! { "lsid": lsid(3), "txnNumber": number, "autocommit": false });
        if starts {
            command.insert("startTransaction", true);
        }
        command
    };
    let update = doc! { "update": "c", "updates": [{ "q": { "_id": 5 }, "u": { "$inc": { "x": 5 } } }] };
    one.run(recording, "app", with(update.clone(), 1, true));
    two.run(recording, "app", with(doc! { "insert": "c", "documents": [{ "_id": 2000 }] }, 1, false));
    one.run(recording, "app", with(doc! { "find": "c", "filter": { "_id": 5 } }, 1, false));
    two.run(recording, "admin", with(doc! { "commitTransaction": 1 }, 1, false));
    one.run(recording, "app", doc! { "find": "c", "filter": { "_id": 2000 } });
    one.run(recording, "app", with(update, 2, true));
    two.run(recording, "admin", with(doc! { "abortTransaction": 1 }, 2, false));
    two.run(recording, "app", doc! { "find": "c", "filter": { "_id": 5 } });
}

/// Writes of every kind, errors, ids that the server makes.
fn writes(recording: &mut Recording, one: &mut RecordedClient, two: &mut RecordedClient) {
    let body = doc! { "insert": "c", "ordered": false, "$db": "app" };
    let documents = (3000..3010).map(|n| doc! { "_id": n }).chain([doc! { "_id": 3000 }]).collect();
    let many = one.exchange(recording, &[Section::Body(body), Section::Sequence("documents", documents)]);
    assert!(many.contains_key("writeErrors"));
    one.run(recording, "app", doc! { "findAndModify": "c", "query": { "_id": 3001 }, "update": { "$set": { "x": 1 } }, "new": true });
    two.run(recording, "app", doc! { "delete": "c", "deletes": [{ "q": { "_id": 3002 }, "limit": 1 }] });
    two.run(
        recording,
        "app",
        doc! { "createIndexes": "c", "indexes": [{ "key": { "group": 1 }, "name": "group_1" }] },
    );
    one.run(recording, "app", doc! { "aggregate": "c", "pipeline": [{ "$group": { "_id": "$group", "n": { "$sum": 1 } } }], "cursor": {} });
    one.run(recording, "app", doc! { "count": "c", "query": { "group": 3 } });
    one.run(recording, "app", doc! { "distinct": "c", "key": "group" });
    one.run(recording, "app", doc! { "aggregate": "c", "pipeline": [{ "$match": { "group": 1 } }, { "$out": "copy" }], "cursor": {} });
    two.run(recording, "app", doc! { "find": "copy", "sort": { "_id": 1 }, "batchSize": 1000 });
    one.run(recording, "app", doc! { "find": "c", "filter": { "$wrong": 1 } });
    let upsert = doc! { "update": "d", "updates": [{ "q": { "name": "x" }, "u": { "$set": { "x": 1 } }, "upsert": true }] };
    let reply = one.run(recording, "ids", upsert);
    let upserted = reply.get_array("upserted").unwrap()[0].as_document().unwrap().clone();
    let id: Bson = upserted.get("_id").unwrap().clone();
    let found = two.run(recording, "ids", doc! { "find": "d", "filter": { "_id": id } });
    assert_eq!(found.get_document("cursor").unwrap().get_array("firstBatch").unwrap().len(), 1);
}

fn capture(set: &ReplicaSet) -> Recorded {
    restore(set);
    let mut recording = Recording::of(Some(replica_set_id(set)), Keeps::Whole);
    let address = set.host(set.primary());
    let mut one = RecordedClient::connect(&mut recording, 1, &address);
    let mut two = RecordedClient::connect(&mut recording, 2, &address);
    cursors(&mut recording, &mut one, &mut two);
    sessions(&mut recording, &mut one, &mut two);
    transactions(&mut recording, &mut one, &mut two);
    writes(&mut recording, &mut one, &mut two);
    one.close(&mut recording);
    two.close(&mut recording);
    recording.finish()
}

fn check(report: &serde_json::Value, output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (card, answers) = (&report["scorecard"], &report["answers"]);
    assert_eq!(card["complete"], true, "{card}");
    assert_eq!(card["sent"], card["captured"], "{card}");
    assert_eq!(answers["different"], 0, "{answers:#}");
    assert_eq!(answers["not_comparable"].as_array().unwrap().len(), 0, "{answers:#}");
}

#[test]
fn captured_traffic_has_the_same_answers_and_leaves_the_same_data_on_another_set() {
    let (origin, target) = (set("rs0"), set("rs1"));
    let capture = capture(&origin);
    let wanted = data(&origin);
    assert!(wanted.contains_key("copy"));
    for speed in ["max", "1", "20"] {
        restore(&target);
        let (report, output) = replay(&capture, &target, &["--writes", "--speed", speed]);
        check(&report, &output);
        assert_eq!(data(&target), wanted, "at {speed}");
    }

    // Without writes nothing changes.
    restore(&target);
    let before = data(&target);
    let (report, output) = replay(&capture, &target, &["--speed", "max"]);
    assert!(output.status.success());
    assert_eq!(data(&target), before);
    assert_eq!(report["scorecard"]["complete"], true);
    let reasons = report["scorecard"]["skipped_by_reason"].as_array().unwrap();
    assert!(reasons.iter().any(|line| line["reason"].as_str().unwrap().contains("--writes")), "{reasons:?}");

    // Never to the set that it came from.
    let (_, output) = replay(&capture, &origin, &["--writes"]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && error.contains("--same-set"), "{error}");
    assert_eq!(data(&origin), wanted);
}

#[test]
fn captured_secondaries_are_played_by_secondaries() {
    let target = ReplicaSet::of(2).start();
    restore(&target);
    let secondary = target.secondary();
    let mut recording = Recording::of(None, Keeps::Facts);
    recording.at(Duration::ZERO);
    recording.opened(1, Role::Secondary, "elsewhere:1");
    recording.opened(2, Role::Primary, "elsewhere:2");
    let nowhere = doc! { "ok": 1.0 };
    for number in 1..11 {
        let find = doc! { "find": "c", "filter": { "_id": number }, "$readPreference": { "mode": "secondaryPreferred" } };
        recording.exchange(1, number, find, nowhere.clone());
    }
    recording.exchange(2, 1, doc! { "find": "c" }, nowhere);
    let finds = |index: usize| {
        let status = target.client(index).run("admin", doc! { "serverStatus": 1 });
        let find = status.get_document("metrics").unwrap().get_document("commands").unwrap();
        find.get_document("find").unwrap().get_i64("total").unwrap()
    };
    let before = finds(secondary);
    let (report, output) = replay(&recording.finish(), &target, &["--speed", "max"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(report["scorecard"]["sent"], 11);
    // The set's own finds may come on top.
    assert!(finds(secondary) >= before + 10, "{report}");
}

/// Documents that are found by `key`, which has an index, or by `_id`.
fn fill(set: &ReplicaSet) {
    let mut client = set.client(set.primary());
    for thousand in 0..20 {
        let numbers = thousand * 1000..(thousand + 1) * 1000;
        let documents: Vec<Document> =
            numbers.map(|n| doc! { "_id": n, "key": n * 7, "text": "x".repeat(100) }).collect();
        client.run("app", doc! { "insert": "c", "documents": documents });
    }
    let index = doc! { "key": { "key": 1 }, "name": "key_1" };
    client.run("app", doc! { "createIndexes": "c", "indexes": [index], "writeConcern": { "w": "majority" } });
}

fn capture_of_reads(set: &ReplicaSet) -> Recorded {
    let mut recording = Recording::of(Some(replica_set_id(set)), Keeps::Whole);
    let mut client = RecordedClient::connect(&mut recording, 1, &set.host(set.primary()));
    for n in 0..200 {
        client.run(&mut recording, "app", doc! { "find": "c", "filter": { "key": n * 7 } });
        client.run(&mut recording, "app", doc! { "find": "c", "filter": { "_id": n } });
    }
    client.close(&mut recording);
    recording.finish()
}

fn group<'r>(report: &'r serde_json::Value, shape: &str) -> &'r serde_json::Value {
    let groups = report["comparison"]["groups"].as_array().unwrap();
    groups.iter().find(|group| group["name"] == shape).unwrap_or_else(|| panic!("{shape}: {groups:#?}"))
}

#[test]
fn a_slow_index_and_a_wrong_answer_of_another_server_are_found() {
    let (old, new) = (set("rs0"), set("rs1"));
    fill(&old);
    let capture = capture_of_reads(&old);
    fill(&new);
    let mut client = new.client(new.primary());
    client.run("app", doc! { "dropIndexes": "c", "index": "key_1" });
    let wrong = doc! { "q": { "_id": 117 }, "u": { "$set": { "text": "wrong" } } };
    client.run("app", doc! { "update": "c", "updates": [wrong] });

    let html = capture.path().join("report.html");
    let compare =
        ["--speed", "max", "--repeat", "3", "--compare", &old.uri(), "--html", html.to_str().unwrap()];
    let (report, output) = replay(&capture, &new, &compare);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));

    let (by_key, by_id) = ("find app.c {key: ?}", "find app.c {_id: ?}");
    let p50 = &group(&report, by_key)["changes"][0];
    assert_eq!((p50[0].as_str(), p50[1]["is_beyond_noise"].as_bool()), (Some("P50"), Some(true)), "{p50}");
    assert!(p50[1]["now"].as_f64().unwrap() > 3.0 * p50[1]["before"].as_f64().unwrap(), "{p50}");
    let expected = serde_json::json!([0, 1]);
    // It is found by `key`, too.
    assert_eq!(
        (&group(&report, by_id)["different"], &group(&report, by_key)["different"]),
        (&expected, &expected)
    );
    let differences = report["comparison"]["differences"].as_array().unwrap();
    assert_eq!(differences.len(), 2, "{differences:#?}");
    assert!(differences[0]["replayed"].as_str().unwrap().contains("\"text\": \"wrong\""), "{differences:#?}");
    let page = std::fs::read_to_string(&html).unwrap();
    for told in ["What stands out", "slower: P50", "answers that differ: 0 -&gt; 1", "find app.c {key: ?}"] {
        assert!(page.contains(told), "{told}");
        assert!(text.contains(&told.replace("&gt;", ">")), "{told}: {text}");
    }

    // The same server twice has the same answers, and those of an earlier report can be taken.
    let file = capture.path().join("report.json");
    std::fs::rename(&file, capture.path().join("earlier.json")).unwrap();
    let earlier = capture.path().join("earlier.json");
    let shape = format!("shape={by_id}");
    let (report, _) = replay(
        &capture,
        &new,
        &["--speed", "max", "--compare", earlier.to_str().unwrap(), "--filter", &shape],
    );
    assert_eq!(report["scorecard"]["sent"], 200);
    assert_eq!(group(&report, by_id)["different"], serde_json::json!([1, 1]));
    assert!(report["comparison"]["differences"].as_array().unwrap().is_empty());
}
