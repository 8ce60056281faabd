//! Idle change streams: each client watches a collection in which nothing happens, asking again whenever the server's wait is
//! over, while one other client pings. Over a pool, awaiting getMores must not keep the pings out. At the end one document is
//! inserted and every stream must tell of it: a proxy that answered streams from nothing would have the best ping of all.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use bson::{Document, doc};
use hdrhistogram::Histogram;

use crate::generate;
use crate::net::{self, Conn, Poller, Received};
use crate::procstat::{Usage, Watch};
use crate::session::Session;
use crate::wire;
use crate::workload::{self, Expected, Kind, Requests, with_session};

/// The collection that is watched.
const WATCHED: &str = "watched";
/// Between two pings: enough of them for a p99 in a few seconds, too few to be load.
const PING_EVERY: Duration = Duration::from_millis(5);
/// Streams that have not told of the inserted document by then never will.
const DELIVERY_MAX: Duration = Duration::from_secs(20);

/// A run over idle change streams.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Whom to connect to.
    pub target: SocketAddr,
    /// Change streams.
    pub streams: usize,
    /// Not measured, before the window.
    pub warmup: Duration,
    /// The window.
    pub window: Duration,
    /// Processes whose CPU and memory are taken over the window.
    pub watch: Vec<u32>,
}

/// What a run saw.
#[derive(Debug)]
pub struct Outcome {
    /// Pings within the window, nanoseconds.
    pub pings: Histogram<u64>,
    /// getMores answered within the window.
    pub get_mores: u64,
    /// The window as it really was.
    pub elapsed: Duration,
    /// Streams that told of the inserted document.
    pub delivered: usize,
    /// From the insert until the last of them did.
    pub delivery: Duration,
    /// Streams that failed.
    pub errors: u64,
    /// The first failure.
    pub first_error: Option<String>,
    /// The processes watched.
    pub watched: Vec<Usage>,
}

struct Stream {
    conn: Conn,
    get_more: Vec<u8>,
    request_id: i32,
    told: bool,
}

struct Watchers {
    poller: Poller,
    streams: Vec<Option<Stream>>,
    get_mores: u64,
    delivered: usize,
    errors: u64,
    first_error: Option<String>,
}

/// Opens the streams, measures pings beside them, then inserts one document and counts who hears of it.
pub fn run(plan: &Plan) -> Result<Outcome> {
    let mut side = Session::open(plan.target, None)?;
    // A stream on a collection that does not exist yet is allowed, but its first event would also create the collection.
    let create = doc! { "insert": WATCHED, "documents": [{ "first": true }] };
    side.command(workload::DATABASE, create)?;
    let mut watchers = Watchers::open(plan)?;
    let mut scratch = vec![0; net::SCRATCH_LEN];
    let pinging = Pinger::start(plan.target)?;
    watchers.turn_until(Instant::now() + plan.warmup, &mut scratch)?;
    let watch = Watch::start(&plan.watch)?;
    pinging.record.store(true, Ordering::Relaxed);
    let (opened, before) = (Instant::now(), watchers.get_mores);
    watchers.turn_until(opened + plan.window, &mut scratch)?;
    let (elapsed, get_mores) = (opened.elapsed(), watchers.get_mores - before);
    let pings = pinging.stop()?;
    let watched = watch.finish()?;

    let inserted = Instant::now();
    side.command(workload::DATABASE, doc! { "insert": WATCHED, "documents": [{ "told": true }] })?;
    while watchers.delivered < plan.streams && inserted.elapsed() < DELIVERY_MAX {
        watchers.turn_until(Instant::now() + Duration::from_millis(1), &mut scratch)?;
    }
    let delivery = inserted.elapsed();
    let Watchers { delivered, errors, first_error, .. } = watchers;
    Ok(Outcome { pings, get_mores, elapsed, delivered, delivery, errors, first_error, watched })
}

impl Watchers {
    fn open(plan: &Plan) -> Result<Watchers> {
        let poller = Poller::new()?;
        let streams = (0..plan.streams)
            .map(|index| {
                Stream::open(plan.target, index, &poller)
                    .with_context(|| format!("change stream {index}"))
                    .map(Some)
            })
            .collect::<Result<_>>()?;
        Ok(Watchers { poller, streams, get_mores: 0, delivered: 0, errors: 0, first_error: None })
    }

    fn turn_until(&mut self, deadline: Instant, scratch: &mut [u8]) -> Result<()> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            for event in 0..self.poller.wait(Some(left))? {
                let (index, _) = self.poller.event(event);
                if let Err(error) = self.on_event(index, scratch) {
                    self.streams[index] = None;
                    self.errors += 1;
                    self.first_error.get_or_insert_with(|| format!("change stream {index}: {error:#}"));
                }
            }
        }
    }

    fn on_event(&mut self, index: usize, scratch: &mut [u8]) -> Result<()> {
        let Some(stream) = self.streams.get_mut(index).and_then(Option::as_mut) else { return Ok(()) };
        let expected = Expected { kind: Kind::Ping, request_id: stream.request_id, id: None };
        let mut events = None;
        let received = stream.conn.receive(scratch, |reply| {
            workload::check(reply, &expected)?;
            let batch = wire::body(reply)
                .and_then(|body| wire::find_element(body, "cursor"))
                .and_then(|cursor| wire::find_element(cursor.value, "nextBatch"))
                .context("getMore without nextBatch")?;
            events = Some(wire::elements(batch.value).count());
            Ok(())
        })?;
        ensure!(received == Received::Open, "the peer closed the connection");
        if let Some(events) = events {
            self.get_mores += 1;
            if events > 0 && !stream.told {
                stream.told = true;
                self.delivered += 1;
            }
            stream.ask(&self.poller)?;
        }
        Ok(())
    }
}

impl Stream {
    fn open(target: SocketAddr, index: usize, poller: &Poller) -> Result<Stream> {
        let mut session = Session::open(target, net::source_of(target, index))?;
        let lsid = workload::new_lsid();
        let aggregate =
            doc! { "aggregate": WATCHED, "pipeline": [{ "$changeStream": {} }], "cursor": {}, "lsid": &lsid };
        let reply = session.command(workload::DATABASE, aggregate)?;
        let cursor_id = reply.get_document("cursor")?.get_i64("id")?;
        let request = with_session(
            doc! { "getMore": cursor_id, "collection": WATCHED },
            &lsid,
            session.cluster_time.as_ref(),
        );
        let mut get_more = Vec::new();
        wire::put_op_msg(&mut get_more, 0, 0, 0, &request.to_vec()?);
        let conn = Conn::new(session.into_stream(), index, poller)?;
        let mut stream = Stream { conn, get_more, request_id: 1_000, told: false };
        stream.ask(poller)?;
        Ok(stream)
    }

    fn ask(&mut self, poller: &Poller) -> Result<()> {
        self.request_id = self.request_id.wrapping_add(1);
        self.get_more[4..8].copy_from_slice(&self.request_id.to_le_bytes());
        self.conn.send(&self.get_more, poller)
    }
}

/// The outcome as one line of JSON.
pub fn json(outcome: &Outcome) -> String {
    let micros = |quantile| outcome.pings.value_at_quantile(quantile) as f64 / 1_000.0;
    let error = outcome.first_error.as_ref().map_or("null".to_owned(), |error| format!("{error:?}"));
    format!(
        "{{\"pings\":{},\"ping_p50_us\":{:.1},\"ping_p99_us\":{:.1},\"ping_max_us\":{:.1},\"get_mores_per_second\":{:.1},\
         \"delivered\":{},\"delivery_ms\":{},\"errors\":{},\"first_error\":{error}}}",
        outcome.pings.len(),
        micros(0.5),
        micros(0.99),
        micros(1.0),
        outcome.get_mores as f64 / outcome.elapsed.as_secs_f64(),
        outcome.delivered,
        outcome.delivery.as_millis(),
        outcome.errors,
    )
}

/// The client that pings, on a thread of its own so that it never waits for the streams' loop.
struct Pinger {
    record: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<Result<Histogram<u64>>>,
}

impl Pinger {
    fn start(target: SocketAddr) -> Result<Pinger> {
        let mut session = Session::open(target, None)?;
        let (record, stop) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (recording, stopping) = (Arc::clone(&record), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            let mut pings = generate::histogram()?;
            while !stopping.load(Ordering::Relaxed) {
                let took = ping(&mut session)?;
                if recording.load(Ordering::Relaxed) {
                    // As if the pings that a slow one kept from being sent had been sent, and had waited.
                    pings.record_correct(took.as_nanos() as u64, PING_EVERY.as_nanos() as u64)?;
                }
                thread::sleep(PING_EVERY.saturating_sub(took));
            }
            Ok(pings)
        });
        Ok(Pinger { record, stop, thread })
    }

    fn stop(self) -> Result<Histogram<u64>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the pinging thread panicked"))?
    }
}

fn ping(session: &mut Session) -> Result<Duration> {
    let cluster_time: Option<Document> = session.cluster_time.clone();
    let mut requests = Requests::new(cluster_time.as_ref())?;
    let request_id = session.take_request_id();
    let request = requests.next(Kind::Ping, request_id, 0);
    let sent = Instant::now();
    let reply = session.round_trip(request)?;
    let took = sent.elapsed();
    workload::check(&reply, &Expected { kind: Kind::Ping, request_id, id: None })?;
    Ok(took)
}
