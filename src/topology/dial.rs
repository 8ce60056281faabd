//! How monitors reach a server. Sockets in a proxy, memory in a simulation; nothing else of the topology knows.

use std::future::Future;
use std::io;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::address::HostPort;

/// Opens monitoring connections.
pub trait Dial: Send + Sync + 'static {
    /// A connection. Dropping it closes it.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Connects. The monitor bounds it in time, and drops the future when that is up: it must leave nothing behind.
    fn dial(&self, address: &HostPort) -> impl Future<Output = Result<Self::Stream, DialError>> + Send;
}

/// Why there is no connection to a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// Its host name has no address.
    #[error("its name does not resolve: {0}")]
    Resolve(String),
    /// No connection could be made.
    #[error("cannot connect: {0}")]
    Connect(String),
}

/// Over TCP.
#[derive(Debug, Clone, Copy, Default)]
pub struct TcpDial;

impl Dial for TcpDial {
    type Stream = TcpStream;

    /// Resolves and connects, to the first of the name's addresses that accepts.
    async fn dial(&self, address: &HostPort) -> Result<TcpStream, DialError> {
        let found = tokio::net::lookup_host((address.host(), address.port())).await;
        let mut last = io::Error::other("the name has no address");
        for socket in found.map_err(|error| DialError::Resolve(error.to_string()))? {
            match TcpStream::connect(socket).await {
                Ok(stream) => {
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Err(error) => last = error,
            }
        }
        Err(DialError::Connect(last.to_string()))
    }
}
