//! What is kept of every reply, whatever else is: its error code, its cursor, how many documents its batch has.
//!
//! [`Facts::of`] reads them from a whole message. [`Passing`] reads them from one that is too large to be kept, as it
//! passes: its front says where the batch ends, the documents are counted as they come, and the cursor's id stands
//! behind them.

use crate::doc::{Element, cut_element, elements, find, front_elements};
use crate::wire::{HEADER_LEN, OpReply, Opcode, ReplyFlags, Side, read_i32};

/// Bytes from a message's first to the body of an OP_MSG that a server sent: flag bits, kind.
const BODY_AT: usize = HEADER_LEN + 5;

/// An error without a code.
const NO_CODE: i32 = -1;

/// CursorNotFound, which a legacy reply says with a flag.
const CURSOR_NOT_FOUND: i32 = 43;

/// How much of the front of a large reply is looked at: what stands before the documents.
const FRONT_MAX: usize = 4096;

/// How much of its end: what stands behind them.
const TAIL_MAX: usize = 4096;

/// The longest key of an array that is looked at: as many digits as an index has.
const KEY_MAX: usize = 12;

/// Facts of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Facts {
    /// Its error code; 0: `ok: 1`, -1: an error without a code.
    pub code: i32,
    /// Its cursor; 0: none, or at its end.
    pub cursor: i64,
    /// Documents in its batch.
    pub documents: u32,
}

impl Facts {
    /// Those of a whole reply. What cannot be read is 0.
    pub fn of(message: &[u8]) -> Facts {
        match read_i32(message, 12).and_then(Opcode::from_i32) {
            Some(Opcode::Msg) => Facts::of_body(elements(message.get(BODY_AT..).unwrap_or_default())),
            Some(Opcode::Reply) => Facts::of_legacy(message),
            _ => Facts::default(),
        }
    }

    fn of_legacy(message: &[u8]) -> Facts {
        let Ok(reply) = OpReply::parse(message, Side::Server) else { return Facts::default() };
        let document = message.get(OpReply::DOCUMENTS_AT..).unwrap_or_default();
        let documents = u32::try_from(reply.number_returned).unwrap_or(0);
        if reply.flags.0 & ReplyFlags::CURSOR_NOT_FOUND != 0 {
            return Facts { code: CURSOR_NOT_FOUND, cursor: 0, documents };
        }
        if reply.flags.0 & ReplyFlags::QUERY_FAILURE != 0 {
            let code = find(document, "code").and_then(|code| code.value.as_i64());
            let code = code.and_then(|code| i32::try_from(code).ok()).unwrap_or(NO_CODE);
            return Facts { code, cursor: 0, documents };
        }
        // A command's reply is one document, too.
        match documents == 1 && reply.cursor_id == 0 && find(document, "ok").is_some() {
            true => Facts::of_body(elements(document)),
            false => Facts { code: 0, cursor: reply.cursor_id, documents },
        }
    }

    fn of_body<'a>(body: impl Iterator<Item = Result<Element<'a>, crate::doc::DocError>>) -> Facts {
        let mut facts = Facts::default();
        let (mut ok, mut code) = (true, None);
        for element in body.map_while(Result::ok) {
            match element.key {
                b"ok" => ok = element.value.as_bool().unwrap_or(true),
                b"code" => code = element.value.as_i64(),
                b"cursor" => facts.read_cursor(element.value.as_document().unwrap_or_default()),
                b"values" => {
                    let values = elements(element.value.as_document().unwrap_or_default());
                    facts.documents = values.map_while(Result::ok).count() as u32;
                }
                _ => {}
            }
        }
        if !ok {
            facts.code = code.and_then(|code| i32::try_from(code).ok()).unwrap_or(NO_CODE);
        }
        facts
    }

    fn read_cursor(&mut self, cursor: &[u8]) {
        for element in elements(cursor).map_while(Result::ok) {
            match (element.key, element.value.as_document()) {
                (b"id", _) => self.cursor = element.value.as_i64().unwrap_or(0),
                (b"firstBatch" | b"nextBatch", Some(batch)) => {
                    self.documents = elements(batch).map_while(Result::ok).count() as u32;
                }
                _ => {}
            }
        }
    }
}

/// The facts of a reply that passes in pieces and is not kept. Holds a few KiB whatever the reply's size.
#[derive(Debug)]
pub struct Passing {
    front: Vec<u8>,
    tail: Vec<u8>,
    seen: usize,
    batch: Option<Batch>,
}

/// Where the documents of a batch are: bytes from the message's first.
#[derive(Debug)]
struct Batch {
    end: usize,
    /// Where the next document's element begins, or goes on: so many bytes are to be passed over first.
    skip: usize,
    /// The type, key and length of the next one, as far as they have come.
    begun: Vec<u8>,
    documents: u32,
}

impl Passing {
    /// The first bytes of a message, at least its header.
    pub fn new() -> Passing {
        Passing { front: Vec::with_capacity(FRONT_MAX), tail: Vec::new(), seen: 0, batch: None }
    }

    /// The next bytes of it.
    pub fn pass(&mut self, bytes: &[u8]) {
        let room = FRONT_MAX.saturating_sub(self.front.len());
        if room > 0 && self.batch.is_none() {
            self.front.extend_from_slice(&bytes[..room.min(bytes.len())]);
            self.batch = batch(&self.front);
            let Some(batch) = &mut self.batch else { return self.note(bytes) };
            // What of the documents came with the front.
            let start = batch.skip.min(self.front.len());
            batch.skip -= start;
            let came = self.front.split_off(start);
            let behind = bytes.get(room.min(bytes.len())..).unwrap_or_default();
            batch.count(start, &came);
            batch.count(start + came.len(), behind);
            return self.note(bytes);
        }
        if let Some(batch) = &mut self.batch {
            batch.count(self.seen, bytes);
        }
        self.note(bytes);
    }

    /// What it comes to, once all has passed.
    pub fn facts(&self) -> Facts {
        // All of it is here.
        if self.batch.is_none() && self.seen <= FRONT_MAX {
            return Facts::of(&self.front);
        }
        if read_i32(&self.front, 12) == Some(Opcode::Reply as i32) {
            let reply = OpReply::parse(&self.front, Side::Server);
            return reply.map_or_else(
                |_| Facts::default(),
                |reply| Facts {
                    code: 0,
                    cursor: reply.cursor_id,
                    documents: u32::try_from(reply.number_returned).unwrap_or(0),
                },
            );
        }
        let Some(batch) = &self.batch else { return Facts::default() };
        let tail_at = self.seen - self.tail.len();
        // Behind the batch the cursor goes on: its id, then its end.
        let behind = batch.end.checked_sub(tail_at).and_then(|at| self.tail.get(at..)).unwrap_or_default();
        // As if they stood at the front of a document.
        let rest = [&[0; 4], behind].concat();
        let id = front_elements(&rest).map_while(Result::ok).find(|element| element.key == b"id");
        // An error has no batch of this size.
        let cursor = id.and_then(|id| id.value.as_i64()).unwrap_or(0);
        Facts { code: 0, cursor, documents: batch.documents }
    }

    fn note(&mut self, bytes: &[u8]) {
        self.seen += bytes.len();
        self.tail.extend_from_slice(&bytes[bytes.len().saturating_sub(TAIL_MAX)..]);
        let over = self.tail.len().saturating_sub(TAIL_MAX);
        self.tail.drain(..over);
    }
}

impl Default for Passing {
    fn default() -> Self {
        Passing::new()
    }
}

/// The batch of a reply of which this is the front, once it is known where it ends.
fn batch(front: &[u8]) -> Option<Batch> {
    let body = front.get(BODY_AT..)?;
    let cut = cut_element(body);
    let (b"cursor", _) = cut.end? else { return None };
    // Type, key, zero.
    let cursor_at = BODY_AT + cut.start + 1 + b"cursor".len() + 1;
    let cut = cut_element(front.get(cursor_at..)?);
    let (key @ (b"firstBatch" | b"nextBatch"), end) = cut.end? else { return None };
    let array_at = cursor_at + cut.start + 1 + key.len() + 1;
    let (end, skip) = (cursor_at + end, array_at + 4);
    Some(Batch { end, skip, begun: Vec::with_capacity(KEY_MAX + 8), documents: 0 })
}

impl Batch {
    /// Counts the documents that begin in `bytes`, of which the first stands at `at`.
    fn count(&mut self, at: usize, mut bytes: &[u8]) {
        // The array ends with a zero.
        let within = (self.end - 1).saturating_sub(at).min(bytes.len());
        bytes = &bytes[..within];
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let Some((byte, rest)) = bytes.split_first() else { return };
            self.begun.push(*byte);
            bytes = rest;
            let zero = self.begun.iter().skip(1).position(|byte| *byte == 0);
            match zero.and_then(|zero| read_i32(&self.begun, zero + 2)) {
                Some(length) => {
                    self.documents += 1;
                    self.skip = usize::try_from(length).unwrap_or(0).saturating_sub(4);
                    self.begun.clear();
                }
                // No document, so this is no batch: there is nothing to count.
                None if self.begun.len() > KEY_MAX + 8 => self.skip = usize::MAX,
                None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{MsgFlags, OpMsgBuilder, write_op_reply};
    use bson::{Document, doc};
    use proptest::prelude::*;

    fn msg(reply: &Document) -> Vec<u8> {
        OpMsgBuilder::message(1, 2, MsgFlags(0), &bson::serialize_to_vec(reply).unwrap())
    }

    fn facts(code: i32, cursor: i64, documents: u32) -> Facts {
        Facts { code, cursor, documents }
    }

    fn large(documents: usize, size: usize) -> Vec<u8> {
        let batch: Vec<_> = (0..documents).map(|n| doc! { "_id": n as i32, "x": "y".repeat(size) }).collect();
        msg(&doc! { "cursor": { "nextBatch": batch, "id": 77i64, "ns": "a.b" }, "ok": 1.0,
        "$clusterTime": { "clusterTime": bson::Timestamp { time: 1, increment: 1 } } })
    }

    #[test]
    fn a_reply_says_its_error_its_cursor_and_its_documents() {
        let batch = doc! { "cursor": { "firstBatch": [{}, {}], "id": 5i64, "ns": "a.b" }, "ok": 1.0 };
        assert_eq!(Facts::of(&msg(&batch)), facts(0, 5, 2));
        assert_eq!(Facts::of(&msg(&doc! { "ok": 0.0, "code": 43, "errmsg": "x" })), facts(43, 0, 0));
        assert_eq!(Facts::of(&msg(&doc! { "ok": 0 })), facts(-1, 0, 0));
        assert_eq!(Facts::of(&msg(&doc! { "values": [1, 2, 3], "ok": 1 })), facts(0, 0, 3));
        let mut legacy = Vec::new();
        write_op_reply(&mut legacy, 1, 2, &bson::serialize_to_vec(&doc! { "ok": 0, "code": 11 }).unwrap());
        assert_eq!(Facts::of(&legacy), facts(11, 0, 0));
        assert_eq!(Facts::of(b"short"), Facts::default());
    }

    proptest! {
        #[test]
        fn what_passes_in_pieces_has_the_facts_of_the_whole(
            documents in 1usize..200, size in 0usize..300, pieces in proptest::collection::vec(1usize..3000, 1..20),
        ) {
            let message = large(documents, size);
            let mut passing = Passing::new();
            let mut rest = message.as_slice();
            for length in pieces.iter().cycle() {
                let (piece, behind) = rest.split_at((*length).min(rest.len()));
                passing.pass(piece);
                rest = behind;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(passing.facts(), Facts::of(&message));
        }

        #[test]
        fn a_short_reply_that_passes_in_pieces_has_the_facts_of_the_whole(code: i32, piece in 1usize..50) {
            let message = msg(&doc! { "ok": 0.0, "code": code, "errmsg": "x" });
            let mut passing = Passing::new();
            message.chunks(piece).for_each(|piece| passing.pass(piece));
            prop_assert_eq!(passing.facts(), Facts::of(&message));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..9000), piece in 1usize..5000) {
            let mut passing = Passing::new();
            bytes.chunks(piece).for_each(|piece| passing.pass(piece));
            let _ = (passing.facts(), Facts::of(&bytes));
        }

        #[test]
        fn damage_makes_nothing_panic(at in 0usize..60, with in any::<u8>(), piece in 1usize..5000) {
            let mut message = large(100, 200);
            message[at] = with;
            let mut passing = Passing::new();
            message.chunks(piece).for_each(|piece| passing.pass(piece));
            let _ = (passing.facts(), Facts::of(&message));
        }
    }
}
