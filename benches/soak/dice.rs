//! Chance, seeded, so that a run can be repeated as far as the scheduler lets it.

/// A xorshift generator (Marsaglia 2003): statistics good enough to choose faults by, and no dependency.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Another sequence for each `seed` and `stream`.
    pub fn new(seed: u64, stream: u64) -> Dice {
        let mut dice = Dice((seed ^ stream.wrapping_mul(0x9e37_79b9_7f4a_7c15)) | 1);
        for _ in 0..8 {
            dice.next();
        }
        dice
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`; 0 if that is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 11) % bound.max(1)
    }

    /// True in `count` of 10,000 cases.
    pub fn in_ten_thousand(&mut self, count: u64) -> bool {
        self.below(10_000) < count
    }
}
