//! A member of the target as the player sees it: where it is, and whether it can be reached.

use std::net::SocketAddr;

/// How long is waited after a first attempt to connect that failed, nanoseconds; twice as long after each further one.
const BACKOFF_FIRST: u64 = 100_000_000;

/// The longest wait between two attempts, nanoseconds.
const BACKOFF_MAX: u64 = 5_000_000_000;

/// A member.
#[derive(Debug)]
pub(super) struct Member {
    pub name: String,
    pub address: SocketAddr,
    /// Connections that wait until it can be reached again.
    pub parked: Vec<usize>,
    /// What the last failed attempt said.
    pub error: String,
    down: Option<Down>,
}

#[derive(Debug)]
struct Down {
    since: u64,
    retry_at: u64,
    delay: u64,
    is_probed: bool,
}

impl Member {
    pub(super) fn new(name: String, address: SocketAddr) -> Member {
        Member { name, address, parked: Vec::new(), error: String::new(), down: None }
    }

    /// Whether an attempt may be made. While it cannot be reached, one at a time is.
    pub(super) fn may_connect(&mut self, now: u64) -> bool {
        match &mut self.down {
            None => true,
            Some(down) if down.is_probed || now < down.retry_at => false,
            Some(down) => {
                down.is_probed = true;
                true
            }
        }
    }

    /// An attempt failed.
    pub(super) fn failed(&mut self, now: u64, error: String) {
        self.error = error;
        let before = self.down.take();
        // Attempts that were under way together are one failure.
        let delay = match &before {
            Some(down) if down.is_probed => (down.delay * 2).min(BACKOFF_MAX),
            Some(down) => down.delay,
            None => BACKOFF_FIRST,
        };
        let since = before.map_or(now, |down| down.since);
        self.down = Some(Down { since, retry_at: now + delay, delay, is_probed: false });
    }

    /// It answers: the connections that waited may go on.
    pub(super) fn answers(&mut self) -> Vec<usize> {
        self.down = None;
        std::mem::take(&mut self.parked)
    }

    /// The connections that may try again now; one of them will.
    pub(super) fn retry(&mut self, now: u64) -> Vec<usize> {
        match &self.down {
            Some(down) if !down.is_probed && now >= down.retry_at => std::mem::take(&mut self.parked),
            _ => Vec::new(),
        }
    }

    /// For how long it could not be reached though somebody wants it, nanoseconds.
    pub(super) fn down_for(&mut self, now: u64) -> u64 {
        let is_parked = !self.parked.is_empty();
        let Some(down) = &mut self.down else { return 0 };
        // While nobody wants it, nobody tries.
        if !is_parked && !down.is_probed {
            down.since = now;
        }
        now.saturating_sub(down.since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_that_is_down_is_tried_by_one_connection_at_a_time_and_ever_less_often() {
        let mut member = Member::new("a:1".into(), SocketAddr::from(([127, 0, 0, 1], 1)));
        assert!(member.may_connect(0) && member.may_connect(0));
        member.failed(10, "refused".into());
        member.failed(11, "refused".into());
        assert!(!member.may_connect(BACKOFF_FIRST));
        assert!(member.may_connect(BACKOFF_FIRST + 11) && !member.may_connect(BACKOFF_FIRST + 11));
        let mut now = BACKOFF_FIRST + 11;
        for doubled in [2, 4, 8, 16, 32, 50, 50] {
            member.failed(now, "refused".into());
            member.parked.push(7);
            now += BACKOFF_FIRST * doubled;
            assert!(member.retry(now - 1).is_empty(), "{doubled}");
            assert_eq!(member.retry(now), [7]);
            assert!(member.may_connect(now));
        }
        assert_eq!(member.down_for(now), now - 10);
        member.parked.push(3);
        assert_eq!(member.answers(), [3]);
        assert!(member.may_connect(now) && member.down_for(now) == 0);
    }

    #[test]
    fn a_member_that_nobody_waits_for_is_not_lost() {
        let mut member = Member::new("a:1".into(), SocketAddr::from(([127, 0, 0, 1], 1)));
        // One attempt failed; the connection whose job it was has no more jobs for a while.
        member.failed(10, "timed out".into());
        assert_eq!(member.down_for(31_000_000_010), 0);
    }
}
