//! Requests with many replies through the torana binary, in front of a scripted server: each reply must name the one
//! before it, and the connection belongs to its client until the last.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::Duration;

use bson::{Document, doc};
use support::fake_server::name_of;
use support::message::{EXHAUST_ALLOWED, MORE_TO_COME, OP_QUERY, bytes_of, message, op_msg, op_query};
use support::{FakeServer, Message, Peer, RawClient, Section, Then, Torana, wait_until};

const SOON: Duration = Duration::from_secs(10);

/// A server that answers `find` by `script` and all else with ok, torana in front of it, and a client of it.
fn answering_find(
    script: impl Fn(&mut Peer, &Message) -> Then + Send + Sync + 'static,
) -> (FakeServer, Torana, RawClient) {
    behind_pool_of("8", move |peer, request| match name_of(request).as_str() {
        "find" => script(peer, request),
        _ => peer.ok(request),
    })
}

fn behind_pool_of(
    pool_max: &str,
    script: impl Fn(&mut Peer, &Message) -> Then + Send + Sync + 'static,
) -> (FakeServer, Torana, RawClient) {
    let fake = FakeServer::start(script);
    let torana = Torana::serve(fake.uri()).argument("--pool-max").argument(pool_max).start();
    let client = torana.client_of(fake.address());
    (fake, torana, client)
}

fn find(n: i32) -> Document {
    doc! { "find": "c", "n": n }
}

fn body(n: i32) -> [Section; 1] {
    [Section::Body(doc! { "n": n, "ok": 1.0 })]
}

/// Another client is served, over another connection than `broken`.
fn serves_another(fake: &FakeServer, torana: &Torana, broken: i32) {
    let mut other = torana.client_of(fake.address());
    for n in 0..8 {
        let reply = other.run("test", doc! { "ping": 1, "n": n });
        assert_eq!(reply.get_i32("n").ok(), Some(n));
        assert_ne!(reply.get_i32("connection").ok(), Some(broken));
    }
}

/// An OP_REPLY with cursor 5 and one document.
fn batch(response_to: i32, n: i32) -> Vec<u8> {
    let cursor = [8i32.to_le_bytes(), 5i32.to_le_bytes(), [0; 4], [0; 4], 1i32.to_le_bytes()].concat();
    message(response_to + 1, response_to, 1, &[cursor, bytes_of(&doc! { "n": n })].concat())
}

#[test]
fn replies_that_announce_another_pass_in_their_chain_and_hold_one_connection() {
    let (fake, _torana, mut client) = answering_find(|peer, request| {
        let mut response_to = request.request_id();
        for (n, flags) in [(1, MORE_TO_COME), (2, MORE_TO_COME), (3, 0)] {
            let id = peer.next_id();
            peer.send(&op_msg(id, response_to, flags, &body(n)));
            response_to = id;
        }
        Then::Next
    });
    let mut command = find(0);
    command.insert("$db", "test");
    let mut response_to = client.send_msg(1 << 16, &[Section::Body(command)]);
    for n in 1..=3 {
        let reply = client.read();
        assert_eq!((reply.response_to(), reply.body().get_i32("n").ok()), (response_to, Some(n)));
        response_to = reply.request_id();
    }
    let held = fake.requests("find")[0].connection;
    assert_eq!(client.run("test", doc! { "ping": 1 }).get_i32("connection").ok(), Some(held));
}

#[test]
fn a_reply_that_breaks_an_announced_chain_ends_it() {
    let (fake, torana, mut client) = answering_find(|peer, request| {
        let id = peer.next_id();
        peer.send(&op_msg(id, request.request_id(), MORE_TO_COME, &body(1)));
        peer.send(&op_msg(id + 1, id ^ 1, 0, &body(666)))
    });
    let mut command = find(0);
    command.insert("$db", "test");
    client.send_msg(1 << 16, &[Section::Body(command)]);
    assert_eq!(client.read().body().get_i32("n").ok(), Some(1));
    assert!(client.read_to_close().is_empty());
    serves_another(&fake, &torana, fake.requests("find")[0].connection);
    assert_eq!(torana.metric("torana_reply_mismatches_total", &[]), 1.0);
}

#[test]
fn a_server_may_not_stream_where_there_is_no_share_of_the_pool_for_it() {
    let (fake, _torana, mut client) = behind_pool_of("2", Peer::ok);
    let mut command = find(1);
    command.insert("$db", "test");
    let id = client.send_msg(EXHAUST_ALLOWED, &[Section::Body(command)]);
    let reply = client.read();
    assert_eq!((reply.response_to(), reply.more_to_come()), (id, false));
    assert_eq!(fake.requests("find")[0].message.flags(), 0);
}

#[test]
fn a_legacy_stream_whose_client_left_ends_with_its_connection() {
    let (fake, torana, mut client) = behind_pool_of("8", |peer, request| {
        if request.opcode() != OP_QUERY {
            return peer.ok(request);
        }
        // One batch after the client has left, and another when the connection may serve the next.
        std::thread::sleep(Duration::from_millis(30));
        peer.send(&batch(request.request_id(), 1));
        std::thread::sleep(Duration::from_millis(200));
        peer.send(&batch(request.request_id() + 1, 666))
    });
    client.send(&op_query(1, 1 << 6, "test.c", 0, &doc! {}));
    // The name of a query on a collection is the first key of its filter: none.
    fake.wait_requests("", 1);
    drop(client);
    let ended = || torana.metric("torana_orphans_total", &[]);
    wait_until("its end is counted", SOON, || ended() == 1.0);
    serves_another(&fake, &torana, fake.requests("")[0].connection);
    assert_eq!(torana.metric("torana_reply_mismatches_total", &[]), 0.0);
}
