//! What a capture does not have as it was: secret fields are replaced in it, in requests and in recorded replies, and the
//! target's answers have the real ones. A difference that comes from that is none.

use std::borrow::Cow;

use super::view::documents_of;
use crate::capture::is_secret;
use crate::doc::{BsonType, DocWriter, elements};

/// Documents are looked through to this depth; servers take none that are deeper.
const DEPTH_MAX: usize = 220;

/// What was replaced in a capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redaction {
    /// Nothing: it is no capture, but what another set answers now.
    Nothing,
    /// Secret fields.
    Fields,
    /// All values.
    Values,
}

/// Whether a message names a secret field anywhere.
pub fn names_secret(message: &[u8]) -> bool {
    documents_of(message).into_iter().any(|document| has_secret(document, 0))
}

fn has_secret(document: &[u8], depth: usize) -> bool {
    elements(document).map_while(Result::ok).any(|element| {
        let inside = |inner| depth < DEPTH_MAX && has_secret(inner, depth + 1);
        is_secret(element.key) || element.value.as_document().is_some_and(inside)
    })
}

/// The document without its secret fields.
pub fn without_secrets(document: &[u8]) -> Cow<'_, [u8]> {
    if !has_secret(document, 0) {
        return Cow::Borrowed(document);
    }
    let mut out = Vec::with_capacity(document.len());
    let mut writer = DocWriter::begin(&mut out);
    copy(document, &mut writer, 0);
    writer.finish();
    Cow::Owned(out)
}

fn copy(document: &[u8], writer: &mut DocWriter<'_>, depth: usize) {
    for element in elements(document).map_while(Result::ok).filter(|element| !is_secret(element.key)) {
        match (element.value.kind, element.value.as_document()) {
            (kind @ (BsonType::Document | BsonType::Array), Some(inner)) if depth < DEPTH_MAX => {
                writer.nested(kind, element.key, |nested| copy(inner, nested, depth + 1));
            }
            _ => drop(writer.raw(&element)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::{Document, doc};

    #[test]
    fn secret_fields_are_left_out_wherever_they_stand() {
        let plain = |document: Document| {
            let bytes = bson::serialize_to_vec(&document).unwrap();
            bson::deserialize_from_slice::<Document>(&without_secrets(&bytes)).unwrap()
        };
        let nested =
            doc! { "a": [{ "x": 1, "_session_token": "s" }], "_auth_data_x": {}, "b": { "c.pwd": 1 } };
        assert_eq!(plain(nested), doc! { "a": [{ "x": 1 }], "b": {} });
        let harmless = doc! { "passwords": 1, "a": { "b": 2 } };
        assert_eq!(plain(harmless.clone()), harmless);
    }
}
