//! Faults in an order of chance, each kind as often as the others.

use std::collections::BTreeMap;
use std::time::Duration;

use super::book::Book;
use super::dice::Dice;

/// Kinds of faults of one lane: one at a time in it, while those of other lanes go on.
#[derive(Debug)]
pub struct Bag {
    kinds: &'static [&'static str],
    left: Vec<&'static str>,
    /// For how long, and whom.
    pub dice: Dice,
    /// How many of each there were.
    pub counts: BTreeMap<&'static str, u64>,
}

impl Bag {
    /// Of these kinds; the first comes first.
    pub fn new(kinds: &'static [&'static str], dice: Dice) -> Bag {
        Bag { kinds, left: vec![kinds[0]], dice, counts: BTreeMap::new() }
    }

    /// The next kind; all have come before one comes again.
    pub fn draw(&mut self, book: &Book) -> &'static str {
        if self.left.is_empty() {
            self.left = self.kinds.to_vec();
        }
        let kind = self.left.swap_remove(self.dice.below(self.left.len() as u64) as usize);
        book.say(kind);
        *self.counts.entry(kind).or_default() += 1;
        kind
    }

    /// A time between `from` and `to` milliseconds.
    pub fn time(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.dice.below(to - from))
    }

    /// One of `count`.
    pub fn pick(&mut self, count: usize) -> usize {
        self.dice.below(count as u64) as usize
    }
}
