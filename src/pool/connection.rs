//! What the pool asks of its connections and of whoever makes them.

use std::error::Error;
use std::future::Future;
use std::io;
use std::time::Duration;

/// A pooled connection. Dropping it closes it.
pub trait Connection: Send + 'static {
    /// Whether it is closed, or has bytes that nobody asked for: then it must not be used. `idle` is how long nobody
    /// has used it. Called at each checkout
    /// and once a second while idle, so it must be cheap: no system call when it was used just now.
    fn is_broken(&mut self, idle: Duration) -> bool;
}

/// Makes connections to one member.
pub trait Connect: Send + Sync + 'static {
    /// What it makes.
    type Connection: Connection;

    /// Connects, with handshake and authentication. The pool bounds it in time, and drops the future when the pool
    /// is cleared or closed meanwhile: it must leave nothing behind.
    fn connect(&self) -> impl Future<Output = Result<Self::Connection, ConnectError>> + Send;
}

/// Why there is no new connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Connecting took longer than the pool allows.
    #[error("server did not complete the connection within {limit:?}")]
    TimedOut {
        /// [`PoolOptions::connect_timeout`](super::PoolOptions::connect_timeout).
        limit: Duration,
    },
    /// The code that connects panicked. A defect of torana.
    #[error("connecting ended without a result")]
    Panicked,
    /// The connector's own words, which name the member.
    #[error(transparent)]
    Failed(Box<dyn Error + Send + Sync>),
}

impl ConnectError {
    /// Wraps the connector's own error.
    pub fn new(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        ConnectError::Failed(error.into())
    }
}

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        ConnectError::new(error)
    }
}
