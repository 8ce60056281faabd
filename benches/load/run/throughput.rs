//! Scenarios `null` and `mongod`: one server, all subjects in front of it at once, measured in turn.

use anyhow::{Result, ensure};

use super::progress;
use super::rig::{DOCUMENTS, Rig, Server, Subject};
use super::syscalls;
use crate::generate::{self, Outcome, Plan};
use crate::report::Table;
use crate::workload::{self, Op};

/// One of these two comparisons.
struct Comparison<'a> {
    rig: &'a Rig,
    name: String,
    server: Server,
    /// Against the null server every find returns the same document, and system calls are counted too.
    null: bool,
}

/// Null server: what the proxy itself costs.
pub(super) fn null(rig: &Rig) -> Result<Vec<Table>> {
    let server = rig.null_servers(1)?.remove(0);
    let name = format!("null server, find of {} bytes", workload::find_len()?);
    Comparison { rig, name, server, null: true }.run(&[16, 64])
}

/// Real mongod: what users will see.
pub(super) fn mongod(rig: &Rig) -> Result<Vec<Table>> {
    let server = rig.mongod()?;
    Comparison { rig, name: "mongod, find".to_owned(), server, null: false }.run(&[1, 16, 64])
}

impl Comparison<'_> {
    fn run(&self, clients: &[usize]) -> Result<Vec<Table>> {
        let servers = std::slice::from_ref(&self.server);
        let kinds = self.rig.args.kinds();
        let subjects: Vec<Subject> =
            kinds.iter().map(|kind| self.rig.subject(*kind, servers)).collect::<Result<_>>()?;
        let mut tables = Vec::new();
        for clients in self.rig.args.clients_or(clients) {
            tables.push(self.table(&subjects, clients)?);
        }
        Ok(tables)
    }

    fn table(&self, subjects: &[Subject], clients: usize) -> Result<Table> {
        let mut table = Table::new(format!("{}, {clients} clients", self.name));
        for round in 0..self.rig.args.rounds {
            for kind in self.rig.args.order(round) {
                let Some(subject) = subjects.iter().find(|subject| subject.kind == kind) else { continue };
                let outcome = self.measure(subject, clients)?;
                progress(round, kind, &format!("{clients} clients, {:.0}/s", outcome.per_second()));
                record(&mut table, subject, &outcome);
            }
        }
        if self.null {
            self.count_system_calls(&mut table, subjects, clients)?;
        }
        Ok(table)
    }

    fn plan(&self, subject: &Subject, clients: usize) -> Result<Plan> {
        Ok(Plan {
            target: subject.target()?,
            clients,
            warmup: self.rig.args.warmup(),
            window: self.rig.args.window(),
            op: Op::Find,
            rate: None,
            documents: DOCUMENTS,
            check_ids: !self.null,
            watch: subject.pid().into_iter().collect(),
        })
    }

    fn measure(&self, subject: &Subject, clients: usize) -> Result<Outcome> {
        run_clean(self.plan(subject, clients)?)
    }

    /// A round of its own, because counting slows down what is counted.
    fn count_system_calls(&self, table: &mut Table, subjects: &[Subject], clients: usize) -> Result<()> {
        for subject in subjects {
            let Some(pid) = subject.pid() else { continue };
            let counted = syscalls::count(pid, || Ok(self.measure(subject, clients)?.ops_total))?;
            if let Some((how, calls)) = counted {
                table.record(&format!("system calls an operation ({how})"), subject.kind, calls);
            }
        }
        Ok(())
    }
}

/// Runs a plan in which no client may fail: a figure with failed clients in it compares nothing.
pub(super) fn run_clean(plan: Plan) -> Result<Outcome> {
    let target = plan.target;
    let outcome = generate::run(plan)?;
    ensure!(outcome.errors == 0, "{} clients of {target} failed: {:?}", outcome.errors, outcome.first_error);
    Ok(outcome)
}

fn record(table: &mut Table, subject: &Subject, outcome: &Outcome) {
    if let Some(cpu) = outcome.cpu_micros(0) {
        table.record("proxy CPU an operation, µs", subject.kind, cpu);
    }
    table.record("operations a second", subject.kind, outcome.per_second());
    table.record("p50, µs", subject.kind, outcome.micros(0.5));
    table.record("p99, µs", subject.kind, outcome.micros(0.99));
}
