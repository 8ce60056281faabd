//! The requests that clients send, built once and then patched in place, and the check of every reply. A find is about 300 bytes,
//! as a driver sends it: `lsid`, `$clusterTime`, `$db`, a read concern.

use anyhow::{Context, Result, bail, ensure};
use bson::spec::BinarySubtype;
use bson::{Binary, Document, doc, oid::ObjectId};
use clap::ValueEnum;

use crate::session::Session;
use crate::wire::{self, HEADER_LEN};

/// The database that everything happens in.
pub const DATABASE: &str = "bench";
/// Documents that are found and updated.
pub const ITEMS: &str = "items";
/// Where inserts go, so that what finds read stays the same.
const INSERTED: &str = "inserted";
/// Documents loaded in one command.
const BATCH_LEN: u64 = 1_000;
/// Stands in a template where an `_id` will be written.
const PLACEHOLDER: [u8; 12] = *b"?torana-_id?";

/// What the clients of a run do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Op {
    /// Find one document by `_id`.
    Find,
    /// Insert one document, as a retryable write.
    Insert,
    /// ping.
    Ping,
    /// 80 finds, 15 updates, 5 inserts in a hundred.
    Mix,
}

/// One operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Find one document by `_id`.
    Find,
    /// Set a field of one document, found by `_id`.
    Update,
    /// Insert one document.
    Insert,
    /// ping.
    Ping,
}

impl Op {
    /// The next operation; `random` is any number.
    pub fn pick(self, random: u64) -> Kind {
        match (self, random % 100) {
            (Op::Find, _) | (Op::Mix, 0..80) => Kind::Find,
            (Op::Mix, 80..95) => Kind::Update,
            (Op::Insert, _) | (Op::Mix, _) => Kind::Insert,
            (Op::Ping, _) => Kind::Ping,
        }
    }
}

/// The `_id` of loaded document `number`.
pub fn document_id(number: u64) -> [u8; 12] {
    id_with(*b"torana", number)
}

/// Six bytes of prefix and the number's low six bytes.
fn id_with(prefix: [u8; 6], number: u64) -> [u8; 12] {
    let mut id = [0; 12];
    id[..6].copy_from_slice(&prefix);
    id[6..].copy_from_slice(&number.to_be_bytes()[2..]);
    id
}

/// A document of about 300 bytes, or of `padding` bytes more than the least.
pub fn document(id: [u8; 12], padding: usize) -> Document {
    doc! {
        "_id": ObjectId::from_bytes(id), "name": "an item of the bench", "n": 0_i64,
        "tags": ["one", "two"], "padding": "x".repeat(padding),
    }
}

/// Padding that makes [`document`] about 300 bytes.
pub const PADDING: usize = 170;

/// Loads `count` documents into a real server, unless they are there.
pub fn prepare(session: &mut Session, count: u64) -> Result<()> {
    let reply = session.command(DATABASE, doc! { "count": ITEMS })?;
    if number(&reply, "n") == Some(count) {
        return Ok(());
    }
    let all = doc! { "delete": ITEMS, "deletes": [{ "q": {}, "limit": 0 }] };
    session.command(DATABASE, all)?;
    for first in (0..count).step_by(BATCH_LEN as usize) {
        let last = (first + BATCH_LEN).min(count);
        let documents: Vec<Document> =
            (first..last).map(|number| document(document_id(number), PADDING)).collect();
        let reply = session.command(DATABASE, doc! { "insert": ITEMS, "documents": documents })?;
        ensure!(number(&reply, "n") == Some(last - first), "loading documents: {reply}");
    }
    Ok(())
}

/// A whole number of any BSON type.
pub fn number(document: &Document, key: &str) -> Option<u64> {
    let value = document.get(key)?;
    let wide = value
        .as_i64()
        .or_else(|| value.as_i32().map(i64::from))
        .or_else(|| value.as_f64().map(|number| number as i64))?;
    u64::try_from(wide).ok()
}

/// The fields that a driver adds to every command within a session.
pub fn with_session(mut command: Document, lsid: &Document, cluster_time: Option<&Document>) -> Document {
    command.insert("lsid", lsid.clone());
    if let Some(cluster_time) = cluster_time {
        command.insert("$clusterTime", cluster_time.clone());
    }
    command.insert("$db", DATABASE);
    command
}

/// A new session id.
pub fn new_lsid() -> Document {
    doc! { "id": Binary { subtype: BinarySubtype::Uuid, bytes: bson::Uuid::new().bytes().to_vec() } }
}

/// A message with the places in it that change from one request to the next.
struct Template {
    bytes: Vec<u8>,
    id_at: Option<usize>,
    txn_number_at: Option<usize>,
}

impl Template {
    fn new(command: &Document, sequence: Option<(&str, Document)>) -> Result<Template> {
        let mut bytes = Vec::new();
        wire::put_op_msg(&mut bytes, 0, 0, 0, &command.to_vec()?);
        if let Some((identifier, document)) = sequence {
            wire::append_document_sequence(&mut bytes, identifier, &document.to_vec()?);
        }
        let id_at = position(&bytes, &PLACEHOLDER);
        let txn_number_at = position(&bytes, b"\x12txnNumber\0").map(|at| at + b"\x12txnNumber\0".len());
        Ok(Template { bytes, id_at, txn_number_at })
    }

    fn patch(&mut self, at: Option<usize>, value: &[u8]) {
        if let Some(at) = at {
            self.bytes[at..at + value.len()].copy_from_slice(value);
        }
    }
}

fn position(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// One client's requests: its own session, its own transaction numbers.
pub struct Requests {
    find: Template,
    update: Template,
    insert: Template,
    ping: Template,
    txn_number: i64,
    inserted: u64,
    /// Makes this client's inserted `_id`s its own.
    prefix: [u8; 6],
}

impl Requests {
    /// Requests of a client whose hello brought `cluster_time`.
    pub fn new(cluster_time: Option<&Document>) -> Result<Requests> {
        let lsid = new_lsid();
        let id = ObjectId::from_bytes(PLACEHOLDER);
        let build = |command, sequence| Template::new(&with_session(command, &lsid, cluster_time), sequence);
        let find = doc! {
            "find": ITEMS, "filter": { "_id": id }, "limit": 1_i32, "singleBatch": true,
            "readConcern": { "level": "local" },
        };
        let update = doc! { "update": ITEMS, "ordered": true, "txnNumber": 0_i64 };
        let change = doc! { "q": { "_id": id }, "u": { "$set": { "n": 1_i64 } } };
        let insert = doc! { "insert": INSERTED, "ordered": true, "txnNumber": 0_i64 };
        let mut prefix = [0; 6];
        prefix.copy_from_slice(&bson::Uuid::new().bytes()[..6]);
        Ok(Requests {
            find: build(find, None)?,
            update: build(update, Some(("updates", change)))?,
            insert: build(insert, Some(("documents", document(PLACEHOLDER, PADDING))))?,
            ping: build(doc! { "ping": 1 }, None)?,
            txn_number: 0,
            inserted: 0,
            prefix,
        })
    }

    /// The next request, as `kind` on loaded document `number`.
    pub fn next(&mut self, kind: Kind, request_id: i32, number: u64) -> &[u8] {
        let (template, id) = match kind {
            Kind::Find => (&mut self.find, document_id(number)),
            Kind::Update => (&mut self.update, document_id(number)),
            Kind::Ping => (&mut self.ping, PLACEHOLDER),
            Kind::Insert => {
                self.inserted += 1;
                (&mut self.insert, id_with(self.prefix, self.inserted))
            }
        };
        template.patch(Some(4), &request_id.to_le_bytes());
        template.patch(template.id_at, &id);
        if template.txn_number_at.is_some() {
            self.txn_number += 1;
            template.patch(template.txn_number_at, &self.txn_number.to_le_bytes());
        }
        &template.bytes
    }
}

/// What a reply is checked against.
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    /// What was asked.
    pub kind: Kind,
    /// The request's number.
    pub request_id: i32,
    /// The `_id` that a find must return; `None` against a null server, which has one document for everybody.
    pub id: Option<[u8; 12]>,
}

/// Checks one whole reply. The framing has checked its length already.
pub fn check(reply: &[u8], expected: &Expected) -> Result<()> {
    let opcode = wire::i32_at(reply, 12);
    ensure!(opcode == Some(wire::OP_MSG), "reply with opcode {opcode:?}");
    let response_to = wire::i32_at(reply, 8);
    ensure!(
        response_to == Some(expected.request_id),
        "reply to {response_to:?}, asked {}",
        expected.request_id
    );
    ensure!(wire::flag_bits(reply) & wire::MORE_TO_COME == 0, "reply with moreToCome, not asked for");
    let body = wire::body(reply).context("reply without a document")?;
    if !wire::is_ok(body) {
        bail!("reply is not ok: {:?}", Document::from_reader(body));
    }
    match expected.kind {
        Kind::Ping => Ok(()),
        Kind::Find => check_found(body, expected.id.as_ref()),
        Kind::Update | Kind::Insert => {
            let n = wire::find_element(body, "n").and_then(|n| wire::i32_at(n.value, 0));
            ensure!(n == Some(1), "write changed {n:?} documents, expected 1");
            Ok(())
        }
    }
}

fn check_found(body: &[u8], id: Option<&[u8; 12]>) -> Result<()> {
    let document = wire::find_element(body, "cursor")
        .and_then(|cursor| wire::find_element(cursor.value, "firstBatch"))
        .and_then(|batch| wire::elements(batch.value).next())
        .context("find returned no document")?;
    if let Some(id) = id {
        let found = wire::find_element(document.value, "_id").context("document without _id")?;
        ensure!(found.value == id, "mixed up: asked _id {id:?}, got {:?}", found.value);
    }
    Ok(())
}

/// Bytes of a find as sent, for the report.
pub fn find_len() -> Result<usize> {
    let cluster_time = doc! {
        "clusterTime": bson::Timestamp { time: 1, increment: 1 },
        "signature": { "hash": Binary { subtype: BinarySubtype::Generic, bytes: vec![0; 20] }, "keyId": 0_i64 },
    };
    let length = Requests::new(Some(&cluster_time))?.find.bytes.len();
    ensure!(length > HEADER_LEN, "empty find");
    Ok(length)
}
