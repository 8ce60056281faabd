//! A connection to a member of the second set: one question at a time. Nothing that comes by it is trusted.

use std::io;
use std::time::{Duration, Instant};

use crate::pool::{Connect, ConnectError, Connection as _};
use crate::server::{Connector, ServerConnection};
use crate::wire::{Header, MESSAGE_MAX, MsgFlags, OpMsgBuilder, Opcode, Side, WireError};

/// What `$currentOp` and the second set's log call torana's questions.
pub const APPLICATION: &str = "torana shadow";

/// Bytes that are read at once. The time until so many are here is what the first set is measured by as well.
const FRONT: usize = 16 * 1024;

/// A connection that has been greeted.
#[derive(Debug)]
pub struct Connection {
    server: ServerConnection,
    space: Box<[u8]>,
    idle_since: Instant,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// The whole message.
    pub message: Vec<u8>,
    /// Until its front was here.
    pub took: Duration,
}

/// Why there is none. The connection must be closed.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    /// It was closed.
    #[error("the connection was closed")]
    Closed,
    /// Not the wire protocol.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// No answer to the question.
    #[error("what came is no answer to what was asked")]
    NoAnswer,
    /// Longer than what is compared.
    #[error("the answer has {0} bytes")]
    TooLong(usize),
}

impl Connection {
    /// Connects to `member`, and shakes hands. Cancelled, it leaves nothing behind.
    pub async fn open(member: &str, set_name: Option<&str>) -> Result<Connection, ConnectError> {
        let server = Connector::new(member, set_name, Some(APPLICATION)).connect().await?;
        let space = vec![0; FRONT].into_boxed_slice();
        Ok(Connection { server, space, idle_since: Instant::now() })
    }

    /// Asks `command` and waits for the answer, which has at most `longest` bytes. Cancelled, or on an error, the connection
    /// must be dropped.
    pub async fn ask(&mut self, command: &[u8], longest: usize) -> Result<Answer, AskError> {
        let id = self.server.next_request_id();
        let sent = Instant::now();
        self.server.write_all(&OpMsgBuilder::message(id, 0, MsgFlags(0), command)).await?;
        let (mut message, mut took) = (Vec::new(), None);
        loop {
            let more = std::future::poll_fn(|cx| self.server.poll_read(cx, &mut self.space)).await?;
            if more == 0 {
                return Err(AskError::Closed);
            }
            message.extend_from_slice(self.space.get(..more).unwrap_or_default());
            let Some(header) = Header::peek(&message, Side::Server, MESSAGE_MAX)? else { continue };
            if header.response_to != id || header.opcode != Opcode::Msg || message.len() > header.length {
                return Err(AskError::NoAnswer);
            }
            if header.length > longest {
                return Err(AskError::TooLong(header.length));
            }
            if took.is_none() && message.len() >= header.length.min(FRONT) {
                took = Some(sent.elapsed());
            }
            if let Some(took) = took.filter(|_| message.len() == header.length) {
                self.idle_since = Instant::now();
                return Ok(Answer { message, took });
            }
        }
    }

    /// Whether it must not be used again.
    pub fn is_broken(&mut self) -> bool {
        self.server.is_broken(self.idle_since.elapsed())
    }
}
