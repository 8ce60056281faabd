use super::*;
use crate::replay::job::ConnectionId;
use crate::wire::{OpMsgBuilder, checksum_matches};
use bson::oid::ObjectId;
use bson::spec::BinarySubtype;
use bson::{Binary, Document, Timestamp, doc};
use proptest::prelude::*;

fn job(command: &Document, flags: u32, cursors: CursorUse) -> Job {
    let message = OpMsgBuilder::message(1, 0, MsgFlags(flags), &bson::serialize_to_vec(command).unwrap());
    let session = command.get_document("lsid").ok().map(|_| [3; 16]);
    Job {
        number: 0,
        connection: ConnectionId { lap: 0, number: 1 },
        time: 0,
        message,
        waits_for: Vec::new(),
        cursors,
        session,
        wants_none: false,
        may_upsert: false,
        is_racing: false,
        recorded: None,
    }
}

fn rewritten(maps: &Maps, command: &Document, flags: u32, cursors: CursorUse) -> Result<Document, Unmatched> {
    let mut job = job(command, flags, cursors);
    maps.rewrite(&mut job, 0)?;
    stamp(&mut job.message, 99);
    assert_eq!(read_i32(&job.message, 0), Some(job.message.len() as i32));
    assert_eq!(read_i32(&job.message, 4), Some(99));
    if flags & MsgFlags::CHECKSUM_PRESENT != 0 {
        assert!(checksum_matches(&job.message));
    }
    let body = OpMsg::parse(&job.message, Side::Client).unwrap().body;
    Ok(bson::deserialize_from_slice(body).unwrap())
}

fn uuid(bytes: [u8; 16]) -> Document {
    doc! { "id": Binary { subtype: BinarySubtype::Uuid, bytes: bytes.to_vec() } }
}

#[test]
fn all_that_belongs_to_the_old_set_is_replaced_and_the_rest_stays() {
    let mut maps = Maps::new([1; 32]);
    maps.set_cursor(0, 11, 22, 0);
    let old = Timestamp { time: 1, increment: 1 };
    let command = doc! { "getMore": 11i64, "collection": "c", "lsid": uuid([3; 16]), "$clusterTime": { "clusterTime": old },
    "readConcern": { "level": "majority", "afterClusterTime": old, "x": 1 }, "txnNumber": 5i64, "$db": "app" };
    let session = maps.session(0, &[3; 16]);
    let wanted = |concern: Document| doc! { "getMore": 22i64, "collection": "c", "lsid": uuid(session), "readConcern": concern, "txnNumber": 5i64, "$db": "app" };
    let cursors = CursorUse::More(11);
    for flags in [0, MsgFlags::CHECKSUM_PRESENT] {
        let got = rewritten(&maps, &command, flags, cursors).unwrap();
        assert_eq!(got, wanted(doc! { "level": "majority", "x": 1 }));
    }
    maps.set_time(session, (7 << 32) | 8);
    maps.set_time(session, 5);
    let now = Timestamp { time: 7, increment: 8 };
    let got = rewritten(&maps, &command, 0, cursors).unwrap();
    assert_eq!(got, wanted(doc! { "level": "majority", "afterClusterTime": now, "x": 1 }));
}

#[test]
fn a_cursor_that_is_not_there_or_on_another_member_is_unmatched() {
    let mut maps = Maps::new([1; 32]);
    let more = doc! { "getMore": 11i64, "collection": "c", "$db": "app" };
    assert_eq!(rewritten(&maps, &more, 0, CursorUse::More(11)), Err(Unmatched));
    maps.set_cursor(0, 11, 22, 1);
    assert_eq!(rewritten(&maps, &more, 0, CursorUse::More(11)), Err(Unmatched));
    maps.set_cursor(0, 11, 22, 0);
    assert!(rewritten(&maps, &more, 0, CursorUse::More(11)).is_ok());
    maps.set_cursor(0, 11, 0, 0);
    assert_eq!(rewritten(&maps, &more, 0, CursorUse::More(11)), Err(Unmatched));
}

#[test]
fn cursors_to_be_killed_are_those_of_this_run_alone() {
    let mut maps = Maps::new([1; 32]);
    let kill = doc! { "killCursors": "c", "cursors": [11i64, 12i64], "$db": "app" };
    assert_eq!(rewritten(&maps, &kill, 0, CursorUse::Kill), Err(Unmatched));
    maps.set_cursor(0, 12, 24, 0);
    let wanted = doc! { "killCursors": "c", "cursors": [0i64, 24i64], "$db": "app" };
    assert_eq!(rewritten(&maps, &kill, 0, CursorUse::Kill), Ok(wanted));
}

#[test]
fn sessions_that_are_ended_are_those_of_this_run() {
    let maps = Maps::new([1; 32]);
    let end = doc! { "endSessions": [uuid([3; 16]), uuid([4; 16])], "$db": "admin" };
    let wanted = doc! { "endSessions": [uuid(maps.session(0, &[3; 16])), uuid(maps.session(0, &[4; 16]))], "$db": "admin" };
    assert_eq!(rewritten(&maps, &end, 0, CursorUse::None), Ok(wanted));
    assert_ne!(maps.session(0, &[3; 16]), maps.session(1, &[3; 16]));
    assert_ne!(maps.session(0, &[3; 16]), Maps::new([2; 32]).session(0, &[3; 16]));
}

#[test]
fn ids_that_the_server_made_are_replaced_wherever_they_stand() {
    let mut maps = Maps::new([1; 32]);
    let (old, new, other) =
        (ObjectId::from_bytes([1; 12]), ObjectId::from_bytes([2; 12]), ObjectId::from_bytes([3; 12]));
    maps.set_id(0, old.bytes(), new.bytes());
    let find = |id: ObjectId| doc! { "find": "c", "filter": { "$or": [{ "_id": id }, { "_id": { "$in": [other, id] } }] }, "$db": "app" };
    assert_eq!(rewritten(&maps, &find(old), 0, CursorUse::None), Ok(find(new)));
    let mut in_sequence = job(&doc! { "insert": "c", "$db": "app" }, 0, CursorUse::None);
    let document = bson::serialize_to_vec(&doc! { "ref": old }).unwrap();
    in_sequence.message.push(1);
    in_sequence.message.extend((4 + 10 + document.len() as i32).to_le_bytes());
    in_sequence.message.extend(b"documents\0");
    in_sequence.message.extend(&document);
    Header::patch_length(&mut in_sequence.message);
    maps.rewrite(&mut in_sequence, 0).unwrap();
    assert!(in_sequence.message.ends_with(&bson::serialize_to_vec(&doc! { "ref": new }).unwrap()));
}

proptest! {
    #[test]
    fn no_message_makes_it_panic(at in 0usize..400, with: u8) {
        let mut maps = Maps::new([1; 32]);
        maps.set_cursor(0, 11, 22, 0);
        maps.set_id(0, [1; 12], [2; 12]);
        let time = Timestamp { time: 1, increment: 1 };
        let command = doc! { "getMore": 11i64, "collection": "c", "lsid": uuid([3; 16]), "$clusterTime": { "clusterTime": time },
        "readConcern": { "afterClusterTime": time }, "cursors": [11i64], "x": ObjectId::from_bytes([1; 12]), "$db": "app" };
        let mut job = job(&command, 0, CursorUse::Kill);
        let at = at % job.message.len();
        job.message[at] = with;
        if maps.rewrite(&mut job, 0).is_ok() {
            prop_assert_eq!(read_i32(&job.message, 0), Some(job.message.len() as i32));
        }
    }
}
