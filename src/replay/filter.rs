//! Which operations are wanted: `command=find,aggregate`, `ns=app.*`, `connection=17`, `shape=find app.c {name: ?}`. Several
//! filters must all agree.

use std::str::FromStr;

use super::job::ConnectionId;
use super::shape;
use super::view::View;

/// One condition; an operation passes if it is any of the values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// The command's name.
    Command(Vec<String>),
    /// `db.collection`; a `*` at the end stands for anything.
    Namespace(Vec<String>),
    /// The number of the connection in the capture.
    Connection(Vec<u64>),
    /// The query shape, as reports show it; a `*` at the end stands for anything.
    Shape(String),
}

impl FromStr for Filter {
    type Err = String;

    fn from_str(text: &str) -> Result<Filter, String> {
        let help = "a filter is command=NAME,.., ns=DB.COLLECTION,.. (with * at its end for all that begin so), connection=NUMBER,.. or shape=SHAPE (as reports show it, or its beginning and *)";
        let (key, values) = text.split_once('=').ok_or_else(|| format!("{text:?}: {help}"))?;
        if key.trim() == "shape" && !values.trim().is_empty() {
            return Ok(Filter::Shape(values.trim().to_owned()));
        }
        let values: Vec<String> =
            values.split(',').map(str::trim).filter(|value| !value.is_empty()).map(str::to_owned).collect();
        if values.is_empty() {
            return Err(format!("{text:?} names nothing: {help}"));
        }
        match key.trim() {
            "command" => Ok(Filter::Command(values)),
            "ns" | "namespace" => {
                match values.iter().find(|value| !value.contains('.') && !value.ends_with('*')) {
                    Some(value) => Err(format!("{value:?} names no collection: {help}")),
                    None => Ok(Filter::Namespace(values)),
                }
            }
            "connection" => {
                let numbers = values.iter().map(|value| value.parse()).collect::<Result<Vec<u64>, _>>();
                numbers.map(Filter::Connection).map_err(|_| format!("{text:?}: {help}"))
            }
            _ => Err(format!("{text:?}: {help}")),
        }
    }
}

impl Filter {
    /// Whether an operation passes.
    pub fn takes(&self, connection: ConnectionId, view: &View<'_>) -> bool {
        match self {
            Filter::Command(names) => names.iter().any(|name| name.as_bytes() == view.name()),
            Filter::Connection(numbers) => numbers.contains(&connection.number),
            Filter::Namespace(patterns) => {
                patterns.iter().any(|pattern| matches(pattern.as_bytes(), view.database, view.collection()))
            }
            Filter::Shape(pattern) => shape::matches(pattern, &shape::text(view)),
        }
    }
}

fn matches(pattern: &[u8], database: &[u8], collection: &[u8]) -> bool {
    let namespace = [database, b".", collection].concat();
    match pattern.strip_suffix(b"*") {
        Some(front) => namespace.starts_with(front),
        None => namespace == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{MsgFlags, OpMsgBuilder};
    use bson::doc;

    #[test]
    fn an_operation_passes_if_it_is_any_of_the_values() {
        let takes = |filter: &str, connection, command: &str, db: &str, collection: &str| {
            let id = ConnectionId { lap: 0, number: connection };
            let filter: Filter = filter.parse().unwrap();
            let body = doc! { command: collection, "filter": { "a": 1, "b": 2 }, "$db": db };
            let body = bson::serialize_to_vec(&body).unwrap();
            let message = OpMsgBuilder::message(1, 0, MsgFlags(0), &body);
            filter.takes(id, &View::of(&message).unwrap())
        };
        assert!(takes("command=find, aggregate", 1, "aggregate", "a", "b"));
        assert!(!takes("command=find", 1, "finds", "a", "b"));
        assert!(takes("ns=app.*", 1, "find", "app", "b") && !takes("ns=app.*", 1, "find", "apps", "b"));
        assert!(takes("ns=app.b", 1, "find", "app", "b") && !takes("ns=app.b", 1, "find", "app", "bc"));
        assert!(takes("connection=1,2", 2, "find", "a", "b") && !takes("connection=1", 2, "find", "a", "b"));
        let whole = "shape=find a.b {a: ?, b: ?}";
        assert!(takes(whole, 1, "find", "a", "b") && !takes(whole, 1, "count", "a", "b"));
        assert!(takes("shape=find a.b {a:*", 1, "find", "a", "b"));
        assert!(!takes("shape=find a.b {a: ?}", 1, "find", "a", "b"));
    }

    #[test]
    fn what_is_no_filter_is_refused_with_its_form() {
        for text in ["find", "command=", "colour=red", "connection=x", "shape= "] {
            assert!(text.parse::<Filter>().unwrap_err().contains("command=NAME"), "{text}");
        }
    }
}
