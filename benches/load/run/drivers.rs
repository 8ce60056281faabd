//! Scenario `drivers`: what 3,000 drivers cost that only monitor three members, two sockets to each. The members are null servers:
//! what counts is the proxy's CPU, and three mongods would need the machine for themselves.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::parts::Process;
use super::progress;
use super::rig::{Rig, Subject};
use crate::procstat;
use crate::report::{Kind, Table};

const DRIVERS: usize = 3_000;
const MEMBERS: u16 = 3;
/// HAProxy holds two descriptors a socket, and a process has 20,000.
const HAPROXY_DRIVERS_MAX: usize = 1_500;
/// 6,000 sockets a process.
const DRIVERS_PER_PROCESS: usize = 1_000;
/// Heartbeats come every 10 s, so a shorter window would see a part of a beat.
const WINDOW_MIN: Duration = Duration::from_secs(20);
/// From the last connection until the first beat is over.
const SETTLE: Duration = Duration::from_secs(11);
/// Bound for the drivers' processes, should this one be stopped.
const HOLD: Duration = Duration::from_secs(300);

/// The comparison. Direct has no proxy to measure, so it takes no part.
pub(super) fn run(rig: &Rig) -> Result<Vec<Table>> {
    let servers = rig.null_servers(MEMBERS)?;
    let mut tables = Vec::new();
    for count in rig.args.clients_or(&[DRIVERS]) {
        let few = count.min(HAPROXY_DRIVERS_MAX);
        let mut table = Table::new(format!("{MEMBERS} null servers, {count} idle drivers (HAProxy {few})"));
        for round in 0..rig.args.rounds {
            for kind in rig.args.order(round) {
                if kind == Kind::Direct {
                    continue;
                }
                let subject = rig.subject(kind, &servers)?;
                measure(rig, round, &subject, if kind == Kind::Haproxy { few } else { count }, &mut table)?;
            }
        }
        tables.push(table);
    }
    Ok(tables)
}

fn measure(rig: &Rig, round: u32, subject: &Subject, count: usize, table: &mut Table) -> Result<()> {
    let Some(pid) = subject.pid() else { return Ok(()) };
    let kind = subject.kind;
    let before = procstat::resident_kib(pid)?;
    let fleets = start_drivers(rig, &subject.targets, count)?;
    thread::sleep(SETTLE);
    let (started, cpu) = (Instant::now(), procstat::cpu_time(pid)?);
    thread::sleep(rig.args.window().max(WINDOW_MIN));
    let used = procstat::cpu_time(pid)?.saturating_sub(cpu);
    let share = used.as_secs_f64() / started.elapsed().as_secs_f64() * 100.0;
    let grown = procstat::resident_kib(pid)?.saturating_sub(before) as f64;
    let said = fleets.into_iter().map(Process::finish).collect::<Result<Vec<_>>>()?;
    progress(round, kind, &format!("{share:.2} % of a core, {said:?}"));
    let sockets = (count * usize::from(MEMBERS) * 2) as f64;
    table.record("sockets", kind, sockets);
    table.record("proxy CPU, % of a core", kind, share);
    table.record("proxy CPU, % of a core for 1,000 sockets", kind, share / sockets * 1_000.0);
    table.record("proxy resident, KiB a socket", kind, grown / sockets);
    Ok(())
}

fn start_drivers(rig: &Rig, targets: &[SocketAddr], count: usize) -> Result<Vec<Process>> {
    let targets = targets.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(",");
    let hold = HOLD.as_secs().to_string();
    let mut fleets = Vec::new();
    for first in (0..count).step_by(DRIVERS_PER_PROCESS) {
        let drivers = (count - first).min(DRIVERS_PER_PROCESS).to_string();
        let args = ["idle", "--drivers", "--target", &targets, "--clients", &drivers, "--hold", &hold];
        let fleet = rig.start_own("drivers", &args.map(str::to_owned))?;
        fleet.wait_for_line("load ready")?;
        fleets.push(fleet);
    }
    Ok(fleets)
}
