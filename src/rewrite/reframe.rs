//! Putting another body into a message: header, flag bits and other sections stay, the length is set, a checksum is
//! made anew if there was one.

use std::ops::Range;

use super::RewriteError;
use crate::wire::{
    HEADER_LEN, Header, MESSAGE_MAX, MsgFlags, OpMsg, OpQuery, OpReply, Opcode, Side, WireError,
    write_checksum,
};

/// Where the documents are that can be replaced: the kind 0 section of an OP_MSG, the query of an OP_QUERY, all
/// documents of an OP_REPLY. Bytes from the header's first. The message must be whole.
pub fn body_range(message: &[u8], side: Side) -> Result<Range<usize>, WireError> {
    let opcode = opcode(message, side)?;
    match opcode {
        Opcode::Msg => {
            let parsed = OpMsg::parse(message, side)?;
            Ok(parsed.body_at..parsed.body_at + parsed.body.len())
        }
        Opcode::Query => {
            let parsed = OpQuery::parse(message, side)?;
            Ok(parsed.query_at..parsed.query_at + parsed.query.len())
        }
        Opcode::Reply => {
            OpReply::parse(message, side)?;
            Ok(OpReply::DOCUMENTS_AT..message.len())
        }
        _ => Err(WireError::UnexpectedOpcode { side, opcode, why: "has no body to rewrite" }),
    }
}

/// Appends `message` to `out` with `body` in the place of [`body_range`].
pub fn reframe(message: &[u8], side: Side, body: &[u8], out: &mut Vec<u8>) -> Result<(), RewriteError> {
    splice(message, side, out, |out| {
        out.extend_from_slice(body);
        Ok(())
    })
}

/// Appends `message` to `out` with what `fill` appends in the place of its body. On an error `out` is as long as it
/// was.
pub(super) fn splice(
    message: &[u8],
    side: Side,
    out: &mut Vec<u8>,
    fill: impl FnOnce(&mut Vec<u8>) -> Result<(), RewriteError>,
) -> Result<(), RewriteError> {
    let range = body_range(message, side)?;
    let start = out.len();
    out.extend_from_slice(message.get(..range.start).unwrap_or_default());
    let filled = fill(out);
    out.extend_from_slice(message.get(range.end..).unwrap_or_default());
    let length = out.len() - start;
    let fits = if length <= MESSAGE_MAX {
        Ok(())
    } else {
        Err(RewriteError::TooLarge { length, limit: MESSAGE_MAX })
    };
    let result = filled.and(fits);
    match (&result, out.get_mut(start..)) {
        (Ok(()), Some(written)) => seal(written),
        _ => out.truncate(start),
    }
    result
}

/// Sets length and checksum of a message whose other bytes are in place.
fn seal(message: &mut [u8]) {
    let length = message.len() as i32;
    if let Some(field) = message.first_chunk_mut::<4>() {
        *field = length.to_le_bytes();
    }
    let opcode = Header::peek(message, Side::Server, MESSAGE_MAX).ok().flatten().map(|header| header.opcode);
    let flags = OpMsg::peek_flags(message).unwrap_or(MsgFlags(0));
    if opcode == Some(Opcode::Msg) && flags.checksum_present() {
        write_checksum(message);
    }
}

fn opcode(message: &[u8], side: Side) -> Result<Opcode, WireError> {
    let malformed = |what| WireError::Malformed { side, opcode: Opcode::Msg, what };
    let header = Header::peek(message, side, MESSAGE_MAX)?.ok_or(malformed("no header"))?;
    match header.length == message.len() && message.len() >= HEADER_LEN {
        true => Ok(header.opcode),
        false => Err(malformed("a length that is not the message's")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{OpMsgBuilder, Section, checksum_matches, write_op_reply};

    const BODY: [u8; 5] = [5, 0, 0, 0, 0];
    const OTHER: [u8; 7] = [7, 0, 0, 0, 0x0a, 0, 0];

    #[test]
    fn sections_round_the_body_and_ids_stay_and_the_checksum_is_new() {
        let mut message = OpMsgBuilder::message(5, 6, MsgFlags(MsgFlags::EXHAUST_ALLOWED | 1), &BODY);
        let sequence = [1, 13, 0, 0, 0, b'd', b'o', b'c', 0, 5, 0, 0, 0, 0];
        let at = message.len() - 4;
        message.splice(at..at, sequence);
        seal(&mut message);
        let mut out = vec![9; 3];
        reframe(&message, Side::Server, &OTHER, &mut out).unwrap();
        let written = &out[3..];
        assert!(checksum_matches(written));
        let header = Header::peek(written, Side::Server, 1000).unwrap().unwrap();
        assert_eq!((header.length, header.request_id, header.response_to), (message.len() + 2, 5, 6));
        let parsed = OpMsg::parse(written, Side::Server).unwrap();
        assert_eq!((parsed.body, parsed.flags), (&OTHER[..], MsgFlags(MsgFlags::EXHAUST_ALLOWED | 1)));
        let sections: Vec<_> = parsed.sections().map(Result::unwrap).collect();
        assert_eq!(sections[1], Section::Sequence { identifier: b"doc", documents: &BODY });
    }

    #[test]
    fn an_op_reply_keeps_cursor_and_count() {
        let mut message = Vec::new();
        write_op_reply(&mut message, 1, 2, &BODY);
        let mut out = Vec::new();
        reframe(&message, Side::Server, &OTHER, &mut out).unwrap();
        assert_eq!(out[4..OpReply::DOCUMENTS_AT], message[4..OpReply::DOCUMENTS_AT]);
        assert_eq!(out[OpReply::DOCUMENTS_AT..], OTHER);
        assert_eq!(out[0], out.len() as u8);
    }

    #[test]
    fn part_of_a_message_is_refused_and_leaves_nothing_behind() {
        let message = OpMsgBuilder::message(1, 0, MsgFlags(0), &BODY);
        let mut out = vec![9; 3];
        for end in 0..message.len() {
            assert!(reframe(&message[..end], Side::Server, &OTHER, &mut out).is_err());
        }
        assert_eq!(out, [9; 3]);
    }
}
