//! The clients that are connected, what each is waiting for, and since when.
//!
//! Time-outs of clients are kept by a sweep over all of them, not by a timer a message: arming and disarming one would
//! cost more than the rest of the bookkeeping, and none needs to be exact. A sweep finds out as well when the next client
//! can be over its time at the earliest; until then there is none.
//! A client that is over its time is aborted: dropping its session closes its socket, and with it whatever server
//! connection it holds half-way.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Duration;

use crate::metrics::{EndReason, Label};

/// The clock's beat, and how often a sweep may come. A client time-out is up to two of them late.
pub const SWEEP_EVERY: Duration = Duration::from_millis(250);

/// What a client's session is doing, as far as a time-out depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Has begun its first message.
    Login = 0,
    /// Between messages.
    Idle = 1,
    /// In the middle of sending a message.
    Reading = 2,
    /// Waits in a pool's queue, which has a time-out of its own.
    Queueing = 3,
    /// Its request is being written to the server.
    Sending = 4,
    /// Its request is on the server.
    Awaiting = 5,
    /// A reply is being written to it.
    Writing = 6,
    /// Holds a server connection after a legacy write until its getLastError, for a time of its own.
    LastError = 7,
    /// Waits for data of a cursor that may be long in coming, on the server or between two rounds: ended at once when
    /// the proxy shuts down, as a server ends it.
    AwaitingData = 8,
    /// Connected, and has not sent a byte: a spare connection of a driver that greets at first use, or half open. A
    /// server keeps both; here its time-out counts only while there is no room for others.
    Silent = 9,
}

const PHASES: usize = 10;

/// One client as the sweep and the shutdown see it.
#[derive(Debug)]
pub struct Entry {
    /// torana's number for this connection, unique in the process: its `connectionId` in hello.
    pub id: i32,
    /// The listener that it came in on.
    listener: u32,
    /// A number of that listener's member.
    member: usize,
    /// The longest that it may wait for a reply of the server; for ever if zero.
    reply_timeout: Duration,
    phase: AtomicU8,
    since: AtomicU32,
    end: AtomicU8,
    clock: Arc<AtomicU32>,
}

impl Entry {
    /// Enters `phase` now.
    #[inline]
    pub fn enter(&self, phase: Phase) {
        // In this order: a sweep on another thread must not see the new phase with the old one's time.
        self.since.store(self.clock.load(Ordering::Relaxed), Ordering::Relaxed);
        self.phase.store(phase as u8, Ordering::Release);
    }

    /// Whether it has not sent a whole message yet.
    pub fn is_at_login(&self) -> bool {
        [Phase::Silent as u8, Phase::Login as u8].contains(&self.phase.load(Ordering::Relaxed))
    }

    /// The client has begun to send a message. Its first one has the login time-out.
    pub fn begins_message(&self) {
        self.enter(if self.is_at_login() { Phase::Login } else { Phase::Reading });
    }

    /// Notes progress inside the current phase: a stalled reader is one that takes nothing, not one that takes long.
    #[inline]
    pub fn progress(&self) {
        self.since.store(self.clock.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Why the sweep or the shutdown ended this client, if it did.
    pub fn ended(&self) -> Option<EndReason> {
        match self.end.load(Ordering::Acquire) {
            0 => None,
            number => EndReason::all().nth(usize::from(number) - 1),
        }
    }

    /// Whether a request of it is under way.
    fn is_busy(&self) -> bool {
        let idle = [Phase::Silent as u8, Phase::Login as u8, Phase::Idle as u8, Phase::Reading as u8];
        !idle.contains(&self.phase.load(Ordering::Relaxed))
    }

    /// Whether it holds a server connection, or may: those who wait for data hold one only now and then.
    fn is_in_flight(&self) -> bool {
        self.is_busy() && self.phase.load(Ordering::Relaxed) != Phase::Queueing as u8
    }
}

/// The longest that a client may stay in a phase; zero means for ever. Indexed by [`Phase`].
#[derive(Debug, Clone, Copy, Default)]
pub struct PhaseLimits([(Duration, Option<EndReason>); PHASES]);

impl PhaseLimits {
    /// Bounds `phase` to `longest` (zero: no bound), ending it with `reason`.
    pub fn with(mut self, phase: Phase, longest: Duration, reason: EndReason) -> Self {
        self.0[phase as usize] = (longest, Some(reason));
        self
    }

    fn shortest(&self) -> Duration {
        let bounds = self.0.iter().filter(|(longest, reason)| reason.is_some() && !longest.is_zero());
        bounds.map(|(longest, _)| *longest).min().unwrap_or(Duration::MAX)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// All clients of a proxy.
#[derive(Debug)]
pub struct Registry {
    clock: Arc<AtomicU32>,
    next_id: AtomicI32,
    clients: Mutex<HashMap<i32, (Arc<Entry>, AbortHandle)>>,
    limits: PhaseLimits,
    /// The shortest of all time-outs, those for a server's reply included; milliseconds.
    shortest: AtomicU64,
    /// It has just become shorter.
    is_shorter: AtomicBool,
    /// Somebody found no descriptor since the last sweep.
    is_full: AtomicBool,
    /// Members for whose clients there was no room since the last sweep.
    full_members: Mutex<Vec<usize>>,
    draining: watch::Sender<bool>,
    /// The same, for every message to look at.
    is_draining: AtomicBool,
}

impl Registry {
    /// An empty one.
    pub fn new(limits: PhaseLimits) -> Self {
        Registry {
            clock: Arc::default(),
            next_id: AtomicI32::new(0),
            clients: Mutex::default(),
            shortest: AtomicU64::new(millis(limits.shortest())),
            is_shorter: AtomicBool::new(false),
            limits,
            is_full: AtomicBool::new(false),
            full_members: Mutex::default(),
            draining: watch::Sender::new(false),
            is_draining: AtomicBool::new(false),
        }
    }

    /// The entry of a new client of `listener` and `member`, in phase `Silent`. It counts once [`Registry::insert`] was called.
    pub fn entry(&self, listener: u32, member: usize, reply_timeout: Option<Duration>) -> Arc<Entry> {
        if let Some(timeout) = reply_timeout {
            let timeout = millis(timeout);
            if self.shortest.fetch_min(timeout, Ordering::Relaxed) > timeout {
                self.is_shorter.store(true, Ordering::Release);
            }
        }
        let id = self.next_id.fetch_add(1, Ordering::Relaxed).wrapping_add(1) & i32::MAX;
        Arc::new(Entry {
            id,
            listener,
            member,
            reply_timeout: reply_timeout.unwrap_or_default(),
            phase: AtomicU8::new(Phase::Silent as u8),
            since: AtomicU32::new(self.clock.load(Ordering::Relaxed)),
            end: AtomicU8::new(0),
            clock: self.clock.clone(),
        })
    }

    /// Takes up a client whose session `spawn` starts. The list is locked meanwhile, so that a session that ends at
    /// once cannot be forgotten before it was known.
    pub fn insert(&self, entry: Arc<Entry>, spawn: impl FnOnce() -> AbortHandle) {
        let mut clients = self.locked();
        let abort = spawn();
        clients.insert(entry.id, (entry, abort));
    }

    /// Forgets a client that has ended.
    pub fn remove(&self, id: i32) {
        self.locked().remove(&id);
    }

    /// Ends the clients of `listener`: their sessions are dropped where they stand.
    pub fn end_listener(&self, listener: u32, reason: EndReason) {
        let clients = self.locked();
        let theirs = clients.values().filter(|(entry, _)| entry.listener == listener);
        theirs.for_each(|(entry, abort)| Self::abort(entry, abort, reason));
    }

    /// Ends the clients of `listener` whose request is on the server, or half of its reply.
    pub fn end_in_flight(&self, listener: u32, reason: EndReason) {
        let clients = self.locked();
        let theirs = clients.values().filter(|(entry, _)| entry.listener == listener && entry.is_in_flight());
        theirs.for_each(|(entry, abort)| Self::abort(entry, abort, reason));
    }

    /// Ends the clients in `phase`.
    pub fn end_phase(&self, phase: Phase, reason: EndReason) {
        let clients = self.locked();
        let theirs = clients.values().filter(|(entry, _)| entry.phase.load(Ordering::Relaxed) == phase as u8);
        theirs.for_each(|(entry, abort)| Self::abort(entry, abort, reason));
    }

    /// Ends all clients.
    pub fn end_all(&self, reason: EndReason) {
        self.locked().values().for_each(|(entry, abort)| Self::abort(entry, abort, reason));
    }

    /// The process has no descriptor left: the next sweep makes room, if there are clients that never said anything.
    pub fn note_full(&self) {
        self.is_full.store(true, Ordering::Relaxed);
    }

    /// A client of `member` found no room among those of the same member: the next sweep makes some there.
    pub fn note_member_full(&self, member: usize) {
        let mut full = self.full_members.lock().unwrap_or_else(PoisonError::into_inner);
        if !full.contains(&member) {
            full.push(member);
        }
    }

    /// How many clients have a request under way.
    pub fn busy(&self) -> usize {
        self.locked().values().filter(|(entry, _)| entry.is_busy()).count()
    }

    /// From now on requests outside open transactions are refused with ShutdownInProgress.
    pub fn drain(&self) {
        self.is_draining.store(true, Ordering::Relaxed);
        self.draining.send_replace(true);
    }

    /// Whether the proxy is shutting down.
    #[inline]
    pub fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Relaxed)
    }

    /// Becomes true when the proxy begins to shut down.
    pub fn draining(&self) -> watch::Receiver<bool> {
        self.draining.subscribe()
    }

    /// Sweeps for ever. Cancel safe.
    pub async fn sweep(&self) {
        let mut ticks = tokio::time::interval(SWEEP_EVERY);
        let mut idle_for = Duration::ZERO;
        loop {
            ticks.tick().await;
            let now = self.clock.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
            let is_full = self.is_full.swap(false, Ordering::Relaxed);
            idle_for = idle_for.saturating_sub(SWEEP_EVERY);
            let is_shorter = self.is_shorter.swap(false, Ordering::Acquire);
            let full = std::mem::take(&mut *self.full_members.lock().unwrap_or_else(PoisonError::into_inner));
            if is_full || is_shorter || !full.is_empty() || idle_for.is_zero() {
                idle_for = self.sweep_once(now, |member| is_full || full.contains(&member));
            }
        }
    }

    /// Ends who is over its time. Until the time returned is over nobody else can be: neither one who was found waiting
    /// nor one who enters a phase now.
    fn sweep_once(&self, now: u32, is_full: impl Fn(usize) -> bool) -> Duration {
        let mut idle_for = Duration::from_millis(self.shortest.load(Ordering::Relaxed));
        for (entry, abort) in self.locked().values() {
            let phase = usize::from(entry.phase.load(Ordering::Acquire));
            let awaits = [Phase::Awaiting as usize, Phase::AwaitingData as usize].contains(&phase);
            let (longest, reason) = match awaits {
                true => (entry.reply_timeout, Some(EndReason::ReplyTimeout)),
                false => self.limits.0[phase.min(PHASES - 1)],
            };
            if phase == Phase::Silent as usize && !is_full(entry.member) {
                continue;
            }
            let since = SWEEP_EVERY * now.wrapping_sub(entry.since.load(Ordering::Relaxed));
            match reason.filter(|_| !longest.is_zero()) {
                Some(reason) if since > longest => Self::abort(entry, abort, reason),
                Some(_) => idle_for = idle_for.min(longest - since),
                None => {}
            }
        }
        idle_for
    }

    fn abort(entry: &Entry, abort: &AbortHandle, reason: EndReason) {
        let number = reason.index() as u8 + 1;
        // The first reason stands.
        let _ = entry.end.compare_exchange(0, number, Ordering::AcqRel, Ordering::Relaxed);
        abort.abort();
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, HashMap<i32, (Arc<Entry>, AbortHandle)>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_client_that_stays_too_long_in_a_phase_is_ended_with_its_reason() {
        let limits =
            PhaseLimits::default().with(Phase::Login, Duration::from_secs(2), EndReason::LoginTimeout);
        let registry = Arc::new(Registry::new(limits));
        let sweeping = registry.clone();
        tokio::spawn(async move { sweeping.sweep().await });
        let mut sessions = Vec::new();
        for _ in 0..2 {
            let entry = registry.entry(0, 0, None);
            entry.begins_message();
            let task = tokio::spawn(std::future::pending::<()>());
            registry.insert(entry.clone(), || task.abort_handle());
            sessions.push((entry, task));
        }
        sessions[1].0.enter(Phase::Idle);
        tokio::time::sleep(Duration::from_millis(1900)).await;
        assert!(!sessions[0].1.is_finished());
        tokio::time::sleep(Duration::from_millis(900)).await;
        assert!(sessions[0].1.is_finished());
        assert_eq!(sessions[0].0.ended(), Some(EndReason::LoginTimeout));
        assert!(!sessions[1].1.is_finished());
        assert_eq!(sessions[1].0.ended(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_makes_room_among_the_clients_of_the_same_member() {
        let limits =
            PhaseLimits::default().with(Phase::Silent, Duration::from_secs(2), EndReason::LoginTimeout);
        let registry = Arc::new(Registry::new(limits));
        let sweeping = registry.clone();
        tokio::spawn(async move { sweeping.sweep().await });
        let [one, other] = [1, 2].map(|member| {
            let entry = registry.entry(0, member, None);
            let task = tokio::spawn(std::future::pending::<()>());
            registry.insert(entry.clone(), || task.abort_handle());
            entry
        });
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!((one.ended(), other.ended()), (None, None));
        registry.note_member_full(1);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!((one.ended(), other.ended()), (Some(EndReason::LoginTimeout), None));
        registry.note_full();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(other.ended(), Some(EndReason::LoginTimeout));
    }

    #[tokio::test(start_paused = true)]
    async fn a_time_out_that_is_shorter_than_all_before_is_kept_too() {
        let long =
            PhaseLimits::default().with(Phase::Login, Duration::from_secs(600), EndReason::LoginTimeout);
        let registry = Arc::new(Registry::new(long));
        let sweeping = registry.clone();
        tokio::spawn(async move { sweeping.sweep().await });
        // Long enough for a sweep that finds nothing to do for ten minutes.
        tokio::time::sleep(Duration::from_secs(5)).await;
        let waits = async |phase| {
            let entry = registry.entry(0, 0, Some(Duration::from_secs(1)));
            entry.enter(phase);
            let task = tokio::spawn(std::future::pending::<()>());
            registry.insert(entry.clone(), || task.abort_handle());
            let _ = tokio::time::timeout(Duration::from_millis(1600), task).await;
            entry.ended()
        };
        assert_eq!(waits(Phase::Awaiting).await, Some(EndReason::ReplyTimeout));
        assert_eq!(waits(Phase::Awaiting).await, Some(EndReason::ReplyTimeout));
        assert_eq!(waits(Phase::Login).await, None);
    }
}
