//! Records: one thing that happened on one connection, at one time.

/// Bytes of a record before what its kind adds: length, kind, connection, time.
pub const FRONT: usize = 4 + 17;

/// The longest record, bytes behind its length field: a message of 48,000,000 bytes, and what stands before it.
pub const RECORD_MAX: usize = 48_000_000 + 256;

/// Bytes of a reply's facts.
const FACTS: usize = 4 + 1 + 4 + 8 + 4 + 4;

/// What a member was when a connection to it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// A standalone, a member in recovery, one that was not known.
    Other = 0,
    /// It took writes.
    Primary = 1,
    /// It had the data, and took reads.
    Secondary = 2,
}

/// One record: views into a block's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// The number of the connection, unique in its capture.
    pub connection: u64,
    /// Nanoseconds since the capture began.
    pub time: u64,
    /// What happened.
    pub kind: Kind<'a>,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind<'a> {
    /// The connection was opened, or the capture began with it open.
    Opened(Opened<'a>),
    /// The client asked.
    Request(Request<'a>),
    /// The client was told.
    Reply(Reply<'a>),
    /// The connection was closed; true if by the client and in order.
    Closed(bool),
    /// The rest of the connection is not in the capture, for the reason of this number: see [`LostWhy`].
    Lost(u8),
    /// A kind of a later version.
    Other(u8),
}

/// Why the rest of a connection is not in the capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LostWhy {
    /// The disk was behind.
    Behind = 1,
    /// A request was too long.
    TooLong = 2,
    /// What it was imported from lacks bytes of it.
    Missing = 3,
    /// Where it was imported from, no message begins where one has to.
    OutOfStep = 4,
}

/// A connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened<'a> {
    /// What its member was.
    pub role: Role,
    /// Its member, `host:port`.
    pub member: &'a str,
    /// The client's address.
    pub client: &'a str,
    /// The client's application; empty if it has not said one (yet).
    pub application: &'a str,
}

/// A request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request<'a> {
    /// Its number in the connection.
    pub number: u32,
    /// No reply is wanted.
    pub wants_none: bool,
    /// The command's fields are not here, as they carry secrets: its name alone is.
    pub withheld: bool,
    /// The message, header included.
    pub message: &'a [u8],
}

/// A reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply<'a> {
    /// The number of the request in its connection.
    pub number: u32,
    /// Its error code; 0: `ok: 1`, -1: an error without a code.
    pub code: i32,
    /// Its cursor; 0: none, or at its end.
    pub cursor: i64,
    /// Documents in its batch.
    pub documents: u32,
    /// Bytes of the message.
    pub length: u32,
    /// What more is kept of it.
    pub form: Form<'a>,
}

/// What is kept of a reply beside its facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form<'a> {
    /// Nothing.
    None,
    /// The message, header included.
    Whole(&'a [u8]),
    /// Its [`digest`](super::digest).
    Digest(&'a [u8; 16]),
    /// Nothing, as it is larger than what is kept, or there was no memory to put it together.
    TooLarge,
}

impl Record<'_> {
    /// Appends the record to `out`. Texts above 65,535 bytes are cut.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend([0; 4]);
        out.push(self.kind.number());
        out.extend(self.connection.to_le_bytes());
        out.extend(self.time.to_le_bytes());
        match &self.kind {
            Kind::Opened(opened) => {
                out.push(opened.role as u8);
                [opened.member, opened.client, opened.application]
                    .iter()
                    .for_each(|text| put_text(out, text));
            }
            Kind::Request(request) => {
                out.extend(request.number.to_le_bytes());
                out.push(u8::from(request.wants_none) | u8::from(request.withheld) << 1);
                out.extend_from_slice(request.message);
            }
            Kind::Reply(reply) => put_reply(out, reply),
            Kind::Closed(in_order) => out.push(u8::from(!in_order)),
            Kind::Lost(why) => out.push(*why),
            Kind::Other(_) => {}
        }
        let length = (out.len() - start - 4) as u32;
        if let Some(field) = out.get_mut(start..start + 4) {
            field.copy_from_slice(&length.to_le_bytes());
        }
    }

    /// The record at the front of `bytes`, and what follows it; `None` if the bytes are not one.
    pub fn decode(bytes: &[u8]) -> Option<(Record<'_>, &[u8])> {
        let (length, rest) = take_u32(bytes)?;
        let (body, behind) = rest.split_at_checked(length as usize)?;
        let (number, body) = body.split_first()?;
        let (connection, body) = take_u64(body)?;
        let (time, body) = take_u64(body)?;
        let kind = match number {
            1 => Kind::Opened(opened(body)?),
            2 => {
                let (number, body) = take_u32(body)?;
                let (flags, message) = body.split_first()?;
                Kind::Request(Request {
                    number,
                    wants_none: flags & 1 != 0,
                    withheld: flags & 2 != 0,
                    message,
                })
            }
            3 => Kind::Reply(reply(body)?),
            4 => Kind::Closed(*body.first()? == 0),
            5 => Kind::Lost(*body.first()?),
            other => Kind::Other(*other),
        };
        Some((Record { connection, time, kind }, behind))
    }
}

impl Kind<'_> {
    fn number(&self) -> u8 {
        match self {
            Kind::Opened(_) => 1,
            Kind::Request(_) => 2,
            Kind::Reply(_) => 3,
            Kind::Closed(_) => 4,
            Kind::Lost(_) => 5,
            Kind::Other(number) => *number,
        }
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    let mut end = text.len().min(usize::from(u16::MAX));
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    out.extend((end as u16).to_le_bytes());
    out.extend_from_slice(&text.as_bytes()[..end]);
}

fn put_reply(out: &mut Vec<u8>, reply: &Reply<'_>) {
    out.extend(reply.number.to_le_bytes());
    out.push(match reply.form {
        Form::None => 0,
        Form::Whole(_) => 1,
        Form::Digest(_) => 2,
        Form::TooLarge => 3,
    });
    out.extend(reply.code.to_le_bytes());
    out.extend(reply.cursor.to_le_bytes());
    out.extend(reply.documents.to_le_bytes());
    out.extend(reply.length.to_le_bytes());
    match reply.form {
        Form::Whole(message) => out.extend_from_slice(message),
        Form::Digest(digest) => out.extend_from_slice(digest),
        Form::None | Form::TooLarge => {}
    }
}

fn opened(body: &[u8]) -> Option<Opened<'_>> {
    let (role, body) = body.split_first()?;
    let role = match role {
        1 => Role::Primary,
        2 => Role::Secondary,
        _ => Role::Other,
    };
    let (member, body) = take_text(body)?;
    let (client, body) = take_text(body)?;
    let (application, _) = take_text(body)?;
    Some(Opened { role, member, client, application })
}

fn reply(body: &[u8]) -> Option<Reply<'_>> {
    let (facts, rest) = body.split_at_checked(FACTS)?;
    let (number, facts) = take_u32(facts)?;
    let (form, facts) = facts.split_first()?;
    let (code, facts) = take_u32(facts)?;
    let (cursor, facts) = take_u64(facts)?;
    let (documents, facts) = take_u32(facts)?;
    let (length, _) = take_u32(facts)?;
    let form = match form {
        0 => Form::None,
        1 => Form::Whole(rest),
        2 => Form::Digest(rest.first_chunk()?),
        3 => Form::TooLarge,
        _ => return None,
    };
    Some(Reply { number, code: code as i32, cursor: cursor as i64, documents, length, form })
}

fn take_text(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    let (text, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    Some((std::str::from_utf8(text).ok()?, rest))
}

fn take_u32(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_le_bytes(*number), rest))
}

fn take_u64(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<8>()?;
    Some((u64::from_le_bytes(*number), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kinds() -> Vec<Kind<'static>> {
        let facts =
            Reply { number: 7, code: -1, cursor: i64::MIN, documents: 3, length: 99, form: Form::None };
        vec![
            Kind::Opened(Opened {
                role: Role::Secondary,
                member: "db1:27017",
                client: "[::1]:5",
                application: "é",
            }),
            Kind::Request(Request { number: 1, wants_none: true, withheld: false, message: b"abc" }),
            Kind::Request(Request { number: u32::MAX, wants_none: false, withheld: true, message: b"" }),
            Kind::Reply(facts),
            Kind::Reply(Reply { form: Form::Whole(b"message"), ..facts }),
            Kind::Reply(Reply { form: Form::Digest(b"0123456789abcdef"), ..facts }),
            Kind::Reply(Reply { form: Form::TooLarge, ..facts }),
            Kind::Closed(true),
            Kind::Closed(false),
            Kind::Lost(2),
            Kind::Other(77),
        ]
    }

    #[test]
    fn what_is_written_is_read_and_no_part_of_it_is() {
        let mut bytes = Vec::new();
        let records: Vec<Record<'_>> =
            (0..).zip(kinds()).map(|(time, kind)| Record { connection: 5, time, kind }).collect();
        for record in &records {
            let from = bytes.len();
            record.encode(&mut bytes);
            for end in from..bytes.len() {
                assert_eq!(Record::decode(&bytes[from..end]), None);
            }
        }
        let mut rest = bytes.as_slice();
        for wanted in &records {
            let (record, behind) = Record::decode(rest).unwrap();
            assert_eq!(record, *wanted);
            rest = behind;
        }
        assert!(rest.is_empty());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Record::decode(&bytes);
        }

        #[test]
        fn a_record_with_a_flipped_byte_is_still_within_its_bytes(at in 0usize..400, bit in 0u8..8) {
            let mut bytes = Vec::new();
            kinds().into_iter().for_each(|kind| Record { connection: 1, time: 2, kind }.encode(&mut bytes));
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            let mut rest = bytes.as_slice();
            while let Some((_, behind)) = Record::decode(rest) {
                prop_assert!(behind.len() < rest.len());
                rest = behind;
            }
        }
    }
}
