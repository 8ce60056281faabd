//! SIGTERM through the torana binary: drivers are told, what runs may end, and the process does.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bson::doc;
use rustix::process::Signal;
use support::fake_hello::process;
use support::fake_server::name_of;
use support::message::EXHAUST_ALLOWED;
use support::{FakeServer, Monitoring, RawClient, Section, Then, Torana, torana_with, wait_until};

const SOON: Duration = Duration::from_secs(10);

/// A server that holds `find` back until the flag is set, and torana in front of it.
fn held_back() -> (FakeServer, Torana, Arc<AtomicBool>) {
    let go = Arc::new(AtomicBool::new(false));
    let gate = go.clone();
    let fake = FakeServer::start(move |peer, request| {
        while name_of(request) == "find" && !gate.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(5));
        }
        peer.ok(request)
    });
    let torana = Torana::serve(fake.uri()).start();
    (fake, torana, go)
}

/// A client whose find is on the server.
fn running(fake: &FakeServer, torana: &Torana) -> RawClient {
    let mut client = torana.client_of(fake.address());
    client.send_command("test", doc! { "find": "c" });
    fake.wait_requests("find", 1);
    client
}

#[test]
fn waiting_hellos_get_shutdown_in_progress_at_once_streamed_or_not() {
    let (fake, mut torana, go) = held_back();
    let _running = running(&fake, &torana);
    let known = doc! { "processId": process(), "counter": 1i64 };
    let hello = doc! { "hello": 1, "topologyVersion": known, "maxAwaitTimeMS": 60_000, "$db": "admin" };
    let mut waiting: Vec<RawClient> = Vec::new();
    for flags in [0, EXHAUST_ALLOWED] {
        let mut client = torana.client_of(fake.address());
        client.send_msg(flags, &[Section::Body(hello.clone())]);
        waiting.push(client);
    }
    wait_until("both hellos wait", SOON, || torana.metric("torana_hellos_waiting", &[]) == 2.0);
    torana.process().signal(Signal::TERM);
    let told = Instant::now();
    for client in &mut waiting {
        let reply = client.read();
        assert_eq!(
            (reply.body().get_i32("code").ok(), reply.more_to_come()),
            (Some(91), false),
            "{}",
            reply.body()
        );
        assert!(told.elapsed() < Duration::from_secs(1), "{:?}", told.elapsed());
    }
    go.store(true, Ordering::Release);
}

#[test]
fn what_runs_comes_to_its_end_and_the_exit_code_is_zero() {
    let (fake, mut torana, go) = held_back();
    let mut client = running(&fake, &torana);
    torana.process().signal(Signal::TERM);
    std::thread::sleep(Duration::from_millis(300));
    assert!(torana.process().ended().is_none());
    let (status, why) = torana.get("/readyz");
    assert!(status == 503 && why.contains("shutting down"), "{status} {why}");
    go.store(true, Ordering::Release);
    assert_eq!(client.read().body().get_str("name").ok(), Some("find"));
    assert!(client.read_to_close().is_empty());
    assert_eq!(torana.process().wait(SOON).and_then(|status| status.code()), Some(0));
}

#[test]
fn new_requests_get_shutdown_in_progress_and_new_connections_are_refused() {
    let (fake, mut torana, go) = held_back();
    let mut other = torana.client_of(fake.address());
    other.run("test", doc! { "ping": 1 });
    let _running = running(&fake, &torana);
    torana.process().signal(Signal::TERM);
    wait_until("new connections are refused", SOON, || {
        RawClient::try_connect(torana.listener_of(fake.address())).is_err()
    });
    let session = doc! { "id": bson::Uuid::new() };
    for (command, label) in [
        (doc! { "ping": 1 }, None),
        (doc! { "insert": "c", "lsid": session.clone(), "txnNumber": 1i64 }, Some("RetryableWriteError")),
        (doc! { "hello": 1 }, None),
    ] {
        let reply = other.command("test", command.clone());
        assert_eq!(reply.get_i32("code").ok(), Some(91), "{command} was answered {reply}");
        let labels = reply.get_array("errorLabels").cloned().unwrap_or_default();
        let has = |label: &str| labels.iter().any(|given| given.as_str() == Some(label));
        assert!(label.is_none_or(has), "{reply}");
    }
    assert!(fake.requests("insert").is_empty());
    go.store(true, Ordering::Release);
    assert_eq!(torana.process().wait(SOON).and_then(|status| status.code()), Some(0));
}

#[test]
fn what_runs_past_the_deadline_is_closed_and_the_exit_code_is_still_zero() {
    let fake = FakeServer::start(|_, _| Then::Next);
    let mut torana = torana_with(&fake.uri(), "[limits]\nshutdown_deadline = \"400ms\"");
    let mut client = running(&fake, &torana);
    let told = Instant::now();
    assert_eq!(torana.stop(SOON).code(), Some(0));
    assert!((400..4_000).contains(&told.elapsed().as_millis()), "{:?}", told.elapsed());
    assert!(client.read_to_close().is_empty());
}

#[test]
fn idle_clients_do_not_hold_up_the_end() {
    let fake = FakeServer::answering();
    let mut torana = Torana::serve(fake.uri()).start();
    let mut idle = torana.client_of(fake.address());
    idle.hello();
    let told = Instant::now();
    assert_eq!(torana.stop(SOON).code(), Some(0));
    assert!(told.elapsed() < Duration::from_secs(3), "{:?}", told.elapsed());
    assert!(idle.read_to_close().is_empty());
}

#[test]
fn it_ends_on_sigterm_before_any_member_was_found() {
    let fake = FakeServer::answering();
    fake.monitoring(Monitoring::Silent);
    let mut torana = Torana::serve(fake.uri()).launch();
    wait_until("it is up", SOON, || torana.log().contains("waiting"));
    assert_eq!(torana.stop(SOON).code(), Some(0));
}

/// The first statement of a transaction of `session`.
fn start(session: &bson::Document) -> bson::Document {
    doc! { "find": "t", "lsid": session.clone(), "txnNumber": 1i64, "startTransaction": true, "autocommit": false }
}

fn session() -> bson::Document {
    doc! { "id": bson::Uuid::new() }
}

/// How long `torana` takes to end on SIGTERM.
fn time_to_end(torana: &mut Torana) -> Duration {
    let told = Instant::now();
    assert_eq!(torana.stop(SOON).code(), Some(0));
    told.elapsed()
}

#[test]
fn a_transaction_that_was_killed_does_not_hold_up_the_end() {
    let fake = FakeServer::answering();
    let one = session();
    for kill in [
        doc! { "killAllSessions": [] },
        doc! { "killSessions": [one.clone()] },
        doc! { "endSessions": [one.clone()] },
    ] {
        let mut torana = Torana::serve(fake.uri()).start();
        let mut client = torana.client_of(fake.address());
        client.run("test", start(&one));
        client.run("admin", kill.clone());
        let took = time_to_end(&mut torana);
        assert!(took < Duration::from_secs(4), "{kill}: {took:?}");
    }
}

#[test]
fn a_transaction_whose_start_was_refused_does_not_hold_up_the_end() {
    let fake = FakeServer::start(|peer, request| {
        peer.reply(
            request,
            doc! { "ok": 0.0, "errmsg": "unknown operator", "code": 2, "codeName": "BadValue" },
        )
    });
    let mut torana = Torana::serve(fake.uri()).start();
    let mut client = torana.client_of(fake.address());
    client.command("test", start(&session()));
    let took = time_to_end(&mut torana);
    assert!(took < Duration::from_secs(4), "{took:?}");
}

#[test]
fn a_transaction_that_was_not_used_for_long_does_not_hold_up_the_end_and_one_in_use_does() {
    let fake = FakeServer::answering();
    let mut torana = torana_with(&fake.uri(), "[limits]\ntransaction_orphan_timeout = \"2s\"");
    let mut client = torana.client_of(fake.address());
    client.run("test", start(&session()));
    let used = Instant::now();
    assert_eq!(torana.stop(SOON).code(), Some(0));
    assert!((1_800..6_000).contains(&used.elapsed().as_millis()), "{:?}", used.elapsed());
}

#[test]
fn transactions_whose_clients_have_gone_are_aborted_during_the_shutdown_too() {
    let (fake, mut torana) = {
        let fake = FakeServer::answering();
        let torana = torana_with(&fake.uri(), "[limits]\ntransaction_orphan_timeout = \"2s\"");
        (fake, torana)
    };
    let mut client = torana.client_of(fake.address());
    client.run("test", start(&session()));
    drop(client);
    torana.process().signal(Signal::TERM);
    fake.wait_requests("abortTransaction", 1);
    assert_eq!(torana.process().wait(SOON).and_then(|status| status.code()), Some(0));
}
#[test]
fn get_mores_that_wait_for_data_end_at_once_sliced_or_not() {
    // A pool of 4 has a share of one for those who await, so that the second is sliced.
    let fake = FakeServer::start(|peer, request| {
        let asked = request.query_or_body();
        if name_of(request) != "getMore" {
            return peer.ok(request);
        }
        let wait = asked.get_i32("maxTimeMS").map(i64::from).or_else(|_| asked.get_i64("maxTimeMS"));
        std::thread::sleep(Duration::from_millis(wait.unwrap_or(1_000) as u64));
        let nothing = doc! { "id": 5i64, "ns": "test.c", "nextBatch": [] };
        peer.reply(request, doc! { "cursor": nothing, "ok": 1.0 })
    });
    let mut torana = torana_with(&fake.uri(), "[pool]\nmax = 4");
    let mut waiting: Vec<RawClient> = (0..2)
        .map(|n| {
            let mut client = torana.client_of(fake.address());
            client.send_command("test", doc! { "getMore": 5i64, "collection": "c", "maxTimeMS": 8_000 });
            fake.wait_requests("getMore", n + 1);
            client
        })
        .collect();
    // Its replies may follow each other for as long as the cursor lives.
    let took = time_to_end(&mut torana);
    assert!(took < Duration::from_secs(3), "{took:?}");
    waiting.iter_mut().for_each(|client| assert!(client.read_to_close().is_empty()));
}
