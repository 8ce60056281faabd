//! The order of all writes, and what documents there are in the end, as the servers have them.

use bson::spec::BinarySubtype;
use bson::{Bson, Document, Timestamp, Uuid, doc};

use super::commands::COLLECTIONS;
use super::event::{Key, Seen};
use super::order::Change;
use super::reply::{documents, returned};
use super::session::{DATABASE, client_of};
use crate::support::RawClient;

/// What the last entry says of the time.
pub fn now(member: &mut RawClient) -> Timestamp {
    let last = doc! { "find": "oplog.rs", "sort": { "$natural": -1 }, "limit": 1 };
    let reply = member.run("local", last);
    let batch = reply.get_document("cursor").unwrap().get_array("firstBatch").unwrap();
    batch[0].as_document().unwrap().get_timestamp("ts").unwrap()
}

/// All writes of the run's clients behind `since`, in their order. Panics if the oplog no longer goes back so far.
pub fn changes(member: &mut RawClient, since: Timestamp) -> Vec<Change> {
    let first = member.run("local", doc! { "find": "oplog.rs", "sort": { "$natural": 1 }, "limit": 1 });
    let oldest = first.get_document("cursor").unwrap().get_array("firstBatch").unwrap()[0].clone();
    let oldest = oldest.as_document().unwrap().get_timestamp("ts").unwrap();
    assert!(oldest <= since, "the oplog of {since:?} is gone: make it larger, or the run shorter");
    let find = doc! { "find": "oplog.rs", "filter": { "ts": { "$gt": since }, "lsid": { "$exists": true } }, "batchSize": 5000 };
    let mut changes = Vec::new();
    let mut reply = member.run("local", find);
    loop {
        let cursor = reply.get_document("cursor").unwrap();
        let batch = cursor.get_array("firstBatch").or(cursor.get_array("nextBatch")).unwrap();
        changes.extend(batch.iter().filter_map(|entry| change(entry.as_document().unwrap())));
        match cursor.get_i64("id").unwrap() {
            0 => return changes,
            id => {
                reply =
                    member.run("local", doc! { "getMore": id, "collection": "oplog.rs", "batchSize": 5000 })
            }
        }
    }
}

fn change(entry: &Document) -> Option<Change> {
    let session = entry.get_document("lsid").ok()?.get("id")?;
    let client = client_of(&uuid(session)?)?;
    let id = u64::from(client) << 32 | entry.get_i64("txnNumber").ok()? as u64;
    let parts = match entry.get_document("o").ok()?.get_array("applyOps") {
        Ok(parts) => parts.iter().filter_map(|part| part.as_document()).filter_map(written).collect(),
        Err(_) => vec![written(entry)?],
    };
    (!parts.is_empty()).then_some(Change { id, documents: parts })
}

/// The document that an entry, or a part of a transaction's, has written, and whether it is there now.
fn written(entry: &Document) -> Option<(Key, bool)> {
    let ns = entry.get_str("ns").ok()?.strip_prefix(DATABASE)?.strip_prefix('.')?;
    let collection = COLLECTIONS.iter().position(|(name, _)| *name == ns)? as u8;
    let (holder, is_there) = match entry.get_str("op").ok()? {
        "i" => ("o", true),
        "u" => ("o2", true),
        "d" => ("o", false),
        _ => return None,
    };
    let id = entry.get_document(holder).unwrap().get_i32("_id").unwrap() as u8;
    Some((Key { collection, id }, is_there))
}

fn uuid(value: &Bson) -> Option<Uuid> {
    match value {
        Bson::Binary(binary) if binary.subtype == BinarySubtype::Uuid => binary.to_uuid().ok(),
        _ => None,
    }
}

/// All documents that a majority has.
pub fn last_documents(primary: &mut RawClient) -> Vec<(Key, Seen)> {
    let mut all = Vec::new();
    for (index, (name, _)) in COLLECTIONS.iter().enumerate() {
        let reply = primary.run(DATABASE, doc! { "find": *name, "readConcern": { "level": "majority" } });
        let returned = documents(returned(&reply));
        let key = |id| Key { collection: index as u8, id };
        all.extend(returned.into_iter().map(|(id, seen)| (key(id), seen)));
    }
    all
}
