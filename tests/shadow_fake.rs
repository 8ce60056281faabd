//! Shadow traffic to a scripted server: whatever that does, clients of the first set see no difference, and nothing more is
//! asked of the first set.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::{Duration, Instant};

use bson::{Bson, Document, Timestamp, doc};
use support::message::{OP_MSG, message};
use support::{FakeServer, Message, Monitoring, Peer, RawClient, Then, Torana, wait_until};

const SOON: Duration = Duration::from_secs(20);

/// Answers each command as both sets do that have the same data.
fn answers(peer: &mut Peer, request: &Message) -> Then {
    let asked = request.query_or_body();
    let n = asked.get("n").cloned().unwrap_or(Bson::Null);
    let text = "x".repeat(asked.get_i32("bytes").unwrap_or(10) as usize);
    let batch = vec![doc! { "_id": n, "text": text }];
    peer.reply(request, doc! { "cursor": { "firstBatch": batch, "id": 0i64, "ns": "app.c" }, "ok": 1.0 })
}

fn start(live: &FakeServer, target: &FakeServer, shadow: &str) -> Torana {
    let text = format!(
        "uri = \"{}\"\nlisten = \"127.0.0.1:{{port0}}\"\n[shadow]\nto = \"{}\"\nsample = \"1/1\"\n{shadow}",
        live.uri(),
        target.uri()
    );
    Torana::with_config(text).start()
}

fn wait_up(torana: &Torana) {
    wait_until("the target answers", SOON, || torana.metric("torana_shadow_up", &[]) == 1.0);
}

fn find(client: &mut RawClient, n: i32, bytes: i32) -> Document {
    // The fields that a mongod would not know are for the script.
    client.run("app", doc! { "find": "c", "filter": { "x": "s3cret" }, "n": n, "bytes": bytes })
}

fn dropped(torana: &Torana, reason: &str) -> f64 {
    torana.metric("torana_shadow_dropped_total", &[&format!("reason=\"{reason}\"")])
}

fn outcomes(torana: &Torana, outcome: &str) -> f64 {
    torana.metric("torana_shadow_reads_total", &[&format!("outcome=\"{outcome}\"")])
}

/// Runs `count` finds: each is answered as ever, and soon, and the first set is asked that and no more.
fn nothing_shows(live: &FakeServer, client: &mut RawClient, count: usize) {
    let before = live.requests("find").len();
    let began = Instant::now();
    for n in 0..count as i32 {
        let reply = find(client, n, 10);
        let batch = reply.get_document("cursor").unwrap().get_array("firstBatch").unwrap();
        assert_eq!(batch[0].as_document().unwrap().get_i32("_id").unwrap(), n);
    }
    // A busy machine takes a second; who waited for a silent target would wait for its time-out at each.
    let limit = Duration::from_millis(1_000 + 100 * count as u64);
    assert!(began.elapsed() < limit, "{:?}", began.elapsed());
    assert_eq!(live.requests("find").len(), before + count);
}

#[test]
fn the_second_set_is_asked_reads_alone_and_nothing_of_the_first_ones_sessions() {
    let (live, target) = (FakeServer::start(answers), FakeServer::start(answers));
    let torana = start(&live, &target, "");
    wait_up(&torana);
    let mut client = torana.client_of(live.address());
    let time = Timestamp { time: 5, increment: 1 };
    let id = bson::Binary { subtype: bson::spec::BinarySubtype::Uuid, bytes: vec![7; 16] };
    let lsid = doc! { "id": id };
    for command in [
        doc! { "insert": "c", "documents": [{ "_id": 1 }] },
        doc! { "update": "c", "updates": [] },
        doc! { "delete": "c", "deletes": [] },
        doc! { "findAndModify": "c", "remove": true },
        doc! { "aggregate": "c", "pipeline": [{ "$out": "d" }], "cursor": {} },
        doc! { "aggregate": "c", "pipeline": [{ "$merge": "d" }], "cursor": {} },
        doc! { "mapReduce": "c" },
        doc! { "getMore": 5i64, "collection": "c" },
        doc! { "listCollections": 1 },
        doc! { "find": "c", "n": 1, "tailable": true, "awaitData": true },
        doc! { "find": "c", "n": 2, "lsid": lsid.clone(), "txnNumber": 1i64, "autocommit": false, "startTransaction": true },
        doc! { "count": "c", "lsid": lsid.clone(), "txnNumber": 1i64, "autocommit": false },
        doc! { "commitTransaction": 1, "lsid": lsid.clone(), "txnNumber": 1i64, "autocommit": false },
    ] {
        client.run("app", command);
    }
    client.run(
        "app",
        doc! { "find": "c", "n": 3, "lsid": lsid, "$clusterTime": { "clusterTime": time },
        "readConcern": { "level": "majority", "afterClusterTime": time }, "$readPreference": { "mode": "secondary" } },
    );
    client.run("app", doc! { "aggregate": "c", "pipeline": [{ "$match": {} }], "cursor": {} });
    wait_until("both reads are compared", SOON, || outcomes(&torana, "equal") == 2.0);
    let asked = target.requests("find");
    assert_eq!((asked.len(), target.requests("aggregate").len()), (1, 1));
    let wanted = doc! { "find": "c", "n": 3, "$db": "app", "readConcern": { "level": "majority" },
    "$readPreference": { "mode": "primaryPreferred" }, "maxTimeMS": 10_000i64 };
    assert_eq!(asked[0].message.body(), wanted);
    for name in
        ["insert", "update", "delete", "findAndModify", "mapReduce", "getMore", "count", "commitTransaction"]
    {
        assert!(target.requests(name).is_empty() && !live.requests(name).is_empty(), "{name}");
    }
    let count =
        |side: &str| torana.metric("torana_shadow_read_seconds_count", &[&format!("side=\"{side}\"")]);
    assert_eq!((count("live"), count("shadow")), (2.0, 2.0));
}

#[test]
fn a_difference_is_counted_and_said_without_values_at_its_rate() {
    let (live, target) = (FakeServer::start(answers), FakeServer::start(answers));
    target.script(|peer, request| {
        peer.reply(
            request,
            doc! { "cursor": { "firstBatch": [{ "_id": "other" }], "id": 0i64, "ns": "app.c" }, "ok": 1.0 },
        )
    });
    let torana = start(&live, &target, "log_differences = \"1/h\"");
    wait_up(&torana);
    let mut client = torana.client_of(live.address());
    nothing_shows(&live, &mut client, 3);
    wait_until("the differences are sure", SOON, || outcomes(&torana, "different") == 3.0);
    // Each was asked again twice, of the second set alone.
    assert_eq!((live.requests("find").len(), target.requests("find").len()), (3, 9));
    let log = torana.log();
    assert_eq!(log.matches("the shadow answers otherwise").count(), 1, "{log}");
    assert!(log.contains("cursor.firstBatch") && log.contains("find app.c {x: ?}"), "{log}");
    assert!(!log.contains("s3cret"), "{log}");
    // A write to the collection, and they may be of the moment.
    client.run("app", doc! { "insert": "c", "documents": [{}] });
    nothing_shows(&live, &mut client, 1);
    wait_until("it is doubtful", SOON, || outcomes(&torana, "racing") == 1.0);
}

#[test]
fn clients_see_nothing_of_a_target_that_is_hostile_broken_or_silent() {
    let (live, target) = (FakeServer::start(answers), FakeServer::start(answers));
    let torana = start(&live, &target, "timeout = \"300ms\"\nconnections_max = 2");
    wait_up(&torana);
    let mut client = torana.client_of(live.address());
    type Script = fn(&mut Peer, &Message) -> Then;
    let scripts: [(&str, &str, Script); 7] = [
        ("closes", "no_connection", |_, _| Then::Close),
        ("says a huge length", "no_connection", |peer, _| {
            peer.send(&[0xff, 0xff, 0xff, 0x7f, 1, 0, 0, 0, 2, 0, 0, 0, 0xdd, 7, 0, 0])
        }),
        ("sends garbage", "no_connection", |peer, _| peer.send(&[0xa5; 5000])),
        ("answers another request", "no_connection", |peer, _| peer.send(&message(1, 77, OP_MSG, &[0; 30]))),
        ("sends too much", "no_connection", |peer, request| {
            answers(peer, request);
            peer.send(&[0; 100])
        }),
        ("ends in the middle", "no_connection", |peer, _| {
            peer.send(&[0, 2, 0, 0, 1, 0, 0, 0]);
            Then::Close
        }),
        ("is silent", "timed_out", |_, _| Then::Next),
    ];
    for (name, reason, script) in scripts {
        target.script(script);
        let before = dropped(&torana, reason);
        let sent = Instant::now();
        wait_until(&format!("reads are dropped while it {name}"), SOON, || {
            nothing_shows(&live, &mut client, 5);
            dropped(&torana, reason) > before
        });
        assert!(sent.elapsed() < SOON);
    }
    // A document whose length is a lie is an answer, and another one.
    target.script(|peer, request| {
        let payload = [&[0, 0, 0, 0, 0], &i32::MAX.to_le_bytes()[..], &[1, 2, 3]].concat();
        peer.send(&message(1, request.request_id(), OP_MSG, &payload))
    });
    let before = outcomes(&torana, "different");
    wait_until("it is counted", SOON, || {
        nothing_shows(&live, &mut client, 1);
        outcomes(&torana, "different") > before
    });
    // One that says of itself that it is long: no memory is taken for what has not come.
    let memory = torana.metric("process_resident_memory_bytes", &[]);
    target.script(|peer, request| {
        let header = [40_000_000, 1, request.request_id(), OP_MSG].map(i32::to_le_bytes).concat();
        peer.send(&header)
    });
    let before = outcomes(&torana, "different");
    wait_until("a long answer is counted", SOON, || {
        nothing_shows(&live, &mut client, 1);
        outcomes(&torana, "different") > before
    });
    let grown = torana.metric("process_resident_memory_bytes", &[]) - memory;
    assert!(grown < 10e6, "{grown} bytes more");
    target.script(answers);
    let before = outcomes(&torana, "equal");
    wait_until("it answers again", SOON, || {
        nothing_shows(&live, &mut client, 1);
        outcomes(&torana, "equal") > before
    });
    assert!(torana.metric("torana_shadow_connections", &[]) <= 2.0);
    assert_eq!(torana.log().matches("does not answer in time").count(), 1, "{}", torana.log());
}

#[test]
fn a_target_that_is_down_is_said_once_and_asked_when_it_is_up() {
    let (live, target) = (FakeServer::start(answers), FakeServer::start(answers));
    target.refuse(true);
    let torana = start(&live, &target, "");
    let says = || torana.log().matches("no reads are sent to the shadow until it answers").count();
    wait_until("the log says so", SOON, || says() == 1);
    let mut client = torana.client_of(live.address());
    nothing_shows(&live, &mut client, 10);
    assert_eq!((dropped(&torana, "no_connection"), torana.metric("torana_shadow_up", &[])), (10.0, 0.0));
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(says(), 1);
    target.refuse(false);
    wait_up(&torana);
    nothing_shows(&live, &mut client, 1);
    wait_until("it is asked", SOON, || outcomes(&torana, "equal") == 1.0);
    // And down again, silently.
    target.monitoring(Monitoring::Silent);
    target.close_serving();
    assert!(torana.log().contains("the shadow's target answers"));
}

#[test]
fn memory_stays_within_its_bound_and_what_does_not_fit_is_dropped() {
    let (live, target) = (FakeServer::start(answers), FakeServer::start(answers));
    let torana = start(&live, &target, "queue_max = \"1MiB\"\nconnections_max = 1\ntimeout = \"60s\"");
    wait_up(&torana);
    target.script(|_, _| Then::Next);
    let mut client = torana.client_of(live.address());
    for n in 0..300 {
        let reply = find(&mut client, n, 20_000);
        assert!(reply.get_document("cursor").is_ok());
    }
    let used = torana.metric("torana_shadow_queue_bytes", &[]);
    assert!(used <= (1 << 20) as f64 && used > 500e3, "{used}");
    assert!(dropped(&torana, "queue_full") >= 240.0, "{}", dropped(&torana, "queue_full"));
    assert_eq!(torana.metric("torana_shadow_connections", &[]), 1.0);
    // An answer that is longer than what is compared.
    let reply = find(&mut client, 1, 1_100_000);
    assert!(reply.get_document("cursor").is_ok());
    assert_eq!(dropped(&torana, "too_large"), 1.0);
    // Clients that leave before their answer.
    live.script(|_, _| Then::Close);
    client.send_command("app", doc! { "find": "c" });
    assert!(client.try_read().is_err());
    wait_until("it counts as one without an answer", SOON, || {
        dropped(&torana, "unanswered") + dropped(&torana, "queue_full") >= 241.0
    });
}

#[test]
fn a_member_of_the_served_set_is_no_target() {
    let live = FakeServer::start(answers);
    let mut torana = Torana::with_config(format!(
        "uri = \"{0}\"\nlisten = \"127.0.0.1:{{port0}}\"\n[shadow]\nto = \"{0}\"\n",
        live.uri()
    ))
    .launch();
    let ended = torana.process().wait(SOON).expect("an end");
    assert!(
        !ended.success() && torana.log().contains("a member of the set that is served"),
        "{}",
        torana.log()
    );
}

#[test]
fn what_torana_says_in_the_place_of_an_answer_is_no_answer_of_the_sets() {
    let time = Timestamp { time: 100, increment: 1 };
    let answers = move |peer: &mut Peer, request: &Message| {
        let cursor = doc! { "firstBatch": [], "id": 0i64, "ns": "app.c" };
        peer.reply(request, doc! { "cursor": cursor, "ok": 1.0, "operationTime": time })
    };
    let (live, target) = (FakeServer::start(answers), FakeServer::start(answers));
    let torana = start(&live, &target, "[tags]\n\"app.c\" = \"causal\"\n");
    wait_up(&torana);
    let mut client = torana.client_of(live.address());
    client.run("app", doc! { "find": "c" });
    wait_until("it is compared", SOON, || outcomes(&torana, "equal") == 1.0);
    live.script(|peer, request| {
        let text = "readConcern afterClusterTime value must not be greater than the current clusterTime. Requested clusterTime: { ts: Timestamp(100, 1) }; current clusterTime: { ts: Timestamp(1, 1) }";
        peer.reply(request, doc! { "ok": 0.0, "code": 72, "codeName": "InvalidOptions", "errmsg": text })
    });
    let reply = client.command("app", doc! { "find": "c" });
    assert!(reply.get_str("errmsg").unwrap().contains("no member has come to"), "{reply}");
    wait_until("it has no answer", SOON, || dropped(&torana, "unanswered") == 1.0);
    assert_eq!((outcomes(&torana, "error_live"), target.requests("find").len()), (0.0, 1));
}

#[test]
fn nothing_that_a_target_says_steers_the_log() {
    let (live, target) = (FakeServer::start(answers), FakeServer::start(answers));
    target.script(|peer, request| {
        let key = format!("x\nforged line \u{1b}[2J{}", "y".repeat(100_000));
        peer.reply(
            request,
            doc! { "cursor": { "firstBatch": [], "id": 0i64, "ns": "app.c" }, "ok": 1.0, key: 1 },
        )
    });
    live.script(|peer, request| {
        peer.reply(request, doc! { "cursor": { "firstBatch": [], "id": 0i64, "ns": "app.c" }, "ok": 1.0 })
    });
    let torana = start(&live, &target, "");
    wait_up(&torana);
    torana.client_of(live.address()).run("app", doc! { "find": "c" });
    wait_until("it is sure", SOON, || outcomes(&torana, "different") == 1.0);
    let log = torana.log();
    assert!(log.contains("the shadow answers otherwise") && log.contains("forged line"), "{log}");
    assert!(!log.contains('\u{1b}') && !log.lines().any(|line| line.starts_with("forged")), "{log}");
    assert!(log.lines().all(|line| line.len() < 5_000));
}
