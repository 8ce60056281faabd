//! Open transactions of a set, and which clients take part in them.
//!
//! State is keyed by session and number, never by connection: drivers reconnect and retry a commit, and Parse
//! Server runs one transaction over several connections. A transaction is given up for its client only when no
//! connection that used it is left and none has come back for a while.
//!
//! What is known here is what has passed: a server may have ended a transaction unheard (its time-out, a kill by
//! somebody else). So nothing here refuses anything, and what is not used is forgotten.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::{Duration, Instant};

use crate::command::TransactionId;
use crate::pool::Class;

/// Transactions remembered at once. Above it new ones are not tracked: they wait in the ordinary queue, and the
/// server's own transactionLifetimeLimitSeconds ends them.
const TRACKED_MAX: usize = 100_000;

/// Of them, those that one client takes part in: a driver's connection has one for each session that used it and
/// has not ended its transaction, so that a single client cannot fill the room of all.
const EACH_MAX: usize = 1_000;

/// A transaction that was not used for this long is gone: the server ends it 60 s after its start
/// (transactionLifetimeLimitSeconds) and looks every 30 s. With a higher limit on the server, one that pauses for
/// longer waits like ordinary work when it goes on.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(90);

/// When an abort that could not be done is tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The open transaction of a session. A session has one at a time: the next one ends it on the server, too.
#[derive(Debug)]
struct Open<M> {
    /// Tells it from others of the same session and number: one that was forgotten may be begun again.
    serial: u64,
    /// `txnNumber`.
    number: i64,
    /// The member that it runs on.
    member: Arc<M>,
    /// Connected clients that used it.
    users: usize,
    last_used: Instant,
    /// The last statement was commitTransaction: it may have been committed, so it is not aborted.
    committing: bool,
    /// It has most likely ended on the server: its last statement failed, or its session was killed.
    over: bool,
    /// A statement was about a tagged collection.
    tagged: bool,
    /// Was to be aborted, and could not be: when that is tried again, if it still has no users.
    again: Option<Instant>,
}

impl<M> Open<M> {
    fn is(&self, id: &TransactionId, member: &Arc<M>) -> bool {
        self.number == id.number && Arc::ptr_eq(&self.member, member)
    }

    fn is_orphan(&self, after: Duration) -> bool {
        let is_time = self.again.map_or(self.last_used.elapsed() >= after, |again| again <= Instant::now());
        self.users == 0 && is_time
    }

    /// It has a statement again.
    fn go_on(&mut self) {
        (self.last_used, self.again) = (Instant::now(), None);
    }
}

/// A transaction that nobody is left to end, taken out to be aborted.
#[derive(Debug)]
pub struct Orphan<M> {
    /// Which.
    pub id: TransactionId,
    open: Open<M>,
}

impl<M> Orphan<M> {
    /// The member that it runs on.
    pub fn member(&self) -> &Arc<M> {
        &self.open.member
    }

    /// Whether an abort has failed before.
    pub fn is_again(&self) -> bool {
        self.open.again.is_some()
    }
}

/// The open transactions that one client takes part in: by session, their serials.
#[derive(Debug, Default)]
pub struct Own(BTreeMap<[u8; 16], u64>);

impl Own {
    /// Makes the client a user of `open`, if it is none yet.
    fn join<M>(&mut self, session: [u8; 16], open: &mut Open<M>) {
        // A session's next transaction takes the place of its last one here, too.
        if self.0.insert(session, open.serial) != Some(open.serial) {
            open.users += 1;
        }
    }

    fn uses<M>(&self, session: &[u8; 16], open: &Open<M>) -> bool {
        self.0.get(session) == Some(&open.serial)
    }
}

/// The open transactions of a set, whose members are `M`.
#[derive(Debug)]
pub struct Transactions<M> {
    known: Mutex<Known<M>>,
    /// How many are open, so that sets without transactions pay one load.
    count: AtomicUsize,
}

#[derive(Debug)]
struct Known<M> {
    /// By session.
    open: HashMap<[u8; 16], Open<M>>,
    next_serial: u64,
}

impl<M> Default for Transactions<M> {
    fn default() -> Self {
        let known = Known { open: HashMap::new(), next_serial: 0 };
        Transactions { known: Mutex::new(known), count: AtomicUsize::new(0) }
    }
}

impl<M> Transactions<M> {
    /// Whether `id` is known to be open.
    pub fn is_open(&self, id: &TransactionId) -> bool {
        self.count.load(Ordering::Relaxed) > 0
            && self.locked().open.get(&id.session).is_some_and(|open| open.number == id.number)
    }

    /// A statement of `id` is about a tagged collection.
    pub fn touches_tagged(&self, id: &TransactionId) {
        if let Some(open) = self.locked().open.get_mut(&id.session) {
            open.tagged |= open.number == id.number;
        }
    }

    /// Whether any was; `None` if `id` is not known.
    pub fn is_tagged(&self, id: &TransactionId) -> Option<bool> {
        let known = self.locked();
        known.open.get(&id.session).filter(|open| open.number == id.number).map(|open| open.tagged)
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

    /// Notes that a statement of `id` for `member` has come and waits for a connection: its client takes part from
    /// now on, so that the transaction is not given up meanwhile.
    pub fn waits(&self, id: &TransactionId, member: &Arc<M>, own: &mut Own) {
        if self.is_empty() {
            return;
        }
        if let Some(open) = self.locked().open.get_mut(&id.session).filter(|open| open.is(id, member)) {
            open.go_on();
            own.join(id.session, open);
        }
    }

    /// Notes that a statement of `id` is sent to `member` by the client whose transactions are `own`. `step` says
    /// what the statement does.
    pub fn used(&self, id: &TransactionId, member: &Arc<M>, own: &mut Own, step: Step) {
        let mut known = self.locked();
        if step == Step::Start {
            known.start(id, member, own);
        }
        self.count.store(known.open.len(), Ordering::Relaxed);
        if let Some(open) = known.open.get_mut(&id.session).filter(|open| open.is(id, member)) {
            open.go_on();
            open.committing = step == Step::Commit;
            open.over = false;
            own.join(id.session, open);
        }
    }

    /// `member` told one of its users that `id` has ended: committed, aborted, or that there is none such. What other
    /// clients and other members are told says nothing: they may speak of another transaction.
    pub fn ended(&self, id: &TransactionId, member: &Arc<M>, own: &mut Own) {
        let mut known = self.locked();
        let open = known.open.get(&id.session);
        if open.is_some_and(|open| open.is(id, member) && own.uses(&id.session, open)) {
            known.open.remove(&id.session);
            own.0.remove(&id.session);
        }
        self.count.store(known.open.len(), Ordering::Relaxed);
    }

    /// `member` told one of its users that a statement of `id` failed: a server aborts the transaction then. Not
    /// forgotten, as it stays open if the statement failed before it was looked at.
    pub fn failed(&self, id: &TransactionId, member: &Arc<M>, own: &Own) {
        if let Some(open) = self.locked().open.get_mut(&id.session) {
            open.over |= open.is(id, member) && own.uses(&id.session, open);
        }
    }

    /// Sessions were ended or killed on `member`: those of `sessions`, or all.
    pub fn killed(&self, member: &Arc<M>, sessions: Option<&[[u8; 16]]>) {
        if self.is_empty() {
            return;
        }
        for (session, open) in &mut self.locked().open {
            let is_meant = sessions.is_none_or(|sessions| sessions.contains(session));
            open.over |= is_meant && Arc::ptr_eq(&open.member, member);
        }
    }

    /// A client that took part in `own` has gone.
    pub fn left(&self, own: &Own) {
        if own.0.is_empty() {
            return;
        }
        let mut known = self.locked();
        for (session, serial) in &own.0 {
            if let Some(open) = known.open.get_mut(session).filter(|open| open.serial == *serial) {
                open.users = open.users.saturating_sub(1);
                open.last_used = Instant::now();
            }
        }
    }

    /// How many a shutdown waits for: those that were used within `within`, and those that are still to be aborted, but
    /// for what could not be: its member may be away for longer.
    pub fn unfinished(&self, within: Duration) -> usize {
        let waited_for = |open: &&Open<M>| match open.users {
            0 => !open.over && !open.committing && open.again.is_none(),
            _ => !open.over && open.last_used.elapsed() < within,
        };
        self.locked().open.values().filter(waited_for).count()
    }

    /// Takes out one that nobody has used for `after` and nobody who used it is connected any more, to be aborted on
    /// its member. What may have been committed, and what was not used for so long that it is gone, is forgotten.
    pub fn take_orphan(&self, after: Duration) -> Option<Orphan<M>> {
        if self.is_empty() {
            return None;
        }
        let mut known = self.locked();
        known.open.retain(|_, open| {
            let committed = open.is_orphan(after) && open.committing;
            let is_untried = open.users == 0 && open.again.is_none();
            !committed && (is_untried || open.last_used.elapsed() < FORGOTTEN_AFTER)
        });
        let orphan = known.open.iter().find(|(_, open)| open.is_orphan(after)).map(|(session, _)| *session);
        let taken = orphan.and_then(|session| Some((session, known.open.remove(&session)?)));
        self.count.store(known.open.len(), Ordering::Relaxed);
        taken.map(|(session, open)| Orphan { id: TransactionId { session, number: open.number }, open })
    }

    /// `orphan` could not be aborted: its member may be out of reach, or overloaded by those who wait for this very
    /// transaction. It is an orphan again a little later, unless its session goes on meanwhile.
    pub fn not_aborted(&self, mut orphan: Orphan<M>) {
        orphan.open.again = Some(Instant::now() + AGAIN_AFTER);
        let mut known = self.locked();
        known.open.entry(orphan.id.session).or_insert(orphan.open);
        self.count.store(known.open.len(), Ordering::Relaxed);
    }

    fn locked(&self) -> MutexGuard<'_, Known<M>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<M> Known<M> {
    /// Takes up a new transaction, if `id` is new and there is room.
    fn start(&mut self, id: &TransactionId, member: &Arc<M>, own: &mut Own) {
        let last = self.open.get(&id.session);
        let moved = |last: &Open<M>| last.over && !Arc::ptr_eq(&last.member, member);
        if !last.is_none_or(|last| last.number < id.number || moved(last)) {
            return;
        }
        if own.0.len() >= EACH_MAX {
            own.0.retain(|session, serial| self.open.get(session).is_some_and(|open| open.serial == *serial));
        }
        let is_one_more = !own.0.contains_key(&id.session);
        let has_room = self.open.contains_key(&id.session) || self.open.len() < TRACKED_MAX;
        if !has_room || (is_one_more && own.0.len() >= EACH_MAX) {
            self.open.remove(&id.session);
            return;
        }
        self.next_serial += 1;
        let (serial, number, member) = (self.next_serial, id.number, member.clone());
        let last_used = Instant::now();
        let started = Open {
            serial,
            number,
            member,
            users: 0,
            last_used,
            committing: false,
            over: false,
            tagged: false,
            again: None,
        };
        self.open.insert(id.session, started);
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

#[cfg(test)]
mod tests;
