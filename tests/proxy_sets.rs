//! Sets of every shape behind the torana binary: several in one process, several listener groups, one that is not
//! initiated yet, one that changes its members, servers that are no set.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use bson::{Document, doc};
use support::message::Message;
use support::ports::Ports;
use support::raw::is_ok;
use support::{FakeServer, Member, Mongod, Monitoring, RawClient, ReplicaSet, Torana, wait_until};

const SOON: Duration = Duration::from_secs(15);
/// For what needs an election or an initial sync.
const LATER: Duration = Duration::from_secs(60);

fn hosts(hello: &Document) -> BTreeSet<String> {
    let hosts = hello.get_array("hosts").map(Vec::as_slice).unwrap_or_default();
    hosts.iter().map(|host| host.as_str().unwrap().to_owned()).collect()
}

#[test]
fn two_sets_in_one_process_share_nothing_but_the_process() {
    let servers = [FakeServer::answering(), FakeServer::answering()];
    let ports = Ports::run(16);
    let section = |name: &str, server: &FakeServer, port: u16| {
        let (uri, listen) = (server.uri(), ports.get(port));
        format!("[[sets]]\nname = \"{name}\"\nuri = \"{uri}\"\nlisten = \"127.0.0.1:{listen}\"\n")
    };
    let config = section("orders", &servers[0], 0) + &section("users", &servers[1], 8);
    let torana = Torana::with_config(config).start();
    let sets: Vec<&str> = torana.listeners().iter().map(|listener| listener.set.as_str()).collect();
    assert_eq!(sets, ["orders", "users"]);
    let mut clients: Vec<RawClient> =
        servers.iter().map(|server| torana.client_of(server.address())).collect();
    for (index, client) in clients.iter_mut().enumerate() {
        let reply = client.run("test", doc! { "ping": 1, "n": index as i32 });
        assert_eq!(reply.get_i32("n").ok(), Some(index as i32));
        let listen = torana.listener_of(servers[index].address());
        assert_eq!(hosts(&client.hello()), BTreeSet::from([listen.to_owned()]));
    }
    // The end of one is not felt in the other.
    servers[0].refuse(true);
    servers[0].monitoring(Monitoring::Closes);
    wait_until("the first is lost", SOON, || {
        let mut client = torana.client_of(servers[0].address());
        client.try_command("admin", doc! { "hello": 1 }).is_err()
    });
    clients[1].run("test", doc! { "ping": 1 });
    clients[1].hello();
}

#[test]
fn each_listener_group_names_the_members_in_its_own_way_over_one_pool() {
    let server = FakeServer::answering();
    let ports = Ports::run(16);
    let group = |name: &str, port: u16, advertise: &str| {
        let listen = ports.get(port);
        format!(
            "[[listeners]]\nname = \"{name}\"\nlisten = \"127.0.0.1:{listen}\"\nadvertise = \"{advertise}\"\n"
        )
    };
    let config = format!("uri = \"{}\"\n", server.uri())
        + &group("inside", 0, "Mongo.Inside")
        + &group("outside", 8, "mongo.example");
    let _torana = Torana::with_config(config).start();
    let mut connections = BTreeSet::new();
    for (port, name) in [(0, "mongo.inside"), (8, "mongo.example")] {
        let mut client = RawClient::connect(("127.0.0.1", ports.get(port)));
        let hello = client.hello();
        let expected = format!("{name}:{}", ports.get(port));
        assert_eq!(hello.get_str("me").ok(), Some(expected.as_str()), "{hello}");
        assert_eq!(hosts(&hello), BTreeSet::from([expected]));
        let config = client.run("admin", doc! { "replSetGetConfig": 1 });
        assert!(config.to_string().contains(name), "{config}");
        connections.insert(client.run("test", doc! { "ping": 1 }).get_i32("connection").unwrap());
    }
    assert_eq!(connections.len(), 1, "two groups, one pool");
}

#[test]
fn a_set_is_initiated_through_torana_by_the_names_that_clients_know() {
    let set = ReplicaSet::of(2).own_addresses().uninitiated().start();
    let torana = Torana::serve(set.uri()).start();
    let listens: Vec<String> = (0..2).map(|index| torana.listener_of(&set.host(index)).to_owned()).collect();
    let mut config = set.initial_config();
    for (index, member) in config.get_array_mut("members").unwrap().iter_mut().enumerate() {
        member.as_document_mut().unwrap().insert("host", &listens[index]);
    }
    let mut client = RawClient::connect(&listens[0]);
    client.run("admin", doc! { "replSetInitiate": config });
    let stored = set.client(0).run("admin", doc! { "replSetGetConfig": 1 }).to_string();
    assert!(set.hosts().iter().all(|host| stored.contains(host)), "{stored}");
    wait_until("a primary, by its name in torana", LATER, || {
        let hello = RawClient::connect(&listens[0]).hello();
        hello.get_str("primary").is_ok_and(|primary| listens.iter().any(|listen| listen == primary))
    });
    let hello = RawClient::connect(&listens[1]).hello();
    assert_eq!(hosts(&hello), listens.iter().cloned().collect());
}

#[test]
fn members_come_and_go_without_touching_the_clients_of_others() {
    let mut set = ReplicaSet::of(2).own_addresses().start();
    let torana = Torana::serve(set.uri()).start();
    let stays_on = set.primary();
    let mut stays = torana.client_of(&set.host(stays_on));
    let number = stays.hello().get_i32("connectionId").unwrap();
    let added = set.add_member(Member::passive());
    let hello = |client: &mut RawClient| client.hello();
    let names = |hello: &Document, field: &str| hello.get_array(field).map_or(0, |names| names.len());
    wait_until("the new member has a place", SOON, || names(&hello(&mut stays), "passives") == 1);
    let passives = hello(&mut stays).get_array("passives").unwrap().clone();
    let place = passives[0].as_str().unwrap().to_owned();
    assert!(place.starts_with("127.0.0.1:"), "{place}");
    let mut on_new = RawClient::connect(&place);
    wait_until("it serves", SOON, || is_ok(&on_new.hello()));
    assert_eq!(on_new.hello().get_str("me").ok(), Some(place.as_str()));
    set.remove_member(added);
    on_new.read_to_close();
    wait_until("its listener is closed", SOON, || RawClient::try_connect(&place).is_err());
    assert_eq!(stays.hello().get_i32("connectionId").ok(), Some(number), "the same connection all along");
    stays.run("test", doc! { "ping": 1 });
    assert!(torana.metric("torana_clients_ended_total", &["member_removed"]) == 0.0, "its series go with it");
}

#[test]
fn a_member_that_was_removed_is_added_again_by_its_name_in_torana_and_torana_itself_is_refused() {
    let set = ReplicaSet::of(3).own_addresses().start();
    let torana = Torana::serve(set.uri()).start();
    let (stays_on, goes) = (set.primary(), set.secondary());
    let place = torana.listener_of(&set.host(goes)).to_owned();
    let mut client = torana.client_of(&set.host(stays_on));
    let config = |client: &mut RawClient| -> Document {
        client.run("admin", doc! { "replSetGetConfig": 1 }).get_document("config").unwrap().clone()
    };
    let whole = config(&mut client);
    let with_members = |client: &mut RawClient, change: &dyn Fn(&mut Vec<bson::Bson>)| -> Document {
        let mut changed = whole.clone();
        changed.insert("version", config(client).get_i32("version").unwrap() + 1);
        change(changed.get_array_mut("members").unwrap());
        doc! { "replSetReconfig": changed }
    };
    let host = |member: &bson::Bson| member.as_document().unwrap().get_str("host").unwrap().to_owned();
    let without = with_members(&mut client, &|members| members.retain(|member| host(member) != place));
    client.run("admin", without);
    wait_until("its listener is closed", SOON, || RawClient::try_connect(&place).is_err());

    let (front, port) = place.rsplit_once(':').unwrap();
    let nobodys = format!("{front}:{}", port.parse::<u16>().unwrap() + 5);
    let added = with_members(&mut client, &|members| {
        members.last_mut().unwrap().as_document_mut().unwrap().insert("host", nobodys.as_str());
    });
    let reply = client.command("admin", added);
    assert_eq!(reply.get_i32("code").ok(), Some(93), "{reply}");
    assert!(reply.get_str("errmsg").unwrap().contains(&nobodys), "{reply}");

    let again = with_members(&mut client, &|_| {});
    client.run("admin", again);
    let stored = set.client(stays_on).run("admin", doc! { "replSetGetConfig": 1 }).to_string();
    assert!(stored.contains(&set.host(goes)) && !stored.contains("127.0.0.1:"), "{stored}");
    wait_until("it is served at its place", LATER, || {
        RawClient::try_connect(&place).is_ok_and(|mut client| {
            client.try_command("admin", doc! { "hello": 1 }).is_ok_and(|hello| is_ok(&hello))
        })
    });
}

#[test]
fn a_standalone_and_a_direct_connection_are_served_as_what_they_are() {
    let standalone = Mongod::standalone();
    let torana = Torana::serve(format!("mongodb://{}/?directConnection=true", standalone.address())).start();
    let mut client = torana.client_of(&standalone.address());
    let hello = client.hello();
    assert!(is_ok(&hello) && !hello.contains_key("hosts") && !hello.contains_key("me"), "{hello}");
    client.run("test", doc! { "insert": "c", "documents": [{ "_id": 1 }] });

    let set = ReplicaSet::of(2).own_addresses().start();
    let host = set.host(set.secondary());
    let torana = Torana::serve(format!("mongodb://{host}/?directConnection=true")).start();
    assert_eq!(torana.listeners().len(), 1);
    let mut client = torana.client_of(&host);
    let hello = client.hello();
    let listen = torana.listener_of(&host);
    assert_eq!((hello.get_bool("secondary").ok(), hello.get_str("me").ok()), (Some(true), Some(listen)));
    let read = doc! { "find": "c", "$readPreference": { "mode": "secondaryPreferred" } };
    client.run("test", read);
}

/// Whether a real member's address stands in a reply.
fn holds_an_address(reply: &Message) -> bool {
    ["127.0.0.2", "127.0.0.3"].iter().any(|address| reply.contains(address))
}

#[test]
fn no_reply_through_torana_names_a_member_by_its_real_address() {
    let set = ReplicaSet::of(2).own_addresses().start();
    let torana = Torana::serve(set.uri()).start();
    let mut left = BTreeSet::new();
    for index in 0..2 {
        let listed = set.client(index).run("admin", doc! { "listCommands": 1 });
        let names = listed.get_document("commands").unwrap().keys().cloned();
        let plain = names.filter(|name| is_harmless(name)).map(|name| ("admin", doc! { name: 1 }));
        for (database, command) in plain.chain(further_commands()) {
            let mut client = torana.client_of(&set.host(index));
            client.send_command(database, command.clone());
            let Ok(reply) = client.try_read() else { panic!("no reply to {command}") };
            if holds_an_address(&reply) {
                left.insert(command.iter().next().map(|(key, value)| format!("{key} {value}")).unwrap());
            }
        }
    }
    let allowed = ["find \"startup_log\"", "getCmdLineOpts 1", "getLog \"global\""];
    assert_eq!(left.iter().map(String::as_str).collect::<Vec<_>>(), allowed);
}

/// Commands that end the server, change what others say, or wait.
fn is_harmless(name: &str) -> bool {
    let harmful = [
        "shutdown",
        "fsync",
        "sleep",
        "cpuload",
        "logRotate",
        "rotateCertificates",
        "setFeatureCompatibilityVersion",
        "replSetStepDown",
        "replSetStepUp",
        "replSetFreeze",
        "replSetMaintenance",
        "replSetTest",
        "replSetAbortPrimaryCatchUp",
        "replSetResizeOplog",
    ];
    !harmful.contains(&name)
}

fn further_commands() -> Vec<(&'static str, Document)> {
    let admin = |stage: Document| doc! { "aggregate": 1, "pipeline": [stage], "cursor": {} };
    let joined = doc! { "from": "system.replset", "pipeline": [], "as": "joined" };
    let joins = [doc! { "$limit": 1 }, doc! { "$lookup": joined }, doc! { "$project": { "joined": 1 } }];
    let joins: Vec<Document> = joins.into();
    vec![
        ("admin", doc! { "serverStatus": 1, "repl": 2 }),
        ("admin", doc! { "replSetGetStatus": 1, "initialSync": 1 }),
        ("admin", doc! { "currentOp": 1, "$all": true }),
        ("admin", admin(doc! { "$currentOp": { "allUsers": true, "idleConnections": true } })),
        ("admin", doc! { "getLog": "global" }),
        ("admin", doc! { "getParameter": "*" }),
        ("local", doc! { "find": "system.replset" }),
        ("local", doc! { "distinct": "system.replset", "key": "members.host" }),
        ("local", doc! { "aggregate": "startup_log", "pipeline": joins, "cursor": {} }),
        ("local", doc! { "find": "oplog.rs", "batchSize": 1000 }),
        ("local", doc! { "find": "startup_log" }),
        ("local", doc! { "find": "replset.election" }),
        (
            "test",
            doc! { "insert": "c", "documents": [{ "a": 1 }], "writeConcern": { "w": 7, "wtimeout": 1 } },
        ),
        ("test", doc! { "explain": { "find": "c" }, "verbosity": "executionStats" }),
    ]
}
