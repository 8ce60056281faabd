//! Scenario `idle`: what 10,000 clients that do nothing cost, in the proxy and in mongod. Both are fresh for each measurement,
//! because freed memory does not return to the system and a second round would look free.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use bson::doc;

use super::progress;
use super::rig::{DOCUMENTS, Rig};
use crate::procstat;
use crate::report::{Kind, Table};
use crate::session::Session;
use crate::workload;

const CLIENTS: usize = 10_000;
/// HAProxy holds a descriptor on either side of each client and mongod 6.0 two for each connection (a socket and an eventfd), and
/// a process has 20,000: without pooling this is as far as it goes.
const UNPOOLED_CLIENTS_MAX: usize = 9_000;
/// After the last client is there; buffers of its find are given back within this.
const SETTLE: Duration = Duration::from_secs(2);
/// Bound for the clients' process, should this one be stopped.
const HOLD: Duration = Duration::from_secs(120);

/// The comparison.
pub(super) fn run(rig: &Rig) -> Result<Vec<Table>> {
    let mut tables = Vec::new();
    for clients in rig.args.clients_or(&[CLIENTS]) {
        let mut table = Table::new(title(clients));
        for round in 0..rig.args.rounds {
            for kind in rig.args.order(round) {
                let clients = if kind == Kind::Torana { clients } else { clients.min(UNPOOLED_CLIENTS_MAX) };
                measure(rig, round, kind, clients, &mut table)?;
            }
        }
        tables.push(table);
    }
    Ok(tables)
}

fn title(clients: usize) -> String {
    let note = if clients > UNPOOLED_CLIENTS_MAX {
        format!(" (HAProxy and direct {UNPOOLED_CLIENTS_MAX})")
    } else {
        String::new()
    };
    format!("mongod, {clients} idle clients{note}")
}

fn measure(rig: &Rig, round: u32, kind: Kind, clients: usize, table: &mut Table) -> Result<()> {
    let server = rig.mongod()?;
    let subject = rig.subject(kind, std::slice::from_ref(&server))?;
    let pids: Vec<u32> = [Some(server.process.pid()), subject.pid()].into_iter().flatten().collect();
    let before = resident(&pids)?;
    let words = ["idle", "--target", &subject.target()?.to_string(), "--clients", &clients.to_string()];
    let mut args: Vec<String> = words.map(str::to_owned).into();
    args.extend(["--hold".into(), HOLD.as_secs().to_string(), "--documents".into(), DOCUMENTS.to_string()]);
    let idle = rig.start_own("idle clients", &args)?;
    idle.wait_for_line("load ready")?;
    thread::sleep(SETTLE);
    let after = resident(&pids)?;
    let status = Session::open(server.address, None)?.command("admin", doc! { "serverStatus": 1 })?;
    let connections =
        workload::number(status.get_document("connections")?, "current").context("no connections.current")?;
    let said = idle.finish()?;
    let each: Vec<f64> = after
        .iter()
        .zip(&before)
        .map(|(after, before)| after.saturating_sub(*before) as f64 / clients as f64)
        .collect();
    progress(round, kind, &format!("KiB a client in mongod and proxy {each:.2?}, {said}"));
    if let Some(proxy) = each.get(1) {
        table.record("proxy resident, KiB a client", kind, *proxy);
    }
    table.record("mongod resident, KiB a client", kind, each[0]);
    // The one that asks is counted too.
    table.record("connections on mongod", kind, connections.saturating_sub(1) as f64);
    Ok(())
}

fn resident(pids: &[u32]) -> Result<Vec<u64>> {
    pids.iter().map(|pid| procstat::resident_kib(*pid)).collect()
}
