//! Limits of a pool.

use std::time::Duration;

/// Two at a time (MongoDB's connection pooling specification, `maxConnecting`): a member that has just restarted pays
/// for a handshake and SCRAM on each connect, and fifty at once would keep it from answering the first.
pub const CONNECTING_MAX: usize = 2;

/// A process may hold some 20,000 descriptors, and clients need theirs; more is a slip of the pen.
const MAX_MAX: usize = 10_000;

/// Limits of a pool; [`Pool::new`](super::Pool::new) refuses those that contradict each other.
#[derive(Debug, Clone)]
pub struct PoolOptions {
    /// Connections at most, those that are being made included. At least 2, since one in eight (and at least one) is
    /// kept for those who hold something on the server.
    pub max: usize,
    /// Connections kept idle even if nobody uses them.
    pub min_idle: usize,
    /// A connection idle for this long is closed, unless `min_idle` keeps it.
    pub idle_timeout: Option<Duration>,
    /// A connection is closed between four fifths of this age and this age, so that those made together do not all
    /// end together.
    pub lifetime: Option<Duration>,
    /// A connect that takes longer has failed.
    pub connect_timeout: Duration,
    /// Connects under way at once.
    pub connecting_max: usize,
    /// The longest wait for a connection, if the caller's own deadline is not earlier.
    pub wait_timeout: Duration,
    /// Those who wait, at most; as many again if they hold something on the server.
    pub queue_max: usize,
    /// Connections beyond `max` for awaiting operations. Without them these have a share of `max`.
    pub awaiting_max: Option<usize>,
    /// The pause after a first failed connect; doubled by each further one.
    pub backoff_min: Duration,
    /// The longest pause after a failed connect.
    pub backoff_max: Duration,
    /// Start of the pool's jitter. The same seed and the same events give the same pool.
    pub jitter_seed: u64,
}

impl Default for PoolOptions {
    fn default() -> Self {
        PoolOptions {
            max: 100,
            min_idle: 0,
            idle_timeout: Some(Duration::from_secs(600)),
            lifetime: Some(Duration::from_secs(3600)),
            connect_timeout: Duration::from_secs(10),
            connecting_max: CONNECTING_MAX,
            wait_timeout: Duration::from_secs(10),
            queue_max: 20_000,
            awaiting_max: None,
            backoff_min: Duration::from_millis(50),
            backoff_max: Duration::from_secs(1),
            jitter_seed: rand::random(),
        }
    }
}

/// Limits that contradict each other. Whoever wrote the configuration is to blame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// A pool of one cannot keep a place for those who hold something on the server.
    #[error("pool max {max} is outside 2 to {MAX_MAX}")]
    Max {
        /// What was asked for.
        max: usize,
    },
    /// More idle connections than connections.
    #[error("pool min_idle {min_idle} is above max {max}")]
    MinIdle {
        /// What was asked for.
        min_idle: usize,
        /// The pool's limit.
        max: usize,
    },
    /// Extra connections for awaiting operations, but none or too many of them.
    #[error("pool awaiting_max {awaiting_max} is outside 1 to {MAX_MAX}")]
    AwaitingMax {
        /// What was asked for.
        awaiting_max: usize,
    },
    /// A limit that would let nothing through.
    #[error("pool {name} is zero")]
    Zero {
        /// The option's name.
        name: &'static str,
    },
    /// The shortest pause is longer than the longest.
    #[error("pool backoff_min {min:?} is above backoff_max {max:?}")]
    Backoff {
        /// The shortest pause.
        min: Duration,
        /// The longest pause.
        max: Duration,
    },
}

impl PoolOptions {
    /// Connections that ordinary work leaves to those who hold something on the server: one in eight, at least one.
    pub fn reserve(&self) -> usize {
        (self.max / 8).max(1)
    }

    /// Awaiting operations that may hold a connection at once. Out of `max` they get a quarter, at least one, but
    /// never the last place of ordinary work: in a pool of 2 there is none, and all are sliced.
    pub fn awaiting_budget(&self) -> usize {
        let share = (self.max / 4).max(1).min(self.max.saturating_sub(self.reserve() + 1));
        self.awaiting_max.unwrap_or(share)
    }

    pub(super) fn validate(&self) -> Result<(), OptionsError> {
        if !(2..=MAX_MAX).contains(&self.max) {
            return Err(OptionsError::Max { max: self.max });
        }
        if self.min_idle > self.max {
            return Err(OptionsError::MinIdle { min_idle: self.min_idle, max: self.max });
        }
        if let Some(awaiting_max) = self.awaiting_max
            && !(1..=MAX_MAX).contains(&awaiting_max)
        {
            return Err(OptionsError::AwaitingMax { awaiting_max });
        }
        if self.backoff_min > self.backoff_max {
            return Err(OptionsError::Backoff { min: self.backoff_min, max: self.backoff_max });
        }
        let zeros = [
            ("connecting_max", self.connecting_max == 0),
            ("queue_max", self.queue_max == 0),
            ("connect_timeout", self.connect_timeout.is_zero()),
            ("wait_timeout", self.wait_timeout.is_zero()),
            ("backoff_min", self.backoff_min.is_zero()),
            ("idle_timeout", self.idle_timeout.is_some_and(|limit| limit.is_zero())),
            ("lifetime", self.lifetime.is_some_and(|limit| limit.is_zero())),
        ];
        match zeros.into_iter().find(|(_, zero)| *zero) {
            Some((name, _)) => Err(OptionsError::Zero { name }),
            None => Ok(()),
        }
    }
}
