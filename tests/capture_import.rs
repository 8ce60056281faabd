//! Traffic of real servers that other tools wrote down: imported, it is a capture that `torana replay` plays, without what is
//! secret.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is how a test fails")]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use bson::{Document, doc};
use support::message::bytes_of;
use support::scratch::Scratch;
use support::sniffer::Sniffer;
use support::traffic::Traffic;
use support::{Member, RawClient, ReplicaSet, Section, Version};
use torana::capture::folder;

const SECRET: &str = "r:5ecr3t-5ecr3t-5ecr3t";

fn set(name: &str) -> ReplicaSet {
    ReplicaSet::builder().name(name).member(Member::plain()).start()
}

/// The data that the traffic begins with.
fn restore(set: &ReplicaSet) {
    let mut client = set.client(set.primary());
    client.run("app", doc! { "dropDatabase": 1 });
    let documents: Vec<Document> = (0..300).map(|n| doc! { "_id": n, "group": n % 7 }).collect();
    client.run("app", doc! { "insert": "c", "documents": documents, "writeConcern": { "w": "majority" } });
}

/// What is in the collections of the traffic.
fn data(set: &ReplicaSet) -> Document {
    let reply = set.client(set.primary()).run("app", doc! { "dbHash": 1, "collections": ["c"] });
    reply.get_document("collections").unwrap().clone()
}

/// The binary with these arguments, run to its end: whether it succeeded, what it printed and what it complained of.
fn run(arguments: &[&str]) -> (bool, String, String) {
    let done = Command::new(env!("CARGO_BIN_EXE_torana")).args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (done.status.success(), text(done.stdout), text(done.stderr))
}

/// Imports; what it printed.
fn import(out: &Path, files: &[&Path], arguments: &[&str]) -> String {
    let mut all = vec!["capture", "import", "--out", out.to_str().unwrap()];
    all.extend(files.iter().map(|file| file.to_str().unwrap()));
    all.extend(arguments);
    let (succeeded, said, complaints) = run(&all);
    assert!(succeeded && complaints.is_empty(), "{said}{complaints}");
    said
}

fn replay(capture: &Path, set: &ReplicaSet, arguments: &[&str]) -> serde_json::Value {
    let json = capture.join("report.json");
    let uri = set.uri();
    let mut all = vec!["replay", capture.to_str().unwrap(), "--to", &uri, "--quiet", "--speed", "max"];
    all.extend(["--json", json.to_str().unwrap()]);
    all.extend(arguments);
    let (succeeded, _, complaints) = run(&all);
    assert!(succeeded, "{complaints}");
    serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap()
}

fn written(folder: &Scratch, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

/// All bytes that a reader of the files can see.
fn raw(path: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    for mut reader in folder::open(path).unwrap() {
        all.extend(std::fs::read(reader.path()).unwrap());
        for block in reader.blocks.clone() {
            all.extend(reader.block(&block).unwrap());
        }
    }
    all
}

fn holds(bytes: &[u8], part: &str) -> bool {
    bytes.windows(part.len()).any(|window| window == part.as_bytes())
}

/// Reads in batches of one client; writes, reads and errors of another, who sees nothing of what the first reads.
fn talk(traffic: &mut Traffic, address: &str) {
    let (one, two) = (traffic.connect(address), traffic.connect(address));
    let hello = doc! { "hello": 1, "client": { "application": { "name": "shop" }, "driver": { "name": "t", "version": "1" },
    "os": { "type": "Linux" } } };
    traffic.run(one, "admin", hello);
    let mut reply = traffic.run(
        two,
        "app",
        doc! { "find": "c", "filter": { "_id": { "$lt": 300 } }, "sort": { "_id": 1 }, "batchSize": 100 },
    );
    let mut batches = 1;
    while let Some(id) = reply.get_document("cursor").unwrap().get_i64("id").ok().filter(|id| *id != 0) {
        reply = traffic.run(two, "app", doc! { "getMore": id, "collection": "c", "batchSize": 100 });
        batches += 1;
    }
    assert!(batches >= 3);
    let insert = doc! { "insert": "c", "ordered": false, "$db": "app" };
    let documents =
        (1000..1010).map(|n| doc! { "_id": n, "x": "y".repeat(50) }).chain([doc! { "_id": 1000 }]);
    traffic.exchange(one, &[Section::Body(insert), Section::Sequence("documents", documents.collect())]);
    let update = doc! { "q": { "_id": 1001 }, "u": { "$set": { "x": 2 } } };
    traffic.run(one, "app", doc! { "update": "c", "updates": [update] });
    traffic.run(one, "app", doc! { "insert": "c", "documents": [{ "_id": 1, "sessionToken": SECRET }] });
    traffic.run(one, "app", doc! { "delete": "c", "deletes": [{ "q": { "_id": 1002 }, "limit": 1 }] });
    traffic.run(one, "app", doc! { "find": "c", "filter": { "sessionToken": SECRET } });
    traffic.run(
        one,
        "app",
        doc! { "aggregate": "c", "pipeline": [{ "$match": { "group": { "$gte": 0 } } }, { "$group": { "_id": "$group" } }], "cursor": {} },
    );
    traffic.run(one, "app", doc! { "find": "c", "filter": { "$wrong": 1 } });
    traffic.run(one, "admin", doc! { "saslStart": 1, "mechanism": "SCRAM-SHA-256", "payload": SECRET });
}

/// Plays a capture of [`talk`] against another set that has the data of its beginning.
fn check_played(capture: &Path, target: &ReplicaSet, wanted: &Document, captured: usize) {
    let uri = target.uri();
    let refused = run(&["replay", capture.to_str().unwrap(), "--to", &uri, "--quiet", "--writes"]);
    assert!(!refused.0 && refused.2.contains("--same-set"), "{}", refused.2);
    let report = replay(capture, target, &["--writes", "--same-set"]);
    let (card, answers) = (&report["scorecard"], &report["answers"]);
    assert_eq!(card["complete"], true, "{card}");
    assert_eq!(card["captured"], captured, "{card}");
    // The hello and the login.
    assert_eq!(card["sent"], captured - 2, "{card}");
    assert_eq!(answers["different"], 0, "{answers:#}");
    assert_eq!(&data(target), wanted);
}

#[test]
fn what_mongoreplay_recorded_is_played_with_the_same_answers() {
    let (origin, target) = (set("rs0"), set("rs1"));
    restore(&origin);
    restore(&target);
    let mut traffic = Traffic::default();
    talk(&mut traffic, &origin.host(0));
    let folder = Scratch::new("import");
    let file = written(&folder, "monday.playback", &traffic.playback());
    let capture = folder.path().join("capture");
    let said = import(&capture, &[&file], &["--replies", "whole"]);
    let requests = traffic.passed.len() / 2;
    assert!(said.contains(&format!("{requests} requests and {requests} replies on 2 connections")), "{said}");
    assert!(!said.contains("left out"), "{said}");
    assert!(!holds(&raw(&capture), SECRET) && holds(&traffic.playback(), SECRET));
    check_played(&capture, &target, &data(&origin), requests);
    let (_, info, _) = run(&["capture", "info", capture.to_str().unwrap()]);
    assert!(info.contains("imported from a playback file of mongoreplay") && info.contains("shop"), "{info}");

    // Never into a folder that holds a capture; and nothing at all from files that are something else.
    let again = ["capture", "import", "--out", capture.to_str().unwrap(), file.to_str().unwrap()];
    let (succeeded, _, complaint) = run(&again);
    assert!(!succeeded && complaint.contains("already holds a capture"), "{complaint}");
    let other = written(&folder, "other", b"something else");
    let nowhere = folder.path().join("nowhere");
    let (succeeded, _, complaint) =
        run(&["capture", "import", "--out", nowhere.to_str().unwrap(), other.to_str().unwrap()]);
    assert!(!succeeded && complaint.contains("is none of: a playback file"), "{complaint}");
    assert!(!nowhere.exists());
}

#[test]
fn packets_of_real_connections_are_played_with_the_same_answers() {
    let (origin, target) = (set("rs0"), set("rs1"));
    restore(&origin);
    restore(&target);
    let address = origin.host(0);
    let port = address.rsplit_once(':').unwrap().1;
    let sniffer = Sniffer::of(port.parse().unwrap());
    let mut traffic = Traffic::default();
    talk(&mut traffic, &address);
    // The set's own connections to itself are not the traffic's.
    let requests = traffic.passed.len() / 2;
    let built = traffic.pcap();
    traffic.close();
    let (bytes, is_real) = sniffer.map_or((built, false), |sniffer| (sniffer.pcap(), true));
    let folder = Scratch::new("import");
    let file = written(&folder, "monday.pcap", &bytes);
    let capture = folder.path().join("capture");
    let said = import(&capture, &[&file], &["--port", port, "--replies", "whole"]);
    assert!(said.contains(&format!("{requests} requests and {requests} replies on 2 connections")), "{said}");
    assert!(!said.contains("dropped where"), "{said}");
    assert!(!holds(&raw(&capture), SECRET) && holds(&bytes, SECRET));
    let (_, info, _) = run(&["capture", "info", capture.to_str().unwrap()]);
    assert!(!is_real || info.contains("connections: 2 opened, 2 closed, 0 lost"), "{info}");
    check_played(&capture, &target, &data(&origin), requests);

    // Of another port there is nothing, and that is an error which names the port that it could be.
    let nowhere = folder.path().join("nowhere");
    let (succeeded, _, complaint) =
        run(&["capture", "import", "--out", nowhere.to_str().unwrap(), file.to_str().unwrap()]);
    assert!(!succeeded && complaint.starts_with("no MongoDB traffic found: "), "{complaint}");
    assert!(complaint.contains(&format!("the busiest other port is {port}")), "{complaint}");
    assert!(!nowhere.exists());

    // A file that was cut off is kept as far as it goes, and that is told.
    let cut = written(&folder, "cut.pcap", &bytes[..bytes.len() * 2 / 3]);
    let part = folder.path().join("part");
    let arguments = ["capture", "import", "--port", port, "--out", part.to_str().unwrap()];
    let (succeeded, said, complaint) = run(&[&arguments[..], &[cut.to_str().unwrap()]].concat());
    assert!(succeeded && said.contains("requests and"), "{said}{complaint}");
    assert!(complaint.starts_with("damage: ") && complaint.contains("ends in the middle"), "{complaint}");
    assert!(run(&["capture", "info", part.to_str().unwrap()]).1.contains("no damage"));
}

/// What is in `system.profile`, as mongodump writes it.
fn profiled(client: &mut RawClient) -> Vec<u8> {
    let reply =
        client.run("app", doc! { "find": "system.profile", "sort": { "$natural": 1 }, "batchSize": 1000 });
    let cursor = reply.get_document("cursor").unwrap();
    assert_eq!(cursor.get_i64("id").unwrap(), 0);
    let documents = cursor.get_array("firstBatch").unwrap();
    documents.iter().flat_map(|document| bytes_of(document.as_document().unwrap())).collect()
}

#[test]
fn what_the_profiler_of_a_real_server_saw_is_played() {
    check_profile(&set("rs0"));
}

#[test]
fn what_the_profiler_of_an_older_server_saw_is_played_by_a_newer_one() {
    let origin = ReplicaSet::builder().name("rs0").version(Version::V44).member(Member::plain()).start();
    check_profile(&origin);
}

fn check_profile(origin: &ReplicaSet) {
    let target = set("rs1");
    restore(origin);
    restore(&target);
    let mut client = origin.client(0);
    client.run("app", doc! { "profile": 2 });
    let mut traffic = Traffic::default();
    talk(&mut traffic, &origin.host(0));
    client.run("app", doc! { "profile": 0 });
    let profile = profiled(&mut client);
    let folder = Scratch::new("import");
    let bson = written(&folder, "system.profile.bson", &profile);
    let capture = folder.path().join("capture");
    let said = import(&capture, &[&bson], &[]);
    // The insert whose documents came in a sequence is known by its name alone.
    assert!(said.contains("        1 inserts of which the profile does not have the documents\n"), "{said}");
    assert!(!holds(&raw(&capture), SECRET) && holds(&profile, SECRET));
    let report = replay(&capture, &target, &["--writes", "--same-set"]);
    let (card, answers) = (&report["scorecard"], &report["answers"]);
    assert_eq!(card["complete"], true, "{card}");
    let sent = card["sent"].as_u64().unwrap();
    // Three batches at least, an update, an insert, a delete, a find, an aggregate, a wrong find.
    assert!(sent >= 9, "{card}\n{said}");
    assert_eq!(card["unmatched"], 0, "the cursor is read on: {card}");
    assert_eq!(answers["different"], 0, "{answers:#}");
}
