//! The null server as a member of `rs0`: hello in every spelling, at once, awaitable or as a stream, and the few commands about
//! the set that a proxy's discovery asks for. Nothing ever changes, so an awaitable hello always waits its whole time.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bson::oid::ObjectId;
use bson::{Bson, DateTime, Document, Timestamp, doc};

use super::Options;
use super::replies::gossip;
use crate::wire::{self, EXHAUST_ALLOWED, Header};

/// The set's name.
const SET_NAME: &str = "rs0";
/// MongoDB 6.0.
const WIRE_VERSION_MAX: i32 = 17;

/// How hello was spelled, which decides how its reply says that this is the primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spelling {
    /// `hello`: `isWritablePrimary`.
    Hello,
    /// `isMaster` or `ismaster`: `ismaster`.
    Legacy,
}

/// Whether the command called `name` is a hello.
pub(super) fn spelling(name: &[u8]) -> Option<Spelling> {
    match name {
        b"hello" => Some(Spelling::Hello),
        b"isMaster" | b"ismaster" => Some(Spelling::Legacy),
        _ => None,
    }
}

/// A hello that is answered when its time is up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Awaiting {
    pub(super) due: Instant,
    pub(super) period: Duration,
    pub(super) response_to: i32,
    pub(super) opcode: i32,
    pub(super) exhaust: bool,
    pub(super) spelling: Spelling,
}

/// What this member knows of itself and its set.
pub(super) struct HelloService {
    me: String,
    members: Vec<String>,
    process_id: ObjectId,
    election_id: ObjectId,
}

impl HelloService {
    pub(super) fn new(options: &Options) -> Result<HelloService> {
        let me = options.listen.to_string();
        let members = if options.members.is_empty() { vec![me.clone()] } else { options.members.clone() };
        ensure!(members.contains(&me), "--members does not name --listen {me}");
        let election_id = ObjectId::parse_str("7fffffff0000000000000001")?;
        Ok(HelloService { me, members, process_id: ObjectId::new(), election_id })
    }

    fn primary(&self) -> &str {
        self.members.first().map(String::as_str).unwrap_or_default()
    }

    /// The wait of an awaitable hello: one that brings the topologyVersion that it already knows, and a maxAwaitTimeMS.
    pub(super) fn awaiting(
        &self,
        header: Header,
        flags: u32,
        spelling: Spelling,
        body: &[u8],
    ) -> Option<Awaiting> {
        let known = wire::find_element(body, "topologyVersion")?;
        let process_id = wire::find_element(known.value, "processId")?;
        if process_id.value != self.process_id.bytes() {
            return None;
        }
        let await_ms =
            wire::find_element(body, "maxAwaitTimeMS").and_then(|limit| wire::i32_at(limit.value, 0))?;
        let period = Duration::from_millis(u64::try_from(await_ms).ok()?);
        Some(Awaiting {
            due: Instant::now() + period,
            period,
            response_to: header.request_id,
            opcode: header.opcode,
            exhaust: flags & EXHAUST_ALLOWED != 0,
            spelling,
        })
    }

    /// A hello reply of now.
    pub(super) fn reply(&self, spelling: Spelling, connection_id: i32) -> Result<Vec<u8>> {
        let primary = self.me == self.primary();
        let (now, date) = now();
        let op_time = doc! { "ts": now, "t": 1_i64 };
        let mut reply = doc! {
            "helloOk": true,
            "topologyVersion": { "processId": self.process_id, "counter": 6_i64 },
            "hosts": &self.members, "setName": SET_NAME, "setVersion": 1,
        };
        reply.insert(if spelling == Spelling::Hello { "isWritablePrimary" } else { "ismaster" }, primary);
        reply.insert("secondary", !primary);
        reply.insert("primary", self.primary());
        reply.insert("me", &self.me);
        if primary {
            reply.insert("electionId", self.election_id);
        }
        reply.extend(doc! {
            "lastWrite": {
                "opTime": &op_time, "lastWriteDate": date, "majorityOpTime": &op_time, "majorityWriteDate": date,
            },
            "maxBsonObjectSize": 16_777_216, "maxMessageSizeBytes": 48_000_000, "maxWriteBatchSize": 100_000,
            "localTime": date, "logicalSessionTimeoutMinutes": 30, "connectionId": connection_id,
            "minWireVersion": 0, "maxWireVersion": WIRE_VERSION_MAX, "readOnly": false, "ok": 1.0,
        });
        gossip(&mut reply, now);
        Ok(reply.to_vec()?)
    }

    /// The reply to a command about the set, if `name` is one.
    pub(super) fn about_the_set(&self, name: &[u8]) -> Result<Option<Vec<u8>>> {
        let mut reply = match name {
            b"replSetGetConfig" => doc! { "config": self.config(), "ok": 1.0 },
            b"replSetGetStatus" => self.status()?,
            b"buildInfo" | b"buildinfo" => doc! {
                "version": "6.0.5", "versionArray": [6, 0, 5, 0], "gitVersion": "null", "bits": 64,
                "maxBsonObjectSize": 16_777_216, "ok": 1.0,
            },
            _ => return Ok(None),
        };
        gossip(&mut reply, now().0);
        Ok(Some(reply.to_vec()?))
    }

    fn config(&self) -> Document {
        let member = |(index, host): (usize, &String)| {
            Bson::from(doc! {
                "_id": index as i32, "host": host, "arbiterOnly": false, "buildIndexes": true, "hidden": false,
                "priority": 1.0, "tags": {}, "secondaryDelaySecs": 0_i64, "votes": 1,
            })
        };
        let members: Vec<Bson> = self.members.iter().enumerate().map(member).collect();
        doc! {
            "_id": SET_NAME, "version": 1, "term": 1, "members": members, "protocolVersion": 1_i64,
            "writeConcernMajorityJournalDefault": true,
            "settings": { "heartbeatIntervalMillis": 2000, "electionTimeoutMillis": 10_000, "replicaSetId": self.election_id },
        }
    }

    fn status(&self) -> Result<Document> {
        let (now, date) = now();
        let member = |(index, name): (usize, &String)| {
            let (state, text) = if name == self.primary() { (1, "PRIMARY") } else { (2, "SECONDARY") };
            Bson::from(doc! {
                "_id": index as i32, "name": name, "health": 1.0, "state": state, "stateStr": text, "uptime": 60,
                "optime": { "ts": now, "t": 1_i64 }, "optimeDate": date, "syncSourceHost": "", "syncSourceId": -1,
                "infoMessage": "", "configVersion": 1, "configTerm": 1, "self": *name == self.me,
            })
        };
        let members: Vec<Bson> = self.members.iter().enumerate().map(member).collect();
        let mine = self.members.iter().position(|name| *name == self.me).context("not a member")?;
        Ok(doc! {
            "set": SET_NAME, "date": date, "myState": if mine == 0 { 1 } else { 2 }, "term": 1_i64,
            "syncSourceHost": "", "syncSourceId": -1, "heartbeatIntervalMillis": 2000_i64, "members": members, "ok": 1.0,
        })
    }
}

fn now() -> (Timestamp, DateTime) {
    let date = DateTime::now();
    let seconds = u32::try_from(date.timestamp_millis() / 1_000).unwrap_or_default();
    (Timestamp { time: seconds, increment: 1 }, date)
}
