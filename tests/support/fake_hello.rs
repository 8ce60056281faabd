//! What a scripted server says to monitors and handshakes: a healthy primary, unless it is told otherwise.

use std::time::Duration;

use bson::oid::ObjectId;
use bson::{DateTime, Document, Timestamp, doc};

use super::fake_server::{Peer, Shared, Then};
use super::message::{EXHAUST_ALLOWED, MORE_TO_COME, Message, OP_MSG, Section, op_msg};

/// How hellos are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Monitoring {
    /// As by a primary.
    Answers,
    /// Not at all; the connection stays open.
    Silent,
    /// By closing the connection, waiting ones at once.
    Closes,
}

/// Answers one hello, or streams them.
pub(super) fn answer(shared: &Shared, peer: &mut Peer, request: &Message) -> Then {
    let asked = request.query_or_body();
    let wait =
        asked.get("maxAwaitTimeMS").and_then(|millis| millis.as_i64().or(millis.as_i32().map(i64::from)));
    let streams = request.opcode() == OP_MSG && request.flags() & EXHAUST_ALLOWED != 0 && wait.is_some();
    let known = asked.get_document("topologyVersion").and_then(|version| version.get_i64("counter"));
    let mut known = known.ok();
    let mut response_to = request.request_id();
    loop {
        let limit = Duration::from_millis(wait.unwrap_or(0) as u64);
        let state = shared.wait_while(limit, |state| {
            state.monitoring == Monitoring::Answers && known.is_some_and(|known| known == state.counter)
        });
        let (monitoring, counter) = (state.monitoring, state.counter);
        let tells_connections = state.tells_connections;
        drop(state);
        match monitoring {
            Monitoring::Closes => return Then::Close,
            Monitoring::Silent => return Then::Next,
            Monitoring::Answers => {}
        }
        let mut body = hello(&shared.address, peer.id(), counter);
        if !tells_connections {
            body.remove("connectionId");
        }
        if !streams {
            return peer.reply(request, body);
        }
        let id = peer.next_id();
        if peer.send(&op_msg(id, response_to, MORE_TO_COME, &[Section::Body(body)])) == Then::Close {
            return Then::Close;
        }
        (response_to, known) = (id, Some(counter));
    }
}

/// The process that its topologyVersions name.
pub fn process() -> ObjectId {
    ObjectId::from_bytes([7; 12])
}

fn hello(address: &str, connection: i32, counter: i64) -> Document {
    let now = DateTime::now();
    let time = Timestamp { time: 1_700_000_000, increment: 1 };
    doc! {
        "helloOk": true, "isWritablePrimary": true, "ismaster": true, "secondary": false,
        "topologyVersion": { "processId": process(), "counter": counter },
        "setName": "rs0", "setVersion": 1, "hosts": [address], "primary": address, "me": address,
        "electionId": ObjectId::from_bytes([9; 12]),
        "lastWrite": { "opTime": { "ts": time, "t": 1i64 }, "lastWriteDate": now },
        "maxBsonObjectSize": 16_777_216, "maxMessageSizeBytes": 48_000_000, "maxWriteBatchSize": 100_000,
        "localTime": now, "logicalSessionTimeoutMinutes": 30, "connectionId": connection,
        "minWireVersion": 0, "maxWireVersion": 17, "readOnly": false, "ok": 1.0,
    }
}

/// The reply to replSetGetConfig.
pub(super) fn config(address: &str) -> Document {
    let members =
        [doc! { "_id": 0, "host": address, "arbiterOnly": false, "hidden": false, "priority": 1.0 }];
    doc! { "config": { "_id": "rs0", "version": 1, "term": 1i64, "members": members }, "ok": 1.0 }
}
