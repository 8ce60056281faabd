//! Scenario `streams`: a ping beside 2,000 idle change streams on a real mongod. The mongod is fresh for each measurement, because
//! it keeps the cursors of clients that left for ten minutes.

use anyhow::{Result, ensure};

use super::progress;
use super::rig::Rig;
use crate::report::{Kind, Table};
use crate::streams::{self, Plan};

const STREAMS: usize = 2_000;

/// The comparison.
pub(super) fn run(rig: &Rig) -> Result<Vec<Table>> {
    let mut tables = Vec::new();
    for count in rig.args.clients_or(&[STREAMS]) {
        let mut table = Table::new(format!("mongod, {count} idle change streams"));
        for round in 0..rig.args.rounds {
            for kind in rig.args.order(round) {
                measure(rig, round, kind, count, &mut table)?;
            }
        }
        tables.push(table);
    }
    Ok(tables)
}

fn measure(rig: &Rig, round: u32, kind: Kind, count: usize, table: &mut Table) -> Result<()> {
    let server = rig.mongod()?;
    let subject = rig.subject(kind, std::slice::from_ref(&server))?;
    let outcome = streams::run(&Plan {
        target: subject.target()?,
        streams: count,
        warmup: rig.args.warmup(),
        window: rig.args.window(),
        watch: [Some(server.process.pid()), subject.pid()].into_iter().flatten().collect(),
    })?;
    progress(round, kind, &streams::json(&outcome));
    ensure!(outcome.errors == 0, "{} streams failed: {:?}", outcome.errors, outcome.first_error);
    ensure!(outcome.delivered == count, "only {} of {count} streams told of the insert", outcome.delivered);
    let seconds = outcome.elapsed.as_secs_f64();
    table.record("ping p50, ms", kind, outcome.pings.value_at_quantile(0.5) as f64 / 1e6);
    table.record("ping p99, ms", kind, outcome.pings.value_at_quantile(0.99) as f64 / 1e6);
    table.record("getMores answered a second", kind, outcome.get_mores as f64 / seconds);
    table.record("insert until all streams told, ms", kind, outcome.delivery.as_secs_f64() * 1e3);
    let names = [["mongod threads", "mongod CPU, % of a core"], ["proxy threads", "proxy CPU, % of a core"]];
    for (usage, [threads, cpu]) in outcome.watched.iter().zip(names) {
        table.record(threads, kind, usage.threads as f64);
        table.record(cpu, kind, usage.cpu.as_secs_f64() / seconds * 100.0);
    }
    Ok(())
}
