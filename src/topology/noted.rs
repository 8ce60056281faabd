//! What clients know that a copy may not: topologyVersions that they were shown in errors, and that the member failed.
//!
//! A driver drops a hello that is older than an error's topologyVersion it has seen (SDAM specification), so after
//! an error was passed through, no hello may be answered from a copy that is older than that error. A driver whose
//! connection broke asks the member at once, and retries once: told by an old copy that all is well, it would retry on
//! the member that has just died.

use tokio::time::Instant;

use super::description::TopologyVersion;
use super::hello_copy::HelloCopy;

/// Processes remembered at once. More than two only come by when a server restarts again and again.
const PROCESSES_MAX: usize = 4;

/// What was passed to clients and has not been reached by a copy yet.
#[derive(Debug, Default)]
pub(super) struct Noted {
    ahead: Vec<(TopologyVersion, Instant)>,
    /// When a connection last broke, until a copy was asked for since.
    failed: Option<Instant>,
}

impl Noted {
    /// `version` was passed to a client while `copy` was the newest. True if the copy is behind it.
    pub(super) fn note(&mut self, version: &TopologyVersion, copy: Option<&HelloCopy>, now: Instant) -> bool {
        if let Some(copy) = copy
            && reaches(copy, version, now)
        {
            return false;
        }
        match self.ahead.iter_mut().find(|(noted, _)| noted.process_id == version.process_id) {
            Some((noted, at)) => {
                noted.counter = noted.counter.max(version.counter);
                *at = now;
            }
            None => {
                if self.ahead.len() == PROCESSES_MAX {
                    self.ahead.remove(0);
                }
                self.ahead.push((*version, now));
            }
        }
        true
    }

    /// A connection to the member broke at `now`.
    pub(super) fn fail(&mut self, now: Instant) {
        self.failed = Some(now);
    }

    /// `copy` arrived. True if it reaches all that was noted.
    pub(super) fn reached_by(&mut self, copy: &HelloCopy) -> bool {
        self.failed = self.failed.filter(|at| copy.asked.is_none_or(|asked| asked < *at));
        self.ahead.retain(|(version, at)| !reaches(copy, version, *at));
        self.ahead.is_empty() && self.failed.is_none()
    }
}

/// Whether `copy` is at least as new as `version`, seen at `at`. Two processes cannot be compared by their ids, but
/// a copy that arrived after the version was seen comes from the process that is alive.
fn reaches(copy: &HelloCopy, version: &TopologyVersion, at: Instant) -> bool {
    match copy.topology_version() {
        Some(own) if own.process_id == version.process_id => own.counter >= version.counter,
        _ => copy.received > at,
    }
}
