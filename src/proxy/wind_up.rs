//! How an exchange ends whose client has left: torana does what mongod would have seen, no more. The reply is waited
//! for a moment, as most are nearly there; then a read is ended by closing its server connection, and a write runs to
//! its end, counted against the pool.

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

/// How long is waited.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For any reply.
    pub grace: Duration,
    /// Then, for the end of a write, or of a read that was killed.
    pub drain: Duration,
}

/// Ends the exchange. Returns it if its connection can be used again. `may_close` says, for a read, whether closing
/// its connection is within the rate: when many clients leave at once, as many new connections would cost the member
/// more than the reads did.
pub async fn wind_up<U: Unclaimed>(
    mut left: U,
    is_read: bool,
    patience: Patience,
    may_close: impl FnOnce() -> bool,
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
    if is_read && (may_close() || !left.kill().await) {
        return closed(left, CloseReason::Abandoned);
    }
    match timeout(patience.drain, left.drain()).await {
        Ok(true) => (Some(left), if is_read { OrphanEnd::Killed } else { OrphanEnd::Drained }),
        Ok(false) => closed(left, CloseReason::Error),
        Err(_) => closed(left, CloseReason::Abandoned),
    }
}
