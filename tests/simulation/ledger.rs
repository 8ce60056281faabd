//! What one member's pool has promised, counted beside it.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;
use torana::pool::{PoolEvents, PoolOptions};

use crate::world::World;

/// The queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    Ordinary,
    Relief,
    Awaiting,
}

/// The counts of one pool.
pub struct Ledger {
    world: Arc<World>,
    port: u16,
    options: PoolOptions,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    attempts: u64,
    connecting: usize,
    open: usize,
    ordinary: usize,
    relief: usize,
    awaiting: usize,
    relief_waiting: usize,
    drained: usize,
    clears: u64,
    resumes: u64,
    /// Since when there was a free place and room for its connection.
    roomy_since: Option<Instant>,
}

/// A connect under way.
pub struct Connecting {
    ledger: Arc<Ledger>,
    pub number: u64,
}

impl Drop for Connecting {
    fn drop(&mut self) {
        self.ledger.counts().connecting -= 1;
    }
}

/// One more in the relief queue.
pub struct Waits(Option<Arc<Ledger>>);

impl Drop for Waits {
    fn drop(&mut self) {
        if let Some(ledger) = &self.0 {
            ledger.counts().relief_waiting -= 1;
        }
    }
}

/// One more write that runs on without its client.
pub struct Drains(Arc<Ledger>);

impl Drop for Drains {
    fn drop(&mut self) {
        self.0.counts().drained -= 1;
    }
}

impl Ledger {
    pub fn new(world: Arc<World>, port: u16, options: PoolOptions) -> Arc<Ledger> {
        let counts = Counts { roomy_since: Some(Instant::now()), ..Counts::default() };
        Arc::new(Ledger { world, port, options, counts: Mutex::new(counts) })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap()
    }

    fn extra(&self) -> usize {
        self.options.awaiting_max.unwrap_or(0)
    }

    fn lanes(&self) -> usize {
        1 + usize::from(self.options.awaiting_max.is_some())
    }

    pub fn connecting(self: &Arc<Self>) -> Connecting {
        let mut counts = self.counts();
        counts.attempts += 1;
        counts.connecting += 1;
        let (now, limit) = (counts.connecting, self.options.connecting_max * self.lanes());
        let number = counts.attempts;
        drop(counts);
        self.world.check(now <= limit, || format!("member {}: {now} connects at once", self.port));
        Connecting { ledger: self.clone(), number }
    }

    pub fn opened(&self) {
        let mut counts = self.counts();
        counts.open += 1;
        let (open, limit) = (counts.open, self.options.max + self.extra());
        drop(counts);
        self.world.check(open <= limit, || format!("member {}: {open} connections", self.port));
    }

    pub fn closed(&self) {
        self.counts().open -= 1;
    }

    /// How often the pool was cleared.
    pub fn clears(&self) -> u64 {
        self.counts().clears
    }

    pub fn resumes(&self) -> u64 {
        self.counts().resumes
    }

    pub fn checked_out(&self, lane: Lane) {
        let mut counts = self.counts();
        match lane {
            Lane::Ordinary => counts.ordinary += 1,
            Lane::Relief => counts.relief += 1,
            Lane::Awaiting => counts.awaiting += 1,
        }
        let places = self.options.max - self.options.reserve();
        let (ordinary, awaiting) = (counts.ordinary, counts.awaiting);
        let shared = if self.extra() == 0 { ordinary + awaiting } else { ordinary };
        self.look_for_room(&mut counts);
        drop(counts);
        let budget = self.options.awaiting_budget();
        self.world.check(shared <= places, || format!("member {}: {shared} in {places} places", self.port));
        self.world.check(awaiting <= budget, || format!("member {}: {awaiting} await at once", self.port));
    }

    pub fn checked_in(&self, lane: Lane) {
        let mut counts = self.counts();
        match lane {
            Lane::Ordinary => counts.ordinary -= 1,
            Lane::Relief => counts.relief -= 1,
            Lane::Awaiting => counts.awaiting -= 1,
        }
        self.look_for_room(&mut counts);
    }

    fn look_for_room(&self, counts: &mut Counts) {
        let awaiting = if self.extra() == 0 { counts.awaiting } else { 0 };
        let has_place = counts.ordinary + awaiting < self.options.max - self.options.reserve();
        let has_room = counts.ordinary + awaiting + counts.relief < self.options.max;
        if !(has_place && has_room) {
            counts.roomy_since = None;
        } else if counts.roomy_since.is_none() {
            counts.roomy_since = Some(Instant::now());
        }
    }

    /// For how long an ordinary operation could have had a connection.
    pub fn roomy_for(&self) -> Duration {
        self.counts().roomy_since.map(|since| since.elapsed()).unwrap_or_default()
    }

    /// Counts a caller that waits, if others may wait for it.
    pub fn waits(self: &Arc<Self>, frees_others: bool) -> Waits {
        let waits = frees_others.then(|| self.clone());
        self.counts().relief_waiting += usize::from(waits.is_some());
        Waits(waits)
    }

    /// Counts a write that keeps its connection, though its client has left.
    pub fn drains(self: &Arc<Self>) -> Drains {
        let mut counts = self.counts();
        counts.drained += 1;
        let (now, limit) = (counts.drained, (self.options.max / 4).max(1));
        drop(counts);
        self.world.check(now <= limit, || format!("member {}: {now} writes nobody waits for", self.port));
        Drains(self.clone())
    }

    /// Whether more wait in the relief queue than may.
    pub fn relief_queue_is_full(&self) -> bool {
        self.counts().relief_waiting > self.options.queue_max
    }

    /// Whether nobody holds a connection.
    pub fn all_idle(&self) -> bool {
        let counts = self.counts();
        (counts.ordinary, counts.relief, counts.awaiting) == (0, 0, 0)
    }
}

/// What the pool itself tells.
pub struct Observer(pub Arc<Ledger>);

impl PoolEvents for Observer {
    fn cleared(&self, cause: &str) {
        self.0.counts().clears += 1;
        self.0.world.note(|| format!("member {}: pool cleared: {cause}", self.0.port));
    }

    fn paused(&self, cause: &str) {
        self.0.counts().clears += 1;
        self.0.world.note(|| format!("member {}: pool paused: {cause}", self.0.port));
    }

    fn resumed(&self) {
        self.0.counts().resumes += 1;
        self.0.world.note(|| format!("member {}: pool resumed", self.0.port));
    }
}
