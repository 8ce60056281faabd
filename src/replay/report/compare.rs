//! Two reports side by side: two servers, two versions, two index sets. Each percentile's change, and whether it is more than
//! what runs of the same thing differ by.

use std::fmt::Write;

use super::{PERCENTILES, Percentiles, Report, Row, WorkloadInfo};

/// Without repeated runs, a change below this share is not called one: runs on a quiet machine differ by so much.
const NOISE_UNKNOWN: f64 = 0.10;

/// A table names groups with at least so many operations: percentiles of fewer say little.
const OPERATIONS_MIN: u64 = 20;

/// How much one percentile of one group changed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Change {
    /// Milliseconds before.
    pub before: f64,
    /// Milliseconds now.
    pub now: f64,
    /// Whether it is more than noise.
    pub is_beyond_noise: bool,
}

impl Change {
    /// From several runs on each side: beyond noise if the ranges of the two sides do not meet, and the middle ones differ by
    /// more than runs of one side do.
    pub fn of(before: &[f64], now: &[f64]) -> Option<Change> {
        let (old, new) = (median(before)?, median(now)?);
        let range = |values: &[f64]| {
            let least = values.iter().copied().fold(f64::INFINITY, f64::min);
            (least, values.iter().copied().fold(0.0, f64::max))
        };
        let ((old_min, old_max), (new_min, new_max)) = (range(before), range(now));
        let is_beyond_noise = match before.len() + now.len() {
            0..=2 => (new - old).abs() > NOISE_UNKNOWN * old.max(new),
            _ => {
                let spread = (old_max - old_min).max(new_max - new_min);
                (new_min > old_max || new_max < old_min) && (new - old).abs() > spread
            }
        };
        Some(Change { before: old, now: new, is_beyond_noise })
    }

    /// As a share of before.
    pub fn share(&self) -> f64 {
        if self.before > 0.0 { self.now / self.before - 1.0 } else { 0.0 }
    }
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

/// Compares runs of before with runs of now, as lines of text.
pub fn text(before: &[&Report], now: &[&Report]) -> String {
    let (Some(old), Some(new)) = (before.first(), now.first()) else { return String::new() };
    let mut out = String::from("Compared: milliseconds before -> now, from sent; * is beyond noise\n");
    let target = |report: &Report| {
        report
            .target
            .as_ref()
            .map_or_else(String::new, |t| format!("{} (MongoDB {})", t.members.join(", "), t.version))
    };
    let _ = writeln!(out, "before    {}, {} runs", target(old), before.len());
    let _ = writeln!(out, "now       {}, {} runs", target(new), now.len());
    if !is_same_work(old, new) {
        out.push_str("The workloads are not the same: changes may be theirs, and not the target's\n");
    }
    if before.len() + now.len() <= 2 {
        let _ = writeln!(
            out,
            "Runs were not repeated: changes below {:.0} % are taken for noise",
            NOISE_UNKNOWN * 100.0
        );
    }
    let _ = writeln!(
        out,
        "operations a second {:.0} -> {:.0}; errors {} -> {}; answers that differ {} -> {}\n",
        old.rate,
        new.rate,
        old.overall.errors,
        new.overall.errors,
        old.answers.different,
        new.answers.different
    );
    line("all", &sides(before, now, |report| Some(&report.overall)), &mut out);
    let tables: [(&str, RowsOf); 3] = [
        ("command", |report| &report.commands),
        ("collection", |report| &report.collections),
        ("query shape", |report| &report.shapes),
    ];
    for (title, rows) in tables {
        let _ = writeln!(out, "\nBy {title}");
        let names = rows(old).iter().filter(|row| row.sent.count >= OPERATIONS_MIN).map(|row| &row.name);
        for name in names {
            let found = sides(before, now, |report| rows(report).iter().find(|row| row.name == *name));
            line(name, &found, &mut out);
        }
    }
    out
}

/// Whether what was made up is the same on both sides, wherever its file was.
fn is_same_work(old: &Report, new: &Report) -> bool {
    let of = |report: &Report| {
        let workload = report.workload.clone();
        workload.map(|workload| (WorkloadInfo { path: String::new(), ..workload }, report.speed.clone()))
    };
    of(old) == of(new)
}

/// A table of a report.
type RowsOf = fn(&Report) -> &[Row];

type Sides<'a> = (Vec<&'a Percentiles>, Vec<&'a Percentiles>);

fn sides<'a>(
    before: &[&'a Report],
    now: &[&'a Report],
    row: impl Fn(&'a Report) -> Option<&'a Row>,
) -> Sides<'a> {
    let all = |reports: &[&'a Report]| {
        let rows = reports.iter().copied().filter_map(&row).map(|row| &row.sent);
        rows.filter(|percentiles| percentiles.count > 0).collect()
    };
    (all(before), all(now))
}

fn line(name: &str, (before, now): &Sides<'_>, out: &mut String) {
    let _ = writeln!(out, "{name}");
    let mut cells = String::new();
    let places = (0..PERCENTILES.len()).map(|place| (PERCENTILES[place].0, place));
    for (label, place) in places {
        let at = |side: &[&Percentiles]| side.iter().map(|one| one.at[place]).collect::<Vec<_>>();
        cell(label, &at(before), &at(now), &mut cells);
    }
    let longest = |side: &[&Percentiles]| side.iter().map(|one| one.max).collect::<Vec<_>>();
    cell("Max", &longest(before), &longest(now), &mut cells);
    let shown = if cells.is_empty() { "    not there on one side" } else { &cells };
    let _ = writeln!(out, "{shown}");
}

fn cell(label: &str, before: &[f64], now: &[f64], out: &mut String) {
    let Some(change) = Change::of(before, now) else { return };
    let mark = if change.is_beyond_noise { "*" } else { "" };
    let _ = write!(
        out,
        "    {label} {} -> {} ({:+.0} %){mark}",
        super::text::millis(change.before),
        super::text::millis(change.now),
        change.share() * 100.0
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_beyond_noise_when_the_runs_of_both_sides_keep_apart() {
        let is_beyond = |before: &[f64], now: &[f64]| Change::of(before, now).unwrap().is_beyond_noise;
        assert!(is_beyond(&[1.0, 1.1, 1.2], &[2.0, 2.1, 2.2]));
        assert!(!is_beyond(&[1.0, 1.5, 2.1], &[2.0, 2.1, 2.2]));
        assert!(!is_beyond(&[1.0, 1.2, 1.9], &[2.0, 2.0, 2.0]));
        assert!(!is_beyond(&[1.0], &[1.05]) && is_beyond(&[1.0], &[2.0]));
        assert_eq!(Change::of(&[], &[1.0]), None);
    }
}
