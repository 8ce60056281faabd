//! What makes torana give up connections that nobody has complained of yet, in front of a scripted server.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bson::{Document, doc};
use support::fake_server::name_of;
use support::message::{CHECKSUM_PRESENT, op_msg};
use support::raw::is_ok;
use support::{FakeServer, Monitoring, RawClient, Section, Then, Torana, torana_with, wait_until};

/// A server whose reply to `insert` is `reply` (or its end, if that is empty), and torana in front of it with three
/// connections idle, whose numbers come back too.
fn three_idle(reply: Document) -> (FakeServer, Torana, BTreeSet<i32>) {
    let fake = FakeServer::start(move |peer, request| match name_of(request).as_str() {
        "insert" if reply.is_empty() => Then::Close,
        "insert" => peer.reply(request, reply.clone()),
        "find" => {
            std::thread::sleep(Duration::from_millis(300));
            peer.ok(request)
        }
        _ => peer.ok(request),
    });
    let torana = Torana::serve(fake.uri()).argument("--pool-max").argument("4").start();
    let mut clients: Vec<RawClient> = (0..3).map(|_| torana.client_of(fake.address())).collect();
    for client in &mut clients {
        client.send_command("test", doc! { "find": "c" });
    }
    let numbers = clients.iter_mut().map(|client| client.read().body().get_i32("connection").unwrap());
    let numbers: BTreeSet<i32> = numbers.collect();
    assert_eq!(numbers.len(), 3);
    (fake, torana, numbers)
}

/// The numbers of the connections that three requests at once are served by.
fn now_serving(fake: &FakeServer, torana: &Torana) -> BTreeSet<i32> {
    let mut clients: Vec<RawClient> = (0..3).map(|_| torana.client_of(fake.address())).collect();
    for client in &mut clients {
        client.send_command("test", doc! { "find": "c" });
    }
    clients.iter_mut().map(|client| client.read().body().get_i32("connection").unwrap()).collect()
}

fn insert(fake: &FakeServer, torana: &Torana) -> Option<Document> {
    torana.client_of(fake.address()).try_command("test", doc! { "insert": "c" }).ok()
}

#[test]
fn a_connection_that_the_server_closes_takes_no_other_with_it() {
    let (fake, torana, before) = three_idle(doc! {});
    assert_eq!(insert(&fake, &torana), None);
    let after = now_serving(&fake, &torana);
    assert_eq!(before.intersection(&after).count(), 2, "{before:?} {after:?}");
    assert_eq!(torana.metric("torana_pool_clears_total", &[]), 0.0);
}

#[test]
fn connections_that_the_server_closed_while_they_were_idle_serve_nobody() {
    let (fake, torana, before) = three_idle(doc! {});
    fake.close_serving();
    assert!(now_serving(&fake, &torana).is_disjoint(&before));
}

#[test]
fn a_request_with_a_wrong_checksum_ends_its_client_and_never_reaches_the_server() {
    let (fake, torana, before) = three_idle(doc! {});
    let mut client = torana.client_of(fake.address());
    let body = Section::Body(doc! { "count": "c", "$db": "test" });
    let mut message = op_msg(1, 0, CHECKSUM_PRESENT, &[body]);
    let last = message.len() - 1;
    message[last] ^= 1;
    client.send(&message);
    let said = client.read_to_close();
    assert!(String::from_utf8_lossy(&said).contains("checksum"), "{}", String::from_utf8_lossy(&said));
    assert!(fake.requests("count").is_empty());
    assert_eq!(now_serving(&fake, &torana), before);
}

#[test]
fn a_member_that_says_that_it_shuts_down_is_left_by_all_connections() {
    let inside = doc! { "n": 1, "writeConcernError": { "code": 91, "errmsg": "x" }, "ok": 1.0 };
    let outside = doc! { "ok": 0.0, "code": 11600, "errmsg": "interrupted at shutdown" };
    for reply in [inside, outside] {
        let (fake, torana, before) = three_idle(reply.clone());
        assert_eq!(insert(&fake, &torana), Some(reply), "passes as it came");
        assert!(now_serving(&fake, &torana).is_disjoint(&before));
    }
}

#[test]
fn a_member_that_is_no_longer_primary_keeps_its_connections() {
    for code in [10107, 13435, 11602, 189] {
        let reply = doc! { "ok": 0.0, "code": code, "errmsg": "not primary" };
        let (fake, torana, before) = three_idle(reply.clone());
        assert_eq!(insert(&fake, &torana), Some(reply), "passes as it came");
        assert_eq!(now_serving(&fake, &torana), before, "{code}");
    }
}

/// A server that answers a find after `delay`, torana in front of it that gives it up after half a second, and a
/// client that has asked.
fn asking(delay: Duration) -> (FakeServer, Torana, RawClient) {
    let fake = FakeServer::start(move |peer, request| {
        if name_of(request) == "find" {
            std::thread::sleep(delay);
        }
        peer.ok(request)
    });
    let torana =
        torana_with(&fake.uri(), "[monitor]\nconnect_timeout = \"500ms\"\npoll_interval = \"100ms\"");
    let mut client = torana.client_of(fake.address());
    client.send_command("test", doc! { "find": "c" });
    fake.wait_requests("find", 1);
    (fake, torana, client)
}

#[test]
fn what_a_silent_member_has_not_answered_is_given_up() {
    let (fake, torana, mut client) = asking(Duration::from_secs(8));
    let mut idle = torana.client_of(fake.address());
    idle.hello();
    fake.monitoring(Monitoring::Silent);
    let silent = Instant::now();
    assert!(client.read_to_close().is_empty());
    assert!(silent.elapsed() < Duration::from_secs(4), "{:?}", silent.elapsed());
    assert_eq!(torana.metric("torana_clients_ended_total", &["member_lost"]), 1.0);
    // It has nothing in flight, so it may stay.
    fake.monitoring(Monitoring::Answers);
    wait_until("the member is back", Duration::from_secs(5), || torana.log().contains("answers again"));
    assert!(is_ok(&idle.hello()));
}

#[test]
fn what_a_member_has_not_answered_goes_on_when_only_its_monitor_is_closed() {
    let (fake, torana, mut client) = asking(Duration::from_secs(2));
    fake.monitoring(Monitoring::Closes);
    wait_until("the member is lost", Duration::from_secs(1), || torana.log().contains("member lost"));
    assert!(is_ok(&client.read().body()));
}
