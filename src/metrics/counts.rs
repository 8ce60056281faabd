//! A counter and a histogram that cost a load and a store; see `lanes`.

use std::sync::Arc;
use std::time::Duration;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{self, Metric, MetricFamily, MetricType};

use super::builder::Family;
use super::lanes::Lanes;

/// Upper bounds of all duration histograms, nanoseconds. Few, because each is a series for each member and command;
/// closest where a proxy's own time lies, wide above.
const BOUNDS_NS: [u64; 14] = [
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    100_000_000,
    500_000_000,
    2_500_000_000,
    10_000_000_000,
    60_000_000_000,
];

/// Cells of a histogram: its buckets, the one without a bound, the sum.
pub(super) const DURATION_CELLS: usize = BOUNDS_NS.len() + 2;
const SUM: usize = BOUNDS_NS.len() + 1;

/// A number that only grows. Clones are one counter.
#[derive(Clone)]
pub struct Counter {
    lanes: Arc<Lanes>,
    at: usize,
}

impl Counter {
    pub(super) fn new(lanes: &Arc<Lanes>) -> Self {
        Counter { at: lanes.reserve(1), lanes: lanes.clone() }
    }

    /// Adds one.
    #[inline]
    pub fn inc(&self) {
        self.inc_by(1);
    }

    /// Adds `count`.
    #[inline]
    pub fn inc_by(&self, count: u64) {
        self.lanes.add([(self.at, count)]);
    }

    /// Its cell, for counting several at once.
    pub(super) fn cell(&self) -> usize {
        self.at
    }

    /// What was counted so far.
    pub fn get(&self) -> u64 {
        self.lanes.sum(self.at)
    }
}

/// A histogram of durations. Clones are one histogram.
#[derive(Clone)]
pub struct Durations {
    lanes: Arc<Lanes>,
    at: usize,
}

impl Durations {
    pub(super) fn new(lanes: &Arc<Lanes>) -> Self {
        Durations { at: lanes.reserve(DURATION_CELLS), lanes: lanes.clone() }
    }

    /// Records `took`.
    #[inline]
    pub fn observe(&self, took: Duration) {
        observe(&self.lanes, self.at, took);
    }

    /// What recording `took` adds to which cells, for counting several at once.
    pub(super) fn cells(&self, took: Duration) -> [(usize, u64); 2] {
        observed(self.at, took)
    }

    /// How many durations were recorded.
    pub fn count(&self) -> u64 {
        count(&self.lanes, self.at)
    }
}

/// What has one series, under the name of its family.
pub(super) struct One<T> {
    family: Family,
    desc: Desc,
    one: T,
}

impl<T> One<T> {
    pub(super) fn new(family: Family, one: T) -> Self {
        One { desc: family.desc(Vec::new()), family, one }
    }

    fn sample(&self) -> Metric {
        Metric::from_label(self.desc.const_label_pairs.clone())
    }
}

impl Collector for One<Counter> {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut sample = self.sample();
        sample.set_counter(counter(self.one.get()));
        vec![self.family.collected(MetricType::COUNTER, vec![sample])]
    }
}

impl Collector for One<Durations> {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut sample = self.sample();
        sample.set_histogram(histogram(&self.one.lanes, self.one.at));
        vec![self.family.collected(MetricType::HISTOGRAM, vec![sample])]
    }
}

/// Records `took` in the cells from `at` on.
#[inline]
pub(super) fn observe(lanes: &Lanes, at: usize, took: Duration) {
    lanes.add(observed(at, took));
}

/// What recording `took` in the cells from `at` on adds to which.
#[inline]
fn observed(at: usize, took: Duration) -> [(usize, u64); 2] {
    let ns = took.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(took.subsec_nanos()));
    // Most are short: the first bounds decide.
    let bucket = BOUNDS_NS.iter().position(|bound| ns <= *bound).unwrap_or(BOUNDS_NS.len());
    [(at + bucket, 1), (at + SUM, ns)]
}

/// How many durations the cells from `at` on hold.
pub(super) fn count(lanes: &Lanes, at: usize) -> u64 {
    (at..at + SUM).map(|bucket| lanes.sum(bucket)).sum()
}

/// The cells from `at` on as Prometheus has them.
pub(super) fn histogram(lanes: &Lanes, at: usize) -> proto::Histogram {
    let mut buckets = Vec::with_capacity(BOUNDS_NS.len());
    let mut below = 0;
    for (place, bound) in BOUNDS_NS.iter().enumerate() {
        below += lanes.sum(at + place);
        let mut bucket = proto::Bucket::default();
        bucket.set_upper_bound(*bound as f64 / 1e9);
        bucket.set_cumulative_count(below);
        buckets.push(bucket);
    }
    let mut histogram = proto::Histogram::default();
    histogram.set_sample_count(below + lanes.sum(at + BOUNDS_NS.len()));
    histogram.set_sample_sum(lanes.sum(at + SUM) as f64 / 1e9);
    histogram.set_bucket(buckets);
    histogram
}

pub(super) fn counter(count: u64) -> proto::Counter {
    let mut counter = proto::Counter::default();
    counter.set_value(count as f64);
    counter
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_at_a_bound_is_below_it_and_one_beyond_all_counts() {
        let lanes = Lanes::new();
        let at = lanes.reserve(DURATION_CELLS);
        for took in [0, 50_000, 50_001, 60_000_000_000, 60_000_000_001, u64::MAX / 2] {
            observe(&lanes, at, Duration::from_nanos(took));
        }
        let shown = histogram(&lanes, at);
        let counts: Vec<u64> = shown.get_bucket().iter().map(proto::Bucket::cumulative_count).collect();
        assert_eq!(counts, [2, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 4]);
        assert_eq!((shown.get_sample_count(), count(&lanes, at)), (6, 6));
        assert!((shown.get_bucket()[0].upper_bound() - 0.000_05).abs() < 1e-12);
        assert!((shown.get_sample_sum() - (u64::MAX / 2) as f64 / 1e9) < 200.0);
    }
}
