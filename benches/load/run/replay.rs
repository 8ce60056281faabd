//! Scenario `replay`: how fast a capture is replayed beside what the load generator reaches, and how late operations are sent
//! at the capture's own times beside a thread that does nothing but wait for the same times.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::parts::Scratch;
use super::rig::{DOCUMENTS, Rig, Server};
use super::throughput::run_clean;
use crate::generate::{Outcome, Plan};
use crate::report::Grid;
use crate::workload::Op;

const CLIENTS: usize = 64;

/// Of the capture that is played at its own times.
const PER_SECOND: f64 = 5_000.0;

/// Seconds of traffic in a capture.
const RECORDED: u64 = 5;

/// Both comparisons, each as a table.
pub(super) fn run(rig: &Rig) -> Result<Vec<Grid>> {
    let server = rig.null_servers(1)?.remove(0);
    let folder = Scratch::new("replay")?;
    let fast = record(rig, &server, folder.path().join("fast"), None)?;
    let paced = record(rig, &server, folder.path().join("paced"), Some(PER_SECOND))?;
    let title = format!("null server, {CLIENTS} clients, --speed max");
    let mut rates = Grid::new(title, &["replay", "load generator"], &[(0, 1)]);
    let title = format!("null server, {PER_SECOND} operations a second, --speed 1: late by");
    let mut lags = Grid::new(title, &["replay", "a thread that waits"], &[]);
    for round in 0..rig.args.rounds {
        let generates = || run_clean(plan(&server, None, rig.args.warmup(), rig.args.window()));
        let before = (round % 2 == 1).then(generates).transpose()?;
        let report = replay(rig, &server, &fast, &["--speed", "max", "--loop", "1000"])?;
        let outcome = before.map_or_else(generates, Ok)?;
        record_rates(&mut rates, &report, &outcome)?;
        let report = replay(rig, &server, &paced, &["--speed", "1"])?;
        record_lags(&mut lags, &report, &wait_at(PER_SECOND, rig.args.window()))?;
        eprintln!("round {}: {:.0}/s by the load generator", round + 1, outcome.per_second());
    }
    Ok(vec![rates, lags])
}

fn plan(server: &Server, rate: Option<f64>, warmup: Duration, window: Duration) -> Plan {
    Plan {
        target: server.address,
        clients: CLIENTS,
        warmup,
        window,
        op: Op::Find,
        rate,
        documents: DOCUMENTS,
        check_ids: false,
        watch: Vec::new(),
    }
}

/// Captures the load generator's traffic, replies whole.
fn record(rig: &Rig, server: &Server, folder: PathBuf, rate: Option<f64>) -> Result<PathBuf> {
    let torana = rig.args.torana.as_ref().context("no --torana")?;
    let subject = rig.torana(&[server.address], &[])?;
    let admin = subject.admin.context("no admin endpoint")?.to_string();
    let seconds = format!("{RECORDED}s");
    let mut recording = Command::new(torana);
    recording.args(["record", "--admin", &admin, "--for", &seconds, "--replies", "whole", "--out"]);
    let mut recording = recording.arg(&folder).spawn().context("torana record")?;
    let window = Duration::from_secs(RECORDED + 1);
    let outcome = run_clean(Plan { target: subject.target()?, ..plan(server, rate, Duration::ZERO, window) });
    ensure!(recording.wait()?.success(), "torana record failed");
    outcome?;
    let lost = subject.metric("torana_capture_connections_lost_total")?;
    ensure!(lost == 0.0, "{lost} connections were dropped from the capture");
    Ok(folder)
}

/// Replays for a window, and gives the report.
fn replay(rig: &Rig, server: &Server, capture: &Path, arguments: &[&str]) -> Result<Value> {
    let torana = rig.args.torana.as_ref().context("no --torana")?;
    let report = capture.with_extension("json");
    let to = format!("mongodb://{}/?directConnection=true", server.address);
    let window = format!("{}ms", (rig.args.warmup() + rig.args.window()).as_millis());
    let mut command = Command::new(torana);
    command.arg("replay").arg(capture).args(["--to", &to, "--quiet", "--for", &window, "--json"]);
    let output = command.arg(&report).args(arguments).output().context("torana replay")?;
    ensure!(output.status.success(), "torana replay: {}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_str(&std::fs::read_to_string(&report)?)?)
}

fn figure(report: &Value, path: &str) -> Result<f64> {
    report.pointer(path).and_then(Value::as_f64).with_context(|| format!("the report has no {path}"))
}

fn record_rates(table: &mut Grid, report: &Value, outcome: &Outcome) -> Result<()> {
    ensure!(report["scorecard"]["complete"] == true, "a scorecard that does not add up");
    for (what, path) in [("answers that differ", "/answers/different"), ("failed", "/scorecard/failed")] {
        ensure!(figure(report, path)? == 0.0, "{what}: {}", figure(report, path)?);
    }
    table.record("operations a second", 0, figure(report, "/rate")?);
    table.record("operations a second", 1, outcome.per_second());
    table.record("p99, ms", 0, figure(report, "/overall/sent/at/4")?);
    table.record("p99, ms", 1, outcome.micros(0.99) / 1e3);
    Ok(())
}

fn record_lags(table: &mut Grid, report: &Value, waited: &[f64]) -> Result<()> {
    let at = |quantile: f64| waited[((waited.len() - 1) as f64 * quantile) as usize];
    for (name, path, quantile) in [
        ("p50, ms", "/own_lag/at/0", 0.5),
        ("p99, ms", "/own_lag/at/4", 0.99),
        ("max, ms", "/own_lag/max", 1.0),
    ] {
        table.record(name, 0, figure(report, path)?);
        table.record(name, 1, at(quantile));
    }
    Ok(())
}

/// How late a thread is that sleeps until each of these times and does nothing else, milliseconds, the least first.
fn wait_at(per_second: f64, window: Duration) -> Vec<f64> {
    // As torana's own: the kernel may wake a sleeper 50 us late for the sake of batching.
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
    let begin = Instant::now();
    let count = (per_second * window.as_secs_f64()) as u32;
    let mut late: Vec<f64> = (1..=count)
        .map(|number| {
            let due = begin + Duration::from_secs_f64(f64::from(number) / per_second);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            Instant::now().saturating_duration_since(due).as_secs_f64() * 1e3
        })
        .collect();
    late.sort_by(f64::total_cmp);
    late
}
