//! What a pool tells its observer. Gauges are read from [`Status`](super::Status) instead.

use std::time::Duration;

use super::{CheckoutError, ConnectError};

/// Why a connection was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// Older than the last clear of the pool.
    Stale,
    /// Idle for too long.
    Idle,
    /// At the end of its lifetime.
    Lifetime,
    /// Found closed, or with bytes that nobody asked for, before use.
    Broken,
    /// An exchange on it failed.
    Error,
    /// The server sent what nobody asked for.
    Protocol,
    /// Its client left in the middle of an exchange.
    Abandoned,
    /// Its checkout was dropped without a word.
    Dropped,
    /// The pool was closed.
    PoolClosed,
}

/// Observes a pool. Called inside checkouts and check-ins: must not block, allocate or call back into the pool.
pub trait PoolEvents: Send + Sync + 'static {
    /// A connection was checked out after `waited`, which is zero if one was idle.
    fn checked_out(&self, _waited: Duration) {}
    /// A checkout failed.
    fn checkout_failed(&self, _error: &CheckoutError) {}
    /// A checkout ended after `held`; [`closed`](Self::closed) follows if it did not give its connection back.
    fn checked_in(&self, _held: Duration) {}
    /// A new connection was made in `took`.
    fn connected(&self, _took: Duration) {}
    /// A connect failed after `took`.
    fn connect_failed(&self, _error: &ConnectError, _took: Duration) {}
    /// A connection was closed, which took `took`.
    fn closed(&self, _reason: CloseReason, _took: Duration) {}
    /// All connections became stale.
    fn cleared(&self, _cause: &str) {}
    /// The member counts as unreachable.
    fn paused(&self, _cause: &str) {}
    /// The member counts as reachable again.
    fn resumed(&self) {}
}

/// For whom nothing is worth observing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoEvents;

impl PoolEvents for NoEvents {}
