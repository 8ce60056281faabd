//! Connections to a member, and what becomes of exchanges whose client left.

use std::sync::Arc;
use std::time::Duration;

use prometheus::IntGauge;

use super::builder::Builder;
use super::counts::{Counter, Durations};
use super::labels::{CloseReason, OrphanEnd};
use super::lanes::Lanes;
use super::table::Counters;

/// The pool of connections to one member.
pub struct PoolMetrics {
    /// Connections that the pool has, those being made included.
    pub size: IntGauge,
    /// How many it may have.
    pub limit: IntGauge,
    /// Connections that are made: idle and out.
    pub alive: IntGauge,
    /// Connections checked in.
    pub idle: IntGauge,
    /// Connections checked out.
    pub out: IntGauge,
    /// Connections being made.
    pub connecting: IntGauge,
    /// Connections checked out that belong to one client for more than an exchange.
    pub pinned: IntGauge,
    /// Requests in the wait queue.
    pub waiting: IntGauge,
    /// How many may wait.
    pub waiting_limit: IntGauge,
    /// From asking for a connection to having it, seconds.
    pub acquire: Durations,
    /// Checkouts served by a connection that was there.
    pub acquired: Counter,
    /// Connections made.
    pub made: Counter,
    /// From the first attempt to connect to the handshake's end, seconds.
    pub make: Durations,
    /// Connections that could not be made.
    pub make_errors: Counter,
    /// Connections closed, by reason.
    pub closed: Counters<CloseReason>,
    /// Time that closing took, seconds.
    pub close: Durations,
    /// Times that the pool was cleared, each the start of a generation.
    pub clears: Counter,
    /// Requests whose wait time was up.
    pub wait_timeouts: Counter,
    /// Requests turned away by a full wait queue.
    pub wait_queue_full: Counter,
    /// How long a connection was out, seconds.
    pub held: Durations,
    /// Permits of ordinary work in use.
    pub ordinary: IntGauge,
    /// Permits of ordinary work: the limit without the reserve.
    pub ordinary_limit: IntGauge,
    /// Permits of awaiting operations in use.
    pub awaiting: IntGauge,
    /// Permits of awaiting operations.
    pub awaiting_limit: IntGauge,
    /// Rounds of awaiting operations sent with a short time, for want of permits.
    pub sliced_rounds: Counter,
    /// Where the counters and histograms are counted: several at once cost little more than one.
    lanes: Arc<Lanes>,
}

impl PoolMetrics {
    /// Counts a checkout that was served after `waited`.
    #[inline]
    pub fn checked_out(&self, waited: Duration) {
        let [bucket, sum] = self.acquire.cells(waited);
        self.lanes.add([bucket, sum, (self.acquired.cell(), 1)]);
    }

    pub(super) fn new(b: &mut Builder) -> PoolMetrics {
        PoolMetrics {
            size: b.gauge("torana_pool_connections", "Server connections, those being made included"),
            limit: b.gauge("torana_pool_connections_limit", "Server connections that there may be"),
            alive: b.gauge("torana_pool_connections_alive", "Server connections made, idle or out"),
            idle: b.gauge("torana_pool_connections_idle", "Server connections checked in"),
            out: b.gauge("torana_pool_connections_out", "Server connections checked out"),
            connecting: b.gauge("torana_pool_connections_connecting", "Server connections being made"),
            pinned: b.gauge("torana_pool_connections_pinned", "Server connections pinned to one client"),
            waiting: b.gauge("torana_pool_waiting", "Requests that wait for a server connection"),
            waiting_limit: b.gauge("torana_pool_waiting_limit", "Requests that may wait"),
            acquire: b.histogram("torana_pool_acquire_seconds", "From asking for a connection to having it"),
            acquired: b
                .counter("torana_pool_acquired_total", "Checkouts served by a connection that was there"),
            made: b.counter("torana_pool_connections_made_total", "Server connections made"),
            make: b.histogram("torana_pool_connect_seconds", "Connect and handshake of a server connection"),
            make_errors: b
                .counter("torana_pool_connect_errors_total", "Server connections that failed to be made"),
            closed: b
                .counters("torana_pool_connections_closed_total", "Server connections closed, by reason"),
            close: b.histogram("torana_pool_close_seconds", "Close of a server connection"),
            clears: b.counter("torana_pool_clears_total", "Generations of the pool that were ended"),
            wait_timeouts: b.counter("torana_pool_wait_timeouts_total", "Requests whose wait time was up"),
            wait_queue_full: b
                .counter("torana_pool_wait_queue_full_total", "Requests that a full queue turned away"),
            held: b.histogram("torana_pool_held_seconds", "How long a server connection was checked out"),
            ordinary: b.gauge("torana_pool_ordinary", "Permits of ordinary work in use"),
            ordinary_limit: b.gauge("torana_pool_ordinary_limit", "Permits of ordinary work"),
            awaiting: b.gauge("torana_pool_awaiting", "Permits of awaiting operations in use"),
            awaiting_limit: b.gauge("torana_pool_awaiting_limit", "Permits of awaiting operations"),
            sliced_rounds: b.counter(
                "torana_pool_sliced_rounds_total",
                "Short rounds of awaiting operations without a permit",
            ),
            lanes: b.lanes(),
        }
    }
}

/// Exchanges and transactions whose client left.
pub struct OrphanMetrics {
    /// How they ended.
    pub ended: Counters<OrphanEnd>,
    /// Operations that are drained now.
    pub draining: IntGauge,
    /// How many may be.
    pub draining_limit: IntGauge,
}

impl OrphanMetrics {
    pub(super) fn new(builder: &mut Builder) -> OrphanMetrics {
        OrphanMetrics {
            ended: builder
                .counters("torana_orphans_total", "Operations whose client left, by how they ended"),
            draining: builder.gauge("torana_orphans_draining", "Writes drained now whose client left"),
            draining_limit: builder
                .gauge("torana_orphans_draining_limit", "Writes that may be drained at once"),
        }
    }
}
