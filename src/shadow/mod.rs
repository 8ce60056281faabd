//! Shadow traffic: a sample of the clients' reads is asked of a second set too, and the two answers are compared.
//!
//! ```text
//! session -> Shadow::take -> Pending (request, then reply) -> queue -> thread: ask, judge, count
//!            (a sample)      (one copy of each)               (bytes)
//! ```
//!
//! - [`edit`] says which commands are sent, and what is taken out of them. What is not known to be a read is not sent.
//! - [`pending`] holds a request until its reply has been written to the client, with a share of the [`budget`].
//! - [`worker`] is a thread of its own, with connections of its own ([`connection`]) to the members of the second set
//!   ([`target`]): what it does costs clients' tasks nothing but the copy.
//! - [`judge`] compares by the rules of a replay, and by what a query leaves open (`compare/leeway.rs`); what differs is asked again
//!   after a moment, and is doubted if the collection was written to meanwhile ([`writes`]).
//!
//! Clients wait for nothing here: what finds no room, or no connection, is dropped and counted. Called by the proxy; knows
//! no client.

pub mod budget;
pub mod connection;
mod connections;
pub mod edit;
pub mod judge;
pub mod pending;
pub mod rate;
pub mod target;
pub mod worker;
pub mod writes;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

pub use pending::Pending;
pub use target::Live;

use crate::capture::{Asked, Role, Selection};
use crate::config::ShadowConfig;
use crate::metrics::{ShadowDrop, ShadowMetrics};
use budget::Budget;
use pending::Read;
use writes::Writes;

/// The shadow of one set, as its clients' sessions see it.
#[derive(Debug)]
pub struct Shadow {
    core: Arc<Core>,
    reads: UnboundedSender<Read>,
    /// The other end of the queue, until the thread is there.
    receiver: Mutex<Option<UnboundedReceiver<Read>>>,
}

/// What sessions and the thread share.
#[derive(Debug)]
pub struct Core {
    /// The set whose reads they are.
    pub set: String,
    /// What is asked of whom, and its bounds.
    pub config: ShadowConfig,
    /// What is counted.
    pub metrics: Arc<ShadowMetrics>,
    /// Memory for what waits.
    pub budget: Arc<Budget>,
    /// Which collections were written to lately.
    pub writes: Writes,
    /// It is known that the second set is another one, or that it may be the same: reads are taken, or counted as lost.
    is_wanted: AtomicBool,
    /// It answers.
    is_up: AtomicBool,
    selection: Selection,
    seen: AtomicU64,
}

impl Shadow {
    /// The shadow of `set`. Takes nothing before [`Shadow::begin`].
    pub fn new(set: &str, config: ShadowConfig, metrics: Arc<ShadowMetrics>) -> Arc<Shadow> {
        let limit = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        metrics.queue_limit_bytes.set(limit(config.limits.queue_max));
        metrics.connections_limit.set(limit(config.limits.connections_max));
        let selection = Selection {
            sample: config.sample,
            databases: config.databases.clone(),
            collections: config.collections.clone(),
            commands: config.commands.clone(),
            ..Selection::default()
        };
        let core = Core {
            set: set.to_owned(),
            budget: Arc::new(Budget::new(config.limits.queue_max)),
            config,
            metrics,
            writes: Writes::default(),
            is_wanted: AtomicBool::new(false),
            is_up: AtomicBool::new(false),
            selection,
            seen: AtomicU64::new(0),
        };
        let (reads, receiver) = unbounded_channel();
        Arc::new(Shadow { core: Arc::new(core), reads, receiver: Mutex::new(Some(receiver)) })
    }

    /// Begins to look for the second set, which must not be `live`. Once; the thread ends with the last that holds this.
    pub fn begin(&self, live: Live) -> std::io::Result<()> {
        let receiver = self.receiver.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(receiver) = receiver else { return Ok(()) };
        self.core.is_wanted.store(true, Ordering::Relaxed);
        worker::start(self.core.clone(), live, receiver, self.reads.downgrade())
    }

    /// Takes the read `message`, an OP_MSG, whose reply will name `id`, if the sample has it and there is room. A member with
    /// this role was asked.
    pub fn take(self: &Arc<Self>, message: &[u8], id: i32, role: Role) -> Option<Box<Pending>> {
        let core = &self.core;
        let seen = core.seen.fetch_add(1, Ordering::Relaxed);
        // Not every n-th: an application asks in patterns, and would have the same question taken every time.
        let is_sampled = core.selection.takes_connection(seen, None, "");
        if !is_sampled || !core.is_wanted() {
            return None;
        }
        if core.selection.looks_at_requests() && !core.selection.takes_request(&Asked::of(message)) {
            return None;
        }
        if !edit::is_sent(message) {
            return None;
        }
        if !core.is_up.load(Ordering::Relaxed) {
            core.metrics.dropped.inc(ShadowDrop::NoConnection);
            return None;
        }
        match core.budget.share(message.len() + pending::BESIDE) {
            Some(share) => Some(Box::new(Pending::new(self.clone(), message, id, role, share))),
            None => {
                core.metrics.dropped.inc(ShadowDrop::QueueFull);
                None
            }
        }
    }

    /// A collection may be changed from now on; any of them, if it is not known which.
    pub fn written(&self, named: Option<(&[u8], &[u8])>) {
        self.core.writes.note(named);
    }

    /// Shows in the metrics how much waits or is being compared.
    pub fn show_queue(&self) {
        let bytes = i64::try_from(self.core.budget.used()).unwrap_or(i64::MAX);
        self.core.metrics.queue_bytes.set(bytes);
    }

    fn offer(&self, read: Read) {
        // The thread is gone at the end of the process alone.
        let _ = self.reads.send(read);
    }
}

impl Core {
    /// Counts a read that comes to nothing.
    pub fn lose(&self, why: ShadowDrop) {
        self.metrics.dropped.inc(why);
    }

    /// Whether the second set answers.
    pub fn set_up(&self, is_up: bool) {
        self.is_up.store(is_up, Ordering::Relaxed);
        self.metrics.up.set(i64::from(is_up));
    }

    /// Whether reads are to be asked at all.
    pub fn is_wanted(&self) -> bool {
        self.is_wanted.load(Ordering::Relaxed)
    }

    /// Takes nothing any more, and counts nothing.
    pub fn give_up(&self) {
        self.set_up(false);
        self.is_wanted.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
