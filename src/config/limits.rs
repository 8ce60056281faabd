//! Every bound of torana, in one place: its unit, its default, the range that makes sense, and why it is there.
//!
//! `[limits]` holds for the process, `[pool]` and `[monitor]` for each replica set; what the connection string says
//! of the latter two wins over the file. All can be set; `"off"` where the type is an `Option`.
//!
//! Three bounds follow from how torana is built and have no setting: what a client sends ahead of a reply stays in
//! its socket beyond one read buffer (16 KiB, `proxy/buffer.rs`; drivers send nothing ahead, except after legacy
//! writes and `moreToCome`); documents are walked into 200 deep at most, which is MongoDB's own limit
//! (`rewrite/rules.rs`; whatever is nested deeper passes unread or is refused); compressed messages are refused.

use std::time::Duration;

use super::bounds::{Count, Flag, bounds, hours, ms, seconds};
use super::units::{Size, Span, SpanOrOff};

const MIB: usize = 1 << 20;
const GIB: usize = 1 << 30;

/// The longest message that any MongoDB server takes, bytes (`maxMessageSizeBytes` of its hello).
const SERVER_MESSAGE_MAX: usize = 48_000_000;

bounds! {
    /// Bounds of the process: clients, their messages, and what they leave behind.
    Limits, LimitsSection, "limits" {
        /// Longest message, bytes. MongoDB's servers take no longer one; a shorter limit must still let pass a
        /// document of 16 MiB.
        message_max: usize as Size = SERVER_MESSAGE_MAX, 17 * MIB..=SERVER_MESSAGE_MAX;
        /// Memory of all requests above 16 KiB, bytes; further ones wait in their sockets. Twenty of the longest.
        request_buffer_max: usize as Size = GIB, 64 * MIB..=1024 * GIB;
        /// Memory of all large replies that their clients are slow to take, bytes: so they hold up no server
        /// connection. Beyond it they do, and a client that takes less than 1 MiB in `client_write_timeout` is ended.
        reply_buffer_max: usize as Size = 256 * MIB, 0..=1024 * GIB;
        /// Client connections to each member. mongod's own default (`net.maxIncomingConnections`), so that no client
        /// finds less room than before. The process's descriptor limit may come first: accepting then pauses.
        clients_max: usize as Count = 65_536, 1..=1_000_000;
        /// From the first byte of a client's first message to its last: drivers send hello in one go, and give up after
        /// 10 s themselves. Clients that have sent nothing for so long are closed only while others find no room
        /// (`clients_max`, descriptors): old drivers open connections ahead and greet at first use.
        login_timeout: Duration as Span = seconds(10), ms(100)..=hours(1);
        /// Longest time between two messages of a client. Off: idle clients cost next to nothing, and drivers'
        /// own pools close what they do not need.
        client_idle_timeout: Option<Duration> as SpanOrOff = None, seconds(1)..=hours(24 * 7);
        /// From the first byte of a message to its last: 48 MB at 6.4 Mbit/s.
        message_timeout: Duration as Span = seconds(60), ms(100)..=hours(1);
        /// How long a client may take nothing of its reply.
        client_write_timeout: Duration as Span = seconds(30), ms(100)..=hours(1);
        /// From a legacy write to its getLastError, during which a server connection is pinned. Drivers send both
        /// in one go.
        last_error_timeout: Duration as Span = seconds(5), ms(100)..=hours(1);
        /// How long the reply to a client that left is waited for before more is done: most replies come within it,
        /// and the connection is kept.
        abandoned_grace: Duration as Span = ms(50), ms(1)..=seconds(60);
        /// How long a write whose client left is let run before its server connection is closed under it (which
        /// mongod lets run on). At once if a quarter of a pool is taken by such writes.
        orphan_drain: Duration as Span = seconds(60), ms(100)..=hours(24);
        /// Server connections closed in a second to end reads whose clients left; above it `killOp` is used, because
        /// each close costs a connect and a handshake.
        orphan_closes_per_second: usize as Count = 20, 0..=10_000;
        /// How long an open transaction may go unused by any connection before torana aborts it. Drivers that
        /// reconnect to retry a commit do so within a server selection or two.
        transaction_orphan_timeout: Duration as Span = seconds(10), seconds(1)..=hours(1);
        /// From SIGTERM to the end, whatever still runs. Below the 30 s after which Kubernetes kills.
        shutdown_deadline: Duration as Span = seconds(25), ms(1)..=hours(24);
        /// Connections to the admin endpoint at once. A scraper and a few probes need one each.
        admin_connections_max: usize as Count = 32, 1..=1_000;
        /// The longest that one request to the admin endpoint may take, its header included.
        admin_timeout: Duration as Span = seconds(10), ms(100)..=hours(1);
    }
}

bounds! {
    /// Bounds of the pool of each member of a set.
    PoolLimits, PoolSection, "pool" {
        /// Connections to a member, monitoring aside. At least 2, because one in eight, at least one, is kept for
        /// those who hold something on the server that others wait for. The default is that of MongoDB's drivers.
        max: usize as Count = 100, 2..=10_000;
        /// Idle connections that are kept ready.
        min_idle: usize as Count = 0, 0..=10_000;
        /// Connections beyond `max` for awaiting operations (change streams, tailable cursors). 0: they share `max`,
        /// of which they get a quarter at most.
        awaiting_max: usize as Count = 0, 0..=10_000;
        /// A pool for each application name of the clients, so that fail points and `$currentOp` see it. Each pool
        /// has `max` connections of its own.
        per_application: bool as Flag = false, false..=true;
        /// An idle connection is closed after this, unless `min_idle` keeps it.
        idle_timeout: Option<Duration> as SpanOrOff = Some(seconds(600)), seconds(1)..=hours(24 * 7);
        /// A connection is closed at this age or up to a fifth earlier, so that all of one start do not end together.
        lifetime: Option<Duration> as SpanOrOff = Some(hours(1)), seconds(1)..=hours(24 * 7);
        /// Connects to a member at once: one that has just restarted pays for a handshake on each, and fifty at once
        /// would keep it from answering the first (CMAP specification, `maxConnecting`).
        connecting_max: usize as Count = 2, 1..=100;
        /// A connect with its handshake that takes longer has failed. The drivers' default.
        connect_timeout: Duration as Span = seconds(10), ms(10)..=seconds(600);
        /// Pause after a failed connect; doubled by each further one, up to `backoff_max`, and jittered.
        backoff_min: Duration as Span = ms(50), ms(1)..=seconds(600);
        /// The longest pause after a failed connect.
        backoff_max: Duration as Span = seconds(1), ms(1)..=seconds(600);
        /// Requests that wait for a connection to a member; those beyond are refused at once. One for each client of
        /// a process with as many descriptors as is usual.
        wait_queue_max: usize as Count = 20_000, 1..=1_000_000;
        /// Longest wait for a connection. Below the 30 s for which drivers select servers, so that the application
        /// learns from an error what is short.
        wait_timeout: Duration as Span = seconds(10), ms(1)..=hours(1);
        /// Longest wait for a reply. Off: an operation has `maxTimeMS` of its own for that, which also stops it on
        /// the server.
        reply_timeout: Option<Duration> as SpanOrOff = None, ms(100)..=hours(24);
    }
}

bounds! {
    /// Bounds of the two monitoring connections to each member of a set.
    MonitorLimits, MonitorSection, "monitor" {
        /// How long the server may hold a streaming hello that has no news (SDAM specification,
        /// `heartbeatFrequencyMS`).
        heartbeat_interval: Duration as Span = seconds(10), ms(500)..=seconds(300);
        /// Between two plain hellos, which keep lastWrite, clocks and the round-trip time young enough for
        /// maxStaleness. Also the pause before another attempt (SDAM specification, `minHeartbeatFrequencyMS`).
        poll_interval: Duration as Span = ms(500), ms(50)..=seconds(60);
        /// A connect or hello that takes longer has failed; a member without a hello for so long is lost.
        connect_timeout: Duration as Span = seconds(10), ms(10)..=seconds(600);
    }
}

impl PoolLimits {
    /// Connections that ordinary work leaves free for those who hold something on the server.
    pub fn reserve(&self) -> usize {
        (self.max / 8).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::MESSAGE_MAX;

    #[test]
    fn the_message_limit_is_the_one_of_the_wire() {
        assert_eq!(Limits::default().message_max as i64, MESSAGE_MAX as i64);
    }

    #[test]
    fn a_pool_keeps_an_eighth_and_at_least_one() {
        let reserve = |max| PoolLimits { max, ..PoolLimits::default() }.reserve();
        assert_eq!((reserve(2), reserve(15), reserve(32)), (1, 1, 4));
    }
}
