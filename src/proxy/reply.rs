//! Receiving a server's reply: the first buffer of it, checked; the rest is streamed by the exchange.

use std::io;
use std::task::{Context, Poll};

use tokio::time::Instant;

use super::buffer::{Buffer, BufferPool};
use super::client::Client;
use super::context::Checkout;
use crate::doc::elements;
use crate::wire::{HEADER_LEN, Header, MESSAGE_MAX, OpMsg, OpReply, Opcode, ReplyFlags, Side, WireError};

/// A reply whose front is here: all of it, or a full buffer.
#[derive(Debug)]
pub struct Reply {
    /// The header as the server sent it.
    pub header: Header,
    /// Its bytes so far; behind them may be those of the next reply, if that one was announced.
    pub buffer: Buffer,
    /// When its front had come.
    pub arrived: Instant,
}

/// Why no reply came.
#[derive(Debug, thiserror::Error)]
pub enum ReplyError {
    /// The connection broke or was closed.
    #[error("server connection broke: {0}")]
    Io(#[from] io::Error),
    /// The server closed it.
    #[error("server closed the connection")]
    Closed,
    /// Not the wire protocol.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// An answer to something else.
    #[error("server answered request {got}, expected {expected}")]
    ResponseTo {
        /// The reply's responseTo.
        got: i32,
        /// The id of the request that was sent.
        expected: i32,
    },
}

impl ReplyError {
    /// The operating system's error, if it was one.
    pub fn io(&self) -> Option<&io::Error> {
        match self {
            ReplyError::Io(error) => Some(error),
            _ => None,
        }
    }
}

/// What came while waiting for a reply.
#[derive(Debug)]
pub enum Arrival {
    /// The reply.
    Reply(Reply),
    /// The client left; what was read so far.
    ClientGone(Option<Buffer>),
}

/// Waits for the reply to `expected`, or for the client to leave. Holds one buffer, so there are never more of them
/// than server connections. `carried` is what an announced further reply may have left behind.
///
/// Cancelled half-way the connection must be closed: part of a reply may have been read.
// No `async fn`: another layer would keep its arguments twice in every session.
pub fn receive<'a>(
    client: &'a mut Client,
    server: &'a mut Checkout,
    expected: i32,
    carried: Option<Buffer>,
) -> impl Future<Output = Result<Arrival, ReplyError>> + 'a {
    let mut carried = carried.or_else(|| client.take_spare());
    std::future::poll_fn(move |cx| {
        let buffers = &client.listener.shared.buffers;
        if let Poll::Ready(reply) = poll_reply(server, buffers, expected, &mut carried, cx) {
            return Poll::Ready(reply.map(Arrival::Reply));
        }
        client.poll_gone(cx).map(|()| Ok(Arrival::ClientGone(carried.take())))
    })
}

/// One attempt at reading the reply to `expected` into `carried`.
pub fn poll_reply(
    server: &mut Checkout,
    buffers: &BufferPool,
    expected: i32,
    carried: &mut Option<Buffer>,
    cx: &mut Context<'_>,
) -> Poll<Result<Reply, ReplyError>> {
    let mut buffer = carried.take().unwrap_or_else(|| buffers.take());
    loop {
        match Header::peek(buffer.unread(), Side::Server, MESSAGE_MAX)? {
            Some(header) if buffer.len() >= header.length || buffer.space().is_empty() => {
                return Poll::Ready(check(header, buffer, expected));
            }
            Some(_) => {}
            None => buffer.reserve(HEADER_LEN),
        }
        match server.poll_read_first(cx, buffer.space()) {
            Poll::Ready(Ok(0)) => return Poll::Ready(Err(ReplyError::Closed)),
            Poll::Ready(Ok(n)) => buffer.filled(n),
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
            Poll::Pending => {
                *carried = Some(buffer);
                return Poll::Pending;
            }
        }
    }
}

fn check(header: Header, buffer: Buffer, expected: i32) -> Result<Reply, ReplyError> {
    if !matches!(header.opcode, Opcode::Msg | Opcode::Reply) {
        let why = "is no reply";
        let (side, opcode) = (Side::Server, header.opcode);
        return Err(WireError::UnexpectedOpcode { side, opcode, why }.into());
    }
    if header.response_to != expected {
        return Err(ReplyError::ResponseTo { got: header.response_to, expected });
    }
    Ok(Reply { header, buffer, arrived: Instant::now() })
}

/// What the message path wants to know of a reply.
#[derive(Debug, Clone, Copy)]
pub struct Verdict<'a> {
    /// Whether the operation succeeded. A reply that is too large to be looked at as a whole did.
    pub ok: bool,
    /// Its document needs a closer look: it failed, or carries a write concern error.
    pub is_notable: bool,
    /// Whether the server announces a further reply.
    pub more_to_come: bool,
    /// The document, if it is here as a whole.
    pub body: Option<&'a [u8]>,
}

impl Reply {
    /// The bytes of this reply that are here.
    pub fn bytes(&self) -> &[u8] {
        let unread = self.buffer.unread();
        unread.get(..self.header.length).unwrap_or(unread)
    }

    /// Whether all of it is here.
    pub fn is_whole(&self) -> bool {
        self.buffer.len() >= self.header.length
    }

    /// Looks at it in one pass over its top-level fields.
    pub fn verdict(&self) -> Verdict<'_> {
        let bytes = self.bytes();
        match self.header.opcode {
            Opcode::Msg => {
                let flags = OpMsg::peek_flags(bytes).unwrap_or_default();
                // Every reply has one section of kind 0 first: flag bits, kind, document.
                let body = bytes.get(21..).filter(|_| self.is_whole());
                verdict(body, flags.more_to_come())
            }
            _ => self.op_reply_verdict(bytes),
        }
    }

    fn op_reply_verdict<'a>(&'a self, bytes: &'a [u8]) -> Verdict<'a> {
        let failed = ReplyFlags::QUERY_FAILURE | ReplyFlags::CURSOR_NOT_FOUND;
        match OpReply::parse(bytes, Side::Server) {
            Ok(reply) if reply.flags.0 & failed != 0 => {
                let body = bytes.get(OpReply::DOCUMENTS_AT..).filter(|_| self.is_whole());
                Verdict { ok: false, is_notable: true, more_to_come: false, body }
            }
            Ok(reply) if reply.number_returned == 1 && self.is_whole() => {
                verdict(bytes.get(OpReply::DOCUMENTS_AT..), false)
            }
            _ => verdict(None, false),
        }
    }
}

fn verdict(body: Option<&[u8]>, more_to_come: bool) -> Verdict<'_> {
    let (mut ok, mut is_notable) = (true, false);
    // A plain loop: the same through iterator adapters costs twice as much, at every reply.
    let mut walk = elements(body.unwrap_or_default());
    while let Ok(Some(element)) = walk.try_next() {
        match element.key {
            b"ok" => ok = element.value.as_bool().unwrap_or(true),
            b"writeConcernError" => is_notable = true,
            _ => {}
        }
    }
    Verdict { ok, is_notable: is_notable || !ok, more_to_come, body }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{MsgFlags, OpMsgBuilder, write_op_reply};
    use bson::doc;

    fn reply(message: &[u8]) -> Reply {
        let mut buffer = Buffer::new(1024);
        buffer.space()[..message.len()].copy_from_slice(message);
        buffer.filled(message.len());
        let header = Header::peek(message, Side::Server, MESSAGE_MAX).unwrap().unwrap();
        check(header, buffer, header.response_to).unwrap()
    }

    fn bytes(document: bson::Document) -> Vec<u8> {
        bson::serialize_to_vec(&document).unwrap()
    }

    #[test]
    fn an_answer_to_something_else_is_an_error() {
        let message = OpMsgBuilder::message(1, 7, MsgFlags(0), &bytes(doc! { "ok": 1 }));
        let header = Header::peek(&message, Side::Server, MESSAGE_MAX).unwrap().unwrap();
        let error = check(header, Buffer::new(16), 8).unwrap_err();
        assert_eq!(error.to_string(), "server answered request 7, expected 8");
    }

    #[test]
    fn failures_and_write_concern_errors_are_noticed_in_either_opcode() {
        for (document, ok, is_notable) in [
            (doc! { "cursor": {}, "ok": 1.0 }, true, false),
            (doc! { "ok": 0.0, "code": 91 }, false, true),
            (doc! { "n": 1, "writeConcernError": { "code": 64 }, "ok": 1 }, true, true),
        ] {
            let document = bytes(document);
            let msg = reply(&OpMsgBuilder::message(1, 7, MsgFlags(0), &document));
            assert_eq!((msg.verdict().ok, msg.verdict().is_notable), (ok, is_notable));
            let mut message = Vec::new();
            write_op_reply(&mut message, 1, 7, &document);
            let old = reply(&message);
            assert_eq!((old.verdict().ok, old.verdict().is_notable), (ok, is_notable));
            assert_eq!(old.verdict().body, Some(document.as_slice()));
        }
    }
}
