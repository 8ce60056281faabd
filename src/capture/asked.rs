//! What a request asks for, in the words of those who select by it: command, database, collection.

use super::redact::unwrapped;
use crate::doc::{BsonType, elements};
use crate::wire::{LegacyRequest, OpMsg, OpQuery, Opcode, Side, read_i32};

/// What a request is about. Not checked to be UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Asked<'a> {
    /// The command's name, or what a legacy opcode amounts to.
    pub command: &'a [u8],
    /// The database; empty if none is named.
    pub database: &'a [u8],
    /// The collection; empty if none is named.
    pub collection: &'a [u8],
}

impl<'a> Asked<'a> {
    /// What the request `message` is about; nothing where it cannot be read.
    pub fn of(message: &'a [u8]) -> Asked<'a> {
        match read_i32(message, 12).and_then(Opcode::from_i32) {
            Some(Opcode::Msg) => OpMsg::parse(message, Side::Client)
                .map_or(Asked::default(), |msg| Asked::of_command(msg.body, b"")),
            Some(Opcode::Query) => match OpQuery::parse(message, Side::Client) {
                Ok(query) if query.is_command() => {
                    Asked::of_command(unwrapped(query.query), query.database())
                }
                Ok(query) => Asked::of_namespace(b"find", query.namespace),
                Err(_) => Asked::default(),
            },
            Some(opcode) => {
                let name: &[u8] = match opcode {
                    Opcode::Insert => b"insert",
                    Opcode::Update => b"update",
                    Opcode::Delete => b"delete",
                    Opcode::GetMore => b"getMore",
                    Opcode::KillCursors => return Asked { command: b"killCursors", ..Asked::default() },
                    _ => return Asked::default(),
                };
                let parsed = LegacyRequest::parse(message, opcode, Side::Client);
                parsed.map_or(Asked::default(), |parsed| Asked::of_namespace(name, parsed.namespace))
            }
            None => Asked::default(),
        }
    }

    /// Whether it is for the next batch of a cursor. As [`Asked::of`] has it, without looking further than that takes.
    pub fn is_get_more(message: &[u8]) -> bool {
        match read_i32(message, 12).and_then(Opcode::from_i32) {
            Some(Opcode::Msg) => OpMsg::parse(message, Side::Client).is_ok_and(
                |msg| matches!(elements(msg.body).next(), Some(Ok(first)) if first.key == b"getMore"),
            ),
            Some(_) => Asked::of(message).command == b"getMore",
            None => false,
        }
    }

    fn of_namespace(command: &'a [u8], namespace: &'a [u8]) -> Asked<'a> {
        let dot = namespace.iter().position(|byte| *byte == b'.').unwrap_or(namespace.len());
        Asked {
            command,
            database: &namespace[..dot],
            collection: namespace.get(dot + 1..).unwrap_or_default(),
        }
    }

    fn of_command(body: &'a [u8], database: &'a [u8]) -> Asked<'a> {
        let mut asked = Asked { database, ..Asked::default() };
        let mut all = elements(body).map_while(Result::ok);
        let Some(first) = all.next() else { return asked };
        asked.command = first.key;
        if first.value.kind == BsonType::String {
            asked.collection = first.value.as_string_bytes().unwrap_or_default();
        }
        for element in all {
            match element.key {
                b"$db" => asked.database = element.value.as_string_bytes().unwrap_or_default(),
                // getMore's first value is the cursor.
                b"collection" if asked.command == b"getMore" => {
                    asked.collection = element.value.as_string_bytes().unwrap_or_default();
                }
                _ => {}
            }
        }
        asked
    }

    /// `database.collection`, or the database alone.
    pub fn namespace(&self) -> String {
        let text = String::from_utf8_lossy;
        match self.collection.is_empty() {
            true => text(self.database).into_owned(),
            false => format!("{}.{}", text(self.database), text(self.collection)),
        }
    }

    /// Whether it goes with other requests, whatever those are about: who leaves it out leaves out what they need.
    pub fn goes_with_others(&self) -> bool {
        const THESE: &[&[u8]] = &[
            b"hello",
            b"isMaster",
            b"ismaster",
            b"commitTransaction",
            b"abortTransaction",
            b"endSessions",
            b"killSessions",
            b"refreshSessions",
        ];
        THESE.contains(&self.command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{MsgFlags, OpMsgBuilder, write_op_query};
    use bson::doc;

    #[test]
    fn a_request_names_its_command_and_its_collection() {
        let msg = |command: bson::Document| {
            OpMsgBuilder::message(1, 0, MsgFlags(0), &bson::serialize_to_vec(&command).unwrap())
        };
        let find = msg(doc! { "find": "things", "$db": "app" });
        assert_eq!(
            (Asked::of(&find).namespace().as_str(), Asked::of(&find).command),
            ("app.things", b"find".as_slice())
        );
        let more = msg(doc! { "getMore": 5i64, "collection": "things", "$db": "app" });
        assert_eq!(Asked::of(&more).namespace(), "app.things");
        let ping = msg(doc! { "ping": 1, "$db": "admin" });
        assert_eq!(Asked::of(&ping).namespace(), "admin");
        let mut query = Vec::new();
        let command = bson::serialize_to_vec(&doc! { "$query": { "count": "things" } }).unwrap();
        write_op_query(&mut query, 1, "app.$cmd", &command);
        assert_eq!(Asked::of(&query), Asked { command: b"count", database: b"app", collection: b"things" });
        assert_eq!(Asked::of(b"short"), Asked::default());
    }
}
