//! Clients of the torana binary that send what no driver sends: each is told what was wrong, or closed, and no other
//! client notices.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use bson::doc;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};
use support::fake_server::name_of;
use support::message::{OP_MSG, OP_QUERY, OP_REPLY, bytes_of, message, op_msg};
use support::{FakeServer, RawClient, Section, Then, Torana, torana_with, wait_until};

const SOON: Duration = Duration::from_secs(10);

fn start(bounds: &str) -> (FakeServer, Torana) {
    let fake = FakeServer::answering();
    let torana = torana_with(&fake.uri(), bounds);
    (fake, torana)
}

/// Sends `bytes` and gives the text of the error that comes before the connection is closed; empty if none does.
fn is_told(fake: &FakeServer, torana: &Torana, bytes: &[u8]) -> String {
    let mut bystander = torana.client_of(fake.address());
    let mut client = torana.client_of(fake.address());
    client.send(bytes);
    let told = client.try_read().map(|reply| reply.body().get_str("errmsg").unwrap().to_owned());
    assert!(client.read_to_close().is_empty());
    assert_eq!(bystander.run("test", doc! { "ping": 1, "n": 7 }).get_i32("n").ok(), Some(7));
    told.unwrap_or_default()
}

fn header(length: i32, opcode: i32) -> Vec<u8> {
    [length, 1, 0, opcode].map(i32::to_le_bytes).concat()
}

#[test]
fn impossible_lengths_are_refused_by_value_and_limit_before_a_byte_more_is_read() {
    let (fake, torana) = start("");
    let before = torana.metric("process_resident_memory_bytes", &[]);
    let lengths = [i32::MIN, -1, 0, 15, 48_000_001, i32::MAX];
    for length in lengths {
        let told = is_told(&fake, &torana, &header(length, OP_MSG));
        assert!(told.contains(&format!("client sent message length {length}")), "{told}");
    }
    let ended = torana.metric("torana_clients_ended_total", &["protocol_error"]);
    assert_eq!(ended, lengths.len() as f64);
    let grown = torana.metric("process_resident_memory_bytes", &[]) - before;
    assert!(grown < 10e6, "{grown} bytes more");
}

#[test]
fn a_client_that_speaks_tls_is_told_so() {
    let (fake, torana) = start("");
    let hello = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 7, 7, 7, 7, 7, 7];
    let told = is_told(&fake, &torana, &hello);
    assert!(told.contains("speaks TLS"), "{told}");
}

#[test]
fn unknown_opcodes_flags_and_sections_are_refused_by_name() {
    let (fake, torana) = start("");
    let body = bytes_of(&doc! { "ping": 1, "$db": "test" });
    let with_flags = |flags: u32, kind: u8| {
        let payload = [flags.to_le_bytes().as_slice(), &[kind], &body].concat();
        message(1, 0, OP_MSG, &payload)
    };
    for (bytes, says) in [
        (header(16, 77), "77"),
        (header(16, OP_MSG), "flag bits"),
        (with_flags(1 << 5, 0), "flag"),
        (with_flags(0, 9), "unknown kind"),
        (message(1, 0, OP_MSG, &0u32.to_le_bytes()), "no kind 0"),
        (message(1, 0, OP_MSG, &[0, 0, 0, 0, 0, 255, 255, 255, 127, 0]), "longer than its message"),
        (message(1, 0, OP_QUERY, b"\0\0\0\0no end of the namespace"), "namespace"),
    ] {
        let told = is_told(&fake, &torana, &bytes);
        assert!(told.contains(says), "{says:?}: {told:?}");
        assert!(told.contains("torana"), "{told:?}");
    }
    assert_eq!(
        is_told(&fake, &torana, &header(16, OP_REPLY)),
        "",
        "a reply is answered by nothing but the end"
    );
    // Optional bits may be anything (OP_MSG specification, "flagBits").
    let mut client = torana.client_of(fake.address());
    client.send(&with_flags(1 << 20, 0));
    assert_eq!(client.read().body().get_str("name").ok(), Some("ping"));
}

#[test]
fn what_is_no_bson_is_refused_and_not_forwarded() {
    let (fake, torana) = start("");
    let ping = bytes_of(&doc! { "ping": 1, "a": "b", "$db": "test" });
    let broken = |at: usize, byte: u8| {
        let mut bytes = ping.clone();
        bytes[at] = byte;
        bytes
    };
    // The first type; the first key's end; the length of the string; the end mark.
    for body in [broken(4, 0x42), broken(9, 65), broken(20, 200), broken(ping.len() - 1, 1)] {
        let payload = [&[0, 0, 0, 0, 0], body.as_slice()].concat();
        let told = is_told(&fake, &torana, &message(1, 0, OP_MSG, &payload));
        assert!(told.contains("BSON"), "{body:?}: {told:?}");
    }
    // All that came through are the bystanders' pings.
    assert_eq!(fake.requests("ping").len(), 4);
}

#[test]
fn a_key_without_an_end_is_refused() {
    let (fake, torana) = start("");
    let mut body = vec![0; 4];
    body.extend([vec![0x10], vec![b'k'; 100_000]].concat());
    body[..4].copy_from_slice(&(100_005_i32).to_le_bytes());
    let payload = [&[0, 0, 0, 0, 0], body.as_slice()].concat();
    let told = is_told(&fake, &torana, &message(1, 0, OP_MSG, &payload));
    assert!(told.contains("cut off"), "{told:?}");
}

#[test]
fn documents_nested_ten_thousand_deep_pass_unread_and_harm_nothing() {
    let (fake, torana) = start("");
    fake.script(|peer, request| peer.reply(request, doc! { "ok": 1.0 }));
    // Each level: length, type document, key "a", inner document, end.
    let deep = (0..10_000).fold(vec![5, 0, 0, 0, 0], |inner, _| {
        let length = (4 + 3 + inner.len() + 1) as i32;
        [length.to_le_bytes().as_slice(), &[3, b'a', 0], &inner, &[0]].concat()
    });
    for (key, is_forwarded) in
        [(b"ping\0".as_slice(), true), (b"hello\0", false), (b"replSetReconfig\0", true)]
    {
        let database = bytes_of(&doc! { "$db": "admin" });
        let elements = [&[3], key, &deep, &database[4..]].concat();
        let length = (4 + elements.len()) as i32;
        let payload = [&[0, 0, 0, 0, 0], length.to_le_bytes().as_slice(), &elements].concat();
        let mut client = torana.client_of(fake.address());
        client.send(&message(1, 0, OP_MSG, &payload));
        assert_eq!(client.read().response_to(), 1);
        let name = std::str::from_utf8(&key[..key.len() - 1]).unwrap();
        assert_eq!(fake.requests(name).len(), usize::from(is_forwarded), "{name}");
    }
}

#[test]
fn fail_points_nested_as_deep_as_a_message_allows_harm_nothing() {
    let (fake, torana) = start("");
    fake.script(|peer, request| peer.reply(request, doc! { "ok": 1.0 }));
    let front = bytes_of(&doc! { "configureFailPoint": "failCommand", "mode": "alwaysOn" });
    let back = bytes_of(&doc! { "$db": "admin" });
    for levels in [100, 500, 10_000] {
        let deep = (0..levels).fold(vec![5, 0, 0, 0, 0], |inner, _| {
            let length = (4 + 3 + inner.len() + 1) as i32;
            [length.to_le_bytes().as_slice(), &[3, b'a', 0], &inner, &[0]].concat()
        });
        let elements = [&front[4..front.len() - 1], b"\x03data\0", &deep, &back[4..]].concat();
        let length = (4 + elements.len()) as i32;
        let payload = [&[0, 0, 0, 0, 0], length.to_le_bytes().as_slice(), &elements].concat();
        let mut client = torana.client_of(fake.address());
        client.send(&message(1, 0, OP_MSG, &payload));
        assert_eq!(client.read().response_to(), 1, "{levels}");
    }
    assert_eq!(fake.requests("configureFailPoint").len(), 3);
}

#[test]
fn a_field_that_stands_twice_passes_as_it_came() {
    let (fake, torana) = start("");
    let one = bytes_of(&doc! { "ping": 1, "n": 1 });
    let two = bytes_of(&doc! { "n": 2, "n2": 1, "$db": "test" });
    let elements = [&one[4..one.len() - 1], &two[4..]].concat();
    let length = (4 + elements.len()) as i32;
    let payload = [&[0, 0, 0, 0, 0], length.to_le_bytes().as_slice(), &elements].concat();
    let mut client = torana.client_of(fake.address());
    client.send(&message(1, 0, OP_MSG, &payload));
    client.read();
    assert_eq!(fake.requests("ping")[0].message.raw[16..], payload);
}

#[test]
fn a_message_cut_off_by_its_client_is_never_forwarded() {
    let (fake, torana) = start("");
    let whole =
        op_msg(1, 0, 0, &[Section::Body(doc! { "insert": "c", "pad": "x".repeat(100_000), "$db": "t" })]);
    for length in [1, 15, 16, 40, 20_000, whole.len() - 1] {
        let mut client = torana.client_of(fake.address());
        client.send(&whole[..length]);
        client.stream().shutdown(Shutdown::Write).unwrap();
        assert!(client.read_to_close().is_empty());
    }
    assert!(fake.requests("insert").is_empty());
    assert_eq!(torana.metric("torana_clients_ended_total", &["reason=\"error\""]), 6.0);
    is_told(&fake, &torana, &header(0, OP_MSG));
}

#[test]
fn a_byte_a_second_is_not_enough_to_log_in_in_time() {
    let (fake, torana) = start("[limits]\nlogin_timeout = \"600ms\"");
    let mut client = torana.client_of(fake.address());
    let began = Instant::now();
    let hello = op_msg(1, 0, 0, &[Section::Body(doc! { "hello": 1, "$db": "admin" })]);
    let fed = hello.iter().take_while(|byte| {
        std::thread::sleep(Duration::from_millis(100));
        client.stream().write_all(&[**byte]).is_ok()
    });
    assert!(fed.count() < 60);
    assert!(client.read_to_close().is_empty());
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    assert_eq!(torana.metric("torana_clients_ended_total", &["login_timeout"]), 1.0);
}

#[test]
fn a_message_that_does_not_end_is_not_waited_for() {
    let (fake, torana) = start("[limits]\nmessage_timeout = \"500ms\"");
    let mut client = torana.client_of(fake.address());
    client.run("test", doc! { "ping": 1 });
    client.send(&header(48_000_000, OP_MSG));
    client.send(&[0; 100_000]);
    assert!(client.read_to_close().is_empty());
    assert_eq!(torana.metric("torana_clients_ended_total", &["slow_message"]), 1.0);
}

#[test]
fn a_message_begun_behind_a_whole_one_is_not_waited_for_either_and_gives_its_memory_back() {
    let bounds = "[limits]\nmessage_timeout = \"1s\"\nrequest_buffer_max = \"64MiB\"";
    let (fake, torana) = start(bounds);
    let ping = op_msg(1, 0, 0, &[Section::Body(doc! { "ping": 1, "$db": "test" })]);
    let mut hoarder = torana.client_of(fake.address());
    hoarder.send(&[ping, header(48_000_000, OP_MSG)].concat());
    assert_eq!(hoarder.read().body().get_str("name").ok(), Some("ping"));
    let mut other = torana.client_of(fake.address());
    other.run("test", doc! { "ping": 1, "pad": "x".repeat(30_000_000) });
    assert!(hoarder.read_to_close().is_empty());
}

#[test]
fn a_client_that_never_reads_its_48_megabytes_holds_up_only_itself_and_is_closed_in_time() {
    const LONG: usize = 47_000_000;
    let fake = FakeServer::start(|peer, request| match name_of(request).as_str() {
        "find" => peer.reply(request, doc! { "long": "x".repeat(LONG), "ok": 1.0 }),
        _ => peer.ok(request),
    });
    let bounds = "[limits]\nclient_write_timeout = \"1500ms\"\n[pool]\nmax = 8";
    let torana = torana_with(&fake.uri(), bounds);
    let before = torana.metric("process_resident_memory_bytes", &[]);
    let mut stalled: Vec<RawClient> = (0..4).map(|_| torana.client_of(fake.address())).collect();
    for client in &mut stalled {
        client.send_command("test", doc! { "find": "c" });
    }
    fake.wait_requests("find", 4);
    let mut other = torana.client_of(fake.address());
    for n in 0..50 {
        assert_eq!(other.run("test", doc! { "ping": 1, "n": n }).get_i32("n").ok(), Some(n));
    }
    let grown = torana.metric("process_resident_memory_bytes", &[]) - before;
    assert!(grown < 20e6, "{grown} bytes more");
    let slow = || torana.metric("torana_clients_ended_total", &["slow_reader"]);
    wait_until("slow readers are closed", SOON, || slow() == 4.0);
    let got = stalled[0].read_to_close().len();
    assert!(got < LONG, "{got} bytes");
}

#[test]
fn a_reader_that_is_slow_and_steady_gets_all_of_its_reply() {
    const LONG: usize = 20_000_000;
    let fake =
        FakeServer::start(|peer, request| peer.reply(request, doc! { "long": "x".repeat(LONG), "ok": 1.0 }));
    let torana = torana_with(&fake.uri(), "[limits]\nclient_write_timeout = \"1s\"");
    let mut client = torana.client_of(fake.address());
    client.send_command("test", doc! { "find": "c" });
    let (mut total, mut buffer) = (0, vec![0; 1_000_000]);
    while total < LONG {
        std::thread::sleep(Duration::from_millis(75));
        let count = client.stream().read(&mut buffer).unwrap();
        assert!(count > 0, "closed after {total} bytes");
        total += count;
    }
}

#[test]
fn requests_sent_ahead_without_reading_are_bounded_in_memory() {
    let (fake, torana) = start("[limits]\nclient_write_timeout = \"60s\"");
    let before = torana.metric("process_resident_memory_bytes", &[]);
    let client = torana.client_of(fake.address());
    client.stream().set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let ping = op_msg(1, 0, 0, &[Section::Body(doc! { "ping": 1, "n": "x".repeat(10_000), "$db": "t" })]);
    let mut sent = 0;
    while client.stream().write_all(&ping).is_ok() && sent < 100_000_000 {
        sent += ping.len();
    }
    assert!(sent < 100_000_000, "torana took {sent} bytes ahead");
    let grown = torana.metric("process_resident_memory_bytes", &[]) - before;
    assert!(grown < 10e6, "{grown} bytes more");
    is_told(&fake, &torana, &header(0, OP_MSG));
}

#[test]
fn five_thousand_half_open_connections_cost_little_and_those_that_began_are_closed_in_time() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let (fake, torana) = start("[limits]\nlogin_timeout = \"4s\"");
    let before = torana.metric("process_resident_memory_bytes", &[]);
    let mut half_open: Vec<RawClient> = (0..5_000).map(|_| torana.client_of(fake.address())).collect();
    half_open.iter_mut().step_by(2).for_each(|client| client.send(&[40, 0]));
    let mut other = torana.client_of(fake.address());
    other.run("test", doc! { "ping": 1 });
    let grown = torana.metric("process_resident_memory_bytes", &[]) - before;
    assert!(grown < 64e6, "{grown} bytes more");
    let closed = || torana.metric("torana_clients_ended_total", &["login_timeout"]);
    wait_until("those are closed", Duration::from_secs(20), || closed() == 2_500.0);
    for client in half_open.iter_mut().step_by(2) {
        assert!(client.read_to_close().is_empty());
    }
    other.run("test", doc! { "ping": 1 });
}

/// Legacy drivers fill their pools with connections that they greet at first use, which may be hours later.
#[test]
fn a_client_that_says_nothing_is_closed_only_to_make_room() {
    let (fake, torana) = start("[limits]\nlogin_timeout = \"300ms\"\nclients_max = 3");
    let mut clients: Vec<RawClient> = (0..3).map(|_| torana.client_of(fake.address())).collect();
    std::thread::sleep(Duration::from_secs(1));
    let closed = || torana.metric("torana_clients_ended_total", &["login_timeout"]);
    assert_eq!(closed(), 0.0);
    clients[0].run("test", doc! { "ping": 1 });
    wait_until("there is room", SOON, || {
        torana.client_of(fake.address()).try_command("test", doc! { "ping": 1 }).is_ok()
    });
    assert_eq!(closed(), 2.0);
    clients[0].run("test", doc! { "ping": 1 });
    clients[1..].iter_mut().for_each(|client| assert!(client.read_to_close().is_empty()));
}

/// The same when a server connection finds no descriptor: the clients that would be served go before those that wait.
#[test]
fn a_client_that_says_nothing_is_closed_when_a_server_connection_finds_no_descriptor() {
    let (fake, mut torana) = start("[limits]\nlogin_timeout = \"300ms\"");
    let mut silent: Vec<RawClient> = (0..3).map(|_| torana.client_of(fake.address())).collect();
    let mut client = torana.client_of(fake.address());
    client.run("admin", doc! { "hello": 1 });
    std::thread::sleep(Duration::from_secs(1));
    let pid = Pid::from_raw(torana.process().id() as i32);
    let usual = getrlimit(Resource::Nofile);
    let taken = torana.process().descriptor_numbers();
    let free = (0..).find(|number| !taken.contains(number));
    prlimit(pid, Resource::Nofile, Rlimit { current: free, ..usual }).unwrap();
    client.send_command("test", doc! { "ping": 1 });
    assert!(client.read_to_close().is_empty(), "it is not served, as its member cannot be reached");
    let closed = || torana.metric("torana_clients_ended_total", &["login_timeout"]);
    wait_until("there is room", SOON, || closed() == 3.0);
    prlimit(pid, Resource::Nofile, usual).unwrap();
    silent.iter_mut().for_each(|client| assert!(client.read_to_close().is_empty()));
}

#[test]
fn clients_above_the_limit_are_closed_and_those_below_it_served() {
    let (fake, torana) = start("[limits]\nclients_max = 3");
    let mut inside: Vec<RawClient> = (0..3).map(|_| torana.client_of(fake.address())).collect();
    inside.iter_mut().for_each(|client| drop(client.run("test", doc! { "ping": 1 })));
    let mut outside = torana.client_of(fake.address());
    assert!(outside.read_to_close().is_empty());
    inside.iter_mut().for_each(|client| drop(client.run("test", doc! { "ping": 1 })));
    assert_eq!(torana.metric("torana_clients_rejected_total", &[]), 1.0);
    drop(inside.pop());
    wait_until("there is room again", SOON, || {
        let mut client = torana.client_of(fake.address());
        client.try_command("test", doc! { "ping": 1 }).is_ok()
    });
}

#[test]
fn an_idle_client_is_closed_after_its_time_and_one_that_waits_for_its_reply_is_not() {
    let (fake, torana) = start("[limits]\nclient_idle_timeout = \"1s\"");
    fake.script(|peer, request| {
        if name_of(request) == "find" {
            std::thread::sleep(Duration::from_millis(2_500));
        }
        peer.ok(request)
    });
    let mut idle = torana.client_of(fake.address());
    idle.run("test", doc! { "ping": 1 });
    let mut busy = torana.client_of(fake.address());
    busy.send_command("test", doc! { "find": "c" });
    assert!(idle.read_to_close().is_empty());
    assert_eq!(busy.read().body().get_str("name").ok(), Some("find"));
    assert_eq!(torana.metric("torana_clients_ended_total", &["idle_timeout"]), 1.0);
}

#[test]
fn a_reply_that_never_comes_ends_its_client_at_the_limit_for_replies() {
    let fake = FakeServer::start(|peer, request| match name_of(request).as_str() {
        "find" => Then::Next,
        _ => peer.ok(request),
    });
    let torana = torana_with(&fake.uri(), "[pool]\nreply_timeout = \"500ms\"");
    let mut client = torana.client_of(fake.address());
    client.send_command("test", doc! { "find": "c" });
    assert!(client.read_to_close().is_empty());
    assert_eq!(torana.metric("torana_clients_ended_total", &["reply_timeout"]), 1.0);
    let broken = fake.requests("find")[0].connection;
    let reply = torana.client_of(fake.address()).run("test", doc! { "ping": 1 });
    assert_ne!(reply.get_i32("connection").ok(), Some(broken));
}

#[test]
fn large_requests_that_are_only_announced_hold_up_nobody() {
    let (fake, torana) = start("");
    // 25 of 48 MB: more than all the memory for large requests.
    let announcing: Vec<RawClient> = (0..25)
        .map(|_| {
            let mut client = torana.client_of(fake.address());
            client.send(&header(48_000_000, OP_MSG));
            client
        })
        .collect();
    let mut honest = torana.client_of(fake.address());
    std::thread::sleep(Duration::from_millis(300));
    for length in [20_000, 3_000_000] {
        let asked = Instant::now();
        honest.run("test", doc! { "insert": "c", "documents": [{ "pad": "x".repeat(length) }] });
        assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    }
    drop(announcing);
}

#[test]
fn large_requests_that_each_need_what_the_others_hold_are_all_read() {
    // Room for 16 MB and one of the longest.
    let (fake, torana) = start("[limits]\nrequest_buffer_max = \"64MiB\"");
    let writing: Vec<_> = (0..4)
        .map(|n| {
            let mut client = torana.client_of(fake.address());
            std::thread::spawn(move || {
                let insert = doc! { "insert": "c", "documents": [{ "pad": "x".repeat(15_000_000) }], "n": n };
                assert_eq!(client.run("test", insert).get_i32("n").ok(), Some(n));
            })
        })
        .collect();
    for written in writing {
        written.join().unwrap();
    }
    assert_eq!(fake.requests("insert").len(), 4);
}
