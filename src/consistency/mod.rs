//! Consistency levels: what a tagged collection promises its clients beyond what they ask for.
//!
//! `causal` needs nothing but the server's own read and write concerns. Every time that was acknowledged or returned
//! through this torana raises the collection's floor ([`Floors`]), and every read is sent at that floor ([`edit`]), so
//! the server does the waiting, on whatever member the client reads from. `sequential` and `linearizable` publish those
//! times to all toranas of the set first ([`Horizon`]). Nothing here knows a client's socket.

mod concerns;
mod edit;
mod floors;
pub mod horizon;
mod pipeline;
mod role;
mod tagging;
mod tags;
mod times;

pub use concerns::takes_snapshot;
pub use edit::{Edit, edit};
pub use floors::{Floors, Touched};
pub use horizon::{Horizon, Unpublished};
pub use pipeline::{is_metadata, joined};
pub use role::Role;
pub use tagging::Tagging;
pub use tags::Tags;
pub use times::{Times, cluster_time};
