//! A TOML file as a tree in which everything has its place, and tables keep the order in which they were written: the
//! first key of a MongoDB command is its name, and a sort is by its first key first.

use std::ops::Range;

use bson::{Bson, DateTime};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::{Place, Problems, did_you_mean};

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// Bytes of the file.
    pub at: Range<usize>,
    pub value: Tree,
}

/// A value.
#[derive(Debug, Clone)]
pub(super) enum Tree {
    /// A number, a date, yes or no.
    Scalar(Bson),
    /// A string, which may be a placeholder.
    Text(String),
    List(Vec<Node>),
    Table(Vec<Field>),
}

/// A key with its value.
#[derive(Debug, Clone)]
pub(super) struct Field {
    pub key: String,
    pub node: Node,
}

impl Node {
    /// Text that stands at no place of its own.
    pub fn text(text: &str, at: &Range<usize>) -> Node {
        Node { at: at.clone(), value: Tree::Text(text.to_owned()) }
    }

    /// A number or the like that stands at no place of its own.
    pub fn scalar(value: impl Into<Bson>, at: &Range<usize>) -> Node {
        Node { at: at.clone(), value: Tree::Scalar(value.into()) }
    }

    /// Where it stands.
    pub fn place(&self) -> Place {
        Place::At(self.at.clone())
    }

    /// Its fields, if it is a table.
    pub fn fields(&self) -> Option<&[Field]> {
        match &self.value {
            Tree::Table(fields) => Some(fields),
            _ => None,
        }
    }

    /// Its string, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match &self.value {
            Tree::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The value of a field, if it is a table that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.fields()?.iter().find(|field| field.key == key).map(|field| &field.node)
    }
}

impl Field {
    /// A key with its value.
    pub fn new(key: &str, node: Node) -> Field {
        Field { key: key.to_owned(), node }
    }
}

/// The tree of a table.
pub(super) fn table(table: &DeTable<'_>, problems: &mut Problems<'_>) -> Vec<Field> {
    let mut fields: Vec<(usize, Field)> = Vec::with_capacity(table.len());
    for (key, value) in table {
        let node = node(value, problems);
        fields.push((key.span().start, Field::new(key.get_ref(), node)));
    }
    fields.sort_by_key(|(at, _)| *at);
    fields.into_iter().map(|(_, field)| field).collect()
}

fn node(value: &Spanned<DeValue<'_>>, problems: &mut Problems<'_>) -> Node {
    let at = value.span();
    let tree = match value.get_ref() {
        DeValue::String(text) => Tree::Text(text.clone().into_owned()),
        DeValue::Array(items) => Tree::List(items.iter().map(|item| node(item, problems)).collect()),
        DeValue::Table(inner) => Tree::Table(table(inner, problems)),
        DeValue::Boolean(value) => Tree::Scalar(Bson::Boolean(*value)),
        other => match scalar(other) {
            Some(value) => Tree::Scalar(value),
            None => {
                problems.add(&Place::At(at.clone()), wrong_scalar(other));
                Tree::Scalar(Bson::Null)
            }
        },
    };
    Node { at, value: tree }
}

/// Whole numbers are 32 bits wide where that is enough, as those of shells and drivers are.
fn scalar(value: &DeValue<'_>) -> Option<Bson> {
    match value {
        DeValue::Integer(number) => {
            let number = i64::from_str_radix(number.as_str(), number.radix()).ok()?;
            Some(i32::try_from(number).map_or(Bson::Int64(number), Bson::Int32))
        }
        DeValue::Float(number) => number.as_str().parse().ok().map(Bson::Double),
        DeValue::Datetime(time) => DateTime::parse_rfc3339_str(time.to_string()).ok().map(Bson::DateTime),
        _ => None,
    }
}

fn wrong_scalar(value: &DeValue<'_>) -> String {
    match value {
        DeValue::Datetime(_) => {
            "a time needs its date and its offset, such as 2025-01-31T12:00:00Z".to_owned()
        }
        _ => "this number does not fit into 64 bits".to_owned(),
    }
}

/// A table that is read key by key; what nobody has read in the end does not exist.
pub(super) struct Section {
    /// What errors call it.
    pub name: &'static str,
    pub at: Range<usize>,
    fields: Vec<Field>,
}

impl Section {
    /// Of a table; of nothing, and an error, if it is none.
    pub fn new(name: &'static str, node: Node, problems: &mut Problems<'_>) -> Section {
        let fields = match node.value {
            Tree::Table(fields) => fields,
            _ => {
                problems.add(&Place::At(node.at.clone()), format!("{name} is a table"));
                Vec::new()
            }
        };
        Section { name, at: node.at, fields }
    }

    /// Takes a value out.
    pub fn take(&mut self, key: &str) -> Option<Node> {
        let place = self.fields.iter().position(|field| field.key == key)?;
        Some(self.fields.remove(place).node)
    }

    /// What was not taken.
    pub fn rest(self) -> Vec<Field> {
        self.fields
    }

    /// Names what was not taken as an error.
    pub fn finish(self, known: &[&str], problems: &mut Problems<'_>) {
        for field in self.fields {
            let meant = did_you_mean(&field.key, known.iter().copied());
            let meant = meant.map_or(String::new(), |meant| format!("; did you mean `{meant}`?"));
            let text = format!("{} has no key `{}`, only {}{meant}", self.name, field.key, known.join(", "));
            problems.add(&field.node.place(), text);
        }
    }
}
