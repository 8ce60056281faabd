//! Scenario `many`: 2,000 busy clients on a real mongod, over torana's 32 server connections, through HAProxy, and direct. The
//! mongod is fresh for each measurement, because it gives back neither memory nor, for a while, threads.

use anyhow::{Context, Result};

use super::progress;
use super::rig::{DOCUMENTS, Rig};
use super::throughput::run_clean;
use crate::generate::Plan;
use crate::procstat;
use crate::report::{Kind, Table};
use crate::workload::Op;

const CLIENTS: usize = 2_000;

/// The comparison.
pub(super) fn run(rig: &Rig) -> Result<Vec<Table>> {
    let mut tables = Vec::new();
    for clients in rig.args.clients_or(&[CLIENTS]) {
        let mut table = Table::new(format!("mongod, find, {clients} busy clients"));
        for round in 0..rig.args.rounds {
            for kind in rig.args.order(round) {
                measure(rig, round, kind, clients, &mut table)?;
            }
        }
        tables.push(table);
    }
    Ok(tables)
}

fn measure(rig: &Rig, round: u32, kind: Kind, clients: usize, table: &mut Table) -> Result<()> {
    let server = rig.mongod()?;
    let subject = rig.subject(kind, std::slice::from_ref(&server))?;
    let mongod = server.process.pid();
    let before = procstat::resident_kib(mongod)?;
    let outcome = run_clean(Plan {
        target: subject.target()?,
        clients,
        warmup: rig.args.warmup(),
        window: rig.args.window(),
        op: Op::Find,
        rate: None,
        documents: DOCUMENTS,
        check_ids: true,
        watch: [Some(mongod), subject.pid()].into_iter().flatten().collect(),
    })?;
    progress(round, kind, &format!("{clients} clients, {:.0}/s", outcome.per_second()));
    let usage = outcome.watched.first().context("mongod was not watched")?;
    table.record("operations a second", kind, outcome.per_second());
    table.record("p50, ms", kind, outcome.micros(0.5) / 1_000.0);
    table.record("p99, ms", kind, outcome.micros(0.99) / 1_000.0);
    table.record("mongod threads", kind, usage.threads as f64);
    table.record("mongod resident, MiB", kind, usage.resident_kib as f64 / 1_024.0);
    table.record(
        "mongod resident, MiB more than idle",
        kind,
        usage.resident_kib.saturating_sub(before) as f64 / 1_024.0,
    );
    if let Some(proxy) = outcome.watched.get(1) {
        table.record("proxy resident, MiB", kind, proxy.resident_kib as f64 / 1_024.0);
    }
    Ok(())
}
