//! The `client` document of a connection's first hello: who the client says it is.
//!
//! mongod checks it before anything else in the hello, in the document's own order, and keeps it for `$currentOp`
//! and its log; torana checks it in mongod's place because a client's hello never reaches the member.

use super::error_code::ErrorCode;
use super::errors::CommandError;
use super::hello_fields::text;
use crate::doc::{BsonType, Element, Value, elements};

/// The largest `client` document that a mongod takes, bytes (`kMaxMongoDMetadataDocumentByteLength`). Drivers keep
/// to 512, which is what a mongos takes.
const DOCUMENT_MAX: usize = 1024;

/// The longest `application.name`, bytes (`kMaxApplicationNameByteLength`).
const APPLICATION_NAME_MAX: usize = 128;

/// Checks `value` as mongod does and returns the document. "less then" and the missing space are mongod's.
pub(super) fn check<'a>(value: &Value<'a>) -> Result<&'a [u8], CommandError> {
    let Some(document) = value.as_document() else {
        let text = "The client metadata document must be a document";
        return Err(CommandError::of_mongod(ErrorCode::TYPE_MISMATCH, text));
    };
    if document.len() > DOCUMENT_MAX {
        let text = format!("The client metadata document must be less then or equal to {DOCUMENT_MAX}bytes");
        return Err(CommandError::of_mongod(ErrorCode::CLIENT_METADATA_DOCUMENT_TOO_LARGE, text));
    }
    let (mut driver, mut os) = (false, false);
    for element in elements(document) {
        let element = element.map_err(|error| malformed(&error))?;
        match element.key {
            b"application" => application(&element)?,
            b"driver" => {
                strings(&element, &["name", "version"])?;
                driver = true;
            }
            b"os" => {
                strings(&element, &["type"])?;
                os = true;
            }
            _ => {}
        }
    }
    match (driver, os) {
        (true, true) => Ok(document),
        (false, _) => Err(missing("sub-document 'driver'")),
        (true, false) => Err(missing("sub-document 'os'")),
    }
}

/// `application`: its name, if there is one, is a string that is not too long.
fn application(element: &Element<'_>) -> Result<(), CommandError> {
    for field in elements(document(element)?) {
        let field = field.map_err(|error| malformed(&error))?;
        if field.key != b"name" {
            continue;
        }
        string(element, &field)?;
        // A string's value is four bytes of length, the text and a zero.
        if field.value.bytes.len() > APPLICATION_NAME_MAX + 5 {
            let text = format!(
                "The 'application.name' field must be less then or equal to {APPLICATION_NAME_MAX} bytes in the client metadata document"
            );
            return Err(CommandError::of_mongod(ErrorCode::CLIENT_METADATA_APP_NAME_TOO_LARGE, text));
        }
    }
    Ok(())
}

/// A sub-document that must have all of `wanted`, as strings.
fn strings(element: &Element<'_>, wanted: &[&str]) -> Result<(), CommandError> {
    let inside = document(element)?;
    let mut found = 0u8;
    for field in elements(inside) {
        let field = field.map_err(|error| malformed(&error))?;
        if let Some(place) = wanted.iter().position(|name| name.as_bytes() == field.key) {
            string(element, &field)?;
            found |= 1 << place;
        }
    }
    let lacking = wanted.iter().enumerate().find(|(place, _)| found & (1 << place) == 0);
    match lacking {
        Some((_, name)) => Err(missing(&format!("field '{}.{name}'", text(element.key)))),
        None => Ok(()),
    }
}

fn document<'a>(element: &Element<'a>) -> Result<&'a [u8], CommandError> {
    element.value.as_document().ok_or_else(|| {
        let key = text(element.key);
        let text =
            format!("The '{key}' field is required to be a BSON document in the client metadata document");
        CommandError::of_mongod(ErrorCode::TYPE_MISMATCH, text)
    })
}

fn string(parent: &Element<'_>, field: &Element<'_>) -> Result<(), CommandError> {
    if field.value.kind == BsonType::String {
        return Ok(());
    }
    let (parent, key) = (text(parent.key), text(field.key));
    let text = format!("The '{parent}.{key}' field must be a string in the client metadata document");
    Err(CommandError::of_mongod(ErrorCode::TYPE_MISMATCH, text))
}

fn missing(what: &str) -> CommandError {
    let text = format!("Missing required {what} in the client metadata document");
    CommandError::of_mongod(ErrorCode::CLIENT_METADATA_MISSING_FIELD, text)
}

fn malformed(error: &crate::doc::DocError) -> CommandError {
    CommandError::of_torana(ErrorCode::INVALID_BSON, error, "send well-formed BSON")
}
