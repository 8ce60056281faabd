//! A connection in use. How it ends decides whether the connection lives.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::shared::{Object, Pooled, Shared};
use super::{AwaitingPermit, Class, CloseReason, Connect};

/// A connection in use.
///
/// [`finish`](Self::finish) is the only way back into the pool. Dropping it, in particular by cancelling the future
/// that holds it, closes the connection: a reply that nobody has read must not meet the next client. Either way its
/// place is free at once, without waiting for anything.
#[must_use = "dropping a checkout closes its connection"]
pub struct Checkout<C: Connect> {
    object: Option<Object<C>>,
    shared: Arc<Shared<C>>,
    class: Class,
    /// Given back by its own drop.
    _awaiting: Option<AwaitingPermit<C>>,
}

impl<C: Connect> Checkout<C> {
    /// A permit of `class` must have been taken, and passes to the checkout.
    pub(super) fn begin(
        shared: &Arc<Shared<C>>,
        object: Object<C>,
        class: Class,
        awaiting: Option<AwaitingPermit<C>>,
        waited: Duration,
    ) -> Self {
        shared.events.checked_out(waited);
        Checkout { object: Some(object), shared: shared.clone(), class, _awaiting: awaiting }
    }

    /// Gives the connection back, to the oldest waiter if there is one. Only for a connection on which every reply
    /// has been read. One that has become stale or too old is closed instead.
    pub fn finish(self) {
        self.finish_at(Instant::now());
    }

    /// As [`finish`](Self::finish) for callers who know the time: the checkout ends at `now`.
    pub fn finish_at(mut self, now: Instant) {
        let Some(mut object) = self.object.take() else { return };
        let shared = &*self.shared;
        shared.events.checked_in(now.saturating_duration_since(object.since));
        if let Some(reason) = shared.age(&object, now) {
            return shared.discard(object, reason);
        }
        object.since = now;
        let generation = object.generation;
        shared.push(object);
        if generation != shared.generation() {
            // Cleared between the look and the push: the reaper may have missed it.
            shared.wake_reaper.notify_one();
        }
    }

    /// Closes the connection and says why.
    pub fn close(mut self, reason: CloseReason) {
        self.end(reason);
    }

    /// The pool's generation when this connection was made: what to hand to
    /// [`Pool::clear_generation`](super::Pool::clear_generation) when an exchange on it fails.
    pub fn generation(&self) -> u64 {
        self.pooled().generation
    }

    /// When it was checked out.
    pub fn since(&self) -> Instant {
        self.pooled().since
    }

    fn pooled(&self) -> &Pooled<C::Connection> {
        match &self.object {
            Some(object) => object,
            None => {
                unreachable!("only finish, close and drop take the connection, and they take the checkout")
            }
        }
    }

    fn end(&mut self, reason: CloseReason) {
        if let Some(object) = self.object.take() {
            self.shared.events.checked_in(object.since.elapsed());
            self.shared.discard(object, reason);
        }
    }
}

impl<C: Connect> Drop for Checkout<C> {
    fn drop(&mut self) {
        self.end(CloseReason::Dropped);
        // After the connection: whoever gets the place then finds the connection there.
        if self.class == Class::Ordinary {
            self.shared.ordinary.give();
        }
    }
}

impl<C: Connect> Deref for Checkout<C> {
    type Target = C::Connection;

    fn deref(&self) -> &C::Connection {
        &self.pooled().connection
    }
}

impl<C: Connect> DerefMut for Checkout<C> {
    fn deref_mut(&mut self) -> &mut C::Connection {
        match &mut self.object {
            Some(object) => &mut object.connection,
            None => {
                unreachable!("only finish, close and drop take the connection, and they take the checkout")
            }
        }
    }
}

impl<C: Connect> fmt::Debug for Checkout<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pooled = self.object.as_ref();
        f.debug_struct("Checkout").field("generation", &pooled.map(|pooled| pooled.generation)).finish()
    }
}
