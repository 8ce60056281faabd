//! What the replies to a client's commands say of documents.

use bson::{Bson, Document};

use super::event::{Seen, WriteId};
use crate::support::raw::is_ok;

/// The code that a commit of something unheard of gets.
pub const NO_SUCH_TRANSACTION: i32 = 251;

/// What came of an attempt to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// It was made, and this was said of the document before.
    Made(Option<Seen>),
    /// It was not, as the document was so.
    Found(Seen),
    /// Nobody knows; sent again, it is made once. The code that was said.
    Again(i32),
}

/// Documents of a cursor's reply.
pub fn returned(reply: &Document) -> impl Iterator<Item = &Document> {
    let cursor = reply.get_document("cursor").expect("a cursor");
    let batch = cursor.get_array("firstBatch").or(cursor.get_array("nextBatch")).expect("a batch");
    batch.iter().map(|document| document.as_document().expect("a document"))
}

/// `_id` and state of each.
pub fn documents<'a>(documents: impl Iterator<Item = &'a Document>) -> Vec<(u8, Seen)> {
    documents.map(|document| (document.get_i32("_id").expect("an id") as u8, left(document))).collect()
}

fn left(document: &Document) -> Seen {
    Seen::Left(document.get_i64("w").expect("a write's id") as WriteId)
}

/// What `count` by `_id` has seen.
pub fn counted(reply: &Document) -> Seen {
    match reply.get_i32("n").expect("a count") {
        0 => Seen::Absent,
        1 => Seen::Present,
        more => panic!("{more} documents of one _id"),
    }
}

/// What `distinct` of `w` by `_id` has seen.
pub fn distinct(reply: &Document) -> Seen {
    let value = reply.get_array("values").expect("values").first().and_then(Bson::as_i64);
    value.map_or(Seen::Absent, |value| Seen::Left(value as WriteId))
}

/// What came of an attempt to insert, update, delete or findAndModify one document.
pub fn written(reply: &Document) -> Written {
    let code = |document: &Document| document.get_i32("code").unwrap_or(0);
    if !is_ok(reply) {
        return Written::Again(code(reply));
    }
    if let Ok(error) = reply.get_document("writeConcernError") {
        return Written::Again(code(error));
    }
    if let Some(error) = reply.get_array("writeErrors").ok().and_then(|errors| errors.first()?.as_document())
    {
        return match code(error) {
            11000 => Written::Found(Seen::Present),
            other => Written::Again(other),
        };
    }
    if reply.get("n").or(reply.get("lastErrorObject")).is_none() {
        // Of a commit.
        return Written::Made(None);
    }
    let last = reply.get_document("lastErrorObject").unwrap_or(reply);
    match (last.get_i32("n"), reply.get_document("value")) {
        (Ok(0), _) => Written::Found(Seen::Absent),
        (Ok(1), Ok(before)) => Written::Made(Some(left(before))),
        (Ok(1), _) => Written::Made(None),
        _ => panic!("not the reply to a write of one document: {reply}"),
    }
}
