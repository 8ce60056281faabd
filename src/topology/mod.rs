//! The replica set: who its members are, and what each says of itself.
//!
//! [`Topology::start`] spawns a driver task, which owns the sans-IO `SetState`, and two monitoring connections for
//! each member. Hello replies flow `probe -> monitor -> driver -> SetState`, and from the driver into each member's
//! [`HelloCell`], from which clients' hellos are answered. This module knows neither clients nor pools: it tells
//! their owners by [`TopologyEvent`]s.

mod address;
mod description;
mod dial;
mod driver;
mod elections;
mod event;
mod handle;
mod hello_cell;
mod hello_copy;
mod member;
mod membership;
mod monitor;
mod names;
mod noted;
mod options;
mod pace;
mod ports;
mod probe;
mod probe_error;
mod probe_reply;
mod requests;
mod set_config;
mod set_state;
mod shared;

pub use address::{AddressError, DEFAULT_PORT, HostPort};
pub use description::{DescriptionError, ElectionId, MemberKind, ServerDescription, TopologyVersion};
pub use dial::{Dial, DialError, TcpDial};
pub use event::{Loss, TopologyEvent};
pub use handle::Topology;
pub use hello_cell::HelloCell;
pub use hello_copy::HelloCopy;
pub use member::Member;
pub use names::GroupNames;
pub use options::TopologyOptions;
pub use ports::{Assignment, PortError, PortMap, PortOptions, PortOverride};
pub use set_state::PrimaryChange;
