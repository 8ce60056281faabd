//! Fail points through the torana binary, in front of a real mongod: what drivers' tests make a server do.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::{Duration, Instant};

use bson::spec::BinarySubtype;
use bson::{Binary, Bson, Document, doc};
use support::message::{EXHAUST_ALLOWED, MORE_TO_COME};
use support::{RawClient, ReplicaSet, Section, torana_with, wait_until};

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

/// Codes with a name, of which the client is told.
const CODES: [i32; 21] =
    [1, 6, 7, 11, 26, 43, 50, 64, 89, 91, 96, 112, 133, 134, 150, 189, 211, 225, 234, 246, 251];

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
        let took = began.elapsed();
        assert_eq!(took >= Duration::from_millis(400), held, "{took:?}");
    }

    let here = |more: Document| {
        let mut data = doc! { "failCommands": ["hello", "find"] };
        data.extend(more);
        data
    };
    // Numbers of every kind, a comment of any length, and what extended JSON would take for something else.
    let odd = doc! { "errorCode": 9000i64, "extraInfo": { "$oid": 5, "$numberDecimal": "1", "pad": "x".repeat(5000) } };
    for likely in [Bson::Int32(1), Bson::Int64(1), Bson::Double(1.0)] {
        side.configure(doc! { "activationProbability": likely }, here(odd.clone()));
        told.push(format!("likely: {}", seen(&mut app, "admin", doc! { "hello": 1 })));
    }
    side.configure(doc! { "times": 0 }, here(doc! { "errorCode": 9000 }));
    for _ in 0..2 {
        told.push(format!("no times: {}", seen(&mut app, "admin", doc! { "hello": 1 })));
    }
    for code in CODES {
        side.configure(doc! { "times": 1 }, here(doc! { "errorCode": code }));
        told.push(format!("code: {}", seen(&mut app, "admin", doc! { "hello": 1 })));
    }
    // Without waiting for the answer, without wanting one, and many applications one after the other.
    for round in 0..20 {
        side.configure("alwaysOn", here(doc! { "errorCode": 9000 }));
        let off = doc! { "configureFailPoint": "failCommand", "mode": "off", "$db": "admin" };
        let mut leaves = side.connect();
        let flags = if round % 2 == 0 { 0 } else { MORE_TO_COME };
        leaves.send_msg(flags, &[Section::Body(off)]);
        drop(leaves);
        let mut is_off = |database, command| seen(&mut app, database, command).starts_with("ok: 1");
        for (database, command) in [("fail_points", doc! { "find": "c" }), ("admin", doc! { "hello": 1 })] {
            wait_until(&format!("round {round} is off"), Duration::from_secs(10), || {
                is_off(database, command.clone())
            });
        }
    }
    for number in 0..70 {
        let name = format!("app{number}");
        side.configure(
            doc! { "times": 1 },
            doc! { "failCommands": ["find"], "errorCode": 9000, "appName": &name },
        );
        told.push(format!("{name}: {}", seen(&mut side.client(&name), "fail_points", doc! { "find": "c" })));
    }
    side.configure("off", doc! {});

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
    direct.iter().zip(&through).for_each(|(direct, through)| assert_eq!(through, direct));
    assert_eq!(through.len(), direct.len());
    assert!(direct.len() > 15, "{direct:#?}");
}

/// A server's fail points end with its process; those of before would keep drivers out for ever.
#[test]
fn a_server_that_was_started_anew_has_no_fail_points() {
    let mut set = ReplicaSet::of(1).start();
    let torana = torana_with(&set.uri(), "");
    let address = set.host(0);
    let side = Side(&|| torana.client_of(&address));
    let closes = doc! { "failCommands": ["hello"], "closeConnection": true };
    side.configure("alwaysOn", closes);
    assert_eq!(seen(&mut side.connect(), "admin", greeting("app")), "closed");
    set.members[0].terminate();
    set.members[0].restart();
    wait_until("hello is answered", Duration::from_secs(30), || {
        seen(&mut side.connect(), "admin", greeting("app")).starts_with("ok: 1")
    });
}

/// Whichever of two comes last at the server comes last at torana.
#[test]
fn fail_points_configured_at_once_end_as_at_the_server() {
    let set = ReplicaSet::of(1).start();
    let torana = torana_with(&set.uri(), "");
    let side = Side(&|| torana.client_of(&set.host(0)));
    let mut clients = [side.connect(), side.connect()];
    let mut looks = side.client("app");
    for round in 0..500 {
        let data = doc! { "failCommands": ["hello", "find"], "errorCode": 9000 };
        let on = doc! { "configureFailPoint": "failCommand", "mode": "alwaysOn", "data": data };
        let off = doc! { "configureFailPoint": "failCommand", "mode": "off" };
        for (client, command) in clients.iter_mut().zip([on, off]) {
            client.send_command("admin", command);
        }
        clients.iter_mut().for_each(|client| drop(client.read().body()));
        let mut failed = |database, command| !seen(&mut looks, database, command).starts_with("ok: 1");
        let (here, there) = (failed("admin", doc! { "hello": 1 }), failed("test", doc! { "find": "c" }));
        assert_eq!(here, there, "round {round}");
    }
}
