//! Scenarios: torana, HAProxy and no proxy side by side, interleaved round by round in one run, medians of at least five rounds.
//! Each scenario starts the processes that it compares on free ports and ends them by their own handles.

mod capture;
mod drivers;
mod idle;
mod instructions;
mod levels;
mod many;
mod parts;
mod replay;
mod rig;
mod streams;
mod syscalls;
mod throughput;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};

use crate::report::{KINDS, Kind, Table};

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// Null server, 16 and 64 clients: CPU and system calls an operation, throughput, latency
    Null,
    /// Real mongod, 1, 16 and 64 clients: throughput, latency
    Mongod,
    /// Real mongod, 2,000 busy clients: throughput, latency, mongod's memory and threads
    Many,
    /// Real mongod, 10,000 idle clients: memory for each
    Idle,
    /// Real mongod, 2,000 idle change streams: ping beside them
    Streams,
    /// Three null servers, 3,000 idle drivers (18,000 sockets): CPU
    Drivers,
    /// Null server, 1, 16 and 64 clients: instructions an operation in the proxy's own code, by valgrind
    Instructions,
    /// Replica set of three and ZooKeeper, 1, 8 and 64 clients: what the level sequential costs
    Levels,
    /// Null server, 16 and 64 clients: what capturing everything costs
    Capture,
    /// Null server: how fast, and how punctual, a replay is
    Replay,
    /// All of them but instructions, levels, capture and replay
    All,
}

/// Arguments of `run`.
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// What to compare
    #[arg(value_enum)]
    scenario: Scenario,
    /// torana's binary; without it its column stays empty
    #[arg(long)]
    torana: Option<PathBuf>,
    /// HAProxy's binary; without it its column stays empty
    #[arg(long)]
    haproxy: Option<PathBuf>,
    /// mongod's binary, for all scenarios but null, instructions and drivers
    #[arg(long)]
    mongod: Option<PathBuf>,
    /// Java, for levels
    #[arg(long)]
    java: Option<PathBuf>,
    /// ZooKeeper's archive, for levels
    #[arg(long)]
    zookeeper_jar: Option<PathBuf>,
    /// Node.js, for levels
    #[arg(long)]
    node: Option<PathBuf>,
    /// The folder that Parse Server is installed in, for levels
    #[arg(long)]
    parse: Option<PathBuf>,
    /// Only these
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Kind>,
    /// Rounds; fewer than 5 only to see whether everything works
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Measured seconds a round and subject
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// Seconds before that
    #[arg(long, default_value_t = 1.0)]
    warmup: f64,
    /// Numbers of clients, in place of the scenario's own
    #[arg(long, value_delimiter = ',')]
    clients: Vec<usize>,
    /// torana's --pool-max; without it torana's own default for null and mongod, 32 for the others
    #[arg(long)]
    pool_max: Option<u32>,
    /// Keep proxies on CPU 0 and servers and clients on CPU 1
    #[arg(long)]
    pin: bool,
}

impl Scenario {
    /// What torana's pools are bounded to, if not by torana's own default.
    fn pool_max(&self) -> Option<u32> {
        const FEW: u32 = 32;
        match self {
            Scenario::Null
            | Scenario::Mongod
            | Scenario::Levels
            | Scenario::Capture
            | Scenario::Replay
            | Scenario::All => None,
            // Of 64 clients half queue in the count of instructions.
            Scenario::Many
            | Scenario::Idle
            | Scenario::Streams
            | Scenario::Drivers
            | Scenario::Instructions => Some(FEW),
        }
    }
}

impl RunArgs {
    fn window(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }

    fn warmup(&self) -> Duration {
        Duration::from_secs_f64(self.warmup)
    }

    /// Who takes part.
    fn kinds(&self) -> Vec<Kind> {
        let wanted = |kind: &Kind| self.only.is_empty() || self.only.contains(kind);
        let present = |kind: &Kind| match kind {
            Kind::Torana => self.torana.is_some(),
            Kind::Haproxy => self.haproxy.is_some(),
            Kind::Direct => true,
        };
        KINDS.into_iter().filter(wanted).filter(present).collect()
    }

    /// The order of a round: it turns from one round to the next, so that nobody always comes first.
    fn order(&self, round: u32) -> Vec<Kind> {
        let mut kinds = self.kinds();
        let by = round as usize % kinds.len().max(1);
        kinds.rotate_left(by);
        kinds
    }

    /// Numbers of clients: the scenario's own unless others were asked for.
    fn clients_or(&self, own: &[usize]) -> Vec<usize> {
        if self.clients.is_empty() { own.to_vec() } else { self.clients.clone() }
    }
}

/// Runs the scenario, or all, and prints each table when it is complete.
pub fn run(args: &RunArgs) -> Result<()> {
    ensure!(!args.kinds().is_empty(), "nobody to measure: give --torana or --haproxy, or leave out --only");
    ensure!(args.seconds > 0.0 && args.warmup >= 0.0, "--seconds must be above 0 and --warmup not below");
    let scenarios: &[Scenario] = match args.scenario {
        Scenario::All => &[
            Scenario::Null,
            Scenario::Mongod,
            Scenario::Many,
            Scenario::Idle,
            Scenario::Streams,
            Scenario::Drivers,
        ],
        ref one => std::slice::from_ref(one),
    };
    for scenario in scenarios {
        let pool_max = args.pool_max.or_else(|| scenario.pool_max());
        let rig = rig::Rig::new(RunArgs { pool_max, ..args.clone() })?;
        let tables = match scenario {
            Scenario::Levels => {
                levels::run(&rig)?;
                continue;
            }
            Scenario::Capture => {
                println!("{}", capture::run(&rig)?.markdown());
                continue;
            }
            Scenario::Replay => {
                replay::run(&rig)?.iter().for_each(|table| println!("{}", table.markdown()));
                continue;
            }
            Scenario::Null => throughput::null(&rig)?,
            Scenario::Mongod => throughput::mongod(&rig)?,
            Scenario::Many => many::run(&rig)?,
            Scenario::Idle => idle::run(&rig)?,
            Scenario::Streams => streams::run(&rig)?,
            Scenario::Drivers => drivers::run(&rig)?,
            Scenario::Instructions => instructions::run(&rig)?,
            Scenario::All => Vec::new(),
        };
        tables.iter().map(Table::markdown).for_each(|table| println!("{table}"));
    }
    Ok(())
}

/// One line on standard error for each measurement, so that a long run can be followed and a strange median looked into.
fn progress(round: u32, kind: Kind, text: &str) {
    eprintln!("round {} {kind:?}: {text}", round + 1);
}
