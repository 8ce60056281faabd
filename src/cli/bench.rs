//! `torana bench`: load that a workload file makes up.

use std::path::{Path, PathBuf};

use anyhow::Context;

use super::descriptors;
use super::outputs::{self, Outputs};
use super::print;
use crate::bench::dry_run;
use crate::bench::workload::{self, EXAMPLE};
use crate::bench::{Allowed, Options, Workload, run as bench};
use crate::config::{ConfigError, Span};

const EXAMPLES: &str = "\
Examples:
  torana bench --example > workload.toml
  torana bench workload.toml --dry-run
  torana bench workload.toml --to 'mongodb://db1,db2,db3/?replicaSet=rs0' --html report.html

How far does it go? The same workload at a higher rate, on the data that is left from before:
  torana bench workload.toml --to URI --keep
  torana bench workload.toml --to URI --no-load --rate 4000

Which of two servers is faster?
  torana bench workload.toml --to OLD --repeat 3 --json old.json
  torana bench workload.toml --to NEW --repeat 3 --compare old.json

It writes to the database alone that the file names, loads into no collection that has documents (unless --drop is given), and
drops in the end what it made itself (unless --keep is given). Ctrl-C ends it in the same way, with the report of what was done.
docs/BENCH.md goes through it.";

/// Send made-up load to a replica set, and report how it fared
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct Arguments {
    /// What is loaded, and what is sent how often: a file in TOML
    #[arg(required_unless_present = "example")]
    workload: Option<PathBuf>,

    /// The target's connection string
    #[arg(long, value_name = "URI", required_unless_present_any = ["dry_run", "example"])]
    to: Option<String>,

    /// Print a workload file that runs as it is, and says what can be in one
    #[arg(long, exclusive = true)]
    example: bool,

    /// Print what would be loaded and some of the commands that would be sent; no target is needed
    #[arg(long)]
    dry_run: bool,

    /// Run for this time, whatever the file says
    #[arg(long = "for", value_name = "DURATION")]
    run_for: Option<Span>,

    /// So many operations a second, all clients together, whatever the file says
    #[arg(long, value_name = "N", value_parser = rate)]
    rate: Option<f64>,

    /// So many connections, whatever the file says
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=50_000))]
    clients: Option<u32>,

    /// Leave the data that were loaded
    #[arg(long)]
    keep: bool,

    /// Load nothing: use what is there, and leave it
    #[arg(long, conflicts_with = "drop")]
    no_load: bool,

    /// Drop the collections that are loaded or written into, if they exist
    #[arg(long)]
    drop: bool,

    /// Write the report as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Write the report as one HTML page
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// Run N times, and use all runs to tell a change from noise. What one run wrote is loaded anew for the next
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=20))]
    repeat: u32,

    /// Compare with the report of an earlier run, made by --json
    #[arg(long, value_name = "REPORT.json")]
    compare: Option<PathBuf>,

    /// Show no progress
    #[arg(long, short)]
    quiet: bool,
}

/// Runs, prints the report, writes its files.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let Some(path) = arguments.workload.as_deref().filter(|_| !arguments.example) else {
        return Ok(print(EXAMPLE)?);
    };
    let mut workload = read(path)?;
    change(&mut workload, arguments);
    let uri = arguments.to.as_deref().filter(|_| !arguments.dry_run);
    let Some(uri) = uri else {
        return Ok(print(&dry_run::text(&workload, arguments.no_load))?);
    };
    let to = outputs::connection_string("--to", uri)?;
    workload.run.clients = descriptors::room_for(workload.run.clients);
    let Arguments { no_load, drop, keep, repeat, quiet, .. } = *arguments;
    let file = path.display().to_string();
    let allowed = Allowed { no_load, drop, keep };
    let options = Options { file, workload, to, allowed, repeat, quiet };
    let earlier = arguments.compare.as_deref().map(outputs::read_report).transpose()?;
    let outputs = Outputs::open(&arguments.json, &arguments.html)?;
    let mut report = bench(&options, &outputs::stop_on_ctrl_c())?;
    earlier.iter().for_each(|earlier| report.compare_with(earlier));
    outputs.give(&report)
}

fn read(path: &Path) -> anyhow::Result<Workload> {
    let text = std::fs::read_to_string(path)
        .map_err(|cause| ConfigError::Read { path: path.to_owned(), cause })
        .context("there is no workload; `torana bench --example` prints one")?;
    Ok(workload::parse(&path.display().to_string(), &text)?)
}

/// What flags say is put over what the file says.
fn change(workload: &mut Workload, arguments: &Arguments) {
    let plan = &mut workload.run;
    if let Some(span) = arguments.run_for {
        plan.time = Some(span.0);
        plan.ramp = plan.ramp.min(span.0);
    }
    plan.rate = arguments.rate.or(plan.rate);
    plan.clients = arguments.clients.map_or(plan.clients, |clients| clients as usize);
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.01..=10_000_000.0).contains(rate));
    rate.ok_or_else(|| format!("{text:?} is no rate: a number of operations a second above 0"))
}
