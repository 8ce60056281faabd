//! The load itself: raw connections on one epoll loop, each with one request outstanding, every reply checked. In a closed loop a
//! client sends its next request when its reply is there; in an open loop (`--rate`) requests fall due at fixed times whether or
//! not a client is free, and latency counts from the time due, so that a stall is felt by all requests that it held up.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use hdrhistogram::Histogram;

use crate::net::{self, Conn, Poller, Received};
use crate::procstat::{Usage, Watch};
use crate::session::Session;
use crate::workload::{self, Expected, Kind, Op, Requests};

/// A reply that is not there so long after the end of a run is an error.
const DRAIN: Duration = Duration::from_secs(5);
/// Requests that an open loop may be behind before it gives up.
const BACKLOG_MAX: usize = 1_000_000;
/// Longest latency that is told from a longer one.
const LATENCY_MAX: Duration = Duration::from_secs(120);

/// A run of the generator.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Whom to connect to.
    pub target: SocketAddr,
    /// Connections.
    pub clients: usize,
    /// Not measured, before the window.
    pub warmup: Duration,
    /// The window.
    pub window: Duration,
    /// What each client does.
    pub op: Op,
    /// Requests a second in all, in an open loop.
    pub rate: Option<f64>,
    /// Documents that were loaded.
    pub documents: u64,
    /// Whether a find must return the document that it asked for.
    pub check_ids: bool,
    /// Processes whose CPU and memory are taken over the window.
    pub watch: Vec<u32>,
}

/// What a run saw.
#[derive(Debug)]
pub struct Outcome {
    /// Operations that ended within the window.
    pub ops: u64,
    /// Operations that ended at all, warm-up included.
    pub ops_total: u64,
    /// The window as it really was.
    pub elapsed: Duration,
    /// Latencies within the window, nanoseconds.
    pub latencies: Histogram<u64>,
    /// Clients that failed; each fails once and is then out of the run.
    pub errors: u64,
    /// The first failure.
    pub first_error: Option<String>,
    /// The processes watched.
    pub watched: Vec<Usage>,
}

impl Outcome {
    /// Operations a second.
    pub fn per_second(&self) -> f64 {
        self.ops as f64 / self.elapsed.as_secs_f64()
    }

    /// Latency at `quantile`, microseconds.
    pub fn micros(&self, quantile: f64) -> f64 {
        self.latencies.value_at_quantile(quantile) as f64 / 1_000.0
    }

    /// CPU of the watched process at `index` an operation, microseconds.
    pub fn cpu_micros(&self, index: usize) -> Option<f64> {
        let usage = self.watched.get(index)?;
        Some(usage.cpu.as_secs_f64() * 1e6 / self.ops.max(1) as f64)
    }
}

/// A histogram of nanoseconds, exact to three digits.
pub fn histogram() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, LATENCY_MAX.as_nanos() as u64, 3)?)
}

struct Client {
    conn: Conn,
    requests: Requests,
    expected: Expected,
    /// When the outstanding request was sent, or in an open loop fell due.
    started: Option<Instant>,
}

/// An open loop's schedule.
struct Schedule {
    interval: Duration,
    next: Instant,
    due: VecDeque<Instant>,
    free: Vec<usize>,
}

struct Generator {
    plan: Plan,
    poller: Poller,
    clients: Vec<Option<Client>>,
    schedule: Option<Schedule>,
    random: u64,
    next_request_id: i32,
    outstanding: usize,
    sending: bool,
    measuring: bool,
    outcome: Outcome,
}

/// Connects, warms up, measures, and waits for what is outstanding.
pub fn run(plan: Plan) -> Result<Outcome> {
    let mut generator = Generator::connect(plan)?;
    let begin = Instant::now();
    let (warm, end) = (begin + generator.plan.warmup, begin + generator.plan.warmup + generator.plan.window);
    generator.start(begin)?;
    generator.turn_until(warm)?;
    let watch = Watch::start(&generator.plan.watch)?;
    let opened = Instant::now();
    generator.measuring = true;
    generator.turn_until(end)?;
    generator.measuring = false;
    generator.outcome.elapsed = opened.elapsed();
    generator.outcome.watched = watch.finish()?;
    generator.drain()?;
    ensure!(generator.outcome.ops > 0, "nothing was answered: {:?}", generator.outcome.first_error);
    Ok(generator.outcome)
}

impl Generator {
    fn connect(plan: Plan) -> Result<Generator> {
        let poller = Poller::new()?;
        let mut clients = Vec::with_capacity(plan.clients);
        for index in 0..plan.clients {
            let session = Session::open(plan.target, net::source_of(plan.target, index))?;
            let requests = Requests::new(session.cluster_time.as_ref())?;
            let conn = Conn::new(session.into_stream(), index, &poller)?;
            let expected = Expected { kind: Kind::Ping, request_id: 0, id: None };
            clients.push(Some(Client { conn, requests, expected, started: None }));
        }
        let outcome = Outcome {
            ops: 0,
            ops_total: 0,
            elapsed: Duration::ZERO,
            latencies: histogram()?,
            errors: 0,
            first_error: None,
            watched: Vec::new(),
        };
        // A fixed seed, so that every subject of a comparison is asked for the same documents in the same order.
        let random = 0x9E37_79B9_7F4A_7C15;
        Ok(Generator {
            plan,
            poller,
            clients,
            schedule: None,
            random,
            next_request_id: 1_000,
            outstanding: 0,
            sending: true,
            measuring: false,
            outcome,
        })
    }

    fn start(&mut self, now: Instant) -> Result<()> {
        let all = 0..self.clients.len();
        if let Some(rate) = self.plan.rate {
            ensure!(rate > 0.0, "--rate must be above 0");
            let interval = Duration::from_secs_f64(1.0 / rate);
            self.schedule = Some(Schedule { interval, next: now, due: VecDeque::new(), free: all.collect() });
        } else {
            all.for_each(|index| self.send_next(index, now));
        }
        Ok(())
    }

    fn turn_until(&mut self, deadline: Instant) -> Result<()> {
        let mut scratch = vec![0; net::SCRATCH_LEN];
        loop {
            let now = Instant::now();
            if now >= deadline || self.outcome.errors as usize >= self.plan.clients {
                return Ok(());
            }
            let next = self.send_due(now)?;
            let wait = next.unwrap_or(deadline).min(deadline).saturating_duration_since(now);
            self.turn(wait, &mut scratch)?;
        }
    }

    /// One wait and the events that it brought.
    fn turn(&mut self, wait: Duration, scratch: &mut [u8]) -> Result<()> {
        for index in 0..self.poller.wait(Some(wait))? {
            let (token, writable) = self.poller.event(index);
            if let Err(error) = self.on_event(token, writable, scratch) {
                self.fail(token, &error);
            }
        }
        Ok(())
    }

    fn on_event(&mut self, index: usize, writable: bool, scratch: &mut [u8]) -> Result<()> {
        let Some(client) = self.clients.get_mut(index).and_then(Option::as_mut) else { return Ok(()) };
        if writable {
            client.conn.flush(&self.poller)?;
        }
        let expected = client.expected;
        let mut replies = 0;
        let received = client.conn.receive(scratch, |reply| {
            replies += 1;
            ensure!(replies == 1, "a second reply to one request");
            workload::check(reply, &expected)
        })?;
        if replies == 1 {
            let started = client.started.take().context("a reply that nobody asked for")?;
            self.on_reply(index, started);
        }
        if received == Received::Closed {
            bail!("the peer closed the connection");
        }
        Ok(())
    }

    fn on_reply(&mut self, index: usize, started: Instant) {
        let now = Instant::now();
        self.outstanding -= 1;
        self.outcome.ops_total += 1;
        if self.measuring {
            self.outcome.ops += 1;
            self.outcome
                .latencies
                .saturating_record(now.saturating_duration_since(started).as_nanos() as u64);
        }
        if !self.sending {
            return;
        }
        match &mut self.schedule {
            None => self.send_next(index, now),
            Some(schedule) => match schedule.due.pop_front() {
                Some(due) => self.send_next(index, due),
                None => schedule.free.push(index),
            },
        }
    }

    /// Sends what has fallen due by `now`; the answer is when the next request does.
    fn send_due(&mut self, now: Instant) -> Result<Option<Instant>> {
        let mut ready = Vec::new();
        let Some(schedule) = &mut self.schedule else { return Ok(None) };
        while schedule.next <= now {
            match schedule.free.pop() {
                Some(index) => ready.push((index, schedule.next)),
                None => schedule.due.push_back(schedule.next),
            }
            schedule.next += schedule.interval;
        }
        let next = schedule.next;
        ensure!(schedule.due.len() <= BACKLOG_MAX, "the target is {BACKLOG_MAX} requests behind the rate");
        ready.into_iter().for_each(|(index, due)| self.send_next(index, due));
        Ok(Some(next))
    }

    fn send_next(&mut self, index: usize, started: Instant) {
        let random = self.next_random();
        self.next_request_id = self.next_request_id.wrapping_add(1);
        let request_id = self.next_request_id;
        let number = (random >> 8) % self.plan.documents.max(1);
        let kind = self.plan.op.pick(random >> 48);
        let Some(client) = self.clients[index].as_mut() else { return };
        let id = (kind == Kind::Find && self.plan.check_ids).then(|| workload::document_id(number));
        client.expected = Expected { kind, request_id, id };
        client.started = Some(started);
        self.outstanding += 1;
        let request = client.requests.next(kind, request_id, number);
        if let Err(error) = client.conn.send(request, &self.poller) {
            self.fail(index, &error);
        }
    }

    /// xorshift64: cheap, and the same in every run.
    fn next_random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    fn fail(&mut self, index: usize, error: &anyhow::Error) {
        let Some(client) = self.clients.get_mut(index).and_then(Option::take) else { return };
        if client.started.is_some() {
            self.outstanding -= 1;
        }
        self.outcome.errors += 1;
        self.outcome.first_error.get_or_insert_with(|| format!("client {index}: {error:#}"));
    }

    /// Takes the outstanding replies, so that the next run finds a quiet server; those that do not come are errors.
    fn drain(&mut self) -> Result<()> {
        self.sending = false;
        let deadline = Instant::now() + DRAIN;
        let mut scratch = vec![0; net::SCRATCH_LEN];
        while self.outstanding > 0 && Instant::now() < deadline {
            self.turn(Duration::from_millis(100), &mut scratch)?;
        }
        let late: Vec<usize> = (0..self.clients.len())
            .filter(|index| self.clients[*index].as_ref().is_some_and(|client| client.started.is_some()))
            .collect();
        late.into_iter()
            .for_each(|index| self.fail(index, &anyhow::anyhow!("no reply {DRAIN:?} after the end")));
        Ok(())
    }
}
