//! `torana replay`: captured traffic as a load test.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;

use super::descriptors;
use crate::config::{ConnectionString, Span, UriError};
use crate::replay::plan::Rules;
use crate::replay::report::{html, text};
use crate::replay::{Filter, Options, Report, Speed, run as play};

/// Descriptors that are not for connections to the target.
const DESCRIPTORS_KEPT: u64 = 100;

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
    #[arg(long, default_value_t = 1000, value_name = "N")]
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

/// Replays, prints the report, writes its files.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let to = match &arguments.to {
        Some(uri) if !arguments.dry_run => Some(connection_string("--to", uri)?),
        _ => None,
    };
    let room = descriptors::raise_limit().saturating_sub(DESCRIPTORS_KEPT).max(1);
    let concurrency = arguments.concurrency.clamp(1, usize::try_from(room).unwrap_or(usize::MAX));
    if concurrency < arguments.concurrency {
        eprintln!(
            "the descriptor limit leaves room for {concurrency} connections, not {}",
            arguments.concurrency
        );
    }
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
    // Read before anything is played: a wrong file must not be found out afterwards.
    let before = arguments.compare.as_deref().map(Before::of).transpose()?;
    let files = [arguments.json.as_deref(), arguments.html.as_deref()];
    files.into_iter().flatten().try_for_each(check_writable)?;
    let report = play_all(&options, before, arguments.repeat)?;
    print!("{}", text(&report));
    write(arguments.json.as_deref(), || report.json())?;
    write(arguments.html.as_deref(), || html(&report))?;
    check(&report)
}

/// What a replay is compared with.
enum Before {
    /// It was played earlier.
    Report(Box<Report>),
    /// It is played against in turn.
    Target(ConnectionString),
}

impl Before {
    fn of(argument: &str) -> anyhow::Result<Before> {
        match argument.starts_with("mongodb://") || argument.starts_with("mongodb+srv://") {
            true => connection_string("--compare", argument).map(Before::Target),
            false => read_report(Path::new(argument)).map(|report| Before::Report(Box::new(report))),
        }
    }
}

/// Plays so often, against both targets in turn if there are two: what else the machine does is shared by both then.
fn play_all(options: &Options, before: Option<Before>, times: u32) -> anyhow::Result<Report> {
    let interrupted = Arc::new(AtomicBool::new(false));
    stop_on_ctrl_c(interrupted.clone());
    let (earlier, other) = match before {
        Some(Before::Report(report)) => (Some(*report), None),
        Some(Before::Target(uri)) => (None, Some(Options { to: Some(uri), ..options.clone() })),
        None => (None, None),
    };
    let mut others = Vec::new();
    let mut runs = Vec::new();
    for _ in 0..times {
        if !runs.is_empty() && interrupted.load(Ordering::Relaxed) {
            break;
        }
        if let Some(other) = &other {
            others.push(play(other, &interrupted).context("the replay against the target of --compare")?);
        }
        runs.push(play(options, &interrupted)?);
    }
    let mut report = joined(runs).unwrap_or_default();
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

fn read_report(path: &Path) -> anyhow::Result<Report> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    Report::from_json(&text).map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))
}

/// What makes a replay end with an error, after its report.
fn check(report: &Report) -> anyhow::Result<()> {
    anyhow::ensure!(report.scorecard.complete, "the scorecard does not add up: this is a defect of torana's");
    anyhow::ensure!(!report.ended.contains("could not be reached"), "{}", report.ended);
    Ok(())
}

fn connection_string(option: &str, uri: &str) -> anyhow::Result<ConnectionString> {
    let parsed = ConnectionString::parse(uri);
    parsed.map_err(|error: UriError| anyhow::anyhow!("{option}: {error}"))
}

fn write(path: Option<&Path>, content: impl FnOnce() -> String) -> anyhow::Result<()> {
    if let Some(path) = path {
        // It has answers of the target's in it.
        let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(path);
        let written = file.and_then(|mut file| file.write_all(content().as_bytes()));
        written.with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// What cannot be written is better found out before an hour of replay than after it.
fn check_writable(path: &Path) -> anyhow::Result<()> {
    let was_there = path.exists();
    let file = std::fs::File::options().append(true).create(true).mode(0o600).open(path);
    file.with_context(|| path.display().to_string())?;
    // A replay that is refused leaves nothing behind.
    if !was_there {
        let _ = std::fs::remove_file(path);
    }
    Ok(())
}

/// The first Ctrl-C ends the replay with its report, the second at once.
fn stop_on_ctrl_c(stop: Arc<AtomicBool>) {
    let wait = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            tokio::signal::ctrl_c().await?;
            stop.store(true, Ordering::Relaxed);
            tokio::signal::ctrl_c().await
        })
    };
    std::thread::spawn(move || {
        let waited: std::io::Result<()> = wait();
        if waited.is_ok() {
            std::process::exit(130);
        }
    });
}
