//! Error replies that torana writes itself, as documents and as whole messages.
//!
//! Field order and types are those of mongod 6.0.5: `errorLabels` (if any), `ok: 0.0`, `errmsg`, `code`, `codeName`;
//! to an OP_QUERY that is not a command `$err`, `code`, `ok: 0.0` with the flag QueryFailure. A text that torana
//! words itself says so and says what to do next; texts of mongod's own rules are mongod's, letter for letter.

use std::borrow::Cow;

use super::error_code::ErrorCode;
use crate::doc::DocWriter;
use crate::wire::{MsgFlags, OpMsgBuilder, ReplyFlags, write_op_reply};

/// Error labels, in the order in which they are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Labels(u8);

impl Labels {
    /// No label: the field is left out.
    pub const NONE: Labels = Labels(0);
    /// The write may be sent once more with the same txnNumber.
    pub const RETRYABLE_WRITE: Labels = Labels(1);
    /// The whole transaction may be run once more.
    pub const TRANSIENT_TRANSACTION: Labels = Labels(1 << 1);
    /// Too much to do: clients back off before they try again.
    pub const SYSTEM_OVERLOADED: Labels = Labels(1 << 2);
    /// The request never ran: anything may be sent once more.
    pub const RETRYABLE: Labels = Labels(1 << 3);
    /// The change stream may be opened anew where it stood.
    pub const RESUMABLE_STREAM: Labels = Labels(1 << 4);

    const TEXTS: [&'static str; 5] = [
        "RetryableWriteError",
        "TransientTransactionError",
        "SystemOverloadedError",
        "RetryableError",
        "ResumableChangeStreamError",
    ];

    /// The label that is sent as `text`.
    pub fn named(text: &str) -> Option<Labels> {
        Self::TEXTS.iter().position(|known| *known == text).map(|bit| Labels(1 << bit))
    }

    /// Both sets together.
    #[must_use]
    pub const fn and(self, other: Labels) -> Labels {
        Labels(self.0 | other.0)
    }

    /// Whether all of `other` are among them.
    pub const fn contains(self, other: Labels) -> bool {
        self.0 & other.0 == other.0
    }

    /// The labels as they are sent.
    pub fn texts(self) -> impl Iterator<Item = &'static str> {
        Self::TEXTS
            .into_iter()
            .enumerate()
            .filter(move |(bit, _)| self.0 & (1 << bit) != 0)
            .map(|(_, text)| text)
    }
}

/// An error that answers a command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{errmsg}")]
pub struct CommandError {
    /// The code; `codeName` follows from it.
    pub code: ErrorCode,
    /// The text.
    pub errmsg: Cow<'static, str>,
    /// The labels.
    pub labels: Labels,
}

impl CommandError {
    /// An error in mongod's own words: for rules of mongod that torana checks in its place.
    pub fn of_mongod(code: ErrorCode, errmsg: impl Into<Cow<'static, str>>) -> Self {
        CommandError { code, errmsg: errmsg.into(), labels: Labels::NONE }
    }

    /// An error of torana's own: what happened, and what whoever reads it should do next.
    pub fn of_torana(code: ErrorCode, what: impl std::fmt::Display, next: impl std::fmt::Display) -> Self {
        CommandError { code, errmsg: format!("torana: {what}; {next}").into(), labels: Labels::NONE }
    }

    /// The same with labels added.
    #[must_use]
    pub fn labelled(mut self, labels: Labels) -> Self {
        self.labels = self.labels.and(labels);
        self
    }

    /// Appends the reply's document.
    pub fn write_document(&self, out: &mut Vec<u8>) {
        let mut writer = DocWriter::begin(out);
        if self.labels != Labels::NONE {
            writer.strings(b"errorLabels", self.labels.texts());
        }
        writer.f64(b"ok", 0.0).string(b"errmsg", &self.errmsg).i32(b"code", self.code.0);
        writer.string(b"codeName", &self.code.name());
        writer.finish();
    }

    /// Appends a whole OP_MSG: the answer to a command sent by OP_MSG.
    pub fn write_op_msg(&self, out: &mut Vec<u8>, request_id: i32, response_to: i32) {
        let message = OpMsgBuilder::begin(out, request_id, response_to, MsgFlags::default());
        self.write_document(out);
        message.finish(out);
    }

    /// Appends a whole OP_REPLY: the answer to a command sent by OP_QUERY.
    pub fn write_op_reply(&self, out: &mut Vec<u8>, request_id: i32, response_to: i32) {
        let mut document = Vec::new();
        self.write_document(&mut document);
        write_op_reply(out, request_id, response_to, &document);
    }

    /// Appends a whole OP_REPLY with the flag QueryFailure: the answer to OP_QUERY or OP_GET_MORE on a collection.
    pub fn write_query_failure(&self, out: &mut Vec<u8>, request_id: i32, response_to: i32) {
        let mut document = Vec::new();
        let mut writer = DocWriter::begin(&mut document);
        writer.string(b"$err", &self.errmsg).i32(b"code", self.code.0).f64(b"ok", 0.0);
        writer.finish();
        let start = out.len();
        write_op_reply(out, request_id, response_to, &document);
        // mongod sets no other flag beside this one.
        if let Some(flags) = out.get_mut(start + 16..start + 20) {
            flags.copy_from_slice(&ReplyFlags::QUERY_FAILURE.to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Header, OpMsg, OpReply, Side};

    fn error() -> CommandError {
        CommandError::of_torana(ErrorCode::EXCEEDED_TIME_LIMIT, "it took too long", "try again")
    }

    #[test]
    fn fields_come_in_mongods_order_with_labels_first() {
        let labelled = error().labelled(Labels::RETRYABLE).labelled(Labels::RETRYABLE_WRITE);
        let mut out = Vec::new();
        labelled.write_document(&mut out);
        let expected = bson::doc! { "errorLabels": ["RetryableWriteError", "RetryableError"], "ok": 0.0,
        "errmsg": "torana: it took too long; try again", "code": 262, "codeName": "ExceededTimeLimit" };
        assert_eq!(out, bson::serialize_to_vec(&expected).unwrap());
    }

    #[test]
    fn a_message_is_well_formed_behind_other_bytes() {
        let mut out = vec![9; 3];
        error().write_op_msg(&mut out, 5, 6);
        let header = Header::peek(&out[3..], Side::Server, 1000).unwrap().unwrap();
        assert_eq!((header.length, header.request_id, header.response_to), (out.len() - 3, 5, 6));
        assert!(OpMsg::parse(&out[3..], Side::Server).is_ok());
    }

    #[test]
    fn a_query_gets_the_error_as_the_one_document_of_a_failed_query() {
        let mut out = vec![9; 3];
        error().write_query_failure(&mut out, 5, 6);
        let reply = OpReply::parse(&out[3..], Side::Server).unwrap();
        assert_eq!((reply.flags, reply.cursor_id, reply.number_returned), (ReplyFlags(2), 0, 1));
        let document = &out[3 + OpReply::DOCUMENTS_AT..];
        let expected = bson::doc! { "$err": "torana: it took too long; try again", "code": 262, "ok": 0.0 };
        assert_eq!(document, bson::serialize_to_vec(&expected).unwrap());
    }
}
