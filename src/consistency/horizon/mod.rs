//! The horizon: the latest time that anyone was told of through any torana of a set.
//!
//! One register, shared by all toranas, which only rises. Whatever is acknowledged or returned to a client of a
//! `sequential` collection is published first: the register is at or above its time. So a read that is sent *as of* a
//! published time shows nothing that others could miss, whatever member answers it and whatever fails later, and needs no
//! look at the register. A client that is new to a torana waits until that torana has proven its horizon, and sees at
//! least what it was told elsewhere. `tests/horizon_model` searches this protocol, with each rule taken away.
//!
//! [`Horizon`] is what the message path sees; one task ([`keep`]) has the session with ZooKeeper, and makes one
//! compare-and-set at a time for all who wait. Without ZooKeeper a torana has to be alone with its set, which a lease in the
//! set itself says (`proxy/lease.rs`): its own memory is the register then, and everything is published as soon as it is
//! told.

mod tags_node;
mod zookeeper;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::{Duration, Instant, timeout_at};

use crate::metrics::{HorizonMetrics, HorizonWrite};

pub use tags_node::TagsError;
pub use zookeeper::{Attempt, MarkError, ZooKeeper, ZooKeeperOptions, keep};

/// So long after the horizon was last found to be the newest time that a majority has, it is no longer young: before a
/// read, what a majority has by now is published then, so that what others wrote is seen soon, whatever way it went.
const YOUNG: Duration = Duration::from_secs(1);

/// How long a client waits for the lease of a torana that is alone.
const LEASE_WAIT: Duration = Duration::from_secs(10);

/// What has been published. All calls are cancel safe: what was cancelled may or may not be published, which does no
/// harm.
#[derive(Debug)]
pub struct Horizon {
    /// Counts what is shared with other toranas; `None` if there are none.
    shared: Option<Arc<HorizonMetrics>>,
    /// How long a client waits for the register.
    limit: Duration,
    /// What is to be published.
    wanted: AtomicU64,
    /// Everything up to here is.
    published: AtomicU64,
    /// Proofs asked for, and the last one that was given, by number.
    asked: AtomicU64,
    given: AtomicU64,
    /// Until when the lease holds, in milliseconds since `made`; only without others.
    leased_until: AtomicU64,
    made: Instant,
    /// There is something for the keeper to do.
    work: Notify,
    /// Something was published or proven, or an attempt failed.
    news: Notify,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Why the last attempt failed, since the last that did not.
    trouble: Option<String>,
    /// When a published time was last found to be the newest.
    newest: Option<Instant>,
}

/// Why something is not published, or the horizon not proven.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{by} did not take it within {waited:?}: {cause}")]
pub struct Unpublished {
    /// What keeps the horizon.
    pub by: &'static str,
    /// How long it was waited for.
    pub waited: Duration,
    /// What went wrong last.
    pub cause: String,
}

impl Horizon {
    /// That of a torana which is alone with its set, for as long as it holds the set's lease.
    pub fn alone() -> Horizon {
        Horizon::new(None, LEASE_WAIT)
    }

    /// One that [`keep`] keeps in a register; clients wait for that for at most `limit`.
    pub fn shared(limit: Duration, metrics: Arc<HorizonMetrics>) -> Horizon {
        Horizon::new(Some(metrics), limit)
    }

    fn new(shared: Option<Arc<HorizonMetrics>>, limit: Duration) -> Horizon {
        Horizon {
            shared,
            limit,
            wanted: AtomicU64::new(0),
            published: AtomicU64::new(0),
            asked: AtomicU64::new(0),
            given: AtomicU64::new(0),
            leased_until: AtomicU64::new(0),
            made: Instant::now(),
            work: Notify::new(),
            news: Notify::new(),
            state: Mutex::new(State { trouble: None, newest: None }),
        }
    }

    /// Whether other toranas see it.
    pub fn is_shared(&self) -> bool {
        self.shared.is_some()
    }

    /// The time that a read is sent at; 0 for none. Everything up to it is published, and nothing that anyone was told
    /// through this torana is later, nor was when the horizon was last proven.
    pub fn published(&self) -> u64 {
        self.published.load(Ordering::Acquire)
    }

    /// Whether reads are sent as of what is published: see `YOUNG`. While nothing can be published there is nothing
    /// else to be shown.
    pub fn is_young(&self) -> bool {
        let state = self.locked();
        state.trouble.is_some() || state.newest.is_some_and(|newest| newest.elapsed() < YOUNG)
    }

    /// A time that is published was found to be the newest that a majority has.
    pub fn is_newest(&self) {
        self.locked().newest = Some(Instant::now());
    }

    /// What a connection that comes now has to hand to [`Horizon::prove`].
    pub fn arrives(&self) -> u64 {
        self.asked.load(Ordering::Acquire)
    }

    /// Whether the horizon was proven since a connection came. Who is alone knows it while its lease holds.
    pub fn is_proven_since(&self, arrived: u64) -> bool {
        match self.is_shared() {
            true => self.given.load(Ordering::Acquire) > arrived,
            false => self.is_leased(),
        }
    }

    fn is_leased(&self) -> bool {
        (self.made.elapsed().as_millis() as u64) < self.leased_until.load(Ordering::Acquire)
    }

    /// Waits until the lease is wanted. Cancel safe.
    pub async fn wants_lease(&self) {
        self.work.notified().await;
    }

    /// The lease holds until `until`. It was taken at `time`, before which others told what they told.
    pub fn leased(&self, until: Instant, time: u64) {
        if !self.is_leased() {
            self.published.fetch_max(time, Ordering::AcqRel);
        }
        let until = until.saturating_duration_since(self.made).as_millis() as u64;
        self.leased_until.fetch_max(until, Ordering::AcqRel);
        self.locked().trouble = None;
        self.news.notify_waiters();
    }

    /// Waits until the horizon was proven after a connection came. One proof serves all who came before it was begun.
    pub async fn prove(&self, arrived: u64) -> Result<(), Unpublished> {
        if self.is_proven_since(arrived) {
            return Ok(());
        }
        self.asked.fetch_max(arrived + 1, Ordering::AcqRel);
        self.until(|| self.is_proven_since(arrived)).await
    }

    /// Waits until everything up to `time` is published.
    pub async fn publish(&self, time: u64) -> Result<(), Unpublished> {
        let Some(metrics) = &self.shared else {
            self.until(|| self.is_leased()).await?;
            self.published.fetch_max(time, Ordering::AcqRel);
            return Ok(());
        };
        if self.published.load(Ordering::Acquire) >= time {
            return Ok(());
        }
        let began = Instant::now();
        self.wanted.fetch_max(time, Ordering::AcqRel);
        let published = self.until(|| self.published.load(Ordering::Acquire) >= time).await;
        metrics.waits.observe(began.elapsed());
        published
    }

    /// Publishes `time`, which is the newest that a majority is known to have. If ZooKeeper does not take it, what was
    /// published before is all that can be shown, and nobody waits for more.
    pub async fn renew(&self, time: u64) {
        if self.is_shared() {
            self.wanted.fetch_max(time, Ordering::AcqRel);
            let is_done = || self.published() >= time || self.is_troubled();
            // Reads that cannot be sent as of it say so later.
            let _ = self.until(is_done).await;
        } else {
            self.published.fetch_max(time, Ordering::AcqRel);
        }
        if self.published() >= time {
            self.is_newest();
        }
    }

    async fn until(&self, is_done: impl Fn() -> bool) -> Result<(), Unpublished> {
        let deadline = Instant::now() + self.limit;
        loop {
            let mut news = std::pin::pin!(self.news.notified());
            // Before the look, so that nothing comes between the two.
            news.as_mut().enable();
            if is_done() {
                return Ok(());
            }
            self.work.notify_one();
            if timeout_at(deadline, news).await.is_err() {
                let trouble = self.locked().trouble.clone();
                let cause = trouble.unwrap_or_else(|| "it does not answer".to_owned());
                let by = if self.is_shared() { "ZooKeeper" } else { "the set's lease" };
                return Err(Unpublished { by, waited: self.limit, cause });
            }
        }
    }

    /// Whether nothing could be published lately.
    pub fn is_troubled(&self) -> bool {
        self.locked().trouble.is_some()
    }

    fn has_work(&self) -> bool {
        let is_wanted = self.wanted.load(Ordering::Acquire) > self.published.load(Ordering::Acquire);
        is_wanted || self.asked.load(Ordering::Acquire) > self.given.load(Ordering::Acquire)
    }

    /// What the register has to say next: never less than what is known.
    fn target(&self) -> u64 {
        self.wanted.load(Ordering::Acquire).max(self.published.load(Ordering::Acquire))
    }

    /// The register was seen to say `time`: it may be old, so that it proves nothing, but all up to it is published.
    fn saw(&self, time: u64) {
        self.published.fetch_max(time, Ordering::AcqRel);
        self.shared.iter().for_each(|metrics| metrics.writes.inc(HorizonWrite::Behind));
        self.news.notify_waiters();
    }

    /// A write of the register is about to be sent: the number of the proof that it is, for all who have come so far.
    fn begins(&self) -> u64 {
        self.asked.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// The register says `time`, and it was this torana that wrote it, after proof `number` was asked for.
    fn wrote(&self, time: u64, number: u64) {
        self.published.fetch_max(time, Ordering::AcqRel);
        self.locked().trouble = None;
        if let Some(metrics) = &self.shared {
            metrics.kept.set(1);
            metrics.age.touch();
            metrics.writes.inc(HorizonWrite::Written);
        }
        // After the horizon: who sees the number reads a horizon that is as new.
        self.given.fetch_max(number, Ordering::AcqRel);
        self.news.notify_waiters();
    }

    /// An attempt at keeping it failed.
    pub fn failed(&self, cause: String) {
        if let Some(metrics) = &self.shared {
            metrics.kept.set(0);
            metrics.writes.inc(HorizonWrite::Failed);
        }
        self.locked().trouble = Some(cause);
        self.news.notify_waiters();
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    fn shared() -> Horizon {
        Horizon::shared(Duration::from_secs(1), Metrics::new().horizon("rs0"))
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_alone_publishes_at_once_while_its_lease_holds() {
        let horizon = Horizon::alone();
        assert!(!horizon.is_proven_since(horizon.arrives()));
        horizon.failed("another has it".to_owned());
        let refused = horizon.publish(7).await.unwrap_err().to_string();
        assert_eq!(refused, "the set's lease did not take it within 10s: another has it");
        horizon.leased(Instant::now() + Duration::from_secs(5), 6);
        assert!(horizon.is_proven_since(horizon.arrives()) && !horizon.is_troubled());
        assert_eq!(horizon.published(), 6, "others may have told of that");
        horizon.publish(7).await.unwrap();
        horizon.leased(Instant::now() + Duration::from_secs(5), 9);
        assert_eq!(horizon.published(), 7, "it was its own all the time");
        tokio::time::advance(Duration::from_secs(5)).await;
        assert!(!horizon.is_proven_since(0));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_came_before_a_write_was_begun_is_served_by_it_and_others_are_not() {
        let horizon = Arc::new(shared());
        let (first, second) = (horizon.arrives(), horizon.arrives());
        let waiting = |arrived| {
            let horizon = horizon.clone();
            tokio::spawn(async move { horizon.prove(arrived).await })
        };
        let (one, two) = (waiting(first), waiting(second));
        tokio::task::yield_now().await;
        // The keeper begins a write; meanwhile a third comes.
        assert!(horizon.has_work());
        let number = horizon.begins();
        let third = horizon.arrives();
        horizon.wrote(5, number);
        assert_eq!((one.await.unwrap(), two.await.unwrap()), (Ok(()), Ok(())));
        assert!(!horizon.is_proven_since(third) && horizon.published() == 5);
        let refused = horizon.prove(third).await.unwrap_err();
        assert!(refused.to_string().contains("within 1s: it does not answer"), "{refused}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_seen_is_published_but_proves_nothing() {
        let horizon = Arc::new(shared());
        let waiting = horizon.clone();
        let waiting = tokio::spawn(async move { waiting.publish(9).await });
        tokio::task::yield_now().await;
        horizon.saw(9);
        let began = Instant::now();
        assert_eq!((waiting.await.unwrap(), began.elapsed()), (Ok(()), Duration::ZERO), "at once");
        assert_eq!((horizon.target(), horizon.has_work(), horizon.is_proven_since(0)), (9, false, false));
        horizon.failed("no quorum".to_owned());
        let refused = horizon.publish(10).await.unwrap_err();
        assert_eq!(refused.cause, "no quorum");
        assert_eq!(horizon.target(), 10);
        horizon.wrote(10, 0);
        assert_eq!((horizon.publish(10).await, horizon.is_troubled()), (Ok(()), false));
    }

    #[tokio::test(start_paused = true)]
    async fn who_would_see_the_newest_waits_for_it_only_while_it_may_be_published() {
        let horizon = Arc::new(shared());
        let renewing = |time| {
            let horizon = horizon.clone();
            tokio::spawn(async move { horizon.renew(time).await })
        };
        let waiting = renewing(9);
        tokio::task::yield_now().await;
        assert!(horizon.has_work() && !horizon.is_young());
        horizon.wrote(9, 0);
        waiting.await.unwrap();
        assert!(horizon.is_young() && horizon.published() == 9);
        let began = Instant::now();
        let waiting = renewing(10);
        tokio::task::yield_now().await;
        horizon.failed("no quorum".to_owned());
        waiting.await.unwrap();
        horizon.renew(11).await;
        assert_eq!((began.elapsed(), horizon.published()), (Duration::ZERO, 9));
        let alone = Horizon::alone();
        alone.renew(5).await;
        assert!(alone.is_young() && alone.published() == 5);
    }

    #[tokio::test(start_paused = true)]
    async fn it_grows_old_unless_it_is_found_to_be_the_newest_or_nothing_can_be_published() {
        let horizon = shared();
        assert!(!horizon.is_young(), "what stands in the register may be hours old");
        horizon.wrote(3, 1);
        horizon.publish(3).await.unwrap();
        assert!(!horizon.is_young(), "a late member's time may rise as well");
        horizon.is_newest();
        assert!(horizon.is_young());
        tokio::time::advance(YOUNG).await;
        assert!(!horizon.is_young());
        horizon.failed("no quorum".to_owned());
        assert!(horizon.is_young());
        horizon.wrote(3, 2);
        assert!(!horizon.is_young());
    }
}
