//! The 16 bytes that begin every message.

use super::error::{Side, WireError};
use super::opcode::Opcode;
use super::read_i32;

/// Bytes of a header: length, requestID, responseTo, opcode, each a little-endian `i32`.
pub const HEADER_LEN: usize = 16;

/// The largest message that a server accepts (`maxMessageSizeBytes` of every hello), bytes, header included.
pub const MESSAGE_MAX: usize = 48_000_000;

/// A message header whose length was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Bytes of the whole message, this header included: 16 to the limit it was parsed with.
    pub length: usize,
    /// The sender's number for this message.
    pub request_id: i32,
    /// In a reply, the `request_id` of what it answers.
    pub response_to: i32,
    /// What follows.
    pub opcode: Opcode,
}

impl Header {
    /// Parses and checks a header that `side` sent. `limit` is the largest allowed length, in bytes.
    pub fn parse(bytes: &[u8; HEADER_LEN], side: Side, limit: usize) -> Result<Header, WireError> {
        let field = |at| read_i32(bytes, at).unwrap_or(0);
        let length = field(0);
        let checked = usize::try_from(length).unwrap_or(0);
        if checked < HEADER_LEN {
            return Err(WireError::LengthTooSmall { side, length });
        }
        if checked > limit {
            return Err(WireError::LengthTooLarge { side, length, limit });
        }
        let number = field(12);
        let opcode = Opcode::from_i32(number).ok_or(WireError::UnknownOpcode { side, opcode: number })?;
        Ok(Header { length: checked, request_id: field(4), response_to: field(8), opcode })
    }

    /// Parses the header at the front of `bytes`; `Ok(None)` while there are fewer than 16 of them.
    pub fn peek(bytes: &[u8], side: Side, limit: usize) -> Result<Option<Header>, WireError> {
        match bytes.first_chunk::<HEADER_LEN>() {
            Some(chunk) => Header::parse(chunk, side, limit).map(Some),
            None => Ok(None),
        }
    }

    /// The header as bytes. The length was at most [`MESSAGE_MAX`], so it fits.
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        out[0..4].copy_from_slice(&(self.length as i32).to_le_bytes());
        out[4..8].copy_from_slice(&self.request_id.to_le_bytes());
        out[8..12].copy_from_slice(&self.response_to.to_le_bytes());
        out[12..16].copy_from_slice(&(self.opcode as i32).to_le_bytes());
        out
    }

    /// Overwrites the requestID in the message that begins with this header's bytes.
    pub fn patch_request_id(message: &mut [u8], request_id: i32) {
        if let Some(field) = message.get_mut(4..8) {
            field.copy_from_slice(&request_id.to_le_bytes());
        }
    }

    /// Sets the length in the message that begins with this header's bytes to that of `message`, which is below 2 GiB.
    pub fn patch_length(message: &mut [u8]) {
        let length = message.len() as i32;
        if let Some(field) = message.first_chunk_mut::<4>() {
            *field = length.to_le_bytes();
        }
    }

    /// Overwrites the responseTo in the message that begins with this header's bytes.
    pub fn patch_response_to(message: &mut [u8], response_to: i32) {
        if let Some(field) = message.get_mut(8..12) {
            field.copy_from_slice(&response_to.to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(length: i32, opcode: i32) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[0..4].copy_from_slice(&length.to_le_bytes());
        bytes[4..8].copy_from_slice(&7i32.to_le_bytes());
        bytes[8..12].copy_from_slice(&9i32.to_le_bytes());
        bytes[12..16].copy_from_slice(&opcode.to_le_bytes());
        bytes
    }

    #[test]
    fn lengths_outside_the_bounds_are_refused_with_the_value_and_the_limit() {
        for length in [i32::MIN, -1, 0, 15] {
            let error = Header::parse(&header(length, 2013), Side::Client, MESSAGE_MAX);
            assert_eq!(error, Err(WireError::LengthTooSmall { side: Side::Client, length }));
        }
        for length in [48_000_001, i32::MAX] {
            let error = Header::parse(&header(length, 2013), Side::Server, MESSAGE_MAX).unwrap_err();
            assert_eq!(error.to_string(), format!("server sent message length {length}, limit 48000000"));
        }
        assert!(Header::parse(&header(16, 2013), Side::Client, MESSAGE_MAX).is_ok());
        assert!(Header::parse(&header(48_000_000, 2013), Side::Client, MESSAGE_MAX).is_ok());
    }

    #[test]
    fn a_header_survives_being_written_and_parsed() {
        let bytes = header(1234, 2004);
        let parsed = Header::parse(&bytes, Side::Client, MESSAGE_MAX).unwrap();
        assert_eq!(parsed.to_bytes(), bytes);
        assert_eq!((parsed.request_id, parsed.response_to, parsed.opcode), (7, 9, Opcode::Query));
    }

    #[test]
    fn unknown_opcodes_are_named() {
        let error = Header::parse(&header(16, 2003), Side::Client, MESSAGE_MAX).unwrap_err();
        assert_eq!(error.to_string(), "client sent unknown opcode 2003");
    }
}
