//! Prometheus metrics: every family that torana has, and the handles that the rest of it bumps.
//!
//! [`Metrics`] owns a registry of its own, no global one, so that two of them can live in one test process. All that is
//! counted hangs on a member ([`MemberMetrics`], labels `set` and `member`) or on the process ([`ProcessMetrics`]).
//! Handles are resolved once; a bump is a load and a store in a cell of the thread's own, and allocates nothing after
//! the thread's first one. Label values
//! come from closed sets (members, the command table, the enums here), never from a client.
//!
//! Bumped by the proxy, the pools and the monitors; rendered by the admin endpoint. Knows nothing of any of them.

mod age;
mod builder;
mod capture;
mod client;
mod collections;
mod counts;
mod horizon;
mod labels;
mod lanes;
mod member;
mod pool;
mod process;
mod shadow;
mod table;
mod topology;
mod traffic;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus::{Registry, TextEncoder};
use tracing::error;

pub use age::Age;
pub use capture::CaptureMetrics;
pub use client::ClientMetrics;
pub use collections::{CollectionCounts, CollectionMetrics};
pub use counts::{Counter, Durations};
pub use horizon::HorizonMetrics;
pub use labels::{
    CloseReason, CollectionRead, Direction, EndReason, HorizonWrite, Label, MemberState, Observed, OrphanEnd,
    Outcome, ShadowDrop, ShadowOutcome, ShadowSide, TaggedKind, TaggedLevel,
};
pub use member::MemberMetrics;
pub use pool::{OrphanMetrics, PoolMetrics};
pub use process::ProcessMetrics;
pub use shadow::ShadowMetrics;
pub use table::{Counters, Histograms, OneOf};
pub use topology::TopologyMetrics;
pub use traffic::TrafficMetrics;

use builder::{Builder, Group};

/// Fills gauges with what they show; false when it has nothing to show any more.
type Filler = Box<dyn Fn() -> bool + Send + Sync>;

/// All metrics of one torana process.
pub struct Metrics {
    registry: Registry,
    members: Mutex<HashMap<(String, String), Arc<MemberMetrics>>>,
    fillers: Mutex<Vec<Filler>>,
    /// What belongs to the process as a whole.
    pub process: ProcessMetrics,
    /// What is captured.
    pub capture: Arc<CaptureMetrics>,
}

impl Metrics {
    /// A registry with the process's own metrics and no members.
    pub fn new() -> Arc<Metrics> {
        let mut builder = Builder::new(&[]);
        let process = ProcessMetrics::new(&mut builder);
        let capture = Arc::new(CaptureMetrics::new(&mut builder));
        let (members, fillers) = (Mutex::default(), Mutex::default());
        let metrics = Metrics { registry: Registry::new(), members, fillers, process, capture };
        metrics.register(builder.finish());
        Arc::new(metrics)
    }

    /// The metrics of `member` (`host:port`) in `set`, the same ones at every call until it is removed.
    pub fn member(&self, set: &str, member: &str) -> Arc<MemberMetrics> {
        match self.lock().entry((set.to_owned(), member.to_owned())) {
            Entry::Occupied(known) => known.get().clone(),
            Entry::Vacant(place) => {
                let metrics = Arc::new(MemberMetrics::new(set, member));
                self.register(metrics.group());
                place.insert(metrics).clone()
            }
        }
    }

    /// The metrics of what the toranas of `set` share. Called once for each set.
    pub fn horizon(&self, set: &str) -> Arc<HorizonMetrics> {
        let metrics = Arc::new(HorizonMetrics::new(set));
        self.register(metrics.group());
        metrics
    }

    /// The shadow traffic of `set`. Called once for each set that has some.
    pub fn shadow(&self, set: &str) -> Arc<ShadowMetrics> {
        let metrics = Arc::new(ShadowMetrics::new(set));
        self.register(metrics.group());
        metrics
    }

    /// The reads of `set`'s tagged collections. Called once for each set.
    pub fn collections(&self, set: &str) -> Arc<CollectionMetrics> {
        let (counted, group) = collections::of_set(set);
        self.register(group);
        counted
    }

    /// Takes the series of a member that is gone out of what is rendered. Whoever still holds its handles may go on
    /// bumping them; nothing of that shows, and a member that comes back starts from zero.
    pub fn remove_member(&self, set: &str, member: &str) {
        if let Some(metrics) = self.lock().remove(&(set.to_owned(), member.to_owned()))
            && let Err(error) = self.registry.unregister(Box::new(metrics.group()))
        {
            error!(set, member, %error, "metrics of a removed member stay visible");
        }
    }

    /// Calls `fill` before each rendering, so that gauges of what is counted elsewhere are never old; no more once it
    /// returned false. It must not block, nor call back into this.
    pub fn fill_by(&self, fill: impl Fn() -> bool + Send + Sync + 'static) {
        self.fillers.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(fill));
    }

    /// Everything in Prometheus' text format, version 0.0.4.
    pub fn render(&self) -> String {
        self.fillers.lock().unwrap_or_else(PoisonError::into_inner).retain(|fill| fill());
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_else(|error| {
            error!(%error, "metrics cannot be rendered");
            String::new()
        })
    }

    fn register(&self, group: Group) {
        if let Err(error) = self.registry.register(Box::new(group)) {
            error!(%error, "metrics will not be visible");
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(String, String), Arc<MemberMetrics>>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.lock().values()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Command;

    #[test]
    fn a_member_has_one_set_of_handles() {
        let metrics = Metrics::new();
        let first = metrics.member("rs0", "db1:27017");
        assert!(Arc::ptr_eq(&first, &metrics.member("rs0", "db1:27017")));
        assert!(!Arc::ptr_eq(&first, &metrics.member("rs1", "db1:27017")));
    }

    #[test]
    fn sets_and_members_share_families_and_never_series() {
        let metrics = Metrics::new();
        metrics.member("rs0", "db1:27017").clients.accepted.inc_by(1);
        metrics.member("rs0", "db2:27017").clients.accepted.inc_by(2);
        metrics.member("rs1", "db1:27017").clients.accepted.inc_by(3);
        let text = metrics.render();
        assert_eq!(text.matches("# TYPE torana_clients_accepted_total counter").count(), 1);
        for (set, member, count) in [("rs0", "db1", 1), ("rs0", "db2", 2), ("rs1", "db1", 3)] {
            let line =
                format!("torana_clients_accepted_total{{member=\"{member}:27017\",set=\"{set}\"}} {count}\n");
            assert!(text.contains(&line), "{line} not in {text}");
        }
    }

    #[test]
    fn a_removed_member_leaves_no_series_even_if_bumped_later() {
        let metrics = Metrics::new();
        let gone = metrics.member("rs0", "db1:27017");
        metrics.member("rs0", "db2:27017");
        metrics.remove_member("rs0", "db1:27017");
        gone.traffic.operations.inc((Command::named(b"find"), Outcome::Ok));
        gone.traffic.server_latency.observe(Command::named(b"find"), std::time::Duration::from_millis(100));
        let text = metrics.render();
        assert!(!text.contains("db1:27017"));
        assert!(text.contains("db2:27017"));
        metrics.member("rs0", "db1:27017").clients.accepted.inc();
        assert!(metrics.render().contains("accepted_total{member=\"db1:27017\",set=\"rs0\"} 1\n"));
    }

    #[test]
    fn a_command_has_no_series_before_its_first_use() {
        let metrics = Metrics::new();
        let member = metrics.member("rs0", "db1:27017");
        assert!(!metrics.render().contains("command="));
        member.traffic.operations.inc((Command::named(b"find"), Outcome::Timeout));
        let text = metrics.render();
        let series: Vec<&str> = text.lines().filter(|line| line.contains("command=")).collect();
        let wanted = "torana_operations_total\
            {command=\"find\",member=\"db1:27017\",outcome=\"timeout\",set=\"rs0\"} 1";
        assert_eq!(series, [wanted]);
    }
}
