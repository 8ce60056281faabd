//! A pool's events, told to its member's metrics.

use std::error::Error;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use rustix::io::Errno;

use super::context::Shared;
use crate::metrics::{self, MemberMetrics};
use crate::pool::{CheckoutError, CloseReason, ConnectError, PoolEvents, Status};
use crate::topology::{self, MemberKind};

/// Observes the pool of one member.
#[derive(Clone)]
pub struct Observer {
    metrics: Arc<MemberMetrics>,
    /// Whether the last attempt to connect failed: only the first failure of several is worth a line.
    fails: Arc<AtomicBool>,
    shared: Weak<Shared>,
}

impl PoolEvents for Observer {
    fn checked_out(&self, waited: Duration) {
        self.metrics.pool.checked_out(waited);
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
        if let Some(shared) = self.shared.upgrade().filter(|_| lacks_descriptors(error)) {
            shared.registry.note_full();
        }
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

/// Whether the process (or the system) had no descriptor left for the socket.
fn lacks_descriptors(error: &ConnectError) -> bool {
    let ConnectError::Failed(error) = error else { return false };
    let mut causes = std::iter::successors(Some(&**error as &(dyn Error + 'static)), |&error| error.source());
    causes.any(|cause| {
        let system = cause.downcast_ref::<io::Error>().and_then(Errno::from_io_error);
        matches!(system, Some(Errno::MFILE | Errno::NFILE))
    })
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
    /// Tells `metrics`; and the registry of `shared`, if clients that say nothing hold the descriptors wanted here.
    pub fn new(metrics: Arc<MemberMetrics>, shared: Weak<Shared>) -> Self {
        Observer { metrics, fails: Arc::default(), shared }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn want_of_descriptors_is_found_below_the_connectors_own_words() {
        let failed = |system: Errno| {
            let source = io::Error::from(system);
            let member = "db1:27017".into();
            ConnectError::new(crate::server::ConnectError::Io { member, source })
        };
        assert!(lacks_descriptors(&failed(Errno::MFILE)) && lacks_descriptors(&failed(Errno::NFILE)));
        assert!(
            !lacks_descriptors(&failed(Errno::CONNREFUSED)) && !lacks_descriptors(&ConnectError::Panicked)
        );
        assert!(lacks_descriptors(&io::Error::from(Errno::MFILE).into()));
    }
}
