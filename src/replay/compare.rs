//! Whether the target said what was recorded.
//!
//! Left out of account is what differs from run to run: clocks and times, ids of cursors, the order of documents where no
//! sort was asked for, the words of an error. What a server says of itself (serverStatus and its kin) is compared by whether
//! it was an answer at all.

mod alike;
mod leeway;

use std::borrow::Cow;

use self::leeway::{Leeway, leeway, may_be_any};
use super::answer::Answer;
use super::job::{Recorded, RecordedForm};
use super::redacted::Redaction;
use super::view::{View, documents_of};
use crate::capture::digest;
use crate::doc::{BsonType, Element, Names, elements, find};
use crate::wire::{Opcode, read_i32};

/// What a comparison says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// They say the same.
    Equal,
    /// They agree in their facts (ok or error, number of documents), which is all that is known.
    EqualFacts,
    /// They differ, here.
    Different(String),
    /// There is nothing to compare.
    NotComparable(Why),
}

/// Why there is nothing to compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Why {
    /// The capture has no reply to it, or has it too far behind.
    NotRecorded,
    /// Comparing could not keep up with the replay.
    Behind,
    /// No reply was wanted.
    Unanswered,
    /// They differ in what the capture does not have as it was, or may.
    Redacted,
    /// Each is a part of what was found, and no order says which.
    Unsorted,
}

impl Why {
    /// All of them.
    pub const ALL: [Why; 5] = [Why::NotRecorded, Why::Behind, Why::Unanswered, Why::Redacted, Why::Unsorted];

    /// As a report says it.
    pub fn text(self) -> &'static str {
        match self {
            Why::NotRecorded => "no recorded answer",
            Why::Behind => "comparing was behind",
            Why::Unanswered => "no answer wanted",
            Why::Redacted => "differs, but values were replaced in the capture",
            Why::Unsorted => "other documents of those that were found: a part was asked for, and no order",
        }
    }
}

/// Commands whose answers describe the server, the moment or chance, or name cursors, and not the data.
static VOLATILE: Names = Names::new(&[
    b"buildInfo",
    b"buildinfo",
    b"collStats",
    b"collstats",
    b"connPoolStats",
    b"connectionStatus",
    b"currentOp",
    b"dataSize",
    b"dbHash",
    b"dbStats",
    b"dbstats",
    b"explain",
    b"features",
    b"getCmdLineOpts",
    b"getDefaultRWConcern",
    b"getLog",
    b"getParameter",
    b"hostInfo",
    b"killCursors",
    b"listCollections",
    b"listCommands",
    b"listDatabases",
    b"lockInfo",
    b"planCacheListFilters",
    b"replSetGetConfig",
    b"replSetGetRBID",
    b"replSetGetStatus",
    b"serverStatus",
    b"startSession",
    b"top",
    b"validateDBMetadata",
]);

/// Stages that make an aggregate's answer volatile.
static VOLATILE_STAGES: Names = Names::new(&[
    b"$collStats",
    b"$currentOp",
    b"$indexStats",
    b"$listLocalSessions",
    b"$listSessions",
    b"$planCacheStats",
    b"$sample",
]);

/// Where answers differ whose batches do.
const BATCHES: [&str; 2] = ["cursor.firstBatch", "cursor.nextBatch"];

/// An answer, and what it is to be compared with.
#[derive(Debug, Clone, Copy)]
pub struct Pair<'a> {
    /// The request, as it was sent.
    pub request: &'a [u8],
    /// The answer of now.
    pub reply: &'a [u8],
    /// Its facts; `None` if it is no reply.
    pub answer: Option<Answer>,
    /// The recorded one; if it is whole, with the ids of this run.
    pub recorded: &'a Recorded,
    /// What was replaced in the capture.
    pub redaction: &'a Redaction,
}

/// Compares the reply to a request with the recorded one.
pub fn compare(view: &View<'_>, pair: &Pair<'_>) -> Verdict {
    let Pair { reply, recorded, .. } = *pair;
    let Some(answer) = pair.answer else { return Verdict::Different("it is no reply".to_owned()) };
    if recorded.code != answer.code {
        let text = |code| if code == 0 { "ok".to_owned() } else { format!("error {code}") };
        return Verdict::Different(format!("{} was {}", text(answer.code), text(recorded.code)));
    }
    if recorded.code != 0 || is_volatile(view) {
        return Verdict::EqualFacts;
    }
    // One of the two has more to give.
    let end_alike = (recorded.cursor == 0) == (answer.cursor == 0);
    let what = match &recorded.form {
        RecordedForm::Whole(whole) if alike::say_the_same(whole, reply) => return Verdict::Equal,
        RecordedForm::Whole(whole) => {
            match difference(whole, reply, is_sorted(view), |document| Cow::Borrowed(document)) {
                None => return Verdict::Equal,
                Some(place) => place,
            }
        }
        RecordedForm::Digest(wanted) if end_alike && digest::of(reply) == Some(*wanted) => {
            return Verdict::Equal;
        }
        _ if recorded.documents != answer.documents => documents(recorded, &answer),
        _ if !end_alike => "cursor: one is at its end".to_owned(),
        RecordedForm::Digest(_) => "the digests differ".to_owned(),
        RecordedForm::Nothing => return Verdict::EqualFacts,
    };
    let what = match choice(view, pair, &answer, &what) {
        Leeway::SameDocuments => match difference_but_for_order(pair) {
            None => return Verdict::Equal,
            Some(place) => place,
        },
        Leeway::Unknown if end_alike => return Verdict::NotComparable(Why::Unsorted),
        Leeway::Unknown | Leeway::None => what,
    };
    excused(view, pair, what)
}

/// Whether a difference comes from what the query leaves open.
fn choice(view: &View<'_>, pair: &Pair<'_>, answer: &Answer, what: &str) -> Leeway {
    let Pair { recorded, reply, .. } = *pair;
    match &recorded.form {
        RecordedForm::Whole(whole) if BATCHES.iter().any(|batch| what.starts_with(batch)) => {
            leeway(view, whole, reply)
        }
        RecordedForm::Digest(_)
            if recorded.documents == answer.documents
                && may_be_any(view, answer.documents as usize, answer.cursor != 0) =>
        {
            Leeway::Unknown
        }
        _ => Leeway::None,
    }
}

/// What else differs, where the documents of a batch may change places.
fn difference_but_for_order(pair: &Pair<'_>) -> Option<String> {
    let RecordedForm::Whole(whole) = &pair.recorded.form else { return None };
    difference(whole, pair.reply, false, |document| Cow::Borrowed(document))
}

/// What a difference comes to when it is considered that the capture does not have everything as it was.
fn excused(view: &View<'_>, pair: &Pair<'_>, what: String) -> Verdict {
    if pair.redaction.is_nothing() {
        return Verdict::Different(what);
    }
    let asks_for_secrets = view.name() != b"insert" && pair.redaction.is_named_in(pair.request);
    if pair.redaction.values || asks_for_secrets {
        return Verdict::NotComparable(Why::Redacted);
    }
    if !pair.redaction.is_named_in(pair.reply) {
        return Verdict::Different(what);
    }
    match &pair.recorded.form {
        RecordedForm::Whole(whole) => match difference(whole, pair.reply, is_sorted(view), |document| {
            pair.redaction.without_secrets(document)
        }) {
            None => Verdict::Equal,
            Some(place) => Verdict::Different(place),
        },
        RecordedForm::Digest(_) => Verdict::NotComparable(Why::Redacted),
        RecordedForm::Nothing => Verdict::Different(what),
    }
}

fn documents(recorded: &Recorded, answer: &Answer) -> String {
    format!("{} documents were {}", answer.documents, recorded.documents)
}

fn is_volatile(view: &View<'_>) -> bool {
    VOLATILE.has(view.name()) || stages(view).any(|stage| VOLATILE_STAGES.has(stage.key))
}

/// The first element of each stage of a pipeline.
fn stages<'a>(view: &View<'a>) -> impl Iterator<Item = Element<'a>> {
    let has_stages = view.name() == b"aggregate";
    let pipeline = has_stages.then(|| view.document("pipeline")).flatten().unwrap_or_default();
    let documents = elements(pipeline).map_while(Result::ok).filter_map(|stage| stage.value.as_document());
    documents.filter_map(|stage| elements(stage).next()?.ok())
}

fn is_sorted(view: &View<'_>) -> bool {
    sort_of(view).is_some()
}

/// What the answer is sorted by, if by anything: of a pipeline the last `$sort` behind which nothing comes that keeps no order.
pub fn sort_of<'a>(view: &View<'a>) -> Option<&'a [u8]> {
    let is_some = |sort: &&[u8]| sort.len() > 5;
    stages(view).fold(view.document("sort").filter(is_some), |sort, stage| match stage.key {
        b"$sort" => stage.value.as_document().filter(is_some),
        b"$group" | b"$bucket" | b"$bucketAuto" | b"$sortByCount" | b"$facet" | b"$unionWith"
        | b"$geoNear" | b"$setWindowFields" | b"$densify" | b"$fill" => None,
        _ => sort,
    })
}

/// Where two replies differ; `None` if they do not. Of each answer that counts which `part` leaves.
fn difference(
    recorded: &[u8],
    reply: &[u8],
    is_sorted: bool,
    part: impl for<'d> Fn(&'d [u8]) -> Cow<'d, [u8]>,
) -> Option<String> {
    if opcode(recorded) != opcode(reply) {
        return Some("the opcodes differ".to_owned());
    }
    // The answer to a command is one document, in either opcode.
    let first = |message| documents_of(message).first().copied().map(&part);
    match (first(recorded), first(reply)) {
        (Some(recorded), Some(reply)) => body_difference(&recorded, &reply, is_sorted),
        _ => Some("it is no reply".to_owned()),
    }
}

fn opcode(message: &[u8]) -> Option<Opcode> {
    Opcode::from_i32(read_i32(message, 12)?)
}

fn body_difference(recorded: &[u8], reply: &[u8], is_sorted: bool) -> Option<String> {
    let counts = |element: &Element<'_>| !digest::is_ignored(element.key);
    for element in elements(recorded).map_while(Result::ok).filter(counts) {
        let key = String::from_utf8_lossy(element.key).into_owned();
        let Some(other) = find(reply, &key) else { return Some(format!("{key} is missing")) };
        let differs = match element.key {
            b"cursor" => cursor_difference(&element, &other, is_sorted),
            b"upserted" => None,
            b"lastErrorObject" => (changed(&element) != changed(&other)).then(String::new),
            b"writeErrors" => codes_difference(&element, &other),
            // Those of a distinct come in no order.
            b"values" if sorted_list(&element) == sorted_list(&other) => None,
            _ if same(&element, &other) => None,
            _ => Some(String::new()),
        };
        if let Some(inside) = differs {
            return Some(if inside.is_empty() { key } else { format!("{key}.{inside}") });
        }
    }
    let is_new = |element: &Element<'_>| {
        counts(element) && !elements(recorded).map_while(Result::ok).any(|old| old.key == element.key)
    };
    let new = elements(reply).map_while(Result::ok).find(is_new)?;
    Some(format!("{} is new", String::from_utf8_lossy(new.key)))
}

/// What a findAndModify did: how many documents, and whether one was there.
fn changed(element: &Element<'_>) -> (Option<i64>, Option<bool>) {
    let field = |key| find(element.value.as_document()?, key).map(|element| element.value);
    (field("n").and_then(|n| n.as_i64()), field("updatedExisting").and_then(|is| is.as_bool()))
}

/// Whether two values are the same; whole numbers may be of any type, for servers of two versions differ there.
fn same(one: &Element<'_>, other: &Element<'_>) -> bool {
    if one.value == other.value {
        return true;
    }
    let kind = |element: &Element<'_>| element.value.kind;
    let whole = |element: &Element<'_>| {
        element.value.as_i64().filter(|_| matches!(kind(element), BsonType::Int32 | BsonType::Int64))
    };
    let double = |element: &Element<'_>| element.value.as_f64().filter(|_| kind(element) == BsonType::Double);
    match (whole(one), whole(other), double(one), double(other)) {
        (Some(one), Some(other), ..) => one == other,
        (.., Some(one), Some(other)) => one == other,
        // Above 2^53 not every whole number is a double: its neighbour may be.
        (Some(whole), .., Some(double)) | (_, Some(whole), Some(double), _) => {
            double.fract() == 0.0 && double as i128 == i128::from(whole)
        }
        _ => false,
    }
}

fn cursor_difference(recorded: &Element<'_>, reply: &Element<'_>, is_sorted: bool) -> Option<String> {
    let (recorded, reply) = (recorded.value.as_document()?, reply.value.as_document()?);
    for key in ["firstBatch", "nextBatch"] {
        let Some(wanted) = find(recorded, key) else { continue };
        let Some(got) = find(reply, key) else { return Some(format!("{key} is missing")) };
        let (mut wanted, mut got) = (list(&wanted), list(&got));
        if wanted.len() != got.len() {
            return Some(format!("{key}: {} documents were {}", got.len(), wanted.len()));
        }
        if !is_sorted {
            wanted.sort_unstable();
            got.sort_unstable();
        }
        if let Some(place) = wanted.iter().zip(&got).position(|(wanted, got)| wanted != got) {
            return Some(if is_sorted { format!("{key}.{place}") } else { key.to_owned() });
        }
    }
    let is_over = |cursor| find(cursor, "id").and_then(|id| id.value.as_i64()).unwrap_or(0) == 0;
    if is_over(recorded) != is_over(reply) {
        return Some("id: one is at its end".to_owned());
    }
    None
}

/// The values of an array: each with its type, as a date and a number may be the same bytes.
fn list<'a>(element: &Element<'a>) -> Vec<(u8, &'a [u8])> {
    let array = element.value.as_document().unwrap_or_default();
    let values = elements(array).map_while(Result::ok).map(|element| element.value);
    values.map(|value| (value.kind as u8, value.bytes)).collect()
}

fn sorted_list<'a>(element: &Element<'a>) -> Vec<(u8, &'a [u8])> {
    let mut values = list(element);
    values.sort_unstable();
    values
}

/// Errors of single writes: which, and their codes. Their words name hosts and ids.
fn codes_difference(recorded: &Element<'_>, reply: &Element<'_>) -> Option<String> {
    let codes = |list: &Element<'_>| -> Vec<(Option<i64>, Option<i64>)> {
        let array = list.value.as_document().unwrap_or_default();
        let entries = elements(array).map_while(Result::ok).filter_map(|entry| entry.value.as_document());
        let number = |entry, key| find(entry, key).and_then(|element| element.value.as_i64());
        entries.map(|entry| (number(entry, "index"), number(entry, "code"))).collect()
    };
    (codes(recorded) != codes(reply)).then(|| "codes".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{MsgFlags, OpMsgBuilder};
    use bson::{Document, Timestamp, doc};

    fn message(body: &Document) -> Vec<u8> {
        OpMsgBuilder::message(1, 0, MsgFlags(0), &bson::serialize_to_vec(body).unwrap())
    }

    fn verdict(
        command: Document,
        recorded: &Document,
        reply: &Document,
        form: fn(Vec<u8>) -> RecordedForm,
    ) -> Verdict {
        let (command, recorded, reply) = (message(&command), message(recorded), message(reply));
        let Answer { code, cursor, documents, .. } = Answer::read(&recorded).unwrap();
        let kept = Recorded { latency: 1, code, cursor, documents, form: form(recorded.clone()) };
        let redaction = &Redaction::of(None);
        let answer = Answer::read(&reply);
        let pair = Pair { request: &command, reply: &reply, answer, recorded: &kept, redaction };
        compare(&View::of(&command).unwrap(), &pair)
    }

    fn found(batch: [i32; 2], id: i64) -> Document {
        let batch: Vec<Document> = batch.iter().map(|x| doc! { "x": x }).collect();
        let time = Timestamp { time: id as u32, increment: 1 };
        doc! { "cursor": { "firstBatch": batch, "id": id, "ns": "a.b" }, "ok": 1.0, "operationTime": time }
    }

    #[test]
    fn what_differs_from_run_to_run_is_no_difference() {
        let find = doc! { "find": "b", "$db": "a" };
        let digested = |bytes: Vec<u8>| RecordedForm::Digest(digest::of(&bytes).unwrap());
        for form in [RecordedForm::Whole as fn(Vec<u8>) -> RecordedForm, digested] {
            assert_eq!(verdict(find.clone(), &found([1, 2], 5), &found([2, 1], 6), form), Verdict::Equal);
            let other = verdict(find.clone(), &found([1, 2], 0), &found([1, 3], 0), form);
            assert!(matches!(other, Verdict::Different(_)));
        }
        let facts = |_| RecordedForm::Nothing;
        assert_eq!(verdict(find, &found([1, 2], 5), &found([1, 3], 5), facts), Verdict::EqualFacts);
    }

    #[test]
    fn order_counts_where_a_sort_was_asked_for() {
        let sorted = doc! { "find": "b", "sort": { "x": 1 }, "$db": "a" };
        let differs = verdict(sorted, &found([1, 2], 5), &found([2, 1], 5), RecordedForm::Whole);
        assert_eq!(differs, Verdict::Different("cursor.firstBatch.0".into()));
    }

    #[test]
    fn a_sort_before_a_group_orders_nothing() {
        let grouped = doc! { "aggregate": "b", "pipeline": [{ "$sort": { "x": 1 } }, { "$group": { "_id": "$x" } }], "$db": "a" };
        let same = verdict(grouped, &found([1, 2], 0), &found([2, 1], 0), RecordedForm::Whole);
        assert_eq!(same, Verdict::Equal);
    }

    #[test]
    fn errors_are_compared_by_their_codes() {
        let find = doc! { "find": "b", "$db": "a" };
        let error = |code: i32, text: &str| doc! { "ok": 0.0, "errmsg": text, "code": code };
        let form = RecordedForm::Whole;
        assert_eq!(verdict(find.clone(), &error(13, "a"), &error(13, "b"), form), Verdict::EqualFacts);
        let other = verdict(find.clone(), &error(13, "a"), &error(14, "a"), form);
        assert_eq!(other, Verdict::Different("error 14 was error 13".into()));
        let other = verdict(find, &doc! { "ok": 1 }, &error(14, "a"), form);
        assert_eq!(other, Verdict::Different("error 14 was ok".into()));
        let insert = doc! { "insert": "b", "$db": "a" };
        let write = |code: i32, text: &str| doc! { "n": 0, "ok": 1.0, "writeErrors": [{ "index": 0, "code": code, "errmsg": text }] };
        assert_eq!(verdict(insert.clone(), &write(11000, "a"), &write(11000, "b"), form), Verdict::Equal);
        assert_eq!(
            verdict(insert, &write(11000, "a"), &write(1, "b"), form),
            Verdict::Different("writeErrors.codes".into())
        );
    }

    #[test]
    fn fields_that_are_missing_or_new_are_named() {
        let update = doc! { "update": "b", "$db": "a" };
        let (less, more) = (doc! { "n": 1, "ok": 1.0 }, doc! { "n": 1, "nModified": 1, "ok": 1.0 });
        let form = RecordedForm::Whole;
        assert_eq!(
            verdict(update.clone(), &more, &less, form),
            Verdict::Different("nModified is missing".into())
        );
        assert_eq!(verdict(update, &less, &more, form), Verdict::Different("nModified is new".into()));
    }

    #[test]
    fn what_a_server_says_of_itself_is_compared_by_its_outcome() {
        let status = doc! { "serverStatus": 1, "$db": "admin" };
        let reply = |uptime: i32| doc! { "uptime": uptime, "ok": 1.0 };
        assert_eq!(verdict(status, &reply(1), &reply(2), RecordedForm::Whole), Verdict::EqualFacts);
    }

    #[test]
    fn what_was_replaced_in_the_capture_is_no_difference() {
        let user = |token: &str, name: &str| {
            doc! { "cursor": { "firstBatch": [{ "name": name, "_session_token": token }], "id": 0i64 }, "ok": 1.0 }
        };
        let find = doc! { "find": "b", "filter": { "_id": 1 }, "$db": "a" };
        let whole = RecordedForm::Whole as fn(Vec<u8>) -> RecordedForm;
        assert_eq!(verdict(find.clone(), &user("x", "n"), &user("y", "n"), whole), Verdict::Equal);
        let other = verdict(find.clone(), &user("x", "n"), &user("y", "m"), whole);
        assert_eq!(other, Verdict::Different("cursor.firstBatch".into()));
        let digested = |bytes: Vec<u8>| RecordedForm::Digest(digest::of(&bytes).unwrap());
        let unknown = Verdict::NotComparable(Why::Redacted);
        assert_eq!(verdict(find, &user("x", "n"), &user("y", "n"), digested), unknown);
        let by_token = doc! { "find": "b", "filter": { "_session_token": "x" }, "$db": "a" };
        let nobody = doc! { "cursor": { "firstBatch": [], "id": 0i64 }, "ok": 1.0 };
        assert_eq!(verdict(by_token, &user("x", "n"), &nobody, whole), unknown);
    }

    #[test]
    fn a_cursor_that_ends_early_is_a_difference() {
        let find = doc! { "find": "b", "$db": "a" };
        let v = verdict(find, &found([1, 2], 5), &found([1, 2], 0), RecordedForm::Whole);
        assert!(matches!(v, Verdict::Different(_)), "{v:?}");
    }

    #[test]
    fn ties_in_another_order_excuse_no_cursor_that_ends_early() {
        let sorted = doc! { "find": "b", "sort": { "x": 1 }, "$db": "a" };
        let batch = |ids: [i32; 2], id: i64| {
            let batch: Vec<Document> = ids.iter().map(|id| doc! { "_id": id, "x": 1 }).collect();
            doc! { "cursor": { "firstBatch": batch, "id": id, "ns": "a.b" }, "ok": 1.0 }
        };
        let whole = RecordedForm::Whole as fn(Vec<u8>) -> RecordedForm;
        assert_eq!(verdict(sorted.clone(), &batch([1, 2], 5), &batch([2, 1], 6), whole), Verdict::Equal);
        let over = verdict(sorted, &batch([1, 2], 5), &batch([2, 1], 0), whole);
        assert_eq!(over, Verdict::Different("cursor.id: one is at its end".into()));
    }

    #[test]
    fn an_order_that_cannot_be_seen_is_not_called_the_same() {
        let whole = RecordedForm::Whole as fn(Vec<u8>) -> RecordedForm;
        let sorted = |key: &str| doc! { "find": "b", "sort": { key: 1 }, "$db": "a" };
        let batch = |documents: [&Document; 2]| doc! { "cursor": { "firstBatch": documents.map(Clone::clone).to_vec(), "id": 0i64 }, "ok": 1.0 };
        let unsorted = Verdict::NotComparable(Why::Unsorted);
        // What is sorted by was not asked for, or lies in a list, of which one value counts.
        let (one, two) = (doc! { "_id": 1 }, doc! { "_id": 2 });
        let v = verdict(sorted("x"), &batch([&one, &two]), &batch([&two, &one]), whole);
        assert_eq!(v, unsorted);
        let (one, two) = (doc! { "_id": 1, "t": [{ "r": 1 }] }, doc! { "_id": 2, "t": [{ "r": 2 }] });
        let v = verdict(sorted("t.r"), &batch([&one, &two]), &batch([&two, &one]), whole);
        assert_eq!(v, unsorted);
        let (one, two) = (doc! { "_id": 1, "t": [1, 5] }, doc! { "_id": 2, "t": [1, 7] });
        let v = verdict(sorted("t"), &batch([&one, &two]), &batch([&two, &one]), whole);
        assert_eq!(v, unsorted);
        // Some have none: those that do show the order.
        let (one, two, three) = (doc! { "_id": 1 }, doc! { "_id": 2 }, doc! { "_id": 3, "x": 1 });
        let batch = |documents: [&Document; 3]| doc! { "cursor": { "firstBatch": documents.map(Clone::clone).to_vec(), "id": 0i64 }, "ok": 1.0 };
        let v = verdict(sorted("x"), &batch([&one, &two, &three]), &batch([&two, &one, &three]), whole);
        assert_eq!(v, Verdict::Equal);
    }

    #[test]
    fn values_of_another_type_are_other_values() {
        let distinct = doc! { "distinct": "b", "key": "x", "$db": "a" };
        let values = |value: bson::Bson| doc! { "values": [value], "ok": 1.0 };
        let date = bson::Bson::DateTime(bson::DateTime::from_millis(1));
        for (one, other) in [
            (bson::Bson::Int64(1), date),
            (bson::Bson::Null, bson::Bson::MinKey),
            (bson::Bson::String("a".into()), bson::Bson::Symbol("a".into())),
        ] {
            let v = verdict(distinct.clone(), &values(one), &values(other), RecordedForm::Whole);
            assert_eq!(v, Verdict::Different("values".into()));
        }
    }

    #[test]
    fn a_part_of_what_was_found_may_be_another_where_no_order_was_asked_for() {
        let batch = |documents: &[(i32, i32)], id: i64| {
            let batch: Vec<Document> = documents.iter().map(|(id, x)| doc! { "_id": id, "x": x }).collect();
            doc! { "cursor": { "firstBatch": batch, "id": id, "ns": "a.b" }, "ok": 1.0 }
        };
        let unsorted = Verdict::NotComparable(Why::Unsorted);
        let whole = RecordedForm::Whole as fn(Vec<u8>) -> RecordedForm;
        let limited = doc! { "find": "b", "filter": { "y": 1 }, "limit": 2, "$db": "a" };
        let (one, other) = (batch(&[(1, 1), (2, 2)], 0), batch(&[(2, 2), (3, 3)], 0));
        assert_eq!(verdict(limited.clone(), &one, &other, whole), unsorted);
        // The document that both have differs; fewer than the limit; by _id; in order; all of them.
        let changed = batch(&[(2, 9), (3, 3)], 0);
        let sorted = doc! { "find": "b", "limit": 2, "sort": { "x": 1 }, "$db": "a" };
        let by_id = doc! { "find": "b", "filter": { "_id": 1 }, "limit": 1, "$db": "a" };
        let all = doc! { "find": "b", "$db": "a" };
        for (command, one, other) in [
            (&limited, &one, &changed),
            (&limited, &batch(&[(1, 1)], 0), &batch(&[(2, 2)], 0)),
            (&by_id, &batch(&[(1, 1)], 0), &batch(&[(2, 2)], 0)),
            (&sorted, &one, &other),
            (&all, &one, &other),
        ] {
            let verdict = verdict(command.clone(), one, other, whole);
            assert!(matches!(verdict, Verdict::Different(_)), "{command}: {verdict:?}");
        }
        // One batch of several.
        assert_eq!(verdict(all, &batch(&[(1, 1)], 5), &batch(&[(2, 2)], 6), whole), unsorted);
        let digested = |bytes: Vec<u8>| RecordedForm::Digest(digest::of(&bytes).unwrap());
        assert_eq!(verdict(limited, &one, &other, digested), unsorted);
    }

    #[test]
    fn large_whole_numbers_are_compared_as_such() {
        let command = doc! { "count": "b", "$db": "a" };
        let v = verdict(
            command,
            &doc! { "n": 9007199254740993i64, "ok": 1.0 },
            &doc! { "n": 9007199254740992i64, "ok": 1.0 },
            RecordedForm::Whole,
        );
        assert!(matches!(v, Verdict::Different(_)), "{v:?}");
        for (n, other, is_equal) in [
            (9007199254740993i64, 9007199254740992.0, false),
            (9007199254740992, 9007199254740992.0, true),
            (i64::MAX, 9223372036854775808.0, false),
            (0, -0.0, true),
            (1, 1.5, false),
        ] {
            let command = doc! { "count": "b", "$db": "a" };
            let (one, two) = (doc! { "n": n, "ok": 1.0 }, doc! { "n": other, "ok": 1.0 });
            let v = verdict(command, &one, &two, RecordedForm::Whole);
            assert_eq!(v == Verdict::Equal, is_equal, "{n} {other}: {v:?}");
        }
    }

    #[test]
    fn a_find_and_modify_that_changed_nothing_is_another_answer() {
        let command = doc! { "findAndModify": "b", "$db": "a" };
        let v = verdict(
            command,
            &doc! { "lastErrorObject": { "n": 1, "updatedExisting": false, "upserted": 5 }, "value": null, "ok": 1.0 },
            &doc! { "lastErrorObject": { "n": 0, "updatedExisting": false }, "value": null, "ok": 1.0 },
            RecordedForm::Whole,
        );
        assert!(matches!(v, Verdict::Different(_)), "{v:?}");
    }
}
