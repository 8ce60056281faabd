//! Messages and operations that pass.

use std::sync::Arc;

use super::builder::Builder;
use super::counts::{Counter, Durations};
use super::labels::{Direction, Observed, Outcome, TaggedKind};
use super::lanes::Lanes;
use super::table::{Counters, Histograms};
use crate::command::Command;

/// Messages and operations of one member.
pub struct TrafficMetrics {
    /// Requests that have a reply.
    pub requests_with_reply: Counter,
    /// Requests that have none: legacy writes, killCursors, OP_MSG with moreToCome.
    pub requests_without_reply: Counter,
    /// Replies taken into memory because their client was slow.
    pub replies_spooled: Counter,
    /// From a request read to its reply written, seconds: the server's time is in it.
    pub in_proxy: Durations,
    /// Operations by command and outcome, local ones included.
    pub operations: Counters<(Command, Outcome)>,
    /// From the request written to the server to the reply's header read, seconds.
    pub server_latency: Histograms<Command>,
    /// Operations on tagged collections.
    pub tagged: Counters<TaggedKind>,
    /// Reads of observed collections.
    pub observed: Counters<Observed>,
    /// Operations on tagged collections whose outcome could not be published, and was not told.
    pub unpublished: Counter,
    /// Reads that went on to another member, as this one was behind.
    pub members_behind: Counter,
    /// Reads as of a published time that the member refused, and that were sent again.
    pub snapshots_refused: Counter,
    /// Requests answered by torana itself.
    pub local_replies: Counters<Command>,
    /// Messages passed on to the other side.
    pub forwarded: Counters<Direction>,
    /// Messages edited on their way.
    pub rewrites: Counters<Direction>,
    /// Replies whose `responseTo` was not the request's id; each ended its server connection.
    pub reply_mismatches: Counter,
    /// Bytes read from clients.
    pub client_received_bytes: Counter,
    /// Bytes written to clients.
    pub client_sent_bytes: Counter,
    /// Bytes read from the server.
    pub server_received_bytes: Counter,
    /// Bytes written to the server.
    pub server_sent_bytes: Counter,
    /// Where all of these are counted: several at once cost little more than one.
    lanes: Arc<Lanes>,
}

impl TrafficMetrics {
    /// Counts a request of `length` bytes that was read from a client.
    #[inline]
    pub fn request_read(&self, length: usize, has_reply: bool) {
        let requests = if has_reply { &self.requests_with_reply } else { &self.requests_without_reply };
        self.lanes.add([(self.client_received_bytes.cell(), length as u64), (requests.cell(), 1)]);
    }

    /// Counts a request of `length` bytes that was written to the server.
    #[inline]
    pub fn request_sent(&self, length: usize) {
        let forwarded = self.forwarded.cell(Direction::Request);
        self.lanes.add([(self.server_sent_bytes.cell(), length as u64), (forwarded, 1)]);
    }

    /// Counts a reply of `length` bytes that goes from the server to a client.
    #[inline]
    pub fn reply_passed(&self, length: usize) {
        self.lanes.add([
            (self.server_received_bytes.cell(), length as u64),
            (self.client_sent_bytes.cell(), length as u64),
            (self.forwarded.cell(Direction::Reply), 1),
        ]);
    }

    pub(super) fn new(builder: &mut Builder) -> TrafficMetrics {
        TrafficMetrics {
            requests_with_reply: builder
                .counter("torana_requests_with_reply_total", "Requests read that have a reply"),
            requests_without_reply: builder
                .counter("torana_requests_without_reply_total", "Requests read that have no reply"),
            replies_spooled: builder
                .counter("torana_replies_spooled_total", "Replies taken into memory for slow clients"),
            in_proxy: builder.histogram(
                "torana_request_seconds",
                "From a request read to its reply written, the server's time included",
            ),
            operations: builder
                .sparse_counters("torana_operations_total", "Operations of clients, by command and outcome"),
            server_latency: builder.sparse_histograms(
                "torana_server_latency_seconds",
                "From taking a server connection for a request to its reply's header",
            ),
            tagged: builder.counters(
                "torana_tagged_operations_total",
                "Operations that a collection's level was kept for",
            ),
            observed: builder.counters(
                "torana_observed_reads_total",
                "Reads of observed collections, by whether the member had all that anyone had been told of",
            ),
            unpublished: builder.counter(
                "torana_unpublished_total",
                "Operations whose outcome could not be published, and was not told",
            ),
            members_behind: builder.counter(
                "torana_reads_behind_total",
                "Reads of tagged collections that found the member behind, and went on to another",
            ),
            snapshots_refused: builder.counter(
                "torana_snapshots_refused_total",
                "Reads as of a published time that the member refused; sent again as reads of a majority",
            ),
            local_replies: builder
                .sparse_counters("torana_local_replies_total", "Requests answered by torana itself"),
            forwarded: builder
                .counters("torana_messages_forwarded_total", "Messages passed on to the other side"),
            rewrites: builder.counters("torana_rewrites_total", "Messages edited on their way"),
            reply_mismatches: builder.counter(
                "torana_reply_mismatches_total",
                "Replies to another request than the one sent; each ended its server connection",
            ),
            client_received_bytes: builder
                .counter("torana_client_received_bytes_total", "Bytes read from clients"),
            client_sent_bytes: builder.counter("torana_client_sent_bytes_total", "Bytes written to clients"),
            server_received_bytes: builder
                .counter("torana_server_received_bytes_total", "Bytes read from the server"),
            server_sent_bytes: builder
                .counter("torana_server_sent_bytes_total", "Bytes written to the server"),
            lanes: builder.lanes(),
        }
    }
}
