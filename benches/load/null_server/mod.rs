//! A server that does nothing, as fast as one thread can: it says enough for a driver or a proxy to take it for a member of a
//! replica set, and answers everything else from prebuilt replies. What a proxy costs shows best in front of it, because next to
//! a real mongod the proxy is a few microseconds in a hundred.

mod hello;
mod replies;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use socket2::{Domain, Protocol, Socket, Type};

use crate::net::{self, Conn, Poller, Received};
use crate::wire::{self, Header};

use hello::{Awaiting, HelloService};
use replies::Replies;

/// Connections that wait to be accepted: thousands of clients arrive at once.
const BACKLOG: i32 = 4096;
/// The listener's token; connections count from 0.
const LISTENER: usize = usize::MAX;
/// An upper bound for one wait, so that nothing depends on a timer that was not set.
const TURN: Duration = Duration::from_secs(1);

/// How a null server runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it listens; also its name in the set, unless `members` says otherwise.
    pub listen: SocketAddr,
    /// Bytes of the document that a find returns, about.
    pub reply_bytes: usize,
    /// Names of all members, the primary first; this server must be among them. Empty: a set of one.
    pub members: Vec<String>,
}

struct Client {
    conn: Conn,
    connection_id: i32,
    /// A hello that is answered later.
    awaiting: Option<Awaiting>,
}

struct NullServer {
    poller: Poller,
    listener: TcpListener,
    clients: Vec<Option<Client>>,
    free: Vec<usize>,
    next_connection_id: i32,
    timers: BinaryHeap<Reverse<(Instant, usize, i32)>>,
    handler: Handler,
}

/// Everything that an answer is made of, apart from the sockets.
struct Handler {
    replies: Replies,
    hello: HelloService,
    next_request_id: i32,
}

/// Serves until the process is ended.
pub fn run(options: &Options) -> Result<()> {
    let socket = Socket::new(Domain::for_address(options.listen), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&options.listen.into()).with_context(|| format!("listening on {}", options.listen))?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    let listener = TcpListener::from(socket);
    let poller = Poller::new()?;
    poller.add(&listener, LISTENER)?;
    let handler = Handler {
        replies: Replies::new(options.reply_bytes)?,
        hello: HelloService::new(options)?,
        next_request_id: 1,
    };
    let (clients, free, timers) = (Vec::new(), Vec::new(), BinaryHeap::new());
    let mut server = NullServer { poller, listener, clients, free, next_connection_id: 1, timers, handler };
    println!("null-server ready: {}", options.listen);
    let (mut scratch, mut out) = (vec![0; net::SCRATCH_LEN], Vec::new());
    loop {
        server.turn(&mut scratch, &mut out)?;
    }
}

impl NullServer {
    fn turn(&mut self, scratch: &mut [u8], out: &mut Vec<u8>) -> Result<()> {
        let wait = match self.timers.peek() {
            Some(Reverse((at, ..))) => at.saturating_duration_since(Instant::now()).min(TURN),
            None => TURN,
        };
        // Whole milliseconds, rounded up: a hello may be late by one, and the wait is then a single system call.
        let wait = Duration::from_millis(wait.as_micros().div_ceil(1_000) as u64);
        for index in 0..self.poller.wait(Some(wait))? {
            let (token, writable) = self.poller.event(index);
            if token == LISTENER {
                self.accept()?;
            } else if self.serve(token, writable, scratch, out).is_err() {
                self.close(token);
            }
        }
        self.fire(out);
        Ok(())
    }

    fn accept(&mut self) -> Result<()> {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("accepting"),
            };
            stream.set_nodelay(true)?;
            let index = self.free.pop().unwrap_or(self.clients.len());
            let conn = Conn::new(stream, index, &self.poller)?;
            let client = Some(Client { conn, connection_id: self.next_connection_id, awaiting: None });
            self.next_connection_id += 1;
            match self.clients.get_mut(index) {
                Some(slot) => *slot = client,
                None => self.clients.push(client),
            }
        }
    }

    /// Reads what one client sent and answers all of it with one write.
    fn serve(&mut self, index: usize, writable: bool, scratch: &mut [u8], out: &mut Vec<u8>) -> Result<()> {
        let Some(client) = self.clients.get_mut(index).and_then(Option::as_mut) else { return Ok(()) };
        if writable {
            client.conn.flush(&self.poller)?;
        }
        out.clear();
        let (handler, awaiting, connection_id) =
            (&mut self.handler, &mut client.awaiting, client.connection_id);
        let received = client.conn.receive(scratch, |message| {
            if let Some(wait) = handler.respond(message, connection_id, out)? {
                *awaiting = Some(wait);
            }
            Ok(())
        })?;
        client.conn.send(out, &self.poller)?;
        if let Some(wait) = &client.awaiting {
            self.timers.push(Reverse((wait.due, index, connection_id)));
        }
        if received == Received::Closed {
            self.close(index);
        }
        Ok(())
    }

    /// Answers the hellos whose wait is over. An entry of a client that left, or that has been answered, is skipped.
    fn fire(&mut self, out: &mut Vec<u8>) {
        let now = Instant::now();
        while let Some(Reverse((at, index, connection_id))) = self.timers.peek().copied() {
            if at > now {
                return;
            }
            self.timers.pop();
            let Some(client) = self.clients.get_mut(index).and_then(Option::as_mut) else { continue };
            if client.connection_id != connection_id
                || client.awaiting.as_ref().is_none_or(|wait| wait.due > now)
            {
                continue;
            }
            out.clear();
            let Some(wait) = client.awaiting.take() else { continue };
            client.awaiting = self.handler.answer_awaiting(&wait, connection_id, now, out);
            if let Some(next) = &client.awaiting {
                self.timers.push(Reverse((next.due, index, connection_id)));
            }
            if client.conn.send(out, &self.poller).is_err() {
                self.close(index);
            }
        }
    }

    /// Dropping the socket takes it out of the epoll set.
    fn close(&mut self, index: usize) {
        if self.clients.get_mut(index).and_then(Option::take).is_some() {
            self.free.push(index);
        }
    }
}

impl Handler {
    /// Appends the answer to `message`, or says until when a hello waits.
    fn respond(&mut self, message: &[u8], connection_id: i32, out: &mut Vec<u8>) -> Result<Option<Awaiting>> {
        let header = Header::read(message)?.context("no header")?;
        let body = wire::body(message).context("no command document")?;
        let name = wire::elements(body).next().map(|element| element.key).unwrap_or_default();
        let flags = if header.opcode == wire::OP_MSG { wire::flag_bits(message) } else { 0 };
        if let Some(spelling) = hello::spelling(name) {
            if let Some(wait) = self.hello.awaiting(header, flags, spelling, body) {
                return Ok(Some(wait));
            }
            let reply = self.hello.reply(spelling, connection_id)?;
            self.put(header.opcode, header.request_id, 0, &reply, out);
        } else if let Some(reply) = self.hello.about_the_set(name)? {
            self.put(header.opcode, header.request_id, 0, &reply, out);
        } else if flags & wire::MORE_TO_COME == 0 {
            self.next_request_id = self.next_request_id.wrapping_add(1);
            self.replies.put(name, header, self.next_request_id, out);
        }
        Ok(None)
    }

    /// Appends the answer to a hello that has waited; an exhaust hello goes on waiting, for the next one.
    fn answer_awaiting(
        &mut self,
        wait: &Awaiting,
        connection_id: i32,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Option<Awaiting> {
        let reply = self.hello.reply(wait.spelling, connection_id).ok()?;
        let flags = if wait.exhaust { wire::MORE_TO_COME } else { 0 };
        let request_id = self.put(wait.opcode, wait.response_to, flags, &reply, out);
        // Each reply of a stream answers the one before it (OP_MSG, moreToCome).
        wait.exhaust.then(|| Awaiting { response_to: request_id, due: now + wait.period, ..*wait })
    }

    fn put(&mut self, opcode: i32, response_to: i32, flags: u32, body: &[u8], out: &mut Vec<u8>) -> i32 {
        self.next_request_id = self.next_request_id.wrapping_add(1);
        if opcode == wire::OP_QUERY {
            wire::put_op_reply(out, self.next_request_id, response_to, body);
        } else {
            wire::put_op_msg(out, self.next_request_id, response_to, flags, body);
        }
        self.next_request_id
    }
}
