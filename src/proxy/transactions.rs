//! Open transactions of a set, and which clients take part in them.
//!
//! State is keyed by session and number, never by connection: drivers reconnect and retry a commit, and Parse
//! Server runs one transaction over several connections. A transaction is given up for its client only when no
//! connection that used it is left and none has come back for a while.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::{Duration, Instant};

use super::context::Member;
use crate::command::TransactionId;

/// Transactions remembered at once. Above it new ones are not tracked: they wait in the ordinary queue, and the
/// server's own transactionLifetimeLimitSeconds ends them.
const TRACKED_MAX: usize = 100_000;

/// One open transaction.
#[derive(Debug)]
struct Open {
    /// The member that it runs on.
    member: Arc<Member>,
    /// Connected clients that used it.
    users: usize,
    last_used: Instant,
    /// The last statement was commitTransaction: it may have been committed, so it is not aborted.
    committing: bool,
}

/// The open transactions of a set.
#[derive(Debug, Default)]
pub struct Transactions {
    open: Mutex<HashMap<TransactionId, Open>>,
    /// The map's length, so that sets without transactions pay one load.
    count: AtomicUsize,
}

impl Transactions {
    /// Whether `id` is known to be open.
    pub fn is_open(&self, id: &TransactionId) -> bool {
        self.count.load(Ordering::Relaxed) > 0 && self.locked().contains_key(id)
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Notes a statement of `id` on `member`, by a client that took part in it before (`is_user`) or not. `starts`
    /// and `commits` say what the statement does. Returns whether the client now counts as a user.
    pub fn used(&self, id: TransactionId, member: &Arc<Member>, is_user: bool, step: Step) -> bool {
        let mut open = self.locked();
        if step == Step::Start && open.len() < TRACKED_MAX && !open.contains_key(&id) {
            let member = member.clone();
            open.insert(id, Open { member, users: 0, last_used: Instant::now(), committing: false });
        }
        let Some(entry) = open.get_mut(&id) else { return is_user };
        entry.last_used = Instant::now();
        entry.committing = step == Step::Commit;
        entry.users += usize::from(!is_user);
        self.count.store(open.len(), Ordering::Relaxed);
        true
    }

    /// The server ended `id`: committed, aborted, or says that there is none such.
    pub fn ended(&self, id: &TransactionId) {
        let mut open = self.locked();
        open.remove(id);
        self.count.store(open.len(), Ordering::Relaxed);
    }

    /// A client that used `id` has gone.
    pub fn left(&self, id: &TransactionId) {
        if let Some(entry) = self.locked().get_mut(id) {
            entry.users = entry.users.saturating_sub(1);
            entry.last_used = Instant::now();
        }
    }

    /// Takes out what nobody has used for `after` and nobody who used it is connected any more. What may have been
    /// committed is forgotten; the rest is returned, to be aborted on its member.
    pub fn take_orphans(&self, after: Duration) -> Vec<(TransactionId, Arc<Member>)> {
        let mut open = self.locked();
        let mut orphans = Vec::new();
        open.retain(|id, entry| {
            let orphaned = entry.users == 0 && entry.last_used.elapsed() >= after;
            if orphaned && !entry.committing {
                orphans.push((*id, entry.member.clone()));
            }
            !orphaned
        });
        self.count.store(open.len(), Ordering::Relaxed);
        orphans
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<TransactionId, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a statement does to its transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Opens it.
    Start,
    /// Goes on with it.
    Continue,
    /// Commits it.
    Commit,
}
