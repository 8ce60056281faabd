//! What changed, for those who keep listeners and pools.

use std::sync::Arc;

use super::member::Member;
use super::probe_error::ProbeError;
use super::set_state::PrimaryChange;

/// Why a member is lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// As a text that follows the member's name.
    pub cause: String,
    /// It is silent, and its connections are open: what is in flight on them may never end.
    pub is_silent: bool,
}

impl From<String> for Loss {
    fn from(cause: String) -> Loss {
        Loss { cause, is_silent: false }
    }
}

impl From<&ProbeError> for Loss {
    fn from(error: &ProbeError) -> Loss {
        Loss { cause: error.to_string(), is_silent: matches!(error, ProbeError::TimedOut { .. }) }
    }
}

/// A change of the set. Before an event is sent, `Topology::members` and the members' hellos show what it says.
#[derive(Debug, Clone)]
pub enum TopologyEvent {
    /// A new member. It needs a listener and a pool; it has answered only once `MemberRecovered` follows.
    MemberAdded(Arc<Member>),
    /// No longer a member: its listener and pool close.
    MemberRemoved(Arc<Member>),
    /// The monitor lost it: its pool is cleared, its listener answers no hello.
    MemberLost {
        /// Who.
        member: Arc<Member>,
        /// Why.
        loss: Loss,
    },
    /// It answers: for the first time, or again.
    MemberRecovered(Arc<Member>),
    /// Another process answers under its name: connections to the old one are dead.
    ServerRestarted(Arc<Member>),
    /// Another member is primary, or none.
    PrimaryChanged(PrimaryChange),
}
