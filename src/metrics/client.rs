//! Connections of clients.

use prometheus::IntGauge;

use super::builder::Builder;
use super::counts::{Counter, Durations};
use super::labels::EndReason;
use super::table::Counters;

/// Connections of clients to one member's listeners.
pub struct ClientMetrics {
    /// Clients connected now.
    pub connected: IntGauge,
    /// How many may be.
    pub limit: IntGauge,
    /// Connections accepted.
    pub accepted: Counter,
    /// Connections ended, by reason. Those rejected at the limit are not among them.
    pub ended: Counters<EndReason>,
    /// Connections closed unread, because the limit was reached.
    pub rejected: Counter,
    /// Times that accepting stopped for a while because the process had no descriptor left.
    pub accept_pauses: Counter,
    /// From the first byte of a message to the last of its header, seconds; of headers that came in pieces.
    pub header_read: Durations,
    /// Awaitable hellos held until the member changes or their time is up.
    pub hellos_waiting: IntGauge,
}

impl ClientMetrics {
    pub(super) fn new(builder: &mut Builder) -> ClientMetrics {
        ClientMetrics {
            connected: builder.gauge("torana_clients", "Clients connected"),
            limit: builder.gauge("torana_clients_limit", "Clients that may be connected"),
            accepted: builder.counter("torana_clients_accepted_total", "Client connections accepted"),
            ended: builder.counters("torana_clients_ended_total", "Client connections ended, by reason"),
            rejected: builder.counter(
                "torana_clients_rejected_total",
                "Client connections closed unread at the limit of clients",
            ),
            accept_pauses: builder.counter(
                "torana_accept_pauses_total",
                "Times that accepting stopped because the process had no file descriptor left",
            ),
            header_read: builder.histogram(
                "torana_header_read_seconds",
                "From a request's first byte to the end of its header, of headers that came in pieces",
            ),
            hellos_waiting: builder.gauge(
                "torana_hellos_waiting",
                "Awaitable hellos held until the member changes or their time is up",
            ),
        }
    }
}
