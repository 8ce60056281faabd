//! What the second set's answer comes to: the rules are those of a replay, which compares a recorded answer with a new one.

use std::mem;
use std::time::Duration;

use super::pending::Read;
use crate::metrics::ShadowOutcome;
use crate::replay::answer::Answer;
use crate::replay::compare::{Pair, Verdict, compare};
use crate::replay::job::{Recorded, RecordedForm};
use crate::replay::redacted::Redaction;
use crate::replay::shape;
use crate::replay::view::View;

/// When a read whose answers differ is asked again: a set that is fed from the first one may be behind it by so much.
pub const AGAIN_AFTER: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(2)];

/// A write so long before a read may show in one answer and not yet in the other.
pub const RACES_WITHIN: Duration = Duration::from_secs(2);

/// `MaxTimeMSExpired`.
const TIME_EXPIRED: i32 = 50;

/// What two answers come to, by themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// They say the same.
    Equal,
    /// They differ, here.
    Different(String),
    /// The second set gave an error, the first an answer.
    ErrorThere(String),
    /// The first set gave an error, the second an answer.
    ErrorHere(String),
    /// The second set gave up by the time limit, the first did not.
    TooSlow,
    /// They cannot be compared.
    NotComparable,
}

/// Compares the answer of the second set to `read` with that of the first.
pub fn judge(read: &mut Read, answer: &[u8]) -> Found {
    let Read { request, reply, .. } = read;
    let (Ok(view), Some(here)) = (View::of(request), Answer::read(reply)) else {
        return Found::NotComparable;
    };
    let Some(there) = Answer::read(answer) else {
        return Found::Different("it is no reply".to_owned());
    };
    match (here.code, there.code) {
        (TIME_EXPIRED, TIME_EXPIRED) => return Found::Equal,
        (_, TIME_EXPIRED) => return Found::TooSlow,
        (0, code) if code != 0 => return Found::ErrorThere(format!("error {code} there, an answer here")),
        (code, 0) if code != 0 => return Found::ErrorHere(format!("error {code} here, an answer there")),
        _ => {}
    }
    let (code, cursor, documents) = (here.code, here.cursor, here.documents);
    let form = RecordedForm::Whole(mem::take(reply));
    let recorded = Recorded { latency: 0, code, cursor, documents, form };
    let redaction = Redaction::nothing();
    let pair =
        Pair { request, reply: answer, answer: Some(there), recorded: &recorded, redaction: &redaction };
    let found = match compare(&view, &pair) {
        Verdict::Equal | Verdict::EqualFacts => Found::Equal,
        Verdict::Different(what) => Found::Different(what),
        Verdict::NotComparable(_) => Found::NotComparable,
    };
    if let RecordedForm::Whole(message) = recorded.form {
        *reply = message;
    }
    found
}

impl Found {
    /// Whether it may come out otherwise in a moment.
    pub fn may_change(&self) -> bool {
        matches!(self, Found::Different(_) | Found::ErrorThere(_))
    }

    /// As it is counted, if it is final: of a read that the second set was asked `asked` times, of a collection that was
    /// written to meanwhile (`is_racing`). `None`: it is no outcome, the read was lost.
    pub fn outcome(&self, asked: usize, is_racing: bool) -> Option<ShadowOutcome> {
        Some(match self {
            Found::Equal if asked > 1 => ShadowOutcome::Late,
            Found::Equal => ShadowOutcome::Equal,
            Found::Different(_) if is_racing => ShadowOutcome::Racing,
            Found::Different(_) => ShadowOutcome::Different,
            Found::ErrorThere(_) => ShadowOutcome::ErrorShadow,
            Found::ErrorHere(_) => ShadowOutcome::ErrorLive,
            Found::NotComparable => ShadowOutcome::NotComparable,
            Found::TooSlow => return None,
        })
    }

    /// What is to be said of it, if anything.
    pub fn what(&self) -> Option<&str> {
        match self {
            Found::Different(what) | Found::ErrorThere(what) | Found::ErrorHere(what) => Some(what),
            _ => None,
        }
    }
}

/// The database and the collection that a request is about.
pub fn named(request: &[u8]) -> Option<(&[u8], &[u8])> {
    View::of(request).ok().map(|view| (view.database, view.collection()))
}

/// A request's command, its namespace, and its shape: no values.
pub fn described(request: &[u8]) -> Option<(String, String, String)> {
    let view = View::of(request).ok()?;
    Some((String::from_utf8_lossy(view.name()).into_owned(), view.namespace(), shape::text(&view)))
}
