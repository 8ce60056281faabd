//! Templates: documents in which most stays as it is. Prepared once; to write one is to copy bytes and to put values
//! between them, without an allocation once the buffers have grown.

use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

use super::keys::Keys;
use super::placeholder::Slot;
use super::random::Random;
use crate::doc::BsonType;

/// Characters of random strings: 64, so that six bits are one.
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The field that brings a document to its size.
pub const PADDING: &str = "padding";

/// Bytes of the padding's field beside its text: type, key with its zero, length, the text's zero.
const PADDING_FRAME: usize = 1 + PADDING.len() + 1 + 4 + 1;

/// How long documents are, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// The shortest.
    pub min: usize,
    /// The longest.
    pub max: usize,
}

/// One step of writing a document.
#[derive(Debug, Clone, PartialEq)]
enum Step {
    /// These bytes of the template.
    Bytes(Range<usize>),
    /// A document or an array begins.
    Open,
    /// It ends.
    Close,
    /// A value of this kind; its type and key are bytes before it.
    Value(Slot),
    /// As much text as brings the document that is open to its size.
    Pad(Sizes),
}

/// A document with places for values.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Template {
    bytes: Vec<u8>,
    steps: Vec<Step>,
}

/// What values come from.
#[derive(Debug, Clone)]
pub struct Draws {
    /// Of the seed.
    pub random: Random,
    /// The documents there are.
    pub keys: Keys,
    /// The number of the next new document.
    pub next: i64,
    /// Where the documents begin that are open.
    open: Vec<usize>,
}

impl Draws {
    /// Of a seed.
    pub fn new(seed: u64, keys: Keys, next: i64) -> Draws {
        Draws { random: Random::new(seed), keys, next, open: Vec::new() }
    }
}

impl Template {
    /// A document or array begins, whose type and key, if it has them, were given before.
    pub fn open(&mut self) {
        self.steps.push(Step::Open);
    }

    /// It ends.
    pub fn close(&mut self) {
        self.steps.push(Step::Close);
    }

    /// The type and the key of an element.
    pub fn key(&mut self, kind: BsonType, key: &str) {
        let mut head = Vec::with_capacity(key.len() + 2);
        head.push(kind as u8);
        head.extend_from_slice(key.as_bytes());
        head.push(0);
        self.bytes(&head);
    }

    /// Bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) {
        let from = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        match self.steps.last_mut() {
            Some(Step::Bytes(range)) if range.end == from => range.end = self.bytes.len(),
            _ => self.steps.push(Step::Bytes(from..self.bytes.len())),
        }
    }

    /// A value, whose type and key were given before.
    pub fn value(&mut self, slot: Slot) {
        self.steps.push(Step::Value(slot));
    }

    /// Text that brings the document that is open to its size.
    pub fn pad(&mut self, sizes: Sizes) {
        self.steps.push(Step::Pad(sizes));
    }

    /// Another template, as a value.
    pub fn nested(&mut self, inner: &Template) {
        for step in &inner.steps {
            match step {
                Step::Bytes(range) => self.bytes(&inner.bytes[range.clone()]),
                step => self.steps.push(step.clone()),
            }
        }
    }

    /// Whether some value is of this kind.
    pub fn has(&self, is_meant: impl Fn(&Slot) -> bool) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Value(slot) if is_meant(slot)))
    }

    /// Appends the document to `out`, its values drawn.
    pub fn write(&self, draws: &mut Draws, out: &mut Vec<u8>) {
        draws.open.clear();
        for step in &self.steps {
            match step {
                Step::Bytes(range) => out.extend_from_slice(&self.bytes[range.clone()]),
                Step::Open => {
                    draws.open.push(out.len());
                    out.extend_from_slice(&[0; 4]);
                }
                Step::Close => close(draws, out),
                Step::Value(slot) => put(slot, draws, out),
                Step::Pad(sizes) => pad(*sizes, draws, out),
            }
        }
    }
}

fn close(draws: &mut Draws, out: &mut Vec<u8>) {
    out.push(0);
    if let Some(start) = draws.open.pop() {
        let length = (out.len() - start) as i32;
        out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    }
}

/// The BSON type of what stands in the place of a placeholder.
pub fn type_of(slot: &Slot) -> BsonType {
    match slot {
        Slot::Key | Slot::Next | Slot::Int { .. } => BsonType::Int64,
        Slot::Random => BsonType::Double,
        Slot::Text { .. } | Slot::Choice(_) => BsonType::String,
        Slot::Now => BsonType::DateTime,
        Slot::ObjectId => BsonType::ObjectId,
        Slot::Null => BsonType::Null,
        Slot::Document => BsonType::Document,
    }
}

fn put(slot: &Slot, draws: &mut Draws, out: &mut Vec<u8>) {
    match slot {
        Slot::Key => out.extend_from_slice(&draws.keys.draw(&mut draws.random).to_le_bytes()),
        Slot::Next => {
            out.extend_from_slice(&draws.next.to_le_bytes());
            // A collection may have had a document of the last number there is: the server refuses what comes twice.
            draws.next = draws.next.saturating_add(1);
        }
        Slot::Int { low, high } => {
            // 0 for all of 64 bits, which is 2^64 too many to be a number of them.
            let count = high.wrapping_sub(*low).wrapping_add(1) as u64;
            let above = if count == 0 { draws.random.bits() } else { draws.random.below(count) };
            out.extend_from_slice(&low.wrapping_add(above as i64).to_le_bytes());
        }
        Slot::Random => out.extend_from_slice(&draws.random.unit().to_le_bytes()),
        Slot::Text { min, max } => {
            let length = min + draws.random.below((max - min) as u64 + 1) as usize;
            letters(length, &mut draws.random, out);
        }
        Slot::Choice(all) => {
            let text = all.get(draws.random.below(all.len() as u64) as usize).map_or("", String::as_str);
            out.extend_from_slice(&(text.len() as i32 + 1).to_le_bytes());
            out.extend_from_slice(text.as_bytes());
            out.push(0);
        }
        Slot::Now => out.extend_from_slice(&(since_1970().as_millis() as i64).to_le_bytes()),
        Slot::ObjectId => {
            out.extend_from_slice(&(since_1970().as_secs() as u32).to_be_bytes());
            out.extend_from_slice(&draws.random.bits().to_be_bytes());
        }
        // Nothing but its type and key; and whole documents are part of the template.
        Slot::Null | Slot::Document => {}
    }
}

fn since_1970() -> std::time::Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// A string value of random letters.
fn letters(length: usize, random: &mut Random, out: &mut Vec<u8>) {
    out.extend_from_slice(&(length as i32 + 1).to_le_bytes());
    let mut left = length;
    while left > 0 {
        let mut bits = random.bits();
        for _ in 0..left.min(10) {
            out.push(LETTERS[(bits & 63) as usize]);
            bits >>= 6;
        }
        left = left.saturating_sub(10);
    }
    out.push(0);
}

fn pad(sizes: Sizes, draws: &mut Draws, out: &mut Vec<u8>) {
    let size = sizes.min + draws.random.below((sizes.max - sizes.min) as u64 + 1) as usize;
    let start = draws.open.last().copied().unwrap_or(0);
    // The zero that ends the document is still to come.
    let there = out.len() - start + 1;
    if let Some(length) = size.checked_sub(there + PADDING_FRAME) {
        out.push(BsonType::String as u8);
        out.extend_from_slice(PADDING.as_bytes());
        out.push(0);
        letters(length, &mut draws.random, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::keys::Distribution;
    use proptest::prelude::*;

    fn draws(seed: u64) -> Draws {
        Draws::new(seed, Keys::new(100, Distribution::Uniform), 100)
    }

    fn written(template: &Template, draws: &mut Draws) -> (bson::Document, usize) {
        let mut out = Vec::new();
        template.write(draws, &mut out);
        (bson::Document::from_reader(out.as_slice()).unwrap(), out.len())
    }

    /// A document with one field for each kind of value, one of them deeper.
    fn all_kinds() -> Template {
        let slots = [
            Slot::Key,
            Slot::Next,
            Slot::Int { low: -3, high: 3 },
            Slot::Random,
            Slot::Text { min: 0, max: 40 },
            Slot::Choice(vec!["a".into(), "bcd".into()]),
            Slot::Now,
            Slot::ObjectId,
            Slot::Null,
        ];
        let mut template = Template::default();
        template.open();
        for (number, slot) in slots.into_iter().enumerate() {
            template.key(type_of(&slot), &format!("f{number}"));
            template.value(slot);
        }
        template.key(BsonType::Document, "inner");
        template.open();
        template.key(BsonType::String, "s");
        template.value(Slot::Text { min: 1, max: 9 });
        template.close();
        template.close();
        template
    }

    #[test]
    fn every_kind_of_value_is_of_its_type_and_range() {
        let (template, mut draws) = (all_kinds(), draws(1));
        for turn in 0..200 {
            let (document, _) = written(&template, &mut draws);
            assert!((0..100).contains(&document.get_i64("f0").unwrap()));
            assert_eq!(document.get_i64("f1").unwrap(), 100 + turn);
            assert!((-3..=3).contains(&document.get_i64("f2").unwrap()));
            assert!((0.0..1.0).contains(&document.get_f64("f3").unwrap()));
            assert!(document.get_str("f4").unwrap().len() <= 40);
            assert!(["a", "bcd"].contains(&document.get_str("f5").unwrap()));
            let age = bson::DateTime::now().timestamp_millis()
                - document.get_datetime("f6").unwrap().timestamp_millis();
            assert!((0..60_000).contains(&age));
            assert!(document.get_object_id("f7").is_ok() && document.get("f8") == Some(&bson::Bson::Null));
            assert!((1..=9).contains(&document.get_document("inner").unwrap().get_str("s").unwrap().len()));
        }
    }

    #[test]
    fn a_range_of_all_numbers_is_one() {
        let mut template = Template::default();
        template.open();
        template.key(BsonType::Int64, "n");
        template.value(Slot::Int { low: i64::MIN, high: i64::MAX });
        template.close();
        let mut draws = draws(1);
        let seen: Vec<i64> =
            (0..100).map(|_| written(&template, &mut draws).0.get_i64("n").unwrap()).collect();
        assert!(seen.iter().any(|number| *number < 0) && seen.iter().any(|number| *number > 0));
    }

    proptest! {
        #[test]
        fn documents_have_their_size(min in 60usize..3000, more in prop_oneof![Just(0), 0usize..3000], seed: u64) {
            let mut template = Template::default();
            template.open();
            template.key(BsonType::Int64, "_id");
            template.value(Slot::Next);
            template.pad(Sizes { min, max: min + more });
            template.close();
            let mut draws = draws(seed);
            for _ in 0..20 {
                let (document, length) = written(&template, &mut draws);
                prop_assert!((min..=min + more).contains(&length), "{}", length);
                prop_assert!(document.get_str(PADDING).is_ok());
            }
        }

        #[test]
        fn a_seed_makes_the_same_documents(seed: u64) {
            let mut template = Template::default();
            template.open();
            for (key, slot) in [("a", Slot::Key), ("b", Slot::Random), ("c", Slot::Text { min: 3, max: 30 })] {
                template.key(type_of(&slot), key);
                template.value(slot);
            }
            template.close();
            let (mut one, mut two) = (draws(seed), draws(seed));
            for _ in 0..20 {
                prop_assert_eq!(written(&template, &mut one), written(&template, &mut two));
            }
        }
    }

    #[test]
    fn behind_the_last_number_there_is_no_other() {
        let mut template = Template::default();
        template.open();
        template.key(BsonType::Int64, "_id");
        template.value(Slot::Next);
        template.close();
        let mut draws = Draws::new(0, Keys::new(1, Distribution::Uniform), i64::MAX);
        for _ in 0..2 {
            let mut out = Vec::new();
            template.write(&mut draws, &mut out);
            let document = bson::Document::from_reader(out.as_slice()).unwrap();
            assert_eq!(document.get_i64("_id").unwrap(), i64::MAX);
        }
    }
}
