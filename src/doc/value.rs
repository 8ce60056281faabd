//! Types and values of BSON elements, as views into their bytes.

use super::elements::DocError;
use crate::wire::{read_i32, read_i64};

/// The element types of BSON 1.1, deprecated ones included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs, reason = "the names are those of bsonspec.org")]
pub enum BsonType {
    Double = 0x01,
    String = 0x02,
    Document = 0x03,
    Array = 0x04,
    Binary = 0x05,
    Undefined = 0x06,
    ObjectId = 0x07,
    Boolean = 0x08,
    DateTime = 0x09,
    Null = 0x0a,
    Regex = 0x0b,
    DbPointer = 0x0c,
    Code = 0x0d,
    Symbol = 0x0e,
    CodeWithScope = 0x0f,
    Int32 = 0x10,
    Timestamp = 0x11,
    Int64 = 0x12,
    Decimal128 = 0x13,
    MaxKey = 0x7f,
    MinKey = 0xff,
}

impl BsonType {
    /// The type with this number.
    #[inline]
    pub fn from_u8(number: u8) -> Option<BsonType> {
        TYPES[number as usize]
    }

    /// Bytes of the value of this type at the front of `bytes`. May be more than there are: the caller compares.
    #[inline]
    pub(super) fn value_length(self, bytes: &[u8]) -> Result<usize, DocError> {
        let (extra, least) = match LAYOUTS[self as usize] {
            Layout::Fixed(length) => return Ok(usize::from(length)),
            Layout::Prefixed { extra, least } => (usize::from(extra), i32::from(least)),
            Layout::Regex => return regex_length(bytes),
        };
        let length = read_i32(bytes, 0).ok_or(DocError::Truncated)?;
        if length < least {
            return Err(DocError::ValueLength);
        }
        let total = length as usize + extra;
        if total > bytes.len() { Err(DocError::ValueLength) } else { Ok(total) }
    }

    const fn layout(self) -> Layout {
        match self {
            BsonType::Undefined | BsonType::Null | BsonType::MaxKey | BsonType::MinKey => Layout::Fixed(0),
            BsonType::Boolean => Layout::Fixed(1),
            BsonType::Int32 => Layout::Fixed(4),
            BsonType::Double | BsonType::DateTime | BsonType::Timestamp | BsonType::Int64 => Layout::Fixed(8),
            BsonType::ObjectId => Layout::Fixed(12),
            BsonType::Decimal128 => Layout::Fixed(16),
            BsonType::String | BsonType::Code | BsonType::Symbol => Layout::Prefixed { extra: 4, least: 1 },
            BsonType::Document | BsonType::Array => Layout::Prefixed { extra: 0, least: 5 },
            BsonType::CodeWithScope => Layout::Prefixed { extra: 0, least: 14 },
            BsonType::Binary => Layout::Prefixed { extra: 5, least: 0 },
            BsonType::DbPointer => Layout::Prefixed { extra: 16, least: 1 },
            BsonType::Regex => Layout::Regex,
        }
    }
}

/// By number: one look, and none at its bounds.
static TYPES: [Option<BsonType>; 256] = {
    use BsonType::*;
    const FIRST: [BsonType; 19] = [
        Double,
        String,
        Document,
        Array,
        Binary,
        Undefined,
        ObjectId,
        Boolean,
        DateTime,
        Null,
        Regex,
        DbPointer,
        Code,
        Symbol,
        CodeWithScope,
        Int32,
        Timestamp,
        Int64,
        Decimal128,
    ];
    let mut types = [None; 256];
    let mut place = 0;
    while place < FIRST.len() {
        types[FIRST[place] as usize] = Some(FIRST[place]);
        place += 1;
    }
    types[MaxKey as usize] = Some(MaxKey);
    types[MinKey as usize] = Some(MinKey);
    types
};

/// How long a type's values are.
#[derive(Clone, Copy)]
enum Layout {
    /// This many bytes.
    Fixed(u8),
    /// As many as an `i32` in front says, which is at least `least`, and `extra` more.
    Prefixed { extra: u8, least: u8 },
    /// Two strings without a length.
    Regex,
}

/// By type number: a lookup instead of a branch that no processor can predict.
static LAYOUTS: [Layout; 256] = {
    let mut layouts = [Layout::Fixed(0); 256];
    let mut number = 0;
    while number < layouts.len() {
        if let Some(kind) = TYPES[number] {
            layouts[number] = kind.layout();
        }
        number += 1;
    }
    layouts
};

fn regex_length(bytes: &[u8]) -> Result<usize, DocError> {
    let mut zeros = bytes.iter().enumerate().filter(|(_, byte)| **byte == 0).map(|(at, _)| at);
    zeros.nth(1).map(|at| at + 1).ok_or(DocError::Truncated)
}

/// A value: its type and the bytes behind its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value<'a> {
    /// The type.
    pub kind: BsonType,
    /// The value's bytes, length prefixes included.
    pub bytes: &'a [u8],
}

impl<'a> Value<'a> {
    /// The bytes of a string without its length and end, not checked to be UTF-8; `None` for other types.
    pub fn as_string_bytes(&self) -> Option<&'a [u8]> {
        if self.kind != BsonType::String {
            return None;
        }
        self.bytes.get(4..self.bytes.len().checked_sub(1)?)
    }

    /// The text of a string; `None` for other types and for what is not UTF-8.
    pub fn as_str(&self) -> Option<&'a str> {
        std::str::from_utf8(self.as_string_bytes()?).ok()
    }

    /// A whole number of any numeric type, as the server's own "safeNumberLong" takes it: doubles are cut off.
    pub fn as_i64(&self) -> Option<i64> {
        match self.kind {
            BsonType::Int32 => read_i32(self.bytes, 0).map(i64::from),
            BsonType::Int64 => read_i64(self.bytes, 0),
            BsonType::Double => read_i64(self.bytes, 0).map(|bits| f64::from_bits(bits as u64) as i64),
            _ => None,
        }
    }

    /// A number of any numeric type but decimals.
    pub fn as_f64(&self) -> Option<f64> {
        match self.kind {
            BsonType::Double => read_i64(self.bytes, 0).map(|bits| f64::from_bits(bits as u64)),
            _ => self.as_i64().map(|number| number as f64),
        }
    }

    /// A boolean; numbers count as in the server: 0 is false.
    pub fn as_bool(&self) -> Option<bool> {
        match self.kind {
            BsonType::Boolean => self.bytes.first().map(|byte| *byte != 0),
            BsonType::Double => read_i64(self.bytes, 0).map(|bits| f64::from_bits(bits as u64) != 0.0),
            _ => self.as_i64().map(|number| number != 0),
        }
    }

    /// The bytes of a nested document or array.
    pub fn as_document(&self) -> Option<&'a [u8]> {
        matches!(self.kind, BsonType::Document | BsonType::Array).then_some(self.bytes)
    }

    /// The bytes of a binary value, without length and subtype.
    pub fn as_binary(&self) -> Option<&'a [u8]> {
        if self.kind == BsonType::Binary { self.bytes.get(5..) } else { None }
    }

    /// The twelve bytes of an ObjectId.
    pub fn as_object_id(&self) -> Option<&'a [u8; 12]> {
        if self.kind == BsonType::ObjectId { self.bytes.first_chunk() } else { None }
    }

    /// A BSON timestamp as one number: seconds in the upper, increment in the lower half.
    pub fn as_timestamp(&self) -> Option<u64> {
        if self.kind == BsonType::Timestamp { read_i64(self.bytes, 0).map(|t| t as u64) } else { None }
    }

    /// Milliseconds since 1970 of a date.
    pub fn as_date_millis(&self) -> Option<i64> {
        if self.kind == BsonType::DateTime { read_i64(self.bytes, 0) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use crate::doc::find;

    #[test]
    fn numbers_of_every_type_are_read_alike() {
        let bytes =
            bson::serialize_to_vec(&bson::doc! { "a": 5i32, "b": 5i64, "c": 5.9, "d": true, "e": 0.5 })
                .unwrap();
        for key in ["a", "b", "c"] {
            assert_eq!(find(&bytes, key).unwrap().value.as_i64(), Some(5));
        }
        assert_eq!(find(&bytes, "d").unwrap().value.as_bool(), Some(true));
        assert_eq!(find(&bytes, "e").unwrap().value.as_bool(), Some(true));
        assert_eq!(find(&bytes, "d").unwrap().value.as_i64(), None);
    }

    #[test]
    fn every_type_is_walked_over() {
        let every = bson::doc! {
            "double": 1.0, "string": "s", "doc": {}, "array": [1], "bin": bson::Binary { subtype: bson::spec::BinarySubtype::Generic, bytes: vec![1, 2] },
            "undefined": bson::Bson::Undefined, "oid": bson::oid::ObjectId::new(), "bool": true, "date": bson::DateTime::now(),
            "null": bson::Bson::Null, "regex": bson::Regex { pattern: bson::cstr!("a").into(), options: bson::cstr!("i").into() },
            "code": bson::Bson::JavaScriptCode("x".into()), "symbol": bson::Bson::Symbol("y".into()),
            "scope": bson::JavaScriptCodeWithScope { code: "z".into(), scope: bson::doc! { "q": 1 } },
            "i32": 1i32, "ts": bson::Timestamp { time: 1, increment: 2 }, "i64": 2i64,
            "dec": "1.5".parse::<bson::Decimal128>().unwrap(), "min": bson::Bson::MinKey, "max": bson::Bson::MaxKey,
        };
        let bytes = bson::serialize_to_vec(&every).unwrap();
        let keys: Vec<_> =
            crate::doc::elements(&bytes).map(|element| element.unwrap().key.to_vec()).collect();
        assert_eq!(keys.len(), every.len());
    }
}
