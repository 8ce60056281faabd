//! Families with a closed set of labels, as tables that are indexed and never looked up by text.

use std::marker::PhantomData;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use prometheus::Histogram;
use prometheus::core::{Collector, Desc, Metric as _};
use prometheus::proto::{Counter, Gauge, Metric, MetricFamily, MetricType};

use super::builder::Family;
use super::labels::Label;

/// Whether a counter at zero has a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// So that `rate()` sees the first bump.
    Always,
    /// So that a hundred commands that nobody sends are no series.
    OnceUsed,
}

/// A counter for each value of `L`.
pub struct Counters<L> {
    family: Family,
    desc: Desc,
    shown: Shown,
    cells: Box<[AtomicU64]>,
    label: PhantomData<L>,
}

impl<L: Label> Counters<L> {
    pub(super) fn new(family: Family, shown: Shown) -> Self {
        let cells = (0..L::COUNT).map(|_| AtomicU64::new(0)).collect();
        Counters { desc: family.desc(L::names()), family, shown, cells, label: PhantomData }
    }

    /// Adds one. One atomic addition; allocates nothing.
    pub fn inc(&self, value: L) {
        self.inc_by(value, 1);
    }

    /// Adds `count`.
    pub fn inc_by(&self, value: L, count: u64) {
        self.cells[value.index()].fetch_add(count, Ordering::Relaxed);
    }

    /// What was counted so far.
    pub fn get(&self, value: L) -> u64 {
        self.cells[value.index()].load(Ordering::Relaxed)
    }
}

impl<L: Label> Collector for Counters<L> {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut samples = Vec::new();
        for value in L::all() {
            let count = self.get(value);
            if count > 0 || self.shown == Shown::Always {
                let mut counter = Counter::default();
                counter.set_value(count as f64);
                let mut sample = self.family.sample(value);
                sample.set_counter(counter);
                samples.push(sample);
            }
        }
        vec![self.family.collected(MetricType::COUNTER, samples)]
    }
}

/// A histogram of durations for each value of `L`, made at its first use.
pub struct Histograms<L> {
    family: Family,
    desc: Desc,
    cells: Box<[OnceLock<Histogram>]>,
    label: PhantomData<L>,
}

impl<L: Label> Histograms<L> {
    pub(super) fn new(family: Family) -> Self {
        let cells = (0..L::COUNT).map(|_| OnceLock::new()).collect();
        Histograms { desc: family.desc(L::names()), family, cells, label: PhantomData }
    }

    /// Records `seconds`. The first call for a value allocates its buckets, later ones nothing.
    pub fn observe(&self, value: L, seconds: f64) {
        self.cells[value.index()]
            .get_or_init(|| self.family.histogram(L::names(), value.texts()))
            .observe(seconds);
    }

    /// How many durations were recorded.
    pub fn count(&self, value: L) -> u64 {
        self.cells[value.index()].get().map_or(0, Histogram::get_sample_count)
    }
}

impl<L: Label> Collector for Histograms<L> {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let samples = self.cells.iter().filter_map(|cell| cell.get().map(|histogram| histogram.metric()));
        vec![self.family.collected(MetricType::HISTOGRAM, samples.collect())]
    }
}

/// Which one value of `L` holds.
pub struct OneOf<L> {
    family: Family,
    desc: Desc,
    holds: AtomicUsize,
    label: PhantomData<L>,
}

impl<L: Label> OneOf<L> {
    pub(super) fn new(family: Family, first: L) -> Self {
        let holds = AtomicUsize::new(first.index());
        OneOf { desc: family.desc(L::names()), family, holds, label: PhantomData }
    }

    /// From now on `value` holds.
    pub fn set(&self, value: L) {
        self.holds.store(value.index(), Ordering::Relaxed);
    }
}

impl<L: Label> Collector for OneOf<L> {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let holds = self.holds.load(Ordering::Relaxed);
        let sample = |value: L| -> Metric {
            let mut gauge = Gauge::default();
            gauge.set_value(if value.index() == holds { 1.0 } else { 0.0 });
            let mut sample = self.family.sample(value);
            sample.set_gauge(gauge);
            sample
        };
        vec![self.family.collected(MetricType::GAUGE, L::all().map(sample).collect())]
    }
}
