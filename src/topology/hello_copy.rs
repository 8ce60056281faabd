//! One hello reply of a server, kept to answer clients from.

use std::time::Duration;

use tokio::time::Instant;

use super::description::{ServerDescription, TopologyVersion};

/// The newest hello of a server, as it sent it.
#[derive(Debug, Clone)]
pub struct HelloCopy {
    /// The reply's document, byte for byte.
    pub document: Vec<u8>,
    /// The document, read.
    pub description: ServerDescription,
    /// Whether it answers the legacy command (`ismaster` instead of `isWritablePrimary`): true only for servers that
    /// do not know `hello`.
    pub legacy: bool,
    /// When it was asked for; `None` if the server pushed it, which it may have done long before it was read.
    pub asked: Option<Instant>,
    /// When it arrived.
    pub received: Instant,
    /// The server's round-trip time, smoothed (EWMA, alpha 0.2); zero before the first measurement.
    pub round_trip: Duration,
}

impl HelloCopy {
    /// The process and its last state change; absent from servers before 4.4.
    pub fn topology_version(&self) -> Option<TopologyVersion> {
        self.description.topology_version
    }

    /// Whether this may take the place of `old`: never by an older state of the same process.
    pub(super) fn may_replace(&self, old: &HelloCopy) -> bool {
        match (self.topology_version(), old.topology_version()) {
            (Some(new), Some(old)) => !old.is_later_in_process(&new),
            _ => true,
        }
    }
}
