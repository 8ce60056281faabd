//! One monitoring connection: its handshake, hellos asked one by one or streamed, and replSetGetConfig.
//!
//! It speaks only what monitors need, and believes nothing: lengths, opcodes and responseTo of every reply are
//! checked. Nothing here is bounded in time; the monitor bounds every call. After an error or a cancelled call the
//! connection must be dropped, for a reply may be half-read.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::description::{ServerDescription, TopologyVersion};
use super::probe_error::ProbeError;
use super::probe_reply::Reply;
use crate::doc::{BsonType, DocWriter, Value};
use crate::handshake;
use crate::wire::{MsgFlags, OpMsgBuilder, write_op_query};

/// First wire version with OP_MSG (MongoDB 3.6).
const OP_MSG_SINCE: i64 = 6;

/// How this server is to be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    /// `hello` in OP_MSG.
    Hello,
    /// `isMaster` in OP_MSG.
    LegacyHello,
    /// `isMaster` in OP_QUERY.
    LegacyQuery,
}

/// A monitoring connection.
#[derive(Debug)]
pub(super) struct Probe<S> {
    stream: S,
    dialect: Dialect,
    last_request: i32,
    /// What the next reply has to name as `responseTo`.
    expected: i32,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Probe<S> {
    /// Nothing was asked on `stream` yet.
    pub(super) fn new(stream: S) -> Probe<S> {
        Probe { stream, dialect: Dialect::LegacyQuery, last_request: 0, expected: 0 }
    }

    /// Whether replies are those of the legacy command.
    pub(super) fn is_legacy(&self) -> bool {
        self.dialect != Dialect::Hello
    }

    /// Sends the first message, legacy for servers of every age, with torana's metadata, and learns how to go on.
    pub(super) async fn handshake(&mut self) -> Result<(), ProbeError> {
        let message = handshake::first_message(self.next_request(), None);
        self.stream.write_all(&message).await?;
        let reply = self.receive().await?;
        let description = ServerDescription::parse(&reply.document)?;
        self.dialect = match (description.hello_ok, description.max_wire_version) {
            (true, _) => Dialect::Hello,
            (false, OP_MSG_SINCE..) => Dialect::LegacyHello,
            (false, _) => Dialect::LegacyQuery,
        };
        Ok(())
    }

    /// Asks for a hello and reads it.
    pub(super) async fn hello(&mut self) -> Result<Vec<u8>, ProbeError> {
        self.send_hello(None).await?;
        Ok(self.receive().await?.document)
    }

    /// Asks for the stream of hellos that differ from `known`: read them by [`Probe::next_hello`].
    pub(super) async fn stream_hellos(
        &mut self,
        known: &TopologyVersion,
        await_millis: i64,
    ) -> Result<(), ProbeError> {
        self.send_hello(Some((known, await_millis))).await
    }

    /// The next hello of the stream, and whether another follows unasked.
    pub(super) async fn next_hello(&mut self) -> Result<(Vec<u8>, bool), ProbeError> {
        let reply = self.receive().await?;
        Ok((reply.document, reply.more_to_come))
    }

    /// Asks for the set's configuration.
    pub(super) async fn replica_set_config(&mut self) -> Result<Vec<u8>, ProbeError> {
        let mut command = Vec::with_capacity(64);
        let mut writer = DocWriter::begin(&mut command);
        writer.i32(b"replSetGetConfig", 1).string(b"$db", "admin");
        writer.finish();
        self.send_msg(&command, MsgFlags(0)).await?;
        Ok(self.receive().await?.document)
    }

    /// Returns only when the idle connection ends, or says something unasked. Cancel safe.
    pub(super) async fn broken(&mut self) -> ProbeError {
        match self.stream.read(&mut [0]).await {
            Ok(0) => ProbeError::Closed,
            Ok(_) => ProbeError::Unasked,
            Err(error) => ProbeError::from(error),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Probe<S> {
    async fn send_hello(&mut self, awaiting: Option<(&TopologyVersion, i64)>) -> Result<(), ProbeError> {
        let mut command = Vec::with_capacity(160);
        let mut writer = DocWriter::begin(&mut command);
        match self.dialect {
            Dialect::Hello => writer.i32(b"hello", 1),
            Dialect::LegacyHello | Dialect::LegacyQuery => writer.i32(b"isMaster", 1),
        };
        if let Some((version, millis)) = awaiting {
            writer.document(b"topologyVersion", |known| {
                let process_id = Value { kind: BsonType::ObjectId, bytes: &version.process_id };
                known.value(b"processId", process_id).i64(b"counter", version.counter);
            });
            writer.i64(b"maxAwaitTimeMS", millis);
        }
        if self.dialect == Dialect::LegacyQuery {
            writer.finish();
            return self.send_query(&command).await;
        }
        writer.string(b"$db", "admin");
        writer.finish();
        let flags = if awaiting.is_some() { MsgFlags::EXHAUST_ALLOWED } else { 0 };
        self.send_msg(&command, MsgFlags(flags)).await
    }

    async fn send_msg(&mut self, command: &[u8], flags: MsgFlags) -> Result<(), ProbeError> {
        let request_id = self.next_request();
        let message = OpMsgBuilder::message(request_id, 0, flags, command);
        Ok(self.stream.write_all(&message).await?)
    }

    async fn send_query(&mut self, command: &[u8]) -> Result<(), ProbeError> {
        let mut message = Vec::with_capacity(64 + command.len());
        write_op_query(&mut message, self.next_request(), "admin.$cmd", command);
        Ok(self.stream.write_all(&message).await?)
    }

    async fn receive(&mut self) -> Result<Reply, ProbeError> {
        let reply = Reply::read(&mut self.stream, self.expected).await?;
        // A further reply under moreToCome answers the one before it (OP_MSG specification, "exhaustAllowed").
        self.expected = reply.request_id;
        Ok(reply)
    }

    fn next_request(&mut self) -> i32 {
        self.last_request = self.last_request.wrapping_add(1);
        self.expected = self.last_request;
        self.last_request
    }
}
