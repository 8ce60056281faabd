//! How far a command reaches: which collection it is about and writes into, and whether it may be part of a workload at all.
//! A load test must harm nothing but what it was given.

use std::collections::HashSet;

use super::node::{Field, Node, Tree};
use crate::command::{Command, Kind};
use crate::config::Problems;
use crate::replay::plan::is_administrative;

/// Commands that reach beyond one collection of one database, or take away what the load did not make.
const TOO_FAR: [&str; 9] = [
    "dropDatabase",
    "drop",
    "renameCollection",
    "convertToCapped",
    "cloneCollectionAsCapped",
    "mapReduce",
    "bulkWrite",
    "getMore",
    "killCursors",
];

/// How far a command reaches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Reach {
    /// The collection that it is about; empty if none.
    pub collection: String,
    /// The collection that it writes into.
    pub writes: Option<String>,
}

/// Of a command, its name first; `None` after an error.
pub(super) fn of(command: &[Field], database: &str, problems: &mut Problems<'_>) -> Option<Reach> {
    let first = command.first()?;
    if !names_each_once(command, database, problems) {
        return None;
    }
    let kind = Command::named(first.key.as_bytes()).kind();
    if let Some(why) = refusal(&first.key, kind) {
        problems.add(&first.node.place(), format!("{} is no part of a workload: {why}", first.key));
        return None;
    }
    let awaits = command.iter().find(|field| matches!(field.key.as_str(), "tailable" | "awaitData"));
    if let Some(field) = awaits {
        problems.add(&field.node.place(), "a cursor that waits for what others do has no end to measure");
        return None;
    }
    let collection = match first.node.as_text() {
        Some(name) if name.starts_with('$') => {
            problems.add(&first.node.place(), "the name of a collection must be written out");
            return None;
        }
        Some(name) => name.to_owned(),
        None => String::new(),
    };
    let pipeline = command.iter().find(|field| field.key == "pipeline").map(|field| &field.node);
    let mut writes = (kind == Kind::Write).then(|| collection.clone());
    if let Some(into) = pipeline.map(|pipeline| out_of(pipeline, database, problems)) {
        writes = into?.or(writes);
    }
    if writes.as_ref().is_some_and(|into| into.starts_with("system.")) {
        problems.add(&first.node.place(), "collections whose names begin with system. are the server's own");
        return None;
    }
    Some(Reach { collection, writes })
}

/// Whether each field is there once, as servers differ in which of two they take, and no other database is named: a server
/// takes the first `$db`, and ours is the last.
fn names_each_once(command: &[Field], database: &str, problems: &mut Problems<'_>) -> bool {
    let mut seen = HashSet::new();
    for field in command {
        let text = match field.key.as_str() {
            "$db" => format!("a workload works on its own database alone, {database}"),
            key if !seen.insert(key) => format!("the command has `{key}` twice"),
            _ => continue,
        };
        problems.add(&field.node.place(), text);
        return false;
    }
    true
}

fn refusal(name: &str, kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Authentication | Kind::FailPoint | Kind::LastError | Kind::EndTransaction => {
            return Some("it belongs to a connection or to the server");
        }
        _ => {}
    }
    let is_too_far = TOO_FAR.iter().any(|known| known.eq_ignore_ascii_case(name));
    match (is_administrative(name.as_bytes()), is_too_far) {
        (true, _) => Some("it changes the server, and not the data"),
        (_, true) => Some("it reaches beyond what a load test may touch"),
        _ => None,
    }
}

/// The collection that the last stage of a pipeline writes into, if it does: `Some(None)` if not, `None` after an error.
fn out_of(pipeline: &Node, database: &str, problems: &mut Problems<'_>) -> Option<Option<String>> {
    let Tree::List(stages) = &pipeline.value else { return Some(None) };
    if let Some(stage) = stages.iter().find_map(|stage| stage.get("$changeStream")) {
        problems.add(&stage.place(), "a change stream waits for what others do, and has no end to measure");
        return None;
    }
    let Some(stage) = stages.iter().find_map(|stage| stage.get("$out").or(stage.get("$merge"))) else {
        return Some(None);
    };
    let target = stage.get("into").unwrap_or(stage);
    let (place, into) = (target.place(), target.get("coll").unwrap_or(target));
    let other = target.get("db").filter(|db| db.as_text() != Some(database));
    match into.as_text() {
        Some(name) if other.is_none() && !name.starts_with('$') => Some(Some(name.to_owned())),
        Some(_) | None => {
            let text = format!(
                "a workload writes to its own database alone, {database}, by a name that is written out"
            );
            problems.add(&place, text);
            None
        }
    }
}
