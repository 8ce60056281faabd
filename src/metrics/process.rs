//! What belongs to no member.

use std::fs;

use prometheus::IntGauge;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

use super::builder::{Builder, Family};

/// Units of the times in `/proc/self/stat`: `USER_HZ`, which is 100 on every architecture that Linux runs on now.
const TICKS_PER_SECOND: f64 = 100.0;

/// The process as a whole; no labels.
pub struct ProcessMetrics {
    /// Bytes of large requests held in memory.
    pub request_buffer_bytes: IntGauge,
    /// How many may be held.
    pub request_buffer_limit_bytes: IntGauge,
    /// Bytes of large replies held in memory for slow clients.
    pub reply_buffer_bytes: IntGauge,
    /// How many there may be.
    pub reply_buffer_limit_bytes: IntGauge,
    /// Descriptors that the process may open.
    pub descriptors_limit: IntGauge,
}

impl ProcessMetrics {
    pub(super) fn new(builder: &mut Builder) -> ProcessMetrics {
        let build = builder.family("torana_build_info", "1, labelled with the version that runs");
        builder.share(BuildInfo { desc: build.desc(vec!["version"]), family: build });
        for source in [DESCRIPTORS, MEMORY, CPU] {
            let family = builder.family(source.name, source.help);
            builder.share(FromProc { desc: family.desc(Vec::new()), family, source });
        }
        ProcessMetrics {
            request_buffer_bytes: builder
                .gauge("torana_request_buffer_bytes", "Bytes of large requests held in memory"),
            reply_buffer_bytes: builder
                .gauge("torana_reply_buffer_bytes", "Bytes of large replies held for slow clients"),
            reply_buffer_limit_bytes: builder
                .gauge("torana_reply_buffer_limit_bytes", "Bytes of large replies that may be held"),
            request_buffer_limit_bytes: builder
                .gauge("torana_request_buffer_limit_bytes", "Bytes of large requests that may be held"),
            descriptors_limit: builder.gauge("process_max_fds", "File descriptors that the process may open"),
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
        sample.set_gauge(gauge(1.0));
        vec![self.family.collected(MetricType::GAUGE, vec![sample])]
    }
}

/// A value that the kernel keeps, read when it is asked for. Named as Prometheus' own client libraries name it.
#[derive(Clone, Copy)]
struct Source {
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    read: fn() -> Option<f64>,
}

const DESCRIPTORS: Source = Source {
    name: "process_open_fds",
    help: "File descriptors that are open",
    kind: MetricType::GAUGE,
    read: open_descriptors,
};

const MEMORY: Source = Source {
    name: "process_resident_memory_bytes",
    help: "Memory that the process occupies",
    kind: MetricType::GAUGE,
    read: resident_bytes,
};

const CPU: Source = Source {
    name: "process_cpu_seconds_total",
    help: "User and system time that the process has used",
    kind: MetricType::COUNTER,
    read: cpu_seconds,
};

/// The size of the directory is the number of descriptors since Linux 6.2; before, it is 0. Listing 20,000 names
/// takes milliseconds from the clients.
fn open_descriptors() -> Option<f64> {
    const DIRECTORY: &str = "/proc/self/fd";
    match fs::metadata(DIRECTORY).ok()?.len() {
        0 => Some(fs::read_dir(DIRECTORY).ok()?.count() as f64),
        count => Some(count as f64),
    }
}

fn resident_bytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024.0)
}

/// Fields 14 and 15, counted after the process's name, which may hold spaces and ends with the last bracket.
fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let mut ticks = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut next = || ticks.next()?.parse::<f64>().ok();
    Some((next()? + next()?) / TICKS_PER_SECOND)
}

struct FromProc {
    family: Family,
    desc: Desc,
    source: Source,
}

impl Collector for FromProc {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let samples = (self.source.read)().map(|value| {
            let mut sample = Metric::default();
            if self.source.kind == MetricType::COUNTER {
                let mut counter = Counter::default();
                counter.set_value(value);
                sample.set_counter(counter);
            } else {
                sample.set_gauge(gauge(value));
            }
            sample
        });
        vec![self.family.collected(self.source.kind, samples.into_iter().collect())]
    }
}

fn gauge(value: f64) -> Gauge {
    let mut gauge = Gauge::default();
    gauge.set_value(value);
    gauge
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_says_what_the_process_uses() {
        let memory = resident_bytes().unwrap();
        assert!(memory > 1e6 && memory < 1e10, "{memory}");
        assert!(cpu_seconds().unwrap() < 1e5);
        let spin = std::time::Instant::now();
        // The kernel counts in hundredths of a second of this process, which others may keep waiting.
        while cpu_seconds().unwrap() == 0.0 {
            assert!(spin.elapsed().as_secs() < 60);
        }
    }
}
