//! Scenario `capture`: what it costs to capture everything, replies whole, beside a torana that captures nothing.

use std::fs;

use anyhow::{Context, Result};

use super::parts::Scratch;
use super::rig::{DOCUMENTS, Rig, Subject};
use super::throughput::run_clean;
use crate::generate::Plan;
use crate::procstat;
use crate::report::Grid;
use crate::workload::Op;

const CLIENTS: [usize; 2] = [16, 64];

/// The comparison, as one table.
pub(super) fn run(rig: &Rig) -> Result<Grid> {
    let server = rig.null_servers(1)?.remove(0);
    let folder = Scratch::new("capture")?;
    let config = of_everything(&folder)?;
    let subjects =
        [rig.torana(&[server.address], &["--config", &config])?, rig.torana(&[server.address], &[])?];
    let mut table = Grid::new("null server, everything captured", &["capture", "no capture"], &[(0, 1)]);
    for round in 0..rig.args.rounds {
        for clients in rig.args.clients_or(&CLIENTS) {
            for column in [round as usize % 2, (round as usize + 1) % 2] {
                measure(rig, &mut table, &subjects[column], column, clients)?;
            }
        }
    }
    Ok(table)
}

/// A configuration by which everything is captured into `folder`.
pub(super) fn of_everything(folder: &Scratch) -> Result<String> {
    let file = folder.path().join("torana.toml");
    let text = format!(
        "[capture]\nfolder = {:?}\nreplies = \"whole\"\nquota = \"20GiB\"\n",
        folder.path().join("files").display().to_string()
    );
    fs::write(&file, text)?;
    Ok(file.to_str().context("a folder that is not text")?.to_owned())
}

fn measure(rig: &Rig, table: &mut Grid, subject: &Subject, column: usize, clients: usize) -> Result<()> {
    const LOST: &str = "torana_capture_connections_lost_total";
    let pid = subject.pid().context("no proxy")?;
    let lost_before = subject.metric(LOST)?;
    let outcome = run_clean(Plan {
        target: subject.target()?,
        clients,
        warmup: rig.args.warmup(),
        window: rig.args.window(),
        op: Op::Find,
        rate: None,
        documents: DOCUMENTS,
        check_ids: false,
        watch: vec![pid],
    })?;
    eprintln!("column {column}: {clients} clients, {:.0}/s", outcome.per_second());
    let mut record =
        |what: &str, value: f64| table.record(&format!("{clients} clients: {what}"), column, value);
    record("operations a second", outcome.per_second());
    record("p99, µs", outcome.micros(0.99));
    if let Some(cpu) = outcome.cpu_micros(0) {
        record("proxy CPU an operation, µs", cpu);
    }
    // What was dropped costs nothing: the other figures are of a capture of everything only where this is 0.
    record("connections dropped from the capture", subject.metric(LOST)? - lost_before);
    record("proxy resident, MiB", procstat::resident_kib(pid)? as f64 / 1024.0);
    Ok(())
}
