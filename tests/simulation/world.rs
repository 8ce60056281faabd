//! What is really so: the members' processes, the set's configurations, and who must have noticed a fault.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::node::Node;

/// How long after a fault has ended its member may still fail clients: the monitors' and the pool's pauses, and the
/// time-outs of what hung meanwhile.
const GRACE: Duration = Duration::from_secs(4);
/// A fault that has not ended yet.
const FAR: Duration = Duration::from_secs(1_000_000);

/// One way over the network.
pub const LATENCY: Duration = Duration::from_millis(1);

/// A member in a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    pub id: i64,
    pub port: u16,
}

/// The set.
pub struct Cluster {
    pub nodes: BTreeMap<u16, Node>,
    pub configs: Vec<Vec<Entry>>,
    pub term: u64,
    pub last_process: u64,
}

/// One run's truth, its trace, and what went wrong.
pub struct World {
    start: Instant,
    cluster: Mutex<Cluster>,
    trace: Option<Mutex<Vec<String>>>,
    prints: bool,
    violations: Mutex<Vec<String>>,
}

impl World {
    /// Members on ports 1 to `count`; the first is primary. `keeps_trace` costs time.
    pub fn new(count: u16, keeps_trace: bool, prints: bool) -> Arc<World> {
        let start = Instant::now();
        let entry = |port: u16| Entry { id: i64::from(port), port };
        let config: Vec<Entry> = (1..=count).map(entry).collect();
        let node = |port| (port, Node::new(port, u64::from(port), start + GRACE));
        let mut nodes: BTreeMap<u16, Node> = (1..=count).map(node).collect();
        nodes.values_mut().take(1).for_each(|first| first.term = Some(1));
        let cluster = Cluster { nodes, configs: vec![config], term: 1, last_process: u64::from(count) };
        Arc::new(World {
            start,
            cluster: Mutex::new(cluster),
            trace: keeps_trace.then(Mutex::default),
            prints,
            violations: Mutex::default(),
        })
    }

    pub fn cluster(&self) -> MutexGuard<'_, Cluster> {
        self.cluster.lock().unwrap()
    }

    /// Reads a node. One that never was counts as dead.
    pub fn look<T>(&self, port: u16, look: impl FnOnce(&Node) -> T) -> Option<T> {
        self.cluster().nodes.get(&port).map(look)
    }

    /// Changes a node, and wakes all who wait for a change of it.
    pub fn change<T>(&self, port: u16, change: impl FnOnce(&mut Node) -> T) -> T {
        let mut cluster = self.cluster();
        let node = cluster.nodes.get_mut(&port).unwrap();
        let result = change(node);
        node.close_dead_wires();
        node.changed.notify_waiters();
        result
    }

    /// Returns once `condition` holds of a node.
    pub async fn until(&self, port: u16, condition: impl Fn(&Node) -> bool) {
        let Some(changed) = self.look(port, |node| node.changed.clone()) else { return };
        loop {
            // Before the look: a change between the two must not pass unheard.
            let next = changed.notified();
            if self.look(port, &condition).unwrap_or(true) {
                return;
            }
            next.await;
        }
    }

    /// Returns once the network has lost all that a node says for so long.
    pub async fn until_silent(&self, port: u16, long: Duration) {
        loop {
            self.until(port, |node| node.is_cut).await;
            if timeout(long, self.until(port, |node| !node.is_cut)).await.is_err() {
                return;
            }
        }
    }

    /// From now on a fault of this member is no surprise.
    pub fn disturb(&self, port: u16) {
        self.change(port, |node| node.disturbed_until = Instant::now() + FAR);
    }

    /// Its fault has ended; the time until it must be forgotten begins.
    pub fn calm(&self, port: u16) {
        self.change(port, |node| node.disturbed_until = Instant::now() + GRACE);
    }

    /// Whether a fault that a client saw between `since` and now may come from the member.
    pub fn is_excused(&self, port: u16, since: Instant) -> bool {
        self.look(port, |node| node.disturbed_until >= since).unwrap_or(true)
    }

    /// Writes a line of the trace.
    pub fn note(&self, text: impl FnOnce() -> String) {
        let Some(trace) = &self.trace else { return };
        let line = format!("{:>9.3} {}", self.start.elapsed().as_secs_f64(), text());
        if self.prints {
            println!("{line}");
        }
        trace.lock().unwrap().push(line);
    }

    /// An invariant does not hold.
    pub fn violated(&self, text: String) {
        self.note(|| format!("VIOLATION: {text}"));
        let text = format!("at {:.3} s: {text}", self.start.elapsed().as_secs_f64());
        self.violations.lock().unwrap().push(text);
    }

    /// Holds what must hold.
    pub fn check(&self, holds: bool, text: impl FnOnce() -> String) {
        if !holds {
            self.violated(text());
        }
    }

    pub fn violations(&self) -> Vec<String> {
        self.violations.lock().unwrap().clone()
    }

    pub fn trace(&self) -> Vec<String> {
        self.trace.iter().flat_map(|trace| trace.lock().unwrap().clone()).collect()
    }
}

impl Cluster {
    pub fn newest(&self) -> &Vec<Entry> {
        self.configs.last().unwrap()
    }

    /// The nodes of the newest configuration that can talk.
    pub fn able(&self) -> Vec<u16> {
        let passable = |port: &u16| self.nodes[port].is_passable();
        self.newest().iter().map(|entry| entry.port).filter(passable).collect()
    }

    /// Who has won the newest election, if it can talk.
    pub fn primary(&self) -> Option<u16> {
        self.able().into_iter().find(|port| self.nodes[port].term == Some(self.term))
    }
}
