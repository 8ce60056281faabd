//! A captured request as the planner, the judge and the query shapes look at it: the command, wherever its parts stand.

use super::scorecard::Skip;
use crate::capture::digest::documents;
use crate::command::{Fields, Kind};
use crate::doc::{elements, find};
use crate::wire::{Header, MESSAGE_MAX, OpMsg, OpQuery, Opcode, Section, Side};

/// A request that carries a command.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The fields that decide.
    pub fields: Fields<'a>,
    /// The command document.
    pub body: &'a [u8],
    /// Where it begins, bytes from the header's first.
    pub body_at: usize,
    /// The database.
    pub database: &'a [u8],
    msg: Option<OpMsg<'a>>,
}

impl<'a> View<'a> {
    /// Looks at a message, header included; the error says why it cannot be replayed.
    pub fn of(message: &'a [u8]) -> Result<View<'a>, Skip> {
        let header = Header::peek(message, Side::Client, MESSAGE_MAX).map_err(|_| Skip::Malformed)?;
        let header = header.filter(|header| header.length == message.len()).ok_or(Skip::Malformed)?;
        match header.opcode {
            Opcode::Msg => {
                let msg = OpMsg::parse(message, Side::Client).map_err(|_| Skip::Malformed)?;
                let fields = Fields::read(msg.body).map_err(|_| Skip::Malformed)?;
                let database = fields.database;
                Ok(View { fields, body: msg.body, body_at: msg.body_at, database, msg: Some(msg) })
            }
            Opcode::Query => {
                let query = OpQuery::parse(message, Side::Client).map_err(|_| Skip::Malformed)?;
                if !query.is_command() {
                    return Err(Skip::Opcode);
                }
                // Commands that drivers wrapped for mongos are of long ago, and their name is inside.
                let first = elements(query.query).next().and_then(Result::ok).map(|first| first.key);
                if matches!(first, Some(b"$query" | b"query")) {
                    return Err(Skip::Opcode);
                }
                let fields = Fields::read(query.query).map_err(|_| Skip::Malformed)?;
                let (body, body_at, database) = (query.query, query.query_at, query.database());
                Ok(View { fields, body, body_at, database, msg: None })
            }
            _ => Err(Skip::Opcode),
        }
    }

    /// The command's name as the client spelled it.
    pub fn name(&self) -> &'a [u8] {
        self.fields.name
    }

    /// The collection; empty if the command is about none.
    pub fn collection(&self) -> &'a [u8] {
        let named = match self.fields.command.kind() {
            Kind::GetMore => {
                find(self.body, "collection").and_then(|element| element.value.as_string_bytes())
            }
            _ => self.fields.collection,
        };
        named.unwrap_or_default()
    }

    /// `db.collection`, or the database alone.
    pub fn namespace(&self) -> String {
        let database = String::from_utf8_lossy(self.database);
        match self.collection() {
            [] => database.into_owned(),
            collection => format!("{database}.{}", String::from_utf8_lossy(collection)),
        }
    }

    /// A document of the command.
    pub fn document(&self, key: &str) -> Option<&'a [u8]> {
        find(self.body, key)?.value.as_document()
    }

    /// The documents of a batch (`documents`, `updates`, `deletes`), whether they stand in the body or in a sequence.
    pub fn batch(&self, key: &str) -> Vec<&'a [u8]> {
        if let Some(array) = self.document(key) {
            return elements(array)
                .map_while(Result::ok)
                .filter_map(|element| element.value.as_document())
                .collect();
        }
        let sections = self.msg.iter().flat_map(|msg| msg.sections()).map_while(Result::ok);
        let mut found = Vec::new();
        for section in sections {
            if let Section::Sequence { identifier, documents: bytes } = section
                && identifier == key.as_bytes()
            {
                found.extend(documents(bytes));
            }
        }
        found
    }
}

/// The documents of a request or a reply, the command or the answer first.
pub fn documents_of(message: &[u8]) -> Vec<&[u8]> {
    if let Ok(msg) = OpMsg::parse(message, Side::Server) {
        let sequences = msg.sections().map_while(Result::ok).flat_map(|section| match section {
            Section::Body(_) => Vec::new(),
            Section::Sequence { documents: bytes, .. } => documents(bytes).collect(),
        });
        return std::iter::once(msg.body).chain(sequences).collect();
    }
    match crate::wire::read_i32(message, 12).and_then(Opcode::from_i32) {
        Some(Opcode::Reply) => {
            documents(message.get(crate::wire::OpReply::DOCUMENTS_AT..).unwrap_or_default()).collect()
        }
        _ => View::of(message).map(|view| vec![view.body]).unwrap_or_default(),
    }
}
