//! Where in a document members' names stand, as data, and the one function that follows it.
//!
//! Each message that names members has a tree of rules in a file of its own; everything that no rule speaks of is
//! copied byte for byte. Trees are constants, so that the recursion over them has the depth that they are written
//! in; the one rule that follows the document instead has a bound.

use super::RewriteError;
use super::name_map::{NameMap, Rewritten};
use super::text::replace_names;
use crate::doc::{BsonType, DocWriter, Element, Value, elements};

/// The deepest nesting that is followed: mongod's own limit (`maxBSONDepth`), which no stored document exceeds.
const DEPTH_MAX: usize = 200;

/// What to do with a value.
#[derive(Debug)]
pub(super) enum Rule {
    /// A string that is a member's name, `host:port`, or empty.
    Name,
    /// A string that may have names in it.
    Text,
    /// A document with rules for some of its fields.
    Fields(&'static [(&'static str, Rule)]),
    /// A document or array: the rule goes for every value in it.
    Each(&'static Rule),
    /// A document some of whose *keys* are members' names.
    Keys,
    /// Every string at any depth may have names in it.
    Anywhere,
}

/// Follows rules through one message.
#[derive(Debug)]
pub(super) struct Rewriter<'n> {
    map: NameMap<'n>,
    done: Rewritten,
    /// Holds a string between being rewritten and being written.
    scratch: Vec<u8>,
}

impl<'n> Rewriter<'n> {
    pub(super) fn new(map: NameMap<'n>) -> Self {
        Rewriter { map, done: Rewritten::default(), scratch: Vec::new() }
    }

    /// What was done so far.
    pub(super) fn done(&self) -> Rewritten {
        self.done
    }

    /// Appends `document` to `out`, rewritten by `rule`; on an error `out` is as long as it was.
    pub(super) fn document(
        &mut self,
        document: &[u8],
        rule: &Rule,
        out: &mut Vec<u8>,
    ) -> Result<(), RewriteError> {
        let start = out.len();
        let mut writer = DocWriter::begin(out);
        let result = self.inside(document, rule, DEPTH_MAX, &mut writer);
        writer.finish();
        if result.is_err() {
            out.truncate(start);
        }
        result
    }

    fn inside(
        &mut self,
        document: &[u8],
        rule: &Rule,
        depth: usize,
        writer: &mut DocWriter<'_>,
    ) -> Result<(), RewriteError> {
        let depth = depth.checked_sub(1).ok_or(RewriteError::TooDeep { limit: DEPTH_MAX })?;
        for element in elements(document) {
            let element = element?;
            match rule {
                Rule::Fields(fields) => match fields.iter().find(|(key, _)| key.as_bytes() == element.key) {
                    Some((_, rule)) => self.value(&element, rule, depth, writer)?,
                    None => _ = writer.raw(&element),
                },
                Rule::Each(rule) => self.value(&element, rule, depth, writer)?,
                Rule::Anywhere => self.value(&element, rule, depth, writer)?,
                Rule::Keys => self.key(&element, writer),
                Rule::Name | Rule::Text => _ = writer.raw(&element),
            }
        }
        Ok(())
    }

    /// One element; a value of another type than its rule is for passes.
    fn value(
        &mut self,
        element: &Element<'_>,
        rule: &Rule,
        depth: usize,
        writer: &mut DocWriter<'_>,
    ) -> Result<(), RewriteError> {
        let value = element.value;
        match (rule, value.as_document()) {
            (Rule::Name, None) => self.name(element, writer),
            (Rule::Text | Rule::Anywhere, None) => self.text(element, writer),
            (Rule::Fields(_) | Rule::Each(_) | Rule::Keys | Rule::Anywhere, Some(inside)) => {
                let mut result = Ok(());
                writer.nested(value.kind, element.key, |writer| {
                    result = self.inside(inside, rule, depth, writer);
                });
                return result;
            }
            _ => _ = writer.raw(element),
        }
        Ok(())
    }

    fn name(&mut self, element: &Element<'_>, writer: &mut DocWriter<'_>) {
        let name = string(&element.value).filter(|name| !name.is_empty());
        match name.map(|name| self.map.with_default_port(name)) {
            Some(Some(name)) => {
                self.done.changed += 1;
                writer.string(element.key, name);
                return;
            }
            Some(None) => self.done.unmapped += 1,
            None => {}
        }
        writer.raw(element);
    }

    fn text(&mut self, element: &Element<'_>, writer: &mut DocWriter<'_>) {
        let Some(text) = string(&element.value) else {
            writer.raw(element);
            return;
        };
        self.scratch.clear();
        self.scratch.extend_from_slice(&[0; 4]);
        let changed = replace_names(text, &self.map, &mut self.scratch);
        if changed == 0 {
            writer.raw(element);
            return;
        }
        self.done.changed += changed;
        self.scratch.push(0);
        let length = self.scratch.len() as i32 - 4;
        if let Some(prefix) = self.scratch.first_chunk_mut::<4>() {
            *prefix = length.to_le_bytes();
        }
        writer.value(element.key, Value { kind: BsonType::String, bytes: &self.scratch });
    }

    fn key(&mut self, element: &Element<'_>, writer: &mut DocWriter<'_>) {
        match self.map.exactly(element.key) {
            Some(name) => {
                self.done.changed += 1;
                writer.value(name.as_bytes(), element.value);
            }
            None => {
                self.done.unmapped += usize::from(element.key.contains(&b':'));
                writer.raw(element);
            }
        }
    }
}

/// The bytes of a string, UTF-8 or not.
fn string<'a>(value: &Value<'a>) -> Option<&'a [u8]> {
    match value.kind {
        BsonType::String => value.bytes.get(4..value.bytes.len().checked_sub(1)?),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::GroupNames;
    use bson::{Bson, Document, doc};

    const RULE: Rule = Rule::Fields(&[
        ("name", Rule::Name),
        ("text", Rule::Text),
        ("list", Rule::Each(&Rule::Name)),
        ("hosts", Rule::Keys),
        ("any", Rule::Anywhere),
    ]);

    fn rewrite(document: &Document) -> (Document, Rewritten) {
        let names = GroupNames::new([("db1:27017".to_owned(), "gate:1".to_owned())]);
        let mut rewriter = Rewriter::new(NameMap::to_client(&names));
        let mut out = Vec::new();
        rewriter.document(&bson::serialize_to_vec(document).unwrap(), &RULE, &mut out).unwrap();
        (bson::deserialize_from_slice(&out).unwrap(), rewriter.done())
    }

    #[test]
    fn each_rule_goes_for_its_own_place_only() {
        let before = doc! { "name": "db1:27017", "text": "at db1:27017", "list": ["DB1:27017", "db9:27017", ""],
        "hosts": { "db1:27017": { "db1:27017": 1 }, "available": 2, "db9:27017": 3 }, "any": { "a": [["x db1:27017"]], "n": 5 }, "other": "db1:27017" };
        let after = doc! { "name": "gate:1", "text": "at gate:1", "list": ["gate:1", "db9:27017", ""],
        "hosts": { "gate:1": { "db1:27017": 1 }, "available": 2, "db9:27017": 3 }, "any": { "a": [["x gate:1"]], "n": 5 }, "other": "db1:27017" };
        assert_eq!(rewrite(&before), (after, Rewritten { changed: 5, unmapped: 2 }));
    }

    #[test]
    fn values_of_other_types_than_their_rules_pass() {
        let odd = doc! { "name": { "name": "db1:27017" }, "text": 5, "list": "db1:27017", "hosts": 1.5, "any": Bson::Null };
        assert_eq!(rewrite(&odd), (odd.clone(), Rewritten::default()));
    }

    #[test]
    fn nesting_below_the_bound_is_an_error_and_leaves_nothing_behind() {
        let nested = |levels: usize| {
            let mut bytes = vec![5, 0, 0, 0, 0];
            for _ in 0..levels {
                let mut outer = Vec::new();
                let mut writer = DocWriter::begin(&mut outer);
                writer.value(b"d", Value { kind: BsonType::Document, bytes: &bytes });
                writer.finish();
                bytes = outer;
            }
            bytes
        };
        let names = GroupNames::default();
        let mut out = vec![1, 2];
        let mut follow = |levels| {
            let result = Rewriter::new(NameMap::to_client(&names)).document(
                &nested(levels),
                &Rule::Anywhere,
                &mut out,
            );
            (result, out.len())
        };
        assert_eq!(follow(10_000), (Err(RewriteError::TooDeep { limit: 200 }), 2));
        assert_eq!(follow(200).0, Err(RewriteError::TooDeep { limit: 200 }));
        assert_eq!(follow(199).0, Ok(()));
    }
}
