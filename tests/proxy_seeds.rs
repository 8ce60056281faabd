//! Connection strings that lead nowhere, to something else, or only in part to the set.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use bson::doc;
use support::{FakeServer, Torana, wait_until};

const SOON: Duration = Duration::from_secs(15);

/// torana in front of `uri` is not ready, and says why in its log and to whoever asks.
fn is_not_ready_because(uri: &str, why: &str) {
    let mut torana = Torana::serve(uri).launch();
    wait_until(&format!("{why:?} in the log"), SOON, || torana.log().contains(why));
    let (status, text) = torana.get("/readyz");
    assert_eq!((status, text.contains(why)), (503, true), "{text}");
    assert_eq!(torana.process().stdout(), "");
    assert_eq!(torana.stop(SOON).code(), Some(0));
}

#[test]
fn a_seed_that_does_not_resolve_is_named_as_such() {
    is_not_ready_because("mongodb://no-such-host.invalid:27017/?replicaSet=rs0", "no-such-host.invalid");
}

#[test]
fn a_seed_where_nobody_listens_is_named_as_such() {
    is_not_ready_because("mongodb://127.0.0.1:1/?replicaSet=rs0", "127.0.0.1:1");
}

#[test]
fn a_server_of_another_set_is_not_served_and_both_names_are_said() {
    let fake = FakeServer::answering();
    is_not_ready_because(&format!("mongodb://{}/?replicaSet=other", fake.address()), "rs0");
}

#[test]
fn one_live_seed_among_dead_ones_is_enough() {
    let fake = FakeServer::answering();
    let uri = format!("mongodb://no-such-host.invalid,127.0.0.1:1,{}/?replicaSet=rs0", fake.address());
    let torana = Torana::serve(uri).start();
    assert_eq!(torana.listeners().len(), 1);
    torana.client_of(fake.address()).run("test", doc! { "ping": 1 });
}

#[test]
fn a_seed_that_says_nothing_is_named_from_the_first_moment() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let torana = Torana::serve(format!("mongodb://{address}/?replicaSet=rs0")).launch();
    wait_until("the admin endpoint answers", SOON, || TcpStream::connect(torana.admin_address()).is_ok());
    let (status, text) = torana.get("/readyz");
    assert_eq!(status, 503, "{text}");
    assert!(text.contains(&format!("{address}: has not answered yet")), "{text}");
}
