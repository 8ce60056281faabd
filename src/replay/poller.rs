//! One wait for many sockets, to the microsecond: what paces a replay sleeps here.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::io::Errno;

/// Events taken with one wait.
const EVENTS_MAX: usize = 1024;

/// An epoll instance and the events of its last wait.
pub struct Poller {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

/// Something happened on a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// What it was watched under.
    pub token: u64,
    /// It takes bytes, or its connection attempt has ended.
    pub is_writable: bool,
    /// It has bytes, or was closed.
    pub is_readable: bool,
}

impl Poller {
    /// An empty set.
    pub fn new() -> std::io::Result<Poller> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Poller { epoll, events: Vec::with_capacity(EVENTS_MAX) })
    }

    /// Watches `source` under `token`: for reading, and for writing too if `writing`.
    pub fn add(&self, source: &impl AsFd, token: u64, writing: bool) -> std::io::Result<()> {
        Ok(epoll::add(&self.epoll, source, epoll::EventData::new_u64(token), flags(writing))?)
    }

    /// Changes whether `source` is watched for writing.
    pub fn watch_writing(&self, source: &impl AsFd, token: u64, writing: bool) -> std::io::Result<()> {
        Ok(epoll::modify(&self.epoll, source, epoll::EventData::new_u64(token), flags(writing))?)
    }

    /// Waits for events, at most `timeout`; gives how many there are.
    pub fn wait(&mut self, timeout: Duration) -> std::io::Result<usize> {
        self.events.clear();
        let time = |duration: Duration| Timespec {
            tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(duration.subsec_nanos()),
        };
        // epoll_wait rounds up to whole milliseconds; ppoll on the epoll descriptor does not.
        let is_precise = !timeout.subsec_nanos().is_multiple_of(1_000_000);
        let mut rest = timeout;
        if is_precise {
            let ready = poll(&mut [PollFd::new(&self.epoll, PollFlags::IN)], Some(&time(timeout)));
            if ready.unwrap_or(0) == 0 {
                return Ok(0);
            }
            rest = Duration::ZERO;
        }
        let space = rustix::buffer::spare_capacity(&mut self.events);
        match epoll::wait(&self.epoll, space, Some(&time(rest))) {
            Ok(_) | Err(Errno::INTR) => Ok(self.events.len()),
            Err(error) => Err(error.into()),
        }
    }

    /// The event at `index` of the last wait.
    pub fn event(&self, index: usize) -> Option<Event> {
        let event = self.events.get(index)?;
        let (data, flags) = (event.data, event.flags);
        let ended = flags.intersects(epoll::EventFlags::HUP | epoll::EventFlags::ERR);
        Some(Event {
            token: data.u64(),
            is_writable: ended || flags.contains(epoll::EventFlags::OUT),
            is_readable: ended || flags.contains(epoll::EventFlags::IN),
        })
    }
}

fn flags(writing: bool) -> epoll::EventFlags {
    let mut flags = epoll::EventFlags::IN;
    flags.set(epoll::EventFlags::OUT, writing);
    flags
}
