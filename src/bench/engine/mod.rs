//! The engine: sends what a source makes up, when it is due, over as many connections as there are clients, and measures.
//!
//! One thread does it all, and sleeps on the clock and on all sockets at once, to the microsecond. In an open loop an
//! operation is due by the clock alone, and any client that is free sends it; while none is, it waits, and its latency
//! counts from when it was due. In a closed loop each client asks again as soon as it was answered. A cursor is read to its
//! end, which is the end of its operation. Nothing is sent twice.

mod client;
mod figures;
mod replies;
mod sockets;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::pace::{Joining, Pace};
use crate::replay::player::Ended;
use crate::replay::poller::Poller;
use crate::replay::scorecard::{Failure, Skip};
use client::{Client, InFlight, State};
pub use figures::Figures;

/// How often deadlines are looked at and progress is shown, nanoseconds.
const SWEEP_EVERY: u64 = 100_000_000;

/// After its end, what was sent has so long to be answered, nanoseconds.
const STOPPING: u64 = 5_000_000_000;

/// A run ends when the target could not be reached for so long, nanoseconds: as long as drivers look for a server.
const GIVE_UP: u64 = 30_000_000_000;

/// Bytes of one read; the space is shared by all sockets.
const SCRATCH: usize = 256 * 1024;

/// Makes operations up.
pub trait Source {
    /// Writes the next one, a whole message with this requestID, to `out`, which is empty; gives its kind.
    fn next(&mut self, request_id: i32, out: &mut Vec<u8>) -> usize;
}

/// How it is sent.
#[derive(Debug, Clone)]
pub struct Settings {
    /// To whom.
    pub address: SocketAddr,
    /// Connections.
    pub clients: usize,
    /// The open loop's schedule; a closed loop if `None`.
    pub pace: Option<Pace>,
    /// How long the clients of a closed loop take to join.
    pub ramp: Duration,
    /// For so long.
    pub time: Option<Duration>,
    /// So many operations.
    pub operations: Option<u64>,
    /// The first answer that is an error ends it.
    pub stops_at_error: bool,
    /// How long a connection attempt may take.
    pub connect_limit: Duration,
    /// How long an answer may take.
    pub reply_limit: Duration,
}

/// Sends and measures.
pub struct Engine<'s> {
    settings: Settings,
    source: &'s mut dyn Source,
    interrupted: Arc<AtomicBool>,
    joining: Joining,
    poller: Poller,
    scratch: Vec<u8>,
    message: Vec<u8>,
    clients: Vec<Client>,
    /// Clients with an open connection and nothing to wait for, the one that has been so longest first.
    free: VecDeque<usize>,
    open: usize,
    connecting: usize,
    serial: u64,
    in_flight: usize,
    /// Operations that were sent.
    number: u64,
    start: Instant,
    next_sweep: u64,
    /// Since when no connection is open.
    down_since: Option<u64>,
    last_error: String,
    ended: Option<(Ended, u64)>,
    figures: Figures,
}

impl<'s> Engine<'s> {
    /// For a source of `kinds` kinds of operations.
    pub fn new(
        settings: Settings,
        source: &'s mut dyn Source,
        kinds: usize,
        interrupted: Arc<AtomicBool>,
    ) -> io::Result<Engine<'s>> {
        let joining = Joining::new(settings.clients, settings.ramp);
        let clients = (0..settings.clients).map(|_| Client::new()).collect();
        let figures = Figures::new(kinds, settings.pace.is_some());
        Ok(Engine {
            settings,
            source,
            interrupted,
            joining,
            poller: Poller::new()?,
            scratch: vec![0; SCRATCH],
            message: Vec::new(),
            clients,
            free: VecDeque::new(),
            open: 0,
            connecting: 0,
            serial: 0,
            in_flight: 0,
            number: 0,
            start: Instant::now(),
            next_sweep: 0,
            down_since: None,
            last_error: String::new(),
            ended: None,
            figures,
        })
    }

    /// Connects, sends all there is to send, and gives what was measured. `show` is called ten times a second.
    pub fn run(mut self, show: &mut dyn FnMut(&Figures)) -> io::Result<(Figures, Ended)> {
        // The kernel may wake a sleeper 50 us late for the sake of batching, which is as long as many operations take.
        let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
        self.connect_all()?;
        if self.open == 0 && !self.interrupted.load(Ordering::Relaxed) {
            let error = std::mem::take(&mut self.last_error);
            return Ok((self.figures, Ended::Lost(error)));
        }
        self.begin();
        loop {
            self.send_due();
            self.look_at_clock(show);
            if self.ended.is_some() && self.in_flight == 0 {
                break;
            }
            let events = self.poller.wait(self.wait_until())?;
            for index in 0..events {
                self.take_event(index);
                // Who is free now must not wait for all the others' answers to be looked into.
                self.send_due();
            }
        }
        self.figures.further_batches = self.clients.iter().map(|client| client.batches).sum();
        Ok((self.figures, self.ended.map_or(Ended::Whole, |(ended, _)| ended)))
    }

    /// All clients connect before the clock begins to run.
    fn connect_all(&mut self) -> io::Result<()> {
        let limit = self.settings.connect_limit.as_nanos() as u64;
        while self.open < self.clients.len() && !self.interrupted.load(Ordering::Relaxed) {
            let now = self.now();
            // Who could not connect in time tries on while the others have begun; but nobody is waited for forever.
            if now > limit || (self.open == 0 && self.connecting == 0 && !self.last_error.is_empty()) {
                break;
            }
            self.connect_some(now);
            self.give_up_late(now);
            let events = self.poller.wait(Duration::from_millis(1))?;
            (0..events).for_each(|index| self.take_event(index));
        }
        self.figures.connected = self.open;
        Ok(())
    }

    fn begin(&mut self) {
        let before = self.now();
        self.start = Instant::now();
        self.next_sweep = 0;
        for client in &mut self.clients {
            client.shift(before);
        }
    }

    fn take_event(&mut self, index: usize) {
        if let Some(event) = self.poller.event(index) {
            self.on_event(event);
        }
    }

    /// Nanoseconds since the run began.
    fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    /// Sends all that is due, as long as a client is free.
    fn send_due(&mut self) {
        while self.ended.is_none() && !self.is_all_sent() {
            let Some(slot) = self.free.front().copied() else { return };
            let now = self.now();
            let free_since = self.clients[slot].free_since;
            let due = match self.settings.pace {
                Some(pace) => pace.due(self.number),
                None if self.in_flight < self.joining.count(now) => free_since,
                None => return,
            };
            if due > now || self.time_limit() <= due.max(now) {
                return;
            }
            self.free.pop_front();
            self.send(slot, due, due.max(free_since));
        }
    }

    /// Nothing that is due from here on is sent, nanoseconds since the run began.
    fn time_limit(&self) -> u64 {
        self.settings.time.map_or(u64::MAX, |time| time.as_nanos() as u64)
    }

    fn is_all_sent(&self) -> bool {
        self.settings.operations.is_some_and(|all| self.number >= all)
    }

    fn send(&mut self, slot: usize, due: u64, ready: u64) {
        self.message.clear();
        let client = &mut self.clients[slot];
        let kind = self.source.next(client.next_request_id(), &mut self.message);
        self.number += 1;
        self.figures.card.captured += 1;
        let sent = self.now();
        let client = &mut self.clients[slot];
        client.in_flight = Some(InFlight { kind, due, ready, sent });
        client.deadline = sent.saturating_add(self.settings.reply_limit.as_nanos() as u64);
        self.in_flight += 1;
        let link = client.link.as_mut();
        let is_sent = link.is_some_and(|link| link.send(&self.message, &self.poller).is_ok());
        if !is_sent {
            self.broke(slot, Failure::Lost, "the connection broke");
        }
    }

    /// Until when there is nothing to do but what the sockets tell.
    fn wait_until(&self) -> Duration {
        let now = self.now();
        let sweep = Duration::from_nanos(self.next_sweep.saturating_sub(now));
        if self.ended.is_some() || self.is_all_sent() || self.free.is_empty() {
            // Whole milliseconds are one system call less, and nothing has its time here.
            return Duration::from_millis(sweep.as_millis() as u64 + 1);
        }
        let next = match self.settings.pace {
            Some(pace) => Some(pace.due(self.number)),
            None => self.joining.more_than(self.in_flight),
        };
        let next = next.unwrap_or(u64::MAX).min(self.time_limit());
        Duration::from_nanos(next.saturating_sub(now)).min(sweep)
    }

    fn look_at_clock(&mut self, show: &mut dyn FnMut(&Figures)) {
        let now = self.now();
        self.look_at_end(now);
        if now < self.next_sweep {
            return;
        }
        self.next_sweep = now + SWEEP_EVERY;
        self.connect_some(now);
        self.give_up_late(now);
        show(&self.figures);
        let since = *self.down_since.get_or_insert(now);
        if self.open > 0 {
            self.down_since = None;
        } else if now.saturating_sub(since) > GIVE_UP {
            let why = format!("the target could not be reached for 30 s ({})", self.last_error);
            self.end(Ended::Lost(why), now);
        }
        if self.interrupted.load(Ordering::Relaxed) {
            self.end(Ended::Stopped, now);
        }
        if self.ended.as_ref().is_some_and(|(_, since)| now.saturating_sub(*since) > STOPPING) {
            self.give_up_all();
        }
    }

    fn look_at_end(&mut self, now: u64) {
        if now >= self.time_limit() {
            self.end(Ended::Whole, now);
        } else if self.is_all_sent() {
            self.end_with_all_sent(now);
        } else if self.settings.stops_at_error && self.figures.overall.errors > 0 {
            self.end(Ended::Lost("the target answered with an error".to_owned()), now);
        }
    }

    /// What was sent last has as much time as any other to be answered.
    fn end_with_all_sent(&mut self, now: u64) {
        if self.in_flight == 0 {
            self.end(Ended::Whole, now);
        }
    }

    /// Nothing more is sent. What was due and was not sent is counted: nobody was free for it.
    fn end(&mut self, ended: Ended, now: u64) {
        if self.ended.is_some() {
            return;
        }
        if let Some(pace) = self.settings.pace {
            let due = pace.due_before(now.min(self.time_limit()));
            let due = self.settings.operations.map_or(due, |all| due.min(all));
            let unsent = due.saturating_sub(self.number);
            self.figures.card.captured += unsent;
            self.figures.card.skip_many(Skip::Ended, unsent);
        }
        self.ended = Some((ended, now));
    }

    fn is_open(&self, slot: usize) -> bool {
        self.clients[slot].state == State::Open
    }
}
