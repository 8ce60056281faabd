//! From a run's figures to the report that replays have, too.

use super::engine::Figures;
use super::keys::Distribution;
use super::run::Options;
use super::workload::Workload;
use crate::config::show_duration;
use crate::replay::Report;
use crate::replay::judge::Judged;
use crate::replay::player::Ended;
use crate::replay::redacted::Redaction;
use crate::replay::report::{Circumstances, TargetInfo, WorkloadInfo};
use crate::replay::scorecard::Skip;
use crate::replay::target::Target;

/// The report of one run.
pub(super) fn of(options: &Options, target: &Target, figures: Figures, ended: &Ended) -> Report {
    let workload = &options.workload;
    let circumstances = Circumstances {
        target: Some(TargetInfo {
            // All goes to the primary.
            members: target.members.first().map(|(name, _)| name.clone()).into_iter().collect(),
            version: target.version.clone(),
        }),
        speed: speed(workload),
        ended: ending(workload, ended),
        whole: *ended == Ended::Whole,
        notes: notes(workload, &figures),
        workload: Some(info(options)),
        ..Circumstances::default()
    };
    let mut report = Report::new(judged(workload, figures), circumstances);
    for line in &mut report.scorecard.skipped_by_reason {
        if line.reason == Skip::Ended.text() {
            line.reason = "due, but the run ended before a client was free".to_owned();
        }
    }
    report
}

/// The figures as the report takes them.
fn judged(workload: &Workload, figures: Figures) -> Judged {
    let mut judged = Judged::new(workload.run.rate.is_some(), Redaction::nothing());
    for (operation, latencies) in workload.operations.iter().zip(&figures.kinds) {
        judged.commands.merge(&operation.command, latencies);
        judged.collections.merge(&operation.namespace, latencies);
        judged.shapes.merge(&operation.name, latencies);
    }
    judged.card = figures.card;
    judged.overall = figures.overall;
    judged.timeline = figures.timeline;
    judged.own_lag = figures.own_lag;
    judged.behind = figures.behind;
    judged.last = figures.last;
    judged.first_sent = figures.first_sent;
    judged
}

fn speed(workload: &Workload) -> String {
    let plan = &workload.run;
    let ramp = match plan.ramp.is_zero() {
        true => String::new(),
        false => format!(" after a ramp of {}", show_duration(plan.ramp)),
    };
    match plan.rate {
        Some(rate) => format!("{rate} operations a second{ramp}, by up to {} clients", plan.clients),
        None => format!("as fast as {} clients are answered{ramp}", plan.clients),
    }
}

fn ending(workload: &Workload, ended: &Ended) -> String {
    let plan = &workload.run;
    match ended {
        Ended::Whole => match (plan.time, plan.operations) {
            (Some(time), None) => format!("ran its {}", show_duration(time)),
            (None, Some(operations)) => format!("ran its {operations} operations"),
            _ => "ran to its end".to_owned(),
        },
        Ended::Stopped | Ended::TimeUp => "stopped before its end".to_owned(),
        Ended::Lost(why) if why.contains("could not be reached") => format!("ended before its time: {why}"),
        Ended::Lost(why) => format!("ended before its time: the target could not be reached ({why})"),
    }
}

fn notes(workload: &Workload, figures: &Figures) -> Vec<String> {
    let mut notes = Vec::new();
    let plan = &workload.run;
    if !plan.ramp.is_zero() && plan.time.is_some_and(|time| time <= plan.ramp) {
        notes.push("the ramp took the whole time: what it grows to was never sent".to_owned());
    }
    if figures.connected < workload.run.clients {
        let all = workload.run.clients;
        notes.push(format!("only {} of {all} clients had a connection when it began", figures.connected));
    }
    let first = workload.operations.iter().zip(&figures.kinds).zip(&figures.first_errors);
    for ((operation, latencies), error) in first {
        if let Some(error) = error {
            let count = latencies.errors;
            notes.push(format!("{count} errors of {}, the first: {error}", operation.name));
        }
    }
    if figures.further_batches > 0 {
        let count = figures.further_batches;
        notes.push(format!(
            "{count} further batches were read (getMore); an operation is over when its cursor is"
        ));
    }
    if figures.card.skipped(Skip::Ended) > 0 {
        let count = figures.card.skipped(Skip::Ended);
        notes.push(format!(
            "{count} operations were due and never sent, as no client was free: the latencies from due would be longer with them"
        ));
    }
    notes
}

fn info(options: &Options) -> WorkloadInfo {
    let workload = &options.workload;
    let weights: u64 = workload.operations.iter().map(|operation| operation.weight).sum();
    let share = |weight: u64| 100.0 * weight as f64 / weights.max(1) as f64;
    let mix = workload.operations.iter();
    let keys = match workload.run.keys {
        Distribution::Uniform => "uniform".to_owned(),
        Distribution::Zipf(exponent) => format!("zipf {exponent}"),
    };
    WorkloadInfo {
        path: options.file.clone(),
        database: workload.database.clone(),
        seed: workload.seed,
        documents: workload.load.as_ref().map_or(0, |load| load.documents),
        keys,
        mix: mix.map(|one| format!("{:.1} % {}", share(one.weight), one.name)).collect(),
    }
}
