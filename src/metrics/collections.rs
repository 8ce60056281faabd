//! Reads of tagged collections, counted for each collection: which class has how many stale ones.
//!
//! The one family whose label is a name that clients chose; so it is bound: the first [`NAMED_MAX`] collections that are
//! touched have series of their own, all others share one.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Metric, MetricFamily, MetricType};

use super::builder::{Builder, Family, Group, pair};
use super::counts;
use super::labels::{CollectionRead, Label};

/// Collections with series of their own. Parse applications have some dozens of classes.
const NAMED_MAX: usize = 200;

/// What the others are counted as: no collection is called so, as each has a database before a dot.
const OTHERS: &str = "other";

/// The counts of one collection, or of all that have none of their own. Clones are the same counts.
#[derive(Debug, Clone, Default)]
pub struct CollectionCounts(Arc<[AtomicU64; CollectionRead::COUNT]>);

impl CollectionCounts {
    /// Counts one read.
    #[inline]
    pub fn inc(&self, read: CollectionRead) {
        if let Some(count) = self.0.get(read.index()) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What was counted so far.
    pub fn get(&self, read: CollectionRead) -> u64 {
        self.0.get(read.index()).map_or(0, |count| count.load(Ordering::Relaxed))
    }
}

/// The counts of one set's collections.
#[derive(Debug, Default)]
pub struct CollectionMetrics {
    named: Mutex<HashMap<String, CollectionCounts>>,
    others: CollectionCounts,
}

impl CollectionMetrics {
    /// The counts of `database.collection`, the same ones at every call.
    pub fn of(&self, database: &[u8], collection: &[u8]) -> CollectionCounts {
        let name = [database, b".", collection].concat();
        let name = String::from_utf8_lossy(&name).into_owned();
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        match named.get(&name) {
            Some(known) => known.clone(),
            None if named.len() >= NAMED_MAX => self.others.clone(),
            None => named.entry(name).or_default().clone(),
        }
    }
}

/// The family of one set.
struct Reads {
    family: Family,
    desc: Desc,
    counted: Arc<CollectionMetrics>,
}

impl Reads {
    fn samples(&self, name: &str, counts: &CollectionCounts) -> Vec<Metric> {
        let sample = |read: CollectionRead| {
            let mut sample = self.family.sample(read);
            let mut labels = sample.take_label();
            labels.push(pair("collection", name));
            labels.sort();
            sample.set_label(labels);
            sample.set_counter(counts::counter(counts.get(read)));
            sample
        };
        CollectionRead::all().map(sample).collect()
    }
}

impl Collector for Reads {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let counted = &self.counted;
        let named = counted.named.lock().unwrap_or_else(PoisonError::into_inner);
        let mut samples: Vec<Metric> =
            named.iter().flat_map(|(name, counts)| self.samples(name, counts)).collect();
        if CollectionRead::all().any(|read| counted.others.get(read) > 0) {
            samples.extend(self.samples(OTHERS, &counted.others));
        }
        vec![self.family.collected(MetricType::COUNTER, samples)]
    }
}

/// The counts of `set`, and what the registry collects them as.
pub(super) fn of_set(set: &str) -> (Arc<CollectionMetrics>, Group) {
    let mut builder = Builder::new(&[("set", set)]);
    let counted = Arc::new(CollectionMetrics::default());
    let family = builder.family(
        "torana_collection_reads_total",
        "Reads of tagged collections, by whether the member that was asked had all that anyone had been told of",
    );
    let desc = family.desc([vec!["collection"], CollectionRead::names()].concat());
    builder.share(Reads { family, desc, counted: counted.clone() });
    (counted, builder.finish())
}

#[cfg(test)]
mod tests {
    use super::super::Metrics;
    use super::*;

    #[test]
    fn each_collection_has_series_up_to_a_bound_and_those_above_share_one() {
        let metrics = Metrics::new();
        let counted = metrics.collections("rs0");
        counted.of(b"app", b"x").inc(CollectionRead::Behind);
        counted.of(b"app", b"x").inc(CollectionRead::Behind);
        (1..2 * NAMED_MAX)
            .for_each(|n| counted.of(b"app", n.to_string().as_bytes()).inc(CollectionRead::Current));
        let text = metrics.render();
        let line = |collection: &str, outcome: &str, count: usize| {
            format!(
                "torana_collection_reads_total{{collection=\"{collection}\",outcome=\"{outcome}\",set=\"rs0\"}} {count}\n"
            )
        };
        assert!(text.contains(&line("app.x", "behind", 2)), "{text}");
        assert!(text.contains(&line("app.1", "current", 1)));
        assert!(text.contains(&line("other", "current", NAMED_MAX)));
        assert_eq!(
            text.matches("\ntorana_collection_reads_total{").count(),
            (NAMED_MAX + 1) * CollectionRead::COUNT
        );
    }
}
