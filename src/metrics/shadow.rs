//! What a second set is asked, and how its answers compare.

use prometheus::IntGauge;

use super::builder::{Builder, Group};
use super::labels::{ShadowDrop, ShadowOutcome, ShadowSide};
use super::table::{Counters, Histograms};

/// Handles on the series of one set's shadow traffic, label `set`.
pub struct ShadowMetrics {
    /// Reads that both sets were asked, by what their answers came to.
    pub reads: Counters<ShadowOutcome>,
    /// Reads of the sample that came to nothing.
    pub dropped: Counters<ShadowDrop>,
    /// How long both sets took for the same reads.
    pub seconds: Histograms<ShadowSide>,
    /// 1 while the second set answers.
    pub up: IntGauge,
    /// Connections to the second set, those being made included.
    pub connections: IntGauge,
    /// How many there may be.
    pub connections_limit: IntGauge,
    /// Bytes of reads that wait for the second set, or for its answer to be compared.
    pub queue_bytes: IntGauge,
    /// How many there may be.
    pub queue_limit_bytes: IntGauge,
    group: Group,
}

impl ShadowMetrics {
    pub(super) fn new(set: &str) -> ShadowMetrics {
        let mut builder = Builder::new(&[("set", set)]);
        ShadowMetrics {
            reads: builder.counters(
                "torana_shadow_reads_total",
                "Reads that the shadow's target was asked too, by how its answers compare",
            ),
            dropped: builder.counters(
                "torana_shadow_dropped_total",
                "Reads of the shadow's sample that were not asked or not compared",
            ),
            seconds: builder.sparse_histograms(
                "torana_shadow_read_seconds",
                "How long the set and the shadow's target took for the same reads",
            ),
            up: builder.gauge("torana_shadow_up", "1 while the shadow's target answers"),
            connections: builder
                .gauge("torana_shadow_connections", "Connections to the shadow's target, or attempts at one"),
            connections_limit: builder.gauge(
                "torana_shadow_connections_limit",
                "Connections that there may be to the shadow's target",
            ),
            queue_bytes: builder
                .gauge("torana_shadow_queue_bytes", "Bytes of reads that wait for the shadow's target"),
            queue_limit_bytes: builder.gauge(
                "torana_shadow_queue_limit_bytes",
                "Bytes of reads that may wait for the shadow's target",
            ),
            group: builder.finish(),
        }
    }

    /// What the registry collects them as.
    pub(super) fn group(&self) -> Group {
        self.group.clone()
    }
}

impl std::fmt::Debug for ShadowMetrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShadowMetrics").finish_non_exhaustive()
    }
}
