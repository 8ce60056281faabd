//! Load that a workload file makes up, for who has no traffic to replay yet: `torana bench`.
//!
//! ```text
//! workload -> source -> engine -> report (replay's)
//!  (TOML)   (messages)  (sockets)
//! ```
//!
//! - [`workload`] reads the file into [`template`]s, in which [`placeholder`]s are places for values.
//! - [`source`] draws operations by their weights ([`mix`]), and documents by their popularity ([`keys`]), all from one seed
//!   ([`random`]).
//! - [`engine`] sends them when they are due ([`pace`]) and measures; its sockets, histograms and scorecard are those of
//!   [`crate::replay`].
//! - [`data`] makes what a run needs on its target, and drops what it made, and nothing else.
//! - [`run`](mod@run) puts it together, and makes a [`Report`](crate::replay::Report).
//!
//! What must never happen: a write to another database than the file's, or the loss of a document that was there before.

pub mod data;
pub mod dry_run;
pub mod engine;
pub mod keys;
pub mod mix;
pub mod pace;
pub mod placeholder;
pub mod random;
mod report;
pub mod run;
pub mod source;
pub mod template;
pub mod workload;

pub use data::Allowed;
pub use run::{BenchError, Options, run};
pub use workload::Workload;
