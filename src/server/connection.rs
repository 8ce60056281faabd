//! One TCP connection to a mongod, after its handshake.

use std::io;
use std::task::{Context, Poll};

use rustix::net::RecvFlags;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Duration;

use crate::pool;
use crate::socket;

/// A connection idle for longer is looked at with a system call before use. Below that the event loop has just
/// seen it, and the call would cost as much as a read for nothing.
const LOOK_AFTER: Duration = Duration::from_millis(10);

/// A connection to a mongod that has greeted it.
#[derive(Debug)]
pub struct ServerConnection {
    stream: TcpStream,
    next_request_id: i32,
    connection_id: i64,
}

impl ServerConnection {
    pub(super) fn new(stream: TcpStream, connection_id: i64) -> Self {
        // Numbers start anywhere, so that those of two connections seldom coincide in a packet capture.
        let next_request_id = rand::random::<i32>() & 0x3fff_ffff;
        ServerConnection { stream, next_request_id, connection_id }
    }

    /// The server's number for this connection, as `$currentOp` and its log call it; 0 if it gave none.
    pub fn connection_id(&self) -> i64 {
        self.connection_id
    }

    /// A requestID that this connection has not used for two thousand million messages. With it a late reply to an
    /// earlier exchange cannot pass for an answer to this one.
    pub fn next_request_id(&mut self) -> i32 {
        self.next_request_id = self.next_request_id.wrapping_add(1) & i32::MAX;
        self.next_request_id
    }

    /// Writes all of `bytes`. Not cancel safe: a cancelled call may have written part, the connection must be closed.
    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        // Mostly there is room, and then asking for it first costs more than trying.
        let written = self.write_now(bytes);
        match bytes.get(written..) {
            Some(rest) if !rest.is_empty() => self.stream.write_all(rest).await,
            _ => Ok(()),
        }
    }

    /// Writes what the server takes at once of `bytes`, and returns how many that were.
    pub fn write_now(&mut self, bytes: &[u8]) -> usize {
        // An error shows at the next write, which waits.
        self.stream.try_write(bytes).unwrap_or(0)
    }

    /// Writes some of `bytes`, and returns how many. Cancel safe.
    pub async fn write_some(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.stream.write(bytes).await? {
            0 => Err(io::ErrorKind::WriteZero.into()),
            n => Ok(n),
        }
    }

    /// Reads into `buf` the first part of a reply; 0 bytes read mean that the server closed the connection. Cancel safe.
    #[inline]
    pub fn poll_read_first(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        socket::poll_read(&self.stream, cx, buf)
    }

    /// Reads on into `buf`; otherwise as [`poll_read_first`](Self::poll_read_first).
    pub fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        socket::poll_read_more(&mut self.stream, cx, buf)
    }

    fn nothing_to_read(&self) -> bool {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        matches!(rustix::net::recv(&self.stream, &mut [0u8; 1][..], flags), Err(rustix::io::Errno::AGAIN))
    }
}

impl pool::Connection for ServerConnection {
    /// Whether an idle connection is closed or has bytes that nobody asked for. Either way it must not be used.
    fn is_broken(&mut self, idle: Duration) -> bool {
        // No system call while the event loop has reported nothing. What it has reported may be left over from a
        // read that filled its buffer: then only a read can tell.
        let something_seen = socket::is_readable(&self.stream) && {
            let read = self.stream.try_read(&mut [0; 1]);
            !matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
        };
        something_seen || (idle >= LOOK_AFTER && !self.nothing_to_read())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::Connection;
    use tokio::net::TcpListener;

    async fn pair() -> (ServerConnection, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (ServerConnection::new(stream, 1), listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn an_idle_connection_is_usable() {
        let (mut connection, _server) = pair().await;
        assert!(!connection.is_broken(LOOK_AFTER));
        tokio::time::sleep(LOOK_AFTER * 2).await;
        assert!(!connection.is_broken(LOOK_AFTER));
    }

    #[tokio::test]
    async fn a_connection_that_the_server_closed_is_found_before_use() {
        let (mut connection, server) = pair().await;
        drop(server);
        tokio::time::sleep(LOOK_AFTER * 2).await;
        assert!(connection.is_broken(LOOK_AFTER));
    }

    #[tokio::test]
    async fn a_connection_with_unasked_bytes_is_found_before_use() {
        let (mut connection, mut server) = pair().await;
        server.write_all(b"x").await.unwrap();
        tokio::time::sleep(LOOK_AFTER * 2).await;
        assert!(connection.is_broken(LOOK_AFTER));
    }

    #[tokio::test]
    async fn request_ids_are_never_negative() {
        let (mut connection, _server) = pair().await;
        connection.next_request_id = i32::MAX - 1;
        assert_eq!(connection.next_request_id(), i32::MAX);
        assert_eq!(connection.next_request_id(), 0);
    }
}
