//! Bounds of `src/config/limits.rs` that no other test reaches: each, set through the file, bounds something.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::BTreeSet;
use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bson::{Document, doc};
use support::fake_server::name_of;
use support::message::OP_MSG;
use support::{FakeServer, RawClient, Relay, Torana, torana_with, wait_until};

const SOON: Duration = Duration::from_secs(10);

fn start(bounds: &str) -> (FakeServer, Torana) {
    let fake = FakeServer::answering();
    let torana = torana_with(&fake.uri(), bounds);
    (fake, torana)
}

/// A server that takes `takes` for each `find` and `getMore`, and torana in front of it.
fn slow_find(takes: Duration, bounds: &str) -> (FakeServer, Torana) {
    let fake = FakeServer::start(move |peer, request| {
        if name_of(request) == "find" || name_of(request) == "getMore" {
            std::thread::sleep(takes);
        }
        peer.ok(request)
    });
    let torana = torana_with(&fake.uri(), bounds);
    (fake, torana)
}

fn ping() -> Document {
    doc! { "ping": 1 }
}

fn connection_of(client: &mut RawClient) -> i32 {
    client.run("test", ping()).get_i32("connection").unwrap()
}

#[test]
fn a_message_above_the_limit_is_refused_and_one_at_it_passes() {
    const LIMIT: usize = 17 << 20;
    let (fake, torana) = start("[limits]\nmessage_max = \"17MiB\"");
    let mut client = torana.client_of(fake.address());
    let overhead = 16 + 5 + support::message::bytes_of(&doc! { "ping": 1, "pad": "", "$db": "test" }).len();
    client.run("test", doc! { "ping": 1, "pad": "x".repeat(LIMIT - overhead) });
    client.send(&[LIMIT as i32 + 1, 1, 0, OP_MSG].map(i32::to_le_bytes).concat());
    let told = client.read().body();
    let text = told.get_str("errmsg").unwrap();
    assert!(text.contains(&format!("{}, limit {LIMIT}", LIMIT + 1)), "{text}");
}

#[test]
fn a_write_whose_client_left_is_drained_for_so_long_and_no_longer() {
    let fake = FakeServer::start(|peer, request| {
        if name_of(request) == "insert" {
            std::thread::sleep(Duration::from_secs(10));
        }
        peer.ok(request)
    });
    let torana = torana_with(&fake.uri(), "[limits]\norphan_drain = \"400ms\"");
    let mut client = torana.client_of(fake.address());
    client.send_command("test", doc! { "insert": "c" });
    fake.wait_requests("insert", 1);
    let left = Instant::now();
    drop(client);
    wait_until("its connection is closed", SOON, || {
        torana.metric("torana_orphans_total", &["\"closed\""]) == 1.0
    });
    let taken = left.elapsed();
    assert!((400..8_000).contains(&taken.as_millis()), "{taken:?}");
}

#[test]
fn connections_to_the_admin_endpoint_are_bounded_in_number_and_time() {
    let (_fake, mut torana) = start("[limits]\nadmin_connections_max = 1\nadmin_timeout = \"700ms\"");
    let address = torana.admin_address();
    let began = Instant::now();
    let mut silent = TcpStream::connect(&address).unwrap();
    silent.write_all(b"GET /metr").unwrap();
    // The one place is taken until the silent one's time is up.
    assert_eq!(torana.get("/healthz").0, 200);
    assert!((500..5_000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    assert!(torana.process().ended().is_none());
}

#[test]
fn idle_connections_are_kept_ready_before_anyone_asks() {
    let (_fake, torana) = start("[pool]\nmin_idle = 3");
    wait_until("three are idle", SOON, || torana.metric("torana_pool_connections_idle", &[]) == 3.0);
    assert_eq!(torana.metric("torana_pool_acquired_total", &[]), 0.0);
}

#[test]
fn awaiting_operations_get_connections_of_their_own_beyond_the_pool() {
    let (fake, torana) = slow_find(Duration::from_secs(5), "[pool]\nmax = 2\nawaiting_max = 2");
    let mut awaiting: Vec<RawClient> = (0..2).map(|_| torana.client_of(fake.address())).collect();
    for client in &mut awaiting {
        client.send_command("test", doc! { "getMore": 5i64, "collection": "c", "maxTimeMS": 5_000 });
    }
    fake.wait_requests("getMore", 2);
    assert_eq!(torana.metric("torana_pool_awaiting", &[]), 2.0);
    let mut busy = torana.client_of(fake.address());
    busy.send_command("test", doc! { "find": "c" });
    fake.wait_requests("find", 1);
    assert_eq!(torana.metric("torana_pool_connections_out", &[]), 3.0);
    assert_eq!(torana.metric("torana_pool_connections_limit", &[]), 4.0);
    assert_eq!(torana.metric("torana_pool_ordinary", &[]), torana.metric("torana_pool_ordinary_limit", &[]));
}

#[test]
fn applications_have_connections_of_their_own_if_so_configured_and_share_them_otherwise() {
    for (per_application, pools) in [(true, 2), (false, 1)] {
        let (fake, torana) = start(&format!("[pool]\nper_application = {per_application}"));
        let connections: BTreeSet<i32> = ["one", "two", "one"]
            .map(|name| {
                let mut client = torana.client_of(fake.address());
                let about = doc! {
                    "application": { "name": name }, "driver": { "name": "d", "version": "1" }, "os": { "type": "Linux" },
                };
                client.run("admin", doc! { "hello": 1, "client": about });
                connection_of(&mut client)
            })
            .into();
        assert_eq!(connections.len(), pools, "{connections:?}");
    }
}

#[test]
fn a_connection_that_nobody_uses_is_closed_in_time() {
    let (fake, torana) = start("[pool]\nidle_timeout = \"1s\"");
    connection_of(&mut torana.client_of(fake.address()));
    assert_eq!(fake.serving(), 1);
    wait_until("it is closed", SOON, || fake.serving() == 0);
    assert_eq!(torana.metric("torana_pool_connections_closed_total", &["\"idle\""]), 1.0);
}

#[test]
fn a_connection_is_replaced_at_the_end_of_its_lifetime() {
    let (fake, torana) = start("[pool]\nlifetime = \"1s\"");
    let mut client = torana.client_of(fake.address());
    let first = connection_of(&mut client);
    wait_until("another serves", SOON, || connection_of(&mut client) != first);
    assert_eq!(torana.metric("torana_pool_connections_closed_total", &["\"lifetime\""]), 1.0);
}

#[test]
fn so_many_connects_are_under_way_at_once_and_no_more() {
    for limit in [1.0, 3.0] {
        let fake = FakeServer::answering();
        let relay = Relay::to(fake.address());
        let uri = format!("mongodb://{}/?directConnection=true", relay.address());
        let torana = torana_with(&uri, &format!("[pool]\nconnecting_max = {limit}"));
        let listener = torana.listeners()[0].listen.clone();
        // Each connect takes a round trip.
        relay.delay(Duration::from_millis(400));
        let mut clients: Vec<RawClient> = (0..6).map(|_| RawClient::connect(&listener)).collect();
        clients.iter_mut().for_each(|client| {
            client.send_command("test", ping());
        });
        let connecting = || torana.metric("torana_pool_connections_connecting", &[]);
        wait_until("connects are under way", SOON, || connecting() > 0.0);
        let until = Instant::now() + Duration::from_millis(500);
        let mut most: f64 = 0.0;
        while Instant::now() < until {
            most = most.max(connecting());
        }
        assert_eq!(most, limit);
    }
}

#[test]
fn a_connect_that_takes_too_long_has_failed() {
    let fake = FakeServer::answering();
    let relay = Relay::to(fake.address());
    let uri = format!("mongodb://{}/?directConnection=true", relay.address());
    let torana = torana_with(&uri, "[pool]\nconnect_timeout = \"100ms\"");
    relay.delay(Duration::from_millis(400));
    let mut client = RawClient::connect(&torana.listeners()[0].listen);
    client.send_command("test", ping());
    assert!(client.read_to_close().is_empty());
    assert!(torana.metric("torana_pool_connect_errors_total", &[]) >= 1.0);
    assert!(fake.requests("ping").is_empty());
}

/// How many connects fail in two seconds while clients keep asking.
fn failed_connects(bounds: &str) -> f64 {
    let (fake, torana) = start(bounds);
    fake.refuse(true);
    let until = Instant::now() + Duration::from_secs(2);
    while Instant::now() < until {
        let _ = torana.client_of(fake.address()).try_command("test", ping());
        std::thread::sleep(Duration::from_millis(5));
    }
    torana.metric("torana_pool_connect_errors_total", &[])
}

#[test]
fn the_pause_after_a_failed_connect_lies_between_its_bounds() {
    let short = failed_connects("[pool]\nbackoff_min = \"10ms\"\nbackoff_max = \"20ms\"");
    let long = failed_connects("[pool]\nbackoff_min = \"2s\"\nbackoff_max = \"2s\"");
    let grown = failed_connects("[pool]\nbackoff_min = \"10ms\"\nbackoff_max = \"60s\"");
    // Two may be under way when the first fails.
    assert!(long <= 3.0 && short > 2.0 * grown && grown > long, "{short}, {grown}, {long}");
}

#[test]
fn a_server_without_news_pushes_a_hello_as_often_as_configured() {
    let (_fake, torana) = start(
        "[monitor]\npoll_interval = \"60s\"\nconnect_timeout = \"60s\"\nheartbeat_interval = \"500ms\"",
    );
    let oldest = (0..40)
        .map(|_| {
            std::thread::sleep(Duration::from_millis(100));
            torana.metric("torana_hello_age_seconds", &[])
        })
        .fold(0.0, f64::max);
    assert!((0.3..3.0).contains(&oldest), "{oldest}");
}
