//! The counterpart of one captured connection: its jobs in their order, and at most one socket.

use std::collections::VecDeque;

use crate::replay::job::{ConnectionId, Job};
use crate::replay::link::Link;
pub(super) use crate::replay::link::State;

/// A job whose time has come.
#[derive(Debug)]
pub(super) struct Queued {
    pub job: Box<Job>,
    /// When it was due.
    pub due: u64,
    /// When nothing but the player itself kept it from being sent any more.
    pub ready: u64,
}

/// A job that was sent.
#[derive(Debug)]
pub(super) struct InFlight {
    pub queued: Queued,
    pub sent: u64,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub id: ConnectionId,
    /// Which member of the target.
    pub member: usize,
    pub jobs: VecDeque<Queued>,
    /// The front job has waited for something since it was due.
    pub is_blocked: bool,
    pub link: Option<Link>,
    pub state: State,
    /// What the poller knows its present socket by.
    pub token: u64,
    /// When the attempt to connect, or the wait for a reply, is given up.
    pub deadline: u64,
    pub in_flight: Option<InFlight>,
    /// It is in the line of those that wait for a socket.
    pub is_starved: bool,
    /// No more jobs will come.
    pub is_last: bool,
    pub request_id: i32,
}

impl Connection {
    pub(super) fn new(id: ConnectionId, member: usize) -> Connection {
        Connection {
            id,
            member,
            jobs: VecDeque::new(),
            is_blocked: false,
            link: None,
            state: State::Closed,
            token: 0,
            deadline: u64::MAX,
            in_flight: None,
            is_starved: false,
            is_last: false,
            // Numbers start anywhere, so that those of two connections seldom coincide in a packet capture.
            request_id: rand::random::<i32>() & 0x3fff_ffff,
        }
    }

    /// A requestID that this connection has not used for long.
    pub(super) fn next_request_id(&mut self) -> i32 {
        self.request_id = self.request_id.wrapping_add(1) & i32::MAX;
        self.request_id
    }
}
