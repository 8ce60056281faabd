//! The monitor of one server: two connections, one that streams changes and one that polls.
//!
//! Streaming alone pushes every ten seconds, and a `lastWrite` that old spoils drivers' maxStaleness; polling alone
//! would see an election half a second late. Both fill the same reports. When either ends, both are dropped. A server
//! that closed one is tried again at once, once, before it is reported lost: sockets break one by one, and its clients
//! need not learn of it. After that it is tried with pauses.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::address::HostPort;
use super::description::ServerDescription;
use super::dial::Dial;
use super::membership::ConfigAnswer;
use super::pace::Pace;
use super::probe::Probe;
use super::probe_error::ProbeError;
use super::requests::Requests;
use super::set_config::SetConfig;

/// Pause between attempts to reach a server, at least (SDAM specification, `minHeartbeatFrequencyMS`); a request
/// for a check cuts the jitter above it short, never this.
const PAUSE_MIN: Duration = Duration::from_millis(500);
/// Upper end of the jitter added to it, milliseconds: toranas and members that failed together spread out.
const JITTER_MAX_MILLIS: u64 = 250;
/// How long a server that has just closed a connection has to answer on a new one before it counts as lost.
const RETRY_WITHIN: Duration = Duration::from_millis(500);
/// Pause between two hellos that were asked for, at least: what clients do must not load the server.
const CHECK_PAUSE: Duration = Duration::from_millis(10);
/// Unauthorized, AuthenticationFailed, CommandNotFound and "not allowed" of hosted services: asking again is no use.
const FINAL_REFUSALS: [i64; 4] = [13, 18, 59, 8000];

/// How to monitor.
#[derive(Debug, Clone)]
pub(super) struct MonitorOptions {
    pub(super) connect_timeout: Duration,
    pub(super) poll_interval: Duration,
    pub(super) await_time: Duration,
    pub(super) jitter_seed: u64,
}

/// What a monitor reports.
#[derive(Debug)]
pub(super) enum Report {
    /// A hello reply.
    Hello(Box<HelloReport>),
    /// The server's answer for the configuration.
    Config(ConfigAnswer),
    /// A connection ended, and the server is tried again before it counts as lost: until then nothing known of it is
    /// sure.
    Doubtful,
    /// The server does not answer. Reported again for each attempt that fails.
    Lost(ProbeError),
}

/// A hello reply, with what the connection knows of it.
#[derive(Debug)]
pub(super) struct HelloReport {
    pub(super) document: Vec<u8>,
    pub(super) description: ServerDescription,
    pub(super) legacy: bool,
    pub(super) received: Instant,
    /// When it was asked for; `None` for what the server pushed.
    pub(super) asked: Option<Instant>,
}

/// The monitor of one server.
#[derive(Debug)]
pub(super) struct Monitor<D> {
    pub(super) dial: Arc<D>,
    pub(super) address: HostPort,
    /// Tells its reports from those of an earlier monitor of the same address.
    pub(super) id: u64,
    pub(super) options: Arc<MonitorOptions>,
    pub(super) requests: Arc<Requests>,
    pub(super) reports: mpsc::Sender<(u64, Report)>,
}

impl<D: Dial> Monitor<D> {
    /// Runs until it is dropped.
    pub(super) async fn run(self) {
        let mut last_free_retry: Option<Instant> = None;
        let mut dice = SmallRng::seed_from_u64(self.options.jitter_seed.wrapping_add(self.id));
        let mut within = self.options.connect_timeout;
        loop {
            let started = Instant::now();
            let (error, answered) = self.session(within).await;
            let rested = last_free_retry.is_none_or(|at| at.elapsed() >= PAUSE_MIN);
            let retry = answered && rested;
            within = self.options.connect_timeout;
            if retry && error.is_broken() {
                tracing::debug!(member = %self.address, "monitoring connection: {error}; trying once more");
                within = within.min(RETRY_WITHIN);
                self.report(Report::Doubtful).await;
            } else {
                self.report(Report::Lost(error)).await;
            }
            match retry {
                true => last_free_retry = Some(Instant::now()),
                false => self.pause(started, &mut dice).await,
            }
        }
    }

    async fn pause(&self, started: Instant, dice: &mut SmallRng) {
        let least = (started + PAUSE_MIN).max(Instant::now() + PAUSE_MIN / 2);
        let jitter = Duration::from_millis(dice.random_range(0..=JITTER_MAX_MILLIS));
        sleep_until(least).await;
        tokio::select! {
            biased; // one seed, one course of events
            () = sleep_until(least + jitter) => {}
            () = self.requests.asked() => {}
        }
    }

    /// One life of the two connections, of which the first has to answer `within` some time: why it ended, and whether
    /// the server ever answered.
    async fn session(&self, within: Duration) -> (ProbeError, bool) {
        let opening = async {
            let mut probe = self.open().await?;
            self.poll(&mut probe, Instant::now()).await?;
            Ok(probe)
        };
        let late = ProbeError::TimedOut { what: "the first hello", limit: within };
        let probe = match timeout(within, opening).await.unwrap_or(Err(late)) {
            Ok(probe) => probe,
            Err(error) => return (error, false),
        };
        let ended = tokio::select! {
            biased;
            ended = self.poll_on(probe) => ended,
            ended = self.stream() => ended,
        };
        (ended.err().unwrap_or(ProbeError::Closed), true)
    }

    async fn open(&self) -> Result<Probe<D::Stream>, ProbeError> {
        let opening = async {
            let mut probe = Probe::new(self.dial.dial(&self.address).await?);
            probe.handshake().await?;
            Ok(probe)
        };
        self.bounded("the first hello", opening).await
    }

    /// Asks for one hello, which must come within the connect time-out of `last`, the time of the one before.
    async fn poll(&self, probe: &mut Probe<D::Stream>, last: Instant) -> Result<Instant, ProbeError> {
        let (sent, limit) = (Instant::now(), self.options.connect_timeout);
        let answer = timeout_at(last + limit, probe.hello()).await;
        let document = answer.map_err(|_| ProbeError::TimedOut { what: "hello", limit })??;
        self.report_hello(probe.is_legacy(), document, Some(sent)).await?;
        Ok(Instant::now())
    }

    async fn poll_on(&self, mut probe: Probe<D::Stream>) -> Result<(), ProbeError> {
        let mut last = Instant::now();
        loop {
            tokio::select! {
                biased;
                () = sleep_until(last + self.options.poll_interval) => {}
                () = self.requests.asked() => {}
                error = probe.broken() => return Err(error),
            }
            if self.requests.take_config() {
                self.ask_config(&mut probe).await?;
            }
            let due = last.elapsed() >= self.options.poll_interval;
            if self.requests.take_check() && !due {
                sleep_until(last + CHECK_PAUSE).await;
            } else if !due {
                continue;
            }
            last = self.poll(&mut probe, last).await?;
        }
    }

    async fn ask_config(&self, probe: &mut Probe<D::Stream>) -> Result<(), ProbeError> {
        let answer = match self.bounded("replSetGetConfig", probe.replica_set_config()).await {
            Ok(document) => match SetConfig::parse(&document) {
                Ok(config) => ConfigAnswer::Known(config),
                Err(error) => {
                    tracing::warn!(member = %self.address, "configuration not usable: {error}");
                    ConfigAnswer::Refused
                }
            },
            Err(ProbeError::Refused { code, message }) => {
                tracing::debug!(member = %self.address, code, "replSetGetConfig refused: {message}");
                if FINAL_REFUSALS.contains(&code) { ConfigAnswer::Refused } else { ConfigAnswer::Failed }
            }
            Err(error) => return Err(error),
        };
        self.report(Report::Config(answer)).await;
        Ok(())
    }

    /// The streaming connection; for ever idle if the server has no topologyVersion (before 4.4).
    async fn stream(&self) -> Result<(), ProbeError> {
        let mut probe = self.open().await?;
        let document = self.bounded("hello", probe.hello()).await?;
        let mut known = self.report_hello(probe.is_legacy(), document, None).await?;
        let await_millis = i64::try_from(self.options.await_time.as_millis()).unwrap_or(i64::MAX);
        let mut pace = Pace::default();
        loop {
            let Some(version) = known.topology_version else {
                return Err(probe.broken().await);
            };
            self.bounded("hello", probe.stream_hellos(&version, await_millis)).await?;
            let mut more_to_come = true;
            while more_to_come {
                let limit = self.options.await_time + self.options.connect_timeout;
                let next = timeout(limit, probe.next_hello()).await;
                let (document, more) =
                    next.map_err(|_| ProbeError::TimedOut { what: "awaitable hello", limit })??;
                more_to_come = more;
                known = self.report_hello(probe.is_legacy(), document, None).await?;
                sleep_until(pace.next(Instant::now())).await;
            }
        }
    }

    async fn report_hello(
        &self,
        legacy: bool,
        document: Vec<u8>,
        asked: Option<Instant>,
    ) -> Result<ServerDescription, ProbeError> {
        let received = Instant::now();
        let description = ServerDescription::parse(&document)?;
        let known = description.clone();
        let report = HelloReport { document, description, legacy, received, asked };
        self.report(Report::Hello(Box::new(report))).await;
        Ok(known)
    }

    async fn report(&self, report: Report) {
        // Fails only when the driver is gone, and then this task is about to be.
        let _ = self.reports.send((self.id, report)).await;
    }

    async fn bounded<T>(
        &self,
        what: &'static str,
        work: impl Future<Output = Result<T, ProbeError>>,
    ) -> Result<T, ProbeError> {
        let limit = self.options.connect_timeout;
        timeout(limit, work).await.map_err(|_| ProbeError::TimedOut { what, limit })?
    }
}
