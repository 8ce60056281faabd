//! Exchanges through the torana binary with a server that answers as no mongod would: nobody gets another's reply,
//! nothing is sent twice, and only the client whose server failed is closed.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::Duration;

use bson::{Document, doc};
use support::fake_server::name_of;
use support::message::{CHECKSUM_PRESENT, MORE_TO_COME, OP_MSG, crc32c, message, op_msg};
use support::{FakeServer, Message, Peer, RawClient, Relay, Section, Then, Torana, wait_until};

fn torana(fake: &FakeServer) -> Torana {
    Torana::serve(fake.uri()).argument("--pool-max").argument("4").start()
}

/// A server that answers `find` by `script` and all else with ok, torana in front of it, and a client of it.
fn answering_find(
    script: impl Fn(&mut Peer, &Message) -> Then + Send + Sync + 'static,
) -> (FakeServer, Torana, RawClient) {
    let fake = FakeServer::start(move |peer, request| match name_of(request).as_str() {
        "find" => script(peer, request),
        _ => peer.ok(request),
    });
    let torana = torana(&fake);
    let client = torana.client_of(fake.address());
    (fake, torana, client)
}

fn find(n: i32) -> Document {
    doc! { "find": "c", "n": n }
}

fn body(n: i32) -> [Section; 1] {
    [Section::Body(doc! { "n": n, "ok": 1.0 })]
}

/// Sends a find and checks that the connection is closed without a byte; returns the server's connection.
fn is_closed_unanswered(fake: &FakeServer, client: &mut RawClient) -> i32 {
    client.send_command("test", find(1));
    assert!(client.read_to_close().is_empty());
    let seen = fake.requests("find");
    assert_eq!(seen.len(), 1, "the request was sent again");
    seen[0].connection
}

/// Another client is served, over another connection than `broken`.
fn others_are_served(fake: &FakeServer, torana: &Torana, broken: i32) {
    let mut other = torana.client_of(fake.address());
    for n in 0..8 {
        let reply = other.run("test", doc! { "ping": 1, "n": n });
        assert_eq!(reply.get_i32("n").ok(), Some(n));
        assert_ne!(reply.get_i32("connection").ok(), Some(broken));
    }
}

#[test]
fn a_reply_to_another_request_reaches_nobody_and_its_connection_serves_nobody_again() {
    let (fake, torana, mut client) = answering_find(|peer, request| {
        peer.send(&op_msg(5, request.request_id() ^ 1, 0, &body(666)));
        Then::Next
    });
    let broken = is_closed_unanswered(&fake, &mut client);
    others_are_served(&fake, &torana, broken);
    assert_eq!(torana.metric("torana_reply_mismatches_total", &[]), 1.0);
    assert_eq!(torana.metric("torana_clients_ended_total", &["server_error"]), 1.0);
}

#[test]
fn what_is_no_message_ends_the_exchange_and_reaches_nobody() {
    let bad_headers: [[i32; 4]; 5] = [
        [-1, 1, 0, OP_MSG],
        [15, 1, 0, OP_MSG],
        [48_000_001, 1, 0, OP_MSG],
        [i32::MAX, 1, 0, OP_MSG],
        [16, 1, 0, 77],
    ];
    for header in bad_headers {
        let (fake, torana, mut client) = answering_find(move |peer, request| {
            let [length, id, _, opcode] = header;
            let fields = [length, id, request.request_id(), opcode];
            peer.send(&fields.map(i32::to_le_bytes).concat())
        });
        let broken = is_closed_unanswered(&fake, &mut client);
        others_are_served(&fake, &torana, broken);
        assert_eq!(torana.metric("torana_reply_mismatches_total", &[]), 1.0, "{header:?}");
    }
}

#[test]
fn half_a_reply_is_passed_on_to_nobody_else_and_the_request_is_not_sent_again() {
    let (fake, torana, mut client) = answering_find(|peer, request| {
        let reply = op_msg(5, request.request_id(), 0, &body(1));
        peer.send(&reply[..reply.len() / 2]);
        Then::Close
    });
    let broken = is_closed_unanswered(&fake, &mut client);
    others_are_served(&fake, &torana, broken);
}

#[test]
fn a_large_reply_that_breaks_off_closes_the_client_in_the_middle_of_it() {
    let (fake, torana, mut client) = answering_find(|peer, request| {
        let filler = doc! { "filler": "x".repeat(1_000_000), "ok": 1.0 };
        let reply = op_msg(5, request.request_id(), 0, &[Section::Body(filler)]);
        peer.send(&reply[..500_000]);
        Then::Close
    });
    client.send_command("test", find(1));
    let got = client.read_to_close().len();
    assert!(got <= 500_000, "{got} bytes");
    assert_eq!(fake.requests("find").len(), 1);
    others_are_served(&fake, &torana, fake.requests("find")[0].connection);
}

#[test]
fn a_server_that_closes_after_the_request_sees_it_once_and_the_client_is_closed() {
    let (fake, torana, mut client) = answering_find(|_, _| Then::Close);
    let broken = is_closed_unanswered(&fake, &mut client);
    others_are_served(&fake, &torana, broken);
    assert_eq!(torana.metric("torana_operations_total", &["command=\"find\"", "error"]), 1.0);
}

#[test]
fn a_second_reply_to_one_request_reaches_nobody() {
    let (fake, torana, mut client) = answering_find(|peer, request| {
        let reply = |n| op_msg(5, request.request_id(), 0, &body(n));
        peer.send(&[reply(1), reply(666)].concat())
    });
    assert_eq!(client.run("test", find(1)).get_i32("n").ok(), Some(1));
    let broken = fake.requests("find")[0].connection;
    for n in 0..8 {
        let reply = client.run("test", doc! { "ping": 1, "n": n });
        assert_eq!(
            (reply.get_i32("n").ok(), reply.get_i32("connection").ok() == Some(broken)),
            (Some(n), false)
        );
    }
    others_are_served(&fake, &torana, broken);
}

#[test]
fn a_message_that_nobody_asked_for_on_an_idle_connection_reaches_nobody() {
    let (fake, torana, mut client) = answering_find(Peer::ok);
    let first = client.run("test", find(1)).get_i32("connection").unwrap();
    fake.send_unasked(&op_msg(5, 1, 0, &body(666)));
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(client.run("test", find(2)).get_i32("n").ok(), Some(2));
    others_are_served(&fake, &torana, first);
}

#[test]
fn a_connection_closed_while_idle_is_replaced_and_the_client_sees_nothing() {
    let (fake, _torana, mut client) = answering_find(Peer::ok);
    let first = client.run("test", find(1)).get_i32("connection").unwrap();
    fake.close_serving();
    wait_until("the connection is closed", Duration::from_secs(5), || fake.serving() == 0);
    let reply = client.run("test", find(2));
    assert_eq!(reply.get_i32("n").ok(), Some(2));
    assert_ne!(reply.get_i32("connection").ok(), Some(first));
    assert_eq!(fake.requests("find").len(), 2);
}

#[test]
fn a_server_that_closes_new_connections_closes_its_clients_and_nothing_was_sent() {
    let (fake, torana, mut client) = answering_find(Peer::ok);
    client.run("test", find(1));
    fake.refuse(true);
    fake.close_serving();
    wait_until("the connection is closed", Duration::from_secs(5), || fake.serving() == 0);
    client.send_command("test", find(2));
    assert!(client.read_to_close().is_empty());
    fake.refuse(false);
    wait_until("clients are served again", Duration::from_secs(10), || {
        let ping = RawClient::connect(torana.listener_of(fake.address())).try_command("test", find(3));
        ping.is_ok()
    });
    let sent: Vec<_> =
        fake.requests("find").iter().map(|seen| seen.message.body().get_i32("n").ok()).collect();
    assert_eq!((sent.first(), sent.contains(&Some(2))), (Some(&Some(1)), false), "{sent:?}");
}

#[test]
fn a_write_without_acknowledgement_frees_its_connection_and_the_next_read_gets_its_own_reply() {
    let (fake, torana, mut client) = answering_find(Peer::ok);
    for n in 0..20 {
        let insert = doc! { "insert": "c", "writeConcern": { "w": 0 }, "$db": "test" };
        let documents = vec![doc! { "_id": n }];
        client.send_msg(MORE_TO_COME, &[Section::Body(insert), Section::Sequence("documents", documents)]);
        assert_eq!(client.run("test", find(n)).get_i32("n").ok(), Some(n));
    }
    assert_eq!(fake.requests("insert").len(), 20);
    assert_eq!(torana.metric("torana_requests_without_reply_total", &[]), 20.0);
    assert_eq!(torana.metric("torana_pool_connections_made_total", &[]), 1.0);
}

#[test]
fn requests_sent_ahead_are_answered_in_their_order() {
    let (_fake, _torana, mut client) = answering_find(Peer::ok);
    let ids: Vec<i32> = (0..200).map(|n| client.send_command("test", find(n))).collect();
    for (n, id) in ids.into_iter().enumerate() {
        let reply = client.read();
        assert_eq!((reply.response_to(), reply.body().get_i32("n").ok()), (id, Some(n as i32)));
    }
}

#[test]
fn a_checksum_passes_both_ways_over_bytes_that_stay_as_they_were() {
    let (fake, _torana, mut client) = answering_find(|peer, request| {
        peer.send(&op_msg(5, request.request_id(), CHECKSUM_PRESENT, &body(1)))
    });
    let mut command = find(1);
    command.insert("$db", "test");
    let id = client.next_id();
    let sent = op_msg(id, 0, CHECKSUM_PRESENT, &[Section::Body(command)]);
    client.send(&sent);
    let reply = client.read();
    assert_eq!(fake.requests("find")[0].message.raw, sent);
    assert_eq!(reply.response_to(), id);
    let (covered, checksum) = reply.raw.split_at(reply.raw.len() - 4);
    assert_eq!(checksum, crc32c(covered).to_le_bytes());
}

#[test]
fn authentication_and_compression_never_reach_a_server_connection() {
    let (fake, torana, mut client) = answering_find(Peer::ok);
    for command in [doc! { "saslStart": 1, "mechanism": "SCRAM-SHA-256" }, doc! { "authenticate": 1 }] {
        let name = command.keys().next().unwrap().clone();
        let reply = client.command("admin", command);
        assert_eq!(reply.get_i32("code").ok(), Some(18), "{reply}");
        assert!(reply.get_str("errmsg").unwrap().contains("torana"), "{reply}");
        assert!(fake.requests(&name).is_empty());
    }
    client.run("admin", doc! { "logout": 1 });
    assert!(fake.requests("logout").is_empty());
    // OP_MSG inside, uncompressed size, compressor snappy.
    let payload = [2013i32.to_le_bytes().as_slice(), &100i32.to_le_bytes(), &[1, 0, 0]].concat();
    client.send(&message(9, 0, 2012, &payload));
    let reply = client.read();
    assert_eq!(reply.response_to(), 9);
    assert!(reply.body().get_str("errmsg").unwrap().contains("compression"), "{}", reply.body());
    assert!(client.read_to_close().is_empty());
    others_are_served(&fake, &torana, -1);
}

#[test]
fn messages_in_pieces_of_a_few_bytes_are_put_together_on_both_sides() {
    let fake = FakeServer::answering();
    let to_server = Relay::to(fake.address());
    let torana = Torana::serve(format!("mongodb://{}/?directConnection=true", to_server.address())).start();
    let to_torana = Relay::to(&torana.listeners()[0].listen);
    to_server.slice(7);
    to_torana.slice(7);
    let mut client = RawClient::connect(to_torana.address());
    for n in 0..5 {
        let ping = doc! { "ping": 1, "n": n, "pad": "x".repeat(200) };
        assert_eq!(client.run("test", ping).get_i32("n").ok(), Some(n));
    }
}

/// Sends a find that keeps its number on the way to the server, because its checksum covers that: the same for all, so
/// that only the rule that a connection with a reply outstanding serves nobody keeps them apart.
fn send_numbered_like_all(client: &mut RawClient, n: i32) -> i32 {
    const NUMBER: i32 = 0x7000_0001;
    let mut command = find(n);
    command.insert("$db", "test");
    client.send(&op_msg(NUMBER, 0, CHECKSUM_PRESENT, &[Section::Body(command)]));
    NUMBER
}

/// Asks 60 times and leaves a third of the questions; each answer must be its own.
fn hunt(listen: &str, hunter: i32) {
    let mut client = RawClient::connect(listen);
    for i in 0..60 {
        let n = hunter * 1_000 + i;
        let id = match i % 4 {
            0 => client.send_command("test", find(n)),
            _ => send_numbered_like_all(&mut client, n),
        };
        if i % 3 == hunter % 3 {
            // Out of the queue, and on the server.
            std::thread::sleep(Duration::from_millis(4));
            client = RawClient::connect(listen);
            continue;
        }
        let reply = client.read();
        let told = reply.body().get_i32("n").ok();
        assert_eq!((reply.response_to(), told), (id, Some(n)));
    }
}

#[test]
fn clients_that_leave_in_the_middle_of_everything_never_cause_a_mix_up() {
    let (fake, torana, _client) = answering_find(|peer, request| {
        let n = request.body().get_i32("n").unwrap();
        std::thread::sleep(Duration::from_millis((n % 4) as u64 * 5));
        peer.ok(request)
    });
    let listen = torana.listener_of(fake.address());
    std::thread::scope(|scope| {
        // Hardly more than there are places, so that few leave the queue only.
        for hunter in 0..5 {
            scope.spawn(move || hunt(listen, hunter));
        }
    });
    assert_eq!(torana.metric("torana_reply_mismatches_total", &[]), 0.0);
    assert!(torana.metric("torana_orphans_total", &[]) > 20.0, "too few left while the server worked");
}
