//! OP_MSG: flag bits, then sections, then maybe a checksum.

use super::checksum::write_checksum;
use super::error::{Side, WireError};
use super::header::{HEADER_LEN, Header};
use super::opcode::Opcode;
use super::read_i32;

/// The flag bits of an OP_MSG.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MsgFlags(pub u32);

impl MsgFlags {
    /// The message ends with a CRC-32C.
    pub const CHECKSUM_PRESENT: u32 = 1;
    /// In a request: no reply is wanted. In a reply: another follows unasked.
    pub const MORE_TO_COME: u32 = 1 << 1;
    /// In a request: replies may come with `MORE_TO_COME`.
    pub const EXHAUST_ALLOWED: u32 = 1 << 16;
    /// Bits 0-15 that are required but unknown must be refused (OP_MSG specification, "flagBits").
    const UNKNOWN_REQUIRED: u32 = 0xffff & !(Self::CHECKSUM_PRESENT | Self::MORE_TO_COME);

    /// Whether the message ends with a checksum.
    pub fn checksum_present(self) -> bool {
        self.0 & Self::CHECKSUM_PRESENT != 0
    }
    /// Whether no reply is wanted (request), or another message follows (reply).
    pub fn more_to_come(self) -> bool {
        self.0 & Self::MORE_TO_COME != 0
    }
    /// Whether the client allows a stream of replies.
    pub fn exhaust_allowed(self) -> bool {
        self.0 & Self::EXHAUST_ALLOWED != 0
    }
}

/// A view of one whole OP_MSG. Sections are checked for their lengths, the documents inside are not looked at.
#[derive(Debug, Clone, Copy)]
pub struct OpMsg<'a> {
    /// The flag bits.
    pub flags: MsgFlags,
    /// The kind 0 document.
    pub body: &'a [u8],
    /// Where `body` begins in the message, bytes from the header's first.
    pub body_at: usize,
    sections: &'a [u8],
    side: Side,
}

/// One section of an OP_MSG.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section<'a> {
    /// Kind 0: the command document.
    Body(&'a [u8]),
    /// Kind 1: a document sequence, standing for an array field of the command.
    Sequence {
        /// The field that it stands for, `documents` for example.
        identifier: &'a [u8],
        /// The documents, one after the other.
        documents: &'a [u8],
    },
}

impl<'a> OpMsg<'a> {
    /// Reads the flag bits at the front of a message of which only the beginning is there.
    pub fn peek_flags(message: &[u8]) -> Option<MsgFlags> {
        read_i32(message, HEADER_LEN).map(|bits| MsgFlags(bits as u32))
    }

    /// Parses `message`, header included. Exactly one kind 0 section is required.
    pub fn parse(message: &'a [u8], side: Side) -> Result<OpMsg<'a>, WireError> {
        let malformed = |what| WireError::Malformed { side, opcode: Opcode::Msg, what };
        let flags = Self::peek_flags(message).ok_or(malformed("no flag bits"))?;
        if flags.0 & MsgFlags::UNKNOWN_REQUIRED != 0 {
            return Err(WireError::UnknownFlags { side, flags: flags.0 });
        }
        let end = match flags.checksum_present() {
            true => message.len().checked_sub(4).ok_or(malformed("no room for the checksum"))?,
            false => message.len(),
        };
        let start = HEADER_LEN + 4;
        let sections = message.get(start..end).ok_or(malformed("no sections"))?;
        let mut body = None;
        let mut walk = Sections { rest: sections, side, failed: false };
        loop {
            let at = start + (sections.len() - walk.rest.len()) + 1;
            match walk.next() {
                Some(Ok(Section::Body(document))) if body.is_none() => body = Some((document, at)),
                Some(Ok(Section::Body(_))) => return Err(malformed("two kind 0 sections")),
                Some(Ok(Section::Sequence { .. })) => {}
                Some(Err(error)) => return Err(error),
                None => break,
            }
        }
        let (body, body_at) = body.ok_or(malformed("no kind 0 section"))?;
        Ok(OpMsg { flags, body, body_at, sections, side })
    }

    /// The sections in the order sent.
    pub fn sections(&self) -> Sections<'a> {
        Sections { rest: self.sections, side: self.side, failed: false }
    }
}

/// Iterates over sections; ends after the first malformed one.
#[derive(Debug, Clone)]
pub struct Sections<'a> {
    rest: &'a [u8],
    side: Side,
    failed: bool,
}

impl<'a> Sections<'a> {
    fn take(&mut self) -> Result<Section<'a>, &'static str> {
        let (&kind, rest) = self.rest.split_first().ok_or("a section without a kind")?;
        let length = read_i32(rest, 0).ok_or("a section without a length")?;
        let length = usize::try_from(length).map_err(|_| "a negative section length")?;
        if length < 5 {
            return Err("a section length below 5");
        }
        let (section, after) =
            rest.split_at_checked(length).ok_or("a section that is longer than its message")?;
        self.rest = after;
        match kind {
            0 => Ok(Section::Body(section)),
            1 => {
                let inside = &section[4..];
                let zero = inside
                    .iter()
                    .position(|&byte| byte == 0)
                    .ok_or("a document sequence without an identifier")?;
                let (identifier, documents) = (&inside[..zero], &inside[zero + 1..]);
                Ok(Section::Sequence { identifier, documents })
            }
            _ => Err("a section of unknown kind"),
        }
    }
}

impl<'a> Iterator for Sections<'a> {
    type Item = Result<Section<'a>, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() || self.failed {
            return None;
        }
        Some(self.take().map_err(|what| {
            self.failed = true;
            WireError::Malformed { side: self.side, opcode: Opcode::Msg, what }
        }))
    }
}

/// Writes an OP_MSG with one kind 0 section into a buffer.
///
/// `begin` writes header and flag bits, the caller appends the document, `finish` sets the length (and the
/// checksum, if the flags ask for one).
#[derive(Debug)]
pub struct OpMsgBuilder {
    start: usize,
    flags: MsgFlags,
}

impl OpMsgBuilder {
    /// Appends header, flag bits and the kind byte to `out`.
    pub fn begin(out: &mut Vec<u8>, request_id: i32, response_to: i32, flags: MsgFlags) -> Self {
        let start = out.len();
        let header = Header { length: 0, request_id, response_to, opcode: Opcode::Msg };
        out.extend_from_slice(&header.to_bytes());
        out.extend_from_slice(&flags.0.to_le_bytes());
        out.push(0);
        OpMsgBuilder { start, flags }
    }

    /// Completes the message: everything appended since `begin` is its body.
    pub fn finish(self, out: &mut Vec<u8>) {
        if self.flags.checksum_present() {
            out.extend_from_slice(&[0; 4]);
        }
        let length = out.len() - self.start;
        out[self.start..self.start + 4].copy_from_slice(&(length as i32).to_le_bytes());
        if self.flags.checksum_present() {
            write_checksum(&mut out[self.start..]);
        }
    }

    /// A whole message round `document`.
    pub fn message(request_id: i32, response_to: i32, flags: MsgFlags, document: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_LEN + 9 + document.len());
        let builder = Self::begin(&mut out, request_id, response_to, flags);
        out.extend_from_slice(document);
        builder.finish(&mut out);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: [u8; 5] = [5, 0, 0, 0, 0];

    #[test]
    fn body_and_sequences_are_found_in_any_order() {
        let mut message = vec![0; 20];
        message.extend_from_slice(&[1, 16, 0, 0, 0]);
        message.extend_from_slice(b"docs..\0");
        message.extend_from_slice(&EMPTY);
        message.push(0);
        message.extend_from_slice(&EMPTY);
        let parsed = OpMsg::parse(&message, Side::Client).unwrap();
        assert_eq!(parsed.body, EMPTY);
        assert_eq!(&message[parsed.body_at..], EMPTY);
        let first = parsed.sections().next().unwrap().unwrap();
        assert_eq!(first, Section::Sequence { identifier: b"docs..", documents: &EMPTY });
    }

    #[test]
    fn truncated_and_contradicting_sections_are_refused() {
        let whole = OpMsgBuilder::message(1, 0, MsgFlags(0), &EMPTY);
        assert!(OpMsg::parse(&whole, Side::Client).is_ok());
        for end in 0..whole.len() {
            assert!(OpMsg::parse(&whole[..end], Side::Client).is_err(), "cut at {end}");
        }
        let mut twice = whole.clone();
        twice.extend_from_slice(&[0, 5, 0, 0, 0, 0]);
        assert!(OpMsg::parse(&twice, Side::Client).is_err());
    }

    #[test]
    fn unknown_required_flags_are_refused_and_optional_ones_pass() {
        let required = OpMsgBuilder::message(1, 0, MsgFlags(1 << 2), &EMPTY);
        assert!(matches!(OpMsg::parse(&required, Side::Client), Err(WireError::UnknownFlags { .. })));
        let optional = OpMsgBuilder::message(1, 0, MsgFlags(1 << 20), &EMPTY);
        assert!(OpMsg::parse(&optional, Side::Client).is_ok());
    }

    #[test]
    fn a_checksum_is_left_out_of_the_sections() {
        let message = OpMsgBuilder::message(1, 0, MsgFlags(MsgFlags::CHECKSUM_PRESENT), &EMPTY);
        assert!(crate::wire::checksum_matches(&message));
        assert_eq!(OpMsg::parse(&message, Side::Client).unwrap().body, EMPTY);
    }
}
