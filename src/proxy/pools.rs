//! The pools of one member: one, or as an option one for each application name.
//!
//! Servers log and profile by application name, and fail points match by it. Where that matters, the clients of each
//! name have connections that carry it.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::awaiting::Rounds;
use super::context::Pool;
use super::pool_events::Observer;
use crate::pool::{OptionsError, PoolOptions, Status};
use crate::server::Connector;

/// Applications with a pool of their own at a member: names come from clients. Above it a pool that no client uses any
/// more makes room; if there is none, later ones share the common pool.
const APPLICATIONS_MAX: usize = 64;

/// One member's pools.
pub struct Pools {
    /// For clients without a name, and for all if pools are not kept by application.
    common: Pool,
    common_rounds: Arc<Rounds>,
    named: Named,
    /// How often an application was given connections of its own.
    choice: AtomicU32,
}

struct Named {
    /// Each application has a pool, not only those that were given one.
    is_for_all: bool,
    options: PoolOptions,
    connector: Connector,
    observer: Observer,
    applications: Mutex<Applications>,
}

#[derive(Default)]
struct Applications {
    pools: HashMap<String, OfApplication>,
    /// The application that a fail point gave connections of its own.
    apart: Option<String>,
    /// Why the member is lost, if it is: pools are made paused then.
    paused: Option<String>,
    closed: bool,
}

/// The pool of one application's clients. Each of them holds its rounds, which shows whether there are any.
struct OfApplication {
    pool: Pool,
    rounds: Arc<Rounds>,
}

impl OfApplication {
    fn is_used(&self) -> bool {
        Arc::strong_count(&self.rounds) > 1
    }
}

/// The pool that serves a client, as long as the client holds it.
#[derive(Debug)]
pub struct PoolUse {
    /// The pool.
    pub pool: Pool,
    /// The awaiting getMores over it that go by rounds.
    pub rounds: Arc<Rounds>,
}

impl PoolUse {
    fn of(entry: &OfApplication) -> PoolUse {
        PoolUse { pool: entry.pool.clone(), rounds: entry.rounds.clone() }
    }
}

impl Deref for PoolUse {
    type Target = Pool;

    fn deref(&self) -> &Pool {
        &self.pool
    }
}

impl Pools {
    /// The common pool, on the current tokio runtime. `per_application` adds one for each application name.
    pub fn new(
        options: PoolOptions,
        connector: Connector,
        observer: Observer,
        per_application: bool,
    ) -> Result<Pools, OptionsError> {
        let common = Pool::new(options.clone(), connector.clone(), Arc::new(observer.clone()))?;
        let common_rounds = Arc::new(Rounds::new(&options));
        let is_for_all = per_application;
        let named = Named { is_for_all, options, connector, observer, applications: Mutex::default() };
        Ok(Pools { common, common_rounds, named, choice: AtomicU32::new(0) })
    }

    /// The pool for clients that have not named their application, and for torana's own commands.
    pub fn common(&self) -> &Pool {
        &self.common
    }

    /// The common pool, for a client.
    pub fn common_use(&self) -> PoolUse {
        PoolUse { pool: self.common.clone(), rounds: self.common_rounds.clone() }
    }

    /// The pool for clients of `application`.
    pub fn of(&self, application: &str) -> PoolUse {
        let named = &self.named;
        let mut applications = named.locked();
        if !named.is_for_all && applications.apart.as_deref() != Some(application) {
            return self.common_use();
        }
        if let Some(entry) = applications.pools.get(application) {
            return PoolUse::of(entry);
        }
        if applications.closed || !applications.make_room() {
            return self.common_use();
        }
        let connector = named.connector.for_application(application);
        let made = Pool::new(named.options.clone(), connector, Arc::new(named.observer.clone()));
        let Ok(pool) = made else { return self.common_use() };
        if let Some(cause) = &applications.paused {
            pool.pause(cause);
        }
        let entry = OfApplication { pool, rounds: Arc::new(Rounds::new(&named.options)) };
        let used = PoolUse::of(&entry);
        applications.pools.insert(application.to_owned(), entry);
        used
    }

    /// Gives the clients of `application` connections under its name from now on, and those of any other none: its pool
    /// is closed once they have left it, which each does with its next request.
    pub fn keep_apart(&self, application: Option<String>) {
        let mut applications = self.named.locked();
        if self.named.is_for_all {
            return;
        }
        let Applications { pools, apart, .. } = &mut *applications;
        if *apart != application {
            *apart = application;
            self.choice.fetch_add(1, Ordering::Release);
        }
        pools.retain(|name, entry| {
            let stays = apart.as_deref() == Some(name) || entry.is_used();
            if !stays {
                entry.pool.close();
            }
            stays
        });
    }

    /// Another number once [`Pools::of`] may have another answer for a client.
    #[inline]
    pub fn choice(&self) -> u32 {
        self.choice.load(Ordering::Acquire)
    }

    /// The member is lost: all are paused, those to come too.
    pub fn pause(&self, cause: &str) {
        self.each(|pool| pool.pause(cause), |applications| applications.paused = Some(cause.to_owned()));
    }

    /// The member answers again.
    pub fn resume(&self) {
        self.each(Pool::resume, |applications| applications.paused = None);
    }

    /// All connections of now are stale.
    pub fn clear(&self, cause: &str) {
        self.each(|pool| pool.clear(cause), |_| {});
    }

    /// The member is gone, for good.
    pub fn close(&self) {
        self.each(Pool::close, |applications| applications.closed = true);
    }

    fn each(&self, act: impl Fn(&Pool), note: impl FnOnce(&mut Applications)) {
        act(&self.common);
        let mut applications = self.named.locked();
        note(&mut applications);
        applications.pools.values().for_each(|entry| act(&entry.pool));
    }

    /// All of them in numbers.
    pub fn status(&self) -> Status {
        let mut sum = self.common.status();
        self.named.locked().pools.values().for_each(|entry| sum.add(&entry.pool.status()));
        sum
    }
}

impl Named {
    fn locked(&self) -> MutexGuard<'_, Applications> {
        self.applications.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Applications {
    /// Whether one more has room, after a pool that nobody uses was closed if there was none.
    fn make_room(&mut self) -> bool {
        if self.pools.len() < APPLICATIONS_MAX {
            return true;
        }
        let unused = self.pools.iter().find(|(_, entry)| !entry.is_used()).map(|(name, _)| name.clone());
        match unused.and_then(|name| self.pools.remove(&name)) {
            Some(entry) => {
                entry.pool.close();
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    fn pools() -> Pools {
        let observer = Observer::new(Metrics::new().member("rs0", "db1:27017"), std::sync::Weak::new());
        let connector = Connector::new("db1:27017", None, None);
        Pools::new(PoolOptions::default(), connector, observer, true).unwrap()
    }

    fn made(pools: &Pools) -> usize {
        pools.named.locked().pools.len()
    }

    #[tokio::test]
    async fn an_application_that_nobody_uses_any_more_makes_room_for_another() {
        let pools = pools();
        let is_common = |used: &PoolUse| Arc::ptr_eq(&used.rounds, &pools.common_rounds);
        let mut used: Vec<PoolUse> = (0..APPLICATIONS_MAX).map(|n| pools.of(&n.to_string())).collect();
        assert_eq!(made(&pools), APPLICATIONS_MAX);
        let late = pools.of("late");
        assert!(is_common(&late) && made(&pools) == APPLICATIONS_MAX, "the common pool serves it");
        let again = pools.of("7");
        used.remove(7);
        assert!(is_common(&pools.of("late")), "one of its clients is left");
        drop(again);
        assert!(!is_common(&pools.of("late")) && made(&pools) == APPLICATIONS_MAX);
    }

    #[tokio::test]
    async fn an_application_is_kept_apart_until_another_is_and_its_pool_as_long_as_it_is_used() {
        let observer = Observer::new(Metrics::new().member("rs0", "db1:27017"), std::sync::Weak::new());
        let connector = Connector::new("db1:27017", None, None);
        let pools = Pools::new(PoolOptions::default(), connector, observer, false).unwrap();
        let is_common = |used: &PoolUse| Arc::ptr_eq(&used.rounds, &pools.common_rounds);
        for number in 0..2 * APPLICATIONS_MAX {
            let name = number.to_string();
            assert!(is_common(&pools.of(&name)));
            pools.keep_apart(Some(name.clone()));
            assert!(!is_common(&pools.of(&name)) && made(&pools) == 1);
        }
        let used = pools.of("127");
        pools.keep_apart(None);
        assert!(is_common(&pools.of("127")) && made(&pools) == 1, "a client has not left it yet");
        drop(used);
        pools.keep_apart(None);
        assert_eq!(made(&pools), 0);
    }

    #[tokio::test]
    async fn a_pool_that_is_made_while_the_member_is_lost_is_paused() {
        let pools = pools();
        pools.pause("it does not answer");
        let late = pools.of("late");
        let refused = late.check_out(crate::pool::Class::Ordinary, None).await.map(drop);
        let text = refused.unwrap_err().to_string();
        assert!(text.contains("it does not answer"), "{text}");
    }
}
