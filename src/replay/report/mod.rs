//! The report: all figures of a replay as plain data, which the terminal's text, the JSON file and the HTML file show
//! alike. `--compare` reads the JSON back.

mod chart;
pub mod compare;
mod html;
mod text;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::compare::Why;
use super::judge::{Difference, Judged};
use super::scorecard::{Line, ScorecardLines};
use super::stats::{Groups, Latencies};

pub use compare::Comparison;
pub use html::html;
pub use text::text;

/// The version of the JSON: a reader refuses others.
pub const FORMAT: u32 = 1;

/// The percentiles that are shown: name and quantile.
pub const PERCENTILES: [(&str, f64); 6] =
    [("P50", 0.5), ("P70", 0.7), ("P90", 0.9), ("P95", 0.95), ("P99", 0.99), ("P99.9", 0.999)];

/// A report.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`FORMAT`].
    pub format: u32,
    /// The version of the torana that made it.
    pub torana: String,
    /// What was replayed.
    pub capture: CaptureInfo,
    /// What was run instead, by `torana bench`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<WorkloadInfo>,
    /// Against what; `None` for a dry run.
    pub target: Option<TargetInfo>,
    /// The speed that was asked for.
    pub speed: String,
    /// How it ended.
    pub ended: String,
    /// Whether the whole capture was played.
    pub whole: bool,
    /// From the first operation sent to the last answer, seconds.
    pub seconds: f64,
    /// Operations a second that were sent.
    pub rate: f64,
    /// What became of all operations.
    pub scorecard: ScorecardLines,
    /// All operations.
    pub overall: Row,
    /// By command.
    pub commands: Vec<Row>,
    /// By collection.
    pub collections: Vec<Row>,
    /// By query shape.
    pub shapes: Vec<Row>,
    /// How late torana itself was.
    pub own_lag: Percentiles,
    /// How late operations were sent, whatever held them up.
    pub behind: Percentiles,
    /// Answers compared.
    pub answers: AnswersInfo,
    /// Over time.
    pub timeline: TimelineInfo,
    /// Quantile and milliseconds, for a plot: from sent, from due, as recorded.
    pub curves: Curves,
    /// What the reader should know.
    pub notes: Vec<String>,
    /// Further runs of the same, by `--repeat`.
    #[serde(default)]
    pub repeats: Vec<Report>,
    /// Against another target, by `--compare`.
    #[serde(default)]
    pub comparison: Option<Comparison>,
}

/// A capture.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CaptureInfo {
    /// Where it is.
    pub path: String,
    /// The set that it came from.
    pub set: String,
    /// When it began.
    pub started: String,
    /// How long it is, seconds.
    pub seconds: f64,
    /// How often it was played.
    pub loops: u32,
    /// Blocks that could not be read.
    pub damaged_blocks: u64,
    /// Records in them, as far as is known.
    pub damaged_records: u64,
}

/// A workload.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct WorkloadInfo {
    /// Its file.
    pub path: String,
    /// The database that it works on.
    pub database: String,
    /// What its operations were drawn from.
    pub seed: u64,
    /// Documents that operations choose from.
    pub documents: u64,
    /// How they choose.
    pub keys: String,
    /// Each operation with its share.
    pub mix: Vec<String>,
}

/// A target.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TargetInfo {
    /// Its members; the primary is the first.
    pub members: Vec<String>,
    /// The server's version.
    pub version: String,
}

/// One line of a table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What it is about.
    pub name: String,
    /// Answers that were errors, and failures.
    pub errors: u64,
    /// Answers that differ from the recorded ones.
    pub different: u64,
    /// From sent.
    pub sent: Percentiles,
    /// From due; without operations at `--speed max`.
    pub due: Percentiles,
    /// As recorded.
    pub recorded: Percentiles,
}

/// Milliseconds at the percentiles.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    /// Of so many operations.
    pub count: u64,
    /// In the order of [`PERCENTILES`].
    pub at: [f64; PERCENTILES.len()],
    /// The longest.
    pub max: f64,
}

/// Answers compared.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields of Answers")]
pub struct AnswersInfo {
    pub equal: u64,
    pub equal_facts: u64,
    pub different: u64,
    pub racing: u64,
    pub not_comparable: Vec<Line>,
    pub differences: Vec<Difference>,
}

/// Points over time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TimelineInfo {
    /// Seconds of a point.
    pub width: f64,
    /// Operations in each.
    pub operations: Vec<u64>,
    /// Errors in each.
    pub errors: Vec<u64>,
    /// P99 from sent in each, milliseconds.
    pub p99: Vec<f64>,
    /// The longest own lag in each, milliseconds.
    pub lag: Vec<f64>,
}

/// Curves for a plot of percentiles.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as in Row")]
pub struct Curves {
    pub sent: Vec<(f64, f64)>,
    pub due: Vec<(f64, f64)>,
    pub recorded: Vec<(f64, f64)>,
}

impl Percentiles {
    /// Of a histogram of microseconds.
    pub fn of(histogram: &Histogram<u64>) -> Percentiles {
        if histogram.is_empty() {
            return Percentiles::default();
        }
        let at = PERCENTILES.map(|(_, quantile)| ms(histogram.value_at_quantile(quantile)));
        Percentiles { count: histogram.len(), at, max: ms(histogram.max()) }
    }
}

fn ms(micros: u64) -> f64 {
    micros as f64 / 1000.0
}

impl Row {
    fn of(name: &str, latencies: &Latencies) -> Row {
        Row {
            name: name.to_owned(),
            errors: latencies.errors,
            different: latencies.different,
            sent: Percentiles::of(&latencies.sent),
            due: Percentiles::of(&latencies.due),
            recorded: Percentiles::of(&latencies.recorded),
        }
    }
}

fn rows(groups: &Groups) -> Vec<Row> {
    groups.sorted().into_iter().map(|(name, latencies)| Row::of(name, latencies)).collect()
}

/// Points of a percentile plot: ten to each halving of what is left above.
fn curve(histogram: &Histogram<u64>) -> Vec<(f64, f64)> {
    if histogram.is_empty() {
        return Vec::new();
    }
    let steps = histogram.iter_quantiles(5);
    let mut points: Vec<(f64, f64)> =
        steps.map(|step| (step.quantile_iterated_to(), ms(step.value_iterated_to()))).collect();
    // The last step is the quantile 1, which no logarithm has a place for.
    points.retain(|(quantile, _)| *quantile < 1.0);
    points
}

/// What a report says beside what was measured.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Circumstances {
    /// What was replayed.
    pub capture: CaptureInfo,
    /// What was run instead.
    pub workload: Option<WorkloadInfo>,
    /// Against what.
    pub target: Option<TargetInfo>,
    /// The speed.
    pub speed: String,
    /// How it ended.
    pub ended: String,
    /// The whole capture was played.
    pub whole: bool,
    /// What the reader should know.
    pub notes: Vec<String>,
}

/// What a table shows below the latency from sent: what it is, and where a row has it.
type Below = (&'static str, fn(&Row) -> &Percentiles);

impl Report {
    /// Of what the judge knows; its scorecard is already that of the whole replay.
    pub fn new(mut judged: Judged, circumstances: Circumstances) -> Report {
        let seconds = judged.last.saturating_sub(judged.first_sent.unwrap_or(judged.last)) as f64 / 1e9;
        let card = judged.card.lines();
        let answers = &judged.answers;
        let not_comparable = Why::ALL.iter().filter(|why| answers.not_comparable[**why as usize] > 0);
        let not_comparable = not_comparable
            .map(|why| Line { reason: why.text().to_owned(), count: answers.not_comparable[*why as usize] });
        let answers = AnswersInfo {
            equal: answers.equal,
            equal_facts: answers.equal_facts,
            different: answers.different,
            racing: answers.racing,
            not_comparable: not_comparable.collect(),
            differences: answers.differences.clone(),
        };
        let overall = &judged.overall;
        let curves = Curves {
            sent: curve(&overall.sent),
            due: curve(&overall.due),
            recorded: curve(&overall.recorded),
        };
        let Circumstances { capture, workload, target, speed, ended, whole, notes } = circumstances;
        Report {
            format: FORMAT,
            torana: env!("CARGO_PKG_VERSION").to_owned(),
            capture,
            workload,
            target,
            speed,
            ended,
            whole,
            seconds,
            rate: if seconds > 0.0 { card.sent as f64 / seconds } else { 0.0 },
            scorecard: card,
            overall: Row::of("all", overall),
            commands: rows(&judged.commands),
            collections: rows(&judged.collections),
            shapes: rows(&judged.shapes),
            own_lag: Percentiles::of(&judged.own_lag),
            behind: Percentiles::of(&judged.behind),
            answers,
            timeline: timeline(&mut judged),
            curves,
            notes,
            repeats: Vec::new(),
            comparison: None,
        }
    }

    /// Puts it beside runs of before.
    pub fn compare_with(&mut self, before: &Report) {
        self.comparison = Some(Comparison::of(&before.runs(), &self.runs()));
    }

    /// What tables show below the latency from sent, if they show anything. What was made up was never recorded.
    fn below(&self) -> Option<Below> {
        match (&self.workload, self.overall.due.count) {
            (None, _) => Some(("as recorded", |row| &row.recorded)),
            (Some(_), 0) => None,
            (Some(_), _) => Some(("from due", |row| &row.due)),
        }
    }

    /// This run and its repetitions.
    pub fn runs(&self) -> Vec<&Report> {
        std::iter::once(self).chain(&self.repeats).collect()
    }

    /// As JSON.
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// Reads JSON back.
    pub fn from_json(text: &str) -> Result<Report, String> {
        let report: Report = serde_json::from_str(text).map_err(|error| format!("not a report: {error}"))?;
        match report.format {
            FORMAT => Ok(report),
            other => Err(format!("a report of format {other}; this torana reads format {FORMAT}")),
        }
    }
}

fn timeline(judged: &mut Judged) -> TimelineInfo {
    let (points, width) = judged.timeline.finish();
    TimelineInfo {
        width: width as f64 / 1e9,
        operations: points.iter().map(|point| point.operations).collect(),
        errors: points.iter().map(|point| point.errors).collect(),
        p99: points.iter().map(|point| ms(point.p99)).collect(),
        lag: points.iter().map(|point| ms(point.lag)).collect(),
    }
}
