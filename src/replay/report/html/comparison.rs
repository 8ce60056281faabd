//! Two targets side by side, on the page.

use std::fmt::Write;

use super::{difference, escape, of_target};
use crate::replay::report::PERCENTILES;
use crate::replay::report::compare::{Change, Comparison, Group};
use crate::replay::report::text::millis;

/// What stands out, then all groups with the change at each percentile.
pub(super) fn section(comparison: &Comparison, out: &mut String) {
    let [old, new] = comparison.rates;
    let _ = write!(
        out,
        "<h2>Compared</h2><p>Before: {}, runs: {}, {old:.0} operations a second. Now: {}, runs: {}, {new:.0} operations a second.</p>",
        of_target(comparison.before.as_ref()),
        comparison.before_runs,
        of_target(comparison.now.as_ref()),
        comparison.now_runs
    );
    if !comparison.is_same_work {
        out.push_str(
            "<p class=bad>The workloads are not the same: changes may be theirs, and not the target's.</p>",
        );
    }
    if !comparison.is_repeated() {
        out.push_str("<p class=dim>Runs were not repeated: small changes are taken for noise.</p>");
    }
    stands_out(comparison, out);
    comparison.differences.iter().take(20).for_each(|one| difference(one, out));
    table(comparison, out);
}

fn stands_out(comparison: &Comparison, out: &mut String) {
    let found = comparison.standing_out();
    if found.is_empty() && comparison.differences.is_empty() {
        out.push_str("<p class=good>Nothing stands out: no query shape is slower or faster by more than noise, or answers otherwise.</p>");
        return;
    }
    out.push_str("<p><b>What stands out</b></p><table>");
    for (group, remarks) in found {
        let is_worse = group.shift().is_some_and(|change| change.now > change.before)
            || group.errors[1] > group.errors[0]
            || group.different[1] > group.different[0];
        let class = if is_worse { "bad" } else { "good" };
        let _ = write!(
            out,
            "<tr><td>{}</td><td class={class}>{}</td></tr>",
            escape(&group.name),
            escape(&remarks.join("; "))
        );
    }
    out.push_str("</table>");
}

fn table(comparison: &Comparison, out: &mut String) {
    let names: Vec<String> = PERCENTILES.iter().map(|(name, _)| format!("<th>{name}</th>")).collect();
    let _ = write!(
        out,
        "<details><summary>Each percentile, milliseconds before, now, and the change; coloured where it is beyond noise</summary><table><tr><th></th>{}<th>Max</th></tr>",
        names.concat()
    );
    comparison.groups.iter().filter(|group| !group.changes.is_empty()).for_each(|group| row(group, out));
    out.push_str("</table></details>");
}

fn row(group: &Group, out: &mut String) {
    let cells: Vec<String> = group.changes.iter().map(|(_, change)| cell(change)).collect();
    let _ = write!(out, "<tr><td>{}</td>{}</tr>", escape(&group.name), cells.concat());
}

fn cell(change: &Change) -> String {
    let class = match change.is_beyond_noise {
        true if change.now > change.before => " class=bad",
        true => " class=good",
        false => "",
    };
    let share = change.share() * 100.0;
    format!("<td{class}>{}<br>{}<br>{share:+.0} %</td>", millis(change.before), millis(change.now))
}
