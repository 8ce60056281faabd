//! The player: sends each job when it is due, on the connection that it belongs to, after all that it has to wait for.
//!
//! One thread does it all: it sleeps on the clock and on all sockets at once, to the microsecond, and never waits for
//! anything else. The schedule is an open loop: a job is due when it is due, however slow the target is; what it could
//! not be sent for in time waits in its connection's line, and its latency counts from when it was due. Memory stays
//! bounded: when too much waits, no more is taken from the planner, and what comes later comes with its own due times.
//!
//! A job is never sent twice: once a byte of it may have left, it has an answer or has failed.

mod clock;
mod connection;
mod inbox;
mod member;
mod outbox;
mod replies;
mod sockets;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::hash::Map;
use super::job::{ConnectionId, End, Item, Job, Opening, Outcome};
use super::order::Done;
use super::poller::Poller;
use super::remap::{self, Maps, Unmatched};
use super::schedule::Speed;
use super::scorecard::Failure;
use super::target::{Routes, Target};
use connection::{Connection, InFlight, Queued, State};
pub use inbox::{Inbox, Sender, inbox};
use member::Member;
pub(crate) use outbox::bytes;
pub use outbox::{Backlog, Outbox};

/// Time to connect before the first job of a schedule is due, nanoseconds.
const LEAD: u64 = 200_000_000;

/// Items that are taken from the planner ahead of their time.
const COMING_MAX: usize = 4096;

/// Bytes of jobs that are taken ahead.
const COMING_BYTES_MAX: usize = 64 << 20;

/// Jobs that are due and wait in the lines of their connections: a schedule must be able to run ahead of a slow target for
/// a while.
const QUEUED_MAX: usize = 500_000;

/// The same at the highest speed, where more would be of no use.
const QUEUED_AT_MAX: usize = 20_000;

/// Bytes of jobs in lines.
const QUEUED_BYTES_MAX: usize = 256 << 20;

/// How often deadlines are looked at, nanoseconds.
const SWEEP_EVERY: u64 = 100_000_000;

/// Bytes of one read; the space is shared by all sockets.
const SCRATCH: usize = 256 * 1024;

/// The token of the planner's signal.
const WAKE: u64 = u64::MAX;

/// How it is played.
#[derive(Debug, Clone)]
pub struct PlayOptions {
    /// How fast.
    pub speed: Speed,
    /// Open connections, at most.
    pub concurrency: usize,
    /// How long a connection attempt may take.
    pub connect_limit: Duration,
    /// How long an answer may take.
    pub reply_limit: Duration,
    /// When to stop.
    pub run_for: Option<Duration>,
}

/// What ends a replay early.
#[derive(Debug, Clone)]
pub struct Stops {
    /// Set from outside.
    pub interrupted: Arc<AtomicBool>,
    /// Set by the player: the planner has nothing left to do.
    pub stop: Arc<AtomicBool>,
}

/// How a replay ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// All jobs were played.
    Whole,
    /// It was stopped from outside.
    Stopped,
    /// Its time was up.
    TimeUp,
    /// A member was lost: which, and its last error, in words.
    Lost(String),
}

/// Plays the jobs of an [`Inbox`].
pub struct Player {
    options: PlayOptions,
    members: Vec<Member>,
    routes: Routes,
    poller: Poller,
    scratch: Vec<u8>,
    inbox: Inbox,
    coming: VecDeque<Item>,
    coming_bytes: usize,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    by_id: Map<ConnectionId, usize>,
    /// Connections that may be able to go on.
    work: VecDeque<usize>,
    /// Connections that wait for the end of a job.
    waiting: Map<u64, Vec<usize>>,
    /// Connections that wait for a socket, while as many are open as may be.
    starved: VecDeque<usize>,
    /// Where the search for a socket that can be spared goes on.
    hand: usize,
    open: usize,
    serial: u64,
    queued: usize,
    queued_bytes: usize,
    in_flight: usize,
    done: Done,
    done_below: Arc<AtomicU64>,
    maps: Maps,
    outbox: Outbox,
    start: Instant,
    next_sweep: u64,
    /// The planner may have more than was taken.
    has_more: bool,
    stops: Stops,
    ended: Option<(Ended, u64)>,
}

impl Player {
    /// To `target`. Tells in `done_below` below which number all jobs are over.
    pub fn new(
        options: PlayOptions,
        target: &Target,
        inbox: Inbox,
        outbox: Outbox,
        stops: Stops,
        done_below: Arc<AtomicU64>,
    ) -> io::Result<Player> {
        let poller = Poller::new()?;
        poller.add(inbox.signal(), WAKE, false)?;
        let members = target.members.iter().map(|(name, address)| Member::new(name.clone(), *address));
        Ok(Player {
            options,
            members: members.collect(),
            routes: Routes::new(target.members.len()),
            poller,
            scratch: vec![0; SCRATCH],
            inbox,
            coming: VecDeque::new(),
            coming_bytes: 0,
            connections: Vec::new(),
            free: Vec::new(),
            by_id: Map::default(),
            work: VecDeque::new(),
            waiting: Map::default(),
            starved: VecDeque::new(),
            hand: 0,
            open: 0,
            serial: 0,
            queued: 0,
            queued_bytes: 0,
            in_flight: 0,
            done: Done::default(),
            done_below,
            maps: Maps::new(rand::random()),
            outbox,
            start: Instant::now(),
            next_sweep: 0,
            has_more: true,
            stops,
            ended: None,
        })
    }

    /// Plays until there is nothing left, or it is stopped.
    pub fn run(mut self) -> io::Result<Ended> {
        // The kernel may wake a sleeper 50 us late for the sake of batching, which is as long as many operations take.
        let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
        self.inbox.wait_first(&self.stops.interrupted);
        self.start = Instant::now();
        loop {
            self.take_in();
            let next_due = self.release();
            self.go_on();
            self.look_at_clock();
            if self.is_finished() {
                break;
            }
            let wait = self.wait_until(next_due);
            self.outbox.hand_over(wait > Duration::from_millis(1));
            let events = self.poller.wait(wait)?;
            for index in 0..events {
                if let Some(event) = self.poller.event(index) {
                    match event.token {
                        WAKE => {
                            self.inbox.heard();
                            self.has_more = true;
                        }
                        _ => self.on_event(event),
                    }
                }
            }
        }
        self.outbox.hand_over(true);
        Ok(self.ended.map_or(Ended::Whole, |(ended, _)| ended))
    }

    /// Nanoseconds since the replay began.
    fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    fn is_paced(&self) -> bool {
        self.options.speed != Speed::Max
    }

    fn is_full(&self) -> bool {
        let jobs_max = if self.is_paced() { QUEUED_MAX } else { QUEUED_AT_MAX };
        self.queued >= jobs_max || self.queued_bytes >= QUEUED_BYTES_MAX
    }

    fn is_finished(&self) -> bool {
        self.inbox.is_over() && self.coming.is_empty() && self.queued == 0 && self.in_flight == 0
    }

    fn has_room(&self) -> bool {
        self.coming.len() < COMING_MAX && self.coming_bytes < COMING_BYTES_MAX
    }

    /// Takes what the planner has, as far as there is room.
    fn take_in(&mut self) {
        while self.has_room() {
            let Some(batch) = self.inbox.next() else {
                self.has_more = false;
                return;
            };
            for item in batch {
                match item {
                    // Ahead of its first job, so that this one does not wait for a handshake.
                    Item::Open(opening) => self.announce(&opening),
                    Item::Job(job) if self.ended.is_some() => self.end_unsent(job),
                    Item::Job(job) => {
                        self.coming_bytes += job.bytes();
                        self.coming.push_back(Item::Job(job));
                    }
                    Item::Close(id) => self.coming.push_back(Item::Close(id)),
                }
            }
            if self.ended.is_some() {
                self.drop_unsent();
            }
        }
        self.has_more = true;
    }

    fn announce(&mut self, opening: &Opening) {
        let member = self.routes.member(opening);
        let slot = self.add(opening.connection, member);
        if self.open < self.options.concurrency && self.ended.is_none() {
            self.with(slot, |player, connection| player.want_socket(slot, connection));
        }
    }

    fn add(&mut self, id: ConnectionId, member: usize) -> usize {
        let connection = Some(Connection::new(id, member));
        let slot = match self.free.pop() {
            Some(slot) => {
                self.connections[slot] = connection;
                slot
            }
            None => {
                self.connections.push(connection);
                self.connections.len() - 1
            }
        };
        self.by_id.insert(id, slot);
        slot
    }

    /// Puts the jobs that are due into the lines of their connections; gives when the next one is.
    fn release(&mut self) -> Option<u64> {
        while !self.is_full() {
            let now = self.now();
            let due = match self.coming.front()? {
                Item::Job(job) => self.due(job, now),
                _ => now,
            };
            if due > now {
                return Some(due);
            }
            match self.coming.pop_front()? {
                Item::Job(job) => {
                    self.coming_bytes = self.coming_bytes.saturating_sub(job.bytes());
                    self.enqueue(job, due);
                }
                Item::Close(id) => {
                    if let Some(slot) = self.by_id.get(&id).copied() {
                        self.with(slot, |_, connection| connection.is_last = true);
                        self.work.push_back(slot);
                    }
                }
                Item::Open(_) => {}
            }
        }
        None
    }

    fn due(&self, job: &Job, now: u64) -> u64 {
        self.options.speed.due(job.time).map_or(now, |due| due.saturating_add(LEAD))
    }

    fn enqueue(&mut self, job: Box<Job>, due: u64) {
        let slot = self.by_id.get(&job.connection).copied();
        let slot = slot.unwrap_or_else(|| self.add(job.connection, 0));
        self.queued += 1;
        self.queued_bytes += job.bytes();
        if let Some(connection) = self.connections.get_mut(slot).and_then(Option::as_mut) {
            if connection.jobs.is_empty() && connection.in_flight.is_none() {
                connection.is_blocked = false;
                self.work.push_back(slot);
            }
            connection.jobs.push_back(Queued { job, due, ready: due });
        }
    }

    /// Lets all connections go on that may be able to.
    fn go_on(&mut self) {
        while let Some(slot) = self.work.pop_front() {
            self.with(slot, |player, connection| player.advance(slot, connection));
        }
    }

    /// Acts on a connection, which is taken out meanwhile, and afterwards removed if nothing is left of it.
    fn with(&mut self, slot: usize, act: impl FnOnce(&mut Player, &mut Connection)) {
        let Some(mut connection) = self.connections.get_mut(slot).and_then(Option::take) else { return };
        act(self, &mut connection);
        let is_over = connection.is_last && connection.jobs.is_empty() && connection.in_flight.is_none();
        if is_over {
            self.release_socket(&mut connection);
            self.by_id.remove(&connection.id);
            self.free.push(slot);
        } else if let Some(place) = self.connections.get_mut(slot) {
            *place = Some(connection);
        }
    }

    /// Sends what can be sent on this connection.
    fn advance(&mut self, slot: usize, connection: &mut Connection) {
        while connection.in_flight.is_none() {
            let Some(front) = connection.jobs.front() else {
                return self.spare_socket(connection);
            };
            let awaited = front.job.waits_for.iter().copied().find(|job| !self.done.is_done(*job));
            if let Some(job) = awaited {
                connection.is_blocked = true;
                self.waiting.entry(job).or_default().push(slot);
                return self.spare_socket(connection);
            }
            if connection.state != State::Open {
                connection.is_blocked = true;
                return self.want_socket(slot, connection);
            }
            self.send(slot, connection);
        }
    }

    fn send(&mut self, slot: usize, connection: &mut Connection) {
        let Some(mut queued) = connection.jobs.pop_front() else { return };
        self.queued -= 1;
        self.queued_bytes = self.queued_bytes.saturating_sub(queued.job.bytes());
        if std::mem::take(&mut connection.is_blocked) {
            queued.ready = self.now().max(queued.due);
        }
        if let Err(Unmatched) = self.maps.rewrite(&mut queued.job, connection.member) {
            connection.is_blocked = true;
            return self.end(queued, 0, End::Unmatched);
        }
        remap::stamp(&mut queued.job.message, connection.next_request_id());
        let sent = self.now();
        let Some(link) = &mut connection.link else {
            return self.end(queued, 0, End::Failed(Failure::Connect));
        };
        if link.send(&queued.job.message, &self.poller).is_err() {
            self.end(queued, sent, End::Failed(Failure::Lost));
            return self.broke(slot, connection, Failure::Lost);
        }
        if queued.job.wants_none && !link.is_sending() {
            return self.end(queued, sent, End::Unanswered);
        }
        connection.deadline = sent.saturating_add(self.options.reply_limit.as_nanos() as u64);
        connection.in_flight = Some(InFlight { queued, sent });
        self.in_flight += 1;
    }

    /// The job is over now: whoever waited for it may go on.
    fn end(&mut self, queued: Queued, sent: u64, end: End) {
        self.end_at(self.now(), queued, sent, end);
    }

    fn end_at(&mut self, done: u64, queued: Queued, sent: u64, end: End) {
        let number = queued.job.number;
        let Queued { job, due, ready } = queued;
        self.outbox.push(Outcome { job, due, ready, sent, done, end }, !self.is_paced());
        self.done.finish(number);
        self.done_below.store(self.done.below(), Ordering::Relaxed);
        if let Some(waiting) = self.waiting.remove(&number) {
            self.work.extend(waiting);
        }
    }
}
