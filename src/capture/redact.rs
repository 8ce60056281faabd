//! What may not stand in a file is replaced, in place: lengths stay, and what was equal stays equal.
//!
//! A message is walked once without changing it, which gives the places of what is to be replaced; then they are
//! overwritten. A message that cannot be walked to its end is not kept at all: nobody knows what is in it.
//!
//! A secret field ([`Listed`]) is secret wherever it stands: in documents, filters and updates, under operators, as a
//! part of a path, in document sequences, in replies. In expressions what is compared with it is replaced, too. Words
//! of the server that name one are cut. With *values*, all else that is data is replaced as well, but for what a
//! command needs for its structure: names, numbers of documents, options, paths.

use self::plain::Look;
use super::hide::Hider;
use super::listed::Listed;
use super::structure::{
    APART, CODE, HOW, INDEX_KINDS, NESTING, PIPELINE, PIPELINES, RENAMES_ALL, STRUCTURE, TEXTS,
};
use crate::doc::{BsonType, DocError, Value, document_length, elements, find};
use crate::wire::{
    HEADER_LEN, LegacyRequest, MsgFlags, OpMsg, OpMsgBuilder, OpQuery, OpReply, Opcode, Section, Side,
    read_i32, write_checksum, write_op_query,
};

/// Documents nested deeper than servers take are not walked (MongoDB: at most 180 in a command, 200 stored).
const DEPTH_MAX: usize = 220;

/// Longer texts are no names of fields.
const NAME_MAX: usize = 256;

/// What becomes of the values at one place of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Context {
    /// They stay, but for secret fields.
    Keep,
    /// Inside a secret field: all are replaced.
    Secret,
    /// Data: all are replaced, and keep their order.
    Data,
    /// An expression or a pipeline: as data or as a secret, but that paths stay.
    Expression { is_secret: bool },
    /// Fields of a command, a statement or a reply.
    Command,
    /// The same, of which the first names the command and stays.
    Request,
}

/// How a value is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Hide,
    Shift,
    Text,
}

/// One value to be replaced: where it stands in the message.
#[derive(Debug, Clone, Copy)]
struct Edit {
    at: usize,
    length: usize,
    kind: BsonType,
    how: How,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redacted {
    /// It can be kept.
    Done,
    /// It can be kept; its reply cannot: secret fields may come back in it under other names.
    LooksAtSecrets,
    /// It is not understood, and must not be kept.
    NotUnderstood,
}

/// Replaces what may not stand in a file.
#[derive(Debug)]
pub struct Redactor {
    hider: Hider,
    listed: Listed,
    values: bool,
    edits: Vec<Edit>,
}

impl Redactor {
    /// With this key, fields of these names beside those that are always secret, and all values or those alone.
    pub fn new(key: [u8; 32], fields: &[String], values: bool) -> Redactor {
        Redactor { hider: Hider::new(key), listed: Listed::new(fields), values, edits: Vec::new() }
    }

    /// Replaces in `message`, a client's, what has to be.
    pub fn request(&mut self, message: &mut [u8]) -> Redacted {
        let context = if self.values { Context::Request } else { Context::Keep };
        self.change(message, true, |walk, message| walk.request(message, context))
    }

    /// As [`Redactor::request`], for what a client was told. The reply to a hello has no data.
    pub fn reply(&mut self, message: &mut [u8], is_hello: bool) -> Redacted {
        let context = if self.values && !is_hello { Context::Command } else { Context::Keep };
        self.change(message, false, |walk, message| walk.reply(message, context))
    }

    fn change(
        &mut self,
        message: &mut [u8],
        is_request: bool,
        walk: impl Fn(&mut Walk<'_>, &[u8]) -> Result<(), DocError>,
    ) -> Redacted {
        if !self.values && (Look { listed: &self.listed, is_request }).finds_nothing(message) {
            return Redacted::Done;
        }
        self.change_walked(message, is_request, walk)
    }

    fn change_walked(
        &mut self,
        message: &mut [u8],
        is_request: bool,
        walk: impl Fn(&mut Walk<'_>, &[u8]) -> Result<(), DocError>,
    ) -> Redacted {
        self.edits.clear();
        let mut walking = Walk {
            listed: &self.listed,
            values: self.values,
            is_request,
            looks: false,
            edits: std::mem::take(&mut self.edits),
        };
        let walked = walk(&mut walking, message);
        let looks = walking.looks;
        self.edits = walking.edits;
        if walked.is_err() {
            return Redacted::NotUnderstood;
        }
        for edit in &self.edits {
            let Some(value) = message.get_mut(edit.at..edit.at + edit.length) else {
                return Redacted::NotUnderstood;
            };
            match edit.how {
                How::Hide => self.hider.hide(edit.kind, value),
                How::Shift => self.hider.shift(edit.kind, value),
                How::Text => self.hider.text(value),
            }
        }
        let has_checksum = read_i32(message, 12) == Some(Opcode::Msg as i32)
            && OpMsg::peek_flags(message).is_some_and(MsgFlags::checksum_present);
        if has_checksum && !self.edits.is_empty() {
            write_checksum(message);
        }
        if looks { Redacted::LooksAtSecrets } else { Redacted::Done }
    }
}

/// What is left of a request whose fields are not kept: its command's name and its database.
pub fn withheld(message: &[u8]) -> Vec<u8> {
    let id = read_i32(message, 4).unwrap_or(0);
    let legacy = OpQuery::parse(message, Side::Client).ok();
    let is_legacy = read_i32(message, 12) == Some(Opcode::Query as i32);
    let msg = OpMsg::parse(message, Side::Client).ok().filter(|_| !is_legacy);
    let body = match (&msg, legacy.filter(|_| is_legacy)) {
        (Some(msg), _) => msg.body,
        (None, Some(query)) => unwrapped(query.query),
        (None, None) => &[],
    };
    let first = elements(body).next().and_then(Result::ok);
    let name = first.and_then(|first| std::str::from_utf8(first.key).ok()).unwrap_or("unreadable");
    let database = find(body, "$db").and_then(|db| db.value.as_str()).unwrap_or_default();
    let mut document = Vec::new();
    let mut writer = crate::doc::DocWriter::begin(&mut document);
    writer.i32(name.as_bytes(), 1);
    if !is_legacy {
        writer.string(b"$db", database);
    }
    writer.finish();
    if let Some(query) = legacy.filter(|_| is_legacy) {
        let namespace = String::from_utf8_lossy(query.namespace);
        let mut out = Vec::new();
        write_op_query(&mut out, id, &namespace, &document);
        return out;
    }
    let flags = msg.map_or(0, |msg| msg.flags.0 & !MsgFlags::CHECKSUM_PRESENT);
    OpMsgBuilder::message(id, 0, MsgFlags(flags), &document)
}

/// The command inside `{$query: {...}}`.
pub(super) fn unwrapped(query: &[u8]) -> &[u8] {
    match elements(query).next() {
        Some(Ok(first)) if first.key == b"$query" || first.key == b"query" => {
            first.value.as_document().unwrap_or(query)
        }
        _ => query,
    }
}

/// A walk through one message.
struct Walk<'a> {
    listed: &'a Listed,
    values: bool,
    is_request: bool,
    /// Something in it names a secret field, so that its values may come back under other names.
    looks: bool,
    edits: Vec<Edit>,
}

impl Walk<'_> {
    fn request(&mut self, message: &[u8], context: Context) -> Result<(), DocError> {
        let opcode = read_i32(message, 12).and_then(Opcode::from_i32).ok_or(DocError::Truncated)?;
        let data = if self.values { Context::Data } else { Context::Keep };
        match opcode {
            Opcode::Msg => self.sections(message, context),
            Opcode::Query => {
                let query = OpQuery::parse(message, Side::Client).map_err(|_| DocError::Truncated)?;
                let context = if query.is_command() { context } else { data };
                let length = document_length(query.query)?;
                self.documents(query.query_at, &query.query[..length], context)?;
                let behind = query.query_at + length;
                // Which fields are wanted.
                self.documents(behind, message.get(behind..).unwrap_or_default(), Context::Keep)
            }
            Opcode::Insert | Opcode::Update | Opcode::Delete => {
                let parsed =
                    LegacyRequest::parse(message, opcode, Side::Client).map_err(|_| DocError::Truncated)?;
                let flags = if opcode == Opcode::Insert { 0 } else { 4 };
                let rest = parsed.rest.get(flags..).ok_or(DocError::Truncated)?;
                self.documents(message.len() - rest.len(), rest, data)
            }
            Opcode::GetMore | Opcode::KillCursors => Ok(()),
            Opcode::Compressed | Opcode::Reply => Err(DocError::Truncated),
        }
    }

    fn reply(&mut self, message: &[u8], context: Context) -> Result<(), DocError> {
        match read_i32(message, 12).and_then(Opcode::from_i32) {
            Some(Opcode::Msg) => self.sections(message, context),
            Some(Opcode::Reply) => {
                OpReply::parse(message, Side::Server).map_err(|_| DocError::Truncated)?;
                let documents = message.get(OpReply::DOCUMENTS_AT..).ok_or(DocError::Truncated)?;
                let is_command = find(documents, "ok").is_some();
                let context = if self.values && !is_command { Context::Data } else { context };
                self.documents(OpReply::DOCUMENTS_AT, documents, context)
            }
            _ => Err(DocError::Truncated),
        }
    }

    fn sections(&mut self, message: &[u8], context: Context) -> Result<(), DocError> {
        let parsed = OpMsg::parse(message, Side::Client).map_err(|_| DocError::Truncated)?;
        for section in parsed.sections() {
            match section.map_err(|_| DocError::Truncated)? {
                Section::Body(body) => self.documents(offset(message, body), body, context)?,
                Section::Sequence { identifier, documents } => {
                    let context = match context {
                        Context::Keep if self.listed.has(identifier) => Context::Secret,
                        Context::Keep => Context::Keep,
                        _ if NESTING.has(identifier) => Context::Command,
                        _ => Context::Data,
                    };
                    self.documents(offset(message, documents), documents, context)?;
                }
            }
        }
        Ok(())
    }

    /// The documents that stand one behind the other in `bytes`, which begin at `at` of the message.
    fn documents(&mut self, mut at: usize, mut bytes: &[u8], context: Context) -> Result<(), DocError> {
        while !bytes.is_empty() {
            let (document, behind) = bytes.split_at(document_length(bytes)?);
            self.document(document, at, context, 0)?;
            at += document.len();
            bytes = behind;
        }
        Ok(())
    }

    /// True if an expression in it looks at a secret field.
    fn document(
        &mut self,
        document: &[u8],
        at: usize,
        context: Context,
        depth: usize,
    ) -> Result<bool, DocError> {
        if depth > DEPTH_MAX {
            return Err(DocError::ValueLength);
        }
        let mut looks = false;
        let mut is_first = context == Context::Request;
        let mut walk = elements(document);
        while let Some(element) = walk.try_next()? {
            // Any field may be in what comes of it.
            self.looks |= self.is_request
                && (RENAMES_ALL.has(element.key)
                    || (depth == 0 && matches!(element.key, b"explain" | b"$explain")));
            // Type, key, zero.
            let value_at = at + element.at + 1 + element.key.len() + 1;
            let inside = match std::mem::take(&mut is_first) {
                // A command inside another: explain, or what drivers wrapped for mongos.
                true if element.value.kind == BsonType::Document => Context::Request,
                true if !self.listed.has(element.key) => Context::Keep,
                _ => self.inside(context, element.key, &element.value),
            };
            looks |= self.value(element.key, element.value, value_at, inside, depth)?;
        }
        Ok(looks)
    }

    /// What becomes of the value of `key` where `context` is that of its document.
    fn inside(&self, context: Context, key: &[u8], value: &Value<'_>) -> Context {
        let is_list = value.kind == BsonType::Array;
        match context {
            Context::Secret if HOW.has(key) => Context::Keep,
            Context::Secret => Context::Secret,
            _ if self.listed.has(key) => Context::Secret,
            Context::Keep => Context::Keep,
            Context::Data if HOW.has(key) || key == b"$readPreference" => Context::Keep,
            Context::Data if key == b"$expr" => Context::Expression { is_secret: false },
            Context::Data => Context::Data,
            Context::Expression { is_secret: false } if key == b"$match" => Context::Data,
            Context::Expression { .. } if PIPELINE.has(key) && value.as_document().is_none() => Context::Keep,
            Context::Expression { .. } => context,
            Context::Command | Context::Request => match key {
                _ if STRUCTURE.has(key) => Context::Keep,
                _ if value.kind == BsonType::String && (TEXTS.has(key) || CODE.has(key)) => Context::Keep,
                b"upserted" if !is_list => Context::Data,
                _ if NESTING.has(key) => Context::Command,
                b"pipeline" | b"projection" | b"fields" => Context::Expression { is_secret: false },
                // Of bulkWrite: places of namespaces.
                b"insert" | b"update" | b"delete" if value.kind == BsonType::Int32 => Context::Keep,
                b"max" if value.kind != BsonType::Document => Context::Keep,
                b"u" | b"update" if is_list => Context::Expression { is_secret: false },
                // The places of a list of statements.
                _ if key.first().is_some_and(u8::is_ascii_digit) => Context::Command,
                _ => Context::Data,
            },
        }
    }

    fn value(
        &mut self,
        key: &[u8],
        value: Value<'_>,
        at: usize,
        context: Context,
        depth: usize,
    ) -> Result<bool, DocError> {
        if let Some(document) = value.as_document() {
            return self.nested(key, value.kind, document, at, context, depth);
        }
        if value.kind == BsonType::CodeWithScope {
            let scope = value.bytes.get(4..).and_then(|rest| {
                let length = usize::try_from(read_i32(rest, 0)?).ok()?;
                rest.get(4 + length..)
            });
            let scope = scope.ok_or(DocError::ValueLength)?;
            self.document(scope, at + value.bytes.len() - scope.len(), context, depth + 1)?;
        }
        match context {
            Context::Keep | Context::Command | Context::Request => Ok(self.keep(key, &value, at)),
            Context::Secret => {
                self.replace(&value, at, How::Hide);
                Ok(false)
            }
            Context::Data => {
                self.replace(&value, at, How::Shift);
                Ok(false)
            }
            Context::Expression { is_secret } => {
                let is_path = value.as_string_bytes().is_some_and(is_path);
                if !is_path {
                    self.replace(&value, at, if is_secret { How::Hide } else { How::Shift });
                }
                Ok(false)
            }
        }
    }

    fn nested(
        &mut self,
        key: &[u8],
        kind: BsonType,
        document: &[u8],
        at: usize,
        context: Context,
        depth: usize,
    ) -> Result<bool, DocError> {
        let before = self.edits.len();
        let looks = self.document(document, at, context, depth + 1)?;
        let is_operator = key.first() == Some(&b'$');
        if !looks || APART.has(key) {
            return Ok(false);
        }
        if is_operator || PIPELINES.has(key) {
            // It looks at a secret field: what it is compared with is one.
            self.edits.truncate(before);
            self.document(document, at, Context::Expression { is_secret: true }, depth + 1)?;
        }
        let is_place = key.first().is_some_and(u8::is_ascii_digit);
        // A list that is no operator's arguments is a list of stages or branches: each for itself.
        Ok(is_operator || is_place || kind != BsonType::Array)
    }

    /// A value that stays. True if it is a path to a secret field.
    fn keep(&mut self, key: &[u8], value: &Value<'_>, at: usize) -> bool {
        let is_code = matches!(value.kind, BsonType::Code | BsonType::CodeWithScope);
        let Some(text) = value.as_string_bytes() else {
            if is_code && self.listed.is_named_in(value.bytes) {
                self.replace(value, at, How::Hide);
            }
            return false;
        };
        let may_hold = TEXTS.has(key) || CODE.has(key);
        if may_hold && (self.values || self.listed.is_named_in(text)) {
            let from = if TEXTS.has(key) { cut(text) } else { 0 };
            let (at, length) = (at + 4 + from, text.len() - from);
            self.edits.push(Edit { at, length, kind: value.kind, how: How::Text });
        }
        let is_path = self.listed.has_path(text);
        // Only a request decides what comes back.
        let names = || text.len() <= NAME_MAX && self.listed.has(text);
        self.looks |= self.is_request && (is_path || names());
        is_path || (matches!(key, b"$getField" | b"field") && self.listed.has(text))
    }

    fn replace(&mut self, value: &Value<'_>, at: usize, how: How) {
        let is_flag = value.as_i64().is_some_and(|number| (-1..=1).contains(&number))
            && value.as_f64().is_some_and(|number| number.fract() == 0.0);
        let is_kind = value.as_string_bytes().is_some_and(|text| INDEX_KINDS.has(text));
        if !is_flag && !is_kind {
            self.edits.push(Edit { at, length: value.bytes.len(), kind: value.kind, how });
        }
    }
}

/// Whether a text is a path in an expression, `$a.b` or `$$a.b`, and not a hash that begins with a dollar, `$2y$10$...`.
fn is_path(text: &[u8]) -> bool {
    let name = text.strip_prefix(b"$$").or(text.strip_prefix(b"$"));
    name.is_some_and(|name| !name.contains(&b'$'))
}

/// Where values may begin in a text of the server.
fn cut(text: &[u8]) -> usize {
    const DUPLICATE: &[u8] = b"dup key:";
    let duplicate = text.windows(DUPLICATE.len()).position(|part| part == DUPLICATE);
    let other = text.iter().position(|byte| matches!(byte, b'{' | b'"' | b'\'' | b'['));
    match (duplicate, other) {
        (Some(at), _) => at + DUPLICATE.len(),
        (None, Some(at)) => at,
        (None, None) => 0,
    }
}

/// Where `part`, a part of `message`, begins in it.
fn offset(message: &[u8], part: &[u8]) -> usize {
    (part.as_ptr() as usize).saturating_sub(message.as_ptr() as usize)
}

const _: () = assert!(HEADER_LEN == 16);

mod plain;

#[cfg(test)]
mod tests;
