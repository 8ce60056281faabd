//! What can be wrong with a message, and who sent it.

use std::fmt;

use super::opcode::Opcode;

/// The side that sent the bytes in question. Decides whose fault an error is: a client's error ends that client,
/// a server's error ends the server connection and the exchange on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// A driver, shell or tool that connected to torana.
    Client,
    /// A mongod.
    Server,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Side::Client => "client",
            Side::Server => "server",
        })
    }
}

/// A message that does not follow the wire protocol. The text names the side, the value and the limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The header's length field is below 16 or negative.
    #[error("{side} sent message length {length}, at least 16 is required")]
    LengthTooSmall {
        /// Who sent it.
        side: Side,
        /// The length field, bytes.
        length: i32,
    },
    /// The header's length field is above the limit.
    #[error("{side} sent message length {length}, limit {limit}")]
    LengthTooLarge {
        /// Who sent it.
        side: Side,
        /// The length field, bytes.
        length: i32,
        /// The limit in force, bytes.
        limit: usize,
    },
    /// An opcode that no MongoDB version defines.
    #[error("{side} sent unknown opcode {opcode}")]
    UnknownOpcode {
        /// Who sent it.
        side: Side,
        /// The opcode field.
        opcode: i32,
    },
    /// An opcode that this side may not send, or not yet.
    #[error("{side} sent {opcode:?}, which {why}")]
    UnexpectedOpcode {
        /// Who sent it.
        side: Side,
        /// What came.
        opcode: Opcode,
        /// Why it is refused.
        why: &'static str,
    },
    /// Required OP_MSG flag bits (0-15) that torana does not know: the specification says to refuse them.
    #[error("{side} sent OP_MSG with unknown required flag bits {flags:#010x}")]
    UnknownFlags {
        /// Who sent it.
        side: Side,
        /// All flag bits of the message.
        flags: u32,
    },
    /// The inside of a message contradicts its length.
    #[error("{side} sent a malformed {opcode:?} message: {what}")]
    Malformed {
        /// Who sent it.
        side: Side,
        /// The message's opcode.
        opcode: Opcode,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The CRC-32C at the end of an OP_MSG does not match its bytes.
    #[error("{side} sent an OP_MSG whose checksum does not match its bytes")]
    ChecksumMismatch {
        /// Who sent it.
        side: Side,
    },
}

impl WireError {
    /// Whose fault it is.
    pub fn side(&self) -> Side {
        match self {
            WireError::LengthTooSmall { side, .. }
            | WireError::LengthTooLarge { side, .. }
            | WireError::UnknownOpcode { side, .. }
            | WireError::UnexpectedOpcode { side, .. }
            | WireError::UnknownFlags { side, .. }
            | WireError::Malformed { side, .. }
            | WireError::ChecksumMismatch { side } => *side,
        }
    }
}
