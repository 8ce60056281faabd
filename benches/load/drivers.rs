//! Idle drivers: each keeps two monitoring sockets to each member (Server Discovery and Monitoring, "Server Monitor": one streams
//! hellos with exhaust, one measures round trips every heartbeatFrequencyMS), and nothing else. A fleet of clients that have
//! nothing to do still sends and receives this, and a proxy has to carry it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bson::{Document, doc};

use crate::idle::{Hold, Plan, announce};
use crate::net::{self, Conn, Poller, Received};
use crate::session::Session;
use crate::wire;

/// heartbeatFrequencyMS of a driver, and its maxAwaitTimeMS.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// What a socket is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Replies come by themselves, each answering the one before.
    Streaming,
    /// Asks every [`HEARTBEAT`].
    RoundTrip,
}

struct Monitor {
    conn: Conn,
    role: Role,
    /// The number that the next reply must answer; `None` while none is due.
    answers: Option<i32>,
}

#[derive(Default)]
struct Counts {
    pushes: u64,
    polls: u64,
    errors: u64,
    first_error: Option<String>,
}

struct Fleet {
    poller: Poller,
    monitors: Vec<Option<Monitor>>,
    counts: Counts,
    next_request_id: i32,
}

/// Opens the monitors of `plan.count` drivers, keeps them going, and prints one JSON line.
pub fn run(plan: &Plan) -> Result<()> {
    let mut fleet = Fleet {
        poller: Poller::new()?,
        monitors: Vec::new(),
        counts: Counts::default(),
        next_request_id: 1_000,
    };
    for driver in 0..plan.count {
        for target in &plan.targets {
            fleet.add(*target, driver, Role::Streaming)?;
            fleet.add(*target, driver, Role::RoundTrip)?;
        }
    }
    let sockets = fleet.monitors.len();
    announce(&format!("{sockets} sockets of {} drivers", plan.count))?;
    let hold = Hold::begin(plan.hold);
    let (started, mut polled, mut scratch) = (Instant::now(), 0, vec![0; net::SCRATCH_LEN]);
    while !hold.over_after(Duration::ZERO) {
        // Polls are spread evenly: drivers that were started at different times do not beat together.
        let due = (started.elapsed().as_secs_f64() / HEARTBEAT.as_secs_f64() * sockets as f64) as usize;
        (polled..due).for_each(|number| fleet.poll(number % sockets));
        polled = due;
        fleet.turn(Duration::from_millis(20), &mut scratch)?;
    }
    let Counts { pushes, polls, errors, first_error } = fleet.counts;
    println!("{{\"sockets\":{sockets},\"pushes\":{pushes},\"polls\":{polls},\"errors\":{errors}}}");
    ensure!(errors == 0, "{}", first_error.unwrap_or_default());
    Ok(())
}

impl Fleet {
    fn add(&mut self, target: SocketAddr, driver: usize, role: Role) -> Result<()> {
        let index = self.monitors.len();
        let mut session = Session::connect(target, net::source_of(target, driver * 2))?;
        let hello = session.hello().with_context(|| format!("monitor {index}"))?;
        let conn = Conn::new(session.into_stream(), index, &self.poller)?;
        let mut monitor = Monitor { conn, role, answers: None };
        if role == Role::Streaming {
            let topology_version =
                hello.get_document("topologyVersion").context("hello without topologyVersion")?;
            let request = doc! {
                "hello": 1, "helloOk": true, "topologyVersion": topology_version,
                "maxAwaitTimeMS": HEARTBEAT.as_millis() as i64, "$db": "admin",
            };
            self.next_request_id += 1;
            send(&mut monitor, &request, self.next_request_id, wire::EXHAUST_ALLOWED, &self.poller)?;
        }
        self.monitors.push(Some(monitor));
        Ok(())
    }

    /// Sends a round-trip hello on the socket at `index`, if that is its role.
    fn poll(&mut self, index: usize) {
        let Some(monitor) = self.monitors.get_mut(index).and_then(Option::as_mut) else { return };
        if monitor.role != Role::RoundTrip {
            return;
        }
        self.next_request_id += 1;
        let request = doc! { "hello": 1, "helloOk": true, "$db": "admin" };
        let sent = match monitor.answers {
            Some(_) => Err(anyhow::anyhow!("hello not answered for {HEARTBEAT:?}")),
            None => send(monitor, &request, self.next_request_id, 0, &self.poller),
        };
        if let Err(error) = sent {
            self.fail(index, &error);
        }
    }

    fn turn(&mut self, wait: Duration, scratch: &mut [u8]) -> Result<()> {
        for index in 0..self.poller.wait(Some(wait))? {
            let (token, _) = self.poller.event(index);
            if let Err(error) = self.on_event(token, scratch) {
                self.fail(token, &error);
            }
        }
        Ok(())
    }

    fn on_event(&mut self, index: usize, scratch: &mut [u8]) -> Result<()> {
        let Some(monitor) = self.monitors.get_mut(index).and_then(Option::as_mut) else { return Ok(()) };
        let (counts, role, answers) = (&mut self.counts, monitor.role, &mut monitor.answers);
        let received = monitor.conn.receive(scratch, |reply| {
            let (request_id, response_to) = (wire::i32_at(reply, 4), wire::i32_at(reply, 8));
            ensure!(response_to == *answers, "hello answers {response_to:?}, expected {answers:?}");
            ensure!(wire::body(reply).is_some_and(wire::is_ok), "hello is not ok");
            if role == Role::Streaming {
                ensure!(wire::flag_bits(reply) & wire::MORE_TO_COME != 0, "the stream of hellos ended");
                counts.pushes += 1;
                *answers = request_id;
            } else {
                counts.polls += 1;
                *answers = None;
            }
            Ok(())
        })?;
        ensure!(received == Received::Open, "the peer closed a monitoring connection");
        Ok(())
    }

    fn fail(&mut self, index: usize, error: &anyhow::Error) {
        if let Some(slot) = self.monitors.get_mut(index) {
            *slot = None;
        }
        self.counts.errors += 1;
        self.counts.first_error.get_or_insert_with(|| format!("monitor {index}: {error:#}"));
    }
}

fn send(
    monitor: &mut Monitor,
    request: &Document,
    request_id: i32,
    flags: u32,
    poller: &Poller,
) -> Result<()> {
    let mut message = Vec::new();
    wire::put_op_msg(&mut message, request_id, 0, flags, &request.to_vec()?);
    monitor.answers = Some(request_id);
    monitor.conn.send(&message, poller)
}
