//! Why there is no connection.

use std::sync::Arc;
use std::time::Duration;

/// Why a checkout has no connection. Nothing was sent: the request may be tried again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckoutError {
    /// None came free in time. The load is above the pool's limit; to the client, ExceededTimeLimit.
    #[error(
        "no server connection within {waited:?}: pool max {max}, {out} checked out, {connecting} connecting, \
         {waiting} waiting"
    )]
    WaitTimeout {
        /// How long it waited.
        waited: Duration,
        /// The pool's limit.
        max: usize,
        /// Connections in use.
        out: usize,
        /// Connections being made.
        connecting: usize,
        /// Others that wait.
        waiting: usize,
    },
    /// Too many wait already. The load is above the pool's limit; to the client, ExceededTimeLimit.
    #[error(
        "{waiting} requests wait for a server connection, limit {limit}: pool max {max}, {out} checked out"
    )]
    QueueFull {
        /// Those that wait.
        waiting: usize,
        /// [`PoolOptions::queue_max`](super::PoolOptions::queue_max).
        limit: usize,
        /// The pool's limit.
        max: usize,
        /// Connections in use.
        out: usize,
    },
    /// The member cannot be reached. To the client, the end of its connection, as from the member itself.
    #[error("server is unreachable: {cause}")]
    Unavailable {
        /// What was seen of the member.
        cause: Arc<str>,
    },
    /// The pool was closed: torana shuts down, or the member has left the set.
    #[error("the pool is closed")]
    Closed,
}
