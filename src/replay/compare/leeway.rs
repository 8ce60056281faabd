//! What a query leaves open: which of many documents come first where nothing, or not enough, was said of their order. Two sets
//! with the same data may differ there.

use std::collections::HashMap;

use super::sort_of;
use crate::doc::{BsonType, Element, elements, find, find_path};
use crate::replay::view::View;
use crate::wire::{OpMsg, Side};

/// What is to be thought of two first batches that differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leeway {
    /// The query leaves no such choice: they differ.
    None,
    /// The same documents, in another order of those whose sort keys are equal.
    SameDocuments,
    /// Each may be a right choice of those that fit.
    Unknown,
}

/// Looks at two answers to a find, an aggregate or a getMore whose batches differ.
pub(super) fn leeway(view: &View<'_>, here: &[u8], there: &[u8]) -> Leeway {
    let (Some(here), Some(there)) = (Batch::of(here), Batch::of(there)) else { return Leeway::None };
    if here.documents.len() != there.documents.len() || here.disagrees_with(&there) {
        return Leeway::None;
    }
    let is_part = may_be_part(view, here.documents.len(), here.is_open && there.is_open);
    let unknown = if is_part { Leeway::Unknown } else { Leeway::None };
    let Some(sort) = sort_of(view) else { return unknown };
    let is_shown = here.shows(sort) && there.shows(sort);
    if is_shown && here.keys(sort) != there.keys(sort) {
        return Leeway::None;
    }
    match (here.sorted() == there.sorted(), is_shown) {
        (true, true) => Leeway::SameDocuments,
        (true, false) => Leeway::Unknown,
        (false, _) => unknown,
    }
}

/// Whether an answer of `count` documents, of which nothing else is known, may be one of several right ones.
pub(super) fn may_be_any(view: &View<'_>, count: usize, is_open: bool) -> bool {
    sort_of(view).is_none() && may_be_part(view, count, is_open)
}

/// Whether the query may have left out some of what fits, when it gave `count` documents, and more if `is_open`.
fn may_be_part(view: &View<'_>, count: usize, is_open: bool) -> bool {
    // What its cursor was opened with is not known here.
    is_open || view.name() == b"getMore" || (is_cut(view, count) && !is_by_id(view))
}

fn is_by_id(view: &View<'_>) -> bool {
    let id = view.document("filter").and_then(|filter| find(filter, "_id"));
    id.is_some_and(|id| id.value.as_document().is_none())
}

fn is_cut(view: &View<'_>, count: usize) -> bool {
    let number = |key: &str| find(view.body, key).and_then(|element| element.value.as_i64()).unwrap_or(0);
    let limit = usize::try_from(number("limit").unsigned_abs()).unwrap_or(usize::MAX);
    let stages = elements(view.document("pipeline").unwrap_or_default()).map_while(Result::ok);
    let mut stages = stages.filter_map(|stage| elements(stage.value.as_document()?).next()?.ok());
    (limit > 0 && count >= limit)
        || number("skip") != 0
        || stages.any(|stage| matches!(stage.key, b"$limit" | b"$skip"))
}

/// A value that is sorted by, if the document has one.
type Key<'a> = Option<(BsonType, &'a [u8])>;

/// The batch of an answer.
struct Batch<'a> {
    documents: Vec<&'a [u8]>,
    is_open: bool,
}

impl<'a> Batch<'a> {
    fn of(reply: &'a [u8]) -> Option<Batch<'a>> {
        let body = OpMsg::parse(reply, Side::Server).ok()?.body;
        let cursor = find(body, "cursor")?.value.as_document()?;
        let batch = find(cursor, "firstBatch").or_else(|| find(cursor, "nextBatch"))?;
        let batch = batch.value.as_document()?;
        let documents = elements(batch).map_while(Result::ok).map(|document| document.value.bytes).collect();
        let is_open = find(cursor, "id").and_then(|id| id.value.as_i64()).is_some_and(|id| id != 0);
        Some(Batch { documents, is_open })
    }

    /// Whether both have a document of one `_id`, and not the same: no choice explains that. Says nothing where an `_id` comes
    /// twice, as behind `$unwind`.
    fn disagrees_with(&self, other: &Batch<'_>) -> bool {
        let (Some(own), Some(others)) = (self.by_id(), other.by_id()) else { return false };
        own.iter().any(|(id, document)| others.get(id).is_some_and(|other| other != document))
    }

    /// The documents by their `_id`; `None` if one has none, or two have the same.
    fn by_id(&self) -> Option<HashMap<&'a [u8], &'a [u8]>> {
        let mut found = HashMap::with_capacity(self.documents.len());
        for document in &self.documents {
            if found.insert(find(document, "_id")?.value.bytes, *document).is_some() {
                return None;
            }
        }
        Some(found)
    }

    fn sorted(&self) -> Vec<&'a [u8]> {
        let mut documents = self.documents.clone();
        documents.sort_unstable();
        documents
    }

    /// Whether the documents show their order: each field that is sorted by is there in some, and a list in none, as which of
    /// its values counts is not known here. A field that was not asked for is missing in all.
    fn shows(&self, sort: &[u8]) -> bool {
        elements(sort).map_while(Result::ok).all(|path| {
            let Ok(path) = std::str::from_utf8(path.key) else { return false };
            let path: Vec<&str> = path.split('.').collect();
            let has = |document: &&[u8]| find_path(document, &path).is_some();
            self.documents.iter().any(has)
                && !self.documents.iter().any(|document| meets_list(document, &path))
        })
    }

    /// What each document has in the fields that are sorted by.
    fn keys(&self, sort: &[u8]) -> Vec<Vec<Key<'a>>> {
        let paths: Vec<Element<'_>> = elements(sort).map_while(Result::ok).collect();
        let key = |document: &&'a [u8]| {
            let fields = paths.iter().map(|path| {
                let path: Vec<&str> = std::str::from_utf8(path.key).ok()?.split('.').collect();
                find_path(document, &path).map(|value| (value.kind, value.bytes))
            });
            fields.collect()
        };
        self.documents.iter().map(key).collect()
    }
}

/// Whether a list lies on the path, or at its end.
fn meets_list(document: &[u8], path: &[&str]) -> bool {
    let mut inside = document;
    for key in path {
        let Some(found) = find(inside, key) else { return false };
        if found.value.kind == BsonType::Array {
            return true;
        }
        let Some(inner) = found.value.as_document() else { return false };
        inside = inner;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{MsgFlags, OpMsgBuilder};
    use bson::{Document, doc};

    fn message(body: &Document) -> Vec<u8> {
        OpMsgBuilder::message(1, 0, MsgFlags(0), &bson::serialize_to_vec(body).unwrap())
    }

    fn answer(batch: &[(i32, i32)], cursor: i64) -> Vec<u8> {
        let batch: Vec<Document> = batch.iter().map(|(id, x)| doc! { "_id": id, "a": { "x": x } }).collect();
        message(&doc! { "cursor": { "firstBatch": batch, "id": cursor, "ns": "a.b" }, "ok": 1.0 })
    }

    fn of(mut command: Document, here: &[(i32, i32)], there: &[(i32, i32)], cursor: i64) -> Leeway {
        command.insert("$db", "app");
        let command = message(&command);
        leeway(&View::of(&command).unwrap(), &answer(here, cursor), &answer(there, cursor))
    }

    #[test]
    fn without_a_sort_a_part_may_be_any_part_and_all_are_all() {
        let find = doc! { "find": "c" };
        assert_eq!(of(find.clone(), &[(1, 1)], &[(2, 1)], 0), Leeway::None);
        assert_eq!(of(find.clone(), &[(1, 1)], &[(2, 1)], 5), Leeway::Unknown);
        assert_eq!(of(find, &[(1, 1)], &[(2, 1), (3, 1)], 5), Leeway::None);
        assert_eq!(of(doc! { "find": "c", "limit": 1 }, &[(1, 1)], &[(2, 1)], 0), Leeway::Unknown);
        let first = doc! { "aggregate": "c", "pipeline": [{ "$limit": 1 }] };
        assert_eq!(of(first, &[(1, 1)], &[(2, 1)], 0), Leeway::Unknown);
        let group =
            doc! { "aggregate": "c", "pipeline": [{ "$sort": { "_id": 1 } }, { "$group": { "_id": "$a" } }] };
        assert_eq!(of(group, &[(1, 1)], &[(2, 1)], 5), Leeway::Unknown);
    }

    #[test]
    fn one_document_that_is_not_the_same_is_a_difference_however_many_were_asked_for() {
        let one = doc! { "find": "c", "filter": { "_id": 1 }, "limit": 1, "singleBatch": true };
        assert_eq!(of(one, &[(1, 1)], &[(1, 2)], 0), Leeway::None);
        assert_eq!(of(doc! { "find": "c" }, &[(1, 1), (2, 1)], &[(3, 1), (1, 2)], 5), Leeway::None);
        // All that there is, as the limit was not reached.
        let many = doc! { "find": "c", "limit": 5 };
        assert_eq!(of(many.clone(), &[(1, 1)], &[(2, 1)], 0), Leeway::None);
        assert_eq!(of(many, &[(1, 1); 5], &[(1, 2); 5], 0), Leeway::Unknown);
    }

    #[test]
    fn documents_with_equal_sort_keys_may_change_places() {
        let find = doc! { "find": "c", "sort": { "a.x": 1 } };
        assert_eq!(of(find.clone(), &[(1, 1), (2, 1)], &[(2, 1), (1, 1)], 0), Leeway::SameDocuments);
        assert_eq!(of(find.clone(), &[(1, 1), (2, 2)], &[(2, 2), (1, 1)], 0), Leeway::None);
        assert_eq!(of(find.clone(), &[(1, 1), (2, 2)], &[(1, 1), (3, 2)], 0), Leeway::None);
        assert_eq!(of(find, &[(1, 1), (2, 2)], &[(1, 1), (3, 2)], 5), Leeway::Unknown);
        let first = doc! { "find": "c", "sort": { "a.x": 1 }, "limit": 1 };
        assert_eq!(of(first.clone(), &[(1, 1)], &[(2, 1)], 0), Leeway::Unknown);
        assert_eq!(of(first, &[(1, 1)], &[(2, 2)], 0), Leeway::None);
    }
}
