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

/// What an operation touches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Touched {
    /// Documents, sessions and cursors, and whether it changes them.
    pub things: Vec<(u64, bool)>,
    /// Collections and databases, and what it does there.
    pub areas: Vec<(u64, Mode)>,
}

impl Touched {
    /// It changes these as well.
    pub fn writes(&mut self, things: impl IntoIterator<Item = u64>) {
        self.things.extend(things.into_iter().map(|thing| (thing, true)));
    }

    /// It touches what another has touched as well, but for what is beyond `limit` things.
    pub fn add(&mut self, other: &Touched, limit: usize) {
        let room = limit.saturating_sub(self.things.len());
        self.things.extend(other.things.iter().take(room));
        let new = |area: &&(u64, Mode)| !self.areas.contains(area);
        let areas: Vec<(u64, Mode)> = other.areas.iter().filter(new).copied().collect();
        self.areas.extend(areas);
    }
}

/// What is done to a collection or a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Something inside is read, which is named by itself.
    ReadsInside,
    /// Something inside is changed, which is named by itself.
    WritesInside,
    /// Any part of it is read.
    Reads,
    /// Any part of it is changed; it is made or dropped.
    Writes,
}

impl Mode {
    /// Whether one of the two changes what the other looks at.
    pub fn conflicts_with(self, other: Mode) -> bool {
        match self {
            Mode::ReadsInside => other == Mode::Writes,
            Mode::WritesInside => matches!(other, Mode::Reads | Mode::Writes),
            Mode::Reads => matches!(other, Mode::WritesInside | Mode::Writes),
            Mode::Writes => true,
        }
    }
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
        let (in_collection, in_database) = match is_write {
            true => self.write(view, &mut touched.things),
            false => (self.read(view, &mut touched.things), self.joins(view)),
        };
        match view.name() {
            // Both are run on admin, and name their collections in full.
            b"renameCollection" => {
                let named = view.collection().split(|byte| *byte == b'.').next().unwrap_or_default();
                touched.areas.push((self.collection(named, b""), Mode::Writes));
            }
            b"bulkWrite" => self.bulk(view, &mut touched.areas),
            _ => {
                touched.areas.push((self.collection(view.database, b""), in_database));
                if !view.collection().is_empty() {
                    touched.areas.push((self.collection(view.database, view.collection()), in_collection));
                }
            }
        }
        touched
    }

    /// The documents that a write names, and what it does to their collection and to its database.
    fn write(&self, view: &View<'_>, out: &mut Vec<(u64, bool)>) -> (Mode, Mode) {
        let is_named = match view.name() {
            b"insert" => self.batch(view, "documents", None, out),
            b"update" => self.batch(view, "updates", Some("q"), out),
            b"delete" => self.batch(view, "deletes", Some("q"), out),
            b"findAndModify" | b"findandmodify" => {
                view.document("query").is_some_and(|query| self.ids(view, query, true, out))
            }
            b"getMore" => return (Mode::ReadsInside, Mode::ReadsInside),
            // What makes, drops or fills others is done before anyone goes on with them.
            b"dropDatabase" | b"aggregate" | b"mapReduce" | b"mapreduce" => {
                return (Mode::Writes, Mode::Writes);
            }
            _ => false,
        };
        (if is_named { Mode::WritesInside } else { Mode::Writes }, Mode::WritesInside)
    }

    /// The documents that a read names, and what it does to their collection.
    fn read(&self, view: &View<'_>, out: &mut Vec<(u64, bool)>) -> Mode {
        let filter = match view.name() {
            b"find" => view.document("filter"),
            b"count" | b"distinct" => view.document("query"),
            b"aggregate" => view.document("pipeline").and_then(|pipeline| {
                let first = elements(pipeline).next()?.ok()?.value.as_document()?;
                find(first, "$match")?.value.as_document()
            }),
            // What its batches have was decided, mostly, when the cursor was opened.
            b"getMore" => return Mode::ReadsInside,
            _ => None,
        };
        let is_named = filter.is_some_and(|filter| self.ids(view, filter, false, out));
        if is_named { Mode::ReadsInside } else { Mode::Reads }
    }

    /// What a read does to its database: it may join any collection of it.
    fn joins(&self, view: &View<'_>) -> Mode {
        const JOINS: [&[u8]; 4] = [b"$lookup", b"$graphLookup", b"$unionWith", b"$facet"];
        let pipeline = if view.name() == b"aggregate" { view.document("pipeline") } else { None };
        let stages = elements(pipeline.unwrap_or_default()).map_while(Result::ok);
        let mut stages = stages.filter_map(|stage| elements(stage.value.as_document()?).next()?.ok());
        let joins = stages.any(|stage| JOINS.contains(&stage.key));
        if joins { Mode::Reads } else { Mode::ReadsInside }
    }

    fn bulk(&self, view: &View<'_>, out: &mut Vec<(u64, Mode)>) {
        let spaces = view.batch("nsInfo").into_iter().take(DOCUMENTS_MAX);
        for name in spaces.filter_map(|one| find(one, "ns")?.value.as_string_bytes()) {
            let Some(dot) = name.iter().position(|byte| *byte == b'.') else { continue };
            out.push((self.collection(&name[..dot], b""), Mode::WritesInside));
            out.push((self.collection(&name[..dot], &name[dot + 1..]), Mode::Writes));
        }
    }

    /// Whether all statements of a batch name the documents that they change.
    fn batch(&self, view: &View<'_>, key: &str, inside: Option<&str>, out: &mut Vec<(u64, bool)>) -> bool {
        let mut is_named = true;
        for document in view.batch(key).into_iter().take(DOCUMENTS_MAX) {
            let filter = match inside {
                Some(inside) => find(document, inside).and_then(|element| element.value.as_document()),
                None => Some(document),
            };
            // One without an id gets a new one, which nobody can have named.
            let is_new = inside.is_none() && find(document, "_id").is_none();
            is_named &= is_new || filter.is_some_and(|filter| self.ids(view, filter, true, out));
        }
        is_named
    }

    /// The documents whose `_id` a filter fixes: to a value, by `$eq`, or by `$in`. False if it fixes none.
    fn ids(&self, view: &View<'_>, filter: &[u8], is_write: bool, out: &mut Vec<(u64, bool)>) -> bool {
        let Some(id) = find(filter, "_id") else { return false };
        let document = |id: &Value<'_>| (self.document(view.database, view.collection(), id), is_write);
        let Some(inner) = id.value.as_document().filter(|_| id.value.kind == BsonType::Document) else {
            out.push(document(&id.value));
            return true;
        };
        let operator = elements(inner).next().and_then(Result::ok);
        match operator {
            Some(operator) if operator.key == b"$eq" => out.push(document(&operator.value)),
            Some(operator) if operator.key == b"$in" => {
                let list = operator.value.as_document().unwrap_or_default();
                let each: Vec<_> = elements(list).map_while(Result::ok).take(DOCUMENTS_MAX + 1).collect();
                out.extend(each.iter().take(DOCUMENTS_MAX).map(|id| document(&id.value)));
                return each.len() <= DOCUMENTS_MAX;
            }
            Some(operator) if operator.key.starts_with(b"$") => return false,
            _ => out.push(document(&id.value)),
        }
        true
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
        let thing = |touched: &Touched| touched.things[0].0;
        for written in &written {
            assert_eq!(written.things, [(thing(written), true)]);
            assert!(read.iter().all(|read| read.things.contains(&(thing(written), false))));
        }
        let others = [
            of(doc! { "find": "c", "filter": { "_id": 8 } }, false),
            of(doc! { "find": "d", "filter": { "_id": 7 } }, false),
            of(doc! { "find": "c", "filter": { "_id": "7" } }, false),
            of(doc! { "find": "c", "filter": { "x": 7 } }, false),
        ];
        assert!(others.iter().all(|other| !other.things.contains(&(thing(&written[0]), false))));
    }

    #[test]
    fn who_names_no_documents_touches_the_collection_and_who_joins_the_database() {
        let resources = Resources::default();
        let (database, collection) = (resources.collection(b"app", b""), resources.collection(b"app", b"c"));
        let areas = |command, is_write| {
            let areas = touched(&resources, command, is_write).areas;
            assert_eq!((areas.len(), areas[0].0, areas[1].0), (2, database, collection));
            [areas[1].1, areas[0].1]
        };
        let id = doc! { "_id": 1 };
        let lookup = doc! { "$lookup": { "from": "d" } };
        use Mode::{Reads, ReadsInside, Writes, WritesInside};
        for (command, is_write, modes) in [
            (doc! { "find": "c", "filter": id.clone() }, false, [ReadsInside, ReadsInside]),
            (doc! { "find": "c", "filter": { "x": 1 } }, false, [Reads, ReadsInside]),
            (doc! { "find": "c", "filter": { "_id": { "$gt": 1 } } }, false, [Reads, ReadsInside]),
            (doc! { "aggregate": "c", "pipeline": [lookup] }, false, [Reads, Reads]),
            (doc! { "insert": "c", "documents": [id.clone(), {}] }, true, [WritesInside, WritesInside]),
            (doc! { "update": "c", "updates": [{ "q": id.clone() }] }, true, [WritesInside, WritesInside]),
            (
                doc! { "update": "c", "updates": [{ "q": id.clone() }, { "q": {} }] },
                true,
                [Writes, WritesInside],
            ),
            (doc! { "create": "c" }, true, [Writes, WritesInside]),
            (doc! { "aggregate": "c", "pipeline": [{ "$out": "d" }] }, true, [Writes, Writes]),
        ] {
            assert_eq!(areas(command.clone(), is_write), modes, "{command}");
        }
        let gone = touched(&resources, doc! { "dropDatabase": 1 }, true);
        assert_eq!(gone.areas, [(database, Writes)]);
    }
}
