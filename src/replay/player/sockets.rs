//! Which connection has a socket: opened ahead where there is room, taken from one that can spare it where there is none.

use super::connection::{Connection, State};
use super::{Player, SWEEP_EVERY};
use crate::handshake;
use crate::replay::job::End;
use crate::replay::link::Link;
use crate::replay::scorecard::Failure;

/// What the target's log shows of torana's connections.
const APPLICATION: &str = "torana replay";

impl Player {
    /// Opens a socket for the connection, or puts it in the line of those that wait for one.
    pub(super) fn want_socket(&mut self, slot: usize, connection: &mut Connection) {
        if connection.state != State::Closed || connection.is_starved || self.ended.is_some() {
            return;
        }
        let now = self.now();
        if self.open >= self.options.concurrency && !self.take_spare_socket() {
            connection.is_starved = true;
            self.starved.push_back(slot);
            return;
        }
        let Some(member) = self.members.get_mut(connection.member) else { return };
        if !member.may_connect(now) {
            member.parked.push(slot);
            return;
        }
        self.serial += 1;
        let token = (self.serial << 32) | slot as u64;
        match Link::connect(member.address, token, &self.poller) {
            Ok(link) => {
                connection.link = Some(link);
                connection.state = State::Connecting;
                connection.token = token;
                connection.deadline = now + self.options.connect_limit.as_nanos() as u64;
                self.open += 1;
            }
            Err(error) => self.cannot_connect(slot, connection, error.to_string()),
        }
    }

    /// Closes the socket of a connection that does not need it now; false if none can be spared.
    fn take_spare_socket(&mut self) -> bool {
        for _ in 0..self.connections.len() {
            self.hand = (self.hand + 1) % self.connections.len();
            let Some(Some(other)) = self.connections.get_mut(self.hand) else { continue };
            let is_spare = other.in_flight.is_none() && (other.jobs.is_empty() || other.is_blocked);
            if other.state == State::Open && is_spare {
                other.link = None;
                other.state = State::Closed;
                self.open -= 1;
                return true;
            }
        }
        false
    }

    /// The connection has no use for its socket at the moment: another that waits for one gets its place.
    pub(super) fn spare_socket(&mut self, connection: &mut Connection) {
        if !self.starved.is_empty() && connection.state == State::Open {
            self.release_socket(connection);
        }
    }

    /// Closes the connection's socket, if it has one.
    pub(super) fn release_socket(&mut self, connection: &mut Connection) {
        connection.state = State::Closed;
        connection.deadline = u64::MAX;
        if connection.link.take().is_some() {
            self.open -= 1;
            while let Some(slot) = self.starved.pop_front() {
                if let Some(Some(next)) = self.connections.get_mut(slot)
                    && std::mem::take(&mut next.is_starved)
                {
                    self.work.push_back(slot);
                    break;
                }
            }
        }
    }

    /// The attempt to connect has ended.
    pub(super) fn on_connected(&mut self, slot: usize, connection: &mut Connection) {
        let hello = handshake::first_message(connection.next_request_id(), Some(APPLICATION));
        let Some(link) = &mut connection.link else { return };
        match link.connected(&self.poller).and_then(|()| link.send(&hello, &self.poller)) {
            Ok(()) => connection.state = State::Greeting,
            Err(error) => self.cannot_connect(slot, connection, error.to_string()),
        }
    }

    /// The handshake was answered.
    pub(super) fn on_greeted(&mut self, connection: &mut Connection) {
        connection.state = State::Open;
        connection.deadline = u64::MAX;
        if let Some(member) = self.members.get_mut(connection.member) {
            let parked = member.answers();
            self.work.extend(parked);
        }
    }

    /// There is no connection to the member: the job that needed one has failed.
    pub(super) fn cannot_connect(&mut self, slot: usize, connection: &mut Connection, error: String) {
        let now = self.now();
        if let Some(member) = self.members.get_mut(connection.member) {
            member.failed(now, error);
        }
        self.release_socket(connection);
        if let Some(queued) = connection.jobs.pop_front() {
            self.queued -= 1;
            self.queued_bytes = self.queued_bytes.saturating_sub(queued.job.bytes());
            self.end(queued, 0, End::Failed(Failure::Connect));
        }
        connection.is_blocked = true;
        if !connection.jobs.is_empty() {
            self.work.push_back(slot);
        }
    }

    /// The socket is of no use any more; what was sent on it has failed.
    pub(super) fn broke(&mut self, slot: usize, connection: &mut Connection, why: Failure) {
        self.release_socket(connection);
        if let Some(in_flight) = connection.in_flight.take() {
            self.in_flight -= 1;
            self.end(in_flight.queued, in_flight.sent, End::Failed(why));
        }
        connection.is_blocked = true;
        if !connection.jobs.is_empty() {
            self.work.push_back(slot);
        }
    }

    /// Ends what has taken too long.
    pub(super) fn give_up_late(&mut self, now: u64) {
        for slot in 0..self.connections.len() {
            let is_late = self.connections[slot].as_ref().is_some_and(|one| one.deadline <= now);
            if !is_late {
                continue;
            }
            self.with(slot, |player, connection| match connection.state {
                State::Connecting | State::Greeting => {
                    player.cannot_connect(slot, connection, "no answer in time".to_owned());
                }
                _ => player.broke(slot, connection, Failure::Late),
            });
        }
    }

    /// The replay was stopped, and its time to be answered is over.
    pub(super) fn give_up_all(&mut self) {
        self.next_sweep = self.now() + SWEEP_EVERY;
        for slot in 0..self.connections.len() {
            self.with(slot, |player, connection| {
                if connection.in_flight.is_some() {
                    player.broke(slot, connection, Failure::Late);
                }
            });
        }
    }
}
