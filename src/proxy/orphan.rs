//! Exchanges whose client has left.
//!
//! torana does what mongod would have seen, no more: mongod notices that a client has gone and stops a read of its,
//! and lets a write run to its end. So the reply is waited for a moment, as most are nearly there; then a read is
//! ended by closing its server connection, and a write is drained in the background, counted against the pool.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::{Duration, Instant, timeout};

use super::buffer::Buffer;
use super::context::{Checkout, Counted, Listener, Member, Shared};
use super::exchange::check_in;
use super::own_command;
use super::reply::{ReplyError, poll_reply};
use super::request::{Request, Route};
use crate::doc::find_path;
use crate::metrics::OrphanEnd;
use crate::pool::{Class, CloseReason};
use crate::wire::Opcode;

/// How long ending an operation by its number may take, before its connection is closed after all.
const KILL_WITHIN: Duration = Duration::from_secs(1);

/// How many closes there were in the current second.
#[derive(Debug)]
pub struct CloseRate {
    start: Instant,
    /// The second since `start` in the upper half, closes in it in the lower.
    window: AtomicU64,
}

impl Default for CloseRate {
    fn default() -> Self {
        CloseRate { start: Instant::now(), window: AtomicU64::new(0) }
    }
}

impl CloseRate {
    /// Counts one more, if that is within `per_second`.
    fn allows(&self, per_second: usize) -> bool {
        let second = self.start.elapsed().as_secs() << 32;
        let count = |window: u64| {
            let closes = if window >> 32 == second >> 32 { window & u64::from(u32::MAX) } else { 0 };
            (closes < per_second as u64).then_some(second | (closes + 1))
        };
        self.window.fetch_update(Ordering::Relaxed, Ordering::Relaxed, count).is_ok()
    }
}

/// Takes over an exchange whose request `id` was sent and whose client has gone. `partial` is what was read of the
/// reply. Holds the checkout, so there are never more of these than connections.
pub fn adopt(at: &Listener, server: Checkout, request: &Request, id: i32, partial: Option<Buffer>) {
    // Replies of a legacy stream do not say that another follows: what comes next would belong to nobody.
    if request.route == Route::Exhaust && request.header.opcode != Opcode::Msg {
        at.member.metrics.orphans.ended.inc(OrphanEnd::Closed);
        return server.close(CloseReason::Abandoned);
    }
    let draining = Draining { server, id, partial, shared: at.shared.clone() };
    let (member, is_read) = (at.member.clone(), request.is_read);
    tokio::spawn(async move {
        let ends = &member.metrics.orphans.ended;
        match run(draining, &member, is_read).await {
            (Some(server), end) => {
                ends.inc(end);
                check_in(server);
            }
            (None, end) => ends.inc(end),
        }
    });
}

/// Ends the exchange. Returns the connection if it can be used again.
async fn run(mut draining: Draining, member: &Member, is_read: bool) -> (Option<Checkout>, OrphanEnd) {
    let limits = draining.shared.limits.clone();
    match timeout(limits.abandoned_grace, draining.run()).await {
        Ok(Ok(())) => return (Some(draining.server), OrphanEnd::Discarded),
        Ok(Err(_)) => return (draining.close(CloseReason::Error), OrphanEnd::Closed),
        Err(_) => {}
    }
    if is_read && member.closes.allows(limits.orphan_closes_per_second) {
        return (draining.close(CloseReason::Abandoned), OrphanEnd::Closed);
    }
    let _counted = Counted::enter(&member.metrics.orphans.draining);
    let end = if is_read { OrphanEnd::Killed } else { OrphanEnd::Drained };
    let drained = member.drained.enter_below(if is_read { usize::MAX } else { member.drained_max });
    if drained.is_none() {
        // Those who have not left need the connections more; the server lets the write run on.
        return (draining.close(CloseReason::Abandoned), OrphanEnd::Closed);
    }
    if is_read && kill(&draining, member).await.is_none() {
        return (draining.close(CloseReason::Abandoned), OrphanEnd::Closed);
    }
    match timeout(limits.orphan_drain, draining.run()).await {
        Ok(Ok(())) => (Some(draining.server), end),
        Ok(Err(_)) => (draining.close(CloseReason::Error), OrphanEnd::Closed),
        Err(_) => (draining.close(CloseReason::Abandoned), OrphanEnd::Closed),
    }
}

/// Ends the operation by its number on the server, so that its connection survives: when many clients leave at once,
/// as many new connections would cost the member more than the reads did. `None` if that cannot be done now.
async fn kill(draining: &Draining, member: &Member) -> Option<()> {
    let connection_id = draining.server.connection_id();
    let mut own =
        timeout(KILL_WITHIN, member.pools.common().check_out(Class::Relief, None)).await.ok()?.ok()?;
    let killing = async {
        let operations = own_command::operations_of(connection_id);
        let reply = own_command::run(&draining.shared, &mut own, &operations).await.ok()?;
        // No operation: it has ended meanwhile, and its reply is on its way.
        if let Some(opid) =
            find_path(&reply, &["cursor", "firstBatch", "0", "opid"]).and_then(|opid| opid.as_i64())
        {
            own_command::run(&draining.shared, &mut own, &own_command::kill_operation(opid)).await.ok()?;
        }
        Some(())
    };
    let killed = timeout(KILL_WITHIN, killing).await.ok()?;
    if killed.is_some() {
        check_in(own);
    }
    killed
}

/// A reply being read to nobody.
struct Draining {
    server: Checkout,
    id: i32,
    partial: Option<Buffer>,
    shared: Arc<Shared>,
}

impl Draining {
    fn close(self, reason: CloseReason) -> Option<Checkout> {
        self.server.close(reason);
        None
    }

    /// Reads the reply, and those that it announces, to the end. Cancelled, it can be called again.
    async fn run(&mut self) -> Result<(), ReplyError> {
        loop {
            let reply = std::future::poll_fn(|cx| {
                poll_reply(&mut self.server, &self.shared.buffers, self.id, &mut self.partial, cx)
            })
            .await?;
            let more = reply.verdict().more_to_come;
            self.id = reply.header.request_id;
            let whole = reply.is_whole();
            let mut buffer = reply.buffer;
            if !whole {
                // Larger than a buffer: the operation is over, and reading megabytes for nobody costs more than a
                // new connection.
                return Err(ReplyError::Closed);
            }
            buffer.consume(reply.header.length);
            match (more, buffer.is_empty()) {
                (true, _) => self.partial = Some(buffer),
                (false, true) => {
                    self.shared.buffers.give(buffer);
                    return Ok(());
                }
                (false, false) => return Err(ReplyError::Closed),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn closes_are_limited_each_second_anew() {
        let rate = CloseRate::default();
        let allowed = || (0..10).filter(|_| rate.allows(3)).count();
        assert_eq!((allowed(), allowed()), (3, 0));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(allowed(), 3);
    }
}
