//! Names in replies and requests: the shapes that mongod 4.4.2 and 6.0.5 send, and any other document.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use bson::{Bson, Document, doc};
use proptest::prelude::*;
use torana::command::Fields;
use torana::rewrite::{
    ReplyKind, Rewritten, request_names_members, rewrite_reply, rewrite_reply_message, rewrite_request,
    rewrite_request_message,
};
use torana::topology::GroupNames;
use torana::wire::{MsgFlags, OpMsg, OpMsgBuilder, OpReply, Side, write_op_reply};

const KINDS: [ReplyKind; 9] = [
    ReplyKind::ReplSetGetStatus,
    ReplyKind::ReplSetGetConfig,
    ReplyKind::ReplSet,
    ReplyKind::ServerStatus,
    ReplyKind::ConnPoolStats,
    ReplyKind::GetDiagnosticData,
    ReplyKind::GetLastError,
    ReplyKind::SystemReplset,
    ReplyKind::SystemReplsetDocuments,
];

fn names() -> GroupNames {
    let pairs = [("db1:27017", "gate:1"), ("db2:27017", "gate:2"), ("db3:27017", "gate:3")];
    GroupNames::new(pairs.map(|(own, name)| (own.to_owned(), name.to_owned())))
}

fn bytes(document: &Document) -> Vec<u8> {
    bson::serialize_to_vec(document).unwrap()
}

fn document(bytes: &[u8]) -> Document {
    bson::deserialize_from_slice(bytes).unwrap()
}

#[track_caller]
fn reply_becomes(kind: ReplyKind, before: Document, after: Document, done: Rewritten) {
    let mut out = vec![0xaa];
    assert_eq!(rewrite_reply(kind, &bytes(&before), &names(), &mut out), Ok(done));
    assert_eq!(document(&out[1..]), after);
}

fn changed(changed: usize) -> Rewritten {
    Rewritten { changed, unmapped: 0 }
}

#[test]
fn a_status_names_members_by_the_clients_names_in_its_texts_too() {
    let before = doc! { "set": "rs0", "syncSourceHost": "db2:27017", "syncSourceId": 1, "members": [
        { "_id": 0, "name": "db1:27017", "syncSourceHost": "", "lastHeartbeatMessage": "" },
        { "_id": 1, "name": "db2:27017", "syncSourceHost": "db1:27017", "infoMessage": "syncing from: db1:27017" },
        { "_id": 9, "name": "db9:27017", "lastHeartbeatMessage": "Error connecting to db2:27017 :: caused by :: Connection refused" },
    ], "ok": 1.0 };
    let after = doc! { "set": "rs0", "syncSourceHost": "gate:2", "syncSourceId": 1, "members": [
        { "_id": 0, "name": "gate:1", "syncSourceHost": "", "lastHeartbeatMessage": "" },
        { "_id": 1, "name": "gate:2", "syncSourceHost": "gate:1", "infoMessage": "syncing from: gate:1" },
        { "_id": 9, "name": "db9:27017", "lastHeartbeatMessage": "Error connecting to gate:2 :: caused by :: Connection refused" },
    ], "ok": 1.0 };
    reply_becomes(ReplyKind::ReplSetGetStatus, before, after, Rewritten { changed: 6, unmapped: 1 });
}

#[test]
fn a_configuration_names_hosts_and_keeps_tags_and_settings() {
    let config = |a: &str, b: &str| {
        doc! { "config": { "_id": "rs0", "members": [
        { "_id": 0, "host": a, "tags": { "host": "db1:27017" } }, { "_id": 1, "host": b, "hidden": true } ],
        "settings": { "getLastErrorModes": {} } }, "commitmentStatus": true, "ok": 1.0 }
    };
    let (before, after) = (config("db1:27017", "DB2:27017"), config("gate:1", "gate:2"));
    reply_becomes(ReplyKind::ReplSetGetConfig, before, after, changed(2));
}

#[test]
fn a_server_status_names_members_in_repl_only() {
    let status = |a: &str, b: &str| {
        doc! { "host": "db1:27017", "repl": { "hosts": [a, b], "passives": [b], "arbiters": [b], "primary": a, "me": b,
        "replicationProgress": [ { "rid": 1, "host": a } ] }, "metrics": { "me": "db1:27017" }, "ok": 1.0 }
    };
    let (before, after) = (status("db1:27017", "db2:27017"), status("gate:1", "gate:2"));
    reply_becomes(ReplyKind::ServerStatus, before.clone(), after.clone(), changed(7));
    let (before, after) =
        (doc! { "data": { "serverStatus": before } }, doc! { "data": { "serverStatus": after } });
    reply_becomes(ReplyKind::GetDiagnosticData, before, after, changed(7));
}

#[test]
fn connection_pools_are_keyed_by_the_clients_names() {
    let stats = |a: &str, b: &str| {
        doc! { "numClientConnections": 1, "replicaSets": { "rs0": { "hosts": [ { "addr": a, "ok": true } ] } },
        "pools": { "NetworkInterfaceTL-ReplNetwork": { "poolInUse": 1, b: { "inUse": 0 } } },
        "hosts": { a: { "created": 1 }, b: { "created": 2 } }, "ok": 1.0 }
    };
    let (before, after) = (stats("db1:27017", "db2:27017"), stats("gate:1", "gate:2"));
    reply_becomes(ReplyKind::ConnPoolStats, before, after, changed(4));
}

#[test]
fn errors_and_answers_of_the_other_replica_set_commands_name_members() {
    let error = |a: &str, b: &str| {
        doc! { "ok": 0.0, "errmsg": format!("same host field, members.1.host == members.2.host == {a}: host: \"{b}\","), "code": 103 }
    };
    reply_becomes(ReplyKind::ReplSet, error("db1:27017", "db2:27017"), error("gate:1", "gate:2"), changed(2));
    let answer = |a: &str, b: &str| doc! { "syncFromRequested": a, "prevSyncTarget": b, "me": a, "ok": 1.0 };
    reply_becomes(
        ReplyKind::ReplSet,
        answer("db1:27017", "db2:27017"),
        answer("gate:1", "gate:2"),
        changed(3),
    );
    let written = |a: &str| doc! { "n": 0, "writtenTo": [a], "err": Bson::Null, "ok": 1.0 };
    reply_becomes(ReplyKind::GetLastError, written("db1:27017"), written("gate:1"), changed(1));
    reply_becomes(
        ReplyKind::GetLastError,
        doc! { "writtenTo": null },
        doc! { "writtenTo": null },
        changed(0),
    );
}

#[test]
fn stored_configurations_are_rewritten_in_any_shape() {
    let batch = |a: &str| doc! { "cursor": { "firstBatch": [ { "members": [ { "host": a } ] }, { "any": [[a]] } ], "id": 0i64, "ns": "local.system.replset" }, "ok": 1.0 };
    reply_becomes(ReplyKind::SystemReplset, batch("db1:27017"), batch("gate:1"), changed(2));
    let distinct = |a: &str| doc! { "values": [a], "ok": 1.0 };
    reply_becomes(ReplyKind::SystemReplset, distinct("db1:27017"), distinct("gate:1"), changed(1));
}

#[test]
fn the_command_tells_the_kind_of_its_reply() {
    let kind = |command: Document| {
        let body = bytes(&command);
        ReplyKind::for_command(&Fields::read(&body).unwrap(), &body)
    };
    assert_eq!(kind(doc! { "replSetGetStatus": 1, "$db": "admin" }), Some(ReplyKind::ReplSetGetStatus));
    assert_eq!(kind(doc! { "replSetStepDown": 1, "$db": "admin" }), Some(ReplyKind::ReplSet));
    assert_eq!(kind(doc! { "serverStatus": 1, "$db": "app" }), Some(ReplyKind::ServerStatus));
    let local = doc! { "find": "system.replset", "$db": "local" };
    assert_eq!(kind(local), Some(ReplyKind::SystemReplset));
    let join = doc! { "$lookup": { "from": "system.replset", "pipeline": [], "as": "x" } };
    let joins =
        |database: &str| doc! { "aggregate": "startup_log", "pipeline": [join.clone()], "$db": database };
    assert_eq!(kind(joins("local")), Some(ReplyKind::SystemReplset));
    assert_eq!(kind(joins("app")), None);
    let more = doc! { "getMore": 5i64, "collection": "system.replset", "$db": "local" };
    assert_eq!(kind(more), Some(ReplyKind::SystemReplset));
    assert_eq!(kind(doc! { "find": "system.replset", "$db": "app" }), None);
    assert_eq!(kind(doc! { "find": "things", "$db": "app" }), None);
    assert_eq!(kind(doc! { "find": "oplog.rs", "$db": "local" }), None);
    assert_eq!(ReplyKind::for_namespace(b"local.system.replset"), Some(ReplyKind::SystemReplsetDocuments));
    assert_eq!(ReplyKind::for_namespace(b"app.system.replset"), None);
}

#[test]
fn requests_name_members_by_their_own_names() {
    let becomes = |before: Document, after: Document, done| {
        let body = bytes(&before);
        assert!(request_names_members(&Fields::read(&body).unwrap()));
        let mut out = Vec::new();
        assert_eq!(rewrite_request(&body, &names(), &mut out), Ok(done));
        assert_eq!(document(&out), after);
    };
    let config = |a: &str| doc! { "replSetReconfig": { "_id": "rs0", "members": [ { "_id": 0, "host": a }, { "_id": 1, "host": "new:27017" } ] }, "force": true, "$db": "admin" };
    becomes(config("Gate:1"), config("db1:27017"), Rewritten { changed: 1, unmapped: 1 });
    becomes(doc! { "replSetSyncFrom": "gate:2" }, doc! { "replSetSyncFrom": "db2:27017" }, changed(1));
    becomes(doc! { "replSetInitiate": {} }, doc! { "replSetInitiate": {} }, changed(0));
    becomes(doc! { "replSetInitiate": 1 }, doc! { "replSetInitiate": 1 }, changed(0));
    becomes(
        doc! { "dropConnections": 1, "hostAndPort": ["gate:3"] },
        doc! { "dropConnections": 1, "hostAndPort": ["db3:27017"] },
        changed(1),
    );
    let find = bytes(&doc! { "find": "c" });
    assert!(!request_names_members(&Fields::read(&find).unwrap()));
}

#[test]
fn whole_messages_of_either_opcode_are_rewritten() {
    let one = |host: &str| bytes(&doc! { "_id": "rs0", "members": [ { "host": host } ] });
    let mut legacy = Vec::new();
    write_op_reply(&mut legacy, 1, 2, &[one("db1:27017"), one("db2:27017")].concat());
    let mut out = vec![0xaa];
    let done = rewrite_reply_message(ReplyKind::SystemReplsetDocuments, &legacy, &names(), &mut out).unwrap();
    assert_eq!(done, changed(2));
    assert_eq!(out[1 + OpReply::DOCUMENTS_AT..], [one("gate:1"), one("gate:2")].concat());
    let flags = MsgFlags(MsgFlags::CHECKSUM_PRESENT);
    let request = OpMsgBuilder::message(3, 0, flags, &bytes(&doc! { "replSetSyncFrom": "gate:3" }));
    let mut out = Vec::new();
    rewrite_request_message(&request, &names(), &mut out).unwrap();
    assert!(torana::wire::checksum_matches(&out));
    let parsed = OpMsg::parse(&out, Side::Client).unwrap();
    assert_eq!(document(parsed.body), doc! { "replSetSyncFrom": "db3:27017" });
}

#[test]
fn half_a_document_is_an_error_and_leaves_nothing_behind() {
    let body = bytes(&doc! { "members": [ { "name": "db1:27017" } ], "ok": 1.0 });
    let mut out = vec![7];
    for end in 0..body.len() {
        assert!(rewrite_reply(ReplyKind::ReplSetGetStatus, &body[..end], &names(), &mut out).is_err());
        assert_eq!(out, [7]);
    }
    // The message is whole, the document in it is not.
    let mut message = OpMsgBuilder::message(1, 2, MsgFlags(0), &body);
    let last = message.len() - 1;
    message[last] = 1;
    assert!(rewrite_reply_message(ReplyKind::ReplSetGetStatus, &message, &names(), &mut out).is_err());
    assert_eq!(out, [7]);
}

/// Any key that a rule speaks of, or some other.
fn key() -> impl Strategy<Value = String> {
    const KNOWN: [&str; 19] = [
        "members",
        "name",
        "host",
        "hosts",
        "repl",
        "pools",
        "replicaSets",
        "addr",
        "primary",
        "me",
        "errmsg",
        "config",
        "cursor",
        "data",
        "serverStatus",
        "writtenTo",
        "replSetReconfig",
        "db1:27017",
        "gate:2",
    ];
    prop_oneof![3 => proptest::sample::select(&KNOWN[..]).prop_map(str::to_owned), 1 => "[a-z:0-9]{0,6}"]
}

fn value() -> impl Strategy<Value = Bson> {
    let text = prop_oneof![
        Just("db1:27017".to_owned()),
        Just("x db2:27017, db1:270170".to_owned()),
        Just("gate:3".to_owned()),
        "[ -~]{0,12}"
    ];
    let leaf = prop_oneof![
        4 => text.prop_map(Bson::String),
        1 => any::<i32>().prop_map(Bson::Int32),
        1 => any::<bool>().prop_map(Bson::Boolean),
        1 => Just(Bson::Null),
        1 => proptest::collection::vec(any::<u8>(), 0..6).prop_map(|bytes| Bson::Binary(bson::Binary { subtype: bson::spec::BinarySubtype::Generic, bytes })),
    ];
    leaf.prop_recursive(5, 60, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Bson::Array),
            proptest::collection::vec((key(), inner), 0..6)
                .prop_map(|fields| Bson::Document(fields.into_iter().collect())),
        ]
    })
}

fn any_document() -> impl Strategy<Value = Document> {
    proptest::collection::vec((key(), value()), 0..8).prop_map(|fields| fields.into_iter().collect())
}

/// How many leaves a value has: a rewriting adds and takes away none.
fn leaves(value: &Bson) -> usize {
    match value {
        Bson::Document(document) => document.iter().map(|(_, value)| leaves(value)).sum(),
        Bson::Array(values) => values.iter().map(leaves).sum(),
        _ => 1,
    }
}

proptest! {
    #[test]
    fn without_names_every_rewriting_is_the_identity(document in any_document()) {
        let body = bytes(&document);
        let nobody = GroupNames::default();
        for kind in KINDS {
            let mut out = Vec::new();
            let done = rewrite_reply(kind, &body, &nobody, &mut out).unwrap();
            prop_assert_eq!((&out, done.changed), (&body, 0));
        }
        let mut out = Vec::new();
        rewrite_request(&body, &nobody, &mut out).unwrap();
        prop_assert_eq!(out, body);
    }

    #[test]
    fn what_comes_out_is_a_document_with_the_same_leaves(before in any_document()) {
        let body = bytes(&before);
        for kind in KINDS {
            let mut out = Vec::new();
            rewrite_reply(kind, &body, &names(), &mut out).unwrap();
            prop_assert_eq!(i32::from_le_bytes(*out.first_chunk().unwrap()) as usize, out.len());
            // Keys that become equal merge in a decoded document, so raw elements are counted there.
            if kind != ReplyKind::ConnPoolStats && kind != ReplyKind::GetDiagnosticData {
                prop_assert_eq!(leaves(&document(&out).into()), leaves(&before.clone().into()));
            }
            bson::RawDocumentBuf::from_bytes(out).unwrap().iter().for_each(|element| { element.unwrap(); });
        }
    }

    #[test]
    fn a_configuration_that_goes_out_and_comes_back_is_the_same(ids in proptest::collection::vec(0usize..5, 0..6)) {
        let host = |id: &usize| ["db1:27017", "db2:27017", "db3:27017", "db8:1", "db9"][*id];
        let members: Vec<Document> = ids.iter().map(|id| doc! { "_id": *id as i32, "host": host(id) }).collect();
        let config = doc! { "_id": "rs0", "members": members };
        let mut out = Vec::new();
        rewrite_reply(ReplyKind::ReplSetGetConfig, &bytes(&doc! { "config": config.clone() }), &names(), &mut out).unwrap();
        let seen = document(&out).get_document("config").unwrap().clone();
        let mut back = Vec::new();
        rewrite_request(&bytes(&doc! { "replSetReconfig": seen }), &names(), &mut back).unwrap();
        prop_assert_eq!(document(&back), doc! { "replSetReconfig": config });
    }

    #[test]
    fn damaged_documents_and_messages_never_panic(document in any_document(), at in any::<prop::sample::Index>(), with in any::<u8>(), cut in any::<prop::sample::Index>()) {
        let mut message = OpMsgBuilder::message(1, 2, MsgFlags(0), &bytes(&document));
        let place = at.index(message.len());
        message[place] = with;
        message.truncate(cut.index(message.len()) + 1);
        let mut out = Vec::new();
        for kind in KINDS {
            let _ = rewrite_reply_message(kind, &message, &names(), &mut out);
            let _ = rewrite_reply(kind, message.get(21..).unwrap_or_default(), &names(), &mut out);
        }
        let _ = rewrite_request_message(&message, &names(), &mut out);
    }
}
