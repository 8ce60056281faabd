//! What belongs to no member.

use prometheus::IntGauge;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Gauge, LabelPair, Metric, MetricFamily, MetricType};

use super::builder::{Builder, Family};

/// The process as a whole; no labels.
pub struct ProcessMetrics {
    /// Bytes of large requests held in memory.
    pub request_buffer_bytes: IntGauge,
    /// How many may be held.
    pub request_buffer_limit_bytes: IntGauge,
    /// Descriptors that the process may open.
    pub descriptors_limit: IntGauge,
}

impl ProcessMetrics {
    pub(super) fn new(builder: &mut Builder) -> ProcessMetrics {
        let build = builder.family("torana_build_info", "1, labelled with the version that runs");
        builder.share(BuildInfo { desc: build.desc(vec!["version"]), family: build });
        ProcessMetrics {
            request_buffer_bytes: builder
                .gauge("torana_request_buffer_bytes", "Bytes of large requests held in memory"),
            request_buffer_limit_bytes: builder
                .gauge("torana_request_buffer_limit_bytes", "Bytes of large requests that may be held"),
            descriptors_limit: builder
                .gauge("torana_descriptors_limit", "File descriptors that the process may open"),
        }
    }
}

struct BuildInfo {
    family: Family,
    desc: Desc,
}

impl Collector for BuildInfo {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut version = LabelPair::default();
        version.set_name("version".to_owned());
        version.set_value(env!("CARGO_PKG_VERSION").to_owned());
        let mut sample = Metric::from_label(vec![version]);
        let mut one = Gauge::default();
        one.set_value(1.0);
        sample.set_gauge(one);
        vec![self.family.collected(MetricType::GAUGE, vec![sample])]
    }
}
