//! When operations are due, and how many clients take part: by the clock alone, whatever the server does.

use std::time::Duration;

/// The schedule of an open loop: so many operations a second, all clients together, after a ramp in which the rate grows
/// evenly from nothing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// Operations a second.
    rate: f64,
    /// Seconds.
    ramp: f64,
}

impl Pace {
    /// `rate` operations a second after a ramp.
    pub fn new(rate: f64, ramp: Duration) -> Pace {
        Pace { rate, ramp: ramp.as_secs_f64() }
    }

    /// When operation `number` (from 0) is due, nanoseconds since the run began.
    pub fn due(&self, number: u64) -> u64 {
        let number = number as f64;
        // At a rate of `rate * t / ramp`, `rate * t * t / (2 * ramp)` operations were due by t.
        let in_ramp = self.rate * self.ramp / 2.0;
        let seconds = match number < in_ramp {
            true => (2.0 * number * self.ramp / self.rate).sqrt(),
            false => self.ramp + (number - in_ramp) / self.rate,
        };
        (seconds * 1e9) as u64
    }

    /// How many operations are due before `time`, nanoseconds since the run began.
    pub fn due_before(&self, time: u64) -> u64 {
        let (mut low, mut high) = (0u64, 1u64);
        while self.due(high) < time {
            (low, high) = (high, high.saturating_mul(2));
        }
        if self.due(low) >= time {
            return low;
        }
        // Due is `low`, not due is `high`.
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            match self.due(middle) < time {
                true => low = middle,
                false => high = middle,
            }
        }
        high
    }
}

/// How the clients of a closed loop join one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Joining {
    clients: usize,
    /// Nanoseconds.
    ramp: u64,
}

impl Joining {
    /// `clients` of them, the last at the end of the ramp.
    pub fn new(clients: usize, ramp: Duration) -> Joining {
        Joining { clients, ramp: u64::try_from(ramp.as_nanos()).unwrap_or(u64::MAX) }
    }

    /// How many take part at `time`, nanoseconds since the run began; the first does from the beginning.
    pub fn count(&self, time: u64) -> usize {
        if time >= self.ramp {
            return self.clients;
        }
        let share = u128::from(time) * self.clients as u128 / u128::from(self.ramp.max(1));
        (share as usize).max(1).min(self.clients)
    }

    /// When there are more than `count`; `None` if there never are.
    pub fn more_than(&self, count: usize) -> Option<u64> {
        let time = (count as u128 + 1) * u128::from(self.ramp) / self.clients.max(1) as u128;
        (count < self.clients).then(|| u64::try_from(time).unwrap_or(u64::MAX).saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn operations_are_due_at_even_distances() {
        let pace = Pace::new(1000.0, Duration::ZERO);
        assert_eq!([pace.due(0), pace.due(1), pace.due(1500)], [0, SECOND / 1000, 3 * SECOND / 2]);
        assert_eq!(pace.due_before(SECOND), 1000);
    }

    #[test]
    fn a_ramp_has_half_the_operations_and_then_the_whole_rate() {
        let pace = Pace::new(1000.0, Duration::from_secs(10));
        assert_eq!(pace.due_before(10 * SECOND), 5000);
        assert_eq!(pace.due_before(5 * SECOND), 1250);
        assert_eq!(pace.due_before(11 * SECOND) - pace.due_before(10 * SECOND), 1000);
    }

    #[test]
    fn clients_join_one_after_the_other() {
        let joining = Joining::new(10, Duration::from_secs(10));
        let counts = [0, 1, 2, 9, 10, 100].map(|second| joining.count(second * SECOND));
        assert_eq!(counts, [1, 1, 2, 9, 10, 10]);
        assert_eq!(Joining::new(10, Duration::ZERO).count(0), 10);
    }

    proptest! {
        #[test]
        fn no_operation_is_due_before_the_one_before_it(
            rate in 1.0f64..1e6, ramp_ms in 0u64..60_000, number in 0u64..10_000_000,
        ) {
            let pace = Pace::new(rate, Duration::from_millis(ramp_ms));
            let due = pace.due(number);
            prop_assert!(due <= pace.due(number + 1));
            // Several may share a nanosecond in rounding, so counting may be off by one.
            prop_assert!(pace.due_before(due).abs_diff(number) <= 1);
            prop_assert!(pace.due_before(due + 1) > number || pace.due(number + 1) == due);
        }

        #[test]
        fn a_client_joins_when_it_is_said_to(clients in 1usize..500, ramp_ms in 0u64..60_000, count in 0usize..500) {
            let joining = Joining::new(clients, Duration::from_millis(ramp_ms));
            match joining.more_than(count) {
                Some(time) => prop_assert!(joining.count(time) > count),
                None => prop_assert!(count >= clients),
            }
        }
    }
}
