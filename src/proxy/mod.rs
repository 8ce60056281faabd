//! The message path: listener, client session, exchange.

mod awaiting;
mod buffer;
mod capturing;
mod client;
mod context;
pub mod count;
mod cursors;
mod end;
mod exchange;
mod exhaust;
mod fail_command;
mod fail_points;
mod hello;
mod joins;
mod lease;
mod legacy;
mod listener;
mod local;
mod names;
mod namespace;
mod notice;
mod orphan;
mod own_command;
mod pool_events;
mod pools;
mod published;
mod reaper;
mod refuse;
mod registry;
mod reply;
mod request;
mod request_memory;
pub mod roster;
mod serve;
mod session;
mod set;
mod shadowing;
mod stream;
mod tagged;
mod tap;
pub mod transactions;
mod turn;
mod unasked;
pub mod verdict;

use tokio::time::Duration;

pub use serve::{Readiness, run};
pub use turn::thread_sleeps;

/// How long a client that sent something unintelligible may take to read why it is being closed.
const LAST_WORDS_WITHIN: Duration = Duration::from_secs(1);
