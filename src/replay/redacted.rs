//! What a capture does not have as it was: secret fields are replaced in it, in requests and in recorded replies, and the
//! target's answers have the real ones. A difference that comes from that is none.

use std::borrow::Cow;

use super::view::documents_of;
use crate::capture::{Head, Listed};
use crate::doc::{BsonType, DocWriter, elements};

/// Documents are looked through to this depth; servers take none that are deeper.
const DEPTH_MAX: usize = 220;

/// What was replaced in a capture.
#[derive(Debug)]
pub struct Redaction {
    /// Secret fields; without them nothing was: it is no capture, but what another set answers now.
    fields: Option<Listed>,
    /// All values.
    pub values: bool,
}

impl Redaction {
    /// That of a capture with this head; of one without, the fields that are secret in every capture.
    pub fn of(head: Option<&Head>) -> Redaction {
        let more = head.map_or(&[][..], |head| &head.redact_fields);
        let values = head.is_some_and(|head| head.redact == "values");
        Redaction { fields: Some(Listed::new(more)), values }
    }

    /// None at all.
    pub fn nothing() -> Redaction {
        Redaction { fields: None, values: false }
    }

    /// Whether nothing was replaced.
    pub fn is_nothing(&self) -> bool {
        self.fields.is_none()
    }

    fn has(&self, key: &[u8]) -> bool {
        self.fields.as_ref().is_some_and(|fields| fields.has(key))
    }

    /// Whether a message names a secret field anywhere.
    pub fn is_named_in(&self, message: &[u8]) -> bool {
        documents_of(message).into_iter().any(|document| self.has_secret(document, 0))
    }

    fn has_secret(&self, document: &[u8], depth: usize) -> bool {
        elements(document).map_while(Result::ok).any(|element| {
            let inside = |inner| depth < DEPTH_MAX && self.has_secret(inner, depth + 1);
            self.has(element.key) || element.value.as_document().is_some_and(inside)
        })
    }

    /// The document without its secret fields.
    pub fn without_secrets<'d>(&self, document: &'d [u8]) -> Cow<'d, [u8]> {
        if !self.has_secret(document, 0) {
            return Cow::Borrowed(document);
        }
        let mut out = Vec::with_capacity(document.len());
        let mut writer = DocWriter::begin(&mut out);
        self.copy(document, &mut writer, 0);
        writer.finish();
        Cow::Owned(out)
    }

    fn copy(&self, document: &[u8], writer: &mut DocWriter<'_>, depth: usize) {
        let kept = elements(document).map_while(Result::ok).filter(|element| !self.has(element.key));
        for element in kept {
            match (element.value.kind, element.value.as_document()) {
                (kind @ (BsonType::Document | BsonType::Array), Some(inner)) if depth < DEPTH_MAX => {
                    writer.nested(kind, element.key, |nested| self.copy(inner, nested, depth + 1));
                }
                _ => drop(writer.raw(&element)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::{Document, doc};

    #[test]
    fn secret_fields_are_left_out_wherever_they_stand() {
        let redaction = Redaction { fields: Some(Listed::new(&["pin".to_owned()])), values: false };
        let plain = |document: Document| {
            let bytes = bson::serialize_to_vec(&document).unwrap();
            bson::deserialize_from_slice::<Document>(&redaction.without_secrets(&bytes)).unwrap()
        };
        let nested = doc! { "a": [{ "x": 1, "_session_token": "s" }], "_auth_data_x": {}, "b": { "c.pwd": 1, "pin": 2 } };
        assert_eq!(plain(nested), doc! { "a": [{ "x": 1 }], "b": {} });
        let harmless = doc! { "passwords": 1, "a": { "b": 2 } };
        assert_eq!(plain(harmless.clone()), harmless);
    }
}
