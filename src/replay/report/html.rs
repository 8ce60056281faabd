//! The report as one HTML file that needs nothing else: no network, no script, style and charts inline.

use std::fmt::Write;

use super::chart::{Series, chart, quantile_place};
use super::text::millis;
use super::{PERCENTILES, Percentiles, Report, Row, TargetInfo, TimelineInfo, WorkloadInfo};
use crate::replay::judge::Difference;

mod comparison;

const STYLE: &str = "
:root{color-scheme:light dark;--fg:#1d2330;--dim:#667085;--line:#e3e6ec;--bg:#fff;--card:#f7f8fa;--a:#2563eb;--b:#d97706;--c:#64748b;--bad:#c81e1e;--good:#157f3c}
@media (prefers-color-scheme:dark){:root{--fg:#e6e8ee;--dim:#98a2b3;--line:#2b3140;--bg:#12151c;--card:#1a1f29;--a:#6ea8fe;--b:#f0a44b;--c:#94a3b8;--bad:#ff7b72;--good:#56d364}}
*{box-sizing:border-box}body{font:15px/1.5 system-ui,sans-serif;color:var(--fg);background:var(--bg);max-width:1000px;margin:2rem auto;padding:0 1.2rem}
h1{font-size:1.5rem;margin:0 0 .2rem}h2{font-size:1.1rem;margin:2.2rem 0 .6rem}p{margin:.3rem 0}.dim{color:var(--dim)}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:.7rem;margin:1.2rem 0}
.tile{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:.7rem .9rem}.tile b{display:block;font-size:1.45rem;line-height:1.25;font-variant-numeric:tabular-nums}.tile span{color:var(--dim);font-size:.85rem}
table{border-collapse:collapse;width:100%;font-size:.86rem;font-variant-numeric:tabular-nums}th,td{padding:.28rem .45rem;text-align:right;border-bottom:1px solid var(--line);vertical-align:top}th{color:var(--dim);font-weight:600}
th:first-child,td:first-child{text-align:left;overflow-wrap:anywhere;max-width:330px}tr.old td{color:var(--dim);border-bottom:1px solid var(--line);padding-top:0}tr.new td{border-bottom:0}
.bad{color:var(--bad)}.good{color:var(--good)}figure{margin:1rem 0}figcaption{font-weight:600;font-size:.92rem}.legend{font-weight:400;color:var(--dim);margin-left:.8rem}svg{width:100%;height:auto}
.grid{stroke:var(--line)}.axis{fill:var(--dim);font-size:11px}polyline{fill:none;stroke-width:1.8}polyline.a{stroke:var(--a)}polyline.b{stroke:var(--b)}polyline.c{stroke:var(--c);stroke-dasharray:5 4}polyline.d{stroke:var(--bad)}circle.a{fill:var(--a)}circle.b{fill:var(--b)}circle.c{fill:var(--c)}circle.d{fill:var(--bad)}
b.a{color:var(--a)}b.b{color:var(--b)}b.c{color:var(--c)}b.d{color:var(--bad)}
details{border:1px solid var(--line);border-radius:8px;padding:.5rem .8rem;margin:.5rem 0;background:var(--card)}summary{cursor:pointer;overflow-wrap:anywhere}pre{white-space:pre-wrap;overflow-wrap:anywhere;font-size:.8rem;margin:.3rem 0}
";

/// The report as a page.
pub fn html(report: &Report) -> String {
    let mut out = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\"><title>{}</title><style>{STYLE}</style>",
        match &report.workload {
            Some(workload) => format!("torana bench: {}", escape(&workload.path)),
            None => format!("torana replay: {}", escape(&report.capture.set)),
        }
    );
    head(report, &mut out);
    tiles(report, &mut out);
    if let Some(comparison) = &report.comparison {
        comparison::section(comparison, &mut out);
    }
    scorecard(report, &mut out);
    charts(report, &mut out);
    overall(report, &mut out);
    for (title, rows) in
        [("command", &report.commands), ("collection", &report.collections), ("query shape", &report.shapes)]
    {
        table(title, rows, report, &mut out);
    }
    if report.workload.is_none() {
        differences(report, &mut out);
    }
    out.push_str("</html>\n");
    out
}

fn head(report: &Report, out: &mut String) {
    match &report.workload {
        Some(workload) => workload_head(report, workload, out),
        None => capture_head(report, out),
    }
    let class = if report.whole { "good" } else { "bad" };
    let _ = write!(out, "<p class={class}>{}</p>", escape(&report.ended));
    for note in &report.notes {
        let _ = write!(out, "<p class=dim>{}</p>", escape(note));
    }
}

/// A target, in bold.
fn of_target(target: Option<&TargetInfo>) -> String {
    target.map_or_else(String::new, |target| {
        format!("<b>{}</b> (MongoDB {})", escape(&target.members.join(", ")), escape(&target.version))
    })
}

fn workload_head(report: &Report, workload: &WorkloadInfo, out: &mut String) {
    let _ = write!(
        out,
        "<h1>Run of {}</h1><p>{} documents in <b>{}</b>, keys {}, seed {}; {} against {}.</p><ul>",
        escape(&workload.path),
        workload.documents,
        escape(&workload.database),
        escape(&workload.keys),
        workload.seed,
        escape(&report.speed),
        of_target(report.target.as_ref())
    );
    for line in &workload.mix {
        let _ = write!(out, "<li>{}</li>", escape(line));
    }
    out.push_str("</ul>");
}

fn capture_head(report: &Report, out: &mut String) {
    let capture = &report.capture;
    let _ = write!(
        out,
        "<h1>Replay of {}</h1><p>{} of traffic of <b>{}</b>, captured {}, {}.</p>",
        escape(&capture.path),
        seconds(capture.seconds),
        escape(&capture.set),
        escape(&capture.started),
        match &report.target {
            target @ Some(_) => format!(
                "replayed at speed <b>{}</b> against {}",
                escape(&report.speed),
                of_target(target.as_ref())
            ),
            None => "looked through without a target: nothing was sent".to_owned(),
        }
    );
}

fn tiles(report: &Report, out: &mut String) {
    let answers = &report.answers;
    let (sent, recorded) = (&report.overall.sent, &report.overall.recorded);
    let [p50, _, _, _, p99, _] = sent.at;
    let [old50, _, _, _, old99, _] = recorded.at;
    let is_made_up = report.workload.is_some();
    let recorded = |name: &str, old: f64| match is_made_up {
        true => name.to_owned(),
        false => format!("{name} (recorded {} ms)", millis(old)),
    };
    let mut all = vec![
        (format!("{:.0}/s", report.rate), "", "operations a second".to_owned()),
        (format!("{} ms", millis(p50)), "", recorded("P50", old50)),
        (format!("{} ms", millis(p99)), "", recorded("P99", old99)),
        (format!("{} ms", millis(sent.max)), "", "longest".to_owned()),
    ];
    let errors = report.overall.errors;
    all.push((errors.to_string(), if errors > 0 { "bad" } else { "good" }, "errors and failures".to_owned()));
    let class = if answers.different > 0 { "bad" } else { "good" };
    let compared = answers.equal + answers.equal_facts + answers.different;
    if !is_made_up {
        all.push((answers.different.to_string(), class, format!("answers differ, of {compared} compared")));
    }
    let tiles: Vec<String> = all
        .into_iter()
        .map(|(value, class, label)| {
            format!("<div class=tile><b class=\"{class}\">{value}</b><span>{label}</span></div>")
        })
        .collect();
    let _ = write!(out, "<div class=tiles>{}</div>", tiles.concat());
}

fn scorecard(report: &Report, out: &mut String) {
    let card = &report.scorecard;
    let (class, equals) = if card.complete { ("good", "=") } else { ("bad", "is not") };
    let whole = if report.workload.is_some() { "made up" } else { "captured" };
    let _ = write!(
        out,
        "<h2>Scorecard</h2><p class={class}>{} sent + {} skipped + {} failed + {} unmatched {equals} {} {whole}</p><table>",
        card.sent, card.skipped, card.failed, card.unmatched, card.captured
    );
    let lines = card.skipped_by_reason.iter().map(|line| ("skipped", line));
    for (what, line) in lines.chain(card.failed_by_reason.iter().map(|line| ("failed", line))) {
        let _ = write!(out, "<tr><td>{what}: {}</td><td>{}</td></tr>", escape(&line.reason), line.count);
    }
    out.push_str("</table>");
    let capture = &report.capture;
    if capture.damaged_blocks + capture.damaged_records > 0 {
        let _ = write!(
            out,
            "<p class=bad>{} blocks and {} records of the capture could not be read.</p>",
            capture.damaged_blocks, capture.damaged_records
        );
    }
}

fn charts(report: &Report, out: &mut String) {
    let curves = &report.curves;
    let curve = |points: &[(f64, f64)]| points.iter().map(|(q, ms)| (quantile_place(*q), *ms)).collect();
    let mut series = vec![Series { name: "from sent", class: "a", points: curve(&curves.sent) }];
    if !curves.due.is_empty() {
        series.push(Series {
            name: "from due (coordinated omission corrected)",
            class: "b",
            points: curve(&curves.due),
        });
    }
    if report.workload.is_none() {
        series.push(Series { name: "as recorded", class: "c", points: curve(&curves.recorded) });
    }
    let marks = [("0", 0.0), ("P90", 0.9), ("P99", 0.99), ("P99.9", 0.999), ("P99.99", 0.9999)];
    let marks = marks.map(|(label, quantile)| (quantile_place(quantile), label.to_owned()));
    out.push_str("<h2>Latency</h2>");
    out.push_str(&chart("Latency by percentile", &series, &marks, " ms"));
    let time = &report.timeline;
    if time.operations.len() > 1 {
        let rate = |counts: &[u64]| counts.iter().map(|count| *count as f64 / time.width).collect::<Vec<_>>();
        let marks = time_marks(time);
        let operations = [
            line("operations a second", "a", &rate(&time.operations)),
            line("errors a second", "d", &rate(&time.errors)),
        ];
        out.push_str(&chart("Throughput over time", &operations, &marks, ""));
        let title =
            if time.width > 1.0 { "P99 over time (the worst second of each point)" } else { "P99 over time" };
        out.push_str(&chart(title, &[line("from sent", "a", &time.p99)], &marks, " ms"));
        if report.own_lag.count > 0 {
            out.push_str(&chart(
                "Longest lag of torana's own over time",
                &[line("lag", "b", &time.lag)],
                &marks,
                " ms",
            ));
        }
    }
}

fn line<'a>(name: &'a str, class: &'a str, values: &[f64]) -> Series<'a> {
    let last = (values.len().max(2) - 1) as f64;
    let points = values.iter().enumerate().map(|(place, value)| (place as f64 / last, *value)).collect();
    Series { name, class, points }
}

fn time_marks(time: &TimelineInfo) -> Vec<(f64, String)> {
    let whole = time.width * time.operations.len() as f64;
    (0..=4).map(|quarter| f64::from(quarter) / 4.0).map(|place| (place, seconds(whole * place))).collect()
}

fn overall(report: &Report, out: &mut String) {
    let _ = write!(out, "<table>{}", header("milliseconds"));
    for (name, percentiles) in [
        ("from sent", &report.overall.sent),
        ("from due: coordinated omission corrected", &report.overall.due),
        ("as recorded", &report.overall.recorded),
        ("lag: late by torana's own doing", &report.own_lag),
        ("lag: late for whatever reason", &report.behind),
    ] {
        if percentiles.count > 0 {
            let _ = write!(out, "<tr><td>{name}</td>{}<td></td></tr>", cells(percentiles));
        }
    }
    out.push_str("</table>");
}

fn header(first: &str) -> String {
    let names: Vec<String> = PERCENTILES.iter().map(|(name, _)| format!("<th>{name}</th>")).collect();
    format!("<tr><th>{first}</th><th>operations</th>{}<th>Max</th><th></th></tr>", names.concat())
}

fn cells(percentiles: &Percentiles) -> String {
    if percentiles.count == 0 {
        return format!("<td>0</td>{}", "<td></td>".repeat(PERCENTILES.len() + 1));
    }
    let values: Vec<String> = percentiles.at.iter().map(|ms| format!("<td>{}</td>", millis(*ms))).collect();
    format!("<td>{}</td>{}<td>{}</td>", percentiles.count, values.concat(), millis(percentiles.max))
}

fn table(title: &str, rows: &[Row], report: &Report, out: &mut String) {
    if rows.is_empty() {
        return;
    }
    let below = report.below();
    let and_below = below.map_or(String::new(), |(what, _)| format!("; below, the same operations {what}"));
    let _ = write!(
        out,
        "<h2>By {title}</h2><p class=dim>Milliseconds from sent{and_below}.</p><table>{}",
        header(title)
    );
    for row in rows {
        let mut remarks = Vec::new();
        if row.errors > 0 {
            remarks.push(format!("{} errors", row.errors));
        }
        if row.different > 0 {
            remarks.push(format!("{} differ", row.different));
        }
        let _ = write!(
            out,
            "<tr class={}><td>{}</td>{}<td class=bad>{}</td></tr>",
            if below.is_some() { "new" } else { "only" },
            escape(&row.name),
            cells(&row.sent),
            remarks.join(", ")
        );
        if let Some((_, second)) = below {
            let _ = write!(out, "<tr class=old><td></td>{}<td></td></tr>", cells(second(row)));
        }
    }
    out.push_str("</table>");
}

fn differences(report: &Report, out: &mut String) {
    let answers = &report.answers;
    let _ = write!(
        out,
        "<h2>Answers</h2><p>{} equal, {} equal as far as is known, <b>{} different</b>.</p>",
        answers.equal, answers.equal_facts, answers.different
    );
    if answers.racing > 0 {
        let _ = write!(
            out,
            "<p class=dim>{} of the different raced with a write of another connection when they were captured, or look at what such a race has left.</p>",
            answers.racing
        );
    }
    for line in &answers.not_comparable {
        let _ = write!(out, "<p class=dim>{} not comparable: {}</p>", line.count, escape(&line.reason));
    }
    answers.differences.iter().for_each(|one| difference(one, out));
}

fn difference(difference: &Difference, out: &mut String) {
    let _ = write!(
        out,
        "<details><summary><b>{}</b>{} {}</summary><p class=dim>connection {}, {} ms into the capture</p><pre>asked     {}</pre><pre>recorded  {}</pre><pre>replayed  {}</pre></details>",
        escape(&difference.what),
        if difference.racing { " (racing)" } else { "" },
        escape(&difference.shape),
        difference.connection,
        difference.at_ms,
        escape(&difference.request),
        escape(&difference.recorded),
        escape(&difference.replayed)
    );
}

fn seconds(seconds: f64) -> String {
    match seconds {
        seconds if seconds >= 7200.0 => format!("{:.1} h", seconds / 3600.0),
        seconds if seconds >= 120.0 => format!("{:.0} min", seconds / 60.0),
        seconds if seconds >= 10.0 => format!("{seconds:.0} s"),
        seconds => format!("{seconds:.1} s"),
    }
}

/// Text from the capture is never markup.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_needs_no_network_and_takes_no_text_for_markup() {
        let mut report = Report::default();
        report.capture.set = "<script>alert(1)</script>".to_owned();
        let row = Row { name: "find a.<b> {x: \"?\"}".to_owned(), ..Row::default() };
        report.shapes.push(row);
        report.answers.differences.push(Difference {
            connection: 1,
            at_ms: 2,
            namespace: "a.b".into(),
            shape: "s".into(),
            what: "w".into(),
            racing: false,
            request: "<img src=x>".into(),
            recorded: String::new(),
            replayed: String::new(),
        });
        let page = html(&report);
        for not in ["<script", "http://", "https://", "<img", "<b> {"] {
            assert!(!page.contains(not), "{not}");
        }
    }
}
