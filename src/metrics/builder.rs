//! Makes metrics that carry the same `set` and `member`, and gathers them into one collector.

use std::collections::HashMap;
use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Gauge, IntGauge, Opts};

use super::age::Age;
use super::counts::{Counter, Durations, One};
use super::labels::Label;
use super::lanes::Lanes;
use super::table::{Counters, Histograms, OneOf, Shown, Table};

/// What one owner's metrics are registered and removed as.
#[derive(Clone)]
pub(super) struct Group(Arc<[Arc<dyn Collector>]>);

impl Collector for Group {
    fn desc(&self) -> Vec<&Desc> {
        self.0.iter().flat_map(|metric| metric.desc()).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.0.iter().flat_map(|metric| metric.collect()).collect()
    }
}

/// The name of a family, what it says, and the labels of its owner.
#[derive(Clone)]
pub(super) struct Family {
    /// As Prometheus knows it.
    pub name: &'static str,
    /// One line, without a full stop.
    pub help: &'static str,
    /// The labels of the owner, with their values.
    pub owner: HashMap<String, String>,
}

impl Family {
    /// The descriptor of this family with further `labels`.
    pub fn desc(&self, labels: Vec<&str>) -> Desc {
        let labels = labels.into_iter().map(str::to_owned).collect();
        sound(Desc::new(self.name.to_owned(), self.help.to_owned(), labels, self.owner.clone()))
    }

    /// A sample's labels in the order of their names, which is what the registry sorts by.
    pub fn sample<L: Label>(&self, value: L) -> Metric {
        let further = L::names().into_iter().zip(value.texts());
        let owner = self.owner.iter().map(|(name, text)| (name.as_str(), text.as_str()));
        let mut pairs: Vec<LabelPair> = owner.chain(further).map(|(name, text)| pair(name, text)).collect();
        pairs.sort();
        Metric::from_label(pairs)
    }

    /// The family with `samples`, as the registry gathers it.
    pub fn collected(&self, kind: MetricType, samples: Vec<Metric>) -> MetricFamily {
        let mut family = MetricFamily::default();
        family.set_name(self.name.to_owned());
        family.set_help(self.help.to_owned());
        family.set_field_type(kind);
        family.set_metric(samples);
        family
    }
}

pub(super) fn pair(name: &str, text: &str) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(text.to_owned());
    pair
}

/// Makes the metrics of one owner.
pub(super) struct Builder {
    owner: HashMap<String, String>,
    lanes: Arc<Lanes>,
    made: Vec<Arc<dyn Collector>>,
}

impl Builder {
    /// Every metric made will carry `labels`.
    pub fn new(labels: &[(&str, &str)]) -> Builder {
        let owner = labels.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        Builder { owner, lanes: Arc::new(Lanes::new()), made: Vec::new() }
    }

    /// Where the owner's counters and histograms are counted.
    pub fn lanes(&self) -> Arc<Lanes> {
        self.lanes.clone()
    }

    /// All that was made, to be registered as one.
    pub fn finish(self) -> Group {
        Group(self.made.into())
    }

    pub fn counter(&mut self, name: &'static str, help: &'static str) -> Counter {
        let made = Counter::new(&self.lanes);
        self.share(One::new(self.family(name, help), made.clone()));
        made
    }

    pub fn gauge(&mut self, name: &'static str, help: &'static str) -> IntGauge {
        let made = sound(IntGauge::with_opts(self.opts(name, help)));
        self.keep(made)
    }

    pub fn float_gauge(&mut self, name: &'static str, help: &'static str) -> Gauge {
        let made = sound(Gauge::with_opts(self.opts(name, help)));
        self.keep(made)
    }

    pub fn histogram(&mut self, name: &'static str, help: &'static str) -> Durations {
        let made = Durations::new(&self.lanes);
        self.share(One::new(self.family(name, help), made.clone()));
        made
    }

    /// A counter for each value of a small set of labels; each has its series from the start.
    pub fn counters<L: Label>(&mut self, name: &'static str, help: &'static str) -> Counters<L> {
        self.counters_shown(name, help, Shown::Always)
    }

    /// A counter for each value of a large set of labels; each has a series once it was used.
    pub fn sparse_counters<L: Label>(&mut self, name: &'static str, help: &'static str) -> Counters<L> {
        self.counters_shown(name, help, Shown::OnceUsed)
    }

    fn counters_shown<L: Label>(
        &mut self,
        name: &'static str,
        help: &'static str,
        shown: Shown,
    ) -> Counters<L> {
        let made = Counters::new(&self.lanes);
        self.share(Table::of_counters(self.family(name, help), shown, made.clone()));
        made
    }

    /// A histogram for each value of a large set of labels; each has its series once it was used.
    pub fn sparse_histograms<L: Label>(&mut self, name: &'static str, help: &'static str) -> Histograms<L> {
        let made = Histograms::new(&self.lanes);
        self.share(Table::of_histograms(self.family(name, help), made.clone()));
        made
    }

    /// A state: 1 for the value that holds, 0 for the others.
    pub fn one_of<L: Label>(&mut self, name: &'static str, help: &'static str, first: L) -> Arc<OneOf<L>> {
        let made = OneOf::new(self.family(name, help), first);
        self.share(made)
    }

    pub fn age(&mut self, name: &'static str, help: &'static str) -> Arc<Age> {
        let made = Age::new(self.family(name, help));
        self.share(made)
    }

    /// Something else that collects itself.
    pub fn share<C: Collector + 'static>(&mut self, collector: C) -> Arc<C> {
        let shared = Arc::new(collector);
        self.made.push(shared.clone());
        shared
    }

    /// The family called `name`, owned by this builder's owner.
    pub fn family(&self, name: &'static str, help: &'static str) -> Family {
        Family { name, help, owner: self.owner.clone() }
    }

    fn opts(&self, name: &'static str, help: &'static str) -> Opts {
        Opts::new(name, help).const_labels(self.owner.clone())
    }

    fn keep<C: Collector + Clone + 'static>(&mut self, metric: C) -> C {
        self.made.push(Arc::new(metric.clone()));
        metric
    }
}

/// The one place that may panic: it sees names, labels and buckets that are constants of this folder, all of which
/// the golden test builds.
#[expect(clippy::expect_used, reason = "a constant name is wrong for everyone at once, or for no one")]
fn sound<T>(made: prometheus::Result<T>) -> T {
    made.expect("metric names, labels and buckets are valid constants")
}
