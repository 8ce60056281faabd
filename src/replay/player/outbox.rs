//! From the player to the judge: outcomes, in batches. The player never waits for the judge while it keeps to a schedule:
//! when too much is on its way, answers are dropped, and are then not compared.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::time::Duration;

use crate::replay::job::{End, Outcome, Recorded};

/// Bytes on their way from which on answers are dropped.
const BYTES_MAX: usize = 64 << 20;

/// Bytes on their way from which on the player waits, whatever its schedule: memory is finite.
const BYTES_LAST: usize = 4 * BYTES_MAX;

/// Outcomes of one batch.
const BATCH: usize = 128;

/// Bytes that the judge has not dealt with.
pub type Backlog = Arc<AtomicUsize>;

/// The player's end.
#[derive(Debug)]
pub struct Outbox {
    outcomes: Sender<Vec<Outcome>>,
    batch: Vec<Outcome>,
    backlog: Backlog,
    is_judged: bool,
}

impl Outbox {
    /// To the judge that receives `outcomes`, and takes what it dealt with from the backlog.
    pub fn new(outcomes: Sender<Vec<Outcome>>, backlog: Backlog) -> Outbox {
        Outbox { outcomes, batch: Vec::with_capacity(BATCH), backlog, is_judged: true }
    }

    /// Adds an outcome. A player that `may_wait` does so rather than drop an answer.
    pub(super) fn push(&mut self, mut outcome: Outcome, may_wait: bool) {
        let backlog = self.backlog.load(Ordering::Relaxed);
        if backlog > if may_wait { BYTES_MAX } else { BYTES_LAST } {
            self.hand_over(true);
            self.wait(if may_wait { BYTES_MAX } else { BYTES_LAST });
        } else if backlog > BYTES_MAX
            && let End::Answered(answer) = &mut outcome.end
        {
            *answer = None;
        }
        self.backlog.fetch_add(bytes(&outcome), Ordering::Relaxed);
        self.batch.push(outcome);
        self.hand_over(false);
    }

    /// Hands over what there is, `now` or when it is worth it.
    pub(super) fn hand_over(&mut self, now: bool) {
        if self.batch.len() >= BATCH || (now && !self.batch.is_empty()) {
            let batch = std::mem::replace(&mut self.batch, Vec::with_capacity(BATCH));
            // A judge that is gone deals with nothing any more: it must not be waited for.
            self.is_judged &= self.outcomes.send(batch).is_ok();
        }
    }

    fn wait(&self, limit: usize) {
        while self.is_judged && self.backlog.load(Ordering::Relaxed) > limit {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Bytes that an outcome holds, roughly.
pub(crate) fn bytes(outcome: &Outcome) -> usize {
    let answer = match &outcome.end {
        End::Answered(Some(answer)) => answer.len(),
        _ => 0,
    };
    let recorded = outcome.job.recorded.as_ref().map_or(0, Recorded::bytes);
    size_of::<Outcome>() + outcome.job.message.len() + recorded + answer
}
