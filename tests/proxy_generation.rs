//! What makes torana give up connections that nobody has complained of yet, in front of a scripted server.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use bson::{Document, doc};
use support::fake_server::name_of;
use support::{FakeServer, RawClient, Then, Torana};

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
fn a_connection_that_breaks_takes_those_of_its_generation_with_it() {
    let (fake, torana, before) = three_idle(doc! {});
    assert_eq!(insert(&fake, &torana), None);
    assert!(now_serving(&fake, &torana).is_disjoint(&before));
    assert_eq!(torana.metric("torana_pool_clears_total", &[]), 1.0);
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
