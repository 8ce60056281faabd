//! As much of MongoDB's wire protocol as a load generator and a null server need: framing, building OP_MSG, and walking a
//! document without decoding it. It must never trust a length that came off a socket, and it shares no code with torana's own
//! `wire`, so that a fault there cannot hide behind the same fault here.

use anyhow::{Result, bail};

/// Bytes of the standard message header.
pub const HEADER_LEN: usize = 16;
/// The server's own bound, `maxMessageSizeBytes`.
pub const MESSAGE_LEN_MAX: usize = 48_000_000;
/// OP_REPLY, the answer to OP_QUERY.
pub const OP_REPLY: i32 = 1;
/// OP_QUERY: drivers still open a connection with it, as legacy hello.
pub const OP_QUERY: i32 = 2004;
/// OP_MSG.
pub const OP_MSG: i32 = 2013;
/// Flag bit 1: no reply is expected to this request, or another reply follows this one.
pub const MORE_TO_COME: u32 = 1 << 1;
/// Flag bit 16: the client takes several replies to this request.
pub const EXHAUST_ALLOWED: u32 = 1 << 16;

/// Where the first section's document starts in an OP_MSG without sections before it.
const OP_MSG_BODY: usize = HEADER_LEN + 4 + 1;
/// Where OP_REPLY's first document starts.
const OP_REPLY_BODY: usize = HEADER_LEN + 20;

/// The standard message header.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// Whole message, header included, in bytes; checked to be within bounds.
    pub length: usize,
    /// The sender's number for this message.
    pub request_id: i32,
    /// For a reply, the number of the message it answers.
    pub response_to: i32,
    /// What follows the header.
    pub opcode: i32,
}

impl Header {
    /// Reads the header at the start of `bytes`; `None` while fewer than 16 bytes are there.
    pub fn read(bytes: &[u8]) -> Result<Option<Header>> {
        let (Some(length), Some(request_id), Some(response_to), Some(opcode)) =
            (i32_at(bytes, 0), i32_at(bytes, 4), i32_at(bytes, 8), i32_at(bytes, 12))
        else {
            return Ok(None);
        };
        match usize::try_from(length) {
            Ok(length) if (HEADER_LEN..=MESSAGE_LEN_MAX).contains(&length) => {
                Ok(Some(Header { length, request_id, response_to, opcode }))
            }
            _ => bail!("peer sent message length {length}, allowed {HEADER_LEN} to {MESSAGE_LEN_MAX}"),
        }
    }
}

/// Four bytes at `at`, if they are there.
pub fn bytes4_at(bytes: &[u8], at: usize) -> Option<[u8; 4]> {
    bytes.get(at..at.checked_add(4)?)?.try_into().ok()
}

/// The little-endian 32-bit number at `at`, if it is there.
pub fn i32_at(bytes: &[u8], at: usize) -> Option<i32> {
    bytes4_at(bytes, at).map(i32::from_le_bytes)
}

/// The flag bits of an OP_MSG.
pub fn flag_bits(message: &[u8]) -> u32 {
    bytes4_at(message, HEADER_LEN).map_or(0, u32::from_le_bytes)
}

/// Appends an OP_MSG with one kind 0 section.
pub fn put_op_msg(out: &mut Vec<u8>, request_id: i32, response_to: i32, flag_bits: u32, body: &[u8]) {
    put_header(out, OP_MSG_BODY + body.len(), request_id, response_to, OP_MSG);
    out.extend_from_slice(&flag_bits.to_le_bytes());
    out.push(0);
    out.extend_from_slice(body);
}

/// Appends an OP_REPLY with one document.
pub fn put_op_reply(out: &mut Vec<u8>, request_id: i32, response_to: i32, body: &[u8]) {
    /// AwaitCapable: set in every reply of a server since 1.6.
    const AWAIT_CAPABLE: u32 = 8;
    put_header(out, OP_REPLY_BODY + body.len(), request_id, response_to, OP_REPLY);
    out.extend_from_slice(&AWAIT_CAPABLE.to_le_bytes());
    out.extend_from_slice(&0_i64.to_le_bytes());
    out.extend_from_slice(&0_i32.to_le_bytes());
    out.extend_from_slice(&1_i32.to_le_bytes());
    out.extend_from_slice(body);
}

fn put_header(out: &mut Vec<u8>, length: usize, request_id: i32, response_to: i32, opcode: i32) {
    // Every message built here is far below 48,000,000 bytes.
    for word in [length as i32, request_id, response_to, opcode] {
        out.extend_from_slice(&word.to_le_bytes());
    }
}

/// Appends a kind 1 section (a document sequence) with one document to the OP_MSG that is the whole of `message`, and corrects
/// its length.
pub fn append_document_sequence(message: &mut Vec<u8>, identifier: &str, document: &[u8]) {
    let size = 4 + identifier.len() + 1 + document.len();
    message.push(1);
    message.extend_from_slice(&(size as i32).to_le_bytes());
    message.extend_from_slice(identifier.as_bytes());
    message.push(0);
    message.extend_from_slice(document);
    let length = (message.len() as i32).to_le_bytes();
    message[..4].copy_from_slice(&length);
}

/// The command or reply document of a whole message, whatever its opcode; `None` if there is none.
pub fn body(message: &[u8]) -> Option<&[u8]> {
    let start = match i32_at(message, 12)? {
        OP_MSG => kind_0_start(message)?,
        OP_QUERY => {
            let name = message.get(HEADER_LEN + 4..)?;
            HEADER_LEN + 4 + name.iter().position(|byte| *byte == 0)? + 1 + 8
        }
        OP_REPLY => OP_REPLY_BODY,
        _ => return None,
    };
    let length = usize::try_from(i32_at(message, start)?).ok()?;
    message.get(start..start.checked_add(length)?)
}

/// Sections come in any order, although every driver puts kind 0 first.
fn kind_0_start(message: &[u8]) -> Option<usize> {
    let mut at = HEADER_LEN + 4;
    loop {
        match message.get(at)? {
            0 => return Some(at + 1),
            1 => at = (at + 1).checked_add(usize::try_from(i32_at(message, at + 1)?.max(4)).ok()?)?,
            _ => return None,
        }
    }
}

/// One element of a document, undecoded.
#[derive(Clone, Copy, Debug)]
pub struct Element<'a> {
    /// BSON's type number.
    pub kind: u8,
    /// The key, without its zero.
    pub key: &'a [u8],
    /// The value's bytes.
    pub value: &'a [u8],
}

/// Iterator over a document's elements; it ends at the document's end or at the first thing that it cannot read.
pub struct Elements<'a> {
    rest: &'a [u8],
}

/// Walks `document`, its length field included.
pub fn elements(document: &[u8]) -> Elements<'_> {
    Elements { rest: document.get(4..).unwrap_or_default() }
}

/// The first element called `key`.
pub fn find_element<'a>(document: &'a [u8], key: &str) -> Option<Element<'a>> {
    elements(document).find(|element| element.key == key.as_bytes())
}

impl<'a> Iterator for Elements<'a> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Element<'a>> {
        let (kind, rest) = self.rest.split_first()?;
        if *kind == 0 {
            return None;
        }
        let key_len = rest.iter().position(|byte| *byte == 0)?;
        let (key, rest) = rest.split_at(key_len);
        let rest = rest.get(1..)?;
        let length = value_len(*kind, rest)?;
        let value = rest.get(..length)?;
        self.rest = rest.get(length..)?;
        Some(Element { kind: *kind, key, value })
    }
}

/// Bytes of the value of type `kind` at the start of `rest` (bsonspec.org, version 1.1).
fn value_len(kind: u8, rest: &[u8]) -> Option<usize> {
    let prefix = || usize::try_from(i32_at(rest, 0)?).ok();
    Some(match kind {
        0x01 | 0x09 | 0x11 | 0x12 => 8,
        0x02 => prefix()?.checked_add(4)?,
        0x03 | 0x04 => prefix()?,
        0x05 => prefix()?.checked_add(5)?,
        0x06 | 0x0A | 0x7F | 0xFF => 0,
        0x07 => 12,
        0x08 => 1,
        0x10 => 4,
        0x13 => 16,
        _ => return None,
    })
}

/// Whether a reply document says `ok: 1`, in any of the types that servers have used for it.
pub fn is_ok(document: &[u8]) -> bool {
    find_element(document, "ok").is_some_and(|ok| match ok.kind {
        0x01 => ok.value == 1.0_f64.to_le_bytes(),
        0x08 => ok.value == [1],
        0x10 => ok.value == 1_i32.to_le_bytes(),
        _ => false,
    })
}
