//! Families with a closed set of labels, as tables that are indexed and never looked up by text.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Gauge, Metric, MetricFamily, MetricType};

use super::builder::Family;
use super::counts::{self, DURATION_CELLS};
use super::labels::Label;
use super::lanes::Lanes;

/// Whether a counter at zero has a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// So that `rate()` sees the first bump.
    Always,
    /// So that a hundred commands that nobody sends are no series.
    OnceUsed,
}

/// A counter for each value of `L`. Clones are the same counters.
pub struct Counters<L> {
    lanes: Arc<Lanes>,
    at: usize,
    label: PhantomData<L>,
}

impl<L: Label> Counters<L> {
    pub(super) fn new(lanes: &Arc<Lanes>) -> Self {
        Counters { at: lanes.reserve(L::COUNT), lanes: lanes.clone(), label: PhantomData }
    }

    /// Adds one.
    #[inline]
    pub fn inc(&self, value: L) {
        self.inc_by(value, 1);
    }

    /// Adds `count`.
    #[inline]
    pub fn inc_by(&self, value: L, count: u64) {
        self.lanes.add([(self.cell(value), count)]);
    }

    /// The cell of `value`, for counting several at once.
    #[inline]
    pub(super) fn cell(&self, value: L) -> usize {
        self.at + value.index()
    }

    /// What was counted so far.
    pub fn get(&self, value: L) -> u64 {
        self.lanes.sum(self.at + value.index())
    }
}

impl<L> Clone for Counters<L> {
    fn clone(&self) -> Self {
        Counters { lanes: self.lanes.clone(), at: self.at, label: PhantomData }
    }
}

/// A histogram of durations for each value of `L`; each has its series once it was used. Clones are the same
/// histograms.
pub struct Histograms<L> {
    lanes: Arc<Lanes>,
    at: usize,
    label: PhantomData<L>,
}

impl<L: Label> Histograms<L> {
    pub(super) fn new(lanes: &Arc<Lanes>) -> Self {
        Histograms { at: lanes.reserve(L::COUNT * DURATION_CELLS), lanes: lanes.clone(), label: PhantomData }
    }

    /// Records `took`.
    #[inline]
    pub fn observe(&self, value: L, took: Duration) {
        counts::observe(&self.lanes, self.first_cell(value), took);
    }

    /// How many durations were recorded.
    pub fn count(&self, value: L) -> u64 {
        counts::count(&self.lanes, self.first_cell(value))
    }

    fn first_cell(&self, value: L) -> usize {
        self.at + value.index() * DURATION_CELLS
    }
}

impl<L> Clone for Histograms<L> {
    fn clone(&self) -> Self {
        Histograms { lanes: self.lanes.clone(), at: self.at, label: PhantomData }
    }
}

/// A table under the name of its family.
pub(super) struct Table<T> {
    family: Family,
    desc: Desc,
    shown: Shown,
    table: T,
}

impl<L: Label> Table<Counters<L>> {
    pub(super) fn of_counters(family: Family, shown: Shown, table: Counters<L>) -> Self {
        Table { desc: family.desc(L::names()), family, shown, table }
    }
}

impl<L: Label> Table<Histograms<L>> {
    pub(super) fn of_histograms(family: Family, table: Histograms<L>) -> Self {
        Table { desc: family.desc(L::names()), family, shown: Shown::OnceUsed, table }
    }
}

impl<L: Label> Collector for Table<Counters<L>> {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut samples = Vec::new();
        for value in L::all() {
            let count = self.table.get(value);
            if count > 0 || self.shown == Shown::Always {
                let mut sample = self.family.sample(value);
                sample.set_counter(counts::counter(count));
                samples.push(sample);
            }
        }
        vec![self.family.collected(MetricType::COUNTER, samples)]
    }
}

impl<L: Label> Collector for Table<Histograms<L>> {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let table = &self.table;
        let used = L::all().filter(|value| self.shown == Shown::Always || table.count(*value) > 0);
        let sample = |value: L| -> Metric {
            let mut sample = self.family.sample(value);
            sample.set_histogram(counts::histogram(&table.lanes, table.first_cell(value)));
            sample
        };
        vec![self.family.collected(MetricType::HISTOGRAM, used.map(sample).collect())]
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
