//! OP_QUERY, and the namespace of the other legacy requests.

use super::error::{Side, WireError};
use super::header::{HEADER_LEN, Header};
use super::opcode::Opcode;
use super::read_i32;

/// The flag bits of an OP_QUERY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueryFlags(pub u32);

impl QueryFlags {
    /// The cursor stays open at the end of a capped collection.
    pub const TAILABLE_CURSOR: u32 = 1 << 1;
    /// A secondary may answer.
    pub const SECONDARY_OK: u32 = 1 << 2;
    /// With `TAILABLE_CURSOR`: wait a while for data.
    pub const AWAIT_DATA: u32 = 1 << 5;
    /// All replies are sent without being asked for.
    pub const EXHAUST: u32 = 1 << 6;

    /// Whether the server sends every batch unasked.
    pub fn exhaust(self) -> bool {
        self.0 & Self::EXHAUST != 0
    }
    /// Whether the cursor waits for data.
    pub fn tailable_await(self) -> bool {
        let both = Self::TAILABLE_CURSOR | Self::AWAIT_DATA;
        self.0 & both == both
    }
}

/// A view of one whole OP_QUERY.
#[derive(Debug, Clone, Copy)]
pub struct OpQuery<'a> {
    /// The flag bits.
    pub flags: QueryFlags,
    /// `database.collection`; `database.$cmd` for a command.
    pub namespace: &'a [u8],
    /// Documents to skip.
    pub skip: i32,
    /// Documents wanted; -1 for a command.
    pub number_to_return: i32,
    /// The command, or the filter (maybe wrapped in `$query`).
    pub query: &'a [u8],
    /// Where `query` begins in the message, bytes from the header's first.
    pub query_at: usize,
}

impl<'a> OpQuery<'a> {
    /// Parses `message`, header included.
    pub fn parse(message: &'a [u8], side: Side) -> Result<OpQuery<'a>, WireError> {
        let malformed = |what| WireError::Malformed { side, opcode: Opcode::Query, what };
        let flags = read_i32(message, HEADER_LEN).ok_or(malformed("no flag bits"))?;
        let name_at = HEADER_LEN + 4;
        let rest = message.get(name_at..).ok_or(malformed("no namespace"))?;
        let zero = rest.iter().position(|&byte| byte == 0).ok_or(malformed("an endless namespace"))?;
        let after = name_at + zero + 1;
        let skip = read_i32(message, after).ok_or(malformed("no numberToSkip"))?;
        let number_to_return = read_i32(message, after + 4).ok_or(malformed("no numberToReturn"))?;
        let query_at = after + 8;
        let length = read_i32(message, query_at).ok_or(malformed("no query document"))?;
        let length = usize::try_from(length).map_err(|_| malformed("a negative document length"))?;
        if length < 5 {
            return Err(malformed("a document length below 5"));
        }
        let query = message
            .get(query_at..query_at.saturating_add(length))
            .ok_or(malformed("a document that is longer than its message"))?;
        let flags = QueryFlags(flags as u32);
        Ok(OpQuery { flags, namespace: &rest[..zero], skip, number_to_return, query, query_at })
    }

    /// The database of the namespace: what stands before its first dot.
    pub fn database(&self) -> &'a [u8] {
        database(self.namespace)
    }

    /// Whether this is a command: the collection is `$cmd`.
    pub fn is_command(&self) -> bool {
        self.namespace.strip_prefix(self.database()) == Some(b".$cmd")
    }
}

/// Appends a whole OP_QUERY that carries a command to `out`.
pub fn write_op_query(out: &mut Vec<u8>, request_id: i32, namespace: &str, command: &[u8]) {
    let length = HEADER_LEN + 4 + namespace.len() + 1 + 8 + command.len();
    let header = Header { length, request_id, response_to: 0, opcode: Opcode::Query };
    out.extend_from_slice(&header.to_bytes());
    out.extend_from_slice(&QueryFlags::SECONDARY_OK.to_le_bytes());
    out.extend_from_slice(namespace.as_bytes());
    out.push(0);
    out.extend_from_slice(&0i32.to_le_bytes());
    out.extend_from_slice(&(-1i32).to_le_bytes());
    out.extend_from_slice(command);
}

/// The part of OP_INSERT, OP_UPDATE, OP_DELETE and OP_GET_MORE that torana needs.
#[derive(Debug, Clone, Copy)]
pub struct LegacyRequest<'a> {
    /// `database.collection`.
    pub namespace: &'a [u8],
    /// The bytes behind the namespace.
    pub rest: &'a [u8],
}

impl<'a> LegacyRequest<'a> {
    /// Parses `message`, header included: an `i32` (flags or zero), then a namespace.
    pub fn parse(message: &'a [u8], opcode: Opcode, side: Side) -> Result<Self, WireError> {
        let malformed = |what| WireError::Malformed { side, opcode, what };
        let rest = message.get(HEADER_LEN + 4..).ok_or(malformed("no namespace"))?;
        let zero = rest.iter().position(|&byte| byte == 0).ok_or(malformed("an endless namespace"))?;
        Ok(LegacyRequest { namespace: &rest[..zero], rest: &rest[zero + 1..] })
    }
}

fn database(namespace: &[u8]) -> &[u8] {
    let dot = namespace.iter().position(|&byte| byte == b'.').unwrap_or(namespace.len());
    &namespace[..dot]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(namespace: &[u8]) -> Vec<u8> {
        let mut message = vec![0; HEADER_LEN];
        message.extend_from_slice(&4i32.to_le_bytes());
        message.extend_from_slice(namespace);
        message.push(0);
        message.extend_from_slice(&0i32.to_le_bytes());
        message.extend_from_slice(&(-1i32).to_le_bytes());
        message.extend_from_slice(&[5, 0, 0, 0, 0]);
        message
    }

    #[test]
    fn a_command_is_told_from_a_query() {
        let command = message(b"admin.$cmd");
        let parsed = OpQuery::parse(&command, Side::Client).unwrap();
        assert!(parsed.is_command());
        assert_eq!(parsed.database(), b"admin");
        assert_eq!(&command[parsed.query_at..], [5, 0, 0, 0, 0]);
        let query = message(b"app.things.$cmd");
        assert!(!OpQuery::parse(&query, Side::Client).unwrap().is_command());
    }

    #[test]
    fn every_truncation_is_refused() {
        let whole = message(b"admin.$cmd");
        for end in 0..whole.len() {
            assert!(OpQuery::parse(&whole[..end], Side::Client).is_err(), "cut at {end}");
        }
    }
}
