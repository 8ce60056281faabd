//! What the pool's callers and its two tasks share, and what is counted where.
//!
//! `stack` (deadpool) owns the connections: its size is the truth about how many there are, and it hands out the one
//! returned last. Whoever wants one first takes a permit of `available`, which has one for each connection on the
//! stack and queues callers first come first served; deadpool's own queue would double the size of a waiting
//! future and cannot be told to fail. Order when giving back: push, then permit; so a permit always finds a
//! connection.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use deadpool::unmanaged;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use super::permits::Permits;
use super::{Class, CloseReason, Connect, Connection, PoolEvents, PoolOptions};

/// A connection with what the pool knows of it.
pub(super) struct Pooled<T> {
    pub connection: T,
    /// The pool's generation when its connect began.
    pub generation: u64,
    pub expires: Option<Instant>,
    /// When it last came in, or went out.
    pub since: Instant,
}

/// Boxed, so that a checkout is small and cheap to move whatever a connection weighs.
pub(super) type Object<C> = unmanaged::Object<Box<Pooled<<C as Connect>::Connection>>>;

/// Whether the member is known to answer.
#[derive(Debug)]
pub(super) enum Availability {
    /// It is, or there was no reason to doubt it.
    Open,
    /// A connect failed and no connection is left; the next try is due.
    Failing(Arc<str>),
    /// Whoever watches the member has lost it.
    Paused(Arc<str>),
    /// For good.
    Closed,
}

pub(super) struct State {
    pub availability: Availability,
    /// Connections of the current generation, checked out or not.
    pub live: usize,
    /// The connector must forget its failures.
    pub try_now: bool,
}

impl State {
    /// The member answers, as far as is known. True if it was paused.
    pub(super) fn open(&mut self) -> bool {
        let paused = matches!(self.availability, Availability::Paused(_));
        if !matches!(self.availability, Availability::Closed) {
            self.availability = Availability::Open;
        }
        paused
    }
}

pub(super) struct Shared<C: Connect> {
    pub options: PoolOptions,
    pub connector: Arc<C>,
    pub events: Arc<dyn PoolEvents>,
    pub stack: unmanaged::Pool<Box<Pooled<C::Connection>>>,
    /// A permit for each connection on the stack. Who waits for one lacks nothing but a connection.
    pub available: Permits,
    /// Places of ordinary work.
    pub ordinary: Permits,
    /// How many there are.
    pub ordinary_max: usize,
    /// Places of awaiting operations.
    pub awaiting: Semaphore,
    /// Where awaiting operations get their connections, if not here.
    pub extra: Option<Arc<Shared<C>>>,
    pub waiting: AtomicUsize,
    pub connecting: AtomicUsize,
    /// Connections in the reaper's hands.
    pub reaping: AtomicUsize,
    /// Written under `state`'s lock.
    generation: AtomicU64,
    state: Mutex<State>,
    /// Tells all who wait to look at `state`.
    pub verdict: Notify,
    pub wake_connector: Notify,
    pub wake_reaper: Notify,
}

impl<C: Connect> Shared<C> {
    /// `places` are those of ordinary work.
    pub(super) fn new(
        options: PoolOptions,
        places: usize,
        connector: Arc<C>,
        events: Arc<dyn PoolEvents>,
        extra: Option<Arc<Shared<C>>>,
    ) -> Self {
        Shared {
            stack: unmanaged::Pool::new(options.max),
            available: Permits::new(0),
            ordinary: Permits::new(places),
            ordinary_max: places,
            awaiting: Semaphore::new(options.awaiting_budget()),
            extra,
            waiting: AtomicUsize::new(0),
            connecting: AtomicUsize::new(0),
            reaping: AtomicUsize::new(0),
            generation: AtomicU64::new(0),
            state: Mutex::new(State { availability: Availability::Open, live: 0, try_now: false }),
            verdict: Notify::new(),
            wake_connector: Notify::new(),
            wake_reaper: Notify::new(),
            options,
            connector,
            events,
        }
    }

    /// Never held across an await. A panic inside leaves numbers that still add up, so poison is ignored.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Makes all connections stale. The tasks must be woken when `state` has been let go.
    pub(super) fn advance(&self, state: &mut State) {
        self.generation.store(self.generation() + 1, Ordering::Release);
        state.live = 0;
    }

    /// An idle connection and a place of `class`, which passes to the caller's checkout.
    pub(super) fn take_idle(&self, class: Class, now: Instant) -> Option<Object<C>> {
        let needs_place = class == Class::Ordinary;
        if needs_place && !self.ordinary.try_take() {
            return None;
        }
        let object = self.pop_usable(now);
        if needs_place && object.is_none() {
            self.ordinary.give();
        }
        object
    }

    /// The connection returned last, if there is one and nobody waits for it.
    pub(super) fn pop(&self) -> Option<Object<C>> {
        if self.available.try_take() { self.pop_assigned() } else { None }
    }

    /// The connection that a permit of `available` stands for, after the permit was forgotten.
    pub(super) fn pop_assigned(&self) -> Option<Object<C>> {
        self.stack.try_get().ok()
    }

    /// The connection returned last that is fit for use. Others that come up are closed.
    pub(super) fn pop_usable(&self, now: Instant) -> Option<Object<C>> {
        while let Some(object) = self.pop() {
            if let Some(object) = self.usable(object, now) {
                return Some(object);
            }
        }
        None
    }

    /// The connection if it is fit for use; otherwise it is closed.
    pub(super) fn usable(&self, mut object: Object<C>, now: Instant) -> Option<Object<C>> {
        if let Some(reason) = self.fault(&mut object, now) {
            self.discard(object, reason);
            return None;
        }
        object.since = now;
        Some(object)
    }

    /// Puts a connection on the stack, and so hands it to the oldest waiter.
    pub(super) fn push(&self, object: Object<C>) {
        drop(object); // which is deadpool's way to give back
        self.available.give();
    }

    /// Takes in a new connection, which proves that the member answers. False, and the connection closed, if it is
    /// stale already.
    pub(super) fn add(&self, pooled: Box<Pooled<C::Connection>>) -> bool {
        let resumed = {
            let mut state = self.state();
            if pooled.generation != self.generation() {
                return false;
            }
            state.live += 1;
            state.open()
        };
        if resumed {
            self.events.resumed();
        }
        // The connector alone adds, and counts before it connects: there is room.
        if let Err((pooled, _)) = self.stack.try_add(pooled) {
            self.count_out(pooled.generation);
            return false;
        }
        self.available.give();
        true
    }

    /// Why a connection must not be used, if so.
    pub(super) fn fault(&self, pooled: &mut Pooled<C::Connection>, now: Instant) -> Option<CloseReason> {
        self.age(pooled, now).or_else(|| {
            pooled
                .connection
                .is_broken(now.saturating_duration_since(pooled.since))
                .then_some(CloseReason::Broken)
        })
    }

    /// Why a connection is too old, if so.
    pub(super) fn age(&self, pooled: &Pooled<C::Connection>, now: Instant) -> Option<CloseReason> {
        if pooled.generation != self.generation() {
            return Some(match self.state().availability {
                Availability::Closed => CloseReason::PoolClosed,
                _ => CloseReason::Stale,
            });
        }
        pooled.expires.is_some_and(|expires| now >= expires).then_some(CloseReason::Lifetime)
    }

    /// Closes a connection. Its place is free for another.
    pub(super) fn discard(&self, object: Object<C>, reason: CloseReason) {
        let pooled = Object::<C>::take(object);
        self.count_out(pooled.generation);
        let started = Instant::now();
        drop(pooled);
        self.events.closed(reason, started.elapsed());
        self.wake_connector.notify_one();
    }

    fn count_out(&self, generation: u64) {
        let mut state = self.state();
        if generation == self.generation() {
            state.live = state.live.saturating_sub(1);
        }
    }
}
