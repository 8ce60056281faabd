//! Scenario `instructions`: what an operation costs in the proxy's own code, counted by valgrind. Other work on the machine does not
//! change the count, so it shows a regression of a few per cent that no time measured here could. The kernel's share is not in it.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::capture::of_everything;
use super::parts::Scratch;
use super::progress;
use super::rig::{DOCUMENTS, Rig, Subject};
use super::throughput::run_clean;
use crate::generate::Plan;
use crate::report::{Kind, Table};
use crate::workload::{DATABASE, Op};

/// Counts for each number of clients.
pub(super) fn run(rig: &Rig) -> Result<Vec<Table>> {
    let mut tables = Vec::new();
    for clients in rig.args.clients_or(&[1, 16, 64]) {
        let mut table = Table::new(format!("null server, find, {clients} clients"));
        for kind in rig.args.kinds().into_iter().filter(|kind| *kind != Kind::Direct) {
            let count = measure(rig, kind, clients, &[])?;
            progress(0, kind, &format!("{clients} clients, {count:.0} instructions"));
            table.record("instructions an operation", kind, count);
        }
        if rig.args.kinds().contains(&Kind::Torana) {
            let folder = Scratch::new(&format!("capture-{clients}"))?;
            let tag = format!("{DATABASE}.other=causal");
            let config = of_everything(&folder)?;
            for (what, further) in [
                ("the same where another collection is tagged", ["--tag", &tag]),
                ("the same where everything is captured", ["--config", &config]),
            ] {
                let count = measure(rig, Kind::Torana, clients, &further)?;
                progress(0, Kind::Torana, &format!("{clients} clients, {what}: {count:.0}"));
                table.record(what, Kind::Torana, count);
            }
        }
        tables.push(table);
    }
    Ok(tables)
}

/// One round: under valgrind no second one says anything new.
fn measure(rig: &Rig, kind: Kind, clients: usize, further: &[&str]) -> Result<f64> {
    let server = rig.null_servers(1)?.remove(0);
    let folder = Scratch::new(&format!("callgrind-{clients}-{}-{}", kind as u8, further.concat().len()))?;
    let out = folder.path().join("out");
    let rig = rig.under(vec![
        "valgrind".to_owned(),
        "--quiet".to_owned(),
        "--tool=callgrind".to_owned(),
        "--instr-atstart=no".to_owned(),
        format!("--callgrind-out-file={}", out.display()),
    ]);
    let subject = match further.is_empty() {
        false => rig.torana(&[server.address], further)?,
        true => rig.subject(kind, std::slice::from_ref(&server))?,
    };
    let pid = subject.pid().context("no proxy")?;
    // Connections are made and caches of the code filled before anything counts.
    load(&rig, &subject, clients)?;
    control(&["-i", "on"], pid)?;
    let operations = load(&rig, &subject, clients)?;
    control(&["-i", "off"], pid)?;
    control(&["-d"], pid)?;
    Ok(total(&out.with_extension("1"))? / operations as f64)
}

fn load(rig: &Rig, subject: &Subject, clients: usize) -> Result<u64> {
    let plan = Plan {
        target: subject.target()?,
        clients,
        warmup: std::time::Duration::ZERO,
        window: rig.args.window(),
        op: Op::Find,
        rate: None,
        documents: DOCUMENTS,
        check_ids: false,
        watch: Vec::new(),
    };
    Ok(run_clean(plan)?.ops_total)
}

fn control(arguments: &[&str], pid: u32) -> Result<()> {
    let output = Command::new("callgrind_control").args(arguments).arg(pid.to_string()).output();
    let status = output.context("starting callgrind_control (Debian's package valgrind)")?.status;
    ensure!(status.success(), "callgrind_control {arguments:?} failed");
    Ok(())
}

/// The sum in a file of callgrind's: `totals: 12345`.
fn total(file: &Path) -> Result<f64> {
    let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    let line =
        text.lines().find_map(|line| line.strip_prefix("totals: ")).context("callgrind counted nothing")?;
    Ok(line.trim().parse()?)
}
