//! What a session is handed: the listener that it came in on, the member behind it, and what all share.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Weak};

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::Duration;

use super::buffer::BufferPool;
use super::capturing::Capturing;
use super::count::Count;
use super::cursors::AwaitingCursors;
use super::fail_points::FailPoints;
use super::hello;
use super::joins::Joins;
use super::orphan;
use super::pools::Pools;
use super::reaper::Reaping;
use super::registry::Registry;
use super::request_memory::RequestMemory;
use super::transactions::Transactions;
use crate::config::Limits;
use crate::consistency::{Floors, Horizon, Tagging};
use crate::metrics::MemberMetrics;
use crate::server::Connector;
use crate::shadow::Shadow;
use crate::topology::{self, GroupNames, MemberKind, Topology};

/// The pool of a member's connections.
pub type Pool = crate::pool::Pool<Connector>;
/// A connection out of it.
pub type Checkout = crate::pool::Checkout<Connector>;

/// A share of the awaiting operations' connections.
pub type AwaitingPermit = crate::pool::AwaitingPermit<Connector>;

/// What all clients of a proxy share.
#[derive(Debug)]
pub struct Shared {
    /// Every bound.
    pub limits: Limits,
    /// Read buffers.
    pub buffers: BufferPool,
    /// The clients.
    pub registry: Registry,
    /// Memory for requests that do not fit a read buffer.
    pub request_memory: RequestMemory,
    /// Memory for replies whose clients are slow to take them.
    pub reply_memory: ReplyMemory,
    /// The capture that is being recorded.
    pub capturing: Capturing,
}

/// One replica set.
#[derive(Debug)]
pub struct Set {
    /// Its name; for a standalone or a direct connection the seed.
    pub name: String,
    /// Its open transactions.
    pub transactions: Transactions<Member>,
    /// Those that are being aborted, as nobody is left to end them.
    pub reaping: Reaping,
    /// Its members, as the monitors see them.
    pub topology: Topology,
    /// Which collections promise more than their clients ask for.
    pub tags: Arc<Tagging>,
    /// What has been told of those.
    pub floors: Floors,
    /// What has been told through any torana.
    pub horizon: Arc<Horizon>,
    /// The second set that a sample of its reads is asked of, if there is one.
    pub shadow: Option<Arc<Shadow>>,
    /// Its members that are served, each as long as it is.
    pub served: ArcSwap<Vec<Weak<Member>>>,
    /// Keeps the horizon in its register, as long as anyone holds the set: running operations outlive the listeners.
    pub _keeper: JoinSet<()>,
}

impl Set {
    /// The member that is primary, if there is one that is served.
    pub fn primary(&self) -> Option<Arc<Member>> {
        let served = self.served.load();
        let mut members = served.iter().filter_map(Weak::upgrade);
        members.find(|member| member.monitored.kind() == MemberKind::Primary)
    }
}

/// One member of a set, as the message path needs it.
pub struct Member {
    /// The name that the set's configuration has for it.
    pub name: String,
    /// Its set.
    pub set: Arc<Set>,
    /// Its connections.
    pub pools: Pools,
    /// What its monitors know.
    pub monitored: Arc<topology::Member>,
    /// Its cursors that await.
    pub cursors: AwaitingCursors,
    /// Its cursors that read more tagged collections than their getMores name.
    pub joins: Joins,
    /// A time that it was found not to have reached; 0 if there is none, or it has reached it since.
    pub missed: AtomicU64,
    /// Its fail points, as far as they are torana's.
    pub fail_points: FailPoints,
    /// How many writes run on whose clients left, of those that may.
    pub drained: Count,
    /// How many may.
    pub drained_max: usize,
    /// How many reads were ended by closing their connection lately.
    pub closes: orphan::CloseRate,
    /// Its metrics.
    pub metrics: Arc<MemberMetrics>,
}

/// One in a gauge, until dropped: an aborted session leaves none behind.
#[derive(Debug)]
pub struct Counted<'a>(&'a prometheus::IntGauge);

impl<'a> Counted<'a> {
    /// Counts one more in `gauge`.
    pub fn enter(gauge: &'a prometheus::IntGauge) -> Self {
        gauge.inc();
        Counted(gauge)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// One listener: a member, as one listener group sees it.
#[derive(Debug)]
pub struct Listener {
    /// Its number, unique in the process.
    pub id: u32,
    /// What all share.
    pub shared: Arc<Shared>,
    /// The member behind it.
    pub member: Arc<Member>,
    /// What the members are called for clients of this group.
    pub names: Arc<ArcSwap<GroupNames>>,
    /// The newest hello, rendered for this group.
    pub hello: ArcSwapOption<hello::Rendered>,
    /// The longest wait for a reply of the server, if there is a limit.
    pub reply_timeout: Option<Duration>,
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Member").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A budget of memory, in KiB, for replies too large for a usual buffer.
#[derive(Debug)]
pub struct ReplyMemory {
    semaphore: Arc<Semaphore>,
    units: u32,
}

impl ReplyMemory {
    /// `bytes` in all.
    pub fn new(bytes: usize) -> Self {
        let units = u32::try_from(bytes / 1024).unwrap_or(u32::MAX);
        ReplyMemory { semaphore: Arc::new(Semaphore::new(units as usize)), units }
    }

    /// A share of it for `length` bytes, if there is one now: never for more than there is in all.
    pub fn try_take(&self, length: usize) -> Option<OwnedSemaphorePermit> {
        let units = u32::try_from(length.div_ceil(1024)).ok()?;
        self.semaphore.clone().try_acquire_many_owned(units).ok()
    }

    /// Bytes in use.
    pub fn in_use(&self) -> usize {
        (self.units as usize).saturating_sub(self.semaphore.available_permits()) * 1024
    }
}
