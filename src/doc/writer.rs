//! Writing documents element by element: the editing half of splicing.

use super::elements::Element;
use super::value::{BsonType, Value};

/// Appends one document to a buffer. Elements that do not change are copied as they stand (`raw`); the length
/// field is set by `finish`. Nesting is by closures, so a document cannot be left open.
#[derive(Debug)]
pub struct DocWriter<'b> {
    out: &'b mut Vec<u8>,
    start: usize,
}

impl<'b> DocWriter<'b> {
    /// Begins a document at the end of `out`.
    pub fn begin(out: &'b mut Vec<u8>) -> Self {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        DocWriter { out, start }
    }

    /// Ends the document and sets its length.
    pub fn finish(self) {
        self.out.push(0);
        let length = self.out.len() - self.start;
        self.out[self.start..self.start + 4].copy_from_slice(&(length as i32).to_le_bytes());
    }

    /// Copies an element of another document as it stands.
    pub fn raw(&mut self, element: &Element<'_>) -> &mut Self {
        self.out.extend_from_slice(element.raw);
        self
    }

    fn key(&mut self, kind: BsonType, key: &[u8]) {
        self.out.push(kind as u8);
        // A zero inside a key would end it early and shift everything behind it.
        self.out.extend(key.iter().copied().filter(|byte| *byte != 0));
        self.out.push(0);
    }

    /// A value of any type under a new key.
    pub fn value(&mut self, key: &[u8], value: Value<'_>) -> &mut Self {
        self.key(value.kind, key);
        self.out.extend_from_slice(value.bytes);
        self
    }

    /// A string.
    pub fn string(&mut self, key: &[u8], text: &str) -> &mut Self {
        self.key(BsonType::String, key);
        self.out.extend_from_slice(&(text.len() as i32 + 1).to_le_bytes());
        self.out.extend_from_slice(text.as_bytes());
        self.out.push(0);
        self
    }

    /// A boolean.
    pub fn bool(&mut self, key: &[u8], value: bool) -> &mut Self {
        self.key(BsonType::Boolean, key);
        self.out.push(u8::from(value));
        self
    }

    /// A 32-bit integer.
    pub fn i32(&mut self, key: &[u8], value: i32) -> &mut Self {
        self.key(BsonType::Int32, key);
        self.out.extend_from_slice(&value.to_le_bytes());
        self
    }

    /// A 64-bit integer.
    pub fn i64(&mut self, key: &[u8], value: i64) -> &mut Self {
        self.key(BsonType::Int64, key);
        self.out.extend_from_slice(&value.to_le_bytes());
        self
    }

    /// A double.
    pub fn f64(&mut self, key: &[u8], value: f64) -> &mut Self {
        self.key(BsonType::Double, key);
        self.out.extend_from_slice(&value.to_le_bytes());
        self
    }

    /// A UUID: binary of subtype 4.
    pub fn uuid(&mut self, key: &[u8], uuid: &[u8; 16]) -> &mut Self {
        self.key(BsonType::Binary, key);
        self.out.extend_from_slice(&16i32.to_le_bytes());
        self.out.push(4);
        self.out.extend_from_slice(uuid);
        self
    }

    /// A nested document, written by `fill`.
    pub fn document(&mut self, key: &[u8], fill: impl FnOnce(&mut DocWriter<'_>)) -> &mut Self {
        self.nested(BsonType::Document, key, fill)
    }

    /// An array, written by `fill`, which names its keys `0`, `1`, ... itself.
    pub fn array(&mut self, key: &[u8], fill: impl FnOnce(&mut DocWriter<'_>)) -> &mut Self {
        self.nested(BsonType::Array, key, fill)
    }

    /// An array of strings.
    pub fn strings<'s>(&mut self, key: &[u8], texts: impl Iterator<Item = &'s str>) -> &mut Self {
        self.array(key, |array| {
            for (index, text) in texts.enumerate() {
                array.string(index.to_string().as_bytes(), text);
            }
        })
    }

    /// A nested document or array.
    pub fn nested(&mut self, kind: BsonType, key: &[u8], fill: impl FnOnce(&mut DocWriter<'_>)) -> &mut Self {
        self.key(kind, key);
        let mut inner = DocWriter::begin(self.out);
        fill(&mut inner);
        inner.finish();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_the_bson_crate_writes() {
        let mut out = Vec::new();
        let mut writer = DocWriter::begin(&mut out);
        writer.string(b"s", "text").bool(b"b", true).i32(b"i", -1).i64(b"l", 5).f64(b"f", 1.5);
        writer.document(b"d", |inner| {
            inner.strings(b"a", ["x", "y"].into_iter());
        });
        writer.finish();
        let expected =
            bson::doc! { "s": "text", "b": true, "i": -1, "l": 5i64, "f": 1.5, "d": { "a": ["x", "y"] } };
        assert_eq!(out, bson::serialize_to_vec(&expected).unwrap());
    }
}
