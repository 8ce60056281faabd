//! The levels `sequential` and `linearizable` through the torana binary: on a real set, with real ZooKeeper servers.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::Duration;

use bson::{Document, Timestamp, Uuid, doc};
use support::message::{CHECKSUM_PRESENT, Section, op_msg};
use support::{Ensemble, FakeServer, RawClient, ReplicaSet, Torana, torana_with, wait_until};

const SOON: Duration = Duration::from_secs(20);

const TAGS: &str =
    "[tags]\n\"app.*\" = \"sequential\"\n\"app.strict\" = \"linearizable\"\n\"app.plain*\" = \"default\"\n";

/// A set of three with two toranas in front of it, which share a ZooKeeper server.
struct Stage {
    set: ReplicaSet,
    zookeeper: Ensemble,
    toranas: [Torana; 2],
    primary: usize,
    secondary: usize,
}

fn sharing(uri: &str, hosts: &[String], times: &str) -> Torana {
    let hosts = hosts.join(",");
    torana_with(uri, &format!("{TAGS}[zookeeper]\nhosts = \"{hosts}\"\n{times}"))
}

impl Stage {
    fn new() -> Stage {
        Stage::with_times("")
    }

    fn with_times(times: &str) -> Stage {
        let zookeeper = Ensemble::of(1);
        let set = ReplicaSet::of(3).unchained().start();
        let toranas = [0, 1].map(|_| sharing(&set.uri(), &zookeeper.hosts(), times));
        let (primary, secondary) = (set.primary(), set.secondary());
        Stage { set, zookeeper, toranas, primary, secondary }
    }

    fn freeze(&self, mode: &str) {
        let fail_point = doc! { "configureFailPoint": "rsSyncApplyStop", "mode": mode };
        self.set.client(self.secondary).run("admin", fail_point);
    }

    /// A new connection to the primary, through a torana.
    fn primary(&self, torana: usize) -> RawClient {
        self.toranas[torana].client_of(&self.set.host(self.primary))
    }

    /// The same to the secondary that may stand still.
    fn secondary(&self, torana: usize) -> RawClient {
        self.toranas[torana].client_of(&self.set.host(self.secondary))
    }
}

fn put(client: &mut RawClient, collection: &str, value: i32) {
    let updates = vec![doc! { "q": { "_id": 1 }, "u": { "$set": { "v": value } }, "upsert": true }];
    client.run("app", doc! { "update": collection, "updates": updates });
}

fn find(collection: &str) -> Document {
    doc! { "find": collection, "filter": { "_id": 1 }, "$readPreference": { "mode": "secondary" } }
}

/// `v` of the document; `None` if it is not there.
fn get(client: &mut RawClient, collection: &str) -> Option<i32> {
    shown(&client.run("app", find(collection)))
}

fn shown(reply: &Document) -> Option<i32> {
    let cursor = reply.get_document("cursor").unwrap();
    cursor.get_array("firstBatch").unwrap().first()?.as_document().unwrap().get_i32("v").ok()
}

#[test]
fn a_client_that_moves_to_another_torana_never_goes_back_though_its_member_stands_still() {
    const ROUNDS: i32 = 300;
    let stage = Stage::new();
    let mut writer = stage.primary(0);
    put(&mut writer, "moved", 0);
    put(&mut writer, "plain", 0);
    let mut both = stage.secondary(1);
    wait_until("the secondary has it", SOON, || get(&mut both, "plain") == Some(0));
    assert_eq!(get(&mut both, "moved"), Some(0));
    stage.freeze("alwaysOn");

    let mut stale = 0;
    for round in 1..=ROUNDS {
        put(&mut writer, "moved", round);
        put(&mut writer, "plain", round);
        let mut moved = stage.secondary(1);
        assert_eq!(get(&mut moved, "moved"), Some(round));
        assert_eq!(get(&mut moved, "moved"), Some(round));
        stale += i32::from(get(&mut moved, "plain") != Some(round));
    }
    assert_eq!(stale, ROUNDS, "without the tag: the test can see it");
    assert!(stage.toranas[1].metric("torana_reads_behind_total", &[]) > 0.0);

    // One that stays where it is sees what others told of a moment later, and never goes back either.
    let mut last = get(&mut both, "moved").unwrap();
    wait_until("others' writes are seen", SOON, || {
        let seen = get(&mut both, "moved").unwrap();
        assert!(seen >= last);
        last = seen;
        seen == ROUNDS
    });
    stage.freeze("off");
    wait_until("the member has come up", SOON, || get(&mut both, "plain") == Some(ROUNDS));
    assert_eq!(get(&mut both, "moved"), Some(ROUNDS));
}

#[test]
fn a_linearizable_collection_shows_every_torana_what_any_has_told() {
    let stage = Stage::new();
    let mut writers = [stage.primary(0), stage.primary(1)];
    let mut readers = [stage.secondary(0), stage.secondary(1)];
    for round in 0..200 {
        put(&mut writers[round % 2], "strict", round as i32);
        for reader in &mut readers {
            assert_eq!(get(reader, "strict"), Some(round as i32));
        }
    }
}

/// What a reader was shown, a client that moves must find: here written by somebody who is not known to torana.
#[test]
fn what_a_read_has_shown_is_shown_to_whoever_moves() {
    let stage = Stage::new();
    put(&mut stage.primary(0), "seen", 0);
    let mut elsewhere = stage.set.client(stage.primary);
    for (round, name) in ["find", "count", "distinct", "aggregate", "find"].into_iter().enumerate() {
        let value = round as i32 + 1;
        let updates = vec![doc! { "q": { "_id": 1 }, "u": { "$set": { "v": value } } }];
        let majority = doc! { "w": "majority" };
        elsewhere.run("app", doc! { "update": "seen", "updates": updates, "writeConcern": majority });
        let filter = doc! { "v": value };
        let command = match name {
            "count" => doc! { "count": "seen", "query": filter },
            "distinct" => doc! { "distinct": "seen", "key": "v", "query": filter },
            "aggregate" => doc! { "aggregate": "seen", "pipeline": [{ "$match": filter }], "cursor": {} },
            _ => doc! { "find": "seen", "filter": filter },
        };
        // A read shows what bypassed torana a second later at most; a count shows it at once.
        let mut reader = stage.primary(0);
        wait_until("it is seen", Duration::from_secs(3), || {
            let reply = reader.run("app", command.clone());
            let cursor = || reply.get_document("cursor").unwrap().get_array("firstBatch").unwrap().len();
            match name {
                "count" => reply.get_i32("n").unwrap() == 1,
                "distinct" => !reply.get_array("values").unwrap().is_empty(),
                _ => cursor() == 1,
            }
        });
        assert_eq!(get(&mut stage.primary(1), "seen"), Some(value), "{name}");
        assert_eq!(get(&mut stage.secondary(1), "seen"), Some(value), "{name}");
    }
}

/// The replies are those of a server that was not asked for a snapshot.
#[test]
fn replies_have_nothing_that_was_not_asked_for() {
    let stage = Stage::new();
    let documents: Vec<_> = (0..40).map(|id| doc! { "_id": id, "v": id }).collect();
    stage.primary(0).run("app", doc! { "insert": "shapes", "documents": documents });
    let mut through = stage.primary(0);
    let mut direct = stage.set.client(stage.primary);
    let lookup = doc! { "$lookup": { "from": "other", "localField": "v", "foreignField": "v", "as": "x" } };
    for command in [
        doc! { "find": "shapes", "sort": { "_id": 1 } },
        doc! { "find": "shapes", "filter": { "_id": { "$lt": 0 } } },
        doc! { "find": "absent" },
        doc! { "aggregate": "shapes", "pipeline": [{ "$sort": { "_id": 1 } }, lookup], "cursor": {} },
        doc! { "aggregate": "shapes", "pipeline": [{ "$indexStats": {} }, { "$project": { "name": 1 } }], "cursor": {} },
        doc! { "distinct": "shapes", "key": "v" },
        doc! { "count": "shapes" },
        doc! { "find": "shapes", "filter": { "$nonsense": 1 } },
    ] {
        let clean = |mut reply: Document| {
            reply.remove("$clusterTime");
            reply.remove("operationTime");
            reply
        };
        assert_eq!(clean(through.command("app", command.clone())), clean(direct.command("app", command)));
    }
    // A cursor of several batches.
    let reply = through.run("app", doc! { "find": "shapes", "batchSize": 5 });
    let cursor = reply.get_document("cursor").unwrap();
    let keys: Vec<_> = cursor.keys().cloned().collect();
    assert_eq!(keys, ["firstBatch", "id", "ns"]);
    let next = doc! { "getMore": cursor.get_i64("id").unwrap(), "collection": "shapes", "batchSize": 5 };
    let reply = through.run("app", next);
    let keys: Vec<_> = reply.get_document("cursor").unwrap().keys().cloned().collect();
    assert_eq!(keys, ["nextBatch", "id", "ns"]);
}

/// A cursor that was opened on another member, as the client's own was behind, goes on there.
#[test]
fn a_cursor_of_a_read_that_went_elsewhere_goes_on() {
    let stage = Stage::new();
    let mut writer = stage.primary(0);
    put(&mut writer, "many", 0);
    let mut reader = stage.secondary(0);
    assert_eq!(get(&mut reader, "many"), Some(0));
    stage.freeze("alwaysOn");
    let documents: Vec<_> = (10..50).map(|id| doc! { "_id": id }).collect();
    writer.run("app", doc! { "insert": "many", "documents": documents });
    for _ in 0..2 {
        let reply = reader
            .run("app", doc! { "find": "many", "batchSize": 10, "$readPreference": { "mode": "secondary" } });
        let mut id = reply.get_document("cursor").unwrap().get_i64("id").unwrap();
        let mut count = 10;
        while id != 0 {
            let more = reader.run("app", doc! { "getMore": id, "collection": "many", "batchSize": 10 });
            let cursor = more.get_document("cursor").unwrap();
            count += cursor.get_array("nextBatch").unwrap().len();
            id = cursor.get_i64("id").unwrap();
        }
        assert_eq!(count, 41);
    }
    assert!(stage.toranas[0].metric("torana_collection_reads_total", &["app.many", "passed_over"]) >= 2.0);
}

/// One that is elsewhere is ended where it is; one that is not, where its client is.
#[test]
fn a_cursor_of_a_read_that_went_elsewhere_can_be_killed() {
    let stage = Stage::new();
    let mut writer = stage.primary(0);
    let documents = |ids: std::ops::Range<i32>| ids.map(|id| doc! { "_id": id }).collect::<Vec<_>>();
    put(&mut writer, "many", 0);
    let mut reader = stage.secondary(0);
    assert_eq!(get(&mut reader, "many"), Some(0));
    for collection in ["many", "plain"] {
        writer.run("app", doc! { "insert": collection, "documents": documents(10..50) });
    }
    wait_until("the secondary has it", SOON, || {
        get(&mut reader, "plain").is_none() && {
            let reply =
                reader.run("app", doc! { "count": "plain", "$readPreference": { "mode": "secondary" } });
            reply.get_i32("n").unwrap() == 40
        }
    });
    stage.freeze("alwaysOn");
    writer.run("app", doc! { "insert": "many", "documents": documents(50..60) });
    let mut open = |collection: &str| {
        let find = doc! { "find": collection, "batchSize": 10, "$readPreference": { "mode": "secondary" } };
        let reply = reader.run("app", find);
        reply.get_document("cursor").unwrap().get_i64("id").unwrap()
    };
    let (away, home) = (open("many"), open("plain"));
    for (collection, id) in [("many", away), ("plain", home)] {
        let reply = reader.run("app", doc! { "killCursors": collection, "cursors": [id] });
        assert_eq!(reply.get_array("cursorsKilled").unwrap(), &vec![id.into()], "{reply}");
        let more = reader.command("app", doc! { "getMore": id, "collection": collection });
        assert_eq!(more.get_i32("code").unwrap(), 43, "{more}");
    }
}

/// A collection that was made anew, one that is capped: reads as of a time are refused there, and clients do not see it. Of
/// the first there is a snapshot of a later time.
#[test]
fn reads_that_no_snapshot_serves_are_served_otherwise() {
    let stage = Stage::new();
    let mut client = stage.primary(0);
    let mut member = stage.set.client(stage.primary);
    member.run("app", doc! { "profile": 2 });
    let mut level_of_the_last_read = |collection: &str| -> String {
        let filter =
            doc! { "ns": format!("app.{collection}"), "op": "query", "errCode": { "$exists": false } };
        let find =
            doc! { "find": "system.profile", "filter": filter, "sort": { "$natural": -1 }, "limit": 1 };
        let reply = member.run("app", find);
        let batch = reply.get_document("cursor").unwrap().get_array("firstBatch").unwrap();
        let command = batch[0].as_document().unwrap().get_document("command").unwrap();
        command.get_document("readConcern").unwrap().get_str("level").unwrap().to_owned()
    };
    client.run("app", doc! { "create": "capped", "capped": true, "size": 4096 });
    put(&mut client, "capped", 1);
    put(&mut client, "anew", 1);
    for round in 2..12 {
        stage.set.client(stage.primary).run("app", doc! { "drop": "anew" });
        stage
            .set
            .client(stage.primary)
            .run("app", doc! { "insert": "anew", "documents": [{ "_id": 1, "v": round }] });
        assert_eq!(get(&mut client, "anew"), Some(round));
        assert_eq!(level_of_the_last_read("anew"), "snapshot");
        assert_eq!(get(&mut client, "capped"), Some(1));
        assert_eq!(level_of_the_last_read("capped"), "majority");
    }
    assert!(stage.toranas[0].metric("torana_snapshots_refused_total", &[]) > 0.0);
}

#[test]
fn a_transaction_is_seen_by_whoever_moves_once_it_is_committed() {
    let stage = Stage::new();
    let mut client = stage.primary(0);
    put(&mut client, "first", 1);
    put(&mut client, "second", 1);
    let session = doc! { "id": Uuid::new() };
    for round in 2..20 {
        let number = i64::from(round);
        let statement = |mut command: Document, starts: bool| {
            command.extend(doc! { "lsid": session.clone(), "txnNumber": number, "autocommit": false });
            if starts {
                command.insert("startTransaction", true);
            }
            command
        };
        let updates = vec![doc! { "q": { "_id": 1 }, "u": { "$set": { "v": round } } }];
        client.run("app", statement(doc! { "update": "first", "updates": updates.clone() }, true));
        client.run("app", statement(doc! { "update": "second", "updates": updates }, false));
        client.run("admin", statement(doc! { "commitTransaction": 1 }, false));
        let mut moved = stage.secondary(1);
        assert_eq!((get(&mut moved, "first"), get(&mut moved, "second")), (Some(round), Some(round)));
    }
}

#[test]
fn without_zookeeper_nothing_is_told_that_others_could_miss_and_the_rest_is_served() {
    let mut stage = Stage::with_times("request_timeout = \"300ms\"\nwait_timeout = \"1s\"\n");
    let mut client = stage.primary(0);
    put(&mut client, "kept", 1);
    assert_eq!(get(&mut client, "kept"), Some(1));
    stage.zookeeper.kill(0);
    // What is published already is shown to those who were here.
    assert_eq!(get(&mut client, "kept"), Some(1));
    let session = doc! { "id": Uuid::new() };
    let updates = vec![doc! { "q": { "_id": 1 }, "u": { "$inc": { "v": 1 } } }];
    let update = doc! { "update": "kept", "updates": updates, "lsid": session, "txnNumber": 1i64 };
    let reply = client.command("app", update.clone());
    assert_eq!(reply.get_i32("code").unwrap(), 262, "{reply}");
    assert_eq!(reply.get_array("errorLabels").unwrap(), &vec!["RetryableWriteError".into()]);
    assert!(reply.get_str("errmsg").unwrap().contains("ZooKeeper did not take it within 1s"), "{reply}");
    let refused = stage.primary(0).command("app", find("kept"));
    assert!(refused.get_str("errmsg").unwrap().contains("other toranas is not known"), "{refused}");
    put(&mut client, "plain", 1);
    assert_eq!(get(&mut client, "plain"), Some(1));
    let metric = |torana: &Torana, name: &str, label: &str| torana.metric(name, &[label]);
    assert_eq!(metric(&stage.toranas[0], "torana_horizon_kept", "rs0"), 0.0);
    assert!(metric(&stage.toranas[0], "torana_unpublished_total", "") > 0.0);

    // The same statement, sent again: it was made once.
    stage.zookeeper.restart(0);
    stage.zookeeper.wait_all();
    wait_until("writes are told again", SOON, || {
        client.command("app", update.clone()).get_f64("ok").unwrap() == 1.0
    });
    assert_eq!(get(&mut stage.secondary(1), "kept"), Some(2));
    let torana = &stage.toranas[0];
    assert_eq!(metric(torana, "torana_horizon_kept", "rs0"), 1.0);
    for outcome in ["written", "behind", "failed"] {
        assert!(
            metric(torana, "torana_horizon_writes_total", outcome) > 0.0 || outcome == "behind",
            "{outcome}"
        );
    }
    assert!(metric(torana, "torana_publish_seconds_count", "rs0") > 1.0);
    assert!(torana.metrics().contains("torana_horizon_age_seconds{set=\"rs0\"}"));
}

/// Nobody else is there, so the memory of this torana is the register.
#[test]
fn a_torana_that_is_alone_needs_no_zookeeper() {
    let set = ReplicaSet::shared();
    let mut torana = torana_with(&set.uri(), TAGS);
    let mut client = torana.client_of(&set.host(set.primary()));
    for round in 0..50 {
        put(&mut client, "alone", round);
        assert_eq!(get(&mut torana.client_of(&set.host(set.secondary())), "alone"), Some(round));
    }
    let log = torana.log();
    assert!(log.contains("without a ZooKeeper ensemble one torana of the set serves"), "{log}");
    torana.stop(SOON);
}

/// Without ZooKeeper there can be one: which it is stands in the set itself.
#[test]
fn a_second_torana_without_zookeeper_serves_nothing_tagged_until_the_first_has_gone() {
    let set = ReplicaSet::of(3).unchained().start();
    let primary = set.host(set.primary());
    let mut first = torana_with(&set.uri(), TAGS);
    put(&mut first.client_of(&primary), "alone", 1);
    let second = torana_with(&set.uri(), TAGS);
    let mut client = second.client_of(&primary);
    put(&mut client, "plain", 1);
    let update = doc! { "update": "alone", "updates": [{ "q": { "_id": 1 }, "u": { "$set": { "v": 9 } } }] };
    for command in [find("alone"), update] {
        let reply = client.command("app", command);
        let text = reply.get_str("errmsg").unwrap();
        assert!(text.contains("another torana serves this set's tagged collections"), "{reply}");
        assert!(text.contains("name a ZooKeeper ensemble for both"), "{reply}");
    }
    assert_eq!(get(&mut first.client_of(&primary), "alone"), Some(1), "the write was not made");

    // The reader's member stands still, and its new torana remembers nothing: the lease says what was told.
    let secondary = set.secondary();
    wait_until("it is there", SOON, || get(&mut first.client_of(&set.host(secondary)), "alone") == Some(1));
    let fail_point = doc! { "configureFailPoint": "rsSyncApplyStop", "mode": "alwaysOn" };
    set.client(secondary).run("admin", fail_point);
    put(&mut first.client_of(&primary), "alone", 2);
    first.stop(SOON);
    let mut reader = second.client_of(&set.host(secondary));
    wait_until("the lease has ended", Duration::from_secs(40), || {
        let reply = reader.command("app", find("alone"));
        let is_served = reply.get_f64("ok").unwrap() == 1.0;
        assert!(!is_served || shown(&reply) == Some(2), "{reply}");
        is_served
    });
}

/// A process in the place of one that was killed has not to wait.
#[test]
fn a_torana_that_is_started_again_has_its_lease_at_once() {
    let set = ReplicaSet::shared();
    let mut torana = Torana::serve(set.uri()).argument("--tag=app.again=sequential").start();
    put(&mut torana.client_of(&set.host(set.primary())), "again", 1);
    torana.restart();
    assert_eq!(get(&mut torana.client_of(&set.host(set.primary())), "again"), Some(1));
}

/// As a server sees it: what is asked of it, and when.
#[test]
fn reads_are_sent_as_of_what_was_published_and_counts_behind_it() {
    let zookeeper = Ensemble::of(1);
    let fake = FakeServer::start(|peer, request| {
        let time = Timestamp { time: 7, increment: 3 };
        let cursor = doc! { "firstBatch": [], "id": 0i64, "ns": "app.x", "atClusterTime": time };
        let clock = doc! { "clusterTime": time };
        peer.reply(
            request,
            doc! { "cursor": cursor, "ok": 1.0, "$clusterTime": clock, "operationTime": time },
        )
    });
    let torana = sharing(&fake.uri(), &zookeeper.hosts(), "");
    let mut client = torana.client_of(fake.address());
    client.run("app", doc! { "insert": "x", "documents": [{ "_id": 1 }] });
    let seen = |name: &str| {
        fake.requests(name).pop().unwrap().message.body().get_document("readConcern").unwrap().clone()
    };
    let time = Timestamp { time: 7, increment: 3 };
    let reply = client.run("app", doc! { "find": "x", "readConcern": { "level": "local" } });
    assert_eq!(seen("find"), doc! { "level": "snapshot", "atClusterTime": time });
    assert!(!reply.get_document("cursor").unwrap().contains_key("atClusterTime"));
    let majority = doc! { "level": "majority", "afterClusterTime": time };
    client.run("app", doc! { "count": "x" });
    assert_eq!(seen("count"), majority);
    // A later time than what is published; a checksum, whose request torana keeps no copy of.
    let later = doc! { "level": "majority", "afterClusterTime": Timestamp { time: 8, increment: 0 } };
    client.run("app", doc! { "find": "x", "readConcern": later.clone() });
    assert_eq!(seen("find"), later);
    client.send(&op_msg(9, 0, CHECKSUM_PRESENT, &[Section::Body(doc! { "find": "x", "$db": "app" })]));
    client.read();
    assert_eq!(seen("find"), majority);
    client.run("app", doc! { "find": "plain", "readConcern": { "level": "local" } });
    assert_eq!(seen("find"), doc! { "level": "local" });
}

/// What `torana` prints, and whether it succeeded.
fn run(arguments: &[&str]) -> (bool, String) {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_torana")).args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

/// Bytes that are not torana's, in the place of a node's.
fn overwrite(host: &str, path: &str, data: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = zookeeper_async::ZooKeeper::connect(host, Duration::from_secs(5), |_| {}).await.unwrap();
        client.set_data(path, data.to_vec(), None).await.unwrap();
        client.close().await.unwrap();
    });
}

/// Its cursor is on the primary, whose name the client does not know.
#[test]
fn a_cursor_that_is_elsewhere_goes_on_when_the_last_tag_was_taken_away() {
    let zookeeper = Ensemble::of(1);
    let set = ReplicaSet::of(3).unchained().start();
    let place = format!("{}/torana/{}", zookeeper.hosts().join(","), set.name());
    let torana =
        torana_with(&set.uri(), &format!("[zookeeper]\nhosts = \"{}\"\n", zookeeper.hosts().join(",")));
    let tag = |arguments: &[&str]| {
        let (ended, text) = run(&[&["tag"], arguments, &["--zookeeper", &place]].concat());
        assert!(ended, "{text}");
    };
    tag(&["app.many", "sequential"]);
    wait_until("the tag is taken up", SOON, || {
        torana.log().contains("tags in ZooKeeper: app.many=sequential")
    });
    let secondary = set.secondary();
    let (mut writer, mut reader) =
        (torana.client_of(&set.host(set.primary())), torana.client_of(&set.host(secondary)));
    put(&mut writer, "many", 0);
    assert_eq!(get(&mut reader, "many"), Some(0));
    let fail_point = |mode: &str| doc! { "configureFailPoint": "rsSyncApplyStop", "mode": mode };
    set.client(secondary).run("admin", fail_point("alwaysOn"));
    let documents: Vec<_> = (10..30).map(|id| doc! { "_id": id }).collect();
    writer.run("app", doc! { "insert": "many", "documents": documents });
    let find = doc! { "find": "many", "batchSize": 10, "$readPreference": { "mode": "secondary" } };
    let id = reader.run("app", find).get_document("cursor").unwrap().get_i64("id").unwrap();
    tag(&["app.many", "--remove"]);
    wait_until("it is taken away", SOON, || torana.log().contains("tags in ZooKeeper: none"));
    let more = reader.run("app", doc! { "getMore": id, "collection": "many" });
    let batch = more.get_document("cursor").unwrap().get_array("nextBatch").unwrap();
    assert_eq!(batch.len(), 11);
}

#[test]
fn tags_are_taken_up_while_toranas_run_and_what_is_not_understood_changes_nothing() {
    let zookeeper = Ensemble::of(1);
    let fake = FakeServer::answering();
    let hosts = zookeeper.hosts().join(",");
    let config = format!("[tags]\n\"app.fixed\" = \"causal\"\n[zookeeper]\nhosts = \"{hosts}\"\n");
    let toranas = [0, 1].map(|_| torana_with(&fake.uri(), &config));
    let mut clients = toranas.each_ref().map(|torana| torana.client_of(fake.address()));
    let set = "rs0";
    let place = format!("{hosts}/torana/{set}");
    let tag = |arguments: &[&str]| run(&[&["tag"], arguments, &["--zookeeper", &place]].concat());
    let mut concern = |collection: &str| {
        clients.each_mut().map(|client| {
            client.run("app", doc! { "insert": collection, "documents": [{ "a": 1 }] });
            let insert = fake.requests("insert").pop().unwrap().message.body();
            insert
                .get_document("writeConcern")
                .is_ok_and(|concern| concern.get_str("w").unwrap() == "majority")
        })
    };
    assert_eq!((concern("live"), concern("fixed")), ([false; 2], [true; 2]));
    assert_eq!(tag(&["app.live", "causal"]), (true, "app.live causal\n".to_owned()));
    assert_eq!(tag(&["app.fixed", "default"]).1, "app.fixed default\napp.live causal\n");
    wait_until("both take it up", Duration::from_secs(2), || concern("live") == [true; 2]);
    assert_eq!(concern("fixed"), [false; 2]);
    assert_eq!(run(&["tags", "--zookeeper", &place]).1, "app.fixed default\napp.live causal\n");

    overwrite(&hosts, &format!("/torana/{set}/tags"), b"torana tags 1\napp.live=a level of later\n");
    wait_until("it is said", Duration::from_secs(2), || toranas[0].log().contains("the tags of before stay"));
    assert_eq!((concern("live"), concern("fixed")), ([true; 2], [false; 2]));
    let (ended, text) = tag(&["app.more", "causal"]);
    assert!(!ended && text.contains("a tag in ZooKeeper is not understood"), "{text}");
    overwrite(&hosts, &format!("/torana/{set}/tags"), b"torana tags 1\napp.live=causal\n");
    assert_eq!(tag(&["app.live", "--remove"]).1, "no collection was tagged by `torana tag`\n");
    wait_until("both give it up", Duration::from_secs(2), || {
        concern("live") == [false; 2] && concern("fixed") == [true; 2]
    });
    let (ended, text) = run(&["tag", "app.live", "sequentail", "--zookeeper", &place]);
    assert!(!ended && text.contains("did you mean \"sequential\"?"), "{text}");
}

/// Another application's data in the place of the horizon: nothing of a tagged collection is told, and nothing of it lost.
#[test]
fn what_torana_did_not_write_is_left_alone() {
    let zookeeper = Ensemble::of(1);
    let set = ReplicaSet::shared();
    let primary = set.host(set.primary());
    let times = "wait_timeout = \"1s\"\n";
    let torana = sharing(&set.uri(), &zookeeper.hosts(), times);
    let mut client = torana.client_of(&primary);
    put(&mut client, "foreign", 1);
    let path = format!("/torana/{}/horizon", set.name());
    overwrite(&zookeeper.hosts()[0], &path, b"somebody else's");
    let updates = vec![doc! { "q": { "_id": 1 }, "u": { "$set": { "v": 2 } } }];
    let reply = client.command("app", doc! { "update": "foreign", "updates": updates });
    assert!(reply.get_str("errmsg").unwrap().contains("15 bytes that torana did not write"), "{reply}");
    put(&mut client, "plain_foreign", 1);
    overwrite(&zookeeper.hosts()[0], &path, b"torana horizon1 \0\0\0\0\0\0\0\x07");
    wait_until("it is served again", SOON, || {
        let reply = torana.client_of(&primary).command("app", find("foreign"));
        reply.get_f64("ok").unwrap() == 1.0 && shown(&reply) == Some(2)
    });
}

/// A restored backup: what clients were told is later than what any member has.
#[test]
fn a_horizon_above_every_member_is_said_and_can_be_reset() {
    let zookeeper = Ensemble::of(1);
    let set = ReplicaSet::shared();
    let primary = set.host(set.primary());
    let mut torana = sharing(&set.uri(), &zookeeper.hosts(), "");
    put(&mut torana.client_of(&primary), "restored", 1);
    torana.stop(SOON);
    let path = format!("/torana/{}/horizon", set.name());
    let later = [b"torana horizon1 ".as_slice(), &[0x7f; 1], &[0; 7]].concat();
    overwrite(&zookeeper.hosts()[0], &path, &later);

    let mut torana = sharing(&set.uri(), &zookeeper.hosts(), "");
    let reply = torana.client_of(&primary).command("app", find("restored"));
    let text = reply.get_str("errmsg").unwrap();
    assert!(text.contains("that no member has come to") && text.contains("--reset-floors"), "{text}");
    assert!(torana.log().contains("a floor above every member"));
    torana.client_of(&primary).run("app", find("plain"));
    torana.stop(SOON);

    let place = format!("{}/torana/{}", zookeeper.hosts().join(","), set.name());
    let (ended, text) = run(&["tag", "--reset-floors", "--zookeeper", &place]);
    assert!(ended && text.contains("begins with what the members have"), "{text}");
    let torana = sharing(&set.uri(), &zookeeper.hosts(), "");
    assert_eq!(get(&mut torana.client_of(&primary), "restored"), Some(1));
}

/// ZooKeeper is not there when torana starts: other collections are served, and tagged ones as soon as it is.
#[test]
fn torana_starts_without_a_quorum_and_takes_it_up_when_it_comes() {
    let mut zookeeper = Ensemble::of(1);
    zookeeper.kill(0);
    let set = ReplicaSet::shared();
    let primary = set.host(set.primary());
    let torana =
        sharing(&set.uri(), &zookeeper.hosts(), "wait_timeout = \"500ms\"\nsession_timeout = \"2s\"\n");
    let mut client = torana.client_of(&primary);
    put(&mut client, "plain_start", 1);
    assert_eq!(get(&mut client, "plain_start"), Some(1));
    let refused = client.command("app", find("start"));
    assert!(refused.get_str("errmsg").unwrap().contains("ZooKeeper did not take it"), "{refused}");
    zookeeper.restart(0);
    zookeeper.wait_all();
    wait_until("it is served", SOON, || client.command("app", find("start")).get_f64("ok").unwrap() == 1.0);
    put(&mut client, "start", 2);
    assert_eq!(get(&mut client, "start"), Some(2));
}

/// Views, time series and capped collections have the level that they are tagged with.
#[test]
fn collections_of_every_kind_can_be_tagged() {
    let stage = Stage::new();
    let mut client = stage.primary(0);
    put(&mut client, "base", 0);
    client.run(
        "app",
        doc! { "create": "view", "viewOn": "base", "pipeline": [{ "$match": { "v": { "$gte": 0 } } }] },
    );
    client.run("app", doc! { "create": "series", "timeseries": { "timeField": "t" } });
    client.run("app", doc! { "create": "ring", "capped": true, "size": 65536 });
    let mut reader = stage.secondary(0);
    assert_eq!(get(&mut reader, "base"), Some(0));
    stage.freeze("alwaysOn");
    for round in 1..20 {
        put(&mut client, "base", round);
        for name in ["series", "ring"] {
            let document = doc! { "_id": round, "t": bson::DateTime::now(), "v": round };
            client.run("app", doc! { "insert": name, "documents": [document] });
        }
        let mut moved = stage.secondary(1);
        for reader in [&mut reader, &mut moved] {
            assert_eq!(get(reader, "view"), Some(round));
            for name in ["series", "ring"] {
                let mut newest = find(name);
                newest.insert("filter", doc! { "v": round });
                assert_eq!(shown(&reader.run("app", newest)), Some(round), "{name}");
            }
        }
    }
}
