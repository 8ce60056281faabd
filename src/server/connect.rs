//! Making a server connection: name look-up, TCP, handshake.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Duration;

use super::connection::ServerConnection;
use crate::doc::find;
use crate::handshake;
use crate::pool;
use crate::wire::{HEADER_LEN, Header, OpMsg, OpReply, Opcode, Side, WireError};

/// Bytes of a handshake's reply: hello of a set of fifty members is below 8 KiB.
const HELLO_MAX: usize = 1024 * 1024;

/// Idle server connections are probed, so that one behind a dead host or a firewall that forgot it is noticed.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);

/// Why there is no connection. The text names the member.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No TCP connection, or it broke during the handshake.
    #[error("cannot connect to {member}: {source}")]
    Io {
        /// The member's address.
        member: Arc<str>,
        /// What the system said.
        source: io::Error,
    },
    /// What answers there does not speak MongoDB's protocol.
    #[error("{member} does not speak MongoDB's wire protocol: {source}")]
    Wire {
        /// The member's address.
        member: Arc<str>,
        /// What is wrong with its reply.
        source: WireError,
    },
    /// The handshake was refused.
    #[error("{member} refused the handshake: {errmsg}")]
    Refused {
        /// The member's address.
        member: Arc<str>,
        /// The server's own words.
        errmsg: String,
    },
    /// The member belongs to another set than the one that is being proxied.
    #[error("{member} belongs to replica set {actual:?}, not to {expected:?}")]
    SetName {
        /// The member's address.
        member: Arc<str>,
        /// What its hello says.
        actual: String,
        /// What was configured.
        expected: String,
    },
}

impl pool::Connect for Connector {
    type Connection = ServerConnection;

    /// Connects and shakes hands. Not bounded in time: the pool does that. Cancelled, it leaves nothing behind.
    async fn connect(&self) -> Result<ServerConnection, pool::ConnectError> {
        self.greet().await.map_err(pool::ConnectError::new)
    }
}

/// Makes connections to one member.
#[derive(Debug, Clone)]
pub struct Connector {
    member: Arc<str>,
    set_name: Option<Arc<str>>,
    application: Option<Arc<str>>,
}

impl Connector {
    /// For the member at `member` (`host:port`), which must belong to `set_name` if one is given. `application`
    /// goes into the handshake, for pools keyed by application.
    pub fn new(member: &str, set_name: Option<&str>, application: Option<&str>) -> Self {
        Connector {
            member: member.into(),
            set_name: set_name.map(Into::into),
            application: application.map(Into::into),
        }
    }

    /// The same for the clients of one application, whose name goes into the handshake.
    pub fn for_application(&self, application: &str) -> Self {
        Connector { application: Some(application.into()), ..self.clone() }
    }

    async fn greet(&self) -> Result<ServerConnection, ConnectError> {
        let mut stream = self.open().await.map_err(|source| self.io(source))?;
        let request = handshake::first_message(1, self.application.as_deref());
        stream.write_all(&request).await.map_err(|source| self.io(source))?;
        let reply = self.read_message(&mut stream).await?;
        self.check(&reply, stream)
    }

    async fn open(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(&*self.member).await?;
        stream.set_nodelay(true)?;
        let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE_AFTER);
        socket2::SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
        Ok(stream)
    }

    async fn read_message(&self, stream: &mut TcpStream) -> Result<Vec<u8>, ConnectError> {
        let mut head = [0; HEADER_LEN];
        stream.read_exact(&mut head).await.map_err(|source| self.io(source))?;
        let header = Header::parse(&head, Side::Server, HELLO_MAX).map_err(|source| self.wire(source))?;
        let mut message = vec![0; header.length];
        message[..HEADER_LEN].copy_from_slice(&head);
        stream.read_exact(&mut message[HEADER_LEN..]).await.map_err(|source| self.io(source))?;
        Ok(message)
    }

    fn check(&self, reply: &[u8], stream: TcpStream) -> Result<ServerConnection, ConnectError> {
        let header = Header::peek(reply, Side::Server, HELLO_MAX).map_err(|source| self.wire(source))?;
        let document = match header.map(|header| header.opcode) {
            Some(Opcode::Reply) => reply.get(OpReply::DOCUMENTS_AT..).unwrap_or_default(),
            Some(Opcode::Msg) => OpMsg::parse(reply, Side::Server).map_err(|source| self.wire(source))?.body,
            _ => &[],
        };
        let text = |key| find(document, key).and_then(|element| element.value.as_str());
        let ok = find(document, "ok").and_then(|element| element.value.as_bool());
        if ok != Some(true) {
            let errmsg = text("errmsg").or(text("$err")).unwrap_or("no ok in its reply").to_owned();
            return Err(ConnectError::Refused { member: self.member.clone(), errmsg });
        }
        if let (Some(expected), Some(actual)) = (&self.set_name, text("setName"))
            && **expected != *actual
        {
            let (expected, actual) = (expected.to_string(), actual.to_owned());
            return Err(ConnectError::SetName { member: self.member.clone(), actual, expected });
        }
        let connection_id = find(document, "connectionId").and_then(|element| element.value.as_i64());
        Ok(ServerConnection::new(stream, connection_id.unwrap_or(0)))
    }

    fn io(&self, source: io::Error) -> ConnectError {
        ConnectError::Io { member: self.member.clone(), source }
    }

    fn wire(&self, source: WireError) -> ConnectError {
        ConnectError::Wire { member: self.member.clone(), source }
    }
}
