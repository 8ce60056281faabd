//! One member of the set, as others hold it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use super::address::HostPort;
use super::description::MemberKind;
use super::hello_cell::HelloCell;
use super::requests::Requests;

/// `config_id` when the configuration is not known. Real ids are not negative.
const NO_ID: i64 = -1;

/// A member. It stays valid after the member was removed from the set; its hello is then lost for good.
#[derive(Debug)]
pub struct Member {
    /// Its name; [`HostPort::spelled`] is as the set's configuration spells it.
    pub name: HostPort,
    /// Its newest hello.
    pub hello: HelloCell,
    kind: AtomicU8,
    config_id: AtomicI64,
    operation_time: AtomicU64,
    monitor_failures: AtomicU64,
    requests: Arc<Requests>,
}

impl Member {
    pub(crate) fn new(name: HostPort, fresh_for: Duration) -> Member {
        let requests = Arc::new(Requests::default());
        Member {
            name,
            hello: HelloCell::new(requests.clone(), fresh_for),
            kind: AtomicU8::new(MemberKind::Unknown as u8),
            config_id: AtomicI64::new(NO_ID),
            operation_time: AtomicU64::new(0),
            monitor_failures: AtomicU64::new(0),
            requests,
        }
    }

    /// What it counts as now: what it says of itself, but unknown while it is lost or claims an older election.
    pub fn kind(&self) -> MemberKind {
        MemberKind::from_u8(self.kind.load(Ordering::Acquire))
    }

    /// Its `_id` in the configuration, which stays when it is renamed; `None` if the configuration was refused.
    pub fn config_id(&self) -> Option<i64> {
        Some(self.config_id.load(Ordering::Acquire)).filter(|id| *id != NO_ID)
    }

    /// The greatest `operationTime` that it has shown a monitor: seconds in the upper half, increment in the lower.
    pub fn operation_time(&self) -> Option<u64> {
        Some(self.operation_time.load(Ordering::Acquire)).filter(|time| *time != 0)
    }

    /// How often its monitor lost it, or tried in vain to reach it.
    pub fn monitor_failures(&self) -> u64 {
        self.monitor_failures.load(Ordering::Relaxed)
    }

    /// Has the monitor ask for a hello at once. At most one is in flight; requests meanwhile are one more together.
    pub fn request_check(&self) {
        self.requests.check();
    }

    pub(super) fn requests(&self) -> &Arc<Requests> {
        &self.requests
    }

    pub(super) fn set_kind(&self, kind: MemberKind) {
        self.kind.store(kind as u8, Ordering::Release);
    }

    pub(super) fn monitor_failed(&self) {
        self.monitor_failures.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn set_config_id(&self, id: Option<i64>) {
        self.config_id.store(id.unwrap_or(NO_ID), Ordering::Release);
    }

    pub(super) fn saw_operation_time(&self, time: Option<u64>) {
        self.operation_time.fetch_max(time.unwrap_or(0), Ordering::AcqRel);
    }
}
