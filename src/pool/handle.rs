//! The pool as its callers see it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::awaiting::{AwaitingPermit, extra_lane};
use super::connector::Connector;
use super::reaper::reap_until_closed;
use super::shared::Shared;
use super::wait::check_out;
use super::{Checkout, CheckoutError, Connect, OptionsError, PoolEvents, PoolOptions, Status};

/// What the work means to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Holds nothing on the server yet: leaves [`PoolOptions::reserve`] connections to others.
    Ordinary,
    /// Others may wait on the server for what this work lets go (a commit, a killCursors, ...): may use the reserve.
    Relief,
}

/// The connections to one member. Clones are one pool; when the last is dropped, the pool closes.
pub struct Pool<C: Connect>(Arc<Handle<C>>);

struct Handle<C: Connect> {
    shared: Arc<Shared<C>>,
}

impl<C: Connect> Pool<C> {
    /// An empty pool, with its two tasks on the current tokio runtime. Panics outside of one.
    pub fn new(
        options: PoolOptions,
        connector: C,
        events: Arc<dyn PoolEvents>,
    ) -> Result<Self, OptionsError> {
        options.validate()?;
        let connector = Arc::new(connector);
        let extra = extra_lane(&options).map(|lane| {
            let places = lane.max;
            start(Shared::new(lane, places, connector.clone(), events.clone(), None))
        });
        let places = options.max - options.reserve();
        let shared = start(Shared::new(options, places, connector, events, extra));
        Ok(Pool(Arc::new(Handle { shared })))
    }

    /// An idle connection, if there is one and nobody waits for it. Does not allocate.
    pub fn try_check_out(&self, class: Class) -> Option<Checkout<C>> {
        let shared = &self.0.shared;
        let object = shared.take_idle(class, Instant::now())?;
        Some(Checkout::begin(shared, object, class, None, Duration::ZERO))
    }

    /// A connection: an idle one at once, else the first that is returned or newly made, in the order of asking.
    /// Ends at `deadline` or after the pool's own limit, whichever is earlier. Does not allocate.
    ///
    /// Cancel safe: a dropped call leaves the queue, and what was meant for it goes to the next.
    pub fn check_out(
        &self,
        class: Class,
        deadline: Option<Instant>,
    ) -> impl Future<Output = Result<Checkout<C>, CheckoutError>> + Send {
        check_out(&self.0.shared, class, None, deadline)
    }

    /// A connection for the awaiting operation that `permit` was given to; the permit goes back with the connection.
    /// Otherwise as [`check_out`](Self::check_out) with [`Class::Ordinary`].
    ///
    /// Cancel safe: a dropped call leaves the queue and gives the permit back.
    pub fn check_out_awaiting(
        &self,
        permit: AwaitingPermit<C>,
        deadline: Option<Instant>,
    ) -> impl Future<Output = Result<Checkout<C>, CheckoutError>> + Send {
        let shared = self.0.shared.extra.as_ref().unwrap_or(&self.0.shared);
        check_out(shared, Class::Ordinary, Some(permit), deadline)
    }

    /// A place for an awaiting operation, if one is free and nobody waits for it. Without one, slice the operation.
    pub fn try_awaiting(&self) -> Option<AwaitingPermit<C>> {
        AwaitingPermit::try_new(&self.0.shared)
    }

    /// A place for an awaiting operation, in the order of asking. No limit of time: bound it from outside.
    ///
    /// Cancel safe: a dropped call leaves the queue.
    pub async fn awaiting(&self) -> Result<AwaitingPermit<C>, CheckoutError> {
        AwaitingPermit::wait(&self.0.shared).await
    }

    /// Counts the clears. A connection of an earlier generation is stale.
    pub fn generation(&self) -> u64 {
        self.0.shared.generation()
    }

    /// Makes every connection stale: idle ones are closed at once, those in use when they come back. Who waits goes
    /// on waiting, for a new one.
    pub fn clear(&self, cause: &str) {
        self.0.lanes().for_each(|shared| shared.clear());
        self.0.shared.events.cleared(cause);
    }

    /// [`clear`](Self::clear), unless a clear has happened since `generation`. True if it cleared. So one dead member
    /// that breaks fifty exchanges is cleared once, and connections made since then live.
    pub fn clear_generation(&self, generation: u64, cause: &str) -> bool {
        let cleared = self.0.lanes().filter(|shared| shared.clear_generation(generation)).count() > 0;
        if cleared {
            self.0.shared.events.cleared(cause);
        }
        cleared
    }

    /// The member is known to be unreachable: clears the pool, and until [`resume`](Self::resume) or a connect that
    /// succeeds (one is tried now and then) every checkout fails at once, those that wait now included.
    pub fn pause(&self, cause: &str) {
        let text: Arc<str> = cause.into();
        self.0.lanes().for_each(|shared| shared.pause(&text));
    }

    /// The member answers again: connects without waiting for the end of a backoff.
    pub fn resume(&self) {
        self.0.lanes().for_each(|shared| shared.resume());
    }

    /// Ends the pool: who waits fails, idle connections are closed, those in use when they come back.
    pub fn close(&self) {
        self.0.lanes().for_each(|shared| shared.close());
    }

    /// The pool in numbers.
    pub fn status(&self) -> Status {
        let shared = &self.0.shared;
        let mut status = shared.status();
        if let Some(extra) = &shared.extra {
            status.add_lane(&extra.status());
        }
        status
    }
}

impl<C: Connect> Handle<C> {
    fn lanes(&self) -> impl Iterator<Item = &Arc<Shared<C>>> {
        std::iter::once(&self.shared).chain(&self.shared.extra)
    }
}

impl<C: Connect> Drop for Handle<C> {
    fn drop(&mut self) {
        self.lanes().for_each(|shared| shared.close());
    }
}

impl<C: Connect> Clone for Pool<C> {
    fn clone(&self) -> Self {
        Pool(self.0.clone())
    }
}

impl<C: Connect> fmt::Debug for Pool<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pool").field(&self.status()).finish()
    }
}

fn start<C: Connect>(shared: Shared<C>) -> Arc<Shared<C>> {
    let shared = Arc::new(shared);
    tokio::spawn(Connector::new(shared.clone()).run());
    tokio::spawn(reap_until_closed(shared.clone()));
    shared
}
