//! Consistency levels: what a tagged collection promises its clients beyond what they ask for.
//!
//! `causal` needs nothing but the server's own read and write concerns. Every time that was acknowledged or returned
//! through this torana raises the collection's floor ([`Floors`]), and every read is sent at that floor ([`edit`]), so
//! the server does the waiting, on whatever member the client reads from. Nothing here knows a socket.

mod concerns;
mod edit;
mod floors;
mod pipeline;
mod role;
pub mod store;
mod tags;
mod times;

pub use edit::{Edit, edit};
pub use floors::{Floors, Touched};
pub use pipeline::{is_metadata, joined};
pub use role::Role;
pub use tags::Tags;
pub use times::{Times, cluster_time};
