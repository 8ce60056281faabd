//! A gauge of the time since something last happened, right at the moment it is read.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Gauge, Metric, MetricFamily, MetricType};

use super::builder::Family;

/// Seconds since the last [`Age::touch`]; no series before the first.
pub struct Age {
    family: Family,
    desc: Desc,
    origin: Instant,
    /// Microseconds from `origin` to the last touch, plus one; 0 is never.
    touched_us: AtomicU64,
}

impl Age {
    pub(super) fn new(family: Family) -> Self {
        Age { desc: family.desc(Vec::new()), family, origin: Instant::now(), touched_us: AtomicU64::new(0) }
    }

    /// It happens now.
    pub fn touch(&self) {
        self.touched_us.store(self.now_us(), Ordering::Relaxed);
    }

    /// It happened `ago`.
    pub fn touched(&self, ago: Duration) {
        let ago = u64::try_from(ago.as_micros()).unwrap_or(u64::MAX);
        self.touched_us.store(self.now_us().saturating_sub(ago).max(1), Ordering::Relaxed);
    }

    /// As if it had never happened.
    pub fn forget(&self) {
        self.touched_us.store(0, Ordering::Relaxed);
    }

    fn now_us(&self) -> u64 {
        self.origin.elapsed().as_micros() as u64 + 1
    }
}

impl Collector for Age {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let touched_us = self.touched_us.load(Ordering::Relaxed);
        let mut samples = Vec::new();
        if touched_us > 0 {
            let mut gauge = Gauge::default();
            gauge.set_value(self.now_us().saturating_sub(touched_us) as f64 / 1e6);
            let mut sample = Metric::from_label(self.desc.const_label_pairs.clone());
            sample.set_gauge(gauge);
            samples.push(sample);
        }
        vec![self.family.collected(MetricType::GAUGE, samples)]
    }
}
