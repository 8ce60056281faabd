//! All metrics of one member of one set.

use std::fmt;

use super::builder::{Builder, Group};
use super::client::ClientMetrics;
use super::pool::{OrphanMetrics, PoolMetrics};
use super::topology::TopologyMetrics;
use super::traffic::TrafficMetrics;

/// Handles on the series of one member, labels `set` and `member`.
///
/// Gauges that several owners share (a member's listeners in several groups, its pools for several applications)
/// are moved with `inc`, `dec`, `add` and `sub`, never `set`, so that they add up.
pub struct MemberMetrics {
    set: String,
    member: String,
    /// Connections of clients.
    pub clients: ClientMetrics,
    /// Messages and operations.
    pub traffic: TrafficMetrics,
    /// Connections to the member.
    pub pool: PoolMetrics,
    /// Exchanges whose client left.
    pub orphans: OrphanMetrics,
    /// What the monitors see.
    pub topology: TopologyMetrics,
    group: Group,
}

impl MemberMetrics {
    pub(super) fn new(set: &str, member: &str) -> MemberMetrics {
        let mut builder = Builder::new(&[("set", set), ("member", member)]);
        MemberMetrics {
            set: set.to_owned(),
            member: member.to_owned(),
            clients: ClientMetrics::new(&mut builder),
            traffic: TrafficMetrics::new(&mut builder),
            pool: PoolMetrics::new(&mut builder),
            orphans: OrphanMetrics::new(&mut builder),
            topology: TopologyMetrics::new(&mut builder),
            group: builder.finish(),
        }
    }

    /// The set's name, as the series carry it.
    pub fn set(&self) -> &str {
        &self.set
    }

    /// The member's name, as the series carry it.
    pub fn member(&self) -> &str {
        &self.member
    }

    /// What the registry collects them as.
    pub(super) fn group(&self) -> Group {
        self.group.clone()
    }
}

impl fmt::Debug for MemberMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemberMetrics({} of {})", self.member, self.set)
    }
}
