//! A first look at a message: most name nothing that has to be looked at closer, and are told by their keys.
//!
//! It may take a message for one that has to be walked, and never the other way round.

use super::DEPTH_MAX;
use crate::capture::listed::Listed;
use crate::capture::structure::{CODE, RENAMES_ALL, TEXTS};
use crate::doc::{BsonType, DocError, document_length, elements};
use crate::wire::{OpMsg, Opcode, Section, Side, read_i32};

/// What is looked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look<'a> {
    pub listed: &'a Listed,
    pub is_request: bool,
}

impl Look<'_> {
    /// Whether nothing in `message` is replaced where values are kept, and nothing of its reply either because of it.
    pub(super) fn finds_nothing(self, message: &[u8]) -> bool {
        if read_i32(message, 12) != Some(Opcode::Msg as i32) {
            return false;
        }
        let Ok(parsed) = OpMsg::parse(message, Side::Client) else { return false };
        parsed.sections().all(|section| match section {
            Ok(Section::Body(body)) => self.passes(body, 0) == Ok(true),
            Ok(Section::Sequence { identifier, documents }) => {
                !self.listed.has(identifier) && self.passes_all(documents)
            }
            Err(_) => false,
        })
    }

    fn passes_all(self, mut documents: &[u8]) -> bool {
        while !documents.is_empty() {
            let Ok(length) = document_length(documents) else { return false };
            let (document, behind) = documents.split_at(length);
            if self.passes(document, 0) != Ok(true) {
                return false;
            }
            documents = behind;
        }
        true
    }

    /// An error where the document cannot be walked to its end.
    fn passes(self, document: &[u8], depth: usize) -> Result<bool, DocError> {
        if depth > DEPTH_MAX {
            return Ok(false);
        }
        let mut walk = elements(document);
        while let Some(element) = walk.try_next()? {
            let key = element.key;
            if self.listed.has(key) || (self.is_request && self.renames(key, depth)) {
                return Ok(false);
            }
            let passes = match element.value.kind {
                BsonType::Document | BsonType::Array => self.passes(element.value.bytes, depth + 1)?,
                BsonType::String => {
                    self.text_passes(key, element.value.as_string_bytes().unwrap_or_default())
                }
                BsonType::Code | BsonType::CodeWithScope => false,
                _ => true,
            };
            if !passes {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn renames(self, key: &[u8], depth: usize) -> bool {
        RENAMES_ALL.has(key) || (depth == 0 && matches!(key, b"explain" | b"$explain"))
    }

    fn text_passes(self, key: &[u8], text: &[u8]) -> bool {
        let is_path = text.first() == Some(&b'$');
        // Only a request decides what comes back.
        let names = || self.is_request && self.listed.has(text);
        !is_path && !names() && !TEXTS.has(key) && !CODE.has(key) && !matches!(key, b"$getField" | b"field")
    }
}
