//! One client: a connection at a time, an operation at a time, each reply judged.

use std::collections::VecDeque;
use std::io::{BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::identity;
use super::judge::{Documents, Expected, Verdict, judge};
use super::request;
use super::stream::read_message;
use super::tally::Tally;
use crate::dice::Dice;
use crate::wire;

/// How long a client waits for a reply. Longer than torana's own limit, the queue and a held back reply together.
const PATIENCE: Duration = Duration::from_secs(3);
/// Before another attempt to connect.
const RECONNECT_AFTER: Duration = Duration::from_millis(20);
/// How long a request may take to get to the server, and how often that is looked at.
const ARRIVES_WITHIN: Duration = Duration::from_millis(500);
const ARRIVAL_LOOK: Duration = Duration::from_micros(200);
/// Documents that a client remembers having stored.
const KNOWN_MAX: usize = 200;
/// Requests written at once.
const PIPELINED_MAX: u64 = 5;

/// One client.
pub struct Client<'t> {
    /// Its number, which is in all of its documents.
    pub id: i64,
    /// torana.
    pub target: SocketAddr,
    /// Against a real server only documents that were stored can be found.
    pub is_real: bool,
    /// What it counts in.
    pub tally: &'t Tally,
    dice: Dice,
    sequence: i64,
    request_id: i32,
    known: VecDeque<i64>,
    stream: Option<BufReader<TcpStream>>,
}

/// How an operation ended, other than by its answer.
enum Ended {
    /// The connection is no longer of use: closed by torana, by this client, or out of patience.
    Connection,
    /// The answer was an error.
    Refused,
}

type Turn<T> = Result<T, Ended>;

impl<'t> Client<'t> {
    /// A client without a connection.
    pub fn new(id: i64, target: SocketAddr, is_real: bool, seed: u64, tally: &'t Tally) -> Self {
        let dice = Dice::new(seed, 1_000_000 + id as u64);
        let (known, stream) = (VecDeque::new(), None);
        Client { id, target, is_real, tally, dice, sequence: 0, request_id: 0, known, stream }
    }

    /// Works until the hunt stops.
    pub fn run(mut self) {
        while !self.tally.is_stopped() {
            if self.stream.is_none() && self.connect().is_err() {
                self.stream = None;
                sleep(RECONNECT_AFTER);
                continue;
            }
            match self.turn() {
                Ok(()) => {}
                Err(Ended::Refused) => self.tally.refused.add(),
                Err(Ended::Connection) => self.stream = None,
            }
        }
    }

    fn connect(&mut self) -> Result<()> {
        let mut stream = TcpStream::connect(self.target)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(&request::hello(1)?)?;
        let (mut reply, mut stream) = (Vec::new(), BufReader::new(stream));
        if !read_message(&mut stream, &mut reply)? {
            bail!("closed");
        }
        self.stream = Some(stream);
        Ok(())
    }

    fn turn(&mut self) -> Turn<()> {
        if self.is_real && self.known.len() < 8 {
            return self.insert();
        }
        match self.dice.below(100) {
            0..16 => self.cut(),
            16..21 => self.unacknowledged(),
            21..29 => self.insert(),
            29..33 => self.pipelined(),
            33..36 => self.cursor(wire::EXHAUST_ALLOWED),
            36..38 => self.cursor(0),
            38..65 => self.find_checked(),
            _ => self.find(),
        }
    }

    fn find(&mut self) -> Turn<()> {
        let (id, nonce) = (self.next_request_id(), self.stored());
        self.ask(&request::find(id, nonce))?;
        self.answered(id, nonce, Documents::Own).map(drop)
    }

    fn find_checked(&mut self) -> Turn<()> {
        let nonce = self.stored();
        self.tally.checksummed.add();
        self.ask(&request::find_checked(nonce))?;
        self.answered(request::CHECKED_REQUEST_ID, nonce, Documents::Own).map(drop)
    }

    fn insert(&mut self) -> Turn<()> {
        let (id, nonce) = (self.next_request_id(), self.fresh());
        self.ask(&request::insert(id, 0, nonce))?;
        self.answered(id, nonce, Documents::None)?;
        self.known.truncate(KNOWN_MAX);
        self.known.push_front(nonce);
        Ok(())
    }

    fn unacknowledged(&mut self) -> Turn<()> {
        let (id, nonce) = (self.next_request_id(), self.fresh());
        self.tally.unacknowledged.add();
        self.ask(&request::insert(id, wire::MORE_TO_COME, nonce))
    }

    /// Several requests in one write, their replies in order.
    fn pipelined(&mut self) -> Turn<()> {
        let mut batch = Vec::new();
        let mut asked = Vec::new();
        for _ in 0..2 + self.dice.below(PIPELINED_MAX - 1) {
            let (id, nonce) = (self.next_request_id(), self.stored());
            batch.extend(request::find(id, nonce).unwrap_or_default());
            asked.push((id, nonce));
            self.tally.pipelined.add();
            self.tally.operations.add();
        }
        self.send(&batch)?;
        for (id, nonce) in asked {
            if self.dice.below(40) == 0 {
                return self.leave();
            }
            match self.answered(id, nonce, Documents::Own) {
                Err(Ended::Refused) => self.tally.refused.add(),
                other => drop(other?),
            }
        }
        Ok(())
    }

    /// Reads a cursor to its end: batch by batch, or with exhaust as long as batches come unasked.
    fn cursor(&mut self, flags: u32) -> Turn<()> {
        let documents = if self.is_real { Documents::OfClient } else { Documents::Own };
        let (id, nonce) = (self.next_request_id(), self.stored());
        self.ask(&request::open_cursor(id, nonce))?;
        let (mut cursor, _) = self.answered(id, nonce, documents)?;
        let mut asked = 0;
        while cursor != 0 {
            asked += 1;
            let id = self.next_request_id();
            self.ask(&request::get_more(id, flags, nonce, cursor, asked >= 3))?;
            let (mut next, mut more) = self.answered(id, nonce, documents)?;
            while let Some(previous) = more {
                self.tally.exhaust_batches.add();
                if self.dice.below(12) == 0 {
                    return self.leave();
                }
                (next, more) = self.answered(previous, nonce, documents)?;
            }
            cursor = next;
        }
        Ok(())
    }

    /// An operation that this client does not see the end of.
    fn cut(&mut self) -> Turn<()> {
        if self.dice.below(4) == 0 {
            return self.cut_on_server();
        }
        let id = self.next_request_id();
        let request = match self.dice.below(6) {
            0 => request::insert(id, 0, self.fresh()),
            1 => request::insert(id, 0, self.fresh_large()),
            2 => request::find_checked(self.stored()),
            3 if !self.is_real => request::find(id, self.fresh_large()),
            _ => request::find(id, self.stored()),
        }
        .unwrap_or_default();
        self.tally.operations.add();
        match self.dice.below(5) {
            // In the middle of the request.
            0 => self.send(&request[..self.dice.clone().below(request.len() as u64) as usize])?,
            // With the request on its way.
            1 => self.send(&request)?,
            // While the server works.
            2 => {
                self.send(&request)?;
                let patience = if self.dice.below(16) == 0 { 150_000 } else { 2_000 };
                sleep(Duration::from_micros(self.dice.below(patience)));
            }
            // In the middle of the reply.
            _ => {
                self.send(&request)?;
                self.read_some();
            }
        }
        self.leave()
    }

    /// Leaves when the request is surely with the server and its reply is surely not out. Of those that only leave at
    /// once most are still in torana's queue, since there are many more clients than connections.
    fn cut_on_server(&mut self) -> Turn<()> {
        let nonce = self.stored();
        let id = if self.dice.below(2) == 0 { request::CHECKED_REQUEST_ID } else { self.next_request_id() };
        // Mostly within torana's patience with what a client leaves behind, sometimes beyond it.
        let hold = if self.dice.below(50) == 0 { 80_000 } else { 1_000 + self.dice.below(3_000) };
        self.ask(&request::find_held(id, nonce, Duration::from_micros(hold)))?;
        let until = Instant::now() + ARRIVES_WITHIN;
        while !self.tally.take_arrived(nonce) {
            if Instant::now() > until {
                return self.leave();
            }
            sleep(ARRIVAL_LOOK);
        }
        self.tally.cut_on_server.add();
        sleep(Duration::from_micros(self.dice.below(hold / 2)));
        self.leave()
    }

    fn read_some(&mut self) {
        let mut part =
            vec![0; 1 + self.dice.below(if self.dice.clone().below(2) == 0 { 40 } else { 60_000 }) as usize];
        if let Some(stream) = &mut self.stream {
            // Whatever comes: it is left anyway.
            let _ = stream.read(&mut part);
        }
    }

    /// Closes the connection, in one of two cases at once and with an error at the other end.
    fn leave(&mut self) -> Turn<()> {
        self.tally.cut.add();
        if let (Some(stream), 0) = (&self.stream, self.dice.below(2)) {
            // Without it the connection just ends more politely.
            let _ = socket2::SockRef::from(stream.get_ref()).set_linger(Some(Duration::ZERO));
        }
        Err(Ended::Connection)
    }

    fn ask(&mut self, request: &Result<Vec<u8>>) -> Turn<()> {
        self.tally.operations.add();
        self.send(request.as_ref().map(Vec::as_slice).unwrap_or_default())
    }

    fn send(&mut self, bytes: &[u8]) -> Turn<()> {
        let sent = self.stream.as_mut().map(|stream| stream.get_mut().write_all(bytes));
        match sent {
            Some(Ok(())) => Ok(()),
            _ => {
                self.tally.closed.add();
                Err(Ended::Connection)
            }
        }
    }

    /// The judged reply: its cursor, and its number if another follows it.
    fn answered(&mut self, request_id: i32, nonce: i64, documents: Documents) -> Turn<(i64, Option<i32>)> {
        let mut reply = Vec::new();
        let Some(stream) = &mut self.stream else { return Err(Ended::Connection) };
        match read_message(stream, &mut reply) {
            Ok(true) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                self.tally.timed_out.add();
                return Err(Ended::Connection);
            }
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                self.tally.found(format!("client {} was sent garbage: {error}", self.id));
                return Err(Ended::Connection);
            }
            Ok(false) | Err(_) => {
                self.tally.closed.add();
                return Err(Ended::Connection);
            }
        }
        match judge(&reply, &Expected { request_id, nonce, documents }) {
            Verdict::Right { cursor, more_after } => {
                self.tally.checked.add();
                Ok((cursor, more_after))
            }
            Verdict::Refused => Err(Ended::Refused),
            Verdict::Wrong(what) => {
                self.tally.found(what);
                Err(Ended::Connection)
            }
        }
    }

    fn next_request_id(&mut self) -> i32 {
        self.request_id = (self.request_id + 1) & 0xffff;
        self.request_id
    }

    fn fresh(&mut self) -> i64 {
        self.sequence += 1;
        identity::nonce(self.id, self.sequence)
    }

    fn fresh_large(&mut self) -> i64 {
        self.sequence = (self.sequence / identity::LARGE_EVERY + 1) * identity::LARGE_EVERY;
        identity::nonce(self.id, self.sequence)
    }

    /// The nonce of a document that can be found.
    fn stored(&mut self) -> i64 {
        if !self.is_real {
            return self.fresh();
        }
        let index = self.dice.below(self.known.len() as u64) as usize;
        self.known.get(index).copied().unwrap_or_default()
    }
}
