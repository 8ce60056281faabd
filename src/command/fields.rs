//! The fields of a command that decide what torana does with it, read in one pass.

use super::table::Command;
use crate::doc::{BsonType, DocError, elements, find};

/// Which transaction a statement belongs to: its session's id and the transaction's number there.
///
/// The id is the 16 bytes of the `lsid.id` UUID. Sessions of different users share no ids (the server adds the
/// user's digest), and torana has one server-side user a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TransactionId {
    /// `lsid.id`.
    pub session: [u8; 16],
    /// `txnNumber`.
    pub number: i64,
}

/// What one pass over a command's body found.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a> {
    /// The command.
    pub command: Command,
    /// Its name as the client spelled it: the key of the first element.
    pub name: &'a [u8],
    /// `$db`; empty if it was not sent (OP_QUERY carries it in the namespace).
    pub database: &'a [u8],
    /// The first element's value if that is a string: mostly the collection.
    pub collection: Option<&'a [u8]>,
    /// The first element's value if that is a whole number: `getMore`'s cursor id.
    pub cursor_id: Option<i64>,
    /// `maxTimeMS`.
    pub max_time_ms: Option<i64>,
    /// `lsid.id` and `txnNumber`, if both are there.
    pub transaction: Option<TransactionId>,
    /// `autocommit: false`: a statement of a multi-document transaction, not a retryable write.
    pub in_transaction: bool,
    /// `startTransaction: true`.
    pub starts_transaction: bool,
    /// A find with `tailable` and `awaitData`, or an aggregate that begins with `$changeStream`: its cursor's
    /// getMores wait on the server.
    pub opens_awaiting_cursor: bool,
    /// An aggregate that begins with `$currentOp`: it looks at who holds what, and must not wait behind them.
    pub looks_at_operations: bool,
    /// An aggregate with `$out` or `$merge` as its last stage, which makes it a write.
    pub writes: bool,
    /// `topologyVersion` document (hello).
    pub topology_version: Option<&'a [u8]>,
    /// `maxAwaitTimeMS` (hello).
    pub max_await_time_ms: Option<i64>,
    /// `writeConcern.w` is 0.
    pub unacknowledged: bool,
}

impl<'a> Fields<'a> {
    /// Reads the command in `body`. Of a key that stands there twice the last counts, as in the server.
    ///
    /// An empty document is a command without a name: [`Command::OTHER`], for the server to refuse.
    pub fn read(body: &'a [u8]) -> Result<Fields<'a>, DocError> {
        let mut fields = Fields::empty();
        let mut session = None;
        let mut number = None;
        let (mut tailable, mut await_data) = (false, false);
        let mut walk = elements(body);
        if let Some(first) = walk.try_next()? {
            fields.first(first.key, first.value);
        }
        while let Some(element) = walk.try_next()? {
            let value = element.value;
            match element.key {
                b"$db" => fields.database = value.as_string_bytes().unwrap_or_default(),
                b"maxTimeMS" => fields.max_time_ms = value.as_i64(),
                b"lsid" => session = value.as_document(),
                b"txnNumber" => number = value.as_i64(),
                b"autocommit" => fields.in_transaction = value.as_bool() == Some(false),
                b"startTransaction" => fields.starts_transaction = value.as_bool() == Some(true),
                b"tailable" => tailable = value.as_bool() == Some(true),
                b"awaitData" => await_data = value.as_bool() == Some(true),
                b"pipeline" => {
                    if let Some(pipeline) = value.as_document() {
                        fields.opens_awaiting_cursor |= first_stage_is(pipeline, b"$changeStream");
                        fields.looks_at_operations = first_stage_is(pipeline, b"$currentOp");
                        fields.writes |= last_stage_writes(pipeline);
                    }
                }
                b"topologyVersion" => fields.topology_version = value.as_document(),
                b"maxAwaitTimeMS" => fields.max_await_time_ms = value.as_i64(),
                b"writeConcern" => {
                    let w = value.as_document().and_then(|concern| find(concern, "w"));
                    fields.unacknowledged = w.and_then(|w| w.value.as_i64()) == Some(0);
                }
                _ => {}
            }
        }
        fields.opens_awaiting_cursor |= tailable && await_data;
        // Most commands name a session, and few of them a number in it.
        fields.transaction = session.zip(number).and_then(|(session, number)| {
            session_id(session).map(|session| TransactionId { session, number })
        });
        Ok(fields)
    }

    fn empty() -> Self {
        Fields {
            command: Command::OTHER,
            name: b"",
            database: b"",
            collection: None,
            cursor_id: None,
            max_time_ms: None,
            transaction: None,
            in_transaction: false,
            starts_transaction: false,
            opens_awaiting_cursor: false,
            looks_at_operations: false,
            writes: false,
            topology_version: None,
            max_await_time_ms: None,
            unacknowledged: false,
        }
    }

    fn first(&mut self, key: &'a [u8], value: crate::doc::Value<'a>) {
        self.name = key;
        self.command = Command::named(key);
        self.collection = value.as_string_bytes();
        if value.kind == BsonType::Int64 || value.kind == BsonType::Int32 {
            self.cursor_id = value.as_i64();
        }
    }
}

fn session_id(lsid: &[u8]) -> Option<[u8; 16]> {
    find(lsid, "id")?.value.as_binary()?.try_into().ok()
}

fn first_stage_is(pipeline: &[u8], name: &[u8]) -> bool {
    let stage = elements(pipeline).next().and_then(Result::ok).and_then(|stage| stage.value.as_document());
    stage.and_then(|stage| elements(stage).next()?.ok()).is_some_and(|first| first.key == name)
}

fn last_stage_writes(pipeline: &[u8]) -> bool {
    let stage = elements(pipeline).map_while(Result::ok).last().and_then(|stage| stage.value.as_document());
    let first = stage.and_then(|stage| elements(stage).next()?.ok());
    first.is_some_and(|first| matches!(first.key, b"$out" | b"$merge"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::doc;

    fn with<T>(document: bson::Document, check: impl FnOnce(Fields<'_>) -> T) -> T {
        let bytes = bson::serialize_to_vec(&document).unwrap();
        check(Fields::read(&bytes).unwrap())
    }

    #[test]
    fn a_statement_of_a_transaction_is_told_from_a_retryable_write() {
        let id = bson::Binary { subtype: bson::spec::BinarySubtype::Uuid, bytes: vec![7; 16] };
        let retryable = doc! { "insert": "c", "lsid": { "id": id.clone() }, "txnNumber": 3i64, "$db": "app" };
        with(retryable, |fields| {
            assert_eq!(fields.transaction, Some(TransactionId { session: [7; 16], number: 3 }));
            assert!(!fields.in_transaction);
            assert_eq!((fields.database, fields.collection), (b"app".as_slice(), Some(b"c".as_slice())));
        });
        let inside = doc! { "find": "c", "lsid": { "id": id }, "txnNumber": 3i64, "autocommit": false,
        "startTransaction": true };
        with(inside, |fields| assert!(fields.in_transaction && fields.starts_transaction));
    }

    #[test]
    fn awaiting_cursors_and_writing_pipelines_are_known_from_the_command_that_opens_them() {
        let stream = doc! { "aggregate": 1, "pipeline": [{ "$changeStream": {} }, { "$match": {} }] };
        with(stream, |fields| assert!(fields.opens_awaiting_cursor && !fields.writes));
        let tail = doc! { "find": "c", "tailable": true, "awaitData": true };
        with(tail, |fields| assert!(fields.opens_awaiting_cursor));
        with(doc! { "find": "c", "tailable": true }, |fields| assert!(!fields.opens_awaiting_cursor));
        let out = doc! { "aggregate": "c", "pipeline": [{ "$match": {} }, { "$out": "d" }] };
        with(out, |fields| assert!(fields.writes));
    }

    #[test]
    fn a_truncated_command_is_an_error() {
        let bytes = bson::serialize_to_vec(&doc! { "find": "c", "filter": { "a": 1 } }).unwrap();
        assert!((0..bytes.len()).all(|end| Fields::read(&bytes[..end]).is_err()));
    }
}
