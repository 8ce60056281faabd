//! OP_REPLY: the answer to OP_QUERY and OP_GET_MORE.

use super::error::{Side, WireError};
use super::header::{HEADER_LEN, Header};
use super::opcode::Opcode;
use super::{read_i32, read_i64};

/// The flag bits of an OP_REPLY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyFlags(pub u32);

impl ReplyFlags {
    /// The cursor asked for does not exist.
    pub const CURSOR_NOT_FOUND: u32 = 1;
    /// The one document is an error with `$err`.
    pub const QUERY_FAILURE: u32 = 1 << 1;
    /// Set by every server of today: it can await data.
    pub const AWAIT_CAPABLE: u32 = 1 << 3;
}

/// A view of the front of an OP_REPLY; the documents may be still on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpReply {
    /// The flag bits.
    pub flags: ReplyFlags,
    /// 0 when there is nothing more to fetch.
    pub cursor_id: i64,
    /// Documents that follow.
    pub number_returned: i32,
}

impl OpReply {
    /// Bytes from the header's first to the first document.
    pub const DOCUMENTS_AT: usize = HEADER_LEN + 20;

    /// Parses the first 36 bytes of a message.
    pub fn parse(message: &[u8], side: Side) -> Result<OpReply, WireError> {
        let malformed = |what| WireError::Malformed { side, opcode: Opcode::Reply, what };
        let flags = read_i32(message, HEADER_LEN).ok_or(malformed("no flag bits"))?;
        let cursor_id = read_i64(message, HEADER_LEN + 4).ok_or(malformed("no cursor id"))?;
        let number_returned = read_i32(message, HEADER_LEN + 16).ok_or(malformed("no count"))?;
        Ok(OpReply { flags: ReplyFlags(flags as u32), cursor_id, number_returned })
    }
}

/// Appends a whole OP_REPLY with one document to `out`: the answer to a command sent by OP_QUERY.
pub fn write_op_reply(out: &mut Vec<u8>, request_id: i32, response_to: i32, document: &[u8]) {
    let length = OpReply::DOCUMENTS_AT + document.len();
    let header = Header { length, request_id, response_to, opcode: Opcode::Reply };
    out.extend_from_slice(&header.to_bytes());
    out.extend_from_slice(&ReplyFlags::AWAIT_CAPABLE.to_le_bytes());
    out.extend_from_slice(&0i64.to_le_bytes());
    out.extend_from_slice(&0i32.to_le_bytes());
    out.extend_from_slice(&1i32.to_le_bytes());
    out.extend_from_slice(document);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_reply_parses_as_one_document_without_a_cursor() {
        let mut out = Vec::new();
        write_op_reply(&mut out, 1, 2, &[5, 0, 0, 0, 0]);
        let parsed = OpReply::parse(&out, Side::Server).unwrap();
        assert_eq!((parsed.cursor_id, parsed.number_returned), (0, 1));
        assert_eq!(&out[OpReply::DOCUMENTS_AT..], [5, 0, 0, 0, 0]);
        assert_eq!(Header::peek(&out, Side::Server, 100).unwrap().unwrap().length, out.len());
    }
}
