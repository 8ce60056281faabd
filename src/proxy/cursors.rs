//! Cursors whose getMores wait on the server for data: tailable ones that await, and change streams.
//!
//! Known from the command that opened them. A getMore of one occupies its connection for as long as the client is
//! willing to wait, so they have a budget of their own.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::{Duration, Instant};

/// Awaiting cursors remembered at once on a member. Above it the oldest are forgotten, and wait like any other
/// getMore.
const REMEMBERED_MAX: usize = 200_000;

/// A cursor that was not used for this long is gone: the server's own time-out for idle cursors is ten minutes.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(30 * 60);

/// The awaiting cursors of one member.
#[derive(Debug, Default)]
pub struct AwaitingCursors {
    used: Mutex<HashMap<i64, Instant>>,
    count: AtomicUsize,
}

impl AwaitingCursors {
    /// A command that opens an awaiting cursor was answered with this cursor id.
    pub fn opened(&self, id: i64) {
        if id == 0 {
            return;
        }
        let mut used = self.locked();
        if used.len() >= REMEMBERED_MAX {
            used.retain(|_, last| last.elapsed() < FORGOTTEN_AFTER);
        }
        if used.len() < REMEMBERED_MAX {
            used.insert(id, Instant::now());
        }
        self.count.store(used.len(), Ordering::Relaxed);
    }

    /// Whether a getMore of `id` waits on the server; notes that it is in use.
    pub fn is_awaiting(&self, id: i64) -> bool {
        if self.count.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let mut used = self.locked();
        used.get_mut(&id).map(|last| *last = Instant::now()).is_some()
    }

    /// The cursor is exhausted, killed or not found.
    pub fn closed(&self, id: i64) {
        if self.count.load(Ordering::Relaxed) > 0 {
            let mut used = self.locked();
            used.remove(&id);
            self.count.store(used.len(), Ordering::Relaxed);
        }
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<i64, Instant>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
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
        assert!(!cursors.is_awaiting(5));
    }
}
