//! `torana replay`: captured traffic as a load test.

use std::path::PathBuf;
use std::sync::atomic::Ordering;

use anyhow::Context;

use super::descriptors;
use super::outputs::{self, Before, Outputs};
use crate::config::Span;
use crate::replay::plan::Rules;
use crate::replay::{Filter, Options, Report, Speed, run as play};

const EXAMPLES: &str = "\
Examples:
  torana replay /var/captures/monday --dry-run
  torana replay /var/captures/monday --to 'mongodb://new1,new2/?replicaSet=rs1' --html monday.html
  torana replay /var/captures/monday --to 'mongodb://new1,new2/?replicaSet=rs1' --speed max --writes
  torana replay /var/captures/monday --to mongodb://new1 --compare mongodb://old1 --repeat 3 --html compared.html

Reads alone are sent, unless --writes is given. Restore a copy of the data of the time at which the capture began into
the target first: only then do its answers, and its times, mean what they meant. docs/REPLAY.md goes through it.";

/// Play captured traffic against a replica set, and report how it fared
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct Arguments {
    /// The capture: a folder, or one file of it
    capture: PathBuf,

    /// The target's connection string
    #[arg(long, value_name = "URI", required_unless_present = "dry_run")]
    to: Option<String>,

    /// 1: at the times of the capture; N: N times as fast; max: as fast as the target takes it
    #[arg(long, default_value = "1", value_name = "N|max")]
    speed: Speed,

    /// Connections to the target, at most; one for each of the capture's as long as there is room
    #[arg(long, default_value_t = 1000, value_name = "N", value_parser = connections)]
    concurrency: usize,

    /// Play the capture N times, one after the other
    #[arg(long = "loop", default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    loops: u32,

    /// Stop after this time
    #[arg(long = "for", value_name = "DURATION")]
    run_for: Option<Span>,

    /// Only what is meant: command=NAME,.., ns=DB.COLLECTION,.. (DB.* for all of it), connection=NUMBER,.., shape=SHAPE (as
    /// reports show it, or its beginning and *); all given must agree
    #[arg(long, value_name = "FILTER")]
    filter: Vec<Filter>,

    /// Replay writes, too
    #[arg(long)]
    writes: bool,

    /// Let writes go to the very replica set that they were captured from, or where that cannot be told
    #[arg(long, requires = "writes")]
    same_set: bool,

    /// Look through the capture and report what would be sent; no target is needed
    #[arg(long)]
    dry_run: bool,

    /// Write the report as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Write the report as one HTML page
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// Replay N times, and use all runs to tell a change from noise. Not with --writes: the data would have to be restored in
    /// between
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=20), conflicts_with = "writes")]
    repeat: u32,

    /// Compare with the report of an earlier replay, made by --json, or with another target, which is played against in turn
    /// with the one of --to
    #[arg(long, value_name = "REPORT.json|URI", requires = "to", conflicts_with = "dry_run")]
    compare: Option<String>,

    /// Show no progress
    #[arg(long, short)]
    quiet: bool,
}

fn connections(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| *count > 0);
    count.ok_or_else(|| format!("{text:?} is no number of connections: 1 at least"))
}

/// Replays, prints the report, writes its files.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let to = match &arguments.to {
        Some(uri) if !arguments.dry_run => Some(outputs::connection_string("--to", uri)?),
        _ => None,
    };
    let concurrency = descriptors::room_for(arguments.concurrency);
    let options = Options {
        capture: arguments.capture.clone(),
        to,
        speed: arguments.speed,
        concurrency,
        loops: arguments.loops,
        run_for: arguments.run_for.map(|span| span.0),
        rules: Rules { writes: arguments.writes, filters: arguments.filter.clone() },
        same_set: arguments.same_set,
        quiet: arguments.quiet,
    };
    let before = arguments.compare.as_deref().map(Before::of).transpose()?;
    let outputs = Outputs::open(&arguments.json, &arguments.html)?;
    outputs.give(&play_all(&options, before, arguments.repeat)?)
}

/// Plays so often, against both targets in turn if there are two: what else the machine does is shared by both then.
fn play_all(options: &Options, before: Option<Before>, times: u32) -> anyhow::Result<Report> {
    let interrupted = outputs::stop_on_ctrl_c();
    let (earlier, other) = match before {
        Some(Before::Report(report)) => (Some(*report), None),
        Some(Before::Target(uri)) => (None, Some(Options { to: Some(uri), ..options.clone() })),
        None => (None, None),
    };
    let is_compared = earlier.is_some() || other.is_some();
    let mut others = Vec::new();
    let mut runs = Vec::new();
    let mut cut_short = None;
    for _ in 0..times {
        let before = other.as_ref().map(|other| play(other, &interrupted)).transpose();
        let before = before.context("the replay against the target of --compare")?;
        if before.is_some() && interrupted.load(Ordering::Relaxed) {
            cut_short = before;
            break;
        }
        let now = play(options, &interrupted)?;
        if interrupted.load(Ordering::Relaxed) {
            cut_short = Some(now);
            break;
        }
        others.extend(before);
        runs.push(now);
    }
    // A run that was stopped is of less work than the others: nothing is told by setting it beside them.
    let is_cut = cut_short.is_some();
    let Some(mut report) = joined(runs) else {
        let mut report = cut_short.unwrap_or_default();
        if is_compared {
            report.notes.push(
                "it was stopped before there was a whole run on each side: nothing is compared".to_owned(),
            );
        }
        return Ok(report);
    };
    if is_cut {
        report.notes.push("it was stopped: the run that was under way then is left out".to_owned());
    }
    if let Some(before) = earlier.or_else(|| joined(others)) {
        report.compare_with(&before);
    }
    Ok(report)
}

/// The first run, and the others as its repetitions.
fn joined(runs: Vec<Report>) -> Option<Report> {
    let mut runs = runs.into_iter();
    let mut first = runs.next()?;
    first.repeats = runs.collect();
    Some(first)
}
