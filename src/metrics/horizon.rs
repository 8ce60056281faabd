//! What a set's toranas share through ZooKeeper.

use std::sync::Arc;

use prometheus::IntGauge;

use super::age::Age;
use super::builder::{Builder, Group};
use super::counts::Durations;
use super::labels::HorizonWrite;
use super::table::Counters;

/// Handles on the series of one set's horizon, label `set`.
pub struct HorizonMetrics {
    /// 1 while ZooKeeper takes what is to be published.
    pub kept: IntGauge,
    /// How long clients waited until their outcome was published, seconds.
    pub waits: Durations,
    /// Attempts at writing the register.
    pub writes: Counters<HorizonWrite>,
    /// Since the register was written by this torana.
    pub age: Arc<Age>,
    group: Group,
}

impl HorizonMetrics {
    pub(super) fn new(set: &str) -> HorizonMetrics {
        let mut builder = Builder::new(&[("set", set)]);
        HorizonMetrics {
            kept: builder.gauge("torana_horizon_kept", "1 while ZooKeeper takes what is to be published"),
            waits: builder.histogram(
                "torana_publish_seconds",
                "How long outcomes on sequential collections waited until they were published",
            ),
            writes: builder.counters(
                "torana_horizon_writes_total",
                "Attempts at writing the set's horizon in ZooKeeper",
            ),
            age: builder
                .age("torana_horizon_age_seconds", "Time since this torana has written the set's horizon"),
            group: builder.finish(),
        }
    }

    /// What the registry collects them as.
    pub(super) fn group(&self) -> Group {
        self.group.clone()
    }
}

impl std::fmt::Debug for HorizonMetrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HorizonMetrics").finish_non_exhaustive()
    }
}
