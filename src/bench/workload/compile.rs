//! From a tree of the file to a template: placeholders become places for values, all else becomes bytes.

use bson::Bson;

use super::node::{Field, Node, Tree};
use crate::bench::placeholder::{self, Meaning, Slot};
use crate::bench::template::{Template, type_of};
use crate::config::Problems;
use crate::doc::BsonType;

/// Nesting that servers take (`maxBSONDepth`).
const DEPTH_MAX: usize = 100;

/// What a document may refer to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scope<'t> {
    /// What `$document` stands for.
    pub document: Option<&'t Template>,
    /// There are documents that `$key` can choose from.
    pub has_keys: bool,
    /// Strings that begin with a dollar may be field paths.
    pub paths: bool,
    /// How deep.
    pub depth: usize,
}

/// Appends a document of these fields.
pub(super) fn document(
    fields: &[Field],
    scope: Scope<'_>,
    template: &mut Template,
    problems: &mut Problems<'_>,
) {
    template.open();
    elements(fields, scope, template, problems);
    template.close();
}

/// Appends these fields to the document that is open.
pub(super) fn elements(
    fields: &[Field],
    scope: Scope<'_>,
    template: &mut Template,
    problems: &mut Problems<'_>,
) {
    for field in fields {
        element(&field.key, &field.node, scope, template, problems);
    }
}

fn element(key: &str, node: &Node, scope: Scope<'_>, template: &mut Template, problems: &mut Problems<'_>) {
    if key.contains('\0') || scope.depth > DEPTH_MAX {
        problems.add(&node.place(), "no server takes this: a zero in a key, or too deep a document");
        return;
    }
    let scope = scope.inside(key, node);
    match &node.value {
        Tree::Scalar(value) => raw(key, value.clone(), template),
        Tree::Text(text) => match placeholder::read(text, scope.paths) {
            Ok(Meaning::Text) => raw(key, Bson::String(text.clone()), template),
            Ok(Meaning::Slot(slot)) => place(key, slot, node, scope, template, problems),
            Err(error) => problems.add(&node.place(), error),
        },
        Tree::List(items) => {
            template.key(BsonType::Array, key);
            template.open();
            for (number, item) in items.iter().enumerate() {
                element(&number.to_string(), item, scope, template, problems);
            }
            template.close();
        }
        Tree::Table(fields) => {
            template.key(BsonType::Document, key);
            document(fields, scope, template, problems);
        }
    }
}

/// A place for a value.
fn place(
    key: &str,
    slot: Slot,
    node: &Node,
    scope: Scope<'_>,
    template: &mut Template,
    problems: &mut Problems<'_>,
) {
    template.key(type_of(&slot), key);
    match (slot, scope.document) {
        (Slot::Key, _) if !scope.has_keys => {
            problems.add(&node.place(), "$key is a document of [load], and there is no [load]");
        }
        (Slot::Document, Some(document)) => template.nested(document),
        (Slot::Document, None) => {
            problems.add(&node.place(), "$document is one as [load] makes them, and for insert alone");
        }
        (slot, _) => template.value(slot),
    }
}

/// An element that is always the same.
fn raw(key: &str, value: Bson, template: &mut Template) {
    let mut document = bson::Document::new();
    document.insert(key, value);
    // A scalar under a key without zeros can be written.
    let bytes = bson::serialize_to_vec(&document).unwrap_or_default();
    let element = bytes.len().checked_sub(1).and_then(|end| bytes.get(4..end));
    template.bytes(element.unwrap_or_default());
}

impl Scope<'_> {
    /// Inside the value of this key: an expression, a pipeline, a projection, or an update that is a pipeline has field paths.
    fn inside(self, key: &str, node: &Node) -> Self {
        let is_list = matches!(node.value, Tree::List(_));
        let begins = match key {
            "pipeline" | "$expr" | "let" | "projection" | "fields" => true,
            "u" | "update" => is_list,
            _ => false,
        };
        Scope { paths: self.paths || begins, depth: self.depth + 1, ..self }
    }
}
