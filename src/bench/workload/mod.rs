//! The workload file: what is loaded, and what is sent how often. Read and checked as a whole, every mistake named with
//! its line.

mod compile;
mod node;
mod operation;
mod reach;
mod read;

use std::time::Duration;

use bson::{Document, doc};
use toml::de::DeTable;

use self::compile::Scope;
use self::node::{Field, Node, Section, Tree};
pub use self::operation::Operation;
use self::operation::Surroundings;
use super::keys::{Distribution, Keys};
use super::placeholder::Slot;
use super::template::{Draws, Sizes, Template};
use crate::config::{ConfigError, Place, Problems, Span};
use crate::doc::BsonType;

/// A workload file that runs as it is, and teaches what can be in one.
pub const EXAMPLE: &str = include_str!("../example.toml");

/// Databases that are the server's own.
const SERVERS_OWN: [&str; 3] = ["admin", "config", "local"];

/// The database, if the file does not say.
const DATABASE: &str = "torana_bench";

/// The loaded collection, if the file does not say.
const COLLECTION: &str = "documents";

/// Documents, if the file does not say.
const DOCUMENTS: u64 = 10_000;

/// The size of documents, bytes, if the file says neither size nor document.
const SIZE: Sizes = Sizes { min: 1024, max: 1024 };

/// Clients, if the file does not say.
const CLIENTS: u64 = 16;

/// YCSB's exponent.
const EXPONENT: f64 = 0.99;

/// A workload.
#[derive(Debug, Clone, PartialEq)]
pub struct Workload {
    /// The only database that is written to.
    pub database: String,
    /// The same seed makes the same operations.
    pub seed: u64,
    /// What there is before the run.
    pub load: Option<Load>,
    /// How it is run.
    pub run: Plan,
    /// What is sent; at least one with a weight.
    pub operations: Vec<Operation>,
}

/// Documents that are there before the run, `_id` 0, 1, 2, ...
#[derive(Debug, Clone, PartialEq)]
pub struct Load {
    /// Into this collection.
    pub collection: String,
    /// How many.
    pub documents: u64,
    /// Index specifications as `createIndexes` takes them.
    pub indexes: Vec<Document>,
    /// One document.
    pub document: Template,
}

/// How a workload is run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    /// For so long.
    pub time: Option<Duration>,
    /// So many operations.
    pub operations: Option<u64>,
    /// Connections.
    pub clients: usize,
    /// Operations a second, all clients together; as many as the server takes if `None`.
    pub rate: Option<f64>,
    /// How long the rate, or the number of clients, grows.
    pub ramp: Duration,
    /// Which documents.
    pub keys: Distribution,
}

/// Reads `text`, the contents of the file named `file`.
pub fn parse(file: &str, text: &str) -> Result<Workload, ConfigError> {
    let mut problems = Problems::new(file, text);
    let table = match DeTable::parse(text) {
        Ok(table) => table,
        Err(error) => {
            let place = error.span().map_or(Place::File, Place::At);
            problems.add(&place, error.message());
            return Err(problems.into_error());
        }
    };
    let fields = node::table(table.get_ref(), &mut problems);
    let workload = workload(fields, &mut problems);
    problems.finish(workload)
}

fn workload(fields: Vec<Field>, problems: &mut Problems<'_>) -> Workload {
    let mut file = Section::new("the file", Node { at: 0..0, value: Tree::Table(fields) }, problems);
    let database = database(file.take("database"), problems);
    let seed = read::whole(file.take("seed"), "seed", 0..=i64::MAX as u64, problems).unwrap_or(1);
    let load = file.take("load").map(|node| load(node, problems));
    let run = run(file.take("run"), problems);
    let listed = file.take("operation");
    file.finish(&["database", "seed", "load", "run", "operation"], problems);
    let around = Surroundings {
        database: &database,
        collection: load.as_ref().map(|load| load.collection.as_str()),
        document: load.as_ref().map(|load| &load.document),
    };
    let operations = operations(listed, around, problems);
    Workload { database, seed, load, run, operations }
}

fn database(node: Option<Node>, problems: &mut Problems<'_>) -> String {
    let Some(node) = node else { return DATABASE.to_owned() };
    let place = node.place();
    let name = read::text(Some(node), "database", problems).unwrap_or_default();
    if SERVERS_OWN.iter().any(|own| own.eq_ignore_ascii_case(&name)) {
        problems.add(&place, format!("{name} is the server's own: a workload needs another database"));
    } else if name.is_empty() || name.contains(['/', '\\', '.', ' ', '"', '$', '\0']) {
        problems.add(&place, format!("{name:?} is no name of a database"));
    }
    name
}

fn operations(listed: Option<Node>, around: Surroundings<'_>, problems: &mut Problems<'_>) -> Vec<Operation> {
    let nodes = match listed.map(|node| (node.place(), node.value)) {
        Some((_, Tree::List(nodes))) if !nodes.is_empty() => nodes,
        Some((place, _)) => {
            problems.add(&place, "operations are tables of their own: [[operation]]");
            return Vec::new();
        }
        None => {
            problems.add(&Place::File, "there is no [[operation]]: `torana bench --example` shows some");
            return Vec::new();
        }
    };
    let place = nodes.first().map_or(Place::File, Node::place);
    let count = nodes.len();
    let operations: Vec<Operation> =
        nodes.into_iter().filter_map(|node| Operation::read(node, around, problems)).collect();
    if operations.len() == count && operations.iter().all(|operation| operation.weight == 0) {
        problems.add(&place, "no operation has a weight above 0");
    }
    operations
}

fn load(node: Node, problems: &mut Problems<'_>) -> Load {
    let mut section = Section::new("[load]", node, problems);
    let collection = section.take("collection");
    let place = collection.as_ref().map_or(Place::File, Node::place);
    let collection = read::text(collection, "collection", problems).unwrap_or_else(|| COLLECTION.to_owned());
    if collection.is_empty() || collection.starts_with("system.") || collection.contains(['$', '\0']) {
        problems.add(&place, format!("{collection:?} is no name of a collection that can be loaded"));
    }
    let documents = read::whole(section.take("documents"), "documents", 1..=10_000_000_000, problems);
    let size = section.take("size");
    let place = size.as_ref().map_or(Place::File, Node::place);
    let document = section.take("document");
    let sizes = match (&size, &document) {
        (None, None) => Some(SIZE),
        _ => read::sizes(size, problems),
    };
    let indexes = indexes(section.take("indexes"), problems);
    section.finish(&["collection", "documents", "size", "document", "indexes"], problems);
    let document = template(document, sizes, &place, problems);
    Load { collection, documents: documents.unwrap_or(DOCUMENTS), indexes, document }
}

/// A document of the load: its number, its own fields, its padding.
fn template(
    node: Option<Node>,
    sizes: Option<Sizes>,
    size_place: &Place,
    problems: &mut Problems<'_>,
) -> Template {
    let mut template = Template::default();
    template.open();
    template.key(BsonType::Int64, "_id");
    template.value(Slot::Next);
    if let Some(node) = node {
        if let Some(id) = node.get("_id") {
            problems.add(&id.place(), "_id is the document's number, 0, 1, 2, ..., and needs no mention");
        }
        match &node.value {
            Tree::Table(fields) => {
                let scope = Scope { document: None, has_keys: true, paths: false, depth: 0 };
                compile::elements(fields, scope, &mut template, problems);
            }
            _ => problems.add(&node.place(), "document is a table of the fields of each document"),
        }
    }
    if let Some(sizes) = sizes {
        let own = sample(&template).len();
        if own > sizes.max {
            let text = format!("the document's own fields take {own} bytes, more than its size");
            problems.add(size_place, text);
        }
        template.pad(sizes);
    }
    template.close();
    template
}

/// One document of the template, which may be open at its end.
fn sample(template: &Template) -> Vec<u8> {
    let mut closed = template.clone();
    closed.close();
    let mut out = Vec::new();
    closed.write(&mut Draws::new(0, Keys::new(1, Distribution::Uniform), 0), &mut out);
    out
}

fn indexes(node: Option<Node>, problems: &mut Problems<'_>) -> Vec<Document> {
    let Some(node) = node else { return Vec::new() };
    let Tree::List(items) = &node.value else {
        problems.add(&node.place(), "indexes are a list: [{ player = 1 }, { player = 1, at = -1 }]");
        return Vec::new();
    };
    items.iter().filter_map(|item| index(item, problems)).collect()
}

/// `{ player = 1 }`, or a whole specification: `{ key = { player = 1 }, unique = true }`.
fn index(node: &Node, problems: &mut Problems<'_>) -> Option<Document> {
    let Some(fields) = node.fields().filter(|fields| !fields.is_empty()) else {
        problems.add(&node.place(), "an index is a table: { player = 1 }");
        return None;
    };
    let scope = Scope { document: None, has_keys: false, paths: true, depth: 0 };
    let mut template = Template::default();
    compile::document(fields, scope, &mut template, problems);
    let mut bytes = Vec::new();
    template.write(&mut Draws::new(0, Keys::new(1, Distribution::Uniform), 0), &mut bytes);
    let given = Document::from_reader(bytes.as_slice()).ok()?;
    let mut spec = match given.get_document("key") {
        Ok(_) => given,
        Err(_) => doc! { "key": given },
    };
    if !spec.contains_key("name") {
        let keys = spec.get_document("key").ok()?.iter();
        let parts: Vec<String> =
            keys.map(|(key, way)| format!("{key}_{}", way.to_string().trim_matches('"'))).collect();
        spec.insert("name", parts.join("_"));
    }
    Some(spec)
}

fn run(node: Option<Node>, problems: &mut Problems<'_>) -> Plan {
    let empty = Node { at: 0..0, value: Tree::Table(Vec::new()) };
    let place = node.as_ref().map_or(Place::File, Node::place);
    let mut section = Section::new("[run]", node.unwrap_or(empty), problems);
    let time = read::written::<Span>(section.take("for"), "for", problems).map(|span| span.0);
    let operations = read::whole(section.take("operations"), "operations", 1..=u64::MAX >> 12, problems);
    let clients = read::whole(section.take("clients"), "clients", 1..=50_000, problems).unwrap_or(CLIENTS);
    let rate = read::number(section.take("rate"), "rate", 0.01..=10_000_000.0, problems);
    let ramp = section.take("ramp");
    let ramp_place = ramp.as_ref().map_or(Place::File, Node::place);
    let ramp = read::written::<Span>(ramp, "ramp", problems).map_or(Duration::ZERO, |span| span.0);
    let keys = keys(&mut section, problems);
    section.finish(&["for", "operations", "clients", "rate", "ramp", "keys", "exponent"], problems);
    if time.is_none() && operations.is_none() {
        problems.add(&place, "[run] says neither `for` (\"60s\") nor `operations`: it would never end");
    }
    if time.is_some_and(|time| ramp >= time) {
        problems.add(&ramp_place, "ramp is a part of `for`, and has to be shorter");
    }
    Plan { time, operations, clients: clients as usize, rate, ramp, keys }
}

fn keys(section: &mut Section, problems: &mut Problems<'_>) -> Distribution {
    let exponent = section.take("exponent");
    let exponent_place = exponent.as_ref().map(Node::place);
    let exponent = read::number(exponent, "exponent", 0.01..=0.9999, problems).unwrap_or(EXPONENT);
    let keys = section.take("keys");
    let place = keys.as_ref().map_or(Place::File, Node::place);
    match read::text(keys, "keys", problems).as_deref() {
        Some("zipf") => Distribution::Zipf(exponent),
        Some("uniform") | None => {
            if let Some(place) = exponent_place {
                problems.add(&place, "exponent is Zipf's: say keys = \"zipf\" with it");
            }
            Distribution::Uniform
        }
        Some(other) => {
            problems.add(&place, format!("keys is {other:?}: it can be \"zipf\" or \"uniform\""));
            Distribution::Uniform
        }
    }
}

impl Workload {
    /// The keys that `$key` chooses from.
    pub fn keys(&self) -> Keys {
        Keys::new(self.load.as_ref().map_or(1, |load| load.documents), self.run.keys)
    }

    /// The collections that it writes into beside what it loads, each once.
    pub fn written(&self) -> Vec<&str> {
        let mut names: Vec<&str> =
            self.operations.iter().filter_map(|operation| operation.writes.as_deref()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

#[cfg(test)]
#[path = "../workload_tests.rs"]
mod tests;
