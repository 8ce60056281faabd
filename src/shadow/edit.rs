//! Which requests the second set is asked, and what it is asked in their place.
//!
//! Only what is known to change nothing is sent: four commands, of aggregates those with known stages alone. What belongs to
//! the first set or to the client's session is left out: sessions, transactions, cluster times, the read preference.

use std::time::Duration;

use crate::config::SHADOWED;
use crate::doc::{BsonType, DocWriter, Element, elements, find};
use crate::wire::{OpMsg, Section, Side};

/// Databases that are each set's own.
const OWN: [&[u8]; 3] = [b"admin", b"config", b"local"];

/// Stages that read the data, and nothing else. One that is missing here is not sent, so that none that writes, waits, draws
/// lots or speaks of the server ever is.
const STAGES: [&[u8]; 27] = [
    b"$addFields",
    b"$bucket",
    b"$bucketAuto",
    b"$count",
    b"$densify",
    b"$facet",
    b"$fill",
    b"$geoNear",
    b"$graphLookup",
    b"$group",
    b"$limit",
    b"$lookup",
    b"$match",
    b"$project",
    b"$redact",
    b"$replaceRoot",
    b"$replaceWith",
    b"$search",
    b"$searchMeta",
    b"$set",
    b"$setWindowFields",
    b"$skip",
    b"$sort",
    b"$sortByCount",
    b"$unionWith",
    b"$unset",
    b"$unwind",
];

/// What is left out of a command: what it is replaced by, if anything, is added at the end. Of cursors the second set is asked
/// for one batch, so they need not outlive it.
const LEFT_OUT: [&[u8]; 9] = [
    b"$audit",
    b"$client",
    b"$clusterTime",
    b"$configTime",
    b"$readPreference",
    b"$topologyTime",
    b"lsid",
    b"noCursorTimeout",
    b"writeConcern",
];

/// Whether `message`, an OP_MSG as a client sent it, is one that the second set is asked.
pub fn is_sent(message: &[u8]) -> bool {
    body(message).is_some_and(|body| is_read(body).unwrap_or(false))
}

/// The command that the second set is asked in the place of `message`, at most for `timeout`.
pub fn edited(message: &[u8], timeout: Duration) -> Option<Vec<u8>> {
    let body = body(message)?;
    let mut out = Vec::with_capacity(body.len() + 80);
    let mut writer = DocWriter::begin(&mut out);
    let mut limit = i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX);
    let mut level = None;
    for element in elements(body) {
        let element = element.ok()?;
        match element.key {
            b"maxTimeMS" => match element.value.as_i64() {
                Some(own) if own > 0 => limit = limit.min(own),
                _ => {}
            },
            b"readConcern" => level = read_level(&element),
            key if LEFT_OUT.contains(&key) => {}
            _ => drop(writer.raw(&element)),
        }
    }
    if let Some(level) = level {
        writer.document(b"readConcern", |concern| {
            concern.string(b"level", level);
        });
    }
    // Sent to a member directly: whichever it is may answer.
    writer.document(b"$readPreference", |preference| {
        preference.string(b"mode", "primaryPreferred");
    });
    writer.i64(b"maxTimeMS", limit);
    writer.finish();
    Some(out)
}

/// The command, if it stands alone.
fn body(message: &[u8]) -> Option<&[u8]> {
    let msg = OpMsg::parse(message, Side::Client).ok()?;
    let is_alone = msg.sections().all(|section| matches!(section, Ok(Section::Body(_))));
    is_alone.then_some(msg.body)
}

/// `None`: it is not to be understood.
fn is_read(body: &[u8]) -> Option<bool> {
    let mut all = elements(body);
    let first = all.next()?.ok()?;
    let is_known = SHADOWED.iter().any(|name| name.as_bytes() == first.key);
    let collection = first.value.as_string_bytes().filter(|_| first.value.kind == BsonType::String)?;
    if !is_known || collection.starts_with(b"system.") || collection.starts_with(b"$") {
        return Some(false);
    }
    let (mut database, mut has_pipeline) = (None, false);
    for element in all {
        let element = element.ok()?;
        let is_set = element.value.as_bool().unwrap_or(true);
        match element.key {
            b"$db" => database = element.value.as_string_bytes(),
            // Of a transaction, or what would pass for a statement of one.
            b"txnNumber" | b"autocommit" | b"startTransaction" | b"stmtId" => return Some(false),
            // Waits for data, reports on the server, or names places in its files.
            b"tailable" | b"awaitData" | b"exhaust" | b"explain" | b"showRecordId" if is_set => {
                return Some(false);
            }
            b"$_requestResumeToken" | b"$_resumeAfter" | b"$_requestReshardingResumeToken" => {
                return Some(false);
            }
            b"pipeline" if !only_reads(element.value.as_document()?)? => return Some(false),
            b"pipeline" => has_pipeline = true,
            _ => {}
        }
    }
    let is_own = |database: &[u8]| database.is_empty() || OWN.contains(&database);
    Some(database.is_some_and(|database| !is_own(database)) && has_pipeline == (first.key == b"aggregate"))
}

fn only_reads(pipeline: &[u8]) -> Option<bool> {
    for stage in elements(pipeline) {
        let stage = stage.ok()?.value.as_document()?;
        for named in elements(stage) {
            if !STAGES.contains(&named.ok()?.key) {
                return Some(false);
            }
        }
    }
    Some(true)
}

/// What is kept of a read concern: its level. Times are the first set's. A linearizable read has the primary write a note of
/// its own, so it becomes one of a majority.
fn read_level(concern: &Element<'_>) -> Option<&'static str> {
    let level = find(concern.value.as_document()?, "level")?;
    match level.value.as_str()? {
        "local" => Some("local"),
        "available" => Some("available"),
        "majority" | "linearizable" => Some("majority"),
        "snapshot" => Some("snapshot"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{MsgFlags, OpMsgBuilder};
    use bson::{Document, Timestamp, doc};

    const LIMIT: Duration = Duration::from_secs(10);

    fn message(mut command: Document) -> Vec<u8> {
        if !command.contains_key("$db") {
            command.insert("$db", "app");
        }
        OpMsgBuilder::message(7, 0, MsgFlags(0), &bson::serialize_to_vec(&command).unwrap())
    }

    fn edit(command: Document) -> Document {
        let edited = edited(&message(command), LIMIT).unwrap();
        bson::deserialize_from_slice(&edited).unwrap()
    }

    #[test]
    fn reads_are_sent() {
        for command in [
            doc! { "find": "c", "filter": { "x": 1 } },
            doc! { "find": "c", "tailable": false, "lsid": { "id": 1 } },
            doc! { "count": "c" },
            doc! { "distinct": "c", "key": "x" },
            doc! { "aggregate": "c", "pipeline": [{ "$match": {} }, { "$group": { "_id": 1 } }], "cursor": {} },
            doc! { "aggregate": "c", "pipeline": [], "cursor": {} },
        ] {
            assert!(is_sent(&message(command.clone())), "{command}");
        }
    }

    #[test]
    fn what_writes_waits_or_speaks_of_the_server_is_not_sent() {
        let aggregate =
            |stage: Document| doc! { "aggregate": "c", "pipeline": [{ "$match": {} }, stage], "cursor": {} };
        for command in [
            doc! { "insert": "c", "documents": [{}] },
            doc! { "findAndModify": "c", "remove": true },
            doc! { "mapReduce": "c" },
            doc! { "getMore": 5i64, "collection": "c" },
            doc! { "serverStatus": 1 },
            aggregate(doc! { "$out": "d" }),
            aggregate(doc! { "$merge": "d" }),
            aggregate(doc! { "$sample": { "size": 1 } }),
            aggregate(doc! { "$changeStream": {} }),
            aggregate(doc! { "$toBeInvented": {} }),
            aggregate(doc! { "$match": {}, "$out": "d" }),
            doc! { "aggregate": "c", "pipeline": [], "explain": true },
            doc! { "aggregate": 1, "pipeline": [] },
            doc! { "aggregate": "c", "pipeline": "no" },
            doc! { "aggregate": "c" },
            doc! { "find": "c", "tailable": true },
            doc! { "find": "c", "txnNumber": 1i64 },
            doc! { "find": "c", "autocommit": false },
            doc! { "find": "c", "startTransaction": true },
            doc! { "find": "system.profile" },
            doc! { "find": "c", "$db": "local" },
            doc! { "find": "c", "$db": "admin" },
        ] {
            assert!(!is_sent(&message(command.clone())), "{command}");
        }
        assert!(!is_sent(b"short"));
    }

    #[test]
    fn a_second_pipeline_is_looked_at_too() {
        let mut body = Vec::new();
        let mut writer = DocWriter::begin(&mut body);
        writer.string(b"aggregate", "c").array(b"pipeline", |_| {}).string(b"$db", "app");
        writer.array(b"pipeline", |stages| {
            stages.document(b"0", |stage| {
                stage.string(b"$out", "d");
            });
        });
        writer.finish();
        assert!(!is_sent(&OpMsgBuilder::message(7, 0, MsgFlags(0), &body)));
    }

    #[test]
    fn what_belongs_to_the_first_set_or_the_session_is_left_out() {
        let time = Timestamp { time: 5, increment: 1 };
        let command = doc! {
            "find": "c", "filter": { "lsid": 1 }, "lsid": { "id": 1 }, "$clusterTime": { "clusterTime": time },
            "readConcern": { "level": "majority", "afterClusterTime": time },
            "$readPreference": { "mode": "nearest", "tags": [{ "dc": "a" }] }, "maxTimeMS": 500, "comment": "x",
            "noCursorTimeout": true,
        };
        let wanted = doc! {
            "find": "c", "filter": { "lsid": 1 }, "comment": "x", "$db": "app",
            "readConcern": { "level": "majority" }, "$readPreference": { "mode": "primaryPreferred" },
            "maxTimeMS": 500i64,
        };
        assert_eq!(edit(command), wanted);
    }

    #[test]
    fn a_read_has_a_limit_and_no_longer_one_than_the_time_out() {
        let limit = |command: Document| edit(command).get_i64("maxTimeMS").unwrap();
        assert_eq!(limit(doc! { "count": "c" }), 10_000);
        assert_eq!(limit(doc! { "count": "c", "maxTimeMS": 0 }), 10_000);
        assert_eq!(limit(doc! { "count": "c", "maxTimeMS": 60_000 }), 10_000);
        assert_eq!(limit(doc! { "count": "c", "maxTimeMS": 20i64 }), 20);
    }

    #[test]
    fn only_the_level_of_a_read_concern_stays_and_nothing_is_linearizable() {
        let concern =
            |concern: Document| edit(doc! { "find": "c", "readConcern": concern }).remove("readConcern");
        let level = |level: &str| Some(bson::Bson::Document(doc! { "level": level }));
        let time = Timestamp { time: 5, increment: 1 };
        assert_eq!(concern(doc! { "level": "linearizable" }), level("majority"));
        assert_eq!(concern(doc! { "level": "snapshot", "atClusterTime": time }), level("snapshot"));
        assert_eq!(concern(doc! { "afterClusterTime": time }), None);
    }
}
