use super::*;
use crate::config::{ConnectionString, ShadowLimits};
use crate::metrics::{Metrics, ShadowOutcome};
use crate::shadow::judge::{Found, judge};
use crate::wire::{MsgFlags, OpMsgBuilder};
use bson::{Document, doc};

pub(super) fn shadow(queue_max: usize, sample: u32) -> Arc<Shadow> {
    let config = ShadowConfig {
        to: ConnectionString::parse("mongodb://127.0.0.1:1").unwrap(),
        sample,
        databases: Vec::new(),
        collections: Vec::new(),
        commands: Vec::new(),
        limits: ShadowLimits { queue_max, ..ShadowLimits::default() },
        log_every: None,
        same_set: false,
    };
    let shadow = Shadow::new("rs0", config, Metrics::new().shadow("rs0"));
    shadow.core.is_wanted.store(true, Ordering::Relaxed);
    shadow.core.set_up(true);
    shadow
}

pub(super) fn message(id: i32, answers: i32, body: &Document) -> Vec<u8> {
    OpMsgBuilder::message(id, answers, MsgFlags(0), &bson::serialize_to_vec(body).unwrap())
}

fn find(command: Document) -> Vec<u8> {
    let mut command = command;
    command.insert("$db", "app");
    message(7, 0, &command)
}

pub(super) fn take(shadow: &Arc<Shadow>) -> Option<Box<Pending>> {
    let mut pending = shadow.take(&find(doc! { "find": "c" }), 7, Role::Primary)?;
    pending.took(std::time::Duration::from_millis(1));
    Some(pending)
}

pub(super) fn queued(shadow: &Shadow) -> Option<Read> {
    shadow.receiver.lock().unwrap().as_mut().unwrap().try_recv().ok()
}

pub(super) fn answer(x: i32) -> Document {
    doc! { "cursor": { "firstBatch": [{ "_id": 1, "x": x }], "id": 0i64, "ns": "app.c" }, "ok": 1.0 }
}

#[test]
fn a_read_is_queued_with_its_answer_however_that_was_written() {
    let shadow = shadow(1 << 20, 1);
    let reply = message(90, 7, &answer(1));
    for part in [1, 5, 16, 17, reply.len()] {
        let mut pending = take(&shadow).unwrap();
        for bytes in reply.chunks(part) {
            pending.written(bytes);
        }
        drop(pending);
        let read = queued(&shadow).unwrap();
        assert_eq!((read.reply == reply, read.request), (true, find(doc! { "find": "c" })));
    }
    assert_eq!(shadow.core.budget.used(), 0);
    assert_eq!(shadow.core.metrics.dropped.get(ShadowDrop::Unanswered), 0);
}

#[test]
fn what_finds_no_room_is_dropped_and_counted() {
    let shadow = shadow(4 * pending::BESIDE, 1);
    let held: Vec<_> = (0..10).filter_map(|_| take(&shadow)).collect();
    assert_eq!(held.len(), 3);
    assert_eq!(shadow.core.metrics.dropped.get(ShadowDrop::QueueFull), 7);
    assert!(shadow.core.budget.used() <= 4 * pending::BESIDE);
    drop(held);
    assert_eq!(shadow.core.budget.used(), 0);
    // The request has room, its answer has not.
    let mut pending = take(&shadow).unwrap();
    let large = message(90, 7, &doc! { "x": "y".repeat(4 * pending::BESIDE), "ok": 1.0 });
    assert!(!pending.written(&large));
    assert_eq!(shadow.core.metrics.dropped.get(ShadowDrop::QueueFull), 8);
}

#[test]
fn answers_that_are_too_large_or_to_something_else_are_not_kept() {
    let shadow = shadow(1 << 30, 1);
    let large = message(90, 7, &doc! { "x": "y".repeat(pending::ANSWER_MAX), "ok": 1.0 });
    assert!(!take(&shadow).unwrap().written(&large[..100]));
    assert_eq!(shadow.core.metrics.dropped.get(ShadowDrop::TooLarge), 1);
    assert!(!take(&shadow).unwrap().written(&message(90, 8, &answer(1))));
    drop(take(&shadow));
    // A refusal of torana's own, which no server was asked.
    let mut refused = shadow.take(&find(doc! { "find": "c" }), 7, Role::Primary).unwrap();
    assert!(!refused.written(&message(90, 7, &doc! { "ok": 0.0, "code": 262 })));
    assert_eq!(shadow.core.metrics.dropped.get(ShadowDrop::Unanswered), 3);
    assert!(queued(&shadow).is_none());
}

#[test]
fn a_sample_is_about_its_share_of_the_reads() {
    let shadow = shadow(1 << 20, 10);
    let taken = (0..10_000).filter(|_| take(&shadow).is_some()).count();
    assert!((900..1_100).contains(&taken), "{taken}");
}

#[test]
fn while_the_second_set_does_not_answer_nothing_is_copied() {
    let shadow = shadow(1 << 20, 1);
    shadow.core.set_up(false);
    assert!(take(&shadow).is_none());
    assert_eq!(shadow.core.metrics.dropped.get(ShadowDrop::NoConnection), 1);
    shadow.core.give_up();
    assert!(take(&shadow).is_none());
    assert_eq!(shadow.core.metrics.dropped.get(ShadowDrop::NoConnection), 1);
}

fn found(command: Document, here: &Document, there: &Document) -> Found {
    let shadow = shadow(1 << 20, 1);
    let mut pending = shadow.take(&find(command), 7, Role::Primary).unwrap();
    pending.took(std::time::Duration::from_millis(1));
    pending.written(&message(90, 7, here));
    let mut read = queued(&shadow).unwrap();
    let found = judge(&mut read, &message(3, 4, there));
    assert_eq!(read.reply, message(90, 7, here), "it is there for another time");
    found
}

#[test]
fn answers_are_compared_by_what_they_say() {
    let command = doc! { "find": "c", "filter": { "_session_token": "r:s3cret" } };
    let error = |code: i32| doc! { "ok": 0.0, "code": code, "errmsg": "x" };
    let found = |here: &Document, there: &Document| found(command.clone(), here, there);
    assert_eq!(found(&answer(1), &answer(1)), Found::Equal);
    assert_eq!(found(&answer(1), &answer(2)), Found::Different("cursor.firstBatch".into()));
    assert_eq!(found(&error(2), &error(2)), Found::Equal);
    assert_eq!(found(&error(2), &error(3)), Found::Different("error 3 was error 2".into()));
    assert!(matches!(found(&answer(1), &error(3)), Found::ErrorThere(_)));
    assert!(matches!(found(&error(3), &answer(1)), Found::ErrorHere(_)));
    assert_eq!(found(&answer(1), &error(50)), Found::TooSlow);
}

#[test]
fn a_difference_is_late_racing_or_real() {
    let different = Found::Different("n".into());
    assert_eq!(Found::Equal.outcome(1, true), Some(ShadowOutcome::Equal));
    assert_eq!(Found::Equal.outcome(2, false), Some(ShadowOutcome::Late));
    assert_eq!(different.outcome(3, true), Some(ShadowOutcome::Racing));
    assert_eq!(different.outcome(3, false), Some(ShadowOutcome::Different));
    assert!(different.may_change() && !Found::ErrorHere(String::new()).may_change());
}

#[test]
fn what_is_said_of_a_difference_has_no_values() {
    let secret = "$2y$10$abcdefghijklmnopqrstuv";
    for command in [
        doc! { "find": "c", "filter": { "pw": secret, "n": 4711, "s": "$s3cret" } },
        doc! { "count": "c", "query": { "pw": { "$in": [secret, "s3cret"] } } },
        doc! { "distinct": "c", "key": "x", "query": { "pw": { "$eq": "$s3cret" } } },
        doc! { "aggregate": "c", "pipeline": [{ "$match": { "pw": secret, "n": 4711, "s": "$s3cret" } },
        { "$project": { "x": { "$eq": ["$pw", secret] }, "y": { "$literal": "$s3cret" } } }], "cursor": {} },
        doc! { "aggregate": "c", "pipeline": [{ "$geoNear": { "near": [1, 2], "query": { "pw": "$s3cret" } } }], "cursor": {} },
        doc! { "aggregate": "c", "pipeline": [{ "$graphLookup": { "from": "c", "restrictSearchWithMatch": { "pw": "$s3cret" } } }], "cursor": {} },
        doc! { "aggregate": "c", "pipeline": [{ "$search": { "text": { "query": "$s3cret", "path": "x" } } }], "cursor": {} },
    ] {
        let (name, namespace, shape) = judge::described(&find(command)).unwrap();
        assert_eq!(namespace, "app.c");
        assert!(shape.starts_with(&name), "{shape}");
        assert!(!shape.contains("abcdef") && !shape.contains("s3cret") && !shape.contains("4711"), "{shape}");
    }
}
