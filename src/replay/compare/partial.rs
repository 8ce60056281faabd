//! Answers that are a part of what was found: the first so many, one batch of several. Where no order was asked for, another
//! server may give other documents, and be right; the documents that both gave have to be the same all the same.

use std::collections::HashMap;

use super::{Pair, is_sorted, list, stages};
use crate::doc::{Element, find};
use crate::replay::answer::Answer;
use crate::replay::job::RecordedForm;
use crate::replay::view::{View, documents_of};

/// Whether two answers of as many documents may differ in which documents they have, and differ in nothing else as far as is
/// known.
pub(super) fn may_be_others(view: &View<'_>, pair: &Pair<'_>, answer: &Answer) -> bool {
    if is_sorted(view) || !is_part(view, answer) {
        return false;
    }
    match &pair.recorded.form {
        RecordedForm::Whole(recorded) => is_same_where_both_have_it(recorded, pair.reply),
        RecordedForm::Digest(_) | RecordedForm::Nothing => true,
    }
}

fn is_part(view: &View<'_>, answer: &Answer) -> bool {
    let number = |key| find(view.body, key).and_then(|element| element.value.as_i64()).unwrap_or(0);
    let is_one = || {
        let id = view.document("filter").and_then(|filter| find(filter, "_id"));
        id.is_some_and(|id| id.value.as_document().is_none())
    };
    match view.name() {
        // What its cursor was opened with is not known here.
        b"getMore" => true,
        _ if answer.cursor != 0 => true,
        b"find" => {
            let limit = number("limit").unsigned_abs();
            (number("skip") > 0 || (limit > 0 && u64::from(answer.documents) >= limit)) && !is_one()
        }
        b"aggregate" => stages(view).any(|stage| matches!(stage.key, b"$limit" | b"$skip")),
        _ => false,
    }
}

fn is_same_where_both_have_it(recorded: &[u8], reply: &[u8]) -> bool {
    let before: HashMap<&[u8], &[u8]> =
        batch(recorded).into_iter().filter_map(|document| Some((id(document)?, document))).collect();
    let is_other = |document: &&[u8]| {
        id(document).and_then(|id| before.get(id)).is_some_and(|before| before != document)
    };
    !batch(reply).iter().any(is_other)
}

fn id(document: &[u8]) -> Option<&[u8]> {
    find(document, "_id").map(|id| id.raw)
}

fn batch(message: &[u8]) -> Vec<&[u8]> {
    let body = documents_of(message).first().copied().unwrap_or_default();
    let cursor = find(body, "cursor").and_then(|cursor| cursor.value.as_document()).unwrap_or_default();
    let batch: Option<Element<'_>> = find(cursor, "firstBatch").or_else(|| find(cursor, "nextBatch"));
    batch.map(|batch| list(&batch)).unwrap_or_default()
}
