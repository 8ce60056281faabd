//! A server that answers every operation with the document that its nonce stands for, and looks at what it is asked: a request that
//! holds bytes of two clients is a mix-up too, and only the server can see it.

use std::io::{BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow};
use bson::{Document, doc};

use super::faults::Faults;
use super::identity;
use super::request::DATABASE;
use super::stream::read_message;
use super::tally::Tally;
use crate::checksum;
use crate::wire::{self, Header};

/// Batches of an exhaust cursor.
const EXHAUST_BATCHES: usize = 4;

/// Serves on `listener` for the rest of the process.
pub fn start(listener: TcpListener, seed: u64, tally: Arc<Tally>) {
    thread::spawn(move || {
        for (connection, stream) in listener.incoming().flatten().enumerate() {
            let tally = tally.clone();
            thread::spawn(move || {
                let faults = Faults::new(seed, connection as u64, &tally);
                // An error is torana's closing the connection, which it often has reason to.
                let _ = Connection { stream, faults, tally: &tally, next_request_id: 0 }.serve(connection);
            });
        }
    });
}

struct Connection<'t> {
    stream: TcpStream,
    faults: Faults<'t>,
    tally: &'t Tally,
    next_request_id: i32,
}

impl Connection<'_> {
    fn serve(mut self, number: usize) -> Result<()> {
        self.stream.set_nodelay(true)?;
        let mut message = Vec::new();
        let mut requests = BufReader::new(self.stream.try_clone()?);
        while read_message(&mut requests, &mut message)? {
            let Some(header) = Header::read(&message)? else { break };
            let body = wire::body(&message).ok_or_else(|| anyhow!("no command"))?;
            let name = wire::elements(body).next().map(|element| element.key).unwrap_or_default();
            match comment(body) {
                Some(comment) => self.answer(header, &message, name, &comment)?,
                None => self.answer_torana(header, name, number)?,
            }
        }
        Ok(())
    }

    /// Answers torana's own commands and the clients' hello.
    fn answer_torana(&mut self, header: Header, name: &[u8], number: usize) -> Result<()> {
        let reply = match name {
            b"hello" | b"isMaster" | b"ismaster" => doc! {
                "helloOk": true, "ismaster": true, "isWritablePrimary": true, "maxBsonObjectSize": 16_777_216,
                "maxMessageSizeBytes": 48_000_000, "maxWriteBatchSize": 100_000, "localTime": bson::DateTime::now(),
                "logicalSessionTimeoutMinutes": 30, "connectionId": number as i32, "minWireVersion": 0,
                "maxWireVersion": 17, "readOnly": false, "ok": 1.0,
            },
            _ => doc! { "cursor": { "firstBatch": [], "id": 0_i64, "ns": "admin.$cmd" }, "ok": 1.0 },
        };
        let mut out = Vec::new();
        self.put(&mut out, header.opcode, header.request_id, 0, &reply)?;
        Ok(self.stream.write_all(&out)?)
    }

    fn answer(&mut self, header: Header, message: &[u8], name: &[u8], comment: &Comment) -> Result<()> {
        if let Err(what) = check(message, name, comment.nonce) {
            self.tally.found(format!("the server was sent {what}"));
        }
        if !comment.hold.is_zero() {
            self.tally.arrived(comment.nonce);
            thread::sleep(comment.hold);
        }
        let flags = wire::flag_bits(message);
        if flags & wire::MORE_TO_COME != 0 {
            return Ok(());
        }
        let has_checksum = flags & checksum::CHECKSUM_PRESENT != 0;
        let streams = name == b"getMore" && flags & wire::EXHAUST_ALLOWED != 0;
        let mut response_to = header.request_id;
        for left in (0..if streams { EXHAUST_BATCHES } else { 1 }).rev() {
            let open = left > 0 || !(comment.last || streams);
            let reply = reply(name, comment.nonce, open);
            let flags = if left > 0 { wire::MORE_TO_COME } else { 0 };
            let mut out = Vec::new();
            response_to = self.put(&mut out, header.opcode, response_to, flags, &reply)?;
            match streams {
                true => self.stream.write_all(&out)?,
                false => self.faults.write(&mut self.stream, &out, has_checksum)?,
            }
        }
        Ok(())
    }

    fn put(&mut self, out: &mut Vec<u8>, opcode: i32, to: i32, flags: u32, body: &Document) -> Result<i32> {
        self.next_request_id = self.next_request_id.wrapping_add(1);
        let body = body.to_vec()?;
        match opcode {
            wire::OP_QUERY => wire::put_op_reply(out, self.next_request_id, to, &body),
            _ => wire::put_op_msg(out, self.next_request_id, to, flags, &body),
        }
        Ok(self.next_request_id)
    }
}

fn reply(name: &[u8], nonce: i64, open: bool) -> Document {
    let batch = match name {
        b"find" => "firstBatch",
        b"getMore" => "nextBatch",
        _ => return doc! { "n": 1, "answers": nonce, "ok": 1.0 },
    };
    let id = if open { nonce } else { 0 };
    let namespace = format!("{DATABASE}.mixup");
    doc! { "cursor": { batch: [identity::document(nonce)], "id": id, "ns": namespace }, "answers": nonce, "ok": 1.0 }
}

/// What a client's command says of itself.
pub struct Comment {
    /// Whose it is.
    pub nonce: i64,
    last: bool,
    /// How long its reply is held back; not zero if its client waits for it to arrive.
    pub hold: Duration,
}

/// The comment of a client's operation; `None` for torana's own commands.
pub fn comment(body: &[u8]) -> Option<Comment> {
    let comment = wire::find_element(body, "comment")?;
    let nonce = wire::find_element(comment.value, "nonce").and_then(|nonce| identity::number(&nonce))?;
    let last = wire::find_element(comment.value, "last").is_some_and(|last| last.value == [1]);
    let hold = wire::find_element(comment.value, "hold").and_then(|hold| identity::number(&hold));
    let hold = Duration::from_micros(hold.and_then(|micros| micros.try_into().ok()).unwrap_or(0));
    Some(Comment { nonce, last, hold })
}

/// Whether all of a request belongs to `nonce`.
fn check(message: &[u8], name: &[u8], nonce: i64) -> Result<(), String> {
    if !checksum::holds(message) {
        return Err(format!("a request of nonce {nonce:#x} with a wrong checksum"));
    }
    if name != b"insert" {
        return Ok(());
    }
    let body_len = wire::body(message).map_or(0, <[u8]>::len);
    // Header, flags and kind 0, then kind 1: its size and "documents".
    let document = message.get(16 + 4 + 1 + body_len + 1 + 4 + "documents".len() + 1..);
    let found = identity::check(document.ok_or("an insert without documents")?)?;
    if found != nonce { Err(format!("document {found:#x} in an insert of nonce {nonce:#x}")) } else { Ok(()) }
}
