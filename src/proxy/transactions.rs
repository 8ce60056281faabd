//! Open transactions of a set, and which clients take part in them.
//!
//! State is keyed by session and number, never by connection: drivers reconnect and retry a commit, and Parse
//! Server runs one transaction over several connections. A transaction is given up for its client only when no
//! connection that used it is left and none has come back for a while.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::{Duration, Instant};

use crate::command::TransactionId;
use crate::pool::Class;

/// Transactions remembered at once. Above it new ones are not tracked: they wait in the ordinary queue, and the
/// server's own transactionLifetimeLimitSeconds ends them.
const TRACKED_MAX: usize = 100_000;

/// The open transaction of a session. A session has one at a time: the next one ends it on the server, too.
#[derive(Debug)]
struct Open<M> {
    /// `txnNumber`.
    number: i64,
    /// The member that it runs on.
    member: Arc<M>,
    /// Connected clients that used it.
    users: usize,
    last_used: Instant,
    /// The last statement was commitTransaction: it may have been committed, so it is not aborted.
    committing: bool,
    /// Was to be aborted, and could not be.
    overdue: bool,
}

impl<M> Open<M> {
    fn new(number: i64, member: Arc<M>) -> Self {
        Open { number, member, users: 0, last_used: Instant::now(), committing: false, overdue: false }
    }
}

/// The open transactions of a set, whose members are `M`.
#[derive(Debug)]
pub struct Transactions<M> {
    /// By session.
    open: Mutex<HashMap<[u8; 16], Open<M>>>,
    /// The map's length, so that sets without transactions pay one load.
    count: AtomicUsize,
}

impl<M> Default for Transactions<M> {
    fn default() -> Self {
        Transactions { open: Mutex::default(), count: AtomicUsize::new(0) }
    }
}

impl<M> Transactions<M> {
    /// Whether `id` is known to be open.
    pub fn is_open(&self, id: &TransactionId) -> bool {
        self.count.load(Ordering::Relaxed) > 0
            && self.locked().get(&id.session).is_some_and(|open| open.number == id.number)
    }

    /// The queue that a request stands in. Who holds something on the server never waits behind those who wait for
    /// it: neither what frees others by itself (`is_relief`), nor what continues an open transaction.
    pub fn class(&self, is_relief: bool, continues: Option<&TransactionId>) -> Class {
        match is_relief || continues.is_some_and(|id| self.is_open(id)) {
            true => Class::Relief,
            false => Class::Ordinary,
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Notes a statement of `id` on `member`, by a client that took part in it before (`is_user`) or not. `step` says
    /// what the statement does. Returns whether the client now counts as a user.
    pub fn used(&self, id: TransactionId, member: &Arc<M>, is_user: bool, step: Step) -> bool {
        let mut open = self.locked();
        let known = open.get(&id.session).map(|open| open.number);
        let is_new = known.is_none_or(|number| number < id.number);
        if step == Step::Start && is_new && (known.is_some() || open.len() < TRACKED_MAX) {
            let (number, member) = (id.number, member.clone());
            open.insert(id.session, Open::new(number, member));
        }
        self.count.store(open.len(), Ordering::Relaxed);
        let Some(entry) = open.get_mut(&id.session).filter(|open| open.number == id.number) else {
            return is_user;
        };
        entry.last_used = Instant::now();
        entry.committing = step == Step::Commit;
        entry.overdue = false;
        entry.users += usize::from(!is_user);
        true
    }

    /// The server ended `id`: committed, aborted, or says that there is none such.
    pub fn ended(&self, id: &TransactionId) {
        let mut open = self.locked();
        if open.get(&id.session).is_some_and(|open| open.number == id.number) {
            open.remove(&id.session);
        }
        self.count.store(open.len(), Ordering::Relaxed);
    }

    /// A client that used `id` has gone.
    pub fn left(&self, id: &TransactionId) {
        if let Some(entry) = self.locked().get_mut(&id.session).filter(|open| open.number == id.number) {
            entry.users = entry.users.saturating_sub(1);
            entry.last_used = Instant::now();
        }
    }

    /// Takes out what nobody has used for `after` and nobody who used it is connected any more. What may have been
    /// committed is forgotten; the rest is returned, to be aborted on its member.
    pub fn take_orphans(&self, after: Duration) -> Vec<(TransactionId, Arc<M>)> {
        let mut open = self.locked();
        let mut orphans = Vec::new();
        open.retain(|session, entry| {
            let orphaned = entry.users == 0 && (entry.overdue || entry.last_used.elapsed() >= after);
            if orphaned && !entry.committing {
                let id = TransactionId { session: *session, number: entry.number };
                orphans.push((id, entry.member.clone()));
            }
            !orphaned
        });
        // The map's order changes from run to run.
        orphans.sort_unstable_by_key(|(id, _)| id.session);
        self.count.store(open.len(), Ordering::Relaxed);
        orphans
    }

    /// `id`, taken out as an orphan, could not be aborted on `member`, which may be out of reach or overloaded by those
    /// who wait for this very transaction: it is an orphan again at the next look.
    pub fn not_aborted(&self, id: &TransactionId, member: &Arc<M>) {
        let mut open = self.locked();
        // Unless its session has gone on meanwhile.
        let entry = open.entry(id.session).or_insert_with(|| Open::new(id.number, member.clone()));
        entry.overdue = entry.number == id.number && entry.users == 0;
        self.count.store(open.len(), Ordering::Relaxed);
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<[u8; 16], Open<M>>> {
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

/// The open transactions that one client took part in.
#[derive(Debug, Default)]
pub struct TakesPart(Vec<TransactionId>);

impl TakesPart {
    /// Notes that the client sends a statement of `id` to `member`.
    pub fn sends<M>(&mut self, open: &Transactions<M>, id: TransactionId, member: &Arc<M>, step: Step) {
        let is_user = self.0.contains(&id);
        if open.used(id, member, is_user, step) && !is_user {
            // A session's next transaction ends its last one.
            self.0.retain(|other| other.session != id.session);
            self.0.push(id);
        }
    }

    /// The server ended `id`.
    pub fn ended<M>(&mut self, open: &Transactions<M>, id: &TransactionId) {
        open.ended(id);
        self.0.retain(|other| other != id);
    }

    /// The client has gone.
    pub fn leave<M>(&mut self, open: &Transactions<M>) {
        self.0.drain(..).for_each(|id| open.left(&id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER: Duration = Duration::from_secs(10);

    fn id(number: i64) -> TransactionId {
        TransactionId { session: [1; 16], number }
    }

    #[tokio::test(start_paused = true)]
    async fn a_transaction_is_orphaned_when_all_who_used_it_have_been_gone_for_a_while() {
        let (transactions, member) = (Transactions::default(), Arc::new("m"));
        assert!(transactions.used(id(1), &member, false, Step::Start));
        assert!(transactions.used(id(1), &member, false, Step::Continue));
        transactions.left(&id(1));
        tokio::time::advance(AFTER * 2).await;
        assert!(transactions.take_orphans(AFTER).is_empty(), "one is still connected");
        transactions.left(&id(1));
        assert!(transactions.take_orphans(AFTER).is_empty(), "it has only just left");
        tokio::time::advance(AFTER).await;
        assert_eq!(transactions.take_orphans(AFTER), [(id(1), member)]);
        assert_eq!(transactions.len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_could_not_be_aborted_is_an_orphan_at_the_next_look_unless_it_is_used_again() {
        let (transactions, member) = (Transactions::default(), Arc::new("m"));
        transactions.used(id(1), &member, false, Step::Start);
        transactions.left(&id(1));
        tokio::time::advance(AFTER).await;
        for _ in 0..2 {
            assert_eq!(transactions.take_orphans(AFTER), [(id(1), member.clone())]);
            assert!(!transactions.is_open(&id(1)));
            transactions.not_aborted(&id(1), &member);
            assert!(transactions.is_open(&id(1)));
        }
        assert!(transactions.used(id(1), &member, false, Step::Continue));
        transactions.left(&id(1));
        assert!(transactions.take_orphans(AFTER).is_empty());
        transactions.used(id(2), &member, false, Step::Start);
        transactions.not_aborted(&id(1), &member);
        assert!(transactions.is_open(&id(2)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_have_been_committed_is_never_aborted() {
        let (transactions, member) = (Transactions::default(), Arc::new("m"));
        transactions.used(id(1), &member, false, Step::Start);
        transactions.used(id(1), &member, true, Step::Commit);
        transactions.left(&id(1));
        tokio::time::advance(AFTER).await;
        assert!(transactions.take_orphans(AFTER).is_empty());
        assert_eq!(transactions.len(), 0);
    }

    #[tokio::test]
    async fn the_next_transaction_of_a_session_takes_the_place_of_the_last() {
        let (transactions, member) = (Transactions::default(), Arc::new("m"));
        transactions.used(id(1), &member, false, Step::Start);
        transactions.used(id(2), &member, false, Step::Start);
        assert!(transactions.is_open(&id(2)) && !transactions.is_open(&id(1)));
        transactions.ended(&id(1));
        assert!(transactions.is_open(&id(2)));
    }

    #[tokio::test]
    async fn a_statement_of_an_unknown_transaction_makes_nobody_a_user() {
        let transactions = Transactions::default();
        assert!(!transactions.used(id(1), &Arc::new("m"), false, Step::Continue));
    }
}
