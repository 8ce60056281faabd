//! At most so many lines of a log in a time.

use std::time::{Duration, Instant};

/// Lets one line pass in each span, and counts the others.
#[derive(Debug)]
pub struct Rate {
    /// `None`: no line passes.
    every: Option<Duration>,
    last: Option<Instant>,
    held: u64,
}

impl Rate {
    /// One line in each `every`; none at all if that is `None`.
    pub fn new(every: Option<Duration>) -> Rate {
        Rate { every, last: None, held: 0 }
    }

    /// Whether a line may be written at `now`; if so, how many were not since the last that was.
    pub fn pass(&mut self, now: Instant) -> Option<u64> {
        let every = self.every?;
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < every) {
            self.held += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.held))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_pass_at_their_rate_and_the_others_are_counted() {
        let mut rate = Rate::new(Some(Duration::from_secs(1)));
        let now = Instant::now();
        assert_eq!(rate.pass(now), Some(0));
        assert_eq!(rate.pass(now), None);
        assert_eq!(rate.pass(now + Duration::from_millis(999)), None);
        assert_eq!(rate.pass(now + Duration::from_secs(1)), Some(2));
        assert_eq!(rate.pass(now + Duration::from_secs(5)), Some(0));
        assert_eq!(Rate::new(None).pass(now), None);
    }
}
