//! A reply in 16 bytes, so that two servers' answers can be compared where the answers themselves are not kept.
//!
//! Two replies have the same digest if they say the same but for what differs from run to run: times and clocks
//! ([`IGNORED`]), the cursor's id, and the order of the documents of a batch. It is the first half of BLAKE3 over: the
//! reply's other fields as they stand, then the number of documents in the batch, then the sum (modulo 2^128) of the
//! halved BLAKE3 of each.

use crate::doc::{Element, elements};
use crate::wire::{OpMsg, OpReply, Opcode, Section, Side, read_i32};

/// Top-level fields of a reply that differ from run to run.
pub const IGNORED: [&str; 9] = [
    "$clusterTime",
    "operationTime",
    "localTime",
    "opTime",
    "electionId",
    "$configTime",
    "$topologyTime",
    "$gleStats",
    "atClusterTime",
];

/// The first half of a BLAKE3 hash.
pub type Digest = [u8; 16];

/// The digest of a reply; `None` if the message is none.
pub fn of(message: &[u8]) -> Option<Digest> {
    let mut hasher = blake3::Hasher::new();
    let opcode = Opcode::from_i32(read_i32(message, 12)?)?;
    match opcode {
        Opcode::Msg => {
            for section in OpMsg::parse(message, Side::Server).ok()?.sections() {
                match section.ok()? {
                    Section::Body(body) => add_body(&mut hasher, body),
                    Section::Sequence { .. } => return None,
                }
            }
        }
        Opcode::Reply => {
            OpReply::parse(message, Side::Server).ok()?;
            add_batch(&mut hasher, documents(message.get(OpReply::DOCUMENTS_AT..)?));
        }
        _ => return None,
    }
    hasher.finalize().as_bytes().first_chunk().copied()
}

fn add_body(hasher: &mut blake3::Hasher, body: &[u8]) {
    for element in elements(body).map_while(Result::ok) {
        match element.value.as_document() {
            _ if is_ignored(element.key) => {}
            Some(cursor) if element.key == b"cursor" => add_cursor(hasher, cursor),
            _ => add(hasher, &element),
        }
    }
}

fn add_cursor(hasher: &mut blake3::Hasher, cursor: &[u8]) {
    for element in elements(cursor).map_while(Result::ok) {
        match (element.key, element.value.as_document()) {
            (b"id" | b"atClusterTime" | b"postBatchResumeToken", _) => {}
            (b"firstBatch" | b"nextBatch", Some(batch)) => {
                let documents = elements(batch).map_while(Result::ok);
                add_batch(hasher, documents.filter_map(|document| document.value.as_document()));
            }
            _ => add(hasher, &element),
        }
    }
}

fn add_batch<'a>(hasher: &mut blake3::Hasher, documents: impl Iterator<Item = &'a [u8]>) {
    let (mut count, mut sum) = (0u64, 0u128);
    for document in documents {
        let hash = blake3::hash(document);
        sum = sum.wrapping_add(hash.as_bytes().first_chunk().map_or(0, |half| u128::from_le_bytes(*half)));
        count += 1;
    }
    hasher.update(&count.to_le_bytes());
    hasher.update(&sum.to_le_bytes());
}

fn add(hasher: &mut blake3::Hasher, element: &Element<'_>) {
    hasher.update(element.raw);
}

/// Whether a top-level field of a reply differs from run to run.
pub fn is_ignored(key: &[u8]) -> bool {
    IGNORED.iter().any(|ignored| ignored.as_bytes() == key)
}

/// The documents that stand one behind the other in `bytes`.
pub fn documents(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let length = crate::doc::document_length(bytes).ok()?;
        let (document, behind) = bytes.split_at_checked(length)?;
        bytes = behind;
        Some(document)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{MsgFlags, OpMsgBuilder, write_op_reply};
    use bson::{Timestamp, doc};

    fn digest(reply: bson::Document) -> Option<Digest> {
        of(&OpMsgBuilder::message(1, 2, MsgFlags(0), &bson::serialize_to_vec(&reply).unwrap()))
    }

    #[test]
    fn what_differs_from_run_to_run_does_not_count_and_all_else_does() {
        let reply = |id: i64, time: u32, batch: [i32; 2], ok: f64| {
            let batch: Vec<_> = batch.iter().map(|x| doc! { "x": x }).collect();
            let time = Timestamp { time, increment: 1 };
            digest(doc! { "cursor": { "firstBatch": batch, "id": id, "ns": "a.b" }, "ok": ok,
            "operationTime": time, "$clusterTime": { "clusterTime": time } })
        };
        let first = reply(5, 1, [1, 2], 1.0);
        assert!(first.is_some());
        assert_eq!(first, reply(6, 2, [2, 1], 1.0));
        assert_ne!(first, reply(5, 1, [1, 3], 1.0));
        assert_ne!(first, reply(5, 1, [1, 2], 0.0));
        assert_ne!(digest(doc! { "n": 1, "ok": 1 }), digest(doc! { "n": 2, "ok": 1 }));
        assert_ne!(digest(doc! { "n": 1, "ok": 1 }), digest(doc! { "n": 1i64, "ok": 1 }));
    }

    #[test]
    fn legacy_replies_have_one_and_requests_none() {
        let mut message = Vec::new();
        write_op_reply(&mut message, 1, 2, &bson::serialize_to_vec(&doc! { "x": 1 }).unwrap());
        assert!(of(&message).is_some());
        assert_eq!(of(b"short"), None);
    }
}
