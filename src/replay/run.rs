//! One replay from its options to its report: starts the threads, and puts together what they counted.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use super::job::Item;
use super::judge::Judged;
use super::plan::Rules;
use super::planner::Planner;
use super::player::{Ended, Outbox, PlayOptions, Player, Stops, inbox};
use super::progress::{Position, Progress};
use super::redacted::Redaction;
use super::report::{CaptureInfo, Circumstances, Report, TargetInfo};
use super::schedule::Speed;
use super::scorecard::Scorecard;
use super::source::{Damage, Source};
use super::target::{Target, TargetError};
use crate::capture::file::records;
use crate::capture::{CaptureError, Head};
use crate::config::ConnectionString;

/// Items of a batch to the player, and bytes of its jobs.
const BATCH: usize = 256;
const BATCH_BYTES: usize = 1 << 20;

/// How long a connection attempt may take, if the connection string does not say.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// How long an answer may take, if the connection string does not say: operations of minutes are real.
const REPLY_LIMIT: Duration = Duration::from_secs(600);

/// What to replay, where and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// The capture: a folder, or one file.
    pub capture: PathBuf,
    /// Against what; `None` is a dry run.
    pub to: Option<ConnectionString>,
    /// How fast.
    pub speed: Speed,
    /// Open connections, at most.
    pub concurrency: usize,
    /// How often.
    pub loops: u32,
    /// When to stop.
    pub run_for: Option<Duration>,
    /// What is sent.
    pub rules: Rules,
    /// Writes may go to the set that they were captured from, or to one of which that is not known.
    pub same_set: bool,
    /// No progress is shown.
    pub quiet: bool,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The capture cannot be read at all.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// There is no target, or it must not get the capture's writes.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The system refuses what a replay needs.
    #[error("the replay cannot run: {0}")]
    Io(#[from] io::Error),
    /// One of its threads ended in a panic: a defect of torana's.
    #[error("the replay broke off: its {0} failed")]
    Thread(&'static str),
}

/// What the planner knows at the end.
struct Planned {
    card: Scorecard,
    damage: Damage,
    secondaries: u64,
}

/// Replays, and reports. When `interrupted` is set, it ends soon, with a report of what was done.
pub fn run(options: &Options, interrupted: &Arc<AtomicBool>) -> Result<Report, ReplayError> {
    let source = Source::open(&options.capture)?;
    let (from, to) = source.span();
    let length = to - from;
    let mut circumstances = circumstances(options, &source, length);
    let target = match &options.to {
        Some(uri) => {
            let target = Target::find(uri)?;
            if options.rules.writes && !options.same_set {
                target.check_other_set(source.replica_set_id())?;
            }
            Some(target)
        }
        None => None,
    };
    let redaction = Redaction::of(source.head());
    let judged = Judged::new(options.speed != Speed::Max && target.is_some(), redaction);
    let planner = Planner::new(options.rules.clone(), from);
    let (mut judged, planned, ended) = match &target {
        Some(target) => play(options, source, (planner, judged), target, length, interrupted)?,
        None => {
            let (judged, planned) = plan_only(options, source, (planner, judged), length, interrupted);
            (judged, planned, if interrupted.load(Ordering::Relaxed) { Ended::Stopped } else { Ended::Whole })
        }
    };
    judged.card.add(&planned.card);
    finish(&mut circumstances, &planned, target.as_ref(), &ended);
    Ok(Report::new(judged, circumstances))
}

fn circumstances(options: &Options, source: &Source, length: u64) -> Circumstances {
    let head = source.head();
    let mut notes = Vec::new();
    if let Some(Head { sample, selection, redact, .. }) = head {
        if *sample > 1 {
            notes.push(format!(
                "the capture holds one of {sample} connections: the real load was as many times higher"
            ));
        }
        if !selection.is_empty() {
            notes.push(format!("the capture holds a selection: {selection}"));
        }
        if redact == "values" {
            notes.push(
                "values were replaced in the capture: queries may find other documents than they did".into(),
            );
        }
    }
    if options.rules.writes && options.loops > 1 {
        notes.push(
            "writes are made again in each pass: inserts with the same _id fail from the second on".into(),
        );
    }
    let capture = CaptureInfo {
        path: options.capture.display().to_string(),
        set: head.map(|head| head.set.clone()).unwrap_or_default(),
        started: head.and_then(|head| head.started.try_to_rfc3339_string().ok()).unwrap_or_default(),
        seconds: length as f64 / 1e9,
        loops: options.loops,
        damaged_blocks: 0,
        damaged_records: 0,
    };
    Circumstances { capture, speed: options.speed.to_string(), notes, ..Circumstances::default() }
}

fn finish(circumstances: &mut Circumstances, planned: &Planned, target: Option<&Target>, ended: &Ended) {
    circumstances.capture.damaged_blocks = planned.damage.blocks;
    circumstances.capture.damaged_records = planned.damage.records;
    circumstances.notes.extend(planned.damage.notes.iter().cloned());
    if planned.card.captured == 0 {
        circumstances.notes.push("the capture holds no requests".to_owned());
    }
    if planned.secondaries > 0 && target.is_some_and(|target| target.members.len() == 1) {
        let note = format!(
            "{} connections were to secondaries, of which the target has none that answers: the primary took their part",
            planned.secondaries
        );
        circumstances.notes.push(note);
    }
    circumstances.target = target.map(|target| TargetInfo {
        members: target.members.iter().map(|(name, _)| name.clone()).collect(),
        version: target.version.clone(),
    });
    circumstances.whole = *ended == Ended::Whole;
    circumstances.ended = match ended {
        Ended::Whole => "the whole capture was played".to_owned(),
        Ended::Stopped => "stopped before its end: only what was read of the capture is counted".to_owned(),
        Ended::TimeUp => "ended as its time was up: only what was read of the capture is counted".to_owned(),
        Ended::Lost(why) => {
            format!("ended before its time: {why}; only what was read of the capture is counted")
        }
    };
}

type Played = (Judged, Planned, Ended);

fn play(
    options: &Options,
    source: Source,
    (planner, judged): (Planner, Judged),
    target: &Target,
    length: u64,
    interrupted: &Arc<AtomicBool>,
) -> Result<Played, ReplayError> {
    let (sender, inbox) = inbox()?;
    let (outcomes, judging) = channel();
    let backlog = Arc::new(AtomicUsize::new(0));
    let done_below = Arc::new(AtomicU64::new(0));
    let position = Arc::new(Position::default());
    let whole = length.saturating_mul(u64::from(options.loops));
    let progress = Progress::new(position.clone(), whole, options.speed, options.run_for, options.quiet);
    let to = options.to.as_ref();
    let play_options = PlayOptions {
        speed: options.speed,
        concurrency: options.concurrency,
        connect_limit: to.and_then(|uri| uri.connect_timeout).unwrap_or(CONNECT_LIMIT),
        reply_limit: to.and_then(|uri| uri.socket_timeout.flatten()).unwrap_or(REPLY_LIMIT),
        run_for: options.run_for,
    };
    let outbox = Outbox::new(outcomes, backlog.clone());
    let stop = Arc::new(AtomicBool::new(false));
    let stops = Stops { interrupted: interrupted.clone(), stop: stop.clone() };
    let player = Player::new(play_options, target, inbox, outbox, stops, done_below.clone())?;
    let course = Course { loops: options.loops, length, stop: stop.clone(), done_below, position };
    std::thread::scope(|scope| {
        let planning =
            scope.spawn(move || course.plan(source, planner, |batch| sender.send(std::mem::take(batch))));
        let judging = scope.spawn(move || judged.run(&judging, &backlog, progress));
        let ended = player.run();
        // Whatever the player ended of, the planner has nothing left to do.
        if ended.is_err() {
            stop.store(true, Ordering::Relaxed);
        }
        let planned = planning.join().map_err(|_| ReplayError::Thread("planner"))?;
        let judged = judging.join().map_err(|_| ReplayError::Thread("judge"))?;
        Ok((judged, planned, ended?))
    })
}

fn plan_only(
    options: &Options,
    source: Source,
    (planner, mut judged): (Planner, Judged),
    length: u64,
    interrupted: &Arc<AtomicBool>,
) -> (Judged, Planned) {
    let course = Course {
        loops: options.loops,
        length,
        stop: interrupted.clone(),
        done_below: Arc::default(),
        position: Arc::default(),
    };
    let done_below = course.done_below.clone();
    let planned = course.plan(source, planner, |batch| {
        for item in batch.drain(..) {
            if let Item::Job(job) = item {
                judged.plan(&job);
                // Nobody waits for anything here: what was touched can be forgotten.
                done_below.store(job.number + 1, Ordering::Relaxed);
            }
        }
        true
    });
    (judged, planned)
}

/// The way through the capture.
struct Course {
    loops: u32,
    length: u64,
    stop: Arc<AtomicBool>,
    done_below: Arc<AtomicU64>,
    position: Arc<Position>,
}

impl Course {
    /// Plans all passes, and hands the items on in batches, until there is nobody who takes them.
    fn plan(
        &self,
        mut source: Source,
        mut planner: Planner,
        mut hand_on: impl FnMut(&mut Vec<Item>) -> bool,
    ) -> Planned {
        let mut out = Vec::new();
        let mut damage = Damage::default();
        let mut goes_on = true;
        for lap in 0..self.loops {
            if lap > 0 {
                source.rewind();
                planner.next_lap(self.length, &mut out);
            }
            while let Some(block) = source.next_block().filter(|_| goes_on) {
                goes_on = self.plan_block(&block, &mut planner, &mut out, &mut hand_on);
            }
            if lap == 0 {
                damage = source.damage().clone();
            }
            if !goes_on {
                break;
            }
        }
        if goes_on {
            planner.finish(&mut out);
        } else {
            planner.abandon();
        }
        hand_on(&mut out);
        Planned { card: planner.card().clone(), damage, secondaries: planner.secondaries() }
    }

    /// False if the replay is to end.
    fn plan_block(
        &self,
        block: &[u8],
        planner: &mut Planner,
        out: &mut Vec<Item>,
        hand_on: &mut impl FnMut(&mut Vec<Item>) -> bool,
    ) -> bool {
        planner.done_below(self.done_below.load(Ordering::Relaxed));
        let mut bytes = 0;
        let mut counted = 0;
        for record in records(block) {
            planner.record(&record, out);
            bytes += out.iter().skip(counted).map(size_of_item).sum::<usize>();
            counted = out.len();
            if out.len() >= BATCH || bytes >= BATCH_BYTES {
                if self.stop.load(Ordering::Relaxed) || !hand_on(out) {
                    return false;
                }
                self.position.planned.store(planner.schedule_time(record.time), Ordering::Relaxed);
                (bytes, counted) = (0, 0);
            }
        }
        // What is due soon must not wait for a batch to be full.
        let takes = out.is_empty() || hand_on(out);
        takes && !self.stop.load(Ordering::Relaxed)
    }
}

fn size_of_item(item: &Item) -> usize {
    match item {
        Item::Job(job) => job.bytes(),
        Item::Open(_) | Item::Close(_) => 64,
    }
}
