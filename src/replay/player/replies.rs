//! What comes from the target: handshakes, replies, ends of connections.

use super::Player;
use super::connection::{Connection, InFlight, State};
use crate::doc::find;
use crate::replay::answer::Answer;
use crate::replay::job::{CursorUse, End, Job, RecordedForm};
use crate::replay::link::{Link, Received};
use crate::replay::poller::Event;
use crate::replay::scorecard::Failure;
use crate::replay::upserted;
use crate::wire::{OpReply, read_i32};

impl Player {
    pub(super) fn on_event(&mut self, event: Event) {
        let slot = (event.token & u64::from(u32::MAX)) as usize;
        self.with(slot, |player, connection| {
            // The event may be of a socket that was closed since.
            if connection.token != event.token || connection.link.is_none() {
                return;
            }
            if connection.state == State::Connecting {
                if event.is_writable {
                    player.on_connected(slot, connection);
                }
                return;
            }
            if event.is_writable {
                let flushed = connection.link.as_mut().map(|link| link.flush(&player.poller));
                if matches!(flushed, Some(Err(_))) {
                    return player.ended_by_target(slot, connection);
                }
                player.on_flushed(slot, connection);
            }
            if event.is_readable {
                player.on_readable(slot, connection);
            }
        });
    }

    /// Of a request without an answer the last byte has left: it is over.
    fn on_flushed(&mut self, slot: usize, connection: &mut Connection) {
        let is_sending = connection.link.as_ref().is_some_and(Link::is_sending);
        let Some(sent) = connection.in_flight.take_if(|sent| sent.queued.job.wants_none && !is_sending)
        else {
            return;
        };
        self.in_flight -= 1;
        connection.deadline = u64::MAX;
        connection.is_blocked = !connection.jobs.is_empty();
        self.end(sent.queued, sent.sent, End::Unanswered);
        self.work.push_back(slot);
    }

    fn on_readable(&mut self, slot: usize, connection: &mut Connection) {
        let Some(link) = &mut connection.link else { return };
        match link.receive(&mut self.scratch) {
            Ok(Received::Nothing) => {}
            Ok(Received::Message(message)) if connection.state == State::Greeting => {
                let message = message.into_owned();
                self.on_greeting(slot, connection, &message);
            }
            Ok(Received::Message(message)) => {
                let message = message.into_owned();
                self.on_reply(slot, connection, message);
            }
            Ok(Received::Closed) | Err(_) => self.ended_by_target(slot, connection),
        }
    }

    fn ended_by_target(&mut self, slot: usize, connection: &mut Connection) {
        match connection.state {
            State::Greeting => self.cannot_connect(slot, connection, "closed in the handshake".to_owned()),
            _ => self.broke(slot, connection, Failure::Lost),
        }
    }

    fn on_greeting(&mut self, slot: usize, connection: &mut Connection, message: &[u8]) {
        let body = message.get(OpReply::DOCUMENTS_AT..).unwrap_or_default();
        if Answer::read(message).is_some_and(|answer| answer.code == 0) {
            self.on_greeted(connection);
            self.work.push_back(slot);
            return;
        }
        let text =
            find(body, "errmsg").and_then(|element| element.value.as_str()).unwrap_or("no answer to it");
        self.cannot_connect(slot, connection, format!("the handshake was refused: {text}"));
    }

    fn on_reply(&mut self, slot: usize, connection: &mut Connection, message: Vec<u8>) {
        // Before it is looked into: that is not the target's time.
        let done = self.now();
        let answers = read_i32(&message, 8) == Some(connection.request_id);
        let answer = Answer::read(&message).filter(|answer| answers && !answer.more_to_come);
        let Some(answer) = answer else { return self.broke(slot, connection, Failure::Reply) };
        // Nothing was asked: the connection is out of step.
        let Some(in_flight) = connection.in_flight.take() else {
            return self.broke(slot, connection, Failure::Reply);
        };
        self.in_flight -= 1;
        connection.deadline = u64::MAX;
        connection.is_blocked = !connection.jobs.is_empty();
        let InFlight { mut queued, sent } = in_flight;
        self.learn(&mut queued.job, connection.member, &answer, &message);
        self.end_at(done, queued, sent, End::Answered(Some(message)));
        self.work.push_back(slot);
    }

    /// What later jobs refer to by what was recorded is known by what was answered now.
    fn learn(&mut self, job: &mut Job, member: usize, answer: &Answer, message: &[u8]) {
        let lap = job.connection.lap;
        if let (Some(captured), Some(time)) = (&job.session, answer.operation_time) {
            let session = self.maps.session(lap, captured);
            self.maps.set_time(session, time);
        }
        match (job.cursors, &job.recorded) {
            (CursorUse::More(captured), _) if answer.cursor == 0 => {
                self.maps.set_cursor(lap, captured, 0, member);
            }
            (CursorUse::None, Some(recorded)) if recorded.cursor != 0 => {
                self.maps.set_cursor(lap, recorded.cursor, answer.cursor, member);
            }
            _ => {}
        }
        let Some(recorded) = &mut job.recorded else { return };
        let RecordedForm::Whole(whole) = &mut recorded.form else { return };
        if job.may_upsert {
            let pairs = upserted::ids(whole).into_iter().zip(upserted::ids(message));
            for (captured, new) in pairs {
                if let (Some(captured), Some(new)) = (captured.as_object_id(), new.as_object_id()) {
                    self.maps.set_id(lap, *captured, *new);
                }
            }
        }
        self.maps.replace_ids(lap, whole);
    }
}
