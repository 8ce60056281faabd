//! The whole proxy: its sets, its signals, its end.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, interval, sleep, timeout};

use super::buffer::BufferPool;
use super::capturing::{Captures, Capturing};
use super::context::{ReplyMemory, Set, Shared};
use super::reaper;
use super::registry::{Phase, PhaseLimits, Registry};
use super::request_memory::RequestMemory;
use super::set::SetRunner;
use super::shadowing;
use crate::admin;
use crate::config::{CaptureConfig, Config, Limits};
use crate::metrics::{EndReason, Metrics};

/// How long a capture's disk may hold up the start and the end of torana.
const DISK_WITHIN: Duration = Duration::from_secs(5);

/// How often a proxy that is shutting down looks whether all is done.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Serves until SIGTERM or SIGINT. Prints the ready line on standard output once all listeners accept.
pub async fn run(config: Config, metrics: Arc<Metrics>) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stopped = async {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    };
    let mut stopped = std::pin::pin!(stopped);
    let shared = Arc::new(shared(&config.limits));
    let sweeping = shared.clone();
    show_memory(&metrics, &shared);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { sweeping.registry.sweep().await });
    show_request_memory(&metrics, &shared);
    let readiness = Readiness::default();
    let next_listener = Arc::default();
    let mut runners = Vec::new();
    for set in config.sets {
        let runner = SetRunner::new(set, shared.clone(), metrics.clone(), Arc::clone(&next_listener));
        readiness.watch(runner.set());
        runners.push(runner);
    }
    let sets: Vec<Arc<Set>> = runners.iter().map(SetRunner::set).collect();
    let (counts, open) = (metrics.capture.clone(), config.captures.remote_control);
    let captures = Captures::new(shared.clone(), sets.clone(), counts, open);
    if let Some(address) = &config.admin {
        let socket = admin::bind(address).await?;
        let served =
            serve_admin(socket, metrics.clone(), readiness.clone(), captures.clone(), config.limits.clone());
        tasks.spawn(served);
    }
    for runner in &mut runners {
        tokio::select! {
            listening = runner.first_listeners() => listening?,
            _ = &mut stopped => return Ok(()),
        }
    }
    readiness.listening();
    if let Some(config) = &config.captures.at_start {
        record(&captures, config).await;
    }
    shadow(&metrics, &shared, &sets, &mut tasks);
    let summary: Vec<String> = runners.iter().map(SetRunner::summary).collect();
    println!("torana ready: {}", summary.join(" "));
    let mut following = JoinSet::new();
    for runner in runners {
        following.spawn(runner.run());
    }
    let by = stopped.await;
    readiness.ends();
    tracing::info!(by, "shutting down");
    // Dropping the runners stops accepting. What else they did goes on in `drain`.
    drop(following);
    drain(&shared, &sets, config.limits.shutdown_deadline).await;
    end_capture(&captures).await;
    tracing::info!("all clients are closed; torana ends");
    Ok(())
}

/// The admin endpoint, until dropped.
async fn serve_admin(
    socket: TcpListener,
    metrics: Arc<Metrics>,
    readiness: Readiness,
    captures: Captures,
    limits: Limits,
) {
    let control = Some(Arc::new(captures) as Arc<dyn admin::CaptureControl>);
    let ready = move || readiness.check();
    admin::serve(socket, metrics, ready, control, &limits, std::future::pending()).await;
}

/// Begins the capture that the configuration asks for, in a folder of its own. Clients are served with it or without.
async fn record(captures: &Captures, config: &CaptureConfig) {
    let now = bson::DateTime::now().try_to_rfc3339_string().unwrap_or_default();
    let inside = now.replace([':', '.'], "-");
    match timeout(DISK_WITHIN, captures.start(config, Some(inside))).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::error!("no traffic is captured: {error}"),
        Err(_) => {
            tracing::error!(folder = %config.folder.display(), "no traffic is captured yet: the disk does not answer")
        }
    }
}

fn show_memory(metrics: &Arc<Metrics>, shared: &Arc<Shared>) {
    let gauge = |bytes: usize| i64::try_from(bytes).unwrap_or(i64::MAX);
    let process = &metrics.process;
    process.reply_buffer_limit_bytes.set(gauge(shared.limits.reply_buffer_max));
    let (capturing, shown) = (Arc::downgrade(shared), metrics.capture.clone());
    metrics.fill_by(move || {
        let Some(shared) = capturing.upgrade() else { return false };
        shown.queue_bytes.set(gauge(shared.capturing.queue_bytes()));
        shown.recording.set(i64::from(shared.capturing.number() != 0));
        true
    });
    let (shared, shown) = (Arc::downgrade(shared), process.reply_buffer_bytes.clone());
    metrics.fill_by(move || {
        shared.upgrade().inspect(|shared| shown.set(gauge(shared.reply_memory.in_use()))).is_some()
    });
}

/// Shows what requests are held in memory.
fn show_request_memory(metrics: &Arc<Metrics>, shared: &Arc<Shared>) {
    let (buffering, shown) = (Arc::downgrade(shared), Arc::downgrade(metrics));
    metrics.fill_by(move || {
        let (Some(shared), Some(metrics)) = (buffering.upgrade(), shown.upgrade()) else { return false };
        let bytes = i64::try_from(shared.request_memory.in_use()).unwrap_or(i64::MAX);
        metrics.process.request_buffer_bytes.set(bytes);
        true
    });
}

/// Ends what is being captured, if the disk takes its end.
async fn end_capture(captures: &Captures) {
    if timeout(DISK_WITHIN, captures.stop()).await.is_err() {
        tracing::error!(
            "the disk does not take the end of the capture; it is readable up to its last whole block"
        );
    }
}

/// Begins the shadow traffic of the sets that have some.
fn shadow(metrics: &Arc<Metrics>, shared: &Arc<Shared>, sets: &[Arc<Set>], tasks: &mut JoinSet<()>) {
    for set in sets.iter().filter(|set| set.shadow.is_some()) {
        show_queue(metrics, set);
        tasks.spawn(shadowing::begin(shared.clone(), set.clone()));
    }
}

/// Shows what waits for the second set of `set`.
fn show_queue(metrics: &Arc<Metrics>, set: &Arc<Set>) {
    let set = Arc::downgrade(set);
    metrics.fill_by(move || {
        let set = set.upgrade();
        let shadow = set.as_ref().and_then(|set| set.shadow.as_ref());
        shadow.inspect(|shadow| shadow.show_queue()).is_some()
    });
}

fn shared(limits: &Limits) -> Shared {
    let off = Duration::ZERO;
    let phases = PhaseLimits::default()
        .with(Phase::Silent, limits.login_timeout, EndReason::LoginTimeout)
        .with(Phase::Login, limits.login_timeout, EndReason::LoginTimeout)
        .with(Phase::Idle, limits.client_idle_timeout.unwrap_or(off), EndReason::IdleTimeout)
        .with(Phase::Reading, limits.message_timeout, EndReason::SlowMessage)
        .with(Phase::Writing, limits.client_write_timeout, EndReason::SlowReader);
    Shared {
        buffers: BufferPool::default(),
        registry: Registry::new(phases),
        request_memory: RequestMemory::new(limits.request_buffer_max, limits.message_max),
        reply_memory: ReplyMemory::new(limits.reply_buffer_max),
        capturing: Capturing::default(),
        limits: limits.clone(),
    }
}

/// Tells drivers that this proxy goes, lets what runs come to its end, then closes what is left.
async fn drain(shared: &Arc<Shared>, sets: &[Arc<Set>], deadline: Duration) {
    let until = Instant::now() + deadline;
    shared.registry.drain();
    for set in sets {
        set.topology.members().iter().for_each(|member| member.hello.wake());
    }
    let mut reaps = interval(reaper::EVERY);
    loop {
        tokio::select! {
            _ = reaps.tick() => sets.iter().for_each(|set| reaper::reap(shared, set)),
            () = sleep(LOOK_EVERY) => {}
        }
        // Again and again, as one may only have come to wait. A server at its end closes those too, and a driver
        // resumes a change stream whose connection broke.
        shared.registry.end_phase(Phase::AwaitingData, EndReason::Shutdown);
        let busy = shared.registry.busy();
        let transactions: usize = sets.iter().map(|set| unfinished(shared, set)).sum();
        if busy == 0 && transactions == 0 {
            break;
        }
        if Instant::now() >= until {
            tracing::warn!(busy, transactions, "shutdown deadline reached; closing what still runs");
            break;
        }
    }
    shared.registry.end_all(EndReason::Shutdown);
}

/// The transactions of `set` that are waited for: not those that have been left alone for as long as it takes to give
/// up one without a client, as their clients may never end them, and servers do so unheard.
fn unfinished(shared: &Shared, set: &Set) -> usize {
    let within = shared.limits.transaction_orphan_timeout;
    set.transactions.unfinished(within) + set.reaping.count()
}

/// Whether the proxy can serve: what `/readyz` says.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<ReadinessInner>);

#[derive(Debug, Default)]
struct ReadinessInner {
    listening: std::sync::atomic::AtomicBool,
    ending: std::sync::atomic::AtomicBool,
    sets: std::sync::Mutex<Vec<Arc<Set>>>,
}

impl Readiness {
    fn watch(&self, set: Arc<Set>) {
        self.0.sets.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(set);
    }

    fn listening(&self) {
        self.0.listening.store(true, std::sync::atomic::Ordering::Release);
    }

    fn ends(&self) {
        self.0.ending.store(true, std::sync::atomic::Ordering::Release);
    }

    /// `Err` says what is missing.
    pub fn check(&self) -> Result<(), String> {
        if self.0.ending.load(std::sync::atomic::Ordering::Acquire) {
            return Err("shutting down".to_owned());
        }
        let sets = self.0.sets.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for set in sets.iter() {
            let fresh = set.topology.members().iter().any(|member| member.hello.latest().is_some());
            if !fresh {
                return Err(format!("{}: no member answers: {}", set.name, set.topology.status()));
            }
        }
        match self.0.listening.load(std::sync::atomic::Ordering::Acquire) {
            true => Ok(()),
            false => Err("not listening yet".to_owned()),
        }
    }
}
