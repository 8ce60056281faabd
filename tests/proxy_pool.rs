//! The pool through the torana binary, in front of a scripted primary: who waits, for how long, what they are told,
//! and what becomes of the operations of clients that left.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bson::{Document, Uuid, doc};
use support::fake_server::name_of;
use support::message::{CHECKSUM_PRESENT, EXHAUST_ALLOWED, MORE_TO_COME};
use support::{FakeServer, RawClient, Section, Then, Torana, torana_with, wait_until};

const SOON: Duration = Duration::from_secs(10);

/// A server that holds back every request with `hold: true` until it is let go, behind a torana with a pool of 2, of
/// which one connection is for ordinary work.
struct Held {
    fake: FakeServer,
    torana: Torana,
    go: Arc<AtomicBool>,
}

impl Held {
    fn start(bounds: &str) -> Held {
        let go = Arc::new(AtomicBool::new(false));
        let gate = go.clone();
        let fake = FakeServer::start(move |peer, request| {
            let holds = request.query_or_body().get_bool("hold").unwrap_or(false);
            while holds && !gate.load(Ordering::Acquire) {
                std::thread::sleep(Duration::from_millis(2));
            }
            peer.ok(request)
        });
        let torana = torana_with(&fake.uri(), &format!("[pool]\nmax = 2\n{bounds}"));
        Held { fake, torana, go }
    }

    fn client(&self) -> RawClient {
        self.torana.client_of(self.fake.address())
    }

    /// A client whose `command` holds the one connection for ordinary work.
    fn holder(&self, command: &str) -> RawClient {
        let mut client = self.client();
        client.send_command("test", doc! { command: "c", "hold": true });
        self.fake.wait_requests(command, 1);
        client
    }

    /// A client whose `command` waits for a connection.
    fn waiter(&self, command: Document) -> RawClient {
        let before = self.waiting();
        let mut client = self.client();
        client.send_command("test", command);
        wait_until("it waits", SOON, || self.waiting() == before + 1.0);
        client
    }

    fn waiting(&self) -> f64 {
        self.torana.metric("torana_pool_waiting", &[])
    }

    fn ended_by(&self, end: &str) -> f64 {
        self.torana.metric("torana_orphans_total", &[&format!("\"{end}\"")])
    }
}

fn labels(reply: &Document) -> Vec<&str> {
    let labels = reply.get_array("errorLabels").map(Vec::as_slice).unwrap_or_default();
    labels.iter().filter_map(|label| label.as_str()).collect()
}

fn session() -> Document {
    doc! { "id": Uuid::new() }
}

#[test]
fn a_full_queue_answers_exceeded_time_limit_at_once_with_the_labels_that_fit() {
    let held = Held::start("wait_queue_max = 1");
    let _holder = held.holder("find");
    let _waiter = held.waiter(doc! { "ping": 1 });
    let overload = ["SystemOverloadedError", "RetryableError"];
    let statement = doc! { "insert": "c", "lsid": session(), "txnNumber": 1i64 };
    let mut starts = statement.clone();
    starts.extend(doc! { "startTransaction": true, "autocommit": false });
    for (command, label) in [
        (doc! { "count": "c" }, None),
        (statement, Some("RetryableWriteError")),
        (starts, Some("TransientTransactionError")),
    ] {
        let asked = Instant::now();
        let reply = held.client().command("test", command.clone());
        assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
        assert_eq!(reply.get_i32("code").ok(), Some(262), "{command} was answered {reply}");
        let expected: Vec<&str> = label.into_iter().chain(overload).collect();
        assert_eq!(labels(&reply), expected, "{command}");
    }
    assert!(held.fake.requests("count").is_empty() && held.fake.requests("insert").is_empty());
    assert_eq!(held.torana.metric("torana_pool_wait_queue_full_total", &[]), 3.0);
}

#[test]
fn a_wait_that_is_too_long_answers_exceeded_time_limit_and_was_never_sent() {
    let held = Held::start("wait_timeout = \"300ms\"");
    let _holder = held.holder("find");
    let asked = Instant::now();
    let reply = held.client().command("test", doc! { "count": "c" });
    assert!((300..3_000).contains(&asked.elapsed().as_millis()), "{:?}", asked.elapsed());
    assert_eq!(reply.get_i32("code").ok(), Some(262), "{reply}");
    assert_eq!(labels(&reply), ["SystemOverloadedError", "RetryableError"]);
    let text = reply.get_str("errmsg").unwrap();
    let listen = held.torana.listener_of(held.fake.address());
    assert!(
        text.contains("torana") && text.contains(listen) && !text.contains(held.fake.address()),
        "{text}"
    );
    assert!(held.fake.requests("count").is_empty());
    assert_eq!(held.torana.metric("torana_pool_wait_timeouts_total", &[]), 1.0);
}

#[test]
fn a_commit_that_waited_too_long_is_not_called_transient() {
    let held = Held::start("wait_timeout = \"200ms\"");
    let _holder = held.holder("find");
    let commit = doc! {
        "commitTransaction": 1, "lsid": session(), "txnNumber": 1i64, "autocommit": false, "hold": true,
    };
    // Takes the connection that is kept for those who hold something.
    let mut first = held.client();
    first.send_command("admin", commit.clone());
    held.fake.wait_requests("commitTransaction", 1);
    let reply = held.client().command("admin", commit);
    assert_eq!(reply.get_i32("code").ok(), Some(262), "{reply}");
    assert_eq!(labels(&reply), ["RetryableWriteError", "SystemOverloadedError", "RetryableError"]);
}

#[test]
fn a_request_whose_own_time_passed_in_the_queue_is_answered_so_and_never_sent() {
    let held = Held::start("");
    let _holder = held.holder("find");
    let asked = Instant::now();
    let reply = held.client().command("test", doc! { "count": "c", "maxTimeMS": 250 });
    assert!((250..3_000).contains(&asked.elapsed().as_millis()), "{:?}", asked.elapsed());
    assert_eq!(reply.get_i32("code").ok(), Some(50), "{reply}");
    held.go.store(true, Ordering::Release);
    held.client().run("test", doc! { "ping": 1 });
    assert!(held.fake.requests("count").is_empty());
}

#[test]
fn a_client_that_leaves_while_it_waits_leaves_the_queue_and_its_request_is_never_sent() {
    let held = Held::start("");
    let _holder = held.holder("find");
    let leaves = held.waiter(doc! { "count": "c" });
    let mut stays = held.waiter(doc! { "ping": 1 });
    drop(leaves);
    wait_until("it has left the queue", SOON, || held.waiting() == 1.0);
    held.go.store(true, Ordering::Release);
    assert_eq!(stays.read().body().get_str("name").ok(), Some("ping"));
    assert!(held.fake.requests("count").is_empty());
    assert_eq!(held.torana.metric("torana_clients_ended_total", &["abandoned"]), 1.0);
}

#[test]
fn a_write_that_wants_no_reply_is_sent_though_its_client_left_while_it_waited() {
    let held = Held::start("");
    let _holder = held.holder("find");
    let mut writer = held.client();
    let insert = doc! { "insert": "c", "writeConcern": { "w": 0 }, "$db": "test" };
    writer.send_msg(MORE_TO_COME, &[Section::Body(insert)]);
    drop(writer);
    wait_until("it waits", SOON, || held.waiting() == 1.0);
    held.go.store(true, Ordering::Release);
    held.fake.wait_requests("insert", 1);
    wait_until("its client has ended", SOON, || {
        held.torana.metric("torana_clients_ended_total", &["clean"]) == 1.0
    });
}

#[test]
fn a_request_behind_one_that_is_refused_in_the_queue_is_read_from_its_beginning() {
    // A pool of 2 has no share for those who await: this getMore is sliced.
    let held = Held::start("wait_timeout = \"300ms\"");
    let _holder = held.holder("find");
    let mut client = held.client();
    let more = client.send_command("test", doc! { "getMore": 5i64, "collection": "c", "maxTimeMS": 60_000 });
    let count = client.send_command("test", doc! { "count": "c" });
    for id in [more, count] {
        let reply = client.read();
        assert_eq!((reply.response_to(), reply.body().get_i32("code").ok()), (id, Some(262)));
    }
    held.go.store(true, Ordering::Release);
    client.run("test", doc! { "ping": 1 });
}

#[test]
fn those_who_wait_are_served_in_the_order_in_which_they_came() {
    let held = Held::start("");
    let _holder = held.holder("find");
    let mut waiters: Vec<RawClient> = (0..4).map(|n| held.waiter(doc! { "ping": 1, "n": n })).collect();
    held.go.store(true, Ordering::Release);
    for (n, waiter) in waiters.iter_mut().enumerate() {
        assert_eq!(waiter.read().body().get_i32("n").ok(), Some(n as i32));
    }
    let order: Vec<i32> =
        held.fake.requests("ping").iter().map(|seen| seen.message.body().get_i32("n").unwrap()).collect();
    assert_eq!(order, [0, 1, 2, 3]);
}

#[test]
fn whoever_frees_others_does_not_wait_behind_them() {
    let held = Held::start("");
    let _holder = held.holder("find");
    let _waiter = held.waiter(doc! { "ping": 1 });
    for command in [
        doc! { "killCursors": "c", "cursors": [1i64] },
        doc! { "endSessions": [session()] },
        doc! { "killOp": 1, "op": 1 },
        doc! { "currentOp": 1 },
        doc! { "aggregate": 1, "pipeline": [{ "$currentOp": {} }] },
        doc! { "fsyncUnlock": 1 },
        doc! { "serverStatus": 1 },
        doc! { "abortTransaction": 1, "lsid": session(), "txnNumber": 1i64, "autocommit": false },
        doc! { "commitTransaction": 1, "lsid": session(), "txnNumber": 1i64, "autocommit": false },
    ] {
        let mut client = held.client();
        client.set_timeout(SOON);
        client.run("admin", command);
    }
    assert!(held.fake.requests("ping").is_empty());
}

#[test]
fn get_mores_leave_the_reserve_to_those_who_free_others() {
    let held = Held::start("");
    let _holder = held.holder("find");
    let _reader = held.waiter(doc! { "getMore": 5i64, "collection": "c" });
    let mut client = held.client();
    let transaction = doc! { "lsid": session(), "txnNumber": 1i64, "autocommit": false };
    let mut commit = doc! { "commitTransaction": 1 };
    commit.extend(transaction);
    client.run("admin", commit);
    assert!(held.fake.requests("getMore").is_empty());
}

#[test]
fn nobody_gets_the_connection_on_which_an_unacknowledged_write_still_runs() {
    let held = Held::start("");
    let mut writer = held.client();
    let insert = doc! { "insert": "c", "hold": true, "writeConcern": { "w": 0 }, "$db": "test" };
    writer.send_msg(MORE_TO_COME, &[Section::Body(insert)]);
    held.fake.wait_requests("insert", 1);
    let of_writer = held.fake.requests("insert")[0].connection;
    // The reserve's connection serves whoever frees others; nobody waits behind the write on its connection.
    let reply = held.client().run("admin", doc! { "killOp": 1, "op": 1 });
    assert_ne!(reply.get_i32("connection").ok(), Some(of_writer));
    let next = writer.send_command("test", doc! { "ping": 1, "n": 7 });
    std::thread::sleep(Duration::from_millis(100));
    assert!(held.fake.requests("ping").is_empty(), "a client's requests run one after the other");
    held.go.store(true, Ordering::Release);
    // The write's own reply is nobody's: what comes first answers the ping.
    let reply = writer.read();
    assert_eq!((reply.response_to(), reply.body().get_i32("n").ok()), (next, Some(7)));
}

#[test]
fn a_request_without_a_reply_never_allows_the_server_several() {
    let held = Held::start("");
    let mut client = held.client();
    let more = doc! { "getMore": 5i64, "collection": "c", "$db": "test" };
    client.send_msg(MORE_TO_COME | EXHAUST_ALLOWED, &[Section::Body(more)]);
    client.run("test", doc! { "ping": 1 });
    let seen = &held.fake.requests("getMore")[0].message;
    assert_eq!(seen.raw[16..20], [0; 4], "it asks for one reply");
}

#[test]
fn an_unacknowledged_write_that_finds_no_primary_ends_its_own_client_and_no_other() {
    let fake = FakeServer::start(|peer, request| match name_of(request).as_str() {
        "insert" => peer.reply(request, doc! { "ok": 0.0, "code": 10107, "errmsg": "not primary" }),
        _ => peer.ok(request),
    });
    let torana = torana_with(&fake.uri(), "[pool]\nmax = 2");
    let mut other = torana.client_of(fake.address());
    let mut writer = torana.client_of(fake.address());
    let insert = doc! { "insert": "c", "writeConcern": { "w": 0 }, "$db": "test" };
    writer.send_msg(MORE_TO_COME, &[Section::Body(insert)]);
    assert_eq!(writer.read_to_close(), b"");
    other.run("test", doc! { "ping": 1 });
}

#[test]
fn a_client_that_is_slow_to_take_a_large_reply_holds_up_nobody() {
    let fake = FakeServer::start(|peer, request| match name_of(request).as_str() {
        "find" => peer.reply(request, doc! { "data": "x".repeat(12_000_000), "ok": 1.0 }),
        _ => peer.ok(request),
    });
    let torana = torana_with(&fake.uri(), "[pool]\nmax = 2");
    let mut slow = torana.client_of(fake.address());
    slow.send_command("test", doc! { "find": "c" });
    fake.wait_requests("find", 1);
    let asked = Instant::now();
    let mut other = torana.client_of(fake.address());
    other.run("test", doc! { "ping": 1 });
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    assert_eq!(torana.metric("torana_replies_spooled_total", &[]), 1.0);
    assert!(torana.metric("torana_reply_buffer_bytes", &[]) > 1e6);
    assert_eq!(slow.read().body().get_str("data").unwrap().len(), 12_000_000);
    wait_until("its memory is free", SOON, || torana.metric("torana_reply_buffer_bytes", &[]) == 0.0);
}

#[test]
fn without_memory_for_it_a_client_that_drips_is_ended_in_time() {
    let fake = FakeServer::start(|peer, request| match name_of(request).as_str() {
        "find" => peer.reply(request, doc! { "data": "x".repeat(12_000_000), "ok": 1.0 }),
        _ => peer.ok(request),
    });
    let bounds = "[pool]\nmax = 2\n[limits]\nreply_buffer_max = \"0KiB\"\nclient_write_timeout = \"1s\"";
    let torana = torana_with(&fake.uri(), bounds);
    let mut slow = torana.client_of(fake.address());
    slow.send_command("test", doc! { "find": "c" });
    fake.wait_requests("find", 1);
    let enough = Arc::new(AtomicBool::new(false));
    let stop = enough.clone();
    let dripping = std::thread::spawn(move || {
        use std::io::Read;
        let mut part = [0; 1000];
        while !stop.load(Ordering::Acquire) && slow.stream().read(&mut part).is_ok_and(|n| n > 0) {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let mut other = torana.client_of(fake.address());
    other.run("test", doc! { "ping": 1 });
    wait_until("it has ended", SOON, || torana.metric("torana_clients_ended_total", &["slow_reader"]) == 1.0);
    assert_eq!(torana.metric("torana_replies_spooled_total", &[]), 0.0);
    enough.store(true, Ordering::Release);
    dripping.join().unwrap();
}

#[test]
fn writes_of_clients_that_left_take_at_most_a_quarter_of_the_pool() {
    let held = Held::start("");
    // The second one takes the reserve, as a statement of an open transaction does.
    let transaction = doc! { "lsid": session(), "txnNumber": 1i64, "autocommit": false };
    let mut owner = held.client();
    let mut start = doc! { "insert": "c", "startTransaction": true };
    start.extend(transaction.clone());
    owner.run("test", start);
    let holder = held.holder("update");
    let mut statement = doc! { "delete": "c", "hold": true };
    statement.extend(transaction);
    owner.send_command("test", statement);
    held.fake.wait_requests("delete", 1);
    drop(holder);
    drop(owner);
    wait_until("the one too many is left to the server", SOON, || held.ended_by("closed") == 1.0);
    held.go.store(true, Ordering::Release);
    wait_until("the other is drained", SOON, || held.ended_by("drained") == 1.0);
}

#[test]
fn a_client_that_leaves_while_the_server_takes_nothing_frees_its_connection() {
    let held = Held::start("");
    let _holder = held.holder("find");
    held.client().run("admin", doc! { "killOp": 1, "op": 1 });
    let mut sender = held.client();
    let mut first = doc! { "abortTransaction": 1, "hold": true, "lsid": session(), "txnNumber": 1i64 };
    first.insert("autocommit", false);
    first.insert("data", "x".repeat(14_000_000));
    held.fake.stop_reading(true);
    sender.send_command("admin", first);
    wait_until("both are out", SOON, || held.torana.metric("torana_pool_connections_out", &[]) == 2.0);
    drop(sender);
    wait_until("its connection is closed", SOON, || {
        held.torana.metric("torana_pool_connections_out", &[]) == 1.0
    });
    held.fake.stop_reading(false);
    assert!(held.fake.requests("abortTransaction").is_empty(), "half a request never runs");
}

#[test]
fn statements_of_an_open_transaction_do_not_wait_behind_others_and_its_first_does() {
    let held = Held::start("");
    let transaction = doc! { "lsid": session(), "txnNumber": 1i64, "autocommit": false };
    let statement = |more: Document| {
        let mut command = doc! { "insert": "c" };
        command.extend(transaction.clone());
        command.extend(more);
        command
    };
    let mut owner = held.client();
    owner.run("test", statement(doc! { "startTransaction": true }));
    let _holder = held.holder("find");
    owner.run("test", statement(doc! {}));
    let mut starts = statement(doc! { "startTransaction": true });
    starts.insert("txnNumber", 2i64);
    let _waits = held.waiter(starts);
    assert_eq!(held.fake.requests("insert").len(), 2);
}

#[test]
fn the_read_of_a_client_that_left_is_ended_by_closing_its_connection() {
    let held = Held::start("");
    let holder = held.holder("find");
    let left = Instant::now();
    drop(holder);
    wait_until("the read is ended", Duration::from_secs(2), || held.ended_by("closed") == 1.0);
    assert!(left.elapsed() < Duration::from_secs(2), "{:?}", left.elapsed());
    // Its place is free, while the server still runs it.
    let reply = held.client().run("test", doc! { "ping": 1 });
    assert_ne!(reply.get_i32("connection").ok(), Some(held.fake.requests("find")[0].connection));
}

#[test]
fn the_write_of_a_client_that_left_runs_to_its_end_and_keeps_its_place_until_then() {
    let held = Held::start("");
    let holder = held.holder("insert");
    drop(holder);
    let mut waiter = held.waiter(doc! { "ping": 1 });
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!((held.waiting(), held.ended_by("closed")), (1.0, 0.0));
    held.go.store(true, Ordering::Release);
    let reply = waiter.read().body();
    let held_by_write = held.fake.requests("insert")[0].connection;
    assert_eq!(reply.get_i32("connection").ok(), Some(held_by_write), "{reply}");
    assert_eq!(held.ended_by("drained"), 1.0);
}

#[test]
fn a_reply_that_comes_soon_after_its_client_left_is_discarded_and_its_connection_kept() {
    let held = Held::start("[limits]\nabandoned_grace = \"5s\"");
    let holder = held.holder("find");
    drop(holder);
    wait_until("torana has seen it", SOON, || {
        held.torana.metric("torana_clients_ended_total", &["abandoned"]) == 1.0
    });
    held.go.store(true, Ordering::Release);
    wait_until("the reply is discarded", SOON, || held.ended_by("discarded") == 1.0);
    let reply = held.client().run("test", doc! { "ping": 1, "n": 3 });
    assert_eq!(reply.get_i32("n").ok(), Some(3));
    assert_eq!(reply.get_i32("connection").ok(), Some(held.fake.requests("find")[0].connection));
}

/// A server on which reads run until killOp, which must name operation 77.
fn running_until_killed() -> FakeServer {
    let gate = AtomicBool::new(false);
    FakeServer::start(move |peer, request| match name_of(request).as_str() {
        "find" | "getMore" => {
            while !gate.load(Ordering::Acquire) {
                std::thread::sleep(Duration::from_millis(2));
            }
            peer.ok(request)
        }
        "aggregate" => {
            let cursor = doc! { "id": 0i64, "ns": "admin.$cmd.aggregate", "firstBatch": [{ "opid": 77 }] };
            peer.reply(request, doc! { "cursor": cursor, "ok": 1.0 })
        }
        "killOp" => {
            gate.store(true, Ordering::Release);
            peer.ok(request)
        }
        _ => peer.ok(request),
    })
}

/// Has a client send `command`, which is called `name`, and leave; waits until it was killed, and counted as ended by
/// `end`. Returns the torana that did so.
fn is_killed(fake: &FakeServer, limits: &str, command: Document, end: &str) -> Torana {
    let name = command.keys().next().unwrap().clone();
    let torana = torana_with(&fake.uri(), &format!("{limits}\n[pool]\nmax = 2"));
    let mut client = torana.client_of(fake.address());
    client.send_command("test", command);
    fake.wait_requests(&name, 1);
    drop(client);
    fake.wait_requests("killOp", 1);
    assert_eq!(fake.requests("killOp")[0].message.body().get_i64("op").ok(), Some(77));
    let read = fake.requests(&name)[0].connection;
    let asked = fake.requests("aggregate")[0].message.body();
    let filter =
        asked.get_array("pipeline").unwrap()[1].as_document().unwrap().get_document("$match").unwrap();
    assert_eq!(filter.get_i64("connectionId").ok(), Some(i64::from(read)));
    let ended = || torana.metric("torana_orphans_total", &[&format!("\"{end}\"")]);
    wait_until("it is counted", SOON, || ended() == 1.0);
    torana
}

#[test]
fn above_the_rate_of_closes_a_read_is_ended_by_its_number_and_its_connection_kept() {
    let fake = running_until_killed();
    let _torana = is_killed(&fake, "[limits]\norphan_closes_per_second = 0", doc! { "find": "c" }, "killed");
    assert_eq!(fake.serving(), 2);
}

#[test]
fn a_read_that_runs_on_when_its_connection_was_closed_is_ended_by_its_number() {
    let fake = running_until_killed();
    let _torana = is_killed(&fake, "", doc! { "find": "c" }, "closed");
    assert_eq!(fake.serving(), 1);
}

#[test]
fn a_get_more_is_ended_by_its_number_since_mongod_does_not_notice_that_its_client_left() {
    let fake = running_until_killed();
    let _torana = is_killed(&fake, "", doc! { "getMore": 5i64, "collection": "c" }, "killed");
    assert_eq!(fake.serving(), 2);
}

#[test]
fn a_get_more_that_would_wait_for_long_is_asked_for_in_rounds_of_a_second() {
    let fake = FakeServer::start(|peer, request| match name_of(request).as_str() {
        "getMore" => {
            let wait = request.body().get_i64("maxTimeMS").unwrap();
            assert!(wait <= 1_000, "{wait}");
            std::thread::sleep(Duration::from_millis(wait as u64));
            let cursor = doc! { "id": 5i64, "ns": "test.c", "nextBatch": [] };
            peer.reply(request, doc! { "cursor": cursor, "ok": 1.0 })
        }
        _ => peer.ok(request),
    });
    let torana = torana_with(&fake.uri(), "[pool]\nmax = 8");
    let mut client = torana.client_of(fake.address());
    let asked = Instant::now();
    client.run("test", doc! { "getMore": 5i64, "collection": "c", "maxTimeMS": 2_500 });
    assert!(asked.elapsed() >= Duration::from_millis(2_500), "{:?}", asked.elapsed());
    // Three, and one for a millisecond that a clock was off.
    assert!((3..=4).contains(&fake.requests("getMore").len()), "{}", fake.requests("getMore").len());
}

#[test]
fn a_read_on_a_connection_without_a_number_is_ended_by_closing_it_after_all() {
    let fake = FakeServer::start(|peer, request| match name_of(request).as_str() {
        "find" => Then::Next,
        _ => peer.ok(request),
    });
    fake.hide_connections();
    let torana = torana_with(&fake.uri(), "[limits]\norphan_closes_per_second = 0\n[pool]\nmax = 2");
    let mut client = torana.client_of(fake.address());
    client.send_command("test", doc! { "find": "c" });
    fake.wait_requests("find", 1);
    drop(client);
    let closed = || torana.metric("torana_orphans_total", &["\"closed\""]);
    wait_until("it is closed", SOON, || closed() == 1.0);
    assert!(fake.requests("aggregate").is_empty(), "nobody can be found by no number");
}

#[test]
fn a_transaction_that_nobody_uses_is_aborted_unless_it_may_be_committed() {
    let fake = FakeServer::answering();
    let torana = torana_with(&fake.uri(), "[limits]\ntransaction_orphan_timeout = \"1s\"");
    let statement = |name: &str, session: &Document, more: Document| {
        let mut command = doc! { name: "c", "lsid": session.clone(), "txnNumber": 7i64, "autocommit": false };
        command.extend(more);
        command
    };
    let (orphaned, shared, committing) = (session(), session(), session());
    let mut stays = torana.client_of(fake.address());
    let mut leaves = torana.client_of(fake.address());
    for session in [&orphaned, &shared, &committing] {
        leaves.run("test", statement("insert", session, doc! { "startTransaction": true }));
    }
    stays.run("test", statement("insert", &shared, doc! {}));
    fake.script(|peer, request| match name_of(request).as_str() {
        "commitTransaction" => support::Then::Next,
        _ => peer.ok(request),
    });
    leaves.send_command("admin", statement("commitTransaction", &committing, doc! {}));
    fake.wait_requests("commitTransaction", 1);
    drop(leaves);
    fake.wait_requests("abortTransaction", 1);
    // Long enough for the sweep to take another, if there were one.
    std::thread::sleep(Duration::from_millis(2_500));
    let aborts = fake.requests("abortTransaction");
    assert_eq!(aborts.len(), 1);
    let abort = aborts[0].message.body();
    assert_eq!(abort.get_document("lsid").unwrap(), &orphaned);
    assert_eq!((abort.get_i64("txnNumber").ok(), abort.get_bool("autocommit").ok()), (Some(7), Some(false)));
    assert_eq!(torana.metric("torana_orphans_total", &["\"aborted\""]), 1.0);
}

#[test]
fn an_abort_that_could_not_be_done_is_tried_again() {
    let fake = FakeServer::answering();
    let torana = torana_with(&fake.uri(), "[limits]\ntransaction_orphan_timeout = \"1s\"");
    let mut leaves = torana.client_of(fake.address());
    let statement = doc! { "insert": "c", "lsid": session(), "txnNumber": 7i64, "autocommit": false, "startTransaction": true };
    leaves.run("test", statement);
    fake.script(|_, _| support::Then::Close);
    drop(leaves);
    fake.wait_requests("abortTransaction", 1);
    assert_eq!(torana.metric("torana_orphans_total", &["\"aborted\""]), 0.0);
    fake.script(|peer, request| peer.ok(request));
    fake.wait_requests("abortTransaction", 2);
    let aborted = || torana.metric("torana_orphans_total", &["\"aborted\""]);
    wait_until("it is aborted", SOON, || aborted() == 1.0);
    std::thread::sleep(Duration::from_millis(2_500));
    assert_eq!(fake.requests("abortTransaction").len(), 2, "once done, it is done");
}

#[test]
fn every_client_shares_the_pool_and_none_opens_a_connection_of_its_own() {
    let fake = FakeServer::answering();
    let torana = torana_with(&fake.uri(), "[pool]\nmax = 4");
    let clients: Vec<_> = (0..40)
        .map(|n| {
            let mut client = torana.client_of(fake.address());
            std::thread::spawn(move || {
                for i in 0..25 {
                    let sent = n * 100 + i;
                    let reply = client.run("test", doc! { "ping": 1, "n": sent });
                    assert_eq!(reply.get_i32("n").ok(), Some(sent));
                }
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    let mut used: Vec<i32> = fake.requests("ping").iter().map(|seen| seen.connection).collect();
    assert_eq!(used.len(), 1_000);
    used.sort_unstable();
    used.dedup();
    assert!(used.len() <= 4, "{} connections", used.len());
}

/// A server whose getMores are answered by `answer`, which is given their number, behind a torana whose pool of 2 has
/// no share for those who await: they are sliced.
fn sliced(answer: impl Fn(usize, &Document) -> Document + Send + Sync + 'static) -> (FakeServer, Torana) {
    let asked = AtomicUsize::new(0);
    let fake = FakeServer::start(move |peer, request| match name_of(request).as_str() {
        "getMore" => {
            let nth = asked.fetch_add(1, Ordering::Relaxed) + 1;
            peer.reply(request, answer(nth, &request.query_or_body()))
        }
        _ => peer.ok(request),
    });
    let torana = torana_with(&fake.uri(), "[pool]\nmax = 2");
    (fake, torana)
}

fn nothing_yet() -> Document {
    doc! { "cursor": { "id": 5i64, "ns": "test.c", "nextBatch": [] }, "ok": 1.0 }
}

fn not_found() -> Document {
    doc! { "ok": 0.0, "errmsg": "cursor id 5 not found", "code": 43, "codeName": "CursorNotFound" }
}

#[test]
fn a_cursor_that_is_killed_between_two_rounds_ends_as_one_that_is_killed_while_it_waits() {
    let more = doc! { "getMore": 5i64, "collection": "c", "maxTimeMS": 10_000 };
    let (_fake, torana) = sliced(|nth, _| if nth < 3 { nothing_yet() } else { not_found() });
    let mut client = torana.client_of(_fake.address());
    let reply = client.command("test", more.clone());
    assert_eq!(reply.get_i32("code").ok(), Some(237), "{reply}");
    let text = "Executor error during getMore :: caused by :: operation was interrupted";
    assert_eq!(reply.get_str("errmsg").ok(), Some(text));
    // Not there from the beginning is what it is on a server, and drivers resume it.
    let reply = client.command("test", more);
    assert_eq!(reply.get_i32("code").ok(), Some(43), "{reply}");
}

#[test]
fn a_cursor_that_only_seemed_to_await_goes_on_as_it_is() {
    let (fake, torana) = sliced(|nth, asked| {
        if nth == 1 {
            std::thread::sleep(Duration::from_millis(1_000));
            return nothing_yet();
        }
        match asked.contains_key("maxTimeMS") {
            true => {
                doc! { "ok": 0.0, "errmsg": "cannot set maxTimeMS on getMore command for a non-awaitData cursor", "code": 2 }
            }
            false => nothing_yet(),
        }
    });
    let mut client = torana.client_of(fake.address());
    for _ in 0..3 {
        client.run("test", doc! { "getMore": 5i64, "collection": "c" });
    }
    let limits: Vec<bool> =
        fake.requests("getMore").iter().map(|seen| seen.message.body().contains_key("maxTimeMS")).collect();
    assert_eq!(limits, [false, true, false, false], "tried once, and told");
}

#[test]
fn a_cursor_that_nobody_knows_is_seen_to_await_and_killed_ones_are_forgotten() {
    let (fake, torana) = sliced(|_, asked| {
        let limit = asked.get_i64("maxTimeMS").unwrap_or(1_000);
        std::thread::sleep(Duration::from_millis(limit as u64));
        nothing_yet()
    });
    let mut client = torana.client_of(fake.address());
    let more = doc! { "getMore": 5i64, "collection": "c" };
    client.run("test", more.clone());
    let rounds = || torana.metric("torana_pool_sliced_rounds_total", &[]);
    assert_eq!(rounds(), 0.0, "opened through another torana: not known yet");
    client.run("test", more.clone());
    assert!(rounds() > 2.0, "{}", rounds());
    client.run("test", doc! { "killCursors": "c", "cursors": [5i64] });
    let before = rounds();
    client.run("test", more);
    assert_eq!(rounds(), before);
}

#[test]
fn those_who_go_by_rounds_ask_a_few_at_a_time_without_waiting_and_no_more_often_than_they_need_to() {
    // Of a pool of 16, 4 connections are for those who wait on the server; 2 of the 16 others may ask at once.
    let (at_once, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let peak = most.clone();
    let fake = FakeServer::start(move |peer, request| {
        if name_of(request) != "getMore" {
            return peer.ok(request);
        }
        let limit = request.body().get_i64("maxTimeMS").unwrap();
        if limit > 1 {
            std::thread::sleep(Duration::from_millis(limit as u64));
        } else {
            peak.fetch_max(at_once.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(1));
            at_once.fetch_sub(1, Ordering::SeqCst);
        }
        peer.reply(request, nothing_yet())
    });
    let torana = torana_with(&fake.uri(), "[pool]\nmax = 16");
    let more = doc! { "getMore": 5i64, "collection": "c", "maxTimeMS": 600i64 };
    let mut clients: Vec<RawClient> = (0..20).map(|_| torana.client_of(fake.address())).collect();
    for client in &mut clients {
        client.send_command("test", more.clone());
    }
    for client in &mut clients {
        assert_eq!(client.read().body(), nothing_yet());
    }
    let limits: Vec<i64> = fake
        .requests("getMore")
        .iter()
        .map(|seen| seen.message.body().get_i64("maxTimeMS").unwrap())
        .filter(|limit| *limit <= 1)
        .collect();
    assert!(limits.iter().all(|limit| *limit == 0), "{limits:?}");
    assert_eq!(most.load(Ordering::SeqCst), 2);
    // Every 50 ms of the 600, at most.
    assert!((16..=16 * 13).contains(&limits.len()), "{} rounds", limits.len());
}

#[test]
fn whoever_gets_no_turn_to_ask_is_answered_by_what_it_was_told_last_or_refused() {
    // A pool of 2 has one turn. Whoever has it is slow to be answered once the gate is shut.
    let (shut, gate) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (is_shut, is_open) = (shut.clone(), gate.clone());
    let fake = FakeServer::start(move |peer, request| {
        if name_of(request) != "getMore" {
            return peer.ok(request);
        }
        while is_shut.load(Ordering::Acquire) && !is_open.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(2));
        }
        peer.reply(request, nothing_yet())
    });
    let torana = torana_with(&fake.uri(), "[pool]\nmax = 2\nwait_timeout = \"2s\"");
    let more = |millis: i64| doc! { "getMore": 5i64, "collection": "c", "maxTimeMS": millis };
    let mut asked = torana.client_of(fake.address());
    asked.send_command("test", more(1_000));
    fake.wait_requests("getMore", 1);
    let began = Instant::now();
    shut.store(true, Ordering::Release);
    let mut holder = torana.client_of(fake.address());
    holder.send_command("test", more(60_000));
    std::thread::sleep(Duration::from_millis(200));
    let mut late = torana.client_of(fake.address());
    late.send_command("test", more(60_000));
    assert_eq!(asked.read().body(), nothing_yet());
    let took = began.elapsed();
    assert!(took < Duration::from_millis(1_800), "its own time, and no more: {took:?}");
    let reply = late.read().body();
    assert_eq!(reply.get_i32("code").ok(), Some(262), "{reply}");
    assert_eq!(labels(&reply), ["SystemOverloadedError", "RetryableError", "ResumableChangeStreamError"]);
    assert!(began.elapsed() < Duration::from_secs(4), "it waited once: {:?}", began.elapsed());
    gate.store(true, Ordering::Release);
}

#[test]
fn a_get_more_that_asks_not_to_wait_does_not() {
    let fake = FakeServer::start(|peer, request| match name_of(request).as_str() {
        "find" => {
            let cursor = doc! { "id": 5i64, "ns": "test.c", "firstBatch": [] };
            peer.reply(request, doc! { "cursor": cursor, "ok": 1.0 })
        }
        "getMore" => peer.reply(request, nothing_yet()),
        _ => peer.ok(request),
    });
    // A pool of 2 has no share for those who await.
    let torana = torana_with(&fake.uri(), "[pool]\nmax = 2");
    let mut client = torana.client_of(fake.address());
    client.run("test", doc! { "find": "c", "tailable": true, "awaitData": true });
    for (millis, expected) in [(500, 500), (0, 0)] {
        let began = Instant::now();
        client.run("test", doc! { "getMore": 5i64, "collection": "c", "maxTimeMS": millis });
        let took = began.elapsed().as_millis();
        assert!((expected..expected + 400).contains(&took), "{millis}: {took} ms");
    }
}

#[test]
fn a_get_more_that_awaits_and_finds_no_connection_says_that_its_stream_may_be_resumed() {
    let held = Held::start("wait_timeout = \"200ms\"");
    let _holder = held.holder("find");
    let reply =
        held.client().command("test", doc! { "getMore": 5i64, "collection": "c", "maxTimeMS": 60_000 });
    assert_eq!(reply.get_i32("code").ok(), Some(262), "{reply}");
    assert_eq!(labels(&reply), ["SystemOverloadedError", "RetryableError", "ResumableChangeStreamError"]);
}

#[test]
fn the_time_that_an_exhaust_get_more_lets_the_server_wait_does_not_pass_in_the_queue() {
    let held = Held::start("");
    let _holder = held.holder("find");
    // A checksum keeps its permission from being struck, so that it waits as what it is.
    let more = doc! { "getMore": 5i64, "collection": "c", "maxTimeMS": 100, "$db": "test" };
    let mut client = held.client();
    client.send_msg(EXHAUST_ALLOWED | CHECKSUM_PRESENT, &[Section::Body(more)]);
    wait_until("it waits", SOON, || held.waiting() == 1.0);
    std::thread::sleep(Duration::from_millis(400));
    held.go.store(true, Ordering::Release);
    let reply = client.read().body();
    assert_eq!(reply.get_str("name").ok(), Some("getMore"), "{reply}");
}

#[test]
fn a_client_that_leaves_many_transactions_does_not_stand_before_the_commits_of_others() {
    // Aborts take a while; of a pool of 8, at most 4 connections are theirs.
    let fake = FakeServer::start(|peer, request| {
        if name_of(request) == "abortTransaction" {
            std::thread::sleep(Duration::from_millis(100));
        }
        peer.ok(request)
    });
    let bounds = "[pool]\nmax = 8\n[limits]\ntransaction_orphan_timeout = \"1s\"";
    let torana = torana_with(&fake.uri(), bounds);
    let statement = |number: i64, session: &Document| doc! { "find": "c", "lsid": session.clone(), "txnNumber": number, "autocommit": false, "startTransaction": true };
    let mut leaves = torana.client_of(fake.address());
    (0..200).for_each(|_| _ = leaves.run("test", statement(1, &session())));
    let mut stays = torana.client_of(fake.address());
    let open: Vec<Document> = (0..20).map(|_| session()).collect();
    open.iter().for_each(|session| _ = stays.run("test", statement(1, session)));
    drop(leaves);
    fake.wait_requests("abortTransaction", 4);
    let mut longest = Duration::ZERO;
    for session in open {
        let asked = Instant::now();
        let commit = doc! { "commitTransaction": 1, "lsid": session, "txnNumber": 1i64, "autocommit": false };
        stays.run("admin", commit);
        longest = longest.max(asked.elapsed());
    }
    assert!(fake.requests("abortTransaction").len() < 200, "they are still being aborted");
    assert!(longest < Duration::from_millis(90), "{longest:?}");
    let aborted = || torana.metric("torana_orphans_total", &["\"aborted\""]);
    wait_until("all are aborted", Duration::from_secs(20), || aborted() == 200.0);
}
