//! Exchanges whose client has left: `wind_up` says how they end, here is how that is done over a server connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::{Duration, Instant, timeout};

use super::buffer::Buffer;
use super::context::{Checkout, Counted, Listener, Member, Shared};
use super::exchange::check_in;
use super::own_command;
use super::reply::{ReplyError, poll_reply};
use super::request::{Request, Route};
use super::wind_up::{Patience, Unclaimed, wind_up};
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
    let (member, is_read) = (at.member.clone(), request.is_read);
    let draining = Draining { member: member.clone(), server, id, partial, shared: at.shared.clone() };
    tokio::spawn(async move {
        let limits = &draining.shared.limits;
        let (grace, drain) = (limits.abandoned_grace, limits.orphan_drain);
        let patience = Patience { grace, drain, drained_max: member.drained_max };
        let rate = limits.orphan_closes_per_second;
        let may_close = || member.closes.allows(rate);
        let keeps = |fewer_than| {
            let kept = member.drained.enter_below(fewer_than)?;
            Some((kept, Counted::enter(&member.metrics.orphans.draining)))
        };
        let (left, end) = wind_up(draining, is_read, patience, may_close, keeps).await;
        member.metrics.orphans.ended.inc(end);
        if let Some(left) = left {
            check_in(left.server);
        }
    });
}

/// A reply being read to nobody.
struct Draining {
    member: Arc<Member>,
    server: Checkout,
    id: i32,
    partial: Option<Buffer>,
    shared: Arc<Shared>,
}

impl Unclaimed for Draining {
    async fn drain(&mut self) -> bool {
        self.run().await.is_ok()
    }

    async fn kill(&self) -> bool {
        let pool = self.member.pools.common();
        let Ok(Ok(mut own)) = timeout(KILL_WITHIN, pool.check_out(Class::Relief, None)).await else {
            return false;
        };
        let killed = timeout(KILL_WITHIN, self.kill_over(&mut own)).await.is_ok_and(|done| done.is_ok());
        if killed {
            check_in(own);
        }
        killed
    }

    fn close(self, reason: CloseReason) {
        self.server.close(reason);
    }
}

impl Draining {
    async fn kill_over(&self, own: &mut Checkout) -> Result<(), ReplyError> {
        let operations = own_command::operations_of(self.server.connection_id());
        let reply = own_command::run(&self.shared, own, &operations).await?;
        // No operation: it has ended meanwhile, and its reply is on its way.
        if let Some(opid) =
            find_path(&reply, &["cursor", "firstBatch", "0", "opid"]).and_then(|opid| opid.as_i64())
        {
            own_command::run(&self.shared, own, &own_command::kill_operation(opid)).await?;
        }
        Ok(())
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
