//! Sockets: connecting from many loopback addresses, and an epoll loop with as few system calls an operation as possible (one
//! wait for many sockets, one read and one write a message), because on a machine of two cores every microsecond that the tools
//! spend is taken from what they measure. Level-triggered, so that a short read needs no second read to see that nothing is left.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::wire::Header;

/// Sockets from one loopback address: well below the 28,232 ephemeral ports that Linux gives an address by default.
const CLIENTS_PER_SOURCE: usize = 5_000;
/// Longest wait for a connection or for the reply to a set-up command.
pub const SETUP_TIMEOUT: Duration = Duration::from_secs(60);
/// One read takes this much; shared by all sockets of a loop.
pub const SCRATCH_LEN: usize = 256 * 1024;
/// Events taken with one wait.
const EVENTS_MAX: usize = 1024;

/// The source address of client number `index`, when the target is on loopback.
pub fn source_of(target: SocketAddr, index: usize) -> Option<Ipv4Addr> {
    let group = u8::try_from(index / CLIENTS_PER_SOURCE).ok()?;
    target.ip().is_loopback().then(|| Ipv4Addr::new(127, 0, 0, group.saturating_add(1)))
}

/// A blocking connection with time-outs, from `source` if one is given.
pub fn connect(target: SocketAddr, source: Option<Ipv4Addr>) -> Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(target), Type::STREAM, Some(Protocol::TCP))?;
    if let Some(source) = source {
        socket.set_reuse_address(true)?;
        socket.bind(&SockAddr::from(SocketAddr::from((source, 0))))?;
    }
    socket
        .connect_timeout(&target.into(), SETUP_TIMEOUT)
        .with_context(|| format!("connecting to {target}"))?;
    socket.set_tcp_nodelay(true)?;
    // Closing 10,000 sockets politely leaves 10,000 ports in TIME_WAIT for a minute, and the next round finds none.
    socket.set_linger(Some(Duration::ZERO))?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(SETUP_TIMEOUT))?;
    stream.set_write_timeout(Some(SETUP_TIMEOUT))?;
    Ok(stream)
}

/// An epoll instance and the events of its last wait.
pub struct Poller {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

impl Poller {
    /// An empty set.
    pub fn new() -> Result<Poller> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Poller { epoll, events: Vec::with_capacity(EVENTS_MAX) })
    }

    /// Watches `source` for reading under `token`.
    pub fn add(&self, source: &impl AsFd, token: usize) -> Result<()> {
        let data = epoll::EventData::new_u64(token as u64);
        Ok(epoll::add(&self.epoll, source, data, epoll::EventFlags::IN)?)
    }

    fn watch_writing(&self, source: &impl AsFd, token: usize, writing: bool) -> Result<()> {
        let mut flags = epoll::EventFlags::IN;
        flags.set(epoll::EventFlags::OUT, writing);
        Ok(epoll::modify(&self.epoll, source, epoll::EventData::new_u64(token as u64), flags)?)
    }

    /// Waits for events, at most `timeout`; the answer is how many there are.
    pub fn wait(&mut self, timeout: Option<Duration>) -> Result<usize> {
        self.events.clear();
        let timeout = timeout.map(|duration| Timespec {
            tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(duration.subsec_nanos()),
        });
        // epoll_wait rounds to whole milliseconds, which an open loop cannot use; ppoll on the epoll descriptor does not.
        let precise = timeout.filter(|timeout| timeout.tv_sec == 0 && timeout.tv_nsec % 1_000_000 != 0);
        if precise.is_some() {
            let ready = poll(&mut [PollFd::new(&self.epoll, PollFlags::IN)], precise.as_ref());
            if ready.unwrap_or(0) == 0 {
                return Ok(0);
            }
        }
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut self.events), timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(self.events.len()),
            Err(error) => Err(error.into()),
        }
    }

    /// Token of the event at `index` of the last wait, and whether its socket takes more bytes.
    pub fn event(&self, index: usize) -> (usize, bool) {
        let event = self.events[index];
        let (data, flags) = (event.data, event.flags);
        (data.u64() as usize, flags.contains(epoll::EventFlags::OUT))
    }
}

/// What a read found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// The peer is still there.
    Open,
    /// The peer has closed.
    Closed,
}

/// A non-blocking connection that holds no buffer while nothing is half sent or half received.
pub struct Conn {
    stream: TcpStream,
    token: usize,
    partial: Vec<u8>,
    unsent: Vec<u8>,
}

impl Conn {
    /// Takes over `stream` and watches it under `token`.
    pub fn new(stream: TcpStream, token: usize, poller: &Poller) -> Result<Conn> {
        stream.set_nonblocking(true)?;
        poller.add(&stream, token)?;
        Ok(Conn { stream, token, partial: Vec::new(), unsent: Vec::new() })
    }

    /// Sends `bytes`; what the socket does not take now goes out from [`Conn::flush`].
    pub fn send(&mut self, bytes: &[u8], poller: &Poller) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        if !self.unsent.is_empty() {
            self.unsent.extend_from_slice(bytes);
            return Ok(());
        }
        let sent = write_some(&mut self.stream, bytes)?;
        if sent < bytes.len() {
            self.unsent.extend_from_slice(&bytes[sent..]);
            poller.watch_writing(&self.stream, self.token, true)?;
        }
        Ok(())
    }

    /// Goes on sending what is left.
    pub fn flush(&mut self, poller: &Poller) -> Result<()> {
        let sent = write_some(&mut self.stream, &self.unsent)?;
        self.unsent.drain(..sent);
        if self.unsent.is_empty() {
            self.unsent = Vec::new();
            poller.watch_writing(&self.stream, self.token, false)?;
        }
        Ok(())
    }

    /// Reads once and hands every whole message to `on_message`.
    pub fn receive(
        &mut self,
        scratch: &mut [u8],
        mut on_message: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<Received> {
        let read = match self.stream.read(scratch) {
            Ok(0) => return Ok(Received::Closed),
            Ok(read) => read,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return Ok(Received::Open);
            }
            Err(error) => return Err(error).context("reading"),
        };
        let fresh = scratch.get(..read).unwrap_or_default();
        if self.partial.is_empty() {
            let used = split_messages(fresh, &mut on_message)?;
            self.partial.extend_from_slice(&fresh[used..]);
        } else {
            self.partial.extend_from_slice(fresh);
            let used = split_messages(&self.partial, &mut on_message)?;
            self.partial.drain(..used);
            if self.partial.is_empty() {
                self.partial = Vec::new();
            }
        }
        Ok(Received::Open)
    }
}

fn write_some(stream: &mut TcpStream, bytes: &[u8]) -> Result<usize> {
    match stream.write(bytes) {
        Ok(sent) => Ok(sent),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(0),
        Err(error) => Err(error).context("writing"),
    }
}

/// Hands over the whole messages at the start of `bytes`; the answer is how many bytes they were.
fn split_messages(bytes: &[u8], on_message: &mut impl FnMut(&[u8]) -> Result<()>) -> Result<usize> {
    let mut used = 0;
    while let Some(header) = Header::read(&bytes[used..])? {
        let Some(message) = bytes.get(used..used + header.length) else { break };
        on_message(message)?;
        used += header.length;
    }
    Ok(used)
}
