//! Every metric family is filled by the torana binary: what is declared and never bumped would be a zero that
//! dashboards believe.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bson::{Document, doc};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use support::fake_hello;
use support::fake_server::name_of;
use support::message::{EXHAUST_ALLOWED, MORE_TO_COME, OP_MSG, op_msg};
use support::scratch::Scratch;
use support::{FakeServer, Monitoring, RawClient, Section, Then, Torana, torana_with, wait_until};

/// Families that may stay at zero here: none can be added without a reason. These need a real set, most of them
/// ZooKeeper as well, and are looked at in `consistency_sequential.rs` and `consistency_observe.rs`.
const NOT_PROVOKED: [&str; 8] = [
    "torana_horizon_age_seconds",
    "torana_horizon_kept",
    "torana_horizon_writes_total",
    "torana_observed_reads_total",
    "torana_publish_seconds",
    "torana_reads_behind_total",
    "torana_snapshots_refused_total",
    "torana_unpublished_total",
];

const SOON: Duration = Duration::from_secs(10);

/// A pool of 4: of three places for ordinary work, one for what awaits, one in reserve. Twenty clients at most. What
/// does not answer is given up soon.
const BOUNDS: &str = "[pool]\nmax = 4\nwait_queue_max = 1\nwait_timeout = \"2s\"\nconnect_timeout = \"3s\"\n\
                      [monitor]\nconnect_timeout = \"3s\"\n[limits]\nclients_max = 20\n[tags]\n\"app.tagged\" = \"causal\"\n";

/// Every family of the golden list.
fn families() -> BTreeSet<String> {
    include_str!("metrics_golden.txt").lines().map(|line| line.split(' ').next().unwrap().into()).collect()
}

/// A server and torana in front of it, and what was above zero whenever somebody looked.
struct Stage {
    fake: FakeServer,
    torana: Torana,
    /// Requests with `hold: true` are answered once this is set.
    go: Arc<AtomicBool>,
    seen: BTreeSet<String>,
    _target: FakeServer,
    _captures: Scratch,
}

impl Stage {
    fn start() -> Stage {
        let go = Arc::new(AtomicBool::new(false));
        let gate = go.clone();
        let fake = FakeServer::start(move |peer, request| {
            let holds = request.query_or_body().get_bool("hold").unwrap_or(false);
            while holds && !gate.load(Ordering::Acquire) {
                std::thread::sleep(Duration::from_millis(2));
            }
            match name_of(request).as_str() {
                "distinct" => {
                    peer.send(&op_msg(5, request.request_id() ^ 1, 0, &[Section::Body(doc! { "ok": 1.0 })]))
                }
                "count" => Then::Close,
                "aggregate" => peer.reply(request, doc! { "data": "x".repeat(12_000_000), "ok": 1.0 }),
                "delete" => peer.reply(request, doc! { "ok": 0.0, "code": 91, "errmsg": "shutting down" }),
                _ => peer.ok(request),
            }
        });
        let captures = Scratch::new("captures");
        let capture = format!("[capture]\nfolder = \"{}\"\nquota = \"2MiB\"\n", captures.path().display());
        // So slow that somebody sees what waits for it.
        let target = FakeServer::start(|peer, request| {
            std::thread::sleep(Duration::from_millis(300));
            peer.ok(request)
        });
        let shadow = format!("[shadow]\nto = \"{}\"\nsample = \"1/1\"\n", target.uri());
        let torana = torana_with(&fake.uri(), &(BOUNDS.to_owned() + &capture + &shadow));
        Stage { fake, torana, go, seen: BTreeSet::new(), _target: target, _captures: captures }
    }

    fn client(&self) -> RawClient {
        self.torana.client_of(self.fake.address())
    }

    /// A client whose `command` stays on the server until all are let go.
    fn holding(&self, mut command: Document) -> RawClient {
        let name = command.keys().next().unwrap().clone();
        let before = self.fake.requests(&name).len();
        command.insert("hold", true);
        let mut client = self.client();
        client.send_command("test", command);
        self.fake.wait_requests(&name, before + 1);
        client
    }

    fn let_go(&self) {
        self.go.store(true, Ordering::Release);
        let out = || self.torana.metric("torana_pool_connections_out", &[]);
        wait_until("all connections are back", SOON, || out() == 0.0);
        self.go.store(false, Ordering::Release);
    }

    /// Remembers which families have a sample above zero now.
    fn look(&mut self) {
        let metrics = self.torana.metrics();
        let mut family = "";
        for line in metrics.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                family = rest.split(' ').next().unwrap();
            } else if !line.starts_with('#') && !line.ends_with(" 0") {
                self.seen.insert(family.into());
            }
        }
    }

    fn wait_metric(&mut self, name: &str) {
        wait_until(&format!("{name} is above zero"), SOON, || self.torana.metric(name, &[]) > 0.0);
        self.look();
    }
}

#[test]
fn no_family_stays_at_zero_once_everything_has_happened() {
    let mut stage = Stage::start();
    messages(&mut stage);
    capturing(&mut stage);
    shadowing(&mut stage);
    waiting(&mut stage);
    awaiting(&mut stage);
    leaving(&mut stage);
    failing(&mut stage);
    descriptors(&mut stage);
    let silent: Vec<String> = families().difference(&stage.seen).cloned().collect();
    assert_eq!(silent, NOT_PROVOKED);
}

fn shadowing(stage: &mut Stage) {
    stage.wait_metric("torana_shadow_up");
    let mut client = stage.client();
    client.run("app", doc! { "find": "c" });
    stage.wait_metric("torana_shadow_queue_bytes");
    stage.wait_metric("torana_shadow_reads_total");
    // Its answer never comes.
    client.send_command("app", doc! { "count": "c" });
    assert!(client.try_read().is_err());
    stage.wait_metric("torana_shadow_dropped_total");
}

fn messages(stage: &mut Stage) {
    let mut client = stage.client();
    client.run("admin", doc! { "hello": 1 });
    client.run("admin", doc! { "replSetGetStatus": 1 });
    client.run("app", doc! { "find": "tagged" });
    let insert = doc! { "insert": "c", "writeConcern": { "w": 0 }, "$db": "test" };
    client.send_msg(MORE_TO_COME, &[Section::Body(insert)]);
    let ping = op_msg(900, 0, 0, &[Section::Body(doc! { "ping": 1, "$db": "test" })]);
    client.send(&ping[..8]);
    std::thread::sleep(Duration::from_millis(100));
    client.send(&ping[8..]);
    client.read();
    // A request of 20 MB, of which half a megabyte has come.
    let mut large = stage.client();
    large.send(&[20_000_000, 1, 0, OP_MSG].map(i32::to_le_bytes).concat());
    large.send(&[0; 500_000]);
    stage.wait_metric("torana_request_buffer_bytes");
    // A hello that waits for news.
    let known = doc! { "processId": fake_hello::process(), "counter": 1i64 };
    client.send_command("admin", doc! { "hello": 1, "topologyVersion": known, "maxAwaitTimeMS": 2_000 });
    stage.wait_metric("torana_hellos_waiting");
}

/// A request that is too long to be captured, and one that is more than the quota.
fn capturing(stage: &mut Stage) {
    let mut client = stage.client();
    wait_until("captured bytes wait to be written", SOON, || {
        client.run("test", doc! { "ping": 1 });
        stage.torana.metric("torana_capture_queue_bytes", &[]) > 0.0
    });
    client.run("test", doc! { "ping": 1 });
    stage.look();
    stage.wait_metric("torana_capture_written_bytes_total");
    stage.wait_metric("torana_capture_records_total");
    for (megabytes, metric) in
        [(18, "torana_capture_connections_lost_total"), (4, "torana_capture_cut_short_total")]
    {
        let mut client = stage.client();
        client.run("test", doc! { "insert": "c", "x": "y".repeat(megabytes << 20) });
        stage.wait_metric(metric);
    }
}

fn waiting(stage: &mut Stage) {
    let _holders: Vec<RawClient> = (0..3).map(|_| stage.holding(doc! { "find": "c" })).collect();
    let mut waiter = stage.client();
    waiter.send_command("test", doc! { "ping": 1 });
    stage.wait_metric("torana_pool_waiting");
    assert_eq!(stage.client().command("test", doc! { "ping": 1 }).get_i32("code").ok(), Some(262));
    assert_eq!(waiter.read().body().get_i32("code").ok(), Some(262));
    stage.let_go();
}

fn awaiting(stage: &mut Stage) {
    let more = || doc! { "getMore": 5i64, "collection": "c", "maxTimeMS": 1_000 };
    let _holder = stage.holding(more());
    stage.client().run("test", more());
    stage.look();
    stage.let_go();
    let mut client = stage.client();
    let exhaust = doc! { "getMore": 5i64, "collection": "c", "hold": true, "$db": "test" };
    client.send_msg(EXHAUST_ALLOWED, &[Section::Body(exhaust)]);
    stage.wait_metric("torana_pool_connections_pinned");
    stage.let_go();
    client.read();
}

fn leaving(stage: &mut Stage) {
    drop(stage.holding(doc! { "insert": "c" }));
    stage.wait_metric("torana_orphans_draining");
    stage.let_go();
}

fn failing(stage: &mut Stage) {
    // A client that does not take its reply, then a server that says that it shuts down.
    let mut slow = stage.client();
    slow.send_command("test", doc! { "aggregate": "c" });
    stage.wait_metric("torana_reply_buffer_bytes");
    drop(slow);
    stage.client().command("test", doc! { "delete": "c" });
    // A reply to another request, then a connection closed under its request.
    for command in ["distinct", "count"] {
        let mut client = stage.client();
        client.send_command("test", doc! { command: "c" });
        assert!(client.read_to_close().is_empty());
    }
    stage.fake.monitoring(Monitoring::Silent);
    let mut client = stage.client();
    client.send_command("test", doc! { "ping": 1 });
    stage.wait_metric("torana_pool_connections_connecting");
    stage.fake.monitoring(Monitoring::Closes);
    stage.wait_metric("torana_pool_connect_errors_total");
    stage.wait_metric("torana_monitor_failures_total");
    stage.fake.monitoring(Monitoring::Answers);
    wait_until("clients are served again", SOON, || {
        stage.client().try_command("test", doc! { "ping": 1 }).is_ok()
    });
    stage.look();
}

/// More clients than are allowed, then more than there are descriptors for: some wait, none is turned away.
fn descriptors(stage: &mut Stage) {
    let mut clients: Vec<RawClient> = (0..21).map(|_| stage.client()).collect();
    stage.wait_metric("torana_clients_rejected_total");
    clients.clear();
    wait_until("all have left", SOON, || stage.torana.metric("torana_clients", &[]) == 0.0);
    let open = stage.torana.process().descriptors() as u64;
    let pid = Pid::from_raw(stage.torana.process().id() as i32);
    let usual = getrlimit(Resource::Nofile);
    prlimit(pid, Resource::Nofile, Rlimit { current: Some(open + 4), ..usual }).unwrap();
    let mut clients: Vec<RawClient> = (0..10).map(|_| stage.client()).collect();
    std::thread::sleep(Duration::from_millis(300));
    prlimit(pid, Resource::Nofile, usual).unwrap();
    stage.wait_metric("torana_accept_pauses_total");
    clients.iter_mut().for_each(|client| drop(client.run("test", doc! { "ping": 1 })));
}
