//! The test support tried on real servers: what it claims to do is seen to happen.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use bson::doc;
use support::message::{CHECKSUM_PRESENT, OP_INSERT, OP_REPLY, bytes_of};
use support::mongod::MongodOptions;
use support::ports::Ports;
use support::raw::is_ok;
use support::{
    HelloSpelling, Member, Mongod, Opcode, RawClient, Relay, ReplicaSet, Section, Torana, Version, ready,
    wait_until,
};

#[test]
fn reserved_ports_are_nobody_elses() {
    let (first, second) = (Ports::run(5), Ports::run(5));
    assert!(first.first() + 5 <= second.first() || second.first() + 5 <= first.first());
    let taken = std::net::TcpListener::bind(("127.0.0.1", first.get(3))).unwrap();
    let freed = first.first();
    drop(first);
    let again = Ports::run(5);
    assert!(
        again.first() > freed + 3 || again.first() + 5 <= freed + 3,
        "{} holds a port in use",
        again.first()
    );
    drop(taken);
}

#[test]
fn ready_line_is_read_with_sets_and_members() {
    assert_eq!(ready::parse("torana ready: rs0 127.0.0.1:1->a:2 127."), None, "half a line is none");
    let listeners = ready::parse("starting\ntorana ready: rs0 h:1->a:2 h:2->b:2 rs1 h:9->c:2\n").unwrap();
    let named: Vec<_> =
        listeners.iter().map(|l| (l.set.as_str(), l.listen.as_str(), l.member.as_str())).collect();
    assert_eq!(named, [("rs0", "h:1", "a:2"), ("rs0", "h:2", "b:2"), ("rs1", "h:9", "c:2")]);
}

#[test]
fn standalone_answers_every_hello_in_its_own_opcode() {
    let mongod = Mongod::standalone();
    let mut client = mongod.client();
    for spelling in HelloSpelling::ALL {
        for (opcode, answer) in [(Opcode::Msg, 2013), (Opcode::Query, OP_REPLY)] {
            let reply = client.hello_message(spelling, opcode, doc! {});
            assert_eq!(reply.opcode(), answer, "{spelling:?} as {opcode:?}");
            assert!(is_ok(&reply.body()), "{}", reply.body());
        }
    }
    let mut insert = doc! { "insert": "c", "$db": "t" };
    insert.insert("ordered", true);
    let documents = Section::Sequence("documents", vec![doc! { "_id": 1 }, doc! { "_id": 2 }]);
    client.send_msg(CHECKSUM_PRESENT, &[Section::Body(insert), documents]);
    assert_eq!(client.read().body().get_i32("n").unwrap(), 2, "mongod takes our checksum and sequence");
}

#[test]
fn legacy_versions_run_and_take_legacy_writes() {
    for version in [Version::V44, Version::V50] {
        let mongod = Mongod::start(MongodOptions { version, ..MongodOptions::default() });
        let mut client = mongod.client();
        client.send_legacy(OP_INSERT, 0, "t.c", &bytes_of(&doc! { "_id": 7 }));
        let error = client.query("t", &doc! { "getLastError": 1 }).body();
        assert!(is_ok(&error), "{error}");
        assert_eq!(client.run("t", doc! { "count": "c" }).get_i32("n").unwrap(), 1);
    }
}

#[test]
fn killed_primary_is_replaced_and_comes_back() {
    let mut set = ReplicaSet::of(3).own_addresses().start();
    let hosts = set.client(0).hello().get_array("hosts").unwrap().clone();
    assert_eq!(hosts, set.hosts().into_iter().map(bson::Bson::String).collect::<Vec<_>>());
    let killed = set.primary();
    set.members[killed].kill();
    let started = Instant::now();
    let new = set.primary_other_than(killed);
    assert!(started.elapsed() < Duration::from_secs(15), "election took {:?}", started.elapsed());
    set.members[killed].restart();
    set.wait_healthy();
    set.client(new).run("t", doc! { "insert": "c", "documents": [{ "_id": 1 }], "writeConcern": { "w": 3 } });
    assert_ne!(set.step_down(), set.primary_other_than(new));
}

#[test]
fn members_of_every_kind_join_and_leave() {
    let kinds = ReplicaSet::builder().member(Member::plain().tags(doc! { "dc": "east" }));
    let mut set = kinds.member(Member::passive()).member(Member::hidden()).member(Member::arbiter()).start();
    let hello = set.client(set.primary()).hello();
    for (field, host) in [("hosts", 0), ("passives", 1), ("arbiters", 3)] {
        assert_eq!(hello.get_array(field).unwrap(), &[bson::Bson::String(set.host(host))], "{hello}");
    }
    let added = set.add_member(Member::passive());
    assert_eq!(set.config().get_array("members").unwrap().len(), 5);
    set.remove_member(added);
    assert_eq!(set.config().get_array("members").unwrap().len(), 4);
}

#[test]
fn relayed_set_loses_a_primary_whose_network_is_gone() {
    let set = ReplicaSet::of(3).relayed().start();
    let primary = set.primary();
    let mut through = RawClient::connect(set.relays[primary].address());
    assert_eq!(through.hello().get_str("me").unwrap(), set.host(primary));
    set.members[primary].pause();
    through.set_timeout(Duration::from_millis(200));
    through.send_command("admin", doc! { "ping": 1 });
    assert_eq!(through.try_read().unwrap_err().kind(), ErrorKind::WouldBlock);
    set.primary_other_than(primary);
    set.members[primary].resume();
    set.wait_healthy();
}

#[test]
fn shared_set_is_one_set() {
    let first: *const ReplicaSet = ReplicaSet::shared();
    let second = std::thread::spawn(|| ReplicaSet::shared() as *const ReplicaSet as usize).join().unwrap();
    assert_eq!(first as usize, second);
    ReplicaSet::shared().wait_healthy();
}

#[test]
fn relay_does_each_fault_and_stops_doing_it() {
    let mongod = Mongod::standalone();
    let relay = Relay::to(&mongod.address());
    let ping = doc! { "ping": 1 };
    let mut client = RawClient::connect(relay.address());
    client.run("t", ping.clone());

    relay.delay(Duration::from_millis(100));
    let started = Instant::now();
    client.run("t", ping.clone());
    assert!(started.elapsed() >= Duration::from_millis(200), "{:?}", started.elapsed());

    relay.slice(3);
    client.run("t", ping.clone());

    for silence in [Relay::blackhole, Relay::blackhole_to_client, Relay::blackhole_to_server] {
        silence(&relay);
        client.set_timeout(Duration::from_millis(150));
        let id = client.send_command("t", ping.clone());
        assert_eq!(client.try_read().unwrap_err().kind(), ErrorKind::WouldBlock);
        relay.pass();
        client.set_timeout(Duration::from_secs(10));
        assert_eq!(client.read().response_to(), id, "what was held goes on");
    }
    assert_eq!(relay.open(), 1);
    relay.reset_all();
    assert_eq!(client.try_read().unwrap_err().kind(), ErrorKind::ConnectionReset);
    wait_until("no connection is left", Duration::from_secs(5), || relay.open() == 0);

    let mut client = RawClient::connect(relay.address());
    client.run("t", ping.clone());
    relay.close_all();
    assert_eq!(client.try_read().unwrap_err().kind(), ErrorKind::UnexpectedEof);
    relay.refuse();
    let refused =
        RawClient::try_connect(&relay.address()).and_then(|mut client| client.try_command("t", ping.clone()));
    assert!(refused.is_err());
}

#[test]
fn relay_cuts_replies_in_the_middle_and_forges_them() {
    let mongod = Mongod::standalone();
    let relay = Relay::to(&mongod.address());
    let ping = doc! { "ping": 1 };

    relay.cut_replies_after(20);
    let mut cut = RawClient::connect(relay.address());
    cut.send_command("t", ping.clone());
    assert_eq!(cut.read_to_close().len(), 20);

    relay.pass();
    let mut client = RawClient::connect(relay.address());
    relay.mangle_replies(|mut reply| {
        let twice = reply.raw.clone();
        reply.raw[8] ^= 0x40;
        vec![twice, reply.raw]
    });
    let id = client.send_command("t", ping.clone());
    assert_eq!(client.read().response_to(), id);
    assert_eq!(client.read().response_to(), id ^ 0x40, "a second reply, to nobody's request");

    relay.pass();
    relay.inject(&support::message::op_msg(900, 77, 0, &[Section::Body(doc! { "ok": 1 })]));
    assert_eq!(client.read().response_to(), 77);
    client.run("t", ping);
}

#[test]
fn child_dies_with_its_process_and_shows_its_figures() {
    let mongod = Mongod::standalone();
    let process = mongod.process();
    assert!(process.rss_kib() > 10_000 && process.threads() > 5 && process.descriptors() > 5);
    assert!(process.cpu_time() > Duration::ZERO);
    mongod.pause();
    let mut unanswered = mongod.client();
    unanswered.set_timeout(Duration::from_millis(100));
    assert!(unanswered.try_command("t", doc! { "ping": 1 }).is_err(), "it is stopped");
    mongod.resume();
    mongod.client().run("t", doc! { "ping": 1 });
    let name = std::fs::read_to_string(format!("/proc/{}/comm", process.id())).unwrap();
    assert!(name.starts_with("mongod"), "the process id is mongod's own: {name}");
    let id = process.id();
    drop(mongod);
    assert!(!std::path::Path::new(&format!("/proc/{id}")).exists());
}

#[test]
fn torana_starts_in_front_of_a_set_and_is_asked_about_itself() {
    let set = ReplicaSet::of(1).start();
    let config = format!("uri = \"{}\"\nlisten = \"127.0.0.1:{{port0}}\"\n", set.uri());
    for builder in
        [Torana::serve(set.uri()).argument("--pool-max").argument("4"), Torana::with_config(config)]
    {
        let mut torana = builder.start();
        let through = torana.client_of(&set.host(0)).hello();
        assert_eq!(through.get_str("me").unwrap(), torana.listener_of(&set.host(0)));
        assert_eq!(torana.metric("torana_clients_accepted_total", &["set=\"rs0\""]), 1.0);
        assert_eq!(torana.metric("torana_clients_accepted_total", &["set=\"other\""]), 0.0);
        assert!(torana.process().rss_kib() > 1_000 && torana.get("/healthz").0 == 200);
        assert!(torana.stop(Duration::from_secs(20)).success(), "{}", torana.log());
    }
}
