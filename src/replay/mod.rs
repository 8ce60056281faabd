//! Captured traffic, replayed as a load test: `torana replay`.
//!
//! ```text
//! capture -> source -> planner -> player -> judge -> report
//!            (blocks)  (jobs)     (sockets) (figures)
//! ```
//!
//! - [`source`] reads the capture block by block, and passes over what is damaged.
//! - [`planner`] decides for each request whether it is sent ([`plan`], [`transactions`]), on what it has to wait
//!   for ([`touch`], [`order`]), what it raced with ([`races`]), and joins it with its recorded reply.
//! - [`player`] sends each job when it is due ([`schedule`]), made to fit this run ([`remap`]), to the member that stands
//!   for the captured one ([`target`]).
//! - [`judge`] measures ([`stats`]), compares ([`compare`]) and counts ([`scorecard`]), by query [`shape`].
//! - [`report`] shows it.
//!
//! Three threads, one for each arrow's end, with bounded queues between them: memory does not grow with the capture. Planner
//! and player decide nothing by the clock of the machine but what is due; all rules are pure functions beside them.

pub mod answer;
pub mod compare;
pub mod filter;
mod hash;
pub mod job;
pub mod judge;
pub mod link;
pub mod order;
pub mod plan;
pub mod planner;
pub mod player;
pub mod poller;
pub mod progress;
pub mod races;
pub mod recent;
pub mod redacted;
pub mod remap;
pub mod report;
pub mod run;
pub mod schedule;
pub mod scorecard;
pub mod shape;
pub mod source;
pub mod stats;
pub mod target;
pub mod touch;
pub mod transactions;
pub mod upserted;
pub mod view;

pub use filter::Filter;
pub use report::Report;
pub use run::{Options, ReplayError, run};
pub use schedule::Speed;
