//! Which document an operation is about: keys 0, 1, 2, ... drawn evenly, or by Zipf's law, in the same time however many
//! there are.

use super::random::Random;

/// Terms of the zeta sum that are added one by one; the rest is an integral, whose error is far below a millionth.
const TERMS_MAX: u64 = 1 << 20;

/// How often each key is asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Distribution {
    /// All equally often.
    Uniform,
    /// The most popular key twice (2 to the power of the exponent) as often as the second, and so on. The exponent lies
    /// between 0 and 1.
    Zipf(f64),
}

/// Draws keys.
#[derive(Debug, Clone, PartialEq)]
pub struct Keys {
    count: u64,
    zipf: Option<Zipf>,
    scatter: Scatter,
}

impl Keys {
    /// Of `count` keys, from 0.
    pub fn new(count: u64, distribution: Distribution) -> Keys {
        let zipf = match distribution {
            Distribution::Uniform => None,
            Distribution::Zipf(exponent) => Some(Zipf::new(count, exponent)),
        };
        Keys { count, zipf, scatter: Scatter::new(count) }
    }

    /// The next key.
    pub fn draw(&self, random: &mut Random) -> u64 {
        match &self.zipf {
            None => random.below(self.count),
            Some(zipf) => self.scatter.key(zipf.rank(random.unit())),
        }
    }
}

/// Ranks by Zipf's law, from 0 for the most popular. The method of Gray and others, "Quickly generating billion-record
/// synthetic databases" (1994), which YCSB took over: exact for the first two ranks, a continuous curve for the others.
#[derive(Debug, Clone, PartialEq)]
pub struct Zipf {
    count: f64,
    zeta: f64,
    alpha: f64,
    eta: f64,
    /// Below this, after the first, is the second rank.
    second: f64,
}

impl Zipf {
    /// Of `count` ranks; the exponent lies between 0 and 1.
    pub fn new(count: u64, exponent: f64) -> Zipf {
        let (count, zeta) = (count.max(1) as f64, zeta(count.max(1), exponent));
        let eta = (1.0 - (2.0 / count).powf(1.0 - exponent)) / (1.0 - zeta_of_two(exponent) / zeta);
        Zipf { count, zeta, alpha: 1.0 / (1.0 - exponent), eta, second: zeta_of_two(exponent) }
    }

    /// The rank at `unit` (0 to 1, 1 left out) of the distribution.
    pub fn rank(&self, unit: f64) -> u64 {
        let place = unit * self.zeta;
        let last = self.count - 1.0;
        let rank = match place {
            place if place < 1.0 => 0.0,
            place if place < self.second => 1.0,
            _ => self.count * (self.eta * unit - self.eta + 1.0).powf(self.alpha),
        };
        rank.min(last) as u64
    }
}

fn zeta_of_two(exponent: f64) -> f64 {
    1.0 + 0.5f64.powf(exponent)
}

/// The sum of `1 / i^exponent` for i from 1 to `count`.
fn zeta(count: u64, exponent: f64) -> f64 {
    let term = |i: f64| i.powf(-exponent);
    let summed = count.min(TERMS_MAX);
    // From the small terms up: the sum loses less so.
    let sum: f64 = (1..=summed).rev().map(|i| term(i as f64)).sum();
    let (from, to) = (summed as f64, count as f64);
    let power = 1.0 - exponent;
    sum + (to.powf(power) - from.powf(power)) / power + (term(to) - term(from)) / 2.0
}

/// Puts the ranks all over the keys: else the popular documents would be neighbours, in one page of the server's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Scatter {
    count: u64,
    stride: u64,
}

impl Scatter {
    fn new(count: u64) -> Scatter {
        // The golden section lays neighbours farthest apart; a stride without a common factor meets each key once.
        let mut stride = ((count as f64 * 0.618_033_988_75) as u64).max(1);
        while common_factor(stride, count) > 1 {
            stride += 1;
        }
        Scatter { count, stride }
    }

    fn key(self, rank: u64) -> u64 {
        let key = u128::from(rank) * u128::from(self.stride) % u128::from(self.count.max(1));
        key as u64
    }
}

fn common_factor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { common_factor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The exact share of each rank.
    fn exact(count: u64, exponent: f64) -> Vec<f64> {
        let terms: Vec<f64> = (1..=count).map(|i| (i as f64).powf(-exponent)).collect();
        let sum: f64 = terms.iter().sum();
        terms.into_iter().map(|term| term / sum).collect()
    }

    /// The largest difference between the share of draws up to any rank and what it should be.
    fn distance(count: u64, exponent: f64) -> f64 {
        const DRAWS: u32 = 400_000;
        let (zipf, mut random) = (Zipf::new(count, exponent), Random::new(3));
        let mut seen = vec![0u32; count as usize];
        for _ in 0..DRAWS {
            seen[zipf.rank(random.unit()) as usize] += 1;
        }
        let (mut drawn, mut wanted, mut worst) = (0.0, 0.0, 0.0f64);
        for (seen, exact) in seen.iter().zip(exact(count, exponent)) {
            drawn += f64::from(*seen) / f64::from(DRAWS);
            wanted += exact;
            worst = worst.max((drawn - wanted).abs());
        }
        worst
    }

    #[test]
    fn ranks_are_drawn_by_zipfs_law() {
        // Chance alone makes 0.003; the curve through the ranks from the third on is off by up to 0.03.
        for (count, exponent) in [(10, 0.5), (100, 0.99), (1000, 0.99), (10_000, 0.8), (10_000, 0.2)] {
            let distance = distance(count, exponent);
            assert!(distance < 0.035, "{count} ranks, exponent {exponent}: off by {distance}");
        }
    }

    #[test]
    fn the_first_two_ranks_are_exact() {
        let (zipf, mut random) = (Zipf::new(1000, 0.99), Random::new(5));
        let ranks: Vec<u64> = (0..400_000).map(|_| zipf.rank(random.unit())).collect();
        let share = |rank| ranks.iter().filter(|drawn| **drawn == rank).count() as f64 / ranks.len() as f64;
        let wanted = exact(1000, 0.99);
        assert!((share(0) - wanted[0]).abs() < 0.002, "{} {}", share(0), wanted[0]);
        assert!((share(1) - wanted[1]).abs() < 0.002, "{} {}", share(1), wanted[1]);
    }

    #[test]
    fn a_long_zeta_sum_is_as_good_as_a_short_one() {
        let by_hand: f64 = (1..=3 * TERMS_MAX).map(|i| (i as f64).powf(-0.9)).sum();
        assert!((zeta(3 * TERMS_MAX, 0.9) / by_hand - 1.0).abs() < 1e-9);
    }

    #[test]
    fn an_even_draw_prefers_no_key() {
        let (keys, mut random) = (Keys::new(20, Distribution::Uniform), Random::new(1));
        let mut seen = [0u32; 20];
        (0..100_000).for_each(|_| seen[keys.draw(&mut random) as usize] += 1);
        assert!(seen.iter().all(|count| count.abs_diff(5000) < 400), "{seen:?}");
    }

    proptest! {
        #[test]
        fn each_rank_has_a_key_of_its_own(count in 1u64..2000) {
            let scatter = Scatter::new(count);
            let mut keys: Vec<u64> = (0..count).map(|rank| scatter.key(rank)).collect();
            keys.sort_unstable();
            prop_assert!(keys.into_iter().eq(0..count));
        }

        #[test]
        fn no_draw_is_outside_the_keys(count in 1u64..1_000_000_000, exponent in 0.01f64..0.9999, seed: u64) {
            let mut random = Random::new(seed);
            let zipf = Zipf { ..Zipf::new(count.min(5000), exponent) };
            prop_assert!(zipf.rank(0.0) == 0 && zipf.rank(1.0 - f64::EPSILON) < count.min(5000));
            let keys = Keys::new(count, Distribution::Uniform);
            prop_assert!(keys.draw(&mut random) < count);
        }
    }
}
