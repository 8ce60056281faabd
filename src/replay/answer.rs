//! What the player has to know of a reply: its facts, as the capture has them of the recorded one.

use crate::capture::digest::documents;
use crate::doc::{elements, find};
use crate::wire::{OpMsg, OpReply, Opcode, Side, read_i32};

/// The facts of a reply.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Answer {
    /// 0: `ok: 1`; -1: an error without a code.
    pub code: i32,
    /// Its cursor; 0: none, or at its end.
    pub cursor: i64,
    /// Documents in its batch.
    pub documents: u32,
    /// `operationTime`.
    pub operation_time: Option<u64>,
    /// It has `writeErrors` or a `writeConcernError`.
    pub has_write_error: bool,
    /// Another reply follows unasked, which is not how it was asked.
    pub more_to_come: bool,
}

impl Answer {
    /// Reads a message; `None` if it is no reply.
    pub fn read(message: &[u8]) -> Option<Answer> {
        match Opcode::from_i32(read_i32(message, 12)?)? {
            Opcode::Msg => {
                let msg = OpMsg::parse(message, Side::Server).ok()?;
                Some(Answer { more_to_come: msg.flags.more_to_come(), ..Answer::of(msg.body)? })
            }
            Opcode::Reply => {
                let reply = OpReply::parse(message, Side::Server).ok()?;
                let first = documents(message.get(OpReply::DOCUMENTS_AT..)?).next()?;
                let answer = Answer::of(first)?;
                Some(Answer { cursor: answer.cursor | reply.cursor_id, ..answer })
            }
            _ => None,
        }
    }

    fn of(body: &[u8]) -> Option<Answer> {
        let mut answer = Answer::default();
        let (mut ok, mut code) = (None, None);
        for element in elements(body) {
            let element = element.ok()?;
            match element.key {
                b"ok" => ok = element.value.as_bool(),
                b"code" => code = element.value.as_i64(),
                b"$err" => ok = Some(false),
                b"values" => {
                    let values = elements(element.value.as_document().unwrap_or_default());
                    answer.documents = values.map_while(Result::ok).count() as u32;
                }
                b"operationTime" => answer.operation_time = element.value.as_timestamp(),
                b"writeErrors" | b"writeConcernError" => answer.has_write_error = true,
                b"cursor" => answer.add_cursor(element.value.as_document().unwrap_or_default()),
                _ => {}
            }
        }
        if ok == Some(false) {
            answer.code =
                code.and_then(|code| i32::try_from(code).ok()).filter(|code| *code != 0).unwrap_or(-1);
        }
        Some(answer)
    }

    fn add_cursor(&mut self, cursor: &[u8]) {
        self.cursor = find(cursor, "id").and_then(|id| id.value.as_i64()).unwrap_or(0);
        let batch = find(cursor, "firstBatch").or_else(|| find(cursor, "nextBatch"));
        let batch = batch.and_then(|batch| batch.value.as_document()).unwrap_or_default();
        self.documents = elements(batch).map_while(Result::ok).count() as u32;
    }

    /// Whether the operation did not do what it was asked for.
    pub fn is_error(&self) -> bool {
        self.code != 0 || self.has_write_error
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{MsgFlags, OpMsgBuilder, write_op_reply};
    use bson::{Document, Timestamp, doc};

    fn read(body: &Document) -> Answer {
        let body = bson::serialize_to_vec(body).unwrap();
        Answer::read(&OpMsgBuilder::message(1, 2, MsgFlags(0), &body)).unwrap()
    }

    #[test]
    fn the_facts_of_a_reply_are_read() {
        let time = Timestamp { time: 1, increment: 2 };
        let answer =
            read(&doc! { "cursor": { "firstBatch": [{ "a": 1 }, { "b": 2 }], "id": 9i64 }, "ok": 1.0,
            "operationTime": time });
        let wanted =
            Answer { cursor: 9, documents: 2, operation_time: Some((1 << 32) | 2), ..Answer::default() };
        assert_eq!(answer, wanted);
        assert_eq!(read(&doc! { "ok": 0, "code": 13 }).code, 13);
        assert_eq!(read(&doc! { "ok": 0.0, "errmsg": "?" }).code, -1);
        assert!(read(&doc! { "n": 0, "writeErrors": [{ "code": 11000 }], "ok": 1 }).is_error());
    }

    #[test]
    fn what_is_no_reply_is_none() {
        assert_eq!(Answer::read(b"short"), None);
        let mut legacy = Vec::new();
        write_op_reply(&mut legacy, 1, 2, &bson::serialize_to_vec(&doc! { "ok": 1 }).unwrap());
        assert_eq!(Answer::read(&legacy).unwrap().code, 0);
        assert_eq!(Answer::read(&legacy[..40]), None);
    }
}
