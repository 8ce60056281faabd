//! The level `causal` through the torana binary: on a real set with a secondary that stands still, and on the wire.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::Duration;

use bson::{Document, Timestamp, Uuid, doc};
use support::message::{CHECKSUM_PRESENT, EXHAUST_ALLOWED, MORE_TO_COME, op_msg, op_query};
use support::{FakeServer, RawClient, ReplicaSet, Section, Torana, torana_with, wait_until};

const SOON: Duration = Duration::from_secs(20);

/// MaxTimeMSExpired: a read that waits for a floor which its member does not reach in time.
const EXPIRED: i32 = 50;

/// A set of three with torana in front of it, and one secondary that applies nothing from now on.
struct Stage {
    set: ReplicaSet,
    torana: Torana,
    primary: usize,
    frozen: usize,
}

impl Stage {
    /// Each of `collections` has a document `{_id: 1, v: 1}` on every member.
    fn with(collections: &[&str]) -> Stage {
        Stage::with_cursor(collections, doc! { "find": "none" }).0
    }

    /// The same, and the cursor that `command` opens on the primary before the secondary stands still: its floor is one
    /// that the secondary has reached.
    fn with_cursor(collections: &[&str], command: Document) -> (Stage, RawClient, i64) {
        let set = ReplicaSet::of(3).unchained().start();
        let torana =
            torana_with(&set.uri(), "[tags]\n\"app.*\" = \"causal\"\n\"app.plain*\" = \"default\"\n");
        let (primary, frozen) = (set.primary(), set.secondary());
        for collection in collections {
            let documents = vec![doc! { "_id": 1, "v": 1 }];
            set.client(primary).run(
                "app",
                doc! { "insert": collection, "documents": documents,
                "writeConcern": { "w": 3 } },
            );
        }
        let stage = Stage { set, torana, primary, frozen };
        let mut client = stage.primary();
        let cursor = client.run("app", command).get_document("cursor").unwrap().get_i64("id").unwrap();
        // A majority knows that all members have them.
        wait_until("the documents can be read everywhere", SOON, || {
            collections.iter().all(|collection| stage.read(collection) == Ok(1))
        });
        stage.freeze("alwaysOn");
        (stage, client, cursor)
    }

    fn freeze(&self, mode: &str) {
        let fail_point = doc! { "configureFailPoint": "rsSyncApplyStop", "mode": mode };
        self.set.client(self.frozen).run("admin", fail_point);
    }

    fn client(&self, member: usize) -> RawClient {
        self.torana.client_of(&self.set.host(member))
    }

    /// A new connection to the primary, through torana.
    fn primary(&self) -> RawClient {
        self.client(self.primary)
    }

    /// `v` of the document as the frozen secondary shows it through torana, or the error's code, soon. 0: it is not there.
    fn read(&self, collection: &str) -> Result<i32, i32> {
        self.read_within(collection, Duration::from_millis(300))
    }

    /// The same where nothing is to be waited for: however slow the machine is.
    fn shows(&self, collection: &str) -> Result<i32, i32> {
        self.read_within(collection, SOON)
    }

    fn read_within(&self, collection: &str, limit: Duration) -> Result<i32, i32> {
        let limit = limit.as_millis() as i64;
        let reply = self.client(self.frozen).command(
            "app",
            doc! { "find": collection, "filter": { "_id": 1 },
            "maxTimeMS": limit, "$readPreference": { "mode": "secondary" } },
        );
        match reply.get_i32("code") {
            Ok(code) => Err(code),
            Err(_) => Ok(first(&reply).map_or(0, |found| found.get_i32("v").unwrap())),
        }
    }
}

fn first(reply: &Document) -> Option<&Document> {
    reply.get_document("cursor").unwrap().get_array("firstBatch").unwrap().first()?.as_document()
}

/// A statement of the first transaction of `session`.
fn statement(session: &Document, mut command: Document, starts: bool) -> Document {
    command.extend(doc! { "lsid": session.clone(), "txnNumber": 1i64, "autocommit": false });
    if starts {
        command.insert("startTransaction", true);
    }
    command
}

/// Changes the document of the collection somehow.
type Change = fn(&mut RawClient, &str);

fn update(client: &mut RawClient, collection: &str) {
    let updates = vec![doc! { "q": { "_id": 1 }, "u": { "$set": { "v": 2 } } }];
    client.run("app", doc! { "update": collection, "updates": updates });
}

const CHANGES: [(&str, Change); 9] = [
    ("update", update),
    ("delete", |client, collection| {
        let deletes = vec![doc! { "q": { "_id": 1 }, "limit": 0 }];
        client.run("app", doc! { "delete": collection, "deletes": deletes });
    }),
    ("insert", |client, collection| {
        client.run("app", doc! { "insert": collection, "documents": [{ "_id": 2, "v": 2 }] });
    }),
    ("sequence", |client, collection| {
        let body = Section::Body(doc! { "insert": collection, "$db": "app" });
        client.send_msg(0, &[body, Section::Sequence("documents", vec![doc! { "_id": 2, "v": 2 }])]);
        assert_eq!(client.read().body().get_i32("n").unwrap(), 1);
    }),
    ("find_and_modify", |client, collection| {
        let update = doc! { "$set": { "v": 2 } };
        client.run("app", doc! { "findAndModify": collection, "query": { "_id": 1 }, "update": update });
    }),
    // No reply is wanted; that of the ping says that torana has had one.
    ("unacknowledged", |client, collection| {
        let updates = vec![doc! { "q": { "_id": 1 }, "u": { "$set": { "v": 2 } } }];
        let body =
            doc! { "update": collection, "updates": updates, "writeConcern": { "w": 0 }, "$db": "app" };
        client.send_msg(MORE_TO_COME, &[Section::Body(body)]);
        client.run("app", doc! { "ping": 1 });
    }),
    ("out", |client, collection| {
        let pipeline =
            vec![doc! { "$documents": [{ "_id": 1, "v": 2 }] }, doc! { "$merge": { "into": collection } }];
        client.run("app", doc! { "aggregate": 1, "pipeline": pipeline, "cursor": {} });
    }),
    // Refused, but whoever hears why knows of the document.
    ("refused", |client, collection| {
        update(&mut *client, "plain_other");
        let reply = client.command("app", doc! { "insert": collection, "documents": [{ "_id": 1 }] });
        assert!(reply.contains_key("writeErrors"), "{reply}");
    }),
    ("dropped", |client, collection| {
        client.run("app", doc! { "drop": collection });
    }),
];

#[test]
fn a_member_that_is_behind_shows_nothing_older_than_what_anyone_was_told() {
    let names: Vec<&str> = CHANGES.iter().map(|(name, _)| *name).collect();
    let others = ["plain", "plain_other", "read", "more", "joined", "bystander", "committed"];
    let stage = Stage::with(&[names.as_slice(), &others].concat());

    for (name, change) in CHANGES {
        assert_eq!(stage.shows(name), Ok(1), "{name}, before");
        change(&mut stage.primary(), name);
        assert_eq!(stage.read(name), Err(EXPIRED), "{name}");
    }
    // What nobody wrote to through torana is not waited for, and nobody waits without a tag.
    assert_eq!(stage.shows("bystander"), Ok(1));
    update(&mut stage.primary(), "plain");
    assert_eq!(stage.shows("plain"), Ok(1), "stale: the test can see it");

    // Written by somebody else, and returned through torana.
    for name in ["read", "more", "joined"] {
        let updates = vec![doc! { "q": { "_id": 1 }, "u": { "$set": { "v": 2 } } }];
        let more = vec![doc! { "_id": 2, "v": 2 }, doc! { "_id": 3, "v": 2 }];
        let mut elsewhere = stage.set.client(stage.primary);
        elsewhere
            .run("app", doc! { "update": name, "updates": updates, "writeConcern": { "w": "majority" } });
        elsewhere.run("app", doc! { "insert": name, "documents": more, "writeConcern": { "w": "majority" } });
        assert_eq!(stage.shows(name), Ok(1), "{name}, before");
    }
    let mut client = stage.primary();
    let reply = client.run("app", doc! { "find": "read", "filter": { "_id": 1 } });
    assert_eq!(first(&reply).unwrap().get_i32("v").unwrap(), 2);
    assert_eq!(stage.read("read"), Err(EXPIRED));
    let lookup =
        doc! { "$lookup": { "from": "joined", "localField": "_id", "foreignField": "_id", "as": "x" } };
    client.run("app", doc! { "aggregate": "plain", "pipeline": [lookup], "cursor": {} });
    assert_eq!(stage.read("joined"), Err(EXPIRED));
    assert_eq!(stage.shows("plain"), Ok(1));

    // A transaction: what it writes counts once it is committed.
    let session = doc! { "id": Uuid::new() };
    let statement = |command: Document, starts: bool| statement(&session, command, starts);
    client.run("app", statement(doc! { "find": "plain" }, true));
    let updates = vec![doc! { "q": { "_id": 1 }, "u": { "$set": { "v": 2 } } }];
    client.run("app", statement(doc! { "update": "committed", "updates": updates }, false));
    assert_eq!(stage.shows("committed"), Ok(1), "before the commit");
    client.run("admin", statement(doc! { "commitTransaction": 1 }, false));
    assert_eq!(stage.read("committed"), Err(EXPIRED));

    stage.freeze("off");
    wait_until("the member has come up", SOON, || stage.read("committed") == Ok(2));
    assert_eq!((stage.shows("update"), stage.shows("delete"), stage.shows("plain")), (Ok(2), Ok(0), Ok(2)));
    for kind in ["read", "write", "transaction"] {
        assert!(stage.torana.metric("torana_tagged_operations_total", &[kind]) > 0.0, "{kind}");
    }
}

/// More than fits a buffer, and than fits many: the times stand behind the documents.
#[test]
fn the_floor_rises_with_replies_of_any_size() {
    let stage = Stage::with(&["large"]);
    let mut elsewhere = stage.set.client(stage.primary);
    let pad = "x".repeat(900_000);
    let documents: Vec<_> = (10..25).map(|id| doc! { "_id": id, "v": 2, "pad": &pad }).collect();
    let majority = doc! { "w": "majority" };
    elsewhere.run("app", doc! { "insert": "large", "documents": documents, "writeConcern": majority });
    assert_eq!(stage.shows("large"), Ok(1), "before");
    let mut client = stage.primary();
    let reply = client.run("app", doc! { "find": "large", "batchSize": 1000 });
    let batch = reply.get_document("cursor").unwrap().get_array("firstBatch").unwrap();
    assert!(
        batch.len() == 16
            && batch.iter().skip(1).all(|found| found.as_document().unwrap().get_str("pad").unwrap() == pad)
    );
    assert_eq!(stage.read("large"), Err(EXPIRED));
}

/// A batch shows what was written since its cursor was opened.
#[test]
fn the_floor_rises_with_every_batch() {
    let find = doc! { "find": "batches", "batchSize": 0 };
    let (stage, mut client, cursor) = Stage::with_cursor(&["batches"], find);
    let mut elsewhere = stage.set.client(stage.primary);
    let insert =
        doc! { "insert": "batches", "documents": [{ "_id": 2 }], "writeConcern": { "w": "majority" } };
    elsewhere.run("app", insert);
    assert_eq!(stage.shows("batches"), Ok(1), "before");
    let reply = client.run("app", doc! { "getMore": cursor, "collection": "batches" });
    assert_eq!(reply.get_document("cursor").unwrap().get_array("nextBatch").unwrap().len(), 2);
    assert_eq!(stage.read("batches"), Err(EXPIRED));
}

/// The getMores of a join name one collection, and show others.
#[test]
fn the_floor_of_every_joined_collection_rises_with_every_batch() {
    let lookup =
        doc! { "$lookup": { "from": "joined", "localField": "_id", "foreignField": "_id", "as": "x" } };
    let aggregate = doc! { "aggregate": "plain", "pipeline": [lookup], "cursor": { "batchSize": 0 } };
    let (stage, mut client, cursor) = Stage::with_cursor(&["plain", "joined"], aggregate);
    let updates = vec![doc! { "q": { "_id": 1 }, "u": { "$set": { "v": 2 } } }];
    let mut elsewhere = stage.set.client(stage.primary);
    elsewhere
        .run("app", doc! { "update": "joined", "updates": updates, "writeConcern": { "w": "majority" } });
    assert_eq!(stage.shows("joined"), Ok(1), "before");
    client.run("app", doc! { "getMore": cursor, "collection": "plain" });
    assert_eq!(stage.read("joined"), Err(EXPIRED));
}

/// A first batch that does not fit a buffer tells of its cursor only at its end.
#[test]
fn a_join_is_remembered_however_large_its_first_batch_is() {
    for size in [10, 16_000, 16_300, 20_000, 500_000] {
        let fake = FakeServer::start(move |peer, request| {
            let command = request.query_or_body();
            let (time, cursor) = match command.keys().next().unwrap().as_str() {
                "aggregate" => (5, doc! { "firstBatch": ["x".repeat(size)], "id": 77i64, "ns": "app.plain" }),
                "getMore" => (9, doc! { "nextBatch": ["x".repeat(size)], "id": 0i64, "ns": "app.plain" }),
                _ => (1, doc! { "firstBatch": [], "id": 0i64, "ns": "app.joined" }),
            };
            let time = Timestamp { time, increment: 1 };
            let clock = doc! { "clusterTime": time };
            peer.reply(
                request,
                doc! { "cursor": cursor, "ok": 1.0, "$clusterTime": clock, "operationTime": time },
            )
        });
        let torana = torana_with(&fake.uri(), "[tags]\n\"app.joined\" = \"causal\"\n");
        let mut client = torana.client_of(fake.address());
        let lookup = doc! { "$lookup": { "from": "joined", "as": "x" } };
        client.run("app", doc! { "aggregate": "plain", "pipeline": [lookup], "cursor": {} });
        client.run("app", doc! { "getMore": 77i64, "collection": "plain" });
        client.run("app", doc! { "find": "joined" });
        let concern = fake.requests("find").pop().unwrap().message.body();
        let after = concern.get_document("readConcern").unwrap().get_timestamp("afterClusterTime").unwrap();
        assert_eq!(after.time, 9, "{size}");
        // Its cursor is at its end: a getMore of that number is another's.
        client.run("app", doc! { "getMore": 77i64, "collection": "plain" });
        assert_eq!(torana.metric("torana_tagged_operations_total", &["read"]), 3.0, "{size}");
    }
}

/// Two hundred errors of a write whose client wants to hear nothing.
#[test]
fn a_large_reply_that_nobody_wants_reaches_nobody() {
    let stage = Stage::with(&["errors"]);
    let mut client = stage.primary();
    let documents: Vec<_> = (0..400).map(|_| doc! { "_id": 1 }).chain([doc! { "_id": 2, "v": 2 }]).collect();
    let insert = doc! { "insert": "errors", "documents": documents, "ordered": false,
    "writeConcern": { "w": 0 }, "$db": "app" };
    client.send_msg(MORE_TO_COME, &[Section::Body(insert)]);
    client.run("app", doc! { "ping": 1 });
    assert_eq!(stage.read("errors"), Err(EXPIRED));
}

/// Tags change nothing in what a transaction may do, nor in commands that take no concern.
#[test]
fn what_clients_may_do_they_may_do_on_tagged_collections_too() {
    let stage = Stage::with(&["read"]);
    let mut client = stage.primary();
    update(&mut client, "read");
    let session = doc! { "id": Uuid::new() };
    let statement = |command: Document, starts: bool| statement(&session, command, starts);
    client.run("app", statement(doc! { "create": "made" }, true));
    client.run("app", statement(doc! { "insert": "made", "documents": [{ "_id": 1, "v": 2 }] }, false));
    client.run("admin", statement(doc! { "commitTransaction": 1 }, false));
    assert_eq!(stage.read("made"), Err(EXPIRED));

    for stage in [doc! { "$indexStats": {} }, doc! { "$collStats": { "count": {} } }] {
        client.run("app", doc! { "aggregate": "read", "pipeline": [stage], "cursor": {} });
    }
    let out = doc! { "$out": "kept" };
    let explain = doc! { "aggregate": "read", "pipeline": [out.clone()], "explain": true };
    client.run("app", explain);
    client.run(
        "app",
        doc! { "aggregate": "read", "pipeline": [doc! { "$indexStats": {} }, out], "cursor": {} },
    );
    assert_eq!(stage.read("kept"), Err(EXPIRED), "written behind a stage that takes no read concern");
    for concern in [doc! { "level": "linearizable" }, doc! { "level": "snapshot" }, doc! { "level": "local" }]
    {
        client.run("app", doc! { "find": "read", "readConcern": concern });
    }
    client.run("app", doc! { "explain": { "find": "read" } });
    client.run("app", doc! { "listIndexes": "read" });
}

/// However a large reply is cut on its way.
#[test]
fn the_floor_rises_though_the_end_of_a_reply_comes_in_pieces() {
    for last in [1, 7, 30, 60, 100, 500, 20_000] {
        let fake = FakeServer::start(move |peer, request| {
            let time = Timestamp { time: 9, increment: last as u32 };
            let cursor = doc! { "firstBatch": ["x".repeat(200_000)], "id": 0i64, "ns": "app.tagged" };
            let clock = doc! { "clusterTime": time };
            let body = doc! { "cursor": cursor, "ok": 1.0, "$clusterTime": clock, "operationTime": time };
            let reply = op_msg(peer.next_id(), request.request_id(), 0, &[Section::Body(body)]);
            let (first, rest) = reply.split_at(reply.len() - last);
            peer.send(first);
            std::thread::sleep(Duration::from_millis(50));
            peer.send(rest)
        });
        let torana = torana_with(&fake.uri(), "[tags]\n\"app.tagged\" = \"causal\"\n");
        let mut client = torana.client_of(fake.address());
        let reply = client.run("app", doc! { "find": "tagged" });
        assert_eq!(first(&reply), None, "a string");
        client.run("app", doc! { "find": "tagged" });
        let concern = fake.requests("find").pop().unwrap().message.body();
        let after = concern.get_document("readConcern").unwrap().get_timestamp("afterClusterTime").unwrap();
        assert_eq!((after.time, after.increment), (9, last as u32));
    }
}

#[test]
fn commands_are_edited_and_everything_round_them_passes() {
    let fake = FakeServer::start(|peer, request| {
        let time = Timestamp { time: 7, increment: 3 };
        let body = doc! { "ok": 1.0, "operationTime": time, "$clusterTime": { "clusterTime": time } };
        peer.reply(request, body)
    });
    let torana = torana_with(&fake.uri(), "[tags]\n\"app.tagged\" = \"causal\"\n");
    let mut client = torana.client_of(fake.address());
    let seen = |name: &str| fake.requests(name).pop().unwrap().message.body();

    let untagged = doc! { "find": "other", "filter": { "a": 1 }, "$db": "app" };
    client.send_msg(0, &[Section::Body(untagged.clone())]);
    client.read();
    assert_eq!(seen("find"), untagged);

    // With a checksum, and the next request behind it already.
    let find = op_msg(70, 0, CHECKSUM_PRESENT, &[Section::Body(doc! { "find": "tagged", "$db": "app" })]);
    let ping = op_msg(71, 0, 0, &[Section::Body(doc! { "ping": 1, "$db": "app" })]);
    client.send(&[find, ping].concat());
    let (first, second) = (client.read(), client.read());
    assert_eq!((first.response_to(), second.response_to()), (70, 71));
    assert_eq!(seen("find").get_document("readConcern").unwrap(), &doc! { "level": "majority" });

    // One that allows a stream of replies gets one at a time.
    let body = Section::Body(doc! { "find": "tagged", "$db": "app" });
    client.send(&op_msg(72, 0, CHECKSUM_PRESENT | EXHAUST_ALLOWED, &[body]));
    assert_eq!(client.read().response_to(), 72);
    assert_eq!(fake.requests("find").pop().unwrap().message.flags(), CHECKSUM_PRESENT);
    assert_eq!(
        client.run("admin", doc! { "hello": 1 }).get_i32("maxMessageSizeBytes").unwrap(),
        48_000_000 - 16_384
    );

    let time = Timestamp { time: 7, increment: 3 };
    client.run("app", doc! { "count": "tagged" });
    let count = seen("count");
    let concern = doc! { "level": "majority", "afterClusterTime": time };
    assert_eq!(count.get_document("readConcern").unwrap(), &concern);
    assert_eq!(count.get_document("$clusterTime").unwrap(), &doc! { "clusterTime": time });

    // A body as large as a document may be, and documents beside it.
    let pad = "x".repeat(15_000_000);
    client.run(
        "app",
        doc! { "insert": "tagged", "documents": [{ "pad": &pad }], "writeConcern": { "j": true } },
    );
    let insert = seen("insert");
    assert_eq!(insert.get_array("documents").unwrap()[0].as_document().unwrap().get_str("pad").unwrap(), pad);
    let majority = doc! { "w": "majority", "j": true, "wtimeout": 10_000i64 };
    assert_eq!(insert.get_document("writeConcern").unwrap(), &majority);
}

#[test]
fn what_cannot_keep_the_level_is_refused_with_the_reason() {
    let fake = FakeServer::answering();
    let torana = torana_with(&fake.uri(), "[tags]\n\"app.tagged\" = \"causal\"\n");
    let mut client = torana.client_of(fake.address());
    let reply = client
        .command("app", doc! { "mapReduce": "tagged", "map": "", "reduce": "", "out": { "inline": 1 } });
    let text = reply.get_str("errmsg").unwrap();
    assert!(text.contains("mapReduce cannot keep") && text.contains("take the tag away"), "{text}");
    let reply = client.query("app", &doc! { "find": "tagged" }).body();
    assert!(reply.get_str("errmsg").unwrap().contains("OP_MSG alone"), "{reply}");
    client.send(&op_query(9, 4, "app.tagged", 1, &doc! {}));
    assert!(client.read().contains("OP_MSG alone"));
    assert!(fake.requests("find").is_empty() && fake.requests("mapReduce").is_empty());
    client.run("app", doc! { "mapReduce": "other" });
}
