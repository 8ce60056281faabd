//! The judge: takes the outcomes of jobs, measures, compares, counts. On a thread of its own, so that comparing a large
//! answer delays no send.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::answer::Answer;
use super::compare::{Pair, Verdict, Why, compare};
use super::hash::{Hashing, Map};
use super::job::{End, Job, Outcome, RecordedForm};
use super::player::Backlog;
use super::progress::Progress;
use super::redacted::Redaction;
use super::scorecard::{Scorecard, Skip};
use super::shape;
use super::stats::{Groups, Latencies, Measured, Timeline, histogram};
use super::view::View;
use crate::capture::decode;

/// Differences of one query shape that are listed in full.
const DIFFERENCES_ALIKE_MAX: usize = 5;

/// The same in all.
const DIFFERENCES_MAX: usize = 100;

/// Shapes whose places are remembered: more than there are groups, as those of `other` have places too.
const PLACES_MAX: usize = 100_000;

/// Bytes of a listed answer.
const SHOWN_MAX: usize = 2000;

/// One answer that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// The connection in the capture.
    pub connection: u64,
    /// When it was sent in the capture, milliseconds since its first record.
    pub at_ms: u64,
    /// `db.collection`.
    pub namespace: String,
    /// The query's shape.
    pub shape: String,
    /// Where they differ.
    pub what: String,
    /// It raced with a write of another connection when it was captured: it may differ though nothing is wrong.
    pub racing: bool,
    /// The request.
    pub request: String,
    /// The recorded answer, if the capture has it.
    pub recorded: String,
    /// The answer of now.
    pub replayed: String,
}

/// What comparing found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answers {
    /// They say the same.
    pub equal: u64,
    /// They agree in what is known of the recorded one.
    pub equal_facts: u64,
    /// They differ.
    pub different: u64,
    /// Those of them that raced with a write of another connection when they were captured.
    pub racing: u64,
    /// Not comparable, by [`Why`].
    pub not_comparable: [u64; Why::ALL.len()],
    /// The first that differ.
    pub differences: Vec<Difference>,
}

/// All that the judge knows at the end.
#[derive(Debug)]
pub struct Judged {
    /// What became of the jobs.
    pub card: Scorecard,
    /// Of all operations.
    pub overall: Latencies,
    /// By command.
    pub commands: Groups,
    /// By collection.
    pub collections: Groups,
    /// By query shape.
    pub shapes: Groups,
    /// Over time.
    pub timeline: Timeline,
    /// How late torana itself sent what could have been sent, microseconds.
    pub own_lag: hdrhistogram::Histogram<u64>,
    /// How late operations were sent, whatever held them up, microseconds.
    pub behind: hdrhistogram::Histogram<u64>,
    /// Answers compared.
    pub answers: Answers,
    /// When the last outcome came, nanoseconds since the replay began.
    pub last: u64,
    /// When the first job was sent.
    pub first_sent: Option<u64>,
    hashing: Hashing,
    /// Of the shapes that were seen: where command, collection and shape have their places.
    places: Map<u64, [usize; 3]>,
    is_paced: bool,
    redaction: Redaction,
}

impl Judged {
    /// Nothing so far. Only what `is_paced` is ever late.
    pub fn new(is_paced: bool, redaction: Redaction) -> Judged {
        Judged {
            card: Scorecard::default(),
            overall: Latencies::new(3),
            commands: Groups::default(),
            collections: Groups::default(),
            shapes: Groups::default(),
            timeline: Timeline::default(),
            own_lag: histogram(3),
            behind: histogram(3),
            answers: Answers::default(),
            last: 0,
            first_sent: None,
            hashing: Hashing::default(),
            places: Map::default(),
            is_paced,
            redaction,
        }
    }

    /// Takes outcomes until there are no more.
    pub fn run(
        mut self,
        outcomes: &Receiver<Vec<Outcome>>,
        backlog: &Backlog,
        mut progress: Progress,
    ) -> Judged {
        loop {
            match outcomes.recv_timeout(Duration::from_millis(200)) {
                Ok(batch) => {
                    for outcome in batch {
                        let bytes = super::player::bytes(&outcome);
                        self.take(&outcome);
                        backlog.fetch_sub(bytes, Ordering::Relaxed);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self,
            }
            progress.show(&self.card, &self.overall, &self.behind);
        }
    }

    /// Takes one outcome.
    pub fn take(&mut self, outcome: &Outcome) {
        self.last = self.last.max(outcome.done);
        match &outcome.end {
            End::Ended => return self.card.skip(Skip::Ended),
            End::Unmatched => self.card.unmatched += 1,
            End::Failed(why) => self.card.fail(*why),
            End::Answered(_) | End::Unanswered => self.card.sent += 1,
        }
        let view = View::of(&outcome.job.message).ok();
        let answer = match &outcome.end {
            End::Answered(Some(message)) => Answer::read(message),
            _ => None,
        };
        let verdict = view.and_then(|view| verdict(&view, outcome, answer, &self.redaction));
        self.count(&verdict, view.as_ref(), outcome);
        let measured = self.measure(outcome, answer, &verdict);
        let lag = self.lag(outcome);
        self.timeline.add(outcome.done, &measured, lag);
        self.add(view.as_ref(), &measured);
    }

    /// Takes a job of a dry run: it would have been sent.
    pub fn plan(&mut self, job: &Job) {
        self.card.sent += 1;
        let view = View::of(&job.message).ok();
        let recorded = job.recorded.as_ref().map(|recorded| recorded.latency);
        let measured = Measured { sent: None, due: None, recorded, is_error: false, is_different: false };
        self.add(view.as_ref(), &measured);
    }

    fn add(&mut self, view: Option<&View<'_>>, measured: &Measured) {
        self.overall.add(measured);
        if let Some(view) = view {
            let [command, collection, shape] = self.places_of(view);
            self.commands.add(command, measured);
            self.collections.add(collection, measured);
            self.shapes.add(shape, measured);
        }
    }

    /// The places of an operation's groups. Most are of a shape that was seen before.
    fn places_of(&mut self, view: &View<'_>) -> [usize; 3] {
        let number = shape::number(view, &self.hashing);
        if let Some(places) = self.places.get(&number) {
            return *places;
        }
        let places = [
            self.commands.place(&String::from_utf8_lossy(view.name())),
            self.collections.place(&view.namespace()),
            self.shapes.place(&shape::text(view)),
        ];
        if self.places.len() >= PLACES_MAX {
            self.places.clear();
        }
        self.places.insert(number, places);
        places
    }

    fn measure(&self, outcome: &Outcome, answer: Option<Answer>, verdict: &Option<Verdict>) -> Measured {
        let since = |from: u64| outcome.done.saturating_sub(from);
        let is_answered = matches!(outcome.end, End::Answered(_));
        let is_failed = matches!(outcome.end, End::Failed(_) | End::Unmatched);
        Measured {
            sent: is_answered.then(|| since(outcome.sent)),
            due: (is_answered && self.is_paced).then(|| since(outcome.due)),
            recorded: outcome.job.recorded.as_ref().map(|recorded| recorded.latency),
            is_error: is_failed || answer.is_some_and(|answer| answer.is_error()),
            is_different: matches!(verdict, Some(Verdict::Different(_))),
        }
    }

    fn lag(&mut self, outcome: &Outcome) -> u64 {
        if outcome.sent == 0 {
            return 0;
        }
        self.first_sent = Some(self.first_sent.map_or(outcome.sent, |first| first.min(outcome.sent)));
        if !self.is_paced {
            return 0;
        }
        let own = outcome.sent.saturating_sub(outcome.ready);
        let behind = outcome.sent.saturating_sub(outcome.due);
        self.own_lag.saturating_record((own / 1000).max(1));
        self.behind.saturating_record((behind / 1000).max(1));
        own
    }

    fn count(&mut self, verdict: &Option<Verdict>, view: Option<&View<'_>>, outcome: &Outcome) {
        match verdict {
            None => {}
            Some(Verdict::Equal) => self.answers.equal += 1,
            Some(Verdict::EqualFacts) => self.answers.equal_facts += 1,
            Some(Verdict::NotComparable(why)) => self.answers.not_comparable[*why as usize] += 1,
            Some(Verdict::Different(what)) => {
                self.answers.different += 1;
                self.answers.racing += u64::from(outcome.job.is_racing);
                if self.answers.differences.len() < DIFFERENCES_MAX {
                    self.list(what, view, outcome);
                }
            }
        }
    }

    fn list(&mut self, what: &str, view: Option<&View<'_>>, outcome: &Outcome) {
        let shape = view.map(shape::text).unwrap_or_default();
        // One shape must not keep the others out.
        let alike = self.answers.differences.iter().filter(|one| one.shape == shape).count();
        if alike < DIFFERENCES_ALIKE_MAX {
            let difference = self.difference(what, shape, outcome);
            self.answers.differences.push(difference);
        }
    }

    fn difference(&self, what: &str, shape: String, outcome: &Outcome) -> Difference {
        let job = &outcome.job;
        let recorded = job.recorded.as_ref();
        let recorded = recorded.map(|recorded| match &recorded.form {
            RecordedForm::Whole(message) => show(&self.redaction, message),
            _ => format!("(not kept) code {}, {} documents", recorded.code, recorded.documents),
        });
        let replayed = match &outcome.end {
            End::Answered(Some(message)) => show(&self.redaction, message),
            _ => String::new(),
        };
        Difference {
            connection: job.connection.number,
            at_ms: job.time / 1_000_000,
            namespace: View::of(&job.message).map(|view| view.namespace()).unwrap_or_default(),
            shape,
            what: what.to_owned(),
            racing: job.is_racing,
            request: show(&self.redaction, &job.message),
            recorded: recorded.unwrap_or_default(),
            replayed,
        }
    }
}

/// Compares an outcome's answer; `None` if it failed, or needed what does not exist.
fn verdict(
    view: &View<'_>,
    outcome: &Outcome,
    answer: Option<Answer>,
    redaction: &Redaction,
) -> Option<Verdict> {
    let none = |why| Some(Verdict::NotComparable(why));
    match (&outcome.end, &outcome.job.recorded) {
        (End::Answered(_), None) => none(Why::NotRecorded),
        (End::Answered(None), _) => none(Why::Behind),
        (End::Unanswered, _) => none(Why::Unanswered),
        (End::Answered(Some(reply)), Some(recorded)) => {
            Some(compare(view, &Pair { request: &outcome.job.message, reply, answer, recorded, redaction }))
        }
        _ => None,
    }
}

/// The documents of a message as text, cut at a limit.
fn show(redaction: &Redaction, message: &[u8]) -> String {
    let mut text = String::new();
    for document in super::view::documents_of(message) {
        // Secrets of the target's are no part of a report.
        match decode::document(&redaction.without_secrets(document)) {
            Ok(document) => text.push_str(&document.to_string()),
            Err(error) => text.push_str(&format!("({error})")),
        }
        text.push(' ');
        if text.len() > SHOWN_MAX {
            break;
        }
    }
    let mut end = text.len().min(SHOWN_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    if end < text.len() {
        text.truncate(end);
        text.push('…');
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::doc;

    #[test]
    fn what_is_shown_of_a_targets_answer_has_no_secrets() {
        let user = doc! { "cursor": { "firstBatch": [{ "name": "n", "_session_token": "r:s3cret" }], "id": 0i64 }, "ok": 1.0 };
        let body = bson::serialize_to_vec(&user).unwrap();
        let shown = show(
            &Redaction::of(None),
            &crate::wire::OpMsgBuilder::message(1, 2, crate::wire::MsgFlags(0), &body),
        );
        assert!(!shown.contains("r:s3cret"), "{shown}");
    }
}
