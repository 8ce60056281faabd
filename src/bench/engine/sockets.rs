//! Connections: opened ahead, opened again when they broke, given up when they take too long.

use super::Engine;
use super::client::State;
use crate::handshake;
use crate::replay::link::Link;
use crate::replay::scorecard::Failure;

/// What the target's log shows of torana's connections.
const APPLICATION: &str = "torana bench";

/// Attempts under way at a time: a server accepts a few hundred before it has looked at them.
const CONNECTING_MAX: usize = 64;

impl Engine<'_> {
    /// Begins to connect clients that have no connection.
    pub(super) fn connect_some(&mut self, now: u64) {
        if self.open + self.connecting == self.clients.len() {
            return;
        }
        for slot in 0..self.clients.len() {
            if self.connecting >= CONNECTING_MAX || self.ended.is_some() {
                return;
            }
            let client = &self.clients[slot];
            if client.state == State::Closed && client.retry_at <= now {
                self.connect(slot, now);
            }
        }
    }

    fn connect(&mut self, slot: usize, now: u64) {
        self.serial += 1;
        let token = (self.serial << 32) | slot as u64;
        self.connecting += 1;
        let client = &mut self.clients[slot];
        client.state = State::Connecting;
        match Link::connect(self.settings.address, token, &self.poller) {
            Ok(link) => {
                client.link = Some(link);
                client.token = token;
                client.deadline = now + self.settings.connect_limit.as_nanos() as u64;
            }
            Err(error) => self.cannot_connect(slot, &error.to_string()),
        }
    }

    /// The attempt to connect has ended.
    pub(super) fn on_connected(&mut self, slot: usize) {
        let client = &mut self.clients[slot];
        let hello = handshake::first_message(client.next_request_id(), Some(APPLICATION));
        let Some(link) = &mut client.link else { return };
        match link.connected(&self.poller).and_then(|()| link.send(&hello, &self.poller)) {
            Ok(()) => client.state = State::Greeting,
            Err(error) => self.cannot_connect(slot, &error.to_string()),
        }
    }

    /// The handshake was answered.
    pub(super) fn on_greeted(&mut self, slot: usize) {
        let now = self.now();
        self.clients[slot].opened(now);
        self.connecting -= 1;
        self.open += 1;
        self.free.push_back(slot);
    }

    /// There is no connection.
    pub(super) fn cannot_connect(&mut self, slot: usize, error: &str) {
        error.clone_into(&mut self.last_error);
        self.connecting -= 1;
        let now = self.now();
        self.clients[slot].closed(now);
    }

    /// The connection is of no use any more; what was sent on it has failed.
    pub(super) fn broke(&mut self, slot: usize, why: Failure, error: &str) {
        error.clone_into(&mut self.last_error);
        let now = self.now();
        if self.is_open(slot) {
            self.open -= 1;
            self.free.retain(|free| *free != slot);
        }
        self.clients[slot].closed(now);
        if let Some(in_flight) = self.clients[slot].in_flight.take() {
            self.in_flight -= 1;
            self.figures.failed(&in_flight, why, now);
        }
    }

    /// Ends what has taken too long.
    pub(super) fn give_up_late(&mut self, now: u64) {
        for slot in 0..self.clients.len() {
            if self.clients[slot].deadline > now {
                continue;
            }
            match self.clients[slot].state {
                State::Connecting | State::Greeting => self.cannot_connect(slot, "no answer in time"),
                _ => self.broke(slot, Failure::Late, "no answer in time"),
            }
        }
    }

    /// The run has ended, and its time to be answered is over.
    pub(super) fn give_up_all(&mut self) {
        for slot in 0..self.clients.len() {
            if self.clients[slot].in_flight.is_some() {
                self.broke(slot, Failure::Late, "no answer in time");
            }
        }
    }
}
