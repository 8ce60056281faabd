//! Reading one reply on a monitoring connection, and refusing what is not one.

use tokio::io::{AsyncRead, AsyncReadExt};

use super::probe_error::ProbeError;
use crate::doc::{document_length, find};
use crate::wire::{HEADER_LEN, Header, OpMsg, OpReply, Opcode, Side, WireError};

/// Longest reply that is read, bytes. A hello of 50 members has 8 KiB, a configuration of 50 members 25 KiB.
const REPLY_MAX: usize = 1 << 20;

/// A reply whose `ok` is 1.
#[derive(Debug)]
pub(super) struct Reply {
    /// Its document.
    pub(super) document: Vec<u8>,
    /// The server's number for it.
    pub(super) request_id: i32,
    /// Whether another follows unasked.
    pub(super) more_to_come: bool,
}

impl Reply {
    /// Reads the reply to `expected`. Not cancel safe: the connection must be dropped with it.
    pub(super) async fn read(
        stream: &mut (impl AsyncRead + Unpin),
        expected: i32,
    ) -> Result<Reply, ProbeError> {
        let mut front = [0; HEADER_LEN];
        stream.read_exact(&mut front).await?;
        let header = Header::parse(&front, Side::Server, REPLY_MAX)?;
        if header.response_to != expected {
            return Err(ProbeError::ResponseTo { expected, got: header.response_to });
        }
        let mut message = vec![0; header.length];
        let (start, rest) = message.split_at_mut(HEADER_LEN);
        start.copy_from_slice(&front);
        stream.read_exact(rest).await?;
        let (document, more_to_come) = body(&header, &message)?;
        check_ok(document)?;
        Ok(Reply { document: document.to_vec(), request_id: header.request_id, more_to_come })
    }
}

fn body<'m>(header: &Header, message: &'m [u8]) -> Result<(&'m [u8], bool), ProbeError> {
    match header.opcode {
        Opcode::Msg => {
            let parsed = OpMsg::parse(message, Side::Server)?;
            Ok((parsed.body, parsed.flags.more_to_come()))
        }
        Opcode::Reply => {
            let what = "no document";
            let missing = WireError::Malformed { side: Side::Server, opcode: Opcode::Reply, what };
            let documents = message.get(OpReply::DOCUMENTS_AT..).ok_or(missing.clone())?;
            let length = document_length(documents).map_err(|_| missing.clone())?;
            Ok((documents.get(..length).ok_or(missing)?, false))
        }
        opcode => {
            let why = "is no reply";
            Err(ProbeError::Wire(WireError::UnexpectedOpcode { side: Side::Server, opcode, why }))
        }
    }
}

fn check_ok(document: &[u8]) -> Result<(), ProbeError> {
    if find(document, "ok").and_then(|ok| ok.value.as_bool()) == Some(true) {
        return Ok(());
    }
    let code = find(document, "code").and_then(|code| code.value.as_i64()).unwrap_or(0);
    let text = ["errmsg", "$err"].iter().find_map(|key| find(document, key)?.value.as_str());
    Err(ProbeError::Refused { code, message: text.unwrap_or("no text").to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{MsgFlags, OpMsgBuilder, write_op_reply};
    use bson::doc;

    async fn read(bytes: &[u8]) -> Result<Reply, ProbeError> {
        Reply::read(&mut &bytes[..], 7).await
    }

    fn ok() -> Vec<u8> {
        bson::serialize_to_vec(&doc! { "ok": 1 }).unwrap()
    }

    #[tokio::test]
    async fn replies_of_both_opcodes_are_read() {
        let reply =
            read(&OpMsgBuilder::message(3, 7, MsgFlags(MsgFlags::MORE_TO_COME), &ok())).await.unwrap();
        assert_eq!((reply.document, reply.request_id, reply.more_to_come), (ok(), 3, true));
        let mut message = Vec::new();
        write_op_reply(&mut message, 4, 7, &ok());
        assert_eq!(read(&message).await.unwrap().document, ok());
    }

    #[tokio::test]
    async fn a_reply_to_another_request_is_refused_before_it_is_read() {
        let message = OpMsgBuilder::message(3, 8, MsgFlags(0), &ok());
        let error = read(&message[..HEADER_LEN]).await.unwrap_err();
        assert_eq!(error, ProbeError::ResponseTo { expected: 7, got: 8 });
    }

    #[tokio::test]
    async fn a_length_above_the_bound_is_refused_before_anything_is_allocated() {
        for length in [i32::MAX, (REPLY_MAX + 1) as i32, 15, -1] {
            let mut message = OpMsgBuilder::message(3, 7, MsgFlags(0), &ok());
            message[..4].copy_from_slice(&length.to_le_bytes());
            assert!(matches!(read(&message).await, Err(ProbeError::Wire(_))), "{length}");
        }
    }

    #[tokio::test]
    async fn every_truncation_and_every_error_reply_is_an_error() {
        let mut query = Vec::new();
        write_op_reply(&mut query, 4, 7, &ok());
        for message in [OpMsgBuilder::message(3, 7, MsgFlags(0), &ok()), query] {
            for end in 0..message.len() {
                assert_eq!(read(&message[..end]).await.unwrap_err(), ProbeError::Closed);
                let mut short = message[..end].to_vec();
                if end >= HEADER_LEN {
                    short[..4].copy_from_slice(&(end as i32).to_le_bytes());
                    assert!(matches!(read(&short).await, Err(ProbeError::Wire(_))), "{end}");
                }
            }
        }
        let no = bson::serialize_to_vec(&doc! { "ok": 0.0, "code": 91, "errmsg": "shutting down" }).unwrap();
        let error = read(&OpMsgBuilder::message(3, 7, MsgFlags(0), &no)).await.unwrap_err();
        assert_eq!(error.to_string(), "it refused with error 91: shutting down");
    }
}
