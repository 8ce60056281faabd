//! What a level changes in a command: read concern, write concern, `$clusterTime`. Everything else passes byte for byte.

use super::concerns::{read_concern, snapshot, write_concern};
use super::times::cluster_time;
use crate::doc::{BsonType, DocError, DocWriter, Value, elements};

/// What is to be changed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Edit<'a> {
    /// A read concern of majority at this floor.
    pub reads_at: Option<u64>,
    /// It reads as of that floor, and nothing later. Only for what [`takes_snapshot`](super::takes_snapshot).
    pub is_snapshot: bool,
    /// It is the first statement of a transaction.
    pub starts_transaction: bool,
    /// A write concern of a majority of so many members.
    pub majority_of: Option<usize>,
    /// A newer `$clusterTime` than the client's.
    pub cluster_time: Option<&'a [u8]>,
}

/// Appends `command` to `out`, changed so. Fails if it is no document; then `out` is as long as before.
pub fn edit(command: &[u8], edit: &Edit<'_>, out: &mut Vec<u8>) -> Result<(), DocError> {
    let start = out.len();
    let mut writer = DocWriter::begin(out);
    let (mut reads_at, mut majority_of, mut newer) = (edit.reads_at, edit.majority_of, edit.cluster_time);
    let mut failed = None;
    for element in elements(command) {
        let element = match element {
            Ok(element) => element,
            Err(error) => {
                failed = Some(error);
                break;
            }
        };
        match element.key {
            b"readConcern" if edit.reads_at.is_some() => {
                // A field that stands twice is the server's to refuse.
                match reads_at.take() {
                    Some(time) if edit.is_snapshot => snapshot(Some(element.value), time, &mut writer),
                    Some(floor) => {
                        read_concern(Some(element.value), floor, edit.starts_transaction, &mut writer);
                    }
                    None => _ = writer.raw(&element),
                }
            }
            b"writeConcern" if edit.majority_of.is_some() => match majority_of.take() {
                Some(members) => write_concern(Some(element.value), members, &mut writer),
                None => _ = writer.raw(&element),
            },
            b"$clusterTime" if newer.is_some() => {
                let newer = newer.take();
                let own = element.value.as_document().and_then(cluster_time).unwrap_or(0);
                match newer.filter(|newer| cluster_time(newer).is_some_and(|newer| newer > own)) {
                    Some(newer) => put_cluster_time(newer, &mut writer),
                    None => _ = writer.raw(&element),
                }
            }
            _ => _ = writer.raw(&element),
        }
    }
    match reads_at {
        Some(time) if edit.is_snapshot => snapshot(None, time, &mut writer),
        Some(floor) => read_concern(None, floor, edit.starts_transaction, &mut writer),
        None => {}
    }
    if let Some(members) = majority_of {
        write_concern(None, members, &mut writer);
    }
    if let Some(newer) = newer {
        put_cluster_time(newer, &mut writer);
    }
    writer.finish();
    match failed {
        Some(error) => {
            out.truncate(start);
            Err(error)
        }
        None => Ok(()),
    }
}

fn put_cluster_time(document: &[u8], writer: &mut DocWriter<'_>) {
    writer.value(b"$clusterTime", Value { kind: BsonType::Document, bytes: document });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consistency::takes_snapshot;
    use bson::{Document, Timestamp, doc};
    use proptest::prelude::*;

    const FLOOR: u64 = 7 << 32;

    fn at(time: u32) -> Timestamp {
        Timestamp { time, increment: 0 }
    }

    fn edited(command: Document, change: Edit<'_>) -> Document {
        let mut out = vec![9];
        edit(&bson::serialize_to_vec(&command).unwrap(), &change, &mut out).unwrap();
        bson::deserialize_from_slice(&out[1..]).unwrap()
    }

    fn read_concern_of(own: Option<Document>, starts_transaction: bool) -> Document {
        let mut command = doc! { "find": "c", "filter": { "a": 1 } };
        command.extend(own.map(|own| doc! { "readConcern": own }).unwrap_or_default());
        let change = Edit { reads_at: Some(FLOOR), starts_transaction, ..Edit::default() };
        edited(command, change).get_document("readConcern").unwrap().clone()
    }

    #[test]
    fn reads_are_raised_to_majority_at_the_floor_and_never_lowered() {
        let majority = doc! { "level": "majority", "afterClusterTime": at(7) };
        for own in [None, Some("local"), Some("available"), Some("majority")] {
            assert_eq!(read_concern_of(own.map(|level| doc! { "level": level }), false), majority);
        }
        assert_eq!(read_concern_of(Some(doc! {}), false), majority);
        for absent in [bson::Bson::Null, bson::Bson::Undefined] {
            assert_eq!(read_concern_of(Some(doc! { "level": absent }), false), majority);
        }
        assert_eq!(read_concern_of(Some(doc! { "afterClusterTime": at(6) }), false), majority);
        let later = doc! { "level": "majority", "afterClusterTime": at(8) };
        assert_eq!(read_concern_of(Some(doc! { "afterClusterTime": at(8) }), false), later);
        for kept in [
            doc! { "level": "linearizable" },
            doc! { "level": "unheard of" },
            doc! { "level": "snapshot", "atClusterTime": at(3) },
            // Of another type than the server takes.
            doc! { "level": 5 },
            doc! { "level": "majority", "afterClusterTime": 7 },
        ] {
            assert_eq!(read_concern_of(Some(kept.clone()), false), kept);
        }
        let snapshot = doc! { "level": "snapshot", "afterClusterTime": at(7) };
        assert_eq!(read_concern_of(Some(doc! { "level": "snapshot" }), false), snapshot);
    }

    #[test]
    fn a_transaction_begins_at_the_floor_with_the_level_that_it_has() {
        assert_eq!(read_concern_of(None, true), doc! { "afterClusterTime": at(7) });
        for level in ["local", "majority", "snapshot"] {
            let own = doc! { "level": level, "afterClusterTime": at(3) };
            let wanted = doc! { "level": level, "afterClusterTime": at(7) };
            assert_eq!(read_concern_of(Some(own), true), wanted);
        }
    }

    #[test]
    fn a_read_as_of_a_time_says_so_where_its_client_asks_for_nothing_more() {
        let command =
            |own: Document| bson::serialize_to_vec(&doc! { "find": "c", "readConcern": own }).unwrap();
        let as_of = doc! { "level": "snapshot", "atClusterTime": at(7) };
        for own in [
            doc! {},
            doc! { "level": "local" },
            doc! { "level": "majority", "afterClusterTime": at(7) },
            doc! { "level": "snapshot" },
        ] {
            assert!(takes_snapshot(&command(own.clone()), FLOOR), "{own}");
            let change = Edit { reads_at: Some(FLOOR), is_snapshot: true, ..Edit::default() };
            let edited = edited(doc! { "find": "c", "readConcern": own }, change);
            assert_eq!(edited, doc! { "find": "c", "readConcern": as_of.clone() });
        }
        for own in [
            doc! { "level": "linearizable" },
            doc! { "level": "majority", "afterClusterTime": at(8) },
            doc! { "level": "snapshot", "atClusterTime": at(3) },
            doc! { "unheard": "of" },
        ] {
            assert!(!takes_snapshot(&command(own.clone()), FLOOR), "{own}");
        }
        assert!(takes_snapshot(&bson::serialize_to_vec(&doc! { "find": "c" }).unwrap(), FLOOR));
        assert!(!takes_snapshot(&bson::serialize_to_vec(&doc! { "readConcern": 5 }).unwrap(), FLOOR));
    }

    #[test]
    fn writes_are_raised_to_a_majority_and_never_lowered() {
        let of = |own: Option<Document>| {
            let mut command = doc! { "insert": "c" };
            command.extend(own.map(|own| doc! { "writeConcern": own }).unwrap_or_default());
            let change = Edit { majority_of: Some(3), ..Edit::default() };
            edited(command, change).get_document("writeConcern").unwrap().clone()
        };
        let majority = doc! { "w": "majority", "wtimeout": 10_000i64 };
        for own in
            [None, Some(doc! {}), Some(doc! { "w": 1 }), Some(doc! { "w": 0 }), Some(doc! { "w": 2.0 })]
        {
            assert_eq!(of(own.clone()), majority, "{own:?}");
        }
        assert_eq!(of(Some(doc! { "w": 1, "wtimeout": 0 })), majority);
        let own = doc! { "w": "majority", "j": true, "wtimeout": 5 };
        assert_eq!(of(Some(doc! { "w": 1, "j": true, "wtimeout": 5 })), own);
        assert_eq!(of(Some(doc! { "w": bson::Bson::Null })), majority);
        for kept in [doc! { "w": "majority" }, doc! { "w": 3 }, doc! { "w": "everywhere" }, own] {
            assert_eq!(of(Some(kept.clone())), kept);
        }
    }

    #[test]
    fn a_cluster_time_takes_the_place_of_an_older_one_only() {
        let newer = bson::serialize_to_vec(&doc! { "clusterTime": at(5) }).unwrap();
        let of = |command: Document| {
            let change = Edit { cluster_time: Some(&newer), ..Edit::default() };
            let time = edited(command, change).get_document("$clusterTime").unwrap().clone();
            time.get_timestamp("clusterTime").unwrap()
        };
        assert_eq!(of(doc! { "find": "c" }), at(5));
        assert_eq!(of(doc! { "find": "c", "$clusterTime": { "clusterTime": at(4) } }), at(5));
        assert_eq!(of(doc! { "find": "c", "$clusterTime": { "clusterTime": at(6) } }), at(6));
    }

    #[test]
    fn the_rest_passes_as_it_came_and_what_is_no_command_is_left_alone() {
        let command =
            doc! { "find": "c", "filter": { "readConcern": 1 }, "x": [1, { "y": 2.5 }], "$db": "app" };
        let bytes = bson::serialize_to_vec(&command).unwrap();
        let mut out = Vec::new();
        edit(&bytes, &Edit::default(), &mut out).unwrap();
        assert_eq!(out, bytes);
        let change = Edit { reads_at: Some(1), majority_of: Some(3), ..Edit::default() };
        for end in 0..bytes.len() {
            let mut out = vec![1];
            assert!(edit(&bytes[..end], &change, &mut out).is_err());
            assert_eq!(out, [1]);
        }
        // Of another type than the server takes: its to refuse.
        let odd = doc! { "find": "c", "readConcern": 5, "writeConcern": "x" };
        assert_eq!(edited(odd.clone(), change), odd);
    }

    proptest! {
        #[test]
        fn any_bytes_are_edited_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let change = Edit { reads_at: Some(1), majority_of: Some(3), ..Edit::default() };
            let _ = edit(&bytes, &change, &mut Vec::new());
        }
    }
}
