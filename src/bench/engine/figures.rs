//! What is measured while it is sent. To add an operation takes no memory.

use super::client::InFlight;
use crate::capture::decode;
use crate::replay::scorecard::{Failure, Scorecard};
use crate::replay::stats::{Latencies, Measured, Timeline, histogram};
use crate::replay::view::documents_of;

/// Bytes of an error's text that are kept.
const ERROR_MAX: usize = 300;

/// Figures of a run.
#[derive(Debug)]
pub struct Figures {
    /// What became of the operations.
    pub card: Scorecard,
    /// Of all operations.
    pub overall: Latencies,
    /// By kind.
    pub kinds: Vec<Latencies>,
    /// The first error of each kind, in words.
    pub first_errors: Vec<Option<String>>,
    /// Over time.
    pub timeline: Timeline,
    /// How late torana itself sent what could have been sent, microseconds.
    pub own_lag: hdrhistogram::Histogram<u64>,
    /// How late operations were sent, whatever held them up, microseconds.
    pub behind: hdrhistogram::Histogram<u64>,
    /// When the last operation was over, nanoseconds since the run began.
    pub last: u64,
    /// When the first was sent.
    pub first_sent: Option<u64>,
    /// Batches that were read beyond the first of each cursor.
    pub further_batches: u64,
    /// Clients that had a connection when it began.
    pub connected: usize,
    is_paced: bool,
}

impl Figures {
    /// Of so many kinds of operations. Only what `is_paced` is ever late.
    pub fn new(kinds: usize, is_paced: bool) -> Figures {
        Figures {
            card: Scorecard::default(),
            overall: Latencies::new(3),
            kinds: (0..kinds).map(|_| Latencies::new(2)).collect(),
            first_errors: vec![None; kinds],
            timeline: Timeline::default(),
            own_lag: histogram(3),
            behind: histogram(3),
            last: 0,
            first_sent: None,
            further_batches: 0,
            connected: 0,
            is_paced,
        }
    }

    pub(super) fn answered(&mut self, operation: &InFlight, done: u64, is_error: bool) {
        self.card.sent += 1;
        let measured = Measured {
            sent: Some(done.saturating_sub(operation.sent)),
            due: self.is_paced.then(|| done.saturating_sub(operation.due)),
            recorded: None,
            is_error,
            is_different: false,
        };
        self.add(operation, done, &measured);
    }

    pub(super) fn failed(&mut self, operation: &InFlight, why: Failure, done: u64) {
        self.card.fail(why);
        if let Some(first) = self.first_errors.get_mut(operation.kind) {
            first.get_or_insert_with(|| why.text().to_owned());
        }
        let measured =
            Measured { sent: None, due: None, recorded: None, is_error: true, is_different: false };
        self.add(operation, done, &measured);
    }

    fn add(&mut self, operation: &InFlight, done: u64, measured: &Measured) {
        let own = operation.sent.saturating_sub(operation.ready);
        if self.is_paced {
            self.own_lag.saturating_record((own / 1000).max(1));
            let behind = operation.sent.saturating_sub(operation.due);
            self.behind.saturating_record((behind / 1000).max(1));
        }
        self.overall.add(measured);
        if let Some(kind) = self.kinds.get_mut(operation.kind) {
            kind.add(measured);
        }
        self.timeline.add(done, measured, if self.is_paced { own } else { 0 });
        self.last = self.last.max(done);
        self.first_sent = Some(self.first_sent.map_or(operation.sent, |first| first.min(operation.sent)));
    }

    /// Keeps the first error of each kind.
    pub(super) fn note_error(&mut self, kind: usize, message: &[u8]) {
        let Some(first @ None) = self.first_errors.get_mut(kind) else { return };
        let body = documents_of(message).first().map(|body| decode::document(body));
        let mut text = match body {
            Some(Ok(body)) => error_of(&body),
            _ => "an error that cannot be read".to_owned(),
        };
        let mut end = text.len().min(ERROR_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        *first = Some(text);
    }
}

/// `code 11000: E11000 duplicate key ...`, of the command or of its first write.
fn error_of(body: &bson::Document) -> String {
    let write = body.get_array("writeErrors").ok().and_then(|errors| errors.first()?.as_document());
    let concern = body.get_document("writeConcernError").ok();
    let error = write.or(concern).unwrap_or(body);
    let code = error.get_i32("code").unwrap_or_default();
    format!("code {code}: {}", error.get_str("errmsg").unwrap_or("no text"))
}
