//! A client: one connection at a time, and at most one operation under way on it.

use crate::replay::link::Link;
pub(super) use crate::replay::link::State;

/// How long is waited after a first attempt to connect that failed, nanoseconds; twice as long after each further one.
const BACKOFF_FIRST: u64 = 100_000_000;

/// The longest wait between two attempts, nanoseconds.
const BACKOFF_MAX: u64 = 5_000_000_000;

/// An operation that was sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct InFlight {
    pub kind: usize,
    /// When it was due.
    pub due: u64,
    /// When nothing but torana itself kept it from being sent any more.
    pub ready: u64,
    pub sent: u64,
}

/// A client.
#[derive(Debug)]
pub(super) struct Client {
    pub link: Option<Link>,
    pub state: State,
    /// What the poller knows its present socket by.
    pub token: u64,
    /// When the attempt to connect, or the wait for a reply, is given up.
    pub deadline: u64,
    pub in_flight: Option<InFlight>,
    /// Since when it could have sent something.
    pub free_since: u64,
    /// Not before this it tries to connect again.
    pub retry_at: u64,
    backoff: u64,
    pub request_id: i32,
    /// Batches that it read beyond the first of each cursor.
    pub batches: u64,
}

impl Client {
    pub(super) fn new() -> Client {
        Client {
            link: None,
            state: State::Closed,
            token: 0,
            deadline: u64::MAX,
            in_flight: None,
            free_since: 0,
            retry_at: 0,
            backoff: BACKOFF_FIRST,
            // Numbers start anywhere, so that those of two connections seldom coincide in a packet capture.
            request_id: rand::random::<i32>() & 0x3fff_ffff,
            batches: 0,
        }
    }

    /// A requestID that this connection has not used for long.
    pub(super) fn next_request_id(&mut self) -> i32 {
        self.request_id = self.request_id.wrapping_add(1) & i32::MAX;
        self.request_id
    }

    /// The clock begins anew: what was at `before` is at 0 now.
    pub(super) fn shift(&mut self, before: u64) {
        self.free_since = 0;
        self.retry_at = self.retry_at.saturating_sub(before);
        if self.deadline != u64::MAX {
            self.deadline = self.deadline.saturating_sub(before);
        }
    }

    /// It can be used.
    pub(super) fn opened(&mut self, now: u64) {
        self.state = State::Open;
        self.deadline = u64::MAX;
        self.free_since = now;
        self.backoff = BACKOFF_FIRST;
    }

    /// Its connection, or the attempt at one, is over; the next attempt is made after a while.
    pub(super) fn closed(&mut self, now: u64) {
        self.link = None;
        self.state = State::Closed;
        self.deadline = u64::MAX;
        self.retry_at = now + self.backoff;
        self.backoff = (self.backoff * 2).min(BACKOFF_MAX);
    }
}
