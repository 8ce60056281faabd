//! Rewriting against real servers: the same words as mongod's, and no member's address left but in the closed list.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use bson::{Bson, Document, doc, oid::ObjectId};
use support::mongod::Version;
use support::{Member, Message, Mongod, Opcode, RawClient, ReplicaSet};
use torana::command::Fields;
use torana::rewrite::{
    HelloAsked, HelloRequest, HelloTemplate, ReplyKind, Spelling, rewrite_reply_message, rewrite_request,
};
use torana::topology::GroupNames;

/// Commands that end the server, change what the other commands say, or wait for ever.
const NOT_TO_RUN: [&str; 14] = [
    "shutdown",
    "replSetStepDown",
    "replSetStepUp",
    "replSetFreeze",
    "replSetMaintenance",
    "replSetTest",
    "replSetAbortPrimaryCatchUp",
    "logRotate",
    "rotateCertificates",
    "fsync",
    "sleep",
    "cpuload",
    "replSetResizeOplog",
    "setFeatureCompatibilityVersion",
];

fn bytes(document: &Document) -> Vec<u8> {
    bson::serialize_to_vec(document).unwrap()
}

/// Hellos whose fields have nothing wrong, and everything that can be wrong with each.
fn hellos(process_id: ObjectId) -> Vec<Document> {
    let version = doc! { "processId": process_id, "counter": 0i64 };
    let client = doc! { "driver": { "name": "x", "version": "1" }, "os": { "type": "Linux" } };
    let mut all =
        vec![doc! { "hello": 1 }, doc! { "isMaster": 1 }, doc! { "ismaster": "x", "helloOk": false }];
    let odd = [
        Bson::Null,
        Bson::Undefined,
        Bson::Int32(1),
        Bson::Int32(-1),
        Bson::Int64(2),
        Bson::Double(-2.5),
        Bson::Double(-0.5),
        Bson::Decimal128("-3.5".parse().unwrap()),
        Bson::Boolean(false),
        Bson::String("1".into()),
        Bson::String("2".into()),
        Bson::Array(vec![]),
        Bson::Array(vec!["zlib".into(), 1.into()]),
        Bson::Document(doc! {}),
        Bson::Document(version.clone()),
        Bson::Document(client.clone()),
        Bson::ObjectId(process_id),
        Bson::MinKey,
        Bson::DateTime(bson::DateTime::from_millis(5)),
    ];
    let fields = [
        "helloOk",
        "topologyVersion",
        "maxAwaitTimeMS",
        "client",
        "compression",
        "hostInfo",
        "apiVersion",
        "apiStrict",
        "apiDeprecationErrors",
        "loadBalanced",
        "speculativeAuthenticate",
        "saslSupportedMechs",
        "unknown",
    ];
    for field in fields {
        all.extend(odd.iter().map(|value| doc! { "hello": 1, field: value.clone() }));
        // Beside a field that makes the hello wrong by itself: which comes first?
        all.extend(odd.iter().map(|value| doc! { "hello": 1, "client": {}, field: value.clone() }));
        all.extend(odd.iter().map(|value| doc! { "hello": 1, field: value.clone(), "client": &client }));
    }
    all.extend(odd.iter().map(|v| doc! { "hello": 1, "topologyVersion": v.clone(), "maxAwaitTimeMS": 1 }));
    all.extend(
        odd.iter().map(|v| doc! { "hello": 1, "topologyVersion": &version, "maxAwaitTimeMS": v.clone() }),
    );
    for part in ["processId", "counter", "other"] {
        let with = |value: &Bson| {
            let mut version = version.clone();
            version.insert(part, value.clone());
            doc! { "isMaster": 1, "topologyVersion": version, "maxAwaitTimeMS": 1 }
        };
        all.extend(odd.iter().map(with));
    }
    for part in ["application", "driver", "os", "platform"] {
        all.extend(odd.iter().map(|value| {
            let mut client = client.clone();
            client.insert(part, value.clone());
            doc! { "hello": 1, "client": client }
        }));
        for inner in ["name", "version", "type"] {
            all.extend(odd.iter().map(|value| {
                let mut client = client.clone();
                let fine = doc! { "name": "n", "version": "v", "type": "t" };
                client.insert(part, fine);
                client.get_document_mut(part).unwrap().insert(inner, value.clone());
                doc! { "hello": 1, "client": client }
            }));
        }
        for length in [128, 129, 900, 1200] {
            let mut client = client.clone();
            client.insert(part, doc! { "name": "a".repeat(length), "version": "v", "type": "t" });
            all.push(doc! { "hello": 1, "client": client });
        }
    }
    for api in [doc! { "apiVersion": "1", "apiStrict": true }, doc! { "apiStrict": true, "apiVersion": "1" }]
    {
        for spelling in ["hello", "isMaster", "ismaster"] {
            let mut request = doc! { spelling: 1 };
            request.extend(api.clone());
            all.push(request);
        }
    }
    // torana refuses the one by itself, and does not look into the other until it has users.
    all.retain(|request| request.get_bool("loadBalanced").ok() != Some(true));
    all.retain(|request| request.get_document("saslSupportedMechs").is_err());
    all
}

/// The errors of a standalone are compared, which have no cluster time behind them: byte for byte.
#[test]
fn every_hello_is_refused_in_mongods_own_bytes_or_not_at_all() {
    let mongod = Mongod::standalone();
    let process_id =
        mongod.client().hello().get_document("topologyVersion").unwrap().get_object_id("processId").unwrap();
    let mut refused = 0;
    let mut different = Vec::new();
    for (flags, times) in [(0, 1), (0, 2), (1 << 16, 1)] {
        for mut request in hellos(process_id) {
            request.insert("$db", "admin");
            let mut client = mongod.client();
            let mut settled = false;
            for _ in 0..times {
                client.send_msg(flags, &[support::Section::Body(request.clone())]);
                let theirs = client.read().body();
                let body = bytes(&request);
                let ours = HelloRequest::read(&body, flags != 0, &mut settled).err().map(|error| {
                    let mut out = Vec::new();
                    error.write_document(&mut out);
                    out
                });
                refused += usize::from(ours.is_some());
                let theirs = (theirs.get_f64("ok").unwrap() != 1.0).then(|| bytes(&theirs));
                let ahead = theirs.as_ref().is_some_and(|error| error == &counter_ahead_error());
                if ours != theirs && !ahead {
                    let read = |bytes: Vec<u8>| bson::deserialize_from_slice::<Document>(&bytes).unwrap();
                    different.push(format!(
                        "{request}\n  ours {:?}\n  theirs {:?}",
                        ours.map(read),
                        theirs.map(read)
                    ));
                }
            }
        }
    }
    assert!(different.is_empty(), "{} differ:\n{}", different.len(), different.join("\n"));
    eprintln!("{refused} hellos were refused alike");
    assert!(refused > 1000, "only {refused} hellos were refused");
}

/// Standalones count nothing, so that 2 is ahead of them: the hello service compares, which has the counter.
fn counter_ahead_error() -> Vec<u8> {
    let mut out = Vec::new();
    torana::rewrite::counter_ahead(2, 0, true).write_document(&mut out);
    out
}

/// What may differ between two replies of one member, taken at different times on different connections.
fn settled(mut reply: Document) -> Document {
    for field in ["localTime", "lastWrite", "operationTime", "$clusterTime"] {
        if let Some(value) = reply.get_mut(field) {
            *value = Bson::Null;
        }
    }
    reply
}

#[test]
fn a_rendered_hello_is_what_the_member_says_itself_to_each_spelling() {
    let set = ReplicaSet::builder()
        .member(Member::plain())
        .member(Member::hidden().field("secondaryDelaySecs", 5))
        .member(Member::passive())
        .start();
    let own = GroupNames::new(set.hosts().into_iter().map(|host| (host.clone(), host)));
    for index in 0..set.members.len() {
        let copy = set.client(index).hello_message(support::HelloSpelling::Hello, Opcode::Msg, doc! {});
        let template = HelloTemplate::new(&copy.raw[21..], &own).unwrap();
        for spelling in support::HelloSpelling::ALL {
            for (opcode, at) in [(Opcode::Msg, 21), (Opcode::Query, 36)] {
                for hello_ok in [false, true] {
                    let fields = if hello_ok {
                        doc! { "helloOk": true }
                    } else {
                        doc! {}
                    };
                    let reply = set.client(index).hello_message(spelling, opcode, fields);
                    let legacy = spelling != support::HelloSpelling::Hello;
                    let asked = HelloAsked {
                        spelling: if legacy { Spelling::Legacy } else { Spelling::Modern },
                        hello_ok,
                        connection_id: reply.body().get_i32("connectionId").unwrap(),
                    };
                    let mut out = Vec::new();
                    template.write(&asked, &mut out);
                    assert_eq!(out.len(), reply.raw.len() - at);
                    let ours: Document = bson::deserialize_from_slice(&out).unwrap();
                    let ours = format!("{:?}", settled(ours));
                    assert_eq!(ours, format!("{:?}", settled(reply.body())), "{spelling:?} {opcode:?}");
                }
            }
        }
    }
}

fn gate(set: &ReplicaSet) -> GroupNames {
    let gated = |(index, host): (usize, String)| (host, format!("gate.example:{}", 27117 + index));
    GroupNames::new(set.hosts().into_iter().enumerate().map(gated))
}

/// The reply that a client of torana would see.
fn seen(client: &mut RawClient, db: &str, command: &Document, names: &GroupNames) -> Message {
    let mut request = command.clone();
    request.insert("$db", db);
    let body = bytes(&request);
    client.send_command(db, command.clone());
    let reply = client.read();
    match ReplyKind::for_command(&Fields::read(&body).unwrap(), &body) {
        Some(kind) => {
            let mut out = Vec::new();
            rewrite_reply_message(kind, &reply.raw, names, &mut out).unwrap();
            Message { raw: out }
        }
        None => reply,
    }
}

fn holds_an_address(reply: &Message) -> bool {
    ["127.0.0.2", "127.0.0.3", "127.0.0.4"].iter().any(|address| reply.contains(address))
}

/// Commands with arguments beside those of `listCommands` without any.
fn further_commands() -> Vec<(&'static str, Document)> {
    let pipeline = |stage: Document| doc! { "aggregate": 1, "pipeline": [stage], "cursor": {} };
    let on = |name: &str, stage: Document| doc! { "aggregate": name, "pipeline": [stage], "cursor": {} };
    vec![
        ("admin", doc! { "serverStatus": 1, "repl": 2, "advisoryHostFQDNs": 1, "mirroredReads": 1 }),
        ("admin", doc! { "replSetGetConfig": 1, "commitmentStatus": true }),
        ("admin", doc! { "replSetGetStatus": 1, "initialSync": 1 }),
        (
            "admin",
            doc! { "replSetReconfig": { "_id": "other", "members": [{ "_id": 0, "host": "127.0.0.2:1" }] } },
        ),
        ("admin", doc! { "currentOp": 1, "$all": true }),
        (
            "admin",
            pipeline(
                doc! { "$currentOp": { "allUsers": true, "idleConnections": true, "idleSessions": true } },
            ),
        ),
        ("admin", pipeline(doc! { "$listLocalSessions": { "allUsers": true } })),
        ("admin", doc! { "getLog": "global" }),
        ("admin", doc! { "getParameter": "*" }),
        ("local", doc! { "find": "system.replset" }),
        (
            "local",
            doc! { "aggregate": "system.replset", "pipeline": [{ "$project": { "x.y": "$members.host" } }], "cursor": {} },
        ),
        ("local", doc! { "distinct": "system.replset", "key": "members.host" }),
        ("local", doc! { "find": "oplog.rs", "batchSize": 1000 }),
        ("local", doc! { "find": "startup_log" }),
        ("local", doc! { "find": "replset.election" }),
        (
            "test",
            doc! { "insert": "things", "documents": [{ "a": 1 }], "writeConcern": { "w": 7, "wtimeout": 1 } },
        ),
        ("test", doc! { "explain": { "find": "things" }, "verbosity": "executionStats" }),
        ("test", on("things", doc! { "$collStats": { "storageStats": {}, "latencyStats": {} } })),
        ("test", on("things", doc! { "$indexStats": {} })),
        ("test", on("things", doc! { "$planCacheStats": {} })),
        ("config", doc! { "find": "transactions" }),
    ]
}

#[test]
fn no_reply_holds_a_members_address_but_the_closed_list() {
    let mut set = ReplicaSet::of(3).own_addresses().start();
    let names = gate(&set);
    for index in 0..3 {
        let on = doc! { "setParameter": 1, "diagnosticDataCollectionEnabled": true };
        set.client(index).run("admin", on);
    }
    let primary = set.primary();
    let secondaries: Vec<usize> = (0..3).filter(|index| *index != primary).collect();
    // A member that cannot be reached stands in the texts of the others' heartbeats.
    set.members[secondaries[1]].kill();
    std::thread::sleep(Duration::from_secs(3));
    let mut left = BTreeSet::new();
    let (mut rewritten, mut run) = (0, 0);
    for index in [primary, secondaries[0]] {
        let listed = set.client(index).run("admin", doc! { "listCommands": 1 });
        let listed = listed.get_document("commands").unwrap().keys().cloned();
        let listed = listed.filter(|name| !NOT_TO_RUN.contains(&name.as_str()));
        let plain = listed.flat_map(|name| [("admin", doc! { &name: 1 }), ("test", doc! { &name: 1 })]);
        for (db, command) in plain.chain(further_commands()) {
            let mut client = set.client(index);
            client.set_timeout(Duration::from_secs(20));
            let reply = seen(&mut client, db, &command, &names);
            // A hello never comes from a member: HelloTemplate makes it.
            let name = command.keys().next().unwrap();
            if ["hello", "isMaster", "ismaster"].contains(&name.as_str()) {
                continue;
            }
            run += 1;
            rewritten += usize::from(reply.contains("gate.example:"));
            if holds_an_address(&reply) {
                left.insert(command.iter().next().map(|(key, value)| format!("{key} {value}")).unwrap());
            }
        }
    }
    eprintln!("{run} replies, {rewritten} of them rewritten, addresses left in {left:?}");
    let allowed = ["find \"startup_log\"", "getCmdLineOpts 1", "getLog \"global\""];
    // The configuration sent in replSetReconfig names an address that is no member's; its error does not repeat it.
    assert_eq!(left.iter().map(String::as_str).collect::<Vec<_>>(), allowed);
    assert!(rewritten >= 20, "only {rewritten} of {run} replies were rewritten");
}

#[test]
fn a_client_can_reconfigure_by_the_names_that_it_knows() {
    let set = ReplicaSet::of(3).own_addresses().start();
    let names = gate(&set);
    let before = set.config();
    let primary = set.primary();
    let send = |index: usize, command: Document| {
        let mut out = Vec::new();
        rewrite_request(&bytes(&command), &names, &mut out).unwrap();
        let command: Document = bson::deserialize_from_slice(&out).unwrap();
        seen(&mut set.client(index), "admin", &command, &names).body()
    };
    let config = send(primary, doc! { "replSetGetConfig": 1 });
    let mut config = config.get_document("config").unwrap().clone();
    assert!(!format!("{config}").contains("127.0.0"));
    config.insert("version", before.get_i32("version").unwrap() + 1);
    let twice = {
        let mut twice = config.clone();
        let members = twice.get_array_mut("members").unwrap();
        let mut again = members[0].as_document().unwrap().clone();
        again.insert("_id", 50);
        members.push(again.into());
        twice
    };
    let error = send(primary, doc! { "replSetReconfig": twice });
    assert!(error.get_str("errmsg").unwrap().ends_with("== gate.example:27117"), "{error}");
    assert_eq!(send(primary, doc! { "replSetReconfig": config }).get_f64("ok").unwrap(), 1.0);
    set.wait_healthy();
    assert_eq!(set.config().get("members"), before.get("members"));
    let secondaries: Vec<usize> = (0..3).filter(|index| *index != primary).collect();
    let target = format!("gate.example:{}", 27117 + secondaries[1]);
    let answer = send(secondaries[0], doc! { "replSetSyncFrom": &target });
    assert_eq!(answer.get_str("syncFromRequested").ok(), Some(target.as_str()), "{answer}");
}

#[test]
fn what_a_4_4_server_names_in_the_legacy_ways_is_rewritten() {
    let set = ReplicaSet::of(2).version(Version::V44).own_addresses().start();
    let names = gate(&set);
    let mut client = set.client(set.primary());
    client.run("test", doc! { "insert": "things", "documents": [{ "a": 1 }] });
    let last = seen(&mut client, "test", &doc! { "getLastError": 1, "w": 2, "wtimeout": 10_000 }, &names);
    assert!(last.contains("gate.example:") && !holds_an_address(&last), "{}", last.body());
    let id = client.next_id();
    client.send(&support::message::op_query(id, 4, "local.system.replset", 0, &doc! {}));
    let stored = client.read();
    assert!(holds_an_address(&stored));
    let kind = ReplyKind::for_namespace(b"local.system.replset").unwrap();
    let mut out = Vec::new();
    assert_eq!(rewrite_reply_message(kind, &stored.raw, &names, &mut out).unwrap().changed, 2);
    let stored = Message { raw: out };
    assert!(!holds_an_address(&stored));
    assert_eq!(stored.documents().len(), 1);
}
