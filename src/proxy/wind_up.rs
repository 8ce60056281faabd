//! How an exchange ends whose client has left: torana does what mongod would have seen, no more. The reply is waited
//! for a moment, as most are nearly there; then a read is ended by closing its server connection, and a write runs to
//! its end, counted against the pool, of which such writes keep a part at most.

use std::future::Future;

use tokio::time::{Duration, timeout};

use crate::metrics::OrphanEnd;
use crate::pool::CloseReason;

/// An exchange whose request was sent, and whose client has gone. It holds its server connection.
pub trait Unclaimed: Sized {
    /// Reads all that is left of the reply. False if the connection cannot be used again. Cancelled, it can be called
    /// again.
    fn drain(&mut self) -> impl Future<Output = bool> + Send;

    /// Ends the operation by its number on the server, so that its connection survives. False if that cannot be done
    /// now.
    fn kill(&self) -> impl Future<Output = bool> + Send;

    /// Closes the connection.
    fn close(self, reason: CloseReason);
}

/// How many writes of clients that left may keep a connection of a pool of `pool_max`.
pub fn drained_max(pool_max: usize) -> usize {
    (pool_max / 4).max(1)
}

/// What an exchange may take after its client has left.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// How long any reply is waited for.
    pub grace: Duration,
    /// Then, how long the end of a write, or of a read that was killed.
    pub drain: Duration,
    /// How many writes may be waited for so.
    pub drained_max: usize,
}

/// Ends the exchange. Returns it if its connection can be used again.
///
/// `may_close` says, for a read, whether closing its connection is within the rate: when many clients leave at once, as
/// many new connections would cost the member more than the reads did. `keeps` counts one more that keeps its
/// connection for longer, until what it returns is dropped; for a write, only if there are fewer than it is handed.
pub async fn wind_up<U: Unclaimed, G>(
    mut left: U,
    is_read: bool,
    patience: Patience,
    may_close: impl FnOnce() -> bool,
    keeps: impl FnOnce(usize) -> Option<G>,
) -> (Option<U>, OrphanEnd) {
    let closed = |left: U, reason| {
        left.close(reason);
        (None, OrphanEnd::Closed)
    };
    match timeout(patience.grace, left.drain()).await {
        Ok(true) => return (Some(left), OrphanEnd::Discarded),
        Ok(false) => return closed(left, CloseReason::Error),
        Err(_) => {}
    }
    if is_read && may_close() {
        return closed(left, CloseReason::Abandoned);
    }
    let Some(_kept) = keeps(if is_read { usize::MAX } else { patience.drained_max }) else {
        // Those who have not left need the connections more; the server lets the write run on.
        return closed(left, CloseReason::Abandoned);
    };
    if is_read && !left.kill().await {
        return closed(left, CloseReason::Abandoned);
    }
    match timeout(patience.drain, left.drain()).await {
        Ok(true) => (Some(left), if is_read { OrphanEnd::Killed } else { OrphanEnd::Drained }),
        Ok(false) => closed(left, CloseReason::Error),
        Err(_) => closed(left, CloseReason::Abandoned),
    }
}
