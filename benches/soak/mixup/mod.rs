//! `soak mixup`: looks for a reply that reaches somebody else than who asked.
//!
//! Clients whose every document carries their number and a nonce work through torana's eight server connections, leave in the middle
//! of requests and replies, and judge each reply by what is in it. The server side sends replies late, in pieces, and again. First
//! against a fake that also looks at requests, then, if there is one, against a real mongod behind a relay with the same faults.

mod client;
mod fake;
mod faults;
mod identity;
mod judge;
mod relay;
mod request;
mod stream;
mod tally;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::torana::Torana;
use client::Client;
use tally::Tally;

/// Between two looks at the counts, and between two lines about them.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const SAY_EVERY: Duration = Duration::from_secs(10);
/// Late replies that a run of a million operations must have seen.
const LATE_EACH_MILLION: u64 = 1_000;
/// A run that does less in ten seconds is stuck.
const STUCK_BELOW: u64 = 10;

/// What to run.
#[derive(Args)]
pub struct Options {
    /// The program under test
    #[arg(long)]
    torana: PathBuf,
    /// First of six free ports on loopback
    #[arg(long)]
    port: u16,
    /// torana's log
    #[arg(long)]
    log: PathBuf,
    /// Operations against the fake
    #[arg(long, default_value_t = 1_000_000)]
    count: u64,
    /// Seconds that it may take at most, and the next phase again
    #[arg(long, default_value_t = 900)]
    seconds: u64,
    /// A real standalone mongod for a second phase
    #[arg(long)]
    server: Option<SocketAddr>,
    /// Operations against it
    #[arg(long, default_value_t = 100_000)]
    server_count: u64,
    /// Clients at once
    #[arg(long, default_value_t = 48)]
    clients: u32,
    /// Of all chances
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Runs both phases. An error is what was found, or why nothing could be looked for.
pub fn run(options: &Options) -> Result<()> {
    phase(options, None, options.count, options.port).context("fake server")?;
    if let Some(server) = options.server {
        phase(options, Some(server), options.server_count, options.port + 3).context("real server")?;
    }
    Ok(())
}

fn phase(options: &Options, server: Option<SocketAddr>, count: u64, port: u16) -> Result<()> {
    let tally = Arc::new(Tally::default());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    match server {
        None => fake::start(listener, options.seed, tally.clone()),
        Some(server) => relay::start(listener, server, options.seed, tally.clone()),
    }
    // The shortest time-outs for replies and for the queue that still let a busy machine answer.
    let uri = format!(
        "mongodb://127.0.0.1:{port}/?directConnection=true&socketTimeoutMS=300&waitQueueTimeoutMS=2000"
    );
    let mut torana = Torana::start(&options.torana, &uri, port + 1, &["--pool-max", "8"], &options.log)?;
    let started = Instant::now();
    thread::scope(|scope| {
        for id in 1..=i64::from(options.clients) {
            let client = Client::new(id, torana.address, server.is_some(), options.seed, &tally);
            scope.spawn(move || client.run());
        }
        let watched = watch(&tally, &mut torana, count, started + Duration::from_secs(options.seconds));
        tally.stop();
        watched
    })?;
    let name = if server.is_some() { "real" } else { "fake" };
    conclude(name, &tally, &torana, started.elapsed(), count)
}

/// Waits for the end of the hunt.
fn watch(tally: &Tally, torana: &mut Torana, count: u64, until: Instant) -> Result<()> {
    let (mut next, mut before) = (Instant::now() + SAY_EVERY, 0);
    while !tally.is_stopped() && tally.operations.get() < count && Instant::now() < until {
        thread::sleep(LOOK_EVERY);
        ensure!(torana.is_alive(), "torana ended");
        if Instant::now() < next {
            continue;
        }
        let now = tally.operations.get();
        println!("{now} operations, {} cut, {} late", tally.cut.get(), late(tally));
        ensure!(now - before >= STUCK_BELOW, "no operation gets through: {:?}", tally.all());
        (next, before) = (next + SAY_EVERY, now);
    }
    Ok(())
}

fn late(tally: &Tally) -> u64 {
    tally.late_before.get() + tally.late_after.get()
}

fn conclude(name: &str, tally: &Tally, torana: &Torana, took: Duration, count: u64) -> Result<()> {
    for (what, value) in tally.all() {
        println!("figure mixup {name} {what}: {value}");
    }
    for metric in ["torana_reply_mismatches_total", "torana_orphans_total"] {
        println!("figure mixup {name} {metric}: {}", torana.metric(metric)?);
    }
    println!("figure mixup {name} time: {:.1} s", took.as_secs_f64());
    if let Some(found) = tally.first_found() {
        bail!("mixed up after {:.1} s: {found}", took.as_secs_f64());
    }
    let (operations, cut) = (tally.operations.get(), tally.cut.get());
    ensure!(cut * 10 >= operations, "only {cut} of {operations} operations were cut: proves little");
    if count >= 1_000_000 && operations >= count {
        let enough = LATE_EACH_MILLION * (operations / 1_000_000);
        ensure!(late(tally) >= enough, "only {} late replies: proves little", late(tally));
    }
    Ok(())
}
