//! One `[[operation]]`: from the short form of the file to a whole command of MongoDB's.

use super::compile::{self, Scope};
use super::node::{Field, Node, Section, Tree};
use super::reach::{self, Reach};
use super::read;
use crate::bench::keys::{Distribution, Keys};
use crate::bench::template::{Draws, Template};
use crate::config::{Place, Problems, did_you_mean};
use crate::replay::shape;
use crate::replay::view::View;
use crate::wire::{MsgFlags, OpMsgBuilder};

/// The kinds of operations: exactly one of them stands in each.
const VERBS: [&str; 8] =
    ["find", "aggregate", "count", "insert", "update", "delete", "findAndModify", "command"];

/// Options of MongoDB's that look like slips of ours.
const NOT_MEANT: [&str; 4] = ["new", "min", "max", "let"];

/// The highest weight.
const WEIGHT_MAX: u64 = 1_000_000;

/// An operation that is sent again and again, each time with other values.
#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    /// What the report calls it: its own name, or its shape.
    pub name: String,
    /// How often it comes, by the sum of all weights.
    pub weight: u64,
    /// The command, `$db` included.
    pub template: Template,
    /// The command's name.
    pub command: String,
    /// `db.collection`, or the database alone.
    pub namespace: String,
    /// The collection that it writes into, if it writes; empty if that cannot be told.
    pub writes: Option<String>,
}

/// What an operation refers to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Surroundings<'a> {
    pub database: &'a str,
    /// The collection of `[load]`.
    pub collection: Option<&'a str>,
    /// A document of `[load]`.
    pub document: Option<&'a Template>,
}

impl Surroundings<'_> {
    /// The collection of an operation that names none.
    fn collection_for(self, verb: &str, value: &Node, problems: &mut Problems<'_>) -> Option<Node> {
        match self.collection {
            Some(name) => Some(Node::text(name, &value.at)),
            None if verb == "command" => Some(Node::text("", &value.at)),
            None => {
                let text = format!("{verb} needs a collection: say which, or have a [load]");
                problems.add(&value.place(), text);
                None
            }
        }
    }
}

/// The one verb that there has to be.
fn only<'v>(verbs: Vec<(&'v str, Node)>, at: &Place, problems: &mut Problems<'_>) -> Option<(&'v str, Node)> {
    let one = <[(&str, Node); 1]>::try_from(verbs).map(|[one]| one);
    one.map_err(|found| {
        let place = found.get(1).map_or(at.clone(), |(_, node)| node.place());
        problems.add(&place, format!("an [[operation]] has exactly one of {}", VERBS.join(", ")));
    })
    .ok()
}

impl Operation {
    /// Reads one; `None` after an error.
    pub(super) fn read(
        node: Node,
        around: Surroundings<'_>,
        problems: &mut Problems<'_>,
    ) -> Option<Operation> {
        let mut section = Section::new("an [[operation]]", node, problems);
        let weight = read::whole(section.take("weight"), "weight", 0..=WEIGHT_MAX, problems).unwrap_or(1);
        let name = read::text(section.take("name"), "name", problems);
        let collection = section.take("collection");
        let at = Place::At(section.at.clone());
        let verbs: Vec<(&str, Node)> =
            VERBS.into_iter().filter_map(|verb| section.take(verb).map(|node| (verb, node))).collect();
        let rest = section.rest();
        if !check_rest(&rest, problems) {
            return None;
        }
        let (verb, value) = only(verbs, &at, problems)?;
        let place = value.at.clone();
        let collection = collection.or_else(|| around.collection_for(verb, &value, problems))?;
        let mut command = command(verb, value, collection, rest, problems)?;
        let reach = reach::of(&command, around.database, problems)?;
        command.push(Field::new("$db", Node::text(around.database, &place)));
        Some(Operation::of(&command, verb, (name, weight), reach, around, problems))
    }

    fn of(
        command: &[Field],
        verb: &str,
        (name, weight): (Option<String>, u64),
        reach: Reach,
        around: Surroundings<'_>,
        problems: &mut Problems<'_>,
    ) -> Operation {
        let scope = Scope {
            document: around.document.filter(|_| verb == "insert"),
            has_keys: around.document.is_some(),
            paths: verb == "command",
            depth: 0,
        };
        let mut template = Template::default();
        compile::document(command, scope, &mut template, problems);
        let namespace = match reach.collection.as_str() {
            "" => around.database.to_owned(),
            collection => format!("{}.{collection}", around.database),
        };
        let name = name.unwrap_or_else(|| shape_of(&template));
        let command = command.first().map(|field| field.key.clone()).unwrap_or_default();
        Operation { name, weight, template, command, namespace, writes: reach.writes }
    }
}

/// What stands beside the operation goes into the command: unless it looks like one of our own keys, misspelled.
fn check_rest(rest: &[Field], problems: &mut Problems<'_>) -> bool {
    let own = VERBS.into_iter().chain(["weight", "name", "collection"]);
    let mut is_right = true;
    for field in rest.iter().filter(|field| !NOT_MEANT.contains(&field.key.as_str())) {
        if let Some(meant) = did_you_mean(&field.key, own.clone()) {
            problems.add(&field.node.place(), format!("`{}`: did you mean `{meant}`?", field.key));
            is_right = false;
        }
    }
    is_right
}

/// The command's fields, its name first.
fn command(
    verb: &str,
    value: Node,
    collection: Node,
    rest: Vec<Field>,
    problems: &mut Problems<'_>,
) -> Option<Vec<Field>> {
    if !is_of_form(verb, &value) {
        problems.add(&value.place(), format!("{verb} is {}", form(verb)));
        return None;
    }
    let at = value.at.clone();
    let mut fields = vec![Field::new(verb, collection)];
    match verb {
        "find" => fields.push(Field::new("filter", value)),
        "count" => fields.push(Field::new("query", value)),
        "insert" => fields.push(Field::new("documents", list(value))),
        "aggregate" => {
            fields.push(Field::new("pipeline", value));
            if !rest.iter().any(|field| field.key == "cursor") {
                fields.push(Field::new("cursor", Node { at, value: Tree::Table(Vec::new()) }));
            }
        }
        "update" => fields.push(Field::new("updates", statements(list(value), &["q", "u"], problems)?)),
        "delete" => {
            fields.push(Field::new("deletes", statements(with_limit(list(value)), &["q"], problems)?))
        }
        _ => {
            let Tree::Table(inner) = value.value else { return None };
            match verb {
                "findAndModify" => fields.extend(inner),
                _ => fields = inner,
            }
        }
    }
    fields.extend(rest);
    Some(fields)
}

fn is_of_form(verb: &str, value: &Node) -> bool {
    let is_list = matches!(value.value, Tree::List(_));
    match verb {
        "aggregate" => is_list,
        "insert" => true,
        "update" | "delete" => is_list || value.fields().is_some(),
        "command" => value.fields().is_some_and(|fields| !fields.is_empty()),
        _ => value.fields().is_some(),
    }
}

fn form(verb: &str) -> &'static str {
    match verb {
        "find" => "a filter: { _id = \"$key\" }",
        "count" => "a query: { player = \"$int:1..100\" }",
        "aggregate" => "a pipeline: [{ \"$match\" = { player = 5 } }]",
        "update" => "a statement: { q = { ... }, u = { ... } }",
        "delete" => "a statement: { q = { ... }, limit = 1 }",
        "findAndModify" => "a table: { query = { ... }, update = { ... } }",
        _ => "a command document: { ping = 1 }",
    }
}

/// One statement, or several.
fn list(value: Node) -> Node {
    match value.value {
        Tree::List(_) => value,
        _ => Node { at: value.at.clone(), value: Tree::List(vec![value]) },
    }
}

/// Without a limit of its own a delete deletes one document, which is the lesser harm.
fn with_limit(mut statements: Node) -> Node {
    if let Tree::List(items) = &mut statements.value {
        for item in items {
            if let Tree::Table(fields) = &mut item.value
                && !fields.iter().any(|field| field.key == "limit")
            {
                fields.push(Field::new("limit", Node::scalar(1, &item.at)));
            }
        }
    }
    statements
}

/// Statements that have what they need.
fn statements(statements: Node, wanted: &[&str], problems: &mut Problems<'_>) -> Option<Node> {
    let Tree::List(items) = &statements.value else { return None };
    for item in items {
        if let Some(missing) = wanted.iter().find(|key| item.get(key).is_none()) {
            problems.add(&item.place(), format!("a statement needs `{missing}`"));
            return None;
        }
    }
    Some(statements)
}

/// The shape of what the template makes.
fn shape_of(template: &Template) -> String {
    let mut draws = Draws::new(0, Keys::new(1, Distribution::Uniform), 0);
    let mut body = Vec::new();
    template.write(&mut draws, &mut body);
    let message = OpMsgBuilder::message(1, 0, MsgFlags(0), &body);
    View::of(&message).map(|view| shape::text(&view)).unwrap_or_default()
}
