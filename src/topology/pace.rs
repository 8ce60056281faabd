//! How fast the answers to awaiting hellos are taken, sans-IO.
//!
//! A server answers one when its state changes, or when the wait is over. One that answers at once, again and again
//! (a defect, or a process in a loop of restarts), would cost a core and wake every client that waits; its further
//! answers stay in the socket instead.

use std::time::Duration;

use tokio::time::Instant;

/// Answers that may follow each other closely: an election is a handful of changes.
const BURST_MAX: u32 = 8;

/// Who is quiet for so long may come in a burst again.
const QUIET: Duration = Duration::from_millis(500);

/// Between two answers beyond a burst.
const PAUSE: Duration = Duration::from_millis(100);

/// The answers of one connection.
#[derive(Debug, Default)]
pub(super) struct Pace {
    last: Option<Instant>,
    burst: u32,
}

impl Pace {
    /// An answer came `now`: when the next may be taken.
    pub(super) fn next(&mut self, now: Instant) -> Instant {
        let quiet = self.last.is_none_or(|last| now.saturating_duration_since(last) >= QUIET);
        self.burst = if quiet { 1 } else { self.burst.saturating_add(1) };
        self.last = Some(now);
        if self.burst <= BURST_MAX { now } else { now + PAUSE }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_election_passes_at_once_and_a_flood_does_not() {
        let mut pace = Pace::default();
        let mut now = Instant::now();
        for _ in 0..BURST_MAX {
            assert_eq!(pace.next(now), now);
        }
        for _ in 0..100 {
            let next = pace.next(now);
            assert_eq!(next, now + PAUSE);
            now = next;
        }
        now += QUIET;
        assert_eq!(pace.next(now), now);
    }
}
