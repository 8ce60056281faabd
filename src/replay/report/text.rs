//! The report on a terminal.

use std::fmt::Write;

use super::{PERCENTILES, Percentiles, Report, Row, WorkloadInfo, compare};
use crate::replay::judge::Difference;

/// Lines of a table; the files have all of them.
const ROWS_MAX: usize = 12;

/// Columns of a name.
const NAME_WIDTH: usize = 44;

/// Differences that are listed.
const DIFFERENCES_MAX: usize = 5;

/// The report as lines of text.
pub fn text(report: &Report) -> String {
    let mut out = String::new();
    head(report, &mut out);
    scorecard(report, &mut out);
    latencies(report, &mut out);
    answers(report, &mut out);
    for note in &report.notes {
        let _ = writeln!(out, "Note: {note}");
    }
    if let Some(comparison) = &report.comparison {
        let _ = write!(out, "\n{}", compare::text(comparison));
    }
    printable(&out)
}

/// Names and values are a capture's: what a terminal would take for its own is shown as it is written.
fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if c.is_control() && c != '\n' => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out
}

fn head(report: &Report, out: &mut String) {
    let capture = &report.capture;
    match &report.workload {
        Some(workload) => workload_head(workload, out),
        None => {
            let _ = writeln!(out, "Capture   {} ({}, {:.1} s)", capture.path, capture.set, capture.seconds);
        }
    }
    match &report.target {
        Some(target) => {
            let _ = writeln!(out, "Target    {} (MongoDB {})", target.members.join(", "), target.version);
            let what = if report.workload.is_some() { "Run      " } else { "Replay    speed" };
            let _ = writeln!(
                out,
                "{what} {}, {:.1} s, {:.0} operations a second; {}",
                report.speed, report.seconds, report.rate, report.ended
            );
        }
        None => out.push_str("Dry run: nothing was sent; `sent` is what would have been\n"),
    }
    if capture.damaged_blocks + capture.damaged_records > 0 {
        let _ = writeln!(
            out,
            "Damage    {} blocks and {} records of the capture could not be read",
            capture.damaged_blocks, capture.damaged_records
        );
    }
}

fn workload_head(workload: &WorkloadInfo, out: &mut String) {
    let WorkloadInfo { path, database, documents, keys, seed, mix } = workload;
    let _ = writeln!(out, "Workload  {path} ({database}, {documents} documents, keys {keys}, seed {seed})");
    for line in mix {
        let _ = writeln!(out, "          {line}");
    }
}

fn scorecard(report: &Report, out: &mut String) {
    let card = &report.scorecard;
    let whole = if report.workload.is_some() { "made up" } else { "captured" };
    let equals = if card.complete { "=" } else { "IS NOT" };
    let _ = writeln!(
        out,
        "\nScorecard {} sent + {} skipped + {} failed + {} unmatched {equals} {} {whole}",
        card.sent, card.skipped, card.failed, card.unmatched, card.captured
    );
    let lines = card.skipped_by_reason.iter().map(|line| ("skipped", line));
    for (what, line) in lines.chain(card.failed_by_reason.iter().map(|line| ("failed", line))) {
        let _ = writeln!(out, "{:>10} {what}: {}", line.count, line.reason);
    }
}

fn latencies(report: &Report, out: &mut String) {
    if is_empty(&report.overall) {
        out.push_str("\nThere is nothing to measure: no operation was sent\n");
        return;
    }
    let names: Vec<String> = PERCENTILES.iter().map(|(name, _)| format!("{name:>9}")).collect();
    let _ = writeln!(
        out,
        "\n{:NAME_WIDTH$}{:>10}{}{:>9}  (milliseconds)",
        "Latency",
        "operations",
        names.concat(),
        "Max"
    );
    line("all, from sent", &report.overall.sent, out);
    line("all, from due (coordinated omission corrected)", &report.overall.due, out);
    line("all, as recorded", &report.overall.recorded, out);
    line("lag: late by torana's own doing", &report.own_lag, out);
    line("lag: late for whatever reason", &report.behind, out);
    for (title, rows) in
        [("command", &report.commands), ("collection", &report.collections), ("query shape", &report.shapes)]
    {
        table(title, rows, report, out);
    }
}

fn is_empty(row: &Row) -> bool {
    row.sent.count + row.recorded.count + row.errors == 0
}

fn table(title: &str, rows: &[Row], report: &Report, out: &mut String) {
    if rows.iter().all(is_empty) {
        return;
    }
    let below = report.below();
    let what = match below {
        // Of a dry run there is nothing else.
        Some((what, _)) if report.overall.sent.count == 0 => what.to_owned(),
        Some((what, _)) => format!("from sent (and below it {what})"),
        None => "from sent".to_owned(),
    };
    let _ = writeln!(out, "\nBy {title}, {what}");
    for row in rows.iter().take(ROWS_MAX) {
        line(&row.name, &row.sent, out);
        if let Some((_, second)) = below {
            // In a dry run there is nothing else.
            line(if row.sent.count > 0 { "" } else { &row.name }, second(row), out);
        }
        if row.errors + row.different > 0 {
            let _ = writeln!(out, "    {} errors, {} answers that differ", row.errors, row.different);
        }
    }
    if rows.len() > ROWS_MAX {
        let _ = writeln!(out, "    and {} more: see the files", rows.len() - ROWS_MAX);
    }
}

fn line(name: &str, percentiles: &Percentiles, out: &mut String) {
    if percentiles.count == 0 {
        return;
    }
    let mut shown: String = name.chars().take(NAME_WIDTH - 1).collect();
    if shown.len() < name.len() {
        shown.pop();
        shown.push('…');
    }
    let values: Vec<String> = percentiles.at.iter().map(|ms| format!("{:>9}", millis(*ms))).collect();
    let _ = writeln!(
        out,
        "{shown:NAME_WIDTH$}{:>10}{}{:>9}",
        percentiles.count,
        values.concat(),
        millis(percentiles.max)
    );
}

/// Three digits that count.
pub(super) fn millis(ms: f64) -> String {
    match ms {
        ms if ms >= 100.0 => format!("{ms:.0}"),
        ms if ms >= 10.0 => format!("{ms:.1}"),
        ms => format!("{ms:.2}"),
    }
}

fn answers(report: &Report, out: &mut String) {
    let answers = &report.answers;
    let not: u64 = answers.not_comparable.iter().map(|line| line.count).sum();
    if answers.equal + answers.equal_facts + answers.different + not == 0 {
        return;
    }
    let _ = writeln!(
        out,
        "\nAnswers   {} equal, {} equal as far as is known, {} different, {not} not comparable",
        answers.equal, answers.equal_facts, answers.different
    );
    if answers.racing > 0 {
        let _ = writeln!(
            out,
            "{:>10} of the different raced with a write of another connection when captured, or came after such a race",
            answers.racing
        );
    }
    for line in &answers.not_comparable {
        let _ = writeln!(out, "{:>10} not comparable: {}", line.count, line.reason);
    }
    for one in answers.differences.iter().take(DIFFERENCES_MAX) {
        difference(one, out);
    }
    if answers.different > DIFFERENCES_MAX as u64 {
        let listed = answers.differences.len();
        let _ = writeln!(
            out,
            "\n  {listed} of them, at most five of a query shape, are in what --json and --html write"
        );
    }
    out.push('\n');
}

/// One answer that differs, with both sides.
pub(super) fn difference(difference: &Difference, out: &mut String) {
    let _ = writeln!(
        out,
        "\n  {} (connection {}, {} ms): {}\n    asked     {}\n    recorded  {}\n    replayed  {}",
        difference.shape,
        difference.connection,
        difference.at_ms,
        racing(&difference.what, difference.racing),
        cut(&difference.request),
        cut(&difference.recorded),
        cut(&difference.replayed)
    );
}

fn racing(what: &str, racing: bool) -> String {
    if racing { format!("{what} (racing)") } else { what.to_owned() }
}

fn cut(text: &str) -> String {
    let mut short: String = text.chars().take(300).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_nothing_was_sent_there_are_no_tables() {
        let mut report = Report::default();
        report.commands.push(Row { name: "find".to_owned(), ..Row::default() });
        let shown = text(&report);
        assert!(shown.contains("no operation was sent") && !shown.contains("P50"), "{shown}");
        report.overall.errors = 1;
        assert!(text(&report).contains("P50"));
    }

    #[test]
    fn nothing_of_a_capture_steers_the_terminal() {
        let mut report = Report::default();
        report.capture.set = "\u{1b}[2Jrs0".to_owned();
        let shown = text(&report);
        assert!(shown.contains("\\u{1b}[2Jrs0") && !shown.contains('\u{1b}'), "{shown}");
    }
}
