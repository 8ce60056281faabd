//! What comes from the target: handshakes, answers, further batches, ends of connections.

use super::Engine;
use super::client::State;
use crate::doc::{DocWriter, find_path};
use crate::replay::answer::Answer;
use crate::replay::link::Received;
use crate::replay::poller::Event;
use crate::replay::scorecard::Failure;
use crate::wire::{MsgFlags, OpMsg, OpMsgBuilder, Side, read_i32};

/// What an event asks for.
enum Next {
    Nothing,
    Greeted,
    Refused,
    /// The operation is over.
    Answered(Answer),
    /// Its cursor has more: the message that asks for it is there.
    More,
    Broke(Failure),
}

impl Engine<'_> {
    pub(super) fn on_event(&mut self, event: Event) {
        let slot = (event.token & u64::from(u32::MAX)) as usize;
        // The event may be of a socket that was closed since.
        let Some(client) = self.clients.get_mut(slot).filter(|client| client.token == event.token) else {
            return;
        };
        let Some(link) = &mut client.link else { return };
        if client.state == State::Connecting {
            if event.is_writable {
                self.on_connected(slot);
            }
            return;
        }
        if event.is_writable && link.flush(&self.poller).is_err() {
            return self.ended_by_target(slot);
        }
        if event.is_readable {
            self.on_readable(slot);
        }
    }

    fn on_readable(&mut self, slot: usize) {
        match self.receive(slot) {
            Next::Nothing => {}
            Next::Greeted => self.on_greeted(slot),
            Next::Refused => self.cannot_connect(slot, "the handshake was refused"),
            Next::Answered(answer) => self.on_answered(slot, &answer),
            Next::More => self.ask_for_more(slot),
            Next::Broke(why) if self.is_open(slot) => self.broke(slot, why, "the connection broke"),
            Next::Broke(_) => self.ended_by_target(slot),
        }
    }

    /// Reads, and tells what is to be done; the answer itself is not kept.
    fn receive(&mut self, slot: usize) -> Next {
        let client = &mut self.clients[slot];
        let Some(link) = &mut client.link else { return Next::Nothing };
        let message = match link.receive(&mut self.scratch) {
            Ok(Received::Nothing) => return Next::Nothing,
            Ok(Received::Message(message)) => message,
            Ok(Received::Closed) | Err(_) => return Next::Broke(Failure::Lost),
        };
        // Before it is looked into: that is not the target's time.
        let done = self.start.elapsed().as_nanos() as u64;
        let answers = read_i32(&message, 8) == Some(client.request_id);
        let answer = Answer::read(&message).filter(|answer| answers && !answer.more_to_come);
        let Some(answer) = answer else { return Next::Broke(Failure::Reply) };
        if client.state == State::Greeting {
            return if answer.code == 0 { Next::Greeted } else { Next::Refused };
        }
        let Some(in_flight) = client.in_flight else { return Next::Broke(Failure::Reply) };
        client.free_since = done;
        if answer.is_error() {
            self.figures.note_error(in_flight.kind, &message);
        }
        match answer.cursor != 0 && get_more(&message, &answer, client.next_request_id(), &mut self.message) {
            true => Next::More,
            false => Next::Answered(answer),
        }
    }

    fn on_answered(&mut self, slot: usize, answer: &Answer) {
        let client = &mut self.clients[slot];
        let Some(in_flight) = client.in_flight.take() else { return };
        client.deadline = u64::MAX;
        let done = client.free_since;
        self.in_flight -= 1;
        self.figures.answered(&in_flight, done, answer.is_error());
        self.free.push_back(slot);
    }

    fn ask_for_more(&mut self, slot: usize) {
        let client = &mut self.clients[slot];
        client.batches += 1;
        let link = client.link.as_mut();
        if link.is_none_or(|link| link.send(&self.message, &self.poller).is_err()) {
            self.broke(slot, Failure::Lost, "the connection broke");
        }
    }

    fn ended_by_target(&mut self, slot: usize) {
        match self.clients[slot].state {
            State::Open => self.broke(slot, Failure::Lost, "the connection broke"),
            _ => self.cannot_connect(slot, "closed in the handshake"),
        }
    }
}

/// Writes the message that asks for the next batch of the answer's cursor; false if it does not say where that is.
fn get_more(message: &[u8], answer: &Answer, request_id: i32, out: &mut Vec<u8>) -> bool {
    let body = OpMsg::parse(message, Side::Server).map(|msg| msg.body).unwrap_or_default();
    let namespace = find_path(body, &["cursor", "ns"]).and_then(|value| value.as_str());
    let Some((database, collection)) = namespace.and_then(|namespace| namespace.split_once('.')) else {
        return false;
    };
    out.clear();
    let builder = OpMsgBuilder::begin(out, request_id, 0, MsgFlags(0));
    let mut command = DocWriter::begin(out);
    command.i64(b"getMore", answer.cursor).string(b"collection", collection).string(b"$db", database);
    command.finish();
    builder.finish(out);
    true
}
