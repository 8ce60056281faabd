//! Exchanges whose client has left.
//!
//! torana does what mongod would have seen, no more: mongod notices that a client has gone and stops a read of its,
//! and lets a write run to its end. So the reply is waited for a moment, as most are nearly there; then a read is
//! ended by closing its server connection, and a write is drained in the background, counted against the pool.
//!
//! mongod does not notice every time that the client of a read has gone (6.0: never in a getMore, nor in JavaScript that
//! an expression calls). It would run on for as long as it likes, so torana ends it by its number.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::{Duration, Instant, sleep, timeout};

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

/// How long it may wait for another connection to do so while it holds one itself: when all do, none comes free.
const KILL_HOLDING: Duration = Duration::from_millis(100);

/// How long mongod has to notice that the connection of a read is closed, before it is told. It takes some 20 ms where
/// it looks at all.
const NOTICED_WITHIN: Duration = Duration::from_millis(300);

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
    let (member, kind) = (at.member.clone(), Kind::of(request));
    tokio::spawn(async move {
        let ends = &member.metrics.orphans.ended;
        match run(draining, &member, kind).await {
            (Some(server), end) => {
                ends.inc(end);
                check_in(server);
            }
            (None, end) => ends.inc(end),
        }
    });
}

/// How the exchange can be ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A read whose server looks whether its client is there: by closing the connection.
    Read,
    /// A read whose server does not: by its number alone.
    GetMore,
    /// Not at all.
    Write,
}

impl Kind {
    fn of(request: &Request) -> Kind {
        match (request.is_read, request.route) {
            // To kill it would abort the transaction, which others may go on with. mongod lets it run.
            (true, Route::GetMore) if request.in_transaction => Kind::Write,
            (true, Route::GetMore) => Kind::GetMore,
            (true, _) => Kind::Read,
            (false, _) => Kind::Write,
        }
    }
}

/// Ends the exchange. Returns the connection if it can be used again.
async fn run(mut draining: Draining, member: &Member, kind: Kind) -> (Option<Checkout>, OrphanEnd) {
    let limits = draining.shared.limits.clone();
    match timeout(limits.abandoned_grace, draining.run()).await {
        Ok(Ok(())) => return (Some(draining.server), OrphanEnd::Discarded),
        Ok(Err(_)) => return (draining.close(CloseReason::Error), OrphanEnd::Closed),
        Err(_) => {}
    }
    let is_read = kind != Kind::Write;
    if kind == Kind::Read && member.closes.allows(limits.orphan_closes_per_second) {
        return close_read(draining, member, NOTICED_WITHIN).await;
    }
    let _counted = Counted::enter(&member.metrics.orphans.draining);
    let end = if is_read { OrphanEnd::Killed } else { OrphanEnd::Drained };
    let drained = member.drained.enter_below(if is_read { usize::MAX } else { member.drained_max });
    if drained.is_none() {
        // Those who have not left need the connections more; the server lets the write run on.
        return (draining.close(CloseReason::Abandoned), OrphanEnd::Closed);
    }
    let connection_id = draining.server.connection_id();
    if is_read && kill(&draining.shared, member, connection_id, KILL_HOLDING).await.is_none() {
        return close_read(draining, member, Duration::ZERO).await;
    }
    match timeout(limits.orphan_drain, draining.run()).await {
        Ok(Ok(())) => (Some(draining.server), end),
        Ok(Err(_)) => (draining.close(CloseReason::Error), OrphanEnd::Closed),
        Err(_) => (draining.close(CloseReason::Abandoned), OrphanEnd::Closed),
    }
}

/// Ends a read by closing its connection, and if mongod has not noticed that within `notices`, by its number after all.
async fn close_read(draining: Draining, member: &Member, notices: Duration) -> (Option<Checkout>, OrphanEnd) {
    let (shared, connection_id) = (draining.shared.clone(), draining.server.connection_id());
    let closed = draining.close(CloseReason::Abandoned);
    sleep(notices).await;
    // Without a connection for it now, the read runs on: no worse than without torana.
    let _ = kill(&shared, member, connection_id, KILL_WITHIN).await;
    (closed, OrphanEnd::Closed)
}

/// Ends the operation on the server connection `connection_id` by its number, so that the connection survives: when many
/// clients leave at once, as many new connections would cost the member more than the reads did. `None` if that cannot
/// be done now, in particular if there is no connection for it within `patience`.
async fn kill(shared: &Shared, member: &Member, connection_id: i64, patience: Duration) -> Option<()> {
    // Servers before 4.2 do not tell it, and no operation is known by none.
    let connection_id = Some(connection_id).filter(|id| *id != 0)?;
    let mut own = timeout(patience, member.pools.common().check_out(Class::Relief, None)).await.ok()?.ok()?;
    let killing = async {
        let operations = own_command::operations_of(connection_id);
        let reply = own_command::run(shared, &mut own, &operations).await.ok()?;
        // No operation: it has ended meanwhile, and its reply is on its way.
        if let Some(opid) =
            find_path(&reply, &["cursor", "firstBatch", "0", "opid"]).and_then(|opid| opid.as_i64())
        {
            own_command::run(shared, &mut own, &own_command::kill_operation(opid)).await.ok()?;
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
