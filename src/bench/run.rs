//! One bench from its options to its report: looks at the target, loads, runs as often as asked, cleans up.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::data::{Allowed, Data, DataError};
use super::engine::{Engine, Figures, Settings};
use super::pace::Pace;
use super::report;
use super::source::{Documents, Operations};
use super::workload::{Load, Workload};
use crate::config::ConnectionString;
use crate::replay::Report;
use crate::replay::player::Ended;
use crate::replay::progress::{Position, Progress};
use crate::replay::schedule::Speed;
use crate::replay::target::{Target, TargetError};

/// How long a connection attempt may take, if the connection string does not say.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// How long an answer may take, if the connection string does not say: operations of minutes are real.
const REPLY_LIMIT: Duration = Duration::from_secs(600);

/// Connections that load, at most: more do not make it faster.
const LOADERS: usize = 8;

/// What to run, and where.
#[derive(Debug)]
pub struct Options {
    /// The file's name, for the report.
    pub file: String,
    /// What it says.
    pub workload: Workload,
    /// Against what.
    pub to: ConnectionString,
    /// What may be done to the target's data.
    pub allowed: Allowed,
    /// How often.
    pub repeat: u32,
    /// No progress is shown.
    pub quiet: bool,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// There is no target.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// Its data are not what a run can begin with.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The system refuses what a run needs.
    #[error("the run cannot begin: {0}")]
    Io(#[from] io::Error),
    /// The load failed.
    #[error("{namespace} could not be loaded: {why}{said}")]
    Load {
        /// Of which collection.
        namespace: String,
        /// Why.
        why: String,
        /// What became of what was loaded.
        said: String,
    },
    /// It went wrong when the data were there.
    #[error("{error}{said}")]
    Broken {
        /// What went wrong.
        error: Box<BenchError>,
        /// What became of the data.
        said: String,
    },
}

/// Runs, and reports. When `interrupted` is set, it ends soon, with a report of what was done.
pub fn run(options: &Options, interrupted: &Arc<AtomicBool>) -> Result<Report, BenchError> {
    let target = Target::find(&options.to)?;
    let (_, address) = *target.members.first().ok_or_else(|| TargetError::NoPrimary(String::new()))?;
    let bench = Bench { options, address, interrupted };
    let mut data = bench.prepare()?;
    let missing = data.missing();
    let reports = bench.measure_repeatedly(&target, &mut data);
    let left = data.clean_up();
    let mut reports = match reports {
        Ok(reports) => reports.into_iter(),
        Err(error) => return Err(BenchError::Broken { error: Box::new(error), said: joined(&left) }),
    };
    let mut report = reports.next().unwrap_or_default();
    report.repeats = reports.collect();
    report.notes.extend(missing.into_iter().chain(left));
    Ok(report)
}

/// Further sentences behind an error.
fn joined(lines: &[String]) -> String {
    lines.iter().map(|line| format!("; {line}")).collect()
}

struct Bench<'o> {
    options: &'o Options,
    address: SocketAddr,
    interrupted: &'o Arc<AtomicBool>,
}

impl<'o> Bench<'o> {
    /// Runs as often as asked, each time with data of its own, if they are its own at all.
    fn measure_repeatedly(&self, target: &Target, data: &mut Data<'o>) -> Result<Vec<Report>, BenchError> {
        let workload = &self.options.workload;
        let mut next = self.next_number(data)?;
        let mut reports = Vec::new();
        for turn in 0..self.options.repeat {
            if turn > 0 && data.is_all_made() && !workload.written().is_empty() {
                data.clean_up();
                *data = self.prepare()?;
                next = self.next_number(data)?;
            }
            let (figures, ended) = self.measure(&mut next)?;
            let mut report = report::of(self.options, target, figures, &ended);
            if turn > 0 && !data.is_all_made() && !workload.written().is_empty() {
                report.notes.push("it met the data that the run before had left".to_owned());
            }
            reports.push(report);
            if self.interrupted.load(Ordering::Relaxed) || ended != Ended::Whole {
                break;
            }
        }
        Ok(reports)
    }

    /// Makes the data that a run begins with.
    fn prepare(&self) -> Result<Data<'o>, BenchError> {
        let Options { workload, allowed, .. } = self.options;
        let mut data = Data::prepare(self.address, workload, *allowed)?;
        let Some(load) = workload.load.as_ref().filter(|_| !allowed.no_load) else { return Ok(data) };
        match self.load(load, &data) {
            Ok(()) => Ok(data),
            Err(why) => {
                let said = joined(&data.clean_up());
                let namespace = format!("{}.{}", workload.database, load.collection);
                Err(BenchError::Load { namespace, why, said })
            }
        }
    }

    fn load(&self, load: &Load, data: &Data<'_>) -> Result<(), String> {
        let workload = &self.options.workload;
        let mut source = Documents::new(workload, load);
        let batch = source.batch();
        let settings = Settings {
            clients: workload.run.clients.min(LOADERS),
            operations: Some(source.batches()),
            stops_at_error: true,
            ..self.settings()
        };
        let began = Instant::now();
        let mut next = Duration::from_secs(1);
        let mut show = |figures: &Figures| {
            if began.elapsed() >= next && !self.options.quiet {
                next = began.elapsed() + Duration::from_secs(if next.as_secs() < 10 { 1 } else { 10 });
                let done = (figures.card.sent * batch).min(load.documents);
                eprintln!("loaded {done} of {} documents", load.documents);
            }
        };
        let engine = Engine::new(settings, &mut source, 1, self.interrupted.clone());
        let (figures, ended) = engine.and_then(|engine| engine.run(&mut show)).map_err(|e| e.to_string())?;
        match (figures.first_errors.into_iter().flatten().next(), ended) {
            (Some(error), _) | (None, Ended::Lost(error)) => return Err(error),
            (None, Ended::Stopped | Ended::TimeUp) => return Err("it was stopped".to_owned()),
            (None, Ended::Whole) => {}
        }
        data.index().map_err(|error| error.to_string())?;
        if !self.options.quiet {
            let seconds = began.elapsed().as_secs_f64();
            eprintln!("loaded {} documents and built indexes in {seconds:.1} s", load.documents);
        }
        Ok(())
    }

    /// The first number that no document has.
    fn next_number(&self, data: &Data<'_>) -> Result<i64, BenchError> {
        let documents = self.options.workload.load.as_ref().map_or(0, |load| load.documents);
        Ok(data.next_number(i64::try_from(documents).unwrap_or(i64::MAX))?)
    }

    fn measure(&self, next: &mut i64) -> Result<(Figures, Ended), BenchError> {
        let workload = &self.options.workload;
        let plan = workload.run;
        let settings = Settings {
            pace: plan.rate.map(|rate| Pace::new(rate, plan.ramp)),
            ramp: plan.ramp,
            time: plan.time,
            operations: plan.operations,
            ..self.settings()
        };
        let mut source = Operations::new(workload, *next);
        let position = Arc::new(Position::default());
        let whole = plan.operations.unwrap_or(0);
        let mut progress = Progress::new(position.clone(), whole, Speed::Max, plan.time, self.options.quiet);
        let mut show = |figures: &Figures| {
            position.planned.store(figures.card.captured, Ordering::Relaxed);
            progress.show(&figures.card, &figures.overall, &figures.behind);
        };
        let kinds = workload.operations.len();
        let measured = Engine::new(settings, &mut source, kinds, self.interrupted.clone())?.run(&mut show)?;
        *next = source.next_number();
        Ok(measured)
    }

    /// A closed loop of all clients, without an end.
    fn settings(&self) -> Settings {
        let to = &self.options.to;
        Settings {
            address: self.address,
            clients: self.options.workload.run.clients,
            pace: None,
            ramp: Duration::ZERO,
            time: None,
            operations: None,
            stops_at_error: false,
            connect_limit: to.connect_timeout.unwrap_or(CONNECT_LIMIT),
            reply_limit: to.socket_timeout.flatten().unwrap_or(REPLY_LIMIT),
        }
    }
}
