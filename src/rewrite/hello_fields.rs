//! Checks of field types in the words of mongod's own command parser (its "IDL").

use std::borrow::Cow;

use super::error_code::ErrorCode;
use super::errors::CommandError;
use crate::doc::{BsonType, Value};

/// A type as the parser calls it in its errors.
fn type_name(kind: BsonType) -> &'static str {
    match kind {
        BsonType::Double => "double",
        BsonType::String => "string",
        BsonType::Document => "object",
        BsonType::Array => "array",
        BsonType::Binary => "binData",
        BsonType::Undefined => "undefined",
        BsonType::ObjectId => "objectId",
        BsonType::Boolean => "bool",
        BsonType::DateTime => "date",
        BsonType::Null => "null",
        BsonType::Regex => "regex",
        BsonType::DbPointer => "dbPointer",
        BsonType::Code => "javascript",
        BsonType::Symbol => "symbol",
        BsonType::CodeWithScope => "javascriptWithScope",
        BsonType::Int32 => "int",
        BsonType::Timestamp => "timestamp",
        BsonType::Int64 => "long",
        BsonType::Decimal128 => "decimal",
        BsonType::MaxKey => "maxKey",
        BsonType::MinKey => "minKey",
    }
}

/// What a field may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    types: &'static [BsonType],
    /// How the parser words it, brackets and all.
    text: &'static str,
}

impl Wanted {
    pub(super) const BOOL: Wanted = Wanted { types: &[BsonType::Boolean], text: "type 'bool'" };
    pub(super) const STRING: Wanted = Wanted { types: &[BsonType::String], text: "type 'string'" };
    pub(super) const OBJECT: Wanted = Wanted { types: &[BsonType::Document], text: "type 'object'" };
    pub(super) const ARRAY: Wanted = Wanted { types: &[BsonType::Array], text: "type 'array'" };
    pub(super) const OBJECT_ID: Wanted = Wanted { types: &[BsonType::ObjectId], text: "type 'objectId'" };
    pub(super) const LONG: Wanted = Wanted { types: &[BsonType::Int64], text: "type 'long'" };
    pub(super) const STRING_OR_OBJECT: Wanted =
        Wanted { types: &[BsonType::String, BsonType::Document], text: "types '[string, object']" };
    pub(super) const NUMBER: Wanted = Wanted {
        types: &[BsonType::Int64, BsonType::Int32, BsonType::Decimal128, BsonType::Double],
        text: "types '[long, int, decimal, double']",
    };
    pub(super) const BOOL_OR_NUMBER: Wanted = Wanted {
        types: &[BsonType::Boolean, BsonType::Int64, BsonType::Int32, BsonType::Decimal128, BsonType::Double],
        text: "types '[bool, long, int, decimal, double']",
    };
}

/// Whether `value` counts as sent: null and undefined do not. A value of another type than wanted is an error.
pub(super) fn given(path: &str, value: &Value<'_>, wanted: Wanted) -> Result<bool, CommandError> {
    if matches!(value.kind, BsonType::Null | BsonType::Undefined) {
        return Ok(false);
    }
    exactly(path, value, wanted)?;
    Ok(true)
}

/// An error unless `value` is of a wanted type: for the fields for which null is a type like others.
pub(super) fn exactly(path: &str, value: &Value<'_>, wanted: Wanted) -> Result<(), CommandError> {
    if wanted.types.contains(&value.kind) {
        return Ok(());
    }
    let (got, text) = (type_name(value.kind), wanted.text);
    let text = format!("BSON field '{path}' is the wrong type '{got}', expected {text}");
    Err(CommandError::of_mongod(ErrorCode::TYPE_MISMATCH, text))
}

/// The error for a field that stands twice.
pub(super) fn duplicate(path: &str) -> CommandError {
    let text = format!("BSON field '{path}' is a duplicate field");
    CommandError::of_mongod(ErrorCode::FIELD_DUPLICATE, text)
}

/// The error for a field that is missing.
pub(super) fn missing(path: &str) -> CommandError {
    let text = format!("BSON field '{path}' is missing but a required field");
    CommandError::of_mongod(ErrorCode::FIELD_MISSING, text)
}

/// The error for a field that nobody knows.
pub(super) fn unknown(path: &str) -> CommandError {
    let text = format!("BSON field '{path}' is an unknown field.");
    CommandError::of_mongod(ErrorCode::FIELD_UNKNOWN, text)
}

/// A number of any type as mongod's "safeNumberLong" takes it: doubles are cut off, decimals rounded to even, what
/// does not fit is the nearest that does, and what is no number is 0.
pub(super) fn whole_number(value: &Value<'_>) -> i64 {
    if let (BsonType::Decimal128, Some(bytes)) = (value.kind, value.bytes.first_chunk::<16>()) {
        let text = bson::Decimal128::from_bytes(*bytes).to_string();
        return text.parse::<f64>().unwrap_or(0.0).round_ties_even() as i64;
    }
    value.as_i64().unwrap_or(0)
}

/// A key, for an error's text.
pub(super) fn text(key: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(key)
}
