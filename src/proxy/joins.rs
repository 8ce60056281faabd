//! Cursors on tagged collections of which more has to be known than what their getMores say: that they read further
//! collections, that they show one time and nothing later, or that another member has them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};

use tokio::time::{Duration, Instant};

use super::context::Member;
use crate::config::Level;
use crate::consistency::Touched;

/// Cursors remembered on a member by their use in one period; those of the period before are remembered beside them.
const REMEMBERED_MAX: usize = 10_000;

/// The longest period, above the ten minutes after which a server ends a cursor that nobody uses.
const PERIOD: Duration = Duration::from_secs(15 * 60);

/// A cursor that was opened on tagged collections.
#[derive(Debug, Clone, Default)]
pub struct Opened {
    /// Those that it reads.
    pub touched: Touched,
    /// It shows them as of one time, up to which everything is published.
    pub is_snapshot: bool,
    /// Its client asked for that itself, and is told the time.
    pub is_asked: bool,
    /// The member that has it, if that is not the one whose client opened it.
    pub elsewhere: Option<Weak<Member>>,
}

impl Opened {
    /// A cursor of which nothing is known: it may read anything.
    fn unsure() -> Opened {
        Opened { touched: Touched::every(Level::Linearizable), ..Opened::default() }
    }
}

/// The cursors of one member.
#[derive(Debug)]
pub struct Joins {
    known: Mutex<Known>,
    /// Whether there was ever any.
    is_used: AtomicBool,
}

#[derive(Debug)]
struct Known {
    now: HashMap<i64, Opened>,
    before: HashMap<i64, Opened>,
    since: Instant,
    /// Until then a getMore may be of a cursor that was forgotten for want of room, or never known: it counts as one on
    /// every collection.
    unsure_until: Option<Instant>,
}

impl Default for Joins {
    fn default() -> Self {
        let (now, before, since) = (HashMap::new(), HashMap::new(), Instant::now());
        let known = Mutex::new(Known { now, before, since, unsure_until: None });
        Joins { known, is_used: AtomicBool::new(false) }
    }
}

impl Joins {
    /// The cursor `id` was opened so; 0 is one that is at its end already, `None` one that is not known.
    pub fn opened(&self, id: Option<i64>, opened: Opened) {
        self.is_used.store(true, Ordering::Relaxed);
        let mut known = self.locked();
        match id {
            Some(0) => {}
            Some(id) => known.note(id, opened),
            None => known.is_unsure(),
        }
    }

    /// Whether any cursor was ever opened so, tags or no tags since.
    pub fn is_used(&self) -> bool {
        self.is_used.load(Ordering::Relaxed)
    }

    /// What is known of the cursor `id`; `None` if its getMores name all that it reads.
    pub fn of(&self, id: i64) -> Option<Opened> {
        let mut known = self.locked();
        let opened = known.now.get(&id).or(known.before.get(&id)).cloned();
        match opened {
            Some(opened) => {
                known.note(id, opened.clone());
                Some(opened)
            }
            None => known.unsure_until.filter(|until| *until > Instant::now()).map(|_| Opened::unsure()),
        }
    }

    /// The cursor `id` has come to its end.
    pub fn closed(&self, id: i64) {
        let mut known = self.locked();
        known.now.remove(&id);
        known.before.remove(&id);
    }

    fn locked(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn note(&mut self, id: i64, opened: Opened) {
        let is_full = self.now.len() >= REMEMBERED_MAX;
        if is_full || self.since.elapsed() >= PERIOD {
            let forgets = is_full && !self.before.is_empty();
            self.before = std::mem::take(&mut self.now);
            self.since = Instant::now();
            if forgets {
                self.is_unsure();
            }
        }
        self.before.remove(&id);
        self.now.insert(id, opened);
    }

    fn is_unsure(&mut self) {
        self.unsure_until = Some(Instant::now() + PERIOD);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consistency::Floors;

    fn touched() -> Opened {
        let mut touched = Touched::default();
        Floors::default().touch(b"app", b"x", Level::Causal, &mut touched);
        Opened { touched, ..Opened::default() }
    }

    fn is_every(joins: &Joins, id: i64) -> bool {
        joins.of(id).is_some_and(|opened| opened.touched.is_many())
    }

    #[tokio::test(start_paused = true)]
    async fn cursors_are_remembered_while_they_are_used_and_forgotten_once_they_must_be_gone() {
        let joins = Joins::default();
        joins.opened(Some(7), touched());
        joins.opened(Some(0), touched());
        assert!(joins.of(7).is_some() && joins.of(8).is_none() && joins.of(0).is_none());
        joins.opened(Some(8), touched());
        for _ in 0..5 {
            tokio::time::advance(PERIOD).await;
            assert!(joins.of(7).is_some());
        }
        assert!(joins.of(8).is_none());
        joins.closed(7);
        assert!(joins.of(7).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn what_had_no_room_or_was_not_seen_counts_as_a_join_of_all_for_a_while() {
        let joins = Joins::default();
        (1..=2 * REMEMBERED_MAX as i64).for_each(|id| joins.opened(Some(id), touched()));
        assert!(joins.of(1).is_some_and(|opened| !opened.touched.is_many()));
        joins.opened(Some(i64::MAX), touched());
        assert!(is_every(&joins, 2) && !is_every(&joins, i64::MAX));
        tokio::time::advance(PERIOD).await;
        assert!(joins.of(2).is_none());
        joins.opened(None, touched());
        assert!(is_every(&joins, 2));
    }
}
