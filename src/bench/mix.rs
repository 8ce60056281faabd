//! Which operation comes next: each as often as its weight says.

use super::random::Random;

/// Weights, each with those before it added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mix {
    sums: Vec<u64>,
}

impl Mix {
    /// Of these weights.
    pub fn new(weights: impl IntoIterator<Item = u64>) -> Mix {
        let sums = weights.into_iter().scan(0u64, |sum, weight| {
            *sum = sum.saturating_add(weight);
            Some(*sum)
        });
        Mix { sums: sums.collect() }
    }

    /// The place of the one that comes next; 0 if there is none.
    pub fn draw(&self, random: &mut Random) -> usize {
        let point = random.below(self.sums.last().copied().unwrap_or(0));
        self.sums.partition_point(|sum| *sum <= point).min(self.sums.len().saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn operations_come_as_often_as_their_weights_say() {
        let (mix, mut random) = (Mix::new([80, 0, 15, 5]), Random::new(1));
        let mut seen = [0i32; 4];
        (0..100_000).for_each(|_| seen[mix.draw(&mut random)] += 1);
        for (seen, wanted) in seen.into_iter().zip([80_000, 0, 15_000, 5_000]) {
            assert!((seen - wanted).abs() <= wanted / 20, "{seen} for {wanted}");
        }
    }

    proptest! {
        #[test]
        fn what_has_no_weight_never_comes(weights in prop::collection::vec(0u64..5, 1..10), seed: u64) {
            prop_assume!(weights.iter().any(|weight| *weight > 0));
            let (mix, mut random) = (Mix::new(weights.iter().copied()), Random::new(seed));
            for _ in 0..50 {
                prop_assert!(weights[mix.draw(&mut random)] > 0);
            }
        }
    }
}
