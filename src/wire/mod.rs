//! The MongoDB wire protocol as pure values: headers, opcodes and the layout of each kind of message.
//!
//! Nothing here reads a socket, keeps state or knows what a command means; every function takes bytes and
//! returns views into them. It must never allocate from a length that has not been checked, and never panic on
//! any input. Called by the proxy, the server connections, the monitors and the capture.
//!
//! Source: the "MongoDB Wire Protocol" and "OP_MSG" specifications.

mod checksum;
mod error;
mod header;
mod op_msg;
mod op_query;
mod op_reply;
mod opcode;

pub use checksum::{checksum_matches, crc32c, crc32c_of, write_checksum};
pub use error::{Side, WireError};
pub use header::{HEADER_LEN, Header, MESSAGE_MAX};
pub use op_msg::{MsgFlags, OpMsg, OpMsgBuilder, Section, Sections};
pub use op_query::{LegacyRequest, OpQuery, QueryFlags, write_op_query};
pub use op_reply::{OpReply, ReplyFlags, write_op_reply};
pub use opcode::Opcode;

/// Reads the little-endian `i32` at `at`; `None` if the bytes end first.
pub fn read_i32(bytes: &[u8], at: usize) -> Option<i32> {
    let end = at.checked_add(4)?;
    Some(i32::from_le_bytes(bytes.get(at..end)?.try_into().ok()?))
}

/// Reads the little-endian `i64` at `at`; `None` if the bytes end first.
pub fn read_i64(bytes: &[u8], at: usize) -> Option<i64> {
    let end = at.checked_add(8)?;
    Some(i64::from_le_bytes(bytes.get(at..end)?.try_into().ok()?))
}
