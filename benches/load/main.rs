//! Load tools for torana, on the raw wire: a server that does nothing (`null-server`), a generator that checks every reply
//! (`gen`), clients that stay and do nothing (`idle`), and side-by-side scenarios of torana, HAProxy and no proxy (`run`).
//! No MongoDB driver and none of torana's own code is in the loop, so that a fault in either cannot hide in the figures.
//! `deploy/bench` builds it and runs the scenarios.

mod drivers;
mod generate;
mod idle;
mod levels;
mod net;
mod null_server;
mod procstat;
mod report;
mod run;
mod session;
mod streams;
mod wire;
mod workload;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser, Subcommand};

use crate::session::Session;
use crate::workload::Op;

#[derive(Parser)]
#[command(name = "load", about = "Raw-wire load tools for torana")]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Cargo gives this to every benchmark.
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

#[derive(Subcommand)]
enum Command {
    /// A server that does nothing, taken for a member of replica set rs0
    NullServer(NullServerArgs),
    /// Busy clients; prints one JSON line
    Gen(GenArgs),
    /// Clients that stay and do nothing, until standard input ends or --hold is over
    Idle(IdleArgs),
    /// Side-by-side scenarios; prints Markdown tables
    Run(run::RunArgs),
}

#[derive(Args)]
struct NullServerArgs {
    /// Where to listen; also its name in the set
    #[arg(long)]
    listen: SocketAddr,
    /// Bytes of the document that a find returns
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(0..=16_000_000))]
    reply_bytes: u32,
    /// Names of all members of the set, the primary first
    #[arg(long, value_delimiter = ',')]
    members: Vec<String>,
}

#[derive(Args)]
struct GenArgs {
    #[command(flatten)]
    data: DataArgs,
    /// Whom to connect to
    #[arg(long)]
    target: SocketAddr,
    /// Connections
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=19_000))]
    clients: u32,
    /// Measured seconds
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Seconds before that
    #[arg(long, default_value_t = 1.0)]
    warmup: f64,
    /// What each client does
    #[arg(long, value_enum, default_value = "find")]
    op: Op,
    /// Open loop: requests a second in all
    #[arg(long)]
    rate: Option<f64>,
    /// Load the documents first (a real server)
    #[arg(long)]
    prepare: bool,
    /// Also report CPU and memory of these processes over the window
    #[arg(long = "watch", value_delimiter = ',')]
    watch: Vec<u32>,
}

#[derive(Args)]
struct DataArgs {
    /// Documents loaded by --prepare, among which finds choose
    #[arg(long, default_value_t = 10_000)]
    documents: u64,
    /// Do not compare the _id found with the one asked for (null server)
    #[arg(long)]
    any_id: bool,
}

#[derive(Args)]
struct IdleArgs {
    #[command(flatten)]
    data: DataArgs,
    /// Whom to connect to; several members, with commas, for --drivers
    #[arg(long, value_delimiter = ',', required = true)]
    target: Vec<SocketAddr>,
    /// Clients, streams or drivers
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=19_000))]
    clients: u32,
    /// Seconds they stay, at most
    #[arg(long, default_value_t = 60.0)]
    hold: f64,
    /// Idle change streams instead, with pings measured beside them
    #[arg(long, conflicts_with = "drivers")]
    change_streams: bool,
    /// The two monitoring sockets to each member of this many idle drivers instead
    #[arg(long)]
    drivers: bool,
}

fn main() -> ExitCode {
    match dispatch(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> Result<()> {
    match command {
        Command::NullServer(args) => null_server::run(&null_server::Options {
            listen: args.listen,
            reply_bytes: args.reply_bytes as usize,
            members: args.members,
        }),
        Command::Gen(args) => generate(args),
        Command::Idle(args) => idle(args),
        Command::Run(args) => run::run(&args),
    }
}

fn generate(args: GenArgs) -> Result<()> {
    if args.prepare {
        workload::prepare(&mut Session::open(args.target, None)?, args.data.documents)?;
    }
    let clients = args.clients as usize;
    let outcome = generate::run(generate::Plan {
        target: args.target,
        clients,
        warmup: Duration::try_from_secs_f64(args.warmup)?,
        window: Duration::try_from_secs_f64(args.seconds)?,
        op: args.op,
        rate: args.rate,
        documents: args.data.documents,
        check_ids: !args.data.any_id,
        watch: args.watch,
    })?;
    println!("{}", report::json(&format!("{:?}", args.op).to_lowercase(), clients, &outcome));
    ensure!(outcome.errors == 0, "{} clients failed", outcome.errors);
    Ok(())
}

fn idle(args: IdleArgs) -> Result<()> {
    let hold = Duration::try_from_secs_f64(args.hold)?;
    let count = args.clients as usize;
    if args.change_streams {
        let target = *args.target.first().context("no target")?;
        let warmup = Duration::from_secs(2);
        let outcome =
            streams::run(&streams::Plan { target, streams: count, warmup, window: hold, watch: Vec::new() })?;
        println!("{}", streams::json(&outcome));
        ensure!(outcome.errors == 0, "{} streams failed", outcome.errors);
        return Ok(());
    }
    let (documents, check_ids) = (args.data.documents, !args.data.any_id);
    let plan = idle::Plan { targets: args.target, count, hold, documents, check_ids };
    if args.drivers { drivers::run(&plan) } else { idle::run(&plan) }
}
