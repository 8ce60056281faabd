//! The hello service through the torana binary, in front of a scripted primary: what drivers' monitors live by.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::io::{ErrorKind, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bson::oid::ObjectId;
use bson::{Document, doc};
use support::fake_hello::process;
use support::fake_server::name_of;
use support::message::{EXHAUST_ALLOWED, MORE_TO_COME, OP_MSG, OP_REPLY};
use support::raw::is_ok;
use support::{
    FakeServer, HelloSpelling, Monitoring, Opcode, RawClient, Relay, Section, Then, Torana, torana_with,
    wait_until,
};

/// "At once" on a loaded machine. What is not at once here takes seconds.
const AT_ONCE: Duration = Duration::from_secs(1);

fn start() -> (FakeServer, Torana) {
    let fake = FakeServer::answering();
    let torana = Torana::serve(fake.uri()).start();
    (fake, torana)
}

fn counter(hello: &Document) -> i64 {
    let version = hello.get_document("topologyVersion").unwrap_or_else(|_| panic!("{hello}"));
    version.get_i64("counter").unwrap()
}

/// A hello that waits for news after `counter`.
fn awaiting(process: ObjectId, counter: i64, millis: i64) -> Document {
    let known = doc! { "processId": process, "counter": counter };
    doc! { "hello": 1, "topologyVersion": known, "maxAwaitTimeMS": millis }
}

fn is_silent(client: &mut RawClient) -> bool {
    client.set_timeout(Duration::from_millis(200));
    let silent = client.try_read().is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
    client.set_timeout(Duration::from_secs(30));
    silent
}

#[test]
fn every_spelling_on_any_database_is_answered_in_its_own_opcode_and_names() {
    let (fake, torana) = start();
    let listen = torana.listener_of(fake.address());
    for database in ["admin", "test", "local"] {
        for spelling in HelloSpelling::ALL {
            for (opcode, answer) in [(Opcode::Msg, OP_MSG), (Opcode::Query, OP_REPLY)] {
                let mut client = torana.client_of(fake.address());
                let command = doc! { spelling.name(): 1 };
                let id = match opcode {
                    Opcode::Msg => client.send_command(database, command),
                    Opcode::Query => client.send_query(database, &command),
                };
                let reply = client.read();
                assert_eq!((reply.opcode(), reply.response_to()), (answer, id), "{spelling:?} {opcode:?}");
                let body = reply.body();
                assert_eq!(body.get_str("me").ok(), Some(listen));
                assert_eq!(body.get_str("primary").ok(), Some(listen));
                assert_eq!(body.get_array("hosts").unwrap(), &vec![listen.into()]);
                let primary_is_called =
                    if spelling == HelloSpelling::Hello { "isWritablePrimary" } else { "ismaster" };
                assert_eq!(body.get_bool(primary_is_called).ok(), Some(true), "{body}");
                assert!(!reply.contains(fake.address()));
            }
        }
    }
    assert_eq!(torana.metric("torana_messages_forwarded_total", &[]), 0.0);
}

#[test]
fn each_connection_has_one_number_of_its_own() {
    let (fake, torana) = start();
    let mut numbers = Vec::new();
    for _ in 0..5 {
        let mut client = torana.client_of(fake.address());
        let number = client.hello().get_i32("connectionId").unwrap();
        assert_eq!(client.hello().get_i32("connectionId").ok(), Some(number));
        numbers.push(number);
    }
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 5);
}

#[test]
fn a_second_client_document_is_refused_and_does_not_end_the_connection() {
    let (fake, torana) = start();
    let mut client = torana.client_of(fake.address());
    let metadata = doc! { "driver": { "name": "x", "version": "1" }, "os": { "type": "Linux" } };
    let hello = doc! { "hello": 1, "client": metadata };
    client.run("admin", hello.clone());
    let reply = client.command("admin", hello);
    assert_eq!(reply.get_i32("code").ok(), Some(186), "{reply}");
    assert!(is_ok(&client.hello()));
}

#[test]
fn an_awaiting_hello_is_answered_when_the_member_changes_and_not_before() {
    let (fake, torana) = start();
    let mut client = torana.client_of(fake.address());
    let known = counter(&client.hello());
    client.send_command("admin", awaiting(process(), known, 60_000));
    assert!(is_silent(&mut client));
    fake.change_topology();
    let changed = Instant::now();
    assert_eq!(counter(&client.read().body()), known + 1);
    assert!(changed.elapsed() < AT_ONCE, "{:?}", changed.elapsed());
}

#[test]
fn an_awaiting_hello_without_news_is_answered_when_its_time_is_up() {
    let (fake, torana) = start();
    let mut client = torana.client_of(fake.address());
    let known = counter(&client.hello());
    let asked = Instant::now();
    let reply = client.command("admin", awaiting(process(), known, 400));
    assert_eq!(counter(&reply), known);
    assert!((400..3_000).contains(&asked.elapsed().as_millis()), "{:?}", asked.elapsed());
}

#[test]
fn a_streamed_hello_is_pushed_at_each_change_and_names_the_one_before() {
    let (fake, torana) = start();
    let mut client = torana.client_of(fake.address());
    let known = counter(&client.hello());
    let mut command = awaiting(process(), known, 60_000);
    command.insert("$db", "admin");
    let mut response_to = client.send_msg(EXHAUST_ALLOWED, &[Section::Body(command)]);
    for news in 1..=5 {
        assert!(is_silent(&mut client));
        fake.change_topology();
        let reply = client.read();
        assert_eq!((reply.response_to(), reply.more_to_come()), (response_to, true));
        assert_eq!(counter(&reply.body()), known + news);
        response_to = reply.request_id();
    }
}

#[test]
fn what_does_not_go_together_is_refused_with_mongods_codes() {
    let (fake, torana) = start();
    let mut client = torana.client_of(fake.address());
    let known = counter(&client.hello());
    let version = doc! { "processId": process(), "counter": known };
    for (command, code) in [
        (doc! { "hello": 1, "topologyVersion": version.clone() }, 31368),
        (doc! { "hello": 1, "maxAwaitTimeMS": 100 }, 31368),
        (awaiting(process(), known + 1, 100), 31382),
        (doc! { "hello": 1, "loadBalanced": true }, 72),
    ] {
        let reply = client.command("admin", command.clone());
        assert_eq!(reply.get_i32("code").ok(), Some(code), "{command} was answered {reply}");
    }
    assert!(is_ok(&client.hello()));
}

#[test]
fn a_client_that_knows_another_process_is_answered_at_once() {
    let (fake, torana) = start();
    let mut client = torana.client_of(fake.address());
    let asked = Instant::now();
    let reply = client.command("admin", awaiting(ObjectId::from_bytes([1; 12]), 9, 60_000));
    assert!(is_ok(&reply) && asked.elapsed() < AT_ONCE, "{reply} after {:?}", asked.elapsed());
}

#[test]
fn no_hello_is_older_than_what_an_error_has_told_any_client() {
    let (fake, torana) = start();
    let news = doc! { "processId": process(), "counter": 2i64 };
    let stale = doc! { "ok": 0.0, "code": 10107, "errmsg": "not primary", "topologyVersion": news };
    fake.script(move |peer, request| match name_of(request).as_str() {
        "insert" => peer.reply(request, stale.clone()),
        _ => peer.ok(request),
    });
    let mut client = torana.client_of(fake.address());
    assert_eq!(counter(&client.hello()), 1);
    let reply = client.command("test", doc! { "insert": "c", "documents": [doc! {}] });
    assert_eq!((reply.get_i32("code").ok(), counter(&reply)), (Some(10107), 2));
    let mut other = torana.client_of(fake.address());
    other.send_command("admin", doc! { "hello": 1 });
    assert!(is_silent(&mut other));
    fake.change_topology();
    assert_eq!(counter(&other.read().body()), 2);
}

#[test]
fn when_the_member_is_lost_waiting_hellos_are_closed_at_once_and_new_clients_at_their_first_message() {
    let (fake, torana) = start();
    let mut waiting = torana.client_of(fake.address());
    let known = counter(&waiting.hello());
    waiting.send_command("admin", awaiting(process(), known, 60_000));
    assert!(is_silent(&mut waiting));
    fake.refuse(true);
    fake.monitoring(Monitoring::Closes);
    let lost = Instant::now();
    assert!(waiting.read_to_close().is_empty());
    assert!(lost.elapsed() < AT_ONCE, "{:?}", lost.elapsed());
    for command in [doc! { "hello": 1 }, doc! { "ping": 1 }] {
        let mut new = torana.client_of(fake.address());
        new.send_command("admin", command);
        assert!(new.read_to_close().is_empty());
    }
    assert!(torana.metric("torana_clients_ended_total", &["member_lost"]) >= 2.0);
    fake.refuse(false);
    fake.monitoring(Monitoring::Answers);
    wait_until("hellos are answered again", Duration::from_secs(10), || {
        RawClient::connect(torana.listener_of(fake.address()))
            .try_command("admin", doc! { "hello": 1 })
            .is_ok_and(|reply| is_ok(&reply))
    });
}

#[test]
fn a_member_that_is_silent_for_the_connect_timeout_is_lost() {
    let fake = FakeServer::answering();
    let torana =
        torana_with(&fake.uri(), "[monitor]\nconnect_timeout = \"500ms\"\npoll_interval = \"100ms\"");
    let mut waiting = torana.client_of(fake.address());
    let known = counter(&waiting.hello());
    waiting.send_command("admin", awaiting(process(), known, 60_000));
    assert!(is_silent(&mut waiting));
    fake.monitoring(Monitoring::Silent);
    let silent = Instant::now();
    assert!(waiting.read_to_close().is_empty());
    assert!(silent.elapsed() < Duration::from_secs(4), "{:?}", silent.elapsed());
}

#[test]
fn a_hello_takes_as_long_as_one_of_a_far_member() {
    let fake = FakeServer::answering();
    let relay = Relay::to(fake.address());
    relay.delay(Duration::from_millis(40));
    let uri = format!("mongodb://{}/?directConnection=true", relay.address());
    let torana = Torana::serve(uri).start();
    let mut client = RawClient::connect(&torana.listeners()[0].listen);
    let asked = Instant::now();
    client.hello();
    assert!(asked.elapsed() >= Duration::from_millis(60), "{:?}", asked.elapsed());
}

#[test]
fn a_server_that_never_answers_hello_keeps_torana_from_being_ready_until_it_does() {
    let fake = FakeServer::answering();
    fake.monitoring(Monitoring::Silent);
    let mut torana = Torana::serve(fake.uri()).launch();
    wait_until("the admin endpoint", Duration::from_secs(10), || torana.log().contains("waiting"));
    let (status, why) = torana.get("/readyz");
    assert_eq!((status, why.contains("no member answers")), (503, true), "{why}");
    assert_eq!(torana.get("/healthz").0, 200);
    fake.monitoring(Monitoring::Closes);
    fake.monitoring(Monitoring::Answers);
    torana.wait_ready();
    assert_eq!(torana.get("/readyz").0, 200);
}

#[test]
fn after_a_connection_broke_no_hello_is_answered_before_the_member_has_answered_again() {
    let fake = FakeServer::start(|peer, request| match name_of(request).as_str() {
        "find" => Then::Close,
        _ => peer.ok(request),
    });
    let torana = torana_with(&fake.uri(), "");
    let mut client = torana.client_of(fake.address());
    // So that there is a connection, which the server need not greet.
    client.run("test", doc! { "ping": 1 });
    fake.monitoring(Monitoring::Silent);
    client.send_command("test", doc! { "find": "c" });
    assert!(client.read_to_close().is_empty());
    // As a driver does whose operation failed, before it retries.
    let mut monitor = torana.client_of(fake.address());
    monitor.send_command("admin", doc! { "hello": 1 });
    assert!(is_silent(&mut monitor));
    fake.monitoring(Monitoring::Closes);
    assert!(monitor.read_to_close().is_empty());
}

#[test]
fn a_new_connection_is_greeted_only_by_a_member_that_answers_now() {
    let (fake, torana) = start();
    let mut old = torana.client_of(fake.address());
    old.hello();
    // As of a process that was killed and whose sockets are not closed yet.
    fake.monitoring(Monitoring::Silent);
    std::thread::sleep(Duration::from_millis(100));
    assert!(is_ok(&old.hello()), "a monitor's, that measures the way");
    let mut new = torana.client_of(fake.address());
    new.send_command("admin", doc! { "hello": 1 });
    assert!(is_silent(&mut new));
    // Drivers of short patience come again and again meanwhile, and each must leave nothing behind.
    let mut leaver = torana.client_of(fake.address());
    leaver.send_command("admin", doc! { "hello": 1 });
    assert!(is_silent(&mut leaver));
    drop(leaver);
    let clients = || torana.metric("torana_clients", &[]);
    wait_until("the one that left is forgotten", Duration::from_secs(2), || clients() == 2.0);
    fake.monitoring(Monitoring::Closes);
    assert!(new.read_to_close().is_empty());
}

#[test]
fn a_first_hello_that_waits_for_news_is_held_as_well_until_the_member_answers() {
    let (fake, torana) = start();
    fake.monitoring(Monitoring::Silent);
    std::thread::sleep(Duration::from_millis(100));
    let mut new = torana.client_of(fake.address());
    // Of another process: of what a copy says, this would be told at once.
    new.send_command("admin", awaiting(ObjectId::new(), 0, 60_000));
    assert!(is_silent(&mut new));
    fake.monitoring(Monitoring::Closes);
    assert!(new.read_to_close().is_empty());
}

#[test]
fn a_client_that_streams_hellos_without_a_pause_has_no_thread_to_itself() {
    let (fake, torana) = start();
    let stop = Arc::new(AtomicBool::new(false));
    let mut greedy = torana.client_of(fake.address());
    let readers = {
        let hello = doc! { "$db": "admin" };
        let mut body = awaiting(ObjectId::new(), 0, 0);
        body.extend(hello);
        greedy.send_msg(EXHAUST_ALLOWED, &[Section::Body(body)]);
        let (mut stream, stop) = (greedy.stream().try_clone().unwrap(), stop.clone());
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        std::thread::spawn(move || {
            let (mut scratch, mut bytes) = (vec![0; 1 << 20], 0);
            // That it streams is seen, however soon the other client is served.
            while !stop.load(Ordering::Relaxed) || bytes <= 100_000 {
                let n = stream.read(&mut scratch).expect("it streams");
                assert!(n > 0, "it is closed");
                bytes += n;
            }
        })
    };
    let mut other = torana.client_of(fake.address());
    let began = Instant::now();
    for _ in 0..20 {
        other.run("test", doc! { "ping": 1 });
    }
    assert!(began.elapsed() < Duration::from_secs(10), "took {:?}", began.elapsed());
    stop.store(true, Ordering::Relaxed);
    readers.join().unwrap();
}

#[test]
fn a_hello_that_wants_no_reply_gets_none_and_counts() {
    let (fake, torana) = start();
    let metadata = doc! { "driver": { "name": "x", "version": "1" }, "os": { "type": "Linux" } };
    for spelling in HelloSpelling::ALL {
        let mut client = torana.client_of(fake.address());
        let hello = doc! { spelling.name(): 1, "client": metadata.clone(), "$db": "admin" };
        for flags in [MORE_TO_COME, MORE_TO_COME | EXHAUST_ALLOWED] {
            client.send_msg(flags, &[Section::Body(hello.clone())]);
            assert!(is_ok(&client.command("test", doc! { "ping": 1 })), "{spelling:?}");
        }
        let again = client.command("admin", hello);
        assert_eq!(again.get_i32("code").ok(), Some(186), "its metadata was taken: {again}");
    }
}

#[test]
fn a_hello_on_a_database_that_cannot_be_is_refused_in_mongods_words() {
    let (fake, torana) = start();
    let long = "x".repeat(64);
    for database in ["", "a b", "a/b", "a\\b", "a\"b", &long] {
        for spelling in HelloSpelling::ALL {
            let mut client = torana.client_of(fake.address());
            let hello = doc! { spelling.name(): 1 };
            for reply in [client.query(database, &hello).body(), client.command(database, hello)] {
                assert_eq!(reply.get_i32("code").ok(), Some(73), "{database}: {reply}");
                let expected = format!("Invalid database name: '{database}'");
                assert_eq!(reply.get_str("errmsg").ok(), Some(expected.as_str()));
            }
            assert!(is_ok(&client.hello()));
        }
    }
}

#[test]
fn what_belongs_to_authentication_is_answered_as_by_a_server_that_knows_nobody() {
    let (fake, torana) = start();
    let mut client = torana.client_of(fake.address());
    let reply = client.command("admin", doc! { "saslContinue": 1, "conversationId": 1 });
    assert_eq!(reply.get_i32("code").ok(), Some(17), "{reply}");
    assert_eq!(reply.get_str("errmsg").ok(), Some("No SASL session state found"));
    let reply = client.command("admin", doc! { "saslStart": 1, "mechanism": "SCRAM-SHA-256" });
    assert_eq!(reply.get_i32("code").ok(), Some(18), "{reply}");
    assert!(fake.requests("saslContinue").is_empty() && fake.requests("saslStart").is_empty());
    // A number that no server of these days does anything with: whether there is one is the server's to say.
    client.run("admin", doc! { "getnonce": 1 });
    fake.wait_requests("getnonce", 1);
}
