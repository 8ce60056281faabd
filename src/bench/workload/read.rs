//! Single values of a workload file: numbers in their ranges, words, durations, sizes.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use bson::Bson;

use super::node::{Node, Tree};
use crate::bench::template::Sizes;
use crate::config::{Problems, Size, show_size};

/// The longest document that a server takes (`maxBsonObjectSize`), bytes.
const DOCUMENT_MAX: usize = 16 << 20;

/// A whole number within `range`.
pub(super) fn whole(
    node: Option<Node>,
    name: &str,
    range: RangeInclusive<u64>,
    problems: &mut Problems<'_>,
) -> Option<u64> {
    let node = node?;
    let found = match &node.value {
        Tree::Scalar(Bson::Int32(number)) => i64::from(*number),
        Tree::Scalar(Bson::Int64(number)) => *number,
        _ => {
            problems.add(&node.place(), format!("{name} is a whole number"));
            return None;
        }
    };
    let number = u64::try_from(found).ok().filter(|number| range.contains(number));
    if number.is_none() {
        let text = format!("{name} is {found}, which is outside {} to {}", range.start(), range.end());
        problems.add(&node.place(), text);
    }
    number
}

/// A number within `range`.
pub(super) fn number(
    node: Option<Node>,
    name: &str,
    range: RangeInclusive<f64>,
    problems: &mut Problems<'_>,
) -> Option<f64> {
    let node = node?;
    let found = match &node.value {
        Tree::Scalar(Bson::Int32(number)) => f64::from(*number),
        Tree::Scalar(Bson::Int64(number)) => *number as f64,
        Tree::Scalar(Bson::Double(number)) => *number,
        _ => {
            problems.add(&node.place(), format!("{name} is a number"));
            return None;
        }
    };
    if !range.contains(&found) {
        let text = format!("{name} is {found}, which is outside {} to {}", range.start(), range.end());
        problems.add(&node.place(), text);
        return None;
    }
    Some(found)
}

/// A string.
pub(super) fn text(node: Option<Node>, name: &str, problems: &mut Problems<'_>) -> Option<String> {
    let node = node?;
    match node.value {
        Tree::Text(text) => Some(text),
        _ => {
            problems.add(&node.place(), format!("{name} is a string"));
            None
        }
    }
}

/// What is written as a string: a duration, a size.
pub(super) fn written<T: FromStr<Err: Display>>(
    node: Option<Node>,
    name: &str,
    problems: &mut Problems<'_>,
) -> Option<T> {
    let node = node?;
    let parsed = match &node.value {
        Tree::Text(text) => text.parse().map_err(|error: T::Err| error.to_string()),
        Tree::Scalar(value) => value.to_string().parse().map_err(|error: T::Err| error.to_string()),
        _ => Err(format!("{name} is one value")),
    };
    match parsed {
        Ok(value) => Some(value),
        Err(error) => {
            problems.add(&node.place(), format!("{name}: {error}"));
            None
        }
    }
}

/// Sizes of documents: one, or all from `min` to `max`.
pub(super) fn sizes(node: Option<Node>, problems: &mut Problems<'_>) -> Option<Sizes> {
    let node = node?;
    let place = node.place();
    let (min, max) = match node.fields() {
        None => {
            let size = written::<Size>(Some(node), "size", problems)?.0;
            (size, size)
        }
        Some(fields) => {
            let mut ends = [None, None];
            for field in fields {
                match field.key.as_str() {
                    "min" => ends[0] = written::<Size>(Some(field.node.clone()), "size.min", problems),
                    "max" => ends[1] = written::<Size>(Some(field.node.clone()), "size.max", problems),
                    _ => problems.add(&field.node.place(), "size has no other keys than min and max"),
                }
            }
            let [Some(min), Some(max)] = ends else {
                problems.add(&place, "size is one size, or { min = \"...\", max = \"...\" }");
                return None;
            };
            (min.0, max.0)
        }
    };
    if min > max || max > DOCUMENT_MAX {
        let [min, max, most] = [min, max, DOCUMENT_MAX].map(show_size);
        problems.add(&place, format!("sizes from {min} to {max}: a document has at most {most}"));
        return None;
    }
    Some(Sizes { min, max })
}
