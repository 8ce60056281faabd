//! One mongod: its process, its role, its locks and transactions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};

use tokio::sync::Notify;
use tokio::time::Instant;
use torana::command::TransactionId;

use crate::wire::Wire;

/// Session and number.
pub type Transaction = (u8, i64);

/// As torana knows it.
pub fn transaction_id((session, number): Transaction) -> TransactionId {
    TransactionId { session: [session; 16], number }
}

/// Not primary any more, or never was.
pub const NOT_WRITABLE_PRIMARY: i64 = 10107;
/// The primary stepped down in the middle.
pub const INTERRUPTED_BY_STEP_DOWN: i64 = 11602;
/// Ended by killOp.
pub const INTERRUPTED: i64 = 11601;
/// Going down.
pub const SHUTDOWN_IN_PROGRESS: i64 = 91;
pub const TRANSACTION_TOO_OLD: i64 = 225;
pub const WRITE_CONFLICT: i64 = 112;
pub const NO_SUCH_TRANSACTION: i64 = 251;

/// What one member's process is doing.
pub struct Node {
    pub port: u16,
    pub is_alive: bool,
    /// Stopped (SIGSTOP): accepts, and answers nothing.
    pub is_frozen: bool,
    /// The network loses everything; what waits is sent again when it is back.
    pub is_cut: bool,
    /// Was told to end: answers everything with 91.
    pub is_stopping: bool,
    /// Which process; never the same again.
    pub process: u64,
    /// Its topologyVersion's.
    pub counter: i64,
    /// Index of the last configuration that reached it.
    pub config: usize,
    /// The election that it believes to have won.
    pub term: Option<u64>,
    /// How often it has stepped down.
    pub step_downs: u64,
    /// Documents held by transactions.
    pub locks: BTreeMap<u8, Transaction>,
    pub open: BTreeSet<Transaction>,
    pub committed: BTreeSet<Transaction>,
    /// Each session's newest transaction.
    pub newest: BTreeMap<u8, i64>,
    /// Wakes whoever waits for a change.
    pub changed: Arc<Notify>,
    pub wires: Vec<Weak<Wire>>,
    /// Monitoring connections so far.
    pub probes: u64,
    /// The last of them that broke.
    pub broken_probe: u64,
    pub disturbed_until: Instant,
}

impl Node {
    pub fn new(port: u16, process: u64, disturbed_until: Instant) -> Node {
        Node {
            port,
            is_alive: true,
            is_frozen: false,
            is_cut: false,
            is_stopping: false,
            process,
            counter: 1,
            config: 0,
            term: None,
            step_downs: 0,
            locks: BTreeMap::new(),
            open: BTreeSet::new(),
            committed: BTreeSet::new(),
            newest: BTreeMap::new(),
            changed: Arc::default(),
            wires: Vec::new(),
            probes: 0,
            broken_probe: 0,
            disturbed_until,
        }
    }

    /// Whether bytes pass in both directions, and are answered.
    pub fn is_passable(&self) -> bool {
        self.is_alive && !self.is_frozen && !self.is_cut
    }

    /// Whether connections to `process` are dead, as far as the other side can see.
    pub fn has_ended(&self, process: u64) -> bool {
        !self.is_cut && (!self.is_alive || self.process != process)
    }

    /// The process ends, and with it connections, locks and transactions.
    pub fn crash(&mut self) {
        (self.is_alive, self.is_frozen, self.is_stopping) = (false, false, false);
        self.lose_role();
    }

    /// Another process begins.
    pub fn start(&mut self, process: u64) {
        (self.is_alive, self.process, self.counter) = (true, process, 1);
    }

    /// Transactions end with the primary's office; connections live.
    pub fn lose_role(&mut self) {
        self.term = None;
        self.counter += 1;
        self.step_downs += 1;
        self.locks.clear();
        self.open.clear();
    }

    /// Ends a transaction, and lets go what it holds.
    pub fn end(&mut self, transaction: Transaction) -> bool {
        self.locks.retain(|_, holder| *holder != transaction);
        self.open.remove(&transaction)
    }

    pub fn close_dead_wires(&mut self) {
        let mut wires = std::mem::take(&mut self.wires);
        wires.retain(|wire| wire.upgrade().is_some_and(|wire| !wire.is_closed_by_client()));
        for wire in wires.iter().filter_map(Weak::upgrade).filter(|wire| self.has_ended(wire.process)) {
            wire.close_by_server();
        }
        self.wires = wires;
    }
}
