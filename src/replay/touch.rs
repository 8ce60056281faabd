//! What of the data an operation names: documents by their `_id`, collections that are made or dropped, its session and
//! its cursors. Each is a *resource*, a number; two operations that share one may depend on each other.
//!
//! Resources are hashes: a collision makes an operation wait for one that it need not have waited for, no more.

use std::hash::BuildHasher;

use super::hash::Hashing;
use super::view::View;
use crate::doc::{BsonType, Value, elements, find};
use crate::wire::read_i64;

/// Documents of one operation that are told apart: more make it touch only these.
const DOCUMENTS_MAX: usize = 1000;

/// What an operation needs, and what those behind it need it for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Touched {
    /// It waits for whoever touched these before.
    pub reads: Vec<u64>,
    /// Who needs these later waits for it; it waits for whoever touched them before.
    pub writes: Vec<u64>,
}

/// Makes resources of names.
#[derive(Debug, Clone, Default)]
pub struct Resources {
    hash: Hashing,
}

impl Resources {
    /// A session, in one pass over the capture.
    pub fn session(&self, lap: u32, id: &[u8; 16]) -> u64 {
        self.hash.hash_one(("session", lap, id))
    }

    /// A cursor, by its captured id.
    pub fn cursor(&self, lap: u32, id: i64) -> u64 {
        self.hash.hash_one(("cursor", lap, id))
    }

    /// A document, by its `_id`.
    pub fn document(&self, database: &[u8], collection: &[u8], id: &Value<'_>) -> u64 {
        // Numbers that are equal find the same document, whatever their types.
        match id.as_i64() {
            Some(number) => self.hash.hash_one(("document", database, collection, number)),
            None => self.hash.hash_one(("document", database, collection, id.kind as u8, id.bytes)),
        }
    }

    /// A collection; a whole database, if its name is empty.
    pub fn collection(&self, database: &[u8], collection: &[u8]) -> u64 {
        self.hash.hash_one(("collection", database, collection))
    }

    /// What the request names, but for sessions and cursors.
    pub fn of(&self, view: &View<'_>, is_write: bool) -> Touched {
        let mut touched = Touched::default();
        let namespace = self.collection(view.database, view.collection());
        let database = self.collection(view.database, b"");
        touched.reads.extend([namespace, database]);
        if !is_write {
            self.read_documents(view, &mut touched.reads);
            return touched;
        }
        match view.name() {
            b"insert" => self.batch(view, "documents", None, &mut touched.writes),
            b"update" => self.batch(view, "updates", Some("q"), &mut touched.writes),
            b"delete" => self.batch(view, "deletes", Some("q"), &mut touched.writes),
            b"findAndModify" | b"findandmodify" => {
                if let Some(query) = view.document("query") {
                    self.ids(view, query, &mut touched.writes);
                }
            }
            b"dropDatabase" => touched.writes.push(database),
            // What makes, drops or fills a whole collection is done before anyone goes on with it.
            b"aggregate" | b"mapReduce" | b"mapreduce" => touched.writes.push(database),
            // Both are run on admin, and name their collections in full.
            b"renameCollection" => {
                let named = view.collection().split(|byte| *byte == b'.').next().unwrap_or_default();
                touched.writes.push(self.collection(named, b""));
            }
            b"bulkWrite" => {
                let spaces = view.batch("nsInfo").into_iter().take(DOCUMENTS_MAX);
                let names = spaces.filter_map(|one| find(one, "ns")?.value.as_string_bytes());
                touched.writes.extend(names.filter_map(|name| {
                    let dot = name.iter().position(|byte| *byte == b'.')?;
                    Some(self.collection(&name[..dot], &name[dot + 1..]))
                }));
            }
            _ => touched.writes.push(namespace),
        }
        touched
    }

    fn read_documents(&self, view: &View<'_>, out: &mut Vec<u64>) {
        let filter = match view.name() {
            b"find" => view.document("filter"),
            b"count" | b"distinct" => view.document("query"),
            b"aggregate" => view.document("pipeline").and_then(|pipeline| {
                let first = elements(pipeline).next()?.ok()?.value.as_document()?;
                find(first, "$match")?.value.as_document()
            }),
            _ => None,
        };
        if let Some(filter) = filter {
            self.ids(view, filter, out);
        }
    }

    fn batch(&self, view: &View<'_>, key: &str, inside: Option<&str>, out: &mut Vec<u64>) {
        for document in view.batch(key).into_iter().take(DOCUMENTS_MAX) {
            let filter = match inside {
                Some(inside) => find(document, inside).and_then(|element| element.value.as_document()),
                None => Some(document),
            };
            if let Some(filter) = filter {
                self.ids(view, filter, out);
            }
        }
    }

    /// The documents whose `_id` a filter fixes: to a value, by `$eq`, or by `$in`.
    fn ids(&self, view: &View<'_>, filter: &[u8], out: &mut Vec<u64>) {
        let Some(id) = find(filter, "_id") else { return };
        let document = |id: &Value<'_>| self.document(view.database, view.collection(), id);
        let Some(inner) = id.value.as_document().filter(|_| id.value.kind == BsonType::Document) else {
            out.push(document(&id.value));
            return;
        };
        let operator = elements(inner).next().and_then(Result::ok);
        match operator {
            Some(operator) if operator.key == b"$eq" => out.push(document(&operator.value)),
            Some(operator) if operator.key == b"$in" => {
                let list = operator.value.as_document().unwrap_or_default();
                let each = elements(list).map_while(Result::ok).take(DOCUMENTS_MAX);
                out.extend(each.map(|id| document(&id.value)));
            }
            Some(operator) if operator.key.starts_with(b"$") => {}
            _ => out.push(document(&id.value)),
        }
    }
}

/// The cursors that a `killCursors` names.
pub fn killed_cursors(view: &View<'_>) -> Vec<i64> {
    let list = view.document("cursors").unwrap_or_default();
    let each = elements(list).map_while(Result::ok).take(DOCUMENTS_MAX);
    each.filter(|id| id.value.kind == BsonType::Int64).filter_map(|id| read_i64(id.value.bytes, 0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{MsgFlags, OpMsgBuilder};
    use bson::{Document, doc};

    fn touched(resources: &Resources, mut command: Document, is_write: bool) -> Touched {
        command.insert("$db", "app");
        let message = OpMsgBuilder::message(1, 0, MsgFlags(0), &bson::serialize_to_vec(&command).unwrap());
        resources.of(&View::of(&message).unwrap(), is_write)
    }

    #[test]
    fn whoever_reads_a_document_shares_a_resource_with_whoever_wrote_it() {
        let resources = Resources::default();
        let of = |command, is_write| touched(&resources, command, is_write);
        let written = [
            of(doc! { "insert": "c", "documents": [{ "_id": 7, "x": 1 }] }, true),
            of(doc! { "update": "c", "updates": [{ "q": { "_id": 7.0 }, "u": {} }] }, true),
            of(doc! { "delete": "c", "deletes": [{ "q": { "_id": { "$eq": 7i64 } } }] }, true),
            of(doc! { "findAndModify": "c", "query": { "_id": 7 } }, true),
        ];
        let read = [
            of(doc! { "find": "c", "filter": { "_id": 7 } }, false),
            of(doc! { "count": "c", "query": { "_id": { "$in": [6, 7] } } }, false),
            of(doc! { "aggregate": "c", "pipeline": [{ "$match": { "_id": 7 } }] }, false),
        ];
        for written in &written {
            assert_eq!(written.writes.len(), 1);
            assert!(read.iter().all(|read| read.reads.contains(&written.writes[0])));
        }
        let others = [
            of(doc! { "find": "c", "filter": { "_id": 8 } }, false),
            of(doc! { "find": "d", "filter": { "_id": 7 } }, false),
            of(doc! { "find": "c", "filter": { "_id": "7" } }, false),
            of(doc! { "find": "c", "filter": { "x": 7 } }, false),
        ];
        assert!(others.iter().all(|other| !other.reads.contains(&written[0].writes[0])));
    }

    #[test]
    fn a_collection_that_is_made_or_dropped_is_a_resource_of_all_that_use_it() {
        let resources = Resources::default();
        let drop = touched(&resources, doc! { "drop": "c" }, true);
        let gone = touched(&resources, doc! { "dropDatabase": 1 }, true);
        let find = touched(&resources, doc! { "find": "c" }, false);
        let other = touched(&resources, doc! { "find": "d" }, false);
        assert!(find.reads.contains(&drop.writes[0]) && find.reads.contains(&gone.writes[0]));
        assert!(!other.reads.contains(&drop.writes[0]) && other.reads.contains(&gone.writes[0]));
    }
}
