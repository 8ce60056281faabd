//! Cursors whose getMores wait on the server for data: tailable ones that await, and change streams.
//!
//! Known from the command that opened them, or from a getMore that was seen to wait. A getMore of one occupies its
//! connection for as long as the client is willing to wait, so they have a budget of their own.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::{Duration, Instant};

/// Awaiting cursors remembered on a member by their use in one period; those of the period before are remembered
/// beside them. Above it a new period begins: those that were not used in the last one are forgotten, and wait like
/// any other getMore until they are seen to wait.
const REMEMBERED_MAX: usize = 100_000;

/// The longest period: a cursor that was not used in two is gone (the server's own time-out for idle cursors is ten
/// minutes).
const PERIOD: Duration = Duration::from_secs(15 * 60);

/// The awaiting cursors of one member.
#[derive(Debug)]
pub struct AwaitingCursors {
    used: Mutex<Used>,
    count: AtomicUsize,
}

/// Cursors by when they were last used.
#[derive(Debug)]
struct Used {
    now: HashSet<i64>,
    before: HashSet<i64>,
    since: Instant,
}

impl Default for AwaitingCursors {
    fn default() -> Self {
        let used = Used { now: HashSet::new(), before: HashSet::new(), since: Instant::now() };
        AwaitingCursors { used: Mutex::new(used), count: AtomicUsize::new(0) }
    }
}

impl AwaitingCursors {
    /// A command that opens or continues an awaiting cursor was answered with this cursor id.
    pub fn opened(&self, id: i64) {
        if id == 0 {
            return;
        }
        let mut used = self.locked();
        used.note(id);
        self.counted(&used);
    }

    /// Whether a getMore of `id` waits on the server; notes that it is in use.
    pub fn is_awaiting(&self, id: i64) -> bool {
        if self.is_empty() {
            return false;
        }
        let mut used = self.locked();
        let known = used.now.contains(&id) || used.before.contains(&id);
        if known {
            used.note(id);
        }
        known
    }

    /// The cursor is exhausted, killed or not found.
    pub fn closed(&self, id: i64) {
        if !self.is_empty() {
            let mut used = self.locked();
            used.now.remove(&id);
            used.before.remove(&id);
            self.counted(&used);
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
    }

    fn counted(&self, used: &Used) {
        self.count.store(used.now.len() + used.before.len(), Ordering::Relaxed);
    }

    fn locked(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Used {
    fn note(&mut self, id: i64) {
        if self.now.len() >= REMEMBERED_MAX || self.since.elapsed() >= PERIOD {
            self.before = std::mem::take(&mut self.now);
            self.since = Instant::now();
        }
        self.before.remove(&id);
        self.now.insert(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_cursor_awaits_from_its_opening_to_its_close() {
        let cursors = AwaitingCursors::default();
        assert!(!cursors.is_awaiting(5));
        cursors.opened(5);
        cursors.opened(0);
        assert!(cursors.is_awaiting(5) && !cursors.is_awaiting(0) && !cursors.is_awaiting(6));
        cursors.closed(5);
        assert!(!cursors.is_awaiting(5) && cursors.is_empty());
    }

    #[tokio::test]
    async fn when_there_are_too_many_those_that_were_not_used_are_forgotten_and_new_ones_are_not() {
        let cursors = AwaitingCursors::default();
        let last = 3 * REMEMBERED_MAX as i64;
        for id in 1..=last {
            cursors.opened(id);
            assert!(cursors.is_awaiting(1), "{id}");
        }
        assert!(cursors.is_awaiting(last) && !cursors.is_awaiting(2));
        assert!(cursors.count.load(Ordering::Relaxed) <= 2 * REMEMBERED_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_was_not_used_for_two_periods_is_forgotten() {
        let cursors = AwaitingCursors::default();
        cursors.opened(5);
        for other in 0..2 {
            tokio::time::advance(PERIOD).await;
            cursors.opened(10 + other);
        }
        assert!(!cursors.is_awaiting(5) && cursors.is_awaiting(10));
    }
}
