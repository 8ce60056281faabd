//! Messages and what becomes of connections, as records: the counterpart of the proxy's tap for traffic that somebody else
//! saw. Numbers requests, finds the request of a reply, tells from a command's name what may be kept of it.

use std::collections::HashMap;

use super::compressed::unpacked;
use super::error::ImportError;
use super::tally::{Skip, Tally};
use super::tape::Tape;
use crate::capture::facts::Facts;
use crate::capture::{
    Asked, Form, Kind, LostWhy, MESSAGE_MAX, Opened, Policy, Record, Reply, Request, Role, policy,
};
use crate::doc::{elements, find, find_path};
use crate::wire::{HEADER_LEN, Header, MESSAGE_MAX as WIRE_MAX, OpMsg, OpQuery, Opcode, Side, read_i32};

/// The longest reply that is kept whole, bytes: as in a live capture.
pub const REPLY_MAX: usize = 4 << 20;

/// Servers whose role is remembered.
const ROLES_MAX: usize = 1000;

/// The opcodes OP_COMMAND and OP_COMMANDREPLY.
const OP_COMMAND: [i32; 2] = [2010, 2011];

/// One connection of a source.
#[derive(Debug, Default)]
pub struct Connection {
    /// Its number in the capture; 0 while nothing of it is there.
    number: u64,
    has_greeted: bool,
    next: u32,
    current: Option<Current>,
    last: u64,
    /// The rest of it is not taken.
    is_lost: bool,
    hello_of: Option<Box<str>>,
}

/// The request that replies are for.
#[derive(Debug, Clone, Copy)]
struct Current {
    number: u32,
    answers: i32,
    policy: Policy,
}

/// Who talks on a connection.
#[derive(Debug, Clone, Copy)]
pub struct Ends<'a> {
    /// The client's address.
    pub client: &'a str,
    /// The server's.
    pub member: &'a str,
    /// The application, if the source says it.
    pub application: &'a str,
}

/// Takes messages.
#[derive(Debug)]
pub struct Taker<T> {
    /// Where records go.
    pub tape: T,
    /// What was left out.
    pub tally: Tally,
    /// Requests taken.
    pub requests: u64,
    /// Replies taken.
    pub replies: u64,
    /// Connections taken.
    pub connections: u64,
    started: Option<i64>,
    last: u64,
    roles: HashMap<Box<str>, Role>,
}

impl<T: Tape> Taker<T> {
    /// Onto this tape.
    pub fn new(tape: T) -> Taker<T> {
        Taker {
            tape,
            tally: Tally::default(),
            requests: 0,
            replies: 0,
            connections: 0,
            started: None,
            last: 0,
            roles: HashMap::new(),
        }
    }

    /// From the first to the last record, nanoseconds.
    pub fn length(&self) -> u64 {
        self.last
    }

    /// A whole message at `time` (nanoseconds since 1970), from the client or from the server.
    pub fn message(
        &mut self,
        connection: &mut Connection,
        ends: Ends<'_>,
        time: i64,
        side: Side,
        message: &[u8],
    ) -> Result<(), ImportError> {
        if connection.is_lost {
            return Ok(());
        }
        let Some(header) = self.header(message) else { return Ok(()) };
        if header.opcode != Opcode::Compressed {
            return self.plain(connection, ends, time, side, header, message);
        }
        match unpacked(&header, message) {
            Some(plain) => match self.header(&plain) {
                Some(header) => self.plain(connection, ends, time, side, header, &plain),
                None => Ok(()),
            },
            None => {
                self.tally.skip(Skip::Compressor);
                Ok(())
            }
        }
    }

    /// The header of a message that is whole.
    fn header(&mut self, message: &[u8]) -> Option<Header> {
        let header = Header::peek(message, Side::Client, WIRE_MAX).ok().flatten();
        let opcode = read_i32(message, 12);
        match header.filter(|header| header.length == message.len()) {
            Some(header) => return Some(header),
            None if opcode.is_some_and(|opcode| OP_COMMAND.contains(&opcode)) => {
                self.tally.skip(Skip::OpCommand);
            }
            None if opcode.is_some_and(|opcode| Opcode::from_i32(opcode).is_none()) => {
                self.tally.skip(Skip::Opcode);
            }
            None => self.tally.skip(Skip::BadMessage),
        }
        None
    }

    fn plain(
        &mut self,
        connection: &mut Connection,
        ends: Ends<'_>,
        time: i64,
        side: Side,
        header: Header,
        message: &[u8],
    ) -> Result<(), ImportError> {
        match (side, header.opcode) {
            (Side::Client, Opcode::Reply) => {
                self.tally.skip(Skip::BadMessage);
                Ok(())
            }
            (Side::Client, _) => self.request(connection, ends, time, header, message),
            (_, Opcode::Reply | Opcode::Msg) if header.length <= REPLY_MAX => {
                self.learn_role(connection, ends.member, message);
                let form = Form::Whole(message);
                self.reply(connection, time, header, Facts::default(), form, message.len())
            }
            (_, Opcode::Reply | Opcode::Msg) => {
                self.reply(connection, time, header, Facts::of(message), Form::TooLarge, 0)
            }
            _ => {
                self.tally.skip(Skip::BadMessage);
                Ok(())
            }
        }
    }

    fn request(
        &mut self,
        connection: &mut Connection,
        ends: Ends<'_>,
        time: i64,
        header: Header,
        message: &[u8],
    ) -> Result<(), ImportError> {
        if message.len() > MESSAGE_MAX {
            self.tally.skip(Skip::LongRequest);
            return self.lose(connection, time, LostWhy::TooLong);
        }
        let asked = Asked::of(message);
        let policy = match policy(asked.command) {
            Policy::Hello if std::mem::replace(&mut connection.has_greeted, true) => Policy::HelloAgain,
            policy => policy,
        };
        let is_hello = matches!(policy, Policy::Hello | Policy::HelloAgain);
        self.open(connection, ends, time, is_hello.then_some(message))?;
        let number = connection.next;
        connection.next = number.wrapping_add(1);
        let wants_none = wants_none(header.opcode, message);
        let kind = Kind::Request(Request { number, wants_none, withheld: false, message });
        self.put(connection, policy, kind, time, message.len())?;
        self.requests += 1;
        let answers = header.request_id;
        connection.current = (!wants_none).then_some(Current { number, answers, policy });
        connection.hello_of = is_hello.then(|| ends.member.into());
        Ok(())
    }

    /// A reply at `time`: whole, or what is known of it.
    pub fn reply(
        &mut self,
        connection: &mut Connection,
        time: i64,
        header: Header,
        facts: Facts,
        form: Form<'_>,
        kept: usize,
    ) -> Result<(), ImportError> {
        let current = connection.current.as_mut().filter(|current| current.answers == header.response_to);
        let Some(current) = current else {
            self.tally.skip(Skip::StrayReply);
            return Ok(());
        };
        // A further reply to the same request names the one before it.
        current.answers = header.request_id;
        let (number, policy) = (current.number, current.policy);
        let Facts { code, cursor, documents } = facts;
        let length = u32::try_from(header.length).unwrap_or(u32::MAX);
        let reply = Reply { number, code, cursor, documents, length, form };
        self.replies += 1;
        self.put(connection, policy, Kind::Reply(reply), time, kept)
    }

    /// The connection was closed, by the client and in order or otherwise.
    pub fn close(
        &mut self,
        connection: &mut Connection,
        time: i64,
        in_order: bool,
    ) -> Result<(), ImportError> {
        match connection.number {
            0 => Ok(()),
            _ if connection.is_lost => Ok(()),
            _ => self.put(connection, Policy::Open, Kind::Closed(in_order), time, 0),
        }
    }

    /// The rest of the connection is not taken, for a reason that is counted elsewhere.
    pub fn lose(&mut self, connection: &mut Connection, time: i64, why: LostWhy) -> Result<(), ImportError> {
        connection.current = None;
        match std::mem::replace(&mut connection.is_lost, true) || connection.number == 0 {
            true => Ok(()),
            false => self.put(connection, Policy::Open, Kind::Lost(why as u8), time, 0),
        }
    }

    fn open(
        &mut self,
        connection: &mut Connection,
        ends: Ends<'_>,
        time: i64,
        hello: Option<&[u8]>,
    ) -> Result<(), ImportError> {
        if connection.number != 0 {
            return Ok(());
        }
        self.connections += 1;
        connection.number = self.connections;
        let said = hello.and_then(application);
        let application =
            if ends.application.is_empty() { said.unwrap_or_default() } else { ends.application };
        let role = self.roles.get(ends.member).copied().unwrap_or(Role::Other);
        let opened = Opened { role, member: ends.member, client: ends.client, application };
        let length = ends.member.len() + ends.client.len() + application.len();
        self.put(connection, Policy::Open, Kind::Opened(opened), time, length)
    }

    fn put(
        &mut self,
        connection: &mut Connection,
        policy: Policy,
        kind: Kind<'_>,
        time: i64,
        length: usize,
    ) -> Result<(), ImportError> {
        let time = self.time(time)?;
        if time < connection.last {
            self.tally.skip(Skip::TimeWentBack);
        }
        connection.last = connection.last.max(time);
        self.last = self.last.max(time);
        let record = Record { connection: connection.number, time: connection.last, kind };
        self.tape.put(policy, &record, length)
    }

    /// Nanoseconds since the capture began, which it does with the millisecond of its first record.
    fn time(&mut self, time: i64) -> Result<u64, ImportError> {
        let started = match self.started {
            Some(started) => started,
            None => {
                let millis = time.div_euclid(1_000_000);
                self.tape.begin(bson::DateTime::from_millis(millis))?;
                *self.started.insert(millis.saturating_mul(1_000_000))
            }
        };
        Ok(u64::try_from(time.saturating_sub(started)).unwrap_or(0))
    }

    /// Takes note of what a server says it is, for connections that are opened to it later.
    fn learn_role(&mut self, connection: &mut Connection, member: &str, message: &[u8]) {
        if connection.hello_of.take().as_deref() != Some(member) || self.roles.len() >= ROLES_MAX {
            return;
        }
        let body_at =
            if read_i32(message, 12) == Some(Opcode::Msg as i32) { HEADER_LEN + 5 } else { HEADER_LEN + 20 };
        let body = message.get(body_at..).unwrap_or_default();
        let is = |key: &str| find(body, key).and_then(|field| field.value.as_bool()) == Some(true);
        let role = match () {
            () if is("isWritablePrimary") || is("ismaster") => Role::Primary,
            () if is("secondary") => Role::Secondary,
            () => return,
        };
        self.roles.insert(member.into(), role);
    }
}

/// Whether no reply comes.
fn wants_none(opcode: Opcode, message: &[u8]) -> bool {
    match opcode {
        Opcode::Msg => OpMsg::peek_flags(message).is_some_and(|flags| flags.more_to_come()),
        Opcode::Insert | Opcode::Update | Opcode::Delete | Opcode::KillCursors => true,
        _ => false,
    }
}

/// The name of the application that a hello says.
fn application(message: &[u8]) -> Option<&str> {
    let body = match read_i32(message, 12).and_then(Opcode::from_i32)? {
        Opcode::Msg => OpMsg::parse(message, Side::Client).ok()?.body,
        Opcode::Query => {
            let query = OpQuery::parse(message, Side::Client).ok()?.query;
            let first = elements(query).next().and_then(Result::ok);
            first
                .filter(|first| first.key == b"$query")
                .and_then(|first| first.value.as_document())
                .unwrap_or(query)
        }
        _ => return None,
    };
    find_path(body, &["client", "application", "name"])?.as_str()
}
