use bson::{Document, doc};
use proptest::prelude::*;

use super::*;

fn parse(reply: Document) -> ServerDescription {
    ServerDescription::parse(&bson::serialize_to_vec(&reply).unwrap()).unwrap()
}

fn kind(extra: Document) -> MemberKind {
    let mut reply = doc! { "setName": "rs0", "hosts": ["a:1"] };
    reply.extend(extra);
    parse(reply).kind
}

#[test]
fn each_kind_is_told_from_the_reply() {
    assert_eq!(kind(doc! { "isWritablePrimary": true }), MemberKind::Primary);
    assert_eq!(kind(doc! { "ismaster": true }), MemberKind::Primary);
    assert_eq!(kind(doc! { "secondary": true }), MemberKind::Secondary);
    assert_eq!(kind(doc! { "secondary": true, "passive": true }), MemberKind::Passive);
    assert_eq!(kind(doc! { "secondary": true, "passive": true, "hidden": true }), MemberKind::Hidden);
    assert_eq!(kind(doc! { "arbiterOnly": true }), MemberKind::Arbiter);
    assert_eq!(kind(doc! { "secondary": false }), MemberKind::Other);
    assert_eq!(parse(doc! { "isreplicaset": true }).kind, MemberKind::Ghost);
    assert_eq!(parse(doc! { "isWritablePrimary": true }).kind, MemberKind::Standalone);
    assert_eq!(parse(doc! { "ismaster": true, "msg": "isdbgrid" }).kind, MemberKind::Mongos);
}

#[test]
fn the_fields_of_a_primary_are_read() {
    let id = bson::oid::ObjectId::parse_str("7fffffff0000000000000005").unwrap();
    let process = bson::oid::ObjectId::new();
    let read = parse(doc! {
        "isWritablePrimary": true, "setName": "rs0", "setVersion": 3, "electionId": id, "me": "A:1", "primary": "A:1",
        "hosts": ["A:1", "b:2"], "passives": ["c:3"], "arbiters": ["d:4"],
        "topologyVersion": { "processId": process, "counter": 6i64 },
        "lastWrite": { "lastWriteDate": bson::DateTime::from_millis(77),
            "majorityOpTime": { "ts": bson::Timestamp { time: 2, increment: 1 }, "t": 1i64 } }, "operationTime": bson::Timestamp { time: 2, increment: 3 },
        "minWireVersion": 0, "maxWireVersion": 17, "helloOk": true,
    });
    assert_eq!(read.election_id.unwrap().term(), Some(5));
    assert_eq!(read.listed().map(HostPort::to_string).collect::<Vec<_>>(), ["a:1", "b:2", "c:3", "d:4"]);
    assert_eq!(read.me.unwrap().spelled(), "A:1");
    assert_eq!(read.topology_version, Some(TopologyVersion { process_id: process.bytes(), counter: 6 }));
    assert_eq!((read.last_write_millis, read.operation_time), (Some(77), Some((2 << 32) | 3)));
    assert_eq!((read.set_version, read.max_wire_version, read.hello_ok), (Some(3), 17, true));
}

#[test]
fn a_reply_that_lists_too_much_or_wrongly_is_refused() {
    let bytes = |reply: Document| bson::serialize_to_vec(&reply).unwrap();
    let many: Vec<String> = (0..200).map(|n| format!("h{n}:1")).collect();
    assert_eq!(ServerDescription::parse(&bytes(doc! { "hosts": many })), Err(DescriptionError::TooMany));
    let wrong = ServerDescription::parse(&bytes(doc! { "hosts": ["a:99999"] }));
    assert!(matches!(wrong, Err(DescriptionError::Address(_))));
}

#[test]
fn versions_of_different_processes_do_not_compare() {
    let (old, new) = ([1; 12], [2; 12]);
    let version = |process_id, counter| TopologyVersion { process_id, counter };
    assert!(version(old, 2).is_later_in_process(&version(old, 1)));
    assert!(!version(old, 1).is_later_in_process(&version(old, 1)));
    assert!(!version(new, 9).is_later_in_process(&version(old, 1)));
}

proptest! {
    #[test]
    fn a_damaged_reply_is_read_without_a_panic(at in 0usize..120, with in any::<u8>()) {
        let mut bytes = bson::serialize_to_vec(&doc! {
            "setName": "rs0", "hosts": ["a:1", "b:2"], "electionId": bson::oid::ObjectId::new(), "secondary": true,
            "topologyVersion": { "processId": bson::oid::ObjectId::new(), "counter": 1i64 },
        }).unwrap();
        let at = at % bytes.len();
        bytes[at] = with;
        let _ = ServerDescription::parse(&bytes);
    }
}
