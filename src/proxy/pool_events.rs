//! A pool's events, told to its member's metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::metrics::{self, MemberMetrics};
use crate::pool::{CheckoutError, CloseReason, ConnectError, PoolEvents, Status};
use crate::topology::{self, MemberKind};

/// Observes the pool of one member.
#[derive(Clone)]
pub struct Observer {
    metrics: Arc<MemberMetrics>,
    /// Whether the last attempt to connect failed: only the first failure of several is worth a line.
    fails: Arc<AtomicBool>,
}

impl PoolEvents for Observer {
    fn checked_out(&self, waited: Duration) {
        self.metrics.pool.acquire.observe(waited);
        self.metrics.pool.acquired.inc();
    }

    fn checkout_failed(&self, error: &CheckoutError) {
        match error {
            CheckoutError::WaitTimeout { .. } => self.metrics.pool.wait_timeouts.inc(),
            CheckoutError::QueueFull { .. } => self.metrics.pool.wait_queue_full.inc(),
            CheckoutError::Unavailable { .. } | CheckoutError::Closed => {}
        }
    }

    fn checked_in(&self, held: Duration) {
        self.metrics.pool.held.observe(held);
    }

    fn connected(&self, took: Duration) {
        if self.fails.swap(false, Ordering::Relaxed) {
            let (set, member) = (self.metrics.set(), self.metrics.member());
            tracing::info!(set, member, "server connections can be made again");
        }
        self.metrics.pool.made.inc();
        self.metrics.pool.make.observe(took);
    }

    fn connect_failed(&self, error: &ConnectError, _took: Duration) {
        self.metrics.pool.make_errors.inc();
        let (set, member) = (self.metrics.set(), self.metrics.member());
        match self.fails.swap(true, Ordering::Relaxed) {
            false => {
                tracing::warn!(set, member, %error, "no server connection; trying again until there is one")
            }
            true => tracing::debug!(set, member, %error, "no server connection"),
        }
    }

    fn closed(&self, reason: CloseReason, took: Duration) {
        self.metrics.pool.closed.inc(label(reason));
        self.metrics.pool.close.observe(took);
    }

    fn cleared(&self, cause: &str) {
        self.metrics.pool.clears.inc();
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
    /// Tells `metrics`.
    pub fn new(metrics: Arc<MemberMetrics>) -> Self {
        Observer { metrics, fails: Arc::default() }
    }

    /// Copies the pools' numbers and what the monitors know into the gauges.
    pub fn show(&self, status: &Status, member: &topology::Member) {
        self.show_pools(status);
        self.show_member(member);
    }

    fn show_member(&self, member: &topology::Member) {
        let metrics = &self.metrics.topology;
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
        let pool = &self.metrics.pool;
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
            (&self.metrics.orphans.draining_limit, status.max),
            (&pool.awaiting, status.awaiting),
            (&pool.awaiting_limit, status.awaiting_max),
        ];
        for (gauge, number) in gauges {
            gauge.set(i64::try_from(number).unwrap_or(i64::MAX));
        }
    }
}
