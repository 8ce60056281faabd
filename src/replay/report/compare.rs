//! Two reports side by side: two servers, two versions, two index sets. Each percentile's change, and whether it is more than
//! what runs of the same thing differ by.

use std::collections::HashSet;
use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::text::millis;
use super::{PERCENTILES, Percentiles, Report, Row, TargetInfo, WorkloadInfo};
use crate::replay::judge::Difference;
use crate::replay::stats::OTHER;

/// Without repeated runs, a change below this share is not called one: runs on a quiet machine differ by so much.
const NOISE_UNKNOWN: f64 = 0.10;

/// A table names groups with at least so many operations: percentiles of fewer say little.
const OPERATIONS_MIN: u64 = 20;

/// Groups that are named because something stands out in them, and differences below them; the files have all of them.
const STANDING_OUT_MAX: usize = 12;
const DIFFERENCES_MAX: usize = 5;

/// How much one percentile of one group changed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
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

    /// How many times as much, the larger by the smaller.
    fn factor(&self) -> f64 {
        self.before.max(self.now) / self.before.min(self.now).max(0.001)
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

/// Two sides, each of one run or more.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The target before, and how often it was played against.
    pub before: Option<TargetInfo>,
    /// The same.
    pub before_runs: usize,
    /// The target now.
    pub now: Option<TargetInfo>,
    /// How often.
    pub now_runs: usize,
    /// Whether both sides played the same, as far as is known: of what was made up, that its workloads are the same.
    #[serde(default)]
    pub is_same_work: bool,
    /// Operations a second of the first run of each side.
    pub rates: [f64; 2],
    /// All operations, then by command, collection and query shape.
    pub groups: Vec<Group>,
    /// Answers of now that differ from the recorded ones where those of before do not, as far as is known: of those that are
    /// listed, where before lists all of their shape.
    pub differences: Vec<Difference>,
}

/// One group of operations on both sides.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// What groups it: nothing for all operations, `command`, `collection`, `query shape`.
    pub by: String,
    /// Its name there.
    pub name: String,
    /// The change at each percentile and of the longest, by name; nothing where one side has too few operations.
    pub changes: Vec<(String, Change)>,
    /// Answers that were errors, and failures, before and now.
    pub errors: [u64; 2],
    /// Answers that differ from the recorded ones, before and now.
    pub different: [u64; 2],
}

impl Group {
    /// Its P50, where that has changed by more than noise.
    pub fn shift(&self) -> Option<&Change> {
        self.changes.first().map(|(_, change)| change).filter(|change| change.is_beyond_noise)
    }

    /// What stands out in it, in words.
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        if let Some(change) = self.shift() {
            let word = if change.now > change.before { "slower" } else { "faster" };
            let (before, now) = (millis(change.before), millis(change.now));
            remarks.push(format!("{word}: P50 {before} -> {now} ms ({:+.0} %)", change.share() * 100.0));
        }
        for (what, [before, now]) in [("errors", self.errors), ("answers that differ", self.different)] {
            if before != now {
                remarks.push(format!("{what}: {before} -> {now}"));
            }
        }
        remarks
    }
}

impl Comparison {
    /// Of the runs of both sides.
    pub fn of(before: &[&Report], now: &[&Report]) -> Comparison {
        let (Some(old), Some(new)) = (before.first(), now.first()) else { return Comparison::default() };
        let mut groups = vec![group(("", "all"), before, now, |report| Some(&report.overall))];
        for (by, rows) in TABLES {
            let names = rows(old).iter().chain(rows(new)).map(|row| row.name.as_str());
            let mut seen = HashSet::new();
            for name in names.filter(|name| seen.insert(*name)) {
                let row = |report| rows(report).iter().find(|row| row.name == name);
                groups.push(group((by, name), before, now, row));
            }
        }
        let is_same = |one: &Difference, other: &Difference| {
            (one.connection, one.at_ms, &one.shape) == (other.connection, other.at_ms, &other.shape)
        };
        // Where the other side has more differences than it lists, one that is not listed may be there all the same.
        let is_known = |one: &&Difference| {
            let listed =
                old.answers.differences.iter().filter(|other| other.shape == one.shape).count() as u64;
            let named = |name: &str| old.shapes.iter().find(|row| row.name == name);
            named(&one.shape).or_else(|| named(OTHER)).is_none_or(|row| row.different <= listed)
        };
        let is_new = |one: &&Difference| {
            !old.answers.differences.iter().any(|other| is_same(one, other)) && is_known(one)
        };
        Comparison {
            before: old.target.clone(),
            before_runs: before.len(),
            now: new.target.clone(),
            now_runs: now.len(),
            is_same_work: is_same_work(old, new),
            rates: [old.rate, new.rate],
            groups,
            differences: new.answers.differences.iter().filter(is_new).cloned().collect(),
        }
    }

    /// Groups that something stands out in, and what: query shapes, as nothing says it more exactly, the largest change
    /// first.
    pub fn standing_out(&self) -> Vec<(&Group, Vec<String>)> {
        let weight = |group: &Group| group.shift().map_or(0.0, |change| change.factor());
        let mut found: Vec<(&Group, Vec<String>)> =
            self.groups.iter().map(|one| (one, one.remarks())).collect();
        found.retain(|(group, remarks)| group.by == SHAPE && !remarks.is_empty());
        found.sort_by(|(one, _), (other, _)| weight(other).total_cmp(&weight(one)));
        found
    }

    /// Whether either side was played more than once.
    pub fn is_repeated(&self) -> bool {
        self.before_runs + self.now_runs > 2
    }
}

/// What query shapes are grouped by.
const SHAPE: &str = "query shape";

/// The tables of a report.
const TABLES: [(&str, RowsOf); 3] = [
    ("command", |report| &report.commands),
    ("collection", |report| &report.collections),
    (SHAPE, |report| &report.shapes),
];

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

fn group<'a>(
    (by, name): (&str, &str),
    before: &[&'a Report],
    now: &[&'a Report],
    row: impl Fn(&'a Report) -> Option<&'a Row>,
) -> Group {
    let rows = |reports: &[&'a Report]| reports.iter().copied().map(&row).collect::<Vec<_>>();
    let (before, now) = (rows(before), rows(now));
    // The side with the fewest says whether more or less than noise has changed.
    let least = |rows: &[Option<&Row>], count: fn(&Row) -> u64| {
        rows.iter().map(|row| row.map_or(0, count)).min().unwrap_or(0)
    };
    let counts = |count: fn(&Row) -> u64| [least(&before, count), least(&now, count)];
    let changes = changes(&before, &now);
    let (errors, different) = (counts(|row| row.errors), counts(|row| row.different));
    Group { by: by.to_owned(), name: name.to_owned(), changes, errors, different }
}

fn changes(before: &[Option<&Row>], now: &[Option<&Row>]) -> Vec<(String, Change)> {
    let enough = |rows: &[Option<&Row>]| -> Vec<Percentiles> {
        let sent = rows.iter().flatten().map(|row| &row.sent);
        sent.filter(|percentiles| percentiles.count >= OPERATIONS_MIN).cloned().collect()
    };
    let (before, now) = (enough(before), enough(now));
    let places = (0..PERCENTILES.len()).map(Some).chain([None]);
    let at = |side: &[Percentiles], place: Option<usize>| -> Vec<f64> {
        side.iter().map(|one| place.map_or(one.max, |place| one.at[place])).collect()
    };
    let name = |place: Option<usize>| place.map_or("Max", |place| PERCENTILES[place].0).to_owned();
    let change = |place| Some((name(place), Change::of(&at(&before, place), &at(&now, place))?));
    places.filter_map(change).collect()
}

/// The comparison as lines of text.
pub fn text(comparison: &Comparison) -> String {
    let mut out = String::from("Compared: milliseconds before -> now, from sent; * is beyond noise\n");
    let target = |target: &Option<TargetInfo>| {
        target
            .as_ref()
            .map_or_else(String::new, |t| format!("{} (MongoDB {})", t.members.join(", "), t.version))
    };
    let _ = writeln!(out, "before    {}, runs: {}", target(&comparison.before), comparison.before_runs);
    let _ = writeln!(out, "now       {}, runs: {}", target(&comparison.now), comparison.now_runs);
    if !comparison.is_repeated() {
        let noise = NOISE_UNKNOWN * 100.0;
        let _ = writeln!(out, "Runs were not repeated: changes below {noise:.0} % are taken for noise");
    }
    if !comparison.is_same_work {
        out.push_str("The workloads are not the same: changes may be theirs, and not the target's\n");
    }
    let [old, new] = comparison.rates;
    let _ = writeln!(out, "operations a second {old:.0} -> {new:.0}");
    stands_out(comparison, &mut out);
    let mut by = "";
    for group in comparison.groups.iter().filter(|group| !group.changes.is_empty()) {
        if group.by != by {
            by = &group.by;
            let _ = writeln!(out, "\nBy {by}");
        }
        let _ = writeln!(out, "{}", group.name);
        let cells: Vec<String> = group.changes.iter().map(|(label, change)| cell(label, change)).collect();
        let _ = writeln!(out, "{}", cells.concat());
    }
    out
}

fn stands_out(comparison: &Comparison, out: &mut String) {
    let found = comparison.standing_out();
    if found.is_empty() && comparison.differences.is_empty() {
        out.push_str("\nNothing stands out: no query shape is slower or faster by more than noise, or answers otherwise.\n\n");
        return;
    }
    out.push_str("\nWhat stands out\n");
    for (group, remarks) in found.iter().take(STANDING_OUT_MAX) {
        let _ = writeln!(out, "  {}\n      {}", group.name, remarks.join("; "));
    }
    if found.len() > STANDING_OUT_MAX {
        let _ = writeln!(out, "  and {} more: see the files", found.len() - STANDING_OUT_MAX);
    }
    for difference in comparison.differences.iter().take(DIFFERENCES_MAX) {
        super::text::difference(difference, out);
    }
    out.push('\n');
}

fn cell(label: &str, change: &Change) -> String {
    let mark = if change.is_beyond_noise { "*" } else { "" };
    let (before, now) = (millis(change.before), millis(change.now));
    format!("    {label} {before} -> {now} ({:+.0} %){mark}", change.share() * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A report of `different` answers to one shape that differ, of which those of the connections `listed` are listed.
    fn differing(different: u64, listed: &[u64]) -> Report {
        let mut report = Report::default();
        report.shapes.push(Row { name: "find a.b {c: ?}".to_owned(), different, ..Row::default() });
        report.answers.differences.extend(listed.iter().map(|connection| Difference {
            connection: *connection,
            at_ms: 1,
            namespace: "a.b".to_owned(),
            shape: "find a.b {c: ?}".to_owned(),
            what: String::new(),
            racing: false,
            request: String::new(),
            recorded: String::new(),
            replayed: String::new(),
        }));
        report
    }

    #[test]
    fn an_answer_differs_on_one_side_alone_only_if_the_other_side_lists_all_of_its_own() {
        let new_ones = |old: &Report, new: &Report| -> Vec<u64> {
            Comparison::of(&[old], &[new]).differences.iter().map(|one| one.connection).collect()
        };
        let new = differing(6, &[1, 2, 3]);
        assert_eq!(new_ones(&differing(2, &[1, 2]), &new), [3]);
        assert_eq!(new_ones(&differing(6, &[4, 5]), &new), [0; 0]);
        assert_eq!(new_ones(&Report::default(), &new), [1, 2, 3]);
    }

    #[test]
    fn a_change_is_beyond_noise_when_the_runs_of_both_sides_keep_apart() {
        let is_beyond = |before: &[f64], now: &[f64]| Change::of(before, now).unwrap().is_beyond_noise;
        assert!(is_beyond(&[1.0, 1.1, 1.2], &[2.0, 2.1, 2.2]));
        assert!(!is_beyond(&[1.0, 1.5, 2.1], &[2.0, 2.1, 2.2]));
        assert!(!is_beyond(&[1.0, 1.2, 1.9], &[2.0, 2.0, 2.0]));
        assert!(!is_beyond(&[1.0], &[1.05]) && is_beyond(&[1.0], &[2.0]));
        assert_eq!(Change::of(&[], &[1.0]), None);
    }

    #[test]
    fn as_many_answers_that_differ_are_not_the_same_answers() {
        let report = |at_ms: u64| {
            let mut report = Report::default();
            report.answers.differences.push(Difference {
                connection: 1,
                at_ms,
                namespace: "app.c".into(),
                shape: "find app.c {x: ?}".into(),
                what: "cursor.firstBatch".into(),
                racing: false,
                request: String::new(),
                recorded: String::new(),
                replayed: String::new(),
            });
            report
        };
        let compared = |before: &Report, now: &Report| {
            let comparison = Comparison::of(&[before], &[now]);
            let report = Report { comparison: Some(comparison.clone()), ..Report::default() };
            (text(&comparison), super::super::html(&report))
        };
        let (same, page) = compared(&report(5), &report(5));
        assert!(same.contains("Nothing stands out") && page.contains("Nothing stands out"));
        let (other, page) = compared(&report(5), &report(6));
        assert!(!other.contains("Nothing stands out") && !page.contains("Nothing stands out"), "{other}");
        assert!(other.contains("find app.c {x: ?}") && other.contains("6 ms"), "{other}");
    }
}
