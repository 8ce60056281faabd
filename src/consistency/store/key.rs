//! Names of registers.

use std::fmt;

use crate::doc::{BsonType, Value};

/// FNV-1a of 128 bits: its parameters are a standard's, so that every version of torana names a document alike.
const FNV_OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
const FNV_PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;

/// A document, by a hash of its `_id`. Two of one hash share a floor, which only makes reads of them wait for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DocumentKey(pub u128);

/// A collection, as a name that is safe in a path: `db.collection` with all but letters, digits, `-`, `_` and dots
/// between others written as `%XX`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CollectionKey(String);

impl DocumentKey {
    /// The document whose `_id` is `id`. Numbers that the server takes for equal have one key, whatever their types.
    pub fn of(id: Value<'_>) -> DocumentKey {
        let mut hash = FNV_OFFSET;
        let mut add = |bytes: &[u8]| {
            for byte in bytes {
                hash = (hash ^ u128::from(*byte)).wrapping_mul(FNV_PRIME);
            }
        };
        match whole(&id) {
            Some(number) => {
                add(&[BsonType::Int64 as u8]);
                add(&number.to_le_bytes());
            }
            // Nested documents keep the types of their numbers, so that {a: 1} and {a: 1.0}, which are equal to the
            // server, have two keys: see `is_exact`.
            None => {
                add(&[id.kind as u8]);
                add(id.bytes);
            }
        }
        DocumentKey(hash)
    }

    /// Whether every `_id` that the server takes for equal to `id` has the same key. If not, what is told of the document
    /// raises the collection's base instead.
    pub fn is_exact(id: Value<'_>) -> bool {
        match id.kind {
            BsonType::Document | BsonType::Array | BsonType::Decimal128 | BsonType::CodeWithScope => false,
            // Equal to strings.
            BsonType::Symbol => false,
            BsonType::Double => whole(&id).is_some(),
            _ => true,
        }
    }
}

/// The value of a number without a fraction that 64 bits hold exactly.
fn whole(id: &Value<'_>) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match id.kind {
        BsonType::Int32 | BsonType::Int64 => id.as_i64(),
        BsonType::Double => id
            .as_f64()
            .filter(|number| number.fract() == 0.0 && number.abs() <= EXACT)
            .map(|number| number as i64),
        _ => None,
    }
}

impl fmt::Display for DocumentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl CollectionKey {
    /// The collection `database.collection`.
    pub fn new(database: &[u8], collection: &[u8]) -> CollectionKey {
        let mut name = String::with_capacity(database.len() + collection.len() + 8);
        escape(database, &mut name);
        name.push('.');
        escape(collection, &mut name);
        CollectionKey(name)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn escape(name: &[u8], out: &mut String) {
    for byte in name {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => out.push(char::from(*byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doc::find;
    use bson::{Bson, doc};

    fn of(id: impl Into<Bson>) -> (DocumentKey, bool) {
        let bytes = bson::serialize_to_vec(&doc! { "_id": id.into() }).unwrap();
        let id = find(&bytes, "_id").unwrap().value;
        (DocumentKey::of(id), DocumentKey::is_exact(id))
    }

    #[test]
    fn equal_ids_have_one_key_or_are_not_exact() {
        for one in [Bson::Int64(1), Bson::Double(1.0)] {
            assert_eq!(of(one), of(Bson::Int32(1)));
        }
        assert_eq!(of(Bson::Double(-0.0)), of(Bson::Int32(0)));
        assert!(!of(Bson::Double(0.5)).1 && !of(Bson::Double(1e300)).1);
        assert!(!of(doc! { "a": 1 }).1 && of("a").1);
        let keys =
            [of("1").0, of(1).0, of(2).0, of(Bson::Null).0, of(true).0, of(bson::oid::ObjectId::new()).0];
        let different: std::collections::HashSet<_> = keys.into_iter().collect();
        assert_eq!(different.len(), keys.len());
    }

    #[test]
    fn keys_are_the_same_in_every_version() {
        // Stored: a change would forget every floor.
        assert_eq!(of("abc").0.to_string(), of("abc").0.to_string());
        assert_eq!(DocumentKey(7).to_string(), "00000000000000000000000000000007");
        let key = CollectionKey::new(b"parse", "_Join:a/b.\u{e4}".as_bytes());
        assert_eq!(key.as_str(), "parse._Join%3Aa%2Fb.%C3%A4");
    }
}
