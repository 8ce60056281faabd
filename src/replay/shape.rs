//! Query shapes: a query without its values, so that the thousand finds by name are one line of a report.
//!
//! Keys, operators and field paths stay, values become `?`. A shape is cut at a limit, and so is the depth that is looked
//! into: a shape is a label, and never longer than one.

use std::fmt::Write;
use std::hash::{BuildHasher, Hasher};

use super::hash::Hashing;
use super::view::View;
use crate::doc::{BsonType, Element, elements, find};

/// Bytes of a shape.
const LENGTH_MAX: usize = 300;

/// Nesting that is shown.
const DEPTH_MAX: usize = 8;

/// The shape of a request: command, collection, query.
pub fn text(view: &View<'_>) -> String {
    let mut out = String::new();
    write(view, &mut out);
    cut(&mut out);
    out
}

/// Whether a shape is the one of `pattern`, or begins so if that ends with `*`.
pub fn matches(pattern: &str, shape: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(front) => shape.starts_with(front),
        None => shape == pattern,
    }
}

/// A number for the shape of a request: the same for the same shape, and found without writing it down.
pub fn number(view: &View<'_>, hashing: &Hashing) -> u64 {
    let mut hashed = Hashed { hasher: hashing.build_hasher(), length: 0 };
    write(view, &mut hashed);
    hashed.hasher.finish()
}

/// Where a shape goes.
trait Sink: Write {
    /// Bytes so far.
    fn length(&self) -> usize;

    fn put(&mut self, text: &str) {
        // Neither of them fails.
        let _ = self.write_str(text);
    }
}

impl Sink for String {
    fn length(&self) -> usize {
        self.len()
    }
}

struct Hashed<H> {
    hasher: H,
    length: usize,
}

impl<H: Hasher> Write for Hashed<H> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.hasher.write(text.as_bytes());
        self.length += text.len();
        Ok(())
    }
}

impl<H: Hasher> Sink for Hashed<H> {
    fn length(&self) -> usize {
        self.length
    }
}

fn write(view: &View<'_>, out: &mut impl Sink) {
    out.put(&String::from_utf8_lossy(view.name()));
    out.put(" ");
    out.put(&String::from_utf8_lossy(view.database));
    if !view.collection().is_empty() {
        out.put(".");
        out.put(&String::from_utf8_lossy(view.collection()));
    }
    match view.name() {
        b"find" => parts(view, &["filter", "sort", "projection"], out),
        b"aggregate" => parts(view, &["pipeline"], out),
        b"count" => parts(view, &["query"], out),
        b"distinct" => {
            key_of(view, out);
            parts(view, &["query"], out);
        }
        b"findAndModify" | b"findandmodify" => parts(view, &["query", "sort", "update"], out),
        b"update" => first(view, "updates", &["q", "u"], out),
        b"delete" => first(view, "deletes", &["q"], out),
        _ => {}
    }
}

fn cut(out: &mut String) {
    if out.len() > LENGTH_MAX {
        let mut end = LENGTH_MAX;
        while !out.is_char_boundary(end) {
            end -= 1;
        }
        out.truncate(end);
        out.push('…');
    }
}

fn key_of(view: &View<'_>, out: &mut impl Sink) {
    if let Some(key) = find(view.body, "key").and_then(|element| element.value.as_str()) {
        let _ = write!(out, " {key}");
    }
}

fn parts(view: &View<'_>, keys: &[&str], out: &mut impl Sink) {
    keys.iter().for_each(|key| part(find(view.body, key), key, out));
}

fn first(view: &View<'_>, batch: &str, keys: &[&str], out: &mut impl Sink) {
    if let Some(document) = view.batch(batch).first() {
        keys.iter().for_each(|key| part(find(document, key), key, out));
    }
}

fn part(element: Option<Element<'_>>, key: &str, out: &mut impl Sink) {
    let Some(element) = element else { return };
    // The filter needs no name, and an empty one says nothing.
    let is_empty = element.value.as_document().is_some_and(|inner| inner.len() <= 5);
    if is_empty && key != "filter" {
        return;
    }
    out.put(" ");
    if !matches!(key, "filter" | "pipeline" | "query" | "q") {
        out.put(key);
        out.put(" ");
    }
    let keeps = match key {
        // What a sort or a projection says is not a value.
        "sort" | "projection" => Keeps::Numbers,
        _ if element.value.kind == BsonType::Array => Keeps::Paths,
        _ => Keeps::Nothing,
    };
    value(&element, keeps, 0, out);
}

/// What is shown of the scalars in a part of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keeps {
    /// A query: all are values. One may begin with `$`, as a hashed password does.
    Nothing,
    /// A pipeline, or an expression: field paths and variables are part of what is asked.
    Paths,
    /// A sort or a projection: numbers too.
    Numbers,
}

impl Keeps {
    /// What is shown inside the field `key`.
    fn inside(self, key: &[u8]) -> Keeps {
        match key {
            b"$sort" => Keeps::Numbers,
            b"$expr" => Keeps::Paths,
            // Filters inside of a pipeline, and what is searched for: all are values.
            b"$match" | b"$literal" | b"query" | b"restrictSearchWithMatch" | b"$search" | b"$searchMeta" => {
                Keeps::Nothing
            }
            _ => self,
        }
    }
}

fn value(element: &Element<'_>, keeps: Keeps, depth: usize, out: &mut impl Sink) {
    if out.length() > LENGTH_MAX {
        return;
    }
    match (element.value.kind, element.value.as_document()) {
        (_, Some(_)) if depth >= DEPTH_MAX => out.put("…"),
        (BsonType::Document, Some(inner)) => document(inner, keeps, depth, out),
        (BsonType::Array, Some(inner)) => array(element.key, inner, keeps, depth, out),
        _ => scalar(element, keeps, out),
    }
}

fn scalar(element: &Element<'_>, keeps: Keeps, out: &mut impl Sink) {
    match (element.value.as_str(), element.value.as_i64()) {
        (Some(text), _) if keeps != Keeps::Nothing && is_path(text) => out.put(text),
        (None, Some(number)) if keeps == Keeps::Numbers => drop(write!(out, "{number}")),
        _ if keeps == Keeps::Numbers && element.value.kind == BsonType::Boolean => {
            out.put(if element.value.as_bool() == Some(true) { "1" } else { "0" });
        }
        _ => out.put("?"),
    }
}

/// Whether `text` is a field path or a variable of an aggregation (`$a.b`, `$$ROOT`), as far as its form tells.
fn is_path(text: &str) -> bool {
    let name = text.strip_prefix("$$").or_else(|| text.strip_prefix('$')).unwrap_or_default();
    let begins = name.bytes().next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_');
    begins
        && text.len() < 64
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

fn document(inner: &[u8], keeps: Keeps, depth: usize, out: &mut impl Sink) {
    out.put("{");
    for (place, element) in elements(inner).map_while(Result::ok).enumerate() {
        if out.length() > LENGTH_MAX {
            return;
        }
        if place > 0 {
            out.put(", ");
        }
        out.put(&String::from_utf8_lossy(element.key));
        out.put(": ");
        value(&element, keeps.inside(element.key), depth + 1, out);
    }
    out.put("}");
}

/// Lists of conditions and of stages are shown one by one, lists of values as one.
fn array(key: &[u8], inner: &[u8], keeps: Keeps, depth: usize, out: &mut impl Sink) {
    let keeps = if keeps == Keeps::Numbers { Keeps::Paths } else { keeps };
    let is_list_of_values = matches!(key, b"$in" | b"$nin" | b"$all")
        || elements(inner).map_while(Result::ok).all(|element| element.value.as_document().is_none());
    if is_list_of_values {
        out.put("[?]");
        return;
    }
    out.put("[");
    for (place, element) in elements(inner).map_while(Result::ok).enumerate() {
        if place > 0 {
            out.put(", ");
        }
        value(&element, keeps, depth + 1, out);
        if out.length() > LENGTH_MAX {
            return;
        }
    }
    out.put("]");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{MsgFlags, OpMsgBuilder};
    use bson::{Document, doc};

    fn shape(mut command: Document) -> String {
        command.insert("$db", "app");
        let message = OpMsgBuilder::message(1, 0, MsgFlags(0), &bson::serialize_to_vec(&command).unwrap());
        text(&View::of(&message).unwrap())
    }

    #[test]
    fn values_are_left_out_and_all_else_stays() {
        let cases = [
            (
                doc! { "find": "c", "filter": { "name": "x", "n": { "$gt": 5 } }, "sort": { "n": -1 }, "limit": 5 },
                "find app.c {name: ?, n: {$gt: ?}} sort {n: -1}",
            ),
            (doc! { "find": "c", "filter": { "_id": { "$in": [1, 2, 3] } } }, "find app.c {_id: {$in: [?]}}"),
            (
                doc! { "find": "c", "filter": { "$or": [{ "a": 1 }, { "b": 2 }] } },
                "find app.c {$or: [{a: ?}, {b: ?}]}",
            ),
            (doc! { "find": "c", "filter": {} }, "find app.c {}"),
            (
                doc! { "aggregate": "c", "pipeline": [{ "$match": { "a": 1 } }, { "$group": { "_id": "$b", "n": { "$sum": 1 } } }, { "$sort": { "n": 1 } }] },
                "aggregate app.c [{$match: {a: ?}}, {$group: {_id: $b, n: {$sum: ?}}}, {$sort: {n: 1}}]",
            ),
            (
                doc! { "update": "c", "updates": [{ "q": { "_id": 1 }, "u": { "$set": { "a": "secret" } } }] },
                "update app.c {_id: ?} u {$set: {a: ?}}",
            ),
            (doc! { "delete": "c", "deletes": [{ "q": { "a": 1 }, "limit": 1 }] }, "delete app.c {a: ?}"),
            (doc! { "insert": "c", "documents": [{ "a": 1 }] }, "insert app.c"),
            (
                doc! { "find": "c", "filter": { "pw": "$2y$10$x", "s": "$x", "$expr": { "$eq": ["$a", "$b"] } } },
                "find app.c {pw: ?, s: ?, $expr: {$eq: [?]}}",
            ),
            (
                doc! { "aggregate": "c", "pipeline": [{ "$match": { "a": "$x" } }, { "$project": { "b": "$a.b", "c": "$5.99" } }] },
                "aggregate app.c [{$match: {a: ?}}, {$project: {b: $a.b, c: ?}}]",
            ),
            (doc! { "getMore": 5i64, "collection": "c" }, "getMore app.c"),
            (doc! { "distinct": "c", "key": "a", "query": { "b": 1 } }, "distinct app.c a {b: ?}"),
        ];
        for (command, wanted) in cases {
            assert_eq!(shape(command), wanted);
        }
    }

    #[test]
    fn a_shape_has_an_end() {
        let wide: Document = (0..500).map(|n| (format!("field{n}"), bson::Bson::Int32(n))).collect();
        assert!(shape(doc! { "find": "c", "filter": wide }).len() < LENGTH_MAX + 10);
        let deep = (0..60).fold(doc! { "x": 1 }, |inner, _| doc! { "a": inner });
        assert!(shape(doc! { "find": "c", "filter": deep }).ends_with("{a: …}}}}}}}}"));
    }
}
