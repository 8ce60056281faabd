//! Pauses between failed connects, and the pool's dice.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// Share of a lifetime after which a connection may end, in percent.
const LIFETIME_FROM_PERCENT: u32 = 80;

/// Doubling pauses, drawn between half and all of each step, so that many proxies do not return at one time to a
/// member that has just restarted.
#[derive(Debug)]
pub(super) struct Backoff {
    min: Duration,
    max: Duration,
    step: Duration,
    dice: SmallRng,
}

impl Backoff {
    pub(super) fn new(min: Duration, max: Duration, seed: u64) -> Self {
        Backoff { min, max, step: min, dice: SmallRng::seed_from_u64(seed) }
    }

    /// The pause after one more failure.
    pub(super) fn next(&mut self) -> Duration {
        let pause = self.dice.random_range(self.step / 2..=self.step);
        self.step = self.step.saturating_mul(2).min(self.max);
        pause
    }

    /// After a success the next failure is a first one.
    pub(super) fn reset(&mut self) {
        self.step = self.min;
    }

    /// A connection's own lifetime out of the pool's.
    pub(super) fn spread(&mut self, lifetime: Duration) -> Duration {
        self.dice.random_range(lifetime * LIFETIME_FROM_PERCENT / 100..=lifetime)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: Duration = Duration::from_millis(50);
    const MAX: Duration = Duration::from_secs(1);

    #[test]
    fn pauses_double_up_to_the_limit_and_start_again_after_a_success() {
        let mut backoff = Backoff::new(MIN, MAX, 7);
        for step in [50, 100, 200, 400, 800, 1000, 1000].map(Duration::from_millis) {
            let pause = backoff.next();
            assert!(pause >= step / 2 && pause <= step, "{pause:?} for a step of {step:?}");
        }
        backoff.reset();
        assert!(backoff.next() <= MIN);
    }

    #[test]
    fn two_pools_pause_differently() {
        let pauses = |seed| {
            let mut backoff = Backoff::new(MIN, MAX, seed);
            [backoff.next(), backoff.next(), backoff.next()]
        };
        assert_eq!(pauses(1), pauses(1));
        assert_ne!(pauses(1), pauses(2));
    }

    #[test]
    fn lifetimes_of_connections_made_together_spread_over_a_fifth() {
        let mut backoff = Backoff::new(MIN, MAX, 7);
        let lifetimes: Vec<_> =
            (0..100).map(|_| backoff.spread(Duration::from_secs(1000)).as_secs()).collect();
        assert!(lifetimes.iter().all(|seconds| (800..=1000).contains(seconds)));
        assert!(lifetimes.iter().any(|seconds| *seconds < 840));
        assert!(lifetimes.iter().any(|seconds| *seconds > 960));
    }
}
