//! Fail points through the torana binary, in front of a real mongod: what drivers' tests make a server do.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::{Duration, Instant};

use bson::spec::BinarySubtype;
use bson::{Binary, Bson, Document, doc};
use support::message::EXHAUST_ALLOWED;
use support::{RawClient, ReplicaSet, Section, torana_with};

/// Where a client connects to: the server itself, or torana.
struct Side<'a>(&'a dyn Fn() -> RawClient);

impl Side<'_> {
    /// A client that has not greeted yet.
    fn connect(&self) -> RawClient {
        (self.0)()
    }

    /// A client of `application` that has.
    fn client(&self, application: &str) -> RawClient {
        let mut client = self.connect();
        client.run("admin", greeting(application));
        client
    }

    fn configure(&self, mode: impl Into<Bson>, data: Document) {
        let command = doc! { "configureFailPoint": "failCommand", "mode": mode.into(), "data": data };
        self.connect().run("admin", command);
    }
}

fn greeting(application: &str) -> Document {
    let client = doc! { "application": { "name": application }, "driver": { "name": "x", "version": "1" },
    "os": { "type": "Linux" } };
    doc! { "hello": 1, "client": client }
}

/// What a client sees of a command: the reply without what differs from one to the next, or a closed connection.
fn seen(client: &mut RawClient, database: &str, command: Document) -> String {
    match client.try_command(database, command) {
        Ok(reply) => outcome(&reply),
        Err(_) => "closed".to_owned(),
    }
}

fn outcome(reply: &Document) -> String {
    let keys = ["ok", "code", "codeName", "errmsg", "errorLabels"];
    let kept: Vec<String> =
        keys.iter().filter_map(|key| reply.get(key).map(|value| format!("{key}: {value}"))).collect();
    kept.join(", ")
}

/// Everything that is tried, with what was seen of it.
fn told(side: &Side) -> Vec<String> {
    let mut told = Vec::new();
    let (mut app, mut other) = (side.client("app"), side.client("other"));
    let hellos = ["hello", "isMaster", "ismaster"];
    let fail = |more: Document| {
        let mut data = doc! { "failCommands": ["hello", "ismaster", "find", "saslStart"], "appName": "app" };
        data.extend(more);
        data
    };
    side.configure(doc! { "times": 3 }, fail(doc! { "errorCode": 91, "errorLabels": ["RetryableError"] }));
    for name in hellos {
        told.push(format!("other {name}: {}", seen(&mut other, "admin", doc! { name: 1 })));
        told.push(format!("error {name}: {}", seen(&mut app, "admin", doc! { name: 1 })));
    }
    told.push(format!("over: {}", seen(&mut app, "admin", doc! { "hello": 1 })));

    side.configure("alwaysOn", fail(doc! { "errorCode": 1234 }));
    told.push(format!("find: {}", seen(&mut app, "fail_points", doc! { "find": "c" })));
    told.push(format!("find of another: {}", seen(&mut other, "fail_points", doc! { "find": "c" })));
    told.push(format!("first hello: {}", seen(&mut side.connect(), "admin", greeting("app"))));
    told.push(format!("first hello of another: {}", seen(&mut side.connect(), "admin", greeting("b"))));

    side.configure("alwaysOn", fail(doc! { "closeConnection": true }));
    let payload = Binary { subtype: BinarySubtype::Generic, bytes: b"n,,n=u,r=x".to_vec() };
    let sasl = doc! { "saslStart": 1, "mechanism": "SCRAM-SHA-256", "payload": payload };
    told.push(format!("saslStart: {}", seen(&mut app, "admin", sasl)));
    told.push(format!("closing hello: {}", seen(&mut side.connect(), "admin", greeting("app"))));
    side.configure("off", doc! {});

    let mut app = side.client("app");
    side.configure(doc! { "times": 1 }, fail(doc! { "blockConnection": true, "blockTimeMS": 400 }));
    for held in [true, false] {
        let began = Instant::now();
        told.push(format!("blocked: {}", seen(&mut app, "admin", doc! { "hello": 1 })));
        assert_eq!(began.elapsed() >= Duration::from_millis(400), held);
    }

    let version = app.run("admin", doc! { "hello": 1 }).get_document("topologyVersion").unwrap().clone();
    let streamed = doc! { "hello": 1, "topologyVersion": version, "maxAwaitTimeMS": 300, "$db": "admin" };
    app.send_msg(EXHAUST_ALLOWED, &[Section::Body(streamed)]);
    told.push(format!("streamed: {}", outcome(&app.read().body())));
    side.configure(doc! { "times": 1 }, fail(doc! { "errorCode": 10_107 }));
    // The reply that was under way comes first.
    let failed =
        (0..3).map(|_| app.read().body()).find(|reply| reply.get_f64("ok").is_ok_and(|ok| ok == 0.0));
    told.push(format!("in the stream: {}", outcome(&failed.unwrap())));
    told.push(format!("behind the stream: {}", seen(&mut app, "admin", doc! { "ping": 1 })));
    side.configure("off", doc! {});
    told
}

#[test]
fn commands_that_torana_answers_fail_as_they_do_on_the_server_and_so_do_those_of_one_application() {
    let set = ReplicaSet::of(1).start();
    let direct = told(&Side(&|| set.client(0)));
    let torana = torana_with(&set.uri(), "");
    let through = told(&Side(&|| torana.client_of(&set.host(0))));
    assert_eq!(through, direct);
    assert!(direct.len() > 15, "{direct:#?}");
}
