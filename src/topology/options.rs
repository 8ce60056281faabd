//! What a topology is started with.

use std::time::Duration;

use super::address::HostPort;

/// How to discover and monitor a set. [`TopologyOptions::new`] gives the defaults.
#[derive(Debug, Clone)]
pub struct TopologyOptions {
    /// Where to begin; any one live seed suffices.
    pub seeds: Vec<HostPort>,
    /// The name that the set must have (`replicaSet` of a URI).
    pub set_name: Option<String>,
    /// Exactly the first seed, whatever it is (`directConnection` of a URI).
    pub direct: bool,
    /// Bounds connecting and each answer; a member silent for so long is lost.
    pub connect_timeout: Duration,
    /// From one polled hello to the next; at most half of `connect_timeout` is used.
    pub poll_interval: Duration,
    /// `maxAwaitTimeMS` of the streamed hello: a server without changes pushes that often.
    pub await_time: Duration,
    /// Start of the monitors' jitter. The same seed and the same answers give the same topology.
    pub jitter_seed: u64,
}

impl TopologyOptions {
    /// Defaults: 10 s to connect, polls every 500 ms, pushes every 10 s (what drivers do).
    pub fn new(seeds: Vec<HostPort>) -> TopologyOptions {
        TopologyOptions {
            seeds,
            set_name: None,
            direct: false,
            connect_timeout: Duration::from_secs(10),
            poll_interval: Duration::from_millis(500),
            await_time: Duration::from_secs(10),
            jitter_seed: rand::random(),
        }
    }
}
