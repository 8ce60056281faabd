//! What a request is and what is to be done with it, decided from its bytes alone.

use std::num::NonZeroU32;

use tokio::time::{Duration, Instant};

use super::registry::Phase;
use crate::command::{Command, Fields, Kind, TransactionId};
use crate::doc::{DocError, elements};
use crate::rewrite::{ReplyKind, request_names_members};
use crate::wire::{
    Header, LegacyRequest, MsgFlags, OpMsg, OpQuery, Opcode, Side, WireError, checksum_matches, read_i64,
};

/// The way that a request goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// Answered from the monitors' newest hello.
    Hello,
    /// Answered or refused here: authentication.
    Local,
    /// To the server; the reply names the connection that asked, which is the client's own.
    WhatsMyUri,
    /// To the server and back, untouched.
    Forward,
    /// To the server; the client wants no reply.
    NoReply,
    /// To the server; the opcode has no reply.
    KillCursors,
    /// To the server; its request names members (`request`) or its reply does, and is edited.
    Names {
        /// How the reply names them, if it does.
        reply: Option<ReplyKind>,
        /// Whether the request does.
        request: bool,
    },
    /// The next batch of a cursor, which may be one that waits on the server.
    GetMore,
    /// To the server; replies may follow each other unasked until one says that it is the last.
    Exhaust,
    /// A legacy write: no reply, but the connection is kept for the getLastError that asks for its outcome.
    LegacyWrite,
    /// To the server; it ends cursors.
    EndsCursors,
    /// A fail point, which may be for commands that torana answers itself.
    FailPoint,
    /// To the server; it ends sessions and with them their transactions.
    EndsSessions,
    /// getLastError and its kin: belongs to the connection of the last legacy write.
    LastError,
}

/// One request, as far as torana needs to know it. Owned, so that its bytes can be patched and sent meanwhile.
#[derive(Debug, Clone, Copy)]
pub struct Request {
    /// The header as the client sent it.
    pub header: Header,
    /// Flag bits of an OP_MSG or OP_QUERY.
    pub flags: u32,
    /// The command, or what a legacy opcode amounts to.
    pub command: Command,
    /// Where it goes.
    pub route: Route,
    /// When it had been read.
    pub received: Instant,
    /// The client's own limit, `maxTimeMS`; `None` if 0 or absent.
    pub max_time_ms: Option<NonZeroU32>,
    /// `maxTimeMS: 0`: no limit, but to a getMore that awaits: from MongoDB 5.0 on that one does not wait then.
    pub max_time_is_zero: bool,
    /// Session and number, for retryable writes and transactions.
    pub transaction: Option<TransactionId>,
    /// Whether it is a statement of a multi-document transaction.
    pub in_transaction: bool,
    /// Whether it is that transaction's first.
    pub starts_transaction: bool,
    /// Whether ending it half-way changes nothing.
    pub is_read: bool,
    /// Whether it frees what others wait for, by its command alone.
    pub is_relief: bool,
    /// Whether the cursor that it opens, or continues, awaits data: known of a getMore only once it was looked up.
    pub opens_awaiting_cursor: bool,
    /// The cursor that it continues.
    pub cursor_id: Option<i64>,
    /// Whether it is a command, and not a legacy request on a collection.
    pub is_command: bool,
    /// Where its command document begins in the message, bytes.
    pub body_at: usize,
    /// An OP_MSG's `$db`, and the first value of its command: mostly the collection.
    pub(super) named: [Span; 2],
}

/// A place in a message; none if its length is 0.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Span {
    at: u32,
    length: u16,
}

impl Span {
    /// Where `part`, which is a view into `whole`, stands there.
    fn of(part: &[u8], whole: &[u8]) -> Span {
        let at = (part.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
        match (u32::try_from(at), u16::try_from(part.len())) {
            (Ok(at), Ok(length)) => Span { at, length },
            _ => Span::default(),
        }
    }

    fn in_message(self, message: &[u8]) -> Option<&[u8]> {
        let at = self.at as usize;
        message.get(at..at + usize::from(self.length)).filter(|part| !part.is_empty())
    }
}

/// Why a request is refused before anything is done with it.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// Not the wire protocol.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// Its command is not BSON.
    #[error("client sent a command that is not a BSON document: {0}")]
    Document(#[from] DocError),
}

impl Request {
    /// Looks at the whole message at the front of `message`.
    pub fn read(header: Header, message: &[u8], received: Instant) -> Result<Request, RequestError> {
        let message = message.get(..header.length).unwrap_or(message);
        match header.opcode {
            Opcode::Msg => Self::op_msg(header, message, received),
            Opcode::Query => Self::op_query(header, message, received),
            Opcode::Insert | Opcode::Update | Opcode::Delete => {
                LegacyRequest::parse(message, header.opcode, Side::Client)?;
                let name: &[u8] = match header.opcode {
                    Opcode::Insert => b"insert",
                    Opcode::Update => b"update",
                    _ => b"delete",
                };
                Ok(Self::legacy(header, Command::named(name), Route::LegacyWrite, received))
            }
            Opcode::GetMore => {
                let parsed = LegacyRequest::parse(message, header.opcode, Side::Client)?;
                let route = legacy_route(parsed.namespace, Route::GetMore);
                let mut request = Self::legacy(header, Command::named(b"getMore"), route, received);
                // Behind the namespace: numberToReturn, cursorID.
                request.cursor_id = read_i64(parsed.rest, 4);
                request.is_read = true;
                Ok(request)
            }
            Opcode::KillCursors => {
                let request =
                    Self::legacy(header, Command::named(b"killCursors"), Route::KillCursors, received);
                Ok(Request { is_relief: true, ..request })
            }
            Opcode::Compressed => {
                Err(unexpected(header.opcode, "was not negotiated: torana offers no compression"))
            }
            Opcode::Reply => Err(unexpected(header.opcode, "only servers send")),
        }
    }

    fn op_msg(header: Header, message: &[u8], received: Instant) -> Result<Request, RequestError> {
        let parsed = OpMsg::parse(message, Side::Client)?;
        if parsed.flags.checksum_present() && !checksum_matches(message) {
            // The server would close the connection, which is not this client's alone.
            let what = "a checksum that does not match";
            return Err(WireError::Malformed { side: Side::Client, opcode: Opcode::Msg, what }.into());
        }
        let fields = Fields::read(parsed.body)?;
        let mut request = Self::command(header, &fields, parsed.body, received);
        request.flags = parsed.flags.0;
        request.body_at = parsed.body_at;
        request.named =
            [fields.database, fields.collection.unwrap_or_default()].map(|name| Span::of(name, message));
        let is_own = matches!(request.route, Route::Hello | Route::Local | Route::FailPoint);
        if parsed.flags.more_to_come() && !is_own {
            request.route = Route::NoReply;
        } else if parsed.flags.exhaust_allowed() && matches!(request.route, Route::Forward | Route::GetMore) {
            request.route = Route::Exhaust;
        }
        Ok(request)
    }

    fn op_query(header: Header, message: &[u8], received: Instant) -> Result<Request, RequestError> {
        let parsed = OpQuery::parse(message, Side::Client)?;
        let mut request = match parsed.is_command() {
            true => {
                let command = unwrapped(parsed.query);
                let fields = Fields { database: parsed.database(), ..Fields::read(command)? };
                Self::command(header, &fields, command, received)
            }
            false => {
                let mut request = Self::legacy(header, Command::named(b"find"), Route::Forward, received);
                request.is_read = true;
                request.opens_awaiting_cursor = parsed.flags.tailable_await();
                request.route = legacy_route(parsed.namespace, Route::Forward);
                if parsed.flags.exhaust() && request.route == Route::Forward {
                    request.route = Route::Exhaust;
                }
                request
            }
        };
        request.flags = parsed.flags.0;
        request.body_at = parsed.query_at;
        Ok(request)
    }

    fn legacy(header: Header, command: Command, route: Route, received: Instant) -> Request {
        Request {
            header,
            flags: 0,
            command,
            route,
            received,
            max_time_ms: None,
            max_time_is_zero: false,
            transaction: None,
            in_transaction: false,
            starts_transaction: false,
            is_read: false,
            is_relief: false,
            opens_awaiting_cursor: false,
            cursor_id: None,
            is_command: false,
            body_at: 0,
            named: [Span::default(); 2],
        }
    }

    fn command(header: Header, fields: &Fields<'_>, body: &[u8], received: Instant) -> Request {
        let kind = fields.command.kind();
        let route = match kind {
            Kind::Hello => Route::Hello,
            Kind::Authentication => Route::Local,
            Kind::WhatsMyUri => Route::WhatsMyUri,
            Kind::LastError => Route::LastError,
            Kind::EndsSessions => Route::EndsSessions,
            Kind::EndsCursors => Route::EndsCursors,
            Kind::FailPoint => Route::FailPoint,
            _ => {
                let plain = if kind == Kind::GetMore { Route::GetMore } else { Route::Forward };
                let (reply, request) = (ReplyKind::for_command(fields, body), request_names_members(fields));
                if reply.is_some() || request { Route::Names { reply, request } } else { plain }
            }
        };
        let max_time = fields.max_time_ms.and_then(|limit| u32::try_from(limit).ok());
        let looks = fields.looks_at_operations || kind == Kind::Names;
        Request {
            max_time_ms: max_time.and_then(NonZeroU32::new),
            max_time_is_zero: max_time == Some(0),
            transaction: fields.transaction,
            in_transaction: fields.in_transaction,
            starts_transaction: fields.starts_transaction,
            is_read: matches!(kind, Kind::Read | Kind::GetMore) && !fields.writes,
            is_relief: looks
                || matches!(
                    kind,
                    Kind::Relief | Kind::EndsCursors | Kind::EndsSessions | Kind::EndTransaction
                ),
            opens_awaiting_cursor: fields.opens_awaiting_cursor,
            cursor_id: fields.cursor_id,
            is_command: true,
            ..Self::legacy(header, fields.command, route, received)
        }
    }

    /// The database and the collection that it names, if it is of those commands that name one collection, in their first
    /// field; of others nothing. `message` is the request as it was read.
    pub fn names_one<'m>(&self, message: &'m [u8]) -> Option<(&'m [u8], &'m [u8])> {
        let names_one = matches!(
            self.command.name(),
            "find"
                | "insert"
                | "update"
                | "delete"
                | "findAndModify"
                | "findandmodify"
                | "count"
                | "distinct"
        );
        let [database, collection] = self.named;
        let database = database.in_message(message).filter(|_| names_one)?;
        Some((database, collection.in_message(message)?))
    }

    /// Whether the client expects an answer.
    pub fn has_reply(&self) -> bool {
        let wants_none = self.header.opcode == Opcode::Msg && MsgFlags(self.flags).more_to_come();
        !wants_none && !matches!(self.route, Route::NoReply | Route::KillCursors | Route::LegacyWrite)
    }

    /// What its client does while it is on the server.
    pub fn phase(&self) -> Phase {
        let waits_for_data = self.cursor_id.is_some() && self.opens_awaiting_cursor;
        if waits_for_data { Phase::AwaitingData } else { Phase::Awaiting }
    }

    /// Whether the message ends with a checksum, over a header that must then stay as it is.
    pub fn has_checksum(&self) -> bool {
        self.header.opcode == Opcode::Msg && MsgFlags(self.flags).checksum_present()
    }

    /// The client's own time limit.
    pub fn max_time(&self) -> Option<Duration> {
        self.max_time_ms.map(|limit| Duration::from_millis(u64::from(limit.get())))
    }

    /// When the client's own time limit is up.
    pub fn deadline(&self) -> Option<Instant> {
        self.max_time().and_then(|limit| self.received.checked_add(limit))
    }
}

fn legacy_route(namespace: &[u8], plain: Route) -> Route {
    let reply = ReplyKind::for_namespace(namespace);
    if reply.is_some() { Route::Names { reply, request: false } } else { plain }
}

/// The command inside `{$query: {...}, $readPreference: ...}`, as drivers wrapped it for mongos over OP_QUERY.
pub fn unwrapped(query: &[u8]) -> &[u8] {
    match elements(query).next() {
        Some(Ok(first)) if first.key == b"$query" || first.key == b"query" => {
            first.value.as_document().unwrap_or(query)
        }
        _ => query,
    }
}

fn unexpected(opcode: Opcode, why: &'static str) -> RequestError {
    RequestError::Wire(WireError::UnexpectedOpcode { side: Side::Client, opcode, why })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{MESSAGE_MAX, OpMsgBuilder, write_op_query};
    use bson::doc;

    fn request(message: &[u8]) -> Result<Request, RequestError> {
        let header = Header::peek(message, Side::Client, MESSAGE_MAX).unwrap().unwrap();
        Request::read(header, message, Instant::now())
    }

    fn msg(flags: u32, command: bson::Document) -> Request {
        let body = bson::serialize_to_vec(&command).unwrap();
        request(&OpMsgBuilder::message(1, 0, MsgFlags(flags), &body)).unwrap()
    }

    fn query(namespace: &str, command: bson::Document) -> Request {
        let mut message = Vec::new();
        write_op_query(&mut message, 1, namespace, &bson::serialize_to_vec(&command).unwrap());
        request(&message).unwrap()
    }

    #[tokio::test]
    async fn every_spelling_of_hello_on_any_database_is_answered_here() {
        for name in ["hello", "isMaster", "ismaster"] {
            assert_eq!(msg(0, doc! { name: 1, "$db": "app" }).route, Route::Hello);
            assert_eq!(query("app.$cmd", doc! { name: 1 }).route, Route::Hello);
            assert_eq!(query("app.$cmd", doc! { "$query": { name: 1 } }).route, Route::Hello);
        }
    }

    #[tokio::test]
    async fn a_client_of_one_command_cannot_pass_for_another() {
        assert_eq!(msg(MsgFlags::MORE_TO_COME, doc! { "saslStart": 1, "$db": "x" }).route, Route::Local);
        assert_eq!(msg(MsgFlags::MORE_TO_COME, doc! { "insert": "c", "$db": "x" }).route, Route::NoReply);
        assert_eq!(
            msg(MsgFlags::EXHAUST_ALLOWED, doc! { "getMore": 5i64, "$db": "x" }).route,
            Route::Exhaust
        );
        assert_eq!(query("app.things", doc! { "hello": 1 }).route, Route::Forward);
    }

    #[tokio::test]
    async fn only_what_changes_nothing_counts_as_a_read() {
        assert!(msg(0, doc! { "find": "c", "$db": "x" }).is_read);
        assert!(!msg(0, doc! { "insert": "c", "$db": "x" }).is_read);
        assert!(!msg(0, doc! { "aggregate": "c", "pipeline": [{ "$out": "d" }], "$db": "x" }).is_read);
        assert!(!msg(0, doc! { "someNewCommand": 1, "$db": "x" }).is_read);
    }

    #[tokio::test]
    async fn compressed_messages_are_refused_with_the_reason() {
        let mut message = OpMsgBuilder::message(1, 0, MsgFlags(0), &[5, 0, 0, 0, 0]);
        message[12..16].copy_from_slice(&2012i32.to_le_bytes());
        let error = request(&message).unwrap_err().to_string();
        assert_eq!(error, "client sent Compressed, which was not negotiated: torana offers no compression");
    }
}
