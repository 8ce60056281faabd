//! Clients that do nothing: each says hello, finds one document, and stays. What they cost is read from /proc by whoever started
//! this. At the end each pings once, because a proxy that had dropped its idle clients would look cheapest of all.

use std::io::{BufRead, Write};
use std::net::SocketAddr;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::net;
use crate::session::Session;
use crate::workload::{self, Expected, Kind, Requests};

/// What the clients of one process do, and for how long.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Whom to connect to; with several members, drivers connect to each.
    pub targets: Vec<SocketAddr>,
    /// Clients, or drivers.
    pub count: usize,
    /// They stay at most so long.
    pub hold: Duration,
    /// Documents that were loaded.
    pub documents: u64,
    /// Whether a find must return the document that it asked for.
    pub check_ids: bool,
}

/// Ends a hold when its time is up or standard input ends, so that no client outlives the program that started it.
pub struct Hold {
    deadline: Instant,
    stdin_ended: mpsc::Receiver<()>,
}

impl Hold {
    /// Begins now.
    pub fn begin(limit: Duration) -> Hold {
        let (ended, stdin_ended) = mpsc::channel();
        thread::spawn(move || {
            std::io::stdin().lock().lines().for_each(drop);
            drop(ended);
        });
        Hold { deadline: Instant::now() + limit, stdin_ended }
    }

    /// Waits at most `step`; whether the hold is over.
    pub fn over_after(&self, step: Duration) -> bool {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let ended = self.stdin_ended.recv_timeout(step.min(left)) == Err(RecvTimeoutError::Disconnected);
        ended || left.is_zero()
    }
}

/// Says on standard output that the set-up is done, as a line that the starting program waits for.
pub fn announce(what: &str) -> Result<()> {
    println!("load ready: {what}");
    Ok(std::io::stdout().flush()?)
}

/// Opens the clients, holds them, counts those that still answer, and prints one JSON line.
pub fn run(plan: &Plan) -> Result<()> {
    let target = *plan.targets.first().context("no target")?;
    let mut clients = Vec::with_capacity(plan.count);
    for index in 0..plan.count {
        let opened =
            open(plan, target, index).with_context(|| format!("idle client {index} of {}", plan.count))?;
        clients.push(opened);
    }
    announce(&format!("{} idle clients", clients.len()))?;
    let hold = Hold::begin(plan.hold);
    while !hold.over_after(Duration::from_secs(1)) {}
    // Stops at the first that is lost: a proxy that answers nobody would take each of the others' time-outs.
    let lost = clients.iter_mut().position(|session| exchange(session, Kind::Ping, 0, false).is_err());
    println!("{{\"clients\":{},\"alive\":{}}}", clients.len(), lost.unwrap_or(clients.len()));
    ensure!(lost.is_none(), "idle client {} had lost its connection", lost.unwrap_or_default());
    Ok(())
}

fn open(plan: &Plan, target: SocketAddr, index: usize) -> Result<Session> {
    let mut session = Session::open(target, net::source_of(target, index))?;
    exchange(&mut session, Kind::Find, index as u64 % plan.documents.max(1), plan.check_ids)?;
    Ok(session)
}

fn exchange(session: &mut Session, kind: Kind, number: u64, check_ids: bool) -> Result<()> {
    let mut requests = Requests::new(session.cluster_time.as_ref())?;
    let request_id = session.take_request_id();
    let reply = session.round_trip(requests.next(kind, request_id, number))?;
    let id = (kind == Kind::Find && check_ids).then(|| workload::document_id(number));
    workload::check(&reply, &Expected { kind, request_id, id })
}
