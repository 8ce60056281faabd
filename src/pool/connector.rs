//! The task that makes connections: two at a time, as many as are waited for, at the pace that failures allow.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};

use super::backoff::Backoff;
use super::demand::Demand;
use super::shared::{Availability, Pooled, Shared};
use super::{CloseReason, Connect, ConnectError};

type Attempt<T> = (Duration, Result<T, ConnectError>);

/// Whoever changes what it decides by (a waiter comes, a connection goes, the pool is cleared) wakes it.
pub(super) struct Connector<C: Connect> {
    shared: Arc<Shared<C>>,
    attempts: JoinSet<Attempt<C::Connection>>,
    /// The generation that `attempts` are for.
    generation: u64,
    backoff: Backoff,
    /// No connect begins before, because one failed.
    retry_at: Option<Instant>,
    failure: Arc<str>,
}

impl<C: Connect> Connector<C> {
    pub(super) fn new(shared: Arc<Shared<C>>) -> Self {
        let options = &shared.options;
        Connector {
            backoff: Backoff::new(options.backoff_min, options.backoff_max, options.jitter_seed),
            attempts: JoinSet::new(),
            generation: shared.generation(),
            retry_at: None,
            failure: "".into(),
            shared,
        }
    }

    /// Ends when the pool is closed. Connects under way are dropped then.
    pub(super) async fn run(mut self) {
        while self.step() {
            let retry_at = self.retry_at;
            let retry = async move {
                match retry_at {
                    Some(at) => sleep_until(at).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                biased; // one seed, one course of events
                () = self.shared.wake_connector.notified() => {}
                Some(attempt) = self.attempts.join_next() => self.end_attempt(attempt),
                () = retry => self.end_backoff(),
            }
        }
    }

    /// Acts on what has changed. False when the pool is closed.
    fn step(&mut self) -> bool {
        let paused = {
            let mut state = self.shared.state();
            if self.generation != self.shared.generation() {
                // What is under way would come in stale, and may hang on a member that is gone.
                self.generation = self.shared.generation();
                self.attempts = JoinSet::new();
                if matches!(state.availability, Availability::Paused(_)) && self.retry_at.is_none() {
                    self.retry_at = Some(Instant::now() + self.backoff.next());
                }
            }
            if std::mem::take(&mut state.try_now) {
                self.backoff.reset();
                self.retry_at = None;
            }
            let hopeless = self.retry_at.is_some() && self.attempts.is_empty() && state.live == 0;
            match state.availability {
                Availability::Closed => return false,
                Availability::Open if hopeless => {
                    state.availability = Availability::Failing(self.failure.clone());
                    self.shared.verdict.notify_waiters();
                    false
                }
                Availability::Open | Availability::Failing(_) => false,
                Availability::Paused(_) => true,
            }
        };
        for _ in 0..self.connects(paused) {
            self.begin_attempt();
        }
        self.shared.connecting.store(self.attempts.len(), Ordering::Relaxed);
        true
    }

    fn connects(&self, paused: bool) -> usize {
        if self.retry_at.is_some() {
            return 0;
        }
        let shared = &self.shared;
        let stack = shared.stack.status();
        let demand = Demand {
            max: shared.options.max,
            connecting_max: shared.options.connecting_max,
            min_idle: shared.options.min_idle,
            size: stack.size,
            idle: stack.available + shared.reaping.load(Ordering::Relaxed),
            starved: shared.available.waiting(),
            connecting: self.attempts.len(),
            paused,
        };
        demand.connects()
    }

    fn begin_attempt(&mut self) {
        let shared = self.shared.clone();
        self.attempts.spawn(async move {
            let begun = Instant::now();
            let limit = shared.options.connect_timeout;
            let result = timeout(limit, shared.connector.connect()).await;
            (begun.elapsed(), result.unwrap_or(Err(ConnectError::TimedOut { limit })))
        });
    }

    fn end_attempt(&mut self, attempt: Result<Attempt<C::Connection>, JoinError>) {
        match attempt.unwrap_or((Duration::ZERO, Err(ConnectError::Panicked))) {
            (took, Ok(connection)) => self.succeed(connection, took),
            (took, Err(error)) => self.fail(&error, took),
        }
    }

    fn succeed(&mut self, connection: C::Connection, took: Duration) {
        self.shared.events.connected(took);
        self.backoff.reset();
        self.retry_at = None;
        let since = Instant::now();
        let expires = self.shared.options.lifetime.map(|lifetime| since + self.backoff.spread(lifetime));
        let pooled = Box::new(Pooled { connection, generation: self.generation, expires, since });
        if !self.shared.add(pooled) {
            self.shared.events.closed(CloseReason::Stale, Duration::ZERO);
        }
    }

    fn fail(&mut self, error: &ConnectError, took: Duration) {
        self.shared.events.connect_failed(error, took);
        self.failure = error.to_string().into();
        // Of two that fail together, one counts.
        if self.retry_at.is_none() {
            self.retry_at = Some(Instant::now() + self.backoff.next());
        }
    }

    fn end_backoff(&mut self) {
        self.retry_at = None;
        let mut state = self.shared.state();
        if matches!(state.availability, Availability::Failing(_)) {
            state.availability = Availability::Open;
        }
    }
}
