//! The replica set: who its members are, and what each says of itself.

mod names;

pub use names::GroupNames;
