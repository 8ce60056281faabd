//! Documents of the profiler, of today and of before, and flashback's.

use bson::{DateTime, Document, doc};

use super::{Format, Input, Skip, imported};

fn bytes(documents: &[Document]) -> Vec<u8> {
    documents.iter().flat_map(|document| bson::serialize_to_vec(document).unwrap()).collect()
}

fn at(millis: i64) -> DateTime {
    DateTime::from_millis(1_700_000_000_000 + millis)
}

/// An operation as the profiler of today has it: what it did, when it had ended, how long it took.
pub fn profiled(op: &str, end: i64, millis: i32, command: Document, more: Document) -> Document {
    let mut document = doc! { "op": op, "ns": "app.things", "command": command, "responseLength": 100,
    "millis": millis, "ts": at(end), "client": "10.0.0.1", "appName": "shop", "user": "" };
    document.extend(more);
    document
}

fn find(n: i32) -> Document {
    doc! { "find": "things", "filter": { "n": n }, "$db": "app" }
}

pub fn documents() -> Vec<Document> {
    vec![
        profiled("query", 10, 0, find(1), doc! { "cursorid": 77i64, "nreturned": 2 }),
        profiled(
            "getmore",
            12,
            1,
            doc! { "getMore": 77i64, "collection": "things", "$db": "app" },
            doc! { "cursorid": 77i64, "cursorExhausted": true, "nreturned": 3, "originatingCommand": find(1) },
        ),
        profiled(
            "update",
            13,
            0,
            doc! { "q": { "_id": 1 }, "u": { "$inc": { "n": 1 } }, "multi": false },
            doc! {},
        ),
        profiled("remove", 14, 0, doc! { "q": { "_id": 1 }, "limit": 0 }, doc! { "ndeleted": 5 }),
        profiled("command", 15, 0, doc! { "count": "things" }, doc! { "ok": 0.0, "errCode": 13 }),
    ]
}

#[test]
fn operations_become_requests_with_the_facts_of_their_replies() {
    let imported = imported(Format::Profiler, &[&bytes(&documents())]);
    assert_eq!(
        imported.lines(),
        [
            "1 0 opened 10.0.0.1 unknown shop Other",
            "1 0 find app.things",
            "1 0 reply 0 facts 0 77 2",
            "1 1 getMore app.things",
            "1 2 reply 1 facts 0 0 3",
            "1 3 update app.things",
            "1 3 reply 2 facts 0 0 0",
            "1 4 delete app.things",
            "1 4 reply 3 facts 0 0 0",
            "1 5 count app.things",
            "1 5 reply 4 facts 13 0 0",
        ]
    );
    let commands = imported.commands();
    let update = doc! { "q": { "_id": 1 }, "u": { "$inc": { "n": 1 } }, "multi": false };
    assert_eq!(commands[2], doc! { "update": "things", "updates": [update], "$db": "app" });
    assert_eq!(
        commands[3],
        doc! { "delete": "things", "deletes": [{ "q": { "_id": 1 }, "limit": 0 }], "$db": "app" }
    );
    assert_eq!(commands[4], doc! { "count": "things", "$db": "app" });
}

#[test]
fn lines_of_json_are_the_same() {
    let lines =
        documents().into_iter().map(|document| bson::Bson::Document(document).into_canonical_extjson());
    let json: String = lines.map(|line| format!("{line}\n\n")).collect();
    // Keys of a JSON object that was made by serde_json are in the order of the alphabet; `ts` is a date either way.
    let file = json.replace(
        "\"$db\":\"app\",\"filter\":{\"n\":{\"$numberInt\":\"1\"}},\"find\":\"things\"",
        "\"find\":\"things\",\"filter\":{\"n\":{\"$numberInt\":\"1\"}},\"$db\":\"app\"",
    );
    let imported = imported(Format::Profiler, &[file.as_bytes()]);
    assert_eq!(imported.lines()[1..3], ["1 0 find app.things", "1 0 reply 0 facts 0 77 2"]);
    assert_eq!(imported.commands()[0], find(1));
    assert_eq!(Input::new(std::io::Cursor::new(file)).unwrap().format(), Some(Format::Profiler));
    let bad = super::imported(Format::Profiler, &[b"{\"op\": \"query\"}\n{nonsense\n"]);
    assert_eq!(bad.skipped(), [(Skip::BadDocument, 1), (Skip::NoOperation, 1)]);
}

#[test]
fn what_ran_at_a_time_is_on_several_connections_in_the_order_of_its_beginnings() {
    let file = bytes(&[
        profiled("query", 20, 1, find(1), doc! {}),
        profiled("query", 30, 25, find(2), doc! {}),
        profiled("query", 40, 9, find(3), doc! {}),
    ]);
    let imported = imported(Format::Profiler, &[&file]);
    assert_eq!(
        imported.lines(),
        [
            "1 0 opened 10.0.0.1 unknown shop Other",
            "1 0 find app.things",
            "2 14 opened 10.0.0.1 unknown shop Other",
            "2 14 find app.things",
            "2 15 reply 0 facts 0 0 0",
            "1 25 reply 0 facts 0 0 0",
            "1 26 find app.things",
            "1 35 reply 1 facts 0 0 0",
        ]
    );
}

#[test]
fn documents_of_flashback_and_of_old_profilers_are_translated() {
    let old = |op: &str, more: Document| {
        let mut document = doc! { "ts": at(0), "ns": "app.things", "op": op };
        document.extend(more);
        document
    };
    let wrapped = doc! { "$query": { "x": 1 }, "$orderby": { "y": -1 } };
    let file = bytes(&[
        old("query", doc! { "query": { "x": 1 }, "ntoskip": 2, "ntoreturn": 5 }),
        old("query", doc! { "query": wrapped, "ntoreturn": -1 }),
        old("insert", doc! { "o": { "_id": 7 } }),
        old("update", doc! { "query": { "_id": 7 }, "updateobj": { "$set": { "x": 2 } }, "upsert": true }),
        old("remove", doc! { "query": { "_id": 7 } }),
        old("remove", doc! { "query": {}, "ndeleted": 9 }),
        old("command", doc! { "ns": "app.$cmd", "command": { "count": "things", "query": {} } }),
        old("getmore", doc! { "cursorid": 5i64, "ntoreturn": 3 }),
    ]);
    let imported = imported(Format::Profiler, &[&file]);
    let find = doc! { "find": "things", "filter": { "x": 1 } };
    let also = |mut document: Document, more: Document| {
        document.extend(more);
        document.insert("$db", "app");
        document
    };
    let set = doc! { "q": { "_id": 7 }, "u": { "$set": { "x": 2 } }, "upsert": true };
    assert_eq!(
        imported.commands(),
        [
            also(find.clone(), doc! { "skip": 2i64, "limit": 5i64 }),
            also(find, doc! { "sort": { "y": -1 }, "limit": 1i64, "singleBatch": true }),
            also(doc! { "insert": "things", "documents": [{ "_id": 7 }] }, doc! {}),
            also(doc! { "update": "things", "updates": [set] }, doc! {}),
            also(doc! { "delete": "things", "deletes": [{ "q": { "_id": 7 }, "limit": 1 }] }, doc! {}),
            also(doc! { "delete": "things", "deletes": [{ "q": {}, "limit": 0 }] }, doc! {}),
            also(doc! { "count": "things", "query": {} }, doc! {}),
            also(doc! { "getMore": 5i64, "collection": "things", "batchSize": 3i64 }, doc! {}),
        ]
    );
    assert!(imported.lines().iter().all(|line| !line.contains("reply")), "durations are not known");
}

#[test]
fn what_cannot_be_played_is_left_out_by_its_reason() {
    let mut internal = profiled("query", 1, 0, find(1), doc! {});
    internal.remove("client");
    let mut timeless = profiled("query", 1, 0, find(1), doc! {});
    timeless.remove("ts");
    let mut own = profiled("query", 1, 0, doc! { "find": "system.profile" }, doc! {});
    own.insert("ns", "app.system.profile");
    let in_transaction = doc! { "find": "things", "txnNumber": 1i64, "autocommit": false, "$db": "app" };
    let file = bytes(&[
        profiled("insert", 1, 0, doc! { "insert": "things", "ordered": true, "$db": "app" }, doc! {}),
        profiled("query", 1, 0, doc! { "$truncated": "{ find: \"things\"..." }, doc! {}),
        profiled("query", 1, 0, in_transaction, doc! {}),
        profiled("killcursors", 1, 0, doc! { "x": 1 }, doc! {}),
        doc! { "_id": 1, "op": "something else" },
        internal,
        timeless,
        own,
    ]);
    let imported = imported(Format::Profiler, &[&file]);
    let one = |why| (why, 1);
    assert_eq!(
        imported.skipped(),
        [
            Skip::NoOperation,
            Skip::NoTime,
            Skip::Truncated,
            Skip::NoDocuments,
            Skip::NoClient,
            Skip::Transaction,
            Skip::ProfileItself,
            Skip::Operation,
        ]
        .map(one)
    );
    assert!(imported.lines().is_empty());
}

#[test]
fn names_and_lines_have_limits() {
    let mut document = profiled("query", 10, 0, find(1), doc! { "appName": "é".repeat(1000) });
    document.insert("client", "c".repeat(1000));
    let lines = imported(Format::Profiler, &[&bytes(&[document])]).lines();
    assert_eq!(lines[0], format!("1 0 opened {} unknown {} Other", "c".repeat(256), "é".repeat(128)));
    let json = format!("{{\"op\": 1}}\n{{\"x\": \"{}\"}}\n{{\"op\": 1}}\n", "y".repeat(5 << 20));
    let long = imported(Format::Profiler, &[json.as_bytes()]);
    assert_eq!(long.taker.tally.damage, ["0: a line of more than 4194304 bytes"]);
    assert_eq!(long.skipped(), [(Skip::NoOperation, 1)]);
}

#[test]
fn clients_beyond_those_that_are_told_apart_share_a_connection() {
    let document = |n: i32| {
        let mut document = profiled("query", 10, 0, find(n), doc! {});
        document.insert("client", n.to_string());
        document
    };
    let file = bytes(&(0..5_010).map(document).collect::<Vec<_>>());
    let imported = imported(Format::Profiler, &[&file]);
    assert_eq!((imported.taker.connections, imported.taker.requests), (5_000, 5_010));
}
