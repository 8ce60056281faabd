//! A pool's events, told to its member's metrics.

use std::sync::Arc;
use std::time::Duration;

use crate::metrics::{self, MemberMetrics};
use crate::pool::{CheckoutError, CloseReason, ConnectError, PoolEvents, Status};
use crate::topology::{self, MemberKind};

/// Observes the pool of one member.
#[derive(Clone)]
pub struct Observer(pub Arc<MemberMetrics>);

impl PoolEvents for Observer {
    fn checked_out(&self, waited: Duration) {
        self.0.pool.acquire.observe(waited.as_secs_f64());
        self.0.pool.acquired.inc();
    }

    fn checkout_failed(&self, error: &CheckoutError) {
        match error {
            CheckoutError::WaitTimeout { .. } => self.0.pool.wait_timeouts.inc(),
            CheckoutError::QueueFull { .. } => self.0.pool.wait_queue_full.inc(),
            CheckoutError::Unavailable { .. } | CheckoutError::Closed => {}
        }
    }

    fn checked_in(&self, held: Duration) {
        self.0.pool.held.observe(held.as_secs_f64());
    }

    fn connected(&self, took: Duration) {
        self.0.pool.made.inc();
        self.0.pool.make.observe(took.as_secs_f64());
    }

    fn connect_failed(&self, error: &ConnectError, _took: Duration) {
        self.0.pool.make_errors.inc();
        tracing::warn!(%error, "no server connection");
    }

    fn closed(&self, reason: CloseReason, took: Duration) {
        self.0.pool.closed.inc(label(reason));
        self.0.pool.close.observe(took.as_secs_f64());
    }

    fn cleared(&self, cause: &str) {
        self.0.pool.clears.inc();
        tracing::info!(cause, "pool cleared");
    }
}

fn label(reason: CloseReason) -> metrics::CloseReason {
    match reason {
        CloseReason::Stale => metrics::CloseReason::Stale,
        CloseReason::Idle => metrics::CloseReason::Idle,
        CloseReason::Lifetime => metrics::CloseReason::Lifetime,
        CloseReason::Broken => metrics::CloseReason::FoundDead,
        CloseReason::Error => metrics::CloseReason::Error,
        CloseReason::Protocol => metrics::CloseReason::Protocol,
        CloseReason::Abandoned | CloseReason::Dropped => metrics::CloseReason::Abandoned,
        CloseReason::PoolClosed => metrics::CloseReason::Shutdown,
    }
}

fn state(kind: MemberKind) -> metrics::MemberState {
    match kind {
        MemberKind::Primary => metrics::MemberState::Primary,
        MemberKind::Secondary | MemberKind::Passive | MemberKind::Hidden => metrics::MemberState::Secondary,
        MemberKind::Arbiter => metrics::MemberState::Arbiter,
        MemberKind::Standalone => metrics::MemberState::Standalone,
        MemberKind::Unknown => metrics::MemberState::Unknown,
        MemberKind::Other | MemberKind::Ghost | MemberKind::Mongos => metrics::MemberState::Other,
    }
}

impl Observer {
    /// Copies the pools' numbers and what the monitors know into the gauges.
    pub fn show(&self, status: &Status, member: &topology::Member) {
        self.show_pools(status);
        self.show_member(member);
    }

    fn show_member(&self, member: &topology::Member) {
        let metrics = &self.0.topology;
        metrics.state.set(state(member.kind()));
        let copy = member.hello.latest();
        metrics.fresh.set(i64::from(copy.is_some()));
        match copy {
            Some(copy) => {
                metrics.hello_age.touched(copy.received.elapsed());
                metrics.round_trip.set(copy.round_trip.as_secs_f64());
            }
            None => metrics.hello_age.forget(),
        }
        let told = metrics.monitor_failures.get();
        metrics.monitor_failures.inc_by(member.monitor_failures().saturating_sub(told));
    }

    fn show_pools(&self, status: &Status) {
        let pool = &self.0.pool;
        let gauges = [
            (&pool.size, status.size + status.connecting),
            (&pool.limit, status.max),
            (&pool.alive, status.size),
            (&pool.idle, status.idle),
            (&pool.out, status.out),
            (&pool.connecting, status.connecting),
            (&pool.waiting, status.waiting),
            (&pool.waiting_limit, status.queue_max),
            (&pool.ordinary, status.ordinary),
            (&pool.ordinary_limit, status.ordinary_max),
            (&self.0.orphans.draining_limit, status.max),
            (&pool.awaiting, status.awaiting),
            (&pool.awaiting_limit, status.awaiting_max),
        ];
        for (gauge, number) in gauges {
            gauge.set(i64::try_from(number).unwrap_or(i64::MAX));
        }
    }
}
