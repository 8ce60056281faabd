//! A socket to the target: bytes out, whole messages in. Never blocks, and holds no buffer while nothing is half sent or
//! half received.

use std::borrow::Cow;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};

use super::poller::Poller;
use crate::wire::{Header, MESSAGE_MAX, Side};

/// A reply may be longer than a request may be: a document of 16 MiB and what stands round it, or a batch of them.
const REPLY_MAX: usize = 2 * MESSAGE_MAX;

/// A connection, or the attempt at one.
#[derive(Debug)]
pub struct Link {
    stream: TcpStream,
    token: u64,
    unsent: Vec<u8>,
    partial: Vec<u8>,
}

/// How far the socket of a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It has none.
    Closed,
    /// The attempt is under way.
    Connecting,
    /// The handshake was sent.
    Greeting,
    /// It can be used.
    Open,
}

/// What a read found.
#[derive(Debug, PartialEq, Eq)]
pub enum Received<'s> {
    /// Nothing, or not yet a whole message.
    Nothing,
    /// A message, where it was read or, if it came in parts, on its own. There may be more.
    Message(Cow<'s, [u8]>),
    /// The peer has closed.
    Closed,
}

impl Link {
    /// Begins to connect; the poller tells by writability when that has ended.
    pub fn connect(address: SocketAddr, token: u64, poller: &Poller) -> io::Result<Link> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        match socket.connect(&address.into()) {
            Err(error) if error.raw_os_error() != Some(Errno::INPROGRESS.raw_os_error()) => {
                return Err(error);
            }
            _ => {}
        }
        let stream = TcpStream::from(socket);
        poller.add(&stream, token, true)?;
        Ok(Link { stream, token, unsent: Vec::new(), partial: Vec::new() })
    }

    /// The attempt has ended: well, or with this error.
    pub fn connected(&mut self, poller: &Poller) -> io::Result<()> {
        if let Some(error) = self.stream.take_error()? {
            return Err(error);
        }
        self.stream.peer_addr()?;
        poller.watch_writing(&self.stream, self.token, false)
    }

    /// Sends `bytes`; what the socket does not take now goes out from [`Link::flush`].
    pub fn send(&mut self, bytes: &[u8], poller: &Poller) -> io::Result<()> {
        if !self.unsent.is_empty() {
            self.unsent.extend_from_slice(bytes);
            return Ok(());
        }
        let sent = write_some(&mut self.stream, bytes)?;
        if let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
            self.unsent.extend_from_slice(rest);
            poller.watch_writing(&self.stream, self.token, true)?;
        }
        Ok(())
    }

    /// Whether bytes that were given to it have not left.
    pub fn is_sending(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Goes on sending what is left.
    pub fn flush(&mut self, poller: &Poller) -> io::Result<()> {
        if self.unsent.is_empty() {
            return Ok(());
        }
        let sent = write_some(&mut self.stream, &self.unsent)?;
        self.unsent.drain(..sent);
        if self.unsent.is_empty() {
            self.unsent = Vec::new();
            poller.watch_writing(&self.stream, self.token, false)?;
        }
        Ok(())
    }

    /// Reads once, into `scratch`, and gives the message that is whole then. A server sends one reply at a time here: bytes
    /// behind one are an error of the protocol.
    pub fn receive<'s>(&mut self, scratch: &'s mut [u8]) -> io::Result<Received<'s>> {
        let read = match self.stream.read(scratch) {
            Ok(0) => return Ok(Received::Closed),
            Ok(read) => read,
            Err(error) if is_retried(&error) => return Ok(Received::Nothing),
            Err(error) => return Err(error),
        };
        let fresh = scratch.get(..read).unwrap_or_default();
        if self.partial.is_empty() && whole(fresh)? {
            return Ok(Received::Message(Cow::Borrowed(fresh)));
        }
        self.partial.extend_from_slice(fresh);
        match whole(&self.partial)? {
            true => Ok(Received::Message(Cow::Owned(std::mem::take(&mut self.partial)))),
            false => Ok(Received::Nothing),
        }
    }
}

/// Whether `bytes` are a whole message; too many are an error.
fn whole(bytes: &[u8]) -> io::Result<bool> {
    let header = Header::peek(bytes, Side::Server, REPLY_MAX);
    let header = header.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
    match header.map(|header| header.length) {
        Some(length) if bytes.len() > length => {
            Err(io::Error::new(ErrorKind::InvalidData, "server sent more than was asked for"))
        }
        length => Ok(length == Some(bytes.len())),
    }
}

fn write_some(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    match stream.write(bytes) {
        Ok(sent) => Ok(sent),
        Err(error) if is_retried(&error) => Ok(0),
        Err(error) => Err(error),
    }
}

fn is_retried(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
