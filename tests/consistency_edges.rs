//! Where consistency levels meet: each other, members that have not heard of a time, what bypasses torana, and what
//! clients ask for themselves.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::Duration;

use bson::{Document, Timestamp, doc};
use support::message::{CHECKSUM_PRESENT, Section, crc32c, op_msg};
use support::{Ensemble, FakeServer, RawClient, ReplicaSet, Torana, torana_with, wait_until};

const SOON: Duration = Duration::from_secs(20);

const TAGS: &str =
    "[tags]\n\"app.*\" = \"sequential\"\n\"app.own*\" = \"causal\"\n\"app.plain*\" = \"default\"\n";

/// A set of three with two toranas in front of it, which share a ZooKeeper server.
struct Stage {
    // Dropped first: they need the others.
    toranas: [Torana; 2],
    set: ReplicaSet,
    zookeeper: Ensemble,
    primary: usize,
    secondary: usize,
}

impl Stage {
    fn new() -> Stage {
        let zookeeper = Ensemble::of(1);
        let set = ReplicaSet::of(3).unchained().start();
        let toranas = [0, 1].map(|_| sharing(&set, &zookeeper));
        let (primary, secondary) = (set.primary(), set.secondary());
        Stage { set, zookeeper, toranas, primary, secondary }
    }

    fn primary(&self, torana: usize) -> RawClient {
        self.toranas[torana].client_of(&self.set.host(self.primary))
    }

    fn secondary(&self, torana: usize) -> RawClient {
        self.toranas[torana].client_of(&self.set.host(self.secondary))
    }

    /// Written by somebody who is not known to torana, and known to a majority.
    fn bypass(&self, collection: &str, value: i32) {
        let mut update = update(collection, value);
        update.insert("writeConcern", doc! { "w": "majority" });
        self.set.client(self.primary).run("app", update);
    }

    fn fail_point(&self, name: &str, mode: &str) {
        let fail_point = doc! { "configureFailPoint": name, "mode": mode };
        self.set.client(self.secondary).run("admin", fail_point);
    }
}

fn sharing(set: &ReplicaSet, zookeeper: &Ensemble) -> Torana {
    let hosts = zookeeper.hosts().join(",");
    torana_with(&set.uri(), &format!("{TAGS}[zookeeper]\nhosts = \"{hosts}\"\nwait_timeout = \"5s\"\n"))
}

fn update(collection: &str, value: i32) -> Document {
    let updates = vec![doc! { "q": { "_id": 1 }, "u": { "$set": { "v": value } }, "upsert": true }];
    doc! { "update": collection, "updates": updates }
}

fn put(client: &mut RawClient, collection: &str, value: i32) {
    client.run("app", update(collection, value));
}

fn find(collection: &str) -> Document {
    doc! { "find": collection, "filter": { "_id": 1 }, "$readPreference": { "mode": "secondaryPreferred" } }
}

/// `v` of the document; `None` if it is not there.
fn get(client: &mut RawClient, collection: &str) -> Option<i32> {
    shown(&client.run("app", find(collection)))
}

fn shown(reply: &Document) -> Option<i32> {
    let cursor = reply.get_document("cursor").unwrap();
    cursor.get_array("firstBatch").unwrap().first()?.as_document().unwrap().get_i32("v").ok()
}

/// A read as of the floor of a collection that is causal would show what no other torana knows of.
#[test]
fn a_join_with_a_causal_collection_shows_nothing_that_was_not_published() {
    let stage = Stage::new();
    let mut client = stage.primary(0);
    for round in 1..=5 {
        // The other torana knows of a time of now, and has no need to look for a later one.
        put(&mut stage.primary(1), "else", round);
        stage.bypass("seen", round);
        put(&mut client, "own", round);
        let lookup =
            doc! { "$lookup": { "from": "own", "localField": "_id", "foreignField": "_id", "as": "own" } };
        let join = doc! { "aggregate": "seen", "pipeline": [lookup], "cursor": {} };
        assert_eq!(shown(&client.run("app", join)), Some(round));
        assert_eq!(get(&mut stage.primary(1), "seen"), Some(round), "moved");
    }
}

#[test]
fn a_request_that_asks_for_more_than_its_tag_is_shown_nothing_that_was_not_published() {
    let stage = Stage::new();
    let mut client = stage.primary(0);
    let mut asks = find("own");
    asks.insert("comment", "torana:sequential");
    for round in 1..=5 {
        put(&mut stage.primary(1), "else", round);
        put(&mut client, "own", round);
        assert_eq!(shown(&client.run("app", asks.clone())), Some(round));
        assert_eq!(shown(&stage.primary(1).run("app", asks.clone())), Some(round), "moved");
    }
}

/// A secondary that copies nothing hears of new times by heartbeats alone, every two seconds.
#[test]
fn a_member_that_has_not_heard_of_a_published_time_is_behind_and_no_more() {
    let stage = Stage::new();
    put(&mut stage.primary(0), "heard", 0);
    assert_eq!(get(&mut stage.secondary(1), "heard"), Some(0));
    stage.fail_point("stopReplProducer", "alwaysOn");
    for round in 1..=20 {
        put(&mut stage.primary(0), "heard", round);
        assert_eq!(get(&mut stage.secondary(1), "heard"), Some(round));
    }
    stage.fail_point("stopReplProducer", "off");
}

/// Whoever stays at one torana and reads from a member that stands still.
#[test]
fn writes_through_another_torana_are_seen_soon_whatever_member_is_read() {
    let stage = Stage::new();
    put(&mut stage.primary(0), "soon", 0);
    let mut reader = stage.secondary(1);
    wait_until("it is there", SOON, || get(&mut reader, "soon") == Some(0));
    stage.fail_point("rsSyncApplyStop", "alwaysOn");
    put(&mut stage.primary(0), "soon", 1);
    wait_until("it is seen", Duration::from_secs(4), || {
        // A count says what a majority has by now, and must not pass for the newest.
        reader.run("app", doc! { "count": "soon", "$readPreference": { "mode": "secondary" } });
        get(&mut reader, "soon") == Some(1)
    });
    stage.fail_point("rsSyncApplyStop", "off");
}

#[test]
fn a_torana_that_has_just_started_shows_what_bypassed_others_before() {
    let mut stage = Stage::new();
    put(&mut stage.primary(0), "started", 1);
    for torana in &mut stage.toranas {
        torana.stop(SOON);
    }
    stage.bypass("started", 2);
    std::thread::sleep(Duration::from_millis(1500));
    let torana = sharing(&stage.set, &stage.zookeeper);
    let mut client = torana.client_of(&stage.set.host(stage.primary));
    assert_eq!(get(&mut client, "started"), Some(2));
}

#[test]
fn without_zookeeper_those_who_have_read_before_go_on_whatever_else_is_written() {
    let mut stage = Stage::new();
    let mut client = stage.primary(0);
    put(&mut client, "kept", 1);
    assert_eq!(get(&mut client, "kept"), Some(1));
    stage.zookeeper.kill(0);
    stage.bypass("kept", 2);
    for _ in 0..5 {
        std::thread::sleep(Duration::from_millis(700));
        assert_eq!(get(&mut client, "kept"), Some(1), "as of what was published");
    }
    // It is back, and nobody writes or is new: what was missed is seen soon.
    stage.zookeeper.restart(0);
    stage.zookeeper.wait_all();
    wait_until("it is seen", SOON, || get(&mut client, "kept") == Some(2));
}

/// Drivers take the time of a snapshot session from the reply to its first read.
#[test]
fn a_client_that_asks_for_a_snapshot_is_told_its_time() {
    let stage = Stage::new();
    let mut client = stage.primary(0);
    client.run("app", doc! { "insert": "moments", "documents": (0..9).map(|id| doc! { "_id": id, "v": id }).collect::<Vec<_>>() });
    let concern = doc! { "level": "snapshot" };
    let reply = client.run("app", doc! { "find": "moments", "batchSize": 2, "readConcern": concern.clone() });
    let cursor = reply.get_document("cursor").unwrap();
    let time = cursor.get_timestamp("atClusterTime").expect("the snapshot's time");
    let more = doc! { "getMore": cursor.get_i64("id").unwrap(), "collection": "moments", "batchSize": 2 };
    let more = client.run("app", more);
    assert_eq!(more.get_document("cursor").unwrap().get_timestamp("atClusterTime").unwrap(), time);
    let distinct = client.run("app", doc! { "distinct": "moments", "key": "v", "readConcern": concern });
    assert!(distinct.contains_key("atClusterTime"), "{distinct}");
    put(&mut client, "moments", 100);
    let mut again = find("moments");
    again.insert("readConcern", doc! { "level": "snapshot", "atClusterTime": time });
    assert_eq!(shown(&client.run("app", again)), Some(1));
}

/// The error is the client's own, and no backup was restored.
#[test]
fn a_time_of_a_clients_own_that_no_member_has_come_to_is_the_servers_to_refuse() {
    let stage = Stage::new();
    let mut client = stage.primary(0);
    put(&mut client, "later", 1);
    for field in ["afterClusterTime", "atClusterTime"] {
        let level = if field == "atClusterTime" { "snapshot" } else { "majority" };
        let mut later = find("later");
        later.insert(
            "readConcern",
            doc! { "level": level, field: Timestamp { time: u32::MAX, increment: 1 } },
        );
        let reply = client.command("app", later);
        let text = reply.get_str("errmsg").unwrap();
        assert!(text.contains("must not be greater") && !text.contains("torana"), "{text}");
    }
    assert!(!stage.toranas[0].log().contains("a floor above every member"));
}

/// mongod answers with a checksum whoever sent one.
#[test]
fn a_checksum_of_a_batch_is_as_right_as_its_servers() {
    let stage = Stage::new();
    let mut client = stage.primary(0);
    put(&mut client, "sums", 1);
    let documents: Vec<_> = (2..9).map(|id| doc! { "_id": id }).collect();
    client.run("app", doc! { "insert": "sums", "documents": documents });
    let reply = client.run("app", doc! { "find": "sums", "batchSize": 2 });
    let id = reply.get_document("cursor").unwrap().get_i64("id").unwrap();
    let more = doc! { "getMore": id, "collection": "sums", "batchSize": 2, "$db": "app" };
    client.send(&op_msg(9, 0, CHECKSUM_PRESENT, &[Section::Body(more)]));
    let reply = client.read();
    assert_eq!(reply.flags() & CHECKSUM_PRESENT, CHECKSUM_PRESENT);
    let (covered, sum) = reply.raw.split_at(reply.raw.len() - 4);
    assert_eq!(crc32c(covered).to_le_bytes(), sum);
}

/// Replies of `time` by command.
fn timed(time: impl Fn(&str) -> u32 + Send + Sync + 'static) -> FakeServer {
    FakeServer::start(move |peer, request| {
        let command = request.query_or_body();
        let name = command.keys().next().unwrap().as_str();
        let id = if name == "find" { 77i64 } else { 0 };
        let batch = if name == "getMore" { "nextBatch" } else { "firstBatch" };
        let time = Timestamp { time: time(name), increment: 1 };
        let cursor = doc! { batch: [], "id": id, "ns": "app.x" };
        let clock = doc! { "clusterTime": time };
        peer.reply(
            request,
            doc! { "cursor": cursor, "ok": 1.0, "$clusterTime": clock, "operationTime": time },
        )
    })
}

fn concern(fake: &FakeServer, command: &str) -> Document {
    let body = fake.requests(command).pop().unwrap().message.body();
    body.get_document("readConcern").cloned().unwrap_or_default()
}

#[test]
fn what_a_request_asks_for_holds_for_all_batches_of_its_cursor() {
    let fake = timed(|name| if name == "getMore" { 9 } else { 5 });
    let torana = torana_with(&fake.uri(), "[tags]\n\"app.seen\" = \"observe\"\n");
    let mut client = torana.client_of(fake.address());
    let asks = doc! { "find": "seen", "comment": "torana:causal" };
    client.run("app", asks.clone());
    client.run("app", doc! { "getMore": 77i64, "collection": "seen" });
    client.run("app", asks);
    assert_eq!(concern(&fake, "find").get_timestamp("afterClusterTime").unwrap().time, 9);
}

#[test]
fn a_floor_of_an_observed_collection_comes_with_a_cluster_time() {
    let fake = timed(|_| 5);
    let torana = torana_with(&fake.uri(), "[tags]\n\"app.seen\" = \"observe\"\n");
    let mut client = torana.client_of(fake.address());
    client.run("app", doc! { "insert": "seen", "documents": [{ "a": 1 }] });
    client.run("app", doc! { "find": "seen", "comment": "torana:causal" });
    let time = Timestamp { time: 5, increment: 1 };
    assert_eq!(concern(&fake, "find").get_timestamp("afterClusterTime").unwrap(), time);
    let find = fake.requests("find").pop().unwrap().message.body();
    assert_eq!(find.get_document("$clusterTime").unwrap(), &doc! { "clusterTime": time });
}

#[test]
fn a_commit_changes_nothing_where_collections_are_only_observed() {
    let fake = FakeServer::answering();
    let torana = torana_with(&fake.uri(), "[tags]\n\"app.seen\" = \"observe\"\n");
    let mut client = torana.client_of(fake.address());
    let lsid = doc! { "id": bson::Uuid::new() };
    let commit =
        doc! { "commitTransaction": 1, "lsid": lsid, "txnNumber": 1i64, "autocommit": false, "$db": "admin" };
    client.run("admin", commit.clone());
    assert_eq!(fake.requests("commitTransaction").pop().unwrap().message.body(), commit);
}

#[test]
fn a_map_reduce_into_a_tagged_collection_is_refused() {
    let fake = FakeServer::answering();
    let torana = torana_with(&fake.uri(), "[tags]\n\"app.tagged\" = \"causal\"\n");
    let mut client = torana.client_of(fake.address());
    for (database, out) in [
        ("app", bson::Bson::from("tagged")),
        ("app", doc! { "merge": "tagged" }.into()),
        ("else", doc! { "replace": "tagged", "db": "app" }.into()),
        ("else", doc! { "db": "app", "reduce": "tagged", "nonAtomic": true }.into()),
    ] {
        let reply =
            client.command(database, doc! { "mapReduce": "plain", "map": "", "reduce": "", "out": out });
        assert!(reply.get_str("errmsg").unwrap().contains("mapReduce cannot keep"), "{reply}");
    }
    for out in [bson::Bson::from("other"), doc! { "inline": 1 }.into()] {
        client.run("app", doc! { "mapReduce": "plain", "map": "", "reduce": "", "out": out });
    }
}

/// Those who wait for a connection to a member meanwhile learn that it stands still from those who had one.
#[test]
fn of_many_readers_of_a_member_that_stands_still_few_give_up_a_connection() {
    const READERS: usize = 40;
    const POOL: usize = 4;
    let stage = Stage::new();
    let hosts = stage.zookeeper.hosts().join(",");
    let small = format!("{TAGS}[zookeeper]\nhosts = \"{hosts}\"\n[pool]\nmax = {POOL}\n");
    let torana = torana_with(&stage.set.uri(), &small);
    put(&mut stage.primary(0), "many", 0);
    let readers = (0..READERS).map(|_| torana.client_of(&stage.set.host(stage.secondary)));
    let mut readers: Vec<RawClient> = readers.collect();
    readers.iter_mut().for_each(|reader| assert_eq!(get(reader, "many"), Some(0)));
    stage.fail_point("rsSyncApplyStop", "alwaysOn");
    put(&mut torana.client_of(&stage.set.host(stage.primary)), "many", 1);
    let ids: Vec<i32> = readers.iter_mut().map(|reader| reader.send_command("app", find("many"))).collect();
    for (reader, id) in readers.iter_mut().zip(ids) {
        let reply = reader.read();
        assert_eq!((reply.response_to(), shown(&reply.body())), (id, Some(1)));
    }
    let given_up = torana.metric("torana_reads_behind_total", &[]);
    let waiting = || {
        let pipeline = vec![doc! { "$currentOp": {} }, doc! { "$match": { "command.find": "many" } }];
        let operations = doc! { "aggregate": 1, "pipeline": pipeline, "cursor": {},
        "$readPreference": { "mode": "secondary" } };
        let reply = stage.set.client(stage.secondary).run("admin", operations);
        reply.get_document("cursor").unwrap().get_array("firstBatch").unwrap().len()
    };
    assert!(given_up <= 2.0 * POOL as f64, "{given_up}");
    wait_until("nothing waits on the server", SOON, || waiting() == 0);
    stage.fail_point("rsSyncApplyStop", "off");
}

#[test]
fn a_read_too_large_to_be_kept_is_answered_by_its_own_member() {
    let zookeeper = Ensemble::of(1);
    let fake = timed(|_| 5);
    let hosts = zookeeper.hosts().join(",");
    let torana = torana_with(&fake.uri(), &format!("{TAGS}[zookeeper]\nhosts = \"{hosts}\"\n"));
    let mut client = torana.client_of(fake.address());
    client.run("app", doc! { "insert": "large", "documents": [{ "a": 1 }] });
    for (length, level) in [(1_000_000, "snapshot"), (1_100_000, "majority")] {
        client.run("app", doc! { "find": "large", "filter": { "pad": "x".repeat(length) } });
        assert_eq!(concern(&fake, "find").get_str("level").unwrap(), level);
    }
}

/// What it reads goes into a collection, and was told elsewhere.
#[test]
fn an_aggregate_that_writes_reads_what_its_client_was_told_elsewhere() {
    let stage = Stage::new();
    put(&mut stage.primary(0), "source", 1);
    put(&mut stage.primary(1), "else", 1);
    wait_until("the secondary has it", SOON, || {
        get(&mut stage.set.client(stage.secondary), "else") == Some(1)
    });
    std::thread::sleep(Duration::from_millis(100));
    stage.fail_point("rsSyncApplyStop", "alwaysOn");
    put(&mut stage.primary(0), "source", 2);
    let merge = doc! { "aggregate": "source", "pipeline": [{ "$merge": { "into": "plain_copy" } }], "cursor": {},
    "maxTimeMS": 500, "$readPreference": { "mode": "secondary" } };
    let reply = stage.secondary(1).command("app", merge);
    assert_eq!(reply.get_i32("code").ok(), Some(50), "{reply}");
    stage.fail_point("rsSyncApplyStop", "off");
}

/// Its own member is up, and the one that answers in its place is not.
#[test]
fn a_read_does_not_wait_for_a_primary_that_fell_silent() {
    let zookeeper = Ensemble::of(1);
    let set = ReplicaSet::of(3).unchained().relayed().start();
    let hosts = zookeeper.hosts().join(",");
    let times = "[monitor]\nconnect_timeout = \"2s\"\n";
    let torana = torana_with(&set.uri(), &format!("{TAGS}[zookeeper]\nhosts = \"{hosts}\"\n{times}"));
    let (primary, secondary) = (set.primary(), set.secondary());
    let mut reader = torana.client_of(&set.host(secondary));
    let mut writer = torana.client_of(&set.host(primary));
    put(&mut writer, "silent", 0);
    assert_eq!(get(&mut reader, "silent"), Some(0));
    let stop = doc! { "configureFailPoint": "rsSyncApplyStop", "mode": "alwaysOn" };
    set.client(secondary).run("admin", stop);
    put(&mut writer, "silent", 1);
    assert_eq!(get(&mut reader, "silent"), Some(1));
    set.relays[primary].blackhole();
    reader.set_timeout(SOON);
    let answer = reader.try_command("app", find("silent"));
    assert!(
        answer.is_err_and(|error| error.kind() == std::io::ErrorKind::UnexpectedEof),
        "closed, and in time"
    );
}
