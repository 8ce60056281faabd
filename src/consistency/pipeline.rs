//! The collections that an aggregation reads or writes beside its own.

use crate::doc::{Elements, elements, find};

/// How deep a pipeline is followed. A server takes no document that is nested deeper (200 levels, 6.0).
const DEPTH_MAX: usize = 200;

/// First stages that look at the server's own records, and take no read concern but local (6.0).
const METADATA: [&[u8]; 9] = [
    b"$collStats",
    b"$currentOp",
    b"$indexStats",
    b"$listCatalog",
    b"$listLocalSessions",
    b"$listSearchIndexes",
    b"$listSessions",
    b"$operationMetrics",
    b"$planCacheStats",
];

/// Whether the aggregate `command` looks at the server's records and not at documents.
pub fn is_metadata(command: &[u8]) -> bool {
    let pipeline = find(command, "pipeline").and_then(|pipeline| pipeline.value.as_document());
    let stage = elements(pipeline.unwrap_or_default()).next().and_then(Result::ok);
    let first = elements(stage.and_then(|stage| stage.value.as_document()).unwrap_or_default()).next();
    first.and_then(Result::ok).is_some_and(|first| METADATA.contains(&first.key))
}

/// Whether a string under `key` names a collection, in the value of `parent`.
fn is_name(parent: &[u8], key: &[u8]) -> bool {
    match key {
        b"$unionWith" | b"$out" | b"$merge" => true,
        b"from" => matches!(parent, b"$lookup" | b"$graphLookup"),
        b"coll" => matches!(parent, b"$unionWith" | b"$out" | b"into"),
        b"into" => parent == b"$merge",
        _ => false,
    }
}

/// Calls `found` with the database, if it is named, and the name of each collection that the aggregate `command` joins or
/// writes to. What a client has in literals may look like one, and names one too many.
pub fn joined<'a>(command: &'a [u8], mut found: impl FnMut(Option<&'a [u8]>, &'a [u8])) {
    let Some(pipeline) = find(command, "pipeline").and_then(|pipeline| pipeline.value.as_document()) else {
        return;
    };
    let mut open: Vec<(&[u8], Elements<'a>)> = vec![(b"pipeline", elements(pipeline))];
    while let Some((parent, walk)) = open.last_mut() {
        let parent = *parent;
        match walk.next() {
            Some(Ok(element)) => {
                if let (true, Some(name)) = (is_name(parent, element.key), element.value.as_string_bytes()) {
                    found(None, name);
                }
                let Some(inner) = element.value.as_document().filter(|_| open.len() < DEPTH_MAX) else {
                    continue;
                };
                // `$out` and `$merge.into` may name another database.
                let text = |key| find(inner, key).and_then(|element| element.value.as_string_bytes());
                let names_both = matches!(element.key, b"$out" | b"into");
                if let (true, Some(database), Some(name)) = (names_both, text("db"), text("coll")) {
                    found(Some(database), name);
                }
                open.push((element.key, elements(inner)));
            }
            Some(Err(_)) | None => _ = open.pop(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::doc;

    #[test]
    fn joins_are_found_however_deep_they_are() {
        let command = doc! { "aggregate": "a", "pipeline": [
            { "$match": { "from": "no collection", "into": "none", "x": { "coll": "none" } } },
            { "$lookup": { "from": "b", "pipeline": [{ "$unionWith": "c" }], "as": "x" } },
            { "$facet": { "one": [{ "$graphLookup": { "from": "d" } }], "two": [{ "$unionWith": { "coll": "e" } }] } },
            { "$merge": { "into": { "db": "other", "coll": "f" } } },
        ] };
        let bytes = bson::serialize_to_vec(&command).unwrap();
        let mut names = Vec::new();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        joined(&bytes, |database, name| {
            names.push(format!("{}.{}", database.map_or(String::new(), text), text(name)))
        });
        assert_eq!(names, [".b", ".c", ".d", ".e", "other.f", ".f"]);
    }

    #[test]
    fn what_is_no_document_is_told_by_the_first_stage() {
        let is = |pipeline: Vec<bson::Document>| {
            is_metadata(&bson::serialize_to_vec(&doc! { "aggregate": "a", "pipeline": pipeline }).unwrap())
        };
        assert!(is(vec![doc! { "$indexStats": {} }, doc! { "$match": {} }]));
        assert!(!is(vec![doc! { "$match": {} }]) && !is(vec![]));
    }

    #[test]
    fn a_pipeline_nested_as_deep_as_a_message_allows_is_walked() {
        let deep = (0..100_000).fold(vec![5, 0, 0, 0, 0], |inner: Vec<u8>, _| {
            // Too slow to nest by copies: a few hundred levels stand for all.
            if inner.len() > 4_000 {
                return inner;
            }
            let length = (4 + 3 + inner.len() + 1) as i32;
            [length.to_le_bytes().as_slice(), &[3, b'a', 0], &inner, &[0]].concat()
        });
        let front = [b"\x04pipeline\0".as_slice(), &deep].concat();
        let length = (4 + front.len() + 1) as i32;
        let command = [length.to_le_bytes().as_slice(), &front, &[0]].concat();
        joined(&command, |_, _| panic!("there is none"));
    }
}
