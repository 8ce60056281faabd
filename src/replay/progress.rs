//! A line on standard error while a replay runs: once a second on a terminal, over itself; every ten seconds elsewhere.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::scorecard::Scorecard;
use super::stats::Latencies;

/// How far a replay is, shared by its threads.
#[derive(Debug, Default)]
pub struct Position {
    /// The time in the capture up to which was planned, nanoseconds since its first record, all passes counted.
    pub planned: AtomicU64,
}

/// The line.
#[derive(Debug)]
pub struct Progress {
    position: Arc<Position>,
    /// All passes of the capture, nanoseconds.
    whole: u64,
    speed: super::schedule::Speed,
    run_for: Option<Duration>,
    began: Instant,
    next: Instant,
    before: (Instant, u64),
    is_terminal: bool,
    is_quiet: bool,
}

impl Progress {
    /// Of a replay of a capture of `whole` nanoseconds.
    pub fn new(
        position: Arc<Position>,
        whole: u64,
        speed: super::schedule::Speed,
        run_for: Option<Duration>,
        is_quiet: bool,
    ) -> Progress {
        let began = Instant::now();
        let is_terminal = std::io::stderr().is_terminal();
        Progress {
            position,
            whole,
            speed,
            run_for,
            began,
            next: began,
            before: (began, 0),
            is_terminal,
            is_quiet,
        }
    }

    /// Shows the line if it is time.
    pub fn show(&mut self, card: &Scorecard, overall: &Latencies, behind: &Histogram<u64>) {
        let now = Instant::now();
        if self.is_quiet || now < self.next {
            return;
        }
        self.next = now + Duration::from_secs(if self.is_terminal { 1 } else { 10 });
        let over = card.sent + card.failed_total() + card.unmatched;
        let seconds = now.duration_since(self.before.0).as_secs_f64().max(0.001);
        let rate = (over - self.before.1) as f64 / seconds;
        self.before = (now, over);
        let percent = overall.sent.value_at_quantile(0.99) as f64 / 1000.0;
        let late = behind.max() as f64 / 1000.0;
        let line = format!(
            "{over} operations, {rate:.0}/s, p99 {percent:.1} ms, late by at most {late:.1} ms, {} errors, {}",
            overall.errors,
            self.left(now)
        );
        let mut stderr = std::io::stderr().lock();
        let end = if self.is_terminal { "\x1b[K\r" } else { "\n" };
        let _ = write!(stderr, "{line}{end}");
        let _ = stderr.flush();
    }

    fn left(&self, now: Instant) -> String {
        let elapsed = now.duration_since(self.began);
        let by_clock = self.run_for.map(|limit| limit.saturating_sub(elapsed));
        let planned = self.position.planned.load(Ordering::Relaxed).min(self.whole);
        let by_capture = match self.speed.due(self.whole) {
            Some(end) => Some(Duration::from_nanos(end).saturating_sub(elapsed)),
            None if planned > 0 => {
                let rest = (self.whole - planned) as f64 / planned as f64;
                Some(elapsed.mul_f64(rest.min(1e6)))
            }
            None => None,
        };
        match [by_clock, by_capture].into_iter().flatten().min() {
            Some(left) => format!("{} s left", left.as_secs()),
            None => "starting".to_owned(),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_terminal && !self.is_quiet {
            eprintln!();
        }
    }
}
